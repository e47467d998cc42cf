//! Where good ends and bad begins: thresholds from normal images, and scores on a scale with a meaning.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::results::read_json;

/// How a threshold is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
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
    /// Score from which on something is anomalous.
    pub threshold: f64,
}

impl Scale {
    /// A score on the scale: 0..=1, rising with the score; a logistic curve through 0.05 at the median and 0.5 at the
    /// threshold.
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

    /// Scores between which heat maps are coloured: the median is cold, the threshold in the middle.
    #[must_use]
    pub fn colours(&self) -> (f32, f32) {
        (self.median as f32, (2.0 * self.threshold - self.median) as f32)
    }
}

/// Thresholds of a trained run, and what they rest on: `calibration.json`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// For image scores.
    pub image: Scale,
    /// For pixel scores. Its threshold is meant for whole images: no more of the normal ones than `false_alarms` have
    /// a pixel over it.
    pub pixel: Scale,
    /// How the thresholds were chosen.
    pub rule: Rule,
    /// The images they were chosen with.
    pub source: Source,
    /// Number of normal images among them.
    pub normal_images: usize,
    /// Number of anomalous images among them, damaged ones included.
    pub anomalous_images: usize,
    /// Share of normal images that was allowed over the threshold; of no account where F1 decides.
    pub false_alarms: f64,
}

impl Calibration {
    pub(crate) const FILE: &str = "calibration.json";

    /// Reads the calibration of a run, if it has one.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn read(run: &Path) -> Result<Option<Self>> {
        read_json(&run.join(Self::FILE))
    }
}

/// The value that a share of `rate` of values drawn from a Gumbel distribution exceeds; the distribution is the one whose
/// first two L-moments are those of `scores`. `None` without scores.
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
