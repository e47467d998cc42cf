//! Blobs from Perlin noise, as DRÆM draws them.

use std::f64::consts::{SQRT_2, TAU};

use daf_core::image::{GrayImage, RgbImage};
use daf_core::rand::{Rng, RngExt};

use super::{Region, Shape};
use crate::range::Range;
use crate::rotate::rotate;

/// The region where Perlin noise exceeds a half: ragged blobs of all sizes.
///
/// The lattice has 2^a × 2^b cells with a and b drawn independently from 0..=5; the noise is rotated by an angle from
/// −90° to 90°, bilinearly, with 0 where nothing is known (DRÆM's official code).
#[derive(Debug, Clone, Copy, Default)]
pub struct Perlin {}

impl Perlin {
    /// Noise above this value belongs to the defect.
    pub const THRESHOLD: f32 = 0.5;
    /// How often a mask is drawn until it is not empty. Coarse lattices give empty ones now and then, so that in practice
    /// every sample gets a defect; for images of a few pixels nothing may be found.
    pub const TRIES: usize = 32;
}

impl Shape for Perlin {
    fn draw(&self, normal: &RgbImage, rng: &mut dyn Rng) -> Option<Region> {
        let (width, height) = normal.dimensions();
        (0..Self::TRIES).find_map(|_| {
            let rows = 1 << rng.random_range(0..=5);
            let columns = 1 << rng.random_range(0..=5);
            let noise = Lattice::draw(rows, columns, rng).noise(width as usize, height as usize);
            let angle = Range(-90.0, 90.0).draw(rng);
            let noise = rotate::<1, _>(&noise, width as usize, height as usize, angle);
            let mask = noise
                .iter()
                .map(|v| if *v > Self::THRESHOLD { 255 } else { 0 })
                .collect();
            Region::of(GrayImage::from_vec(width, height, mask)?)
        })
    }
}

/// The lattice of unit gradients that Perlin noise interpolates.
#[derive(Debug, Clone)]
pub struct Lattice {
    rows: usize,
    columns: usize,
    /// (down, right) for each of the (rows + 1) × (columns + 1) corners.
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
            gradients: gradients(&angles),
        }
    }

    /// A lattice of `rows` × `columns` cells with gradients at the given angles: (rows + 1) × (columns + 1) values in
    /// radians, row by row, counted from downwards to the right as the official code does. `None` if their number is
    /// another one.
    #[must_use]
    pub fn from_angles(rows: usize, columns: usize, angles: &[f64]) -> Option<Self> {
        (angles.len() == (rows + 1) * (columns + 1)).then(|| Self {
            rows,
            columns,
            gradients: gradients(angles),
        })
    }

    /// The noise at each pixel, row by row, about −1..1: fade 6t⁵ − 15t⁴ + 10t³, scaled by √2.
    ///
    /// Pixel x lies at x·columns/width, so a size that is no multiple of the lattice just gives cells of unequal numbers
    /// of pixels; for multiples it is what the official code computes.
    #[must_use]
    pub fn noise(&self, width: usize, height: usize) -> Vec<f32> {
        let mut noise = vec![0.0; width * height];
        if width == 0 || height == 0 {
            return noise;
        }
        // Place within its cell, and fade there, for each column.
        let places: Vec<_> = (0..width).map(|x| place(x, self.columns, width)).collect();
        for (y, row) in noise.chunks_exact_mut(width).enumerate() {
            let (cell, fy, ty) = place(y, self.rows, height);
            let corners = self.gradients[cell * (self.columns + 1)..].chunks_exact(self.columns + 1);
            let [upper, lower] = [0, 1].map(|i| corners.clone().nth(i).unwrap_or_default());
            // At a corner the noise is (gradient · distance), which is linear in x: after fading along y, two numbers
            // per corner are left, (value at the corner's x, slope).
            let lines: Vec<_> = upper
                .iter()
                .zip(lower)
                .map(|(&(down0, right0), &(down1, right1))| {
                    (lerp(down0 * fy, down1 * (fy - 1.0), ty), lerp(right0, right1, ty))
                })
                .collect();
            for (value, &(cell, fx, tx)) in row.iter_mut().zip(&places) {
                let (left, right) = (lines[cell], lines[cell + 1]);
                let (left, right) = (left.0 + left.1 * fx, right.0 + right.1 * (fx - 1.0));
                *value = SQRT_2 as f32 * lerp(left, right, tx);
            }
        }
        noise
    }
}

fn gradients(angles: &[f64]) -> Vec<(f32, f32)> {
    angles.iter().map(|a| (a.cos() as f32, a.sin() as f32)).collect()
}

/// Cell, place within it and fade there, of the pixel `at` of `size` pixels.
fn place(at: usize, cells: usize, size: usize) -> (usize, f32, f32) {
    let t = (at * cells % size) as f64 / size as f64;
    let fade = t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
    (at * cells / size, t as f32, fade as f32)
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
        assert!((0..200).all(|_| Perlin {}.draw(&normal, &mut rng).is_some()));
        assert!(Perlin {}.draw(&RgbImage::new(1, 1), &mut rng).is_none());
    }
}
