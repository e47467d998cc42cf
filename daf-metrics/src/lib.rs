//! Exact anomaly-detection metrics on plain slices, for images and for pixels.
//!
//! Scores are `f32`, higher meaning more anomalous; labels and masks are `bool` or `u8` (non-zero is
//! anomalous). The crate depends on no tensor library and can be used alone.
//!
//! * One score per sample, mostly an image: [`RankedSamples`], or [`auroc`], [`average_precision`],
//!   [`f1_max`] for a single number.
//! * One score per pixel: push every map with its mask into [`PixelMaps`]; [`PixelMaps::evaluate`] answers
//!   all pixel metrics.
//! * Per image, defect type and category: [`PixelMaps::subset`] shares the maps, [`Groups`] knows which
//!   belong together, [`mean`] averages over those that have a value.
//! * More pixels than memory: [`PixelHistogram`] counts maps in a fixed budget and says how far from the
//!   exact value it can be at most.
//! * Curves for drawing: `curve()`, a few hundred [points](OperatingPoint) of ROC, precision-recall and PRO.
//! * Confidence intervals over images: `bootstrap()` with [`Bootstrap`].
//!
//! # The metrics
//!
//! | metric | samples | pixels | histogram | range |
//! |---|---|---|---|---|
//! | AUROC, a tie counts one half | [`RankedSamples::auroc`] | [`PixelEvaluation::auroc`] | [`PixelHistogram::auroc`] | 0..=1, chance 0.5 |
//! | AP, step-wise | [`RankedSamples::average_precision`] | [`PixelEvaluation::average_precision`] | [`PixelHistogram::average_precision`] | 0..=1, chance the share of anomalous ones |
//! | F1-max with its threshold | [`RankedSamples::f1_max`] | [`PixelEvaluation::f1_max`] | [`PixelHistogram::f1_max`] | 0..=1 |
//! | IoU-max with its threshold | | [`PixelEvaluation::iou_max`] | [`PixelHistogram::iou_max`] | 0..=1 |
//! | PRO up to any false-positive rate, 8-connected regions | | [`PixelEvaluation::pro`] | [`PixelHistogram::pro`] | 0..=1 |
//! | PRO of 200 thresholds, as published code has it | | [`PixelEvaluation::pro_200`] | | 0..=1 |
//! | AUPIMO, for each image and on average | | [`PixelMaps::aupimo`] | | 0..=1 |
//!
//! Every distinct score is a threshold; nothing is binned, except in the histogram and in `pro_200`, which
//! reproduces published figures. Only the metrics of [`PixelHistogram`] and the pixel confidence intervals
//! are approximate.
//!
//! # When there is no value
//!
//! Every value is finite. Where a metric is not defined the result is an [`Unavailable`] with the reason,
//! never NaN or
//! 0. No input panics.
//!
//! | reason | when |
//! |---|---|
//! | `NoSample`, `NoMask` | nothing was given |
//! | `NoAnomalousSample`, `NoNormalSample`, `NoAnomalousPixel`, `NoNormalPixel` | one class only |
//! | `NoNormalImage` | AUPIMO, if every mask has an anomalous pixel |
//! | `NonFiniteScores` | a score is NaN or infinite |
//! | `LengthMismatch`, `ShapeMismatch`, `TooLarge` | scores, labels and size do not fit together |
//! | `InvalidLimit`, `InvalidBootstrap` | a setting is out of its range |
//! | `NoScoreRange`, `TooFewThresholds` | PRO of 200 thresholds and AUPIMO, if the limits hold no threshold |
//! | `TooFewSamples` | confidence intervals, if a class has one member |
//! | `NoValue` | an average of nothing |
//!
//! # Cost
//!
//! A map is sorted once, when it comes in; 4 bytes per normal and 6 per anomalous pixel stay. An evaluation
//! merges the sorted maps stretch by stretch in buffers of a few MiB per thread, so that any number of
//! subsets can be evaluated without further copies. Results do not depend on the number of threads.
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
mod ranked;
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
pub use pixels::{PixelEvaluation, PixelMaps};
pub use ranked::RankedMap;
pub use regions::Regions;
pub use samples::{RankedSamples, auroc, average_precision, f1_max};
pub use unavailable::Unavailable;
pub use walk::{F1Max, IouMax};
