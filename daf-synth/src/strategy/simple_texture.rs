//! Simple Texture: one colour instead of a texture.

use daf_core::image::RgbImage;
use daf_core::rand::Rng;
use daf_core::{BoxError, Donors, Outcome, Synthesizer, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OPACITY, check_opacity, compose};
use crate::range::Range;
use crate::shape::perlin::Perlin;
use crate::texture::UniformColour;

/// Ragged blobs of Perlin noise in one random colour: DAF's "Simple Texture".
///
/// The paper says "randomly sampled colours" and no more; here one colour is drawn for each defect.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SimpleTexture {
    /// How much of the normal image shows through, drawn for each defect from [low, high] within 0..=0.99;
    /// `[0.0, 0.0]` for opaque defects.
    pub opacity: Range,
}

impl Default for SimpleTexture {
    fn default() -> Self {
        Self { opacity: OPACITY }
    }
}

daf_core::register!(Synthesizer: SimpleTexture = "simple_texture");

#[typetag::serde(name = SimpleTexture::NAME)]
impl Synthesizer for SimpleTexture {
    fn synthesize(&self, normal: &RgbImage, _: &dyn Donors, rng: &mut dyn Rng) -> Result<Outcome, BoxError> {
        compose(normal, &Perlin {}, &UniformColour {}, self.opacity, rng)
    }

    fn check(&self) -> Result<(), BoxError> {
        check_opacity(self.opacity)
    }
}
