//! Reverse distillation.

use std::sync::Arc;

use crate::backbone::{ResNet18, Residual};
use crate::measure::Cosine;
use crate::teacher::Teacher;
use daf_core::block::{Blocks, ConvNorm, ConvSpec, Init, channels_last};
use daf_core::data::Normalization;
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::nn::VarStore;
use daf_core::tch::{Kind, Tensor};
use daf_core::{
    Backbone, Batch, BoxError, BuildContext, Losses, Maps, Method, Model, Origin, Stage, Store, typetag,
};
use serde::{Deserialize, Serialize};

/// RD4AD: a decoder learns to restore the features of a frozen teacher from a narrow embedding of them.
///
/// Deng and Li, CVPR 2022. A one-class bottleneck joins the teacher's three stages in an embedding at twice the coarsest
/// stride; the decoder is the teacher mirrored, its 3×3 convolutions of stride 2 being transposed 2×2 ones. The loss of a
/// stage is one minus the cosine between the whole maps of an image; the map is the sum of the stages' one minus cosine at
/// every position. The official code prefers WideResNet50 as a teacher, draws the decoder's transposed convolutions by
/// PyTorch's default instead of Kaiming's rule, and has a further 1×1 convolution of 525,312 parameters that takes no
/// part; it measures on the test set all along, here the last weights count.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rd4ad {
    /// The frozen network: three stages, each at twice the stride of the one before.
    pub teacher: Arc<dyn Backbone>,
    /// Residual blocks per stage of bottleneck and decoder; as many as the teacher has.
    pub blocks: usize,
}
daf_core::register!(Method: Rd4ad = "rd4ad", recipe = include_str!("rd4ad.yaml"));

impl Default for Rd4ad {
    fn default() -> Self {
        Self {
            teacher: Arc::new(ResNet18::default()),
            blocks: 2,
        }
    }
}

#[typetag::serde(name = Rd4ad::NAME)]
impl Method for Rd4ad {
    fn normalization(&self) -> Normalization {
        self.teacher.normalization()
    }

    fn stride(&self) -> i64 {
        2 * self.teacher.stride()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
        let stages = stages(self.teacher.as_ref())?;
        let teacher = Teacher::build("teacher", self.teacher.as_ref(), context)?;
        let vars = VarStore::new(context.device);
        let blocks = Blocks::new(vars.root(), context.mode, Init::FanOut, context.precision);
        Ok(Box::new(Rd4adModel {
            teacher,
            bottleneck: Bottleneck::new(&blocks.sub("bottleneck"), stages, self.blocks),
            decoder: Decoder::new(&blocks.sub("decoder"), stages, self.blocks),
            vars,
        }))
    }

    fn check(&self) -> Result<(), BoxError> {
        self.teacher.check()?;
        stages(self.teacher.as_ref())?;
        if self.blocks == 0 {
            return Err("`blocks` must be at least 1, found 0".into());
        }
        Ok(())
    }
}

/// Channels of the teacher's three stages.
fn stages(teacher: &dyn Backbone) -> Result<[i64; 3], BoxError> {
    match teacher.stages()[..] {
        [fine, middle, coarse] if middle.stride == 2 * fine.stride && coarse.stride == 2 * middle.stride => {
            Ok([fine, middle, coarse].map(|stage: Stage| stage.channels))
        }
        ref found => Err(format!(
            "`teacher` must have three stages, each at twice the stride of the one before, found {found:?}"
        )
        .into()),
    }
}

/// `number` residual blocks, of which `first` is the first.
fn residuals(blocks: &Blocks, first: Residual, channels: i64, number: usize) -> Vec<Residual> {
    let others = (1..number).map(|n| Residual::new(&blocks.sub(&n.to_string()), channels, channels, 1));
    std::iter::once(first).chain(others).collect()
}

fn run(residuals: &[Residual], input: &Tensor) -> Tensor {
    residuals
        .iter()
        .fold(input.shallow_clone(), |features, block| block.forward(&features))
}

/// Joins three stages and narrows them down (paper, section 3.3).
struct Bottleneck {
    /// Brings the finest stage to the size of the coarsest.
    fine: [ConvNorm; 2],
    /// Brings the middle one there.
    middle: ConvNorm,
    embedding: Vec<Residual>,
}

impl Bottleneck {
    fn new(blocks: &Blocks, [fine, middle, coarse]: [i64; 3], number: usize) -> Self {
        let halve = |name: &str, norm: &str, input, output| {
            blocks.conv_norm(name, norm, ConvSpec::same(input, output, 3).stride(2))
        };
        let layer = blocks.sub("bn_layer");
        let first = Residual::new(&layer.sub("0"), 3 * coarse, 2 * coarse, 2);
        Self {
            fine: [
                halve("conv1", "bn1", fine, middle),
                halve("conv2", "bn2", middle, coarse),
            ],
            middle: halve("conv3", "bn3", middle, coarse),
            embedding: residuals(&layer, first, 2 * coarse, number),
        }
    }

    fn embed(&self, stages: &[Tensor]) -> Tensor {
        let fine = self
            .fine
            .iter()
            .fold(stages[0].shallow_clone(), |features, conv| {
                conv.forward_relu(&features)
            });
        let middle = self.middle.forward_relu(&stages[1]);
        let joined = Tensor::cat(&[&fine, &middle, &stages[2].to_kind(fine.kind())], 1);
        run(&self.embedding, &joined)
    }
}

/// The teacher mirrored.
struct Decoder {
    /// Coarse to fine.
    stages: Vec<Vec<Residual>>,
}

impl Decoder {
    fn new(blocks: &Blocks, [fine, middle, coarse]: [i64; 3], number: usize) -> Self {
        let widths = [2 * coarse, coarse, middle, fine];
        let stage = |(n, pair): (usize, &[i64])| {
            let blocks = blocks.sub(&format!("layer{}", n + 1));
            let first = Residual::doubling(&blocks.sub("0"), pair[0], pair[1]);
            residuals(&blocks, first, pair[1], number)
        };
        Self {
            stages: widths.windows(2).enumerate().map(stage).collect(),
        }
    }

    /// Restored stages, fine to coarse.
    fn restore(&self, embedding: Tensor) -> Vec<Tensor> {
        let mut features = embedding;
        let mut restored = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            features = run(stage, &features);
            restored.push(features.shallow_clone());
        }
        restored.reverse();
        restored
    }
}

struct Rd4adModel {
    teacher: Teacher,
    vars: VarStore,
    bottleneck: Bottleneck,
    decoder: Decoder,
}

impl Rd4adModel {
    /// Stages that the decoder restores from the teacher's.
    fn restore(&self, teacher: &[Tensor]) -> Vec<Tensor> {
        self.decoder.restore(self.bottleneck.embed(teacher))
    }
}

impl Model for Rd4adModel {
    fn stores(&self) -> Vec<Store<'_>> {
        vec![self.teacher.store(), Store::learned("student", &self.vars)]
    }

    fn origins(&self) -> Vec<Origin> {
        self.teacher.origin().cloned().into_iter().collect()
    }

    fn losses(&self, batch: &Batch) -> Result<Losses, BoxError> {
        let teacher = self.teacher.features(batch);
        let restored = self.restore(&teacher);
        let pairs = teacher.iter().zip(&restored);
        let loss = |(stage, (t, r)): (usize, (&Tensor, &Tensor))| {
            let angle = super::angles(t, r).mean(Kind::Float);
            (format!("cosine.{stage}"), angle)
        };
        Ok((1..).zip(pairs).map(loss).collect())
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let teacher = self.teacher.extract(&channels_last(images));
        let restored = self.restore(&teacher);
        let size = images.size();
        let maps = teacher.iter().zip(&restored).map(|(t, r)| {
            let map = Cosine::distance(t, r);
            map.upsample_bilinear2d([size[2], size[3]], true, None, None)
        });
        Ok(Maps {
            discrepancy: maps.reduce(|a, b| a + b).into_iter().collect(),
            ..Maps::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use daf_core::Extractor;
    use daf_core::block::Mode;
    use daf_core::weights::Weights;

    use super::*;
    use crate::method::slow::{self, Map, batch, context};

    #[test]
    fn bottleneck_and_decoder_have_as_many_parameters_as_the_official_ones() {
        let model = Rd4ad::default().build(&context(Mode::Train, (64, 64))).unwrap();
        // The official bottleneck has a further convolution, 1024 to 512 channels with a batch norm, that nothing calls.
        let idle = 1024 * 512 + 2 * 512;
        assert_eq!(model.parameters(), 15_908_480 - idle);
        let of = |name: &str| -> usize {
            let stores = model.stores();
            let variables = stores[1].vars.variables().into_iter();
            variables
                .filter(|(variable, tensor)| variable.starts_with(name) && tensor.requires_grad())
                .map(|(_, tensor)| tensor.numel())
                .sum()
        };
        assert_eq!((of("bottleneck"), of("decoder")), (11_680_000, 3_703_168));
    }

    /// Strided convolutions of few channels.
    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Few {
        weights: Weights,
    }

    #[typetag::serde(name = "few")]
    impl Backbone for Few {
        fn stages(&self) -> Vec<Stage> {
            [(2, 2), (3, 4), (4, 8)]
                .map(|(channels, stride)| Stage { channels, stride })
                .to_vec()
        }

        fn weights(&self) -> &Weights {
            &self.weights
        }

        fn build(&self, blocks: &Blocks) -> Result<Box<dyn Extractor>, BoxError> {
            let conv = |name, input, output| blocks.conv(name, ConvSpec::same(input, output, 3).stride(2));
            Ok(Box::new(FewConvs([
                conv("a", 3, 2),
                conv("b", 2, 3),
                conv("c", 3, 4),
            ])))
        }
    }

    #[derive(Debug)]
    struct FewConvs([daf_core::block::Conv; 3]);

    impl Extractor for FewConvs {
        fn extract(&self, images: &Tensor) -> Vec<Tensor> {
            let mut features = images.shallow_clone();
            let next = self.0.iter().map(|conv| {
                features = conv.forward(&features);
                features.shallow_clone()
            });
            next.collect()
        }
    }

    /// A residual block in loops, with the statistics of the batch.
    fn residual(vars: &HashMap<String, Tensor>, name: &str, input: &Map, stride: usize) -> Map {
        let weight = |part: &str| vars.get(&format!("{name}.{part}.weight"));
        let (first, shortcut) = match (weight("upsample.0"), weight("downsample.0")) {
            (Some(up), _) => (
                input.transposed(weight("conv1").unwrap(), None, 0),
                input.transposed(up, None, 0).normalized(),
            ),
            (None, Some(down)) => (
                input.conv(weight("conv1").unwrap(), None, stride, 1),
                input.conv(down, None, stride, 0).normalized(),
            ),
            (None, None) => (input.conv(weight("conv1").unwrap(), None, 1, 1), input.clone()),
        };
        let second = first
            .normalized()
            .relu()
            .conv(weight("conv2").unwrap(), None, 1, 1);
        second.normalized().plus(&shortcut).relu()
    }

    #[test]
    fn losses_and_map_agree_with_loops() {
        slow::seed(2);
        let size = (48, 32);
        let batch = batch(size);
        let method = Rd4ad {
            teacher: Arc::new(Few::default()),
            blocks: 2,
        };
        let model = method.build(&context(Mode::Train, size)).unwrap();
        let stores = model.stores();
        let (teacher, vars) = (stores[0].vars.variables(), stores[1].vars.variables());

        let mut features = vec![Map::of(&batch.normal)];
        for name in ["a", "b", "c"] {
            let last = &features[features.len() - 1];
            features.push(last.conv(&teacher[&format!("{name}.weight")], None, 2, 1));
        }
        let stages = &features[1..];
        let halved = |input: &Map, name: &str| {
            let conv = input.conv(&vars[&format!("bottleneck.{name}.weight")], None, 2, 1);
            conv.normalized().relu()
        };
        let fine = halved(&halved(&stages[0], "conv1"), "conv2");
        let joined = Map::concat(&[&fine, &halved(&stages[1], "conv3"), &stages[2]]);
        let mut embedding = residual(&vars, "bottleneck.bn_layer.0", &joined, 2);
        embedding = residual(&vars, "bottleneck.bn_layer.1", &embedding, 1);
        let mut restored = Vec::new();
        for layer in 1..=3 {
            embedding = residual(&vars, &format!("decoder.layer{layer}.0"), &embedding, 1);
            embedding = residual(&vars, &format!("decoder.layer{layer}.1"), &embedding, 1);
            restored.insert(0, embedding.clone());
        }

        let losses = model.losses(&batch).unwrap();
        let mut sum: Option<Map> = None;
        for (stage, (t, r)) in stages.iter().zip(&restored).enumerate() {
            let mean = (t.angle(r, 0) + t.angle(r, 1)) / 2.0;
            slow::close(losses[stage].1.double_value(&[]), mean, 1e-4);
            let mut map = Map::zeros([2, 1, t.h, t.w]);
            for (n, y, x) in t.places() {
                let dot =
                    |a: &Map, b: &Map| (0..t.c).map(|c| a.at(n, c, y, x) * b.at(n, c, y, x)).sum::<f64>();
                // As PyTorch has it since 1.13: each length is held over 1e-8.
                let lengths = dot(t, t).sqrt().max(1e-8) * dot(r, r).sqrt().max(1e-8);
                *map.at_mut(n, 0, y, x) = 1.0 - dot(t, r) / lengths;
            }
            let large = map.resized((48, 32), true);
            sum = Some(match sum {
                None => large,
                Some(so_far) => so_far.plus(&large),
            });
        }
        let maps = slow::no_grad(|| model.infer(&batch.normal)).unwrap();
        sum.unwrap().assert_close(&maps.discrepancy[0], 1e-4);
    }

    #[test]
    fn teachers_of_other_shapes_are_refused() {
        let two = Rd4ad {
            teacher: Arc::new(ResNet18 {
                stages: 2,
                ..ResNet18::default()
            }),
            ..Rd4ad::default()
        };
        let error = two.check().unwrap_err().to_string();
        assert!(error.contains("three stages"), "{error}");
        let error = two
            .build(&context(Mode::Train, (64, 64)))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("three stages"), "{error}");
        let none = Rd4ad {
            blocks: 0,
            ..Rd4ad::default()
        };
        assert!(none.check().unwrap_err().to_string().contains("`blocks`"));
    }
}
