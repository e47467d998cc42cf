//! A discrepancy measure for daf: it compares the features of teacher and student.

use daf_core::block::Blocks;
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::{Kind, Tensor};
use daf_core::{BoxError, Comparator, Compared, Comparison, DiscrepancyMeasure, Stage, typetag};
use serde::{Deserialize, Serialize};

/// Absolute differences between the feature vectors of teacher and student, each divided by its length.
///
/// Compared with squares, many small differences count more than one large one. The map has one channel, the mean over
/// the features times their number's root, so that it does not depend on the network's width.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MyPart {
    /// Weight of the loss; over 0.
    pub weight: f64,
}

daf_core::register!(DiscrepancyMeasure: MyPart = "my_part");

impl Default for MyPart {
    fn default() -> Self {
        Self { weight: 1.0 }
    }
}

#[typetag::serde(name = MyPart::NAME)]
impl DiscrepancyMeasure for MyPart {
    // By default there is a map of one channel for every stage; `maps` says so where it is otherwise.

    // What it learns, or keeps of normal images, is placed below `blocks`; this one has neither.
    fn build(&self, _: &Blocks, _: &[Stage]) -> Result<Box<dyn Comparator>, BoxError> {
        Ok(Box::new(*self))
    }

    fn check(&self) -> Result<(), BoxError> {
        if self.weight > 0.0 && self.weight.is_finite() {
            Ok(())
        } else {
            Err(format!("`weight` must be over 0, found {}", self.weight).into())
        }
    }
}

impl Comparator for MyPart {
    fn compare(&self, compared: &Compared) -> Result<Vec<Comparison>, BoxError> {
        // Each stage for itself.
        Ok(compared.by_stage(|pair| {
            let difference = (unit(&pair.teacher) - unit(&pair.student)).abs();
            let scale = (difference.size()[1] as f64).sqrt();
            let map = difference.mean_dim(1, true, Kind::Float) * scale;
            // The student learns to agree where the image is undamaged (1 in `normal`); elsewhere it need not.
            let losses = pair.normal.as_ref().map(|normal| {
                let mean = (&map * normal).sum(Kind::Float) / normal.sum(Kind::Float).clamp_min(1.0);
                (Self::NAME.to_owned(), mean * self.weight)
            });
            (map, losses.into_iter().collect())
        }))
    }
}

/// Feature vectors of length 1; those of length 0 stay.
fn unit(features: &Tensor) -> Tensor {
    let features = features.to_kind(Kind::Float);
    // Before the root, whose gradient at 0 is not finite: a ReLU leaves features that are all 0.
    let length = features
        .square()
        .sum_dim_intlist(1, true, Kind::Float)
        .clamp_min(1e-24)
        .sqrt();
    features / length
}

#[cfg(test)]
mod tests {
    use daf_core::tch::Device;

    use super::*;

    #[test]
    fn equal_features_agree_and_others_do_not() {
        let (part, float) = (MyPart::default(), (Kind::Float, Device::Cpu));
        let (a, b) = (
            Tensor::rand([2, 8, 4, 6], float),
            Tensor::rand([2, 8, 4, 6], float),
        );
        let normal = Tensor::ones([2, 1, 4, 6], float);
        let (teacher, normal) = ([a.shallow_clone()], [normal]);
        for (student, agrees) in [(&a * 3.0, true), (b, false)] {
            let student = [student];
            let compared = Compared::of(&teacher, &student);
            assert!(part.compare(&compared).unwrap()[0].losses.is_empty());
            let found = part
                .compare(&Compared {
                    normal: Some(&normal),
                    ..compared
                })
                .unwrap()
                .remove(0);
            assert_eq!(found.map.size(), [2, 1, 4, 6]);
            assert_eq!(found.map.max().double_value(&[]) < 1e-5, agrees);
            assert_eq!(found.losses[0].1.double_value(&[]) < 1e-5, agrees);
        }
    }

    #[test]
    fn features_of_zero_have_a_finite_gradient() {
        let zero = Tensor::zeros([1, 8, 4, 4], (Kind::Float, Device::Cpu));
        let student = [zero.copy().set_requires_grad(true)];
        let normal = [zero.narrow(1, 0, 1)];
        let teacher = [zero];
        let compared = Compared {
            normal: Some(&normal),
            ..Compared::of(&teacher, &student)
        };
        let found = MyPart::default().compare(&compared).unwrap();
        found[0].losses[0].1.backward();
        assert_eq!(student[0].grad().isfinite().all().int64_value(&[]), 1);
    }
}
