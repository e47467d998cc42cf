//! Multiresolution knowledge distillation.

use std::cell::OnceCell;

use crate::teacher::pretrain;
use daf_core::block::{Blocks, Init, Mode, channels_last};
use daf_core::config::NotNegative;
use daf_core::rand::SeedableRng;
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::nn::VarStore;
use daf_core::tch::{self, Kind, Tensor};
use daf_core::weights::Weights;
use daf_core::{Batch, BoxError, BuildContext, Losses, Maps, Method, Model, Origin, Store, typetag};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::backbone::vgg::{Norms, Tower, Trace, VGG16, Vgg16};

/// MKDAD: a small cloner learns what VGG16 gives at four depths; the gradient of their difference shows the defect.
///
/// Salehi et al., CVPR 2021. The loss adds up one minus the cosine between the whole activations and λ times their mean
/// squared difference after the second to fifth max-pool; an image's score is the same after the third to fifth. The
/// cloner is the official code's smaller one. As there, guided backpropagation changes the ReLUs of the cloner only.
///
/// Departures: the noise of `smooth_grad` is the same for every image, so that a score does not depend on the images
/// beside it; the official code opens its thresholded maps with a 3×3 ellipse before it measures. Multiply-adds are reported
/// of the way forward only.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mkdad {
    /// Where the weights of the source come from, a VGG16.
    pub weights: Weights,
    /// Weight λ of the squared differences, in the loss and in the score; the paper has 0.5 for MVTec AD, and 0.01
    /// elsewhere.
    pub lambda: NotNegative,
    /// How the map is made of gradients.
    pub localization: Localization,
    /// Noisy copies of the image, for `smooth_grad`.
    pub copies: u64,
    /// Strength of their noise, for `smooth_grad`: the standard deviation is the square of this over the range of the
    /// image's values.
    pub noise: NotNegative,
    /// Whether every map is brought to 0..=1 by its own least value and 99th percentile. The paper does, and measures
    /// pixels on defective images only; without, maps of different images can be compared.
    pub per_image: bool,
}
daf_core::register!(Method: Mkdad = "mkdad", recipe = include_str!("mkdad.yaml"));

/// How a map is made of the gradient of an image's score at its pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Localization {
    /// The gradient as it is.
    Gradients,
    /// The mean over noisy copies of the image.
    SmoothGrad,
    /// Guided backpropagation: on the way back through the cloner, ReLUs hold back what is below 0.
    #[default]
    Guided,
}

impl Default for Mkdad {
    fn default() -> Self {
        Self {
            weights: Weights::default(),
            lambda: NotNegative::new(0.5),
            localization: Localization::default(),
            copies: 50,
            noise: NotNegative::new(0.05),
            per_image: true,
        }
    }
}

/// Channels of the cloner's convolutions (the official configuration B).
const CLONER: [&[i64]; 5] = [
    &[16, 16],
    &[16, 128],
    &[16, 16, 256],
    &[16, 16, 512],
    &[16, 16, 512],
];

#[typetag::serde(name = Mkdad::NAME)]
impl Method for Mkdad {
    fn stride(&self) -> i64 {
        1 << VGG16.len()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
        let recipe = Vgg16 {
            weights: self.weights.clone(),
            ..Vgg16::default()
        };
        let mut model = MkdadModel::new(self, [&VGG16, &CLONER], context);
        model.origin = pretrain("source", &recipe, &model.source.0, "", context)?;
        model.source.0.freeze();
        Ok(Box::new(model))
    }

    fn check(&self) -> Result<(), BoxError> {
        if !(1..=1000).contains(&self.copies) {
            return Err(format!("`copies` must be 1 to 1000, found {}", self.copies).into());
        }
        Ok(())
    }
}

/// The first of the pools that an image's score looks at; the loss begins one pool earlier.
const SCORED: usize = 2;

struct MkdadModel {
    source: (VarStore, Tower),
    cloner: (VarStore, Tower),
    origin: Option<Origin>,
    lambda: f64,
    localization: Localization,
    copies: u64,
    noise: f64,
    per_image: bool,
    /// Noise of variance 1 for every copy, `copies`×3×H×W.
    drawn: OnceCell<Tensor>,
}

impl MkdadModel {
    fn new(method: &Mkdad, [source, cloner]: [&[&[i64]]; 2], context: &BuildContext) -> Self {
        let tower = |widths, mode, start, norms| {
            let vars = VarStore::new(context.device);
            let tower = Tower::new(
                &Blocks::new(vars.root(), mode, start, context.precision),
                widths,
                norms,
            );
            (vars, tower)
        };
        Self {
            source: tower(source, Mode::Infer, Init::FanOut, Norms::None),
            cloner: tower(cloner, context.mode, Init::Xavier, Norms::WithinBlocks),
            origin: None,
            lambda: *method.lambda,
            localization: method.localization,
            copies: method.copies,
            noise: *method.noise,
            per_image: method.per_image,
            drawn: OnceCell::new(),
        }
    }

    /// One minus the cosine and the mean squared difference of the activations of each image, N each.
    fn differences(source: &Tensor, cloner: &Tensor) -> [Tensor; 2] {
        let squares = (source.to_kind(Kind::Float) - cloner.to_kind(Kind::Float)).square();
        let squares = squares.mean_dim([1, 2, 3].as_slice(), false, Kind::Float);
        [super::angles(source, cloner), squares]
    }

    /// Scores of images, N, from what the pools give.
    fn score(&self, source: &[Tensor], cloner: &[Tensor]) -> Tensor {
        let pools = source.iter().zip(cloner).skip(SCORED);
        let terms: Vec<Tensor> = pools
            .map(|(source, cloner)| {
                let [angle, squares] = Self::differences(source, cloner);
                angle + self.lambda * squares
            })
            .collect();
        Tensor::stack(&terms, 0).sum_dim_intlist(0, false, Kind::Float)
    }

    /// Scores of images, N, and the gradient of each at its own image, N×3×H×W.
    fn gradient(&self, images: &Tensor) -> Result<(Tensor, Tensor), BoxError> {
        let traces = [self.source.1.trace(images), self.cloner.1.trace(images)];
        let scores = tch::with_grad(|| self.score(&traces[0].pools(), &traces[1].pools()));
        let leaves: Vec<&Tensor> = traces
            .iter()
            .flat_map(|trace| trace.ends().split_off(SCORED))
            .collect();
        let total = tch::with_grad(|| scores.sum(Kind::Float));
        let at_leaves = Tensor::f_run_backward(&[total], &leaves, false, false)?;
        let (of_source, of_cloner) = at_leaves.split_at(at_leaves.len() / 2);
        let back = |trace: &Trace, last, guided| {
            let gradient = trace.gradient(last, guided);
            gradient.ok_or("the networks have no layers")
        };
        let guided = self.localization == Localization::Guided;
        let gradient = back(&traces[0], of_source, false)? + back(&traces[1], of_cloner, guided)?;
        Ok((scores.detach(), gradient.to_kind(Kind::Float)))
    }

    /// Sizes of the gradient over the colours, N×1×H×W, scaled if every map is.
    fn saliency(&self, gradient: &Tensor) -> Tensor {
        let map = gradient.abs().sum_dim_intlist(1, true, Kind::Float);
        if self.per_image { scaled(&map, 0.99) } else { map }
    }

    fn smooth_grad(&self, images: &Tensor) -> Result<Tensor, BoxError> {
        let size = images.size();
        let drawn = self
            .drawn
            .get_or_init(|| self.draw(&size[1..]))
            .to_device(images.device());
        let flat = images.flatten(1, -1);
        let range = flat.amax([1].as_slice(), false) - flat.amin([1].as_slice(), false);
        let deviation = (self.noise / range.clamp_min(1e-6)).square().view([-1, 1, 1, 1]);
        let mut sum = Tensor::zeros([size[0], 1, size[2], size[3]], (Kind::Float, images.device()));
        for copy in 0..drawn.size()[0] {
            let (_, gradient) = self.gradient(&(images + &deviation * drawn.get(copy)))?;
            sum += self.saliency(&gradient);
        }
        let mean = sum / self.copies as f64;
        Ok(if self.per_image { scaled(&mean, 1.0) } else { mean })
    }

    /// Noise of variance 1, the same in every process.
    fn draw(&self, size: &[i64]) -> Tensor {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let count = self.copies as usize * size.iter().product::<i64>() as usize;
        let values: Vec<f32> = (0..count).map(|_| StandardNormal.sample(&mut rng)).collect();
        let mut whole = vec![self.copies as i64];
        whole.extend(size);
        Tensor::from_slice(&values).view(whole.as_slice())
    }
}

/// Maps N×1×H×W, each brought to 0..=1 by its least value and this quantile.
fn scaled(maps: &Tensor, quantile: f64) -> Tensor {
    let flat = maps.flatten(1, -1);
    let place = |values: Tensor| values.view([-1, 1, 1, 1]);
    let least = place(flat.amin([1].as_slice(), false));
    let top = place(flat.quantile_scalar(quantile, 1, false, "linear"));
    // A map that is the same everywhere is 0.
    ((maps - &least) / (top - &least).clamp_min(1e-30)).clamp(0.0, 1.0)
}

impl Model for MkdadModel {
    fn stores(&self) -> Vec<Store<'_>> {
        vec![
            Store::frozen("source", &self.source.0),
            Store::learned("cloner", &self.cloner.0),
        ]
    }

    fn origins(&self) -> Vec<Origin> {
        self.origin.clone().into_iter().collect()
    }

    fn losses(&self, batch: &Batch) -> Result<Losses, BoxError> {
        let images = channels_last(&batch.normal);
        let source = tch::no_grad(|| self.source.1.pools(&images));
        let cloner = self.cloner.1.pools(&images);
        let mut losses = Losses::new();
        for (number, (source, cloner)) in (1..).zip(source.iter().zip(&cloner)).skip(SCORED - 1) {
            let [angle, squares] = Self::differences(source, cloner).map(|term| term.mean(Kind::Float));
            losses.push((format!("cosine.{number}"), angle));
            if self.lambda > 0.0 {
                losses.push((format!("l2.{number}"), self.lambda * squares));
            }
        }
        Ok(losses)
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let images = channels_last(images);
        let (scores, map) = match self.localization {
            Localization::Gradients | Localization::Guided => {
                let (scores, gradient) = self.gradient(&images)?;
                (scores, self.saliency(&gradient))
            }
            Localization::SmoothGrad => {
                let (source, cloner) = (self.source.1.pools(&images), self.cloner.1.pools(&images));
                (self.score(&source, &cloner).detach(), self.smooth_grad(&images)?)
            }
        };
        Ok(Maps {
            discrepancy: vec![map],
            images: Some(scores),
            ..Maps::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::method::slow::{self, Map, batch, context};

    #[test]
    fn the_cloner_has_as_many_parameters_as_the_official_one() {
        let model = Mkdad::default().build(&context(Mode::Train, (64, 64))).unwrap();
        assert_eq!(model.parameters(), 343_984);
    }

    const SOURCE: [&[i64]; 5] = [&[2, 3], &[2, 4], &[3, 2, 5], &[3, 2, 4], &[2, 3, 6]];
    const NARROW: [&[i64]; 5] = [&[2, 3], &[3, 4], &[2, 3, 5], &[2, 2, 4], &[2, 2, 6]];

    fn narrow(method: &Mkdad, mode: Mode) -> MkdadModel {
        let model = MkdadModel::new(method, [&SOURCE, &NARROW], &context(mode, (32, 64)));
        for vars in [&model.source.0, &model.cloner.0] {
            for (name, mut variable) in vars.variables() {
                // Biases of both signs, and units that are alive.
                if name.ends_with("bias") && name.starts_with("features.0") {
                    slow::no_grad(|| _ = variable.normal_(0.1, 0.1));
                }
            }
        }
        model
    }

    /// A tower in loops: the inputs of all ReLUs, and how they came about.
    struct Loops<'a> {
        vars: HashMap<String, Tensor>,
        widths: &'a [&'a [i64]],
        normed: bool,
        /// Batch norms use the statistics of the batch rather than mean 0 and variance 1.
        trains: bool,
    }

    impl Loops<'_> {
        /// Number of the convolution, whether a batch norm follows, and whether it ends its block.
        fn layers(&self) -> Vec<(usize, bool, bool)> {
            let (mut number, mut layers) = (0, Vec::new());
            for block in self.widths {
                for place in 1..=block.len() {
                    let ends = place == block.len();
                    let norm = self.normed && !ends;
                    layers.push((number, norm, ends));
                    number += if norm { 3 } else { 2 };
                }
                number += 1;
            }
            layers
        }

        /// Inputs of every ReLU, and outputs of the pools.
        fn run(&self, images: &Map) -> (Vec<Map>, Vec<Map>) {
            let (mut features, mut before, mut pools) = (images.clone(), Vec::new(), Vec::new());
            for (number, norm, ends) in self.layers() {
                let (weight, bias) = self.of(number);
                features = features.conv(weight, bias, 1, 1);
                if norm {
                    features = if self.trains {
                        features.normalized()
                    } else {
                        features.map(|value| value / (1.0f64 + 1e-5).sqrt())
                    };
                }
                before.push(features.clone());
                features = features.relu();
                if ends {
                    features = features.pooled();
                    pools.push(features.clone());
                }
            }
            (before, pools)
        }

        fn of(&self, number: usize) -> (&Tensor, Option<&Tensor>) {
            let bias = self.vars.get(&format!("features.{number}.bias"));
            (&self.vars[&format!("features.{number}.weight")], bias)
        }

        /// The gradient at the image, given those at the pools; one image.
        fn back(&self, images: &Map, at_pools: &[Option<Map>], guided: bool) -> Map {
            let (before, pools) = self.run(images);
            let layers = self.layers();
            let mut block = pools.len();
            let mut carried: Option<Map> = None;
            for (layer, (number, norm, ends)) in layers.iter().enumerate().rev() {
                let rectified = before[layer].clone().relu();
                let mut gradient = if *ends {
                    block -= 1;
                    let mut at_pool = Map::zeros([1, pools[block].c, pools[block].h, pools[block].w]);
                    for given in carried.iter().chain(&at_pools[block]) {
                        at_pool = at_pool.plus(given);
                    }
                    let mut before = Map::zeros([1, rectified.c, rectified.h, rectified.w]);
                    for (_, y, x) in at_pool.places() {
                        for c in 0..at_pool.c {
                            let square =
                                [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dy, dx)| (2 * y + dy, 2 * x + dx));
                            // The first of the largest, as libtorch has it.
                            let mut most = square[0];
                            for (sy, sx) in square {
                                if rectified.at(0, c, sy, sx) > rectified.at(0, c, most.0, most.1) {
                                    most = (sy, sx);
                                }
                            }
                            *before.at_mut(0, c, most.0, most.1) = at_pool.at(0, c, y, x);
                        }
                    }
                    before
                } else {
                    carried.take().unwrap()
                };
                for (value, input) in gradient.values.iter_mut().zip(&before[layer].values) {
                    if *input <= 0.0 || guided && *value < 0.0 {
                        *value = 0.0;
                    }
                }
                if *norm {
                    gradient = gradient.map(|value| value / (1.0f64 + 1e-5).sqrt());
                }
                let weight = Map::of(self.of(*number).0);
                let mut below = Map::zeros([1, weight.c, gradient.h, gradient.w]);
                for (_, y, x) in gradient.places() {
                    for (dy, dx) in (0..3).flat_map(|dy| (0..3).map(move |dx| (dy, dx))) {
                        let (sy, sx) = (y + dy, x + dx);
                        if sy < 1 || sx < 1 || sy > gradient.h || sx > gradient.w {
                            continue;
                        }
                        for (o, c) in (0..weight.n).flat_map(|o| (0..weight.c).map(move |c| (o, c))) {
                            *below.at_mut(0, c, sy - 1, sx - 1) +=
                                weight.at(o, c, dy, dx) * gradient.at(0, o, y, x);
                        }
                    }
                }
                carried = Some(below);
            }
            carried.unwrap()
        }
    }

    fn loops(model: &MkdadModel, trains: bool) -> [Loops<'static>; 2] {
        let of = |vars: &VarStore, widths, normed| Loops {
            vars: vars.variables(),
            widths,
            normed,
            trains,
        };
        [
            of(&model.source.0, &SOURCE[..], false),
            of(&model.cloner.0, &NARROW[..], true),
        ]
    }

    fn squares(a: &Map, b: &Map) -> f64 {
        let squares = a.values.iter().zip(&b.values).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f64>() / a.values.len() as f64
    }

    #[test]
    fn losses_agree_with_loops() {
        slow::seed(3);
        let batch = batch((32, 64));
        let model = narrow(&Mkdad::default(), Mode::Train);
        let images = Map::of(&batch.normal);
        let [(_, source), (_, cloner)] = loops(&model, true).map(|tower| tower.run(&images));
        let losses = model.losses(&batch).unwrap();
        assert_eq!(losses.len(), 8);
        for (stage, terms) in losses.chunks(2).enumerate() {
            let (s, c) = (&source[stage + 1], &cloner[stage + 1]);
            assert_eq!(terms[0].0, format!("cosine.{}", stage + 2));
            slow::close(
                terms[0].1.double_value(&[]),
                (s.angle(c, 0) + s.angle(c, 1)) / 2.0,
                1e-4,
            );
            slow::close(terms[1].1.double_value(&[]), 0.5 * squares(s, c), 1e-4);
        }
    }

    /// The score of one image and its gradients at the pools of both towers.
    fn score(source: &[Map], cloner: &[Map], lambda: f64) -> (f64, [Vec<Option<Map>>; 2]) {
        let mut sum = 0.0;
        let mut gradients = [vec![None; 5], vec![None; 5]];
        for pool in SCORED..5 {
            let (s, c) = (&source[pool], &cloner[pool]);
            sum += s.angle(c, 0) + lambda * squares(s, c);
            let dot = |a: &Map, b: &Map| a.values.iter().zip(&b.values).map(|(a, b)| a * b).sum::<f64>();
            let (of_s, of_c) = (dot(s, s).sqrt(), dot(c, c).sqrt());
            let cosine = dot(s, c) / (of_s * of_c);
            let count = s.values.len() as f64;
            for (gradient, (at, other, own, others)) in
                gradients.iter_mut().zip([(s, c, of_s, of_c), (c, s, of_c, of_s)])
            {
                let mut map = at.clone();
                for (value, (a, b)) in map.values.iter_mut().zip(at.values.iter().zip(&other.values)) {
                    let angle = -(b / (own * others) - cosine * a / (own * own));
                    *value = angle + lambda * 2.0 * (a - b) / count;
                }
                gradient[pool] = Some(map);
            }
        }
        (sum, gradients)
    }

    #[test]
    fn gradients_are_the_slope_of_the_score_and_guided_ones_follow_the_rule() {
        slow::seed(4);
        for localization in [Localization::Gradients, Localization::Guided] {
            let method = Mkdad {
                localization,
                per_image: false,
                ..Mkdad::default()
            };
            let model = narrow(&method, Mode::Infer);
            let images = batch((32, 64)).normal;
            let maps = slow::no_grad(|| model.infer(&images)).unwrap();
            let (scores, gradient) = slow::no_grad(|| model.gradient(&images)).unwrap();
            let towers = loops(&model, false);
            for row in 0..2 {
                let image = Map::of(&images.narrow(0, row, 1));
                let look = |image: &Map| {
                    let [(_, source), (_, cloner)] = [towers[0].run(image), towers[1].run(image)];
                    score(&source, &cloner, 0.5)
                };
                let (expected, at_pools) = look(&image);
                slow::close(scores.double_value(&[row]), expected, 1e-4);
                slow::close(maps.images.as_ref().unwrap().double_value(&[row]), expected, 1e-4);
                let guided = localization == Localization::Guided;
                let slow = towers[0].back(&image, &at_pools[0], false).plus(&towers[1].back(
                    &image,
                    &at_pools[1],
                    guided,
                ));
                slow.assert_close(&gradient.narrow(0, row, 1), 1e-4);
                let mut map = Map::zeros([1, 1, 32, 64]);
                for (_, y, x) in map.places() {
                    *map.at_mut(0, 0, y, x) = (0..3).map(|c| slow.at(0, c, y, x).abs()).sum();
                }
                map.assert_close(&maps.discrepancy[0].narrow(0, row, 1), 1e-4);
                if guided {
                    assert!(
                        slow.values != towers[1].back(&image, &at_pools[1], false).values,
                        "the rule changes something"
                    );
                    continue;
                }
                // The loops themselves against differences of the score.
                for pixel in (0..image.values.len()).step_by(601) {
                    let moved = |step: f64| {
                        let mut image = image.clone();
                        image.values[pixel] += step;
                        look(&image).0
                    };
                    let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                    let error = (slope - slow.values[pixel]).abs();
                    assert!(error < 1e-6, "{slope} is not {}", slow.values[pixel]);
                }
            }
        }
    }

    #[test]
    fn smooth_gradients_are_a_mean_over_noisy_copies_that_does_not_depend_on_the_batch() {
        slow::seed(5);
        let method = Mkdad {
            localization: Localization::SmoothGrad,
            copies: 4,
            noise: NotNegative::new(0.5),
            per_image: false,
            ..Mkdad::default()
        };
        let model = narrow(&method, Mode::Infer);
        let images = batch((32, 64)).normal;
        let map = |images: &Tensor| {
            slow::no_grad(|| model.infer(images))
                .unwrap()
                .discrepancy
                .remove(0)
        };
        let both = map(&images);
        let alone = map(&images.narrow(0, 1, 1));
        Map::of(&both.narrow(0, 1, 1)).assert_close(&alone, 1e-5);
        let noise = model.draw(&[3, 32, 64]);
        let image = images.narrow(0, 1, 1);
        let range = image.max().double_value(&[]) - image.min().double_value(&[]);
        let mut mean = Tensor::zeros([1, 1, 32, 64], slow::FLOAT);
        for copy in 0..4 {
            let noisy = &image + noise.get(copy) * (0.5 / range).powi(2);
            let gradient = model.gradient(&noisy).unwrap().1;
            mean += gradient.abs().sum_dim_intlist(1, true, Kind::Float) / 4.0;
        }
        Map::of(&mean).assert_close(&alone, 1e-5);
    }

    #[test]
    fn maps_are_scaled_by_their_least_value_and_a_quantile() {
        let values: Vec<f32> = (0..200).map(|value| value as f32).collect();
        let maps = Tensor::from_slice(&values).view([1, 1, 10, 20]);
        // numpy.percentile(range(200), 99) is 197.01.
        let found = slow::numbers(&scaled(&maps, 0.99));
        slow::close(found[100], 100.0 / 197.01, 1e-6);
        assert_eq!((found[0], found[199]), (0.0, 1.0));
        assert_eq!(slow::numbers(&scaled(&maps.zeros_like(), 0.99)), vec![0.0; 200]);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let method = Mkdad {
            copies: 0,
            ..Mkdad::default()
        };
        let error = method.check().unwrap_err().to_string();
        assert!(error.contains("`copies`"), "{error}");
    }
}
