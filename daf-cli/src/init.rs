use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use daf_core::Error;

use crate::Context;
use crate::failure::Failure;

/// Write a commented pipeline file to start from
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
        writeln!(context.out, "wrote {0}; next: daf-cli check {0}", file.display())?;
        Ok(())
    }
}
