//! Simple Shape: a rectangle instead of blobs.

use daf_core::image::RgbImage;
use daf_core::rand::Rng;
use daf_core::{BoxError, Donors, Outcome, Synthesizer, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OPACITY, check_opacity, compose};
use crate::range::Range;
use crate::shape::rectangle::Rectangle;
use crate::texture::Textures;

/// One rectangle, filled with a foreign texture: DAF's "Simple Shape".
///
/// Textures are drawn and augmented as for `dra`. The paper gives no sizes; the defaults are CutPaste's.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SimpleShape {
    /// Where textures come from: `procedural` (drawn, needs no files) or a folder of images, searched with its
    /// subfolders.
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
            textures: Textures::Procedural,
            area: Rectangle::AREA,
            aspect: Rectangle::ASPECT,
            opacity: OPACITY,
        }
    }
}

impl SimpleShape {
    fn shape(&self) -> Rectangle {
        Rectangle {
            area: self.area,
            aspect: self.aspect,
        }
    }
}

daf_core::register!(Synthesizer: SimpleShape = "simple_shape");

#[typetag::serde(name = SimpleShape::NAME)]
impl Synthesizer for SimpleShape {
    fn synthesize(&self, normal: &RgbImage, _: &dyn Donors, rng: &mut dyn Rng) -> Result<Outcome, BoxError> {
        compose(normal, &self.shape(), &self.textures, self.opacity, rng)
    }

    fn check(&self) -> Result<(), BoxError> {
        self.textures.check()?;
        self.shape().check()?;
        check_opacity(self.opacity)
    }
}
