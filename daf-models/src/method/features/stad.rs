//! Uninformed students.

use daf_core::block::{Blocks, Conv, ConvSpec, Init, Mode, channels_last};
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::nn::{Path, VarStore};
use daf_core::tch::{self, Kind, Tensor};
use daf_core::weights::{self, Weights};
use daf_core::{
    Batch, BoxError, BuildContext, Fit, Losses, Maps, Method, Model, NormalImages, Origin, Store, typetag,
};
use serde::{Deserialize, Serialize};

/// STAD: students learn a teacher's description of the patch around every pixel; where they err or disagree is a defect.
///
/// Bergmann et al., CVPR 2020 ("Uninformed Students"). Teacher and students describe a patch of 17, 33 or 65 pixels. The
/// students regress the teacher's description, standardised over the normal images; the map adds the squared error of
/// their mean and their variance, each standardised over the normal images, and averages over the patch sizes.
///
/// Nobody publishes the paper's teachers, which learned from ImageNet by distillation, so by default they are random:
/// what they then tell of a patch is little, and results are those of random features. Images are reflected at their
/// border, so that there is a description for every pixel.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Stad {
    /// Sides of the patches in pixels: of 17, 33 and 65 those that are wanted. The paper has all three.
    pub patches: Vec<i64>,
    /// Number of students per patch size.
    pub students: usize,
    /// Weights of the teachers: `random`, or a file with the names of a run's `teacher` file (`p17.0.weight`).
    pub teacher: Weights,
    /// Length of a description and channels of the narrower layers; 128 in the paper.
    pub width: i64,
    /// Pixels from one described patch to the next: 1 (as in the paper), 2, 4 or 8. From the first pool on the cost falls
    /// with its square. At 1 the three patch sizes together take 0.45 T multiply-adds for 256×256 pixels, once for the
    /// teacher and once for every student.
    pub step: i64,
}
daf_core::register!(Method: Stad = "stad", recipe = include_str!("stad.yaml"));

impl Default for Stad {
    fn default() -> Self {
        Self {
            patches: vec![33],
            students: 3,
            teacher: Weights::Random,
            width: 128,
            step: 4,
        }
    }
}

#[typetag::serde(name = Stad::NAME)]
impl Method for Stad {
    fn stride(&self) -> i64 {
        self.step
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
        let store = || VarStore::new(context.device);
        let (mut teacher, students, mut standard, mut scales) = (store(), store(), store(), store());
        let network = |path: Path, patch| {
            // Neither networks nor their starts depend on the mode: there are no batch norms.
            let blocks = Blocks::new(path, Mode::Infer, Init::FanIn, context.precision);
            PatchNetwork::new(&blocks, patch, self.width, self.step)
        };
        let sizes = self.patches.iter().map(|&patch| {
            let name = format!("p{patch}");
            let statistic = |vars: &VarStore, what: &str, count| {
                (vars.root() / name.as_str()).zeros_no_train(what, &[count])
            };
            Size {
                teacher: network(teacher.root() / name.as_str(), patch),
                students: (0..self.students)
                    .map(|student| network(students.root() / name.as_str() / student, patch))
                    .collect(),
                mean: statistic(&standard, "mean", self.width),
                deviation: statistic(&standard, "deviation", self.width),
                error: [
                    statistic(&scales, "error_mean", 1),
                    statistic(&scales, "error_deviation", 1),
                ],
                variance: [
                    statistic(&scales, "variance_mean", 1),
                    statistic(&scales, "variance_deviation", 1),
                ],
                patch,
            }
        });
        let sizes = sizes.collect();
        let origin = self.pretrain(&teacher, context)?;
        teacher.freeze();
        standard.freeze();
        scales.freeze();
        Ok(Box::new(StadModel {
            teacher,
            students,
            standard,
            scales,
            sizes,
            origin,
        }))
    }

    fn check(&self) -> Result<(), BoxError> {
        let mut sorted = self.patches.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let known = sorted.iter().all(|patch| [17, 33, 65].contains(patch));
        if !known || sorted.is_empty() || sorted.len() != self.patches.len() {
            return Err(format!(
                "`patches` must be 17, 33 or 65, each once, found {:?}",
                self.patches
            )
            .into());
        }
        if self.students == 0 {
            return Err("`students` must be at least 1, found 0".into());
        }
        if self.width < 1 {
            return Err(format!("`width` must be at least 1, found {}", self.width).into());
        }
        if ![1, 2, 4, 8].contains(&self.step) {
            return Err(format!("`step` must be 1, 2, 4 or 8, found {}", self.step).into());
        }
        if matches!(
            self.teacher,
            Weights::Imagenet | Weights::Pretrained | Weights::Auto
        ) {
            return Err(format!(
                "nobody publishes weights of STAD's teachers: `teacher` must be `random` or the path of a file, found \
                 `{}`",
                self.teacher
            )
            .into());
        }
        Ok(())
    }
}

impl Stad {
    fn pretrain(&self, vars: &VarStore, context: &BuildContext) -> Result<Option<Origin>, BoxError> {
        if context.pretrained.is_none() {
            return Ok(None);
        }
        if let Weights::File(file) = &self.teacher {
            weights::load(vars, &weights::read(file)?, file, false)?;
        }
        Ok(Some(Origin {
            network: "teacher".into(),
            weights: self.teacher.to_string(),
        }))
    }
}

/// A layer of a patch network.
#[derive(Debug, Clone, Copy)]
enum Layer {
    /// A convolution: side of the kernel, and how many widths its output has.
    Conv(i64, i64),
    /// The largest of every 2×2 square.
    Pool,
}

/// The paper's networks, without the decoder that the teacher learns with; every patch becomes one vector.
const fn layers(patch: i64) -> &'static [Layer] {
    use Layer::{Conv, Pool};
    match patch {
        17 => &[Conv(6, 1), Conv(5, 2), Conv(5, 2), Conv(4, 1)],
        33 => &[Conv(5, 1), Pool, Conv(5, 2), Pool, Conv(2, 2), Conv(4, 1)],
        _ => &[
            Conv(5, 1),
            Pool,
            Conv(5, 1),
            Pool,
            Conv(5, 2),
            Pool,
            Conv(4, 2),
            Conv(1, 1),
        ],
    }
}

/// Describes the patch around every pixel, or around every `step`-th.
///
/// A pool halves, so a patch one pixel further has other squares. Evaluated for all patches at once, a pool therefore moves
/// by one pixel, and what comes after it looks at every second pixel: at the vectors of all patches this is the same
/// function, at the cost of one pass (Bailer et al., 2017). With a larger `step` the first pools halve as they do in a
/// patch.
#[derive(Debug)]
struct PatchNetwork {
    layers: Vec<Placed>,
    patch: i64,
    step: i64,
}

#[derive(Debug)]
enum Placed {
    Conv(Conv),
    /// Distance of the four pixels, and from one square to the next.
    Pool(i64, i64),
}

/// Slope of the activation below 0.
const LEAK: f64 = 0.005;

impl PatchNetwork {
    fn new(blocks: &Blocks, patch: i64, width: i64, step: i64) -> Self {
        let (mut input, mut distance, mut remaining) = (3, 1, step);
        let layers = layers(patch);
        let convs = layers
            .iter()
            .filter(|layer| matches!(layer, Layer::Conv(..)))
            .count();
        let mut number = 0;
        let placed = layers.iter().map(|layer| match *layer {
            Layer::Conv(kernel, widths) => {
                let last = number + 1 == convs;
                let shape = ConvSpec {
                    kernel,
                    padding: 0,
                    dilation: distance,
                    // What the pools have not taken of the step is left to the last layer.
                    stride: if last { remaining } else { 1 },
                    ..ConvSpec::same(input, widths * width, kernel).with_bias()
                };
                let conv = blocks.conv(&number.to_string(), shape);
                (input, number) = (widths * width, number + 1);
                Placed::Conv(conv)
            }
            Layer::Pool if remaining > 1 => {
                remaining /= 2;
                Placed::Pool(1, 2)
            }
            Layer::Pool => {
                let pool = Placed::Pool(distance, 1);
                distance *= 2;
                pool
            }
        });
        Self {
            layers: placed.collect(),
            patch,
            step,
        }
    }

    /// N×3×H×W images to N×`width`×(H/`step`)×(W/`step`) descriptions.
    fn describe(&self, images: &Tensor) -> Tensor {
        let (height, width) = (images.size()[2], images.size()[3]);
        let (before, after) = (self.patch / 2, self.patch - 1 - self.patch / 2);
        let mut features = reflected(images, before, after);
        let last = self.layers.len() - 1;
        for (number, layer) in self.layers.iter().enumerate() {
            features = match layer {
                Placed::Conv(conv) if number == last => conv.forward(&features),
                Placed::Conv(conv) => {
                    let features = conv.forward(&features);
                    // A leaky ReLU as the larger of two lines: the bindings have no slope.
                    features.maximum(&(&features * LEAK))
                }
                Placed::Pool(distance, stride) => {
                    features.max_pool2d([2, 2], [*stride; 2], [0, 0], [*distance; 2], false)
                }
            };
        }
        // A pool that halves may see one more square than there are patches.
        features
            .narrow(2, 0, height / self.step)
            .narrow(3, 0, width / self.step)
            .to_kind(Kind::Float)
    }
}

/// Images continued by their reflection, the edge not repeated, as far as they go and further by reflecting again.
fn reflected(images: &Tensor, before: i64, after: i64) -> Tensor {
    let extended = |images: Tensor, dimension: i64| {
        let length = images.size()[dimension as usize];
        let period = (2 * (length - 1)).max(1);
        let source = |place: i64| {
            let place = place.rem_euclid(period);
            place.min(period - place).min(length - 1)
        };
        let places: Vec<i64> = (-before..length + after).map(source).collect();
        images.index_select(dimension, &Tensor::from_slice(&places).to_device(images.device()))
    };
    channels_last(&extended(extended(images.shallow_clone(), 2), 3))
}

/// Teacher, students and statistics of one patch size.
struct Size {
    teacher: PatchNetwork,
    students: Vec<PatchNetwork>,
    /// Mean and standard deviation of the teacher's descriptions, by component.
    mean: Tensor,
    deviation: Tensor,
    /// Mean and standard deviation of the students' error over normal images.
    error: [Tensor; 2],
    /// Mean and standard deviation of their variance over normal images.
    variance: [Tensor; 2],
    patch: i64,
}

impl Size {
    /// The teacher's standardised descriptions.
    fn taught(&self, images: &Tensor) -> Tensor {
        let along = |statistic: &Tensor| statistic.view([1, -1, 1, 1]);
        let described = tch::no_grad(|| self.teacher.describe(images));
        (described - along(&self.mean)) / along(&self.deviation)
    }

    /// Squared error of the students' mean, and their variance, N×1×h×w.
    fn regress(&self, images: &Tensor) -> [Tensor; 2] {
        let taught = self.taught(images);
        let described: Vec<Tensor> = self
            .students
            .iter()
            .map(|student| student.describe(images))
            .collect();
        let described = Tensor::stack(&described, 0);
        let mean = described.mean_dim(0, false, Kind::Float);
        let length =
            |vectors: Tensor, dimension| vectors.square().sum_dim_intlist(dimension, true, Kind::Float);
        let error = length(&mean - taught, 1);
        // The mean of squares less the square of the mean, without its cancellation.
        let variance = length(described - mean.unsqueeze(0), 2).mean_dim(0, false, Kind::Float);
        [error, variance]
    }

    /// The map of this patch size.
    fn map(&self, images: &Tensor) -> Tensor {
        let [error, variance] = self.regress(images);
        let standardized = |values: Tensor, [mean, deviation]: &[Tensor; 2]| (values - mean) / deviation;
        let error = standardized(error, &self.error);
        if self.students.len() == 1 {
            // One student has no variance.
            return error;
        }
        error + standardized(variance, &self.variance)
    }
}

/// Sums of values and of their squares, by component.
struct Moments {
    count: f64,
    sum: Tensor,
    squares: Tensor,
}

impl Moments {
    fn new(like: &Tensor) -> Self {
        let zeros = || like.zeros_like().to_kind(Kind::Double);
        Self {
            count: 0.0,
            sum: zeros(),
            squares: zeros(),
        }
    }

    /// Adds N×C×h×w values.
    fn add(&mut self, values: &Tensor) {
        let values = values.to_kind(Kind::Double);
        let over = [0, 2, 3].as_slice();
        self.count += (values.size()[0] * values.size()[2] * values.size()[3]) as f64;
        self.sum += values.sum_dim_intlist(over, false, Kind::Double);
        self.squares += values.square().sum_dim_intlist(over, false, Kind::Double);
    }

    /// Writes mean and standard deviation.
    fn write(&self, mean: &mut Tensor, deviation: &mut Tensor) {
        let average = &self.sum / self.count;
        let variance = &self.squares / self.count - average.square();
        weights::set(mean, &average);
        // What is the same everywhere is left as it is.
        weights::set(deviation, &variance.clamp_min(1e-12).sqrt());
    }
}

struct StadModel {
    teacher: VarStore,
    students: VarStore,
    /// Statistics of the teachers' descriptions.
    standard: VarStore,
    /// Statistics of errors and variances.
    scales: VarStore,
    sizes: Vec<Size>,
    origin: Option<Origin>,
}

impl Model for StadModel {
    fn stores(&self) -> Vec<Store<'_>> {
        vec![
            Store::frozen("teacher", &self.teacher),
            Store::frozen("standard", &self.standard),
            Store::learned("students", &self.students),
            Store::learned("scales", &self.scales),
        ]
    }

    fn origins(&self) -> Vec<Origin> {
        self.origin.clone().into_iter().collect()
    }

    fn losses(&self, batch: &Batch) -> Result<Losses, BoxError> {
        let mut losses = Losses::new();
        for size in &self.sizes {
            let taught = size.taught(&batch.normal);
            for (number, student) in (1..).zip(&size.students) {
                let squares = (student.describe(&batch.normal) - &taught).square();
                let loss = squares.sum_dim_intlist(1, false, Kind::Float).mean(Kind::Float);
                losses.push((format!("p{}.{number}", size.patch), loss));
            }
        }
        Ok(losses)
    }

    fn fit(&mut self, when: Fit, images: &dyn NormalImages) -> Result<bool, BoxError> {
        let mut moments: Vec<[Moments; 2]> = self
            .sizes
            .iter()
            .map(|size| match when {
                Fit::BeforeTraining => [Moments::new(&size.mean), Moments::new(&size.mean)],
                Fit::AfterTraining => [Moments::new(&size.error[0]), Moments::new(&size.variance[0])],
            })
            .collect();
        for batch in images.batches() {
            let batch = batch?.images;
            for (size, [first, second]) in self.sizes.iter().zip(&mut moments) {
                match when {
                    Fit::BeforeTraining => first.add(&size.teacher.describe(&batch)),
                    Fit::AfterTraining => {
                        let [error, variance] = size.regress(&batch);
                        first.add(&error);
                        second.add(&variance);
                    }
                }
            }
        }
        for (size, [first, second]) in self.sizes.iter_mut().zip(&moments) {
            match when {
                Fit::BeforeTraining => first.write(&mut size.mean, &mut size.deviation),
                Fit::AfterTraining => {
                    let [mean, deviation] = &mut size.error;
                    first.write(mean, deviation);
                    let [mean, deviation] = &mut size.variance;
                    second.write(mean, deviation);
                }
            }
        }
        Ok(true)
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let count = self.sizes.len() as f64;
        let maps = self.sizes.iter().map(|size| size.map(images));
        Ok(Maps {
            discrepancy: maps
                .reduce(|a, b| a + b)
                .map(|sum| sum / count)
                .into_iter()
                .collect(),
            ..Maps::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use daf_core::block::Precision;
    use daf_core::tch::Device;

    use super::*;
    use crate::method::slow::{self, Images, Map, batch, context};

    const SIZES: [i64; 3] = [17, 33, 65];

    fn network(vars: &VarStore, patch: i64, step: i64) -> PatchNetwork {
        let blocks = Blocks::new(vars.root(), Mode::Infer, Init::FanIn, Precision::Float32);
        PatchNetwork::new(&blocks, patch, 4, step)
    }

    /// A patch network in loops: one patch, one vector.
    fn describe(vars: &VarStore, patch: i64, image: &Map) -> Vec<f64> {
        let vars = vars.variables();
        let mut features = image.clone();
        let mut number = 0;
        for layer in layers(patch) {
            features = match layer {
                Layer::Pool => features.pooled(),
                Layer::Conv(..) => {
                    let of = |what: &str| &vars[&format!("{number}.{what}")];
                    let (weight, bias) = (of("weight"), of("bias"));
                    number += 1;
                    features.conv(weight, Some(bias), 1, 0)
                }
            };
            if matches!(layer, Layer::Conv(..)) && number < vars.len() / 2 {
                features = features.map(|value| if value < 0.0 { 0.005 * value } else { value });
            }
        }
        assert_eq!((features.h, features.w), (1, 1));
        features.values
    }

    #[test]
    fn all_patches_at_once_are_described_as_each_one_by_itself() {
        slow::seed(6);
        for patch in SIZES {
            let image = Tensor::randn([1, 3, 24, 40], slow::FLOAT);
            let around = reflected(&image, patch / 2, patch / 2);
            assert_eq!(around.size(), [1, 3, 23 + patch, 39 + patch]);
            for step in [1, 2, 4, 8] {
                let vars = VarStore::new(Device::Cpu);
                let network = network(&vars, patch, step);
                let found = slow::no_grad(|| network.describe(&image));
                assert_eq!(found.size(), [1, 4, 24 / step, 40 / step]);
                for (y, x) in [
                    (0, 0),
                    (0, 1),
                    (1, 0),
                    (1, 3),
                    (2, 4),
                    (24 / step - 1, 40 / step - 1),
                ] {
                    let cut = around.narrow(2, y * step, patch).narrow(3, x * step, patch);
                    let expected = describe(&vars, patch, &Map::of(&cut));
                    let found = slow::numbers(&found.narrow(2, y, 1).narrow(3, x, 1));
                    for (found, expected) in found.iter().zip(&expected) {
                        slow::close(*found, *expected, 1e-4);
                    }
                }
            }
        }
    }

    #[test]
    fn images_go_on_by_reflection_however_far() {
        let row = Tensor::from_slice(&[1f32, 2.0, 3.0]).view([1, 1, 1, 3]);
        let found = reflected(&row, 5, 4);
        assert_eq!(found.size(), [1, 1, 10, 12]);
        let expected = [2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0];
        assert_eq!(slow::numbers(&found.narrow(2, 3, 1)), expected);
    }

    #[test]
    fn networks_have_the_papers_layers() {
        for (patch, expected) in [(17, 2_996_480), (33, 1_616_000), (65, 2_320_640)] {
            let vars = VarStore::new(Device::Cpu);
            let blocks = Blocks::new(vars.root(), Mode::Infer, Init::FanIn, Precision::Float32);
            let _network = PatchNetwork::new(&blocks, patch, 128, 1);
            let found: usize = vars.variables().values().map(Tensor::numel).sum();
            assert_eq!(found, expected, "{patch}");
        }
    }

    fn small() -> Stad {
        Stad {
            patches: vec![17, 33],
            students: 2,
            width: 4,
            step: 2,
            ..Stad::default()
        }
    }

    #[test]
    fn losses_statistics_and_map_agree_with_loops() {
        slow::seed(7);
        let size = (16, 24);
        let images = Images(vec![batch(size).normal, batch(size).normal.narrow(0, 0, 1)]);
        let batch = batch(size);
        let mut model = small().build(&context(Mode::Train, size)).unwrap();
        for when in [Fit::BeforeTraining, Fit::AfterTraining] {
            assert!(slow::no_grad(|| model.fit(when, &images)).unwrap());
        }
        let losses = model.losses(&batch).unwrap();
        let stores = model.stores();
        let names: Vec<_> = losses.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["p17.1", "p17.2", "p33.1", "p33.2"]);

        let mut sum = Map::zeros([2, 1, 8, 12]);
        for (place, patch) in [17, 33].into_iter().enumerate() {
            let part = |store: &Store, name: &str| {
                let vars = VarStore::new(Device::Cpu);
                network(&vars, patch, 2);
                for (variable, mut tensor) in vars.variables() {
                    let of = &store.vars.variables()[&format!("p{patch}{name}.{variable}")];
                    slow::no_grad(|| tensor.copy_(of));
                }
                vars
            };
            let teacher = part(&stores[0], "");
            let students = [part(&stores[2], ".0"), part(&stores[2], ".1")];
            // Descriptions of all patches of an image, by position.
            let described = |vars: &VarStore, images: &Tensor| -> Vec<Vec<f64>> {
                let mut all = Vec::new();
                for row in 0..images.size()[0] {
                    let around = reflected(&images.narrow(0, row, 1), patch / 2, patch / 2);
                    for (y, x) in (0..8).flat_map(|y| (0..12).map(move |x| (y, x))) {
                        let cut = around.narrow(2, 2 * y, patch).narrow(3, 2 * x, patch);
                        all.push(describe(vars, patch, &Map::of(&cut)));
                    }
                }
                all
            };
            let moments = |values: &[f64]| {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
                (mean, (squares / values.len() as f64).sqrt())
            };
            let normal = Tensor::cat(&images.0, 0);
            let taught = described(&teacher, &normal);
            let standard: Vec<(f64, f64)> = (0..4)
                .map(|c| moments(&taught.iter().map(|vector| vector[c]).collect::<Vec<_>>()))
                .collect();
            let standardized = |vector: &[f64]| -> Vec<f64> {
                let components = vector.iter().zip(&standard);
                components
                    .map(|(value, (mean, deviation))| (value - mean) / deviation)
                    .collect()
            };
            // Error and variance at every position.
            let regress = |images: &Tensor| -> (Vec<f64>, Vec<f64>) {
                let taught = described(&teacher, images);
                let learned = [described(&students[0], images), described(&students[1], images)];
                let positions = taught.iter().enumerate().map(|(place, taught)| {
                    let (mut error, mut variance) = (0.0, 0.0);
                    for (c, taught) in standardized(taught).into_iter().enumerate() {
                        let values = [learned[0][place][c], learned[1][place][c]];
                        let mean = (values[0] + values[1]) / 2.0;
                        error += (mean - taught).powi(2);
                        variance += (values[0].powi(2) + values[1].powi(2)) / 2.0 - mean.powi(2);
                    }
                    (error, variance)
                });
                positions.unzip()
            };
            let learned = described(&students[0], &batch.normal);
            let taught = described(&teacher, &batch.normal);
            let squares = learned.iter().zip(&taught).map(|(learned, taught)| {
                let taught = standardized(taught);
                learned
                    .iter()
                    .zip(taught)
                    .map(|(a, b)| (a - b).powi(2))
                    .sum::<f64>()
            });
            let loss = squares.sum::<f64>() / learned.len() as f64;
            slow::close(losses[2 * place].1.double_value(&[]), loss, 1e-4);

            let (errors, variances) = regress(&normal);
            let (of_error, of_variance) = (moments(&errors), moments(&variances));
            let (errors, variances) = regress(&batch.normal);
            for (value, (error, variance)) in sum.values.iter_mut().zip(errors.iter().zip(&variances)) {
                *value += (error - of_error.0) / of_error.1 / 2.0;
                *value += (variance - of_variance.0) / of_variance.1 / 2.0;
            }
        }
        let maps = slow::no_grad(|| model.infer(&batch.normal)).unwrap();
        sum.assert_close(&maps.discrepancy[0], 1e-3);
    }

    #[test]
    fn a_single_student_is_scored_by_its_error_alone() {
        slow::seed(8);
        let method = Stad {
            students: 1,
            ..small()
        };
        let size = (16, 16);
        let mut model = method.build(&context(Mode::Infer, size)).unwrap();
        let images = Images(vec![batch(size).normal]);
        for when in [Fit::BeforeTraining, Fit::AfterTraining] {
            slow::no_grad(|| model.fit(when, &images)).unwrap();
        }
        let maps = slow::no_grad(|| model.infer(&batch(size).normal)).unwrap();
        assert!(
            slow::numbers(&maps.discrepancy[0])
                .iter()
                .all(|value| value.is_finite())
        );
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let faulty = [
            (
                Stad {
                    patches: vec![17, 17],
                    ..small()
                },
                "`patches`",
            ),
            (
                Stad {
                    patches: vec![],
                    ..small()
                },
                "`patches`",
            ),
            (
                Stad {
                    patches: vec![16],
                    ..small()
                },
                "`patches`",
            ),
            (
                Stad {
                    students: 0,
                    ..small()
                },
                "`students`",
            ),
            (Stad { width: 0, ..small() }, "`width`"),
            (Stad { step: 3, ..small() }, "`step`"),
            (
                Stad {
                    teacher: Weights::Imagenet,
                    ..small()
                },
                "`teacher`",
            ),
        ];
        for (method, field) in faulty {
            let error = method.check().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn teachers_come_from_a_file_or_say_that_they_are_random() {
        let folder = tempfile::tempdir().unwrap();
        let folders = weights::WeightFolders {
            user: None,
            cache: folder.path().into(),
            progress: None,
        };
        let context = BuildContext {
            pretrained: Some(&folders),
            ..context(Mode::Train, (16, 16))
        };
        slow::seed(9);
        let random = small().build(&context).unwrap();
        assert_eq!(random.origins()[0].weights, "random");
        let file = folder.path().join("teachers.safetensors");
        let kept = random.stores()[0].vars.variables();
        weights::write(
            &file,
            kept.iter()
                .map(|(name, t)| (name.clone(), t.shallow_clone()))
                .collect(),
        )
        .unwrap();
        let method = Stad {
            teacher: Weights::File(file.clone()),
            ..small()
        };
        let read = method.build(&context).unwrap();
        assert_eq!(read.origins()[0].weights, file.display().to_string());
        for (name, tensor) in read.stores()[0].vars.variables() {
            assert_eq!(tensor, kept[&name], "{name}");
        }
        let missing = Stad {
            teacher: Weights::File(folder.path().join("none.safetensors")),
            ..small()
        };
        let error = missing.build(&context).err().unwrap().to_string();
        assert!(error.contains("none.safetensors"), "{error}");
    }
}
