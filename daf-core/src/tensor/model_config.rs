use std::path::Path;
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tch::Device;

use super::block::{Mode, Precision};
use super::weights::WeightFolders;
use super::{BuildContext, Fit, Method, Model, NormalImages, Postprocessor, Scorer};
use crate::Result;
use crate::calibration::Calibration;
use crate::config::{self, DeviceChoice, Input, Layers, Plugins, to_yaml};
use crate::data::Normalization;
use crate::results::MODEL;

/// Everything that a trained model is used with: the half of a pipeline that scores images. A run keeps it as `model.yaml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct ModelConfig {
    /// Crates that bring parts of the method or the scorer.
    #[serde(skip_serializing_if = "Plugins::is_empty")]
    pub plugins: Plugins,
    /// Where tensors live.
    pub device: DeviceChoice,
    /// In what numbers convolutions compute.
    pub precision: Precision,
    /// Preparation of images for the network.
    pub input: Input,
    /// How the model is made.
    pub method: Arc<dyn Method>,
    /// How maps become scores.
    pub scorer: Arc<dyn Scorer>,
    /// Images that are read and scored together.
    pub batch_size: usize,
}

impl ModelConfig {
    /// Images that are read and scored together where nothing else is said.
    pub const BATCH_SIZE: usize = 8;

    /// Settings of the run in a directory, changed by `settings`, each `KEY=VALUE` as for [`Layers::set`]. Runs of versions that
    /// wrote no `model.yaml` have it in their pipeline.
    ///
    /// # Errors
    /// If the directory is not a run, or a setting cannot be read.
    pub fn open<S: AsRef<str>>(run: &Path, settings: &[S]) -> Result<Self> {
        if run.join(MODEL).is_file() {
            Self::from_layers(&Layers::new("")?.file(run.join(MODEL))?.set(settings)?)
        } else {
            Self::from_layers(&Layers::of_run(run)?.set(settings)?)
        }
    }

    fn from_layers(layers: &Layers) -> Result<Self> {
        layers.resolve_some(&["method", "scorer"], Self::check)
    }

    /// The settings as YAML; reading it gives the same settings.
    ///
    /// # Errors
    /// If a part does not serialize.
    pub fn to_yaml(&self) -> Result<String> {
        to_yaml(self)
    }

    /// The method's model. Without folders for `pretrained` weights it is built for those of a run, which the caller loads.
    ///
    /// # Errors
    /// [`Error::Part`](crate::Error::Part) with what the method has to say.
    pub fn build(
        &self,
        device: Device,
        mode: Mode,
        pretrained: Option<&WeightFolders>,
    ) -> Result<Box<dyn Model>> {
        (self.method.build_checked(&self.context(device, mode, pretrained)))
            .map_err(|source| self.method.fault("building the model", source))
    }

    /// The built scorer.
    ///
    /// # Errors
    /// [`Error::Part`](crate::Error::Part) with what the scorer has to say.
    pub fn build_scorer(&self, device: Device) -> Result<Box<dyn Postprocessor>> {
        (self
            .scorer
            .build_checked(&self.context(device, Mode::Infer, None)))
        .map_err(|error| self.scorer.fault("building the scorer", error))
    }

    fn context<'w>(
        &self,
        device: Device,
        mode: Mode,
        pretrained: Option<&'w WeightFolders>,
    ) -> BuildContext<'w> {
        let size = self.input.size;
        BuildContext {
            device,
            size: (i64::from(size.height()), i64::from(size.width())),
            mode,
            precision: self.precision,
            pretrained,
        }
    }

    /// Number of weights and biases that the training changed, those that only training needs included.
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn parameters(&self) -> Result<u64> {
        Ok(self.build(Device::Cpu, Mode::Train, None)?.parameters())
    }

    /// Fits a model to the undamaged training images; says whether its stores have changed.
    ///
    /// # Errors
    /// [`Error::Part`](crate::Error::Part) if an image cannot be read or processed.
    pub fn fit(&self, model: &mut dyn Model, when: Fit, images: &dyn NormalImages) -> Result<bool> {
        tch::no_grad(|| model.fit(when, images))
            .map_err(|source| self.method.fault("fitting the model to normal images", source))
    }

    /// Whether it gives the same images the same scores as another one, if the weights are the same.
    #[must_use]
    pub fn scores_as(&self, other: &Self) -> bool {
        let value = |of: &Self| serde_json::to_value((&of.method, &of.input, &of.scorer)).ok();
        value(self).is_some_and(|own| Some(own) == value(other))
    }

    /// The thresholds of the run in a directory, unless these settings are `changed` from those of its training in a way that gives
    /// other scores.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn thresholds(&self, run: &Path, changed: bool) -> Result<Option<Calibration>> {
        // Where the run's own settings cannot be read without the others, nothing is known of its scores.
        let keeps = !changed || Self::open(run, &[] as &[&str]).is_ok_and(|trained| trained.scores_as(self));
        if keeps {
            return Calibration::read(run);
        }
        tracing::warn!("the thresholds of the run are not used: other settings give other scores");
        Ok(None)
    }

    /// Checks ranges and what the parts say of themselves, and settles precision and normalization.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&mut self) -> Result<()> {
        if self.precision == Precision::Auto {
            self.precision = Precision::native(self.device.resolve()?);
        }
        // First: the rest asks the method what it needs.
        let method = &self.method;
        method.check().map_err(|error| method.fault("method", error))?;
        if self.input.normalization == Normalization::Auto {
            self.input.normalization = method.normalization();
        }
        self.input.check(method.stride().max(1), method.min_side())?;
        let scorer = &self.scorer;
        scorer.check().map_err(|error| scorer.fault("scorer", error))?;
        if self.batch_size == 0 {
            return Err(config::fault("batch_size", "expected at least 1, found 0"));
        }
        Ok(())
    }
}

/// A [`ModelConfig`] as files write it: `model.yaml`, or a pipeline, of which parts of the rest may be of crates that are not linked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    plugins: Plugins,
    #[serde(default)]
    device: DeviceChoice,
    #[serde(default)]
    precision: Precision,
    #[serde(default)]
    input: Input,
    method: Arc<dyn Method>,
    scorer: Arc<dyn Scorer>,
    batch_size: Option<usize>,
    #[serde(default)]
    evaluation: Evaluation,
    #[serde(default, rename = "seed")]
    _seed: IgnoredAny,
    #[serde(default, rename = "data")]
    _data: IgnoredAny,
    #[serde(default, rename = "synthesizer")]
    _synthesizer: IgnoredAny,
    #[serde(default, rename = "trainer")]
    _trainer: IgnoredAny,
    #[serde(default, rename = "validation")]
    _validation: IgnoredAny,
    #[serde(default, rename = "output")]
    _output: IgnoredAny,
}

/// The keys of a pipeline's `evaluation` that count here.
#[derive(Deserialize, Default)]
struct Evaluation {
    batch_size: Option<usize>,
}

impl From<Written> for ModelConfig {
    fn from(written: Written) -> Self {
        let batch_size = written.evaluation.batch_size.or(written.batch_size);
        Self {
            plugins: written.plugins,
            device: written.device,
            precision: written.precision,
            input: written.input,
            method: written.method,
            scorer: written.scorer,
            batch_size: batch_size.unwrap_or(Self::BATCH_SIZE),
        }
    }
}
