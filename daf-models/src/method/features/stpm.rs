//! Student–teacher feature pyramid matching.

use std::sync::Arc;

use crate::backbone::ResNet18;
use crate::measure::L2;
use crate::teacher::{Student, Teacher, pretrain};
use daf_core::block::{Blocks, Init, channels_last};
use daf_core::data::Normalization;
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::nn::VarStore;
use daf_core::tch::{Kind, Tensor};
use daf_core::weights::Weights;
use daf_core::{
    Backbone, Batch, BoxError, BuildContext, Losses, Maps, Method, Model, Origin, Store, typetag,
};
use serde::{Deserialize, Serialize};

/// STPM: a student learns the features of a frozen teacher on normal images; their distance is the score.
///
/// Wang et al., BMVC 2021. The loss of a stage is the mean over positions of the squared distance between the feature
/// vectors, each divided by its length; without the paper's factor of one half, as in the official code, which its
/// learning rate goes with. The map is the product of the stages' distances at the size of the finest stage. The official
/// code keeps a fifth of the normal images aside and takes the epoch at which their maps are least; here the last weights
/// count.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Stpm {
    /// The frozen network.
    pub teacher: Arc<dyn Backbone>,
    /// The network that is trained; its stages must be those of the teacher.
    pub student: Arc<dyn Backbone>,
}
daf_core::register!(Method: Stpm = "stpm", recipe = include_str!("stpm.yaml"));

impl Default for Stpm {
    fn default() -> Self {
        Self {
            teacher: Arc::new(ResNet18::default()),
            student: Arc::new(ResNet18 {
                weights: Weights::Random,
                ..ResNet18::default()
            }),
        }
    }
}

#[typetag::serde(name = Stpm::NAME)]
impl Method for Stpm {
    fn normalization(&self) -> Normalization {
        self.teacher.normalization()
    }

    fn stride(&self) -> i64 {
        self.teacher.stride()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
        let teacher = Teacher::build("teacher", self.teacher.as_ref(), context)?;
        let vars = VarStore::new(context.device);
        let blocks = Blocks::new(vars.root(), context.mode, Init::FanOut, context.precision);
        let student = self.student.build_checked(&blocks.sub("student"))?;
        let started = pretrain("student", self.student.as_ref(), &vars, "student.", context)?;
        Ok(Box::new(StpmModel {
            origins: teacher.origin().cloned().into_iter().chain(started).collect(),
            teacher,
            vars,
            student: Student::new(student),
        }))
    }

    fn check(&self) -> Result<(), BoxError> {
        self.teacher.check()?;
        self.student.check()?;
        if self.teacher.stages() == self.student.stages() {
            return Ok(());
        }
        Err(format!(
            "teacher and student must have the same stages, found {:?} and {:?}",
            self.teacher.stages(),
            self.student.stages()
        )
        .into())
    }
}

struct StpmModel {
    teacher: Teacher,
    vars: VarStore,
    student: Student,
    origins: Vec<Origin>,
}

impl StpmModel {
    /// Squared distance of the normalised features at every position, N×1×h×w for every stage.
    fn distances(teacher: &[Tensor], student: &[Tensor]) -> Vec<Tensor> {
        let pairs = teacher.iter().zip(student);
        // The measure is half the squared distance.
        pairs.map(|(t, s)| 2.0 * L2::distance(t, s)).collect()
    }
}

impl Model for StpmModel {
    fn stores(&self) -> Vec<Store<'_>> {
        vec![self.teacher.store(), Store::learned("student", &self.vars)]
    }

    fn origins(&self) -> Vec<Origin> {
        self.origins.clone()
    }

    fn losses(&self, batch: &Batch) -> Result<Losses, BoxError> {
        let student = self.student.extract(&channels_last(&batch.normal));
        let distances = Self::distances(&self.teacher.features(batch), &student);
        let named = (1..).zip(distances);
        Ok(named
            .map(|(stage, distance)| (format!("distance.{stage}"), distance.mean(Kind::Float)))
            .collect())
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let (teacher, student) = self.teacher.extract_beside(&self.student, &channels_last(images));
        let distances = Self::distances(&teacher, &student);
        Ok(Maps {
            discrepancy: product(distances).into_iter().collect(),
            ..Maps::default()
        })
    }
}

/// The product of N×1×h×w maps, fine to coarse, at the size of the first.
fn product(maps: Vec<Tensor>) -> Option<Tensor> {
    let size = maps.first()?.size();
    let alike = |map: Tensor| map.upsample_bilinear2d([size[2], size[3]], false, None, None);
    maps.into_iter().map(alike).reduce(|a, b| a * b)
}

#[cfg(test)]
mod tests {
    use daf_core::block::Mode;

    use super::*;
    use crate::method::slow::{self, Map, batch, context};

    #[test]
    fn the_student_has_as_many_parameters_as_the_official_one() {
        let model = Stpm::default().build(&context(Mode::Train, (64, 64))).unwrap();
        assert_eq!(model.parameters(), 2_782_784);
    }

    #[test]
    fn losses_and_map_agree_with_loops_over_the_features() {
        slow::seed(1);
        let batch = batch((64, 96));
        let (teacher, student) = (ResNet18::default(), Stpm::default());
        let model = student.build(&context(Mode::Infer, (64, 96))).unwrap();
        let stores = model.stores();
        let features = |store: &Store, prefix: &str| {
            let vars = VarStore::new(daf_core::tch::Device::Cpu);
            let blocks = Blocks::new(
                vars.root() / prefix,
                Mode::Infer,
                Init::FanOut,
                daf_core::block::Precision::Float32,
            );
            let network = teacher.build(&blocks).unwrap();
            for (name, mut variable) in vars.variables() {
                let name = name.trim_start_matches('.');
                slow::no_grad(|| variable.copy_(&store.vars.variables()[name]));
            }
            slow::no_grad(|| network.extract(&batch.normal))
        };
        let taught = features(&stores[0], "");
        let learned = features(&stores[1], "student");
        let losses = model.losses(&batch).unwrap();
        let mut product: Option<Map> = None;
        for (stage, (t, s)) in taught.iter().zip(&learned).enumerate() {
            let (t, s) = (Map::of(t), Map::of(s));
            let mut distance = Map::zeros([t.n, 1, t.h, t.w]);
            for (n, y, x) in t.places() {
                let length = |map: &Map| {
                    (0..t.c)
                        .map(|c| map.at(n, c, y, x).powi(2))
                        .sum::<f64>()
                        .sqrt()
                        .max(1e-12)
                };
                let (of_t, of_s) = (length(&t), length(&s));
                let squares = (0..t.c).map(|c| (t.at(n, c, y, x) / of_t - s.at(n, c, y, x) / of_s).powi(2));
                *distance.at_mut(n, 0, y, x) = squares.sum();
            }
            let mean = distance.values.iter().sum::<f64>() / distance.values.len() as f64;
            assert_eq!(losses[stage].0, format!("distance.{}", stage + 1));
            slow::close(losses[stage].1.double_value(&[]), mean, 1e-5);
            let fine = distance.resized((16, 24), false);
            product = Some(match product {
                None => fine,
                Some(so_far) => so_far.times(&fine),
            });
        }
        let maps = slow::no_grad(|| model.infer(&batch.normal)).unwrap();
        assert_eq!(maps.discrepancy.len(), 1);
        product.unwrap().assert_close(&maps.discrepancy[0], 1e-5);
    }

    #[test]
    fn networks_of_other_stages_are_refused() {
        let other = Stpm {
            student: Arc::new(ResNet18 {
                stages: 2,
                ..ResNet18::default()
            }),
            ..Stpm::default()
        };
        let error = other.check().unwrap_err().to_string();
        assert!(error.contains("the same stages"), "{error}");
    }
}
