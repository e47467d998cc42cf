use crate::label::Label;
use crate::ranking::{F1Max, Ranking, key, region_key};
use crate::unavailable::Unavailable;

/// Area under the ROC curve: the probability that an anomalous sample scores above a normal one, a tie counting one
/// half (Mann–Whitney; scikit-learn's `roc_auc_score`). In `[0, 1]`.
///
/// # Errors
///
/// [`Unavailable`] where it is not defined: lengths differ, no sample, only one class, a score that is not finite.
///
/// ```
/// assert_eq!(daf_metrics::auroc(&[1.0, 2.0, 2.0], &[false, false, true]), Ok(0.75));
/// ```
pub fn auroc<L: Label>(scores: &[f32], labels: &[L]) -> Result<f64, Unavailable> {
    Ok(Samples::new(scores, labels)?.ranking().auroc())
}

/// Average precision, step-wise: `Σ (Rₙ − Rₙ₋₁) Pₙ` over the distinct scores, without interpolation (scikit-learn's
/// `average_precision_score`; a trapezoid over the same points would flatter). In `(0, 1]`.
///
/// # Errors
///
/// As [`auroc`]: with one class only it would be trivially 1 or 0, so it is not given.
///
/// ```
/// let ap = daf_metrics::average_precision(&[0.1, 0.4, 0.35, 0.8], &[0u8, 0, 1, 1])?;
/// assert!((ap - 5.0 / 6.0).abs() < 1e-12);
/// # Ok::<(), daf_metrics::Unavailable>(())
/// ```
pub fn average_precision<L: Label>(scores: &[f32], labels: &[L]) -> Result<f64, Unavailable> {
    Ok(Samples::new(scores, labels)?.ranking().average_precision())
}

/// Largest F1 over all thresholds "score ≥ t" with the threshold (the maximum over scikit-learn's
/// `precision_recall_curve`).
///
/// # Errors
///
/// As [`auroc`].
///
/// ```
/// let best = daf_metrics::f1_max(&[0.1, 0.4, 0.35, 0.8], &[0u8, 0, 1, 1])?;
/// assert_eq!((best.f1, best.threshold), (0.8, 0.35));
/// # Ok::<(), daf_metrics::Unavailable>(())
/// ```
pub fn f1_max<L: Label>(scores: &[f32], labels: &[L]) -> Result<F1Max, Unavailable> {
    Ok(Samples::new(scores, labels)?.ranking().f1_max())
}

/// Both classes, ranked; neither is empty.
struct Samples {
    normal: Vec<u32>,
    anomalous: Vec<u64>,
}

impl Samples {
    fn new<L: Label>(scores: &[f32], labels: &[L]) -> Result<Self, Unavailable> {
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
                anomalous.push(region_key(score, 0));
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
        Ok(Self { normal, anomalous })
    }

    fn ranking(&self) -> Ranking<'_> {
        Ranking {
            normal: &self.normal,
            anomalous: &self.anomalous,
        }
    }
}
