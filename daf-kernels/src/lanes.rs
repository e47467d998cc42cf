use fearless_simd::{Simd, f32x16, prelude::*};

/// Numbers of a vector of the processor; channels come in multiples of them.
pub const LANES: usize = 16;
pub(crate) type Lanes = [f32; LANES];

/// Loads the numbers into a vector. The library's own load goes through the stack, which costs an innermost
/// loop a third.
#[inline(always)]
pub(crate) fn read<S: Simd>(simd: S, numbers: &Lanes) -> f32x16<S> {
    let mut lanes = f32x16::splat(simd, 0.0);
    *lanes = *numbers;
    lanes
}
