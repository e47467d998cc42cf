//! Blobs from Perlin noise, as DRÆM draws them.

use std::f64::consts::{SQRT_2, TAU};
use std::sync::LazyLock;

use daf_core::image::{GrayImage, RgbImage};
use daf_core::rand::{Rng, RngExt};
use daf_core::{BoxError, Rect, Region, Shape, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::range::Range;
use crate::rotate::Rotation;

/// The region where Perlin noise exceeds a threshold: ragged blobs of all sizes, as DRÆM draws them.
///
/// The lattice has 2^a × 2^b cells with a and b drawn independently from 0..=5; the noise is rotated by an
/// angle from −90° to 90°, bilinearly, with 0 where nothing is known (DRÆM's official code).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Perlin {
    /// Noise above this value belongs to the defect, over 0 and at most 0.9: the higher, the smaller the
    /// blobs.
    pub threshold: f64,
    /// The exponents a and b are drawn from [least, most] within 0..=8: cells along a side of the image, as
    /// powers of two.
    pub cells: [u32; 2],
}

impl Default for Perlin {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            cells: [0, 5],
        }
    }
}

impl Perlin {
    /// Number of tries to draw a mask that is not empty. Coarse lattices give empty ones now and then, so
    /// that in practice every sample gets a defect; for images of a few pixels nothing may be found.
    pub const TRIES: usize = 32;
}

daf_core::register!(Shape: Perlin = "perlin");

#[typetag::serde(name = Perlin::NAME)]
impl Shape for Perlin {
    fn draw(&self, normal: &RgbImage, rng: &mut dyn Rng) -> Result<Option<Region>, BoxError> {
        self.check()?;
        let (width, height) = normal.dimensions();
        let size = (width as usize, height as usize);
        let [least, most] = self.cells;
        for _ in 0..Self::TRIES {
            let rows = 1 << rng.random_range(least..=most);
            let columns = 1 << rng.random_range(least..=most);
            let lattice = Lattice::draw(rows, columns, rng);
            let rotation = Rotation::new(size.0, size.1, Range(-90.0, 90.0).draw(rng));
            let mask = rotation.mask(&lattice.noise(size.0, size.1), self.threshold as f32);
            if let Some(region) = GrayImage::from_raw(width, height, mask).and_then(Region::of) {
                return Ok(Some(region));
            }
        }
        Ok(None)
    }

    fn check(&self) -> Result<(), BoxError> {
        let [least, most] = self.cells;
        if least > most || most > 8 {
            return Err(format!(
                "cells: expected [least, most] with 0 <= least <= most <= 8, found [{least}, {most}]"
            )
            .into());
        }
        if self.threshold > 0.0 && self.threshold <= 0.9 {
            Ok(())
        } else {
            Err(format!(
                "threshold: expected a number over 0 and at most 0.9, found {}",
                self.threshold
            )
            .into())
        }
    }
}

/// The lattice of unit gradients that Perlin noise interpolates.
#[derive(Debug, Clone)]
pub struct Lattice {
    rows: usize,
    columns: usize,
    /// Cells with gradients: first row, first column, number of columns.
    part: (usize, usize, usize),
    /// Gradients (down, right) at the corners of these cells, row by row.
    gradients: Vec<(f32, f32)>,
}

impl Lattice {
    /// A lattice of cells with gradients in random directions.
    pub fn draw(rows: usize, columns: usize, rng: &mut dyn Rng) -> Self {
        let angles: Vec<_> = (0..(rows + 1) * (columns + 1))
            .map(|_| rng.random::<f64>() * TAU)
            .collect();
        Self {
            rows,
            columns,
            part: (0, 0, columns),
            gradients: gradients(&angles),
        }
    }

    /// A lattice of `rows` × `columns` cells with gradients at the given angles: (rows + 1) × (columns + 1)
    /// values in radians, row by row, counted from downwards to the right as the official code does. `None`
    /// if their number is another one.
    #[must_use]
    pub fn from_angles(rows: usize, columns: usize, angles: &[f64]) -> Option<Self> {
        (angles.len() == (rows + 1) * (columns + 1)).then(|| Self {
            rows,
            columns,
            part: (0, 0, columns),
            gradients: gradients(angles),
        })
    }

    /// A lattice with gradients at the corners that a window of an image needs only, in 256 random
    /// directions: much cheaper than [`draw`](Self::draw), with no visible difference. The window must not be
    /// empty.
    pub(crate) fn for_window(
        (rows, columns): (usize, usize),
        (width, height): (usize, usize),
        window: Rect,
        rng: &mut dyn Rng,
    ) -> Self {
        let cells = |from: u32, pixels: u32, cells: usize, size: usize| {
            let last = (from + pixels) as usize - 1;
            let first = from as usize * cells / size;
            (first, last * cells / size + 1 - first)
        };
        let (top, count) = cells(window.y, window.height, rows, height);
        let (left, across) = cells(window.x, window.width, columns, width);
        let mut gradients = Vec::with_capacity((count + 1) * (across + 1));
        let mut directions = [0; 64];
        while gradients.len() < (count + 1) * (across + 1) {
            let left = (count + 1) * (across + 1) - gradients.len();
            let some = &mut directions[..left.min(64)];
            rng.fill_bytes(some);
            gradients.extend(some.iter().map(|direction| DIRECTIONS[*direction as usize]));
        }
        Self {
            rows,
            columns,
            part: (top, left, across),
            gradients,
        }
    }

    /// The noise at each pixel, row by row, about −1..1: fade 6t⁵ − 15t⁴ + 10t³, scaled by √2.
    ///
    /// Pixel x lies at x·columns/width, so a size that is no multiple of the lattice just gives cells of
    /// unequal numbers of pixels; for multiples it is what the official code computes.
    #[must_use]
    pub fn noise(&self, width: usize, height: usize) -> Vec<f32> {
        let mut noise = vec![0.0; width * height];
        let window = Rect {
            x: 0,
            y: 0,
            width: width as u32,
            height: height as u32,
        };
        self.add((width, height), window, 1.0, &mut noise);
        noise
    }

    /// Adds the noise times `weight` at each pixel of a window, for which the lattice must have gradients, of
    /// an image of this size.
    pub(crate) fn add(&self, (width, height): (usize, usize), window: Rect, weight: f32, noise: &mut [f32]) {
        if window.width == 0 || window.height == 0 {
            return;
        }
        let (first_row, first_column, across) = self.part;
        let count = window.width as usize;
        let columns: Vec<_> = places(window.x, self.columns, width).take(count).collect();
        // Within a row of cells, the noise is that of its upper corners, linear in y, which fades into that
        // of the lower ones. Both are faded along x already; each is slopes and values of the columns.
        let (mut upper, mut lower) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        let mut faded_for = None;
        let rows = places(window.y, self.rows, height);
        for (noise, (cell, fy, ty)) in noise.chunks_exact_mut(count).zip(rows) {
            if faded_for.replace(cell) != Some(cell) {
                let corners = &self.gradients[(cell - first_row) * (across + 1)..];
                let (above, below) = corners.split_at(across + 1);
                let faded = |corners: &[(f32, f32)]| {
                    let fade = |&(cell, fx, tx): &(usize, f32, f32)| {
                        let (left, right) = (corners[cell - first_column], corners[cell - first_column + 1]);
                        let value = lerp(left.1 * fx, right.1 * (fx - 1.0), tx);
                        (lerp(left.0, right.0, tx), value)
                    };
                    columns.iter().map(fade).unzip()
                };
                (upper, lower) = (faded(above), faded(below));
            }
            let (upper, lower) = (upper.0.iter().zip(&upper.1), lower.0.iter().zip(&lower.1));
            for ((noise, (slope, value)), (lower_slope, lower)) in noise.iter_mut().zip(upper).zip(lower) {
                let (above, below) = (value + slope * fy, lower + lower_slope * (fy - 1.0));
                *noise += weight * (SQRT_2 as f32 * lerp(above, below, ty));
            }
        }
    }
}

/// Unit vectors in 256 directions.
static DIRECTIONS: LazyLock<[(f32, f32); 256]> = LazyLock::new(|| {
    std::array::from_fn(|i| {
        let angle = i as f64 / 256.0 * TAU;
        (angle.cos() as f32, angle.sin() as f32)
    })
});

fn gradients(angles: &[f64]) -> Vec<(f32, f32)> {
    angles.iter().map(|a| (a.cos() as f32, a.sin() as f32)).collect()
}

/// Cell, position within it and fade at that position, for each pixel from `first` on; `size` pixels have
/// `cells` cells.
fn places(first: u32, cells: usize, size: usize) -> impl Iterator<Item = (usize, f32, f32)> {
    let (mut cell, mut rest) = (first as usize * cells / size, first as usize * cells % size);
    let scale = (size as f64).recip();
    std::iter::repeat_with(move || {
        let t = rest as f64 * scale;
        let fade = t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
        let place = (cell, t as f32, fade as f32);
        rest += cells;
        // Divisions of whole numbers would take longer than all else.
        while rest >= size {
            rest -= size;
            cell += 1;
        }
        place
    })
}

fn lerp(from: f32, to: f32, share: f32) -> f32 {
    from + (to - from) * share
}

#[cfg(test)]
mod tests {
    use daf_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_window_shows_its_part_of_the_noise() {
        let size = (50, 37);
        let window = |x, y, width, height| Rect { x, y, width, height };
        let whole = Lattice::draw(5, 9, &mut ChaCha8Rng::seed_from_u64(1));
        let noise = whole.noise(size.0, size.1);
        for window in [
            window(0, 0, 50, 37),
            window(13, 7, 1, 1),
            window(20, 30, 30, 7),
            window(49, 36, 1, 1),
        ] {
            let mut lattice = Lattice::for_window((5, 9), size, window, &mut ChaCha8Rng::seed_from_u64(1));
            let (top, left, across) = lattice.part;
            for (i, gradient) in lattice.gradients.iter_mut().enumerate() {
                *gradient = whole.gradients[(top + i / (across + 1)) * 10 + left + i % (across + 1)];
            }
            let mut found = vec![1.0; (window.width * window.height) as usize];
            lattice.add(size, window, 0.5, &mut found);
            for (i, found) in found.into_iter().enumerate() {
                let (x, y) = (i % window.width as usize, i / window.width as usize);
                let expected = noise[(window.y as usize + y) * 50 + window.x as usize + x];
                assert!((found - 1.0 - expected / 2.0).abs() < 1e-6, "{window:?} {x} {y}");
            }
        }
    }

    #[test]
    fn noise_vanishes_at_the_corners_of_the_cells() {
        let noise = Lattice::draw(4, 2, &mut ChaCha8Rng::seed_from_u64(1)).noise(32, 32);
        for y in (0..32).step_by(8) {
            for x in (0..32).step_by(16) {
                assert!(noise[y * 32 + x].abs() < 1e-6);
            }
        }
        assert!(noise.iter().any(|v| v.abs() > 0.3));
    }

    #[test]
    fn a_lattice_finer_than_the_image_is_sampled() {
        let lattice = Lattice::draw(32, 32, &mut ChaCha8Rng::seed_from_u64(1));
        assert!(lattice.noise(7, 3).iter().all(|v| v.abs() < 1.5));
        assert_eq!(lattice.noise(1, 1), [0.0]);
        assert!(lattice.noise(0, 5).is_empty());
    }

    #[test]
    fn angles_must_match_the_lattice() {
        assert!(Lattice::from_angles(1, 2, &[0.0; 6]).is_some());
        assert!(Lattice::from_angles(1, 2, &[0.0; 5]).is_none());
    }

    #[test]
    fn nearly_every_image_gets_a_region_and_one_pixel_gets_none() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let normal = RgbImage::new(64, 48);
        assert!((0..200).all(|_| Perlin::default().draw(&normal, &mut rng).unwrap().is_some()));
        assert!(
            Perlin::default()
                .draw(&RgbImage::new(1, 1), &mut rng)
                .unwrap()
                .is_none()
        );
    }
}
