//! Decoders.

mod fusion;
mod residual;
mod upsampled;

use tch::Tensor;

pub use fusion::Fusion;
pub use residual::Residual;

/// Height and width of N×C×h×w.
fn size(features: &Tensor) -> [i64; 2] {
    let size = features.size();
    [size[2], size[3]]
}

fn bilinear(features: &Tensor, size: [i64; 2]) -> Tensor {
    features.upsample_bilinear2d(size, false, None, None)
}
