use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use daf_core::Error;
use daf_core::atomic::write_file;
use daf_data::look;

use crate::failure::Failure;
use crate::proposal::Proposal;
use crate::{Context, schema};

/// Write a commented pipeline file to start from, for your images if you name them, and its schema for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli init --data /data/screws
  daf-cli init screws.yaml --data /data/screws
  daf-cli init                      a general one to edit

With --data the folder is looked at: which layout it has (MVTec AD, VisA, BTAD,
DAGM, Kolektor, folders called good and bad, or images alone), how many images
there are, how large, and whether they show objects on a plain background. The
file has a data set, a recipe, an input size and thresholds for them, with the
reasons.")]
pub(crate) struct Init {
    /// The file to write; it must not exist yet
    #[arg(default_value = "pipeline.yaml")]
    file: PathBuf,
    /// The folder of your images, or a table of them (.csv with the columns path and split): the pipeline is made for them
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

const TEMPLATE: &str = include_str!("pipeline.yaml");
/// The file beside it that the template names as its schema.
const SCHEMA: &str = "daf.schema.json";

impl Init {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let file = &self.file;
        if file.exists() {
            return Err(exists(file));
        }
        let proposal = match &self.data {
            Some(folder) => {
                let proposal = look(folder).map_err(Failure::usage).and_then(Proposal::of)?;
                context.remark(&format!("{}: {}", folder.display(), proposal.seen()))?;
                for note in proposal.notes() {
                    context.remark(note)?;
                }
                context.remark(&format!("proposed: {}", proposal.summary()))?;
                Some(proposal.text(folder, SCHEMA))
            }
            None => None,
        };
        let text = proposal.as_deref().unwrap_or(TEMPLATE);
        let mut opened = File::create_new(file).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => exists(file),
            ErrorKind::NotFound => Failure::usage(format!("{}: its folder does not exist", file.display())),
            _ => Failure::from(Error::io(file)(error)),
        })?;
        if let Err(error) = opened.write_all(text.as_bytes()) {
            // Half a file would be in the way of the next attempt.
            let _ = fs::remove_file(file);
            return Err(Error::io(file)(error).into());
        }
        let schema = file.with_file_name(SCHEMA);
        // One that is there may have the parts of plugins.
        let beside = if schema.exists() {
            String::new()
        } else {
            write_file(&schema, schema::text()?.as_bytes())?;
            format!(" and {SCHEMA}")
        };
        writeln!(
            context.out,
            "wrote {0}{beside}; next: daf-cli check {0}",
            file.display()
        )?;
        Ok(())
    }
}

fn exists(file: &Path) -> Failure {
    Failure::usage(format!("{}: exists already; name another file", file.display()))
}
