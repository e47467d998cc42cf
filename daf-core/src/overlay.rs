//! Score maps as pictures.

use image::imageops::replace;
use image::{GrayImage, Rgb, RgbImage};

use crate::ScoreMap;

/// How much of the image shows through the hottest colour.
const OPACITY: f32 = 0.6;
const OUTLINE: Rgb<u8> = Rgb([0, 255, 80]);

/// The image with the map over it: what scores `low` or less stays as it is, `high` is dark red.
///
/// The map is brought to the image's size.
#[must_use]
pub fn heat(image: &RgbImage, map: &ScoreMap, scale: (f32, f32)) -> RgbImage {
    let gray = map.to_gray(scale);
    let (width, height) = image.dimensions();
    let gray = image::imageops::resize(&gray, width, height, image::imageops::FilterType::Triangle);
    let mut picture = image.clone();
    for (pixel, heat) in picture.pixels_mut().zip(gray.pixels()) {
        let level = f64::from(heat.0[0]) / 255.0;
        let colour = colorous::TURBO.eval_continuous(level);
        // Cold regions stay visible, hot ones stand out.
        let alpha = OPACITY * (level as f32 * 2.0).min(1.0);
        let mix =
            |under: u8, over: u8| (f32::from(under) * (1.0 - alpha) + f32::from(over) * alpha).round() as u8;
        let [r, g, b] = pixel.0;
        *pixel = Rgb([mix(r, colour.r), mix(g, colour.g), mix(b, colour.b)]);
    }
    picture
}

/// Draws the outline of a mask of the image's size.
pub fn outline(image: &mut RgbImage, mask: &GrayImage) {
    let inside = |x: i64, y: i64| {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
            return false;
        };
        mask.get_pixel_checked(x, y).is_some_and(|pixel| pixel.0[0] > 0)
    };
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let (x, y) = (i64::from(x), i64::from(y));
        let neighbours = [(-1, 0), (1, 0), (0, -1), (0, 1)];
        if !inside(x, y) && neighbours.iter().any(|(dx, dy)| inside(x + dx, y + dy)) {
            *pixel = OUTLINE;
        }
    }
}

/// Image and heat map side by side, with the outline of the true mask on both if it is known.
#[must_use]
pub fn panel(image: &RgbImage, mask: Option<&GrayImage>, map: &ScoreMap, scale: (f32, f32)) -> RgbImage {
    const GAP: u32 = 4;
    let (width, height) = image.dimensions();
    let mut panel = RgbImage::from_pixel(2 * width + GAP, height, Rgb([255; 3]));
    let mut left = image.clone();
    let mut right = heat(image, map, scale);
    if let Some(mask) = mask {
        outline(&mut left, mask);
        outline(&mut right, mask);
    }
    replace(&mut panel, &left, 0, 0);
    replace(&mut panel, &right, i64::from(width + GAP), 0);
    panel
}
