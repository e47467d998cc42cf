use daf_sweep::State;
use serde_json::json;

use super::{Target, job};
use crate::Context;
use crate::failure::Failure;

/// Show what has become of the jobs of a sweep
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli sweep status sweep.yaml
  daf-cli sweep status runs/sweep --json | jq -r '.[] | select(.state == \"failed\") | .hash'")]
pub(crate) struct Status {
    #[command(flatten)]
    target: Target,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let (sweep, _) = self.target.open()?;
        let manifest = sweep.manifest();
        let states = manifest
            .jobs
            .iter()
            .map(|job| sweep.state(job))
            .collect::<Result<Vec<_>, _>>()?;
        if self.json {
            let jobs = (1..).zip(&manifest.jobs).zip(&states);
            let jobs = jobs.map(|((number, job), state): ((usize, _), _)| {
                json!({
                    "number": number, "hash": job.hash, "state": state.name(), "detail": job::words(state),
                    "cells": job.cells, "run": sweep.run_dir(job), "log": sweep.log(job),
                })
            });
            let jobs = serde_json::Value::Array(jobs.collect());
            return Ok(writeln!(context.out, "{jobs:#}")?);
        }
        for ((number, job), state) in (1..).zip(&manifest.jobs).zip(&states) {
            let (at, detail) = (manifest.describe(job), job::words(state));
            let gap = if detail.is_empty() { "" } else { "  " };
            writeln!(
                context.out,
                "{number:>4}  {}  {:<11}  {at}{gap}{detail}",
                job.hash,
                state.name()
            )?;
        }
        Ok(writeln!(context.out, "{}", counts(&states))?)
    }
}

/// `12 jobs: 3 finished, 9 waiting`
pub(super) fn counts(states: &[State]) -> String {
    let names = ["finished", "running", "failed", "interrupted", "waiting"];
    let counts = names.iter().filter_map(|name| {
        let count = states.iter().filter(|state| state.name() == *name).count();
        (count > 0).then(|| format!("{count} {name}"))
    });
    let jobs = if states.len() == 1 { "job" } else { "jobs" };
    format!(
        "{} {jobs}: {}",
        states.len(),
        counts.collect::<Vec<_>>().join(", ")
    )
}
