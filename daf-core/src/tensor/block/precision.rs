use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

/// Number format of convolutions, linear layers and attention. Parameters, norms, discrepancy, losses and scores are
/// float32 in either case. In inference on CPUs 3×3 convolutions may be computed by Winograd's algorithm, in float32 in
/// either case, which rounds some ten times more coarsely than adding in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 24 bits of mantissa. On GPUs that have TF32, cuDNN's convolutions multiply numbers of 11 bits
    /// (unless the environment has `NVIDIA_TF32_OVERRIDE=0`).
    #[default]
    Float32,
    /// 8 bits of mantissa; faster on processors with bfloat16 instructions, a training step by about a half.
    Bf16,
    /// `bf16` where the device computes in it natively, otherwise `float32`. A pipeline that has been checked holds which
    /// of the two it is, and so does a run.
    Auto,
}

impl Precision {
    /// Precision that [`Auto`](Self::Auto) stands for on a device: bfloat16 on GPUs, which have had it since 2020, and on processors
    /// with instructions for it.
    #[must_use]
    pub fn native(device: Device) -> Self {
        #[cfg(target_arch = "x86_64")]
        let processor = std::arch::is_x86_feature_detected!("avx512bf16");
        #[cfg(target_arch = "aarch64")]
        let processor = std::arch::is_aarch64_feature_detected!("bf16");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let processor = false;
        if device.is_cuda() || processor {
            Self::Bf16
        } else {
            Self::Float32
        }
    }

    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Float32 | Self::Auto => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
        }
    }
}
