//! DRÆM's strategy.

use daf_core::image::RgbImage;
use daf_core::rand::Rng;
use daf_core::{BoxError, Donors, Outcome, Synthesizer, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OPACITY, check_opacity, compose};
use crate::range::Range;
use crate::shape::perlin::Perlin;
use crate::texture::Textures;

/// Ragged blobs of Perlin noise, filled with foreign textures: the strategy of DRÆM (Zavrtanik et al., ICCV 2021), which
/// DAF trains with.
///
/// Each texture gets three of ten augmentations: contrast, brightness, sharpness, hue and saturation, solarize,
/// posterize, invert, autocontrast, equalize, rotation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dra {
    /// Where textures come from: `procedural` (drawn, needs no files) or a folder of images, searched with its
    /// subfolders, e.g. the `images` of the Describable Textures Dataset, as in the paper.
    pub textures: Textures,
    /// How much of the normal image shows through, drawn for each defect from [low, high] within 0..=0.99;
    /// `[0.0, 0.0]` for opaque defects.
    pub opacity: Range,
}

impl Default for Dra {
    fn default() -> Self {
        Self {
            textures: Textures::Procedural,
            opacity: OPACITY,
        }
    }
}

daf_core::register!(Synthesizer: Dra = "dra");

#[typetag::serde(name = Dra::NAME)]
impl Synthesizer for Dra {
    fn synthesize(&self, normal: &RgbImage, _: &dyn Donors, rng: &mut dyn Rng) -> Result<Outcome, BoxError> {
        compose(normal, &Perlin {}, &self.textures, self.opacity, rng)
    }

    fn check(&self) -> Result<(), BoxError> {
        self.textures.check()?;
        check_opacity(self.opacity)
    }
}
