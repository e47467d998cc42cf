use std::path::PathBuf;

use daf_core::results::Results;
use daf_core::run::write_file;

use crate::Context;
use crate::failure::Failure;

/// Put runs side by side
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli compare runs/bottle runs/bottle-2
  daf-cli compare runs/* -o comparison.html

Prints tables in Markdown: metrics in percent with the best ones in bold, metrics
per defect type, and the settings in which the runs differ.")]
pub(crate) struct Compare {
    /// The run directories
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Write a page with overlaid curves as well
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Compare {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let runs = self
            .runs
            .iter()
            .map(|dir| Results::read(dir))
            .collect::<Result<Vec<_>, _>>()?;
        let comparison = daf_report::compare(&runs)?;
        write!(context.out, "{}", comparison.markdown())?;
        if let Some(page) = &self.output {
            write_file(page, comparison.html()?.as_bytes())?;
            writeln!(context.out, "page: {}", page.display())?;
        }
        Ok(())
    }
}
