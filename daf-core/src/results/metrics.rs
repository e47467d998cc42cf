//! `metrics.json` and `curves.json`: what the evaluation found.

use std::collections::BTreeMap;
use std::fmt;

use daf_metrics::{Interval, OperatingPoint, Unavailable};
use serde::{Deserialize, Serialize};

use super::Origin;
use crate::calibration::{Calibration, Scale};
use crate::part::dataset::kinds;

/// A metric, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// 0..=1, higher is better.
    Number(f64),
    /// Why the metric is not available for this data.
    Missing {
        /// The reason.
        unavailable: String,
    },
}

impl From<Result<f64, Unavailable>> for Value {
    fn from(result: Result<f64, Unavailable>) -> Self {
        match result {
            Ok(number) => Self::Number(number),
            Err(reason) => Self::Missing {
                unavailable: reason.to_string(),
            },
        }
    }
}

impl Value {
    /// The number, if there is one.
    #[must_use]
    pub const fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Missing { .. } => None,
        }
    }
}

/// The metrics of a set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Images without a defect.
    pub normal: usize,
    /// Images with one.
    pub anomalous: usize,
    /// I-AUC: area under the ROC curve of the image scores.
    pub image_auroc: Value,
    /// Average precision of the image scores, step-wise.
    pub image_ap: Value,
    /// Largest F1 of the image scores over all thresholds.
    pub image_f1_max: Value,
    /// P-AUC: area under the ROC curve of the pixel scores.
    pub pixel_auroc: Value,
    /// PRO: mean overlap of the defect regions, exact, up to the false-positive rate of the settings.
    pub pixel_pro: Value,
    /// P-mAP: average precision of the pixel scores, step-wise.
    pub pixel_ap: Value,
    /// Largest F1 of the pixel scores over all thresholds.
    pub pixel_f1_max: Value,
    /// Largest intersection over union over all thresholds.
    pub pixel_iou_max: Value,
    /// AUPIMO: mean over the images of their pixel recall at very few false positives on normal images.
    pub aupimo: Value,
}

/// Confusion matrix of the test images at the threshold of the run's calibration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtThreshold {
    /// Normal images that reach the threshold.
    pub false_alarms: usize,
    /// Normal images in all.
    pub normal: usize,
    /// Anomalous images that do not.
    pub missed: usize,
    /// Anomalous images in all.
    pub anomalous: usize,
}

/// Multiply-adds of the convolutions that a piece of work took. Nothing else is counted, as is usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultiplyAdds {
    /// Number by the definition of the network.
    pub defined: u64,
    /// Number that is carried out: fewer where an identity saves whole multiply-adds of a layer. By what algorithm a
    /// convolution is computed then does not count: libraries for GPUs do not tell either.
    pub carried_out: u64,
    /// Number by the count of papers: as defined, but a transposed convolution as if every value of its output met the
    /// whole kernel, and with the pieces of a published network that inference leaves out.
    #[serde(default)]
    pub published: u64,
}

impl fmt::Display for MultiplyAdds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let giga = |count: u64| count as f64 / 1e9;
        write!(
            f,
            "{:.2} G multiply-adds per image ({:.2} G carried out, {:.2} G as papers count)",
            giga(self.defined),
            giga(self.carried_out),
            giga(self.published)
        )
    }
}

/// `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurements {
    /// On the whole test split.
    pub overall: Metrics,
    /// 95 % confidence intervals of metrics on the whole split, by the name of the metric, from drawing
    /// images anew.
    pub intervals: BTreeMap<String, Interval>,
    /// On each category, if the data set has several.
    pub by_category: BTreeMap<String, Metrics>,
    /// Mean over the categories, if there are several; a metric that one of them lacks is missing here.
    pub mean: Option<BTreeMap<String, f64>>,
    /// On each type of defect together with the normal images of its category; the category stands before the
    /// type, with a slash, if there are several. An image with several types of defect counts for each.
    pub by_defect: BTreeMap<String, Metrics>,
    /// Confusion matrix at the run's threshold.
    pub at_threshold: Option<AtThreshold>,
    /// The run's thresholds.
    pub calibration: Option<Calibration>,
    /// The scale of pixel scores that the pictures are colored by. It is that of the calibration, except where thresholds
    /// were chosen with the test images, after these had been drawn.
    #[serde(rename = "colours")]
    pub colors: Option<Scale>,
    /// Origins of the networks' initial weights.
    pub weights: Vec<Origin>,
    /// Height and width of the first score map, at which its pixels were compared.
    pub size: (u32, u32),
    /// Resampling of masks to the size of the maps.
    pub mask_rule: String,
    /// False-positive rate up to which PRO was integrated.
    pub pro_limit: f64,
    /// Anomalous images without a mask, or with one that is too dark to mark anything; they take no part in
    /// the pixel metrics.
    pub without_mask: usize,
    /// Images and masks that could not be read. The images are left out; those with such a mask count as
    /// without.
    #[serde(default)]
    pub unreadable: usize,
    /// Heat maps that could not be drawn.
    #[serde(default)]
    pub undrawn: usize,
    /// Largest error of pixel metrics, where pixel scores were binned because they exceed `memory_mb`.
    pub pixel_error: Option<f64>,
    /// Images scored per second, reading and writing included.
    pub images_per_second: f64,
    /// Multiply-adds of the convolutions for one input of the network.
    pub multiply_adds: MultiplyAdds,
    /// Number of weights and biases that the training changed; `None` in a file that was written without it.
    #[serde(default)]
    pub parameters: Option<u64>,
    /// The settings of the run that were changed for the evaluation, each `KEY=VALUE`: `config.yaml` has the
    /// others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

/// `curves.json`: operating points over all thresholds, thinned out without changing the shape of the curves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// Curve of image scores; empty where it is not defined.
    pub image: Vec<OperatingPoint>,
    /// Curve of pixel scores; empty where it is not defined.
    pub pixel: Vec<OperatingPoint>,
}

/// A line of `predictions.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The image file.
    pub image: String,
    /// Its category, if the data set has several.
    pub category: Option<String>,
    /// Type of its defect, or several of them, e.g. `dent, scratch`, or `good`.
    pub label: String,
    /// Its score.
    pub score: f64,
    /// The score on the scale of the run's calibration: 0..=1, anomalous from 0.5 on.
    pub calibrated: Option<f64>,
    /// Mean recall of its defect's pixels at few false positives; for images with a defect and a mask.
    pub aupimo: Option<f64>,
    /// Its picture in the run directory, e.g. `maps/scratch/001.png`; its [`Pieces`](crate::overlay::Pieces) lie beside it.
    pub picture: Option<String>,
}

impl Prediction {
    /// Whether the image has a defect.
    #[must_use]
    pub fn is_anomalous(&self) -> bool {
        self.label != "good"
    }

    /// Every type of defect that it has, or `good`.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        kinds(&self.label)
    }
}
