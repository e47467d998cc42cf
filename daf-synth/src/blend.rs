//! How much of the normal image shows through a defect.

use daf_core::image::{Rgb, RgbImage};

use crate::shape::Region;
use crate::texture::Fill;

/// Replaces the region: `out = I·(1−m) + (1−β)·A·m + β·I·m` for the image I, the texture A, the mask m and the opacity β
/// (as DRÆM's official code has it), rounded to 8 bit. With β = 0 the texture covers the image, with β = 1 nothing
/// changes. Where the texture is smaller than the image, the image stays.
pub fn blend(image: &mut RgbImage, region: &Region, fill: &Fill, opacity: f64) {
    let covering = (1.0 - opacity.clamp(0.0, 1.0)) as f32;
    let bounds = region.bounds();
    let width = image.width() as usize;
    let (left, columns) = (bounds.x as usize, bounds.width as usize);
    for y in bounds.y..bounds.y + bounds.height {
        let start = y as usize * width + left;
        let mask = &region.mask().as_raw()[start..start + columns];
        let row = &mut image.as_mut()[start * 3..(start + columns) * 3];
        for ((x, inside), pixel) in (bounds.x..).zip(mask).zip(row.chunks_exact_mut(3)) {
            if *inside == 0 {
                continue;
            }
            let colour = match fill {
                Fill::Colour(colour) => Some(colour),
                Fill::Image(texture) => texture.get_pixel_checked(x, y),
            };
            if let Some(Rgb(colour)) = colour {
                for (value, new) in pixel.iter_mut().zip(colour) {
                    let (old, new) = (f32::from(*value), f32::from(*new));
                    *value = (old + (new - old) * covering + 0.5) as u8;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use daf_core::image::{GrayImage, Luma};

    use super::*;

    fn left_half() -> Region {
        let mask = GrayImage::from_fn(4, 2, |x, _| Luma([if x < 2 { 255 } else { 0 }]));
        Region::of(mask).unwrap()
    }

    #[test]
    fn opacity_weighs_image_and_texture_inside_the_mask_only() {
        for (opacity, inside) in [(0.0, 200), (0.5, 150), (0.8, 120), (1.0, 100)] {
            let mut image = RgbImage::from_pixel(4, 2, Rgb([100; 3]));
            blend(&mut image, &left_half(), &Fill::Colour(Rgb([200; 3])), opacity);
            assert_eq!(image.get_pixel(1, 1), &Rgb([inside; 3]));
            assert_eq!(image.get_pixel(2, 1), &Rgb([100; 3]));
        }
    }

    #[test]
    fn black_and_white_survive_every_opacity() {
        for (old, new) in [(0, 0), (255, 255)] {
            let mut image = RgbImage::from_pixel(4, 2, Rgb([old; 3]));
            blend(&mut image, &left_half(), &Fill::Colour(Rgb([new; 3])), 0.37);
            assert_eq!(image.get_pixel(0, 0), &Rgb([old; 3]));
        }
    }

    #[test]
    fn a_texture_that_is_too_small_leaves_the_rest_as_it_is() {
        let mut image = RgbImage::from_pixel(4, 2, Rgb([100; 3]));
        blend(
            &mut image,
            &left_half(),
            &Fill::Image(RgbImage::from_pixel(1, 1, Rgb([0; 3]))),
            0.0,
        );
        assert_eq!(image.get_pixel(0, 0), &Rgb([0; 3]));
        assert_eq!(image.get_pixel(1, 0), &Rgb([100; 3]));
    }
}
