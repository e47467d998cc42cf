use daf_core::block::{Blocks, Conv, ConvNorm, Mode, Shape, pointwise, relu, shortened};
use daf_core::{BoxError, Decoder, DecoderInput, Segmenter, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::upsampled::conv_upsampled;
use crate::window::DENSE;

/// Three blocks from coarse to fine: the discrepancy of all stages guides the student's features to a probability map.
///
/// The maps are tiled to the channels of the coarsest stage, added at the size of the finest, smoothed by a 1×1
/// convolution and brought to the coarsest size; each block then doubles the size and takes in a finer stage (paper,
/// section III-C). Works with three stages whose strides double.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fusion {
    /// Whether the discrepancy guides the decoder; `false` is the ablation of the paper's Table VII.
    pub discrepancy: bool,
}
daf_core::register!(Decoder: Fusion = "fusion");

impl Default for Fusion {
    fn default() -> Self {
        Self { discrepancy: true }
    }
}

#[typetag::serde(name = Fusion::NAME)]
impl Decoder for Fusion {
    fn build(&self, blocks: &Blocks, input: &DecoderInput) -> Result<Box<dyn Segmenter>, BoxError> {
        let [fine, middle, coarse] = input.stages[..] else {
            return Err(format!("the student must have three stages, found {}", input.stages.len()).into());
        };
        if middle.stride != 2 * fine.stride || coarse.stride != 4 * fine.stride {
            let found: Vec<i64> = input.stages.iter().map(|stage| stage.stride).collect();
            return Err(format!("the strides of the student's stages must double, found {found:?}").into());
        }
        let guided = self.discrepancy && !input.discrepancy.is_empty();
        let width = coarse.channels;
        let smooth = guided.then(|| {
            blocks
                .sub("smooth")
                .conv_norm("conv", "bn", Shape::same(width, width, 1))
        });
        let guide = if guided { width } else { 0 };
        let seg2 = Shape {
            kernel: 2,
            stride: 2,
            padding: 0,
            ..Shape::same(middle.channels + 256, 128, 1)
        };
        Ok(Box::new(FusionSegmenter {
            smooth,
            seg1: blocks
                .sub("seg1")
                .conv_norm("conv", "bn", Shape::same(guide + coarse.channels, 256, 3)),
            seg2: blocks
                .sub("seg2")
                .transposed_conv_norm("deconv", "bn", seg2.with_bias()),
            seg3: blocks
                .sub("seg3")
                .conv_norm("conv", "bn", Shape::same(fine.channels + 128, 64, 1)),
            head: blocks.sub("head").conv("conv", Shape::same(64, 1, 1).with_bias()),
            upsample: fine.stride,
            mode: blocks.mode(),
        }))
    }
}

/// The names are those of the official code: `smooth`, `seg1` (coarsest), `seg2`, `seg3`, `head`.
#[derive(Debug)]
struct FusionSegmenter {
    smooth: Option<ConvNorm>,
    seg1: ConvNorm,
    seg2: ConvNorm,
    seg3: ConvNorm,
    head: Conv,
    /// Pixels of the image per position of the finest stage.
    upsample: i64,
    mode: Mode,
}

impl Segmenter for FusionSegmenter {
    fn segment(&self, features: &[Tensor], discrepancy: &[Tensor]) -> Tensor {
        let [fine, middle, coarse] = features else {
            unreachable!("checked when built")
        };
        let guided = match &self.smooth {
            Some(smooth) => Tensor::cat(&[&self.guide(smooth, discrepancy), coarse], 1),
            None => coarse.shallow_clone(),
        };
        let target = size(middle);
        let seg1 = if size(coarse).iter().any(|&side| side > DENSE) {
            self.seg1.forward(&bilinear(&guided, target))
        } else {
            self.seg1
                .run(|weight, bias| conv_upsampled(&guided, weight, bias, target))
        };
        let seg1 = relu(seg1);
        let seg2 = relu(self.seg2.forward(&Tensor::cat(&[&seg1, middle], 1)));
        // A 1×1 convolution commutes with bilinear up-sampling (its weights sum to 1, so a bias does too): convolving
        // first does a quarter of the work. In training the batch norm must see the up-sampled values, so it stays
        // behind them; the same holds for the head, which up-samples one channel instead of 64.
        let half = size(fine).map(|side| 2 * side);
        let joined = Tensor::cat(&[&seg2, fine], 1);
        let seg3 = self
            .seg3
            .run(|weight, bias| bilinear(&shortened(4, || pointwise(&joined, weight, bias)), half));
        let seg3 = relu(seg3);
        let head = shortened((self.upsample * self.upsample / 4) as u64, || {
            self.head.forward(&seg3)
        });
        bilinear(
            &head.to_kind(Kind::Float),
            size(fine).map(|side| self.upsample * side),
        )
    }
}

impl FusionSegmenter {
    /// The smoothed discrepancy of all stages at the size of the coarsest.
    ///
    /// Bilinear reduction to a quarter per side takes the mean of the two middle ones of every four positions per side. The
    /// others are left out: in inference before the smoothing convolution, in training behind its batch norm, whose
    /// statistics they belong to.
    fn guide(&self, smooth: &ConvNorm, discrepancy: &[Tensor]) -> Tensor {
        let smoothed = match (self.mode, discrepancy) {
            (Mode::Infer, [fine, coarser @ ..]) => {
                // At half its size the finest map lies on the grid of the next one.
                let mut maps = vec![middle_positions(fine)];
                maps.extend(coarser.iter().map(Tensor::shallow_clone));
                shortened(4, || fuse(smooth, &maps))
            }
            _ => middle_positions(&fuse(smooth, discrepancy)),
        };
        smoothed
            .relu()
            .avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)
    }
}

/// Of every four positions per side the two in the middle: N×C×h×w to N×C×h/2×w/2.
fn middle_positions(map: &Tensor) -> Tensor {
    let (n, c, h, w) = map.size4().expect("N×C×h×w maps");
    let fours = map.permute([0, 2, 3, 1]).reshape([n, h / 4, 4, w / 4, 4, c]);
    let middle = fours.narrow(2, 1, 2).narrow(4, 1, 2);
    middle.reshape([n, h / 2, w / 2, c]).permute([0, 3, 1, 2])
}

/// The smoothing convolution of the tiled and summed maps, at the size of the finest.
///
/// The official code repeats each map along its channels up to the width of the coarsest, up-samples it to the nearest
/// position, adds and convolves. Both repetition and up-sampling commute with the convolution: its columns are summed
/// over the repetitions, and it runs at each map's own size.
fn fuse(smooth: &ConvNorm, maps: &[Tensor]) -> Tensor {
    smooth.run(|weight, bias| {
        let (target, weights) = (size(&maps[0]), weight.numel());
        let terms = maps.iter().enumerate().map(|(stage, map)| {
            let weight = sum_repetitions(weight, map.size()[1]);
            // The bias belongs to the sum, so one term carries it.
            let bias = bias.filter(|_| stage == 0);
            // As defined, there is one convolution, of all channels at the size of the first map.
            let factor = if stage == 0 { weights / weight.numel() } else { 0 };
            let smoothed = shortened(factor as u64, || pointwise(map, &weight, bias));
            if size(map) == target {
                smoothed
            } else {
                smoothed.upsample_nearest2d(target, None, None)
            }
        });
        terms.reduce(|a, b| a + b).expect("a guided decoder has maps")
    })
}

/// Folds the columns of a `out`×`width`×1×1 weight onto `channels` that are repeated up to `width`.
fn sum_repetitions(weight: &Tensor, channels: i64) -> Tensor {
    let (out, width) = (weight.size()[0], weight.size()[1]);
    if channels == width {
        return weight.shallow_clone();
    }
    let repetitions = (width + channels - 1) / channels;
    let padded = weight
        .view([out, width])
        .constant_pad_nd([0, repetitions * channels - width]);
    padded
        .view([out, repetitions, channels])
        .sum_dim_intlist(1, false, weight.kind())
        .view([out, channels, 1, 1])
}

fn size(features: &Tensor) -> [i64; 2] {
    let size = features.size();
    [size[2], size[3]]
}

fn bilinear(features: &Tensor, size: [i64; 2]) -> Tensor {
    features.upsample_bilinear2d(size, false, None, None)
}
