use daf_core::config::{Count, NotNegative, OddSize, Share};
use daf_core::{BoxError, BuildContext, Maps, Postprocessor, Scorer, Scores, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::window::{Border, STRIP, Window};

/// Discrepancy of all stages plus λ times the probability, smoothed; the image's score is the mean of its largest pixels.
///
/// Paper, eq. 9. Maps are averaged over their channels and brought to the image's size without interpolation, as in the
/// official code.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gaussian {
    /// Weight λ of the probability map.
    pub lambda: NotNegative,
    /// Weight of the discrepancy; 0 scores by the probability alone.
    pub discrepancy: NotNegative,
    /// Standard deviation of the smoothing in pixels of the network's input; 0 does not smooth.
    pub sigma: NotNegative,
    /// How many of the largest pixels the image's score averages; 1 takes the maximum, `null` the mean of all.
    pub top_k: Option<Count>,
    /// Side of the square that every pixel is averaged over, with zeros around the image, before the largest are taken
    /// for the image's score; odd, 1 takes the pixels as they are.
    pub pool: OddSize,
    /// How much of each image's median is taken from its pixels after the image's score is known, 0 to 1: a whole image that is brighter or
    /// duller than normal ones then does not hide a defect of another. Its effect is on maps and pixel thresholds only.
    pub center: Share,
    /// How the stages are joined.
    pub fuse: Fuse,
}
daf_core::register!(Scorer: Gaussian = "gaussian");

/// How discrepancy maps of several stages become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fuse {
    /// They are added (DAF).
    #[default]
    Sum,
    /// They are multiplied, after bilinear up-sampling (STPM).
    Product,
}

impl Default for Gaussian {
    fn default() -> Self {
        Self {
            lambda: NotNegative::new(3.0),
            discrepancy: NotNegative::new(1.0),
            sigma: NotNegative::new(4.0),
            top_k: Some(Count::new(50)),
            pool: OddSize::new(1),
            center: Share::new(0.0),
            fuse: Fuse::Sum,
        }
    }
}

/// The largest σ: a window that is wider than any map.
const WIDEST: f64 = 10_000.0;

#[typetag::serde(name = Gaussian::NAME)]
impl Scorer for Gaussian {
    fn build(&self, _: &BuildContext) -> Result<Box<dyn Postprocessor>, BoxError> {
        Ok(Box::new(self.clone()))
    }

    fn check(&self) -> Result<(), BoxError> {
        if *self.sigma > WIDEST {
            return Err(format!("`sigma` must be at most {WIDEST} pixels, found {}", self.sigma).into());
        }
        Ok(())
    }
}

impl Postprocessor for Gaussian {
    fn pixels(&self, maps: &Maps, size: (i64, i64)) -> Result<Tensor, BoxError> {
        let size = [size.0, size.1];
        let stages = maps.discrepancy.iter().map(|map| {
            let map = map.to_kind(Kind::Float).mean_dim(1, true, Kind::Float);
            match self.fuse {
                Fuse::Sum => map.upsample_nearest2d(size, None, None),
                Fuse::Product => map.upsample_bilinear2d(size, false, None, None),
            }
        });
        let discrepancy = stages.reduce(|a, b| match self.fuse {
            Fuse::Sum => a + b,
            Fuse::Product => a * b,
        });
        let terms = [
            discrepancy
                .filter(|_| *self.discrepancy != 0.0)
                .map(|map| *self.discrepancy * map),
            maps.probability
                .as_ref()
                .filter(|_| *self.lambda != 0.0)
                .map(|map| *self.lambda * map.to_kind(Kind::Float)),
        ];
        let pixels = terms.into_iter().flatten().reduce(|a, b| a + b).ok_or(
            "nothing to score: the method gives no discrepancy and no probability that this scorer weighs; \
             see `lambda` and `discrepancy`",
        )?;
        Ok(pixels.squeeze_dim(1))
    }

    fn finish(&self, pixels: &Tensor) -> Result<Scores, BoxError> {
        let pixels = if *self.sigma > 0.0 {
            // scipy.ndimage.gaussian_filter cuts the window at four standard deviations and repeats the edge.
            let radius = (4.0 * *self.sigma + 0.5) as usize;
            let window = Window::gaussian(*self.sigma, radius, Border::Symmetric);
            window.blur_maps(pixels)
        } else {
            pixels.shallow_clone()
        };
        let pooled = if *self.pool > 1 {
            let padding = *self.pool / 2;
            let images = pixels.unsqueeze(1);
            images.avg_pool2d([*self.pool; 2], [1; 2], [padding; 2], false, true, None)
        } else {
            pixels.shallow_clone()
        };
        let flat = pooled.flatten(1, -1);
        let counted = match self.top_k {
            Some(k) => largest(&flat, *k),
            None => flat,
        };
        let images = counted.mean_dim(1, false, Kind::Float);
        let pixels = match *self.center {
            0.0 => pixels,
            center => {
                let medians = pixels.flatten(1, -1).median_dim(1, false).0;
                pixels - (medians * center).view([-1, 1, 1])
            }
        };
        Ok(Scores { pixels, images })
    }
}

/// The `k` largest of every row of N×P values, or all if there are fewer; those of large rows piece by piece, since
/// libtorch sorts a copy of the row and its places.
fn largest(rows: &Tensor, k: i64) -> Tensor {
    let of = |values: &Tensor| {
        let k = k.clamp(1, values.size()[1]);
        values.topk(k, 1, true, false).0
    };
    if rows.size()[1] <= STRIP {
        return of(rows);
    }
    let pieces: Vec<Tensor> = rows.split(STRIP, 1).iter().map(of).collect();
    of(&Tensor::cat(&pieces, 1))
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn medians_are_taken_from_pixels_and_not_from_the_scores_of_images() {
        let first = [0.0f32, 1.0, 2.0, 3.0, 10.0, 1.5, 2.5, 2.0, 2.0];
        let second = first.map(|value| value + 4.0);
        let pixels = Tensor::from_slice(&[first, second].concat()).view([2, 3, 3]);
        let scorer = |center| Gaussian {
            sigma: NotNegative::new(0.0),
            top_k: Some(Count::new(1)),
            center: Share::new(center),
            ..Gaussian::default()
        };
        let plain = scorer(0.0).finish(&pixels).unwrap();
        assert_eq!(plain.pixels, pixels);
        for center in [0.5, 1.0] {
            let found = scorer(center).finish(&pixels).unwrap();
            assert_eq!(found.images, Tensor::from_slice(&[10.0f32, 14.0]));
            let medians = Tensor::from_slice(&[2.0f32, 6.0]).view([2, 1, 1]);
            let far = (found.pixels - (&pixels - medians * center)).abs().max();
            assert!(far.to_device(Device::Cpu).double_value(&[]) < 1e-6);
        }
    }
}
