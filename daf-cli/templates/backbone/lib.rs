//! A backbone for daf: a network that turns images into features of several stages.

use daf_core::block::{Blocks, ConvNorm, ConvSpec};
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::Tensor;
use daf_core::weights::Weights;
use daf_core::{Backbone, BoxError, Extractor, Stage, typetag};
use serde::{Deserialize, Serialize};

/// A plain convolutional network with three stages at strides 4, 8 and 16, each twice as wide as the one before.
///
/// Two 3×3 convolutions a stage, the first of them with stride 2. Small enough to learn from scratch.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MyPart {
    /// Channels of the first stage; at least 1.
    pub width: i64,
    /// Where the weights come from: `random` or the path of a file. (`imagenet` needs `Backbone::pretrained`.)
    pub weights: Weights,
}

daf_core::register!(Backbone: MyPart = "my_part");

impl Default for MyPart {
    fn default() -> Self {
        Self {
            width: 32,
            weights: Weights::Random,
        }
    }
}

#[typetag::serde(name = MyPart::NAME)]
impl Backbone for MyPart {
    // Any number, fine to coarse; the default decoder does most with three whose strides double.
    fn stages(&self) -> Vec<Stage> {
        (0..3)
            .map(|number| Stage {
                channels: self.width << number,
                stride: 4 << number,
            })
            .collect()
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    // Whatever is built from `Blocks` gets folded batch norms, bf16 and the memory layout without doing anything. The
    // names are those in files of weights.
    fn build(&self, blocks: &Blocks) -> Result<Box<dyn Extractor>, BoxError> {
        let stem =
            blocks
                .sub("stem")
                .conv_norm("conv", "norm", ConvSpec::same(3, self.width, 3).stride(2));
        let mut input = self.width;
        let stages = self.stages().into_iter().zip(1..).map(|(stage, number)| {
            let blocks = blocks.sub(&format!("stage{number}"));
            let first = ConvSpec::same(input, stage.channels, 3).stride(2);
            input = stage.channels;
            [
                blocks.conv_norm("conv1", "norm1", first),
                blocks.conv_norm("conv2", "norm2", ConvSpec::same(input, input, 3)),
            ]
        });
        Ok(Box::new(Network {
            stages: stages.collect(),
            stem,
        }))
    }

    fn check(&self) -> Result<(), BoxError> {
        match self.width {
            1.. => Ok(()),
            other => Err(format!("`width` must be at least 1, found {other}").into()),
        }
    }
}

#[derive(Debug)]
struct Network {
    stem: ConvNorm,
    stages: Vec<[ConvNorm; 2]>,
}

impl Extractor for Network {
    fn extract(&self, images: &Tensor) -> Vec<Tensor> {
        let mut features = self.stem.forward(images).relu();
        let mut stages = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            for conv in stage {
                features = conv.forward(&features).relu();
            }
            stages.push(features.shallow_clone());
        }
        stages
    }
}

#[cfg(test)]
mod tests {
    use daf_core::block::{Mode, Precision, Init};
    use daf_core::tch::{self, Device, Kind, nn::VarStore};

    use super::*;

    #[test]
    fn stages_have_the_declared_channels_and_strides() {
        let part = MyPart {
            width: 4,
            ..MyPart::default()
        };
        for mode in [Mode::Train, Mode::Infer] {
            let vars = VarStore::new(Device::Cpu);
            let network = part
                .build(&Blocks::new(
                    vars.root(),
                    mode,
                    Init::FanOut,
                    Precision::Float32,
                ))
                .unwrap();
            let images = Tensor::randn([2, 3, 64, 96], (Kind::Float, Device::Cpu));
            let found: Vec<_> = tch::no_grad(|| network.extract(&images))
                .iter()
                .map(Tensor::size)
                .collect();
            assert_eq!(
                found,
                [[2, 4, 16, 24], [2, 8, 8, 12], [2, 16, 4, 6]],
                "{mode:?}"
            );
        }
    }
}
