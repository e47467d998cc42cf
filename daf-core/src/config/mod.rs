//! The pipeline: parts and settings, fully resolved.

mod every;
mod inference;
mod input;
mod layers;
mod moment;
mod plugins;
mod refusal;
mod schema;
mod setting;
mod words;
mod yaml;

use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::block::{Mode, Precision};
use crate::calibration::Rule;
use crate::data::geometry::MaskRule;
use crate::data::{Depth, InputImage, Normals, SampleSettings, Samples, Values};
use crate::weights::WeightFolders;
use crate::{Dataset, Error, Item, Kind, Method, Model, Result, Scorer, Split, Synthesizer};

pub use every::Every;
pub use inference::Inference;
pub use input::{ChannelOrder, Input, Normalization, Size};
pub use layers::{Layers, read_file};
pub use moment::Moment;
pub use plugins::{Dependency, Plugins};
pub use schema::schema;
pub use setting::{Plain, Setting, Settings};
pub(crate) use words::typed;

/// Images whose values `input.depth: auto` looks at, at most.
const LOOKED_AT: usize = 1000;

/// Everything that a run is made of. What a run directory keeps of it reproduces the run.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Crates that bring further parts, in the syntax of Cargo's dependencies: `my-parts: { path: ../my-parts }`. They
    /// must be linked into the program; `daf-cli build` makes one.
    #[serde(default, skip_serializing_if = "Plugins::is_empty")]
    pub plugins: Plugins,
    /// From this number comes everything that is drawn at random; 0 to 9223372036854775807.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Where tensors live: `auto` (the first CUDA device, if there is one), `cpu` or `cuda:N`.
    #[serde(default)]
    pub device: DeviceChoice,
    /// In what numbers convolutions compute: `float32`, `bf16`, or `auto`, which is `bf16` where the device has it natively.
    #[serde(default)]
    pub precision: Precision,
    /// Where images come from.
    pub data: Arc<dyn Dataset>,
    /// What the network is given of them.
    #[serde(default)]
    pub input: Input,
    /// What damages normal images; `null` trains on normal images alone.
    #[serde(default)]
    pub synthesizer: Option<Arc<dyn Synthesizer>>,
    /// How the parts make a trainable model.
    pub method: Arc<dyn Method>,
    /// How maps become scores.
    pub scorer: Arc<dyn Scorer>,
    /// How long and how fast to learn.
    #[serde(default)]
    pub trainer: Trainer,
    /// How thresholds are chosen.
    #[serde(default)]
    pub validation: Validation,
    /// What is measured.
    #[serde(default)]
    pub evaluation: Evaluation,
    /// What is written.
    #[serde(default)]
    pub output: Output,
}

const fn default_seed() -> u64 {
    1126
}

/// Where tensors live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub enum DeviceChoice {
    /// The first CUDA device, if there is one, otherwise the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device.
    Cuda(usize),
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        match choice {
            DeviceChoice::Auto => "auto".into(),
            DeviceChoice::Cpu => "cpu".into(),
            DeviceChoice::Cuda(index) => format!("cuda:{index}"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => other
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("expected `auto`, `cpu` or `cuda:N`, found `{other}`")),
        }
    }
}

impl DeviceChoice {
    /// The device itself.
    ///
    /// # Errors
    /// If the CUDA device that is asked for is not there.
    pub fn resolve(self) -> Result<tch::Device> {
        let found = if tch::Cuda::is_available() {
            tch::Cuda::device_count()
        } else {
            0
        };
        match self {
            Self::Auto if found > 0 => Ok(tch::Device::Cuda(0)),
            Self::Auto | Self::Cpu => Ok(tch::Device::Cpu),
            Self::Cuda(index) if i64::try_from(index).is_ok_and(|index| index < found) => {
                Ok(tch::Device::Cuda(index))
            }
            Self::Cuda(index) => Err(Error::Config {
                layer: "this machine".into(),
                at: "device".into(),
                reason: format!("cuda:{index} was asked for, but libtorch sees {found} CUDA devices"),
                hint: Some(
                    "`device: auto` takes what there is; `daf-cli doctor` says what libtorch sees".into(),
                ),
            }),
        }
    }
}

/// How long and how fast to learn.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Trainer {
    /// Length in epochs; an epoch is as many samples as there are normal images. 1200 unless `steps` is given.
    pub epochs: Option<u64>,
    /// Length in steps, instead of `epochs`.
    pub steps: Option<u64>,
    /// Images per step.
    pub batch_size: usize,
    /// Threads that read and damage images; by default one per core, at most eight. The samples do not depend on it.
    pub workers: Option<usize>,
    /// The rule by which weights change.
    pub optimizer: Optimizer,
    /// How the learning rate changes; by default the paper's proportions: a warm-up over 1/24 of the length and factors
    /// of 0.2 at 7/12 and 5/6 of it.
    pub schedule: Option<Schedule>,
    /// Share of the samples, 0..=1, that stay normal.
    pub normal_share: f64,
    /// How much work an interrupted run may lose: `100 steps`, `2 epochs` or `60 s`; by default the shorter of an epoch
    /// and 60 s.
    pub checkpoint_every: Option<Every>,
    /// Memory for decoded images in MiB; those that do not fit are read again every time.
    pub cache_mb: u64,
    /// Memory for the features of undamaged images in MiB, on the device of the training. A frozen teacher need not compute
    /// them again in every epoch; 0 lets it. Images of which a window is drawn at random are always computed.
    pub feature_cache_mb: u64,
}

impl Default for Trainer {
    fn default() -> Self {
        Self {
            epochs: None,
            steps: None,
            batch_size: 8,
            workers: None,
            optimizer: Optimizer::default(),
            schedule: None,
            normal_share: 0.0,
            checkpoint_every: None,
            cache_mb: 1024,
            feature_cache_mb: 1024,
        }
    }
}

/// The rule by which weights change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// Adam with decoupled weight decay; β 0.9 and 0.999, ε 1e-8.
    Adamw {
        /// Learning rate after the warm-up.
        #[serde(default = "adamw_rate")]
        learning_rate: f64,
        /// Share of a weight that is taken off per step, times the learning rate.
        #[serde(default = "adamw_decay")]
        weight_decay: f64,
    },
    /// Adam; ε 1e-8.
    Adam {
        /// Learning rate after the warm-up.
        #[serde(default = "adam_rate")]
        learning_rate: f64,
        /// Shares of the gradient's mean and of its square's mean that are kept from step to step.
        #[serde(default = "adam_betas")]
        betas: (f64, f64),
        /// Share of a weight that is added to its gradient.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Learning rate after the warm-up.
        learning_rate: f64,
        /// Share of the last step that is kept.
        #[serde(default = "sgd_momentum")]
        momentum: f64,
        /// Share of a weight that is added to its gradient.
        #[serde(default)]
        weight_decay: f64,
    },
}

const fn adamw_rate() -> f64 {
    2e-4
}
const fn adamw_decay() -> f64 {
    1e-5
}
const fn adam_rate() -> f64 {
    1e-3
}
const fn adam_betas() -> (f64, f64) {
    (0.9, 0.999)
}
const fn sgd_momentum() -> f64 {
    0.9
}

impl Optimizer {
    /// The rate after the warm-up.
    #[must_use]
    pub const fn learning_rate(&self) -> f64 {
        match self {
            Self::Adamw { learning_rate, .. }
            | Self::Adam { learning_rate, .. }
            | Self::Sgd { learning_rate, .. } => *learning_rate,
        }
    }
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::Adamw {
            learning_rate: adamw_rate(),
            weight_decay: adamw_decay(),
        }
    }
}

/// How the learning rate changes. Moments are in the unit of the trainer's length, epochs or steps, or shares of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Length of the linear rise from 0.
    pub warmup: Moment,
    /// When the rate is multiplied by `gamma`, counted from the start.
    pub milestones: Vec<Moment>,
    /// The factor at each milestone.
    pub gamma: f64,
    /// Share of the rate, 0 to 1, that is left at the end of a fall along half a cosine, which begins after the warm-up;
    /// `null` does without.
    pub cosine_to: Option<f64>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            warmup: Moment::After(0),
            milestones: Vec::new(),
            gamma: 0.2,
            cosine_to: None,
        }
    }
}

/// How thresholds are chosen: with normal images that are held out of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Validation {
    /// Share of the normal images that is held out, 0 to 0.5; which ones depends on the seed. With 0, and where there are
    /// too few images, thresholds rest on the images that were trained with and tend to be too low.
    pub share: f64,
    /// How a threshold is chosen: `extreme_value`, `quantile`, `synthetic` or `f1_max`. Only `f1_max` uses the labels of
    /// the test split.
    pub threshold: Rule,
    /// Share of normal images that may score over the threshold, over 0 to 0.5; for `extreme_value` and `quantile`.
    pub false_alarms: f64,
}

impl Default for Validation {
    fn default() -> Self {
        Self {
            share: 0.1,
            threshold: Rule::default(),
            false_alarms: 0.01,
        }
    }
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluation {
    /// False-positive rate up to which the PRO curve is integrated, over 0 to 1.
    pub pro_limit: f64,
    /// Images that are read and scored together; a forward pass on a CPU takes fewer of them if they are large.
    pub batch_size: usize,
    /// At what size pixels are compared with masks: `network` (that of the score maps) or `image` (that of the images).
    pub resolution: Resolution,
    /// How masks are brought to that size: `nearest`, `any` (a pixel is defective if anything that it covers is), or `auto`:
    /// `any` where a side shrinks to less than half, otherwise `nearest`.
    pub mask_rule: MaskRule,
    /// How often images are drawn anew for 95 % confidence intervals; 0 leaves them out.
    pub resamples: u32,
    /// Memory for pixel scores in MiB. A larger test set is counted in bins, and the error that this brings is reported.
    pub memory_mb: usize,
}

/// At what size pixels are compared with masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// The size of the score maps: masks are brought to it.
    #[default]
    Network,
    /// The size of the images: score maps are enlarged to it.
    Image,
}

impl Default for Evaluation {
    fn default() -> Self {
        Self {
            pro_limit: 0.3,
            batch_size: 8,
            resolution: Resolution::default(),
            mask_rule: MaskRule::default(),
            resamples: 1000,
            memory_mb: 2048,
        }
    }
}

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// The run directory; by default `runs/` and the name of the pipeline file.
    pub dir: Option<PathBuf>,
    /// Whether pictures of the test images and their heat maps are drawn into `maps/`.
    pub maps: bool,
    /// Whether the score maps themselves are written beside them, as TIFF files of 32-bit floats.
    pub raw_maps: bool,
}

impl Default for Output {
    fn default() -> Self {
        Self {
            dir: None,
            maps: true,
            raw_maps: false,
        }
    }
}

impl Pipeline {
    /// The method's model, as [`Inference::build`].
    ///
    /// # Errors
    /// As that.
    pub fn build(
        &self,
        device: Device,
        mode: Mode,
        pretrained: Option<&WeightFolders>,
    ) -> Result<Box<dyn Model>> {
        self.inference().build(device, mode, pretrained)
    }

    /// The images of a split, pages of TIFF files one by one where `input.pages` says so.
    ///
    /// # Errors
    /// As [`Dataset::items`].
    pub fn items(&self, split: Split) -> Result<Vec<Item>> {
        Ok(self.input.pages.of_items(self.data.list(split)?))
    }

    /// The training images: those to learn from and those held out.
    ///
    /// # Errors
    /// If they cannot be listed or there are none.
    pub fn normals(&self) -> Result<Normals> {
        Normals::of(self.items(Split::Train)?, self.validation.share, self.seed)
    }

    /// An image of the data set as the network's input is made from it.
    ///
    /// # Errors
    /// Names the file and why it cannot be used.
    pub fn open(&self, item: &Item) -> Result<InputImage> {
        self.data.open(item, self.input.reading())
    }

    /// The samples of normal images, made as the pipeline says; `normal_share` of them stay as they are.
    ///
    /// # Errors
    /// As [`Samples::new`].
    pub fn samples(&self, items: Vec<Item>, normal_share: f64) -> Result<Samples> {
        Samples::new(
            Arc::clone(&self.data),
            items,
            self.synthesizer.clone(),
            SampleSettings {
                geometry: self.input.geometry(),
                reading: self.input.reading(),
                seed: self.seed,
                normal_share,
                cache_bytes: self.trainer.cache_mb << 20,
            },
        )
    }

    /// Checks ranges and what the parts say of themselves, before any work is done. Writes the defaults that depend on
    /// other settings (length, schedule) into their places, so that a run directory holds them.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&mut self) -> Result<()> {
        self.check_network()?;
        self.check_sources()?;
        self.settle_depth();
        Ok(())
    }

    /// Finds out which values of the training images are black and white, if that is left to `auto` and some are deeper than
    /// 8 bits. Of very many, some are looked at.
    pub(crate) fn settle_depth(&mut self) {
        if self.input.depth != Depth::Auto {
            return;
        }
        // A faulty listing is for the command to report.
        let Ok(items) = self.items(Split::Train) else {
            return;
        };
        let step = items.len().div_ceil(LOOKED_AT).max(1);
        let found = (items.par_iter().step_by(step))
            // A file that cannot be read is for the training to report; drawn images have none.
            .filter_map(|item| Values::of_file(&item.image).ok().flatten())
            .reduce_with(Values::and);
        let Some(found) = found else {
            return;
        };
        self.input.depth = found.depth();
        if self.input.depth == Depth::Bits(16) && found.bits == 16 {
            return;
        }
        let (low, high) = found.range;
        tracing::warn!(
            "the {}-bit training images hold values from {low} to {high}: they are read as {} (input.depth)",
            found.bits,
            self.input.depth
        );
    }

    /// What [`check`](Self::check) asks of data and synthesizer, such as whether their folders are there. Whoever scores
    /// images of their own needs neither.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_sources(&self) -> Result<()> {
        part(Kind::Dataset, self.data.typetag_name(), "data", self.data.check())?;
        match &self.synthesizer {
            Some(synthesizer) => part(
                Kind::Synthesizer,
                synthesizer.typetag_name(),
                "synthesizer",
                synthesizer.check(),
            ),
            None => Ok(()),
        }
    }

    /// The rest of [`check`](Self::check).
    pub(crate) fn check_network(&mut self) -> Result<()> {
        self.trainer.resolve()?;
        let mut inference = self.inference();
        inference.check()?;
        self.precision = inference.precision;
        let range = |at: &str, ok: bool, expected: &str, found: &dyn std::fmt::Display| {
            if ok {
                Ok(())
            } else {
                Err(fault(at, format!("expected {expected}, found {found}")))
            }
        };
        let limit = self.evaluation.pro_limit;
        range(
            "evaluation.pro_limit",
            limit > 0.0 && limit <= 1.0,
            "a number over 0 and at most 1",
            &limit,
        )?;
        let held = self.validation.share;
        range(
            "validation.share",
            (0.0..=0.5).contains(&held),
            "a share of 0 to 0.5",
            &held,
        )?;
        let alarms = self.validation.false_alarms;
        range(
            "validation.false_alarms",
            alarms > 0.0 && alarms <= 0.5,
            "a share over 0 and at most 0.5",
            &alarms,
        )?;
        if self.validation.threshold == Rule::Synthetic && self.synthesizer.is_none() {
            return Err(fault(
                "validation.threshold",
                "`synthetic` damages held-out images, but there is no synthesizer",
            ));
        }
        let batch = self.evaluation.batch_size;
        range(
            "evaluation.batch_size",
            (1..=LARGEST_BATCH).contains(&batch),
            &format!("1 to {LARGEST_BATCH}"),
            &batch,
        )?;
        let resamples = self.evaluation.resamples;
        range(
            "evaluation.resamples",
            resamples <= MOST_RESAMPLES,
            &format!("at most {MOST_RESAMPLES}"),
            &resamples,
        )?;
        for (at, memory) in [
            ("evaluation.memory_mb", self.evaluation.memory_mb as u64),
            ("trainer.cache_mb", self.trainer.cache_mb),
            ("trainer.feature_cache_mb", self.trainer.feature_cache_mb),
        ] {
            range(
                at,
                memory <= LARGEST_MEMORY,
                &format!("at most {LARGEST_MEMORY} MiB"),
                &memory,
            )?;
        }
        if self.synthesizer.is_none() && self.method.needs_synthesis() {
            return Err(fault(
                "synthesizer",
                format!(
                    "method `{}` learns from synthetic defects, but there is no synthesizer",
                    self.method.typetag_name()
                ),
            ));
        }
        Ok(())
    }
}

/// Adds to what a part says of itself which one it is.
fn part(kind: Kind, name: &str, at: &str, result: Result<(), crate::BoxError>) -> Result<()> {
    result.map_err(|source| Error::Part {
        kind,
        name: name.into(),
        at: at.into(),
        source,
    })
}

impl Trainer {
    /// Threads that prepare samples: `workers`, or one per core, up to 8.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.unwrap_or_else(|| {
            std::thread::available_parallelism()
                .map_or(1, std::num::NonZero::get)
                .min(8)
        })
    }

    /// Checks ranges, and writes length and schedule out.
    fn resolve(&mut self) -> Result<()> {
        let length = match (self.epochs, self.steps) {
            (Some(_), Some(_)) => {
                return Err(fault("trainer.steps", "give `epochs` or `steps`, not both"));
            }
            (None, None) => *self.epochs.insert(1200),
            (Some(length), None) | (None, Some(length)) => length,
        };
        let unit = if self.epochs.is_some() { "epochs" } else { "steps" };
        if length == 0 {
            return Err(fault(&format!("trainer.{unit}"), "expected at least 1, found 0"));
        }
        let schedule = self.schedule.get_or_insert_with(|| Schedule {
            warmup: (length / 24).into(),
            milestones: vec![
                (length.saturating_mul(7) / 12).into(),
                (length.saturating_mul(5) / 6).into(),
            ],
            ..Schedule::default()
        });
        for moment in schedule.milestones.iter_mut().chain([&mut schedule.warmup]) {
            *moment = moment.of(length).into();
        }
        if let Some(share) = schedule.cosine_to.filter(|share| !(0.0..=1.0).contains(share)) {
            return Err(fault(
                "trainer.schedule.cosine_to",
                format!("expected a share of 0 to 1, found {share}"),
            ));
        }
        if !(schedule.gamma > 0.0 && schedule.gamma <= 1.0) {
            return Err(fault(
                "trainer.schedule.gamma",
                format!("expected a number over 0 and at most 1, found {}", schedule.gamma),
            ));
        }
        if !schedule
            .milestones
            .is_sorted_by_key(|milestone| milestone.of(length))
        {
            return Err(fault("trainer.schedule.milestones", "expected rising numbers"));
        }
        if !(1..=LARGEST_BATCH).contains(&self.batch_size) {
            return Err(fault(
                "trainer.batch_size",
                format!("expected 1 to {LARGEST_BATCH}, found {}", self.batch_size),
            ));
        }
        if let Some(workers) = self
            .workers
            .filter(|workers| !(1..=MOST_WORKERS).contains(workers))
        {
            return Err(fault(
                "trainer.workers",
                format!("expected 1 to {MOST_WORKERS}, found {workers}"),
            ));
        }
        if !(0.0..=1.0).contains(&self.normal_share) {
            return Err(fault(
                "trainer.normal_share",
                format!("expected a share of 0 to 1, found {}", self.normal_share),
            ));
        }
        let numbers = match self.optimizer {
            Optimizer::Adamw {
                learning_rate,
                weight_decay,
            } => {
                vec![("learning_rate", learning_rate), ("weight_decay", weight_decay)]
            }
            Optimizer::Adam {
                learning_rate,
                betas,
                weight_decay,
            } => {
                for beta in [betas.0, betas.1] {
                    if !(0.0..1.0).contains(&beta) {
                        return Err(fault(
                            "trainer.optimizer.betas",
                            format!("expected shares of 0 to under 1, found {beta}"),
                        ));
                    }
                }
                vec![("learning_rate", learning_rate), ("weight_decay", weight_decay)]
            }
            Optimizer::Sgd {
                learning_rate,
                momentum,
                weight_decay,
            } => {
                vec![
                    ("learning_rate", learning_rate),
                    ("momentum", momentum),
                    ("weight_decay", weight_decay),
                ]
            }
        };
        for (name, value) in numbers {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(fault(
                    &format!("trainer.optimizer.{name}"),
                    format!("must not be negative, found {value}"),
                ));
            }
        }
        Ok(())
    }

    /// How many steps the training has on so many normal images.
    #[must_use]
    pub fn total_steps(&self, images: usize) -> u64 {
        match (self.steps, self.epochs) {
            (Some(steps), _) => steps,
            (None, epochs) => epochs
                .unwrap_or(1200)
                .saturating_mul(images as u64)
                .div_ceil(self.batch_size as u64),
        }
    }

    /// Learning rate of a step, as a factor, on so many normal images.
    #[must_use]
    pub fn rate(&self, step: u64, images: usize) -> f64 {
        let Some(schedule) = &self.schedule else {
            return 1.0;
        };
        let time = if self.steps.is_some() {
            step
        } else {
            self.epoch(step, images)
        };
        let length = self.steps.or(self.epochs).unwrap_or(1200);
        let warmup = schedule.warmup.of(length);
        // The official warm-up starts at a rate of 0: its first epoch only moves the statistics of the batch norms.
        let rise = if time < warmup {
            time as f64 / warmup as f64
        } else {
            1.0
        };
        let passed = schedule
            .milestones
            .iter()
            .filter(|milestone| time >= milestone.of(length))
            .count();
        let fallen = schedule.cosine_to.map_or(1.0, |share| {
            let part = time.saturating_sub(warmup) as f64 / length.saturating_sub(warmup).max(1) as f64;
            share + (1.0 - share) * (1.0 + (std::f64::consts::PI * part.min(1.0)).cos()) / 2.0
        });
        rise * fallen * schedule.gamma.powi(i32::try_from(passed).unwrap_or(i32::MAX))
    }

    /// The epoch, counted from 0, in which a step begins.
    #[must_use]
    pub const fn epoch(&self, step: u64, images: usize) -> u64 {
        step.saturating_mul(self.batch_size as u64) / if images == 0 { 1 } else { images as u64 }
    }
}

/// No machine computes more images at once; a larger number is a mistake.
const LARGEST_BATCH: usize = 1 << 16;
/// No machine has more cores.
const MOST_WORKERS: usize = 4096;
/// More would change nothing and take days.
const MOST_RESAMPLES: u32 = 1_000_000;
/// In MiB: no machine has more.
const LARGEST_MEMORY: u64 = 1 << 34;

/// Stands for the layer in faults of a pipeline that was not read from layers.
const UNPLACED: &str = "pipeline";

/// A value that is out of range; the layer that it came from is filled in by [`Layers`].
fn fault(at: &str, reason: impl Into<String>) -> Error {
    Error::Config {
        layer: UNPLACED.into(),
        at: at.into(),
        reason: reason.into(),
        hint: None,
    }
}
