//! Structural similarity of features.

// As in `winograd`.
#![allow(clippy::needless_range_loop)]

use std::cell::RefCell;

use fearless_simd::{Level, Simd, dispatch, f32x16, prelude::*};

use crate::filter::Filter;
use crate::lanes::{LANES, Lanes, read};

/// Structural similarity of two images of rows×columns×`channels` numbers, at every position and in every
/// channel. The moments are taken under `filter`; c1 and c2 stabilize the quotient. Each channel of each
/// image is first divided by its largest absolute value.
///
/// One pass over the numbers of a channel takes the place of about twenty operations on whole tensors. A NaN
/// spoils all results within the filter's reach.
///
/// # Panics
/// If `channels` is no multiple of [`LANES`], images or results are not of this size, or the filter is not
/// valid.
pub fn similarity(
    filter: &Filter,
    [c1, c2]: [f32; 2],
    one: &[f32],
    other: &[f32],
    channels: usize,
    results: &mut [f32],
) {
    let [height, width] = filter.checked_size();
    assert!(
        channels > 0 && channels.is_multiple_of(LANES),
        "{channels} channels are no whole multiple of {LANES}"
    );
    assert!(
        [one.len(), other.len(), results.len()] == [height * width * channels; 3],
        "{}, {} and {} numbers are not three images of {height}×{width}×{channels}",
        one.len(),
        other.len(),
        results.len()
    );
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::default();
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let length = filter.weights.len();
        scratch.line.resize(COLUMNS + length - 1, Moments::default());
        scratch.held.resize(length * COLUMNS, Moments::default());
        let images = [one, other].map(|image| image.as_chunks().0);
        let (results, _) = results.as_chunks_mut();
        for first in 0..channels / LANES {
            let lane = Lane {
                images,
                first,
                step: channels / LANES,
            };
            dispatch!(Level::new(), simd => lane.compare(simd, filter, [c1, c2], scratch, results));
        }
    });
}

/// Raw moments: both values, the sum of their squares, their product. Aligned to a cache line: a read across
/// two takes twice as long.
#[derive(Debug, Default, Clone, Copy)]
#[repr(align(64))]
struct Moments([Lanes; 4]);

/// Columns of a strip, whose moments stay in the first-level cache: 23 KB with a filter of 11.
const COLUMNS: usize = 8;

/// Reused buffers of a thread.
#[derive(Debug, Default)]
struct Scratch {
    /// Moments of a row of the strip and of what lies beside it.
    line: Vec<Moments>,
    /// Ring of rows that are filtered along themselves, one per weight: row i takes the place of row i −
    /// weights.
    held: Vec<Moments>,
    /// First columns in `held` of the rows that the current one is computed from, with their weights.
    starts: Vec<(usize, f32)>,
}

#[inline(always)]
fn add<S: Simd>(simd: S, moments: &Moments, weight: f32, sums: &mut [f32x16<S>; 4]) {
    let weight = f32x16::splat(simd, weight);
    for at in 0..4 {
        sums[at] = read(simd, &moments.0[at]).mul_add(weight, sums[at]);
    }
}

/// A lane of channels of both images.
struct Lane<'a> {
    images: [&'a [Lanes]; 2],
    first: usize,
    /// Lanes between neighboring positions.
    step: usize,
}

impl Lane<'_> {
    #[inline(always)]
    fn compare<S: Simd>(
        &self,
        simd: S,
        filter: &Filter,
        [c1, c2]: [f32; 2],
        Scratch { line, held, starts }: &mut Scratch,
        results: &mut [Lanes],
    ) {
        let [height, width] = filter.size();
        let number = |number: f32| f32x16::splat(simd, number);
        let (c1, c2, two) = (number(c1), number(c2), number(2.0));
        let factors = [self.factor(simd, 0), self.factor(simd, 1)];
        let (length, radius) = (filter.weights.len(), filter.weights.len() / 2);
        for left in (0..width).step_by(COLUMNS) {
            let columns = COLUMNS.min(width - left);
            let sources = &filter.columns[left..][..columns + 2 * radius];
            let mut ready = 0;
            for row in 0..height {
                while ready < height.min(row + radius + 1) {
                    self.read_row(simd, ready * width, sources, factors, line);
                    let held = &mut held[ready % length * COLUMNS..][..columns];
                    for (column, held) in held.iter_mut().enumerate() {
                        let mut sums = [number(0.0); 4];
                        for (moments, weight) in line[column..].iter().zip(&filter.weights) {
                            add(simd, moments, *weight, &mut sums);
                        }
                        for at in 0..4 {
                            sums[at].store_array(&mut held.0[at]);
                        }
                    }
                    ready += 1;
                }
                starts.clear();
                for (source, weight) in filter.rows[row..].iter().zip(&filter.weights) {
                    starts.push((source % length * COLUMNS, *weight));
                }
                for column in 0..columns {
                    let mut sums = [number(0.0); 4];
                    for (start, weight) in &*starts {
                        add(simd, &held[start + column], *weight, &mut sums);
                    }
                    let [x, y, squares, product] = sums;
                    let (mean_product, square_means) = (x * y, x.mul_add(x, y * y));
                    let above = mean_product.mul_add(two, c1) * (product - mean_product).mul_add(two, c2);
                    let below = (square_means + c1) * (squares - square_means + c2);
                    let place = &mut results[(row * width + left + column) * self.step + self.first];
                    (above / below).store_array(place);
                }
            }
        }
    }

    /// Factor that scales the largest absolute value of each channel to 1.
    #[inline(always)]
    fn factor<S: Simd>(&self, simd: S, image: usize) -> f32x16<S> {
        let mut largest = f32x16::splat(simd, 0.0);
        for lanes in self.images[image].iter().skip(self.first).step_by(self.step) {
            largest = largest.max(read(simd, lanes).abs());
        }
        f32x16::splat(simd, 1.0) / (largest + f32x16::splat(simd, 1e-10))
    }

    /// Reads the moments of the columns `sources` of a row into `line`.
    #[inline(always)]
    fn read_row<S: Simd>(
        &self,
        simd: S,
        start: usize,
        sources: &[usize],
        factors: [f32x16<S>; 2],
        line: &mut [Moments],
    ) {
        for (place, column) in line.iter_mut().zip(sources) {
            let at = (start + column) * self.step + self.first;
            let x = read(simd, &self.images[0][at]) * factors[0];
            let y = read(simd, &self.images[1][at]) * factors[1];
            x.store_array(&mut place.0[0]);
            y.store_array(&mut place.0[1]);
            x.mul_add(x, y * y).store_array(&mut place.0[2]);
            (x * y).store_array(&mut place.0[3]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::filter::tests::reflected;

    fn defined(filter: &Filter, [c1, c2]: [f64; 2], images: [&[f32]; 2], channels: usize) -> Vec<f64> {
        let [height, width] = filter.size();
        let images = images.map(|image| {
            let largest = |channel: usize| {
                let values = image.iter().skip(channel).step_by(channels);
                values.fold(0.0_f64, |largest, value| largest.max(f64::from(value.abs()))) + 1e-10
            };
            let largest: Vec<f64> = (0..channels).map(largest).collect();
            let scaled = |(at, value): (usize, &f32)| f64::from(*value) / largest[at % channels];
            image.iter().enumerate().map(scaled).collect::<Vec<f64>>()
        });
        let mut results = Vec::new();
        for at in 0..height * width * channels {
            let (row, column, channel) = (at / channels / width, at / channels % width, at % channels);
            let [mut x, mut y, mut xx, mut yy, mut xy] = [0.0; 5];
            for (down, across) in (0..filter.weights.len())
                .flat_map(|down| (0..filter.weights.len()).map(move |across| (down, across)))
            {
                let weight = f64::from(filter.weights[down]) * f64::from(filter.weights[across]);
                let place = (filter.rows[row + down] * width + filter.columns[column + across]) * channels;
                let [a, b] = [0, 1].map(|image| images[image][place + channel]);
                x += weight * a;
                y += weight * b;
                xx += weight * a * a;
                yy += weight * b * b;
                xy += weight * a * b;
            }
            let luminance = (2.0 * x * y + c1) / (x * x + y * y + c1);
            let structure = (2.0 * (xy - x * y) + c2) / (xx - x * x + (yy - y * y) + c2);
            results.push(luminance * structure);
        }
        results
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn it_agrees_with_the_definition(
            h in 1_usize..9, w in 1_usize..9, radius in 0_usize..4, lanes in 1_usize..3,
            values in prop::collection::vec(-2.0_f32..2.0, 2 * 8 * 8 * 2 * LANES),
            flat in any::<bool>(),
        ) {
            let channels = lanes * LANES;
            let (one, rest) = values.split_at(h * w * channels);
            // Nearly constant features are where rounding counts most.
            let other: Vec<f32> = rest[..one.len()].iter().map(|x| if flat { 1.0 + x / 1000.0 } else { *x }).collect();
            let weights: Vec<f32> = (0..=2 * radius).map(|k| (1 + k.min(2 * radius - k)) as f32).collect();
            let weights: Vec<f32> = weights.iter().map(|weight| weight / weights.iter().sum::<f32>()).collect();
            let [rows, columns] = [h, w].map(|length| reflected(length, radius));
            let filter = Filter { weights, rows, columns };
            let mut results = vec![f32::NAN; one.len()];
            similarity(&filter, [1e-4, 9e-4], one, &other, channels, &mut results);
            let expected = defined(&filter, [1e-4, 9e-4], [one, &other], channels);
            for (found, expected) in results.iter().zip(expected) {
                prop_assert!((f64::from(*found) - expected).abs() < 2e-3, "{found} is not {expected}");
            }
        }
    }

    #[test]
    fn what_another_size_left_in_memory_is_not_seen() {
        let image: Vec<f32> = (0..4 * 5 * LANES).map(|i| (i * 37 % 101) as f32 - 50.0).collect();
        let run = |image: &[f32], [h, w]: [usize; 2]| {
            let [rows, columns] = [h, w].map(|length| reflected(length, 1));
            let filter = Filter {
                weights: vec![0.25, 0.5, 0.25],
                rows,
                columns,
            };
            let mut results = vec![0.0; image.len()];
            let other: Vec<f32> = image.iter().rev().copied().collect();
            similarity(&filter, [1e-4, 9e-4], image, &other, LANES, &mut results);
            results
        };
        let fresh = std::thread::scope(|scope| scope.spawn(|| run(&image, [4, 5])).join().unwrap());
        run(&[f32::NAN; 9 * 7 * LANES], [9, 7]);
        assert_eq!(run(&image, [4, 5]), fresh);
    }
}
