//! Simple Texture: one colour instead of a texture.

use daf_core::image::RgbImage;
use daf_core::rand::Rng;
use daf_core::{BoxError, Donors, Outcome, Synthesizer, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OPACITY, Recipe};
use crate::range::Range;
use crate::shape::Perlin;
use crate::texture::{Colour, Granularity};

/// Ragged blobs of Perlin noise in one random colour: DAF's "Simple Texture".
///
/// The paper says "randomly sampled colours" and no more; here one colour is drawn for each defect.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SimpleTexture {
    /// What has one colour: the whole `anomaly`, each connected `region` of it, or each `pixel`.
    pub granularity: Granularity,
    /// How much of the normal image shows through, drawn for each defect from [low, high] within 0..=0.99;
    /// `[0.0, 0.0]` for opaque defects.
    pub opacity: Range,
}

impl Default for SimpleTexture {
    fn default() -> Self {
        Self {
            granularity: Granularity::default(),
            opacity: OPACITY,
        }
    }
}

daf_core::register!(Synthesizer: SimpleTexture = "simple_texture");

impl SimpleTexture {
    /// Calls `action` with shape and texture.
    fn with<R>(&self, action: impl FnOnce(Recipe<'_>) -> R) -> R {
        action(Recipe {
            shape: &Perlin::default(),
            texture: &Colour {
                granularity: self.granularity,
            },
            augment: false,
            opacity: self.opacity,
        })
    }
}

#[typetag::serde(name = SimpleTexture::NAME)]
impl Synthesizer for SimpleTexture {
    fn synthesize(
        &self,
        normal: &RgbImage,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Outcome, BoxError> {
        self.with(|recipe| recipe.synthesize(normal, donors, rng))
    }

    fn check(&self) -> Result<(), BoxError> {
        self.with(|recipe| recipe.check())
    }
}
