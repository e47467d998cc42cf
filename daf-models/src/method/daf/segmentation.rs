use daf_core::BoxError;
use daf_core::config::NotNegative;
use schemars::{JsonSchema, Schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use tch::{Kind, Reduction, Tensor};

/// Loss of a probability map against the mask of the damage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "loss", rename_all = "snake_case", deny_unknown_fields)]
#[schemars(transform = mined_by_default)]
pub enum Segmentation {
    /// Binary cross-entropy over all damaged pixels and the hardest normal ones (paper, eq. 7). The loss without `loss`.
    Mined {
        /// How many normal pixels count per damaged pixel.
        #[serde(default = "negative_ratio")]
        negative_ratio: NotNegative,
        /// Which pixels are weighed with which image's mask.
        #[serde(default)]
        mining: Mining,
    },
    /// l1·|p − t| + focal·|p − t|^γ·BCE(p, t), the mean over all pixels, of probabilities p and targets t.
    ///
    /// The second term is the focal loss (Lin et al., ICCV 2017) without class weights; targets between 0 and 1 enter as in the
    /// quality focal loss (Li et al., NeurIPS 2020). Weights and γ are those of MemSeg (Yang et al., 2023).
    FocalL1 {
        /// Weight of the absolute difference, at least 0.
        #[serde(default = "l1")]
        l1: NotNegative,
        /// Weight of the focal loss, at least 0.
        #[serde(default = "focal")]
        focal: NotNegative,
        /// Exponent γ, at least 0: the larger, the less pixels count that are nearly right. With 0 the focal loss is the binary
        /// cross-entropy.
        #[serde(default = "gamma")]
        gamma: NotNegative,
    },
}

const fn negative_ratio() -> NotNegative {
    NotNegative::new(3.0)
}
const fn l1() -> NotNegative {
    NotNegative::new(0.6)
}
const fn focal() -> NotNegative {
    NotNegative::new(0.4)
}
const fn gamma() -> NotNegative {
    NotNegative::new(4.0)
}

/// `loss` may be left out of the first loss.
fn mined_by_default(schema: &mut Schema) {
    let mined = schema.get_mut("oneOf").and_then(|losses| losses.get_mut(0));
    if let Some(mined) = mined.and_then(|mined| mined.as_object_mut()) {
        mined.remove("required");
    }
}

impl Default for Segmentation {
    fn default() -> Self {
        Self::Mined {
            negative_ratio: negative_ratio(),
            mining: Mining::default(),
        }
    }
}

/// What a file says of a [`Segmentation`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    loss: Name,
    negative_ratio: Option<NotNegative>,
    mining: Option<Mining>,
    l1: Option<NotNegative>,
    focal: Option<NotNegative>,
    gamma: Option<NotNegative>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    #[default]
    Mined,
    FocalL1,
}

impl<'de> Deserialize<'de> for Segmentation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Settings::deserialize(deserializer)?;
        let of_mined = [
            ("negative_ratio", given.negative_ratio.is_some()),
            ("mining", given.mining.is_some()),
        ];
        let of_focal = [
            ("l1", given.l1.is_some()),
            ("focal", given.focal.is_some()),
            ("gamma", given.gamma.is_some()),
        ];
        let (loss, other, foreign) = match given.loss {
            Name::Mined => ("mined", "focal_l1", &of_focal[..]),
            Name::FocalL1 => ("focal_l1", "mined", &of_mined[..]),
        };
        if let Some((key, _)) = foreign.iter().find(|(_, given)| *given) {
            return Err(D::Error::custom(format!(
                "expected settings of `loss: {loss}`, found `{key}`, which belongs to `loss: {other}`: leave it out, or set `loss: \
                 {other}`"
            )));
        }
        Ok(match given.loss {
            Name::Mined => Self::Mined {
                negative_ratio: given.negative_ratio.unwrap_or(negative_ratio()),
                mining: given.mining.unwrap_or_default(),
            },
            Name::FocalL1 => Self::FocalL1 {
                l1: given.l1.unwrap_or(l1()),
                focal: given.focal.unwrap_or(focal()),
                gamma: given.gamma.unwrap_or(gamma()),
            },
        })
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
        let rule = match *self {
            Self::Mined {
                negative_ratio,
                mining,
            } => Rule::Mined(Mined::of(&target, *negative_ratio, mining)),
            Self::FocalL1 { l1, focal, gamma } => Rule::FocalL1 {
                l1: *l1,
                focal: *focal,
                gamma: *gamma,
            },
        };
        Targets { target, rule }
    }

    /// Checks what the ranges of single settings do not tell.
    ///
    /// # Errors
    /// Names the keys, what was expected and what was found.
    pub fn check(&self) -> Result<(), BoxError> {
        match self {
            Self::FocalL1 { l1, focal, .. } if **l1 + **focal == 0.0 => Err(
                "`segmentation`: expected `l1` or `focal` above 0, found 0 for both, with which nothing is learned: \
                 give one of them a weight"
                    .into(),
            ),
            _ => Ok(()),
        }
    }
}

/// The targets of a batch, and how predictions are compared with them.
#[derive(Debug)]
pub struct Targets {
    /// N×1×H×W.
    target: Tensor,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    Mined(Mined),
    FocalL1 { l1: f64, focal: f64, gamma: f64 },
}

impl Targets {
    /// Loss of probabilities N×1×H×W, one number.
    pub fn loss(&self, probability: &Tensor) -> Tensor {
        // libtorch refuses NaN here, but the training loop is the one to say that it diverged: NaN goes around.
        let loss = probability
            .nan_to_num(0.5, None, None)
            .binary_cross_entropy::<Tensor>(&self.target, None, Reduction::None);
        let loss = loss + probability.detach() * 0.0;
        self.reduce(&loss, || probability.shallow_clone())
    }

    /// The same of logits, exact where the sigmoid saturates.
    pub fn loss_of_logits(&self, logits: &Tensor) -> Tensor {
        let loss =
            logits.binary_cross_entropy_with_logits::<Tensor>(&self.target, None, None, Reduction::None);
        self.reduce(&loss, || logits.sigmoid())
    }

    /// Loss of the binary cross-entropy and the probability of every pixel.
    fn reduce(&self, cross_entropy: &Tensor, probability: impl Fn() -> Tensor) -> Tensor {
        match &self.rule {
            Rule::Mined(mined) => mined.reduce(cross_entropy),
            Rule::FocalL1 { l1, focal, gamma } => {
                let error = (probability() - &self.target).abs();
                // The slope of a power below 1 has no bound at 0.
                let factor = error.clamp_min(1e-6).pow_tensor_scalar(*gamma);
                (error * *l1 + factor * cross_entropy * *focal).mean(Kind::Float)
            }
        }
    }
}

/// What counts as damaged and how many normal pixels are mined.
#[derive(Debug)]
struct Mined {
    positive: Tensor,
    negative: Tensor,
    positives: f64,
    mined: f64,
}

impl Mined {
    fn of(target: &Tensor, negative_ratio: f64, mining: Mining) -> Self {
        let positive = match mining {
            Mining::PerPixel => target.shallow_clone(),
            Mining::OfficialBroadcast => {
                let size = target.size();
                target.expand([size[0], size[0], size[2], size[3]], false)
            }
        };
        let positives = positive.sum(Kind::Double).double_value(&[]);
        let negatives = positive.numel() as f64 - positives;
        let mined = negatives.min(positives * negative_ratio).floor();
        Self {
            negative: 1.0 - &positive,
            positive,
            positives,
            mined,
        }
    }

    /// `loss` is N×1×H×W; in broadcast mining its second dimension runs over the images whose masks weigh it.
    fn reduce(&self, loss: &Tensor) -> Tensor {
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

#[cfg(test)]
mod tests {
    use daf_core::tch::Device;

    use super::*;
    use crate::alone::alone;
    use crate::method::slow::close;

    const PROBABILITIES: [f64; 4] = [0.9, 0.2, 0.6, 0.3];
    const TARGETS: [f64; 4] = [1.0, 0.0, 0.0, 0.7];

    fn map(values: &[f64]) -> Tensor {
        Tensor::from_slice(values)
            .view([1, 1, 2, -1])
            .to_kind(Kind::Float)
    }

    fn logit(p: f64) -> f64 {
        (p / (1.0 - p)).ln()
    }

    /// Losses of probabilities and of their logits.
    fn losses(loss: &Segmentation, probabilities: &[f64], targets: &[f64]) -> [f64; 2] {
        let targets = loss.targets(&map(targets));
        let logits: Vec<f64> = probabilities.iter().map(|p| logit(*p)).collect();
        [
            targets.loss(&map(probabilities)),
            targets.loss_of_logits(&map(&logits)),
        ]
        .map(|loss| loss.double_value(&[]))
    }

    fn focal_l1(l1: f64, focal: f64, gamma: f64) -> Segmentation {
        Segmentation::FocalL1 {
            l1: NotNegative::new(l1),
            focal: NotNegative::new(focal),
            gamma: NotNegative::new(gamma),
        }
    }

    #[test]
    fn losses_are_those_computed_by_hand() {
        alone();
        // −ln 0.9, −ln 0.8, −ln 0.4 and −0.7·ln 0.3 − 0.3·ln 0.7.
        let entropies = [0.1053605, 0.2231436, 0.9162907, 0.9497844];
        let errors = [0.1, 0.2, 0.6, 0.4];
        let mean = |values: [f64; 4]| values.iter().sum::<f64>() / 4.0;
        // 0.1²·0.1053605 and so on.
        let focal = mean([0.0010536, 0.0089257, 0.3298647, 0.1519655]);
        for (loss, expected) in [
            (focal_l1(1.0, 0.0, 4.0), mean(errors)),
            (focal_l1(0.0, 1.0, 0.0), mean(entropies)),
            (focal_l1(0.0, 1.0, 2.0), focal),
            (focal_l1(0.6, 0.4, 2.0), 0.6 * 0.325 + 0.4 * focal),
            // Damaged to the amount of 1.7, so that one normal pixel is mined: the largest of (1 − t)·BCE is the third.
            (
                Segmentation::Mined {
                    negative_ratio: NotNegative::new(1.0),
                    mining: Mining::PerPixel,
                },
                (0.1053605 + 0.7 * 0.9497844 + 0.9162907) / 2.7,
            ),
        ] {
            for found in losses(&loss, &PROBABILITIES, &TARGETS) {
                close(found, expected, 2e-6);
            }
        }
    }

    #[test]
    fn a_focal_loss_without_exponent_is_the_binary_cross_entropy_with_its_slope() {
        alone();
        let logits = map(&[-3.0, 0.4, 7.0, -1.0]).set_requires_grad(true);
        let target = map(&TARGETS);
        let slope = |loss: &Tensor| Tensor::run_backward(&[loss], &[&logits], false, false).remove(0);
        let found = focal_l1(0.0, 1.0, 0.0).targets(&target).loss_of_logits(&logits);
        let expected =
            logits.binary_cross_entropy_with_logits::<Tensor>(&target, None, None, Reduction::Mean);
        close(found.double_value(&[]), expected.double_value(&[]), 1e-6);
        let far = (slope(&found) - slope(&expected)).abs().max();
        assert!(far.double_value(&[]) < 1e-7, "{far}");
    }

    #[test]
    fn slopes_are_finite_where_predictions_are_wholly_right_or_wrong_and_nan_stays() {
        alone();
        for gamma in [0.0, 0.3, 1.0, 4.0] {
            for (logit, target) in [(300.0, 1.0), (300.0, 0.0), (-300.0, 0.0), (0.0, 0.5)] {
                let logits = map(&[logit, logit]).set_requires_grad(true);
                let targets = focal_l1(0.6, 0.4, gamma).targets(&map(&[target, target]));
                let loss = targets.loss_of_logits(&logits);
                assert!(loss.isfinite().all().int64_value(&[]) == 1, "{gamma}: {loss}");
                let slope = Tensor::run_backward(&[loss], &[&logits], false, false).remove(0);
                assert!(slope.isfinite().all().int64_value(&[]) == 1, "{gamma}: {slope}");
            }
        }
        let nan = Tensor::full([1, 1, 2, 2], f64::NAN, (Kind::Float, Device::Cpu));
        for loss in [Segmentation::default(), focal_l1(0.6, 0.4, 4.0)] {
            let targets = loss.targets(&map(&TARGETS));
            assert!(targets.loss(&nan).double_value(&[]).is_nan());
            assert!(targets.loss_of_logits(&nan).double_value(&[]).is_nan());
        }
    }

    #[test]
    fn a_loss_without_weights_is_refused() {
        let error = focal_l1(0.0, 0.0, 4.0).check().unwrap_err().to_string();
        assert!(error.contains("`l1` or `focal` above 0"), "{error}");
        focal_l1(0.0, 0.1, 0.0).check().unwrap();
        Segmentation::default().check().unwrap();
    }
}
