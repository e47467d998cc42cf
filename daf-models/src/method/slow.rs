//! Reference layers: plain loops in f64 that the tests compare the networks with; and the tests' other common helpers.

use std::collections::{BTreeMap, HashMap};

use daf_core::block::{Mode, Precision};
use daf_core::rand::SeedableRng;
use daf_core::rand::distr::StandardUniform;
use daf_core::tch::nn::VarStore;
use daf_core::tch::{self, Device, Kind, Tensor};
use daf_core::{Batch, BoxError, BuildContext, Method, Model, NormalBatch, NormalImages, Store, Synthesized};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::alone::alone;

pub(crate) const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

pub(crate) fn seed(seed: i64) {
    alone();
    tch::set_num_threads(1);
    tch::manual_seed(seed);
}

pub(crate) fn no_grad<T>(work: impl FnOnce() -> T) -> T {
    tch::no_grad(work)
}

pub(crate) fn context(mode: Mode, size: (i64, i64)) -> BuildContext<'static> {
    alone();
    BuildContext {
        device: Device::Cpu,
        size,
        mode,
        precision: Precision::Float32,
        pretrained: None,
    }
}

/// A model without pretrained weights.
pub(crate) fn built(method: &dyn Method, mode: Mode, size: (i64, i64)) -> Box<dyn Model> {
    method.build(&context(mode, size)).unwrap()
}

/// Two normal images of noise.
pub(crate) fn batch(size: (i64, i64)) -> Batch {
    alone();
    Batch {
        normal: Tensor::randn([2, 3, size.0, size.1], FLOAT),
        synthetic: None,
        indices: vec![0, 1],
        features: None,
    }
}

/// A batch of two images of noise with a square that is damaged in the first.
pub(crate) fn damaged(side: i64) -> Batch {
    let mut draws = Draws::new(1);
    let normal = draws.uniform(&[2, 3, side, side]);
    let mask = Tensor::zeros([2, 1, side, side], FLOAT);
    let _ = mask
        .narrow(0, 0, 1)
        .narrow(2, side / 4, side / 2)
        .narrow(3, 1, side / 3)
        .fill_(1.0);
    let synthetic = Synthesized {
        images: &normal * (1.0 - &mask) + draws.uniform(&[2, 3, side, side]) * &mask,
        target: &mask * 0.7,
        mask,
        class: vec![0, -1],
    };
    Batch {
        normal,
        synthetic: Some(synthetic),
        indices: vec![0, 1],
        features: None,
    }
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
                no_grad(|| variable.copy_(&value));
            }
        }
    }
}

/// Normal images to fit to.
pub(crate) struct Images(pub(crate) Vec<Tensor>);

impl NormalImages for Images {
    fn batches(&self) -> Box<dyn Iterator<Item = Result<NormalBatch, BoxError>> + '_> {
        let mut before = 0;
        let batch = move |images: &Tensor| {
            let first = before;
            before += images.size()[0] as usize;
            Ok(NormalBatch::consecutive(first, images.shallow_clone()))
        };
        Box::new(self.0.iter().map(batch))
    }
}

#[track_caller]
pub(crate) fn close(found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs();
    assert!(
        error <= tolerance * expected.abs().max(1.0),
        "{found} is not {expected}: {error:e}"
    );
}

/// N×C×H×W numbers.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    pub(crate) n: usize,
    pub(crate) c: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) values: Vec<f64>,
}

impl Map {
    pub(crate) fn zeros([n, c, h, w]: [usize; 4]) -> Self {
        Self {
            n,
            c,
            h,
            w,
            values: vec![0.0; n * c * h * w],
        }
    }

    pub(crate) fn of(tensor: &Tensor) -> Self {
        let (n, c, h, w) = tensor.size4().unwrap();
        Self {
            n: n as usize,
            c: c as usize,
            h: h as usize,
            w: w as usize,
            values: numbers(tensor),
        }
    }

    pub(crate) fn at(&self, n: usize, c: usize, y: usize, x: usize) -> f64 {
        self.values[((n * self.c + c) * self.h + y) * self.w + x]
    }

    pub(crate) fn at_mut(&mut self, n: usize, c: usize, y: usize, x: usize) -> &mut f64 {
        &mut self.values[((n * self.c + c) * self.h + y) * self.w + x]
    }

    /// Image, row and column of every position.
    pub(crate) fn places(&self) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let (n, h, w) = (self.n, self.h, self.w);
        (0..n).flat_map(move |n| (0..h).flat_map(move |y| (0..w).map(move |x| (n, y, x))))
    }

    pub(crate) fn map(mut self, f: impl Fn(f64) -> f64) -> Self {
        for value in &mut self.values {
            *value = f(*value);
        }
        self
    }

    pub(crate) fn relu(self) -> Self {
        self.map(|value| value.max(0.0))
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        self.with(other, |a, b| a + b)
    }

    pub(crate) fn times(&self, other: &Self) -> Self {
        self.with(other, |a, b| a * b)
    }

    fn with(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        assert_eq!(
            (self.n, self.c, self.h, self.w),
            (other.n, other.c, other.h, other.w)
        );
        let values = self.values.iter().zip(&other.values).map(|(a, b)| f(*a, *b));
        Self {
            values: values.collect(),
            ..*self
        }
    }

    /// Channels of several maps, one after the other.
    pub(crate) fn concat(maps: &[&Self]) -> Self {
        let channels = maps.iter().map(|map| map.c).sum();
        let mut all = Self::zeros([maps[0].n, channels, maps[0].h, maps[0].w]);
        let mut first = 0;
        for map in maps {
            for (n, y, x) in map.places() {
                for c in 0..map.c {
                    *all.at_mut(n, first + c, y, x) = map.at(n, c, y, x);
                }
            }
            first += map.c;
        }
        all
    }

    /// A convolution with a weight O×C×k×k and a bias.
    pub(crate) fn conv(&self, weight: &Tensor, bias: Option<&Tensor>, stride: usize, padding: usize) -> Self {
        let weight = Self::of(weight);
        let k = weight.h;
        assert_eq!(weight.c, self.c);
        let side = |length: usize| (length + 2 * padding - k) / stride + 1;
        let mut output = Self::zeros([self.n, weight.n, side(self.h), side(self.w)]);
        let bias = bias.map(numbers);
        for (n, y, x) in output.places() {
            for o in 0..weight.n {
                let mut sum = bias.as_ref().map_or(0.0, |bias| bias[o]);
                for (dy, dx) in (0..k).flat_map(|dy| (0..k).map(move |dx| (dy, dx))) {
                    let (sy, sx) = (y * stride + dy, x * stride + dx);
                    if sy < padding || sx < padding || sy - padding >= self.h || sx - padding >= self.w {
                        continue;
                    }
                    for c in 0..self.c {
                        sum += weight.at(o, c, dy, dx) * self.at(n, c, sy - padding, sx - padding);
                    }
                }
                *output.at_mut(n, o, y, x) = sum;
            }
        }
        output
    }

    /// A transposed convolution of stride 2 with a weight C×O×k×k and a bias, which doubles height and width.
    pub(crate) fn transposed(&self, weight: &Tensor, bias: Option<&Tensor>, padding: usize) -> Self {
        let weight = Self::of(weight);
        let k = weight.h;
        assert_eq!(weight.n, self.c);
        let mut output = Self::zeros([self.n, weight.c, 2 * self.h, 2 * self.w]);
        let bias = bias.map(numbers);
        // Position p of the input adds to 2·p + d − padding of the output.
        let source = |place: usize, d: usize, length: usize| {
            let place = (place + padding).checked_sub(d)?;
            (place % 2 == 0 && place / 2 < length).then_some(place / 2)
        };
        for (n, y, x) in output.places() {
            for o in 0..weight.c {
                let mut sum = bias.as_ref().map_or(0.0, |bias| bias[o]);
                for (dy, dx) in (0..k).flat_map(|dy| (0..k).map(move |dx| (dy, dx))) {
                    if let Some((sy, sx)) = source(y, dy, self.h).zip(source(x, dx, self.w)) {
                        let values = (0..self.c).map(|c| weight.at(c, o, dy, dx) * self.at(n, c, sy, sx));
                        sum += values.sum::<f64>();
                    }
                }
                *output.at_mut(n, o, y, x) = sum;
            }
        }
        output
    }

    /// Batch norm with the statistics of the batch, weight 1 and bias 0, as at the start of a training.
    pub(crate) fn normalized(&self) -> Self {
        let mut output = self.clone();
        let count = (self.n * self.h * self.w) as f64;
        for c in 0..self.c {
            let mean = self.places().map(|(n, y, x)| self.at(n, c, y, x)).sum::<f64>() / count;
            let squares = self
                .places()
                .map(|(n, y, x)| (self.at(n, c, y, x) - mean).powi(2));
            let deviation = (squares.sum::<f64>() / count + 1e-5).sqrt();
            for (n, y, x) in self.places() {
                *output.at_mut(n, c, y, x) = (self.at(n, c, y, x) - mean) / deviation;
            }
        }
        output
    }

    /// The largest of every 2×2 square.
    pub(crate) fn pooled(&self) -> Self {
        let mut output = Self::zeros([self.n, self.c, self.h / 2, self.w / 2]);
        for (n, y, x) in output.places() {
            for c in 0..self.c {
                let square = [(0, 0), (0, 1), (1, 0), (1, 1)];
                let values = square.map(|(dy, dx)| self.at(n, c, 2 * y + dy, 2 * x + dx));
                *output.at_mut(n, c, y, x) = values.into_iter().fold(f64::NEG_INFINITY, f64::max);
            }
        }
        output
    }

    /// Bilinear interpolation to another size.
    pub(crate) fn resized(&self, (h, w): (usize, usize), align_corners: bool) -> Self {
        let place = |i: usize, from: usize, to: usize| {
            let place = if align_corners {
                i as f64 * (from - 1) as f64 / (to - 1) as f64
            } else {
                ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0)
            };
            let low = (place.floor() as usize).min(from - 1);
            (low, (low + 1).min(from - 1), place - low as f64)
        };
        let mut output = Self::zeros([self.n, self.c, h, w]);
        for (n, y, x) in output.places() {
            let (top, bottom, down) = place(y, self.h, h);
            let (left, right, over) = place(x, self.w, w);
            for c in 0..self.c {
                let line = |y| self.at(n, c, y, left) * (1.0 - over) + self.at(n, c, y, right) * over;
                *output.at_mut(n, c, y, x) = line(top) * (1.0 - down) + line(bottom) * down;
            }
        }
        output
    }

    /// One minus the cosine between the values of image `n`, all in one row, and those of another map.
    pub(crate) fn angle(&self, other: &Self, n: usize) -> f64 {
        let length = self.c * self.h * self.w;
        let row = n * length..(n + 1) * length;
        let (a, b) = (&self.values[row.clone()], &other.values[row]);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        1.0 - dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
    }

    #[track_caller]
    pub(crate) fn assert_close(&self, tensor: &Tensor, tolerance: f64) {
        let found = Self::of(tensor);
        assert_eq!(
            (found.n, found.c, found.h, found.w),
            (self.n, self.c, self.h, self.w)
        );
        let largest = self
            .values
            .iter()
            .fold(0.0f64, |most, value| most.max(value.abs()));
        for (found, expected) in found.values.iter().zip(&self.values) {
            let error = (found - expected).abs();
            assert!(
                error <= tolerance * largest.max(1e-3),
                "{found} is not {expected}: {error:e}"
            );
        }
    }
}

/// The values of a tensor in the order of its dimensions.
pub(crate) fn numbers(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.detach().to_kind(Kind::Double).contiguous().view(-1);
    Vec::try_from(flat).unwrap()
}

/// The variables of a store by name.
pub(crate) struct Weights(HashMap<String, Tensor>);

impl Weights {
    pub(crate) fn of(vars: &VarStore) -> Self {
        Self(vars.variables())
    }

    fn weight_and_bias(&self, name: &str) -> (&Tensor, Option<&Tensor>) {
        let of = |what| self.0.get(&format!("{name}.{what}"));
        (of("weight").unwrap(), of("bias"))
    }

    /// A value of the variable `name`.
    pub(crate) fn number(&self, name: &str, index: usize) -> f64 {
        numbers(&self.0[name])[index]
    }

    /// A convolution.
    pub(crate) fn conv(&self, input: &Map, name: &str, stride: usize, padding: usize) -> Map {
        let (weight, bias) = self.weight_and_bias(name);
        input.conv(weight, bias, stride, padding)
    }

    /// A transposed convolution of stride 2.
    pub(crate) fn transposed(&self, input: &Map, name: &str, padding: usize) -> Map {
        let (weight, bias) = self.weight_and_bias(name);
        input.transposed(weight, bias, padding)
    }

    /// A batch norm in inference.
    pub(crate) fn norm(&self, input: &Map, name: &str) -> Map {
        let [weight, bias, mean, var] = ["weight", "bias", "running_mean", "running_var"]
            .map(|of| numbers(&self.0[&format!("{name}.{of}")]));
        let mut output = input.clone();
        for (n, y, x) in input.places() {
            for c in 0..input.c {
                let value = output.at_mut(n, c, y, x);
                *value = (*value - mean[c]) / (var[c] + 1e-5).sqrt() * weight[c] + bias[c];
            }
        }
        output
    }
}
