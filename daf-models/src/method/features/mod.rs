//! Methods on the features of pretrained networks.

mod mkdad;
mod patchcore;
mod rd4ad;
mod stad;
mod stpm;

use tch::{Kind, Tensor};

pub use crate::measure::Denoise;
pub use mkdad::{Localization, Mkdad};
pub use patchcore::PatchCore;
pub use rd4ad::Rd4ad;
pub use stad::Stad;
pub use stpm::Stpm;

#[cfg(test)]
pub(crate) use super::slow;

/// One minus the cosine between the whole maps of each image, N numbers of N×C×h×w features.
fn angles(a: &Tensor, b: &Tensor) -> Tensor {
    let rows = |features: &Tensor| features.to_kind(Kind::Float).flatten(1, -1);
    1.0 - Tensor::cosine_similarity(&rows(a), &rows(b), 1, 1e-8)
}
