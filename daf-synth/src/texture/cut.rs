//! Cut and paste: normal images as textures.

use std::sync::Arc;

use daf_core::image::{RgbImage, imageops};
use daf_core::rand::{Rng, RngExt};
use daf_core::{BoxError, Donors, Fill, Region, Texture, data, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::jitter::jitter;
use crate::range::Range;

/// The normal image itself, taken from another place: CutPaste's texture.
///
/// A piece of the size of the shape's box is cut out at a random place, turned, and its colors are jittered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SameImage {
    /// By how much brightness, contrast, saturation and hue may change, 0..=0.5: factors of 1 ± jitter, and
    /// as much of a turn of the color circle.
    pub jitter: f64,
    /// Degrees by which the piece is turned clockwise, drawn uniformly from [low, high] within −180..=180.
    pub angle: Range,
}

impl SameImage {
    /// CutPaste's color jitter.
    pub const JITTER: f64 = 0.1;
}

impl Default for SameImage {
    fn default() -> Self {
        Self {
            jitter: Self::JITTER,
            angle: Range(0.0, 0.0),
        }
    }
}

daf_core::register!(Texture: SameImage = "same_image");

#[typetag::serde(name = SameImage::NAME)]
impl Texture for SameImage {
    fn draw(
        &self,
        normal: &RgbImage,
        region: &Region,
        _: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Fill, BoxError> {
        Ok(piece(normal, region, (self.jitter, self.angle), rng))
    }

    fn check(&self) -> Result<(), BoxError> {
        check(self.jitter, self.angle)
    }
}

/// Another normal image: a piece from a random place of it.
///
/// The piece has the size of the shape's box; it is turned, and its colors are jittered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Donor {
    /// By how much brightness, contrast, saturation and hue may change, 0..=0.5: factors of 1 ± jitter, and
    /// as much of a turn of the color circle.
    pub jitter: f64,
    /// Degrees by which the piece is turned clockwise, drawn uniformly from [low, high] within −180..=180.
    pub angle: Range,
}

impl Default for Donor {
    fn default() -> Self {
        Self {
            jitter: 0.0,
            angle: Range(0.0, 0.0),
        }
    }
}

daf_core::register!(Texture: Donor = "donor");

#[typetag::serde(name = Donor::NAME)]
impl Texture for Donor {
    fn draw(
        &self,
        normal: &RgbImage,
        region: &Region,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Fill, BoxError> {
        let mut donor = donors.draw(rng)?;
        if donor.dimensions() != normal.dimensions() {
            donor = Arc::new(data::resize_rgb(&donor, normal.width(), normal.height())?);
        }
        Ok(piece(&donor, region, (self.jitter, self.angle), rng))
    }

    fn check(&self) -> Result<(), BoxError> {
        check(self.jitter, self.angle)
    }
}

fn check(jitter: f64, angle: Range) -> Result<(), BoxError> {
    if !(0.0..=0.5).contains(&jitter) {
        return Err(format!("jitter: expected a number of 0 to 0.5, found {jitter}").into());
    }
    angle.check("angle", -180.0, 180.0)
}

/// A piece of an image for a region, turned and jittered.
fn piece(image: &RgbImage, region: &Region, (amount, angle): (f64, Range), rng: &mut dyn Rng) -> Fill {
    let bounds = region.bounds();
    let mut piece = cut(image, bounds.width, bounds.height, angle.draw(rng), rng);
    jitter(&mut piece, amount, rng);
    Fill::Patch(piece)
}

/// A piece of an image that is at least as large, turned clockwise. It lies inside the image where it fits;
/// elsewhere the outermost pixels are repeated.
fn cut(image: &RgbImage, width: u32, height: u32, degrees: f64, rng: &mut dyn Rng) -> RgbImage {
    if degrees == 0.0 {
        let x = rng.random_range(0..=image.width() - width);
        let y = rng.random_range(0..=image.height() - height);
        return imageops::crop_imm(image, x, y, width, height).to_image();
    }
    let mut piece = RgbImage::new(width, height);
    let (sin, cos) = degrees.to_radians().sin_cos();
    // Half of the piece, from the middle of its first pixel to that of its last.
    let half = (f64::from(width - 1) / 2.0, f64::from(height - 1) / 2.0);
    let last = (f64::from(image.width() - 1), f64::from(image.height() - 1));
    let mut place = |reach: f64, last: f64| {
        let reach = reach.min(last / 2.0);
        reach + rng.random::<f64>() * (last - 2.0 * reach)
    };
    let middle = (
        place(half.0 * cos.abs() + half.1 * sin.abs(), last.0),
        place(half.0 * sin.abs() + half.1 * cos.abs(), last.1),
    );
    for (x, y, pixel) in piece.enumerate_pixels_mut() {
        let (dx, dy) = (f64::from(x) - half.0, f64::from(y) - half.1);
        let at_x = (middle.0 + dx * cos + dy * sin).clamp(0.0, last.0);
        let at_y = (middle.1 + dy * cos - dx * sin).clamp(0.0, last.1);
        let (left, top) = (at_x as u32, at_y as u32);
        let (right, bottom) = (
            (left + 1).min(image.width() - 1),
            (top + 1).min(image.height() - 1),
        );
        let (fx, fy) = ((at_x - f64::from(left)) as f32, (at_y - f64::from(top)) as f32);
        let corners = [(left, top), (right, top), (left, bottom), (right, bottom)].map(|at| image[at].0);
        let weights = [(1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy];
        for (channel, value) in pixel.0.iter_mut().enumerate() {
            let sum: f32 = corners
                .iter()
                .zip(weights)
                .map(|(c, w)| f32::from(c[channel]) * w)
                .sum();
            *value = (sum + 0.5) as u8;
        }
    }
    piece
}

#[cfg(test)]
mod tests {
    use daf_core::image::{GrayImage, Rgb};
    use daf_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn gradient() -> RgbImage {
        RgbImage::from_fn(60, 40, |x, y| Rgb([4 * x as u8, 6 * y as u8, 7]))
    }

    #[test]
    fn pieces_come_from_all_over_the_image_and_are_unchanged() {
        let image = gradient();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut columns, mut rows) = ([false; 41], [false; 31]);
        for _ in 0..1000 {
            let piece = cut(&image, 20, 10, 0.0, &mut rng);
            let [r, g, _] = piece.get_pixel(0, 0).0;
            let (x, y) = (u32::from(r / 4), u32::from(g / 6));
            for (dx, dy, pixel) in piece.enumerate_pixels() {
                assert_eq!(pixel, image.get_pixel(x + dx, y + dy));
            }
            (columns[x as usize], rows[y as usize]) = (true, true);
        }
        assert!(!columns.contains(&false) && !rows.contains(&false));
    }

    #[test]
    fn a_quarter_turn_is_exact_and_clockwise() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..20 {
            let piece = cut(&gradient(), 7, 5, 90.0, &mut rng);
            let [r, g, _] = piece.get_pixel(0, 0).0;
            // What was at the left is at the top, what was at the bottom is at the left.
            let (right, below) = (piece.get_pixel(6, 0).0, piece.get_pixel(0, 4).0);
            assert_eq!((right[0], g.abs_diff(right[1]), g > right[1]), (r, 36, true));
            assert_eq!((below[1], below[0].abs_diff(r), below[0] > r), (g, 16, true));
        }
    }

    #[test]
    fn any_angle_and_size_stays_inside() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (width, height) in [(1, 1), (60, 40), (60, 1), (1, 40), (30, 30)] {
            for degrees in [0.0, 1.0, 45.0, -77.0, 180.0] {
                let piece = cut(&gradient(), width, height, degrees, &mut rng);
                assert_eq!(piece.dimensions(), (width, height));
                assert!(piece.pixels().all(|p| p.0[2] == 7));
            }
        }
    }

    #[test]
    fn donors_of_another_size_are_resized() {
        struct Others;
        impl Donors for Others {
            fn draw(&self, _: &mut dyn Rng) -> Result<Arc<RgbImage>, BoxError> {
                Ok(Arc::new(RgbImage::from_pixel(3, 2, Rgb([9, 8, 7]))))
            }
        }
        let region = Region::of(GrayImage::from_pixel(50, 50, [255].into())).unwrap();
        let fill = Donor::default().draw(
            &RgbImage::new(50, 50),
            &region,
            &Others,
            &mut ChaCha8Rng::seed_from_u64(1),
        );
        let Fill::Patch(patch) = fill.unwrap() else {
            panic!()
        };
        assert_eq!(patch, RgbImage::from_pixel(50, 50, Rgb([9, 8, 7])));
    }
}
