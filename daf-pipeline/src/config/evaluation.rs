use std::path::PathBuf;

use daf_core::config::PositiveShare;
use daf_core::data::geometry::MaskRule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Measurements on the test split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluation {
    /// False-positive rate up to which the PRO curve is integrated, over 0 to 1.
    pub pro_limit: PositiveShare,
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
            pro_limit: PositiveShare::new(0.3),
            batch_size: 8,
            resolution: Resolution::default(),
            mask_rule: MaskRule::default(),
            resamples: 1000,
            memory_mb: 2048,
        }
    }
}

/// Files that a run leaves.
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
