//! Patches: cut from one image, pasted into another.

use std::ops::RangeInclusive;

use daf_core::Rect;
use daf_core::image::{GrayImage, RgbImage};
use daf_core::rand::{Rng, RngExt};
use rand_distr::{Distribution, Gamma, Normal};

use super::settings::Settings;
use crate::object::ObjectMask;
use crate::poisson::{Gradients, seamless_clone};
use crate::range::Range;

/// Number of places that are tried before a patch is given up.
const TRIES: u32 = 200;
/// Smallest number of pixels for Poisson blending.
const LEAST_PIXELS: usize = 50;

/// Both images with their objects, where the settings ask for an object.
pub(super) struct Scene<'a> {
    pub(super) source: &'a RgbImage,
    pub(super) objects: Option<Objects>,
}

/// The objects of source and destination.
pub(super) struct Objects {
    source: ObjectMask,
    /// Sums of the source's object, to count it in a rectangle.
    sums: Vec<u32>,
    destination: ObjectMask,
}

impl Objects {
    pub(super) fn new(source: ObjectMask, destination: ObjectMask) -> Self {
        Self {
            sums: source.integral(),
            source,
            destination,
        }
    }
}

/// A patch at its final size.
pub(super) struct Patch {
    image: RgbImage,
    /// 1 inside its outline.
    outline: Vec<u8>,
    /// 1 on the source's object, inside the outline or not; empty without an object model.
    object: Vec<u8>,
}

/// Extent of a patch along one axis, in pixels.
struct Axis {
    /// Bounds of the half-width.
    bounds: RangeInclusive<u32>,
    half: u32,
}

impl Axis {
    fn draw(bounds: Range, size: u32, settings: &Settings, rng: &mut dyn Rng) -> Self {
        let pixels = |share: f64| ((share * f64::from(size)).round() as u32).clamp(1, size.max(1));
        let (least, most) = (pixels(bounds.0), pixels(bounds.1).max(pixels(bounds.0)));
        let gamma = &settings.gamma;
        // Settings that were checked give a distribution.
        let width = Gamma::new(gamma.shape, gamma.scale).map_or(0.0, |gamma| gamma.sample(rng)) + gamma.lower;
        Self {
            bounds: least..=most,
            half: ((width * f64::from(size)) as u32).clamp(least, most),
        }
    }

    /// An interval around a uniform center, clipped to `size` pixels: start and length.
    fn place(&self, size: u32, rng: &mut dyn Rng) -> (u32, u32) {
        let least = *self.bounds.start();
        let center = if least < size.saturating_sub(least) {
            rng.random_range(least..size - least)
        } else {
            size / 2
        };
        let (start, end) = (center.saturating_sub(self.half), (center + self.half).min(size));
        (start, (end - start).max(1))
    }

    fn clip(&self, length: f64) -> f64 {
        length.clamp(f64::from(*self.bounds.start()), f64::from(*self.bounds.end()))
    }
}

impl Patch {
    /// Draws one from the source; `None` if no place shows enough of the object.
    pub(super) fn draw(
        settings: &Settings,
        scene: &Scene<'_>,
        size: (u32, u32),
        rng: &mut dyn Rng,
    ) -> Option<Self> {
        let horizontal = Axis::draw(settings.width, size.0, settings, rng);
        let vertical = Axis::draw(settings.height, size.1, settings, rng);
        let (columns, rows) = scene.source.dimensions();
        let (place, outline) = (0..TRIES).find_map(|_| {
            let (x, width) = horizontal.place(columns, rng);
            let (y, height) = vertical.place(rows, rng);
            let place = Rect { x, y, width, height };
            let outline = (settings.ellipses > 0)
                .then(|| ellipses(settings.ellipses, (width, height), &horizontal, &vertical, rng));
            let Some(objects) = &scene.objects else {
                return Some((place, outline));
            };
            let (object, area) = match &outline {
                None => (objects.count(place), u64::from(width) * u64::from(height)),
                Some(outline) => {
                    let rows = (y as usize..).zip(outline.chunks_exact(width as usize));
                    let object =
                        |(y, row): (usize, &[u8])| both(row, objects.source.row(x as usize, y, row.len()));
                    (
                        rows.map(object).sum(),
                        outline.iter().map(|m| u64::from(*m)).sum(),
                    )
                }
            };
            (object as f64 > settings.min_object * area as f64).then_some((place, outline))
        })?;

        // A patch keeps its aspect, unless a bound is in the way. Bounds of half-widths serve as bounds of
        // widths here, as in the official code.
        let scale = Normal::new(1.0f64, 0.5).map_or(1.0, |normal| normal.sample(rng));
        let scale = scale.max(settings.resize.0).min(settings.resize.1);
        let (width, height) = (f64::from(place.width), f64::from(place.height));
        let new_height = vertical.clip(scale * height);
        let new_width = horizontal.clip((new_height / height * width).floor());
        let new_height = vertical.clip((new_width / width * height).floor());
        let (new_width, new_height) = (new_width.max(1.0) as u32, new_height.max(1.0) as u32);
        Some(Self::resized(
            scene,
            place,
            outline.as_deref(),
            new_width.min(size.0),
            new_height.min(size.1),
        ))
    }

    fn resized(scene: &Scene<'_>, place: Rect, outline: Option<&[u8]>, width: u32, height: u32) -> Self {
        let nearest = |from: u32, to: u32| {
            (0..to)
                .map(move |i| ((2 * i + 1) * from / (2 * to)) as usize)
                .collect::<Vec<_>>()
        };
        let (xs, ys) = (nearest(place.width, width), nearest(place.height, height));
        let outline = match outline {
            None => vec![1; width as usize * height as usize],
            Some(outline) => {
                let row = |y: &usize| &outline[y * place.width as usize..][..place.width as usize];
                ys.iter().flat_map(|y| xs.iter().map(|x| row(y)[*x])).collect()
            }
        };
        let object = scene.objects.as_ref().map_or_else(Vec::new, |objects| {
            let row = |y: &usize| {
                objects
                    .source
                    .row(place.x as usize, place.y as usize + y, place.width as usize)
            };
            ys.iter().flat_map(|y| xs.iter().map(|x| row(y)[*x])).collect()
        });
        Self {
            image: bilinear(scene.source, place, width, height),
            outline,
            object,
        }
    }

    /// Pastes it somewhere into `image` with a weight of `factor` and marks it in `patches` (one value per
    /// pixel); the rectangle outside which nothing has changed, or `None` if there is no place or too little
    /// of the patch.
    pub(super) fn paste(
        mut self,
        settings: &Settings,
        scene: &Scene<'_>,
        (gradients, factor): (Option<Gradients>, f64),
        image: &mut RgbImage,
        patches: &mut [u8],
        rng: &mut dyn Rng,
    ) -> Option<Rect> {
        let (width, height) = self.image.dimensions();
        let (x, y) = self.find_place(settings, scene, image.dimensions(), rng)?;
        let columns = width as usize;
        // Poisson blending also gets what is background in both images, lest the object's outline glow.
        let mut blended = self.outline.clone();
        if let Some(objects) = &scene.objects {
            let lines = self
                .outline
                .chunks_exact_mut(columns)
                .zip(blended.chunks_exact_mut(columns));
            for ((y, object), (outline, blended)) in
                (y as usize..).zip(self.object.chunks_exact(columns)).zip(lines)
            {
                let destination = objects.destination.row(x as usize, y, columns);
                for (((inside, blended), source), destination) in
                    outline.iter_mut().zip(blended).zip(object).zip(destination)
                {
                    let object = source | destination;
                    *inside &= object;
                    *blended = *inside | (1 - object);
                }
            }
        }
        let touched = match gradients {
            Some(gradients) => {
                let weight = (factor * 255.0).ceil() as u8;
                // The outermost pixels do not count.
                for (y, row) in blended.chunks_exact_mut(columns).enumerate() {
                    let inside = y > 0 && y + 1 < height as usize;
                    row.iter_mut().for_each(|m| *m *= weight * u8::from(inside));
                    (row[0], row[columns - 1]) = (0, 0);
                }
                let mask = GrayImage::from_raw(width, height, blended)?;
                if mask.iter().filter(|m| **m > 0).count() < LEAST_PIXELS {
                    return None;
                }
                seamless_clone(image, &self.image, &mask, (i64::from(x), i64::from(y)), gradients)?
            }
            None => {
                self.copy(image, (x, y), factor);
                Rect { x, y, width, height }
            }
        };
        let across = image.width() as usize;
        for (y, outline) in (y as usize..).zip(self.outline.chunks_exact(columns)) {
            let row = &mut patches[y * across + x as usize..][..columns];
            row.iter_mut()
                .zip(outline)
                .for_each(|(patch, inside)| *patch |= inside);
        }
        Some(touched)
    }

    /// A uniform place for the upper left corner that fits and, with an object model, overlaps the
    /// destination's object.
    fn find_place(
        &self,
        settings: &Settings,
        scene: &Scene<'_>,
        (columns, rows): (u32, u32),
        rng: &mut dyn Rng,
    ) -> Option<(u32, u32)> {
        let (width, height) = self.image.dimensions();
        let mut uniform = || {
            (
                rng.random_range(0..=columns - width),
                rng.random_range(0..=rows - height),
            )
        };
        let Some(objects) = &scene.objects else {
            return Some(uniform());
        };
        let object: Vec<u8> = self
            .object
            .iter()
            .zip(self.outline.iter())
            .map(|(object, inside)| object & inside)
            .collect();
        let count = |values: &[u8]| values.iter().map(|m| u64::from(*m)).sum::<u64>() as f64;
        let size = count(&object);
        if size <= settings.min_object * count(&self.outline) {
            return None;
        }
        let columns = width as usize;
        (0..TRIES).map(|_| uniform()).find(|(x, y)| {
            let shared: u64 = (*y as usize..)
                .zip(object.chunks_exact(columns))
                .map(|(y, row)| both(row, objects.destination.row(*x as usize, y, columns)))
                .sum();
            shared as f64 > settings.min_overlap * size
        })
    }

    /// Pastes without blending: `factor` of the patch and the rest of what was there, cut off to integers as
    /// in the official code.
    fn copy(&self, image: &mut RgbImage, (x, y): (u32, u32), factor: f64) {
        let (columns, across, factor) = (self.image.width() as usize, image.width() as usize, factor as f32);
        let rows = self
            .image
            .as_raw()
            .chunks_exact(columns * 3)
            .zip(self.outline.chunks_exact(columns));
        for (y, (patch, outline)) in (y as usize..).zip(rows) {
            let row = &mut image.as_mut()[(y * across + x as usize) * 3..][..columns * 3];
            for ((old, new), inside) in row.chunks_exact_mut(3).zip(patch.chunks_exact(3)).zip(outline) {
                if *inside == 1 {
                    for (old, new) in old.iter_mut().zip(new) {
                        let (from, to) = (f32::from(*old), f32::from(*new));
                        *old = (from + (to - from) * factor) as u8;
                    }
                }
            }
        }
    }
}

impl Objects {
    /// Pixels of the source's object in a rectangle.
    fn count(&self, place: Rect) -> u64 {
        let stride = self.source.width() + 1;
        let at = |x: u32, y: u32| self.sums[y as usize * stride + x as usize];
        let (right, bottom) = (place.x + place.width, place.y + place.height);
        u64::from(at(right, bottom) + at(place.x, place.y) - at(place.x, bottom) - at(right, place.y))
    }
}

/// Number of pixels that two masks of 0 and 1 have in common.
fn both(a: &[u8], b: &[u8]) -> u64 {
    a.iter().zip(b).map(|(a, b)| u64::from(a & b)).sum()
}

/// An outline of random ellipses, 1 inside.
fn ellipses(
    number: u32,
    (width, height): (u32, u32),
    horizontal: &Axis,
    vertical: &Axis,
    rng: &mut dyn Rng,
) -> Vec<u8> {
    let mut outline = vec![0; width as usize * height as usize];
    let mut half_axis = |axis: &Axis| {
        let least = *axis.bounds.start();
        f64::from(rng.random_range(least..=(axis.half / 2).max(least)))
    };
    let drawn: Vec<_> = (0..number)
        .map(|_| (half_axis(horizontal), half_axis(vertical)))
        .collect();
    for (a, b) in drawn {
        let (x0, y0) = (
            f64::from(rng.random_range(0..width)),
            f64::from(rng.random_range(0..height)),
        );
        let (sin, cos) = rng.random_range(0.0..std::f64::consts::PI).sin_cos();
        for (y, row) in outline.chunks_exact_mut(width as usize).enumerate() {
            let dy = y as f64 - y0;
            for (x, inside) in row.iter_mut().enumerate() {
                let dx = x as f64 - x0;
                let (along, across) = ((dx * cos + dy * sin) / a, (dy * cos - dx * sin) / b);
                *inside |= u8::from(along * along + across * across <= 1.0);
            }
        }
    }
    outline
}

/// A rectangle of an image, resized with linear interpolation between pixel centers, as OpenCV does it by
/// default.
fn bilinear(image: &RgbImage, place: Rect, width: u32, height: u32) -> RgbImage {
    /// Lower neighbor, upper neighbor, share of the upper one in 1/256.
    fn taps(from: u32, to: u32) -> Vec<(usize, usize, i32)> {
        let ratio = f64::from(from) / f64::from(to);
        let last = f64::from(from - 1);
        let tap = |i| {
            let at = ((f64::from(i) + 0.5) * ratio - 0.5).clamp(0.0, last);
            let low = at.floor();
            (
                low as usize,
                (low + 1.0).min(last) as usize,
                ((at - low) * 256.0).round() as i32,
            )
        };
        (0..to).map(tap).collect()
    }
    let across = image.width() as usize * 3;
    let (x0, y0, span) = (place.x as usize * 3, place.y as usize, place.width as usize * 3);
    let row = |y: usize| &image.as_raw()[(y0 + y) * across + x0..][..span];
    let xs = taps(place.width, width);
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let mut mixed = vec![0i32; span];
    let lines = pixels.chunks_exact_mut(width as usize * 3);
    for ((above, below, share), line) in taps(place.height, height).into_iter().zip(lines) {
        for ((mixed, a), b) in mixed.iter_mut().zip(row(above)).zip(row(below)) {
            *mixed = i32::from(*a) * (256 - share) + i32::from(*b) * share;
        }
        for ((left, right, share), pixel) in xs.iter().zip(line.as_chunks_mut::<3>().0) {
            let (left, right) = (&mixed[left * 3..][..3], &mixed[right * 3..][..3]);
            let at = |c: usize| ((left[c] * (256 - share) + right[c] * share + (1 << 15)) >> 16) as u8;
            *pixel = [at(0), at(1), at(2)];
        }
    }
    // The size is that of the values; without pixels there is no image.
    RgbImage::from_raw(width, height, pixels).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use daf_core::image::Rgb;
    use daf_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::object::ObjectModel;

    const ALL: Rect = Rect {
        x: 0,
        y: 0,
        width: 200,
        height: 100,
    };

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    #[test]
    fn half_widths_follow_the_clipped_gamma_distribution() {
        let settings = Settings::default();
        let mut rng = rng(1);
        let drawn: Vec<_> = (0..4000)
            .map(|_| Axis::draw(Range(0.03, 0.4), 1000, &settings, &mut rng).half)
            .collect();
        assert!(drawn.iter().all(|half| (30..=400).contains(half)));
        // 0.03 + shape · scale; clipping at 0.4 takes off a little.
        let mean = drawn.iter().map(|half| f64::from(*half)).sum::<f64>() / 4000.0;
        assert!((126.0..132.0).contains(&mean), "{mean}");
        let narrow: Vec<_> = (0..500)
            .map(|_| Axis::draw(Range(0.05, 0.06), 1000, &settings, &mut rng).half)
            .collect();
        assert!(narrow.iter().all(|half| (50..=60).contains(half)));
    }

    #[test]
    fn patches_have_sizes_within_the_bounds_of_a_non_square_image() {
        let source = RgbImage::new(400, 200);
        let settings = Settings {
            height: Range(0.1, 0.3),
            width: Range(0.03, 0.2),
            ..Settings::default()
        };
        let scene = Scene {
            source: &source,
            objects: None,
        };
        let mut rng = rng(2);
        let (mut widest, mut highest) = (0, 0);
        for _ in 0..500 {
            let patch = Patch::draw(&settings, &scene, (400, 200), &mut rng).unwrap();
            let (width, height) = patch.image.dimensions();
            assert!(
                (12..=80).contains(&width) && (20..=60).contains(&height),
                "{width} × {height}"
            );
            (widest, highest) = (widest.max(width), highest.max(height));
        }
        assert!(widest > 70 && highest == 60, "{widest} {highest}");
    }

    #[test]
    fn patches_are_cut_from_the_object_and_pasted_onto_it() {
        // A black column on white in the source, another one in the destination.
        let column = |range: std::ops::Range<u32>| {
            RgbImage::from_fn(200, 100, |x, _| {
                Rgb(if range.contains(&x) { [0; 3] } else { [255; 3] })
            })
        };
        let (source, destination) = (column(20..80), column(120..170));
        let model = ObjectModel::Threshold {
            brightness: 255.0,
            threshold: 60.0,
        };
        let objects = Objects::new(model.find(&source), model.find(&destination));
        assert_eq!(objects.count(ALL), 6000);
        let scene = Scene {
            source: &source,
            objects: Some(objects),
        };
        for ellipses in [0, 5] {
            let settings = Settings {
                min_object: 0.6,
                min_overlap: 0.5,
                ellipses,
                ..Settings::default()
            };
            let mut pasted = 0;
            for seed in 0..60 {
                let mut rng = rng(seed);
                let Some(patch) = Patch::draw(&settings, &scene, (200, 100), &mut rng) else {
                    continue;
                };
                let size = patch.image.dimensions();
                let (object, area) = (
                    both(&patch.object, &patch.outline),
                    both(&patch.outline, &patch.outline),
                );
                let mut image = destination.clone();
                let mut patches = vec![0; 200 * 100];
                let found = patch.paste(&settings, &scene, (None, 1.0), &mut image, &mut patches, &mut rng);
                let Some(touched) = found else { continue };
                pasted += 1;
                assert_eq!((touched.width, touched.height), size);
                assert!(object as f64 > 0.6 * area as f64);
                // What was white and turned black is object off the destination's object: at most half of the
                // patch's.
                let outside = image
                    .pixels()
                    .zip(destination.pixels())
                    .filter(|(new, old)| new.0 < old.0)
                    .count();
                assert!(outside as f64 <= 0.55 * object as f64, "{outside} {object}");
                assert!(patches.contains(&1));
            }
            assert!(pasted > 40, "{pasted}");
        }
    }

    #[test]
    fn a_source_without_object_gives_no_patch() {
        let source = RgbImage::from_pixel(60, 60, Rgb([255; 3]));
        let model = ObjectModel::Threshold {
            brightness: 255.0,
            threshold: 60.0,
        };
        let scene = Scene {
            source: &source,
            objects: Some(Objects::new(model.find(&source), model.find(&source))),
        };
        assert!(Patch::draw(&Settings::default(), &scene, (60, 60), &mut rng(1)).is_none());
    }

    #[test]
    fn resizing_keeps_the_image_at_its_size_and_interpolates_otherwise() {
        let image = RgbImage::from_fn(200, 100, |x, y| Rgb([x as u8, y as u8, (x + y) as u8 / 2]));
        assert_eq!(bilinear(&image, ALL, 200, 100).as_raw()[..], image.as_raw()[..]);
        let place = Rect {
            x: 10,
            y: 20,
            width: 40,
            height: 30,
        };
        let double = bilinear(&image, place, 80, 60);
        let pixel = double.get_pixel(31, 21).0;
        // Center of pixel 31 at (31 + 0.5) / 2 − 0.5 = 15.25 in the rectangle.
        assert_eq!(pixel[..2], [25, 30]);
        let half = bilinear(&image, place, 20, 15);
        assert_eq!(half.get_pixel(5, 5).0[..2], [10 + 11, 20 + 11]);
        assert_eq!(bilinear(&image, place, 1, 1).dimensions(), (1, 1));
    }

    #[test]
    fn common_pixels_are_counted_beyond_a_byte() {
        assert_eq!(both(&[1; 1000], &[1; 1000]), 1000);
        assert_eq!(both(&[1, 1, 0], &[1, 0, 0]), 1);
    }

    #[test]
    fn ellipses_fill_a_part_of_the_rectangle() {
        let mut rng = rng(4);
        for _ in 0..50 {
            let axis = |half| Axis { bounds: 2..=50, half };
            let outline = ellipses(5, (40, 30), &axis(20), &axis(15), &mut rng);
            let count = both(&outline, &outline);
            assert!(count > 5 && count < 1200, "{count}");
        }
    }
}
