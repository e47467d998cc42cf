//! Discrepancy measures.

mod cosine;
mod l2;
mod ssim;
mod sum;

pub use cosine::Cosine;
pub use l2::L2;
pub use ssim::{Ssim, similarity};
pub use sum::Sum;

use tch::{Kind, Tensor};

/// Mean over the normal positions of N×1×h×w values, over the whole batch; 0 if no position is normal.
fn mean_over_normal(values: &Tensor, normal: &Tensor) -> Tensor {
    (values * normal).sum(Kind::Float) / normal.sum(Kind::Float).clamp_min(1.0)
}
