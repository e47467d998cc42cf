//! Last convolution of a decoder, on features that are up-sampled before it.

// As in `winograd`.
#![allow(clippy::needless_range_loop)]

use std::cell::RefCell;

use fearless_simd::{Level, Simd, dispatch, f32x16, prelude::*};

use crate::lanes::{LANES, Lanes, read};

/// A 1×1 convolution to a single channel of an image of height×width×weights numbers, which first is doubled
/// in height and width bilinearly (corners not aligned) and passes a ReLU: 2·height×2·width results. The
/// doubled image is never in memory.
///
/// # Panics
/// If the weights are no multiple of [`LANES`], or image or results are not of this size.
pub fn of_doubled(
    image: &[f32],
    [height, width]: [usize; 2],
    weights: &[f32],
    bias: f32,
    results: &mut [f32],
) {
    assert!(
        !weights.is_empty() && weights.len().is_multiple_of(LANES),
        "{} weights are no whole multiple of {LANES}",
        weights.len()
    );
    assert!(
        image.len() == height * width * weights.len() && results.len() == 4 * height * width,
        "{} numbers are no image of {height}×{width}×{}, or {} not four results per position",
        image.len(),
        weights.len(),
        results.len()
    );
    thread_local! {
        static LINE: RefCell<Vec<Lanes>> = RefCell::default();
    }
    let (image, weights) = (image.as_chunks().0, weights.as_chunks().0);
    LINE.with_borrow_mut(|line| {
        line.resize(width * weights.len(), [0.0; LANES]);
        dispatch!(Level::new(), simd => doubled(simd, image, [height, width], weights, bias, line, results));
    });
}

/// The two positions that a doubled one is interpolated from, with weights 3/4 and 1/4. Beyond the border
/// lies the border.
#[inline(always)]
fn sources(doubled: usize, length: usize) -> [usize; 2] {
    let near = doubled / 2;
    let other = if doubled.is_multiple_of(2) {
        near.saturating_sub(1)
    } else {
        (near + 1).min(length - 1)
    };
    [near, other]
}

#[inline(always)]
fn doubled<S: Simd>(
    simd: S,
    image: &[Lanes],
    [height, width]: [usize; 2],
    weights: &[Lanes],
    bias: f32,
    line: &mut [Lanes],
    results: &mut [f32],
) {
    let [zero, near, other] = [0.0, 0.75, 0.25].map(|number| f32x16::splat(simd, number));
    let between = |a: &Lanes, b: &Lanes| read(simd, a).mul_add(near, read(simd, b) * other);
    let lanes = weights.len();
    for row in 0..2 * height {
        let [one, two] = sources(row, height).map(|row| &image[row * width * lanes..][..width * lanes]);
        for at in 0..width * lanes {
            between(&one[at], &two[at]).store_array(&mut line[at]);
        }
        for column in 0..2 * width {
            let [one, two] = sources(column, width).map(|column| &line[column * lanes..][..lanes]);
            let mut sum = zero;
            for lane in 0..lanes {
                let value = between(&one[lane], &two[lane]).max(zero);
                sum = value.mul_add(read(simd, &weights[lane]), sum);
            }
            results[row * 2 * width + column] = simd.reduce_sum_f32x16(sum) + bias;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn defined(image: &[f32], [height, width]: [usize; 2], weights: &[f32], bias: f32) -> Vec<f64> {
        let channels = weights.len();
        let line = |doubled: usize, length: usize| {
            let source = ((doubled as f64 + 0.5) / 2.0 - 0.5).max(0.0);
            let first = source as usize;
            [
                (first, 1.0 - source.fract()),
                ((first + 1).min(length - 1), source.fract()),
            ]
        };
        let positions = (0..2 * height).flat_map(|row| (0..2 * width).map(move |column| (row, column)));
        let result = |(row, column)| {
            let value = |channel: usize| {
                let mut value = 0.0;
                for (y, down) in line(row, height) {
                    for (x, across) in line(column, width) {
                        value += down * across * f64::from(image[(y * width + x) * channels + channel]);
                    }
                }
                value.max(0.0)
            };
            let terms = weights.iter().enumerate();
            f64::from(bias)
                + terms
                    .map(|(channel, weight)| f64::from(*weight) * value(channel))
                    .sum::<f64>()
        };
        positions.map(result).collect()
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(
            h in 1_usize..6, w in 1_usize..6, lanes in 1_usize..3, bias in -1.0_f32..1.0,
            values in prop::collection::vec(-1.0_f32..1.0, (5 * 5 + 1) * 2 * LANES),
        ) {
            let channels = lanes * LANES;
            let (weights, rest) = values.split_at(channels);
            let image = &rest[..h * w * channels];
            let mut results = vec![f32::NAN; 4 * h * w];
            of_doubled(image, [h, w], weights, bias, &mut results);
            for (found, expected) in results.iter().zip(defined(image, [h, w], weights, bias)) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} is not {expected}");
            }
        }
    }
}
