use daf_core::block::Blocks;
use daf_core::config::{OddSize, Positive};
use daf_core::kernel::{is_faster, to_vec_f32};
use daf_core::{BoxError, Comparator, Compared, Comparison, DiscrepancyMeasure, MapSize, Stage, typetag};
use daf_kernels::{LANES, ssim};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::window::{Border, Window, channels_innermost};

/// One minus the structural similarity of teacher and student, per feature channel.
///
/// Every channel of every image is divided by its largest absolute value, its border is reflected, and means, variances
/// and covariance are taken under a Gaussian window (paper, eq. 3). The map has one channel per feature and lies in
/// 0..=2. In the loss a damaged position adds a constant 1, as in the official code: it has no gradient.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ssim {
    /// Side of the window in feature positions; odd.
    pub window: OddSize,
    /// Standard deviation of the window in feature positions.
    pub sigma: Positive,
    /// First stabilising constant, λ1. The paper prints 1e-1; the official code has 1e-4.
    pub c1: Positive,
    /// Second stabilising constant, λ2.
    pub c2: Positive,
}
daf_core::register!(DiscrepancyMeasure: Ssim = "ssim");

impl Default for Ssim {
    fn default() -> Self {
        Self {
            window: OddSize::new(11),
            sigma: Positive::new(1.5),
            c1: Positive::new(1e-4),
            c2: Positive::new(9e-4),
        }
    }
}

/// Bound of the window's side; features are narrower.
const WIDEST: i64 = 1000;

#[typetag::serde(name = Ssim::NAME)]
impl DiscrepancyMeasure for Ssim {
    fn maps(&self, stages: &[Stage]) -> Vec<MapSize> {
        let of = |(stage, of): (usize, &Stage)| MapSize {
            stage,
            channels: of.channels,
        };
        stages.iter().enumerate().map(of).collect()
    }

    fn build(&self, _: &Blocks, _: &[Stage]) -> Result<Box<dyn Comparator>, BoxError> {
        Ok(Box::new(*self))
    }

    fn check(&self) -> Result<(), BoxError> {
        if *self.window >= WIDEST {
            return Err(format!("`window` must be at most {}, found {}", WIDEST - 1, self.window).into());
        }
        Ok(())
    }
}

impl Comparator for Ssim {
    fn compare(&self, compared: &Compared) -> Result<Vec<Comparison>, BoxError> {
        Ok(compared.by_stage(|pair| {
            let [teacher, student] = [&pair.teacher, &pair.student].map(channels_innermost);
            let similarity = self.similarity(&teacher, &student).permute([0, 3, 1, 2]);
            let loss = |normal: &Tensor| {
                let channels = similarity.size()[1] as f64;
                let count = normal.sum(Kind::Float).clamp_min(1.0) * channels;
                let distance: Tensor = 1.0 - &similarity * normal;
                ("ssim".to_owned(), distance.sum(Kind::Float) / count)
            };
            let losses = pair.normal.as_ref().map(loss).into_iter().collect();
            (1.0 - similarity, losses)
        }))
    }
}

impl Ssim {
    /// Structural similarity of two N×h×w×C features, N×h×w×C.
    fn similarity(&self, teacher: &Tensor, student: &Tensor) -> Tensor {
        let window = Window::gaussian(*self.sigma, (*self.window / 2) as usize, Border::Reflect);
        let channels = teacher.size()[3] as usize;
        if channels.is_multiple_of(LANES) && is_faster(&[teacher, student]) {
            return self.in_one_pass(&window, teacher, student);
        }
        // The official code divides by the maximum, which is the same after a ReLU and explodes on signed features.
        let scaled = |x: &Tensor| x / (x.abs().amax([1, 2], true) + 1e-10);
        similarity(&window, [*self.c1, *self.c2], &scaled(teacher), &scaled(student))
    }

    /// The same in one pass over the features, where the operations below take some twenty.
    fn in_one_pass(&self, window: &Window, teacher: &Tensor, student: &Tensor) -> Tensor {
        let (_, h, w, c) = teacher.size4().expect("N×h×w×C features");
        let window = window.on(h, w);
        let mut similarity = vec![0.0; teacher.numel()];
        let [teacher, student] = [teacher, student].map(to_vec_f32);
        let image = (h * w * c) as usize;
        for ((x, y), result) in teacher
            .chunks_exact(image)
            .zip(student.chunks_exact(image))
            .zip(similarity.chunks_exact_mut(image))
        {
            let constants = [*self.c1 as f32, *self.c2 as f32];
            ssim::similarity(&window, constants, x, y, c as usize, result);
        }
        Tensor::from_slice(&similarity).view([-1, h, w, c])
    }
}

/// Structural similarity of N×h×w×C values at every position, N×h×w×C in −1..=1, with the stabilising constants c1 and
/// c2. Both may be differentiated; it is cheaper if `fixed` has no gradient.
pub fn similarity(window: &Window, [c1, c2]: [f64; 2], fixed: &Tensor, moving: &Tensor) -> Tensor {
    let (x, y) = (fixed, moving);
    // The two variances only occur as a sum, which takes one blur.
    let blur = |values: &Tensor| window.blur(values);
    let (x_mean, y_mean) = (blur(x), blur(y));
    let (squares, product) = (blur(&(x.square() + y.square())), blur(&(x * y)));
    let (square_means, mean_product) = (x_mean.square() + y_mean.square(), &x_mean * &y_mean);
    let luminance = (2.0 * &mean_product + c1) / (&square_means + c1);
    let structure = (2.0 * (product - &mean_product) + c2) / (squares - square_means + c2);
    luminance * structure
}
