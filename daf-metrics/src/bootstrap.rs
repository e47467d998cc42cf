use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::aupimo::quantile;
use crate::key::{Keyed, below, share};
use crate::pixels::PixelEvaluation;
use crate::ranked::{RankedMap, key_range};
use crate::samples::RankedSamples;
use crate::unavailable::Unavailable;
use crate::walk::{Bin, OverlapArea, Sum, Tally, Totals, bin_steps};

/// Settings of the percentile bootstrap over images: each resample draws with replacement as many normal and
/// as many anomalous images as there are; the interval lies between two percentiles of the values.
///
/// Drawing within each class keeps every resample measurable. The same seed gives the same intervals on any
/// machine and any number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Number of resamples; at least 1.
    pub resamples: u32,
    /// Confidence level, between 0 and 1, both excluded.
    pub level: f64,
    /// Seed of the random draws.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 1,000 draws, 95 %, seed 0.
    fn default() -> Self {
        Self {
            resamples: 1000,
            level: 0.95,
            seed: 0,
        }
    }
}

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end, `0..=1`.
    pub low: f64,
    /// Its upper end, `0..=1`.
    pub high: f64,
}

/// Confidence intervals of image metrics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SampleIntervals {
    /// Interval of [`RankedSamples::auroc`].
    pub auroc: Interval,
    /// Interval of [`RankedSamples::average_precision`].
    pub average_precision: Interval,
    /// Interval of [`RankedSamples::f1_max`].
    pub f1_max: Interval,
}

/// Confidence intervals of pixel metrics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PixelIntervals {
    /// Interval of [`PixelEvaluation::auroc`].
    pub auroc: Interval,
    /// Interval of [`PixelEvaluation::average_precision`].
    pub average_precision: Interval,
    /// Interval of [`PixelEvaluation::f1_max`].
    pub f1_max: Interval,
    /// Interval of [`PixelEvaluation::iou_max`].
    pub iou_max: Interval,
    /// Interval of [`PixelEvaluation::pro`] with the limit given.
    pub pro: Interval,
}

impl RankedSamples {
    /// Confidence intervals; the metrics of every draw are exact.
    ///
    /// ```
    /// use daf_metrics::{Bootstrap, RankedSamples};
    ///
    /// let samples = RankedSamples::new(&[0.1, 0.4, 0.35, 0.8, 0.3, 0.6], &[false, false, true, true, false, true])?;
    /// let interval = samples.bootstrap(&Bootstrap::default())?.auroc;
    /// assert!(interval.low <= samples.auroc() && samples.auroc() <= interval.high);
    /// # Ok::<(), daf_metrics::Unavailable>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable::InvalidBootstrap`] if a setting is out of its range, [`Unavailable::TooFewSamples`] if
    /// a class has but one sample.
    pub fn bootstrap(&self, settings: &Bootstrap) -> Result<SampleIntervals, Unavailable> {
        let mut keys: Vec<u32> = self
            .normal
            .iter()
            .copied()
            .chain(self.anomalous.iter().map(|k| k.key()))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let bin = |key: u32| below(&keys, key);
        let bins: [Vec<usize>; 2] = [
            self.normal.iter().map(|&k| bin(k)).collect(),
            self.anomalous.iter().map(|k| bin(k.key())).collect(),
        ];
        if bins.iter().any(|b| b.len() < 2) {
            return Err(Unavailable::TooFewSamples);
        }
        let empty: Vec<Bin> = keys.iter().map(|&key| Bin::new(key)).collect();
        let [auroc, average_precision, f1_max] = settings.intervals(|draw| {
            let mut drawn = empty.clone();
            draw.each(bins[0].len(), |i| drawn[bins[0][i]].normal += 1);
            draw.each(bins[1].len(), |i| drawn[bins[1][i]].anomalous += 1);
            let tally = Tally::of(self.totals(), bin_steps(drawn.iter().copied()));
            Some([tally.auroc(), tally.average_precision(), tally.f1_max().f1])
        })?;
        Ok(SampleIntervals {
            auroc,
            average_precision,
            f1_max,
        })
    }
}

impl PixelEvaluation {
    /// Confidence intervals over images, whose pixels and regions are drawn together; PRO up to `limit`.
    ///
    /// Ranking the pixels of every draw would take minutes. Instead the pixels of each image are counted
    /// between the thresholds of [`curve`](Self::curve), which lose little: both ends of an interval are
    /// moved by the difference between the exact value and the one from these counts, where all images are
    /// drawn once. An image counts as anomalous if its mask has an anomalous pixel.
    ///
    /// ```
    /// use daf_metrics::{Bootstrap, PixelMaps};
    ///
    /// let mut maps = PixelMaps::new();
    /// for heat in [0.9, 0.2, 0.7] {
    ///     maps.push(&[heat, 0.3, 0.1], &[1u8, 0, 0], 3, 1)?;
    /// }
    /// let interval = maps.evaluate().bootstrap(0.3, &Bootstrap::default())?.auroc;
    /// assert!(interval.low < 0.9 && interval.high == 1.0);
    /// # Ok::<(), daf_metrics::Unavailable>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those that [`PixelEvaluation`] names; [`Unavailable::InvalidLimit`] unless `limit` is in `(0, 1]`;
    /// [`Unavailable::InvalidBootstrap`] if a setting is out of its range; [`Unavailable::TooFewSamples`] if
    /// there is but one anomalous or one normal image.
    pub fn bootstrap(&self, limit: f64, settings: &Bootstrap) -> Result<PixelIntervals, Unavailable> {
        let ranking = self.ranking()?;
        let exact = [
            ranking.tally.auroc(),
            ranking.tally.average_precision(),
            ranking.tally.f1_max().f1,
            ranking.tally.iou_max().iou,
            self.pro(limit)?,
        ];
        let mut keys: Vec<u32> = ranking.vertices.iter().map(|v| v.key).collect();
        keys.push(key_range(&self.maps.maps).1);
        keys.sort_unstable();
        keys.dedup();
        let (anomalous, normal): (Vec<_>, Vec<_>) = self
            .maps
            .maps
            .par_iter()
            .map(|m| (m.is_anomalous(), u64::from(m.regions), counts(m, &keys)))
            .partition(|m| m.0);
        // Without a normal image the draw is one of anomalous images alone.
        if anomalous.len() < 2 || normal.len() == 1 {
            return Err(Unavailable::TooFewSamples);
        }
        let measure = |chosen: &mut dyn Iterator<Item = (u32, &(bool, u64, Vec<Count>))>| {
            let mut bins: Vec<Bin> = keys.iter().map(|&key| Bin::new(key)).collect();
            let mut totals = Totals {
                normal: 0,
                anomalous: 0,
                regions: 0,
            };
            for (times, (_, regions, counts)) in chosen.filter(|c| c.0 > 0) {
                totals.regions += u64::from(times) * regions;
                for (bin, count) in bins.iter_mut().zip(counts) {
                    bin.normal += u64::from(times) * u64::from(count.normal);
                    bin.anomalous += u64::from(times) * u64::from(count.anomalous);
                    bin.overlap += f64::from(times) * count.overlap;
                }
            }
            for bin in &bins {
                totals.normal += bin.normal;
                totals.anomalous += bin.anomalous;
            }
            let steps = || bin_steps(bins.iter().copied());
            let tally = Tally::of(totals, steps());
            let until = limit * totals.normal as f64;
            let pro = OverlapArea::of(0.0..until, steps()) / (until * totals.regions as f64);
            // Anomalous images may be so through and through, and by chance none but those drawn.
            (totals.normal > 0).then(|| {
                let (f1, iou) = (tally.f1_max().f1, tally.iou_max().iou);
                [tally.auroc(), tally.average_precision(), f1, iou, pro]
            })
        };
        let counted = measure(&mut normal.iter().chain(&anomalous).map(|m| (1, m))).unwrap_or(exact);
        let mut intervals = settings.intervals(|draw| {
            let times = [&normal, &anomalous].map(|class| {
                let mut times = vec![0u32; class.len()];
                draw.each(class.len(), |i| times[i] += 1);
                times
            });
            let chosen = [(&times[0], &normal), (&times[1], &anomalous)];
            measure(
                &mut chosen
                    .into_iter()
                    .flat_map(|(times, maps)| times.iter().copied().zip(maps)),
            )
        })?;
        for (interval, (exact, counted)) in intervals.iter_mut().zip(exact.iter().zip(counted)) {
            for end in [&mut interval.low, &mut interval.high] {
                *end = (*end + (exact - counted)).clamp(0.0, 1.0);
            }
        }
        let [auroc, average_precision, f1_max, iou_max, pro] = intervals;
        Ok(PixelIntervals {
            auroc,
            average_precision,
            f1_max,
            iou_max,
            pro,
        })
    }
}

/// Pixels of a map between two thresholds.
#[derive(Clone, Copy)]
struct Count {
    normal: u32,
    anomalous: u32,
    overlap: f64,
}

/// Counts of a map after each key up to and including the next.
fn counts(map: &RankedMap, keys: &[u32]) -> Vec<Count> {
    let (mut n, mut a) = (0, 0);
    keys.iter()
        .map(|&key| {
            let normal = below(&map.normal[n..], key + 1);
            let anomalous = below(&map.anomalous.keys[a..], key + 1);
            let mut overlap = Sum::default();
            let pixels = map.anomalous.pixels(a..a + anomalous);
            pixels.for_each(|p| overlap.add(share(p)));
            (n, a) = (n + normal, a + anomalous);
            Count {
                normal: normal as u32,
                anomalous: anomalous as u32,
                overlap: overlap.value(),
            }
        })
        .collect()
}

/// Random numbers of one resample.
struct Draw(ChaCha8Rng);

impl Draw {
    /// Draws `count` indices below `count`, with replacement.
    fn each(&mut self, count: usize, mut chosen: impl FnMut(usize)) {
        for _ in 0..count {
            chosen(self.0.random_range(0..count as u64) as usize);
        }
    }
}

impl Bootstrap {
    /// Intervals of several statistics; a resample without a value is left out.
    fn intervals<const N: usize>(
        &self,
        statistics: impl Fn(&mut Draw) -> Option<[f64; N]> + Sync,
    ) -> Result<[Interval; N], Unavailable> {
        if self.resamples == 0 || !(self.level > 0.0 && self.level < 1.0) {
            return Err(Unavailable::InvalidBootstrap);
        }
        let draws: Vec<[f64; N]> = (0..self.resamples)
            .into_par_iter()
            .filter_map(|i| {
                let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
                rng.set_stream(u64::from(i));
                statistics(&mut Draw(rng))
            })
            .collect();
        if draws.is_empty() {
            return Err(Unavailable::TooFewSamples);
        }
        let outside = (1.0 - self.level) / 2.0;
        Ok(std::array::from_fn(|n| {
            let mut values: Vec<f64> = draws.iter().map(|d| d[n]).collect();
            values.sort_unstable_by(f64::total_cmp);
            Interval {
                low: quantile(&values, outside),
                high: quantile(&values, 1.0 - outside),
            }
        }))
    }
}
