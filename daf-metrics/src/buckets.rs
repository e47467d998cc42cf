use std::sync::Arc;

use rayon::prelude::*;

use crate::curve::{Thinning, Vertex};
use crate::key::{Keyed, below, share, sort};
use crate::pixels::RankedMap;
use crate::unavailable::Unavailable;
use crate::walk::{OverlapArea, Step, Sum, Tally, Totals, steps};

/// About as many pixels are ranked together; with their scratch they fit the second-level cache.
const BUCKET: usize = 1 << 16;
/// One of so many pixels helps to decide where one bucket ends and the next begins.
const STRIDE: usize = 512;

/// The pixels of many ranked maps in one descending order, without ever having all of them in one place.
///
/// The scores are cut into buckets of about [`BUCKET`] pixels. As every map is sorted, what falls into a bucket is a
/// stretch of each map: it is gathered, sorted, walked, and forgotten but for the sums below. The cuts follow from
/// the scores alone and the sums are added in order, so the number of threads does not show in any result.
#[derive(Debug, Clone)]
pub(crate) struct Ranking {
    pub(crate) totals: Totals,
    pub(crate) tally: Tally,
    /// Of the curves, from the first anomalous score on.
    pub(crate) vertices: Vec<Vertex>,
    buckets: Vec<Bucket>,
}

/// A stretch of scores.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Keys from the first up to, but without, the second.
    keys: (u32, u32),
    /// False and true positives before it.
    fp: u64,
    tp: u64,
    /// Area under the overlap before it, in false positives times regions, and the overlap reached, in regions.
    area: f64,
    overlap: f64,
}

impl Ranking {
    /// Of maps that have pixels of both classes and finite scores only.
    pub(crate) fn new(maps: &[Arc<RankedMap>], totals: Totals) -> Self {
        let walked: Vec<Walked> = cuts(maps)
            .par_windows(2)
            .map_init(Buffers::default, |buffers, cut| {
                Walked::new(maps, totals, (cut[0], cut[1]), buffers)
            })
            .collect();
        let (mut tally, mut thinning) = (Tally::new(totals), Thinning::new(totals));
        let (mut area, mut overlap) = (Sum::default(), Sum::default());
        let mut buckets = Vec::with_capacity(walked.len());
        for mut one in walked {
            let reached = overlap.value();
            one.bucket.area = area.value();
            one.bucket.overlap = reached;
            area.add(one.fp as f64 * reached);
            area.add(one.area);
            overlap.add(one.overlap);
            tally.append(&one.tally);
            for v in one.vertices {
                thinning.add(Vertex {
                    overlap: reached + v.overlap,
                    ..v
                });
            }
            buckets.push(one.bucket);
        }
        Self {
            totals,
            tally,
            vertices: thinning.finish(),
            buckets,
        }
    }

    /// Area under the mean overlap of the regions over the false-positive rate, from 0 to `limit`, divided by `limit`.
    /// Only the bucket in which the limit lies is walked once more.
    pub(crate) fn pro(&self, maps: &[Arc<RankedMap>], limit: f64) -> Result<f64, Unavailable> {
        if !(limit > 0.0 && limit <= 1.0) {
            return Err(Unavailable::InvalidLimit);
        }
        let limit = limit * self.totals.normal as f64;
        let after = self.buckets.partition_point(|b| b.fp as f64 <= limit);
        // The first bucket has none before it.
        let Some(bucket) = after.checked_sub(1).map(|last| &self.buckets[last]) else {
            return Ok(0.0);
        };
        let mut buffers = Buffers::default();
        let within = bucket.with_steps(maps, &mut buffers, |steps| {
            OverlapArea::of(bucket.fp as f64..limit, steps)
        });
        let area = bucket.area + (limit - bucket.fp as f64) * bucket.overlap + within;
        Ok((area / (limit * self.totals.regions as f64)).clamp(0.0, 1.0))
    }
}

/// A bucket, and what walking it gave; overlap and area count from 0 at its start.
struct Walked {
    bucket: Bucket,
    tally: Tally,
    vertices: Vec<Vertex>,
    /// Normal pixels in it.
    fp: u64,
    area: f64,
    overlap: f64,
}

impl Walked {
    fn new(maps: &[Arc<RankedMap>], totals: Totals, keys: (u32, u32), buffers: &mut Buffers) -> Self {
        let count = |key| {
            maps.iter().fold((0, 0), |(fp, tp), m| {
                (
                    fp + below(&m.normal, key) as u64,
                    tp + below(&m.anomalous, key) as u64,
                )
            })
        };
        let ((fp, tp), end) = (count(keys.0), count(keys.1));
        let bucket = Bucket {
            keys,
            fp,
            tp,
            area: 0.0,
            overlap: 0.0,
        };
        let (mut tally, mut thinning) = (Tally::new(totals), Thinning::new(totals));
        let mut area = OverlapArea::new(fp as f64..end.0 as f64);
        bucket.with_steps(maps, buffers, |steps| {
            for step in steps {
                let before = area.overlap();
                area.add(&step);
                tally.add(&step);
                thinning.step(&step, before, area.overlap());
            }
        });
        Self {
            bucket,
            tally,
            vertices: thinning.finish(),
            fp: end.0 - fp,
            area: area.value(),
            overlap: area.overlap().value(),
        }
    }
}

impl Bucket {
    fn with_steps<T>(
        &self,
        maps: &[Arc<RankedMap>],
        buffers: &mut Buffers,
        walk: impl FnOnce(&mut dyn Iterator<Item = Step>) -> T,
    ) -> T {
        let Self { keys, fp, tp, .. } = *self;
        if keys.1 - keys.0 == 1 {
            // All of one score, and perhaps very many.
            return walk(&mut self.tie(maps).into_iter());
        }
        let Buffers {
            normal,
            anomalous,
            normal_scratch,
            anomalous_scratch,
        } = buffers;
        normal.clear();
        anomalous.clear();
        for map in maps {
            normal.extend_from_slice(stretch(&map.normal, keys));
            anomalous.extend_from_slice(stretch(&map.anomalous, keys));
        }
        sort(normal, normal_scratch);
        sort(anomalous, anomalous_scratch);
        walk(&mut steps(normal, anomalous, fp, tp))
    }

    /// The step of a bucket of one score, unless all in it are normal.
    fn tie(&self, maps: &[Arc<RankedMap>]) -> Option<Step> {
        let (mut fp, mut tp, mut overlap) = (self.fp, self.tp, Sum::default());
        for map in maps {
            fp += stretch(&map.normal, self.keys).len() as u64;
            for &pixel in stretch(&map.anomalous, self.keys) {
                tp += 1;
                overlap.add(share(pixel));
            }
        }
        (tp > self.tp).then_some(Step {
            key: self.keys.0,
            above: self.keys.0 - 1,
            fp: (self.fp, fp),
            tp: (self.tp, tp),
            overlap: overlap.value(),
        })
    }
}

#[derive(Default)]
struct Buffers {
    normal: Vec<u32>,
    anomalous: Vec<u64>,
    normal_scratch: Vec<u32>,
    anomalous_scratch: Vec<u64>,
}

fn stretch<T: Keyed>(sorted: &[T], keys: (u32, u32)) -> &[T] {
    let start = below(sorted, keys.0);
    let rest = &sorted[start..];
    &rest[..below(rest, keys.1)]
}

/// Keys at which buckets start, and at the end one more than the last key. A score that fills a bucket of its own gets
/// one.
fn cuts(maps: &[Arc<RankedMap>]) -> Vec<u32> {
    let (mut sample, mut skip) = (Vec::new(), 0);
    for map in maps {
        take_every(&map.normal, &mut skip, &mut sample);
        take_every(&map.anomalous, &mut skip, &mut sample);
    }
    sort(&mut sample, &mut Vec::new());
    let mut cuts = vec![0];
    let mut last = 0;
    for &key in sample.iter().step_by(BUCKET / STRIDE).skip(1) {
        if key == last {
            cuts.push(key + 1);
        } else {
            cuts.push(key);
        }
        last = key;
    }
    cuts.push(u32::MAX);
    cuts.dedup();
    cuts
}

/// Every [`STRIDE`]-th of all slices it is called with one after the other, so that many short ones count as much as
/// a long one. `skip` is how many of the next slice come first.
fn take_every<T: Keyed>(sorted: &[T], skip: &mut usize, sample: &mut Vec<u32>) {
    let mut at = *skip;
    while let Some(k) = sorted.get(at) {
        sample.push(k.key());
        at += STRIDE;
    }
    *skip = at - sorted.len();
}

/// Smallest and largest key of a sorted slice; of an empty one a range that widens no other.
pub(crate) fn range_of<T: Keyed>(sorted: &[T]) -> (u32, u32) {
    match (sorted.first(), sorted.last()) {
        (Some(first), Some(last)) => (first.key(), last.key()),
        _ => (u32::MAX, 0),
    }
}
