//! A narrow rectangle at an angle.

use daf_core::image::{GrayImage, RgbImage};
use daf_core::rand::{Rng, RngExt};
use daf_core::{BoxError, Region, Shape, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::range::Range;

/// One small rectangle at an angle: CutPaste's scar.
///
/// Sizes are those of an image whose shorter side has 256 pixels; others scale them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scar {
    /// Width in pixels at 256 × 256, drawn uniformly from [low, high] within 1..=256.
    pub width: Range,
    /// Height in pixels at 256 × 256, drawn uniformly from [low, high] within 1..=256.
    pub height: Range,
    /// Degrees by which it is turned clockwise, drawn uniformly from [low, high] within −180..=180.
    pub angle: Range,
}

impl Scar {
    /// CutPaste's widths.
    pub const WIDTH: Range = Range(2.0, 16.0);
    /// CutPaste's heights.
    pub const HEIGHT: Range = Range(10.0, 25.0);
    /// CutPaste's angles.
    pub const ANGLE: Range = Range(-45.0, 45.0);
}

impl Default for Scar {
    fn default() -> Self {
        Self {
            width: Self::WIDTH,
            height: Self::HEIGHT,
            angle: Self::ANGLE,
        }
    }
}

daf_core::register!(Shape: Scar = "scar");

#[typetag::serde(name = Scar::NAME)]
impl Shape for Scar {
    fn draw(&self, normal: &RgbImage, rng: &mut dyn Rng) -> Result<Option<Region>, BoxError> {
        let (width, height) = normal.dimensions();
        if width == 0 || height == 0 {
            return Ok(None);
        }
        let scale = f64::from(width.min(height)) / 256.0;
        // Half the sides, no smaller than half a pixel.
        let half_width = (self.width.draw(rng) * scale / 2.0).max(0.5);
        let half_height = (self.height.draw(rng) * scale / 2.0).max(0.5);
        let (sin, cos) = self.angle.draw(rng).to_radians().sin_cos();
        // The box around it, kept inside the image where it fits.
        let reach_x = half_width * cos.abs() + half_height * sin.abs();
        let reach_y = half_width * sin.abs() + half_height * cos.abs();
        let middle_x = center(width, reach_x, rng);
        let middle_y = center(height, reach_y, rng);
        let mut mask = GrayImage::new(width, height);
        for y in span(middle_y, reach_y, height) {
            for x in span(middle_x, reach_x, width) {
                let (dx, dy) = (x as f64 + 0.5 - middle_x, y as f64 + 0.5 - middle_y);
                let across = dx * cos + dy * sin;
                let along = dy * cos - dx * sin;
                if across.abs() <= half_width && along.abs() <= half_height {
                    mask[(x as u32, y as u32)].0 = [255];
                }
            }
        }
        // A thin one may pass between the middles of all pixels.
        mask[(
            (middle_x as u32).min(width - 1),
            (middle_y as u32).min(height - 1),
        )]
            .0 = [255];
        Ok(Region::of(mask))
    }

    fn check(&self) -> Result<(), BoxError> {
        self.width.check("width", 1.0, 256.0)?;
        self.height.check("height", 1.0, 256.0)?;
        self.angle.check("angle", -180.0, 180.0)
    }
}

/// A random middle for an extent of `reach` to both sides, within `size` pixels where it fits.
fn center(size: u32, reach: f64, rng: &mut dyn Rng) -> f64 {
    let size = f64::from(size);
    let reach = reach.clamp(0.0, size / 2.0);
    reach + rng.random::<f64>() * (size - 2.0 * reach)
}

/// Pixels of a row or column whose middles may lie within `reach` of `middle`.
pub(super) fn span(middle: f64, reach: f64, size: u32) -> std::ops::Range<usize> {
    let start = (middle - reach).max(0.0) as usize;
    start..((middle + reach).max(0.0) as usize + 1).min(size as usize)
}

#[cfg(test)]
mod tests {
    use daf_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn scars_have_the_size_asked_for_at_every_scale() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for side in [256, 1024] {
            let scale = f64::from(side) / 256.0;
            let shape = Scar {
                width: Range(8.0, 8.0),
                height: Range(20.0, 20.0),
                angle: Scar::ANGLE,
            };
            for _ in 0..100 {
                let region = shape
                    .draw(&RgbImage::new(side, side + 9), &mut rng)
                    .unwrap()
                    .unwrap();
                let area = region.mask().iter().filter(|m| **m > 0).count() as f64;
                assert!((area / (160.0 * scale * scale) - 1.0).abs() < 0.15, "{area}");
                let longest = f64::from(region.bounds().width.max(region.bounds().height));
                assert!(longest < 23.0 * scale, "{longest}");
            }
        }
    }

    #[test]
    fn the_angle_turns_the_scar() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn = |angle: f64, rng: &mut ChaCha8Rng| {
            let shape = Scar {
                width: Range(2.0, 2.0),
                height: Range(40.0, 40.0),
                angle: Range(angle, angle),
            };
            shape
                .draw(&RgbImage::new(256, 256), rng)
                .unwrap()
                .unwrap()
                .bounds()
        };
        for _ in 0..20 {
            let upright = drawn(0.0, &mut rng);
            assert!(upright.width <= 3 && upright.height >= 39, "{upright:?}");
            let lying = drawn(90.0, &mut rng);
            assert!(lying.height <= 3 && lying.width >= 39, "{lying:?}");
            let slanted = drawn(45.0, &mut rng);
            assert!(
                slanted.width.abs_diff(slanted.height) <= 2 && slanted.width > 25,
                "{slanted:?}"
            );
        }
    }

    #[test]
    fn images_that_are_smaller_than_the_scar_get_at_least_a_pixel() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (width, height) in [(1, 1), (1, 300), (5, 2)] {
            for _ in 0..50 {
                assert!(
                    Scar::default()
                        .draw(&RgbImage::new(width, height), &mut rng)
                        .unwrap()
                        .is_some()
                );
            }
        }
        assert!(
            Scar::default()
                .draw(&RgbImage::new(0, 4), &mut rng)
                .unwrap()
                .is_none()
        );
    }
}
