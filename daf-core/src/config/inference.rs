use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tch::Device;

use super::pipeline::part;
use super::{DeviceChoice, Evaluation, Input};
use crate::block::{Mode, Precision};
use crate::data::Normalization;
use crate::weights::WeightFolders;
use crate::{BuildContext, Kind, Method, Model, Pipeline, Result, Scorer};

/// The part of a pipeline that scores images: what a trained run is used with, wherever the data and the synthesizer are that
/// it was trained with.
#[derive(Debug, Clone)]
pub struct Inference {
    /// Where tensors live.
    pub device: DeviceChoice,
    /// In what numbers convolutions compute.
    pub precision: Precision,
    /// What the network is given of images.
    pub input: Input,
    /// How the model is made.
    pub method: Arc<dyn Method>,
    /// How maps become scores.
    pub scorer: Arc<dyn Scorer>,
    /// Images that are read and scored together.
    pub batch_size: usize,
}

impl Pipeline {
    /// What of the pipeline scores images.
    #[must_use]
    pub fn inference(&self) -> Inference {
        Inference {
            device: self.device,
            precision: self.precision,
            input: self.input,
            method: Arc::clone(&self.method),
            scorer: Arc::clone(&self.scorer),
            batch_size: self.evaluation.batch_size,
        }
    }
}

impl Inference {
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
        let size = self.input.size;
        let context = BuildContext {
            device,
            size: (i64::from(size.height()), i64::from(size.width())),
            mode,
            precision: self.precision,
            pretrained,
        };
        (self.method.build_checked(&context))
            .map_err(|source| self.method.fault("building the model", source))
    }

    /// Whether it gives the same images the same scores as another one, if the weights are the same.
    pub(crate) fn scores_as(&self, other: &Self) -> bool {
        let value = |of: &Self| serde_json::to_value((&of.method, &of.input, &of.scorer)).ok();
        value(self).is_some_and(|own| Some(own) == value(other))
    }

    /// Checks ranges and what the parts say of themselves, and settles precision and normalization.
    pub(super) fn check(&mut self) -> Result<()> {
        if self.precision == Precision::Auto {
            self.precision = Precision::native(self.device.resolve()?);
        }
        // First: the rest asks the method what it needs.
        let method = &self.method;
        part(Kind::Method, method.typetag_name(), "method", method.check())?;
        if self.input.normalization == Normalization::Auto {
            self.input.normalization = method.normalization();
        }
        self.input.check(method.stride().max(1), method.min_side())?;
        let scorer = &self.scorer;
        part(Kind::Scorer, scorer.typetag_name(), "scorer", scorer.check())
    }
}

/// A pipeline of which only that is read which scores images: parts of the rest may be of crates that are not linked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(default)]
    device: DeviceChoice,
    #[serde(default)]
    precision: Precision,
    #[serde(default)]
    input: Input,
    method: Arc<dyn Method>,
    scorer: Arc<dyn Scorer>,
    #[serde(default)]
    evaluation: Evaluation,
    #[serde(default, rename = "plugins")]
    _plugins: IgnoredAny,
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

impl From<Written> for Inference {
    fn from(written: Written) -> Self {
        Self {
            device: written.device,
            precision: written.precision,
            input: written.input,
            method: written.method,
            scorer: written.scorer,
            batch_size: written.evaluation.batch_size,
        }
    }
}
