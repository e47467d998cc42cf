use std::path::PathBuf;

use daf_core::config::Layers;
use daf_pipeline::Pipeline;

use crate::build;
use crate::environment::Environment;
use crate::failure::Failure;

/// The arguments of every verb that reads a pipeline.
#[derive(Debug, clap::Args)]
pub(crate) struct PipelineArgs {
    /// The pipeline file
    pub(crate) file: PathBuf,
    /// Change a setting; the value is YAML, e.g. --set trainer.steps=600 or --set 'synthesizer={type: simple_shape}'
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
    /// Compile the pipeline's `plugins` first, and go on with the program that has them
    #[arg(long)]
    pub(crate) build: bool,
}

impl PipelineArgs {
    /// The pipeline with all its layers. Whatever is wrong with it is for the user to mend.
    pub(crate) fn load(&self, environment: &Environment) -> Result<Pipeline, Failure> {
        let layers = Layers::new(daf_models::DEFAULTS)
            .and_then(|layers| layers.file(&self.file))
            .and_then(|layers| layers.environment(environment.settings.iter().cloned()))
            .and_then(|layers| layers.set(&self.settings))
            .map_err(Failure::usage)?;
        if self.build {
            let plugins = layers.plugins().map_err(Failure::usage)?;
            if !plugins.is_empty() {
                return Err(build::go_on(&plugins, environment));
            }
        }
        Pipeline::from_layers(&layers).map_err(Failure::usage)
    }
}
