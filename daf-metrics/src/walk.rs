use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::key::{Keyed, advance, score, share};
use crate::unavailable::Unavailable;

/// Largest F1 over all thresholds, and the threshold that reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct F1Max {
    /// The F1 score, in `(0, 1]`.
    pub f1: f64,
    /// A score of at least this much counts as anomalous. It is one of the scores; of several thresholds with
    /// the same F1 it is the lowest.
    pub threshold: f32,
}

/// Largest intersection over union of the truly and the predicted anomalous over all thresholds, and the
/// threshold that reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct IouMax {
    /// `TP / (TP + FP + FN)`, in `(0, 1]`.
    pub iou: f64,
    /// The threshold of [`F1Max::threshold`]: IoU is F1 / (2 − F1).
    pub threshold: f32,
}

/// Sizes of the classes; neither is 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) normal: u64,
    pub(crate) anomalous: u64,
    pub(crate) regions: u64,
}

impl Totals {
    /// Itself, or why no pixel metric is defined.
    pub(crate) fn check(self, images: usize, non_finite: u64) -> Result<Self, Unavailable> {
        if images == 0 {
            Err(Unavailable::NoMask)
        } else if non_finite > 0 {
            Err(Unavailable::NonFiniteScores { count: non_finite })
        } else if self.anomalous == 0 {
            Err(Unavailable::NoAnomalousPixel)
        } else if self.normal == 0 {
            Err(Unavailable::NoNormalPixel)
        } else {
            Ok(self)
        }
    }
}

/// One distinct score among the anomalous samples, as a threshold.
///
/// All metrics need only these thresholds: in between, true positives stay and false positives grow, so ROC
/// and PRO run horizontally, recall does not move and F1 falls. Hence a walk visits the (few) anomalous
/// samples and skips through the normal ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// Key of the lowest score in the step.
    pub(crate) key: u32,
    /// Key of the lowest score above the step.
    pub(crate) above: u32,
    /// False positives above the step, and including it.
    pub(crate) fp: (u64, u64),
    /// True positives above the step, and including it.
    pub(crate) tp: (u64, u64),
    /// Sum of the shares that the anomalous pixels of the step have of their regions.
    pub(crate) overlap: f64,
}

/// Steps through sorted keys, of which those before them are already counted in `fp` and `tp`.
pub(crate) fn steps<'a>(
    normal: &'a [u32],
    anomalous: &'a [u64],
    fp: u64,
    tp: u64,
) -> impl Iterator<Item = Step> + 'a {
    let (mut a, mut n) = (0, 0);
    std::iter::from_fn(move || {
        let key = anomalous.get(a)?.key();
        let (start, mut overlap) = (a, Sum::default());
        while let Some(&pixel) = anomalous.get(a).filter(|p| p.key() == key) {
            overlap.add(share(pixel));
            a += 1;
        }
        let above = advance(normal, n, |k| k < key);
        n = advance(normal, above, |k| k <= key);
        Some(Step {
            key,
            above: key - 1,
            fp: (fp + above as u64, fp + n as u64),
            tp: (tp + start as u64, tp + a as u64),
            overlap: overlap.value(),
        })
    })
}

/// Counts of a bin of scores. Samples in one bin count as tied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bin {
    /// Key of the lowest score in the bin.
    pub(crate) key: u32,
    /// Key of the lowest score above the bin.
    pub(crate) above: u32,
    pub(crate) normal: u64,
    pub(crate) anomalous: u64,
    /// See [`Step::overlap`].
    pub(crate) overlap: f64,
}

impl Bin {
    /// An empty bin of a single score, or of all down to it where `above` does not matter.
    pub(crate) fn new(key: u32) -> Self {
        Self {
            key,
            above: key - 1,
            normal: 0,
            anomalous: 0,
            overlap: 0.0,
        }
    }
}

/// Steps through bins in descending order.
pub(crate) fn bin_steps(bins: impl Iterator<Item = Bin>) -> impl Iterator<Item = Step> {
    let (mut fp, mut tp) = (0, 0);
    bins.filter_map(move |bin| {
        let before = (fp, tp);
        (fp, tp) = (fp + bin.normal, tp + bin.anomalous);
        (bin.anomalous > 0).then_some(Step {
            key: bin.key,
            above: bin.above,
            fp: (before.0, fp),
            tp: (before.1, tp),
            overlap: bin.overlap,
        })
    })
}

/// Accumulator of AUROC, AP and F1-max over steps. Tallies of consecutive stretches add up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tally {
    totals: Totals,
    /// Twice the pairs in which the anomalous one scores higher; ties count once.
    pairs: u128,
    precisions: Sum,
    /// Largest F1 as an exact fraction, so that equal ones are seen as equal, and its key.
    best: (u128, u128, u32),
}

impl Tally {
    pub(crate) fn new(totals: Totals) -> Self {
        Self {
            totals,
            pairs: 0,
            precisions: Sum::default(),
            best: (0, 1, 0),
        }
    }

    pub(crate) fn of(totals: Totals, steps: impl Iterator<Item = Step>) -> Self {
        let mut tally = Self::new(totals);
        steps.for_each(|s| tally.add(&s));
        tally
    }

    pub(crate) fn add(&mut self, step: &Step) {
        let Totals {
            normal, anomalous, ..
        } = self.totals;
        let (fp, tp) = (step.fp.1, step.tp.1);
        let tied = tp - step.tp.0;
        self.pairs += u128::from(tied) * u128::from(2 * normal - step.fp.0 - fp);
        self.precisions.add(tied as f64 * (tp as f64 / (tp + fp) as f64));
        self.challenge((2 * u128::from(tp), u128::from(tp + fp + anomalous), step.key));
    }

    /// Adds the tally of a later stretch.
    pub(crate) fn append(&mut self, later: &Self) {
        self.pairs += later.pairs;
        self.precisions.add(later.precisions.value());
        self.challenge(later.best);
    }

    fn challenge(&mut self, other: (u128, u128, u32)) {
        if other.0 > 0 && other.0 * self.best.1 >= self.best.0 * other.1 {
            self.best = other;
        }
    }

    pub(crate) fn auroc(&self) -> f64 {
        self.pairs as f64 / (2 * u128::from(self.totals.normal) * u128::from(self.totals.anomalous)) as f64
    }

    pub(crate) fn average_precision(&self) -> f64 {
        (self.precisions.value() / self.totals.anomalous as f64).clamp(0.0, 1.0)
    }

    pub(crate) fn f1_max(&self) -> F1Max {
        let (above, below, key) = self.best;
        F1Max {
            f1: above as f64 / below as f64,
            threshold: score(key),
        }
    }

    pub(crate) fn iou_max(&self) -> IouMax {
        let (above, below, key) = self.best;
        IouMax {
            iou: above as f64 / (2 * below - above) as f64,
            threshold: score(key),
        }
    }
}

/// Area under the overlap of all regions together over the false positives in a range, gathered step by step,
/// the overlap counted from 0 at its start. Steps may go on beyond the range; then the line to the one after
/// is cut.
///
/// In false positives instead of their rate: whole numbers, and a limit somewhere between two of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverlapArea {
    area: Sum,
    overlap: Sum,
    reached: f64,
    limit: f64,
}

impl OverlapArea {
    pub(crate) fn new(range: Range<f64>) -> Self {
        Self {
            area: Sum::default(),
            overlap: Sum::default(),
            reached: range.start,
            limit: range.end,
        }
    }

    pub(crate) fn of(range: Range<f64>, steps: impl Iterator<Item = Step>) -> f64 {
        let limit = range.end;
        let mut area = Self::new(range);
        steps
            .take_while(|s| s.fp.0 as f64 <= limit)
            .for_each(|s| area.add(&s));
        area.value()
    }

    /// Adds a step that does not begin beyond the range.
    pub(crate) fn add(&mut self, step: &Step) {
        let (start, end) = (step.fp.0 as f64, step.fp.1 as f64);
        let height = self.overlap.value();
        self.area.add((start - self.reached) * height);
        self.overlap.add(step.overlap);
        self.reached = end.min(self.limit);
        if end > start {
            let share = (self.reached - start) / (end - start);
            let at_limit = height + (self.overlap.value() - height) * share;
            self.area.add((self.reached - start) * (height + at_limit) / 2.0);
        }
    }

    /// The overlap reached.
    pub(crate) fn overlap(&self) -> Sum {
        self.overlap
    }

    /// The area up to the end of the range.
    pub(crate) fn value(&self) -> f64 {
        let mut area = self.area;
        area.add((self.limit - self.reached) * self.overlap.value());
        area.value()
    }
}

/// Compensated (Neumaier) sum: millions of small terms without drift.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    pub(crate) fn add(&mut self, term: f64) {
        let next = self.sum + term;
        self.lost += if self.sum.abs() >= term.abs() {
            (self.sum - next) + term
        } else {
            (term - next) + self.sum
        };
        self.sum = next;
    }

    pub(crate) fn value(self) -> f64 {
        self.sum + self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compensated_sum_keeps_what_a_plain_sum_loses() {
        let mut sum = Sum::default();
        [1.0, 1e100, 1.0, -1e100].into_iter().for_each(|t| sum.add(t));
        assert_eq!(sum.value(), 2.0);
    }
}
