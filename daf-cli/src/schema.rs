use daf_core::config::Layers;
use daf_pipeline::config;

use crate::Context;
use crate::failure::Failure;

/// Print the JSON schema of pipeline files, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli schema > daf.schema.json

Editors with a YAML language server complete and check a pipeline file that
begins with
  # yaml-language-server: $schema=daf.schema.json")]
pub(crate) struct Schema {}

impl Schema {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let schema = config::schema(&Layers::new(daf_models::DEFAULTS)?)?;
        Ok(writeln!(context.out, "{:#}", schema.as_value())?)
    }
}
