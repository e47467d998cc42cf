use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a metric has no value. `Display` gives the reason for a person, `reason` in the serialized form for a
/// machine.
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
    #[error("no mask marks an anomalous pixel")]
    NoAnomalousPixel,
    /// Every pixel of every mask is anomalous, so there is no false-positive rate.
    #[error("no normal pixel")]
    NoNormalPixel,
    /// Every mask has an anomalous pixel (AUPIMO only, which measures false positives on normal images).
    #[error("no image without an anomalous pixel")]
    NoNormalImage,
    /// Some scores are NaN or infinite.
    #[error("{count} of the scores are not finite")]
    NonFiniteScores {
        /// Number of such scores.
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
    /// One map has more than `u32::MAX` pixels.
    #[error("more than 4294967295 pixels in a map")]
    TooLarge,
    /// A limit of the false-positive rate is not in `(0, 1]`, or a lower one not below the upper one.
    #[error(
        "the limit of the false-positive rate is not in (0, 1], or the lower one not below the upper one"
    )]
    InvalidLimit,
    /// The scores span no range that could be divided into thresholds (PRO of 200 thresholds only).
    #[error("the scores are constant, so there are no thresholds between them")]
    NoScoreRange,
    /// Fewer than two of the thresholds, or none with a false positive, lie below the limit of the
    /// false-positive rate (PRO of 200 thresholds, AUPIMO).
    #[error("too few thresholds have a false-positive rate between 0 and the limit")]
    TooFewThresholds,
    /// A class has a single sample or image, so that drawing it anew would say nothing (bootstrap only).
    #[error("a confidence interval takes at least two samples of each class")]
    TooFewSamples,
    /// No resample, or a confidence level outside of `(0, 1)` (bootstrap only).
    #[error("the bootstrap takes at least one resample and a level between 0 and 1")]
    InvalidBootstrap,
    /// No value that an average could be taken of.
    #[error("none of the values to average is available")]
    NoValue,
}
