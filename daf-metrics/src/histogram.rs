use serde::{Deserialize, Serialize};

use crate::curve::{OperatingPoint, points, thinned};
use crate::key::key;
use crate::label::Label;
use crate::regions::{Regions, check_shape};
use crate::unavailable::Unavailable;
use crate::walk::{Bin, F1Max, IouMax, OverlapArea, Sum, Tally, Totals, bin_steps};

/// A value computed from binned scores, with bounds of the exact one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bounded {
    /// With all scores of a bin taken as tied, `0..=1`.
    pub value: f64,
    /// The exact value is not lower, `0..=1`.
    pub low: f64,
    /// The exact value is not higher, `0..=1`.
    pub high: f64,
}

/// Pixel metrics of any number of maps in fixed memory: maps are counted in a histogram and forgotten.
///
/// The bins have equal widths in the order of `f32` values and cover just the range of the scores seen. When
/// a score falls outside, neighboring bins are joined in pairs until the range fits. So the result depends on
/// the pixels alone, not on the order of the maps, and a bin is never wider than needed: with 2ᵏ bins (k = 20
/// in 24 MiB) less than 2⁹⁻ᵏ of its score (1/2048), whatever the scores (unless under 1e-38), and far less
/// where they span few octaves.
///
/// **Error.** Only the order within a bin is lost, hence each metric comes with [bounds](Bounded) that hold
/// for the exact value always, up to rounding of 1e-12:
/// * AUROC: ± half the pairs of a normal and an anomalous pixel that share a bin, over all pairs.
/// * PRO: the exact curve lies in the box that each bin spans between its two ends.
/// * AP: in each bin, the precision had all its anomalous pixels scored above all its normal ones, and below.
/// * F1-max and IoU-max: the value is that of a real threshold, so never too high; at most what the best
///   order within a bin would give.
///
/// Not available in this mode, as they need single images or exact scores: AUPIMO, bootstrap, `pro_200`.
///
/// ```
/// use daf_metrics::PixelHistogram;
///
/// let mut maps = PixelHistogram::with_budget(1 << 20);
/// maps.push(&[0.9, 0.2, 0.1, 0.3], &[true, false, false, false], 2, 2)?;
/// maps.push(&[0.1, 0.2, 0.0, 0.4], &[false, false, false, true], 2, 2)?;
/// let auroc = maps.auroc()?;
/// assert_eq!((auroc.low, auroc.value, auroc.high), (1.0, 1.0, 1.0));
/// assert!(maps.memory() <= 1 << 20);
/// # Ok::<(), daf_metrics::Unavailable>(())
/// ```
#[derive(Debug, Clone)]
pub struct PixelHistogram {
    bins: Vec<Slot>,
    /// Number of low bits that the keys of a bin may differ in.
    shift: u32,
    /// High bits of the keys of the first bin.
    first: u32,
    /// Smallest and largest key seen.
    keys: Option<(u32, u32)>,
    images: usize,
    regions: u64,
    non_finite: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    normal: u64,
    anomalous: u64,
    overlap: f64,
}

impl Slot {
    fn add(&mut self, other: Self) {
        self.normal += other.normal;
        self.anomalous += other.anomalous;
        self.overlap += other.overlap;
    }
}

impl Default for PixelHistogram {
    /// In 24 MiB.
    fn default() -> Self {
        Self::with_budget(24 << 20)
    }
}

impl PixelHistogram {
    /// Empty, with as many bins of 24 bytes as fit: a power of two, at least 2⁹ and at most 2²⁶. While a map
    /// is pushed, there are 4 bytes per pixel of it more.
    pub fn with_budget(bytes: usize) -> Self {
        let bins = (bytes / size_of::<Slot>()).clamp(1 << 9, 1 << 26);
        Self {
            bins: vec![Slot::default(); 1 << bins.ilog2()],
            shift: 0,
            first: 0,
            keys: None,
            images: 0,
            regions: 0,
            non_finite: 0,
        }
    }

    /// Bytes that the bins take, now and later.
    pub fn memory(&self) -> usize {
        self.bins.len() * size_of::<Slot>()
    }

    /// Counts one map with its mask, as [`PixelMaps::push`](crate::PixelMaps::push) takes them.
    ///
    /// # Errors
    ///
    /// The errors of [`RankedMap::new`](crate::RankedMap::new). Then nothing is counted.
    pub fn push<L: Label>(
        &mut self,
        scores: &[f32],
        mask: &[L],
        width: usize,
        height: usize,
    ) -> Result<(), Unavailable> {
        if scores.len() != mask.len() {
            return Err(Unavailable::LengthMismatch {
                scores: scores.len(),
                labels: mask.len(),
            });
        }
        check_shape(scores.len(), width, height)?;
        let regions = mask
            .iter()
            .any(|l| l.is_anomalous())
            .then(|| Regions::of(mask, width, height))
            .transpose()?;
        let finite = || scores.iter().filter(|s| s.is_finite()).map(|&s| key(s));
        if let Some(keys) = finite().min().zip(finite().max()) {
            self.cover(keys);
        }
        self.non_finite += (scores.len() - finite().count()) as u64;
        self.images += 1;
        let (first, shift) = (self.first, self.shift);
        let place = |score: f32| ((key(score) >> shift) - first) as usize;
        let Some(regions) = regions else {
            for &score in scores.iter().filter(|s| s.is_finite()) {
                self.bins[place(score)].normal += 1;
            }
            return Ok(());
        };
        self.regions += regions.areas().len() as u64;
        for (&score, &label) in scores.iter().zip(regions.labels()).filter(|p| p.0.is_finite()) {
            let bin = &mut self.bins[place(score)];
            if label == 0 {
                bin.normal += 1;
            } else {
                bin.anomalous += 1;
                bin.overlap += 1.0 / f64::from(regions.areas()[label as usize - 1]);
            }
        }
        Ok(())
    }

    /// Adds what another histogram has counted, for instance of another thread or machine. The bins of this
    /// one stay as many as they are, those of the other should be no fewer.
    pub fn append(&mut self, other: &Self) {
        if let Some(keys) = other.keys {
            // Bins of the other that are wider stay as wide.
            self.cover_at(keys, other.shift);
            let (by, first) = (self.shift - other.shift, self.first);
            for (i, &slot) in other.bins.iter().enumerate() {
                if slot.normal + slot.anomalous > 0 {
                    self.bins[(((other.first + i as u32) >> by) - first) as usize].add(slot);
                }
            }
        }
        self.images += other.images;
        self.regions += other.regions;
        self.non_finite += other.non_finite;
    }

    /// Makes room for keys in a range.
    fn cover(&mut self, keys: (u32, u32)) {
        self.cover_at(keys, 0);
    }

    fn cover_at(&mut self, keys: (u32, u32), shift: u32) {
        let (low, high) = self.keys.map_or(keys, |k| (k.0.min(keys.0), k.1.max(keys.1)));
        let mut shift = shift.max(self.shift);
        while ((high >> shift) - (low >> shift)) as usize >= self.bins.len() {
            shift += 1;
        }
        if self.keys.is_some() {
            let by = shift - self.shift;
            let start = self.first >> by;
            if by > 0 {
                for i in 0..self.bins.len() {
                    let slot = std::mem::take(&mut self.bins[i]);
                    // Never after `i`, so that nothing is joined twice.
                    let place = (u64::from(self.first) + i as u64) >> by;
                    self.bins[(place - u64::from(start)) as usize].add(slot);
                }
            }
            // The first bin is that of the smallest key, which can only have become smaller. What comes in at
            // the front is empty, as the whole range fits.
            self.bins.rotate_right((start - (low >> shift)) as usize);
        }
        self.first = low >> shift;
        self.shift = shift;
        self.keys = Some((low, high));
    }

    /// Bounds of [`PixelEvaluation::auroc`](crate::PixelEvaluation::auroc).
    ///
    /// # Errors
    ///
    /// Those that [`PixelEvaluation`](crate::PixelEvaluation) names; the same with all metrics.
    pub fn auroc(&self) -> Result<Bounded, Unavailable> {
        let totals = self.totals()?;
        let tied: f64 = self
            .bins
            .iter()
            .map(|b| b.normal as f64 * b.anomalous as f64)
            .sum();
        let slack = tied / 2.0 / (totals.normal as f64 * totals.anomalous as f64);
        let value = self.tally(totals).auroc();
        Ok(Bounded::new(value, value - slack, value + slack))
    }

    /// Bounds of [`PixelEvaluation::average_precision`](crate::PixelEvaluation::average_precision).
    ///
    /// # Errors
    ///
    /// The errors of [`auroc`](Self::auroc).
    pub fn average_precision(&self) -> Result<Bounded, Unavailable> {
        let totals = self.totals()?;
        let (mut low, mut high) = (Sum::default(), Sum::default());
        for step in self.steps() {
            let (above, positives) = (step.tp.0 as f64, (step.tp.1 - step.tp.0) as f64);
            // All tied and above the normal ones of the bin.
            let tp = step.tp.1 as f64;
            high.add(positives * (tp / (tp + step.fp.0 as f64)));
            // One after the other and below them: Σ (a + i) / (a + i + f) for i up to p, where the sum of the
            // reciprocals is at most the logarithm.
            let fp = step.fp.1 as f64;
            if fp == 0.0 {
                low.add(positives);
            } else {
                let first = (above + 1.0) / (above + 1.0 + fp);
                let logarithm = positives - fp * (positives / (above + fp)).ln_1p();
                low.add(logarithm.max(positives * first));
            }
        }
        let of_all = |sum: Sum| sum.value() / totals.anomalous as f64;
        Ok(Bounded::new(
            self.tally(totals).average_precision(),
            of_all(low),
            of_all(high),
        ))
    }

    /// Bounds of [`PixelEvaluation::f1_max`](crate::PixelEvaluation::f1_max), with the bounds of the exact maximum.
    ///
    /// # Errors
    ///
    /// The errors of [`auroc`](Self::auroc).
    pub fn f1_max(&self) -> Result<(F1Max, Bounded), Unavailable> {
        let best = self.tally(self.totals()?).f1_max();
        let high = self.highest_f1()?;
        Ok((best, Bounded::new(best.f1, best.f1, high)))
    }

    /// Bounds of [`PixelEvaluation::iou_max`](crate::PixelEvaluation::iou_max), with the bounds of the exact
    /// maximum.
    ///
    /// # Errors
    ///
    /// The errors of [`auroc`](Self::auroc).
    pub fn iou_max(&self) -> Result<(IouMax, Bounded), Unavailable> {
        let best = self.tally(self.totals()?).iou_max();
        let high = self.highest_f1()?;
        Ok((best, Bounded::new(best.iou, best.iou, high / (2.0 - high))))
    }

    /// Bounds of [`PixelEvaluation::pro`](crate::PixelEvaluation::pro).
    ///
    /// # Errors
    ///
    /// The errors of [`auroc`](Self::auroc), and [`Unavailable::InvalidLimit`] unless `limit` is in `(0, 1]`.
    pub fn pro(&self, limit: f64) -> Result<Bounded, Unavailable> {
        let totals = self.totals()?;
        if !(limit > 0.0 && limit <= 1.0) {
            return Err(Unavailable::InvalidLimit);
        }
        let until = limit * totals.normal as f64;
        let (mut low, mut high, mut overlap, mut fp) = (Sum::default(), Sum::default(), Sum::default(), 0.0);
        for slot in &self.bins {
            let end = (fp + slot.normal as f64).min(until);
            low.add((end - fp) * overlap.value());
            overlap.add(slot.overlap);
            high.add((end - fp) * overlap.value());
            fp = end;
        }
        let whole = until * totals.regions as f64;
        let value = OverlapArea::of(0.0..until, self.steps());
        Ok(Bounded::new(
            value / whole,
            low.value() / whole,
            high.value() / whole,
        ))
    }

    /// Bounds of [`PixelEvaluation::curve`](crate::PixelEvaluation::curve), with a point for every bin before
    /// thinning.
    ///
    /// # Errors
    ///
    /// The errors of [`auroc`](Self::auroc).
    pub fn curve(&self) -> Result<Vec<OperatingPoint>, Unavailable> {
        let totals = self.totals()?;
        let keys = self.keys.unwrap_or_default();
        Ok(points(totals, thinned(totals, self.steps()), keys))
    }

    /// Number of maps.
    pub fn images(&self) -> usize {
        self.images
    }

    /// The bins from the highest scores down.
    fn bins(&self) -> impl Iterator<Item = Bin> {
        let (first, shift) = (self.first, self.shift);
        let highest = self.keys.map_or(0, |k| k.1);
        let end = move |place: u64| (((u64::from(first) + place) << shift) - 1) as u32;
        self.bins.iter().enumerate().map(move |(i, slot)| Bin {
            key: end(i as u64 + 1).min(highest),
            above: end(i as u64),
            normal: slot.normal,
            anomalous: slot.anomalous,
            overlap: slot.overlap,
        })
    }

    fn steps(&self) -> impl Iterator<Item = crate::walk::Step> {
        bin_steps(self.bins())
    }

    fn tally(&self, totals: Totals) -> Tally {
        Tally::of(totals, self.steps())
    }

    fn highest_f1(&self) -> Result<f64, Unavailable> {
        let positives = self.totals()?.anomalous as f64;
        let best = |s: crate::walk::Step| 2.0 * s.tp.1 as f64 / (s.tp.1 as f64 + s.fp.0 as f64 + positives);
        Ok(self.steps().map(best).fold(0.0, f64::max))
    }

    fn totals(&self) -> Result<Totals, Unavailable> {
        let totals = Totals {
            normal: self.bins.iter().map(|b| b.normal).sum(),
            anomalous: self.bins.iter().map(|b| b.anomalous).sum(),
            regions: self.regions,
        };
        totals.check(self.images, self.non_finite)
    }
}

impl Bounded {
    fn new(value: f64, low: f64, high: f64) -> Self {
        let value = value.clamp(0.0, 1.0);
        Self {
            value,
            low: low.clamp(0.0, value),
            high: high.clamp(value, 1.0),
        }
    }
}
