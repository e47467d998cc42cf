use daf_core::Stage;
use daf_core::block::{Blocks, Conv, ConvNorm, ConvSpec};
use daf_core::config::Count;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Heads that find the defect in each stage of the student while training (paper, section III-D).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Auxiliary {
    /// By what the channels of a stage are divided inside its head.
    pub reduction: Count,
}

impl Default for Auxiliary {
    fn default() -> Self {
        Self {
            reduction: Count::new(4),
        }
    }
}

impl Auxiliary {
    /// Multiply-adds of the heads for an image of this height and width.
    pub(super) fn multiply_adds(&self, stages: &[Stage], (height, width): (i64, i64)) -> u64 {
        let head = |stage: &Stage| {
            let inner = (stage.channels / *self.reduction).max(1);
            (height / stage.stride) * (width / stage.stride) * inner * (9 * stage.channels + 1)
        };
        stages.iter().map(head).sum::<i64>() as u64
    }

    pub(super) fn build(&self, blocks: &Blocks, stages: &[Stage]) -> Heads {
        let head = |(number, stage): (i64, &Stage)| {
            let blocks = blocks.sub(&number.to_string());
            let inner = (stage.channels / *self.reduction).max(1);
            (
                blocks.conv_norm("conv", "bn", ConvSpec::same(stage.channels, inner, 3).with_bias()),
                blocks.conv("head", ConvSpec::same(inner, 1, 1).with_bias()),
            )
        };
        Heads((1..).zip(stages).map(head).collect())
    }
}

/// One head per stage.
#[derive(Debug)]
pub(super) struct Heads(Vec<(ConvNorm, Conv)>);

impl Heads {
    /// Probability of a defect at the size of the mask, N×1×H×W, seen by each stage.
    pub(super) fn probabilities(&self, features: &[Tensor], mask: (i64, i64, i64, i64)) -> Vec<Tensor> {
        let (_, _, height, width) = mask;
        let probability = |(features, (conv, head)): (&Tensor, &(ConvNorm, Conv))| {
            let logits = head.forward(&conv.forward_relu(features)).to_kind(Kind::Float);
            logits
                .sigmoid()
                .upsample_bilinear2d([height, width], false, None, None)
        };
        features.iter().zip(&self.0).map(probability).collect()
    }
}
