//! Image files: what they hold, and what of it the pipeline sees.
//!
//! | in the file | kept |
//! |---|---|
//! | 8 bit | as it is |
//! | more than 8 bit, integers or floats | brought to 8 bit as [`Depth`] says |
//! | grey, palette, CMYK, YCbCr | brought to RGB |
//! | alpha | as [`Alpha`] says |
//! | EXIF or TIFF orientation | turned and mirrored, as viewers, labeling tools and OpenCV do |
//! | ICC profile, gamma | left aside, as OpenCV does: the numbers of the file are what is learned |
//! | pages | one at a time: `stack.tif#2` is the second page of `stack.tif` |

mod decode;
mod header;
mod jpeg;
mod levels;
mod mask;
mod page_path;
mod pages;
mod resize;
mod tiff;

use std::path::Path;

use image::RgbImage;

use crate::Result;

pub use decode::{FORMATS, read_header, read_image};
pub use header::{Header, SampleType};
pub use levels::{Alpha, Depth, InputImage, InputView, Reading, Values};
pub use mask::{Mask, MaskValues, read_mask, read_mask_any, read_mask_values};
pub use pages::Pages;
pub(crate) use resize::resize;
pub use resize::{Reduction, reduce_rgb, resize_mask, resize_rgb};

/// Opens an image file as 8-bit RGB with the default [`Reading`]. [`Detector::read`](crate::Detector::read)
/// opens one as a run does.
///
/// # Errors
/// Names the file: missing, empty, of an unknown format, damaged, of several pages, of more than a gibibyte,
/// or with values that need a [`Depth`].
pub fn read_rgb(path: impl AsRef<Path>) -> Result<RgbImage> {
    Ok(Reading::default().open(path)?.rgb)
}

#[cfg(test)]
mod tests;
