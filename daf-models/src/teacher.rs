//! Networks that start from weights of a file, and networks that learn beside them.

use std::sync::{Mutex, PoisonError};

use daf_core::block::{Blocks, Init, Mode, channels_last};
use daf_core::threads::each;
use daf_core::weights::{self, Weights};
use daf_core::{
    Backbone, Batch, BoxError, BuildContext, Extractor, FeaturePair, NormalBatch, NormalFeatures,
    NormalImages, Origin, ScaledFeatures, Store,
};
use tch::Tensor;
use tch::nn::VarStore;

/// Frozen backbone: a student learns from it, or a memory keeps its features.
#[derive(Debug)]
pub struct Teacher {
    name: &'static str,
    vars: VarStore,
    extractor: Mutex<Box<dyn Extractor>>,
    origin: Option<Origin>,
    /// Sides of its input are multiples of it.
    stride: i64,
}

impl Teacher {
    /// Builds the network and, where pretrained weights are at hand, loads those that the recipe names. Files and reports
    /// call it `name`.
    ///
    /// # Errors
    /// If the recipe describes no network or its weights cannot be had.
    pub fn build(
        name: &'static str,
        recipe: &dyn Backbone,
        context: &BuildContext,
    ) -> Result<Self, BoxError> {
        let mut vars = VarStore::new(context.device);
        let blocks = Blocks::new(vars.root(), Mode::Infer, Init::FanOut, context.precision);
        let extractor = recipe.build_checked(&blocks)?;
        let origin = pretrain(name, recipe, &vars, "", context)?;
        vars.freeze();
        Ok(Self {
            name,
            vars,
            extractor: Mutex::new(extractor),
            origin,
            stride: recipe.stride(),
        })
    }

    /// Features of every stage, fine to coarse; never differentiated, whoever calls.
    pub fn extract(&self, images: &Tensor) -> Vec<Tensor> {
        tch::no_grad(|| extract(&self.extractor, images))
    }

    /// Features of every stage that this network and a student give of the same images, in inference.
    pub fn extract_beside(&self, student: &Student, images: &Tensor) -> (Vec<Tensor>, Vec<Tensor>) {
        let networks = [&self.extractor, &student.0].map(|network| (network, images.shallow_clone()));
        let mut features = each(images.device(), networks, |(network, images)| {
            extract(network, &images)
        })
        .into_iter();
        (
            features.next().unwrap_or_default(),
            features.next().unwrap_or_default(),
        )
    }

    /// Features of every stage of a batch's undamaged images, taken from the cache where it has them.
    pub fn features(&self, batch: &Batch) -> Vec<Tensor> {
        batch.frozen_features(self.name, |images| self.extract(&channels_last(images)))
    }

    /// Features of these images at other scales.
    pub const fn scaled(&self, images: Tensor) -> Scaled<'_> {
        Scaled {
            teacher: self,
            images,
        }
    }

    /// Its weights, as a file of a run.
    #[must_use]
    pub const fn store(&self) -> Store<'_> {
        Store::frozen(self.name, &self.vars)
    }

    /// Source of its weights; `None` if it was built without pretrained ones.
    #[must_use]
    pub const fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }
}

/// Features that a [`Teacher`] gives of images at other scales.
#[derive(Debug)]
pub struct Scaled<'a> {
    teacher: &'a Teacher,
    /// N×3×H×W.
    images: Tensor,
}

impl ScaledFeatures for Scaled<'_> {
    fn at(&self, scale: f64) -> Vec<Tensor> {
        let stride = self.teacher.stride as f64;
        let side = |side: i64| ((side as f64 * scale / stride).round().max(1.0) * stride) as i64;
        let size = self.images.size();
        let (height, width) = (side(size[2]), side(size[3]));
        // Averages where pixels become fewer; the same as without when they become more.
        let resized =
            self.images
                .internal_upsample_bilinear2d_aa([height, width], false, None::<f64>, None::<f64>);
        self.teacher.extract(&channels_last(&resized))
    }
}

/// Backbone that learns the features of a [`Teacher`].
#[derive(Debug)]
pub struct Student(Mutex<Box<dyn Extractor>>);

impl Student {
    /// Student with a backbone that has been built.
    #[must_use]
    pub fn new(extractor: Box<dyn Extractor>) -> Self {
        Self(Mutex::new(extractor))
    }

    /// Features of every stage, fine to coarse.
    pub fn extract(&self, images: &Tensor) -> Vec<Tensor> {
        extract(&self.0, images)
    }
}

/// Features of normal images as a measure is fitted with them.
pub(crate) struct Normal<'a> {
    pub(crate) teacher: &'a Teacher,
    /// `None` before the training.
    pub(crate) student: Option<&'a Student>,
    pub(crate) images: &'a dyn NormalImages,
}

impl NormalFeatures for Normal<'_> {
    fn batches(&self) -> Box<dyn Iterator<Item = Result<FeaturePair<'_>, BoxError>> + '_> {
        let extract = |batch: Result<NormalBatch, BoxError>| {
            let NormalBatch { images, indices } = batch?;
            let images = channels_last(&images);
            let student = self.student.map(|student| student.extract(&images));
            Ok(FeaturePair {
                teacher: self.teacher.extract(&images),
                student: student.unwrap_or_default(),
                indices,
                scaled: Some(Box::new(self.teacher.scaled(images))),
            })
        };
        Box::new(self.images.batches().map(extract))
    }
}

/// Features from a network that any thread may use, but one at a time.
fn extract(network: &Mutex<Box<dyn Extractor>>, images: &Tensor) -> Vec<Tensor> {
    let network = network.lock().unwrap_or_else(PoisonError::into_inner);
    network.extract(images)
}

/// Loads the weights that a recipe names into the variables whose names begin with `prefix`, and tells their origin. Reports and
/// errors call the network `network`.
///
/// # Errors
/// If the weights cannot be had or are of another network.
pub fn pretrain(
    network: &str,
    recipe: &dyn Backbone,
    vars: &VarStore,
    prefix: &str,
    context: &BuildContext,
) -> Result<Option<Origin>, BoxError> {
    let Some(folders) = context.pretrained else {
        return Ok(None);
    };
    let (wanted, name) = (recipe.weights(), recipe.typetag_name());
    let file = folders.resolve(wanted, recipe.pretrained().as_ref(), name)?;
    let origin = Origin {
        network: network.into(),
        weights: match (&file, wanted) {
            (Some(file), _) => file.display().to_string(),
            (None, Weights::Auto) => "random: the published weights could not be had".into(),
            (None, _) => "random".into(),
        },
    };
    let Some(file) = file else { return Ok(Some(origin)) };
    let tensors = recipe.translate_checked(weights::read(&file)?)?;
    if !prefix.is_empty() && weights::is_folded(&tensors) {
        // As a frozen teacher the folded network is the same function; as a student in training mode it is another one.
        return Err(format!(
            "{} has its batch norms folded into the convolutions: fit for a teacher, but a student trained from it \
             would not start as the pretrained network; give `{network}.weights` a file with the original batch norms, \
             e.g. torchvision's",
            file.display()
        )
        .into());
    }
    weights::load_below(vars, prefix, &tensors, &file)?;
    tracing::info!("{network} starts from {}", file.display());
    Ok(Some(origin))
}

#[cfg(test)]
mod tests {
    use std::panic::{self, AssertUnwindSafe};

    use daf_core::block::Precision;
    use tch::{Device, Kind};

    use super::*;
    use crate::alone::alone;
    use crate::backbone::ResNet18;

    #[derive(Debug)]
    struct Refuses;

    impl Extractor for Refuses {
        fn extract(&self, _: &Tensor) -> Vec<Tensor> {
            panic!("refused")
        }
    }

    #[test]
    fn beside_each_other_teacher_and_student_give_what_they_give_alone() {
        alone();
        let context = BuildContext {
            device: Device::Cpu,
            size: (64, 96),
            mode: Mode::Infer,
            precision: Precision::Float32,
            pretrained: None,
        };
        let teacher = Teacher::build("teacher", &ResNet18::default(), &context).unwrap();
        let vars = VarStore::new(Device::Cpu);
        let blocks = Blocks::new(vars.root(), Mode::Infer, Init::FanOut, Precision::Float32);
        let student = Student::new(ResNet18::default().build(&blocks).unwrap());
        let images = Tensor::rand([2, 3, 64, 96], (Kind::Float, Device::Cpu));
        // The number that counts is that of this thread, once it has been asked for.
        let _ = tch::get_num_threads();
        for threads in [1, 2] {
            daf_core::threads::manage();
            tch::set_num_threads(threads);
            let refused =
                AssertUnwindSafe(|| teacher.extract_beside(&Student::new(Box::new(Refuses)), &images));
            assert!(panic::catch_unwind(refused).is_err());
            let (first, second) = teacher.extract_beside(&student, &images);
            assert_eq!(teacher.extract_beside(&student, &images), (first, second));
            let (first, second) = teacher.extract_beside(&student, &images);
            let alone = [teacher.extract(&images), student.extract(&images)];
            for (found, expected) in [first, second].iter().flatten().zip(alone.iter().flatten()) {
                assert!(!found.requires_grad());
                let error = (found - expected).abs().max() / expected.abs().max();
                assert!(error.double_value(&[]) < 1e-5);
            }
        }
    }
}
