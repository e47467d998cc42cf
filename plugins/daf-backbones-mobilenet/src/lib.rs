//! MobileNetV3 backbones for daf: `mobilenet_v3_small` and `mobilenet_v3_large`.
//!
//! Light networks (Howard et al., ICCV 2019) of inverted residuals: a 1×1 convolution widens, a depthwise one looks
//! around, squeeze-and-excitation weighs the channels, and a 1×1 convolution narrows. Names and shapes are torchvision's,
//! so its files of weights load unchanged.

#![forbid(unsafe_code)]

mod layer;

use daf_core::block::{BatchNormConfig, Blocks, ConvNorm, ConvSpec};
use daf_core::data::Normalization;
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::Tensor;
use daf_core::weights::{Pretrained, Weights};
use daf_core::{Backbone, BoxError, Extractor, Stage, typetag};
use serde::{Deserialize, Serialize};

use layer::Activation::{HardSwish, Relu};
use layer::{Layer, Residual, layer};

/// A size of the network: the part, its name and documentation, its layers, and the beginning of the hash of
/// torchvision's (first) ImageNet weights.
macro_rules! mobilenet {
    ($(#[$doc:meta])+ $part:ident = $name:literal, $layers:ident, $hash:literal) => {
        $(#[$doc])+
        #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $part {
            /// Where the weights come from.
            pub weights: Weights,
        }
        daf_core::register!(Backbone: $part = $name);

        #[typetag::serde(name = $part::NAME)]
        impl Backbone for $part {
            fn stages(&self) -> Vec<Stage> {
                stages(&$layers).into_iter().map(|(_, stage)| stage).collect()
            }

            fn weights(&self) -> &Weights {
                &self.weights
            }

            fn pretrained(&self) -> Option<Pretrained> {
                Some(Pretrained {
                    name: $name,
                    aliases: &[],
                    url: concat!("https://download.pytorch.org/models/", $name, "-", $hash, ".pth").into(),
                    sha256: $hash.into(),
                    license: "BSD-3-Clause",
                    preprocessing: Normalization::Imagenet,
                })
            }

            fn build(&self, blocks: &Blocks) -> Result<Box<dyn Extractor>, BoxError> {
                Ok(Box::new(MobileNet::new(blocks, &$layers)))
            }
        }
    };
}

mobilenet! {
    /// MobileNetV3 small up to stride 16: 16, 24 and 48 channels at strides 4, 8 and 16.
    ///
    /// Names are torchvision's, so its files of weights load unchanged.
    MobileNetV3Small = "mobilenet_v3_small", SMALL, "047dcff4"
}

mobilenet! {
    /// MobileNetV3 large up to stride 16: 24, 40 and 112 channels at strides 4, 8 and 16.
    ///
    /// Names are torchvision's, so its files of weights load unchanged.
    MobileNetV3Large = "mobilenet_v3_large", LARGE, "8738ca79"
}

/// Channels of the stem.
const STEM: i64 = 16;

/// Table 2 of the paper.
const SMALL: [Layer; 11] = [
    layer(3, 16, 16, true, Relu, 2),
    layer(3, 72, 24, false, Relu, 2),
    layer(3, 88, 24, false, Relu, 1),
    layer(5, 96, 40, true, HardSwish, 2),
    layer(5, 240, 40, true, HardSwish, 1),
    layer(5, 240, 40, true, HardSwish, 1),
    layer(5, 120, 48, true, HardSwish, 1),
    layer(5, 144, 48, true, HardSwish, 1),
    layer(5, 288, 96, true, HardSwish, 2),
    layer(5, 576, 96, true, HardSwish, 1),
    layer(5, 576, 96, true, HardSwish, 1),
];

/// Table 1 of the paper.
const LARGE: [Layer; 15] = [
    layer(3, 16, 16, false, Relu, 1),
    layer(3, 64, 24, false, Relu, 2),
    layer(3, 72, 24, false, Relu, 1),
    layer(5, 72, 40, true, Relu, 2),
    layer(5, 120, 40, true, Relu, 1),
    layer(5, 120, 40, true, Relu, 1),
    layer(3, 240, 80, false, HardSwish, 2),
    layer(3, 200, 80, false, HardSwish, 1),
    layer(3, 184, 80, false, HardSwish, 1),
    layer(3, 184, 80, false, HardSwish, 1),
    layer(3, 480, 112, true, HardSwish, 1),
    layer(3, 672, 112, true, HardSwish, 1),
    layer(5, 672, 160, true, HardSwish, 2),
    layer(5, 960, 160, true, HardSwish, 1),
    layer(5, 960, 160, true, HardSwish, 1),
];

/// The stages that are given out, each with the number of its last layer. The one at stride 2 is too fine for a decoder,
/// that at 32 too coarse.
fn stages(layers: &[Layer]) -> Vec<(usize, Stage)> {
    // The stem halves once.
    let mut stride = 2;
    let mut stages = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        stride *= layer.stride;
        let is_last = layers.get(number + 1).is_none_or(|next| next.stride > 1);
        if is_last && (4..=16).contains(&stride) {
            let channels = layer.output;
            stages.push((number, Stage { channels, stride }));
        }
    }
    stages
}

/// The network up to the last stage that is given out; files of weights hold more.
#[derive(Debug)]
struct MobileNet {
    stem: ConvNorm,
    layers: Vec<Residual>,
    /// The layers whose results are given out.
    taken: Vec<usize>,
}

impl MobileNet {
    fn new(blocks: &Blocks, layers: &[Layer]) -> Self {
        let taken: Vec<usize> = stages(layers).into_iter().map(|(number, _)| number).collect();
        let needed = taken.last().map_or(0, |last| last + 1);
        let (stem, layers) = trunk(blocks, &layers[..needed]);
        Self { stem, layers, taken }
    }
}

/// Stem and layers, with torchvision's names and statistics.
fn trunk(blocks: &Blocks, layers: &[Layer]) -> (ConvNorm, Vec<Residual>) {
    let batch_norm = BatchNormConfig {
        epsilon: 0.001,
        momentum: 0.01,
    };
    let features = blocks.with_batch_norm(batch_norm).sub("features");
    let stem = features
        .sub("0")
        .conv_norm("0", "1", ConvSpec::same(3, STEM, 3).stride(2));
    let mut input = STEM;
    let layers = layers.iter().zip(1..).map(|(layer, number)| {
        let residual = Residual::new(&features.sub(&format!("{number}")), input, layer);
        input = layer.output;
        residual
    });
    (stem, layers.collect())
}

impl Extractor for MobileNet {
    fn extract(&self, images: &Tensor) -> Vec<Tensor> {
        let mut features = self.stem.forward(images).hardswish();
        let mut stages = Vec::with_capacity(self.taken.len());
        for (number, layer) in self.layers.iter().enumerate() {
            features = layer.forward(&features);
            if self.taken.contains(&number) {
                stages.push(features.shallow_clone());
            }
        }
        stages
    }
}

#[cfg(test)]
mod tests {
    use daf_core::block::{Init, Mode, Precision};
    use daf_core::tch::nn::VarStore;
    use daf_core::tch::{self, Device, Kind};
    use daf_core::weights;

    use super::*;

    const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn blocks(vars: &VarStore, mode: Mode, precision: Precision) -> Blocks<'_> {
        Blocks::new(vars.root(), mode, Init::FanOut, precision)
    }

    #[test]
    fn the_whole_networks_have_as_many_parameters_as_torchvisions() {
        // torchvision's counts are those with the classifier: two linear layers after the last convolution.
        for (layers, last, hidden, all) in [
            (&SMALL[..], 576, 1024, 2_542_856),
            (&LARGE[..], 960, 1280, 5_483_032),
        ] {
            let vars = VarStore::new(Device::Cpu);
            let blocks = blocks(&vars, Mode::Train, Precision::Float32);
            let _trunk = trunk(&blocks, layers);
            let number = (layers.len() + 1).to_string();
            let input = layers[layers.len() - 1].output;
            let _last =
                blocks
                    .sub("features")
                    .sub(&number)
                    .conv_norm("0", "1", ConvSpec::same(input, last, 1));
            let features: usize = vars.trainable_variables().iter().map(Tensor::numel).sum();
            let classifier = (last + 1) * hidden + (hidden + 1) * 1000;
            assert_eq!(features as i64 + classifier, all);
        }
    }

    #[test]
    fn names_and_shapes_are_torchvisions() {
        let vars = VarStore::new(Device::Cpu);
        MobileNetV3Small::default()
            .build(&blocks(&vars, Mode::Train, Precision::Float32))
            .unwrap();
        let found = vars.variables();
        for (name, shape) in [
            ("features.0.0.weight", &[16, 3, 3, 3][..]),
            ("features.0.1.running_var", &[16]),
            ("features.1.block.0.0.weight", &[16, 1, 3, 3]),
            ("features.1.block.1.fc1.weight", &[8, 16, 1, 1]),
            ("features.1.block.1.fc2.bias", &[16]),
            ("features.1.block.2.1.bias", &[16]),
            ("features.2.block.0.0.weight", &[72, 16, 1, 1]),
            ("features.4.block.1.0.weight", &[96, 1, 5, 5]),
            ("features.4.block.2.fc1.weight", &[24, 96, 1, 1]),
            ("features.8.block.3.0.weight", &[48, 144, 1, 1]),
        ] {
            assert_eq!(
                found.get(name).map(Tensor::size).as_deref(),
                Some(shape),
                "{name}"
            );
        }
        assert!(
            !found.keys().any(|name| name.starts_with("features.9.")),
            "deeper than needed"
        );
        // Biases of convolutions start at 0, as torchvision's do.
        assert_eq!(
            found["features.1.block.1.fc1.bias"].abs().max().double_value(&[]),
            0.0
        );
    }

    #[test]
    fn stages_are_as_declared_in_both_precisions() {
        tch::set_num_threads(1);
        let parts: [(&dyn Backbone, [i64; 3]); 2] = [
            (&MobileNetV3Small::default(), [16, 24, 48]),
            (&MobileNetV3Large::default(), [24, 40, 112]),
        ];
        for (part, channels) in parts {
            let declared: Vec<_> = part
                .stages()
                .iter()
                .map(|stage| (stage.channels, stage.stride))
                .collect();
            assert_eq!(declared, [(channels[0], 4), (channels[1], 8), (channels[2], 16)]);
            for (mode, precision) in [
                (Mode::Train, Precision::Float32),
                (Mode::Infer, Precision::Float32),
                (Mode::Infer, Precision::Bf16),
            ] {
                let vars = VarStore::new(Device::Cpu);
                let network = part.build(&blocks(&vars, mode, precision)).unwrap();
                let images = Tensor::randn([2, 3, 64, 96], FLOAT);
                let found = tch::no_grad(|| network.extract(&images));
                for (features, (channels, stride)) in found.iter().zip(declared.iter()) {
                    assert_eq!(features.size(), [2, *channels, 64 / stride, 96 / stride]);
                    assert_eq!(features.isfinite().all().int64_value(&[]), 1);
                }
            }
        }
    }

    /// A wave for the name of a variable, so that both sides have the same weights without a file.
    fn wave(name: &str, shape: &[i64]) -> Tensor {
        let start = name
            .bytes()
            .fold(0, |sum, byte| (sum * 31 + i64::from(byte)) % 65521) as f64;
        let (middle, height) = match name.rsplit('.').next() {
            _ if shape.len() == 4 => (0.0, (6.0 / shape[1..].iter().product::<i64>() as f64).sqrt()),
            Some("weight") => (1.0, 0.2),
            Some("running_var") => (1.0, 0.5),
            _ => (0.0, 0.2),
        };
        let values: Vec<f64> = (0..shape.iter().product())
            .map(|i: i64| middle + height * (i as f64 * 0.7 + start).sin())
            .collect();
        Tensor::from_slice(&values).reshape(shape).to_kind(Kind::Float)
    }

    /// Of torchvision 0.26.0 with torch 2.11.0: every floating-point entry of the `state_dict` of
    /// `mobilenet_v3_small().eval()` set to [`wave`], then `features[: n + 1](images)` for n = 1, 3, 8; of the large one for
    /// n = 3, 6, 12. For each the mean of the absolute values, the mean, and the values at [0, 0, 0, 0], at [0, 1, 1, 2] and
    /// in the last place.
    const TORCHVISIONS: [[[f64; 5]; 3]; 2] = [
        [
            [2.047865, -0.2752184, 0.3480818, -4.934261, 0.1817636],
            [17.25378, 4.640815, 6.938065, 19.90457, -24.53757],
            [3.565142, 0.1221339, 9.964396, -1.526674, 4.702278],
        ],
        [
            [14.27994, 5.666841, 0.7620301, 9.563972, -22.83809],
            [29.02242, 1.558356, 13.44737, -4.66694, -42.61451],
            [4.304517, -0.09032312, 4.341624, -3.919696, 3.255044],
        ],
    ];

    #[test]
    fn features_are_torchvisions() {
        let parts: [&dyn Backbone; 2] = [&MobileNetV3Small::default(), &MobileNetV3Large::default()];
        let images: Vec<f64> = (0..3 * 64 * 96)
            .map(|i| 2.0 * (f64::from(i) * 0.013).sin())
            .collect();
        let images = Tensor::from_slice(&images)
            .reshape([1, 3, 64, 96])
            .to_kind(Kind::Float);
        for (part, expected) in parts.into_iter().zip(TORCHVISIONS) {
            let vars = VarStore::new(Device::Cpu);
            let network = part
                .build(&blocks(&vars, Mode::Infer, Precision::Float32))
                .unwrap();
            for (name, mut variable) in vars.variables() {
                let values = wave(&name, &variable.size());
                weights::set(&mut variable, &values);
            }
            let found = tch::no_grad(|| network.extract(&images));
            assert_eq!(found.len(), expected.len());
            for (features, expected) in found.iter().zip(expected) {
                let size = features.size();
                let at = |place: [i64; 3]| features.double_value(&[0, place[0], place[1], place[2]]);
                let mean = |values: &Tensor| values.mean(Kind::Double).double_value(&[]);
                let found = [
                    mean(&features.abs()),
                    mean(features),
                    at([0, 0, 0]),
                    at([1, 1, 2]),
                    at([size[1] - 1, size[2] - 1, size[3] - 1]),
                ];
                for (found, value) in found.iter().zip(expected) {
                    let error = (found - value).abs() / expected[0];
                    assert!(error < 1e-4, "{}: {found} is not {value}", part.typetag_name());
                }
            }
        }
    }

    #[test]
    fn folded_norms_use_mobilenets_epsilon() {
        let vars = VarStore::new(Device::Cpu);
        let (stem, _) = trunk(&blocks(&vars, Mode::Infer, Precision::Float32), &[]);
        let found = vars.variables();
        let of = |name: &str| &found[&format!("features.0.1.{name}")];
        tch::no_grad(|| {
            // Of the size of the epsilon, so that another one would be seen.
            let _ = of("running_var").shallow_clone().fill_(0.002);
            let images = Tensor::randn([1, 3, 16, 16], FLOAT);
            let plain = images.conv2d(
                &found["features.0.0.weight"],
                None::<Tensor>,
                [2, 2],
                [1, 1],
                [1, 1],
                1,
            );
            let (weight, bias) = (Some(of("weight")), Some(of("bias")));
            let (mean, variance) = (Some(of("running_mean")), Some(of("running_var")));
            let expected = plain.batch_norm(weight, bias, mean, variance, false, 0.01, 0.001, false);
            let difference = (stem.forward(&images) - expected).abs().max().double_value(&[]);
            assert!(difference < 1e-3, "{difference}");
        });
    }
}
