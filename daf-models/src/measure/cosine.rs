use daf_core::block::Blocks;
use daf_core::kernel::{is_faster, to_vec_f32};
use daf_core::{BoxError, Comparator, Compared, Comparison, DiscrepancyMeasure, Stage, typetag};
use daf_kernels::{LANES, cosine};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::window::channels_innermost;

/// One minus the cosine between the feature vectors of teacher and student at each position.
///
/// The loss (paper, eq. 2) is one minus the mean cosine over the normal positions of the whole batch; the map has one
/// channel and lies in 0..=2.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cosine {}
daf_core::register!(DiscrepancyMeasure: Cosine = "cosine");

#[typetag::serde(name = Cosine::NAME)]
impl DiscrepancyMeasure for Cosine {
    fn build(&self, _: &Blocks, _: &[Stage]) -> Result<Box<dyn Comparator>, BoxError> {
        Ok(Box::new(*self))
    }
}

impl Comparator for Cosine {
    fn compare(&self, compared: &Compared) -> Result<Vec<Comparison>, BoxError> {
        Ok(compared.by_stage(|pair| {
            let map = Self::distance(&pair.teacher, &pair.student);
            let loss = |normal| ("cosine".to_owned(), super::mean_over_normal(&map, normal));
            let losses = pair.normal.as_ref().map(loss).into_iter().collect();
            (map, losses)
        }))
    }
}

impl Cosine {
    /// The map of N×C×h×w features, N×1×h×w in 0..=2.
    pub fn distance(teacher: &Tensor, student: &Tensor) -> Tensor {
        let (teacher, student) = (teacher.to_kind(Kind::Float), student.to_kind(Kind::Float));
        let channels = teacher.size()[1] as usize;
        let similarity = if channels.is_multiple_of(LANES) && is_faster(&[&teacher, &student]) {
            in_one_pass(&teacher, &student)
        } else {
            Tensor::cosine_similarity(&teacher, &student, 1, 1e-8).unsqueeze(1)
        };
        1.0 - similarity
    }
}

/// The cosine of N×C×h×w features at every position, N×1×h×w, in one pass over them.
fn in_one_pass(teacher: &Tensor, student: &Tensor) -> Tensor {
    let (n, c, h, w) = teacher.size4().expect("N×C×h×w features");
    let [teacher, student] = [teacher, student].map(|features| to_vec_f32(&channels_innermost(features)));
    let mut similarity = vec![0.0; (n * h * w) as usize];
    cosine::similarity(&teacher, &student, c as usize, &mut similarity);
    Tensor::from_slice(&similarity).view([n, 1, h, w])
}
