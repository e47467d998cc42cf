use crate::measure::similarity;
use crate::window::{Border, Window, channels_innermost};
use daf_core::block::{Blocks, Conv, ConvNorm, ConvSpec, Init, channels_last};
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::nn::VarStore;
use daf_core::tch::{Kind, Tensor};
use daf_core::{Batch, BoxError, BuildContext, Losses, Maps, Method, Model, Store, typetag};
use serde::{Deserialize, Serialize};

use super::{check_width, damaged};

/// DRAEM (Zavrtanik et al., ICCV 2021): one network restores the damaged image, another finds the damage by looking at
/// the damaged and the restored image together.
///
/// The reconstructive network is an autoencoder without skips that learns with squared error and structural similarity;
/// the discriminative one is a U-Net that learns with the focal loss. Networks and names of weights are those of the
/// official code. Inputs are meant to be in 0..=1 (`input: { preset: official }`, part of the recipe): the constants of
/// the structural similarity are those of values within 1, where the official code doubles the range as soon as a
/// restored value falls below −0.5. The rotation of normal images, which the official code does to 30 % of them, is not
/// part of this pipeline.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Draem {
    /// Channels of the reconstructive network at the size of the image; the coarsest level has eight times as many. The
    /// work grows with the square.
    pub reconstructive_width: i64,
    /// Channels of the discriminative network at the size of the image.
    pub discriminative_width: i64,
}
daf_core::register!(Method: Draem = "draem", recipe = include_str!("draem.yaml"));

impl Default for Draem {
    fn default() -> Self {
        Self {
            reconstructive_width: 128,
            discriminative_width: 64,
        }
    }
}

#[typetag::serde(name = Draem::NAME)]
impl Method for Draem {
    fn needs_synthesis(&self) -> bool {
        true
    }

    fn stride(&self) -> i64 {
        32
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
        let store = || VarStore::new(context.device);
        // The official code draws weights with this deviation and leaves the biases of convolutions at PyTorch's
        // default; all but the last one's vanish in the batch norm behind them, and here they start at 0.
        let blocks = |vars: &VarStore, build: &dyn Fn(&Blocks) -> UNet| {
            build(&Blocks::new(
                vars.root(),
                context.mode,
                Init::Normal(0.02),
                context.precision,
            ))
        };
        let (restoring, finding) = (store(), store());
        let restorer = blocks(&restoring, &|blocks| {
            UNet::reconstructive(blocks, self.reconstructive_width)
        });
        let finder = blocks(&finding, &|blocks| {
            UNet::discriminative(blocks, self.discriminative_width)
        });
        Ok(Box::new(DraemModel {
            restorer,
            finder,
            restoring,
            finding,
        }))
    }

    fn check(&self) -> Result<(), BoxError> {
        check_width("reconstructive_width", self.reconstructive_width)?;
        check_width("discriminative_width", self.discriminative_width)
    }
}

/// Two 3×3 convolutions, each with batch norm and ReLU.
#[derive(Debug)]
struct Double([ConvNorm; 2]);

impl Double {
    fn new(blocks: &Blocks, input: i64, middle: i64, output: i64) -> Self {
        let conv = |conv, norm, input, output| {
            blocks.conv_norm(conv, norm, ConvSpec::same(input, output, 3).with_bias())
        };
        Self([conv("0", "1", input, middle), conv("3", "4", middle, output)])
    }

    fn forward(&self, input: &Tensor) -> Tensor {
        let [first, second] = &self.0;
        second.forward_relu(&first.forward_relu(input))
    }
}

/// Levels that halve the size and levels that double it again.
#[derive(Debug)]
struct UNet {
    down: Vec<Double>,
    up: Vec<(ConvNorm, Double)>,
    last: Conv,
    /// Whether a level on the way up is given what the level of its size on the way down has found.
    skips: bool,
}

impl UNet {
    /// `levels` are widths on the way down, `up` says for every level on the way up its name, the output of its first
    /// convolution and that of its last.
    fn new(
        blocks: &Blocks,
        channels: [i64; 2],
        levels: &[i64],
        up: &[(&str, i64, i64)],
        skips: bool,
    ) -> Self {
        let (encoder, decoder) = (blocks.sub("encoder"), blocks.sub("decoder"));
        let inputs = std::iter::once(&channels[0]).chain(levels);
        let down = (1..).zip(inputs.zip(levels)).map(|(number, (&input, &output))| {
            Double::new(&encoder.sub(&format!("block{number}")), input, output, output)
        });
        let down = down.collect();
        let mut input = levels.last().copied().unwrap_or(channels[0]);
        let finer = levels.iter().rev().skip(1);
        let up = up.iter().zip(finer).map(|(&(name, first, last), &skip)| {
            let shape = ConvSpec::same(input, first, 3).with_bias();
            let enlarged = decoder.sub(&format!("up{name}")).conv_norm("1", "2", shape);
            let joined = if skips { first + skip } else { first };
            let middle = if skips { last } else { first };
            input = last;
            (
                enlarged,
                Double::new(&decoder.sub(&format!("db{name}")), joined, middle, last),
            )
        });
        let up = up.collect();
        let last = decoder
            .sub("fin_out")
            .conv("0", ConvSpec::same(input, channels[1], 3).with_bias());
        Self {
            down,
            up,
            last,
            skips,
        }
    }

    fn reconstructive(blocks: &Blocks, width: i64) -> Self {
        let levels = [1, 2, 4, 8, 8].map(|factor| factor * width);
        let up = [
            ("1", 8 * width, 4 * width),
            ("2", 4 * width, 2 * width),
            ("3", 2 * width, width),
            ("4", width, width),
        ];
        Self::new(blocks, [3, 3], &levels, &up, false)
    }

    fn discriminative(blocks: &Blocks, width: i64) -> Self {
        let levels = [1, 2, 4, 8, 8, 8].map(|factor| factor * width);
        let up = [("_b", 8), ("1", 4), ("2", 2), ("3", 1), ("4", 1)]
            .map(|(name, factor)| (name, factor * width, factor * width));
        Self::new(blocks, [6, 2], &levels, &up, true)
    }

    /// N×`input`×H×W to float32 N×`output`×H×W.
    fn forward(&self, images: &Tensor) -> Tensor {
        let mut levels: Vec<Tensor> = Vec::with_capacity(self.down.len());
        for block in &self.down {
            let found = match levels.last() {
                Some(finer) => block.forward(&finer.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)),
                None => block.forward(images),
            };
            levels.push(found);
        }
        let mut features = levels.pop().expect("there are levels");
        for ((enlarge, block), skip) in self.up.iter().zip(levels.iter().rev()) {
            let size = skip.size();
            let enlarged = features.upsample_bilinear2d([size[2], size[3]], true, None, None);
            features = enlarge.forward_relu(&enlarged);
            if self.skips {
                features = Tensor::cat(&[&features, skip], 1);
            }
            features = block.forward(&features);
        }
        self.last.forward(&features).to_kind(Kind::Float)
    }
}

struct DraemModel {
    restorer: UNet,
    finder: UNet,
    restoring: VarStore,
    finding: VarStore,
}

impl DraemModel {
    /// The restored image, N×3×H×W, and logits of normal and damaged, N×2×H×W.
    fn forward(&self, images: &Tensor) -> (Tensor, Tensor) {
        let restored = self.restorer.forward(images);
        let logits = self.finder.forward(&Tensor::cat(&[&restored, images], 1));
        (restored, logits)
    }
}

impl Model for DraemModel {
    fn stores(&self) -> Vec<Store<'_>> {
        vec![
            Store::learned("reconstructive", &self.restoring),
            Store::learned("discriminative", &self.finding),
        ]
    }

    fn losses(&self, batch: &Batch) -> Result<Losses, BoxError> {
        let synthetic = damaged(batch)?;
        let (restored, logits) = self.forward(&channels_last(&synthetic.images));
        let error = (&restored - &batch.normal).square().mean(Kind::Float);
        Ok(vec![
            ("mse".into(), error),
            ("ssim".into(), dissimilarity(&batch.normal, &restored)),
            ("focal".into(), focal(&logits, &synthetic.mask)),
        ])
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let (_, logits) = self.forward(&channels_last(images));
        Ok(Maps {
            probability: Some(logits.softmax(1, Kind::Float).narrow(1, 1, 1)),
            ..Maps::default()
        })
    }
}

/// One minus the mean structural similarity under an 11×11 Gaussian window, with zeros around the images.
fn dissimilarity(normal: &Tensor, restored: &Tensor) -> Tensor {
    let window = Window::gaussian(1.5, 5, Border::Zero);
    let (normal, restored) = (channels_innermost(normal), channels_innermost(restored));
    1.0 - similarity(&window, [1e-4, 9e-4], &normal, &restored).mean(Kind::Float)
}

/// Focal loss (γ = 2) of N×2×H×W logits with targets that are smoothed by 1e-5, as in the official code.
fn focal(logits: &Tensor, mask: &Tensor) -> Tensor {
    const SMOOTHING: f64 = 1e-5;
    let probability = logits.softmax(1, Kind::Float);
    let target = mask.gt(0.5).to_kind(Kind::Float) * (1.0 - 2.0 * SMOOTHING) + SMOOTHING;
    let normal = probability.narrow(1, 0, 1) * (1.0 - &target);
    let hit: Tensor = probability.narrow(1, 1, 1) * target + normal + SMOOTHING;
    let miss: Tensor = 1.0 - &hit;
    -(miss.square() * hit.log()).mean(Kind::Float)
}

#[cfg(test)]
mod tests {
    use daf_core::block::Mode;
    use daf_core::macs::count;
    use daf_core::tch::{self, Device};

    use super::*;
    use crate::alone::alone;
    use crate::method::slow::{self, Map, Weights};

    fn small() -> Draem {
        Draem {
            reconstructive_width: 2,
            discriminative_width: 3,
        }
    }

    #[test]
    fn it_has_as_many_parameters_as_the_official_code() {
        alone();
        let model = slow::built(&Draem::default(), Mode::Train, (32, 32));
        let stores = model.stores();
        let counts: Vec<u64> = stores.iter().map(Store::parameters).collect();
        assert_eq!(counts, [69_048_579, 28_374_146]);
        assert_eq!(counts.iter().sum::<u64>(), 97_422_725);
    }

    #[test]
    fn it_takes_the_multiply_adds_that_the_daf_paper_counts() {
        alone();
        // All layers are convolutions of which every one grows with the area: a 32nd of the side is a 64th of the work
        // (here 8 × 8 = 64 times as little).
        let model = slow::built(&Draem::default(), Mode::Infer, (32, 32));
        let image = Tensor::rand([1, 3, 32, 32], (Kind::Float, Device::Cpu));
        let (_, counted) = count(|| tch::no_grad(|| model.infer(&image).unwrap()));
        let at_256 = counted.defined * 64;
        assert!((197e9..199e9).contains(&(at_256 as f64)), "{at_256}");
    }

    /// Both networks as they are described, one value at a time.
    fn literal(weights: &Weights, images: &Map, up: &[&str], levels: usize, skips: bool) -> Map {
        let double = |input: &Map, name: &str| {
            let first = weights.norm(
                &weights.conv(input, &format!("{name}.0"), 1, 1),
                &format!("{name}.1"),
            );
            let first = first.relu();
            weights
                .norm(
                    &weights.conv(&first, &format!("{name}.3"), 1, 1),
                    &format!("{name}.4"),
                )
                .relu()
        };
        let mut found: Vec<Map> = vec![double(images, "encoder.block1")];
        for level in 2..=levels {
            let halved = found.last().unwrap().pooled();
            found.push(double(&halved, &format!("encoder.block{level}")));
        }
        let mut features = found.pop().unwrap();
        for name in up {
            let skip = found.pop().unwrap();
            let larger = features.resized((2 * features.h, 2 * features.w), true);
            let name_up = format!("decoder.up{name}");
            let larger = weights
                .norm(
                    &weights.conv(&larger, &format!("{name_up}.1"), 1, 1),
                    &format!("{name_up}.2"),
                )
                .relu();
            let joined = if skips {
                Map::concat(&[&larger, &skip])
            } else {
                larger
            };
            features = double(&joined, &format!("decoder.db{name}"));
        }
        weights.conv(&features, "decoder.fin_out.0", 1, 1)
    }

    #[test]
    fn its_maps_agree_with_a_computation_value_by_value() {
        alone();
        let mut draws = slow::Draws::new(5);
        let model = slow::built(&small(), Mode::Infer, (64, 32));
        draws.shake(&model.stores());
        let images = draws.uniform(&[1, 3, 64, 32]);
        let found = tch::no_grad(|| model.infer(&images))
            .unwrap()
            .probability
            .unwrap();

        let stores = model.stores();
        let image = Map::of(&images);
        let restored = literal(
            &Weights::of(stores[0].vars),
            &image,
            &["1", "2", "3", "4"],
            5,
            false,
        );
        let both = Map::concat(&[&restored, &image]);
        let logits = literal(
            &Weights::of(stores[1].vars),
            &both,
            &["_b", "1", "2", "3", "4"],
            6,
            true,
        );
        let mut expected = Map::zeros([1, 1, 64, 32]);
        for (n, y, x) in logits.places() {
            let [good, damaged] = [0, 1].map(|c| logits.at(n, c, y, x));
            *expected.at_mut(n, 0, y, x) = 1.0 / (1.0 + (good - damaged).exp());
        }
        expected.assert_close(&found, 1e-4);
        let spread = found.max().double_value(&[]) - found.min().double_value(&[]);
        assert!(spread > 1e-2, "the comparison is of a constant: {spread}");
    }

    #[test]
    fn its_losses_agree_with_their_definitions() {
        alone();
        let mut draws = slow::Draws::new(6);
        let mut images = || draws.uniform(&[2, 3, 14, 13]);
        let (normal, restored) = (images(), images());
        let (logits, mask) = (
            draws.normal(&[2, 2, 14, 13]) * 3.0,
            draws.uniform(&[2, 1, 14, 13]).gt(0.7).to_kind(Kind::Float),
        );

        let weight = |offset: usize| (-((offset * offset) as f64) / (2.0 * 1.5 * 1.5)).exp();
        let sum = weight(0) + 2.0 * (1..=5).map(weight).sum::<f64>();
        let (mut similar, mut focused) = (0.0, 0.0);
        let [a, b, l, m] = [&normal, &restored, &logits, &mask].map(Map::of);
        for n in 0..2 {
            let blur = |value: &dyn Fn(usize, usize) -> f64, y: usize, x: usize| {
                let mut total = 0.0;
                for i in y.saturating_sub(5)..=(y + 5).min(13) {
                    for j in x.saturating_sub(5)..=(x + 5).min(12) {
                        total += weight(i.abs_diff(y)) * weight(j.abs_diff(x)) / sum / sum * value(i, j);
                    }
                }
                total
            };
            for c in 0..3 {
                let (a, b) = (|y, x| a.at(n, c, y, x), |y, x| b.at(n, c, y, x));
                for y in 0..14 {
                    for x in 0..13 {
                        let (ma, mb) = (blur(&a, y, x), blur(&b, y, x));
                        let aa = blur(&|i, j| a(i, j) * a(i, j), y, x) - ma * ma;
                        let bb = blur(&|i, j| b(i, j) * b(i, j), y, x) - mb * mb;
                        let ab = blur(&|i, j| a(i, j) * b(i, j), y, x) - ma * mb;
                        similar += (2.0 * ma * mb + 1e-4) * (2.0 * ab + 9e-4)
                            / ((ma * ma + mb * mb + 1e-4) * (aa + bb + 9e-4));
                    }
                }
            }
            for y in 0..14 {
                for x in 0..13 {
                    let damaged = 1.0 / (1.0 + (l.at(n, 0, y, x) - l.at(n, 1, y, x)).exp());
                    let (hit, miss) = if m.at(n, 0, y, x) > 0.5 {
                        (damaged, 1.0 - damaged)
                    } else {
                        (1.0 - damaged, damaged)
                    };
                    let p = hit * (1.0 - 1e-5) + miss * 1e-5 + 1e-5;
                    focused -= (1.0 - p).powi(2) * p.ln();
                }
            }
        }
        let (similar, focused) = (similar / (2.0 * 3.0 * 14.0 * 13.0), focused / (2.0 * 14.0 * 13.0));
        let found = dissimilarity(&normal, &restored).double_value(&[]);
        assert!(
            (found - (1.0 - similar)).abs() < 1e-5,
            "{found} and {}",
            1.0 - similar
        );
        let found = focal(&logits, &mask).double_value(&[]);
        assert!((found - focused).abs() < 1e-5, "{found} and {focused}");
    }

    #[test]
    fn losses_that_a_perfect_answer_leaves_are_next_to_nothing() {
        alone();
        let mut draws = slow::Draws::new(7);
        let image = draws.uniform(&[1, 3, 16, 16]);
        assert!(dissimilarity(&image, &image).double_value(&[]).abs() < 1e-6);
        let mask = draws.uniform(&[1, 1, 16, 16]).gt(0.5).to_kind(Kind::Float);
        let sure = Tensor::cat(&[&(1.0 - &mask), &mask], 1) * 100.0;
        assert!(focal(&sure, &mask).double_value(&[]).abs() < 1e-9);
        assert!(focal(&-sure, &mask).double_value(&[]) > 10.0);
    }

    #[test]
    fn what_it_cannot_be_is_said() {
        alone();
        let error = Draem {
            reconstructive_width: 0,
            ..small()
        }
        .check()
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`reconstructive_width` must be 1 to 4096 channels, found 0"
        );
        let model = slow::built(&small(), Mode::Train, (32, 32));
        let error = model.losses(&slow::batch((32, 32))).unwrap_err().to_string();
        assert!(error.contains("name a `synthesizer`"), "{error}");
    }
}
