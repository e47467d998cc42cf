//! Rectangles.

use daf_core::image::{GrayImage, RgbImage};
use daf_core::rand::{Rng, RngExt};

use daf_core::{BoxError, Rect, Region, Shape, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::range::Range;

/// One upright rectangle, anywhere in the image.
///
/// Where a rectangle of the drawn aspect does not fit into the image, it is made less elongated, the area
/// stays. The defaults are CutPaste's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rectangle {
    /// Share of the image's area that the rectangle takes, drawn uniformly from [low, high] within 0..=1.
    pub area: Range,
    /// Width divided by height, drawn uniformly on a log scale from [low, high] within 0.01..=100.
    pub aspect: Range,
}

impl Default for Rectangle {
    fn default() -> Self {
        Self {
            area: Self::AREA,
            aspect: Self::ASPECT,
        }
    }
}

daf_core::register!(Shape: Rectangle = "rectangle");

impl Rectangle {
    /// CutPaste's range of areas; the DAF paper gives none for its simple shapes.
    pub const AREA: Range = Range(0.02, 0.15);
    /// CutPaste's range of aspects.
    pub const ASPECT: Range = Range(0.3, 3.3);

    /// Draws a rectangle in an image of that size, at least one pixel large.
    pub(crate) fn place(&self, width: u32, height: u32, rng: &mut dyn Rng) -> Rect {
        let area = self.area.draw(rng) * f64::from(width) * f64::from(height);
        let aspect = self.aspect.draw_log(rng);
        let columns = (area * aspect)
            .sqrt()
            .max(area / f64::from(height))
            .min(f64::from(width));
        let rows = ((area / columns).round() as u32).clamp(1, height);
        let columns = (columns.round() as u32).clamp(1, width);
        Rect {
            x: rng.random_range(0..=width - columns),
            y: rng.random_range(0..=height - rows),
            width: columns,
            height: rows,
        }
    }
}

#[typetag::serde(name = Rectangle::NAME)]
impl Shape for Rectangle {
    fn draw(&self, normal: &RgbImage, rng: &mut dyn Rng) -> Result<Option<Region>, BoxError> {
        let (width, height) = normal.dimensions();
        if width == 0 || height == 0 {
            return Ok(None);
        }
        let place = self.place(width, height, rng);
        let mut mask = GrayImage::new(width, height);
        for row in mask
            .chunks_exact_mut(width as usize)
            .skip(place.y as usize)
            .take(place.height as usize)
        {
            row[place.x as usize..(place.x + place.width) as usize].fill(255);
        }
        Ok(Region::of(mask))
    }

    fn check(&self) -> Result<(), BoxError> {
        self.area.check("area", 0.0, 1.0)?;
        self.aspect.check("aspect", 0.01, 100.0)
    }
}

#[cfg(test)]
mod tests {
    use daf_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const USUAL: Rectangle = Rectangle {
        area: Rectangle::AREA,
        aspect: Rectangle::ASPECT,
    };

    #[test]
    fn area_and_aspect_are_those_asked_for() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut areas, mut wide) = (0.0, 0);
        for _ in 0..2000 {
            let place = USUAL.place(1000, 1000, &mut rng);
            let area = f64::from(place.width * place.height) / 1e6;
            let aspect = f64::from(place.width) / f64::from(place.height);
            assert!((0.0195..0.1505).contains(&area), "{area}");
            assert!((0.298..3.32).contains(&aspect), "{aspect}");
            areas += area;
            wide += usize::from(aspect > 1.0);
        }
        assert!((areas / 2000.0 - 0.085).abs() < 0.003, "{areas}");
        assert!((900..1100).contains(&wide), "{wide}");
    }

    #[test]
    fn every_place_is_reached() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut hits = vec![0; 20 * 10];
        for _ in 0..2000 {
            let region = USUAL.draw(&RgbImage::new(20, 10), &mut rng).unwrap().unwrap();
            hits.iter_mut()
                .zip(region.mask().as_raw())
                .for_each(|(h, m)| *h += usize::from(*m > 0));
        }
        assert!(hits.iter().all(|h| *h > 10), "{hits:?}");
    }

    #[test]
    fn the_area_stays_where_the_aspect_does_not_fit() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let shape = Rectangle {
            area: Range(0.5, 0.5),
            aspect: Range(100.0, 100.0),
        };
        let place = shape.place(100, 100, &mut rng);
        assert_eq!((place.width, place.height), (100, 50));
    }

    #[test]
    fn nonsense_ranges_do_not_panic() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for range in [
            Range(f64::NAN, 1.0),
            Range(-5.0, -1.0),
            Range(f64::INFINITY, 0.0),
            Range(0.0, 0.0),
        ] {
            let shape = Rectangle {
                area: range,
                aspect: range,
            };
            assert!(shape.check().is_err() || range.0 == 0.0);
            shape.draw(&RgbImage::new(9, 7), &mut rng).unwrap();
        }
    }
}
