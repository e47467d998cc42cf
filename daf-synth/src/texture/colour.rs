//! Plain colours.

use daf_core::BoxError;
use daf_core::image::{Rgb, RgbImage};
use daf_core::rand::{Rng, RngExt};

use super::{Fill, Texture};

/// One colour for the whole defect, every RGB value as likely as any other.
#[derive(Debug, Clone, Copy, Default)]
pub struct UniformColour {}

impl Texture for UniformColour {
    fn draw(&self, _: &RgbImage, rng: &mut dyn Rng) -> Result<Fill, BoxError> {
        Ok(Fill::Colour(Rgb(rng.random())))
    }
}
