//! Images that show the same shot, though their files or pixels differ.

use daf_core::image::Rgb;
use daf_core::image::RgbImage;

/// Areas of a thumbnail from left to right, and from top to bottom.
const SIDE: usize = 16;
/// Steps of a thumbnail per grey level: means of many pixels are finer than one.
const STEPS: u32 = 64;
/// Largest difference of two areas: a level and a half. Another shot of another part is at least twice as far
/// in sets from fixed cameras, compression moves the mean of an area by less.
const MOST: u16 = (STEPS * 3 / 2) as u16;
/// Largest difference of all areas together: half a level on average.
const MOST_TOGETHER: u32 = STEPS / 2 * (SIDE * SIDE) as u32;

/// Means of the areas of an image.
pub(super) struct Thumbnail(Box<[u16; SIDE * SIDE]>);

impl Thumbnail {
    /// `None` for an image with fewer pixels than areas on a side.
    pub(super) fn of(image: &RgbImage) -> Option<Self> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        if width < SIDE || height < SIDE {
            return None;
        }
        let mut sums = [0_u64; SIDE * SIDE];
        for (y, row) in image.as_raw().chunks_exact(3 * width).enumerate() {
            let areas = &mut sums[y * SIDE / height * SIDE..][..SIDE];
            for (column, sum) in areas.iter_mut().enumerate() {
                // The first pixel whose place times SIDE reaches the area's.
                let edge = |column: usize| 3 * (column * width).div_ceil(SIDE);
                let pixels = row[edge(column)..edge(column + 1)].chunks_exact(3);
                *sum += pixels.map(|p| u64::from(gray([p[0], p[1], p[2]]))).sum::<u64>();
            }
        }
        let lines = |place: usize, length: usize| {
            ((place + 1) * length).div_ceil(SIDE) - (place * length).div_ceil(SIDE)
        };
        let mut means = Box::new([0; SIDE * SIDE]);
        for (place, (mean, sum)) in means.iter_mut().zip(sums).enumerate() {
            let pixels = (lines(place % SIDE, width) * lines(place / SIDE, height)) as u64;
            *mean = (sum * u64::from(STEPS) / (pixels * GREY)) as u16;
        }
        Some(Self(means))
    }

    /// All areas together; thumbnails that are near each other differ by at most [`MOST_TOGETHER`].
    pub(super) fn sum(&self) -> u32 {
        self.0.iter().map(|area| u32::from(*area)).sum()
    }

    /// Distance of two thumbnails, if they are near each other.
    pub(super) fn distance(&self, other: &Self) -> Option<u32> {
        let mut together = 0;
        for (a, b) in self.0.iter().zip(other.0.iter()) {
            let apart = a.abs_diff(*b);
            together += u32::from(apart);
            if apart > MOST || together > MOST_TOGETHER {
                return None;
            }
        }
        Some(together)
    }

    /// The mean of several; `None` of none.
    fn mean(of: &[&Self]) -> Option<Self> {
        let mut sums = Box::new([0_u64; SIDE * SIDE]);
        for thumbnail in of {
            for (sum, area) in sums.iter_mut().zip(thumbnail.0.iter()) {
                *sum += u64::from(*area);
            }
        }
        let count = u64::try_from(of.len()).ok().filter(|count| *count > 0)?;
        Some(Self(Box::new(sums.map(|sum| (sum / count) as u16))))
    }
}

/// Number of thumbnails near their common mean.
pub(super) fn near_their_mean(thumbnails: &[&Thumbnail]) -> usize {
    let Some(mean) = Thumbnail::mean(thumbnails) else {
        return 0;
    };
    let near = thumbnails.iter().filter(|of| of.distance(&mean).is_some());
    near.count()
}

/// Thumbnails of images to learn from, in which near ones are found.
pub(super) struct Index<'a> {
    /// The sum of each, with its place in the listing; sorted.
    sorted: Vec<(u32, usize, &'a Thumbnail)>,
}

impl<'a> Index<'a> {
    pub(super) fn new(of: impl Iterator<Item = (usize, &'a Thumbnail)>) -> Self {
        let mut sorted: Vec<_> = of
            .map(|(place, thumbnail)| (thumbnail.sum(), place, thumbnail))
            .collect();
        sorted.sort_unstable_by_key(|(sum, place, _)| (*sum, *place));
        Self { sorted }
    }

    /// The place of the nearest one, if any is near.
    pub(super) fn nearest(&self, thumbnail: &Thumbnail) -> Option<usize> {
        let sum = thumbnail.sum();
        let from = sum.saturating_sub(MOST_TOGETHER);
        let first = self.sorted.partition_point(|(sum, ..)| *sum < from);
        self.sorted[first..]
            .iter()
            .take_while(|(other, ..)| *other <= sum + MOST_TOGETHER)
            .filter_map(|(_, place, other)| Some((thumbnail.distance(other)?, *place)))
            .min()
            .map(|(_, place)| place)
    }
}

/// The weights of the channels add up to this.
const GREY: u64 = 256;

/// Brightness as JPEG has it, times [`GREY`]: the color that compression drops does not change it.
fn gray(pixel: [u8; 3]) -> u32 {
    let [red, green, blue] = pixel.map(u32::from);
    77 * red + 150 * green + 29 * blue
}

/// Whether two images show one shot, of which one may have been compressed again: no block of 8×8 pixels, as
/// JPEG has them, is brighter in one of them by more than compression makes it, as with a small defect; and
/// what one of them still has of details the other has as well. Two shots with a fixed camera differ in their
/// noise, unless compression has taken it from both.
pub(super) fn same_shot(a: &RgbImage, b: &RgbImage) -> bool {
    const BLOCK: u32 = 8;
    // Quality 50 rounds the mean of a block to two levels.
    const BRIGHTER: f64 = 2.5;
    // Variance of second differences under which there is no detail in a block, in grey levels: rounding to
    // whole levels, once more after compression, comes near it.
    const FLAT: f64 = 1.5;
    // Where compression keeps a detail it is off by at most a half; of noise that two shots do not share few
    // blocks have this much in common.
    const COMMON: f64 = 0.25;
    const AGREEING: f64 = 0.85;
    if a.dimensions() != b.dimensions() {
        return false;
    }
    let (columns, rows) = (a.width() / BLOCK, a.height() / BLOCK);
    let mut agreeing = 0;
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        let mut brighter = 0.0;
        let (mut of_a, mut of_b, mut common) = (0.0, 0.0, 0.0);
        for y in row * BLOCK..(row + 1) * BLOCK {
            let line = |image: &RgbImage| -> [f64; BLOCK as usize] {
                std::array::from_fn(|x| {
                    let Rgb(pixel) = *image.get_pixel(column * BLOCK + x as u32, y);
                    f64::from(gray(pixel)) / GREY as f64
                })
            };
            let (line_a, line_b) = (line(a), line(b));
            brighter += line_a.iter().sum::<f64>() - line_b.iter().sum::<f64>();
            for (near_a, near_b) in line_a.windows(3).zip(line_b.windows(3)) {
                let detail = |near: &[f64]| 2.0 * near[1] - near[0] - near[2];
                let (detail_a, detail_b) = (detail(near_a), detail(near_b));
                of_a += detail_a * detail_a;
                of_b += detail_b * detail_b;
                common += detail_a * detail_b;
            }
        }
        if brighter.abs() > BRIGHTER * f64::from(BLOCK * BLOCK) {
            return false;
        }
        let least = f64::min(of_a, of_b);
        let details = f64::from(BLOCK * (BLOCK - 2));
        agreeing += u32::from(least < FLAT * details || common > COMMON * least);
    }
    let blocks = columns * rows;
    blocks > 0 && f64::from(agreeing) >= AGREEING * f64::from(blocks)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use daf_core::image::codecs::jpeg::JpegEncoder;
    use daf_core::image::{self, ImageFormat};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    /// A part in front of a fixed camera with noise of its own.
    fn shot(part: u64, noise: u64) -> RgbImage {
        let mut grain = ChaCha8Rng::seed_from_u64(noise);
        RgbImage::from_fn(128, 96, |x, y| {
            let inside = (x.abs_diff(60 + part as u32), y.abs_diff(48)) < (30, 20);
            let level = if inside { 150 } else { 60 } + x / 8;
            Rgb([0, 3, 9].map(|color| (level + color + grain.next_u32() % 7) as u8))
        })
    }

    fn compressed(image: &RgbImage, quality: u8) -> RgbImage {
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, quality)
            .encode_image(image)
            .unwrap();
        image::load(Cursor::new(bytes), ImageFormat::Jpeg)
            .unwrap()
            .into_rgb8()
    }

    fn near(a: &RgbImage, b: &RgbImage) -> bool {
        let [a, b] = [a, b].map(|image| Thumbnail::of(image).unwrap());
        a.distance(&b).is_some()
    }

    #[test]
    fn a_shot_is_known_again_after_compression() {
        let original = shot(0, 1);
        for quality in [60, 75, 90, 98] {
            let copy = compressed(&original, quality);
            assert!(near(&original, &copy) && same_shot(&original, &copy), "{quality}");
            let again = compressed(&copy, 70);
            assert!(same_shot(&copy, &again), "{quality} and again");
        }
    }

    #[test]
    fn two_shots_of_a_fixed_camera_are_two() {
        let (one, two) = (shot(0, 1), shot(0, 2));
        assert!(near(&one, &two));
        assert!(!same_shot(&one, &two));
        assert!(!near(&one, &shot(3, 1)), "another part");
    }

    #[test]
    fn a_small_defect_makes_another_image() {
        let normal = shot(0, 1);
        let mut defective = normal.clone();
        for (x, y) in (40..44).flat_map(|x| (40..44).map(move |y| (x, y))) {
            defective.put_pixel(x, y, Rgb([250, 250, 250]));
        }
        assert!(!same_shot(&normal, &compressed(&defective, 90)));
        let half = image::imageops::crop_imm(&normal, 0, 0, 64, 96).to_image();
        assert!(!same_shot(&normal, &half), "another size");
    }

    #[test]
    fn the_nearest_thumbnail_is_found_among_many() {
        let shots: Vec<RgbImage> = (0..20).map(|part| shot(part, part)).collect();
        let thumbnails: Vec<Thumbnail> = shots.iter().map(|shot| Thumbnail::of(shot).unwrap()).collect();
        let index = Index::new(thumbnails.iter().enumerate());
        for (place, shot) in shots.iter().enumerate() {
            let copy = Thumbnail::of(&compressed(shot, 90)).unwrap();
            assert_eq!(index.nearest(&copy), Some(place));
        }
        let dark = Thumbnail::of(&RgbImage::new(20, 16)).unwrap();
        assert_eq!(index.nearest(&dark), None);
        assert!(Thumbnail::of(&RgbImage::new(20, 15)).is_none());
    }
}
