//! The strategies: registered synthesizers, most of them a shape filled with a texture.

use daf_core::image::RgbImage;
use daf_core::rand::Rng;
use daf_core::{BoxError, Donors, Fill, Outcome, Shape, Synthetic, Texture};

use crate::blend::{Material, blend, blend_pixels};
use crate::range::Range;
use crate::rotate::Outside;
use crate::runs::{self, Run};
use crate::texture::augment;

pub(crate) mod compose;
pub(crate) mod cutpaste;
pub(crate) mod dra;
pub(crate) mod foreground;
pub(crate) mod mixture;
pub(crate) mod none;
pub mod nsa;
pub(crate) mod simple_shape;
pub(crate) mod simple_texture;
pub(crate) mod simple_texture_shape;

/// Opacities of DRÆM and of the DAF paper.
pub const OPACITY: Range = Range(0.0, 0.8);

/// A shape, a texture and how the one is filled with the other.
#[derive(Debug, Clone, Copy)]
pub struct Recipe<'a> {
    /// Where the defect is.
    pub shape: &'a dyn Shape,
    /// What it looks like.
    pub texture: &'a dyn Texture,
    /// Whether three of the [augmentations](augment) are applied to the texture. Plain colours stay as they are.
    pub augment: bool,
    /// From where the opacity is drawn.
    pub opacity: Range,
}

impl Recipe<'_> {
    /// Damages an image.
    ///
    /// # Errors
    /// If the shape or the texture cannot be drawn.
    pub fn synthesize(
        &self,
        normal: &RgbImage,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Outcome, BoxError> {
        let Some(region) = self.shape.draw_checked(normal, rng)? else {
            return Ok(Outcome::Unchanged);
        };
        let fill = self.texture.draw_checked(normal, &region, donors, rng)?;
        let augmentations = if self.augment && !matches!(fill, Fill::Colour(_)) {
            augment::draw(rng)
        } else {
            Vec::new()
        };
        let opacity = self.opacity.draw(rng);
        let mut image = normal.clone();
        let touched = region.bounds();
        let mut paint = |texture: &RgbImage, left: u32, top: u32, outside| {
            let (left, top) = (left as usize, top as usize);
            let wanted = runs::of_region(&region).map(|run| Run {
                y: run.y - top,
                start: run.start - left,
                end: run.end - left,
            });
            augment::shown(texture, outside, wanted, &augmentations, |pixels| {
                let material = Material {
                    pixels,
                    width: texture.width() as usize,
                    left,
                    top,
                };
                blend_pixels(&mut image, &region, material, opacity);
            });
        };
        match fill {
            Fill::Image(texture) if texture.dimensions() == normal.dimensions() => {
                paint(&texture, 0, 0, Outside::Black);
            }
            Fill::Patch(patch) if patch.dimensions() == (touched.width, touched.height) => {
                paint(&patch, touched.x, touched.y, Outside::Mirrored);
            }
            other => blend(&mut image, &region, &other, opacity),
        }
        Ok(Outcome::Damaged(Synthetic {
            image,
            mask: region.into_mask(),
            target: None,
            touched,
            class: 0,
        }))
    }

    /// Checks the shape, the texture and the range of opacities.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    pub fn check(&self) -> Result<(), BoxError> {
        self.shape.check()?;
        self.texture.check()?;
        check_opacity(self.opacity)
    }
}

/// Checks a range of opacities. At 1 a defect would be invisible, so the upper bound ends shortly before.
///
/// # Errors
/// Names the bounds and what was found.
pub fn check_opacity(opacity: Range) -> Result<(), BoxError> {
    opacity.check("opacity", 0.0, 0.99)
}
