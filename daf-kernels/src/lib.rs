//! Inner loops of inference on the CPU for which libtorch has no fast operation: 3×3 convolutions in a quarter of the
//! multiplications, the comparison of features in one pass over them, up-sampling with shifts, the end of a decoder without its
//! largest tensor, and the smoothing of maps.
//!
//! All of them work on plain slices of numbers whose channels lie innermost, choose the operations of the processor that they
//! run on, and run in the thread that calls.

pub mod blur;
pub mod combine;
pub mod cosine;
pub mod head;
mod lanes;
pub mod ssim;
mod window;
pub mod winograd;

pub use lanes::LANES;
pub use window::Window;

use fearless_simd::Level;

/// Whether this processor has the operations that these loops take to be faster than those of libtorch: AVX2.
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
