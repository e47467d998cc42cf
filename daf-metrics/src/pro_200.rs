use std::sync::Arc;

use rayon::prelude::*;

use crate::key::{below, key, score, share};
use crate::ranked::{RankedMap, key_range};
use crate::unavailable::Unavailable;
use crate::walk::{Sum, Totals};

/// PRO as in the official code of DAF (and before it of RD4AD).
pub(crate) fn pro_200(maps: &[Arc<RankedMap>], totals: Totals) -> Result<f64, Unavailable> {
    const LIMIT: f64 = 0.3;
    // From the highest threshold down; only what lies strictly above one is positive.
    let mut thresholds = thresholds(maps)?;
    thresholds.reverse();
    let of_each: Vec<Vec<(u64, f64)>> = maps.par_iter().map(|m| counts(m, &thresholds)).collect();
    let points: Vec<(f64, f64)> = (0..thresholds.len())
        .map(|t| {
            let (mut fp, mut overlap) = (0, Sum::default());
            for counts in &of_each {
                fp += counts[t].0;
                overlap.add(counts[t].1);
            }
            (
                fp as f64 / totals.normal as f64,
                overlap.value() / totals.regions as f64,
            )
        })
        .take_while(|p| p.0 < LIMIT)
        .collect();
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

/// False positives and covered regions of a map at each of the descending thresholds.
fn counts(map: &RankedMap, thresholds: &[f32]) -> Vec<(u64, f64)> {
    let (mut overlap, mut tp) = (Sum::default(), 0);
    thresholds
        .iter()
        .map(|&threshold| {
            let end = below(&map.anomalous.keys, key(threshold));
            let pixels = map.anomalous.pixels(tp..end);
            pixels.for_each(|p| overlap.add(share(p)));
            tp = end;
            (below(&map.normal, key(threshold)) as u64, overlap.value())
        })
        .collect()
}

/// `numpy.arange(min, max, (max - min) / 200)` of float32 scalars in numpy's arithmetic: the step and the
/// second threshold are float32, all thresholds are float64. They are 200, or 201 where the rounding of the
/// step asks for one more.
///
/// A float32 lies above a threshold if it lies above the largest float32 that the threshold reaches, which
/// stands for it.
fn thresholds(maps: &[Arc<RankedMap>]) -> Result<Vec<f32>, Unavailable> {
    let (high, low) = key_range(maps);
    let (max, min) = (score(high), score(low));
    let step = (max - min) / 200.0;
    if !(step > 0.0 && step.is_finite()) {
        return Err(Unavailable::NoScoreRange);
    }
    let count = ((max - min) / step).ceil() as usize;
    let start = f64::from(min);
    let step = f64::from(min + step) - start;
    Ok((0..count)
        .map(|i| rounded_down(start + i as f64 * step))
        .collect())
}

fn rounded_down(number: f64) -> f32 {
    let near = number as f32;
    if f64::from(near) > number {
        near.next_down()
    } else {
        near
    }
}
