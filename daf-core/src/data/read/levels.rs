//! From the values of a file to 8-bit RGB.

use std::fmt;
use std::path::Path;

use image::{DynamicImage, GrayImage, Luma, RgbImage, Rgba, RgbaImage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decode::{read_header, read_image};
use super::header::SampleType;
use super::pages::Pages;
use crate::{Error, Result};

/// Range of values from black to white in files deeper than 8 bit. 8-bit files stay as they are, unless a
/// range is given.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Depth {
    /// [`Values::depth`] of the training images: 0 and the largest number of as many bits as their largest
    /// value takes. It is found when a pipeline is resolved, and the run records it. An image alone is read
    /// over the whole range of its integers, unless it leaves most of that empty, which is an error, and over
    /// 0..=1 if it holds floats.
    #[default]
    Auto,
    /// Black is 0, white the largest number of so many bits, 8 to 32.
    Bits(u8),
    /// Black and white, also in 8-bit files; values beyond them are cut off.
    Range(f64, f64),
}

/// Its form in YAML.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected `auto`, a number of bits or a range [low, high]"
)]
enum Written {
    Bits(u8),
    Range(f64, f64),
    Word(Word),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Word {
    Auto,
}

impl Serialize for Depth {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Auto => Written::Word(Word::Auto),
            Self::Bits(bits) => Written::Bits(bits),
            Self::Range(low, high) => Written::Range(low, high),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Depth {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Word(Word::Auto) => Self::Auto,
            Written::Bits(bits) => Self::Bits(bits),
            Written::Range(low, high) => Self::Range(low, high),
        })
    }
}

impl JsonSchema for Depth {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Depth".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Written::json_schema(generator)
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Bits(bits) => write!(f, "{bits} bits"),
            Self::Range(low, high) => write!(f, "values from {low} to {high}"),
        }
    }
}

impl Depth {
    /// Checks ranges.
    ///
    /// # Errors
    /// Expected and found values.
    pub fn check(self) -> Result<(), String> {
        match self {
            Self::Bits(bits) if !(8..=32).contains(&bits) => {
                Err(format!("expected 8 to 32 bits, found {bits}"))
            }
            Self::Range(low, high) if !(low.is_finite() && high.is_finite() && low < high) => Err(format!(
                "expected a range [low, high] with low under high, found [{low}, {high}]"
            )),
            _ => Ok(()),
        }
    }
}

/// The values that deep files of a set hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Values {
    /// The deepest files.
    pub bits: u16,
    /// Whether some hold floats or integers of either sign.
    pub continuous: bool,
    /// The smallest and the largest value.
    pub range: (f64, f64),
}

impl Values {
    /// Values of a file; `None` if it has 8 bit or fewer, as drawn images have.
    ///
    /// # Errors
    /// The errors of [`read_image`].
    pub fn of_file(path: impl AsRef<Path>) -> Result<Option<Self>> {
        let path = path.as_ref();
        let header = read_header(path)?;
        if header.bits <= 8 && header.sample == SampleType::Unsigned {
            return Ok(None);
        }
        let image = read_image(path)?;
        let mut range = (f64::INFINITY, f64::NEG_INFINITY);
        let mut take = |value: f64| range = (range.0.min(value), range.1.max(value));
        match &image {
            DynamicImage::ImageRgb32F(image) => image.iter().for_each(|value| take(f64::from(*value))),
            other => other.to_rgb16().iter().for_each(|value| take(f64::from(*value))),
        }
        Ok(Some(Self {
            bits: header.bits,
            continuous: header.sample != SampleType::Unsigned,
            range,
        }))
    }

    /// Values of both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            bits: self.bits.max(other.bits),
            continuous: self.continuous || other.continuous,
            range: (self.range.0.min(other.range.0), self.range.1.max(other.range.1)),
        }
    }

    /// The depth that shows all of them: an even number of bits for integers from 0 on, 0..=1 for floats that
    /// lie within, the range itself for others.
    #[must_use]
    pub fn depth(self) -> Depth {
        let (low, high) = self.range;
        if self.continuous {
            return match low >= 0.0 && high <= 1.0 {
                true => Depth::Range(0.0, 1.0),
                false if low < high => Depth::Range(low, high),
                false => Depth::Range(low, low + 1.0),
            };
        }
        let bits = (8..=32).step_by(2).find(|bits| high < f64::from(*bits).exp2());
        Depth::Bits(bits.unwrap_or(32))
    }
}

/// A 16-bit image alone that is darker than this comes from a camera of 12 bits or fewer, or is badly
/// exposed.
const MEANT: u16 = 1 << 12;

/// Treatment of transparency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpha {
    /// Dropped: transparent pixels show the color that the file holds below.
    Drop,
    /// The image is laid over this color.
    Over([u8; 3]),
    /// Transparent pixels are black and are not looked at: their score is 0.
    Mask,
}

impl Default for Alpha {
    fn default() -> Self {
        Self::Over([0; 3])
    }
}

/// Its form in YAML.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected `drop`, `black`, `white`, `mask` or a color [red, green, blue] of 0 to 255"
)]
enum WrittenAlpha {
    Word(AlphaWord),
    Color([u8; 3]),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum AlphaWord {
    Drop,
    Black,
    White,
    Mask,
}

impl Serialize for Alpha {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Drop => WrittenAlpha::Word(AlphaWord::Drop),
            Self::Mask => WrittenAlpha::Word(AlphaWord::Mask),
            Self::Over([0, 0, 0]) => WrittenAlpha::Word(AlphaWord::Black),
            Self::Over([255, 255, 255]) => WrittenAlpha::Word(AlphaWord::White),
            Self::Over(color) => WrittenAlpha::Color(color),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Alpha {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match WrittenAlpha::deserialize(deserializer)? {
            WrittenAlpha::Word(AlphaWord::Drop) => Self::Drop,
            WrittenAlpha::Word(AlphaWord::Mask) => Self::Mask,
            WrittenAlpha::Word(AlphaWord::Black) => Self::Over([0; 3]),
            WrittenAlpha::Word(AlphaWord::White) => Self::Over([255; 3]),
            WrittenAlpha::Color(color) => Self::Over(color),
        })
    }
}

impl JsonSchema for Alpha {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Alpha".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        WrittenAlpha::json_schema(generator)
    }
}

/// Conversion of stored values to 8-bit RGB.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reading {
    /// Values of black and white.
    pub depth: Depth,
    /// Treatment of transparency.
    pub alpha: Alpha,
    /// Treatment of files with several pages.
    pub pages: Pages,
}

/// An image as the pipeline takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputImage {
    /// 8-bit RGB.
    pub rgb: RgbImage,
    /// 255 where the image is looked at, 0 elsewhere, at the image's size; `None` for all of it.
    pub visible: Option<GrayImage>,
}

impl From<RgbImage> for InputImage {
    fn from(rgb: RgbImage) -> Self {
        Self { rgb, visible: None }
    }
}

/// A borrowed [`InputImage`].
#[derive(Debug, Clone, Copy)]
pub struct InputView<'i> {
    /// 8-bit RGB.
    pub rgb: &'i RgbImage,
    /// Visible pixels, as in [`InputImage`].
    pub visible: Option<&'i GrayImage>,
}

impl<'i> From<&'i RgbImage> for InputView<'i> {
    fn from(rgb: &'i RgbImage) -> Self {
        Self { rgb, visible: None }
    }
}

impl<'i> From<&'i InputImage> for InputView<'i> {
    fn from(image: &'i InputImage) -> Self {
        Self {
            rgb: &image.rgb,
            visible: image.visible.as_ref(),
        }
    }
}

impl Reading {
    /// Opens an image file.
    ///
    /// # Errors
    /// The errors of [`read_rgb`](super::read_rgb).
    pub fn open(&self, path: impl AsRef<Path>) -> Result<InputImage> {
        let path = path.as_ref();
        self.input(read_image(path)?)
            .map_err(|reason| Error::data(path, reason))
    }

    /// An image as stored, as the pipeline takes it.
    ///
    /// # Errors
    /// Content of the image that no rule covers: values beyond 0..=1 in floats without a [`Depth`],
    /// transparency everywhere.
    pub fn input(&self, image: DynamicImage) -> Result<InputImage, String> {
        let has_alpha = image.color().has_alpha();
        let image = self.eight_bit(image)?;
        match self.alpha {
            Alpha::Over(color) if has_alpha => Ok(over(&image.into_rgba8(), color)?.into()),
            Alpha::Mask if has_alpha => {
                let image = image.into_rgba8();
                let visible = GrayImage::from_fn(image.width(), image.height(), |x, y| {
                    Luma([if image.get_pixel(x, y).0[3] > 127 { 255 } else { 0 }])
                });
                Ok(InputImage {
                    rgb: over(&image, [0; 3])?,
                    visible: Some(visible),
                })
            }
            _ => Ok(image.into_rgb8().into()),
        }
    }

    fn eight_bit(&self, image: DynamicImage) -> Result<DynamicImage, String> {
        let Some((low, high)) = self.window(&image)? else {
            // 65535 / 255 = 257: the image crate makes the 8-bit level of a 16-bit one by rounding level /
            // 257.
            return Ok(image);
        };
        // The conversion saturates, and makes black of NaN.
        let level = |value: f64| ((value - low) * 255.0 / (high - low)).round() as u8;
        let table = |largest: u16| {
            (0..=largest)
                .map(|value| level(f64::from(value)))
                .collect::<Vec<_>>()
        };
        let color = image.color();
        let is_deep = color.bytes_per_pixel() / color.channel_count() > 1;
        Ok(match image {
            DynamicImage::ImageRgb32F(values) => {
                let levels = values.iter().map(|value| level(f64::from(*value))).collect();
                RgbImage::from_raw(values.width(), values.height(), levels)
                    .unwrap_or_default()
                    .into()
            }
            image if color.has_alpha() => {
                let table = table(if is_deep { u16::MAX } else { 255 });
                let (stored, mut shown) = (image.to_rgba16(), image.to_rgba8());
                let unit = if is_deep { 1 } else { 257 };
                for (stored, shown) in stored.pixels().zip(shown.pixels_mut()) {
                    for channel in 0..3 {
                        shown.0[channel] = table[usize::from(stored.0[channel] / unit)];
                    }
                }
                shown.into()
            }
            image if is_deep => {
                let (table, stored) = (table(u16::MAX), image.into_rgb16());
                let levels = stored.iter().map(|value| table[usize::from(*value)]).collect();
                RgbImage::from_raw(stored.width(), stored.height(), levels)
                    .unwrap_or_default()
                    .into()
            }
            image => {
                let (table, mut shown) = (table(255), image.into_rgb8());
                shown
                    .iter_mut()
                    .for_each(|value| *value = table[usize::from(*value)]);
                shown.into()
            }
        })
    }

    /// The values of an image that are black and white; `None` for the whole range of its integers.
    fn window(&self, image: &DynamicImage) -> Result<Option<(f64, f64)>, String> {
        let color = image.color();
        let is_deep = color.bytes_per_pixel() / color.channel_count() > 1;
        match (self.depth, image) {
            (Depth::Range(low, high), _) => Ok(Some((low, high))),
            (Depth::Bits(bits), _) if is_deep => Ok(Some((0.0, f64::from(bits).exp2() - 1.0))),
            (_, DynamicImage::ImageRgb32F(values)) => {
                let low = values.iter().copied().fold(f32::INFINITY, f32::min);
                let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                if low >= 0.0 && high <= 1.0 {
                    return Ok(Some((0.0, 1.0)));
                }
                Err(format!(
                    "holds values from {low} to {high}: expected numbers from 0 to 1; `input.depth: [low, high]` says which \
                     values are black and white"
                ))
            }
            (_, deep) if is_deep => {
                let largest = deep.to_rgb16().iter().copied().max().unwrap_or(0);
                if (1..MEANT).contains(&largest) {
                    return Err(format!(
                        "holds values up to {largest} of 65535, and nothing says which value is white: `input.depth: 12` takes \
                         12 bits, `16` all, `[low, high]` a range"
                    ));
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}

/// An image laid over a color.
fn over(image: &RgbaImage, color: [u8; 3]) -> Result<RgbImage, String> {
    if image.pixels().all(|pixel| pixel.0[3] == 0) {
        return Err(
            "every pixel is transparent; `input.alpha: drop` takes the colors that the file holds below"
                .into(),
        );
    }
    let blend = |value: u8, below: u8, alpha: u8| {
        let alpha = u32::from(alpha);
        ((u32::from(value) * alpha + u32::from(below) * (255 - alpha) + 127) / 255) as u8
    };
    let levels = image
        .pixels()
        .flat_map(|Rgba([r, g, b, alpha])| {
            [
                blend(*r, color[0], *alpha),
                blend(*g, color[1], *alpha),
                blend(*b, color[2], *alpha),
            ]
        })
        .collect();
    Ok(RgbImage::from_raw(image.width(), image.height(), levels).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Luma, LumaA, Rgb, Rgb32FImage};

    use super::*;

    fn with(depth: Depth, alpha: Alpha) -> Reading {
        Reading {
            depth,
            alpha,
            ..Reading::default()
        }
    }

    fn deep(levels: &[u16]) -> DynamicImage {
        ImageBuffer::<Luma<u16>, _>::from_raw(levels.len() as u32, 1, levels.to_vec())
            .unwrap()
            .into()
    }

    fn floats(values: &[f32]) -> DynamicImage {
        Rgb32FImage::from_fn(values.len() as u32, 1, |x, _| Rgb([values[x as usize]; 3])).into()
    }

    /// The first channel.
    fn levels(reading: Reading, image: DynamicImage) -> Vec<u8> {
        let image = reading.input(image).unwrap().rgb;
        image.pixels().map(|pixel| pixel.0[0]).collect()
    }

    #[test]
    fn a_camera_of_twelve_bits_gives_the_same_shifted_or_not() {
        let stored: Vec<u16> = (0..4096).collect();
        // A shift leaves the low bits empty, or repeats the high ones in them.
        let shifted: Vec<u16> = stored.iter().map(|level| level << 4 | level >> 8).collect();
        let by_bits = levels(with(Depth::Bits(12), Alpha::default()), deep(&stored));
        assert_eq!(by_bits, levels(Reading::default(), deep(&shifted)));
        assert_eq!((by_bits[0], by_bits[4095]), (0, 255));
        assert!(by_bits.is_sorted());
    }

    #[test]
    fn the_largest_value_of_a_set_tells_its_bits() {
        let values = |high: f64| Values {
            bits: 16,
            continuous: false,
            range: (0.0, high),
        };
        for (high, bits) in [
            (0.0, 8),
            (255.0, 8),
            (256.0, 10),
            (1023.0, 10),
            (4095.0, 12),
            (4096.0, 14),
            (65_535.0, 16),
        ] {
            assert_eq!(values(high).depth(), Depth::Bits(bits), "{high}");
        }
        assert_eq!(values(200.0).and(values(4000.0)).depth(), Depth::Bits(12));
        let continuous = |low: f64, high: f64| Values {
            bits: 32,
            continuous: true,
            range: (low, high),
        };
        assert_eq!(continuous(0.1, 0.9).depth(), Depth::Range(0.0, 1.0));
        assert_eq!(continuous(-3.0, 4.0).depth(), Depth::Range(-3.0, 4.0));
        assert_eq!(continuous(7.0, 7.0).depth(), Depth::Range(7.0, 8.0));
        assert!(continuous(7.0, 7.0).depth().check().is_ok());
    }

    #[test]
    fn bits_are_for_deep_files_and_a_range_for_all() {
        let eight = || DynamicImage::from(RgbImage::from_fn(3, 1, |x, _| Rgb([x as u8 * 100; 3])));
        assert_eq!(levels(with(Depth::Bits(12), Alpha::Drop), eight()), [0, 100, 200]);
        assert_eq!(
            levels(with(Depth::Range(50.0, 150.0), Alpha::Drop), eight()),
            [0, 128, 255]
        );
        assert_eq!(
            levels(with(Depth::Range(50.0, 150.0), Alpha::Drop), deep(&[0, 100, 200])),
            [0, 128, 255]
        );
        assert_eq!(
            levels(
                with(Depth::Range(-1.0, 3.0), Alpha::Drop),
                floats(&[-1.0, 1.0, 9.0])
            ),
            [0, 128, 255]
        );
    }

    #[test]
    fn floats_beyond_one_need_a_depth() {
        assert_eq!(
            levels(Reading::default(), floats(&[0.0, 0.5, 1.0, f32::NAN])),
            [0, 128, 255, 0]
        );
        for values in [[0.0, 255.0], [-0.5, 0.5], [0.0, f32::INFINITY]] {
            let reason = Reading::default().input(floats(&values)).unwrap_err();
            let stated = format!("values from {} to {}", values[0], values[1]);
            assert!(
                reason.contains(&stated) && reason.contains("input.depth"),
                "{reason}"
            );
        }
    }

    #[test]
    fn alpha_is_no_level() {
        // A range stretches colors, not transparency.
        let image = ImageBuffer::from_fn(2, 1, |x, _| LumaA([100_u8, 51 + 204 * x as u8]));
        let stretched = levels(with(Depth::Range(0.0, 200.0), Alpha::default()), image.into());
        assert_eq!(stretched, [26, 128]);
        let image = ImageBuffer::from_fn(2, 1, |x, _| {
            LumaA([2000_u16, if x == 0 { 13_107 } else { 65_535 }])
        });
        assert_eq!(
            levels(with(Depth::Bits(12), Alpha::default()), image.clone().into()),
            [25, 125]
        );
        assert_eq!(
            levels(with(Depth::Bits(12), Alpha::Drop), image.into()),
            [125, 125]
        );
        let nothing = ImageBuffer::from_pixel(3, 3, LumaA([9_u8, 0]));
        let reason = Reading::default().input(nothing.clone().into()).unwrap_err();
        assert!(reason.contains("every pixel is transparent"), "{reason}");
        assert_eq!(levels(with(Depth::Auto, Alpha::Drop), nothing.into()), [9; 9]);
    }

    #[test]
    fn a_deep_image_alone_that_is_almost_black_needs_a_depth() {
        let reason = Reading::default().input(deep(&[0, 4095])).unwrap_err();
        assert!(
            reason.contains("up to 4095 of 65535") && reason.contains("input.depth"),
            "{reason}"
        );
        assert_eq!(
            levels(with(Depth::Bits(16), Alpha::Drop), deep(&[0, 4095])),
            [0, 16]
        );
        assert_eq!(levels(Reading::default(), deep(&[0, 4096])), [0, 16]);
        assert_eq!(levels(Reading::default(), deep(&[0, 0])), [0, 0]);
    }

    #[test]
    fn what_is_transparent_can_be_left_out_of_sight() {
        let image = ImageBuffer::from_fn(4, 1, |x, _| LumaA([100_u8, x as u8 * 85]));
        let seen = with(Depth::Auto, Alpha::Mask).input(image.into()).unwrap();
        assert_eq!(seen.visible.unwrap().into_raw(), [0, 0, 255, 255]);
        assert_eq!(
            seen.rgb.pixels().map(|pixel| pixel.0[0]).collect::<Vec<_>>(),
            [0, 33, 67, 100]
        );
        let opaque = with(Depth::Auto, Alpha::Mask).input(deep(&[0, 65_535])).unwrap();
        assert_eq!(opaque.visible, None);
    }

    #[test]
    fn depth_and_alpha_are_read_back_as_written() {
        for depth in [Depth::Auto, Depth::Bits(12), Depth::Range(-0.5, 3.0)] {
            let text = serde_json::to_string(&depth).unwrap();
            assert_eq!(serde_json::from_str::<Depth>(&text).unwrap(), depth, "{text}");
        }
        for alpha in [
            Alpha::Mask,
            Alpha::Drop,
            Alpha::Over([0; 3]),
            Alpha::Over([255; 3]),
            Alpha::Over([1, 2, 3]),
        ] {
            let text = serde_json::to_string(&alpha).unwrap();
            assert_eq!(serde_json::from_str::<Alpha>(&text).unwrap(), alpha, "{text}");
        }
        for text in ["\"full\"", "[3]", "-1", "{}"] {
            let error = serde_json::from_str::<Depth>(text).unwrap_err().to_string();
            assert!(
                error.contains("expected `auto`, a number of bits or a range [low, high]"),
                "{error}"
            );
        }
        assert!(serde_json::from_str::<Alpha>("[1, 2, 300]").is_err());
        for depth in [
            Depth::Bits(7),
            Depth::Bits(33),
            Depth::Range(3.0, 3.0),
            Depth::Range(0.0, f64::INFINITY),
        ] {
            assert!(depth.check().is_err(), "{depth}");
        }
    }
}
