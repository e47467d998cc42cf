use std::sync::Arc;

use daf_core::block::Blocks;
use daf_core::{BoxError, Comparator, Comparison, DiscrepancyMeasure, Fit, NormalFeatures, Stage, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Cosine, Ssim};

/// The sum of several measures: losses keep their names, maps are added (paper, eq. 4 and 5).
///
/// A map of one channel is added to every channel of the others.
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
    fn channels(&self, features: i64) -> i64 {
        self.of
            .iter()
            .map(|measure| measure.channels(features))
            .max()
            .unwrap_or(1)
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
    fn compare(
        &self,
        stage: usize,
        teacher: &Tensor,
        student: &Tensor,
        normal: Option<&Tensor>,
    ) -> Comparison {
        let terms = self.0.iter();
        let found = terms.map(|term| term.compare(stage, teacher, student, normal));
        let sum = found.reduce(|mut sum, part| {
            // Not in place: a map of one channel grows.
            sum.map = part.map + sum.map;
            sum.losses.extend(part.losses);
            sum
        });
        // `check` refuses an empty sum; without it, nothing differs.
        sum.unwrap_or_else(|| Comparison {
            map: teacher.narrow(1, 0, 1).zeros_like(),
            losses: Vec::new(),
        })
    }

    fn fit(&mut self, when: Fit, features: &dyn NormalFeatures) -> Result<bool, BoxError> {
        let mut changed = false;
        for term in &mut self.0 {
            changed |= term.fit(when, features)?;
        }
        Ok(changed)
    }
}
