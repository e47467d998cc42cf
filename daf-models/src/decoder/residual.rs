use daf_core::block::{Blocks, Conv, ConvNorm, ConvSpec, relu};
use daf_core::config::Count;
use daf_core::{BoxError, Comparison, Decoder, DecoderInput, MapSize, Segmenter, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::upsampled::convolve_upsampled;
use super::{bilinear, size};

/// A small network of what the discrepancy found: its maps, and the residuals of measures that have them, such as `memory`.
///
/// For each map there are the mean of its channels, the mean of that over 3×3 positions, and `channels` features from a 1×1
/// convolution of what has many channels: the residual |f − nearest normal f|, the map itself if it has more than one, and with
/// `features` those of the stage. All are brought to the size of the finest map and joined; two 3×3 convolutions, one at twice
/// that size and a 1×1 convolution give the logits. Without `features` the network sees how far an image is from normal and in which
/// channels, and not what it shows. With `memory` of two stages of `resnet18` it has 0.12 million parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Residual {
    /// Channels that the residual of each map is brought to, and of the 3×3 convolutions; the last one has half as many.
    pub channels: Count,
    /// Whether the features of the stages that have maps are read too.
    pub features: bool,
}
daf_core::register!(Decoder: Residual = "residual");

impl Default for Residual {
    fn default() -> Self {
        Self {
            channels: Count::new(64),
            features: false,
        }
    }
}

#[typetag::serde(name = Residual::NAME)]
impl Decoder for Residual {
    fn needs_residuals(&self) -> bool {
        true
    }

    fn build(&self, blocks: &Blocks, input: &DecoderInput) -> Result<Box<dyn Segmenter>, BoxError> {
        let (Some(finest), Some(first)) = (input.discrepancy.first(), input.stages.first()) else {
            return Err(
                "it reads the maps of a discrepancy, and there is none: name a `discrepancy`, or another decoder".into(),
            );
        };
        let levels = input
            .discrepancy
            .iter()
            .map(|map| self.level(blocks, input, *map));
        let levels = levels.collect::<Result<Vec<_>, _>>()?;
        let channels = *self.channels;
        let joined = levels.iter().map(Level::channels).sum();
        let block = |name: &str, input, output| {
            blocks
                .sub(name)
                .conv_norm("conv", "bn", ConvSpec::same(input, output, 3))
        };
        let half = (channels / 2).max(1);
        Ok(Box::new(ResidualSegmenter {
            levels,
            blocks: [block("seg1", joined, channels), block("seg2", channels, channels)],
            last: block("seg3", channels, half),
            head: blocks
                .sub("head")
                .conv("conv", ConvSpec::same(half, 1, 1).with_bias()),
            finest: finest.stage,
            stride: first.stride,
        }))
    }
}

impl Residual {
    fn level(&self, blocks: &Blocks, input: &DecoderInput, map: MapSize) -> Result<Level, BoxError> {
        let stage = input.stages.get(map.stage).ok_or_else(|| {
            format!(
                "expected maps of {} stages, found one of stage {}",
                input.stages.len(),
                map.stage + 1
            )
        })?;
        let residual = input.residuals.iter().find(|of| of.stage == map.stage);
        let wide = map.channels > 1;
        let read = residual.map_or(0, |of| of.channels)
            + if wide { map.channels } else { 0 }
            + if self.features { stage.channels } else { 0 };
        let number = (map.stage + 1).to_string();
        let project = ConvSpec::same(read, *self.channels, 1);
        // A batch norm alone: each channel has one weight.
        let scale = ConvSpec {
            groups: 2,
            ..ConvSpec::same(2, 2, 1)
        };
        Ok(Level {
            residual: residual.is_some(),
            wide,
            features: self.features.then_some(map.stage),
            projected: if read > 0 { *self.channels } else { 0 },
            project: (read > 0).then(|| {
                blocks
                    .sub("project")
                    .sub(&number)
                    .conv_norm("conv", "bn", project)
            }),
            guide: blocks.sub("guide").sub(&number).conv_norm("conv", "bn", scale),
        })
    }
}

/// What is read of one map.
#[derive(Debug)]
struct Level {
    /// Whether there is a residual.
    residual: bool,
    /// Whether the map has several channels.
    wide: bool,
    /// Stage of the features that are read.
    features: Option<usize>,
    /// Channels of what is projected; 0 if there is nothing.
    projected: i64,
    /// 1×1 convolution of residual, channels of the map and features.
    project: Option<ConvNorm>,
    /// Scale of map and mean, which are distances of any unit.
    guide: ConvNorm,
}

impl Level {
    const fn channels(&self) -> i64 {
        self.projected + 2
    }

    /// N×channels×h×w.
    fn forward(&self, features: &[Tensor], found: &Comparison) -> Tensor {
        let map = found.guide().to_kind(Kind::Float);
        let mean = map.mean_dim(1, true, Kind::Float);
        let around = mean.avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None);
        let guide = self.guide.forward(&Tensor::cat(&[mean, around], 1));
        let Some(project) = &self.project else {
            return guide;
        };
        let residual = found.residual.as_ref().filter(|_| self.residual);
        let wide = self.wide.then_some(&map);
        let features = self.features.and_then(|stage| features.get(stage));
        let read: Vec<Tensor> = [residual, wide, features]
            .into_iter()
            .flatten()
            .map(|values| values.to_kind(Kind::Float))
            .collect();
        let projected = match &read[..] {
            [one] => project.forward_relu(one),
            several => project.forward_relu(&Tensor::cat(several, 1)),
        };
        Tensor::cat(&[&projected, &guide.to_kind(projected.kind())], 1)
    }
}

#[derive(Debug)]
struct ResidualSegmenter {
    /// One for each map.
    levels: Vec<Level>,
    /// At the size of the finest map.
    blocks: [ConvNorm; 2],
    /// At twice that size.
    last: ConvNorm,
    head: Conv,
    /// Stage of the finest map.
    finest: usize,
    /// Pixels of the image per position of the finest stage.
    stride: i64,
}

impl Segmenter for ResidualSegmenter {
    fn segment(&self, features: &[Tensor], discrepancy: &[Comparison]) -> Tensor {
        let target = size(&features[self.finest]);
        let level = |(level, found): (&Level, &Comparison)| {
            let values = level.forward(features, found);
            if size(&values) == target {
                values
            } else {
                bilinear(&values, target)
            }
        };
        let levels: Vec<Tensor> = self.levels.iter().zip(discrepancy).map(level).collect();
        let joined = self.blocks[0].forward_relu(&Tensor::cat(&levels, 1));
        let joined = self.blocks[1].forward_relu(&joined);
        let doubled = target.map(|side| 2 * side);
        let last = relu(convolve_upsampled(&self.last, &joined, doubled));
        let logits = self.head.forward(&last).to_kind(Kind::Float);
        bilinear(&logits, size(&features[0]).map(|side| self.stride * side))
    }
}

#[cfg(test)]
mod tests;
