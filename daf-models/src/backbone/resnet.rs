use daf_core::block::{Blocks, ConvNorm, ConvSpec, relu, residual};
use daf_core::data::Normalization;
use daf_core::weights::{Pretrained, Weights};
use daf_core::{Backbone, BoxError, Extractor, Stage, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// A size of the network: the part, its name and documentation, its shape, and the SHA-256 of torchvision's (first)
/// ImageNet weights, of which the file's name has the beginning.
macro_rules! resnet {
    ($(#[$doc:meta])+ $part:ident = $name:literal, $shape:expr, $hash:literal, $sha256:expr) => {
        $(#[$doc])+
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $part {
            /// Where the weights come from.
            pub weights: Weights,
            /// How many stages are built, 1 to 4.
            pub stages: usize,
        }
        daf_core::register!(Backbone: $part = $name);

        impl Default for $part {
            fn default() -> Self {
                Self {
                    weights: Weights::default(),
                    stages: 3,
                }
            }
        }

        #[typetag::serde(name = $part::NAME)]
        impl Backbone for $part {
            fn stages(&self) -> Vec<Stage> {
                $shape.stages(self.stages)
            }

            fn weights(&self) -> &Weights {
                &self.weights
            }

            fn pretrained(&self) -> Option<Pretrained> {
                Some(Pretrained {
                    name: Self::NAME,
                    aliases: &[],
                    url: concat!("https://download.pytorch.org/models/", $name, "-", $hash, ".pth").into(),
                    sha256: $sha256.into(),
                    license: "BSD-3-Clause",
                    preprocessing: Normalization::Imagenet,
                })
            }

            fn layers_behind(&self, size: (i64, i64)) -> u64 {
                $shape.multiply_adds(self.stages, size)
            }

            fn check(&self) -> Result<(), BoxError> {
                if (1..=4).contains(&self.stages) {
                    Ok(())
                } else {
                    Err(format!("`stages` must be 1 to 4, found {}", self.stages).into())
                }
            }

            fn build(&self, blocks: &Blocks) -> Result<Box<dyn Extractor>, BoxError> {
                Ok(Box::new(ResNet::new(blocks, &$shape, self.stages)))
            }
        }
    };
}

resnet! {
    /// ResNet18: 64, 128, 256 and 512 channels at strides 4, 8, 16 and 32, of which the first three stages are the default.
    ///
    /// Names are torchvision's, so its files of weights load unchanged.
    ResNet18 = "resnet18", Shape { blocks: [2, 2, 2, 2], bottleneck: None },
    "f37072fd", "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"
}

resnet! {
    /// ResNet34: 64, 128, 256 and 512 channels at strides 4, 8, 16 and 32, of which the first three stages are the default.
    ///
    /// Names are torchvision's, so its files of weights load unchanged.
    ResNet34 = "resnet34", Shape { blocks: [3, 4, 6, 3], bottleneck: None }, "b627a593", "b627a593"
}

resnet! {
    /// ResNet50: 256, 512, 1024 and 2048 channels at strides 4, 8, 16 and 32, of which the first three stages are the default.
    ///
    /// Names are torchvision's, so its files of weights load unchanged. Its blocks have their stride in the 3×3 convolution,
    /// as torchvision's do and those of the paper (He et al., CVPR 2016) do not.
    ResNet50 = "resnet50", Shape { blocks: [3, 4, 6, 3], bottleneck: Some(64) }, "0676ba61", "0676ba61"
}

resnet! {
    /// Wide ResNet50-2: ResNet50 with twice as many channels inside the blocks. 256, 512, 1024 and 2048 channels at strides 4, 8,
    /// 16 and 32, of which the first three stages are the default.
    ///
    /// Names are torchvision's, so its files of weights load unchanged (Zagoruyko and Komodakis, BMVC 2016).
    WideResNet50 = "wide_resnet50_2", Shape { blocks: [3, 4, 6, 3], bottleneck: Some(128) }, "95faca4d", "95faca4d"
}

/// Table 1 of He et al.
#[derive(Debug)]
struct Shape {
    /// Blocks of each stage.
    blocks: [usize; 4],
    /// Channels inside the blocks of the first stage, if blocks are bottlenecks.
    bottleneck: Option<i64>,
}

/// What a block is made of.
#[derive(Debug, Clone, Copy)]
struct Widths {
    input: i64,
    /// Channels inside, if it is a bottleneck.
    inner: Option<i64>,
    output: i64,
    stride: i64,
}

impl Shape {
    /// The first stages.
    fn stages(&self, stages: usize) -> Vec<Stage> {
        let wider: i64 = if self.bottleneck.is_some() { 4 } else { 1 };
        let all = [(64, 4), (128, 8), (256, 16), (512, 32)];
        let first = all.into_iter().take(stages);
        let stage = |(channels, stride)| Stage {
            channels: wider * channels,
            stride,
        };
        first.map(stage).collect()
    }

    /// The blocks of every stage.
    fn widths(&self) -> Vec<Vec<Widths>> {
        let mut input = 64;
        let stages = self.stages(4).into_iter().zip(self.blocks).enumerate();
        let stage = |(number, (stage, blocks)): (usize, (Stage, usize))| {
            let block = |place| Widths {
                input: std::mem::replace(&mut input, stage.channels),
                inner: self.bottleneck.map(|width| width << number),
                output: stage.channels,
                stride: if number > 0 && place == 0 { 2 } else { 1 },
            };
            (0..blocks).map(block).collect()
        };
        stages.map(stage).collect()
    }

    /// Multiply-adds of the stages behind the first ones, for images of this height and width.
    fn multiply_adds(&self, behind: usize, (height, width): (i64, i64)) -> u64 {
        let stages = self.widths().into_iter().zip(self.stages(4)).skip(behind);
        let stage = |(blocks, stage): (Vec<Widths>, Stage)| {
            let positions = (height / stage.stride) * (width / stage.stride);
            positions * blocks.iter().map(Widths::multiply_adds).sum::<i64>()
        };
        stages.map(stage).sum::<i64>() as u64
    }
}

impl Widths {
    /// Multiply-adds per position of the output.
    const fn multiply_adds(&self) -> i64 {
        let Self {
            input,
            inner,
            output,
            stride,
        } = *self;
        let shortcut = if self.is_resized() { input * output } else { 0 };
        shortcut
            + match inner {
                // The first convolution has the positions of the input.
                Some(inner) => stride * stride * input * inner + 9 * inner * inner + inner * output,
                None => 9 * (input + output) * output,
            }
    }

    /// Whether height, width or channels change.
    const fn is_resized(&self) -> bool {
        self.stride != 1 || self.input != self.output
    }
}

#[derive(Debug)]
struct ResNet {
    stem: ConvNorm,
    stages: Vec<Vec<Residual>>,
}

impl ResNet {
    fn new(blocks: &Blocks, shape: &Shape, stages: usize) -> Self {
        let stem = ConvSpec {
            kernel: 7,
            stride: 2,
            padding: 3,
            ..ConvSpec::same(3, 64, 7)
        };
        let stages = shape.widths().into_iter().take(stages).zip(1..);
        let stage = |(widths, number): (Vec<Widths>, usize)| {
            let stage = blocks.sub(&format!("layer{number}"));
            let block =
                |(widths, number): (Widths, usize)| Residual::of(&stage.sub(&number.to_string()), widths);
            widths.into_iter().zip(0..).map(block).collect()
        };
        Self {
            stages: stages.map(stage).collect(),
            stem: blocks.conv_norm("conv1", "bn1", stem),
        }
    }
}

impl Extractor for ResNet {
    fn extract(&self, images: &Tensor) -> Vec<Tensor> {
        // The largest of values that pass a ReLU is what passes of the largest: a quarter of the work.
        let stem = self.stem.forward(images);
        let mut features = relu(stem.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false));
        let mut stages = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            for block in stage {
                features = block.forward(&features);
            }
            stages.push(features.shallow_clone());
        }
        stages
    }
}

/// The block of residual networks: two or three convolutions beside a shortcut.
#[derive(Debug)]
pub struct Residual {
    /// The first convolution of a bottleneck, 1×1.
    narrow: Option<ConvNorm>,
    first: ConvNorm,
    second: ConvNorm,
    shortcut: Option<ConvNorm>,
}

impl Residual {
    /// Two 3×3 convolutions, of which the first has the stride; where stride or channels change, the shortcut is a 1×1
    /// convolution. Names are torchvision's.
    #[must_use]
    pub fn new(blocks: &Blocks, input: i64, output: i64, stride: i64) -> Self {
        Self::of(
            blocks,
            Widths {
                input,
                inner: None,
                output,
                stride,
            },
        )
    }

    /// A block of these widths: as [`new`](Self::new) has it, or a 1×1 convolution to the channels inside, a 3×3 convolution with
    /// the stride, and a 1×1 convolution.
    fn of(blocks: &Blocks, widths: Widths) -> Self {
        let Widths {
            input,
            inner,
            output,
            stride,
        } = widths;
        let shortcut = widths.is_resized().then(|| {
            blocks
                .sub("downsample")
                .conv_norm("0", "1", ConvSpec::same(input, output, 1).stride(stride))
        });
        let narrow = inner.map(|inner| blocks.conv_norm("conv1", "bn1", ConvSpec::same(input, inner, 1)));
        let names = match inner {
            Some(_) => [("conv2", "bn2"), ("conv3", "bn3")],
            None => [("conv1", "bn1"), ("conv2", "bn2")],
        };
        let specs = match inner {
            Some(inner) => [
                ConvSpec::same(inner, inner, 3).stride(stride),
                ConvSpec::same(inner, output, 1),
            ],
            None => [
                ConvSpec::same(input, output, 3).stride(stride),
                ConvSpec::same(output, output, 3),
            ],
        };
        let conv = |place: usize| blocks.conv_norm(names[place].0, names[place].1, specs[place]);
        Self {
            narrow,
            first: conv(0),
            second: conv(1),
            shortcut,
        }
    }

    /// The mirror image of a block of stride 2: the first convolution and the shortcut are transposed, with 2×2 kernels
    /// that double height and width.
    #[must_use]
    pub fn doubling(blocks: &Blocks, input: i64, output: i64) -> Self {
        let double = ConvSpec {
            padding: 0,
            ..ConvSpec::same(input, output, 2).stride(2)
        };
        Self {
            narrow: None,
            first: blocks.transposed_conv_norm("conv1", "bn1", double),
            second: blocks.conv_norm("conv2", "bn2", ConvSpec::same(output, output, 3)),
            shortcut: Some(blocks.sub("upsample").transposed_conv_norm("0", "1", double)),
        }
    }

    /// N×`input`×h×w to N×`output`×h'×w', at least 0.
    pub fn forward(&self, input: &Tensor) -> Tensor {
        let shortcut = self.shortcut.as_ref().map(|shortcut| shortcut.forward(input));
        let narrowed = self.narrow.as_ref().map(|narrow| narrow.forward_relu(input));
        residual(
            &self.first,
            &self.second,
            narrowed.as_ref().unwrap_or(input),
            shortcut.as_ref().unwrap_or(input),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use daf_core::block::{Init, Mode, Precision};
    use daf_core::macs::count;
    use tch::nn::VarStore;
    use tch::{Device, Kind};

    use super::*;
    use crate::alone::alone;

    const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

    /// Every size, with a number of stages.
    fn sizes(stages: usize) -> [Box<dyn Backbone>; 4] {
        let weights = || Weights::Random;
        [
            Box::new(ResNet18 {
                weights: weights(),
                stages,
            }),
            Box::new(ResNet34 {
                weights: weights(),
                stages,
            }),
            Box::new(ResNet50 {
                weights: weights(),
                stages,
            }),
            Box::new(WideResNet50 {
                weights: weights(),
                stages,
            }),
        ]
    }

    fn build(part: &dyn Backbone, mode: Mode) -> (VarStore, Box<dyn Extractor>) {
        let vars = VarStore::new(Device::Cpu);
        let blocks = Blocks::new(vars.root(), mode, Init::FanOut, Precision::Float32);
        let network = part.build_checked(&blocks).unwrap();
        (vars, network)
    }

    #[test]
    fn the_networks_have_as_many_parameters_as_torchvisions() {
        // torchvision's counts are those with the classifier, a linear layer of 1000 classes.
        let whole = [11_689_512, 21_797_672, 25_557_032, 68_883_240];
        // Up to the third stage: PyTorch's count of conv1, bn1 and layer1 to layer3.
        let three = [2_782_784, 8_170_304, 8_543_296, 24_862_528];
        let count = |part: &dyn Backbone| -> i64 {
            let (vars, _network) = build(part, Mode::Train);
            vars.trainable_variables()
                .iter()
                .map(|variable| variable.numel() as i64)
                .sum()
        };
        for (part, expected) in sizes(4).iter().zip(whole) {
            let classifier = (part.stages()[3].channels + 1) * 1000;
            assert_eq!(
                count(part.as_ref()) + classifier,
                expected,
                "{}",
                part.typetag_name()
            );
        }
        for (part, expected) in sizes(3).iter().zip(three) {
            assert_eq!(count(part.as_ref()), expected, "{}", part.typetag_name());
        }
    }

    /// The network as torchvision computes it, from the named tensors alone and with libtorch's own operations.
    fn reference(weights: &HashMap<String, Tensor>, images: &Tensor, stages: usize) -> Vec<Tensor> {
        let conv = |x: &Tensor, conv: &str, norm: &str, stride: i64| {
            let weight = &weights[&format!("{conv}.weight")];
            let of = |name: &str| Some(&weights[&format!("{norm}.{name}")]);
            x.conv2d(
                weight,
                None::<Tensor>,
                [stride; 2],
                [weight.size()[3] / 2; 2],
                [1, 1],
                1,
            )
            .batch_norm(
                of("weight"),
                of("bias"),
                of("running_mean"),
                of("running_var"),
                false,
                0.1,
                1e-5,
                false,
            )
        };
        let stem = conv(images, "conv1", "bn1", 2).relu();
        let mut x = stem.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        let mut found = Vec::new();
        for stage in 1..=stages {
            for block in 0.. {
                let at = |name: &str| format!("layer{stage}.{block}.{name}");
                if !weights.contains_key(&at("conv1.weight")) {
                    break;
                }
                let stride = if stage > 1 && block == 0 { 2 } else { 1 };
                let is_bottleneck = weights.contains_key(&at("conv3.weight"));
                let strides = if is_bottleneck {
                    [1, stride, 1]
                } else {
                    [stride, 1, 0]
                };
                let mut inside = x.shallow_clone();
                let last = if is_bottleneck { 3 } else { 2 };
                for number in 1..=last {
                    let (name, norm) = (at(&format!("conv{number}")), at(&format!("bn{number}")));
                    inside = conv(&inside, &name, &norm, strides[number - 1]);
                    if number < last {
                        inside = inside.relu();
                    }
                }
                let shortcut = if weights.contains_key(&at("downsample.0.weight")) {
                    conv(&x, &at("downsample.0"), &at("downsample.1"), stride)
                } else {
                    x
                };
                x = (inside + shortcut).relu();
            }
            found.push(x.shallow_clone());
        }
        found
    }

    #[test]
    fn features_are_those_of_torchvisions_networks_computed_name_by_name() {
        alone();
        tch::manual_seed(5);
        for part in sizes(4) {
            let (vars, network) = build(part.as_ref(), Mode::Infer);
            let weights = vars.variables();
            tch::no_grad(|| {
                for (name, variable) in &weights {
                    let mut variable = variable.shallow_clone();
                    let _ = match name.rsplit('.').next() {
                        Some("running_var") => variable.uniform_(0.5, 1.5),
                        Some("running_mean" | "bias") => variable.uniform_(-0.2, 0.2),
                        _ if variable.dim() == 1 => variable.uniform_(0.3, 0.7),
                        _ => variable,
                    };
                }
                let images = Tensor::randn([2, 3, 64, 96], FLOAT);
                let expected = reference(&weights, &images, 4);
                let found = network.extract(&images);
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    let error = (found - expected).abs().max() / expected.abs().max();
                    assert!(error.double_value(&[]) < 1e-4, "{}: {error}", part.typetag_name());
                }
            });
        }
    }

    #[test]
    fn layers_that_are_built_and_those_behind_them_are_always_the_whole_network() {
        alone();
        let images = Tensor::zeros([1, 3, 64, 96], FLOAT);
        let sums: Vec<Vec<u64>> = (1..=4)
            .map(|stages| {
                let sum = |part: Box<dyn Backbone>| {
                    let (_vars, network) = build(part.as_ref(), Mode::Infer);
                    let (_, counted) = count(|| tch::no_grad(|| network.extract(&images)));
                    counted.carried_out + part.layers_behind((64, 96))
                };
                sizes(stages).into_iter().map(sum).collect()
            })
            .collect();
        assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
    }

    #[test]
    fn stages_out_of_range_are_refused() {
        for stages in [0, 5] {
            for part in sizes(stages) {
                let error = part.check().unwrap_err().to_string();
                assert_eq!(error, format!("`stages` must be 1 to 4, found {stages}"));
            }
        }
    }
}
