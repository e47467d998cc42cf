use fearless_simd::{Simd, f32x16, prelude::*};

/// Channels that are worked on together.
pub const LANES: usize = 16;
pub(crate) type Lanes = [f32; LANES];

/// Reads the numbers. As written in the library, reading goes through the stack, which costs an innermost loop a third.
#[inline(always)]
pub(crate) fn read<S: Simd>(simd: S, numbers: &Lanes) -> f32x16<S> {
    let mut lanes = f32x16::splat(simd, 0.0);
    *lanes = *numbers;
    lanes
}
