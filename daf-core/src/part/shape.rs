//! Shapes: the places of synthetic defects.

use std::fmt::Debug;

use image::{GrayImage, RgbImage};
use rand::Rng;

use crate::contract::{self, Broken};
use crate::{BoxError, Kind, Rect};

/// Draws the outline of a defect, for synthesizers that fill shapes with [textures](crate::Texture).
///
/// A call depends on nothing but its arguments.
#[typetag::serde(tag = "type")]
pub trait Shape: Debug + Send + Sync {
    /// A region of the normal image, which gives the size; `None` if no place was found.
    ///
    /// # Errors
    /// If the shape cannot be drawn, e.g. because a file cannot be read.
    fn draw(&self, normal: &RgbImage, rng: &mut dyn Rng) -> Result<Option<Region>, BoxError>;

    /// Checks ranges and files before any work is done.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

super::part!(Shape);

impl dyn Shape + '_ {
    /// [`draw`](Shape::draw), with the size of the region checked.
    ///
    /// # Errors
    /// The shape's own, or [`Broken`] if it panics or draws what does not fit.
    pub fn draw_checked(&self, normal: &RgbImage, rng: &mut dyn Rng) -> Result<Option<Region>, BoxError> {
        let name = self.typetag_name();
        let region = contract::call(Kind::Shape, name, "drawing", || self.draw(normal, rng))?;
        let (width, height) = normal.dimensions();
        match region.as_ref().map(|region| region.mask().dimensions()) {
            Some(found) if found != (width, height) => {
                let what = format!(
                    "mask: expected the size of the normal image, {width}×{height}, found {}×{}",
                    found.0, found.1
                );
                Err(Broken::new(Kind::Shape, name, what).into())
            }
            _ => Ok(region),
        }
    }
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
    #[inline]
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
