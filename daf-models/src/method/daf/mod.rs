//! The method of the paper: teacher, student, discrepancy, decoder and auxiliary heads.

mod auxiliary;
mod segmentation;

use std::sync::Arc;

use daf_core::block::{Blocks, Init, Mode, channels_last};
use daf_core::data::Normalization;
use daf_core::macs::add_published_only;
use daf_core::threads::single_threaded_if_small;
use daf_core::weights::Weights;
use daf_core::{
    Backbone, Batch, BoxError, BuildContext, Comparator, Compared, Comparison, Decoder, DecoderInput,
    DiscrepancyMeasure, Fit, Losses, MapSize, Maps, Method, Model, NormalImages, Origin, Segmenter, Stage,
    Store, typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use crate::backbone::ResNet18;
use crate::decoder::Fusion;
use crate::measure::Sum;
use crate::teacher::{Normal, Student, Teacher, pretrain};
pub use auxiliary::Auxiliary;
use auxiliary::Heads;
pub use segmentation::{Mining, Segmentation, Targets};

/// DAF: a student learns to agree with a frozen teacher on normal regions; where they disagree is the discrepancy, which
/// guides a decoder to the defects.
///
/// The teacher sees the normal image, the student the damaged one. Every part can be switched off with `null`, which gives the
/// paper's ablations: `decoder: null` (and `auxiliary: null`) leaves the teacher–student pair, `teacher: null` with
/// `discrepancy: null` the segmentation. Without a synthesizer the student sees the normal image.
///
/// With `student: null` the discrepancy is that of a measure that needs no student, such as `memory`, the teacher sees the image at
/// hand, and its features take the place of the student's in the decoder; without a decoder nothing is learned by steps.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Daf {
    /// The frozen network that sees normal images.
    pub teacher: Option<Arc<dyn Backbone>>,
    /// The network that is trained; its stages must be those of the teacher. `null` for a discrepancy that needs none.
    pub student: Option<Arc<dyn Backbone>>,
    /// How features are compared; needs a teacher.
    pub discrepancy: Option<Arc<dyn DiscrepancyMeasure>>,
    /// What turns features and discrepancy into a probability map.
    pub decoder: Option<Arc<dyn Decoder>>,
    /// Heads that find the defect in each stage of the student while training (the paper's boost heads); without a student there
    /// are none.
    pub auxiliary: Option<Auxiliary>,
    /// The loss of the decoder and of the auxiliary heads.
    pub segmentation: Segmentation,
}
daf_core::register!(Method: Daf = "daf");

impl Default for Daf {
    fn default() -> Self {
        Self {
            teacher: Some(Arc::new(ResNet18::default())),
            student: Some(Arc::new(ResNet18 {
                weights: Weights::Random,
                ..ResNet18::default()
            })),
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
        self.decoder.is_some() || (self.student.is_some() && self.auxiliary.is_some())
    }

    fn learns(&self) -> bool {
        self.student.is_some() || self.decoder.is_some()
    }

    fn normalization(&self) -> Normalization {
        let first = self.teacher.as_ref().or(self.student.as_ref());
        first.map_or(Normalization::Imagenet, |first| first.normalization())
    }

    fn stride(&self) -> i64 {
        self.seen_by_decoder().map_or(1, |network| network.stride())
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
        let build = |recipe: &Arc<dyn Backbone>| {
            let blocks = Blocks::new(
                vars.root() / "student",
                context.mode,
                Init::FanOut,
                context.precision,
            );
            recipe.build_checked(&blocks).map(Student::new)
        };
        let student = self.student.as_ref().map(build).transpose()?;
        let stages = self
            .seen_by_decoder()
            .map(|network| network.stages())
            .unwrap_or_default();
        let heads =
            |name: &str| Blocks::new(vars.root() / name, context.mode, Init::FanIn, context.precision);
        let discrepancy = self
            .discrepancy
            .as_ref()
            .map(|measure| Discrepancy::build(measure.as_ref(), &stages, context))
            .transpose()?;
        let behind = self
            .teacher
            .as_ref()
            .map_or(0, |teacher| teacher.layers_behind(context.size));
        let auxiliary = self.auxiliary.as_ref().filter(|_| self.student.is_some());
        let heads_work = auxiliary.map_or(0, |auxiliary| auxiliary.multiply_adds(&stages, context.size));
        let residuals = self
            .decoder
            .as_ref()
            .is_some_and(|decoder| decoder.needs_residuals());
        let sizes = |of: fn(&dyn DiscrepancyMeasure, &[Stage]) -> Vec<MapSize>| {
            let measure = self.discrepancy.as_ref();
            measure.map_or_else(Vec::new, |measure| of(measure.as_ref(), &stages))
        };
        let input = DecoderInput {
            stages: stages.clone(),
            discrepancy: sizes(|measure, stages| measure.maps(stages)),
            residuals: match residuals {
                true => sizes(|measure, stages| measure.residuals(stages)),
                false => Vec::new(),
            },
        };
        let decoder = self
            .decoder
            .as_ref()
            .map(|decoder| decoder.build_checked(&heads("decoder"), &input))
            .transpose()?;
        // The auxiliary heads have no use after training, so a model for inference does not have them.
        let auxiliary = auxiliary
            .filter(|_| context.mode == Mode::Train)
            .map(|auxiliary| auxiliary.build(&heads("aux"), &stages));
        if let Some(recipe) = &self.student {
            origins.extend(pretrain("student", recipe.as_ref(), &vars, "student.", context)?);
        }
        Ok(Box::new(DafModel {
            teacher,
            vars,
            student,
            discrepancy,
            decoder,
            residuals,
            auxiliary,
            segmentation: self.segmentation,
            origins,
            published_only: behind + heads_work,
        }))
    }

    fn check(&self) -> Result<(), BoxError> {
        if let Some(student) = &self.student {
            student.check()?;
        }
        if let Some(teacher) = &self.teacher {
            teacher.check()?;
        }
        if let (Some(teacher), Some(student)) = (&self.teacher, &self.student)
            && teacher.stages() != student.stages()
        {
            return Err(format!(
                "teacher and student must have the same stages, found {:?} and {:?}",
                teacher.stages(),
                student.stages()
            )
            .into());
        }
        match (&self.teacher, &self.student, &self.discrepancy) {
            (Some(_), Some(_), None) => {
                return Err("`teacher` without `discrepancy` does nothing: set both or null both".into());
            }
            (None, _, Some(_)) => return Err("`discrepancy` needs a `teacher` to compare with".into()),
            (None, Some(_), None) if self.decoder.is_none() => {
                return Err("without `teacher` and without `decoder` there is nothing to train".into());
            }
            (_, None, None) => {
                return Err("without a `student` there must be a `teacher` and a `discrepancy` that needs no student, such \
                            as `memory`: set both, or name a student"
                    .into());
            }
            (Some(_), None, Some(measure)) if measure.needs_student() => {
                return Err(format!(
                    "`discrepancy: {}` compares with a student, and `student` is null: name a student, or a measure that \
                     needs none, such as `memory`",
                    measure.typetag_name()
                )
                .into());
            }
            (Some(_), Some(_), Some(measure)) if !measure.needs_student() && self.decoder.is_none() => {
                return Err(format!(
                    "the `student` has no use: `discrepancy: {}` does not compare with it, and there is no `decoder` to \
                     see its features; null the student, or name a decoder",
                    measure.typetag_name()
                )
                .into());
            }
            _ => {}
        }
        if let Some(measure) = &self.discrepancy {
            measure.check()?;
        }
        if let Some(decoder) = &self.decoder {
            decoder.check()?;
        }
        self.segmentation.check()
    }
}

impl Daf {
    /// The network whose features the decoder sees; none in settings that `check` refuses.
    fn seen_by_decoder(&self) -> Option<&Arc<dyn Backbone>> {
        self.student.as_ref().or(self.teacher.as_ref())
    }
}

struct DafModel {
    teacher: Option<Teacher>,
    /// Of student, decoder and auxiliary heads.
    vars: VarStore,
    student: Option<Student>,
    discrepancy: Option<Discrepancy>,
    decoder: Option<Box<dyn Segmenter>>,
    /// Whether the decoder reads the residuals of the discrepancy.
    residuals: bool,
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
        let learned = match (&self.student, &self.decoder) {
            (Some(_), _) => Some("student"),
            (None, Some(_)) => Some("decoder"),
            (None, None) => None,
        };
        teacher
            .chain(learned.map(|name| Store::learned(name, &self.vars)))
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
        let teacher = match (&self.teacher, &self.student) {
            (Some(teacher), Some(_)) => teacher.features(batch),
            _ => Vec::new(),
        };
        let images = batch
            .synthetic
            .as_ref()
            .map_or(&batch.normal, |synthetic| &synthetic.images);
        let student = match &self.student {
            Some(student) => student.extract(&channels_last(images)),
            None => Vec::new(),
        };
        let seen = match (&self.teacher, &self.discrepancy) {
            (Some(network), Some(discrepancy)) if discrepancy.needs_seen && self.decoder.is_some() => {
                match &batch.synthetic {
                    Some(synthetic) => network.extract(&channels_last(&synthetic.images)),
                    None => network.features(batch),
                }
            }
            _ => Vec::new(),
        };
        let scaled = match &self.teacher {
            Some(network) if !seen.is_empty() => Some(network.scaled(images.shallow_clone())),
            _ => None,
        };
        let features = if student.is_empty() { &seen } else { &student };
        let mut losses = Losses::new();
        let mut found = Vec::new();
        if let Some(Discrepancy { comparator, .. }) = &self.discrepancy {
            let normal = features.iter().map(|features| normal_positions(batch, features));
            let normal: Vec<Tensor> = normal.collect();
            found = comparator.compare(&Compared {
                teacher: &teacher,
                student: &student,
                seen: &seen,
                scaled: scaled.as_ref().map(|scaled| scaled as _),
                normal: Some(&normal),
                indices: Some(&batch.indices),
                maps: self.decoder.is_some(),
                residuals: self.residuals,
            })?;
            for Comparison {
                stage, losses: terms, ..
            } in &mut found
            {
                let named = terms.drain(..);
                losses.extend(named.map(|(name, loss)| (format!("{name}.{}", *stage + 1), loss)));
            }
        }
        let Some((synthetic, targets)) = damage else {
            return Ok(losses);
        };
        if let Some(decoder) = &self.decoder {
            let logits = decoder.segment(features, &found);
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
            Fit::AfterTraining => self.student.as_ref(),
        };
        let features = Normal {
            teacher,
            student,
            images,
        };
        discrepancy.comparator.fit(when, &features)
    }

    fn kept_patches(&self) -> u64 {
        (self.discrepancy.as_ref()).map_or(0, |discrepancy| discrepancy.comparator.kept_patches())
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let (n, _, h, w) = images.size4()?;
        add_published_only(self.published_only * n as u64);
        let images = channels_last(images);
        single_threaded_if_small(images.device(), (n * h * w) as usize, || self.maps(&images))
    }
}

impl DafModel {
    fn maps(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let (teacher, student) = match (&self.teacher, &self.student) {
            (Some(teacher), Some(student)) => teacher.extract_beside(student, images),
            (teacher, student) => (
                teacher
                    .as_ref()
                    .map(|teacher| teacher.extract(images))
                    .unwrap_or_default(),
                student
                    .as_ref()
                    .map(|student| student.extract(images))
                    .unwrap_or_default(),
            ),
        };
        let scaled = self
            .teacher
            .as_ref()
            .map(|network| network.scaled(images.shallow_clone()));
        let found = match &self.discrepancy {
            Some(Discrepancy { comparator, .. }) => comparator.compare(&Compared {
                residuals: self.residuals,
                scaled: scaled.as_ref().map(|scaled| scaled as _),
                ..Compared::of(&teacher, &student)
            })?,
            None => Vec::new(),
        };
        let features = if student.is_empty() { &teacher } else { &student };
        let probability = self
            .decoder
            .as_ref()
            .map(|decoder| decoder.segment(features, &found).sigmoid());
        Ok(Maps {
            discrepancy: found.into_iter().map(|found| found.map).collect(),
            probability,
            images: None,
        })
    }
}

/// A discrepancy measure with what it learns and is fitted with.
struct Discrepancy {
    vars: VarStore,
    comparator: Box<dyn Comparator>,
    /// Whether it compares the teacher's features of the images at hand.
    needs_seen: bool,
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
        Ok(Self {
            vars,
            comparator,
            needs_seen: measure.needs_seen(),
        })
    }

    /// Its file; none for a measure that has nothing to keep. Not a frozen one, which is written before the training: a measure
    /// may be fitted after it.
    fn store(&self) -> Option<Store<'_>> {
        (!self.vars.is_empty()).then(|| Store::learned("discrepancy", &self.vars))
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
