//! Where a defect is.

use std::fmt::Debug;

use daf_core::Rect;
use daf_core::image::{GrayImage, RgbImage};
use daf_core::rand::Rng;

pub mod perlin;
pub mod rectangle;

/// Draws the outline of a defect.
pub trait Shape: Debug {
    /// A region of the normal image, which gives the size; `None` if no place was found.
    fn draw(&self, normal: &RgbImage, rng: &mut dyn Rng) -> Option<Region>;
}

/// The pixels of a defect: at least one.
#[derive(Debug, Clone)]
pub struct Region {
    mask: GrayImage,
    bounds: Rect,
}

impl Region {
    /// The pixels where `mask`, made of 0 and 255, is not 0; `None` if there are none.
    #[must_use]
    pub fn of(mask: GrayImage) -> Option<Self> {
        Rect::around(&mask).map(|bounds| Self { mask, bounds })
    }

    /// 255 inside, 0 outside.
    #[must_use]
    pub fn mask(&self) -> &GrayImage {
        &self.mask
    }

    /// The smallest rectangle around the region.
    #[must_use]
    pub fn bounds(&self) -> Rect {
        self.bounds
    }

    /// Gives the mask away.
    #[must_use]
    pub fn into_mask(self) -> GrayImage {
        self.mask
    }
}
