//! The pipeline: parts and settings, fully resolved.

mod every;
#[cfg(feature = "torch")]
mod inference;
mod input;
mod key;
#[cfg(feature = "torch")]
mod layers;
mod moment;
#[cfg(feature = "torch")]
mod pipeline;
mod plugins;
mod refusal;
#[cfg(feature = "torch")]
mod schema;
mod setting;
mod trainer;
mod words;
mod yaml;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::calibration::Rule;
use crate::data::geometry::MaskRule;

pub use every::Every;
pub use input::{ChannelOrder, Input, Size};
pub use moment::Moment;
pub use plugins::{Dependency, Plugins};
pub use setting::{Plain, Setting, Settings};
pub use trainer::{FREE_TRAINER_KEYS, Optimizer, Schedule, Trainer};
pub(crate) use words::typed;
#[cfg(feature = "torch")]
pub use {
    inference::Inference,
    layers::{Layers, read_file},
    pipeline::Pipeline,
    schema::schema,
};

/// Where tensors live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub enum DeviceChoice {
    /// The first CUDA device, if there is one, otherwise the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device.
    Cuda(usize),
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        match choice {
            DeviceChoice::Auto => "auto".into(),
            DeviceChoice::Cpu => "cpu".into(),
            DeviceChoice::Cuda(index) => format!("cuda:{index}"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => other
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("expected `auto`, `cpu` or `cuda:N`, found `{other}`")),
        }
    }
}

/// How thresholds are chosen: with normal images that are held out of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Validation {
    /// Share of the normal images that is held out, 0 to 0.5; which ones depends on the seed. With 0, and where there are
    /// too few images, thresholds rest on the images that were trained with and tend to be too low.
    pub share: f64,
    /// How a threshold is chosen: `extreme_value`, `quantile`, `synthetic` or `f1_max`. Only `f1_max` uses the labels of
    /// the test split.
    pub threshold: Rule,
    /// Share of normal images that may score over the threshold, over 0 to 0.5; for `extreme_value` and `quantile`.
    pub false_alarms: f64,
}

impl Default for Validation {
    fn default() -> Self {
        Self {
            share: 0.1,
            threshold: Rule::default(),
            false_alarms: 0.01,
        }
    }
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluation {
    /// False-positive rate up to which the PRO curve is integrated, over 0 to 1.
    pub pro_limit: f64,
    /// Images that are read and scored together; a forward pass on a CPU takes fewer of them if they are large.
    pub batch_size: usize,
    /// At what size pixels are compared with masks: `network` (that of the score maps) or `image` (that of the images).
    pub resolution: Resolution,
    /// How masks are brought to that size: `nearest`, `any` (a pixel is defective if anything that it covers is), or `auto`:
    /// `any` where a side shrinks to less than half, otherwise `nearest`.
    pub mask_rule: MaskRule,
    /// How often images are drawn anew for 95 % confidence intervals; 0 leaves them out.
    pub resamples: u32,
    /// Memory for pixel scores in MiB. A larger test set is counted in bins, and the error that this brings is reported.
    pub memory_mb: usize,
}

/// At what size pixels are compared with masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// The size of the score maps: masks are brought to it.
    #[default]
    Network,
    /// The size of the images: score maps are enlarged to it.
    Image,
}

impl Default for Evaluation {
    fn default() -> Self {
        Self {
            pro_limit: 0.3,
            batch_size: 8,
            resolution: Resolution::default(),
            mask_rule: MaskRule::default(),
            resamples: 1000,
            memory_mb: 2048,
        }
    }
}

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// The run directory; by default `runs/` and the name of the pipeline file.
    pub dir: Option<PathBuf>,
    /// Whether pictures of the test images and their heat maps are drawn into `maps/`.
    pub maps: bool,
    /// Whether the score maps themselves are written beside them, as TIFF files of 32-bit floats.
    pub raw_maps: bool,
}

impl Default for Output {
    fn default() -> Self {
        Self {
            dir: None,
            maps: true,
            raw_maps: false,
        }
    }
}

/// Stands for the layer in faults of a pipeline that was not read from layers.
const UNPLACED: &str = "pipeline";

/// A value that is out of range; the layer that it came from is filled in by `Layers`.
fn fault(at: &str, reason: impl Into<String>) -> Error {
    Error::Config {
        layer: UNPLACED.into(),
        at: at.into(),
        reason: reason.into(),
        hint: None,
    }
}
