//! The method of the paper: teacher, student, discrepancy, decoder and auxiliary heads.

mod auxiliary;
mod segmentation;

use std::sync::Arc;

use daf_core::block::{Blocks, Init, Mode, channels_last};
use daf_core::data::Normalization;
use daf_core::macs::add_published_only;
use daf_core::threads::{each, single_threaded_if_small};
use daf_core::weights::Weights;
use daf_core::{
    Backbone, Batch, BoxError, BuildContext, Comparator, Decoder, DecoderInput, DiscrepancyMeasure,
    FeaturePair, Fit, Losses, Maps, Method, Model, NormalFeatures, NormalImages, Origin, Segmenter, Stage,
    Store, typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use crate::backbone::ResNet18;
use crate::decoder::Fusion;
use crate::measure::Sum;
use crate::teacher::{Student, Teacher, pretrain};
pub use auxiliary::Auxiliary;
use auxiliary::Heads;
pub use segmentation::{Mining, Segmentation, Targets};

/// DAF: a student learns to agree with a frozen teacher on normal regions; where they disagree is the discrepancy, which
/// guides a decoder to the defects.
///
/// The teacher sees the normal image, the student the damaged one. Every part but the student can be switched off with
/// `null`, which gives the paper's ablations: `decoder: null` (and `auxiliary: null`) leaves the teacher–student pair,
/// `teacher: null` with `discrepancy: null` the segmentation. Without a synthesizer the student sees the normal image.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Daf {
    /// The frozen network that sees normal images.
    pub teacher: Option<Arc<dyn Backbone>>,
    /// The network that is trained; its stages must be those of the teacher.
    pub student: Arc<dyn Backbone>,
    /// How their features are compared; needs a teacher.
    pub discrepancy: Option<Arc<dyn DiscrepancyMeasure>>,
    /// What turns features and discrepancy into a probability map.
    pub decoder: Option<Arc<dyn Decoder>>,
    /// Heads that find the defect in each stage of the student while training (the paper's boost heads).
    pub auxiliary: Option<Auxiliary>,
    /// The loss of the decoder and of the auxiliary heads.
    pub segmentation: Segmentation,
}
daf_core::register!(Method: Daf = "daf");

impl Default for Daf {
    fn default() -> Self {
        Self {
            teacher: Some(Arc::new(ResNet18::default())),
            student: Arc::new(ResNet18 {
                weights: Weights::Random,
                ..ResNet18::default()
            }),
            discrepancy: Some(Arc::new(Sum::default())),
            decoder: Some(Arc::new(Fusion::default())),
            auxiliary: Some(Auxiliary::default()),
            segmentation: Segmentation::default(),
        }
    }
}

#[typetag::serde(name = Daf::NAME)]
impl Method for Daf {
    fn needs_synthesis(&self) -> bool {
        self.decoder.is_some() || self.auxiliary.is_some()
    }

    fn normalization(&self) -> Normalization {
        self.teacher.as_ref().unwrap_or(&self.student).normalization()
    }

    fn stride(&self) -> i64 {
        self.student.stride()
    }

    fn min_side(&self) -> i64 {
        // Reflection by five positions at the coarsest stage needs six of them; the paper's networks have sixteen.
        6 * self.stride()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
        let mut origins = Vec::new();
        let build = |recipe: &Arc<dyn Backbone>| Teacher::build("teacher", recipe.as_ref(), context);
        let teacher = self.teacher.as_ref().map(build).transpose()?;
        origins.extend(teacher.as_ref().and_then(Teacher::origin).cloned());
        let vars = VarStore::new(context.device);
        let student = self.student.build_checked(&Blocks::new(
            vars.root() / "student",
            context.mode,
            Init::FanOut,
            context.precision,
        ))?;
        let stages = self.student.stages();
        let heads =
            |name: &str| Blocks::new(vars.root() / name, context.mode, Init::FanIn, context.precision);
        let channels = |measure: &Arc<dyn DiscrepancyMeasure>| {
            stages
                .iter()
                .map(|stage| measure.channels(stage.channels))
                .collect()
        };
        let discrepancy = self
            .discrepancy
            .as_ref()
            .map(|measure| Discrepancy::build(measure.as_ref(), &stages, context))
            .transpose()?;
        let behind = self
            .teacher
            .as_ref()
            .map_or(0, |teacher| teacher.layers_behind(context.size));
        let heads_work = self
            .auxiliary
            .as_ref()
            .map_or(0, |auxiliary| auxiliary.multiply_adds(&stages, context.size));
        let input = DecoderInput {
            stages: stages.clone(),
            discrepancy: self.discrepancy.as_ref().map(channels).unwrap_or_default(),
        };
        let decoder = self
            .decoder
            .as_ref()
            .map(|decoder| decoder.build_checked(&heads("decoder"), &input))
            .transpose()?;
        // The auxiliary heads have no use after training, so a model for inference does not have them.
        let auxiliary = self
            .auxiliary
            .as_ref()
            .filter(|_| context.mode == Mode::Train)
            .map(|auxiliary| auxiliary.build(&heads("aux"), &stages));
        origins.extend(pretrain(
            "student",
            self.student.as_ref(),
            &vars,
            "student.",
            context,
        )?);
        Ok(Box::new(DafModel {
            teacher,
            vars,
            student: Student::new(student),
            discrepancy,
            decoder,
            auxiliary,
            segmentation: self.segmentation,
            origins,
            published_only: behind + heads_work,
        }))
    }

    fn check(&self) -> Result<(), BoxError> {
        self.student.check()?;
        if let Some(teacher) = &self.teacher {
            teacher.check()?;
            if teacher.stages() != self.student.stages() {
                return Err(format!(
                    "teacher and student must have the same stages, found {:?} and {:?}",
                    teacher.stages(),
                    self.student.stages()
                )
                .into());
            }
        }
        match (&self.teacher, &self.discrepancy) {
            (Some(_), None) => {
                return Err("`teacher` without `discrepancy` does nothing: set both or null both".into());
            }
            (None, Some(_)) => return Err("`discrepancy` needs a `teacher` to compare with".into()),
            (None, None) if self.decoder.is_none() => {
                return Err("without `teacher` and without `decoder` there is nothing to train".into());
            }
            _ => {}
        }
        if let Some(measure) = &self.discrepancy {
            measure.check()?;
        }
        if let Some(decoder) = &self.decoder {
            decoder.check()?;
        }
        Ok(())
    }
}

struct DafModel {
    teacher: Option<Teacher>,
    vars: VarStore,
    student: Student,
    discrepancy: Option<Discrepancy>,
    decoder: Option<Box<dyn Segmenter>>,
    auxiliary: Option<Heads>,
    segmentation: Segmentation,
    origins: Vec<Origin>,
    /// Multiply-adds per image that the paper's Table II counts and inference does without.
    published_only: u64,
}

impl Model for DafModel {
    fn stores(&self) -> Vec<Store<'_>> {
        let teacher = self.teacher.iter().map(Teacher::store);
        let discrepancy = self.discrepancy.iter().filter_map(Discrepancy::store);
        teacher
            .chain([Store::learned("student", &self.vars)])
            .chain(discrepancy)
            .collect()
    }

    fn origins(&self) -> Vec<Origin> {
        self.origins.clone()
    }

    fn losses(&self, batch: &Batch) -> Result<Losses, BoxError> {
        let segments = self.decoder.is_some() || self.auxiliary.is_some();
        // First of all: the host reads how much is damaged, which waits for all that a GPU was asked for before.
        let damage = match &batch.synthetic {
            _ if !segments => None,
            Some(synthetic) => Some((synthetic, self.segmentation.targets(&synthetic.target))),
            None => {
                return Err(
                    "the decoder and the auxiliary heads learn from synthetic defects: name a `synthesizer`"
                        .into(),
                );
            }
        };
        let teacher = match &self.teacher {
            Some(teacher) => teacher.features(batch),
            None => Vec::new(),
        };
        let seen = batch
            .synthetic
            .as_ref()
            .map_or(&batch.normal, |synthetic| &synthetic.images);
        let student = self.student.extract(&channels_last(seen));
        let mut losses = Losses::new();
        let mut maps = Vec::new();
        if let Some(Discrepancy { comparator, .. }) = &self.discrepancy {
            for (stage, (t, s)) in teacher.iter().zip(&student).enumerate() {
                let normal = normal_positions(batch, s);
                let found = comparator.compare(stage, t, s, Some(&normal));
                let named = found.losses.into_iter();
                losses.extend(named.map(|(name, loss)| (format!("{name}.{}", stage + 1), loss)));
                maps.push(found.map);
            }
        }
        let Some((synthetic, targets)) = damage else {
            return Ok(losses);
        };
        if let Some(decoder) = &self.decoder {
            let logits = decoder.segment(&student, &maps);
            losses.push(("seg".into(), targets.loss_of_logits(&logits)));
        }
        if let Some(heads) = &self.auxiliary {
            for (number, probability) in (1..).zip(heads.probabilities(&student, synthetic.mask.size4()?)) {
                losses.push((format!("aux.{number}"), targets.loss(&probability)));
            }
        }
        Ok(losses)
    }

    fn fit(&mut self, when: Fit, images: &dyn NormalImages) -> Result<bool, BoxError> {
        let (Some(teacher), Some(discrepancy)) = (&self.teacher, &mut self.discrepancy) else {
            return Ok(false);
        };
        let student = match when {
            Fit::BeforeTraining => None,
            Fit::AfterTraining => Some(&self.student),
        };
        let features = Normal {
            teacher,
            student,
            images,
        };
        discrepancy.comparator.fit(when, &features)
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let (n, _, h, w) = images.size4()?;
        add_published_only(self.published_only * n as u64);
        let images = channels_last(images);
        Ok(single_threaded_if_small(
            images.device(),
            (n * h * w) as usize,
            || self.maps(&images),
        ))
    }
}

impl DafModel {
    fn maps(&self, images: &Tensor) -> Maps {
        let (teacher, student) = match &self.teacher {
            Some(teacher) => teacher.extract_beside(&self.student, images),
            None => (Vec::new(), self.student.extract(images)),
        };
        let discrepancy = match &self.discrepancy {
            Some(Discrepancy { comparator, .. }) => {
                let pairs = teacher.into_iter().zip(student.iter().map(Tensor::shallow_clone));
                each(images.device(), pairs.enumerate(), |(stage, (t, s))| {
                    comparator.compare(stage, &t, &s, None).map
                })
            }
            None => Vec::new(),
        };
        let probability = self
            .decoder
            .as_ref()
            .map(|decoder| decoder.segment(&student, &discrepancy).sigmoid());
        Maps {
            discrepancy,
            probability,
            images: None,
        }
    }
}

/// A discrepancy measure with what it learns and is fitted with.
struct Discrepancy {
    vars: VarStore,
    comparator: Box<dyn Comparator>,
}

impl Discrepancy {
    fn build(
        measure: &dyn DiscrepancyMeasure,
        stages: &[Stage],
        context: &BuildContext,
    ) -> Result<Self, BoxError> {
        let vars = VarStore::new(context.device);
        let blocks = Blocks::new(vars.root(), context.mode, Init::FanOut, context.precision);
        let comparator = measure.build_checked(&blocks, stages)?;
        Ok(Self { vars, comparator })
    }

    /// Its file; none for a measure that has nothing to keep. Not a frozen one, which is written before the training: a measure
    /// may be fitted after it.
    fn store(&self) -> Option<Store<'_>> {
        (!self.vars.is_empty()).then(|| Store::learned("discrepancy", &self.vars))
    }
}

/// Features of normal images as a measure is fitted with them.
struct Normal<'a> {
    teacher: &'a Teacher,
    /// `None` before the training.
    student: Option<&'a Student>,
    images: &'a dyn NormalImages,
}

impl NormalFeatures for Normal<'_> {
    fn batches(&self) -> Box<dyn Iterator<Item = Result<FeaturePair, BoxError>> + '_> {
        let extract = |images: Result<Tensor, BoxError>| {
            let images = channels_last(&images?);
            let student = self.student.map(|student| student.extract(&images));
            Ok(FeaturePair {
                teacher: self.teacher.extract(&images),
                student: student.unwrap_or_default(),
            })
        };
        Box::new(self.images.batches().map(extract))
    }
}

/// N×1×h×w, 1 where the image is undamaged: the mask at the nearest pixel of each feature position.
fn normal_positions(batch: &Batch, features: &Tensor) -> Tensor {
    let size = features.size();
    match &batch.synthetic {
        Some(synthetic) => {
            let mask = synthetic
                .mask
                .to_kind(Kind::Float)
                .upsample_nearest2d([size[2], size[3]], None, None);
            1.0 - mask
        }
        None => Tensor::ones([size[0], 1, size[2], size[3]], (Kind::Float, features.device())),
    }
}
