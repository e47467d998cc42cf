//! A shape for daf: the outline of a synthetic defect, which a synthesizer fills with a texture.

use daf_core::image::{GrayImage, Luma, RgbImage};
use daf_core::rand::{Rng, RngExt};
use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Region, Shape, typetag};
use serde::{Deserialize, Serialize};

/// A ring, as a cup or a dried drop leaves it.
///
/// The first paragraph is what `daf-cli list` shows, all of it what `daf-cli show` prints. The fields are the part's
/// settings in YAML: `shape: { type: my_part, radius: [0.1, 0.2] }`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MyPart {
    /// Outer radius as a share of the image's shorter side, drawn for each image from [low, high] within 0..=1.
    pub radius: (f64, f64),
    /// Inner radius as a share of the outer one, drawn from [low, high] within 0..=0.95.
    pub hole: (f64, f64),
}

daf_core::register!(Shape: MyPart = "my_part");

impl Default for MyPart {
    fn default() -> Self {
        Self {
            radius: (0.05, 0.25),
            hole: (0.5, 0.8),
        }
    }
}

#[typetag::serde(name = MyPart::NAME)]
impl Shape for MyPart {
    // Everything random comes from `rng`, so that the same seed gives the same shapes.
    fn draw(&self, normal: &RgbImage, rng: &mut dyn Rng) -> Result<Option<Region>, BoxError> {
        let (width, height) = normal.dimensions();
        let outer = draw(self.radius, rng) * f64::from(width.min(height));
        let inner = draw(self.hole, rng) * outer;
        let (x, y) = (rng.random_range(0..width), rng.random_range(0..height));
        let mask = GrayImage::from_fn(width, height, |column, row| {
            let distance = f64::from(column.abs_diff(x)).hypot(f64::from(row.abs_diff(y)));
            Luma([if (inner..=outer).contains(&distance) {
                255
            } else {
                0
            }])
        });
        // `None` where the ring has no pixel.
        Ok(Region::of(mask))
    }

    // Runs before any work is done: an error here is the user's to mend, so it names the field.
    fn check(&self) -> Result<(), BoxError> {
        for (field, (low, high), most) in [("radius", self.radius, 1.0), ("hole", self.hole, 0.95)]
        {
            if !(0.0 <= low && low <= high && high <= most) {
                return Err(format!(
                    "{field}: expected [low, high] within 0..={most}, found [{low}, {high}]"
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
    fn rings_have_the_size_of_the_image_and_come_from_the_seed_alone() {
        let part = MyPart::default();
        part.check().unwrap();
        let mut drawn = 0;
        for (width, height) in [(64, 64), (33, 47), (200, 20), (1, 1)] {
            let normal = RgbImage::new(width, height);
            for seed in 0..20 {
                let make = || {
                    part.draw(&normal, &mut SmallRng::seed_from_u64(seed))
                        .unwrap()
                };
                if let (Some(first), Some(second)) = (make(), make()) {
                    assert_eq!(first.mask().dimensions(), (width, height));
                    assert_eq!(first.mask(), second.mask());
                    drawn += 1;
                }
            }
        }
        assert!(drawn >= 50, "{drawn} of 80");
    }

    #[test]
    fn ranges_out_of_bounds_are_refused() {
        let part = MyPart {
            hole: (0.3, 1.0),
            ..MyPart::default()
        };
        assert!(part.check().unwrap_err().to_string().starts_with("hole: "));
    }
}
