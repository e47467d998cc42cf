//! Arithmetic on several numbers at a time.
//!
//! The functions have no branch and no conversion that minds what is no number, so that the compiler turns a loop over
//! [`LANES`] of them into operations on several, on every processor. Loops are written out where closures would do:
//! without optimisation across units of code, `array::map` is a call for each element.
//!
//! A program for x86-64 may use operations on four numbers only; [`widest`] compiles a loop for eight too.

#[cfg(target_arch = "x86_64")]
use fearless_simd::{Level, Simd};

/// So many pixels are worked on together.
pub(crate) const LANES: usize = 8;

/// So many times [`LANES`] pixels are begun before the first are finished: what has just been written one by one cannot be
/// read together at once.
pub(crate) const PARTS: usize = 8;

/// Runs a block with the widest operations that this processor has. The results are the same: nothing is computed in another
/// order, nor more precisely.
///
/// Only what is inlined is compiled for them, hence `#[inline(always)]` on what the loops call. The block takes what it names
/// with it: numbers behind references would be read again after whatever is written.
macro_rules! widest {
    ($work:block) => {
        $crate::lanes::at_widest(
            #[inline(always)]
            move || $work,
        )
    };
}
pub(crate) use widest;

/// See [`widest`].
#[inline(always)]
pub(crate) fn at_widest<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = Level::new().as_avx2() {
        return avx2.vectorize(work);
    }
    work()
}

/// Added to a number and taken away again, it rounds: nothing after the binary point fits beside it. What is added stands
/// in the last bits.
const ROUNDS: f32 = 12_582_912.0;

/// The nearest whole number of one that is small; the even one of two that are equally near.
#[inline(always)]
pub(crate) fn nearest(value: f32) -> (i32, f32) {
    let rounded = value + ROUNDS;
    (
        rounded.to_bits().wrapping_sub(ROUNDS.to_bits()) as i32,
        rounded - ROUNDS,
    )
}

/// The whole number below, of a number that is small.
#[inline(always)]
pub(crate) fn floor(value: f32) -> f32 {
    let (_, whole) = nearest(value);
    whole - if whole > value { 1.0 } else { 0.0 }
}

/// The greater of two numbers; the second one if the first is not a number.
#[inline(always)]
pub(crate) fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The lesser of two numbers; the second one if the first is not a number.
#[inline(always)]
pub(crate) fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// From 0 to `most`.
#[inline(always)]
pub(crate) fn cut_off(value: f32, most: f32) -> f32 {
    lesser(greater(value, 0.0), most)
}

/// `value as u8`.
#[inline(always)]
pub(crate) fn byte(value: f32) -> u8 {
    whole(value, 255.0) as u8
}

/// `value as u32`, at most `most`, which is small.
#[inline(always)]
pub(crate) fn whole(value: f32, most: f32) -> u32 {
    let value = cut_off(value, most);
    let (number, rounded) = nearest(value);
    (number as u32).wrapping_sub(u32::from(rounded > value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whole_numbers_are_those_of_conversions(value in -600f32..600.0, quarters in -2400i32..2400) {
            for value in [value, quarters as f32 / 4.0] {
                prop_assert_eq!(byte(value), value as u8);
                prop_assert_eq!(whole(value * 100.0, 8192.0), ((value * 100.0) as u32).min(8192));
                prop_assert_eq!(floor(value), value.floor());
            }
        }
    }

    #[test]
    fn what_is_no_number_is_nothing() {
        assert_eq!(
            (byte(f32::NAN), byte(f32::INFINITY), byte(f32::NEG_INFINITY)),
            (0, 255, 0)
        );
    }
}
