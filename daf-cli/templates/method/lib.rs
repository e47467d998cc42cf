//! A method for daf: it builds a trainable model, with its losses and the maps that it gives.

use daf_core::block::{Blocks, Conv, ConvNorm, ConvSpec, Init, channels_last};
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::nn::VarStore;
use daf_core::tch::{Kind, Tensor};
use daf_core::{Batch, BoxError, BuildContext, Losses, Maps, Method, Model, Store, typetag};
use serde::{Deserialize, Serialize};

/// A convolutional autoencoder: it learns to restore normal images, and what it cannot restore is a defect.
///
/// With a synthesizer it is given the damaged image and must restore the normal one; without, it copies through its
/// narrow middle. The map is the absolute difference between image and restoration, averaged over colours.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MyPart {
    /// Channels after the first halving; they double with each further one. At least 1.
    pub width: i64,
    /// How often height and width are halved; 1 to 6.
    pub halvings: u32,
}

daf_core::register!(Method: MyPart = "my_part");

impl Default for MyPart {
    fn default() -> Self {
        Self {
            width: 16,
            halvings: 4,
        }
    }
}

#[typetag::serde(name = MyPart::NAME)]
impl Method for MyPart {
    fn stride(&self) -> i64 {
        1 << self.halvings
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
        let vars = VarStore::new(context.device);
        // Whatever is built from `Blocks` gets folded batch norms, bf16 and the memory layout without doing anything.
        let blocks = Blocks::new(vars.root(), context.mode, Init::FanIn, context.precision);
        let widths: Vec<i64> = std::iter::once(3)
            .chain((0..self.halvings).map(|n| self.width << n))
            .collect();
        let conv = |name: String, shape| blocks.sub(&name).conv_norm("conv", "norm", shape);
        let down = widths.windows(2).enumerate();
        let down = down.map(|(n, pair)| conv(format!("down{n}"), ConvSpec::same(pair[0], pair[1], 3).stride(2)));
        let up = widths.windows(2).enumerate().rev();
        let up = up.map(|(n, pair)| conv(format!("up{n}"), ConvSpec::same(pair[1], pair[0].max(self.width), 3)));
        Ok(Box::new(Autoencoder {
            down: down.collect(),
            up: up.collect(),
            out: blocks.conv("out", ConvSpec::same(self.width, 3, 3).with_bias()),
            vars,
        }))
    }

    fn check(&self) -> Result<(), BoxError> {
        if self.width < 1 {
            return Err(format!("`width` must be at least 1, found {}", self.width).into());
        }
        if !(1..=6).contains(&self.halvings) {
            return Err(format!("`halvings` must be 1 to 6, found {}", self.halvings).into());
        }
        Ok(())
    }
}

struct Autoencoder {
    vars: VarStore,
    down: Vec<ConvNorm>,
    up: Vec<ConvNorm>,
    out: Conv,
}

impl Autoencoder {
    /// N×3×H×W images as the network restores them.
    fn restore(&self, images: &Tensor) -> Tensor {
        let mut features = channels_last(images);
        for conv in &self.down {
            features = conv.forward(&features).relu();
        }
        for conv in &self.up {
            let size = features.size();
            let doubled = features.upsample_nearest2d([2 * size[2], 2 * size[3]], None, None);
            features = conv.forward(&doubled).relu();
        }
        self.out.forward(&features).to_kind(Kind::Float)
    }
}

impl Model for Autoencoder {
    // What a run keeps: a file of weights for each store.
    fn stores(&self) -> Vec<Store<'_>> {
        vec![Store::learned("autoencoder", &self.vars)]
    }

    fn losses(&self, batch: &Batch) -> Result<Losses, BoxError> {
        let seen = batch
            .synthetic
            .as_ref()
            .map_or(&batch.normal, |damaged| &damaged.images);
        let difference = (self.restore(seen) - &batch.normal).abs();
        Ok(vec![("restoration".into(), difference.mean(Kind::Float))])
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let difference = (self.restore(images) - images)
            .abs()
            .mean_dim(1, true, Kind::Float);
        Ok(Maps {
            discrepancy: vec![difference],
            ..Maps::default()
        })
    }
}

#[cfg(test)]
#[allow(clippy::needless_update)] // Fields that you add have their defaults in the tests.
mod tests {
    use daf_core::block::{Mode, Precision};
    use daf_core::tch::{self, Device};

    use super::*;

    fn build(mode: Mode) -> Box<dyn Model> {
        let context = BuildContext {
            device: Device::Cpu,
            size: (32, 48),
            mode,
            precision: Precision::Float32,
            pretrained: None,
        };
        MyPart {
            width: 4,
            halvings: 3,
            ..MyPart::default()
        }
        .build(&context)
        .unwrap()
    }

    #[test]
    fn every_weight_learns() {
        let normal = Tensor::rand([2, 3, 32, 48], (Kind::Float, Device::Cpu));
        let model = build(Mode::Train);
        let batch = Batch {
            normal,
            synthetic: None,
            indices: vec![0, 1],
            features: None,
        };
        model.losses(&batch).unwrap().remove(0).1.backward();
        let vars = model.stores()[0].vars;
        for (name, weight) in vars
            .variables()
            .into_iter()
            .filter(|(_, weight)| weight.requires_grad())
        {
            assert!(weight.grad().defined(), "{name}");
        }
    }

    #[test]
    fn maps_have_the_size_of_the_image() {
        let images = Tensor::rand([2, 3, 32, 48], (Kind::Float, Device::Cpu));
        let maps = tch::no_grad(|| build(Mode::Infer).infer(&images)).unwrap();
        assert_eq!(maps.discrepancy[0].size(), [2, 1, 32, 48]);
    }
}
