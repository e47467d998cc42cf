use daf_core::{Comparison, DiscrepancyMeasure, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// One minus the cosine between the feature vectors of teacher and student at each position.
///
/// The loss (paper, eq. 2) is one minus the mean cosine over the normal positions of the whole batch; the map has one
/// channel and lies in 0..=2.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cosine {}
daf_core::register!(DiscrepancyMeasure: Cosine = "cosine");

#[typetag::serde(name = Cosine::NAME)]
impl DiscrepancyMeasure for Cosine {
    fn channels(&self, _: i64) -> i64 {
        1
    }

    fn compare(&self, teacher: &Tensor, student: &Tensor, normal: Option<&Tensor>) -> Comparison {
        let (teacher, student) = (teacher.to_kind(Kind::Float), student.to_kind(Kind::Float));
        let map = 1.0 - Tensor::cosine_similarity(&teacher, &student, 1, 1e-8).unsqueeze(1);
        let losses = normal
            .map(|normal| ("cosine".to_owned(), super::mean_over_normal(&map, normal)))
            .into_iter()
            .collect();
        Comparison { map, losses }
    }
}
