//! A texture for daf: the material of a synthetic defect, with which a synthesizer fills a shape.

use std::sync::Arc;

use daf_core::image::{Rgb, RgbImage};
use daf_core::rand::{Rng, RngExt};
use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Donors, Fill, Region, Texture, typetag};
use serde::{Deserialize, Serialize};

/// Stripes of two random colours in a random direction.
///
/// The first paragraph is what `daf-cli list` shows, all of it what `daf-cli show` prints. The fields are the part's
/// settings in YAML: `texture: { type: my_part, period: [4, 8] }`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MyPart {
    /// Pixels from a stripe to the next of its colour, drawn for each image from [low, high]; at least 2.
    pub period: (f64, f64),
}

daf_core::register!(Texture: MyPart = "my_part");

impl Default for MyPart {
    fn default() -> Self {
        Self {
            period: (4.0, 32.0),
        }
    }
}

#[typetag::serde(name = MyPart::NAME)]
impl Texture for MyPart {
    // Everything random comes from `rng`, so that the same seed gives the same texture. An image of the normal image's
    // size is one way to fill the region; `Fill::Patch` has the size of the region's bounds, `Fill::Color` is one color.
    fn draw(
        &self,
        normal: &RgbImage,
        _: &Region,
        _: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Fill, BoxError> {
        let (low, high) = self.period;
        let period = low + (high - low) * rng.random::<f64>();
        let (sine, cosine) = (rng.random::<f64>() * std::f64::consts::TAU).sin_cos();
        let colors: [[u8; 3]; 2] = rng.random();
        let stripes = RgbImage::from_fn(normal.width(), normal.height(), |x, y| {
            let across = f64::from(x) * cosine + f64::from(y) * sine;
            Rgb(colors[usize::from((across / period).rem_euclid(1.0) < 0.5)])
        });
        Ok(Fill::Image(Arc::new(stripes)))
    }

    // Runs before any work is done: an error here is the user's to mend, so it names the field.
    fn check(&self) -> Result<(), BoxError> {
        let (low, high) = self.period;
        if 2.0 <= low && low <= high && high.is_finite() {
            return Ok(());
        }
        Err(format!("period: expected [low, high] of at least 2, found [{low}, {high}]").into())
    }
}

#[cfg(test)]
#[allow(clippy::needless_update)] // Fields that you add have their defaults in the tests.
mod tests {
    use daf_core::image::{GrayImage, Luma};
    use daf_core::rand::{SeedableRng, rngs::SmallRng};

    use super::*;

    #[test]
    fn stripes_have_the_size_of_the_image_and_two_colors() {
        let normal = RgbImage::new(64, 48);
        let region = Region::of(GrayImage::from_pixel(64, 48, Luma([255]))).unwrap();
        for seed in 0..20 {
            let make = || {
                let mut rng = SmallRng::seed_from_u64(seed);
                match MyPart::default()
                    .draw(&normal, &region, &normal, &mut rng)
                    .unwrap()
                {
                    Fill::Image(image) => image,
                    other => panic!("{other:?}"),
                }
            };
            let image = make();
            assert_eq!(image, make());
            assert_eq!(image.dimensions(), normal.dimensions());
            let colors: std::collections::HashSet<_> = image.pixels().collect();
            assert_eq!(colors.len(), 2, "seed {seed}");
        }
    }

    #[test]
    fn ranges_out_of_bounds_are_refused() {
        let part = MyPart {
            period: (1.0, 8.0),
            ..MyPart::default()
        };
        assert!(
            part.check()
                .unwrap_err()
                .to_string()
                .starts_with("period: ")
        );
    }
}
