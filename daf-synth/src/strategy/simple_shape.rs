//! Simple Shape: a rectangle instead of blobs.

use std::path::PathBuf;

use daf_core::image::RgbImage;
use daf_core::rand::Rng;
use daf_core::{BoxError, Donors, Outcome, Synthesizer, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OPACITY, Recipe};
use crate::range::Range;
use crate::shape::Rectangle;
use crate::texture::Textures;

/// One rectangle, filled with a foreign texture: DAF's "Simple Shape".
///
/// Textures are drawn and augmented as for `dra`. The paper gives no sizes; the defaults are CutPaste's.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SimpleShape {
    /// Where textures come from: `procedural` (drawn, needs no files), a folder of images, searched with its
    /// subfolders, e.g. the `images` of the Describable Textures Dataset, as in the paper, or a map with the `type` of any
    /// texture.
    pub textures: Textures,
    /// Share of the image's area that the rectangle takes, drawn uniformly from [low, high] within 0..=1.
    pub area: Range,
    /// Width divided by height of the rectangle, drawn uniformly on a log scale from [low, high] within 0.01..=100.
    pub aspect: Range,
    /// How much of the normal image shows through, drawn for each defect from [low, high] within 0..=0.99;
    /// `[0.0, 0.0]` for opaque defects.
    pub opacity: Range,
}

impl Default for SimpleShape {
    fn default() -> Self {
        Self {
            textures: Textures::default(),
            area: Rectangle::AREA,
            aspect: Rectangle::ASPECT,
            opacity: OPACITY,
        }
    }
}

daf_core::register!(Synthesizer: SimpleShape = "simple_shape");

impl SimpleShape {
    /// Calls `action` with shape and texture.
    fn with<R>(&self, action: impl FnOnce(Recipe<'_>) -> R) -> R {
        action(Recipe {
            shape: &Rectangle {
                area: self.area,
                aspect: self.aspect,
            },
            texture: self.textures.texture(),
            augment: true,
            opacity: self.opacity,
        })
    }
}

#[typetag::serde(name = SimpleShape::NAME)]
impl Synthesizer for SimpleShape {
    fn synthesize(
        &self,
        normal: &RgbImage,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Outcome, BoxError> {
        self.with(|recipe| recipe.synthesize(normal, donors, rng))
    }

    fn image_files(&self) -> Vec<PathBuf> {
        self.textures.texture().image_files()
    }

    fn check(&self) -> Result<(), BoxError> {
        self.with(|recipe| recipe.check())
    }
}
