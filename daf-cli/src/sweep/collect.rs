use daf_core::atomic::write_file;
use daf_sweep::{Sweep, SweepFile};

use super::Target;
use crate::Context;
use crate::failure::Failure;

/// Make tables, plots and a page of what the jobs of a sweep have measured so far
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli sweep collect sweep.yaml
  daf-cli sweep collect runs/sweep

Writes results.csv, tables.md and sweep.html into the directory of the sweep and
prints the tables. Jobs that are not finished are shown as missing. If a file is
named, its tables and plots are made, so that they can be changed afterwards.")]
pub(crate) struct Collect {
    #[command(flatten)]
    target: Target,
}

impl Collect {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let (sweep, file) = self.target.open()?;
        let view = file.as_ref().map(|file| (self.target.path(), file));
        collect(&sweep, view, context)
    }
}

/// Writes what there is and prints the tables, those of `file` if there is one.
pub(super) fn collect(
    sweep: &Sweep,
    file: Option<(&std::path::Path, &SweepFile)>,
    context: &mut Context,
) -> Result<(), Failure> {
    let mut results = sweep.collect()?;
    if let Some((path, file)) = file {
        results.show(path, file.view()).map_err(Failure::usage)?;
    }
    let [csv, markdown, page] = ["results.csv", "tables.md", "sweep.html"].map(|name| sweep.dir().join(name));
    results.write_csv(&csv)?;
    let report = daf_report::sweep(&results)?;
    let tables = report.markdown();
    write_file(&markdown, tables.as_bytes())?;
    write_file(&page, report.html()?.as_bytes())?;
    for (name, picture) in report.pictures() {
        write_file(&sweep.dir().join(name), picture)?;
        writeln!(context.out, "panels: {}", sweep.dir().join(name).display())?;
    }
    write!(context.out, "{tables}")?;
    writeln!(context.out, "\nmetrics: {}", csv.display())?;
    writeln!(context.out, "tables:  {}", markdown.display())?;
    writeln!(context.out, "page:    {}", page.display())?;
    Ok(())
}
