use tch::Tensor;
use tch::nn::{self, Path};

use super::{Init, Precision};

/// Use of a network. It cannot change later: a trained model is saved and built anew for inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch norms use and update the statistics of the batch.
    Train,
    /// Batch norms are folded into the convolutions when the network first runs; weights loaded later have no effect.
    Infer,
}

/// Settings of batch norms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormConfig {
    /// Addend of the variance under the root.
    pub epsilon: f64,
    /// Share of a batch in the running mean and variance.
    pub momentum: f64,
}

impl BatchNormConfig {
    /// PyTorch's defaults: 1e-5 and 0.1.
    pub const PYTORCH: Self = Self {
        epsilon: 1e-5,
        momentum: 0.1,
    };
}

/// Builder of blocks below one name of a variable store.
#[derive(Debug, Clone)]
pub struct Blocks<'a> {
    pub(super) path: Path<'a>,
    pub(super) mode: Mode,
    pub(super) init: Init,
    pub(super) precision: Precision,
    pub(super) batch_norm: BatchNormConfig,
}

impl<'a> Blocks<'a> {
    /// Blocks below `path`.
    #[must_use]
    pub const fn new(path: Path<'a>, mode: Mode, init: Init, precision: Precision) -> Self {
        Self {
            path,
            mode,
            init,
            precision,
            batch_norm: BatchNormConfig::PYTORCH,
        }
    }

    /// Blocks with other settings of batch norms.
    #[must_use]
    pub fn with_batch_norm(&self, batch_norm: BatchNormConfig) -> Self {
        Self {
            batch_norm,
            ..self.clone()
        }
    }

    /// Blocks below the name `name`.
    #[must_use]
    pub fn sub(&self, name: &str) -> Self {
        Self {
            path: self.path.sub(name),
            ..*self
        }
    }

    /// Use of the network.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// A learned tensor called `name`, in float32, drawn from a normal distribution: a token, a position embedding, or with a
    /// standard deviation of 0 a scale.
    pub fn parameter(&self, name: &str, size: &[i64], mean: f64, stdev: f64) -> Tensor {
        self.path.var(name, size, nn::Init::Randn { mean, stdev })
    }

    /// A tensor called `name` that is saved with the weights and not learned, in float32 and 0 at first. It is given a value, of
    /// any size, by [`weights::set`](crate::weights::set); without elements it takes the size that a file has.
    pub fn buffer(&self, name: &str, size: &[i64]) -> Tensor {
        self.path.zeros_no_train(name, size)
    }

    /// A list of integers called `name` that is saved with the weights and not learned, in int64 and without elements at first; see
    /// [`buffer`](Self::buffer).
    pub fn integers(&self, name: &str) -> Tensor {
        let none = Tensor::zeros([0], (tch::Kind::Int64, self.path.device()));
        self.path.add(name, none, false)
    }
}
