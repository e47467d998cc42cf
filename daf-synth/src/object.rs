//! Object masks: which pixels of an image show the object.

use daf_core::BoxError;
use daf_core::image::RgbImage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::median::majority;

/// Segmentation of the object from the background, from the pixels of one image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ObjectModel {
    /// Every pixel is object: for textures and for objects that fill the image.
    Everywhere {},
    /// For a background of known brightness, as NSA has it.
    Threshold {
        /// Gray level of the background from 0 to 255.
        brightness: f64,
        /// A pixel is object if the mean of its three channels is farther than this from the background's
        /// brightness, in gray levels.
        threshold: f64,
    },
    /// For a background of one unknown color: it is what the image's border shows mostly. An image on which
    /// nothing stands out from that is object as a whole.
    Border(Border),
}

/// Parameters of [`ObjectModel::Border`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Border {
    /// A pixel is object if any of its channels is farther than this many spreads from the median of the
    /// border. The spread is the median deviation there, scaled to a standard deviation, and at least 4 gray
    /// levels. Smaller numbers take in the object's shadow, larger ones lose objects of little contrast.
    pub spreads: f64,
    /// Whether holes count as object: background that is not connected with the border.
    pub fill_holes: bool,
}

impl Default for Border {
    fn default() -> Self {
        Self {
            spreads: 10.0,
            fill_holes: true,
        }
    }
}

impl Default for ObjectModel {
    fn default() -> Self {
        Self::Border(Border::default())
    }
}

/// Radius of the median filter of object masks, as in NSA.
const RADIUS: usize = 3;
/// Width of the border as a share of the image's shorter side.
const BORDER: f64 = 0.02;
/// Smallest spread in gray levels: even a flat background has noise of the camera and of compression.
const NOISE: f64 = 4.0;
/// Smallest share of pixels that stand out from the border; with fewer, the whole image is object.
const LEAST: f64 = 0.005;

impl ObjectModel {
    /// The object in an image, after a median filter over 7 × 7 pixels.
    #[must_use]
    pub fn find(&self, image: &RgbImage) -> ObjectMask {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let mut inside = match self {
            Self::Everywhere {} => return ObjectMask::everywhere(width, height),
            Self::Threshold {
                brightness,
                threshold,
            } => {
                // |mean − brightness| > threshold, times three: sums are integers.
                let (low, high) = (3.0 * (brightness - threshold), 3.0 * (brightness + threshold));
                let (low, high) = (low.ceil() as i32, high.floor() as i32);
                let object = |p: &[u8]| {
                    let sum = i32::from(p[0]) + i32::from(p[1]) + i32::from(p[2]);
                    u8::from(sum < low || sum > high)
                };
                image.as_raw().chunks_exact(3).map(object).collect::<Vec<_>>()
            }
            Self::Border(border) => {
                let apart = border.apart(image);
                let object = |p: &[u8]| {
                    apart[0][usize::from(p[0])] | apart[1][usize::from(p[1])] | apart[2][usize::from(p[2])]
                };
                image.as_raw().chunks_exact(3).map(object).collect()
            }
        };
        majority(&mut inside, width, RADIUS);
        if let Self::Border(border) = self {
            if count(&inside) as f64 <= LEAST * inside.len() as f64 {
                return ObjectMask::everywhere(width, height);
            }
            if border.fill_holes {
                fill_holes(&mut inside, width);
            }
        }
        ObjectMask { inside, width }
    }

    /// Checks the numbers; `field` is where the model stands.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    pub fn check(&self, field: &str) -> Result<(), BoxError> {
        let within = |name: &str, value: f64, least: f64, most: f64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(BoxError::from(format!(
                    "{field}.{name}: expected a number from {least} to {most}, found {value}"
                )))
            }
        };
        match self {
            Self::Everywhere {} => Ok(()),
            Self::Threshold {
                brightness,
                threshold,
            } => {
                within("brightness", *brightness, 0.0, 255.0)?;
                within("threshold", *threshold, 0.0, 255.0)
            }
            Self::Border(border) => within("spreads", border.spreads, 0.1, 100.0),
        }
    }
}

impl Border {
    /// 1 for each value of each channel that is apart from the border's, 0 for the others.
    fn apart(self, image: &RgbImage) -> [[u8; 256]; 3] {
        let (width, height) = image.dimensions();
        let depth = ((f64::from(width.min(height)) * BORDER).round() as usize).max(1);
        let mut counts = [[0u32; 256]; 3];
        let mut count = |pixels: &[u8]| {
            for pixel in pixels.chunks_exact(3) {
                for (counts, value) in counts.iter_mut().zip(pixel) {
                    counts[usize::from(*value)] += 1;
                }
            }
        };
        let (width, height) = (width as usize, height as usize);
        for (y, row) in image.as_raw().chunks_exact((width * 3).max(1)).enumerate() {
            if y < depth || y + depth >= height {
                count(row);
            } else {
                let side = depth.min(width) * 3;
                count(&row[..side]);
                count(&row[row.len() - side..]);
            }
        }
        counts.map(|counts| {
            let middle = median(&counts);
            let mut deviations = [0u32; 256];
            for (value, count) in counts.iter().enumerate() {
                deviations[value.abs_diff(middle)] += count;
            }
            // The median deviation of a normal distribution is 0.6745 standard deviations.
            let spread = (median(&deviations) as f64 / 0.6745).max(NOISE);
            std::array::from_fn(|value| u8::from(value.abs_diff(middle) as f64 > self.spreads * spread))
        })
    }
}

fn median(counts: &[u32; 256]) -> usize {
    let total: u32 = counts.iter().sum();
    let mut below = 0;
    counts
        .iter()
        .position(|count| {
            below += count;
            2 * below >= total
        })
        .unwrap_or(0)
}

fn count(mask: &[u8]) -> usize {
    mask.iter().map(|m| usize::from(*m)).sum()
}

/// Makes background object where it is not connected (by edges) with the border.
fn fill_holes(inside: &mut [u8], width: usize) {
    const REACHED: u8 = 2;
    let height = inside.len() / width.max(1);
    let mut waiting = Vec::new();
    let reach = |inside: &mut [u8], waiting: &mut Vec<usize>, at: usize| {
        if inside[at] == 0 {
            inside[at] = REACHED;
            waiting.push(at);
        }
    };
    for x in 0..width {
        reach(inside, &mut waiting, x);
        reach(inside, &mut waiting, (height - 1) * width + x);
    }
    for y in 0..height {
        reach(inside, &mut waiting, y * width);
        reach(inside, &mut waiting, y * width + width - 1);
    }
    while let Some(at) = waiting.pop() {
        let x = at % width;
        if x > 0 {
            reach(inside, &mut waiting, at - 1);
        }
        if x + 1 < width {
            reach(inside, &mut waiting, at + 1);
        }
        if at >= width {
            reach(inside, &mut waiting, at - width);
        }
        if at + width < inside.len() {
            reach(inside, &mut waiting, at + width);
        }
    }
    inside.iter_mut().for_each(|m| *m = u8::from(*m != REACHED));
}

/// The pixels of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMask {
    /// 1 on the object, 0 off it, row by row.
    inside: Vec<u8>,
    width: usize,
}

impl ObjectMask {
    fn everywhere(width: usize, height: usize) -> Self {
        Self {
            inside: vec![1; width * height],
            width,
        }
    }

    /// 1 for each pixel of the object, 0 for the others, row by row.
    #[must_use]
    pub fn as_raw(&self) -> &[u8] {
        &self.inside
    }

    /// Columns of the mask.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Share of the image that the object takes.
    #[must_use]
    pub fn share(&self) -> f64 {
        count(&self.inside) as f64 / self.inside.len().max(1) as f64
    }

    /// Columns `x..x + width` of row `y`.
    pub(crate) fn row(&self, x: usize, y: usize, width: usize) -> &[u8] {
        &self.inside[y * self.width + x..][..width]
    }

    /// Integral image: sums over all pixels above and left of each corner, one row and column more than the
    /// mask.
    pub(crate) fn integral(&self) -> Vec<u32> {
        let (width, stride) = (self.width.max(1), self.width + 1);
        let mut sums = vec![0; stride * (self.inside.len() / width + 1)];
        for (y, row) in self.inside.chunks_exact(width).enumerate() {
            let (above, here) = sums[y * stride..].split_at_mut(stride);
            let mut sum = 0;
            for ((here, above), inside) in here[1..].iter_mut().zip(&above[1..]).zip(row) {
                sum += u32::from(*inside);
                *here = above + sum;
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use daf_core::image::Rgb;

    use super::*;

    /// A dark disk with a bright hole on a noisy bright background.
    fn washer() -> RgbImage {
        RgbImage::from_fn(120, 90, |x, y| {
            let square = (f64::from(x) - 60.0).powi(2) + (f64::from(y) - 45.0).powi(2);
            let noise = ((x * 31 + y * 17) % 7) as u8;
            if (100.0..900.0).contains(&square) {
                Rgb([60, 50 + noise, 40])
            } else {
                Rgb([200 + noise, 200, 195])
            }
        })
    }

    fn at(mask: &ObjectMask, x: usize, y: usize) -> bool {
        mask.as_raw()[y * 120 + x] == 1
    }

    #[test]
    fn a_threshold_finds_what_differs_in_brightness() {
        let model = ObjectModel::Threshold {
            brightness: 200.0,
            threshold: 60.0,
        };
        let mask = model.find(&washer());
        assert!(at(&mask, 40, 45) && !at(&mask, 60, 45) && !at(&mask, 5, 5));
        let expected = std::f64::consts::PI * 800.0 / (120.0 * 90.0);
        assert!(
            (mask.share() - expected).abs() < 0.01,
            "{} {expected}",
            mask.share()
        );
    }

    #[test]
    fn the_threshold_itself_is_background() {
        let model = ObjectModel::Threshold {
            brightness: 100.0,
            threshold: 20.0,
        };
        for (value, object) in [(80, false), (79, true), (120, false), (121, true)] {
            let share = model.find(&RgbImage::from_pixel(9, 9, Rgb([value; 3]))).share();
            assert_eq!(share > 0.5, object, "{value}");
        }
    }

    #[test]
    fn the_border_model_needs_no_numbers_and_fills_holes_if_asked_to() {
        for fill_holes in [true, false] {
            let mask = ObjectModel::Border(Border {
                fill_holes,
                ..Border::default()
            })
            .find(&washer());
            assert!(at(&mask, 40, 45) && !at(&mask, 5, 5));
            assert_eq!(at(&mask, 60, 45), fill_holes);
        }
    }

    #[test]
    fn an_image_without_background_is_object_as_a_whole() {
        let texture = RgbImage::from_fn(64, 64, |x, y| Rgb([((x * 37 + y * 91) % 120) as u8 + 60; 3]));
        assert_eq!(ObjectModel::default().find(&texture).share(), 1.0);
        assert_eq!(ObjectModel::Everywhere {}.find(&texture).share(), 1.0);
    }

    #[test]
    fn an_object_that_reaches_over_the_border_is_still_found() {
        let image = RgbImage::from_fn(100, 80, |x, _| {
            Rgb(if (40..60).contains(&x) { [30; 3] } else { [180; 3] })
        });
        let mask = ObjectModel::default().find(&image);
        assert!((mask.share() - 0.2).abs() < 0.01, "{}", mask.share());
    }

    #[test]
    fn single_pixels_are_filtered_out() {
        let mut image = RgbImage::from_pixel(40, 40, Rgb([200; 3]));
        image.put_pixel(20, 20, Rgb([0; 3]));
        let model = ObjectModel::Threshold {
            brightness: 200.0,
            threshold: 60.0,
        };
        assert_eq!(model.find(&image).share(), 0.0);
    }

    #[test]
    fn integrals_count_object_pixels() {
        let mask = ObjectModel::default().find(&washer());
        let sums = mask.integral();
        let count = |x0: usize, y0: usize, x1: usize, y1: usize| {
            sums[y1 * 121 + x1] + sums[y0 * 121 + x0] - sums[y0 * 121 + x1] - sums[y1 * 121 + x0]
        };
        for (x0, y0, x1, y1) in [(0, 0, 120, 90), (30, 20, 70, 60), (50, 50, 51, 51), (9, 9, 9, 9)] {
            let direct: u32 = (y0..y1)
                .flat_map(|y| mask.row(x0, y, x1 - x0))
                .map(|m| u32::from(*m))
                .sum();
            assert_eq!(count(x0, y0, x1, y1), direct);
        }
    }

    #[test]
    fn images_of_no_or_few_pixels_are_survived() {
        for (width, height) in [(0, 0), (1, 1), (1, 5), (3, 2)] {
            let image = RgbImage::new(width, height);
            for model in [
                ObjectModel::default(),
                ObjectModel::Everywhere {},
                ObjectModel::Threshold {
                    brightness: 200.0,
                    threshold: 60.0,
                },
            ] {
                let mask = model.find(&image);
                assert_eq!(mask.as_raw().len(), (width * height) as usize);
                assert_eq!(
                    mask.integral().len(),
                    ((width + 1) * if width == 0 { 1 } else { height + 1 }) as usize
                );
            }
            fill_holes(
                &mut vec![0; (width * height).max(1) as usize],
                width.max(1) as usize,
            );
        }
    }

    #[test]
    fn numbers_out_of_range_name_the_field() {
        let model = ObjectModel::Threshold {
            brightness: 300.0,
            threshold: 1.0,
        };
        let error = model.check("object").unwrap_err().to_string();
        assert_eq!(
            error,
            "object.brightness: expected a number from 0 to 255, found 300"
        );
        let model = ObjectModel::Border(Border {
            spreads: f64::NAN,
            ..Border::default()
        });
        assert!(model.check("model").is_err());
    }
}
