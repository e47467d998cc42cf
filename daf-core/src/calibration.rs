//! Calibration: thresholds from normal images, and scores on a scale from 0 to 1.

use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::json::read_json;

/// How thresholds are chosen: with normal images that are held out of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Validation {
    /// Share of the normal images that is held out, 0 to 0.5; which ones depends on the seed. With 0, and where there are
    /// too few images, thresholds rest on the images that were trained with and tend to be too low.
    pub share: f64,
    /// How a threshold is chosen: `extreme_value`, `quantile`, `synthetic` or `f1_max`. Only `f1_max` uses the labels of
    /// the test split.
    pub threshold: ThresholdRule,
    /// Share of normal images that may score over the threshold, over 0 to 0.5; for `extreme_value` and `quantile`.
    pub false_alarms: f64,
}

impl Default for Validation {
    fn default() -> Self {
        Self {
            share: 0.1,
            threshold: ThresholdRule::default(),
            false_alarms: 0.01,
        }
    }
}

/// Rule by which a threshold is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdRule {
    /// From a Gumbel distribution fitted to the scores of normal images: works from a dozen images on.
    #[default]
    ExtremeValue,
    /// The quantile of the scores of normal images: needs some hundred images for a rate of 0.01.
    Quantile,
    /// The largest F1 on held-out normal images and the same images damaged by the synthesizer.
    Synthetic,
    /// The largest F1 on the test images: uses the labels of the test split, so its figures are too good.
    F1Max,
}

/// The images that a threshold was chosen with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Normal images held out of training.
    HeldOut,
    /// Images that were trained with, since none were held out: their scores tend to be too low.
    Training,
    /// Images that the method is fitted to, since none were held out: each was scored by a model that was
    /// fitted to others, so its score is that of a new image.
    CrossValidation,
    /// Held-out normal images and the same images damaged.
    Synthetic,
    /// The test split.
    Test,
}

/// A scale for scores: 0.05 is the median of normal images, 0.5 the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Median score of what is normal.
    pub median: f64,
    /// Score from which on something is anomalous; over the median.
    pub threshold: f64,
}

impl Scale {
    /// A score on the scale: 0..=1, rising with the score; a logistic curve through 0.05 at the median and
    /// 0.5 at the threshold.
    ///
    /// ```
    /// let scale = daf_core::calibration::Scale { median: 2.0, threshold: 3.0 };
    /// assert_eq!(scale.calibrated(3.0), 0.5);
    /// assert!((scale.calibrated(2.0) - 0.05).abs() < 1e-12);
    /// assert!(scale.calibrated(4.0) > 0.94);
    /// ```
    #[must_use]
    pub fn calibrated(&self, score: f64) -> f64 {
        // ln(0.95 / 0.05)
        const AT_MEDIAN: f64 = 2.944_438_979_166_440_5;
        let unit = (self.threshold - self.median).max(f64::EPSILON * self.threshold.abs().max(1.0));
        1.0 / (1.0 + ((self.threshold - score) / unit * AT_MEDIAN).exp())
    }

    /// Scores between which heat maps are colored: the median is cold, the threshold in the middle.
    #[must_use]
    pub fn colors(&self) -> (f32, f32) {
        (self.median as f32, (2.0 * self.threshold - self.median) as f32)
    }
}

/// A scale, or why none could be chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, from = "Stored")]
pub enum Chosen {
    /// A scale whose threshold lies over its median.
    Scale(Scale),
    /// No threshold, so that nothing counts as normal or anomalous.
    Missing {
        /// The reason.
        unavailable: String,
    },
}

impl Chosen {
    /// The scale through a median and a threshold, if the threshold lies over the median: on any other one
    /// half of the normal images, or all of them, would be anomalous.
    #[must_use]
    pub fn new(median: f64, threshold: f64) -> Self {
        if median.is_finite() && threshold.is_finite() && apart(median, threshold) {
            return Self::Scale(Scale { median, threshold });
        }
        Self::missing(format!(
            "the threshold {threshold:.4} does not lie over the median of what is normal, {median:.4}"
        ))
    }

    /// No scale, and why.
    pub fn missing(reason: impl Into<String>) -> Self {
        Self::Missing {
            unavailable: reason.into(),
        }
    }

    /// The scale, if there is one.
    #[must_use]
    pub const fn scale(&self) -> Option<Scale> {
        match self {
            Self::Scale(scale) => Some(*scale),
            Self::Missing { .. } => None,
        }
    }

    /// Why there is no scale.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Scale(_) => None,
            Self::Missing { unavailable } => Some(unavailable),
        }
    }
}

/// Whether `high` lies over `low` by more than single precision may be off: the same image scored in another
/// batch differs by that much.
fn apart(low: f64, high: f64) -> bool {
    high - low > 1e-5 * low.abs().max(high.abs())
}

/// Calibration as files hold it: scales of earlier versions have the median as their threshold.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Scale { median: f64, threshold: f64 },
    Missing { unavailable: String },
}

impl From<Stored> for Chosen {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Scale { median, threshold } => Self::new(median, threshold),
            Stored::Missing { unavailable } => Self::Missing { unavailable },
        }
    }
}

/// Provenance of thresholds. Its `Display` says `chosen from 40 normal images held out of training, by …`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// Rule by which the thresholds were chosen.
    pub rule: ThresholdRule,
    /// The images they were chosen with.
    pub source: Source,
    /// Number of normal images among them.
    pub normal_images: usize,
    /// Number of anomalous images among them, damaged ones included.
    pub anomalous_images: usize,
    /// Share of normal images that was allowed over the threshold; of no account where F1 decides.
    pub false_alarms: f64,
}

impl Basis {
    /// Fewer scores tell too little of their tail for an extreme-value fit.
    const FEWEST_TO_FIT: usize = 12;

    /// The basis of the thresholds of a training with `images` normal images, before damaged ones are made
    /// and before the test split is looked at. `learns` tells whether the method learns by steps; one that
    /// does not is fitted in a moment, and can be fitted to some of the images and score
    /// the others.
    #[must_use]
    pub fn of(settings: &Validation, images: usize, learns: bool) -> Self {
        let held_out = held_out(images, settings.share);
        let (source, normal_images) = match settings.threshold {
            _ if held_out == 0 && (learns || images < 2) => (Source::Training, images),
            _ if held_out == 0 => (
                Source::CrossValidation,
                folds(images).map(|fold| fold.len()).sum(),
            ),
            ThresholdRule::Synthetic => (Source::Synthetic, held_out),
            ThresholdRule::ExtremeValue | ThresholdRule::Quantile | ThresholdRule::F1Max => {
                (Source::HeldOut, held_out)
            }
        };
        Self {
            rule: settings.threshold,
            source,
            normal_images,
            anomalous_images: 0,
            false_alarms: settings.false_alarms,
        }
    }

    /// Why thresholds on this basis are not to be relied on, if so: too few images, or images that were
    /// learned from.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let (images, were) = match self.normal_images {
            1 => ("one normal image".to_owned(), "was"),
            count => (format!("{count} normal images"), "were"),
        };
        let share = percent(self.false_alarms);
        if self.normal_images < FEWEST && self.rule != ThresholdRule::F1Max {
            let are = if self.normal_images == 1 { "is" } else { "are" };
            return Some(format!(
                "there {are} only {images} to choose thresholds with, and {FEWEST} are the fewest: no image gets a verdict"
            ));
        }
        if self.source == Source::Training {
            return Some(format!(
                "the thresholds rest on {images} that {were} trained with, and such scores tend to be too low: expect false alarms; \
                 images are held out where validation.share makes at least {FEWEST_HELD_OUT} of them"
            ));
        }
        let what = match self.source {
            Source::CrossValidation => "that were left out in turn",
            _ => "held out of training",
        };
        if self.rule == ThresholdRule::Quantile && self.normal_images as f64 * self.false_alarms < 1.0 {
            return Some(format!(
                "the thresholds rest on {images} {what}, too few for a quantile of {share} %, which takes at \
                 least {:.0}: they lie close to the largest score",
                (1.0 / self.false_alarms).ceil()
            ));
        }
        if self.rule != ThresholdRule::F1Max && self.normal_images < Self::FEWEST_TO_FIT {
            let tell = match self.rule {
                ThresholdRule::Synthetic => "are a rough estimate".to_owned(),
                _ => format!("tell only roughly which score {share} % of normal images exceed"),
            };
            return Some(format!(
                "the thresholds rest on {images} {what} and {tell}; a dozen or more are better \
                 (more images, or a larger validation.share)"
            ));
        }
        None
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (normal, anomalous) = (self.normal_images, self.anomalous_images);
        match self.source {
            Source::HeldOut => write!(f, "chosen from {normal} normal images held out of training, ")?,
            Source::Training => write!(
                f,
                "chosen from {normal} training images, whose scores tend to be too low, "
            )?,
            Source::CrossValidation => write!(
                f,
                "chosen from {normal} training images, each scored by a model fitted to others, "
            )?,
            Source::Synthetic => write!(
                f,
                "chosen from {normal} held-out normal images and {anomalous} damaged ones, "
            )?,
            Source::Test => write!(
                f,
                "chosen from {normal} normal and {anomalous} anomalous test images, "
            )?,
        }
        let allowed = percent(self.false_alarms);
        match self.rule {
            ThresholdRule::ExtremeValue => write!(
                f,
                "by an extreme-value fit so that {allowed} % of normal images exceed it"
            ),
            ThresholdRule::Quantile => {
                write!(f, "as a quantile so that {allowed} % of normal images exceed it")
            }
            ThresholdRule::Synthetic => f.write_str("where F1 is largest"),
            ThresholdRule::F1Max => {
                f.write_str("where F1 is largest on the test images, so the figures at it are too good")
            }
        }
    }
}

/// A share in percent with as many digits as it has, up to three.
fn percent(share: f64) -> String {
    let text = format!("{:.3}", 100.0 * share);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Thresholds of a trained run, and what they rest on: `calibration.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// For image scores.
    pub image: Chosen,
    /// For pixel scores. Its threshold is meant for whole images: no more of the normal ones than
    /// `false_alarms` have a pixel over it.
    pub pixel: Chosen,
    /// Provenance of both.
    #[serde(flatten)]
    pub basis: Basis,
}

impl Calibration {
    /// The file of a run directory that holds it.
    pub const FILE: &str = "calibration.json";

    /// Reads the calibration of a run, if it has one.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn read(run: &Path) -> Result<Option<Self>> {
        read_json(&run.join(Self::FILE), "")
    }

    /// Why there is no threshold for images, or why it is not to be relied on.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        match self.image.reason() {
            Some(reason) => Some(format!("{reason}: no threshold can be chosen")),
            None => self.basis.doubt(),
        }
    }
}

/// Fewer images say nothing about a threshold, so that none are held out.
pub const FEWEST_HELD_OUT: usize = 5;

/// Fewer scores than these give no threshold.
const FEWEST: usize = FEWEST_HELD_OUT;

/// Number of normal images held out of `images`: `share` of them, rounded down; none where these would be fewer than
/// [`FEWEST_HELD_OUT`]. At least one is left to learn from.
#[must_use]
pub fn held_out(images: usize, share: f64) -> usize {
    let held = ((images as f64 * share) as usize).min(images.saturating_sub(1));
    if held < FEWEST_HELD_OUT { 0 } else { held }
}

/// The folds of a cross-validation of so many images, by their numbers: a tenth of the images each, and so
/// many folds that there are some dozens of images in all.
pub fn folds(images: usize) -> impl Iterator<Item = Vec<usize>> {
    const ENOUGH: usize = 50;
    let folds = images.clamp(1, 10);
    let fold = move |first: usize| (first..images).step_by(folds).collect::<Vec<_>>();
    (0..folds).map(fold).scan(0, |before, fold| {
        let wanted = *before < ENOUGH;
        *before += fold.len();
        wanted.then_some(fold)
    })
}

/// The scores that normal images had, if they tell of a spread: a few do not, nor do equal ones.
///
/// # Errors
/// Why no threshold can rest on them.
pub fn spread(scores: &[f64], source: Source) -> std::result::Result<(), String> {
    let (low, high) = scores
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), score| {
            (low.min(*score), high.max(*score))
        });
    let what = match source {
        Source::Training => "training",
        Source::CrossValidation => "left-out",
        Source::HeldOut | Source::Synthetic => "held-out",
        Source::Test => "test",
    };
    match scores.len() {
        0 => Err(format!("there are no {what} scores")),
        1 => Err(format!(
            "one {what} score ({high:.4}) says nothing of how far scores spread"
        )),
        few if few < FEWEST => Err(format!(
            "{few} {what} scores say too little of how far scores spread; a threshold takes {FEWEST} or more"
        )),
        _ if scores.iter().any(|score| !score.is_finite()) => {
            Err(format!("the {what} scores are not all finite"))
        }
        _ if apart(low, high) => Ok(()),
        count => Err(format!(
            "the {what} scores do not differ ({count} images score {high:.4})"
        )),
    }
}

/// The value that a share of `rate` of values drawn from a Gumbel distribution exceeds; the distribution is
/// the one whose first two L-moments are those of `scores`. `None` without scores.
///
/// L-moments stay sensible for a dozen scores, where a fit by moments hangs on the largest one.
#[must_use]
pub fn extreme_value(scores: &[f64], rate: f64) -> Option<f64> {
    const EULER: f64 = 0.577_215_664_901_532_9;
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let mean = sorted.iter().sum::<f64>() / count;
    // Probability-weighted moment: the mean of score times the share of scores below it.
    let weighted = |(rank, score): (usize, &f64)| score * rank as f64 / (count - 1.0).max(1.0);
    let second = 2.0 * sorted.iter().enumerate().map(weighted).sum::<f64>() / count - mean;
    let scale = second.max(0.0) / std::f64::consts::LN_2;
    match sorted.len() {
        0 => None,
        // One score says nothing of their spread.
        1 => Some(mean),
        _ => Some(mean - EULER * scale - scale * (-(-rate).ln_1p()).ln()),
    }
}

/// The value that a share of `rate` of `scores` exceeds, interpolated between scores. `None` without scores.
#[must_use]
pub fn upper_quantile(scores: &[f64], rate: f64) -> Option<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (1.0 - rate.clamp(0.0, 1.0)) * sorted.len().checked_sub(1)? as f64;
    let (below, share) = (place as usize, place.fract());
    let above = sorted[(below + 1).min(sorted.len() - 1)];
    Some(sorted[below] + (above - sorted[below]) * share)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Quantiles of a Gumbel distribution, evenly spaced.
    fn gumbel(location: f64, scale: f64, count: usize) -> Vec<f64> {
        (0..count)
            .map(|i| location - scale * (-((i as f64 + 0.5) / count as f64).ln()).ln())
            .collect()
    }

    #[test]
    fn the_tail_of_a_gumbel_distribution_is_found_again() {
        for (location, scale) in [(0.0, 1.0), (5.0, 0.3), (-2.0, 10.0)] {
            let found = extreme_value(&gumbel(location, scale, 2000), 0.01).unwrap();
            let exact = location - scale * (-(0.99_f64.ln())).ln();
            assert!((found - exact).abs() < 0.01 * scale * 5.0, "{found} {exact}");
            // A dozen values tell it roughly.
            let rough = extreme_value(&gumbel(location, scale, 12), 0.01).unwrap();
            assert!((rough - exact).abs() < scale, "{rough} {exact}");
        }
    }

    #[test]
    fn few_scores_are_survived() {
        assert_eq!(extreme_value(&[], 0.01), None);
        assert_eq!(upper_quantile(&[], 0.01), None);
        assert_eq!(extreme_value(&[3.0], 0.01), Some(3.0));
        assert_eq!(upper_quantile(&[3.0], 0.01), Some(3.0));
        assert_eq!(extreme_value(&[3.0, 3.0, 3.0], 0.01), Some(3.0));
    }

    #[test]
    fn the_quantile_lies_between_scores() {
        assert_eq!(upper_quantile(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.25), Some(4.0));
        assert_eq!(upper_quantile(&[5.0, 1.0], 0.25), Some(4.0));
        assert_eq!(upper_quantile(&[1.0, 2.0], 0.0), Some(2.0));
    }

    #[test]
    fn equal_scores_or_a_single_one_give_no_threshold() {
        let reason = |scores: &[f64], source| spread(scores, source).unwrap_err();
        assert_eq!(
            reason(&[1.2474; 25], Source::HeldOut),
            "the held-out scores do not differ (25 images score 1.2474)"
        );
        // The same image in another batch: rounding is no spread.
        let rounded = [1.247_402_6, 1.247_402_8, 1.247_402_6, 1.247_402_6, 1.247_402_8];
        assert!(reason(&rounded, Source::Training).starts_with("the training scores do not differ"));
        assert!(reason(&[0.0; 5], Source::HeldOut).contains("do not differ"));
        assert!(
            reason(&[1.0, 2.0, 3.0, 4.0], Source::CrossValidation)
                .starts_with("4 left-out scores say too little")
        );
        assert!(reason(&[1.0], Source::Training).starts_with("one training score (1.0000)"));
        assert!(reason(&[], Source::HeldOut).starts_with("there are no"));
        assert!(reason(&[1.0, 2.0, 3.0, 4.0, f64::NAN], Source::HeldOut).contains("finite"));
        assert_eq!(spread(&[1.0, 1.0, 1.0, 1.0, 1.001], Source::HeldOut), Ok(()));
        assert_eq!(spread(&[1e-9, 1e-9, 1e-9, 1e-9, 2e-9], Source::HeldOut), Ok(()));
    }

    #[test]
    fn a_threshold_lies_over_the_median_or_there_is_none() {
        assert_eq!(
            Chosen::new(1.0, 2.0).scale(),
            Some(Scale {
                median: 1.0,
                threshold: 2.0
            })
        );
        for (median, threshold) in [
            (1.0, 1.0),
            (2.0, 1.0),
            (0.0, 0.0),
            (f64::NEG_INFINITY, 1.0),
            (1.0, f64::INFINITY),
            (1.0, f64::NAN),
        ] {
            let chosen = Chosen::new(median, threshold);
            assert_eq!(chosen.scale(), None, "{median} {threshold}");
            assert!(chosen.reason().is_some());
        }
    }

    #[test]
    fn files_of_earlier_versions_are_read_and_an_empty_scale_in_them_is_none() {
        let read = |median: f64, threshold: f64| -> Calibration {
            let scale = format!("{{\"median\": {median}, \"threshold\": {threshold}}}");
            serde_json::from_str(&format!(
                r#"{{"image": {scale}, "pixel": {scale}, "rule": "extreme_value", "source": "held_out",
                    "normal_images": 25, "anomalous_images": 0, "false_alarms": 0.01}}"#
            ))
            .unwrap()
        };
        let sound = read(1.0, 2.0);
        assert_eq!(sound.basis.normal_images, 25);
        assert_eq!(sound.doubt(), None);
        assert_eq!(sound.image.scale().unwrap().threshold, 2.0);
        let empty = read(1.2474, 1.2474);
        assert_eq!((empty.image.scale(), empty.pixel.scale()), (None, None));
        assert!(empty.doubt().unwrap().ends_with(": no threshold can be chosen"));
        for calibration in [sound, empty] {
            let text = serde_json::to_string(&calibration).unwrap();
            assert_eq!(serde_json::from_str::<Calibration>(&text).unwrap(), calibration);
        }
    }

    #[test]
    fn what_thresholds_rest_on_is_known_before_the_training_and_doubted_where_it_is_little() {
        let of = |threshold, images| {
            let settings = Validation {
                threshold,
                ..Validation::default()
            };
            Basis::of(&settings, images, true)
        };
        let few = of(ThresholdRule::ExtremeValue, 20);
        assert_eq!((few.source, few.normal_images), (Source::Training, 20));
        assert!(
            few.doubt()
                .unwrap()
                .contains("20 normal images that were trained with")
        );
        let some = of(ThresholdRule::ExtremeValue, 60);
        assert_eq!((some.source, some.normal_images), (Source::HeldOut, 6));
        assert!(
            some.doubt()
                .unwrap()
                .contains("6 normal images held out of training")
        );
        assert!(
            some.to_string()
                .ends_with("so that 1 % of normal images exceed it")
        );
        assert_eq!(of(ThresholdRule::ExtremeValue, 120).doubt(), None);
        assert!(
            of(ThresholdRule::Quantile, 500)
                .doubt()
                .unwrap()
                .contains("at least 100")
        );
        assert_eq!(of(ThresholdRule::Quantile, 1000).doubt(), None);
        assert_eq!(of(ThresholdRule::Synthetic, 120).source, Source::Synthetic);
        let one = of(ThresholdRule::ExtremeValue, 1).doubt().unwrap();
        assert!(one.starts_with("there is only one normal image to choose thresholds with"));
    }

    #[test]
    fn a_method_that_is_fitted_gets_its_thresholds_from_images_that_it_was_not_fitted_to() {
        let of = |images| Basis::of(&Validation::default(), images, false);
        let few = of(24);
        assert_eq!((few.source, few.normal_images), (Source::CrossValidation, 24));
        assert_eq!(few.doubt(), None);
        assert!(
            of(8)
                .doubt()
                .unwrap()
                .contains("8 normal images that were left out in turn")
        );
        assert_eq!(of(1).source, Source::Training);
        assert_eq!((of(60).source, of(60).normal_images), (Source::HeldOut, 6));
    }

    #[test]
    fn folds_leave_every_image_out_once_or_as_many_as_are_enough() {
        for images in 2..60 {
            let mut left_out: Vec<usize> = folds(images).flatten().collect();
            let count = left_out.len();
            left_out.sort_unstable();
            left_out.dedup();
            assert_eq!(left_out.len(), count);
            assert!(count == images || count >= 50, "{images}: {count}");
            assert!(folds(images).all(|fold| fold.len() < images));
        }
        assert_eq!(folds(3).collect::<Vec<_>>(), [[0], [1], [2]]);
        assert_eq!(folds(1000).map(|fold| fold.len()).collect::<Vec<_>>(), [100]);
    }

    proptest! {
        #[test]
        fn calibrated_scores_rise_from_0_to_1(
            median in -1e6..1e6_f64, above in 0.0..1e6_f64, scores in proptest::collection::vec(-1e7..1e7_f64, 2..20),
        ) {
            let scale = Scale { median, threshold: median + above };
            let mut scores = scores;
            scores.sort_by(f64::total_cmp);
            let calibrated: Vec<_> = scores.iter().map(|s| scale.calibrated(*s)).collect();
            prop_assert!(calibrated.iter().all(|c| (0.0..=1.0).contains(c)));
            prop_assert!(calibrated.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert_eq!(scale.calibrated(scale.threshold), 0.5);
        }

        #[test]
        fn fewer_false_alarms_need_a_higher_threshold(scores in proptest::collection::vec(-100.0..100.0_f64, 2..50)) {
            for pick in [extreme_value, upper_quantile] {
                let thresholds = [0.2, 0.1, 0.01].map(|rate| pick(&scores, rate).unwrap());
                prop_assert!(thresholds[0] <= thresholds[1] && thresholds[1] <= thresholds[2]);
            }
        }
    }
}
