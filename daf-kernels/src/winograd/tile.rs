//! How tiles and kernels become numbers whose products are added, and how these become results.
//!
//! The points of the interpolation are 0, 1, −1, 2, −2 and infinity.

// Loops over indices, not closures and adapters of iterators: these are compiled without the wide operations.
#![allow(clippy::needless_range_loop)]

use fearless_simd::{Simd, f32x16, prelude::*};

use super::Then;
use super::product::Block;
use crate::lanes::{LANES, Lanes, read};

/// Results of a tile in each direction.
pub(crate) const SIDE: usize = 4;

/// Values that they depend on in each direction.
const REACH: usize = SIDE + 2;

/// Numbers that a tile or a kernel is turned into.
pub(crate) const POINTS: usize = REACH * REACH;

/// The values that a tile's results depend on: the first one's first lane, and how many lanes lie between neighbours.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    lanes: &'a [Lanes],
    value: usize,
    row: usize,
}

impl<'a> Values<'a> {
    /// Those of the tile whose results begin at this row and column, of an image of so many lanes per value; beyond the image
    /// are zeros. `border` is memory for the tiles there.
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

/// Where the results of a tile go.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Rows and columns that lie within the image.
    pub size: [usize; 2],
    /// Lanes between neighbours.
    pub value: usize,
    pub row: usize,
}

/// G·g·Gᵀ of a kernel g.
pub(crate) fn of_kernel(kernel: &[f64; 9]) -> [f64; POINTS] {
    let turn = |[a, b, c]: [f64; 3]| {
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
    let columns: [[f64; REACH]; 3] = std::array::from_fn(|x| turn([kernel[x], kernel[3 + x], kernel[6 + x]]));
    let mut numbers = [0.0; POINTS];
    for (y, row) in numbers.chunks_exact_mut(REACH).enumerate() {
        row.copy_from_slice(&turn([columns[0][y], columns[1][y], columns[2][y]]));
    }
    numbers
}

/// Bᵀ·d·B of the values d of a tile, for one lane of them; the numbers of neighbouring points go `step` lanes apart.
#[inline(always)]
pub(crate) fn turn<S: Simd>(simd: S, values: Values<'_>, lane: usize, turned: &mut [Lanes], step: usize) {
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
            row[x].store_array(&mut turned[(y * REACH + x) * step]);
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

/// Aᵀ·m·A and the bias: what then becomes the results, of the sums m of a tile, whose points lie `step` blocks apart, for one lane of the blocks.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn turn_back<S: Simd>(
    simd: S,
    sums: &[Block],
    step: usize,
    lane: usize,
    bias: &Lanes,
    then: Then,
    results: &mut [Lanes],
    place: Place,
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
            if then.add {
                sum += read(simd, result);
            }
            if then.relu {
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
