use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::key::below;
use crate::pixels::PixelMaps;
use crate::ranked::RankedMap;
use crate::unavailable::Unavailable;
use crate::walk::Sum;

/// The limits of the shared false-positive rate in the paper: 1e-5 to 1e-4.
pub const AUPIMO_LIMITS: (f64, f64) = (1e-5, 1e-4);

/// Area under the per-image overlap of every anomalous image; see [`PixelMaps::aupimo`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aupimo {
    /// For each map in order its value in `[0, 1]`; `None` for normal images.
    pub images: Vec<Option<f64>>,
    /// Mean over the anomalous images.
    pub mean: f64,
}

impl Aupimo {
    /// The value that a share of the anomalous images does not exceed, between two by interpolation: 0.5 is
    /// the median. Shares outside of `0..=1` count as the nearer end.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut values: Vec<f64> = self.images.iter().flatten().copied().collect();
        values.sort_unstable_by(f64::total_cmp);
        quantile(&values, share)
    }
}

/// Quantile of sorted values, linearly interpolated; NaN if there are none.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

/// Jump of the shared false-positive rate at the score of a normal pixel: before it and at it.
struct Jump {
    key: u32,
    before: f64,
    at: f64,
}

impl PixelMaps {
    /// AUPIMO (Bertoldo et al., "AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High Speed and
    /// Low Tolerance", BMVC 2024), exact: for each anomalous image the mean of its pixel recall over the
    /// logarithm of the shared false-positive rate between two limits, usually [`AUPIMO_LIMITS`].
    ///
    /// The shared rate at a threshold is the mean over the normal images of their false-positive rates. Every
    /// score of a normal pixel is a threshold, where the published code takes 300,000 evenly spaced ones.
    /// Between two thresholds the recall at a rate is that reached before the rate jumps; where anomalous and
    /// normal pixels tie, it grows linearly with the rate, as AUROC and PRO have it. Images whose mask has no
    /// anomalous pixel are the normal ones.
    ///
    /// ```
    /// use daf_metrics::PixelMaps;
    ///
    /// let mut maps = PixelMaps::new();
    /// maps.push(&[0.1, 0.2, 0.3, 0.4], &[0u8; 4], 2, 2)?; // false-positive rates of 0, 1/4, 1/2, …
    /// maps.push(&[0.5, 0.0, 0.0, 0.0], &[1u8, 1, 0, 0], 2, 2)?; // one of two pixels above all of those
    /// let aupimo = maps.aupimo((0.25, 0.5))?;
    /// assert_eq!((aupimo.images.as_slice(), aupimo.mean), (&[None, Some(0.5)][..], 0.5));
    /// # Ok::<(), daf_metrics::Unavailable>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable::NoMask`] without any map, [`Unavailable::NonFiniteScores`],
    /// [`Unavailable::NoAnomalousPixel`], [`Unavailable::NoNormalImage`]; [`Unavailable::InvalidLimit`]
    /// unless 0 < lower < upper ≤ 1; [`Unavailable::TooFewThresholds`] if already one normal pixel exceeds
    /// the upper limit.
    pub fn aupimo(&self, limits: (f64, f64)) -> Result<Aupimo, Unavailable> {
        let (lower, upper) = limits;
        if !(lower > 0.0 && lower < upper && upper <= 1.0) {
            return Err(Unavailable::InvalidLimit);
        }
        match self.totals() {
            // It takes normal images, whatever the normal pixels of the anomalous ones.
            Ok(_) | Err(Unavailable::NoNormalPixel) => {}
            Err(reason) => return Err(reason),
        }
        let normals = || self.maps.iter().filter(|m| !m.is_anomalous() && m.pixels() > 0);
        if normals().next().is_none() {
            return Err(Unavailable::NoNormalImage);
        }
        let jumps = jumps(&normals().map(|m| &*m.normal).collect::<Vec<_>>(), upper);
        if jumps.first().is_none_or(|j| j.at > upper) {
            return Err(Unavailable::TooFewThresholds);
        }
        let images: Vec<Option<f64>> = self
            .maps
            .par_iter()
            .map(|m| m.is_anomalous().then(|| area(m, &jumps, limits)))
            .collect();
        let (mut sum, mut count) = (Sum::default(), 0);
        for value in images.iter().flatten() {
            sum.add(*value);
            count += 1;
        }
        Ok(Aupimo {
            images,
            mean: sum.value() / f64::from(count),
        })
    }
}

/// The jumps of the shared rate at the distinct scores of normal images, until it exceeds the limit.
fn jumps(images: &[&[u32]], limit: f64) -> Vec<Jump> {
    let count = images.len();
    let mut scores = Vec::new();
    for image in images {
        // One image can be responsible for the whole mean, and no more of it can matter.
        let most = (limit * image.len() as f64 * count as f64).ceil() as usize + 1;
        let mut start = 0;
        while let Some(&key) = image.get(start).filter(|_| start < most) {
            let tied = below(&image[start..], key + 1);
            scores.push((key, tied, image.len()));
            start += tied;
        }
    }
    scores.sort_by_key(|s| s.0);
    let equal = images.iter().all(|i| i.len() == images[0].len());
    let all = (images[0].len() * count) as f64;
    let (mut jumps, mut sum, mut before) = (Vec::new(), Sum::default(), 0.0);
    let mut seen = 0;
    for tied in scores.chunk_by(|a, b| a.0 == b.0) {
        for &(_, pixels, of) in tied {
            seen += pixels;
            sum.add(pixels as f64 / of as f64);
        }
        let at = if equal {
            // Without any rounding, so that a rate equals a limit where it should.
            seen as f64 / all
        } else {
            sum.value() / count as f64
        };
        let at = at.min(1.0);
        jumps.push(Jump {
            key: tied[0].0,
            before,
            at,
        });
        if at >= limit {
            break;
        }
        before = at;
    }
    jumps
}

/// Mean of the recall over the logarithm of the rate.
fn area(map: &RankedMap, jumps: &[Jump], (lower, upper): (f64, f64)) -> f64 {
    let total = map.anomalous.keys.len() as f64;
    let mut area = Sum::default();
    for jump in jumps.iter().filter(|j| j.at > lower) {
        let (from, to) = (jump.before.max(lower), jump.at.min(upper));
        let above = below(&map.anomalous.keys, jump.key);
        let tied = below(&map.anomalous.keys[above..], jump.key + 1);
        let (recall, gain) = (above as f64 / total, tied as f64 / total);
        // The integral over the logarithm of a line through (before, recall) and (at, recall + gain).
        let slope = gain / (jump.at - jump.before);
        area.add((recall - slope * jump.before) * (to / from).ln());
        area.add(slope * (to - from));
    }
    (area.value() / (upper / lower).ln()).clamp(0.0, 1.0)
}
