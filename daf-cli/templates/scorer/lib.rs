//! A scorer for daf: from the maps of a model to a score per pixel and per image.

use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::{Kind, Tensor};
use daf_core::{BoxError, BuildContext, Maps, Postprocessor, Scorer, Scores, typetag};
use serde::{Deserialize, Serialize};

/// Discrepancy times probability, smoothed by a mean; the image's score is the mean of a share of its largest pixels.
///
/// A product wants both to agree: the student differs from its teacher, and the decoder sees a defect.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MyPart {
    /// Side of the square over which pixels are averaged; odd, 1 does not smooth.
    pub window: i64,
    /// Share of the pixels that count for the image's score, over 0 and at most 1; at least one pixel does.
    pub share: f64,
}

daf_core::register!(Scorer: MyPart = "my_part");

impl Default for MyPart {
    fn default() -> Self {
        Self {
            window: 9,
            share: 0.002,
        }
    }
}

#[typetag::serde(name = MyPart::NAME)]
impl Scorer for MyPart {
    fn build(&self, _: &BuildContext) -> Result<Box<dyn Postprocessor>, BoxError> {
        Ok(Box::new(self.clone()))
    }

    fn check(&self) -> Result<(), BoxError> {
        if self.window < 1 || self.window % 2 == 0 {
            return Err(
                format!("`window` must be odd and at least 1, found {}", self.window).into(),
            );
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(
                format!("`share` must be over 0 and at most 1, found {}", self.share).into(),
            );
        }
        Ok(())
    }
}

impl Postprocessor for MyPart {
    fn pixels(&self, maps: &Maps, size: (i64, i64)) -> Result<Tensor, BoxError> {
        let stages = maps.discrepancy.iter().map(|map| {
            let map = map.to_kind(Kind::Float).mean_dim(1, true, Kind::Float);
            map.upsample_bilinear2d([size.0, size.1], false, None, None)
        });
        let discrepancy = stages.reduce(|a, b| a + b);
        // A method without a teacher has no discrepancy, one without a decoder no probability.
        let pixels = match (discrepancy, &maps.probability) {
            (Some(discrepancy), Some(probability)) => {
                discrepancy * probability.to_kind(Kind::Float)
            }
            (Some(one), None) => one,
            (None, Some(one)) => one.to_kind(Kind::Float),
            (None, None) => {
                return Err("the method gives no discrepancy and no probability to score".into());
            }
        };
        Ok(pixels.squeeze_dim(1))
    }

    fn finish(&self, pixels: &Tensor) -> Result<Scores, BoxError> {
        let (side, pad) = ([self.window; 2], [self.window / 2; 2]);
        let pixels = pixels
            .unsqueeze(1)
            .avg_pool2d(side, [1, 1], pad, false, false, None)
            .squeeze_dim(1);
        let flat = pixels.flatten(1, 2);
        let all = flat.size()[1];
        let counted = ((all as f64 * self.share).round() as i64).clamp(1, all);
        let images = flat
            .topk(counted, 1, true, false)
            .0
            .mean_dim(1, false, Kind::Float);
        Ok(Scores { pixels, images })
    }
}

#[cfg(test)]
#[allow(clippy::needless_update)] // Fields that you add have their defaults in the tests.
mod tests {
    use daf_core::tch::Device;

    use super::*;

    #[test]
    fn a_bright_square_scores_where_both_maps_have_it() {
        let square = Tensor::zeros([2, 1, 32, 48], (Kind::Float, Device::Cpu));
        let _ = square
            .narrow(0, 1, 1)
            .narrow(2, 8, 12)
            .narrow(3, 20, 12)
            .fill_(1.0);
        let coarse = square.avg_pool2d([4, 4], [4, 4], [0, 0], false, true, None);
        let maps = Maps {
            discrepancy: vec![coarse],
            probability: Some(square),
            images: None,
        };
        let scorer = MyPart {
            window: 3,
            share: 0.01,
            ..MyPart::default()
        };
        let pixels = scorer.pixels(&maps, (32, 48)).unwrap();
        let scores = scorer.finish(&pixels).unwrap();
        assert_eq!(scores.pixels.size(), [2, 32, 48]);
        let images: Vec<f64> = scores.images.try_into().unwrap();
        assert!(images[0] < 1e-6 && images[1] > 0.9, "{images:?}");
        assert!(scorer.pixels(&Maps::default(), (32, 48)).is_err());
    }
}
