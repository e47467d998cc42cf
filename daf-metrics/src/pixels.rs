use rayon::prelude::*;

use crate::label::Label;
use crate::pro::RegionRanking;
use crate::ranking::{F1Max, Ranking, key, region_key};
use crate::regions::{Regions, check_shape};
use crate::unavailable::Unavailable;

/// Score maps with their ground-truth masks, collected for [`evaluate`](Self::evaluate).
///
/// Keeps 4 bytes per normal and 8 per anomalous pixel, nothing of the maps themselves. Maps may differ in size. An
/// image without a mask is simply not pushed; a normal image is pushed with a mask of zeros.
///
/// ```
/// use daf_metrics::{PixelMaps, Unavailable};
///
/// let mut maps = PixelMaps::with_capacity(10);
/// maps.push(&[0.9, 0.2, 0.1, 0.3], &[true, false, false, false], 2, 2)?;
/// maps.push(&[0.1, 0.2, 0.0, 0.1, 0.1, 0.2], &[false; 6], 3, 2)?;
/// assert_eq!((maps.images(), maps.pixels(), maps.regions()), (2, 10, 1));
/// assert_eq!(maps.evaluate().average_precision(), Ok(1.0));
/// assert_eq!(PixelMaps::new().evaluate().auroc(), Err(Unavailable::NoMask));
/// # Ok::<(), Unavailable>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct PixelMaps {
    normal: Vec<u32>,
    /// With the index of the region in `areas`.
    anomalous: Vec<u64>,
    areas: Vec<u32>,
    images: usize,
    non_finite: u64,
}

impl PixelMaps {
    /// Without any map yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Without any map yet, with room for this many normal pixels, which avoids regrowing.
    pub fn with_capacity(pixels: usize) -> Self {
        Self {
            normal: Vec::with_capacity(pixels),
            ..Self::default()
        }
    }

    /// Adds one map with its mask, both row by row. Its 8-connected regions join those of the other maps.
    ///
    /// A score that is not finite is accepted here and makes every metric [`Unavailable::NonFiniteScores`].
    ///
    /// # Errors
    ///
    /// [`Unavailable::LengthMismatch`] or [`Unavailable::ShapeMismatch`] if map, mask and size disagree,
    /// [`Unavailable::TooLarge`] beyond `u32::MAX` pixels in this map or regions in all. Then nothing is added.
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
        if mask.iter().any(|l| l.is_anomalous()) {
            let regions = Regions::of(mask, width, height)?;
            let first = self.first_region(regions.areas().len())?;
            let area = regions.areas().iter().map(|&a| a as usize).sum();
            self.anomalous.reserve(area);
            self.normal.reserve(scores.len() - area);
            for (&score, &label) in scores.iter().zip(regions.labels()) {
                if label == 0 {
                    self.normal.push(key(score));
                } else {
                    self.anomalous.push(region_key(score, first + (label - 1)));
                }
            }
            self.areas.extend_from_slice(regions.areas());
        } else {
            self.normal.extend(scores.iter().map(|&s| key(s)));
        }
        self.non_finite += scores.iter().filter(|s| !s.is_finite()).count() as u64;
        self.images += 1;
        Ok(())
    }

    /// Adds all maps of another collection, for instance of another thread. The order does not change any metric.
    ///
    /// # Errors
    ///
    /// [`Unavailable::TooLarge`] beyond `u32::MAX` regions. Then nothing is added.
    pub fn append(&mut self, mut other: Self) -> Result<(), Unavailable> {
        let first = self.first_region(other.areas.len())?;
        self.normal.append(&mut other.normal);
        // The region is the low half of the key, and it stays below u32::MAX.
        self.anomalous
            .extend(other.anomalous.iter().map(|k| k + u64::from(first)));
        self.areas.append(&mut other.areas);
        self.images += other.images;
        self.non_finite += other.non_finite;
        Ok(())
    }

    /// Number of maps pushed.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Number of pixels in all maps.
    pub fn pixels(&self) -> usize {
        self.normal.len() + self.anomalous.len()
    }

    /// Number of 8-connected regions in all masks.
    pub fn regions(&self) -> usize {
        self.areas.len()
    }

    /// Ranks all pixels, once, in place and in parallel on rayon's current pool.
    pub fn evaluate(mut self) -> PixelEvaluation {
        if self.non_finite == 0 {
            rayon::join(
                || self.normal.par_sort_unstable(),
                || self.anomalous.par_sort_unstable(),
            );
        }
        PixelEvaluation { sorted: self }
    }

    /// Index of the first of `more` regions to come.
    fn first_region(&self, more: usize) -> Result<u32, Unavailable> {
        let total = self
            .areas
            .len()
            .checked_add(more)
            .and_then(|n| u32::try_from(n).ok());
        total.map_or(Err(Unavailable::TooLarge), |_| Ok(self.areas.len() as u32))
    }
}

/// The pixels of many maps in the order of their scores; see [`PixelMaps::evaluate`]. All maps are taken together,
/// as one data set.
///
/// # Errors
///
/// Every metric is [`Unavailable`] where no map was pushed, a score is not finite, or all pixels are of one class.
#[derive(Debug, Clone)]
pub struct PixelEvaluation {
    sorted: PixelMaps,
}

impl PixelEvaluation {
    /// Area under the ROC curve over all pixels, as [`auroc`](crate::auroc). In `[0, 1]`.
    ///
    /// # Errors
    ///
    /// As [`PixelEvaluation`] says.
    pub fn auroc(&self) -> Result<f64, Unavailable> {
        Ok(self.ranking()?.auroc())
    }

    /// Step-wise average precision over all pixels, as [`average_precision`](crate::average_precision). In `(0, 1]`.
    ///
    /// # Errors
    ///
    /// As [`PixelEvaluation`] says.
    pub fn average_precision(&self) -> Result<f64, Unavailable> {
        Ok(self.ranking()?.average_precision())
    }

    /// Largest F1 over all thresholds, over all pixels, as [`f1_max`](crate::f1_max).
    ///
    /// # Errors
    ///
    /// As [`PixelEvaluation`] says.
    pub fn f1_max(&self) -> Result<F1Max, Unavailable> {
        Ok(self.ranking()?.f1_max())
    }

    /// Per-region overlap (Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021), exact. In `[0, 1]`.
    ///
    /// The curve has a point for every distinct score and starts at (0, 0): the false-positive rate over all normal
    /// pixels, and the covered share of a region, averaged over all 8-connected regions of the data set with equal
    /// weight. Its area (trapezoid, linear at the limit) from 0 to `limit` is divided by `limit`, never by the last
    /// rate reached. Usual limits are 0.3 and 0.05.
    ///
    /// # Errors
    ///
    /// As [`PixelEvaluation`] says, and [`Unavailable::InvalidLimit`] unless `limit` is in `(0, 1]`.
    pub fn pro(&self, limit: f64) -> Result<f64, Unavailable> {
        self.region_ranking()?.pro(limit)
    }

    /// PRO as the official code of DAF (and RD4AD) computes it, to compare with published figures. In `[0, 1]`.
    ///
    /// 200 thresholds evenly spaced from the smallest score of all maps towards the largest, in float32; points with
    /// a false-positive rate under 0.3 are kept and their rates divided by the largest of them; trapezoid. It differs
    /// from `pro(0.3)` from the second or third digit on.
    ///
    /// # Errors
    ///
    /// As [`PixelEvaluation`] says, [`Unavailable::NoScoreRange`] for constant scores and
    /// [`Unavailable::TooFewThresholds`] where no area is left under the curve.
    pub fn pro_200(&self) -> Result<f64, Unavailable> {
        self.region_ranking()?.pro_200()
    }

    /// Number of maps.
    pub fn images(&self) -> usize {
        self.sorted.images()
    }

    /// Number of pixels in all maps.
    pub fn pixels(&self) -> usize {
        self.sorted.pixels()
    }

    /// Number of 8-connected regions in all masks.
    pub fn regions(&self) -> usize {
        self.sorted.regions()
    }

    fn ranking(&self) -> Result<Ranking<'_>, Unavailable> {
        let PixelMaps {
            normal,
            anomalous,
            images,
            non_finite,
            ..
        } = &self.sorted;
        if *images == 0 {
            Err(Unavailable::NoMask)
        } else if *non_finite > 0 {
            Err(Unavailable::NonFiniteScores { count: *non_finite })
        } else if anomalous.is_empty() {
            Err(Unavailable::NoAnomalousPixel)
        } else if normal.is_empty() {
            Err(Unavailable::NoNormalPixel)
        } else {
            Ok(Ranking { normal, anomalous })
        }
    }

    fn region_ranking(&self) -> Result<RegionRanking<'_>, Unavailable> {
        Ok(RegionRanking {
            ranking: self.ranking()?,
            areas: &self.sorted.areas,
        })
    }
}
