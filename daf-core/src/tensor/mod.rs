//! Everything that touches tensors: the five kinds of part that a model is made of, what networks are built from, and models at
//! work. The feature `torch` gates this module and nothing else.

pub mod backbone;
mod batch;
pub mod block;
pub mod decoder;
mod device;
pub mod discrepancy;
mod features;
mod images;
pub mod kernel;
mod libtorch_engine;
pub mod macs;
mod maps;
pub mod method;
mod model_config;
mod open;
mod pickle;
pub mod scorer;
pub mod store;
pub mod threads;
pub mod weights;

#[doc(inline)]
pub use self::{
    backbone::{Backbone, Extractor, Stage, common_stride},
    batch::{Batch, Synthesized},
    decoder::{Decoder, DecoderInput, Segmenter},
    discrepancy::{
        Comparator, Compared, Comparison, DiscrepancyMeasure, FeaturePair, MapSize, NormalFeatures,
        ScaledFeatures, StagePair,
    },
    features::FeatureCache,
    images::{images_to_tensor, masks_to_tensor, upload},
    libtorch_engine::Libtorch,
    maps::Maps,
    method::{BuildContext, Fit, Losses, Method, Model, NormalBatch, NormalImages},
    model_config::ModelConfig,
    scorer::{MapsOf, NormalMaps, Postprocessor, Scorer, Scores},
    store::Store,
};
pub use tch;

use crate::part::part;

impl From<tch::TchError> for crate::Error {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error.into())
    }
}
