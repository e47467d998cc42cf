use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::curve::{Thinning, Vertex};
use crate::key::{advance, below, share, sort};
use crate::ranked::RankedMap;
use crate::unavailable::Unavailable;
use crate::walk::{OverlapArea, Step, Sum, Tally, Totals, steps};

/// Pixels that are ranked together, about; with their scratch they fit the second-level cache.
const BUCKET: usize = 1 << 16;
/// Upper bound of the number of buckets, beyond which they grow: every map keeps its place in every bucket.
const MOST_BUCKETS: u64 = 1024;
/// Sampling interval of the pixels that decide where buckets end.
const STRIDE: usize = 512;

/// The pixels of many ranked maps in one descending order, without ever having all of them in one place.
///
/// The scores are cut into buckets of about [`BUCKET`] pixels. As every map is sorted, what falls into a
/// bucket is a stretch of each map: it is gathered, sorted, walked, and forgotten but for the sums below. The
/// cuts follow from the scores alone and the sums are added in order, so the number of threads does not show
/// in any result.
#[derive(Debug, Clone)]
pub(crate) struct Ranking {
    pub(crate) totals: Totals,
    pub(crate) tally: Tally,
    /// Vertices of the curves, from the first anomalous score on.
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
    /// Area under the overlap before it, in false positives times regions, and the overlap reached, in
    /// regions.
    area: f64,
    overlap: f64,
}

impl Ranking {
    /// Ranks maps that have pixels of both classes and finite scores only.
    pub(crate) fn new(maps: &[Arc<RankedMap>], totals: Totals) -> Self {
        let cuts = cuts(maps, totals);
        // Once along each map instead of a search from scratch for every bucket in every map.
        let places: Vec<Places> = maps.par_iter().map(|m| Places::new(m, &cuts)).collect();
        let walked: Vec<Walked> = (1..cuts.len())
            .into_par_iter()
            .map_init(Buffers::default, |buffers, end| {
                Walked::new(maps, totals, &places, &cuts, end, buffers)
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

    /// Area under the mean overlap of the regions over the false-positive rate, from 0 to `limit`, divided by
    /// `limit`. Only the bucket in which the limit lies is walked once more.
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
        let stretches = maps.iter().map(|m| {
            let anomalous = stretch(&m.anomalous.keys, bucket.keys);
            (
                &m.normal[stretch(&m.normal, bucket.keys)],
                m.anomalous.pixels(anomalous),
            )
        });
        let within = bucket.with_steps(stretches, &mut buffers, |steps| {
            OverlapArea::of(bucket.fp as f64..limit, steps)
        });
        let area = bucket.area + (limit - bucket.fp as f64) * bucket.overlap + within;
        Ok((area / (limit * self.totals.regions as f64)).clamp(0.0, 1.0))
    }
}

/// Sums over a bucket; overlap and area count from 0 at its start.
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
    /// The bucket before the cut `end`.
    fn new(
        maps: &[Arc<RankedMap>],
        totals: Totals,
        places: &[Places],
        cuts: &[u32],
        end: usize,
        buffers: &mut Buffers,
    ) -> Self {
        let keys = (cuts[end - 1], cuts[end]);
        let (mut fp, mut tp, mut fp_end) = (0, 0, 0);
        for p in places {
            fp += u64::from(p.normal[end - 1]);
            tp += u64::from(p.anomalous[end - 1]);
            fp_end += u64::from(p.normal[end]);
        }
        let stretches = maps.iter().zip(places).map(|(m, p)| {
            let of = |places: &[u32]| places[end - 1] as usize..places[end] as usize;
            (&m.normal[of(&p.normal)], m.anomalous.pixels(of(&p.anomalous)))
        });
        let bucket = Bucket {
            keys,
            fp,
            tp,
            area: 0.0,
            overlap: 0.0,
        };
        let (mut tally, mut thinning) = (Tally::new(totals), Thinning::new(totals));
        let mut area = OverlapArea::new(fp as f64..fp_end as f64);
        bucket.with_steps(stretches, buffers, |steps| {
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
            fp: fp_end - fp,
            area: area.value(),
            overlap: area.overlap().value(),
        }
    }
}

impl Bucket {
    /// Walks the steps of the bucket, given the stretches of the maps in it.
    fn with_steps<'a, A: Iterator<Item = u64>, T>(
        &self,
        stretches: impl Iterator<Item = (&'a [u32], A)>,
        buffers: &mut Buffers,
        walk: impl FnOnce(&mut dyn Iterator<Item = Step>) -> T,
    ) -> T {
        let Self { keys, fp, tp, .. } = *self;
        if keys.1 - keys.0 == 1 {
            // All of one score, and perhaps very many.
            return walk(&mut self.tie(stretches).into_iter());
        }
        let Buffers {
            normal,
            anomalous,
            normal_scratch,
            anomalous_scratch,
        } = buffers;
        normal.clear();
        anomalous.clear();
        for (n, a) in stretches {
            normal.extend_from_slice(n);
            anomalous.extend(a);
        }
        sort(normal, normal_scratch);
        sort(anomalous, anomalous_scratch);
        walk(&mut steps(normal, anomalous, fp, tp))
    }

    /// The step of a bucket of one score, unless all in it are normal.
    fn tie<'a, A: Iterator<Item = u64>>(
        &self,
        stretches: impl Iterator<Item = (&'a [u32], A)>,
    ) -> Option<Step> {
        let (mut fp, mut tp, mut overlap) = (self.fp, self.tp, Sum::default());
        for (normal, anomalous) in stretches {
            fp += normal.len() as u64;
            for pixel in anomalous {
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

/// Numbers of pixels of a map before each cut.
struct Places {
    normal: Vec<u32>,
    anomalous: Vec<u32>,
}

impl Places {
    fn new(map: &RankedMap, cuts: &[u32]) -> Self {
        Self {
            normal: places(&map.normal, cuts),
            anomalous: places(&map.anomalous.keys, cuts),
        }
    }
}

fn places(sorted: &[u32], cuts: &[u32]) -> Vec<u32> {
    let mut at = 0;
    cuts.iter()
        .map(|&cut| {
            at = advance(sorted, at, |k| k < cut);
            at as u32
        })
        .collect()
}

#[derive(Default)]
struct Buffers {
    normal: Vec<u32>,
    anomalous: Vec<u64>,
    normal_scratch: Vec<u32>,
    anomalous_scratch: Vec<u64>,
}

/// The index range between two keys.
fn stretch(sorted: &[u32], keys: (u32, u32)) -> Range<usize> {
    let start = below(sorted, keys.0);
    start..start + below(&sorted[start..], keys.1)
}

/// Keys at which buckets start, and at the end one more than the last key. A score that fills a bucket of its
/// own gets one.
fn cuts(maps: &[Arc<RankedMap>], totals: Totals) -> Vec<u32> {
    let bucket = BUCKET.max(((totals.normal + totals.anomalous) / MOST_BUCKETS) as usize);
    let (mut sample, mut skip) = (Vec::new(), 0);
    for map in maps {
        take_every(&map.normal, &mut skip, &mut sample);
        take_every(&map.anomalous.keys, &mut skip, &mut sample);
    }
    sort(&mut sample, &mut Vec::new());
    let mut cuts = vec![0];
    let mut last = 0;
    for &key in sample.iter().step_by(bucket / STRIDE).skip(1) {
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

/// Every [`STRIDE`]-th of all slices it is called with one after the other, so that many short ones count as
/// much as a long one. `skip` is how many of the next slice come first.
fn take_every(sorted: &[u32], skip: &mut usize, sample: &mut Vec<u32>) {
    let mut at = *skip;
    while let Some(&key) = sorted.get(at) {
        sample.push(key);
        at += STRIDE;
    }
    *skip = at - sorted.len();
}
