use std::path::PathBuf;

use daf_core::config::DeviceChoice;
use daf_pipeline::Run;

use crate::Context;
use crate::data;
use crate::failure::Failure;

/// Measure a trained run on its test images
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli evaluate runs/bottle
  daf-cli evaluate runs/bottle --set data.root=/elsewhere/mvtec --set output.maps=false")]
pub(crate) struct Evaluate {
    /// The run directory
    run: PathBuf,
    /// Change a setting of the run's pipeline; with another method, input or scorer there are no thresholds
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl Evaluate {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let run = Run::open_with(&self.run, &self.settings)?;
        let found = data::examine(&run);
        let device: DeviceChoice = run.pipeline().device;
        let measured = crate::train::measure(&run, device, context, Some(&found), |_, _| ());
        if let (Err(_), Some(folder)) = (&measured, run.elsewhere()) {
            tracing::warn!(
                "relative paths in the settings of this run were relative to {}; evaluate it there, or give them anew with --set",
                folder.display()
            );
        }
        measured
    }
}
