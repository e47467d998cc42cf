//! Ellipses that overlap.

use daf_core::image::{GrayImage, RgbImage};
use daf_core::rand::{Rng, RngExt};
use daf_core::{BoxError, Region, Shape, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rectangle::Rectangle;
use super::scar::span;
use crate::range::Range;

/// A few ellipses at random angles in a common box: a rounded patch with lobes, as NSA's ellipses.
///
/// Their middles lie anywhere in the box, half their axes have a tenth to a half of its sides, and what
/// reaches beyond the box is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ellipses {
    /// How many ellipses, drawn from [least, most] within 1..=100; NSA's code has 5.
    pub count: [u32; 2],
    /// Share of the image's area that the box takes, drawn uniformly from [low, high] within 0..=1.
    pub area: Range,
    /// Width of the box divided by its height, drawn uniformly on a log scale from [low, high] within
    /// 0.01..=100.
    pub aspect: Range,
}

impl Default for Ellipses {
    fn default() -> Self {
        Self {
            count: [5, 5],
            area: Rectangle::AREA,
            aspect: Rectangle::ASPECT,
        }
    }
}

daf_core::register!(Shape: Ellipses = "ellipses");

impl Ellipses {
    fn frame(&self) -> Rectangle {
        Rectangle {
            area: self.area,
            aspect: self.aspect,
        }
    }
}

#[typetag::serde(name = Ellipses::NAME)]
impl Shape for Ellipses {
    fn draw(&self, normal: &RgbImage, rng: &mut dyn Rng) -> Result<Option<Region>, BoxError> {
        self.check()?;
        let (width, height) = normal.dimensions();
        if width == 0 || height == 0 {
            return Ok(None);
        }
        let frame = self.frame().place(width, height, rng);
        let (wide, high) = (f64::from(frame.width), f64::from(frame.height));
        let mut mask = GrayImage::new(width, height);
        for _ in 0..rng.random_range(self.count[0]..=self.count[1]) {
            let middle = (Range(0.0, wide).draw(rng), Range(0.0, high).draw(rng));
            let axes = Range(0.1, 0.5);
            let (a, b) = (axes.draw(rng) * wide, axes.draw(rng) * high);
            let (sin, cos) = Range(0.0, 180.0).draw(rng).to_radians().sin_cos();
            let reach = (a * cos).hypot(b * sin).max((a * sin).hypot(b * cos));
            for y in span(middle.1, reach, frame.height) {
                for x in span(middle.0, reach, frame.width) {
                    let (dx, dy) = (x as f64 + 0.5 - middle.0, y as f64 + 0.5 - middle.1);
                    let (u, v) = ((dx * cos + dy * sin) / a, (dy * cos - dx * sin) / b);
                    if u * u + v * v <= 1.0 {
                        mask[(frame.x + x as u32, frame.y + y as u32)].0 = [255];
                    }
                }
            }
            // A small one may lie between the middles of all pixels.
            let x = frame.x + (middle.0 as u32).min(frame.width - 1);
            let y = frame.y + (middle.1 as u32).min(frame.height - 1);
            mask[(x, y)].0 = [255];
        }
        Ok(Region::of(mask))
    }

    fn check(&self) -> Result<(), BoxError> {
        let [least, most] = self.count;
        if least == 0 || least > most || most > 100 {
            return Err(format!(
                "count: expected [least, most] with 1 <= least <= most <= 100, found [{least}, {most}]"
            )
            .into());
        }
        self.frame().check()
    }
}

#[cfg(test)]
mod tests {
    use daf_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn ellipses_stay_in_a_box_of_the_area_asked_for_and_more_of_them_cover_more() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut covered = |count: u32| -> f64 {
            let shape = Ellipses {
                count: [count, count],
                area: Range(0.1, 0.1),
                aspect: Range(1.0, 1.0),
            };
            let areas = (0..200).map(|_| {
                let region = shape.draw(&RgbImage::new(100, 100), &mut rng).unwrap().unwrap();
                assert!(region.bounds().width <= 32 && region.bounds().height <= 32);
                region.mask().iter().filter(|m| **m > 0).count() as f64 / 1e4
            });
            areas.sum::<f64>() / 200.0
        };
        let (one, five) = (covered(1), covered(5));
        // Half axes of 0.3 of the side on average, some of it cut off by the box.
        assert!((0.01..0.03).contains(&one), "{one}");
        assert!((0.04..0.09).contains(&five), "{five}");
    }
}
