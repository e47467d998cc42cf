//! Exact anomaly-detection metrics on plain slices: AUROC, average precision, F1-max and PRO.
//!
//! Scores are `f32`, higher meaning more anomalous; labels are `bool` or `u8` (non-zero is anomalous). The crate
//! depends on no tensor library and can be used alone.
//!
//! * One score per sample: [`auroc`], [`average_precision`], [`f1_max`].
//! * One score per pixel: push every map with its mask into [`PixelMaps`], then [`PixelMaps::evaluate`] ranks all
//!   pixels once, and [`PixelEvaluation`] answers every pixel metric from that one ranking.
//! * The regions PRO averages over: [`Regions`].
//!
//! Every distinct score is a threshold; nothing is binned, except in [`PixelEvaluation::pro_200`], which reproduces
//! a published implementation. Every value is finite and in `[0, 1]`. Where a metric is not defined the result is an
//! [`Unavailable`] with the reason, never NaN. No input panics.
//!
//! ```
//! use daf_metrics::{PixelMaps, Unavailable, auroc};
//!
//! assert_eq!(auroc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]), Ok(0.75));
//! assert_eq!(auroc(&[0.1, 0.4], &[false, false]), Err(Unavailable::NoAnomalousSample));
//!
//! let mut maps = PixelMaps::new();
//! maps.push(&[0.1, 0.2, 0.9, 0.8, 0.3, 0.1], &[0u8, 0, 1, 1, 0, 0], 3, 2)?;
//! let pixels = maps.evaluate();
//! assert_eq!(pixels.auroc(), Ok(1.0));
//! assert_eq!(pixels.pro(0.3), Ok(1.0));
//! # Ok::<(), Unavailable>(())
//! ```

#![forbid(unsafe_code)]

mod aupimo;
mod bootstrap;
mod buckets;
mod curve;
mod groups;
mod histogram;
mod key;
mod label;
mod pixels;
mod pro_200;
mod regions;
mod samples;
mod unavailable;
mod walk;

pub use aupimo::{AUPIMO_LIMITS, Aupimo};
pub use bootstrap::{Bootstrap, Interval, PixelIntervals, SampleIntervals};
pub use curve::OperatingPoint;
pub use groups::{Category, Groups, Mean, mean};
pub use histogram::{Bounded, PixelHistogram};
pub use label::Label;
pub use pixels::{PixelEvaluation, PixelMaps, RankedMap};
pub use regions::Regions;
pub use samples::{Samples, auroc, average_precision, f1_max};
pub use unavailable::Unavailable;
pub use walk::{F1Max, IouMax};
