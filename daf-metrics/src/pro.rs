use crate::ranking::{Ranking, Sum, key, region, score, score_key};
use crate::unavailable::Unavailable;

/// A ranking whose anomalous samples carry the index of their region.
#[derive(Clone, Copy)]
pub(crate) struct RegionRanking<'a> {
    pub(crate) ranking: Ranking<'a>,
    pub(crate) areas: &'a [u32],
}

impl RegionRanking<'_> {
    /// Area under the mean region overlap over the false-positive rate, from 0 to `limit`, divided by `limit`.
    pub(crate) fn pro(self, limit: f64) -> Result<f64, Unavailable> {
        if !(limit > 0.0 && limit <= 1.0) {
            return Err(Unavailable::InvalidLimit);
        }
        // In false positives instead of their rate: whole numbers, and the limit somewhere between two of them.
        let limit = limit * self.ranking.normal.len() as f64;
        let (mut area, mut overlap, mut height, mut reached) = (Sum::default(), Sum::default(), 0.0, 0.0);
        for step in self.ranking.steps() {
            let (start, end) = (step.normal.start as f64, step.normal.end as f64);
            if start >= limit {
                break;
            }
            area.add((start - reached) * height);
            self.ranking.anomalous[step.anomalous]
                .iter()
                .for_each(|&k| self.cover(&mut overlap, k));
            let next = self.mean(overlap);
            let until = end.min(limit);
            if end > start {
                let at_limit = height + (next - height) * ((until - start) / (end - start));
                area.add((until - start) * (height + at_limit) / 2.0);
            }
            (height, reached) = (next, until);
        }
        area.add((limit - reached) * height);
        Ok((area.value() / limit).clamp(0.0, 1.0))
    }

    /// PRO as in the official code of DAF (and before it of RD4AD).
    pub(crate) fn pro_200(self) -> Result<f64, Unavailable> {
        const LIMIT: f64 = 0.3;
        let Ranking { normal, anomalous } = self.ranking;
        let (mut overlap, mut tp) = (Sum::default(), 0);
        let mut points = Vec::new();
        // From the highest threshold down; only what lies strictly above one is positive.
        for threshold in self.thresholds()?.into_iter().rev().map(key) {
            while let Some(&k) = anomalous.get(tp).filter(|&&k| score_key(k) < threshold) {
                self.cover(&mut overlap, k);
                tp += 1;
            }
            let fpr = normal.partition_point(|&k| k < threshold) as f64 / normal.len() as f64;
            if fpr < LIMIT {
                points.push((fpr, self.mean(overlap)));
            }
        }
        // Rates only grow along the way, so the last one is the largest.
        let largest = points.last().map_or(0.0, |p| p.0);
        if points.len() < 2 || largest <= 0.0 {
            return Err(Unavailable::TooFewThresholds);
        }
        let mut area = Sum::default();
        for pair in points.windows(2) {
            area.add((pair[1].0 - pair[0].0) / largest * (pair[0].1 + pair[1].1) / 2.0);
        }
        Ok(area.value().clamp(0.0, 1.0))
    }

    /// `numpy.arange(min, max, (max - min) / 200)` of float32 in its own arithmetic: 200 thresholds, or 201 where the
    /// rounding of the step asks for one more.
    fn thresholds(self) -> Result<Vec<f32>, Unavailable> {
        let Ranking { normal, anomalous } = self.ranking;
        let keys = || normal.first().into_iter().chain(normal.last()).copied();
        let anomalous_keys = || {
            anomalous
                .first()
                .into_iter()
                .chain(anomalous.last())
                .map(|&k| score_key(k))
        };
        let range = keys()
            .chain(anomalous_keys())
            .min()
            .zip(keys().chain(anomalous_keys()).max());
        let (max, min) = range
            .map(|(high, low)| (score(high), score(low)))
            .ok_or(Unavailable::NoScoreRange)?;
        let step = (max - min) / 200.0;
        if !(step > 0.0 && step.is_finite()) {
            return Err(Unavailable::NoScoreRange);
        }
        let count = ((max - min) / step).ceil() as usize;
        let step = (min + step) - min;
        Ok((0..count).map(|i| min + i as f32 * step).collect())
    }

    fn cover(self, overlap: &mut Sum, region_key: u64) {
        overlap.add(1.0 / f64::from(self.areas[region(region_key)]));
    }

    fn mean(self, overlap: Sum) -> f64 {
        overlap.value() / self.areas.len() as f64
    }
}
