use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a metric has no value. `Display` gives the reason for a person, `reason` in the serialised form for a machine.
///
/// ```
/// use daf_metrics::Unavailable;
///
/// let reason = Unavailable::NoAnomalousSample;
/// assert_eq!(reason.to_string(), "no anomalous sample");
/// assert_eq!(serde_json::to_string(&reason)?, r#"{"reason":"no_anomalous_sample"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unavailable {
    /// No sample at all was given.
    #[error("no sample")]
    NoSample,
    /// Every sample is normal.
    #[error("no anomalous sample")]
    NoAnomalousSample,
    /// Every sample is anomalous.
    #[error("no normal sample")]
    NoNormalSample,
    /// No map with a mask was pushed.
    #[error("no image with a ground-truth mask")]
    NoMask,
    /// No mask has an anomalous pixel, so there is no region either.
    #[error("no anomalous pixel")]
    NoAnomalousPixel,
    /// Every pixel of every mask is anomalous, so there is no false-positive rate.
    #[error("no normal pixel")]
    NoNormalPixel,
    /// Some scores are NaN or infinite.
    #[error("{count} of the scores are not finite")]
    NonFiniteScores {
        /// How many of them.
        count: u64,
    },
    /// The scores and the labels differ in number.
    #[error("{scores} scores but {labels} labels")]
    LengthMismatch {
        /// Number of scores.
        scores: usize,
        /// Number of labels.
        labels: usize,
    },
    /// A map or mask does not have `width` × `height` elements.
    #[error("{elements} elements do not make a map of {width}×{height}")]
    ShapeMismatch {
        /// Number of elements given.
        elements: usize,
        /// Width stated.
        width: usize,
        /// Height stated.
        height: usize,
    },
    /// One map has more than `u32::MAX` pixels, or all masks together more than `u32::MAX` regions.
    #[error("more than 4294967295 pixels in a map or regions in all masks")]
    TooLarge,
    /// The limit of the false-positive rate is not in `(0, 1]`.
    #[error("the limit of the false-positive rate is not in (0, 1]")]
    InvalidLimit,
    /// The scores span no range that could be divided into thresholds (PRO of 200 thresholds only).
    #[error("the scores are constant, so there are no thresholds between them")]
    NoScoreRange,
    /// Fewer than two of the thresholds, or none with a false positive, lie below the limit of the false-positive
    /// rate (PRO of 200 thresholds only).
    #[error("too few thresholds have a false-positive rate between 0 and the limit")]
    TooFewThresholds,
}
