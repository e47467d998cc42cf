//! The ten augmentations of DRÆM's textures, on 8-bit values.
//!
//! Semantics are those of imgaug, and of PIL where imgaug hands on to it. The official code keeps images in OpenCV's
//! BGR order while imgaug takes them for RGB; our images are RGB, so that colour spaces see the true colours. For the
//! random colours that come out this makes no systematic difference.

use daf_core::image::RgbImage;
use daf_core::rand::{Rng, RngExt};

use super::colourspace::{ColourSpace, HUES, decode_hsv, encode_hsv};
use crate::range::Range;
use crate::rotate::rotate;

/// Applies three different augmentations, in the order in which they are drawn.
pub fn augment(image: &mut RgbImage, rng: &mut dyn Rng) {
    let mut kinds = DRAWN;
    for i in 0..3 {
        kinds.swap(i, rng.random_range(i..DRAWN.len()));
        if let Some(augmentation) = kinds[i](rng) {
            augmentation.apply(image);
        }
    }
}

/// Draws an augmentation's parameters; `None` where it is drawn to do nothing.
type Draw = fn(&mut dyn Rng) -> Option<Augmentation>;

/// The ten, with the official code's ranges.
const DRAWN: [Draw; 10] = [
    |rng| {
        Some(Augmentation::Gamma(std::array::from_fn(|_| {
            Range(0.5, 2.0).draw(rng)
        })))
    },
    |rng| {
        Some(Augmentation::Brightness {
            space: ColourSpace::ALL[rng.random_range(0..ColourSpace::ALL.len())],
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
        /// Where brightness is taken from.
        space: ColourSpace,
        /// What it is multiplied by.
        factor: f64,
        /// What is added, in grey levels.
        offset: i16,
        /// Whether the offset is added before multiplying.
        offset_first: bool,
    },
    /// From smoothed (0) over unchanged (1) to sharpened (PIL's `ImageEnhance.Sharpness`).
    Sharpness(f64),
    /// Added to hue and saturation, both in 255ths (imgaug's `AddToHueAndSaturation`): hue turns, saturation is clipped.
    HueSaturation {
        /// 255 is a full turn of the colour circle.
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
    /// Stretches each channel over the whole range, after dropping this many per cent of the pixels on either side
    /// (PIL's `ImageOps.autocontrast`).
    Autocontrast(u8),
    /// Makes each channel's histogram flat (PIL's `ImageOps.equalize`).
    Equalize,
    /// Degrees about the centre; what comes in is black.
    Rotate(f64),
}

impl Augmentation {
    /// Changes the image.
    pub fn apply(self, image: &mut RgbImage) {
        match self {
            Self::Gamma(gammas) => {
                let table = |gamma: f64| table(|v| ((v / 255.0).powf(gamma) * 255.0).clamp(0.0, 255.0) as u8);
                look_up(image, &gammas.map(table));
            }
            Self::Brightness {
                space,
                factor,
                offset,
                offset_first,
            } => {
                let add = |v: f64| (v + f64::from(offset)).clamp(0.0, 255.0);
                let multiply = |v: f64| (v * factor).floor().clamp(0.0, 255.0);
                let table = table(|v| if offset_first { multiply(add(v)) } else { add(multiply(v)) } as u8);
                let axis = space.brightness();
                recolour(image, |rgb| {
                    let mut colour = space.encode(rgb);
                    colour[axis] = table[colour[axis] as usize];
                    space.decode(colour)
                });
            }
            Self::Sharpness(factor) => sharpen(image, factor),
            Self::HueSaturation { hue, saturation } => {
                let turn = hue * HUES / 255;
                let hues = table(|v| (v as i32 + turn).rem_euclid(HUES) as u8);
                let saturations = table(|v| (v as i32 + saturation).clamp(0, 255) as u8);
                recolour(image, |rgb| {
                    let [hue, saturation, value] = encode_hsv(rgb);
                    decode_hsv([hues[hue as usize], saturations[saturation as usize], value])
                });
            }
            Self::Solarize(threshold) => {
                look_up(
                    image,
                    &[table(|v| {
                        if v >= f64::from(threshold) {
                            255 - v as u8
                        } else {
                            v as u8
                        }
                    }); 3],
                );
            }
            Self::Posterize(bits) => {
                let step = f64::from(1u32 << 8u8.saturating_sub(bits).min(8));
                look_up(image, &[table(|v| ((v / step).floor() * step) as u8); 3]);
            }
            Self::Invert => image.iter_mut().for_each(|v| *v = 255 - *v),
            Self::Autocontrast(cutoff) => {
                let tables = histograms(image).map(|h| stretch(h, cutoff));
                look_up(image, &tables);
            }
            Self::Equalize => {
                let tables = histograms(image).map(|h| flatten(&h));
                look_up(image, &tables);
            }
            Self::Rotate(degrees) => {
                let (width, height) = image.dimensions();
                let rotated = rotate::<3, _>(image.as_raw(), width as usize, height as usize, degrees);
                image.copy_from_slice(&rotated);
            }
        }
    }
}

/// One table of 256 values per channel.
type Table = [u8; 256];

fn table(value: impl Fn(f64) -> u8) -> Table {
    std::array::from_fn(|v| value(v as f64))
}

fn look_up(image: &mut RgbImage, tables: &[Table; 3]) {
    for pixel in image.chunks_exact_mut(3) {
        for (value, table) in pixel.iter_mut().zip(tables) {
            *value = table[*value as usize];
        }
    }
}

fn recolour(image: &mut RgbImage, colour: impl Fn([u8; 3]) -> [u8; 3]) {
    for pixel in image.pixels_mut() {
        pixel.0 = colour(pixel.0);
    }
}

fn histograms(image: &RgbImage) -> [[u64; 256]; 3] {
    let mut histograms = [[0; 256]; 3];
    for pixel in image.pixels() {
        for (histogram, value) in histograms.iter_mut().zip(pixel.0) {
            histogram[value as usize] += 1;
        }
    }
    histograms
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
        return table(|v| v as u8);
    }
    let scale = 255.0 / (high - low);
    table(|v| (v * scale - low * scale).clamp(0.0, 255.0) as u8)
}

/// PIL's equalize of one channel.
fn flatten(histogram: &[u64; 256]) -> Table {
    let total: u64 = histogram.iter().sum();
    let last = histogram.iter().rfind(|c| **c > 0).copied().unwrap_or(0);
    let step = (total - last) / 255;
    if step == 0 {
        return table(|v| v as u8);
    }
    let mut sum = step / 2;
    histogram.map(|count| {
        let value = (sum / step).min(255) as u8;
        sum += count;
        value
    })
}

/// PIL blends with its `SMOOTH` filter: 1 around 5, divided by 13; the outermost pixels stay.
fn sharpen(image: &mut RgbImage, factor: f64) {
    let stride = image.width() as usize * 3;
    let rows = image.height() as usize;
    if stride < 9 || rows < 3 {
        return;
    }
    let factor = factor as f32;
    let source = image.as_raw().clone();
    for y in 1..rows - 1 {
        let [above, here, below] = [y - 1, y, y + 1].map(|y| &source[y * stride..(y + 1) * stride]);
        let target = &mut image.as_mut()[y * stride + 3..(y + 1) * stride - 3];
        for (i, value) in (3..).zip(target) {
            let column = |i: usize| u16::from(above[i]) + u16::from(here[i]) + u16::from(below[i]);
            let sum = column(i - 3) + column(i) + column(i + 3) + 4 * u16::from(here[i]);
            let smooth = f32::from((sum * 2 + 13) / 26);
            *value = (smooth + (f32::from(here[i]) - smooth) * factor) as u8;
        }
    }
}
