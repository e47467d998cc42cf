use daf_core::block::{Blocks, ConvNorm, ConvSpec, relu, residual};
use daf_core::data::Normalization;
use daf_core::weights::{Pretrained, Weights};
use daf_core::{Backbone, BoxError, Extractor, Stage, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// ResNet18: 64, 128, 256 and 512 channels at strides 4, 8, 16 and 32, of which the first three stages are the default.
///
/// Names are torchvision's, so its files of weights load unchanged.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResNet18 {
    /// Where the weights come from.
    pub weights: Weights,
    /// How many stages are built, 1 to 4.
    pub stages: usize,
}
daf_core::register!(Backbone: ResNet18 = "resnet18");

impl Default for ResNet18 {
    fn default() -> Self {
        Self {
            weights: Weights::default(),
            stages: 3,
        }
    }
}

const CHANNELS: [i64; 4] = [64, 128, 256, 512];

#[typetag::serde(name = ResNet18::NAME)]
impl Backbone for ResNet18 {
    fn stages(&self) -> Vec<Stage> {
        CHANNELS
            .iter()
            .zip([4, 8, 16, 32])
            .take(self.stages)
            .map(|(&channels, stride)| Stage { channels, stride })
            .collect()
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn pretrained(&self) -> Option<Pretrained> {
        Some(Pretrained {
            name: Self::NAME,
            url: "https://download.pytorch.org/models/resnet18-f37072fd.pth".into(),
            sha256: "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec".into(),
            license: "BSD-3-Clause",
            preprocessing: Normalization::Imagenet,
        })
    }

    fn layers_behind(&self, (height, width): (i64, i64)) -> u64 {
        let stage = |((input, output), stride): ((&i64, &i64), i64)| {
            let positions = (height / stride) * (width / stride);
            // The first convolution, three more of the same width, and the shortcut.
            positions * output * (9 * input + 3 * 9 * output + input)
        };
        let pairs = CHANNELS.iter().zip(&CHANNELS[1..]).zip([8, 16, 32]);
        pairs.skip(self.stages - 1).map(stage).sum::<i64>() as u64
    }

    fn check(&self) -> Result<(), BoxError> {
        if (1..=CHANNELS.len()).contains(&self.stages) {
            Ok(())
        } else {
            Err(format!("`stages` must be 1 to {}, found {}", CHANNELS.len(), self.stages).into())
        }
    }

    fn build(&self, blocks: &Blocks) -> Result<Box<dyn Extractor>, BoxError> {
        let stem = ConvSpec {
            kernel: 7,
            stride: 2,
            padding: 3,
            ..ConvSpec::same(3, 64, 7)
        };
        let mut input = 64;
        let stages = CHANNELS
            .iter()
            .zip(1..)
            .take(self.stages)
            .map(|(&output, number)| {
                let stage = blocks.sub(&format!("layer{number}"));
                let stride = if number == 1 { 1 } else { 2 };
                let first = Residual::new(&stage.sub("0"), input, output, stride);
                input = output;
                [first, Residual::new(&stage.sub("1"), output, output, 1)]
            });
        Ok(Box::new(ResNet {
            stages: stages.collect(),
            stem: blocks.conv_norm("conv1", "bn1", stem),
        }))
    }
}

#[derive(Debug)]
struct ResNet {
    stem: ConvNorm,
    stages: Vec<[Residual; 2]>,
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

/// The block of residual networks: two convolutions beside a shortcut.
#[derive(Debug)]
pub struct Residual {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: Option<ConvNorm>,
}

impl Residual {
    /// Two 3×3 convolutions, of which the first has the stride; where stride or channels change, the shortcut is a 1×1
    /// convolution. Names are torchvision's.
    #[must_use]
    pub fn new(blocks: &Blocks, input: i64, output: i64, stride: i64) -> Self {
        let shortcut = (stride != 1 || input != output).then(|| {
            blocks
                .sub("downsample")
                .conv_norm("0", "1", ConvSpec::same(input, output, 1).stride(stride))
        });
        Self {
            first: blocks.conv_norm("conv1", "bn1", ConvSpec::same(input, output, 3).stride(stride)),
            second: blocks.conv_norm("conv2", "bn2", ConvSpec::same(output, output, 3)),
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
            first: blocks.transposed_conv_norm("conv1", "bn1", double),
            second: blocks.conv_norm("conv2", "bn2", ConvSpec::same(output, output, 3)),
            shortcut: Some(blocks.sub("upsample").transposed_conv_norm("0", "1", double)),
        }
    }

    /// N×`input`×h×w to N×`output`×h'×w', at least 0.
    pub fn forward(&self, input: &Tensor) -> Tensor {
        let shortcut = self.shortcut.as_ref().map(|shortcut| shortcut.forward(input));
        residual(
            &self.first,
            &self.second,
            input,
            shortcut.as_ref().unwrap_or(input),
        )
    }
}
