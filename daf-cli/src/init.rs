use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use daf_core::Error;
use daf_core::atomic::write_file;

use crate::failure::Failure;
use crate::{Context, schema};

/// Write a commented pipeline file to start from, and its schema for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli init
  daf-cli init screws.yaml")]
pub(crate) struct Init {
    /// The file to write; it must not exist yet
    #[arg(default_value = "pipeline.yaml")]
    file: PathBuf,
}

const TEMPLATE: &str = include_str!("pipeline.yaml");
/// The file beside it that the template names as its schema.
const SCHEMA: &str = "daf.schema.json";

impl Init {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let file = &self.file;
        let mut opened = File::create_new(file).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                Failure::usage(format!("{}: exists already; name another file", file.display()))
            }
            ErrorKind::NotFound => Failure::usage(format!("{}: its folder does not exist", file.display())),
            _ => Failure::from(Error::io(file)(error)),
        })?;
        if let Err(error) = opened.write_all(TEMPLATE.as_bytes()) {
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
