use std::collections::HashMap;
use std::path::PathBuf;

use daf_core::block::{Init, Mode, Precision};
use daf_core::macs::count;
use daf_core::tch::nn::VarStore;
use daf_core::tch::{self, Device, Kind};
use daf_core::weights;

use super::*;

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

fn part(stages: usize) -> EfficientNetLite0 {
    EfficientNetLite0 {
        weights: Weights::Random,
        stages,
    }
}

fn build(stages: usize, mode: Mode, precision: Precision) -> (VarStore, Box<dyn Extractor>) {
    let vars = VarStore::new(Device::Cpu);
    let blocks = Blocks::new(vars.root(), mode, Init::FanOut, precision);
    let part: &dyn Backbone = &part(stages);
    let network = part.build_checked(&blocks).unwrap();
    (vars, network)
}

fn far(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    ((found - expected).abs().max() / expected.abs().max()).double_value(&[])
}

#[test]
fn the_whole_network_has_as_many_parameters_as_the_published_one() {
    let (vars, _network) = build(4, Mode::Train, Precision::Float32);
    let trained = vars.trainable_variables();
    let blocks: i64 = trained.iter().map(|variable| variable.numel() as i64).sum();
    // Behind the blocks: a 1×1 convolution with its batch norm, and a linear layer of 1000 classes.
    assert_eq!(blocks + 320 * HEAD + 2 * HEAD + (HEAD + 1) * 1000, 4_652_008);
}

#[test]
fn stages_are_as_declared_in_both_modes_and_precisions() {
    tch::set_num_threads(1);
    for stages in 1..=4 {
        let declared: Vec<_> = part(stages)
            .stages()
            .iter()
            .map(|stage| (stage.channels, stage.stride))
            .collect();
        assert_eq!(declared, [(24, 4), (40, 8), (112, 16), (320, 32)][..stages]);
        for (mode, precision) in [
            (Mode::Train, Precision::Float32),
            (Mode::Infer, Precision::Float32),
            (Mode::Infer, Precision::Bf16),
        ] {
            let (_vars, network) = build(stages, mode, precision);
            // Sizes are checked by the border that `build_checked` puts around the network.
            let found = tch::no_grad(|| network.extract(&Tensor::randn([2, 3, 64, 96], FLOAT)));
            assert_eq!(found.len(), stages);
            for features in found {
                assert_eq!(features.isfinite().all().int64_value(&[]), 1);
            }
        }
    }
}

#[test]
fn stages_out_of_range_are_refused() {
    for stages in [0, 5] {
        let error = part(stages).check().unwrap_err().to_string();
        assert_eq!(error, format!("`stages` must be 1 to 4, found {stages}"));
    }
}

#[test]
fn padding_is_tensorflows_for_sides_of_any_size() {
    let vars = VarStore::new(Device::Cpu);
    let blocks = Blocks::new(vars.root(), Mode::Infer, Init::FanOut, Precision::Float32);
    for kernel in [3, 5] {
        let name = format!("conv{kernel}");
        let conv = Padded::new(&blocks, [&name, &format!("bn{kernel}")], [1, 1], kernel, 2, 1);
        let weight = vars.variables()[&format!("{name}.weight")].reshape([kernel, kernel]);
        for (height, width) in [(8, 6), (7, 6), (5, 9)] {
            let input = Tensor::randn([1, 1, height, width], FLOAT);
            let found = tch::no_grad(|| conv.forward(&input));
            assert_eq!(found.size(), [1, 1, (height + 1) / 2, (width + 1) / 2]);
            // Zeros before the first row: floor(all / 2), where all is what the last output needs.
            let before = |side: i64| (((side + 1) / 2 - 1) * 2 + kernel - side).max(0) / 2;
            for y in 0..(height + 1) / 2 {
                for x in 0..(width + 1) / 2 {
                    let mut sum = 0.0;
                    for row in 0..kernel {
                        for column in 0..kernel {
                            let (top, left) = (2 * y + row - before(height), 2 * x + column - before(width));
                            if (0..height).contains(&top) && (0..width).contains(&left) {
                                sum += input.double_value(&[0, 0, top, left])
                                    * weight.double_value(&[row, column]);
                            }
                        }
                    }
                    // A batch norm at its first values divides by the root of 1 and an epsilon.
                    let found = found.double_value(&[0, 0, y, x]) * (1.0f64 + 1e-5).sqrt();
                    assert!((found - sum).abs() < 1e-5, "{found} {sum}");
                }
            }
        }
    }
}

#[test]
fn layers_that_are_built_and_those_behind_them_are_always_the_whole_network() {
    tch::set_num_threads(1);
    let images = Tensor::zeros([1, 3, 64, 96], FLOAT);
    let sums: Vec<u64> = (1..=4)
        .map(|stages| {
            let (_vars, network) = build(stages, Mode::Infer, Precision::Float32);
            let (_, counted) = count(|| tch::no_grad(|| network.extract(&images)));
            counted.carried_out + part(stages).layers_behind((64, 96))
        })
        .collect();
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
}

#[test]
fn a_student_learns_with_all_its_parameters() {
    let (vars, network) = build(4, Mode::Train, Precision::Float32);
    let features = network.extract(&Tensor::randn([2, 3, 64, 64], FLOAT));
    let losses: Vec<Tensor> = features
        .iter()
        .map(|features| features.square().mean(Kind::Float))
        .collect();
    Tensor::stack(&losses, 0).sum(Kind::Float).backward();
    for (name, variable) in vars.variables() {
        if variable.requires_grad() {
            let gradient = variable.grad();
            assert!(gradient.defined(), "{name}");
            assert_eq!(gradient.isfinite().all().int64_value(&[]), 1, "{name}");
        }
    }
}

#[test]
fn golden_features_of_the_published_weights_agree() {
    let Some(folder) = std::env::var_os("DAF_GOLDEN").map(PathBuf::from) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "DAF_GOLDEN must name the folder of golden numbers in CI"
        );
        eprintln!("skipped: DAF_GOLDEN does not name the folder of golden numbers");
        return;
    };
    let file = folder.join("../weights/efficientnet_lite0.safetensors");
    let golden = folder.join("backbones/efficientnet_lite0.safetensors");
    let golden: HashMap<String, Tensor> = weights::read(&golden).unwrap().into_iter().collect();
    let (vars, network) = build(3, Mode::Infer, Precision::Float32);
    weights::load_below(&vars, "", &weights::read(&file).unwrap(), &file).unwrap();
    let found = tch::no_grad(|| network.extract(&golden["input"]));
    for (features, name) in found.iter().zip(["block2", "block4", "block10"]) {
        let error = far(features, &golden[name]);
        assert!(error < 1e-4, "{name}: {error:.1e}");
    }
}
