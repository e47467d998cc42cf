use daf_core::config::NotNegative;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

/// Binary cross-entropy over all damaged pixels and the hardest normal ones (paper, eq. 7).
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Segmentation {
    /// How many normal pixels count per damaged pixel.
    pub negative_ratio: NotNegative,
    /// Which pixels are weighed with which image's mask.
    pub mining: Mining,
}

impl Default for Segmentation {
    fn default() -> Self {
        Self {
            negative_ratio: NotNegative::new(3.0),
            mining: Mining::PerPixel,
        }
    }
}

/// How damaged and normal pixels are told apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mining {
    /// By the pixel's own image, as the paper has it.
    #[default]
    PerPixel,
    /// By every image of the batch in turn, as the official code has it: an N×1×H×W mask times an N×H×W loss gives
    /// N×N×H×W terms. For parity runs; costs N times as much.
    OfficialBroadcast,
}

impl Segmentation {
    /// Prepares the targets of a batch, N×1×H×W in 0..=1, for several predictions.
    #[must_use]
    pub fn targets(&self, target: &Tensor) -> Targets {
        let target = target.to_kind(Kind::Float);
        let positive = match self.mining {
            Mining::PerPixel => target.shallow_clone(),
            Mining::OfficialBroadcast => {
                let size = target.size();
                target.expand([size[0], size[0], size[2], size[3]], false)
            }
        };
        let positives = positive.sum(Kind::Double).double_value(&[]);
        let negatives = positive.numel() as f64 - positives;
        let mined = negatives.min(positives * *self.negative_ratio).floor();
        Targets {
            target,
            negative: 1.0 - &positive,
            positive,
            positives,
            mined,
        }
    }
}

/// The targets of a batch: what counts as damaged and how many normal pixels are mined.
#[derive(Debug)]
pub struct Targets {
    target: Tensor,
    positive: Tensor,
    negative: Tensor,
    positives: f64,
    mined: f64,
}

impl Targets {
    /// Loss of probabilities N×1×H×W.
    pub fn loss(&self, probability: &Tensor) -> Tensor {
        // libtorch refuses NaN here, but the training loop is the one to say that it diverged: NaN goes around.
        let loss = probability
            .nan_to_num(0.5, None, None)
            .binary_cross_entropy::<Tensor>(&self.target, None, Reduction::None);
        self.mine(&(loss + probability.detach() * 0.0))
    }

    /// The same of logits, exact where the sigmoid saturates.
    pub fn loss_of_logits(&self, logits: &Tensor) -> Tensor {
        let loss =
            logits.binary_cross_entropy_with_logits::<Tensor>(&self.target, None, None, Reduction::None);
        self.mine(&loss)
    }

    /// `loss` is N×1×H×W; in broadcast mining its second dimension runs over the images whose masks weigh it.
    fn mine(&self, loss: &Tensor) -> Tensor {
        // The official product lines up the loss of image j with the mask of image i in element (i, j).
        let loss = if self.positive.size() == loss.size() {
            loss.shallow_clone()
        } else {
            loss.transpose(0, 1)
        };
        let damaged = (&loss * &self.positive).sum(Kind::Float);
        let normal = &loss * &self.negative;
        let mined = if self.mined >= normal.numel() as f64 - self.positives {
            // Every normal pixel counts, and damaged ones are zero here.
            normal.sum(Kind::Float)
        } else {
            normal
                .flatten(0, -1)
                .topk(self.mined as i64, 0, true, false)
                .0
                .sum(Kind::Float)
        };
        (damaged + mined) / (self.positives + self.mined + 1e-6)
    }
}
