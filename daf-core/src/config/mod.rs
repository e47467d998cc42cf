//! Layered settings, and those that a model is used with.

mod choice;
mod input;
mod key;
mod layers;
mod plugins;
mod range;
mod refusal;
mod setting;
mod words;
mod yaml;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use choice::{Bounds, Choice};
pub use input::{Automatic, ChannelOrder, Input, Size};
pub use layers::{Layers, read_file};
pub use plugins::{Dependency, Plugins};
pub use range::{Count, NotNegative, OddSize, PartialShare, Positive, PositiveShare, Share};
pub use setting::{Plain, Setting, Settings};
pub(crate) use words::typed;

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

/// The keys of `trainer` that the weights do not depend on.
pub const FREE_TRAINER_KEYS: [&str; 3] = ["workers", "cache_mb", "checkpoint_every"];

/// Stands for the layer in faults of a pipeline that was not read from layers.
const UNPLACED: &str = "pipeline";

/// A value that is out of range. [`Layers`] fills in the layer that it came from.
pub fn fault(at: &str, reason: impl Into<String>) -> Error {
    Error::Config {
        layer: UNPLACED.into(),
        at: at.into(),
        reason: reason.into(),
        hint: None,
    }
}

/// Settings as YAML; reading it gives the same settings.
///
/// # Errors
/// If a part does not serialize.
pub fn to_yaml(settings: &impl Serialize) -> Result<String> {
    serde_saphyr::to_string(settings)
        .map_err(|error| fault("", format!("cannot be written as YAML: {error}")))
}
