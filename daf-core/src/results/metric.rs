//! Metrics of a run, with their names and descriptions.

use serde::{Deserialize, Serialize};

use super::{Measurements, Metrics, Value};

/// Something that a run is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// I-AUC.
    ImageAuroc,
    /// P-AUC.
    PixelAuroc,
    /// P-PRO.
    PixelPro,
    /// P-mAP.
    PixelAp,
    /// Average precision of the image scores.
    ImageAp,
    /// Largest F1 of the image scores.
    ImageF1Max,
    /// Largest F1 of the pixel scores.
    PixelF1Max,
    /// Largest intersection over union of the pixels.
    PixelIouMax,
    /// AUPIMO.
    Aupimo,
    /// Images scored per second, reading and writing included.
    ImagesPerSecond,
    /// Multiply-adds for one input of the network.
    MultiplyAdds,
    /// Weights and biases that the training changed.
    Parameters,
}

/// The names of a metric, and what it says.
struct About {
    /// In `metrics.json` and in sweep files.
    name: &'static str,
    /// In tables, as the paper has it where it has one.
    short: &'static str,
    meaning: &'static str,
}

const fn about(name: &'static str, short: &'static str, meaning: &'static str) -> About {
    About { name, short, meaning }
}

impl Metric {
    /// All, shares first.
    pub const ALL: [Self; 12] = [
        Self::ImageAuroc,
        Self::PixelAuroc,
        Self::PixelPro,
        Self::PixelAp,
        Self::ImageAp,
        Self::ImageF1Max,
        Self::PixelF1Max,
        Self::PixelIouMax,
        Self::Aupimo,
        Self::ImagesPerSecond,
        Self::MultiplyAdds,
        Self::Parameters,
    ];

    /// The shares of 0 to 1 of which more is better, in the order in which tables show them.
    pub fn shares() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|metric| metric.is_share())
    }

    const fn about(self) -> About {
        match self {
            Self::ImageAuroc => about(
                "image_auroc",
                "I-AUC",
                "area under the ROC curve of the image scores",
            ),
            Self::PixelAuroc => about(
                "pixel_auroc",
                "P-AUC",
                "area under the ROC curve of the pixel scores",
            ),
            Self::PixelPro => about(
                "pixel_pro",
                "P-PRO",
                "mean overlap of the defect regions, up to the false-positive limit",
            ),
            Self::PixelAp => about("pixel_ap", "P-mAP", "average precision of the pixel scores"),
            Self::ImageAp => about("image_ap", "I-AP", "average precision of the image scores"),
            Self::ImageF1Max => about(
                "image_f1_max",
                "I-F1",
                "largest F1 of the image scores over all thresholds",
            ),
            Self::PixelF1Max => about(
                "pixel_f1_max",
                "P-F1",
                "largest F1 of the pixel scores over all thresholds",
            ),
            Self::PixelIouMax => about(
                "pixel_iou_max",
                "P-IoU",
                "largest intersection over union of the pixels over all thresholds",
            ),
            Self::Aupimo => about(
                "aupimo",
                "AUPIMO",
                "mean pixel recall per image at very few false positives on normal images",
            ),
            Self::ImagesPerSecond => about(
                "images_per_second",
                "images/s",
                "images scored per second, reading and writing included",
            ),
            Self::MultiplyAdds => about(
                "multiply_adds",
                "GMAC",
                "multiply-adds for one input of the network, in thousand millions",
            ),
            Self::Parameters => about(
                "parameters",
                "#param (M)",
                "weights and biases that training changes, in millions",
            ),
        }
    }

    /// The metric of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// The four of the paper's tables.
    #[must_use]
    pub fn of_the_paper() -> Vec<Self> {
        Self::ALL[..4].to_vec()
    }

    /// Its name in `metrics.json` and in sweep files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.about().name
    }

    /// Its name in tables.
    #[must_use]
    pub const fn short(self) -> &'static str {
        self.about().short
    }

    /// Description in a few words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.about().meaning
    }

    /// Whether it is a share of 0 to 1, which tables show in percent.
    #[must_use]
    pub const fn is_share(self) -> bool {
        !matches!(
            self,
            Self::ImagesPerSecond | Self::MultiplyAdds | Self::Parameters
        )
    }

    /// Whether more of it is better.
    #[must_use]
    pub const fn rises(self) -> bool {
        !matches!(self, Self::MultiplyAdds | Self::Parameters)
    }

    /// Its value among the shares of some images; `None` for what is no share.
    #[must_use]
    pub const fn share(self, of: &Metrics) -> Option<&Value> {
        Some(match self {
            Self::ImageAuroc => &of.image_auroc,
            Self::PixelAuroc => &of.pixel_auroc,
            Self::PixelPro => &of.pixel_pro,
            Self::PixelAp => &of.pixel_ap,
            Self::ImageAp => &of.image_ap,
            Self::ImageF1Max => &of.image_f1_max,
            Self::PixelF1Max => &of.pixel_f1_max,
            Self::PixelIouMax => &of.pixel_iou_max,
            Self::Aupimo => &of.aupimo,
            Self::ImagesPerSecond | Self::MultiplyAdds | Self::Parameters => return None,
        })
    }

    /// Its value, on the whole test split.
    ///
    /// # Errors
    /// Why it is not available.
    pub fn of(self, found: &Measurements) -> Result<f64, String> {
        match (self, self.share(&found.overall)) {
            (_, Some(Value::Number(number))) => Ok(*number),
            (_, Some(Value::Missing { unavailable })) => Err(unavailable.clone()),
            (Self::MultiplyAdds, None) => Ok(found.multiply_adds.defined as f64 / 1e9),
            (Self::Parameters, None) => found
                .parameters
                .map(|count| count as f64 / 1e6)
                .ok_or_else(|| "not counted when the run was measured; `daf-cli evaluate` counts".into()),
            (_, None) => Ok(found.images_per_second),
        }
    }
}

impl Metrics {
    /// The metrics in the order in which tables show them, with the names of `metrics.json`.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        Metric::shares().filter_map(|metric| Some((metric.name(), metric.share(self)?)))
    }
}

/// The name that tables give a metric, as the paper has it where it has one.
#[must_use]
pub fn short_name(metric: &str) -> &str {
    match Metric::named(metric) {
        Some(known) => known.short(),
        None => metric,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_names_of_its_own_and_says_what_it_is() {
        for metric in Metric::ALL {
            assert_eq!(Metric::named(metric.name()), Some(metric));
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
            assert!(!metric.meaning().is_empty());
            assert_ne!(metric.short(), metric.name());
        }
        assert!(
            Metric::ALL.is_sorted_by_key(|metric| !metric.is_share()),
            "shares come first"
        );
    }
}
