//! The ten augmentations of DRÆM's textures, on 8-bit values.
//!
//! Semantics are those of imgaug, and of PIL where imgaug hands on to it. The official code keeps images in
//! OpenCV's BGR order while imgaug takes them for RGB; our images are RGB, so that color spaces see the true
//! colors. For the random colors that come out this makes no systematic difference.

use std::sync::Arc;

use daf_core::Fill;
use daf_core::image::RgbImage;
use daf_core::rand::{Rng, RngExt};

use super::colorspace::{ColorSpace, HUES};
use crate::range::Range;
use crate::rotate::{Outside, rotate};

/// Applies three different augmentations to an image or a patch, in the order in which they are drawn; fewer
/// where one is drawn to do nothing. A plain color stays as it is.
pub fn augment(fill: &mut Fill, rng: &mut dyn Rng) {
    let (image, outside) = match fill {
        Fill::Color(_) => return,
        Fill::Image(image) => (Arc::make_mut(image), Outside::Black),
        Fill::Patch(patch) => (patch, Outside::Mirrored),
    };
    let mut kinds = DRAWN;
    for i in 0..3 {
        kinds.swap(i, rng.random_range(i..DRAWN.len()));
        if let Some(augmentation) = kinds[i](rng) {
            augmentation.apply_within(image, outside);
        }
    }
}

/// Draws the parameters of an augmentation; `None` for one that does nothing.
type Draw = fn(&mut dyn Rng) -> Option<Augmentation>;

/// The ten augmentations, with the ranges of the official code.
const DRAWN: [Draw; 10] = [
    |rng| {
        Some(Augmentation::Gamma(std::array::from_fn(|_| {
            Range(0.5, 2.0).draw(rng)
        })))
    },
    |rng| {
        Some(Augmentation::Brightness {
            space: ColorSpace::ALL[rng.random_range(0..ColorSpace::ALL.len())],
            factor: Range(0.8, 1.2).draw(rng),
            offset: rng.random_range(-30..=30),
            offset_first: rng.random(),
        })
    },
    |rng| Some(Augmentation::Sharpness(Range(0.0, 2.0).draw(rng))),
    |rng| {
        Some(Augmentation::HueSaturation {
            hue: rng.random_range(-50..=50),
            saturation: rng.random_range(-50..=50),
        })
    },
    |rng| {
        let threshold = rng.random_range(32..=128);
        rng.random::<bool>().then_some(Augmentation::Solarize(threshold))
    },
    |rng| Some(Augmentation::Posterize(rng.random_range(1..=8))),
    |_| Some(Augmentation::Invert),
    |rng| Some(Augmentation::Autocontrast(rng.random_range(0..=20))),
    |_| Some(Augmentation::Equalize),
    |rng| Some(Augmentation::Rotate(Range(-45.0, 45.0).draw(rng))),
];

/// An augmentation with its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Augmentation {
    /// `255·(v/255)^γ` with one γ per channel (imgaug's `GammaContrast`).
    Gamma([f64; 3]),
    /// Brightness times a factor and plus an offset (imgaug's `MultiplyAndAddToBrightness`).
    Brightness {
        /// Color space that defines brightness.
        space: ColorSpace,
        /// Factor of the brightness.
        factor: f64,
        /// Offset of the brightness in levels.
        offset: i16,
        /// Whether the offset is added before multiplying.
        offset_first: bool,
    },
    /// From smoothed (0) over unchanged (1) to sharpened (PIL's `ImageEnhance.Sharpness`).
    Sharpness(f64),
    /// Offsets of hue and saturation in 255ths (imgaug's `AddToHueAndSaturation`): hue turns, saturation is
    /// clipped.
    HueSaturation {
        /// 255 is a full turn of the color circle.
        hue: i32,
        /// 255 is full saturation.
        saturation: i32,
    },
    /// Inverts values from the threshold on.
    Solarize(u8),
    /// Keeps the highest 1 to 8 bits, the others become 0 (imgaug's `Posterize`).
    Posterize(u8),
    /// 255 − v.
    Invert,
    /// Stretches each channel over the whole range, after dropping this many per cent of the pixels on either
    /// side (PIL's `ImageOps.autocontrast`).
    Autocontrast(u8),
    /// Makes each channel's histogram flat (PIL's `ImageOps.equalize`).
    Equalize,
    /// Rotation about the center in degrees, clockwise; pixels from outside are black.
    Rotate(f64),
}

impl Augmentation {
    /// Changes the image.
    pub fn apply(self, image: &mut RgbImage) {
        self.apply_within(image, Outside::Black);
    }

    /// Changes the image; rotation takes `outside` from beyond its edges.
    fn apply_within(self, image: &mut RgbImage, outside: Outside) {
        match self {
            Self::Gamma(gammas) => {
                let curve = |gamma| table(|v| (v / 255.0).powf(gamma) * 255.0);
                look_up(image, gammas.map(curve));
            }
            Self::Brightness {
                space,
                factor,
                offset,
                offset_first,
            } => {
                let add = |v: f64| (v + f64::from(offset)).clamp(0.0, 255.0);
                let multiply = |v: f64| (v * factor).floor().clamp(0.0, 255.0);
                let table = table(|v| {
                    if offset_first {
                        multiply(add(v))
                    } else {
                        add(multiply(v))
                    }
                });
                space.change_brightness(image.as_chunks_mut().0, &table);
            }
            Self::Sharpness(factor) => sharpen(image, factor as f32),
            Self::HueSaturation { hue, saturation } => turn_hue(image, hue, saturation),
            Self::Solarize(threshold) => {
                let threshold = f64::from(threshold);
                look_up(image, [table(|v| if v >= threshold { 255.0 - v } else { v }); 3]);
            }
            Self::Posterize(bits) => {
                let step = f64::from(1u32 << 8u8.saturating_sub(bits).min(8));
                look_up(image, [table(|v| (v / step).floor() * step); 3]);
            }
            Self::Invert => look_up(image, [table(|v| 255.0 - v); 3]),
            Self::Autocontrast(cutoff) => {
                let tables = histograms(image).map(|histogram| stretch(histogram, cutoff));
                look_up(image, tables);
            }
            Self::Equalize => {
                let tables = histograms(image).map(|histogram| flatten(&histogram));
                look_up(image, tables);
            }
            Self::Rotate(degrees) => *image = rotate(image, degrees, outside),
        }
    }
}

/// One table of 256 values per channel.
type Table = [u8; 256];

/// Values are cut off to bytes.
fn table(value: impl Fn(f64) -> f64) -> Table {
    std::array::from_fn(|v| value(v as f64) as u8)
}

fn look_up(image: &mut RgbImage, tables: [Table; 3]) {
    for pixel in image.pixels_mut() {
        for (value, table) in pixel.0.iter_mut().zip(&tables) {
            *value = table[usize::from(*value)];
        }
    }
}

fn histograms(image: &RgbImage) -> [[u64; 256]; 3] {
    let mut counts = [[0; 256]; 3];
    for pixel in image.pixels() {
        for (counts, value) in counts.iter_mut().zip(pixel.0) {
            counts[usize::from(value)] += 1;
        }
    }
    counts
}

/// Adds to hue and saturation, both in 255ths.
pub(super) fn turn_hue(image: &mut RgbImage, hue: i32, saturation: i32) {
    let turn = hue * HUES / 255;
    let hues: Table = std::array::from_fn(|h| (h as i32 + turn).rem_euclid(HUES) as u8);
    let saturations: Table = std::array::from_fn(|s| (s as i32 + saturation).clamp(0, 255) as u8);
    for pixel in image.pixels_mut() {
        let [h, s, v] = ColorSpace::Hsv.encode(pixel.0);
        let (h, s) = (hues[usize::from(h)], saturations[usize::from(s)]);
        pixel.0 = ColorSpace::Hsv.decode([h, s, v]);
    }
}

/// PIL's autocontrast of one channel.
fn stretch(mut histogram: [u64; 256], cutoff: u8) -> Table {
    let cut = histogram.iter().sum::<u64>() * u64::from(cutoff) / 100;
    let drop = |left: &mut u64, count: &mut u64| {
        let dropped = (*count).min(*left);
        *count -= dropped;
        *left -= dropped;
    };
    histogram.iter_mut().fold(cut, |mut left, count| {
        drop(&mut left, count);
        left
    });
    histogram.iter_mut().rev().fold(cut, |mut left, count| {
        drop(&mut left, count);
        left
    });
    let low = histogram.iter().position(|c| *c > 0).unwrap_or(0) as f64;
    let high = histogram.iter().rposition(|c| *c > 0).unwrap_or(0) as f64;
    if high <= low {
        return table(|v| v);
    }
    let scale = 255.0 / (high - low);
    table(|v| v * scale - low * scale)
}

/// PIL's equalize of one channel.
fn flatten(histogram: &[u64; 256]) -> Table {
    let total: u64 = histogram.iter().sum();
    let last = histogram.iter().rfind(|c| **c > 0).copied().unwrap_or(0);
    let step = (total - last) / 255;
    if step == 0 {
        return table(|v| v);
    }
    let mut sum = step / 2;
    histogram.map(|count| {
        let value = (sum / step).min(255) as u8;
        sum += count;
        value
    })
}

/// PIL blends with its `SMOOTH` filter: 1 around 5, divided by 13; the outermost pixels stay.
fn sharpen(image: &mut RgbImage, factor: f32) {
    let stride = image.width() as usize * 3;
    if image.width() < 3 || image.height() < 3 {
        return;
    }
    let source = image.clone();
    let rows = |first: usize| source.chunks_exact(stride).skip(first);
    let sources = rows(0).zip(rows(1)).zip(rows(2));
    let mut columns = vec![0; stride];
    for (((above, here), below), target) in sources.zip(image.chunks_exact_mut(stride).skip(1)) {
        for (((sum, above), here), below) in columns.iter_mut().zip(above).zip(here).zip(below) {
            *sum = u16::from(*above) + u16::from(*here) + u16::from(*below);
        }
        let around = columns.iter().zip(&columns[3..]).zip(&columns[6..]);
        for ((((left, middle), right), here), target) in around.zip(&here[3..]).zip(&mut target[3..]) {
            let smooth = f32::from((left + middle + right + 4 * u16::from(*here) + 6) / 13);
            let value = (smooth + (f32::from(*here) - smooth) * factor) as i32;
            *target = value.clamp(0, 255) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use daf_core::image::Rgb;
    use daf_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn an_image_loses_its_corners_where_a_patch_does_not() {
        let white = RgbImage::from_pixel(20, 20, Rgb([255; 3]));
        let (mut image, mut patch) = (white.clone(), white.clone());
        Augmentation::Rotate(30.0).apply_within(&mut image, Outside::Black);
        Augmentation::Rotate(30.0).apply_within(&mut patch, Outside::Mirrored);
        assert_eq!((image.get_pixel(0, 0).0, &patch), ([0; 3], &white));
    }

    #[test]
    fn shared_images_are_copied_and_plain_colors_stay() {
        let shared = Arc::new(RgbImage::from_fn(9, 9, |x, y| {
            Rgb([x as u8 * 20, y as u8 * 20, 90])
        }));
        let before = RgbImage::clone(&shared);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut changed = 0;
        for _ in 0..20 {
            let mut fill = Fill::Image(Arc::clone(&shared));
            augment(&mut fill, &mut rng);
            assert_eq!(*shared, before);
            changed += u32::from(matches!(fill, Fill::Image(image) if *image != before));
        }
        assert!(changed > 15, "{changed}");
        let mut unused = ChaCha8Rng::seed_from_u64(1);
        augment(&mut Fill::Color(Rgb([1, 2, 3])), &mut unused);
        assert_eq!(unused, ChaCha8Rng::seed_from_u64(1));
    }

    #[test]
    fn sharpening_is_between_smoothing_and_its_opposite() {
        let image = RgbImage::from_fn(5, 5, |x, y| Rgb([if (x, y) == (2, 2) { 130 } else { 0 }; 3]));
        for (factor, expected) in [(0.0, 50), (1.0, 130), (1.5, 170)] {
            let mut sharpened = image.clone();
            Augmentation::Sharpness(factor).apply(&mut sharpened);
            assert_eq!(sharpened.get_pixel(2, 2).0, [expected; 3]);
            assert_eq!(sharpened.get_pixel(0, 0).0, [0; 3]);
        }
    }
}
