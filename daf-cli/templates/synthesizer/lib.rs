//! A synthesizer for daf: it damages normal images, so that a network can learn what damage looks like.

use daf_core::image::{GrayImage, Luma, RgbImage};
use daf_core::rand::{Rng, RngExt};
use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Donors, Synthesis, Rect, Synthesizer, Synthetic, typetag};
use serde::{Deserialize, Serialize};

/// A round stain with a soft edge, lighter or darker than what it lies on.
///
/// The first paragraph is what `daf-cli list` shows, all of it what `daf-cli show` prints. The fields are the part's
/// settings in YAML: `synthesizer: { type: my_part, strength: [0.1, 0.3] }`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MyPart {
    /// Radius as a share of the image's shorter side, drawn for each image from [low, high] within 0..=1.
    pub radius: (f64, f64),
    /// How much the middle changes, as a share of the range from black to white, drawn from [low, high] within 0..=1.
    pub strength: (f64, f64),
}

daf_core::register!(Synthesizer: MyPart = "my_part");

impl Default for MyPart {
    fn default() -> Self {
        Self {
            radius: (0.05, 0.2),
            strength: (0.2, 0.6),
        }
    }
}

/// Smaller changes, in grey levels, are not seen: they are neither made nor marked as a defect.
const VISIBLE: f64 = 8.0;

#[typetag::serde(name = MyPart::NAME)]
impl Synthesizer for MyPart {
    // Everything random comes from `rng`, so that the same seed gives the same images.
    fn synthesize(
        &self,
        normal: &RgbImage,
        _: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Synthesis, BoxError> {
        let (width, height) = normal.dimensions();
        let radius = draw(self.radius, rng) * f64::from(width.min(height));
        let strength = draw(self.strength, rng) * 255.0;
        let (x, y) = (rng.random_range(0..width), rng.random_range(0..height));
        // Away from the nearer end of the range, where there is room for a change.
        let level = normal
            .get_pixel(x, y)
            .0
            .iter()
            .map(|value| f64::from(*value))
            .sum::<f64>()
            / 3.0;
        let strength = if level < 127.5 { strength } else { -strength };

        let mut image = normal.clone();
        let mut mask = GrayImage::new(width, height);
        for (column, row, pixel) in image.enumerate_pixels_mut() {
            let distance = f64::from(column.abs_diff(x)).hypot(f64::from(row.abs_diff(y)));
            let change = strength * (1.0 - (distance / radius).powi(2));
            if distance < radius && change.abs() >= VISIBLE {
                pixel.0 = pixel
                    .0
                    .map(|value| (f64::from(value) + change).round() as u8);
                mask.put_pixel(column, row, Luma([255]));
            }
        }
        Ok(match Rect::around(&mask) {
            Some(touched) => Synthesis::Anomalous(Synthetic {
                image,
                mask,
                target: None,
                touched,
                class: 0,
            }),
            None => Synthesis::Unchanged,
        })
    }

    // Runs before any work is done: an error here is the user's to mend, so it names the field.
    fn check(&self) -> Result<(), BoxError> {
        for (field, (low, high)) in [("radius", self.radius), ("strength", self.strength)] {
            if !(0.0 <= low && low <= high && high <= 1.0) {
                return Err(format!(
                    "{field}: expected [low, high] within 0..=1, found [{low}, {high}]"
                )
                .into());
            }
        }
        Ok(())
    }
}

/// A number drawn evenly from a range.
fn draw((low, high): (f64, f64), rng: &mut dyn Rng) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

#[cfg(test)]
mod tests {
    use daf_core::rand::{SeedableRng, rngs::SmallRng};

    use super::*;

    #[test]
    fn damage_stays_within_its_mask_and_comes_from_the_seed_alone() {
        let part = MyPart::default();
        part.check().unwrap();
        let mut damaged = 0;
        for (width, height) in [(64, 64), (33, 47), (200, 20), (1, 1)] {
            let normal = RgbImage::from_fn(width, height, |x, y| {
                [(x % 251) as u8, (y * 5 % 241) as u8, 90].into()
            });
            for seed in 0..20 {
                let make = || {
                    part.synthesize(&normal, &normal, &mut SmallRng::seed_from_u64(seed))
                        .unwrap()
                };
                if let (Synthesis::Anomalous(first), Synthesis::Anomalous(second)) = (make(), make()) {
                    first.check(&normal, part.blends()).unwrap();
                    assert_eq!((&first.image, &first.mask), (&second.image, &second.mask));
                    assert_ne!(first.image, normal);
                    damaged += 1;
                }
            }
        }
        assert!(damaged >= 60, "{damaged} of 80");
    }

    #[test]
    fn ranges_out_of_bounds_are_refused() {
        let part = MyPart {
            radius: (0.3, 1.5),
            ..MyPart::default()
        };
        assert!(
            part.check()
                .unwrap_err()
                .to_string()
                .starts_with("radius: ")
        );
    }
}
