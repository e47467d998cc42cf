//! Networks one value at a time in 64 bits, to compare the fast ones with.

use std::collections::{BTreeMap, HashMap};

use daf_core::block::{Mode, Precision};
use daf_core::rand::SeedableRng;
use daf_core::rand::distr::StandardUniform;
use daf_core::tch::nn::VarStore;
use daf_core::tch::{self, Device, Kind, Tensor};
use daf_core::{Batch, BuildContext, Method, Model, Store, Synthesized};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// A model without pretrained weights.
pub(crate) fn built(method: &dyn Method, mode: Mode, size: (i64, i64)) -> Box<dyn Model> {
    crate::alone::alone();
    let context = BuildContext {
        device: Device::Cpu,
        size,
        mode,
        precision: Precision::Float32,
        pretrained: None,
    };
    method.build(&context).unwrap()
}

/// Numbers that depend on a seed alone: libtorch's generator is shared by the tests that run at the same time.
pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Evenly from 0 to 1.
    pub(crate) fn uniform(&mut self, size: &[i64]) -> Tensor {
        self.draw(&StandardUniform, size)
    }

    pub(crate) fn normal(&mut self, size: &[i64]) -> Tensor {
        self.draw(&StandardNormal, size)
    }

    fn draw(&mut self, from: &impl Distribution<f32>, size: &[i64]) -> Tensor {
        let values: Vec<f32> = (0..size.iter().product())
            .map(|_: i64| from.sample(&mut self.0))
            .collect();
        Tensor::from_slice(&values).view(size)
    }

    /// Gives stores weights and statistics with which no layer is close to doing nothing.
    pub(crate) fn shake(&mut self, stores: &[Store]) {
        for store in stores {
            // The store lists its variables in another order every time.
            let variables: BTreeMap<String, Tensor> = store.vars.variables().into_iter().collect();
            for (name, mut variable) in variables {
                let size = variable.size();
                let value = if name.ends_with("running_var") {
                    self.uniform(&size) + 0.5
                } else if size.len() == 1 {
                    self.uniform(&size) - 0.3
                } else {
                    let inputs: i64 = size[1..].iter().product();
                    self.normal(&size) * (2.0 / inputs as f64).sqrt()
                };
                tch::no_grad(|| variable.copy_(&value));
            }
        }
    }
}

/// Two images of noise with a square that is damaged in the first; or no damaged images at all.
pub(crate) fn batch(side: i64, with_damage: bool) -> Batch {
    let mut draws = Draws::new(1);
    let normal = draws.uniform(&[2, 3, side, side]);
    let mask = Tensor::zeros([2, 1, side, side], (Kind::Float, Device::Cpu));
    let _ = mask
        .narrow(0, 0, 1)
        .narrow(2, side / 4, side / 2)
        .narrow(3, 1, side / 3)
        .fill_(1.0);
    let synthetic = with_damage.then(|| Synthesized {
        images: &normal * (1.0 - &mask) + draws.uniform(&[2, 3, side, side]) * &mask,
        target: &mask * 0.7,
        mask,
        class: vec![0, -1],
    });
    Batch {
        normal,
        synthetic,
        indices: vec![0, 1],
        features: None,
    }
}

/// Values at channels, rows and columns.
pub(crate) struct Planes {
    channels: usize,
    height: usize,
    width: usize,
    values: Vec<f64>,
}

impl Planes {
    pub(crate) fn from_fn(
        channels: usize,
        height: usize,
        width: usize,
        value: impl Fn(i64, i64, i64) -> f64,
    ) -> Self {
        let mut values = Vec::with_capacity(channels * height * width);
        for c in 0..channels as i64 {
            for y in 0..height as i64 {
                for x in 0..width as i64 {
                    values.push(value(c, y, x));
                }
            }
        }
        Self {
            channels,
            height,
            width,
            values,
        }
    }

    /// Of 1×C×H×W.
    pub(crate) fn of(tensor: &Tensor) -> Self {
        let (n, channels, height, width) = tensor.size4().unwrap();
        assert_eq!(n, 1);
        Self {
            channels: channels as usize,
            height: height as usize,
            width: width as usize,
            values: numbers(tensor),
        }
    }

    pub(crate) fn at(&self, c: i64, y: i64, x: i64) -> f64 {
        self.values[(c as usize * self.height + y as usize) * self.width + x as usize]
    }

    /// The value, or 0 outside.
    fn around(&self, c: i64, y: i64, x: i64) -> f64 {
        if (0..self.height as i64).contains(&y) && (0..self.width as i64).contains(&x) {
            self.at(c, y, x)
        } else {
            0.0
        }
    }

    fn map(&self, value: impl Fn(f64) -> f64) -> Self {
        Self {
            values: self.values.iter().map(|v| value(*v)).collect(),
            ..*self
        }
    }

    pub(crate) fn relu(&self) -> Self {
        self.map(|v| v.max(0.0))
    }

    pub(crate) fn sigmoid(&self) -> Self {
        self.map(|v| 1.0 / (1.0 + (-v).exp()))
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        let sums = self.values.iter().zip(&other.values).map(|(a, b)| a + b);
        Self {
            values: sums.collect(),
            ..*self
        }
    }

    /// These channels, then those.
    pub(crate) fn beside(&self, other: &Self) -> Self {
        assert_eq!((self.height, self.width), (other.height, other.width));
        Self {
            channels: self.channels + other.channels,
            values: [&self.values[..], &other.values[..]].concat(),
            ..*self
        }
    }

    /// Largest value of squares that do not overlap.
    pub(crate) fn max_pool(&self, side: i64) -> Self {
        let (height, width) = (self.height / side as usize, self.width / side as usize);
        Self::from_fn(self.channels, height, width, |c, y, x| {
            let of = |k: i64| self.at(c, y * side + k / side, x * side + k % side);
            (0..side * side).map(of).fold(f64::NEG_INFINITY, f64::max)
        })
    }

    /// Largest and mean value of a channel.
    pub(crate) fn largest_and_mean(&self, channel: usize) -> (f64, f64) {
        let size = self.height * self.width;
        let values = &self.values[channel * size..(channel + 1) * size];
        let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (largest, values.iter().sum::<f64>() / size as f64)
    }

    /// Bilinear, so that the centres of the corners stay where they are.
    pub(crate) fn enlarged_aligned(&self, factor: usize) -> Self {
        let (height, width) = (self.height * factor, self.width * factor);
        let place = |i: i64, from: usize, to: usize| i as f64 * (from - 1) as f64 / (to - 1) as f64;
        Self::from_fn(self.channels, height, width, |c, y, x| {
            self.between(c, place(y, self.height, height), place(x, self.width, width))
        })
    }

    /// Bilinear, so that the outer edges stay where they are.
    pub(crate) fn enlarged(&self, factor: usize) -> Self {
        let place = |i: i64| (i as f64 + 0.5) / factor as f64 - 0.5;
        Self::from_fn(
            self.channels,
            self.height * factor,
            self.width * factor,
            |c, y, x| self.between(c, place(y), place(x)),
        )
    }

    fn between(&self, c: i64, y: f64, x: f64) -> f64 {
        let (y, x) = (
            y.clamp(0.0, (self.height - 1) as f64),
            x.clamp(0.0, (self.width - 1) as f64),
        );
        let (top, left) = (y.floor(), x.floor());
        let value = |dy: f64, dx: f64| {
            let row = (top + dy).min((self.height - 1) as f64);
            let column = (left + dx).min((self.width - 1) as f64);
            let weight = |d: f64, rest: f64| if d == 0.0 { 1.0 - rest } else { rest };
            weight(dy, y - top) * weight(dx, x - left) * self.at(c, row as i64, column as i64)
        };
        value(0.0, 0.0) + value(0.0, 1.0) + value(1.0, 0.0) + value(1.0, 1.0)
    }

    /// Fails unless a 1×C×H×W tensor has these values.
    pub(crate) fn assert_near(&self, found: &Tensor, tolerance: f64) {
        let size = [1, self.channels as i64, self.height as i64, self.width as i64];
        assert_eq!(found.size(), size);
        for (number, (expected, found)) in self.values.iter().zip(numbers(found)).enumerate() {
            assert!(
                (expected - found).abs() <= tolerance * expected.abs().max(1.0),
                "value {number} of {size:?}: expected {expected}, found {found}"
            );
        }
    }
}

pub(crate) fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach().to_kind(Kind::Double).contiguous().view(-1)).unwrap()
}

/// The variables of a store by name.
pub(crate) struct Weights(HashMap<String, Tensor>);

impl Weights {
    pub(crate) fn of(vars: &VarStore) -> Self {
        Self(vars.variables())
    }

    pub(crate) fn values(&self, name: &str) -> Vec<f64> {
        numbers(&self.0[name])
    }

    fn bias(&self, name: &str, channels: usize) -> Vec<f64> {
        match self.0.get(&format!("{name}.bias")) {
            Some(bias) => numbers(bias),
            None => vec![0.0; channels],
        }
    }

    /// A convolution.
    pub(crate) fn conv(&self, input: &Planes, name: &str, stride: i64, padding: i64) -> Planes {
        let weight = &self.0[&format!("{name}.weight")];
        let (outputs, inputs, kernel, _) = weight.size4().unwrap();
        assert_eq!(inputs as usize, input.channels, "{name}");
        let (weight, bias) = (numbers(weight), self.bias(name, outputs as usize));
        let side = |length: usize| ((length as i64 + 2 * padding - kernel) / stride + 1) as usize;
        Planes::from_fn(
            outputs as usize,
            side(input.height),
            side(input.width),
            |o, y, x| {
                let mut sum = bias[o as usize];
                for i in 0..inputs {
                    for k in 0..kernel * kernel {
                        let (row, column) = (k / kernel, k % kernel);
                        let value =
                            input.around(i, y * stride + row - padding, x * stride + column - padding);
                        sum += weight[((o * inputs + i) * kernel * kernel + k) as usize] * value;
                    }
                }
                sum
            },
        )
    }

    /// A transposed convolution that doubles height and width.
    pub(crate) fn transposed(&self, input: &Planes, name: &str, padding: i64) -> Planes {
        let weight = &self.0[&format!("{name}.weight")];
        let (inputs, outputs, kernel, _) = weight.size4().unwrap();
        assert_eq!(inputs as usize, input.channels, "{name}");
        let (weight, bias) = (numbers(weight), self.bias(name, outputs as usize));
        Planes::from_fn(outputs as usize, 2 * input.height, 2 * input.width, |o, y, x| {
            let mut sum = bias[o as usize];
            for i in 0..inputs {
                for k in 0..kernel * kernel {
                    // Position p of the input adds to 2·p + k − padding of the output.
                    let (row, column) = (y + padding - k / kernel, x + padding - k % kernel);
                    if row % 2 == 0 && column % 2 == 0 {
                        let value = input.around(i, row.div_euclid(2), column.div_euclid(2));
                        sum += weight[((i * outputs + o) * kernel * kernel + k) as usize] * value;
                    }
                }
            }
            sum
        })
    }

    /// A batch norm in inference.
    pub(crate) fn norm(&self, input: &Planes, name: &str) -> Planes {
        let [weight, bias, mean, var] =
            ["weight", "bias", "running_mean", "running_var"].map(|of| self.values(&format!("{name}.{of}")));
        Planes::from_fn(input.channels, input.height, input.width, |c, y, x| {
            let i = c as usize;
            (input.at(c, y, x) - mean[i]) / (var[i] + 1e-5).sqrt() * weight[i] + bias[i]
        })
    }
}
