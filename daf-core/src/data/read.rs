//! Image files and their sizes.

use std::path::Path;

use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, GrayImage, ImageReader, Luma, RgbImage};

use crate::{Error, Result};

/// Opens an image file: png, jpeg, bmp or tiff; grey or colour; 8 or 16 bit. Alpha is dropped.
///
/// The format is told from the content, so a wrong file extension does no harm.
///
/// # Errors
/// Names the file: missing, empty, of an unknown format or damaged.
pub fn read_rgb(path: impl AsRef<Path>) -> Result<RgbImage> {
    Ok(open(path.as_ref())?.into_rgb8())
}

/// Opens a mask: 255 where the file's grey value is over half of its range, 0 elsewhere.
///
/// # Errors
/// As [`read_rgb`].
pub fn read_mask(path: impl AsRef<Path>) -> Result<GrayImage> {
    let mut mask = open(path.as_ref())?.into_luma8();
    for Luma([value]) in mask.pixels_mut() {
        *value = if *value > 127 { 255 } else { 0 };
    }
    Ok(mask)
}

fn open(path: &Path) -> Result<DynamicImage> {
    let reader = ImageReader::open(path).map_err(Error::io(path))?;
    let reader = reader.with_guessed_format().map_err(Error::io(path))?;
    if reader.format().is_none() {
        let empty = path.metadata().is_ok_and(|m| m.len() == 0);
        let reason = if empty { "the file is empty" } else { "not a png, jpeg, bmp or tiff image" };
        return Err(Error::data(path, reason));
    }
    reader.decode().map_err(|e| Error::data(path, format!("the image cannot be decoded: {e}")))
}

/// Resizes as OpenCV's `INTER_LINEAR` does: pixel centres aligned, no smoothing before a reduction. The official code
/// resizes so, and the small defects that smoothing would wash out are what inspection is about.
///
/// # Errors
/// [`Error::Shape`] if a side is 0.
pub fn resize_rgb(image: &RgbImage, width: u32, height: u32) -> Result<RgbImage> {
    if image.dimensions() == (width, height) {
        return Ok(image.clone());
    }
    let mut resized = RgbImage::new(width, height);
    resize(image, &mut resized, ResizeAlg::Interpolation(FilterType::Bilinear))?;
    Ok(resized)
}

/// Resizes a mask to the nearest pixel centre, so that it stays 0 or 255.
///
/// # Errors
/// [`Error::Shape`] if a side is 0.
pub fn resize_mask(mask: &GrayImage, width: u32, height: u32) -> Result<GrayImage> {
    if mask.dimensions() == (width, height) {
        return Ok(mask.clone());
    }
    let mut resized = GrayImage::new(width, height);
    resize(mask, &mut resized, ResizeAlg::Nearest)?;
    Ok(resized)
}

fn resize<P: image::Pixel<Subpixel = u8> + 'static>(
    image: &image::ImageBuffer<P, Vec<u8>>,
    resized: &mut image::ImageBuffer<P, Vec<u8>>,
    algorithm: ResizeAlg,
) -> Result<()> {
    use fast_image_resize::images::{Image, ImageRef};
    let kind = if P::CHANNEL_COUNT == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let found = format!("{}×{} to {}×{}", image.width(), image.height(), resized.width(), resized.height());
    let failed = |reason: String| Error::Shape {
        what: "resizing an image".into(),
        expected: "sides of at least one pixel".into(),
        found: format!("{found}: {reason}"),
    };
    let (width, height) = resized.dimensions();
    let source =
        ImageRef::new(image.width(), image.height(), image, kind).map_err(|e| failed(e.to_string()))?;
    let mut target =
        Image::from_slice_u8(width, height, resized, kind).map_err(|e| failed(e.to_string()))?;
    Resizer::new()
        .resize(&source, &mut target, &ResizeOptions::new().resize_alg(algorithm))
        .map_err(|e| failed(e.to_string()))
}
