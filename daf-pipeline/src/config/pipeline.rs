use std::sync::Arc;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Device;

use super::trainer::LARGEST_BATCH;
use super::{Evaluation, Output, Trainer};
use daf_core::block::{Mode, Precision};
use daf_core::calibration::{ThresholdRule, Validation};
use daf_core::config::{Bounds, Choice, DeviceChoice, Input, Layers, Plugins, fault};
use daf_core::data::{Depth, InputImage, Sizes, Values};
use daf_core::weights::WeightFolders;
use daf_core::{Dataset, Item, Method, Model, ModelConfig, Result, Scorer, Split, Synthesizer, registry};

use crate::samples::{SampleSettings, Samples, TrainValSplit};

/// Images whose values `input.depth: auto` looks at, at most.
const LOOKED_AT: usize = 1000;

/// Everything that a run is made of. What a run directory keeps of it reproduces the run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Crates that bring further parts, in the syntax of Cargo's dependencies: `my-parts: { path: ../my-parts }`. They
    /// must be linked into the program; `daf-cli build` makes one.
    #[serde(default, skip_serializing_if = "Plugins::is_empty")]
    pub plugins: Plugins,
    /// The recipe whose settings lie under the file. Not written back: what is written is resolved and holds them.
    #[serde(default, skip_serializing)]
    #[schemars(schema_with = "super::schema::recipe")]
    pub recipe: Option<String>,
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
    /// Preparation of images for the network.
    #[serde(default)]
    pub input: Input,
    /// Synthesizer of defects in normal images; `null` trains on normal images alone.
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
    /// Measurements on the test split.
    #[serde(default)]
    pub evaluation: Evaluation,
    /// Files that a run leaves.
    #[serde(default)]
    pub output: Output,
    /// How `input.size: auto` was chosen, if it was; for messages, not for files.
    #[serde(skip)]
    pub chosen: Option<Choice>,
}

const fn default_seed() -> u64 {
    1126
}

impl Pipeline {
    /// The pipeline of layers, checked.
    ///
    /// # Errors
    /// The errors of [`Layers::resolve`].
    pub fn from_layers(layers: &Layers) -> Result<Self> {
        layers.resolve(Self::check)
    }

    /// [`from_layers`](Self::from_layers) without asking data and synthesizer whether they find what they need: a trained run is
    /// used where neither the images nor the textures of its training are.
    pub(crate) fn of_run(layers: &Layers) -> Result<Self> {
        layers.resolve(Self::check_network)
    }

    /// The half of the pipeline that scores images, with the plugins that bring parts of it.
    #[must_use]
    pub fn model(&self) -> ModelConfig {
        ModelConfig {
            plugins: self.plugins_of_model(),
            device: self.device,
            precision: self.precision,
            input: self.input,
            method: Arc::clone(&self.method),
            scorer: Arc::clone(&self.scorer),
            batch_size: self.evaluation.batch_size,
        }
    }

    fn plugins_of_model(&self) -> Plugins {
        /// The crate whose parts every program has.
        const BUILT_IN: &str = "daf-models";
        let mut plugins = self.plugins.clone();
        let crates: Vec<&str> = plugins
            .iter()
            .map(|(name, plugin)| plugin.package(name))
            .collect();
        let Ok(parts) = serde_json::to_value((&self.method, &self.scorer)) else {
            return plugins;
        };
        let needed = registry::crates_of(&parts);
        // A crate that is named nowhere came with a plugin that depends on it, and which one that is cannot be told.
        if needed
            .iter()
            .all(|krate| *krate == BUILT_IN || crates.contains(krate))
        {
            plugins.retain(|name, plugin| needed.contains(plugin.package(name)));
        }
        plugins
    }

    /// The pipeline as YAML; reading it gives the same pipeline.
    ///
    /// # Errors
    /// If a part does not serialize.
    pub fn to_yaml(&self) -> Result<String> {
        daf_core::config::to_yaml(self)
    }

    /// The method's model, as [`ModelConfig::build`].
    ///
    /// # Errors
    /// The errors of [`ModelConfig::build`].
    pub fn build(
        &self,
        device: Device,
        mode: Mode,
        pretrained: Option<&WeightFolders>,
    ) -> Result<Box<dyn Model>> {
        self.model().build(device, mode, pretrained)
    }

    /// The images of a split, pages of TIFF files one by one where `input.pages` says so.
    ///
    /// # Errors
    /// The errors of [`Dataset::items`].
    pub fn items(&self, split: Split) -> Result<Vec<Item>> {
        Ok(Item::by_page(self.data.list(split)?, self.input.pages))
    }

    /// The training images: those to learn from and those held out.
    ///
    /// # Errors
    /// If they cannot be listed or there are none.
    pub fn normals(&self) -> Result<TrainValSplit> {
        TrainValSplit::of(self.items(Split::Train)?, self.validation.share, self.seed)
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
    /// The errors of [`Samples::new`].
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
        if self.input.size.is_auto() {
            // The parts are asked what they can take, and where their images are.
            self.method
                .check()
                .map_err(|error| self.method.fault("method", error))?;
            self.check_sources()?;
            self.settle_size()?;
        }
        self.check_network()?;
        self.check_sources()?;
        self.settle_depth();
        Ok(())
    }

    /// Chooses `input.size: auto` from the sizes of the training images, by the rules of [`Choice`] for the `fit` that is given.
    fn settle_size(&mut self) -> Result<()> {
        let items = self.items(Split::Train)?;
        let mut sizes = Sizes::of(self.data.as_ref(), &items, Sizes::LOOKED_AT);
        if let Some(region) = self.input.region.filter(|region| region.is_valid()) {
            for (width, height) in &mut sizes.sizes {
                let seen = region.of(*width, *height);
                (*width, *height) = (seen.width, seen.height);
            }
        }
        let bounds = Bounds::of(self.method.stride(), self.method.min_side());
        let Some(choice) = Choice::framed(&sizes, self.input.fit, self.input.tiles, bounds) else {
            let reason = match sizes.unreadable.into_iter().next() {
                Some(error) => error.to_string(),
                None => "there are none".into(),
            };
            let reason = format!(
                "`auto` is chosen from the sizes of the training images, of which none can be read: {reason}"
            );
            return Err(fault("input.size", reason));
        };
        self.input.size = choice.size;
        self.chosen = Some(choice);
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

    /// The checks of data and synthesizer in [`check`](Self::check), such as whether their folders are there. A program that scores
    /// images of their own needs neither.
    ///
    /// # Errors
    /// The errors of [`check`](Self::check).
    pub fn check_sources(&self) -> Result<()> {
        let data = &self.data;
        data.check().map_err(|error| data.fault("data", error))?;
        match &self.synthesizer {
            Some(synthesizer) => {
                (synthesizer.check()).map_err(|error| synthesizer.fault("synthesizer", error))
            }
            None => Ok(()),
        }
    }

    /// The rest of [`check`](Self::check).
    pub(crate) fn check_network(&mut self) -> Result<()> {
        self.trainer.resolve()?;
        let mut model = self.model();
        model.check()?;
        self.precision = model.precision;
        self.input.normalization = model.input.normalization;
        let range = |at: &str, ok: bool, expected: &str, found: &dyn std::fmt::Display| {
            if ok {
                Ok(())
            } else {
                Err(fault(at, format!("expected {expected}, found {found}")))
            }
        };
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
        if self.validation.threshold == ThresholdRule::Synthetic && self.synthesizer.is_none() {
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

/// More would change nothing and take days.
const MOST_RESAMPLES: u32 = 1_000_000;
/// In MiB: no machine has more.
const LARGEST_MEMORY: u64 = 1 << 34;
