//! Core of daf, which finds defects in images: traits of parts, registry, settings in layers, images and their geometry, score
//! maps, thresholds, the files of a run, and trained models at work.
//!
//! # Scoring images
//!
//! With the feature `torch`, which links libtorch, a trained run, as `daf-cli run` leaves it, is opened by a [`Detector`]:
//!
//! ```ignore
//! use daf_core::{Detector, config::DeviceChoice, image::RgbImage};
//! // Links the parts that the run scores with: one line for each crate that has some.
//! use daf_models as _;
//!
//! let detector = Detector::open("runs/bottle", DeviceChoice::Auto)?;
//! let image = RgbImage::new(640, 480); // from a camera, or detector.read("bottle.png")?
//! let found = detector.detect(&image)?;
//! println!("score {:.3}, worst pixel {:.3}", found.score, found.map.max());
//! if found.is_anomalous() == Some(true) {
//!     println!("over the threshold");
//! }
//! ```
//!
//! `daf-cli new program my-inspection` writes a crate that does this. Threads may share a [`Detector`]. Whatever else computes a
//! model is an [`Engine`]. What a run left is read by [`results`]. The crate `daf-pipeline` trains and measures.
//!
//! # Parts
//!
//! A pipeline is assembled from *parts*, plain-data recipes of nine kinds:
//!
//! * [`Dataset`]: where images come from,
//! * [`Synthesizer`]: damages a normal image,
//! * [`Shape`] and [`Texture`]: where a synthetic defect is and what it looks like,
//!
//! and, with the feature `torch`,
//!
//! * `Backbone`: turns images into features,
//! * `DiscrepancyMeasure`: compares teacher and student features,
//! * `Decoder`: turns features and discrepancy into a probability map,
//! * `Scorer`: turns maps into scores,
//! * `Method`: assembles the parts into a trainable model.
//!
//! This crate names no concrete part: they register themselves ([`register!`]) from the crates that a program links,
//! and the defaults are a layer of YAML.
//!
//! # Writing a plugin
//!
//! A part is a struct with its settings, a name, and one trait:
//!
//! ```
//! use daf_core::image::{GrayImage, Luma, RgbImage};
//! use daf_core::rand::{Rng, RngExt};
//! use daf_core::schemars::{self, JsonSchema};
//! use daf_core::{BoxError, Region, Shape, typetag};
//! use serde::{Deserialize, Serialize};
//!
//! /// A square somewhere in the image.
//! #[derive(Debug, Serialize, Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields, default)]
//! pub struct Square {
//!     /// Side in pixels; at least 1.
//!     pub side: u32,
//! }
//! daf_core::register!(Shape: Square = "square");
//!
//! impl Default for Square {
//!     fn default() -> Self {
//!         Self { side: 16 }
//!     }
//! }
//!
//! #[typetag::serde(name = Square::NAME)]
//! impl Shape for Square {
//!     fn draw(&self, normal: &RgbImage, rng: &mut dyn Rng) -> Result<Option<Region>, BoxError> {
//!         let (width, height) = normal.dimensions();
//!         let (left, top) = (rng.random_range(0..width), rng.random_range(0..height));
//!         let inside = |at: u32, start: u32| (start..start + self.side).contains(&at);
//!         let mask = GrayImage::from_fn(width, height, |x, y| {
//!             Luma([if inside(x, left) && inside(y, top) { 255 } else { 0 }])
//!         });
//!         Ok(Region::of(mask))
//!     }
//! }
//! # fn main() {
//! let part = daf_core::registry::find(daf_core::Kind::Shape, "square").unwrap();
//! assert_eq!(part.summary(), "A square somewhere in the image.");
//! # }
//! ```
//!
//! In YAML it is `shape: { type: square, side: 24 }`. `daf-cli new shape my-square` writes a crate with a part, tests and a
//! pipeline, for each of the kinds; the pages `docs/plugins.md` and, for networks, `docs/networks.md` of the repository say
//! the rest.
//!
//! # Crates that plugins share
//!
//! Values of these crates pass between parts, so a plugin uses the versions that stand here:
//!
//! * [`image`](mod@image): images in memory,
//! * [`rand`](mod@rand): random numbers, [`Rng`](rand::Rng) above all,
//! * [`schemars`](mod@schemars): the schema of a part's settings, derived,
//! * [`typetag`](mod@typetag): finds a part by the `type` of the YAML,
//! * `tch`, with the feature `torch`: tensors and automatic differentiation, bindings to libtorch.

pub mod atomic;
pub mod calibration;
pub mod concurrent;
pub mod config;
pub mod contract;
pub mod data;
mod detect;
pub mod engine;
mod error;
pub mod guard;
pub mod json;
mod kind;
pub mod libtorch;
pub mod observer;
pub mod overlay;
pub mod part;
pub mod recipe;
pub mod registry;
pub mod results;
#[cfg(feature = "torch")]
mod tensor;
pub mod words;

#[doc(inline)]
pub use detect::{Detection, Detector};
#[doc(inline)]
pub use engine::Engine;
#[doc(inline)]
pub use error::{BoxError, Error, Result};
#[doc(inline)]
pub use overlay::ScoreMap;
#[doc(inline)]
pub use part::dataset::{Dataset, Item, Listing, Split};
#[doc(inline)]
pub use part::shape::{Region, Shape};
#[doc(inline)]
pub use part::synthesizer::{Donors, Rect, Synthesis, Synthesizer, Synthetic};
#[doc(inline)]
pub use part::texture::{Fill, Texture};
#[doc(inline)]
pub use registry::Kind;
#[doc(inline)]
pub use results::Origin;
#[cfg(feature = "torch")]
#[doc(inline)]
pub use tensor::*;

#[doc(hidden)]
pub use inventory;
pub use {image, rand, schemars, typetag};
