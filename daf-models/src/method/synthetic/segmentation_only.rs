use crate::method::Segmentation;
use daf_core::block::{Blocks, Conv, ConvNorm, ConvSpec, Init, channels_last};
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::nn::VarStore;
use daf_core::tch::{Kind, Reduction, Tensor};
use daf_core::{Batch, BoxError, BuildContext, Losses, Maps, Method, Model, Store, typetag};
use serde::{Deserialize, Serialize};

use super::{check_width, damaged};

/// A supervised network taught by synthetic defects alone: no teacher, no restoration, no pretrained weights.
///
/// It is the two-stage network of Tabernik et al. (2020) in the form that Božič et al. (2021) train at once, which the DAF
/// paper's Table II has as TSDD: large kernels see a defect with its surroundings, a 1×1 convolution maps it at an eighth
/// of the size, and a second, small network decides on the image from features and map. DAF's student and decoder without
/// a teacher, the "only Seg" of Table V, are another network: `daf` with `teacher: null` and `discrepancy: null`.
///
/// One convolution is at full size and the decision sends no gradient into the map, as in the official code. Other
/// than there: batch norms instead of norms over single images, biases behind the last layers, the map is compared at the
/// size of the image with DAF's loss of mined pixels, and the two losses keep their weights of 1, which a stopped gradient
/// leaves without effect on each other.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SegmentationOnly {
    /// Channels at full size; the later ones have twice as many.
    pub width: i64,
    /// Channels of the features that map and decision are drawn from.
    pub features: i64,
    /// Whether a second network decides on the image; otherwise the scorer draws its score from the map.
    pub decision: bool,
    /// The loss of the map.
    pub segmentation: Segmentation,
}
daf_core::register!(Method: SegmentationOnly = "segmentation_only", recipe = include_str!("segmentation_only.yaml"));

impl Default for SegmentationOnly {
    fn default() -> Self {
        Self {
            width: 32,
            features: 1024,
            decision: true,
            segmentation: Segmentation::default(),
        }
    }
}

/// Pixels per position of the map before it is enlarged.
const STRIDE: i64 = 8;

#[typetag::serde(name = SegmentationOnly::NAME)]
impl Method for SegmentationOnly {
    fn needs_synthesis(&self) -> bool {
        true
    }

    fn stride(&self) -> i64 {
        STRIDE
    }

    fn min_side(&self) -> i64 {
        // The decision halves it six times.
        if self.decision { 64 } else { STRIDE }
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
        let vars = VarStore::new(context.device);
        let blocks =
            |name: &str| Blocks::new(vars.root() / name, context.mode, Init::Xavier, context.precision);
        let mapper = Mapper::new(&blocks("segmentation"), self.width, self.features);
        let decider = self
            .decision
            .then(|| Decider::new(&blocks("decision"), self.features));
        Ok(Box::new(SegmentationModel {
            mapper,
            decider,
            segmentation: self.segmentation,
            vars,
        }))
    }

    fn check(&self) -> Result<(), BoxError> {
        check_width("width", self.width)?;
        check_width("features", self.features)?;
        self.segmentation.check()
    }
}

/// Largest of 2×2 values.
fn halved(values: &Tensor) -> Tensor {
    values.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)
}

/// The first stage: features and logits at an eighth of the size.
#[derive(Debug)]
struct Mapper {
    /// Between every two groups the size is halved.
    groups: Vec<Vec<ConvNorm>>,
    last: Conv,
}

impl Mapper {
    fn new(blocks: &Blocks, width: i64, features: i64) -> Self {
        let mut input = 3;
        let sizes = [
            (1, width, 5),
            (3, 2 * width, 5),
            (4, 2 * width, 5),
            (1, features, 15),
        ];
        let groups = (1..).zip(sizes).map(|(group, (count, output, kernel))| {
            let blocks = blocks.sub(&format!("group{group}"));
            let layer = |number: i64| {
                let shape = ConvSpec::same(if number == 1 { input } else { output }, output, kernel);
                blocks.conv_norm(&format!("conv{number}"), &format!("bn{number}"), shape)
            };
            let layers = (1..=count).map(layer).collect();
            input = output;
            layers
        });
        Self {
            groups: groups.collect(),
            last: blocks.conv("last", ConvSpec::same(features, 1, 1).with_bias()),
        }
    }

    /// Features N×`features`×H/8×W/8 of N×3×H×W images, and logits N×1×H/8×W/8 in float32.
    fn forward(&self, images: &Tensor) -> (Tensor, Tensor) {
        let mut features = channels_last(images);
        for (number, group) in self.groups.iter().enumerate() {
            if number > 0 {
                features = halved(&features);
            }
            for layer in group {
                features = layer.forward_relu(&features);
            }
        }
        let logits = self.last.forward(&features).to_kind(Kind::Float);
        (features, logits)
    }
}

/// The second stage: whether the image is damaged.
#[derive(Debug)]
struct Decider {
    layers: Vec<ConvNorm>,
    last: Conv,
}

impl Decider {
    fn new(blocks: &Blocks, features: i64) -> Self {
        let sizes = [(features + 1, 8), (8, 16), (16, 32)];
        let layers = (1..).zip(sizes).map(|(number, (input, output))| {
            let shape = ConvSpec::same(input, output, 5);
            blocks.conv_norm(&format!("conv{number}"), &format!("bn{number}"), shape)
        });
        Self {
            layers: layers.collect(),
            last: blocks.conv("last", ConvSpec::same(2 * 32 + 2, 1, 1).with_bias()),
        }
    }

    /// Logits N of features and map.
    fn forward(&self, features: &Tensor, map: &Tensor) -> Tensor {
        let mut found = Tensor::cat(&[features, &map.to_kind(features.kind())], 1);
        for layer in &self.layers {
            found = layer.forward_relu(&halved(&found));
        }
        let largest = |values: &Tensor| values.to_kind(Kind::Float).amax([2, 3], true);
        let mean = |values: &Tensor| values.mean_dim([2i64, 3].as_slice(), true, Kind::Float);
        let drawn = [largest(&found), mean(&found), largest(map), mean(map)];
        self.last
            .forward(&Tensor::cat(&drawn, 1))
            .to_kind(Kind::Float)
            .view(-1)
    }
}

struct SegmentationModel {
    mapper: Mapper,
    decider: Option<Decider>,
    segmentation: Segmentation,
    vars: VarStore,
}

impl SegmentationModel {
    /// Logits of the pixels, N×1×H×W, and of the images, N.
    fn logits(&self, images: &Tensor) -> (Tensor, Option<Tensor>) {
        let (features, map) = self.mapper.forward(images);
        let decision = self
            .decider
            .as_ref()
            .map(|decider| decider.forward(&features.detach(), &map.detach()));
        let size = images.size();
        (
            map.upsample_bilinear2d([size[2], size[3]], false, None, None),
            decision,
        )
    }
}

impl Model for SegmentationModel {
    fn stores(&self) -> Vec<Store<'_>> {
        vec![Store::learned("network", &self.vars)]
    }

    fn losses(&self, batch: &Batch) -> Result<Losses, BoxError> {
        let synthetic = damaged(batch)?;
        let (map, decision) = self.logits(&synthetic.images);
        let targets = self.segmentation.targets(&synthetic.target);
        let mut losses = vec![("seg".into(), targets.loss_of_logits(&map))];
        if let Some(decision) = decision {
            let target = synthetic.mask.to_kind(Kind::Float).amax([1, 2, 3], false);
            let loss =
                decision.binary_cross_entropy_with_logits::<Tensor>(&target, None, None, Reduction::Mean);
            losses.push(("decision".into(), loss));
        }
        Ok(losses)
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let (map, decision) = self.logits(images);
        Ok(Maps {
            probability: Some(map.sigmoid()),
            // The logit has the order of the probability, without its ties near 0 and 1.
            images: decision,
            ..Maps::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use daf_core::block::Mode;
    use daf_core::macs::count;
    use daf_core::tch;

    use super::*;
    use crate::alone::alone;
    use crate::method::slow::{self, FLOAT, Map, Weights};

    fn small() -> SegmentationOnly {
        SegmentationOnly {
            width: 2,
            features: 5,
            ..SegmentationOnly::default()
        }
    }

    #[test]
    fn its_parameters_and_multiply_adds_are_those_of_its_layers() {
        alone();
        let norm = |channels: u64| 2 * channels;
        let mapper = 25 * 3 * 32
            + norm(32)
            + 25 * 32 * 64
            + 6 * 25 * 64 * 64
            + 7 * norm(64)
            + 225 * 64 * 1024
            + norm(1024)
            + 1024
            + 1;
        let decider = 25 * (1025 * 8 + 8 * 16 + 16 * 32) + norm(8 + 16 + 32) + 66 + 1;
        for (decision, expected) in [(true, mapper + decider), (false, mapper)] {
            let method = SegmentationOnly {
                decision,
                ..SegmentationOnly::default()
            };
            let model = slow::built(&method, Mode::Train, (64, 64));
            assert_eq!(model.parameters(), expected);
        }
        let model = slow::built(&SegmentationOnly::default(), Mode::Infer, (64, 64));
        let image = Tensor::rand([1, 3, 64, 64], FLOAT);
        let (_, counted) = count(|| tch::no_grad(|| model.infer(&image).unwrap()));
        let mapper = 4096 * 25 * 3 * 32
            + 1024 * 25 * (32 * 64 + 2 * 64 * 64)
            + 256 * 25 * 4 * 64 * 64
            + 64 * (225 * 64 * 1024 + 1024);
        let decider = 16 * 25 * 1025 * 8 + 4 * 25 * 8 * 16 + 25 * 16 * 32 + 66;
        assert_eq!(counted.defined, mapper + decider);
    }

    #[test]
    fn its_answers_agree_with_a_computation_value_by_value() {
        alone();
        let mut draws = slow::Draws::new(13);
        let model = slow::built(&small(), Mode::Infer, (64, 64));
        draws.shake(&model.stores());
        let images = draws.uniform(&[1, 3, 64, 64]);
        let found = tch::no_grad(|| model.infer(&images)).unwrap();

        let weights = Weights::of(model.stores()[0].vars);
        let layer = |input: &Map, stage: &str, number: usize, padding: usize| {
            let conv = weights.conv(input, &format!("{stage}.conv{number}"), 1, padding);
            weights.norm(&conv, &format!("{stage}.bn{number}")).relu()
        };
        let mut features = Map::of(&images);
        for (group, count, padding) in [(1, 1, 2), (2, 3, 2), (3, 4, 2), (4, 1, 7)] {
            if group > 1 {
                features = features.pooled();
            }
            for number in 1..=count {
                features = layer(&features, &format!("segmentation.group{group}"), number, padding);
            }
        }
        let map = weights.conv(&features, "segmentation.last", 1, 0);
        map.resized((8 * map.h, 8 * map.w), false)
            .map(|v| 1.0 / (1.0 + (-v).exp()))
            .assert_close(&found.probability.unwrap(), 1e-4);
        let mut drawn = Map::concat(&[&features, &map]);
        for number in 1..=3 {
            drawn = layer(&drawn.pooled(), "decision", number, 2);
        }
        let channels =
            |map: &Map| -> Vec<Vec<f64>> { map.values.chunks(map.h * map.w).map(<[f64]>::to_vec).collect() };
        let mut values = Vec::new();
        for channels in [&drawn, &map].map(channels) {
            let largest = |of: &Vec<f64>| of.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            values.extend(channels.iter().map(largest));
            values.extend(channels.iter().map(|of| of.iter().sum::<f64>() / of.len() as f64));
        }
        let values = Map {
            n: 1,
            c: 66,
            h: 1,
            w: 1,
            values,
        };
        let decision = weights.conv(&values, "decision.last", 1, 0);
        decision.assert_close(&found.images.unwrap().view([1, 1, 1, 1]), 1e-3);
    }

    #[test]
    fn the_decision_leaves_the_map_alone() {
        alone();
        let model = slow::built(&small(), Mode::Train, (64, 64));
        let losses = model.losses(&slow::damaged(64)).unwrap();
        let names: Vec<&str> = losses.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["seg", "decision"]);
        losses[1].1.backward();
        for (name, variable) in model.stores()[0].vars.variables() {
            let learns = variable.requires_grad() && variable.grad().defined();
            assert_eq!(
                learns,
                name.starts_with("decision.") && !name.contains("running"),
                "{name}"
            );
        }
    }

    #[test]
    fn its_losses_are_those_of_its_answers() {
        alone();
        let model = slow::built(&small(), Mode::Train, (64, 64));
        let batch = slow::damaged(64);
        let synthetic = batch.synthetic.as_ref().unwrap();
        let found = model.infer(&synthetic.images).unwrap();
        let losses: Vec<f64> = model
            .losses(&batch)
            .unwrap()
            .iter()
            .map(|(_, l)| l.double_value(&[]))
            .collect();

        // All damaged pixels and three times as many of the others, those with the largest terms.
        let probability = slow::numbers(&found.probability.unwrap());
        let (mut positive, mut negative, mut weight) = (0.0, Vec::new(), 0.0);
        for (p, t) in probability.iter().zip(slow::numbers(&synthetic.target)) {
            let term = -(t * p.ln() + (1.0 - t) * (1.0 - p).ln());
            positive += t * term;
            weight += t;
            negative.push((1.0 - t) * term);
        }
        negative.sort_by(|a, b| b.total_cmp(a));
        let mined = (3.0 * weight).min(negative.len() as f64 - weight).floor();
        let expected = (positive + negative[..mined as usize].iter().sum::<f64>()) / (weight + mined);
        assert!(
            (losses[0] - expected).abs() < 1e-3,
            "{} and {expected}",
            losses[0]
        );

        let logits = slow::numbers(&found.images.unwrap());
        let expected = ((1.0 + (-logits[0]).exp()).ln() + (1.0 + logits[1].exp()).ln()) / 2.0;
        assert!(
            (losses[1] - expected).abs() < 1e-4,
            "{} and {expected}",
            losses[1]
        );
    }

    #[test]
    fn what_it_cannot_be_is_said() {
        alone();
        let error = SegmentationOnly {
            features: 0,
            ..small()
        }
        .check()
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`features` must be 1 to 4096 channels, found 0"
        );
        let without_decision = SegmentationOnly {
            decision: false,
            ..small()
        };
        assert_eq!([small().min_side(), without_decision.min_side()], [64, 8]);
        let model = slow::built(&small(), Mode::Train, (64, 64));
        let error = model.losses(&slow::batch((64, 64))).unwrap_err().to_string();
        assert!(error.contains("name a `synthesizer`"), "{error}");
    }
}
