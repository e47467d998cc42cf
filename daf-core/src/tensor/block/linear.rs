use tch::Tensor;

use super::{Blocks, Precision};
use crate::macs;

/// Linear layer over the last dimension, with a bias.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
    precision: Precision,
}

impl Blocks<'_> {
    /// A linear layer called `name`; its weights start as those of a 1×1 convolution.
    #[must_use]
    pub fn linear(&self, name: &str, input: i64, output: i64) -> Linear {
        let (path, size) = (self.path.sub(name), [output, input]);
        let bound = self.init.bias(&size);
        Linear {
            weight: path.add("weight", self.init.weight(&size, path.device()), true),
            bias: path.uniform("bias", &[output], -bound, bound),
            precision: self.precision,
        }
    }
}

impl Linear {
    /// N×…×`input` to N×…×`output`, in the numbers of the precision.
    pub fn forward(&self, input: &Tensor) -> Tensor {
        let kind = self.precision.kind();
        let (weight, bias) = (self.weight.to_kind(kind), self.bias.to_kind(kind));
        let output = input.to_kind(kind).linear(&weight, Some(&bias));
        macs::add(output.numel() as u64 * weight.size()[1] as u64, 0);
        output
    }

    /// The weight, `output`×`input`.
    pub const fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, `output` numbers.
    pub const fn bias(&self) -> &Tensor {
        &self.bias
    }
}
