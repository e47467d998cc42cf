//! Images whose rows and columns are weighted sums of few rows and columns of others: up-sampled and shifted
//! ones.

// As in `winograd`.
#![allow(clippy::needless_range_loop)]

use std::cell::RefCell;

use fearless_simd::{Level, Simd, dispatch, f32x16, prelude::*};

use crate::lanes::{LANES, Lanes, read};

/// Term of a weighted sum: index of the source and weight.
pub type Term = (usize, f32);

/// Computes an image of rows×columns×channels numbers. Each of its columns is a weighted sum of columns of an
/// intermediate image, and each row of that a weighted sum of rows of `parts`, images of `width` columns one
/// below the other. `offset`, a number per channel, is added at every position.
///
/// # Panics
/// If there are no columns, the channels are no multiple of [`LANES`], the parts are not whole rows, a term
/// reads from outside of them, or `results` is of another length.
pub fn combine(
    parts: &[&[f32]],
    [rows, columns]: [&[Vec<Term>]; 2],
    width: usize,
    offset: &[f32],
    results: &mut [f32],
) {
    let channels = offset.len();
    let row = width * channels;
    assert!(
        row > 0 && channels.is_multiple_of(LANES) && !columns.is_empty(),
        "{} columns are computed from {width} of {channels} channels, no whole multiple of {LANES}",
        columns.len()
    );
    assert!(
        parts.iter().all(|part| part.len().is_multiple_of(row)),
        "parts are no whole rows of {row} numbers"
    );
    assert_eq!(results.len(), rows.len() * columns.len() * channels);
    let sources: Vec<&[Lanes]> = parts
        .iter()
        .flat_map(|part| part.chunks_exact(row))
        .map(|row| row.as_chunks().0)
        .collect();
    let inside = |terms: &[Vec<Term>], length| terms.iter().flatten().all(|term| term.0 < length);
    assert!(
        inside(rows, sources.len()) && inside(columns, width),
        "a term reads from outside of {} rows and {width} columns",
        sources.len()
    );
    thread_local! {
        static LINE: RefCell<Vec<Lanes>> = RefCell::default();
    }
    let (offset, results) = (offset.as_chunks().0, results.as_chunks_mut().0);
    LINE.with_borrow_mut(|line| {
        line.resize(row / LANES, [0.0; LANES]);
        dispatch!(Level::new(), simd => image(simd, &sources, [rows, columns], offset, line, results));
    });
}

#[inline(always)]
fn image<'a, S: Simd>(
    simd: S,
    sources: &[&'a [Lanes]],
    [rows, columns]: [&[Vec<Term>]; 2],
    offset: &[Lanes],
    line: &mut [Lanes],
    results: &mut [Lanes],
) {
    let lanes = offset.len();
    let mut of_row: Vec<(&'a [Lanes], f32)> = Vec::new();
    for (terms, results) in rows.iter().zip(results.chunks_exact_mut(columns.len() * lanes)) {
        of_row.clear();
        of_row.extend(terms.iter().map(|&(source, weight)| (sources[source], weight)));
        sum(simd, None, &of_row, line);
        let mut of_column = Vec::new();
        for (terms, result) in columns.iter().zip(results.chunks_exact_mut(lanes)) {
            of_column.clear();
            let part = |source: usize| &line[source * lanes..][..lanes];
            of_column.extend(terms.iter().map(|&(source, weight)| (part(source), weight)));
            sum(simd, Some(offset), &of_column, result);
        }
    }
}

/// The weighted sum of numbers that lie side by side.
#[inline(always)]
fn sum<S: Simd>(simd: S, offset: Option<&[Lanes]>, terms: &[(&[Lanes], f32)], result: &mut [Lanes]) {
    const TOGETHER: usize = 4;
    let whole = result.len() / TOGETHER * TOGETHER;
    for at in (0..whole).step_by(TOGETHER) {
        sum_at::<S, TOGETHER>(simd, offset, terms, at, result);
    }
    for at in whole..result.len() {
        sum_at::<S, 1>(simd, offset, terms, at, result);
    }
}

#[inline(always)]
fn sum_at<S: Simd, const TOGETHER: usize>(
    simd: S,
    offset: Option<&[Lanes]>,
    terms: &[(&[Lanes], f32)],
    at: usize,
    result: &mut [Lanes],
) {
    let mut sums = [f32x16::splat(simd, 0.0); TOGETHER];
    if let Some(offset) = offset {
        let offset = &offset[at..][..TOGETHER];
        for i in 0..TOGETHER {
            sums[i] = read(simd, &offset[i]);
        }
    }
    for &(numbers, weight) in terms {
        let (numbers, weight) = (&numbers[at..][..TOGETHER], f32x16::splat(simd, weight));
        for i in 0..TOGETHER {
            sums[i] = read(simd, &numbers[i]).mul_add(weight, sums[i]);
        }
    }
    let result = &mut result[at..][..TOGETHER];
    for i in 0..TOGETHER {
        sums[i].store_array(&mut result[i]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(length: usize, from: usize) -> impl Strategy<Value = Vec<Vec<Term>>> {
        prop::collection::vec(prop::collection::vec((0..from, -1.0_f32..1.0), 0..7), 1..length)
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(
            rows in terms(4, 6), columns in terms(5, 5), lanes in 1_usize..6,
            values in prop::collection::vec(-1.0_f32..1.0, (6 * 5 + 1) * 5 * LANES),
        ) {
            let (channels, width) = (lanes * LANES, 5);
            let (offset, rest) = values.split_at(channels);
            let image = &rest[..6 * width * channels];
            let (above, below) = image.split_at(2 * width * channels);
            let mut results = vec![f32::NAN; rows.len() * columns.len() * channels];
            combine(&[above, below], [&rows, &columns], width, offset, &mut results);
            let mut results = results.into_iter();
            for (row, column) in rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column))) {
                for (channel, offset) in offset.iter().enumerate() {
                    let mut expected = f64::from(*offset);
                    for (y, down) in row {
                        for (x, across) in column {
                            let value = image[(y * width + x) * channels + channel];
                            expected += f64::from(*down) * f64::from(*across) * f64::from(value);
                        }
                    }
                    let found = results.next().unwrap();
                    prop_assert!((f64::from(found) - expected).abs() < 1e-4, "{found} is not {expected}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "reads from outside of 2 rows and 1 columns")]
    fn a_term_that_reads_from_outside_is_refused() {
        let one = [vec![(0, 1.0)]];
        combine(
            &[&[0.0; 2 * LANES]],
            [&[vec![(2, 1.0)]], &one],
            1,
            &[0.0; LANES],
            &mut [0.0; LANES],
        );
    }
}
