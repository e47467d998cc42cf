//! Filtered score maps.

// As in `winograd`.
#![allow(clippy::needless_range_loop)]

use std::cell::RefCell;

use fearless_simd::{Level, Simd, dispatch, f32x16, prelude::*};

use crate::filter::Filter;
use crate::lanes::{LANES, read};

/// Filters a map of rows×columns numbers.
///
/// # Panics
/// If map or results are not of the filter's size, or the filter is not valid.
pub fn map(filter: &Filter, map: &[f32], results: &mut [f32]) {
    let [height, width] = filter.checked_size();
    assert!(
        [map.len(), results.len()] == [height * width; 2],
        "{} and {} numbers are not two maps of {height}×{width}",
        map.len(),
        results.len()
    );
    thread_local! {
        static LINE: RefCell<Vec<f32>> = RefCell::default();
    }
    LINE.with_borrow_mut(|line| {
        // Room for the lanes of the last position.
        line.resize(filter.columns.len() + 2 * LANES, 0.0);
        dispatch!(Level::new(), simd => average(simd, filter, map, line, results));
    });
}

#[inline(always)]
fn average<S: Simd>(simd: S, filter: &Filter, map: &[f32], line: &mut [f32], results: &mut [f32]) {
    let [_, width] = filter.size();
    let (zero, radius) = (f32x16::splat(simd, 0.0), filter.weights.len() / 2);
    for (row, results) in results.chunks_exact_mut(width.max(1)).enumerate() {
        let source = |k: usize| &map[filter.rows[row + k] * width..][..width];
        // Down the columns, into the middle of the line.
        for first in (0..width).step_by(LANES) {
            let middle = &mut line[radius + first..][..LANES];
            if first + LANES <= width {
                let mut sum = zero;
                for (k, weight) in filter.weights.iter().enumerate() {
                    let Some(values) = source(k)[first..].first_chunk() else {
                        unreachable!("the row goes on");
                    };
                    sum = read(simd, values).mul_add(f32x16::splat(simd, *weight), sum);
                }
                middle.copy_from_slice(&*sum);
            } else {
                for (column, sum) in (first..width).zip(middle) {
                    let terms = filter.weights.iter().enumerate();
                    *sum = terms.map(|(k, weight)| weight * source(k)[column]).sum();
                }
            }
        }
        // What continues it on both sides.
        for at in (0..radius).chain(radius + width..2 * radius + width) {
            line[at] = line[radius + filter.columns[at]];
        }
        for (first, results) in (0..).step_by(LANES).zip(results.chunks_mut(LANES)) {
            let mut sum = zero;
            for (k, weight) in filter.weights.iter().enumerate() {
                let Some(values) = line[first + k..].first_chunk() else {
                    unreachable!("the line has room");
                };
                sum = read(simd, values).mul_add(f32x16::splat(simd, *weight), sum);
            }
            results.copy_from_slice(&(*sum)[..results.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::filter::tests::reflected;

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(
            h in 1_usize..9, w in 1_usize..40, radius in 0_usize..6,
            values in prop::collection::vec(-2.0_f32..2.0, 8 * 39),
        ) {
            let image = &values[..h * w];
            let weights: Vec<f32> = (0..=2 * radius).map(|k| 1.0 / (3 + k) as f32).collect();
            let [rows, columns] = [h, w].map(|length| reflected(length, radius));
            let filter = Filter { weights, rows, columns };
            let mut results = vec![f32::NAN; image.len()];
            map(&filter, image, &mut results);
            let Filter { weights, rows, columns } = filter;
            for (at, found) in results.iter().enumerate() {
                let (row, column) = (at / w, at % w);
                let mut expected = 0.0;
                for down in 0..weights.len() {
                    for across in 0..weights.len() {
                        let value = image[rows[row + down] * w + columns[column + across]];
                        expected += f64::from(weights[down]) * f64::from(weights[across]) * f64::from(value);
                    }
                }
                prop_assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} is not {expected}");
            }
        }
    }
}
