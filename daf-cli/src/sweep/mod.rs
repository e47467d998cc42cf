//! Grids of pipelines: `sweep FILE` and its kin.

mod collect;
mod job;
mod run;
mod status;

use std::path::{Path, PathBuf};

use daf_sweep::SweepFile;

use crate::Context;
use crate::failure::Failure;

/// Run a grid of pipelines and make tables of what they measure
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  daf-cli sweep sweep.yaml --dry-run        which jobs would there be?
  daf-cli sweep sweep.yaml                  run what is not finished, then make tables and a page
  daf-cli sweep examples/paper/table5.yaml --smoke
  daf-cli sweep sweep.yaml --jobs 4 --set trainer.steps=600
  daf-cli sweep status sweep.yaml           what is finished, running, failed?
  daf-cli sweep collect sweep.yaml          tables of what there is so far
  daf-cli sweep plan sweep.yaml             freeze the list of jobs, run none
  daf-cli sweep job runs/sweep 7            one job, e.g. in an array of a cluster's scheduler

A sweep file names a `base` pipeline and `axes` of variants; docs/sweeps.md has its
keys. Every combination becomes a job, which goes by the hash of its pipeline. The
list of jobs is frozen in the sweep's directory, by default runs/ and the name of
the file. Each job is a process of its own; what is broken off goes on where it was."
)]
pub(crate) struct Sweep {
    #[command(flatten)]
    run: run::RunArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Run(run::RunArgs),
    Plan(run::PlanArgs),
    Status(status::Status),
    Collect(collect::Collect),
    Job(job::JobVerb),
}

impl Sweep {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        match &self.verb {
            None => self.run.run(context),
            Some(Verb::Run(verb)) => verb.run(context),
            Some(Verb::Plan(verb)) => verb.run(context),
            Some(Verb::Status(verb)) => verb.run(context),
            Some(Verb::Collect(verb)) => verb.run(context),
            Some(Verb::Job(verb)) => verb.run(context),
        }
    }
}

/// The sweep that a verb is about.
#[derive(Debug, clap::Args)]
struct Target {
    /// The sweep file, or the directory of a sweep that was started before
    // Always there, except where a verb takes the place of the whole target.
    #[arg(value_name = "FILE|DIR", required = true)]
    sweep: Option<PathBuf>,
    /// The directory of the sweep
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// The small form of the sweep, as the file has it under `smoke`, in a directory of its own (NAME-smoke)
    #[arg(long)]
    smoke: bool,
}

/// Kind of a target.
enum Found {
    /// A file with the directory of its sweep, which need not exist.
    File(Box<SweepFile>, PathBuf),
    Directory(PathBuf),
}

impl Target {
    fn path(&self) -> &Path {
        self.sweep.as_deref().unwrap_or(Path::new(""))
    }

    fn find(&self) -> Result<Found, Failure> {
        let path = self.path();
        if path.is_dir() {
            if let Some(output) = &self.output {
                return Err(Failure::usage(format!(
                    "--output {}: {} is the directory of a sweep already",
                    output.display(),
                    path.display()
                )));
            }
            return Ok(Found::Directory(path.into()));
        }
        let file = SweepFile::read(path).map_err(Failure::usage)?;
        let mut named = file.output().map_or_else(
            || Path::new("runs").join(path.file_stem().unwrap_or_default()),
            Path::to_path_buf,
        );
        if self.smoke {
            // What is only tried out must not stand among real results.
            let mut name = named.file_name().unwrap_or_default().to_owned();
            name.push("-smoke");
            named.set_file_name(name);
        }
        let dir = self.output.clone().unwrap_or(named);
        Ok(Found::File(Box::new(file), dir))
    }

    /// The sweep as it is frozen, and the file if one was named.
    fn open(&self) -> Result<(daf_sweep::Sweep, Option<SweepFile>), Failure> {
        match self.find()? {
            Found::Directory(dir) => Ok((daf_sweep::Sweep::open(&dir).map_err(Failure::usage)?, None)),
            Found::File(file, dir) => {
                if !daf_sweep::Sweep::is_at(&dir) {
                    return Err(Failure::usage(format!(
                        "{}: the sweep has not been started; `daf-cli sweep {}` does that",
                        dir.display(),
                        self.path().display()
                    )));
                }
                Ok((daf_sweep::Sweep::open(&dir).map_err(Failure::usage)?, Some(*file)))
            }
        }
    }
}
