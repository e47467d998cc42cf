//! Matrix products of transformed tiles and kernels, point by point.

// As in `tile`.
#![allow(clippy::needless_range_loop)]

use fearless_simd::{Simd, f32x16, prelude::*};

use crate::lanes::{LANES, Lanes, read};

/// Output channels of a [`Block`].
pub(crate) const BLOCK: usize = 32;

/// Numbers of [`BLOCK`] output channels, aligned to a cache line: a read across two takes twice as long.
#[derive(Debug, Default, Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Block(pub [Lanes; BLOCK / LANES]);

/// Input channels that lie together, tile after tile, at a distance known to the compiler.
pub(crate) const CHUNK: usize = 64;
pub(crate) type Chunk = [f32; CHUNK];

/// Tiles whose sums are held in registers: twelve of the sixteen registers of AVX2, 24 of the 32 of AVX-512,
/// or the fewest that keep it busy.
const ROWS: usize = 3;
const WIDE_ROWS: usize = 12;
const LEAST_WIDE_ROWS: usize = 4;

/// Sums over the input channels of values times kernels, one [`Block`] per tile.
#[inline(always)]
pub(crate) fn sum<S: Simd>(simd: S, values: &[Chunk], kernels: &[Block], sums: &mut [Block]) {
    let tiles = sums.len();
    let (mut first, mut rest) = (0, sums);
    if simd.level().as_avx512().is_some() {
        rest = groups::<S, WIDE_ROWS>(simd, values, tiles, kernels, rest, &mut first);
        rest = groups::<S, LEAST_WIDE_ROWS>(simd, values, tiles, kernels, rest, &mut first);
    }
    rest = groups::<S, ROWS>(simd, values, tiles, kernels, rest, &mut first);
    groups::<S, 1>(simd, values, tiles, kernels, rest, &mut first);
}

/// Computes the sums of whole groups of N tiles and returns the remaining ones.
#[inline(always)]
fn groups<'a, S: Simd, const N: usize>(
    simd: S,
    values: &[Chunk],
    tiles: usize,
    kernels: &[Block],
    sums: &'a mut [Block],
    first: &mut usize,
) -> &'a mut [Block] {
    let (groups, rest) = sums.as_chunks_mut::<N>();
    for group in groups {
        rows(simd, &values[*first..], tiles, kernels, group);
        *first += N;
    }
    rest
}

#[inline(always)]
fn rows<S: Simd, const N: usize>(
    simd: S,
    values: &[Chunk],
    tiles: usize,
    kernels: &[Block],
    sums: &mut [Block; N],
) {
    let zero = f32x16::splat(simd, 0.0);
    let mut held = [[zero; 2]; N];
    let (chunks, _) = kernels.as_chunks::<CHUNK>();
    for (chunk, kernels) in chunks.iter().enumerate() {
        let Some(rows) = values[chunk * tiles..].first_chunk::<N>() else {
            unreachable!("every chunk has the values of all tiles");
        };
        for channel in 0..CHUNK {
            let [low, high] = &kernels[channel].0;
            let (low, high) = (read(simd, low), read(simd, high));
            for row in 0..N {
                let value = f32x16::splat(simd, rows[row][channel]);
                held[row][0] = value.mul_add(low, held[row][0]);
                held[row][1] = value.mul_add(high, held[row][1]);
            }
        }
    }
    for row in 0..N {
        for half in 0..2 {
            held[row][half].store_array(&mut sums[row].0[half]);
        }
    }
}
