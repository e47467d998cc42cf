//! The strategies: registered parts, each a shape filled with a texture.

use daf_core::image::RgbImage;
use daf_core::rand::Rng;
use daf_core::{BoxError, Outcome, Synthetic};

use crate::blend::blend;
use crate::range::Range;
use crate::shape::Shape;
use crate::texture::Texture;

pub(crate) mod dra;
pub(crate) mod foreground;
pub mod nsa;
pub(crate) mod simple_shape;
pub(crate) mod simple_texture;
pub(crate) mod simple_texture_shape;

/// Opacities of DRÆM and of the DAF paper.
pub const OPACITY: Range = Range(0.0, 0.8);

/// Fills a shape with a texture, with an opacity drawn from a range.
///
/// # Errors
/// If the texture cannot be drawn.
pub fn compose(
    normal: &RgbImage,
    shape: &dyn Shape,
    texture: &dyn Texture,
    opacity: Range,
    rng: &mut dyn Rng,
) -> Result<Outcome, BoxError> {
    let Some(region) = shape.draw(normal, rng) else {
        return Ok(Outcome::Unchanged);
    };
    let fill = texture.draw(normal, rng)?;
    let mut image = normal.clone();
    blend(&mut image, &region, &fill, opacity.draw(rng));
    let touched = region.bounds();
    Ok(Outcome::Damaged(Synthetic {
        image,
        mask: region.into_mask(),
        target: None,
        touched,
        class: 0,
    }))
}

/// Checks a range of opacities. At 1 a defect would be invisible, so the upper bound ends shortly before.
///
/// # Errors
/// Names the bounds and what was found.
pub fn check_opacity(opacity: Range) -> Result<(), BoxError> {
    opacity.check("opacity", 0.0, 0.99)
}
