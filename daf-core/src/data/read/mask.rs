//! Masks: which pixels of a file are marked.

use std::path::Path;

use image::{DynamicImage, GrayImage, Luma, RgbaImage};

use super::decode::{read_header, read_image};
use crate::{Error, Result};

/// A mask as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    /// 255 where a pixel is marked, 0 elsewhere.
    pub pixels: GrayImage,
    /// What the file holds, which decides what counts.
    pub values: MaskValues,
}

/// What a mask file holds, and what of it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskValues {
    /// Black and white with at most soft edges between them: what is over half of the range.
    BlackAndWhite,
    /// Numbers of classes, levels of grey or colors: everything that is not black.
    Labels,
    /// A drawing of one color on a transparent ground: what is not transparent.
    Alpha,
}

/// Values between an eighth and seven eighths of the range are neither black nor white, also after lossy compression.
const BETWEEN: std::ops::RangeInclusive<u8> = 32..=223;
/// Pixels around a white one in which a value between black and white is its soft edge.
const EDGE: u32 = 2;
/// Numbers of classes in a file that is white as well, at most.
const MAX_CLASSES: usize = 16;

/// Opens a mask: 255 where a pixel is marked, 0 elsewhere.
///
/// What counts depends on what the file holds, see [`MaskValues`]. Levels are compared with the file's own range, 255 or 65535;
/// a file whose largest value is under seven eighths of it holds numbers of classes.
///
/// # Errors
/// As [`read_image`]; also if the file is a photo rather than a mask, or a lossy one too dark to tell.
pub fn read_mask(path: impl AsRef<Path>) -> Result<GrayImage> {
    Ok(read_mask_values(path)?.pixels)
}

/// Opens a mask and says what its file holds.
///
/// # Errors
/// As [`read_mask`].
pub fn read_mask_values(path: impl AsRef<Path>) -> Result<Mask> {
    let path = path.as_ref();
    let lossy = read_header(path)?.format == "jpeg";
    of_image(read_image(path)?, lossy).map_err(|reason| Error::data(path, reason))
}

/// Opens a mask whose values are numbers of classes: 255 where the file is not black, 0 elsewhere.
///
/// # Errors
/// As [`read_image`].
pub fn read_mask_any(path: impl AsRef<Path>) -> Result<GrayImage> {
    Ok(not_black(&read_image(path)?))
}

fn of_image(image: DynamicImage, lossy: bool) -> Result<Mask, String> {
    if image.color().has_alpha() {
        let image = image.to_rgba8();
        if image.pixels().any(|pixel| pixel.0[3] < 128) {
            return Ok(drawn(&image));
        }
    }
    let rgb = image.to_rgb8();
    let is_grey = rgb.pixels().all(|pixel| {
        let [r, g, b] = pixel.0;
        // Lossy compression colors grey a little.
        r.max(g).max(b) - r.min(g).min(b) <= if lossy { 32 } else { 0 }
    });
    let labels = |pixels| Mask {
        pixels,
        values: MaskValues::Labels,
    };
    if !is_grey {
        refuse_photo(&DynamicImage::from(rgb.clone()).into_luma8())?;
        return Ok(labels(if lossy {
            let over_half = |x, y| rgb.get_pixel(x, y).0.iter().any(|value| *value > 127);
            marked(rgb.width(), rgb.height(), over_half)
        } else {
            not_black(&image)
        }));
    }
    let grey = image.to_luma8();
    refuse_photo(&grey)?;
    let largest = grey.iter().copied().max().unwrap_or(0);
    let over_half = marked(grey.width(), grey.height(), |x, y| {
        grey.get_pixel(x, y).0[0] > 127
    });
    if lossy {
        return match largest {
            32..=127 => Err(format!(
                "a mask whose largest value is {largest} of 255, in a format that changes values: expected black and white; \
                 save it as png"
            )),
            _ => Ok(Mask {
                pixels: over_half,
                values: MaskValues::BlackAndWhite,
            }),
        };
    }
    if largest <= *BETWEEN.end() || has_areas(&grey, &over_half) {
        return Ok(labels(not_black(&image)));
    }
    Ok(Mask {
        pixels: over_half,
        values: MaskValues::BlackAndWhite,
    })
}

/// A mask drawn on a transparent ground. Where everything drawn has one color, black too, that is what is marked; otherwise
/// black is ground as well.
fn drawn(image: &RgbaImage) -> Mask {
    let mut colors = image
        .pixels()
        .filter(|pixel| pixel.0[3] > 127)
        .map(|pixel| &pixel.0[..3]);
    let first = colors.next();
    let one_color = colors.all(|color| Some(color) == first);
    let is_marked = |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0;
        alpha > 127 && (one_color || [r, g, b] != [0; 3])
    };
    Mask {
        pixels: marked(image.width(), image.height(), is_marked),
        values: MaskValues::Alpha,
    }
}

fn marked(width: u32, height: u32, is_marked: impl Fn(u32, u32) -> bool) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| {
        Luma([if is_marked(x, y) { 255 } else { 0 }])
    })
}

/// What is not black, alpha aside. Byte by byte: grey at 8 bit would round the lowest levels of deeper or colored masks to
/// black.
fn not_black(image: &DynamicImage) -> GrayImage {
    let color = image.color();
    let pixel = usize::from(color.bytes_per_pixel());
    let alpha = usize::from(color.has_alpha()) * pixel / usize::from(color.channel_count());
    let is_marked = |bytes: &[u8]| bytes[..pixel - alpha].iter().any(|byte| *byte > 0);
    let values = image.as_bytes().chunks_exact(pixel);
    let values = values
        .map(|bytes| if is_marked(bytes) { 255 } else { 0 })
        .collect();
    GrayImage::from_raw(image.width(), image.height(), values).unwrap_or_default()
}

/// Whether values up to half of the range, but not black, are numbers of classes: few of them, in more than the edges of what
/// is over half. Many different ones are the noise of a lossy format.
fn has_areas(grey: &GrayImage, over_half: &GrayImage) -> bool {
    let (width, height) = grey.dimensions();
    let near_white = |x: u32, y: u32| {
        let span = |place: u32, length: u32| place.saturating_sub(EDGE)..(place + EDGE + 1).min(length);
        span(y, height).any(|y| span(x, width).any(|x| over_half.get_pixel(x, y).0[0] > 0))
    };
    let mut found = [false; 128];
    for (x, y, Luma([value])) in grey.enumerate_pixels() {
        if (1..=127).contains(value) && !found[usize::from(*value)] && !near_white(x, y) {
            found[usize::from(*value)] = true;
        }
    }
    (1..=MAX_CLASSES).contains(&found.iter().filter(|found| **found).count())
}

/// Refuses an image of many values, a quarter of which are neither black nor white.
fn refuse_photo(grey: &GrayImage) -> Result<(), String> {
    let mut counts = [0u64; 256];
    for value in grey.iter() {
        counts[usize::from(*value)] += 1;
    }
    let between = &counts[usize::from(*BETWEEN.start())..=usize::from(*BETWEEN.end())];
    let values = between.iter().filter(|count| **count > 0).count();
    let pixels: u64 = between.iter().sum();
    let all = grey.as_raw().len() as u64;
    if values > 32 && pixels * 4 > all {
        return Err(format!(
            "not a mask: {values} levels of grey between black and white take {} % of it, as in a photo; expected black \
             with the defects in white or in numbers of classes",
            pixels * 100 / all.max(1)
        ));
    }
    Ok(())
}
