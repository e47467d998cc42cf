use tch::{Kind, Tensor};

use super::{BatchNormConfig, Blocks};

/// Batch norm over N, H and W of N×C×H×W features.
#[derive(Debug)]
pub(super) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    config: BatchNormConfig,
}

impl BatchNorm {
    pub(super) fn new(blocks: &Blocks, name: &str, channels: i64) -> Self {
        let path = &blocks.path.sub(name);
        let (weight, bias) = blocks.init.batch_norm();
        Self {
            weight: path.var("weight", &[channels], weight),
            bias: path.var("bias", &[channels], bias),
            running_mean: path.zeros_no_train("running_mean", &[channels]),
            running_var: path.ones_no_train("running_var", &[channels]),
            config: blocks.batch_norm,
        }
    }

    /// Factor and offset per channel, to which the norm amounts in inference.
    pub(super) fn affine(&self) -> (Tensor, Tensor) {
        let factor = &self.weight / (&self.running_var + self.config.epsilon).sqrt();
        let offset = &self.bias - &self.running_mean * &factor;
        (factor, offset)
    }
    /// Normalizes by the statistics of the batch and updates the running ones.
    pub(super) fn train(&self, input: &Tensor) -> Tensor {
        input.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            true,
            self.config.momentum,
            self.config.epsilon,
            false,
        )
    }
}

/// Layer norm over the last dimension, in float32.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl Blocks<'_> {
    /// A layer norm called `name` over so many channels; PyTorch's `epsilon` is 1e-5, that of vision transformers 1e-6.
    #[must_use]
    pub fn layer_norm(&self, name: &str, channels: i64, epsilon: f64) -> LayerNorm {
        let path = self.path.sub(name);
        LayerNorm {
            weight: path.ones("weight", &[channels]),
            bias: path.zeros("bias", &[channels]),
            epsilon,
        }
    }
}

impl LayerNorm {
    /// N×…×`channels` of any kind of number to float32.
    pub fn forward(&self, input: &Tensor) -> Tensor {
        let size = self.weight.size();
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        input
            .to_kind(Kind::Float)
            .layer_norm(size, weight, bias, self.epsilon, true)
    }
}

#[cfg(test)]
mod tests {
    use tch::nn::VarStore;
    use tch::{Device, Tensor};

    use super::super::{Blocks, Init, Mode, Precision};

    #[test]
    fn a_layer_norm_agrees_with_plain_loops() {
        tch::manual_seed(7);
        let (rows, channels, epsilon) = (6, 5, 1e-2);
        for kind in [tch::Kind::Float, tch::Kind::BFloat16] {
            let vars = VarStore::new(Device::Cpu);
            let blocks = Blocks::new(vars.root(), Mode::Train, Init::FanOut, Precision::Float32);
            let norm = blocks.layer_norm("norm1", channels, epsilon);
            for mut value in vars.variables().into_values() {
                let _ = tch::no_grad(|| value.uniform_(-1.0, 1.0));
            }
            let input = Tensor::randn([2, rows / 2, channels], (kind, Device::Cpu));
            let found = norm.forward(&input);
            assert_eq!((found.size(), found.kind()), (input.size(), tch::Kind::Float));
            let values =
                |of: &Tensor| Vec::<f64>::try_from(of.reshape(-1).to_kind(tch::Kind::Double)).unwrap();
            let named = vars.variables();
            let (weight, bias) = (values(&named["norm1.weight"]), values(&named["norm1.bias"]));
            let (input, found) = (values(&input), values(&found));
            for (row, found) in input.chunks(5).zip(found.chunks(5)) {
                let mean = row.iter().sum::<f64>() / 5.0;
                let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 5.0;
                for c in 0..5 {
                    let expected = (row[c] - mean) / (variance + epsilon).sqrt() * weight[c] + bias[c];
                    assert!((found[c] - expected).abs() < 1e-5, "{} {expected}", found[c]);
                }
            }
        }
    }
}
