use std::sync::Arc;

use rayon::prelude::*;

use crate::buckets::Ranking;
use crate::curve::{OperatingPoint, points};
use crate::label::Label;
use crate::pro_200::pro_200;
use crate::ranked::{RankedMap, key_range};
use crate::unavailable::Unavailable;
use crate::walk::{F1Max, IouMax, Totals};

/// The maps of a data set or of a part of it; [`evaluate`](Self::evaluate) takes all of them together.
///
/// Maps may differ in size. An image without a mask is simply not pushed; a normal image is pushed with a
/// mask of zeros. Clones and [subsets](Self::subset) share the maps, so that each defect type, each category
/// and each image can be evaluated without a copy of anything.
///
/// ```
/// use daf_metrics::{PixelMaps, Unavailable};
///
/// let mut maps = PixelMaps::new();
/// maps.push(&[0.9, 0.2, 0.1, 0.3], &[true, false, false, false], 2, 2)?;
/// maps.push(&[0.1, 0.2, 0.0, 0.1, 0.1, 0.2], &[false; 6], 3, 2)?;
/// assert_eq!((maps.images(), maps.pixels(), maps.regions()), (2, 10, 1));
/// assert_eq!(maps.evaluate().average_precision(), Ok(1.0));
///
/// let first = maps.subset([0]);
/// assert_eq!(first.evaluate().auroc(), Ok(1.0));
/// assert_eq!(maps.subset([1]).evaluate().auroc(), Err(Unavailable::NoAnomalousPixel));
/// assert_eq!(PixelMaps::new().evaluate().auroc(), Err(Unavailable::NoMask));
/// # Ok::<(), Unavailable>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct PixelMaps {
    pub(crate) maps: Vec<Arc<RankedMap>>,
}

impl PixelMaps {
    /// Without any map yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Without any map yet, with room for this many maps.
    pub fn with_capacity(images: usize) -> Self {
        Self {
            maps: Vec::with_capacity(images),
        }
    }

    /// Ranks a map with its mask and adds it; see [`RankedMap::new`].
    ///
    /// # Errors
    ///
    /// The errors of [`RankedMap::new`]. Then nothing is added.
    pub fn push<L: Label>(
        &mut self,
        scores: &[f32],
        mask: &[L],
        width: usize,
        height: usize,
    ) -> Result<(), Unavailable> {
        self.extend([RankedMap::new(scores, mask, width, height)?]);
        Ok(())
    }

    /// Adds all maps of another collection. The order does not change any metric, up to rounding.
    pub fn append(&mut self, mut other: Self) {
        self.maps.append(&mut other.maps);
    }

    /// Some of the maps, by their place in the order in which they were pushed; shared, not copied. A place
    /// that does not exist is left out, one that is named twice counts twice.
    #[must_use]
    pub fn subset(&self, places: impl IntoIterator<Item = usize>) -> Self {
        let maps = places.into_iter().filter_map(|p| self.maps.get(p).cloned());
        Self { maps: maps.collect() }
    }

    /// Number of maps.
    pub fn images(&self) -> usize {
        self.maps.len()
    }

    /// Number of pixels in all maps.
    pub fn pixels(&self) -> usize {
        self.maps.iter().map(|m| m.pixels()).sum()
    }

    /// Number of 8-connected regions in all masks.
    pub fn regions(&self) -> usize {
        self.maps.iter().map(|m| m.regions as usize).sum()
    }

    /// Ranks the pixels of all maps together, once, in parallel on rayon's current pool and in little memory.
    pub fn evaluate(&self) -> PixelEvaluation {
        PixelEvaluation {
            maps: self.clone(),
            ranking: self.totals().map(|totals| Ranking::new(&self.maps, totals)),
        }
    }

    /// Sizes of the classes, or why no metric is defined.
    pub(crate) fn totals(&self) -> Result<Totals, Unavailable> {
        let sum = |of: fn(&RankedMap) -> usize| self.maps.iter().map(|m| of(m) as u64).sum::<u64>();
        let totals = Totals {
            normal: sum(|m| m.normal.len()),
            anomalous: sum(|m| m.anomalous.keys.len()),
            regions: sum(|m| m.regions as usize),
        };
        totals.check(self.maps.len(), sum(|m| m.non_finite as usize))
    }
}

impl Extend<RankedMap> for PixelMaps {
    fn extend<I: IntoIterator<Item = RankedMap>>(&mut self, maps: I) {
        self.maps.extend(maps.into_iter().map(Arc::new));
    }
}

impl FromIterator<RankedMap> for PixelMaps {
    fn from_iter<I: IntoIterator<Item = RankedMap>>(maps: I) -> Self {
        Self {
            maps: maps.into_iter().map(Arc::new).collect(),
        }
    }
}

impl FromParallelIterator<RankedMap> for PixelMaps {
    fn from_par_iter<I: IntoParallelIterator<Item = RankedMap>>(maps: I) -> Self {
        Self {
            maps: maps.into_par_iter().map(Arc::new).collect(),
        }
    }
}

/// The pixels of many maps ranked together; see [`PixelMaps::evaluate`]. All maps are taken as one data set.
///
/// # Errors
///
/// Every metric is [`Unavailable`] where there is no map, a score is not finite, or all pixels are of one
/// class.
#[derive(Debug, Clone)]
pub struct PixelEvaluation {
    pub(crate) maps: PixelMaps,
    pub(crate) ranking: Result<Ranking, Unavailable>,
}

impl PixelEvaluation {
    /// Area under the ROC curve over all pixels, as [`auroc`](crate::auroc). In `[0, 1]`.
    ///
    /// # Errors
    ///
    /// Those that [`PixelEvaluation`] names.
    pub fn auroc(&self) -> Result<f64, Unavailable> {
        Ok(self.ranking()?.tally.auroc())
    }

    /// Step-wise average precision over all pixels, as [`average_precision`](crate::average_precision). In
    /// `(0, 1]`.
    ///
    /// # Errors
    ///
    /// Those that [`PixelEvaluation`] names.
    pub fn average_precision(&self) -> Result<f64, Unavailable> {
        Ok(self.ranking()?.tally.average_precision())
    }

    /// Largest F1 over all thresholds, over all pixels, as [`f1_max`](crate::f1_max).
    ///
    /// # Errors
    ///
    /// Those that [`PixelEvaluation`] names.
    pub fn f1_max(&self) -> Result<F1Max, Unavailable> {
        Ok(self.ranking()?.tally.f1_max())
    }

    /// Largest intersection over union of the anomalous and the predicted pixels over all thresholds, over
    /// all pixels.
    ///
    /// # Errors
    ///
    /// Those that [`PixelEvaluation`] names.
    pub fn iou_max(&self) -> Result<IouMax, Unavailable> {
        Ok(self.ranking()?.tally.iou_max())
    }

    /// Per-region overlap (Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021), exact. In
    /// `[0, 1]`.
    ///
    /// The curve has a point for every distinct score and starts at (0, 0): the false-positive rate over all
    /// normal pixels, and the covered share of a region, averaged over all 8-connected regions of the data
    /// set with equal weight. Its area (trapezoid, linear at the limit) from 0 to `limit` is divided by
    /// `limit`, never by the last rate reached. Usual limits are 0.3 and 0.05; any costs next to nothing.
    ///
    /// # Errors
    ///
    /// Those that [`PixelEvaluation`] names, and [`Unavailable::InvalidLimit`] unless `limit` is in `(0, 1]`.
    pub fn pro(&self, limit: f64) -> Result<f64, Unavailable> {
        self.ranking()?.pro(&self.maps.maps, limit)
    }

    /// PRO as the official code of DAF (and RD4AD) computes it, to compare with published figures. In
    /// `[0, 1]`.
    ///
    /// 200 thresholds evenly spaced from the smallest score of all maps towards the largest, in float32;
    /// points with a false-positive rate under 0.3 are kept and their rates divided by the largest of them;
    /// trapezoid. It differs from `pro(0.3)` from the second or third digit on.
    ///
    /// # Errors
    ///
    /// Those that [`PixelEvaluation`] names, [`Unavailable::NoScoreRange`] for constant scores and
    /// [`Unavailable::TooFewThresholds`] where no area is left under the curve.
    pub fn pro_200(&self) -> Result<f64, Unavailable> {
        pro_200(&self.maps.maps, self.ranking()?.totals)
    }

    /// The ROC, the precision-recall and the PRO curve in one list of points, from (0, 0) to (1, 1), made for
    /// drawing.
    ///
    /// All are points of the exact curves. What is left out lies between two points that differ by less than
    /// 0.01 in each of `fpr`, `tpr` and `overlap`, and by less than a quarter in the number of predicted
    /// pixels. There are never more than 602 points and 18 for every factor of 10 in the number of pixels,
    /// about 750 in practice at most.
    ///
    /// # Errors
    ///
    /// Those that [`PixelEvaluation`] names.
    pub fn curve(&self) -> Result<Vec<OperatingPoint>, Unavailable> {
        let ranking = self.ranking()?;
        let keys = key_range(&self.maps.maps);
        Ok(points(ranking.totals, ranking.vertices.clone(), keys))
    }

    /// Number of maps.
    pub fn images(&self) -> usize {
        self.maps.images()
    }

    /// Number of pixels in all maps.
    pub fn pixels(&self) -> usize {
        self.maps.pixels()
    }

    /// Number of 8-connected regions in all masks.
    pub fn regions(&self) -> usize {
        self.maps.regions()
    }

    pub(crate) fn ranking(&self) -> Result<&Ranking, Unavailable> {
        self.ranking.as_ref().map_err(|&reason| reason)
    }
}
