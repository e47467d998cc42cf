//! Traits, registry, configuration, training loop and run directory of daf.
//!
//! A pipeline is assembled from *parts*, plain-data recipes of nine kinds:
//!
//! * [`Dataset`]: where images come from,
//! * [`Synthesizer`]: damages a normal image,
//! * [`Shape`] and [`Texture`]: where a synthetic defect is and what it looks like,
#![cfg_attr(
    feature = "torch",
    doc = "* [`Backbone`]: turns images into features,
* [`DiscrepancyMeasure`]: compares teacher and student features,
* [`Decoder`]: turns features and discrepancy into a probability map,
* [`Scorer`]: turns maps into scores,
* [`Method`]: assembles the parts into a trainable model."
)]
//!
//! This crate names no concrete part: they register themselves ([`register!`]) from the crates that a program links,
//! and the defaults are a layer of YAML.

#[cfg(feature = "torch")]
pub mod block;
#[cfg(feature = "torch")]
pub mod calibration;
#[cfg(feature = "torch")]
pub mod concurrent;
#[cfg(feature = "torch")]
pub mod config;
pub mod contract;
pub mod data;
#[cfg(feature = "torch")]
mod detect;
mod error;
#[cfg(feature = "torch")]
pub mod evaluate;
pub mod guard;
#[cfg(feature = "torch")]
pub mod kernel;
#[cfg(feature = "torch")]
pub mod overlay;
pub mod part;
#[cfg(feature = "torch")]
mod pickle;
pub mod registry;
#[cfg(feature = "torch")]
pub mod results;
#[cfg(feature = "torch")]
pub mod run;
#[cfg(feature = "torch")]
pub mod train;
#[cfg(feature = "torch")]
pub mod weights;
pub mod words;

pub use error::{BoxError, Error, Result};
pub use registry::Kind;
#[cfg(feature = "torch")]
pub use results::Origin;

#[cfg(feature = "torch")]
pub use config::Pipeline;
#[cfg(feature = "torch")]
pub use detect::{Detection, Detector};
#[cfg(feature = "torch")]
pub use overlay::ScoreMap;
pub use part::dataset::{Dataset, Item, Listing, Split};
pub use part::shape::{Region, Shape};
pub use part::synthesizer::{Donors, Outcome, Rect, Synthesizer, Synthetic};
pub use part::texture::{Fill, Texture};
#[cfg(feature = "torch")]
pub use part::{
    backbone::{Backbone, Extractor, Stage},
    decoder::{Decoder, DecoderInput, Segmenter},
    discrepancy::{Comparison, DiscrepancyMeasure},
    method::{Batch, BuildContext, Fit, Losses, Method, Model, NormalImages, Store, Synthesized},
    scorer::{Maps, Scorer, Scores},
};

#[doc(hidden)]
pub use inventory;
pub use {image, rand, schemars, typetag};

#[cfg(feature = "torch")]
pub use tch;
