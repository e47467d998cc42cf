//! CPU inference loops that libtorch has no fast operation for: 3×3 convolutions in a quarter of the
//! multiplications, comparison of features in one pass, up-sampling with shifts, the last convolution of a
//! decoder without its largest tensor, and smoothing of maps.
//!
//! All of them take plain slices of numbers with the channels innermost, choose the instructions of the
//! processor at run time, and run on the calling thread.

pub mod blur;
pub mod combine;
pub mod cosine;
mod filter;
pub mod head;
mod lanes;
pub mod ssim;
pub mod winograd;

pub use filter::Filter;
pub use lanes::LANES;

use fearless_simd::Level;

/// Whether this processor has AVX2, which these loops need to be faster than libtorch.
#[must_use]
pub fn are_fast_here() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        Level::new().as_avx2().is_some()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}
