use std::io::Write;
use std::path::{Path, PathBuf};

use daf_core::atomic::write_file;
use daf_core::results::{CONFIG, Results};

use crate::Context;
use crate::failure::{self, Failure};

/// Put runs side by side
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli compare runs/bottle runs/bottle-2
  daf-cli compare runs/* -o comparison.html

Prints tables in Markdown: metrics in percent with the best ones in bold, metrics
per defect type, and the settings in which the runs differ. What is no run, such as
the folder of a sweep, is passed over with a word.")]
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
        if let Some(page) = &self.output {
            spare_runs(page, &self.runs)?;
        }
        let (runs, unreadable) = each_run(&self.runs, Results::read)?;
        let comparison = daf_report::compare(&runs)?;
        write!(context.out, "{}", comparison.markdown())?;
        if let Some(page) = &self.output {
            write_file(page, comparison.html()?.as_bytes())?;
            writeln!(context.out, "page: {}", page.display())?;
        }
        failure::left_out(&[(unreadable, "run", "runs", "read")])
    }
}

/// Refuses a page that would take the place of a file of one of the runs.
fn spare_runs(page: &Path, runs: &[PathBuf]) -> Result<(), Failure> {
    let Ok(path) = page.canonicalize() else {
        return Ok(());
    };
    let holds = |run: &&PathBuf| run.canonicalize().is_ok_and(|run| path.starts_with(run));
    match runs.iter().find(holds) {
        None => Ok(()),
        Some(run) => Err(Failure::usage(format!(
            "{}: would overwrite a file of the run {}; choose another name",
            page.display(),
            run.display()
        ))),
    }
}

/// Results of `read` for those of the folders that are runs, and how many it fails at: damaged runs and folders that are not
/// there. What is no run, as `runs/*` brings it along, is passed over.
///
/// # Errors
/// If none is left.
pub(crate) fn each_run<T>(
    folders: &[PathBuf],
    read: impl Fn(&Path) -> daf_core::Result<T>,
) -> Result<(Vec<T>, usize), Failure> {
    let (mut runs, mut others, mut unreadable) = (Vec::new(), Vec::new(), 0);
    for folder in folders {
        match read(folder) {
            Ok(run) => runs.push(run),
            Err(error) => {
                unreadable += usize::from(!folder.exists() || folder.join(CONFIG).is_file());
                others.push(Failure::from(error));
            }
        }
    }
    if runs.is_empty() && others.len() == 1 {
        return Err(others.remove(0));
    }
    for other in &others {
        let _ = writeln!(anstream::stderr(), "passed over: {}", other.text());
    }
    if runs.is_empty() {
        return Err(Failure::work("none of these is a run directory that can be read"));
    }
    Ok((runs, unreadable))
}
