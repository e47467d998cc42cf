//! Images and masks at another size.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use image::{GrayImage, ImageBuffer, Pixel, RgbImage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Resampling where images are reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Along a side that shrinks to less than half, a pixel is the mean of those that it covers; otherwise as
    /// `bilinear`. No pixel of the image is passed over.
    #[default]
    Average,
    /// [`resize_rgb`], as the official code has it: between the two nearest pixels, whatever lies between
    /// them.
    Bilinear,
}

/// Resizes an image whose sides may shrink by more than 2.
///
/// # Errors
/// [`Error::Shape`] if a side is 0.
pub fn reduce_rgb(image: &RgbImage, width: u32, height: u32, reduction: Reduction) -> Result<RgbImage> {
    let to = |from: u32, to: u32| if from > to.saturating_mul(2) { to } else { from };
    let halfway = (to(image.width(), width), to(image.height(), height));
    if reduction == Reduction::Bilinear || halfway == image.dimensions() {
        return resize_rgb(image, width, height);
    }
    let averaged = resized::<U8x3, _>(image, halfway, ResizeAlg::Convolution(FilterType::Box))?;
    if halfway == (width, height) {
        return Ok(averaged);
    }
    resize_rgb(&averaged, width, height)
}

/// Resizes as OpenCV's `INTER_LINEAR` does: pixel centers aligned, no smoothing before a reduction. The
/// official code resizes so, and the small defects that smoothing would wash out are what inspection is
/// about.
///
/// # Errors
/// [`Error::Shape`] if a side is 0.
pub fn resize_rgb(image: &RgbImage, width: u32, height: u32) -> Result<RgbImage> {
    let bilinear = ResizeAlg::Interpolation(FilterType::Bilinear);
    resized::<U8x3, _>(image, (width, height), bilinear)
}

/// Resizes a mask to the nearest pixel center, so that it stays 0 or 255.
///
/// # Errors
/// [`Error::Shape`] if a side is 0.
pub fn resize_mask(mask: &GrayImage, width: u32, height: u32) -> Result<GrayImage> {
    resized::<U8, _>(mask, (width, height), ResizeAlg::Nearest)
}

fn resized<P: PixelTrait, I: Pixel<Subpixel = u8>>(
    image: &ImageBuffer<I, Vec<u8>>,
    size: (u32, u32),
    algorithm: ResizeAlg,
) -> Result<ImageBuffer<I, Vec<u8>>> {
    if image.dimensions() == size {
        return Ok(image.clone());
    }
    let mut resized = ImageBuffer::new(size.0, size.1);
    resize::<P>(image.dimensions(), image, size, &mut resized, algorithm)?;
    Ok(resized)
}

/// Resizes pixels that lie row by row in bytes. For one type of pixel at a time: code for all of the
/// resizer's would be half of this crate.
pub(crate) fn resize<P: PixelTrait>(
    from: (u32, u32),
    source: &[u8],
    to: (u32, u32),
    target: &mut [u8],
    algorithm: ResizeAlg,
) -> Result<()> {
    let failed = |reason: String| Error::Shape {
        what: "resizing an image".into(),
        expected: "sides of at least one pixel".into(),
        found: format!("{}×{} to {}×{}: {reason}", from.0, from.1, to.0, to.1),
    };
    // The resizer itself takes an empty image for a finished one.
    if [from.0, from.1, to.0, to.1].contains(&0) {
        return Err(failed("a side has none".into()));
    }
    let source =
        TypedImageRef::<P>::from_buffer(from.0, from.1, source).map_err(|e| failed(e.to_string()))?;
    let mut target = TypedImage::<P>::from_buffer(to.0, to.1, target).map_err(|e| failed(e.to_string()))?;
    Resizer::new()
        .resize_typed(&source, &mut target, &ResizeOptions::new().resize_alg(algorithm))
        .map_err(|e| failed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use image::{Luma, Rgb};

    use super::*;

    /// Pixels without structure, so that a shift by one cannot go unnoticed.
    fn hashed(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let h = (x * 7919 + y * 104_729 + 17).wrapping_mul(2_654_435_761);
            Rgb([(h >> 8) as u8, (h >> 16) as u8, (h >> 24) as u8])
        })
    }

    /// OpenCV's `INTER_LINEAR`, word for word: pixel centers aligned, two neighbors per axis, borders
    /// repeated.
    fn inter_linear(image: &RgbImage, width: u32, height: u32) -> Vec<[f64; 3]> {
        let taps = |target: u32, of: u32, size: u32| {
            let at = (f64::from(target) + 0.5) * f64::from(size) / f64::from(of) - 0.5;
            let low = at.floor();
            let clamp = |i: f64| i.clamp(0.0, f64::from(size - 1)) as u32;
            (clamp(low), clamp(low + 1.0), at - low)
        };
        let mut resized = Vec::new();
        for y in 0..height {
            let (top, bottom, v) = taps(y, height, image.height());
            for x in 0..width {
                let (left, right, u) = taps(x, width, image.width());
                resized.push([0, 1, 2].map(|channel| {
                    let level = |x, y| f64::from(image.get_pixel(x, y).0[channel]);
                    let upper = level(left, top) * (1.0 - u) + level(right, top) * u;
                    let lower = level(left, bottom) * (1.0 - u) + level(right, bottom) * u;
                    upper * (1.0 - v) + lower * v
                }));
            }
        }
        resized
    }

    #[test]
    fn images_are_resized_as_opencv_does() {
        for (from, to) in [
            ((64, 48), (32, 24)),
            ((100, 37), (256, 256)),
            ((37, 100), (36, 31)),
            ((512, 512), (224, 224)),
            ((300, 20), (64, 64)),
            ((1, 1), (7, 5)),
            ((5, 9), (1, 1)),
        ] {
            let image = hashed(from.0, from.1);
            let resized = resize_rgb(&image, to.0, to.1).unwrap();
            let expected = inter_linear(&image, to.0, to.1);
            let off = resized
                .pixels()
                .zip(expected)
                .flat_map(|(found, expected)| [0, 1, 2].map(|c| (f64::from(found.0[c]) - expected[c]).abs()))
                .fold(0.0, f64::max);
            assert!(off <= 1.0, "{from:?} to {to:?}: {off} grey levels off");
        }
    }

    #[test]
    fn masks_take_the_nearest_pixel_center() {
        for (from, to) in [
            ((64, 48), (32, 24)),
            ((100, 37), (256, 256)),
            ((37, 100), (36, 31)),
            ((3, 3), (7, 2)),
        ] {
            let mask = GrayImage::from_fn(from.0, from.1, |x, y| {
                Luma([if (x * 7919 + y * 104_729) % 3 == 0 { 255 } else { 0 }])
            });
            let resized = resize_mask(&mask, to.0, to.1).unwrap();
            let nearest = |target: u32, of: u32, size: u32| {
                ((f64::from(target) + 0.5) * f64::from(size) / f64::from(of)).floor() as u32
            };
            for (x, y, pixel) in resized.enumerate_pixels() {
                let expected = mask.get_pixel(nearest(x, to.0, from.0), nearest(y, to.1, from.1));
                assert_eq!(pixel, expected, "{from:?} to {to:?} at {x}, {y}");
            }
        }
    }

    #[test]
    fn a_side_of_no_pixels_is_an_error() {
        assert!(resize_rgb(&hashed(4, 4), 0, 4).is_err());
        assert!(resize_rgb(&RgbImage::new(0, 0), 4, 4).is_err());
        assert!(resize_mask(&GrayImage::new(0, 3), 4, 4).is_err());
    }

    #[test]
    fn a_reduction_by_a_whole_factor_is_the_mean() {
        for factor in [3, 4, 5, 8] {
            let image = hashed(7 * factor, 5 * factor);
            let reduced = reduce_rgb(&image, 7, 5, Reduction::Average).unwrap();
            for (x, y, pixel) in reduced.enumerate_pixels() {
                for channel in 0..3 {
                    let covered = (0..factor * factor).map(|place| {
                        let (dx, dy) = (place % factor, place / factor);
                        f64::from(image.get_pixel(x * factor + dx, y * factor + dy).0[channel])
                    });
                    let mean = covered.sum::<f64>() / f64::from(factor * factor);
                    let off = (f64::from(pixel.0[channel]) - mean).abs();
                    assert!(
                        off <= 1.0,
                        "by {factor} at {x}, {y}: {} for {mean}",
                        pixel.0[channel]
                    );
                }
            }
        }
    }

    #[test]
    fn a_reduction_passes_nothing_over() {
        // A white line of one pixel changes the result wherever it lies, also where the factor is no whole
        // number.
        for (width, to) in [(640, 64), (1000, 256), (515, 256), (300, 7)] {
            let black = RgbImage::new(width, 40);
            for line in 0..width {
                let mut image = black.clone();
                (0..40).for_each(|y| image.put_pixel(line, y, Rgb([255; 3])));
                let reduced = reduce_rgb(&image, to, 40, Reduction::Average).unwrap();
                assert!(
                    reduced.iter().any(|level| *level > 0),
                    "{width} to {to}: the line at {line}"
                );
                let turned = image::imageops::rotate90(&image);
                let reduced = reduce_rgb(&turned, 40, to, Reduction::Average).unwrap();
                assert!(
                    reduced.iter().any(|level| *level > 0),
                    "{width} to {to}: the row at {line}"
                );
            }
        }
    }

    #[test]
    fn reductions_up_to_a_factor_of_two_and_enlargements_are_those_of_opencv() {
        for (from, to) in [
            ((64, 48), (32, 24)),
            ((63, 47), (32, 24)),
            ((20, 30), (64, 48)),
            ((32, 24), (32, 24)),
        ] {
            let image = hashed(from.0, from.1);
            let reduced = reduce_rgb(&image, to.0, to.1, Reduction::Average).unwrap();
            assert_eq!(
                reduced,
                resize_rgb(&image, to.0, to.1).unwrap(),
                "{from:?} to {to:?}"
            );
        }
        let image = hashed(500, 300);
        let official = reduce_rgb(&image, 50, 50, Reduction::Bilinear).unwrap();
        assert_eq!(official, resize_rgb(&image, 50, 50).unwrap());
        // One side shrinks by more, the other one does not.
        let reduced = reduce_rgb(&image, 50, 300, Reduction::Average).unwrap();
        let flat = RgbImage::from_fn(500, 300, |_, y| *image.get_pixel(0, y));
        assert_ne!(reduced, official);
        let kept = reduce_rgb(&flat, 50, 300, Reduction::Average).unwrap();
        assert!(
            kept.enumerate_pixels()
                .all(|(_, y, pixel)| pixel == flat.get_pixel(0, y))
        );
    }
}
