use crate::curve::{OperatingPoint, points, thinned};
use crate::key::{Keyed, key, pixel};
use crate::label::Label;
use crate::unavailable::Unavailable;
use crate::walk::{F1Max, Tally, Totals, steps};

/// Area under the ROC curve: the probability that an anomalous sample scores above a normal one, a tie
/// counting one half (Mann–Whitney; scikit-learn's `roc_auc_score`). In `[0, 1]`.
///
/// # Errors
///
/// [`Unavailable`] where it is not defined: lengths differ, no sample, only one class, a score that is not
/// finite.
///
/// ```
/// assert_eq!(daf_metrics::auroc(&[1.0, 2.0, 2.0], &[false, false, true]), Ok(0.75));
/// ```
pub fn auroc<L: Label>(scores: &[f32], labels: &[L]) -> Result<f64, Unavailable> {
    Ok(RankedSamples::new(scores, labels)?.auroc())
}

/// Average precision, step-wise: `Σ (Rₙ − Rₙ₋₁) Pₙ` over the distinct scores, without interpolation
/// (scikit-learn's `average_precision_score`; a trapezoid over the same points would flatter). In `(0, 1]`.
///
/// # Errors
///
/// The errors of [`auroc`]: with one class only it would be trivially 1 or 0, so it is not given.
///
/// ```
/// let ap = daf_metrics::average_precision(&[0.1, 0.4, 0.35, 0.8], &[0u8, 0, 1, 1])?;
/// assert!((ap - 5.0 / 6.0).abs() < 1e-12);
/// # Ok::<(), daf_metrics::Unavailable>(())
/// ```
pub fn average_precision<L: Label>(scores: &[f32], labels: &[L]) -> Result<f64, Unavailable> {
    Ok(RankedSamples::new(scores, labels)?.average_precision())
}

/// Largest F1 over all thresholds "score ≥ t" with the threshold (the maximum over scikit-learn's
/// `precision_recall_curve`).
///
/// # Errors
///
/// The errors of [`auroc`].
///
/// ```
/// let best = daf_metrics::f1_max(&[0.1, 0.4, 0.35, 0.8], &[0u8, 0, 1, 1])?;
/// assert_eq!((best.f1, best.threshold), (0.8, 0.35));
/// # Ok::<(), daf_metrics::Unavailable>(())
/// ```
pub fn f1_max<L: Label>(scores: &[f32], labels: &[L]) -> Result<F1Max, Unavailable> {
    Ok(RankedSamples::new(scores, labels)?.f1_max())
}

/// Scores of samples, one each, ranked once for all metrics, the curve and the confidence intervals. There
/// are samples of both classes, otherwise [`RankedSamples::new`] says what is missing.
///
/// ```
/// use daf_metrics::{RankedSamples, Unavailable};
///
/// let samples = RankedSamples::new(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true])?;
/// assert_eq!((samples.auroc(), samples.f1_max().f1), (0.75, 0.8));
/// assert_eq!(RankedSamples::new(&[0.1], &[true]).err(), Some(Unavailable::NoNormalSample));
/// # Ok::<(), Unavailable>(())
/// ```
#[derive(Debug, Clone)]
pub struct RankedSamples {
    pub(crate) normal: Vec<u32>,
    /// Counts of anomalous samples, as regions of one pixel.
    pub(crate) anomalous: Vec<u64>,
    tally: Tally,
}

impl RankedSamples {
    /// Ranks the samples.
    ///
    /// # Errors
    ///
    /// The errors of [`auroc`].
    pub fn new<L: Label>(scores: &[f32], labels: &[L]) -> Result<Self, Unavailable> {
        if scores.len() != labels.len() {
            return Err(Unavailable::LengthMismatch {
                scores: scores.len(),
                labels: labels.len(),
            });
        }
        if scores.is_empty() {
            return Err(Unavailable::NoSample);
        }
        let count = scores.iter().filter(|s| !s.is_finite()).count() as u64;
        if count > 0 {
            return Err(Unavailable::NonFiniteScores { count });
        }
        let (mut normal, mut anomalous) = (Vec::new(), Vec::new());
        for (&score, label) in scores.iter().zip(labels) {
            if label.is_anomalous() {
                anomalous.push(pixel(key(score), 1));
            } else {
                normal.push(key(score));
            }
        }
        if anomalous.is_empty() {
            return Err(Unavailable::NoAnomalousSample);
        }
        if normal.is_empty() {
            return Err(Unavailable::NoNormalSample);
        }
        normal.sort_unstable();
        anomalous.sort_unstable();
        let tally = Tally::of(totals(&normal, &anomalous), steps(&normal, &anomalous, 0, 0));
        Ok(Self {
            normal,
            anomalous,
            tally,
        })
    }

    /// The function [`auroc`] of these samples.
    pub fn auroc(&self) -> f64 {
        self.tally.auroc()
    }

    /// The function [`average_precision`] of these samples.
    pub fn average_precision(&self) -> f64 {
        self.tally.average_precision()
    }

    /// The function [`f1_max`] of these samples.
    pub fn f1_max(&self) -> F1Max {
        self.tally.f1_max()
    }

    /// The ROC and the precision-recall curve, thinned as
    /// [`PixelEvaluation::curve`](crate::PixelEvaluation::curve).
    pub fn curve(&self) -> Vec<OperatingPoint> {
        let vertices = thinned(self.totals(), steps(&self.normal, &self.anomalous, 0, 0));
        let ends = self
            .normal
            .iter()
            .copied()
            .chain(self.anomalous.iter().map(|k| k.key()));
        let keys = ends.fold((u32::MAX, 0), |(low, high), k| (low.min(k), high.max(k)));
        points(self.totals(), vertices, keys)
    }

    pub(crate) fn totals(&self) -> Totals {
        totals(&self.normal, &self.anomalous)
    }
}

fn totals(normal: &[u32], anomalous: &[u64]) -> Totals {
    Totals {
        normal: normal.len() as u64,
        anomalous: anomalous.len() as u64,
        regions: anomalous.len() as u64,
    }
}
