use tch::nn::init::{FanInOut, NonLinearity, NormalOrUniform};
use tch::{Device, Kind, Tensor, nn};

/// Distribution of the initial weights of convolutions and linear layers. The batch norm behind a convolution starts at
/// weight 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Kaiming normal over the fan-out, biases 0: torchvision's networks.
    FanOut,
    /// Kaiming normal over the fan-in and batch-norm bias 1e-4: the heads of the official DAF code.
    FanIn,
    /// Normal with this standard deviation around 0, that of batch-norm weights around 1; biases 0.
    Normal(f64),
    /// Xavier uniform, biases 0.
    Xavier,
}

impl Init {
    /// A weight: outputs, inputs and the sides of the kernel; those of a transposed convolution begin with the inputs.
    pub(super) fn weight(self, size: &[i64], device: Device) -> Tensor {
        let kaiming = |fan| nn::Init::Kaiming {
            dist: NormalOrUniform::Normal,
            fan,
            non_linearity: NonLinearity::ReLU,
        };
        let init = match self {
            Self::FanOut => kaiming(FanInOut::FanOut),
            Self::FanIn => kaiming(FanInOut::FanIn),
            Self::Normal(stdev) => nn::Init::Randn { mean: 0.0, stdev },
            Self::Xavier => {
                let kernel: i64 = size[2..].iter().product();
                let bound = (6.0 / ((size[0] + size[1]) * kernel) as f64).sqrt();
                nn::Init::Uniform {
                    lo: -bound,
                    up: bound,
                }
            }
        };
        nn::f_init(init, size, device, Kind::Float).expect("a weight has outputs and inputs")
    }

    /// Largest absolute bias beside a weight of this size.
    pub(super) fn bias(self, size: &[i64]) -> f64 {
        match self {
            Self::FanOut | Self::Normal(_) | Self::Xavier => 0.0,
            // PyTorch's default is uniform within 1/sqrt(fan-in), which the official code leaves as it is.
            Self::FanIn => 1.0 / (size[1..].iter().product::<i64>() as f64).sqrt(),
        }
    }

    /// Weight and bias of a batch norm.
    pub(super) const fn batch_norm(self) -> (nn::Init, nn::Init) {
        match self {
            Self::FanOut | Self::Xavier => (nn::Init::Const(1.0), nn::Init::Const(0.0)),
            Self::FanIn => (nn::Init::Const(1.0), nn::Init::Const(1e-4)),
            Self::Normal(stdev) => (nn::Init::Randn { mean: 1.0, stdev }, nn::Init::Const(0.0)),
        }
    }
}
