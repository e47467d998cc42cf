use std::ops::Range;
use std::sync::Arc;

use crate::key::{Keyed, key, pixel, sort};
use crate::label::Label;
use crate::regions::{Regions, check_shape};
use crate::unavailable::Unavailable;

/// A score map with its mask, ranked: the scores of its normal and of its anomalous pixels, each in
/// descending order.
///
/// 4 bytes per normal and 6 per anomalous pixel; nothing of the map itself is kept. Ranking is the larger
/// part of the work, and maps can be ranked on several threads at once:
///
/// ```
/// use daf_metrics::{PixelMaps, RankedMap, Unavailable};
/// use rayon::prelude::*;
///
/// let images = [([0.1, 0.9], [0u8, 1]), ([0.2, 0.3], [0, 0])];
/// let maps: Result<PixelMaps, Unavailable> =
///     images.par_iter().map(|(scores, mask)| RankedMap::new(scores, mask, 2, 1)).collect();
/// assert_eq!(maps?.evaluate().auroc(), Ok(1.0));
/// # Ok::<(), Unavailable>(())
/// ```
#[derive(Debug, Clone)]
pub struct RankedMap {
    /// Keys, sorted.
    pub(crate) normal: Box<[u32]>,
    pub(crate) anomalous: AnomalousPixels,
    pub(crate) regions: u32,
    pub(crate) non_finite: u32,
}

/// The anomalous pixels of a map, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct AnomalousPixels {
    pub(crate) keys: Box<[u32]>,
    /// Index into `areas` of the region of each pixel.
    which: Box<[u16]>,
    /// The distinct areas of regions: few, so that a pixel takes 6 bytes instead of 8.
    areas: Box<[u32]>,
}

impl AnomalousPixels {
    /// Ranks the pixels in the regions of a map.
    fn new(scores: &[f32], regions: &Regions) -> Result<Self, Unavailable> {
        let mut areas = regions.areas().to_vec();
        areas.sort_unstable();
        areas.dedup();
        // So many different areas take more than 2^31 pixels.
        if areas.len() > 1 << 16 {
            return Err(Unavailable::TooLarge);
        }
        let of_region = regions.areas().iter();
        let of_region: Vec<u32> = of_region
            .map(|a| areas.partition_point(|b| b < a) as u32)
            .collect();
        let mut pixels = Vec::new();
        pixels.reserve_exact(regions.areas().iter().map(|&a| a as usize).sum());
        for (&score, &label) in scores.iter().zip(regions.labels()) {
            if label != 0 {
                pixels.push(pixel(key(score), of_region[label as usize - 1]));
            }
        }
        // In place, for the memory; within one score the order does not matter.
        pixels.sort_unstable();
        Ok(Self {
            keys: pixels.iter().map(|p| p.key()).collect(),
            which: pixels.iter().map(|&p| p as u16).collect(),
            areas: areas.into_boxed_slice(),
        })
    }

    /// The pixels at a range of ranks, each a [`pixel`].
    pub(crate) fn pixels(&self, ranks: Range<usize>) -> impl Iterator<Item = u64> {
        let which = self.which[ranks.clone()].iter();
        let keys = self.keys[ranks].iter();
        keys.zip(which)
            .map(|(&key, &which)| pixel(key, self.areas[usize::from(which)]))
    }
}

impl RankedMap {
    /// Ranks one map with its mask, both row by row, and finds the 8-connected regions of the mask.
    ///
    /// A score that is not finite is accepted here and makes every metric [`Unavailable::NonFiniteScores`].
    ///
    /// # Errors
    ///
    /// [`Unavailable::LengthMismatch`] or [`Unavailable::ShapeMismatch`] if map, mask and size disagree,
    /// [`Unavailable::TooLarge`] beyond `u32::MAX` pixels or 65,536 different areas of regions.
    pub fn new<L: Label>(
        scores: &[f32],
        mask: &[L],
        width: usize,
        height: usize,
    ) -> Result<Self, Unavailable> {
        if scores.len() != mask.len() {
            return Err(Unavailable::LengthMismatch {
                scores: scores.len(),
                labels: mask.len(),
            });
        }
        check_shape(scores.len(), width, height)?;
        let (mut normal, mut anomalous, mut regions) = (Vec::new(), AnomalousPixels::default(), 0);
        if mask.iter().any(|l| l.is_anomalous()) {
            let found = Regions::of(mask, width, height)?;
            anomalous = AnomalousPixels::new(scores, &found)?;
            regions = found.areas().len() as u32;
            normal.reserve_exact(scores.len() - anomalous.keys.len());
            let labeled = scores.iter().zip(found.labels());
            normal.extend(labeled.filter(|(_, label)| **label == 0).map(|(&s, _)| key(s)));
        } else {
            normal.extend(scores.iter().map(|&s| key(s)));
        }
        sort(&mut normal, &mut Vec::new());
        Ok(Self {
            normal: normal.into_boxed_slice(),
            anomalous,
            regions,
            non_finite: scores.iter().filter(|s| !s.is_finite()).count() as u32,
        })
    }

    pub(crate) fn is_anomalous(&self) -> bool {
        !self.anomalous.keys.is_empty()
    }

    pub(crate) fn pixels(&self) -> usize {
        self.normal.len() + self.anomalous.keys.len()
    }
}

/// Keys of the highest and the lowest score of all maps.
pub(crate) fn key_range(maps: &[Arc<RankedMap>]) -> (u32, u32) {
    let sorted = maps.iter().flat_map(|m| [&m.normal, &m.anomalous.keys]);
    sorted.fold((u32::MAX, 0), |(low, high), keys| {
        match (keys.first(), keys.last()) {
            (Some(&first), Some(&last)) => (low.min(first), high.max(last)),
            _ => (low, high),
        }
    })
}
