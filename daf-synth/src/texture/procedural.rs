//! Textures that are drawn rather than photographed: they need no files.

use daf_core::image::RgbImage;
use daf_core::rand::{Rng, RngExt};

/// A texture.
#[must_use]
pub fn draw(width: u32, height: u32, rng: &mut dyn Rng) -> RgbImage {
    let colour: [u8; 3] = rng.random();
    RgbImage::from_pixel(width, height, daf_core::image::Rgb(colour))
}
