//! Matrix products of turned tiles and turned kernels, point by point.

// As in `tile`.
#![allow(clippy::needless_range_loop)]

use fearless_simd::{Simd, f32x8, prelude::*};

use crate::tile::{LANES, read};

/// Output channels that are worked on together.
pub(crate) const BLOCK: usize = 16;
pub(crate) type Block = [f32; BLOCK];

/// Input channels that lie together, tile after tile: at a distance known to the compiler.
pub(crate) const CHUNK: usize = 64;
pub(crate) type Chunk = [f32; CHUNK];

/// Tiles that are worked on together: their sums fill twelve of the sixteen registers.
const ROWS: usize = 6;

/// For every tile the sum over the input channels of its values times the kernels.
#[inline(always)]
pub(crate) fn sum<S: Simd>(simd: S, values: &[Chunk], kernels: &[Block], sums: &mut [Block]) {
    let tiles = sums.len();
    let (groups, rest) = sums.as_chunks_mut::<ROWS>();
    let mut first = 0;
    for group in groups {
        rows(simd, &values[first..], tiles, kernels, group);
        first += ROWS;
    }
    let values = &values[first..];
    if let Ok(rest) = <&mut [Block; 1]>::try_from(&mut *rest) {
        rows(simd, values, tiles, kernels, rest);
    } else if let Ok(rest) = <&mut [Block; 2]>::try_from(&mut *rest) {
        rows(simd, values, tiles, kernels, rest);
    } else if let Ok(rest) = <&mut [Block; 3]>::try_from(&mut *rest) {
        rows(simd, values, tiles, kernels, rest);
    } else if let Ok(rest) = <&mut [Block; 4]>::try_from(&mut *rest) {
        rows(simd, values, tiles, kernels, rest);
    } else if let Ok(rest) = <&mut [Block; 5]>::try_from(&mut *rest) {
        rows(simd, values, tiles, kernels, rest);
    }
}

#[inline(always)]
fn rows<S: Simd, const N: usize>(
    simd: S,
    values: &[Chunk],
    tiles: usize,
    kernels: &[Block],
    sums: &mut [Block; N],
) {
    let zero = f32x8::splat(simd, 0.0);
    let mut held = [[zero; 2]; N];
    let (chunks, _) = kernels.as_chunks::<CHUNK>();
    for (chunk, kernels) in chunks.iter().enumerate() {
        let Some(rows) = values[chunk * tiles..].first_chunk::<N>() else {
            unreachable!("every chunk has the values of all tiles");
        };
        for channel in 0..CHUNK {
            let (kernel, _) = kernels[channel].as_chunks::<LANES>();
            let (low, high) = (read(simd, &kernel[0]), read(simd, &kernel[1]));
            for row in 0..N {
                let value = f32x8::splat(simd, rows[row][channel]);
                held[row][0] = value.mul_add(low, held[row][0]);
                held[row][1] = value.mul_add(high, held[row][1]);
            }
        }
    }
    for row in 0..N {
        let (sums, _) = sums[row].as_chunks_mut::<LANES>();
        held[row][0].store_array(&mut sums[0]);
        held[row][1].store_array(&mut sums[1]);
    }
}
