//! Rounding without calls: on x86-64 without SSE4.1 `f32::floor` and `f32::round_ties_even` are functions of
//! a library.

/// 1.5 · 2²³: added to a small number it leaves no bit for a fraction, and the last bits of the sum are those
/// of the nearest integer; of two that are equally near, the even one.
const ROUNDS: f32 = 12_582_912.0;

/// The nearest integer of a value from 0 to 255; of two that are equally near, the even one.
#[inline]
pub(crate) fn nearest(value: f32) -> u8 {
    (value + ROUNDS).to_bits() as u8
}

/// An integer from which a small value lies 0 to 1 away: the largest one that is not greater, of integers
/// also the one before.
#[inline]
pub(crate) fn floor(value: f32) -> i32 {
    (value - 0.5 + ROUNDS).to_bits().wrapping_sub(ROUNDS.to_bits()) as i32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_rounded_as_the_library_does(value in -600f32..600.0, quarters in -2400i32..2400) {
            for value in [value, quarters as f32 / 4.0] {
                let floor = floor(value) as f32;
                prop_assert!(floor == value.floor() || value.fract() == 0.0 && floor == value - 1.0);
                let value = value.clamp(0.0, 255.0);
                prop_assert_eq!(f32::from(nearest(value)), value.round_ties_even());
            }
        }
    }
}
