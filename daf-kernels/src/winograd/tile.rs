//! The transforms of tiles, kernels and sums, for the interpolation points 0, 1, −1, 2, −2 and infinity.

// Loops over indices, not closures and adapters of iterators: these are compiled without the wide operations.
#![allow(clippy::needless_range_loop)]

use fearless_simd::{Simd, f32x16, prelude::*};

use super::epilogue::Epilogue;
use super::product::Block;
use crate::lanes::{LANES, Lanes, read};

/// Results of a tile in each direction.
pub(crate) const SIDE: usize = 4;

/// Values that these depend on in each direction.
const REACH: usize = SIDE + 2;

/// Numbers of a transformed tile or kernel.
pub(crate) const POINTS: usize = REACH * REACH;

/// Values that the results of a tile depend on.
#[derive(Clone, Copy)]
pub(crate) struct InputTile<'a> {
    /// From the first value's first lane on.
    lanes: &'a [Lanes],
    /// Lanes between neighboring values.
    value: usize,
    /// Lanes between neighboring rows.
    row: usize,
}

impl<'a> InputTile<'a> {
    /// The tile whose results begin at row `y` and column `x` of an image of `value` lanes per value. Beyond
    /// the image are zeros; `border` is memory for the tiles there.
    #[inline(always)]
    pub(crate) fn of(
        image: &'a [Lanes],
        [height, width]: [usize; 2],
        [y, x]: [usize; 2],
        value: usize,
        border: &'a mut Vec<Lanes>,
    ) -> Self {
        let within = |first: usize, length: usize| first > 0 && first + SIDE < length;
        if within(y, height) && within(x, width) {
            return Self {
                lanes: &image[((y - 1) * width + x - 1) * value..],
                value,
                row: width * value,
            };
        }
        border.clear();
        border.resize(REACH * REACH * value, [0.0; LANES]);
        // Of each row, what lies within the image.
        let (from, to) = (x.max(1) - 1, (x + REACH - 1).min(width));
        for (row, place) in (y..).zip(border.chunks_exact_mut(REACH * value)) {
            // Its number, plus one.
            if (1..=height).contains(&row) {
                let seen = &image[((row - 1) * width + from) * value..][..(to - from) * value];
                place[(from + 1 - x) * value..][..seen.len()].copy_from_slice(seen);
            }
        }
        Self {
            lanes: border,
            value,
            row: REACH * value,
        }
    }
}

/// Layout of the results of a tile.
#[derive(Clone, Copy)]
pub(crate) struct OutputTile {
    /// Rows and columns that lie within the image.
    pub size: [usize; 2],
    /// Lanes between neighboring values.
    pub value: usize,
    /// Lanes between neighboring rows.
    pub row: usize,
}

/// G·g·Gᵀ of a kernel g.
pub(crate) fn kernel_transform(kernel: &[f64; 9]) -> [f64; POINTS] {
    let transform = |[a, b, c]: [f64; 3]| {
        let (even, half, double) = (a + c, a / 24.0 + c / 6.0, b / 12.0);
        [
            a / 4.0,
            -(even + b) / 6.0,
            (b - even) / 6.0,
            half + double,
            half - double,
            c,
        ]
    };
    let columns: [[f64; REACH]; 3] =
        std::array::from_fn(|x| transform([kernel[x], kernel[3 + x], kernel[6 + x]]));
    let mut numbers = [0.0; POINTS];
    for (y, row) in numbers.chunks_exact_mut(REACH).enumerate() {
        row.copy_from_slice(&transform([columns[0][y], columns[1][y], columns[2][y]]));
    }
    numbers
}

/// Bᵀ·d·B of the values d of a tile, for one lane; the numbers of neighboring points lie `step` lanes apart.
#[inline(always)]
pub(crate) fn input_transform<S: Simd>(
    simd: S,
    values: InputTile<'_>,
    lane: usize,
    transformed: &mut [Lanes],
    step: usize,
) {
    let zero = f32x16::splat(simd, 0.0);
    let mut rows = [[zero; REACH]; REACH];
    for x in 0..REACH {
        let mut column = [zero; REACH];
        for y in 0..REACH {
            column[y] = read(simd, &values.lanes[y * values.row + x * values.value + lane]);
        }
        let column = differences(column);
        for y in 0..REACH {
            rows[y][x] = column[y];
        }
    }
    for y in 0..REACH {
        let row = differences(rows[y]);
        for x in 0..REACH {
            row[x].store_array(&mut transformed[(y * REACH + x) * step]);
        }
    }
}

/// Bᵀ·d of a column d.
#[inline(always)]
fn differences<S: Simd>([d0, d1, d2, d3, d4, d5]: [f32x16<S>; REACH]) -> [f32x16<S>; REACH] {
    let (even, odd) = (d4 - d2 * 4.0, d3 - d1 * 4.0);
    let (near, far) = (d4 - d2, (d3 - d1) * 2.0);
    [
        d0 * 4.0 - d2 * 5.0 + d4,
        even + odd,
        even - odd,
        near + far,
        near - far,
        d1 * 4.0 - d3 * 5.0 + d5,
    ]
}

/// Aᵀ·m·A of the sums m of a tile, for one lane of the blocks, with bias and epilogue; the sums of
/// neighboring points lie `step` blocks apart.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn output_transform<S: Simd>(
    simd: S,
    sums: &[Block],
    step: usize,
    lane: usize,
    bias: &Lanes,
    epilogue: Epilogue,
    results: &mut [Lanes],
    place: OutputTile,
) {
    let zero = f32x16::splat(simd, 0.0);
    let bias = read(simd, bias);
    let mut rows = [[zero; REACH]; SIDE];
    for x in 0..REACH {
        let mut column = [zero; REACH];
        for y in 0..REACH {
            column[y] = read(simd, &sums[(y * REACH + x) * step].0[lane]);
        }
        let column = together(column);
        for y in 0..SIDE {
            rows[y][x] = column[y];
        }
    }
    let [height, width] = place.size;
    for y in 0..SIDE {
        if y == height {
            break;
        }
        let row = together(rows[y]);
        for x in 0..SIDE {
            if x == width {
                break;
            }
            let result = &mut results[y * place.row + x * place.value];
            let mut sum = row[x] + bias;
            if epilogue.accumulate {
                sum += read(simd, result);
            }
            if epilogue.relu {
                sum = sum.max(zero);
            }
            sum.store_array(result);
        }
    }
}

/// Aᵀ·m of a column m.
#[inline(always)]
fn together<S: Simd>([m0, m1, m2, m3, m4, m5]: [f32x16<S>; REACH]) -> [f32x16<S>; SIDE] {
    let (near, far) = (m1 + m2, m3 + m4);
    let (slope, slant) = (m1 - m2, m3 - m4);
    [
        m0 + near + far,
        slope + slant * 2.0,
        near + far * 4.0,
        slope + slant * 8.0 + m5,
    ]
}
