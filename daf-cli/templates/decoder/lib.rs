//! A decoder for daf: from the student's features and the discrepancy to the probability that a pixel is defective.

use daf_core::block::{Blocks, Conv, ConvNorm, ConvSpec};
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::{Kind, Tensor};
use daf_core::{BoxError, Comparison, Decoder, DecoderInput, Segmenter, typetag};
use serde::{Deserialize, Serialize};

/// A head per stage that sees features and discrepancy; the heads' logits are brought to the image's size and added.
///
/// Works with any number of stages.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MyPart {
    /// Channels inside each head; at least 1.
    pub width: i64,
}

daf_core::register!(Decoder: MyPart = "my_part");

impl Default for MyPart {
    fn default() -> Self {
        Self { width: 64 }
    }
}

#[typetag::serde(name = MyPart::NAME)]
impl Decoder for MyPart {
    fn build(&self, blocks: &Blocks, input: &DecoderInput) -> Result<Box<dyn Segmenter>, BoxError> {
        let heads = input.stages.iter().enumerate().map(|(number, stage)| {
            let blocks = blocks.sub(&format!("head{}", number + 1));
            // Not every stage need have a map; without a discrepancy the list is empty.
            let map = input.discrepancy.iter().find(|map| map.stage == number);
            let seen = stage.channels + map.map_or(0, |map| map.channels);
            (
                blocks.conv_norm("conv", "norm", ConvSpec::same(seen, self.width, 3)),
                blocks.conv("out", ConvSpec::same(self.width, 1, 1).with_bias()),
            )
        });
        let stride = input
            .stages
            .first()
            .ok_or("the student must have at least one stage")?
            .stride;
        Ok(Box::new(Heads {
            heads: heads.collect(),
            stride,
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
struct Heads {
    heads: Vec<(ConvNorm, Conv)>,
    /// Of the finest stage.
    stride: i64,
}

impl Segmenter for Heads {
    fn segment(&self, features: &[Tensor], discrepancy: &[Comparison]) -> Tensor {
        let finest = features[0].size();
        let size = [finest[2] * self.stride, finest[3] * self.stride];
        let logits = self.heads.iter().enumerate().map(|(number, (conv, out))| {
            let features = &features[number];
            let seen = match discrepancy.iter().find(|found| found.stage == number) {
                Some(found) => Tensor::cat(&[features, &found.guide().to_kind(features.kind())], 1),
                None => features.shallow_clone(),
            };
            let logits = out.forward(&conv.forward(&seen).relu()).to_kind(Kind::Float);
            logits.upsample_bilinear2d(size, false, None, None)
        });
        logits.reduce(|a, b| a + b).expect("`build` asks for a stage")
    }
}

#[cfg(test)]
mod tests {
    use daf_core::block::{Init, Mode, Precision};
    use daf_core::tch::{Device, nn::VarStore};
    use daf_core::{MapSize, Stage};

    use super::*;

    #[test]
    fn logits_have_the_size_of_the_image_with_and_without_discrepancy() {
        let float = (Kind::Float, Device::Cpu);
        let stages = vec![
            Stage {
                channels: 4,
                stride: 4,
            },
            Stage {
                channels: 8,
                stride: 8,
            },
        ];
        let features = [
            Tensor::rand([2, 4, 8, 12], float),
            Tensor::rand([2, 8, 4, 6], float),
        ];
        let maps = [
            Comparison::new(0, Tensor::rand([2, 1, 8, 12], float)),
            Comparison::new(1, Tensor::rand([2, 8, 4, 6], float)),
        ];
        for maps in [&maps[..0], &maps[1..], &maps[..]] {
            let vars = VarStore::new(Device::Cpu);
            let blocks = Blocks::new(vars.root(), Mode::Train, Init::FanIn, Precision::Float32);
            let input = DecoderInput {
                stages: stages.clone(),
                discrepancy: (maps.iter())
                    .map(|found| MapSize {
                        stage: found.stage,
                        channels: found.map.size()[1],
                    })
                    .collect(),
                residuals: Vec::new(),
            };
            let segmenter = MyPart::default().build(&blocks, &input).unwrap();
            assert_eq!(segmenter.segment(&features, maps).size(), [2, 1, 32, 48]);
        }
    }
}
