use std::path::PathBuf;

use crate::Context;
use crate::compare::each_run;
use crate::failure::{self, Failure};

/// Write the reports on runs anew
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli report runs/bottle
  daf-cli report runs/*

The report, report.html in the run directory, is one file that any browser shows
without a network. `run` and `evaluate` write it at their end.")]
pub(crate) struct Report {
    /// The run directories; what is none is passed over with a word
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
}

impl Report {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let (pages, unreadable) = each_run(&self.runs, daf_report::write)?;
        for path in pages {
            writeln!(context.out, "report: {}", path.display())?;
        }
        failure::left_out(&[(unreadable, "run", "runs", "read")])
    }
}
