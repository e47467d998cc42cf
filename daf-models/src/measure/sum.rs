use std::collections::BTreeMap;
use std::sync::Arc;

use daf_core::block::Blocks;
use daf_core::{
    BoxError, Comparator, Compared, Comparison, DiscrepancyMeasure, Fit, MapSize, NormalFeatures, Stage,
    typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Cosine, Ssim};

/// The sum of several measures: losses keep their names, maps are added (paper, eq. 4 and 5).
///
/// Maps of the same stage are added, one of one channel to every channel of the others; a stage that only one measure has a map for
/// has that one. Residuals of the same stage are joined.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sum {
    /// The measures; at least one.
    pub of: Vec<Arc<dyn DiscrepancyMeasure>>,
}
daf_core::register!(DiscrepancyMeasure: Sum = "sum");

impl Default for Sum {
    fn default() -> Self {
        Self {
            of: vec![Arc::new(Cosine::default()), Arc::new(Ssim::default())],
        }
    }
}

#[typetag::serde(name = Sum::NAME)]
impl DiscrepancyMeasure for Sum {
    fn maps(&self, stages: &[Stage]) -> Vec<MapSize> {
        united(self.of.iter().map(|measure| measure.maps(stages)), i64::max)
    }

    fn residuals(&self, stages: &[Stage]) -> Vec<MapSize> {
        united(self.of.iter().map(|measure| measure.residuals(stages)), |a, b| {
            a + b
        })
    }

    fn needs_student(&self) -> bool {
        self.of.iter().any(|measure| measure.needs_student())
    }

    fn needs_seen(&self) -> bool {
        self.of.iter().any(|measure| measure.needs_seen())
    }

    fn build(&self, blocks: &Blocks, stages: &[Stage]) -> Result<Box<dyn Comparator>, BoxError> {
        let numbered = self.of.iter().zip(1..);
        let built = numbered.map(|(measure, n)| measure.build_checked(&blocks.sub(&n.to_string()), stages));
        Ok(Box::new(Terms(built.collect::<Result<_, _>>()?)))
    }

    fn check(&self) -> Result<(), BoxError> {
        if self.of.is_empty() {
            return Err("`of` is empty: a sum needs at least one measure".into());
        }
        self.of.iter().try_for_each(|measure| measure.check())
    }
}

/// The comparators of a sum.
#[derive(Debug)]
struct Terms(Vec<Box<dyn Comparator>>);

impl Comparator for Terms {
    fn compare(&self, compared: &Compared) -> Result<Vec<Comparison>, BoxError> {
        let mut sums = BTreeMap::new();
        for term in &self.0 {
            for part in term.compare(compared)? {
                let sum = match sums.remove(&part.stage) {
                    Some(sum) => added(sum, part),
                    None => part,
                };
                sums.insert(sum.stage, sum);
            }
        }
        Ok(sums.into_values().collect())
    }

    fn fit(&mut self, when: Fit, features: &dyn NormalFeatures) -> Result<bool, BoxError> {
        let mut changed = false;
        for term in &mut self.0 {
            changed |= term.fit(when, features)?;
        }
        Ok(changed)
    }

    fn kept_patches(&self) -> u64 {
        self.0.iter().map(|term| term.kept_patches()).sum()
    }
}

/// Two comparisons of the same stage as one.
fn added(mut sum: Comparison, part: Comparison) -> Comparison {
    if sum.learned_from.is_some() || part.learned_from.is_some() {
        sum.learned_from = Some(part.guide() + sum.guide());
    }
    // Not in place: a map of one channel grows.
    sum.map = part.map + sum.map;
    sum.residual = match (sum.residual, part.residual) {
        (Some(sum), Some(part)) => Some(Tensor::cat(&[sum, part], 1)),
        (one, other) => one.or(other),
    };
    sum.losses.extend(part.losses);
    sum
}

/// Sizes of several measures by stage, with `join` of the channels where more than one has the stage.
fn united(sizes: impl Iterator<Item = Vec<MapSize>>, join: fn(i64, i64) -> i64) -> Vec<MapSize> {
    let mut united = BTreeMap::new();
    for MapSize { stage, channels } in sizes.flatten() {
        let so_far = united.entry(stage).or_insert(0);
        *so_far = join(*so_far, channels);
    }
    let size = |(stage, channels)| MapSize { stage, channels };
    united.into_iter().map(size).collect()
}
