use std::path::PathBuf;

use crate::Context;
use crate::failure::Failure;

/// Write the report on a run anew
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  daf-cli report runs/bottle

The report, report.html in the run directory, is one file that any browser shows
without a network. `run` and `evaluate` write it at their end.")]
pub(crate) struct Report {
    /// The run directory
    run: PathBuf,
}

impl Report {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let path = daf_report::write(&self.run)?;
        Ok(writeln!(context.out, "report: {}", path.display())?)
    }
}
