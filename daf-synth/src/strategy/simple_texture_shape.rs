//! Simple Texture-Shape: a rectangle in one colour.

use daf_core::image::RgbImage;
use daf_core::rand::Rng;
use daf_core::{BoxError, Donors, Outcome, Synthesizer, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OPACITY, check_opacity, compose};
use crate::range::Range;
use crate::shape::rectangle::Rectangle;
use crate::texture::UniformColour;

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
    /// How much of the normal image shows through, drawn for each defect from [low, high] within 0..=0.99;
    /// `[0.0, 0.0]` for opaque defects.
    pub opacity: Range,
}

impl Default for SimpleTextureShape {
    fn default() -> Self {
        Self {
            area: Rectangle::AREA,
            aspect: Rectangle::ASPECT,
            opacity: OPACITY,
        }
    }
}

impl SimpleTextureShape {
    fn shape(&self) -> Rectangle {
        Rectangle {
            area: self.area,
            aspect: self.aspect,
        }
    }
}

daf_core::register!(Synthesizer: SimpleTextureShape = "simple_texture_shape");

#[typetag::serde(name = SimpleTextureShape::NAME)]
impl Synthesizer for SimpleTextureShape {
    fn synthesize(&self, normal: &RgbImage, _: &dyn Donors, rng: &mut dyn Rng) -> Result<Outcome, BoxError> {
        compose(normal, &self.shape(), &UniformColour {}, self.opacity, rng)
    }

    fn check(&self) -> Result<(), BoxError> {
        self.shape().check()?;
        check_opacity(self.opacity)
    }
}
