use daf_core::config::Layers;
use daf_pipeline::config;

use crate::Context;
use crate::failure::Failure;

/// Print the JSON schema of pipeline files, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli schema > daf.schema.json

Editors with a YAML language server, such as VS Code with the extension YAML,
complete and check a pipeline file that begins with
  # yaml-language-server: $schema=daf.schema.json
The path is relative to the pipeline file. `daf-cli init` writes both. The
schema has the parts of this program, so write it again with a program that
has plugins.")]
pub(crate) struct Schema {}

/// The schema as text.
pub(crate) fn text() -> daf_core::Result<String> {
    let schema = config::schema(&Layers::new(daf_models::DEFAULTS)?)?;
    Ok(format!("{:#}\n", schema.as_value()))
}

impl Schema {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        Ok(context.out.write_all(text()?.as_bytes())?)
    }
}
