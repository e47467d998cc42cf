//! Anomaly detection on the features of pretrained networks: the methods `stpm`, `rd4ad`, `mkdad`, `stad` and `patchcore`
//! for daf, and the backbone `vgg16`.
//!
//! Each method brings its paper's recipe: input, optimizer, schedule and score, as a layer of YAML over the defaults. What
//! departs from the paper or the official code is said at the type of the method.

#![forbid(unsafe_code)]

mod mkdad;
mod patchcore;
mod rd4ad;
#[cfg(test)]
mod slow;
mod stad;
mod stpm;
mod vgg;

use daf_core::tch::{Kind, Tensor};

pub use mkdad::{Localization, Mkdad};
pub use patchcore::{Denoise, PatchCore};

pub use rd4ad::Rd4ad;

pub use stad::Stad;
pub use stpm::Stpm;
pub use vgg::Vgg16;

/// One minus the cosine between the whole maps of each image, N numbers of N×C×h×w features.
fn angles(a: &Tensor, b: &Tensor) -> Tensor {
    let rows = |features: &Tensor| features.to_kind(Kind::Float).flatten(1, -1);
    1.0 - Tensor::cosine_similarity(&rows(a), &rows(b), 1, 1e-8)
}
