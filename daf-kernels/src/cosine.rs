//! Cosine similarity of feature vectors.

// As in `winograd`.
#![allow(clippy::needless_range_loop)]

use fearless_simd::{Level, Simd, dispatch, f32x16, prelude::*};

use crate::lanes::{LANES, Lanes, read};

/// Lower bound of the length that a vector is divided by.
const SHORTEST: f32 = 1e-8;

/// Cosines between pairs of vectors of `channels` numbers, one result per pair, in −1..=1 up to rounding.
///
/// # Panics
/// If `channels` is no multiple of [`LANES`], or a side has another number of vectors than `results` has
/// numbers.
pub fn similarity(one: &[f32], other: &[f32], channels: usize, results: &mut [f32]) {
    assert!(
        channels > 0 && channels.is_multiple_of(LANES),
        "{channels} channels are no whole multiple of {LANES}"
    );
    assert!(
        one.len() == other.len() && one.len() == results.len() * channels,
        "{} and {} numbers are not {} vectors of {channels} each",
        one.len(),
        other.len(),
        results.len()
    );
    let (one, other) = (one.as_chunks().0, other.as_chunks().0);
    dispatch!(Level::new(), simd => vectors(simd, one, other, channels / LANES, results));
}

#[inline(always)]
fn vectors<S: Simd>(simd: S, one: &[Lanes], other: &[Lanes], lanes: usize, results: &mut [f32]) {
    let zero = f32x16::splat(simd, 0.0);
    for (at, result) in results.iter_mut().enumerate() {
        let (mut squares, mut others, mut products) = (zero, zero, zero);
        for lane in at * lanes..(at + 1) * lanes {
            let (x, y) = (read(simd, &one[lane]), read(simd, &other[lane]));
            squares = x.mul_add(x, squares);
            others = y.mul_add(y, others);
            products = x.mul_add(y, products);
        }
        let length = |squares: f32x16<S>| simd.reduce_sum_f32x16(squares).sqrt().max(SHORTEST);
        *result = simd.reduce_sum_f32x16(products) / (length(squares) * length(others));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(
            channels in (1_usize..5).prop_map(|lanes| lanes * LANES),
            numbers in prop::collection::vec(-3.0_f32..3.0, 6 * 4 * LANES),
        ) {
            let (one, other) = numbers[..6 * channels].split_at(3 * channels);
            let mut results = [f32::NAN; 3];
            similarity(one, other, channels, &mut results);
            for (found, (x, y)) in results.iter().zip(one.chunks(channels).zip(other.chunks(channels))) {
                let dot = |a: &[f32], b: &[f32]| -> f64 {
                    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
                };
                let expected = dot(x, y) / (dot(x, x) * dot(y, y)).sqrt();
                prop_assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} is not {expected}");
            }
        }
    }

    #[test]
    fn a_vector_of_zeros_is_like_no_other() {
        let (mut results, one) = ([f32::NAN; 2], [1.0; 2 * LANES]);
        similarity(&one, &[0.0; 2 * LANES], LANES, &mut results);
        assert_eq!(results, [0.0; 2]);
    }
}
