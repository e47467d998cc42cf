//! Poisson blending (Pérez et al., SIGGRAPH 2003): a patch keeps its gradients and takes the colors of its
//! new place.
//!
//! [`seamless_clone`] gives what OpenCV's function of that name gives: inside the bounding box of the mask it
//! solves `ΔU = div v`, where the guidance v is the patch's gradient inside the mask, the destination's
//! elsewhere, and the box's outermost pixels stay. The unknown here is the difference `D = U − destination`,
//! for which the equation reads `ΔD = div(weight·(∇patch − ∇destination))` with D = 0 on the border; so
//! nothing changes, not even by rounding, where the gradients agree.
//!
//! ```
//! use daf_core::image::{GrayImage, Luma, Rgb, RgbImage};
//! use daf_synth::poisson::{Gradients, seamless_clone};
//!
//! let mut destination = RgbImage::from_pixel(64, 64, Rgb([200, 60, 60]));
//! let patch = RgbImage::from_fn(32, 32, |x, _| Rgb([(x * 8) as u8; 3]));
//! let mask = GrayImage::from_pixel(32, 32, Luma([255]));
//! let solved = seamless_clone(&mut destination, &patch, &mask, (10, 20), Gradients::Normal).unwrap();
//! assert!(solved.contains(11, 21) && !solved.contains(9, 20));
//! assert_eq!(destination.get_pixel(0, 0), &Rgb([200, 60, 60]));
//! assert_ne!(destination.get_pixel(26, 36), &Rgb([200, 60, 60]));
//! ```

use daf_core::Rect;
use daf_core::image::{GrayImage, RgbImage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod solver;

use solver::Solver;

/// Gradients of the result inside the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gradients {
    /// The patch's: what was there vanishes.
    Normal,
    /// At each pixel and in each channel the stronger ones of patch and destination: a texture shows through.
    Mixed(MixedRule),
}

/// Comparison of mixed gradients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MixedRule {
    /// By |gx − gy|, as OpenCV does.
    #[default]
    Opencv,
    /// By the length of the gradient, as Pérez et al. define it.
    Magnitude,
}

/// Number of pixels by which the mask is eroded before it weights gradients, as in OpenCV.
const EROSION: usize = 3;

/// OpenCV cuts fractions off. Where the difference is zero but for rounding, this keeps the value from
/// falling by one.
const SLACK: f32 = 0.01;

/// Clones `patch` into `destination` without a seam, like OpenCV's `seamlessClone`, and returns the rectangle
/// in which pixels may have changed; its outermost pixels have not. `None`, and no change, if it has no inner
/// pixels.
///
/// `mask` has the size of `patch` (of both, what they have in common counts): 0 outside, up to 255 inside,
/// where the value divided by 255 weights the patch's gradients against the destination's. Its outermost
/// pixels do not count, and it is eroded by three pixels more. `corner` is where the patch's upper left pixel
/// goes, x first; what lies beyond the destination is left out.
pub fn seamless_clone(
    destination: &mut RgbImage,
    patch: &RgbImage,
    mask: &GrayImage,
    corner: (i64, i64),
    gradients: Gradients,
) -> Option<Rect> {
    let place = Place::find(destination, patch, mask, corner)?;
    let square = |[x, y]: [i32; 2]| x * x + y * y;
    let mut solver = match gradients {
        Gradients::Normal => place.guide(destination, patch, |_, _| true),
        Gradients::Mixed(MixedRule::Opencv) => place.guide(destination, patch, |patch, destination| {
            (patch[0] - patch[1]).abs() > (destination[0] - destination[1]).abs()
        }),
        Gradients::Mixed(MixedRule::Magnitude) => place.guide(destination, patch, |patch, destination| {
            square(patch) > square(destination)
        }),
    };
    solver.solve();
    place.write(destination, &solver);
    Some(place.solved)
}

/// Place of the patch in the destination.
struct Place {
    /// The bounding box of the mask in the destination.
    solved: Rect,
    /// Its upper left pixel in the patch.
    patch_x: usize,
    patch_y: usize,
    /// The eroded mask in the box, from 0 to 1, three times per pixel.
    weight: Vec<f32>,
}

impl Place {
    /// Finds the box and erodes the mask in it.
    fn find(destination: &RgbImage, patch: &RgbImage, mask: &GrayImage, corner: (i64, i64)) -> Option<Self> {
        let inner = |corner: i64, patch: u32, mask: u32, destination: u32| -> std::ops::Range<usize> {
            let size = i64::from(patch.min(mask));
            let low = corner.saturating_neg().max(1).min(size);
            let high = (size - 1)
                .min(i64::from(destination).saturating_sub(corner))
                .max(low);
            low as usize..high as usize
        };
        let columns = inner(corner.0, patch.width(), mask.width(), destination.width());
        let rows = inner(corner.1, patch.height(), mask.height(), destination.height());
        let line = |y: usize| &mask.as_raw()[y * mask.width() as usize..][columns.clone()];
        let (mut left, mut right, mut top, mut bottom) = (usize::MAX, 0, usize::MAX, 0);
        for y in rows {
            let line = line(y);
            if let Some(first) = line.iter().position(|m| *m > 0) {
                let last = line.iter().rposition(|m| *m > 0).unwrap_or(first);
                (left, right) = (left.min(first), right.max(last));
                (top, bottom) = (top.min(y), y);
            }
        }
        let (width, height) = ((right + 1).checked_sub(left)?, (bottom + 1).checked_sub(top)?);
        if width < 3 || height < 3 {
            return None;
        }
        // The erosion reaches over the box's edge, where the mask is empty: first along rows, then along
        // columns.
        let mut eroded = vec![0; EROSION * width];
        for y in top..=bottom {
            let mut padded = vec![0; width + 2 * EROSION];
            padded[EROSION..][..width].copy_from_slice(&line(y)[left..=right]);
            let least = |window: &[u8]| window.iter().fold(255, |least: u8, m| least.min(*m));
            eroded.extend(padded.windows(2 * EROSION + 1).map(least));
        }
        eroded.resize(eroded.len() + EROSION * width, 0);
        let lines: Vec<&[u8]> = eroded.chunks_exact(width).collect();
        let least =
            |(lines, x): (&[&[u8]], usize)| lines.iter().fold(255, |least: u8, line| least.min(line[x]));
        let weight = lines
            .windows(2 * EROSION + 1)
            .flat_map(|lines| (0..width).map(move |x| (lines, x)))
            .flat_map(|at| [f32::from(least(at)) / 255.0; 3])
            .collect();
        let (patch_x, patch_y) = (columns.start + left, top);
        let at = |offset: usize, corner: i64| u32::try_from(offset as i64 + corner).ok();
        Some(Self {
            solved: Rect {
                x: at(patch_x, corner.0)?,
                y: at(patch_y, corner.1)?,
                width: width as u32,
                height: height as u32,
            },
            patch_x,
            patch_y,
            weight,
        })
    }

    /// The equation with the divergence of `weight·(∇patch − ∇destination)`, the second factor only where
    /// `patch_wins`, which gets both gradients as [x, y].
    fn guide(
        &self,
        destination: &RgbImage,
        patch: &RgbImage,
        patch_wins: impl Fn([i32; 2], [i32; 2]) -> bool,
    ) -> Solver {
        let (width, height) = (self.solved.width as usize, self.solved.height as usize);
        let row = |image_width: u32, x: usize, y: usize| {
            let start = (y * image_width as usize + x) * 3;
            start..start + width * 3
        };
        let patch_row = |y| &patch.as_raw()[row(patch.width(), self.patch_x, self.patch_y + y)];
        let (x, y) = (self.solved.x as usize, self.solved.y as usize);
        let destination_row = |down| &destination.as_raw()[row(destination.width(), x, y + down)];
        let minus = |a: u8, b: u8| i32::from(a) - i32::from(b);
        let values = (width - 1) * 3;
        // Weighted differences of the gradients: along x, along y, along y one row above.
        let [mut along_x, mut along_y, mut above] = [(); 3].map(|()| vec![0.0; values]);
        let mut solver = Solver::new(width - 2, height - 2);
        for y in 0..height - 1 {
            std::mem::swap(&mut above, &mut along_y);
            let weight = &self.weight[y * width * 3..][..values];
            let (p, p_below) = (patch_row(y), patch_row(y + 1));
            let (d, d_below) = (destination_row(y), destination_row(y + 1));
            for i in 0..values {
                let patch = [minus(p[i + 3], p[i]), minus(p_below[i], p[i])];
                let destination = [minus(d[i + 3], d[i]), minus(d_below[i], d[i])];
                let weight = if patch_wins(patch, destination) {
                    weight[i]
                } else {
                    0.0
                };
                along_x[i] = weight * (patch[0] - destination[0]) as f32;
                along_y[i] = weight * (patch[1] - destination[1]) as f32;
            }
            if y > 0 {
                let inner = (3..values).map(|i| along_x[i] - along_x[i - 3] + along_y[i] - above[i]);
                solver.set_row(y - 1, inner);
            }
        }
        solver
    }

    fn write(&self, destination: &mut RgbImage, solver: &Solver) {
        let (columns, rows) = (self.solved.width as usize - 2, self.solved.height as usize - 2);
        let width = destination.width() as usize;
        let (x, y) = (self.solved.x as usize + 1, self.solved.y as usize + 1);
        for row in 0..rows {
            let start = ((y + row) * width + x) * 3;
            let line = &mut destination.as_mut()[start..start + columns * 3];
            // The conversion cuts off and saturates, as OpenCV's does.
            solver.row(row, line, |old, change| (f32::from(old) + change + SLACK) as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use daf_core::image::{Luma, Rgb};
    use proptest::prelude::*;

    use super::*;

    const ALL: [Gradients; 3] = [
        Gradients::Normal,
        Gradients::Mixed(MixedRule::Opencv),
        Gradients::Mixed(MixedRule::Magnitude),
    ];

    /// Something without symmetry, up to `contrast`.
    fn scene(width: u32, height: u32, seed: u32, contrast: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([0, 1, 2].map(|c: u32| {
                let mixed = (x * 73 + y * 151 + c * 37 + seed * 29 + x * y * 7) % 101;
                (mixed * contrast / 101 + 40) as u8
            }))
        })
    }

    fn full(width: u32, height: u32) -> GrayImage {
        GrayImage::from_pixel(width, height, Luma([255]))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_patch_with_the_destinations_gradients_changes_nothing(
            width in 1u32..40, height in 1u32..40, x in 0u32..30, y in 0u32..30, offset in 0u8..100,
        ) {
            let destination = scene(70, 70, 1, 90);
            let patch = RgbImage::from_fn(width, height, |i, j| {
                Rgb(destination.get_pixel(x + i, y + j).0.map(|v| v + offset))
            });
            for gradients in ALL {
                let mut found = destination.clone();
                let corner = (i64::from(x), i64::from(y));
                seamless_clone(&mut found, &patch, &full(width, height), corner, gradients);
                prop_assert!(found == destination, "{gradients:?}");
            }
        }

        #[test]
        fn a_constant_offset_of_the_patch_does_not_matter(offset in 0u8..100, seed in 0u32..1000) {
            let patch = scene(30, 24, seed, 90);
            let brighter = RgbImage::from_fn(30, 24, |x, y| Rgb(patch.get_pixel(x, y).0.map(|v| v + offset)));
            let destination = scene(60, 50, seed + 1, 180);
            for gradients in ALL {
                let (mut a, mut b) = (destination.clone(), destination.clone());
                seamless_clone(&mut a, &patch, &full(30, 24), (12, 9), gradients);
                seamless_clone(&mut b, &brighter, &full(30, 24), (12, 9), gradients);
                prop_assert!(a == b && a != destination, "{gradients:?}");
            }
        }

        #[test]
        fn nothing_changes_on_the_border_of_the_solved_box_or_beyond(
            width in 1u32..50, height in 1u32..50, x in -60i64..60, y in -60i64..60, seed in 0u32..1000,
            holes in 1u32..9,
        ) {
            let destination = scene(47, 33, seed, 200);
            let patch = scene(width, height, seed + 1, 200);
            let mask = GrayImage::from_fn(width, height, |i, j| {
                Luma([if (i * j + i) / 8 % holes == 0 { 255 } else { 0 }])
            });
            for gradients in ALL {
                let mut found = destination.clone();
                let solved = seamless_clone(&mut found, &patch, &mask, (x, y), gradients);
                for (x, y, pixel) in found.enumerate_pixels() {
                    let inside = solved.is_some_and(|r| {
                        r.contains(x, y) && x > r.x && y > r.y && x + 1 < r.x + r.width && y + 1 < r.y + r.height
                    });
                    prop_assert!(inside || pixel == destination.get_pixel(x, y), "{gradients:?} {x} {y}");
                }
            }
        }
    }

    #[test]
    fn small_empty_and_distant_patches_do_nothing() {
        let destination = scene(20, 20, 3, 200);
        let cases = [
            (0, 0, (0, 0)),
            (0, 5, (5, 5)),
            (5, 0, (5, 5)),
            (1, 1, (5, 5)),
            (2, 9, (5, 5)),
            (4, 4, (5, 5)),
            (10, 10, (30, 0)),
            (10, 10, (i64::MAX, i64::MIN)),
            (10, 10, (i64::MIN, i64::MAX)),
        ];
        for (width, height, corner) in cases {
            let mut found = destination.clone();
            let patch = scene(width, height, 4, 200);
            assert_eq!(
                seamless_clone(&mut found, &patch, &full(width, height), corner, ALL[0]),
                None
            );
            assert_eq!(found, destination);
        }
        let mut found = destination.clone();
        assert_eq!(
            seamless_clone(
                &mut found,
                &scene(9, 9, 1, 50),
                &GrayImage::new(9, 9),
                (0, 0),
                ALL[0]
            ),
            None
        );
        let mut nothing = RgbImage::new(0, 0);
        assert_eq!(
            seamless_clone(&mut nothing, &scene(9, 9, 1, 50), &full(9, 9), (0, 0), ALL[0]),
            None
        );
    }

    #[test]
    fn a_step_takes_the_color_of_its_new_place() {
        let mut destination = RgbImage::from_pixel(80, 80, Rgb([100, 50, 200]));
        let patch = RgbImage::from_fn(60, 60, |x, y| {
            Rgb(if (20..40).contains(&x) && (20..40).contains(&y) {
                [40; 3]
            } else {
                [0; 3]
            })
        });
        seamless_clone(
            &mut destination,
            &patch,
            &full(60, 60),
            (10, 10),
            Gradients::Normal,
        );
        let (inside, outside) = (destination.get_pixel(39, 39).0, destination.get_pixel(14, 40).0);
        for c in 0..3 {
            let step = i32::from(inside[c]) - i32::from(outside[c]);
            assert!((38..=41).contains(&step), "{inside:?} {outside:?}");
        }
    }

    #[test]
    fn a_gray_mask_weights_the_gradients() {
        let destination = RgbImage::from_pixel(80, 80, Rgb([100; 3]));
        let patch = RgbImage::from_fn(60, 60, |x, _| Rgb([if x < 30 { 0 } else { 100 }; 3]));
        let step = |weight: u8| {
            let mut found = destination.clone();
            let mask = GrayImage::from_pixel(60, 60, Luma([weight]));
            seamless_clone(&mut found, &patch, &mask, (10, 10), Gradients::Normal);
            f64::from(found.get_pixel(40, 40).0[0]) - f64::from(found.get_pixel(39, 40).0[0])
        };
        // The border of the box pulls a little.
        assert!(
            (96.0..=100.0).contains(&step(255)) && (38.0..=40.0).contains(&step(102)),
            "{} {}",
            step(255),
            step(102)
        );
    }

    #[test]
    fn mixed_gradients_keep_what_is_stronger() {
        let flat = RgbImage::from_pixel(40, 40, Rgb([90; 3]));
        let striped = scene(60, 60, 1, 200);
        for gradients in &ALL[1..] {
            let mut found = striped.clone();
            seamless_clone(&mut found, &flat, &full(40, 40), (10, 10), *gradients);
            assert_eq!(found, striped, "{gradients:?}: a flat patch leaves the texture");
        }
        let mut found = striped.clone();
        seamless_clone(&mut found, &flat, &full(40, 40), (10, 10), Gradients::Normal);
        assert_ne!(found, striped);
    }
}
