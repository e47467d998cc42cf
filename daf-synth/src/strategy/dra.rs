//! DRÆM's strategy.

use std::path::PathBuf;

use daf_core::image::RgbImage;
use daf_core::rand::Rng;
use daf_core::{BoxError, Donors, Outcome, Synthesizer, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OPACITY, Recipe};
use crate::range::Range;
use crate::shape::Perlin;
use crate::texture::Textures;

/// Ragged blobs of Perlin noise, filled with foreign textures: the strategy of DRÆM (Zavrtanik et al., ICCV 2021), which
/// DAF trains with.
///
/// Each texture gets three of ten augmentations: contrast, brightness, sharpness, hue and saturation, solarize,
/// posterize, invert, autocontrast, equalize, rotation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dra {
    /// Where textures come from: `procedural` (drawn, needs no files), a folder of images, searched with its
    /// subfolders, e.g. the `images` of the Describable Textures Dataset, as in the paper, or a map with the `type` of any
    /// texture.
    pub textures: Textures,
    /// How much of the normal image shows through, drawn for each defect from [low, high] within 0..=0.99;
    /// `[0.0, 0.0]` for opaque defects.
    pub opacity: Range,
}

impl Default for Dra {
    fn default() -> Self {
        Self {
            textures: Textures::default(),
            opacity: OPACITY,
        }
    }
}

daf_core::register!(Synthesizer: Dra = "dra");

impl Dra {
    /// Calls `action` with shape and texture.
    fn with<R>(&self, action: impl FnOnce(Recipe<'_>) -> R) -> R {
        action(Recipe {
            shape: &Perlin::default(),
            texture: self.textures.texture(),
            augment: true,
            opacity: self.opacity,
        })
    }
}

#[typetag::serde(name = Dra::NAME)]
impl Synthesizer for Dra {
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
