//! How tiles and kernels become numbers whose products are added, and how these become results.
//!
//! The points of the interpolation are 0, 1, −1, 2, −2 and infinity.

// Loops over indices, not closures and adapters of iterators: these are compiled without the wide operations.
#![allow(clippy::needless_range_loop)]

use fearless_simd::{Simd, f32x8, prelude::*};

/// Results of a tile in each direction.
pub(crate) const SIDE: usize = 4;

/// Values that they depend on in each direction.
const REACH: usize = SIDE + 2;

/// Numbers that a tile or a kernel is turned into.
pub(crate) const POINTS: usize = REACH * REACH;

/// Channels that are worked on together.
pub(crate) const LANES: usize = 8;
pub(crate) type Lanes = [f32; LANES];

/// The values of a tile among those of an image: the first one, and how many lanes lie between neighbours.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    pub lanes: &'a [Lanes],
    pub value: usize,
    pub row: usize,
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

/// Reads eight numbers. As written in the library, reading goes through the stack, which costs the innermost loop a third.
#[inline(always)]
pub(crate) fn read<S: Simd>(simd: S, numbers: &Lanes) -> f32x8<S> {
    let mut lanes = f32x8::splat(simd, 0.0);
    *lanes = *numbers;
    lanes
}

/// Bᵀ·d·B of the values d of a tile; the numbers of neighbouring points go `step` lanes apart.
#[inline(always)]
pub(crate) fn turn<S: Simd>(simd: S, values: Values<'_>, turned: &mut [Lanes], step: usize) {
    let zero = f32x8::splat(simd, 0.0);
    let mut rows = [[zero; REACH]; REACH];
    for x in 0..REACH {
        let mut column = [zero; REACH];
        for y in 0..REACH {
            column[y] = read(simd, &values.lanes[y * values.row + x * values.value]);
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
fn differences<S: Simd>([d0, d1, d2, d3, d4, d5]: [f32x8<S>; REACH]) -> [f32x8<S>; REACH] {
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

/// Aᵀ·m·A and the bias: the results, of the sums m of a tile, whose points lie `step` lanes apart.
#[inline(always)]
pub(crate) fn turn_back<S: Simd>(
    simd: S,
    sums: &[Lanes],
    step: usize,
    bias: &Lanes,
    results: &mut [Lanes],
    place: Place,
) {
    let zero = f32x8::splat(simd, 0.0);
    let bias = read(simd, bias);
    let mut rows = [[zero; REACH]; SIDE];
    for x in 0..REACH {
        let mut column = [zero; REACH];
        for y in 0..REACH {
            column[y] = read(simd, &sums[(y * REACH + x) * step]);
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
            (row[x] + bias).store_array(&mut results[y * place.row + x * place.value]);
        }
    }
}

/// Aᵀ·m of a column m.
#[inline(always)]
fn together<S: Simd>([m0, m1, m2, m3, m4, m5]: [f32x8<S>; REACH]) -> [f32x8<S>; SIDE] {
    let (near, far) = (m1 + m2, m3 + m4);
    let (slope, slant) = (m1 - m2, m3 - m4);
    [
        m0 + near + far,
        slope + slant * 2.0,
        near + far * 4.0,
        slope + slant * 8.0 + m5,
    ]
}
