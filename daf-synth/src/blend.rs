//! Blending of a texture into an image.

use daf_core::image::RgbImage;
use daf_core::{Fill, Region};

/// Fills the region: `out = I·(1−m) + (1−β)·A·m + β·I·m` for the image I, the texture A, the mask m and the
/// opacity β (as DRÆM's official code has it), rounded to 8 bits. With β = 0 the texture covers the image,
/// with β = 1 nothing changes. Where the texture is smaller than the image, the image stays.
pub fn blend(image: &mut RgbImage, region: &Region, fill: &Fill, opacity: f64) {
    let covering = (1.0 - opacity.clamp(0.0, 1.0)) as f32;
    let (mask, bounds) = (region.mask(), region.bounds());
    let (across, width) = (image.width(), bounds.width as usize);
    let plain = match fill {
        Fill::Color(color) => vec![color.0; width],
        _ => Vec::new(),
    };
    for y in bounds.y..bounds.y + bounds.height {
        let colors = match fill {
            Fill::Color(_) => &plain,
            Fill::Image(texture) => row(texture, bounds.x, y),
            Fill::Patch(patch) => row(patch, 0, y - bounds.y),
        };
        let start = |across: u32| y as usize * across as usize + bounds.x as usize;
        let inside = &mask.as_raw()[start(mask.width())..][..width];
        let pixels = &mut image.as_chunks_mut::<3>().0[start(across)..][..width];
        for ((pixel, color), inside) in pixels.iter_mut().zip(colors).zip(inside) {
            if *inside == 0 {
                continue;
            }
            for (value, new) in pixel.iter_mut().zip(color) {
                let (old, new) = (f32::from(*value), f32::from(*new));
                *value = (old + (new - old) * covering + 0.5) as u8;
            }
        }
    }
}

/// The pixels of a row from a column on; none outside the image.
fn row(image: &RgbImage, x: u32, y: u32) -> &[[u8; 3]] {
    let (width, pixels) = (image.width() as usize, image.as_chunks::<3>().0);
    let rows = pixels.get(y as usize * width..).unwrap_or_default();
    rows.get(x as usize..width.min(rows.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use daf_core::image::{GrayImage, Luma, Rgb};

    use super::*;

    fn left_half() -> Region {
        let mask = GrayImage::from_fn(4, 2, |x, _| Luma([if x < 2 { 255 } else { 0 }]));
        Region::of(mask).unwrap()
    }

    #[test]
    fn opacity_weighs_image_and_texture_inside_the_mask_only() {
        for (opacity, inside) in [(0.0, 200), (0.5, 150), (0.8, 120), (1.0, 100)] {
            let mut image = RgbImage::from_pixel(4, 2, Rgb([100; 3]));
            blend(&mut image, &left_half(), &Fill::Color(Rgb([200; 3])), opacity);
            assert_eq!(image.get_pixel(1, 1), &Rgb([inside; 3]));
            assert_eq!(image.get_pixel(2, 1), &Rgb([100; 3]));
        }
    }

    #[test]
    fn black_and_white_survive_every_opacity() {
        for (old, new) in [(0, 0), (255, 255)] {
            let mut image = RgbImage::from_pixel(4, 2, Rgb([old; 3]));
            blend(&mut image, &left_half(), &Fill::Color(Rgb([new; 3])), 0.37);
            assert_eq!(image.get_pixel(0, 0), &Rgb([old; 3]));
        }
    }

    #[test]
    fn a_texture_that_is_too_small_leaves_the_rest_as_it_is() {
        let mut image = RgbImage::from_pixel(4, 2, Rgb([100; 3]));
        blend(
            &mut image,
            &left_half(),
            &Fill::Image(RgbImage::from_pixel(1, 1, Rgb([0; 3])).into()),
            0.0,
        );
        assert_eq!(image.get_pixel(0, 0), &Rgb([0; 3]));
        assert_eq!(image.get_pixel(1, 0), &Rgb([100; 3]));
    }

    #[test]
    fn a_patch_lies_over_the_bounds_of_the_region() {
        let mask = GrayImage::from_fn(5, 4, |x, y| {
            Luma([if x >= 2 && y >= 1 && x + y != 5 { 255 } else { 0 }])
        });
        let region = Region::of(mask).unwrap();
        let patch = RgbImage::from_fn(3, 3, |x, y| Rgb([x as u8, y as u8, 9]));
        let mut image = RgbImage::from_pixel(5, 4, Rgb([100; 3]));
        blend(&mut image, &region, &Fill::Patch(patch), 0.0);
        assert_eq!(image.get_pixel(2, 1), &Rgb([0, 0, 9]));
        assert_eq!(image.get_pixel(4, 3), &Rgb([2, 2, 9]));
        assert_eq!(image.get_pixel(2, 3), &Rgb([100; 3]));
        assert_eq!(image.get_pixel(1, 1), &Rgb([100; 3]));
    }
}
