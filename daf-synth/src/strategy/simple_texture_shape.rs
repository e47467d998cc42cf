//! Simple Texture-Shape: a rectangle in one colour.

use daf_core::image::RgbImage;
use daf_core::rand::Rng;
use daf_core::{BoxError, Donors, Outcome, Synthesizer, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OPACITY, Recipe};
use crate::range::Range;
use crate::shape::Rectangle;
use crate::texture::{Colour, Granularity};

/// One rectangle in one random colour: DAF's "Simple Texture-Shape", the plainest defect there is.
///
/// The paper gives no sizes; the defaults are CutPaste's.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SimpleTextureShape {
    /// Share of the image's area that the rectangle takes, drawn uniformly from [low, high] within 0..=1.
    pub area: Range,
    /// Width divided by height of the rectangle, drawn uniformly on a log scale from [low, high] within 0.01..=100.
    pub aspect: Range,
    /// What has one colour: the whole `anomaly`, each connected `region` of it, or each `pixel`.
    pub granularity: Granularity,
    /// How much of the normal image shows through, drawn for each defect from [low, high] within 0..=0.99;
    /// `[0.0, 0.0]` for opaque defects.
    pub opacity: Range,
}

impl Default for SimpleTextureShape {
    fn default() -> Self {
        Self {
            area: Rectangle::AREA,
            aspect: Rectangle::ASPECT,
            granularity: Granularity::default(),
            opacity: OPACITY,
        }
    }
}

daf_core::register!(Synthesizer: SimpleTextureShape = "simple_texture_shape");

impl SimpleTextureShape {
    /// Calls `action` with shape and texture.
    fn with<R>(&self, action: impl FnOnce(Recipe<'_>) -> R) -> R {
        action(Recipe {
            shape: &Rectangle {
                area: self.area,
                aspect: self.aspect,
            },
            texture: &Colour {
                granularity: self.granularity,
            },
            augment: false,
            opacity: self.opacity,
        })
    }
}

#[typetag::serde(name = SimpleTextureShape::NAME)]
impl Synthesizer for SimpleTextureShape {
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
