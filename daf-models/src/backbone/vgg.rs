//! VGG16, and narrower networks of its shape.

use daf_core::block::{Blocks, Conv, ConvNorm, ConvSpec};
use daf_core::data::Normalization;
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::{self, Kind, Tensor};
use daf_core::weights::{Pretrained, Weights};
use daf_core::{Backbone, BoxError, Extractor, Stage, typetag};
use serde::{Deserialize, Serialize};

/// VGG16: what its second to fifth max-pools give, 128, 256, 512 and 512 channels at strides 4, 8, 16 and 32, of which
/// the first three are the default.
///
/// Names are torchvision's, so its files of weights load unchanged.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Vgg16 {
    /// Where the weights come from.
    pub weights: Weights,
    /// How many stages are built, 1 to 4.
    pub stages: usize,
}
daf_core::register!(Backbone: Vgg16 = "vgg16");

impl Default for Vgg16 {
    fn default() -> Self {
        Self {
            weights: Weights::default(),
            stages: 3,
        }
    }
}

/// Channels of VGG16's convolutions, by block.
pub(crate) const VGG16: [&[i64]; 5] = [
    &[64, 64],
    &[128, 128],
    &[256, 256, 256],
    &[512, 512, 512],
    &[512, 512, 512],
];

#[typetag::serde(name = Vgg16::NAME)]
impl Backbone for Vgg16 {
    fn stages(&self) -> Vec<Stage> {
        let stages = VGG16.iter().zip([2, 4, 8, 16, 32]).skip(1).take(self.stages);
        stages
            .map(|(widths, stride)| Stage {
                channels: widths[widths.len() - 1],
                stride,
            })
            .collect()
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn pretrained(&self) -> Option<Pretrained> {
        Some(Pretrained {
            name: Self::NAME,
            aliases: &[],
            url: "https://download.pytorch.org/models/vgg16-397923af.pth".into(),
            sha256: "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0".into(),
            license: "BSD-3-Clause",
            preprocessing: Normalization::Imagenet,
        })
    }

    fn check(&self) -> Result<(), BoxError> {
        if (1..VGG16.len()).contains(&self.stages) {
            Ok(())
        } else {
            Err(format!("`stages` must be 1 to 4, found {}", self.stages).into())
        }
    }

    fn build(&self, blocks: &Blocks) -> Result<Box<dyn Extractor>, BoxError> {
        Ok(Box::new(Vgg(Tower::new(
            blocks,
            &VGG16[..=self.stages],
            Norms::None,
        ))))
    }
}

#[derive(Debug)]
struct Vgg(Tower);

impl Extractor for Vgg {
    fn extract(&self, images: &Tensor) -> Vec<Tensor> {
        self.0.pools(images).split_off(1)
    }
}

/// Which convolutions of a tower have what instead of a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Norms {
    /// All have a bias.
    None,
    /// All but the last of each block have a batch norm, and none a bias.
    WithinBlocks,
}

/// 3×3 convolutions, each with a ReLU after it, in blocks that end in a 2×2 max-pool.
#[derive(Debug)]
pub(crate) struct Tower {
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    convolution: Convolution,
    /// Whether it is the last of its block.
    ends: bool,
}

#[derive(Debug)]
enum Convolution {
    Plain(Conv),
    Normalized(ConvNorm),
}

impl Layer {
    /// What the ReLU gets.
    fn run(&self, input: &Tensor) -> Tensor {
        match &self.convolution {
            Convolution::Plain(conv) => conv.forward(input),
            Convolution::Normalized(conv) => conv.forward(input),
        }
    }
}

fn pool(features: &Tensor) -> Tensor {
    features.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)
}

impl Tower {
    /// Convolutions of so many channels in each block, numbered as in torchvision's `features`: convolutions, batch norms,
    /// ReLUs and pools all count.
    pub(crate) fn new(blocks: &Blocks, widths: &[&[i64]], norms: Norms) -> Self {
        let features = blocks.sub("features");
        let (mut number, mut input) = (0, 3);
        let mut layers = Vec::new();
        for block in widths {
            for (place, &output) in block.iter().enumerate() {
                let ends = place + 1 == block.len();
                let shape = ConvSpec::same(input, output, 3);
                let name = number.to_string();
                number += 2;
                let convolution = match norms {
                    Norms::None => Convolution::Plain(features.conv(&name, shape.with_bias())),
                    Norms::WithinBlocks if ends => Convolution::Plain(features.conv(&name, shape)),
                    Norms::WithinBlocks => {
                        number += 1;
                        let norm = (number - 2).to_string();
                        Convolution::Normalized(features.conv_norm(&name, &norm, shape))
                    }
                };
                layers.push(Layer { convolution, ends });
                input = output;
            }
            number += 1;
        }
        Self { layers }
    }

    /// What the pool of every block gives.
    pub(crate) fn pools(&self, images: &Tensor) -> Vec<Tensor> {
        let mut features = images.shallow_clone();
        let mut pools = Vec::new();
        for layer in &self.layers {
            features = layer.run(&features).relu();
            if layer.ends {
                features = pool(&features);
                pools.push(features.shallow_clone());
            }
        }
        pools
    }

    /// Runs the network so that gradients can be led back through it one layer at a time.
    pub(crate) fn trace(&self, images: &Tensor) -> Trace {
        tch::with_grad(|| {
            let leaf = |tensor: Tensor| tensor.detach().set_requires_grad(true);
            let mut input = leaf(images.shallow_clone());
            let mut steps: Vec<Step> = Vec::with_capacity(self.layers.len());
            let mut begins = false;
            for layer in &self.layers {
                let output = if begins {
                    layer.run(&pool(&input))
                } else {
                    layer.run(&input)
                };
                let rectified = leaf(output.detach().relu());
                begins = layer.ends;
                steps.push(Step {
                    input,
                    output,
                    rectified: rectified.shallow_clone(),
                    ends: layer.ends,
                });
                input = rectified;
            }
            Trace { steps }
        })
    }
}

/// A network that has run with its graph cut at every ReLU.
pub(crate) struct Trace {
    steps: Vec<Step>,
}

struct Step {
    /// The rectified output of the layer before, or the image: a leaf.
    input: Tensor,
    /// What the ReLU gets.
    output: Tensor,
    /// What it gives, a leaf again.
    rectified: Tensor,
    ends: bool,
}

impl Trace {
    /// The leaves before the pool of every block.
    pub(crate) fn ends(&self) -> Vec<&Tensor> {
        let ends = self.steps.iter().filter(|step| step.ends);
        ends.map(|step| &step.rectified).collect()
    }

    /// The pools of every block, with a graph back to [`ends`](Self::ends).
    pub(crate) fn pools(&self) -> Vec<Tensor> {
        tch::with_grad(|| self.ends().into_iter().map(pool).collect())
    }

    /// The gradient at the image, given those at the last of the [`ends`](Self::ends). With `guided` a ReLU lets only
    /// what is above 0 through on the way back (Springenberg et al., 2015).
    ///
    /// The bindings of libtorch have no backward hooks; but a gradient g at an output z leads to the one at the input of
    /// a layer as the derivative of Σ z·g, in which g is a constant that may be changed before.
    pub(crate) fn gradient(&self, last: &[Tensor], guided: bool) -> Option<Tensor> {
        let mut given = last.iter().rev();
        let mut carried: Option<Tensor> = None;
        for step in self.steps.iter().rev() {
            let own = if step.ends { given.next() } else { None };
            let gradient = match (carried, own) {
                (Some(carried), Some(own)) => carried + own,
                (Some(carried), None) => carried,
                (None, Some(own)) => own.shallow_clone(),
                (None, None) => return None,
            };
            let passed = if guided { gradient.clamp_min(0.0) } else { gradient };
            let passed = passed * step.rectified.detach().gt(0.0);
            let sum = tch::with_grad(|| (&step.output * passed).sum(Kind::Float));
            carried = Tensor::run_backward(&[&sum], &[&step.input], false, false).pop();
        }
        carried
    }
}

#[cfg(test)]
mod tests {
    use daf_core::block::{Init, Mode, Precision};
    use daf_core::macs::count;
    use daf_core::tch::Device;
    use daf_core::tch::nn::VarStore;

    use super::*;
    use crate::alone::alone;
    use crate::method::features::slow;

    #[test]
    fn vgg16_has_torchvisions_names_and_shapes_and_as_many_multiply_adds() {
        alone();
        slow::seed(1);
        let vars = VarStore::new(Device::Cpu);
        let blocks = Blocks::new(vars.root(), Mode::Infer, Init::FanOut, Precision::Float32);
        let part = Vgg16 {
            stages: 4,
            ..Vgg16::default()
        };
        let network = part.build(&blocks).unwrap();
        let found = vars.variables();
        // torchvision's 138,357,544 less the classifier's three linear layers.
        let parameters: usize = found.values().map(Tensor::numel).sum();
        let classifier = (25_088 + 1) * 4_096 + (4_096 + 1) * 4_096 + (4_096 + 1) * 1_000;
        assert_eq!(parameters, 138_357_544 - classifier);
        for (number, shape) in [(0, [64, 3]), (5, [128, 64]), (14, [256, 256]), (28, [512, 512])] {
            let weight = found[&format!("features.{number}.weight")].size();
            assert_eq!(weight, [shape[0], shape[1], 3, 3], "features.{number}");
            assert_eq!(found[&format!("features.{number}.bias")].size(), [shape[0]]);
        }
        let image = Tensor::zeros([1, 3, 64, 96], slow::FLOAT);
        let (stages, counted) = count(|| slow::no_grad(|| network.extract(&image)));
        for (features, stage) in stages.iter().zip(part.stages()) {
            assert_eq!(
                features.size(),
                [1, stage.channels, 64 / stage.stride, 96 / stage.stride]
            );
        }
        // 15,346,630,656 multiply-adds of the convolutions at 224×224.
        assert_eq!(counted.defined, 15_346_630_656 / (224 * 224) * (64 * 96));
        assert!(Vgg16 { stages: 5, ..part }.check().is_err());
    }
}
