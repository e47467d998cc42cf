use serde::{Deserialize, Serialize};

use crate::key::score;
use crate::walk::{Step, Sum, Totals};

/// Operating point of a threshold: a point of the ROC, the precision-recall and the PRO curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// A score of at least this much counts as anomalous.
    pub threshold: f32,
    /// False-positive rate, `0..=1`: abscissa of ROC and PRO.
    pub fpr: f64,
    /// True-positive rate or recall, `0..=1`: ordinate of ROC, abscissa of the precision-recall curve.
    pub tpr: f64,
    /// Precision, `0..=1`; 1 where nothing counts as anomalous.
    pub precision: f64,
    /// Covered share of a region, averaged over the regions, `0..=1`: ordinate of PRO. Among samples that are
    /// not pixels every anomalous one is a region of its own, and this equals `tpr`.
    pub overlap: f64,
}

/// A vertex of the exact curves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Vertex {
    pub(crate) key: u32,
    pub(crate) fp: u64,
    pub(crate) tp: u64,
    /// Sum over the regions.
    pub(crate) overlap: f64,
}

/// Leaves out vertices of a curve so that it keeps its shape.
///
/// A vertex is left out only between two that stay and differ by less than 1/100 in each of the rates and in
/// the overlap, and by less than a quarter in the number of predicted positives, so less than that in
/// precision. All of them only grow along the curve. Hence at most 2·(300 + log₁.₂₅ of the number of samples)
/// + 2 stay.
pub(crate) struct Thinning {
    totals: Totals,
    kept: Vec<Vertex>,
    /// The last one seen, unless kept.
    last: Option<Vertex>,
}

const RESOLUTION: f64 = 0.01;
const PREDICTED_RATIO: f64 = 1.25;

impl Thinning {
    pub(crate) fn new(totals: Totals) -> Self {
        Self {
            totals,
            kept: Vec::new(),
            last: None,
        }
    }

    pub(crate) fn add(&mut self, vertex: Vertex) {
        let same = |v: &Vertex| (v.fp, v.tp) == (vertex.fp, vertex.tp);
        if self.last.as_ref().or(self.kept.last()).is_some_and(same) {
            return;
        }
        if self.kept.last().is_none_or(|k| self.far(k, &vertex)) {
            // The one before as well: a long straight line stays one.
            self.kept.extend(self.last.take());
            self.kept.push(vertex);
        } else {
            self.last = Some(vertex);
        }
    }

    /// Adds the two ends of a step: the corner of the horizontal line before it, and what its score brings.
    pub(crate) fn step(&mut self, step: &Step, before: Sum, after: Sum) {
        self.add(Vertex {
            key: step.above,
            fp: step.fp.0,
            tp: step.tp.0,
            overlap: before.value(),
        });
        self.add(Vertex {
            key: step.key,
            fp: step.fp.1,
            tp: step.tp.1,
            overlap: after.value(),
        });
    }

    fn far(&self, a: &Vertex, b: &Vertex) -> bool {
        let Totals {
            normal,
            anomalous,
            regions,
        } = self.totals;
        (b.fp - a.fp) as f64 >= RESOLUTION * normal as f64
            || (b.tp - a.tp) as f64 >= RESOLUTION * anomalous as f64
            || b.overlap - a.overlap >= RESOLUTION * regions as f64
            || (b.fp + b.tp) as f64 >= PREDICTED_RATIO * (a.fp + a.tp) as f64
    }

    pub(crate) fn finish(mut self) -> Vec<Vertex> {
        self.kept.extend(self.last);
        self.kept
    }
}

/// The vertices of all steps, thinned, from (0, 0) on; the overlap counts from 0 at the first step.
pub(crate) fn thinned(totals: Totals, steps: impl Iterator<Item = Step>) -> Vec<Vertex> {
    let mut thinning = Thinning::new(totals);
    let mut overlap = Sum::default();
    for step in steps {
        let before = overlap;
        overlap.add(step.overlap);
        thinning.step(&step, before, overlap);
    }
    thinning.finish()
}

/// The points of thinned vertices, closed by (0, 0) and (1, 1); `keys` are those of the highest and lowest
/// score.
pub(crate) fn points(totals: Totals, vertices: Vec<Vertex>, keys: (u32, u32)) -> Vec<OperatingPoint> {
    let origin = vertices.first().filter(|v| v.fp + v.tp > 0).map(|_| Vertex {
        // Just above all scores.
        key: keys.0 - 1,
        fp: 0,
        tp: 0,
        overlap: 0.0,
    });
    let end = vertices.last().filter(|v| v.fp < totals.normal).map(|v| Vertex {
        key: keys.1,
        fp: totals.normal,
        ..*v
    });
    origin
        .into_iter()
        .chain(vertices)
        .chain(end)
        .map(|v| OperatingPoint {
            threshold: score(v.key),
            fpr: v.fp as f64 / totals.normal as f64,
            tpr: v.tp as f64 / totals.anomalous as f64,
            precision: if v.tp + v.fp == 0 {
                1.0
            } else {
                v.tp as f64 / (v.tp + v.fp) as f64
            },
            overlap: (v.overlap / totals.regions as f64).clamp(0.0, 1.0),
        })
        .collect()
}
