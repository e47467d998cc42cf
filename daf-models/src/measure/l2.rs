use daf_core::block::Blocks;
use daf_core::{BoxError, Comparator, Compared, Comparison, DiscrepancyMeasure, Stage, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Half the squared distance between the feature vectors of teacher and student, each divided by its length.
///
/// The measure of STPM. The loss is the mean over the normal positions of the whole batch; the map has one channel and
/// lies in 0..=2.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct L2 {}
daf_core::register!(DiscrepancyMeasure: L2 = "l2");

#[typetag::serde(name = L2::NAME)]
impl DiscrepancyMeasure for L2 {
    fn build(&self, _: &Blocks, _: &[Stage]) -> Result<Box<dyn Comparator>, BoxError> {
        Ok(Box::new(*self))
    }
}

impl Comparator for L2 {
    fn compare(&self, compared: &Compared) -> Result<Vec<Comparison>, BoxError> {
        Ok(compared.by_stage(|pair| {
            let map = Self::distance(&pair.teacher, &pair.student);
            let loss = |normal| ("l2".to_owned(), super::mean_over_normal(&map, normal));
            let losses = pair.normal.as_ref().map(loss).into_iter().collect();
            (map, losses)
        }))
    }
}

impl L2 {
    /// The map of N×C×h×w features, N×1×h×w in 0..=2.
    pub fn distance(teacher: &Tensor, student: &Tensor) -> Tensor {
        let unit = |features: &Tensor| {
            let features = features.to_kind(Kind::Float);
            let length = features
                .square()
                .sum_dim_intlist(1, true, Kind::Float)
                // Before the root, whose gradient at 0 is not finite: a ReLU leaves features that are all 0.
                .clamp_min(1e-24)
                .sqrt();
            features / length
        };
        0.5 * (unit(teacher) - unit(student))
            .square()
            .sum_dim_intlist(1, true, Kind::Float)
    }
}
