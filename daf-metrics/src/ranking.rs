use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Largest F1 over all thresholds, and the threshold that reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct F1Max {
    /// The F1 score, in `(0, 1]`.
    pub f1: f64,
    /// A score of at least this much counts as anomalous. It is one of the scores; of several thresholds with the
    /// same F1 it is the lowest.
    pub threshold: f32,
}

/// The place of a finite score in a descending order: a higher score has a smaller key, equal scores (-0 and 0 too)
/// have the same key.
pub(crate) fn key(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 {
        bits
    } else {
        !bits & (u32::MAX >> 1)
    }
}

/// The score of a key; -0 comes back as 0.
pub(crate) fn score(key: u32) -> f32 {
    if key >> 31 == 1 {
        f32::from_bits(key)
    } else {
        f32::from_bits(!key & (u32::MAX >> 1))
    }
}

/// Key of an anomalous sample with the index of its region in the low half, so that one sort orders both.
pub(crate) fn region_key(score: f32, region: u32) -> u64 {
    u64::from(key(score)) << 32 | u64::from(region)
}

/// Score key of a [`region_key`].
pub(crate) fn score_key(region_key: u64) -> u32 {
    (region_key >> 32) as u32
}

/// Region of a [`region_key`].
pub(crate) fn region(region_key: u64) -> usize {
    (region_key & u64::from(u32::MAX)) as usize
}

/// Sorted keys of both classes, neither of them empty.
///
/// All metrics need only the thresholds at anomalous scores: in between, true positives stay and false positives
/// grow, so ROC and PRO run horizontally, recall does not move and F1 falls. Hence a walk visits the (few) anomalous
/// samples and skips through the normal ones.
#[derive(Clone, Copy)]
pub(crate) struct Ranking<'a> {
    pub(crate) normal: &'a [u32],
    pub(crate) anomalous: &'a [u64],
}

/// One distinct score among the anomalous samples, as a threshold.
pub(crate) struct Step {
    pub(crate) key: u32,
    /// The anomalous samples of this very score; `end` is the number of true positives at it.
    pub(crate) anomalous: Range<usize>,
    /// The normal samples of this very score; `end` is the number of false positives at it.
    pub(crate) normal: Range<usize>,
}

impl<'a> Ranking<'a> {
    /// Distinct anomalous scores in descending order.
    pub(crate) fn steps(self) -> impl Iterator<Item = Step> + 'a {
        let (mut tp, mut fp) = (0, 0);
        std::iter::from_fn(move || {
            let key = score_key(*self.anomalous.get(tp)?);
            let anomalous_start = tp;
            while self.anomalous.get(tp).is_some_and(|&k| score_key(k) == key) {
                tp += 1;
            }
            let normal_start = advance(self.normal, fp, |k| k < key);
            fp = advance(self.normal, normal_start, |k| k <= key);
            Some(Step {
                key,
                anomalous: anomalous_start..tp,
                normal: normal_start..fp,
            })
        })
    }

    pub(crate) fn auroc(self) -> f64 {
        let normals = self.normal.len() as u128;
        let twice: u128 = self
            .steps()
            .map(|s| s.anomalous.len() as u128 * (2 * normals - (s.normal.start + s.normal.end) as u128))
            .sum();
        twice as f64 / (2 * normals * self.anomalous.len() as u128) as f64
    }

    pub(crate) fn average_precision(self) -> f64 {
        let mut sum = Sum::default();
        for s in self.steps() {
            let (tp, fp) = (s.anomalous.end as f64, s.normal.end as f64);
            sum.add(s.anomalous.len() as f64 * (tp / (tp + fp)));
        }
        (sum.value() / self.anomalous.len() as f64).clamp(0.0, 1.0)
    }

    pub(crate) fn f1_max(self) -> F1Max {
        // As exact fractions, so that equal F1 are seen as equal.
        let positives = self.anomalous.len() as u128;
        let (mut best, mut best_key) = ((0, 1), 0);
        for s in self.steps() {
            let tp = s.anomalous.end as u128;
            let f1 = (2 * tp, tp + s.normal.end as u128 + positives);
            if f1.0 * best.1 >= best.0 * f1.1 {
                (best, best_key) = (f1, s.key);
            }
        }
        F1Max {
            f1: best.0 as f64 / best.1 as f64,
            threshold: score(best_key),
        }
    }
}

/// First index from `start` on where `before` fails, found by galloping: near ones cost little, far ones a logarithm.
fn advance(keys: &[u32], start: usize, before: impl Fn(u32) -> bool) -> usize {
    let (mut low, mut stride) = (start, 1);
    loop {
        let probe = low + stride - 1;
        match keys.get(probe) {
            Some(&k) if before(k) => {
                low = probe + 1;
                stride *= 2;
            }
            _ => {
                let high = probe.min(keys.len());
                return low + keys[low..high].partition_point(|&k| before(k));
            }
        }
    }
}

/// Compensated (Neumaier) sum: millions of small terms without drift.
#[derive(Default, Clone, Copy)]
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
    use proptest::prelude::*;

    #[test]
    fn zeros_of_both_signs_are_equal() {
        assert_eq!(key(0.0), key(-0.0));
        assert_eq!(score(key(-0.0)), 0.0);
    }

    #[test]
    fn compensated_sum_keeps_what_a_plain_sum_loses() {
        let mut sum = Sum::default();
        [1.0, 1e100, 1.0, -1e100].into_iter().for_each(|t| sum.add(t));
        assert_eq!(sum.value(), 2.0);
    }

    proptest! {
        #[test]
        fn keys_reverse_the_order_and_give_the_score_back(a in -1e38f32..1e38, b in -1e38f32..1e38) {
            prop_assert_eq!(key(a).cmp(&key(b)), b.partial_cmp(&a).unwrap());
            prop_assert_eq!(score(key(a)), a);
        }

        #[test]
        fn galloping_equals_a_full_search(
            mut keys in prop::collection::vec(0u32..50, 0..200), start in 0usize..200, wanted in 0u32..52,
        ) {
            keys.sort_unstable();
            let start = start.min(keys.partition_point(|&k| k < wanted));
            prop_assert_eq!(advance(&keys, start, |k| k < wanted), keys.partition_point(|&k| k < wanted));
        }
    }
}
