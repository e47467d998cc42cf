//! How much of the normal image shows through a defect.

use daf_core::image::{Rgb, RgbImage};
use daf_core::{Fill, Region};

use crate::lanes::{byte, widest};
use crate::runs::{Run, of_region};

/// Replaces the region: `out = I·(1−m) + (1−β)·A·m + β·I·m` for the image I, the texture A, the mask m and the opacity β
/// (as DRÆM's official code has it), rounded to 8 bit. With β = 0 the texture covers the image, with β = 1 nothing
/// changes. Where the texture is smaller than the image, the image stays.
pub fn blend(image: &mut RgbImage, region: &Region, fill: &Fill, opacity: f64) {
    match fill {
        Fill::Colour(Rgb(colour)) => {
            let covering = covering(opacity);
            let width = image.width() as usize;
            for run in of_region(region) {
                for pixel in image.as_mut()[run.bytes(width)].chunks_exact_mut(3) {
                    for (value, new) in pixel.iter_mut().zip(colour) {
                        *value = mixed(*value, *new, covering);
                    }
                }
            }
        }
        Fill::Image(texture) => blend_pixels(image, region, Material::of(texture), opacity),
        Fill::Patch(patch) => {
            let material = Material {
                left: region.bounds().x as usize,
                top: region.bounds().y as usize,
                ..Material::of(patch)
            };
            blend_pixels(image, region, material, opacity);
        }
    }
}

/// Pixels of a texture, and where they lie over the image.
#[derive(Clone, Copy)]
pub(crate) struct Material<'a> {
    pub(crate) pixels: &'a [u8],
    pub(crate) width: usize,
    pub(crate) left: usize,
    pub(crate) top: usize,
}

impl<'a> Material<'a> {
    fn of(image: &'a RgbImage) -> Self {
        Self {
            pixels: image.as_raw(),
            width: image.width() as usize,
            left: 0,
            top: 0,
        }
    }
}

/// [`blend`] with pixels that need not be an image of their own.
pub(crate) fn blend_pixels(image: &mut RgbImage, region: &Region, material: Material<'_>, opacity: f64) {
    let covering = covering(opacity);
    let width = image.width() as usize;
    let height = material.pixels.len() / (3 * material.width).max(1);
    for run in of_region(region) {
        // Both may begin after the run only where the material is not one for this region.
        let start = run.start.max(material.left);
        let end = run.end.min(material.left + material.width);
        if start >= end || run.y < material.top || run.y >= material.top + height {
            continue;
        }
        let from = Run {
            y: run.y - material.top,
            start: start - material.left,
            end: end - material.left,
        };
        let new = &material.pixels[from.bytes(material.width)];
        let old = &mut image.as_mut()[Run { start, end, ..run }.bytes(width)];
        if covering == 1.0 {
            old.copy_from_slice(new);
        } else {
            widest!({
                for (value, new) in old.iter_mut().zip(new) {
                    *value = mixed(*value, *new, covering);
                }
            });
        }
    }
}

fn covering(opacity: f64) -> f32 {
    (1.0 - opacity.clamp(0.0, 1.0)) as f32
}

#[inline(always)]
fn mixed(old: u8, new: u8, covering: f32) -> u8 {
    let (old, new) = (f32::from(old), f32::from(new));
    byte(old + (new - old) * covering + 0.5)
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
