use std::sync::Arc;

use crate::backbone::ResNet18;
use crate::teacher::pretrain;
use daf_core::block::{Blocks, Conv, ConvNorm, ConvSpec, Init, channels_last, residual};
use daf_core::data::Normalization;
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::nn::VarStore;
use daf_core::tch::{Kind, Reduction, Tensor};
use daf_core::weights::Weights;
use daf_core::{
    Backbone, Batch, BoxError, BuildContext, Extractor, Losses, Maps, Method, Model, Origin, Store, typetag,
};
use serde::{Deserialize, Serialize};

use super::damaged;

/// NSA (Schlüter et al., ECCV 2022): an encoder and a decoder without skips learn to say how anomalous every pixel is,
/// from patches of other images that are blended in without a seam.
///
/// Targets may be soft: the loss is the binary cross-entropy with whatever the synthesizer gives. The network is that of
/// the official code with one residual block per level. Two things of its training are not part of this pipeline: textures
/// are cropped at random from 264 to 256 pixels and flipped, objects turned by up to 5° and cropped to 224; here images
/// are brought to the input's size as they are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Nsa {
    /// The encoder, of which the coarsest stage is used; its stride must be 32. The paper trains it from random weights.
    pub encoder: Arc<dyn Backbone>,
}
daf_core::register!(Method: Nsa = "nsa", recipe = include_str!("nsa.yaml"));

impl Default for Nsa {
    fn default() -> Self {
        Self {
            encoder: Arc::new(ResNet18 {
                weights: Weights::Random,
                stages: 4,
            }),
        }
    }
}

/// Pixels per position of the features that the decoder enlarges.
const STRIDE: i64 = 32;

#[typetag::serde(name = Nsa::NAME)]
impl Method for Nsa {
    fn needs_synthesis(&self) -> bool {
        true
    }

    fn normalization(&self) -> Normalization {
        self.encoder.normalization()
    }

    fn stride(&self) -> i64 {
        STRIDE
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
        let vars = VarStore::new(context.device);
        // The official code leaves transposed convolutions at PyTorch's default; here they start as the others do.
        let blocks =
            |name: &str| Blocks::new(vars.root() / name, context.mode, Init::FanOut, context.precision);
        let encoder = self.encoder.build_checked(&blocks("encoder"))?;
        let channels = self.encoder.stages().last().map_or(0, |stage| stage.channels);
        let decoder = Decoder::new(&blocks("decoder"), channels);
        let origin = pretrain("encoder", self.encoder.as_ref(), &vars, "encoder.", context)?;
        Ok(Box::new(NsaModel {
            encoder,
            decoder,
            vars,
            origin,
        }))
    }

    fn check(&self) -> Result<(), BoxError> {
        self.encoder
            .check()
            .map_err(|error| format!("encoder: {error}"))?;
        match self.encoder.stages().last() {
            Some(stage) if stage.stride == STRIDE => Ok(()),
            stage => Err(format!(
                "`encoder` must have a coarsest stage of stride {STRIDE}, found {}; `resnet18` has it with `stages: 4`",
                stage.map_or(0, |stage| stage.stride)
            )
            .into()),
        }
    }
}

/// From features at a 32nd of the size to logits at the size of the image.
#[derive(Debug)]
struct Decoder {
    narrow: [Conv; 2],
    up: Vec<UpBlock>,
    last: Conv,
}

impl Decoder {
    fn new(blocks: &Blocks, channels: i64) -> Self {
        let narrow = [("conv1", channels, 256), ("conv2", 256, 128)]
            .map(|(name, input, output)| blocks.conv(name, ConvSpec::same(input, output, 1)));
        let up = [(128, 64), (64, 32), (32, 16)];
        let up = (1..).zip(up).map(|(number, (input, output))| {
            UpBlock::new(&blocks.sub(&format!("up{number}")), input, output)
        });
        let last = ConvSpec {
            output_padding: 1,
            ..ConvSpec::same(16, 1, 7).stride(2)
        };
        Self {
            narrow,
            up: up.collect(),
            last: blocks.transposed_conv("last", last),
        }
    }

    /// N×`channels`×h×w to float32 N×1×32h×32w.
    fn forward(&self, features: &Tensor) -> Tensor {
        let [first, second] = &self.narrow;
        let mut features = second.forward(&first.forward(features).relu()).relu();
        for block in &self.up {
            features = block.forward(&features);
        }
        let size = features.size();
        let doubled = features.upsample_bilinear2d([2 * size[2], 2 * size[3]], true, None, None);
        self.last.forward(&doubled).to_kind(Kind::Float)
    }
}

/// A residual block that doubles the size by transposed convolutions.
#[derive(Debug)]
struct UpBlock {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: ConvNorm,
}

impl UpBlock {
    fn new(blocks: &Blocks, input: i64, output: i64) -> Self {
        let doubling = |kernel| ConvSpec {
            output_padding: 1,
            ..ConvSpec::same(input, output, kernel).stride(2)
        };
        Self {
            first: blocks.transposed_conv_norm("conv1", "bn1", doubling(3)),
            second: blocks.conv_norm("conv2", "bn2", ConvSpec::same(output, output, 3)),
            shortcut: blocks.sub("upsample").transposed_conv_norm("0", "1", doubling(1)),
        }
    }

    fn forward(&self, input: &Tensor) -> Tensor {
        residual(&self.first, &self.second, input, &self.shortcut.forward(input))
    }
}

struct NsaModel {
    encoder: Box<dyn Extractor>,
    decoder: Decoder,
    vars: VarStore,
    origin: Option<Origin>,
}

impl NsaModel {
    /// N×1×H×W.
    fn logits(&self, images: &Tensor) -> Tensor {
        let features = self.encoder.extract(&channels_last(images));
        self.decoder
            .forward(features.last().expect("a backbone has stages"))
    }
}

impl Model for NsaModel {
    fn stores(&self) -> Vec<Store<'_>> {
        vec![Store::learned("network", &self.vars)]
    }

    fn origins(&self) -> Vec<Origin> {
        self.origin.iter().cloned().collect()
    }

    fn losses(&self, batch: &Batch) -> Result<Losses, BoxError> {
        let synthetic = damaged(batch)?;
        let target = synthetic.target.to_kind(Kind::Float);
        let loss = self
            .logits(&synthetic.images)
            .binary_cross_entropy_with_logits::<Tensor>(&target, None, None, Reduction::Mean);
        Ok(vec![("bce".into(), loss)])
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        Ok(Maps {
            probability: Some(self.logits(images).sigmoid()),
            ..Maps::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use daf_core::block::{Mode, Precision};
    use daf_core::macs::count;
    use daf_core::tch::{self, Device};

    use super::*;
    use crate::alone::alone;
    use crate::method::slow::{self, Map};

    #[test]
    fn it_has_as_many_parameters_as_the_official_code() {
        alone();
        let model = slow::built(&Nsa::default(), Mode::Train, (64, 64));
        assert_eq!(model.parameters(), 11_497_712);
    }

    #[test]
    fn its_multiply_adds_are_those_of_its_layers() {
        alone();
        let model = slow::built(&Nsa::default(), Mode::Infer, (64, 64));
        let image = Tensor::rand([1, 3, 64, 64], (Kind::Float, Device::Cpu));
        let (_, counted) = count(|| tch::no_grad(|| model.infer(&image).unwrap()));
        // ResNet18's convolutions take 1.8136 G at 224², which is 49/4 times the area.
        let encoder = 1_813_561_344 / 49 * 4;
        // 2×2 positions of the coarsest stage; a transposed convolution works at the size of its input.
        let narrow = 4 * (512 * 256 + 256 * 128);
        let up = |positions: u64, i: u64, o: u64| positions * (i * o * 10 + 4 * o * o * 9);
        let decoder = narrow + up(4, 128, 64) + up(16, 64, 32) + up(64, 32, 16) + 1024 * 16 * 49;
        assert_eq!(counted.defined, encoder + decoder);
    }

    #[test]
    fn its_decoder_agrees_with_a_computation_value_by_value() {
        alone();
        let mut draws = slow::Draws::new(7);
        let vars = VarStore::new(Device::Cpu);
        let blocks = Blocks::new(vars.root(), Mode::Infer, Init::FanOut, Precision::Float32);
        let decoder = Decoder::new(&blocks, 6);
        let store = Store::learned("decoder", &vars);
        draws.shake(&[store]);
        let features = draws.uniform(&[1, 6, 2, 3]);
        let found = tch::no_grad(|| decoder.forward(&features));

        let weights = slow::Weights::of(&vars);
        let mut expected = Map::of(&features);
        for name in ["conv1", "conv2"] {
            expected = weights.conv(&expected, name, 1, 0).relu();
        }
        for name in ["up1", "up2", "up3"] {
            let of = |part: &str| format!("{name}.{part}");
            let first = weights.norm(&weights.transposed(&expected, &of("conv1"), 1), &of("bn1"));
            let second = weights.norm(&weights.conv(&first.relu(), &of("conv2"), 1, 1), &of("bn2"));
            let shortcut = weights.norm(
                &weights.transposed(&expected, &of("upsample.0"), 0),
                &of("upsample.1"),
            );
            expected = second.plus(&shortcut).relu();
        }
        let larger = expected.resized((2 * expected.h, 2 * expected.w), true);
        let expected = weights.transposed(&larger, "last", 3);
        expected.assert_close(&found, 1e-4);
    }

    #[test]
    fn its_loss_is_the_cross_entropy_with_soft_targets() {
        alone();
        let model = slow::built(&Nsa::default(), Mode::Train, (64, 64));
        let batch = slow::damaged(64);
        let synthetic = batch.synthetic.as_ref().unwrap();
        // Batch norms in training do not depend on what they have seen before: the same logits twice.
        let probability = slow::numbers(&model.infer(&synthetic.images).unwrap().probability.unwrap());
        let target = slow::numbers(&synthetic.target);
        let terms = probability
            .iter()
            .zip(&target)
            .map(|(p, t)| -(t * p.ln() + (1.0 - t) * (1.0 - p).ln()));
        let expected = terms.sum::<f64>() / target.len() as f64;
        let losses = model.losses(&batch).unwrap();
        assert_eq!(losses[0].0, "bce");
        let found = losses[0].1.double_value(&[]);
        assert!((found - expected).abs() < 1e-4, "{found} and {expected}");
    }

    #[test]
    fn an_encoder_that_is_not_coarse_enough_is_refused() {
        alone();
        let shallow = Nsa {
            encoder: Arc::new(ResNet18::default()),
        };
        let error = shallow.check().unwrap_err().to_string();
        assert_eq!(
            error,
            "`encoder` must have a coarsest stage of stride 32, found 16; `resnet18` has it with `stages: 4`"
        );
        let model = slow::built(&Nsa::default(), Mode::Train, (64, 64));
        let error = model.losses(&slow::batch((64, 64))).unwrap_err().to_string();
        assert!(error.contains("name a `synthesizer`"), "{error}");
    }
}
