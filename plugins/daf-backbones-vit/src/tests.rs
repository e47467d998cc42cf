use std::collections::HashMap;
use std::path::PathBuf;

use daf_core::block::{Init, Mode, Precision};
use daf_core::macs::count;
use daf_core::tch::nn::VarStore;
use daf_core::tch::{self, Device, Kind};
use daf_core::weights::{self, WeightFolders};

use super::*;

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

fn small(blocks: &[usize]) -> VitS14 {
    VitS14 {
        weights: Weights::Random,
        blocks: blocks.to_vec(),
    }
}

fn build(part: &dyn Backbone, mode: Mode, precision: Precision) -> (VarStore, Box<dyn Extractor>) {
    let vars = VarStore::new(Device::Cpu);
    let blocks = Blocks::new(vars.root(), mode, Init::FanOut, precision);
    let network = part.build_checked(&blocks).unwrap();
    (vars, network)
}

fn far(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    ((found - expected).abs().max() / expected.abs().max()).double_value(&[])
}

#[test]
fn the_whole_small_network_has_as_many_parameters_as_dinov2s() {
    let (vars, _network) = build(&small(&[12]), Mode::Train, Precision::Float32);
    let trained = vars.trainable_variables();
    let found: i64 = trained.iter().map(|variable| variable.numel() as i64).sum();
    // DINOv2's count is 22,056,576; 384 of them are the mask token, 768 the last layer norm.
    assert_eq!(found + 384 + 768, 22_056_576);
}

#[test]
fn the_larger_sizes_have_dinov2s_blocks() {
    let parts: [(&dyn Backbone, i64); 2] = [(&VitB14::default(), 768), (&VitL14::default(), 1024)];
    for (part, width) in parts {
        let stage = Stage {
            channels: width,
            stride: 14,
        };
        assert_eq!(part.stages(), [stage; 2]);
        assert_eq!(part.global_channels(), Some(width));
    }
    let part = VitB14 {
        weights: Weights::Random,
        blocks: vec![1],
    };
    let (vars, _network) = build(&part, Mode::Infer, Precision::Float32);
    let found = vars.variables();
    for (name, shape) in [
        ("cls_token", &[1, 1, 768][..]),
        ("pos_embed", &[1, 1370, 768]),
        ("patch_embed.proj.weight", &[768, 3, 14, 14]),
        ("blocks.0.attn.qkv.weight", &[2304, 768]),
        ("blocks.0.attn.proj.bias", &[768]),
        ("blocks.0.ls1.gamma", &[768]),
        ("blocks.0.mlp.fc1.weight", &[3072, 768]),
        ("blocks.0.norm2.bias", &[768]),
    ] {
        assert_eq!(
            found.get(name).map(Tensor::size).as_deref(),
            Some(shape),
            "{name}"
        );
    }
    assert!(
        !found.keys().any(|name| name.starts_with("blocks.1.")),
        "deeper than needed"
    );
}

#[test]
fn any_multiples_of_14_are_taken_in_both_modes_and_precisions() {
    tch::set_num_threads(1);
    let part = small(&[1, 3]);
    for (mode, precision) in [
        (Mode::Train, Precision::Float32),
        (Mode::Infer, Precision::Float32),
        (Mode::Infer, Precision::Bf16),
    ] {
        let (_vars, network) = build(&part, mode, precision);
        for (height, width) in [(14, 14), (56, 98), (518, 14)] {
            let images = Tensor::randn([2, 3, height, width], FLOAT);
            let (found, global) = tch::no_grad(|| network.extract_with_global(&images));
            for features in found.iter().chain(&global) {
                assert_eq!(features.kind(), Kind::Float);
                assert_eq!(features.isfinite().all().int64_value(&[]), 1);
            }
            assert_eq!(found[1].size(), [2, 384, height / 14, width / 14]);
        }
        // Sides that are no multiples lose their last rows and columns.
        let found = tch::no_grad(|| network.extract(&Tensor::randn([1, 3, 30, 45], FLOAT)));
        assert_eq!(found[0].size(), [1, 384, 2, 3]);
    }
    let part: &dyn Backbone = &part;
    assert_eq!(part.stride(), 14);
}

#[test]
fn in_bfloat16_features_are_those_of_float32_to_a_hundredth() {
    tch::set_num_threads(1);
    let part = small(&[1, 2]);
    let (vars, exact) = build(&part, Mode::Infer, Precision::Float32);
    let (coarse_vars, coarse) = build(&part, Mode::Infer, Precision::Bf16);
    let path = std::path::Path::new("other.safetensors");
    weights::load(&coarse_vars, &weights::named(&vars), path, true).unwrap();
    let images = Tensor::randn([1, 3, 56, 56], FLOAT);
    let [exact, coarse] = [exact, coarse].map(|network| tch::no_grad(|| network.extract(&images)));
    for (exact, coarse) in exact.iter().zip(&coarse) {
        let error = far(coarse, exact);
        assert!(error < 0.02, "{error}");
    }
}

#[test]
fn blocks_that_do_not_exist_or_do_not_rise_are_refused() {
    for blocks in [&[][..], &[0], &[13], &[6, 6], &[9, 6], &[1, usize::MAX]] {
        let error = small(blocks).check().unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "`blocks` must be one or more of 1 to 12, each greater than the one before, found {blocks:?}"
            )
        );
    }
    small(&[1, 2, 12]).check().unwrap();
    let large = VitL14 {
        weights: Weights::Random,
        blocks: vec![24],
    };
    large.check().unwrap();
}

#[test]
fn positions_are_resampled_as_plain_loops_of_cubic_convolution_do() {
    let blocks = VarStore::new(Device::Cpu);
    let root = Blocks::new(blocks.root(), Mode::Infer, Init::FanOut, Precision::Float32);
    let network = Transformer::new(&root, 64, &[]);
    let own = |y: i64, x: i64, c: i64| {
        let at = |side: i64| side.clamp(0, 36);
        blocks.variables()["pos_embed"].double_value(&[0, 1 + at(y) * 37 + at(x), c])
    };
    // Keys' kernel with a = -0.75, as in OpenCV and PyTorch.
    let kernel = |t: f64| {
        let (t, a) = (t.abs(), -0.75);
        match t {
            ..=1.0 => (a + 2.0) * t.powi(3) - (a + 3.0) * t.powi(2) + 1.0,
            ..2.0 => a * t.powi(3) - 5.0 * a * t.powi(2) + 8.0 * a * t - 4.0 * a,
            _ => 0.0,
        }
    };
    let (h, w) = (5, 16);
    let found = tch::no_grad(|| network.positions(h, w));
    assert_eq!(found.size(), [1, 1 + h * w, 64]);
    for (y, x, c) in [(0, 0, 0), (2, 7, 1), (4, 15, 63), (3, 0, 5)] {
        let place = |of: i64, number: i64| (of as f64 + 0.5) * 37.0 / number as f64 - 0.5;
        let (py, px) = (place(y, h), place(x, w));
        let (top, left) = (py.floor() as i64, px.floor() as i64);
        let mut expected = 0.0;
        for row in top - 1..=top + 2 {
            for column in left - 1..=left + 2 {
                let weight = kernel(py - row as f64) * kernel(px - column as f64);
                expected += weight * own(row, column, c);
            }
        }
        let found = found.double_value(&[0, 1 + y * w + x, c]);
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    // The class token's own, and those of the size that the network was trained with, stay as they are.
    assert_eq!(
        found.double_value(&[0, 0, 3]),
        blocks.variables()["pos_embed"].double_value(&[0, 0, 3])
    );
    assert_eq!(network.positions(37, 37), blocks.variables()["pos_embed"]);
}

#[test]
fn layers_that_are_built_and_those_behind_them_are_always_the_whole_network() {
    tch::set_num_threads(1);
    let images = Tensor::zeros([1, 3, 28, 42], FLOAT);
    let whole = |blocks: &[usize]| {
        let part = small(blocks);
        let (_vars, network) = build(&part, Mode::Infer, Precision::Float32);
        let (_, counted) = count(|| tch::no_grad(|| network.extract(&images)));
        counted.carried_out + part.layers_behind((28, 42))
    };
    let all = whole(&[12]);
    for blocks in [&[1][..], &[3, 6], &[6, 9]] {
        assert_eq!(whole(blocks), all, "{blocks:?}");
    }
}

#[test]
fn a_student_learns_with_all_its_parameters() {
    let (vars, network) = build(&small(&[1, 2]), Mode::Train, Precision::Float32);
    let (features, global) = network.extract_with_global(&Tensor::randn([2, 3, 28, 42], FLOAT));
    let all: Vec<Tensor> = features
        .iter()
        .chain(&global)
        .map(|features| features.square().mean(Kind::Float))
        .collect();
    Tensor::stack(&all, 0).sum(Kind::Float).backward();
    for (name, variable) in vars.variables() {
        let gradient = variable.grad();
        assert!(gradient.defined(), "{name}");
        assert_eq!(gradient.isfinite().all().int64_value(&[]), 1, "{name}");
    }
}

/// Tensors with Hugging Face's names for those of a network, which are below `prefix`.
fn theirs(own: &[(String, Tensor)], prefix: &str) -> Vec<(String, Tensor)> {
    let mut found = Vec::new();
    for (name, tensor) in own {
        let words: Vec<&str> = name.split('.').collect();
        let name = match words[..] {
            ["cls_token"] => "embeddings.cls_token".into(),
            ["pos_embed"] => "embeddings.position_embeddings".into(),
            ["patch_embed", "proj", last] => format!("embeddings.patch_embeddings.projection.{last}"),
            ["blocks", number, "attn", "qkv", last] => {
                for (part, tensor) in ["query", "key", "value"].iter().zip(tensor.chunk(3, 0)) {
                    let name = format!("{prefix}encoder.layer.{number}.attention.attention.{part}.{last}");
                    found.push((name, tensor));
                }
                continue;
            }
            ["blocks", number, "attn", "proj", last] => {
                format!("encoder.layer.{number}.attention.output.dense.{last}")
            }
            ["blocks", number, "ls1", "gamma"] => format!("encoder.layer.{number}.layer_scale1.lambda1"),
            ["blocks", number, "ls2", "gamma"] => format!("encoder.layer.{number}.layer_scale2.lambda1"),
            ["blocks", number, ref rest @ ..] => format!("encoder.layer.{number}.{}", rest.join(".")),
            _ => panic!("{name}"),
        };
        found.push((format!("{prefix}{name}"), tensor.shallow_clone()));
    }
    found
}

#[test]
fn files_of_either_names_give_the_same_network() {
    tch::set_num_threads(1);
    let part = small(&[2]);
    let (vars, network) = build(&part, Mode::Infer, Precision::Float32);
    let own = weights::named(&vars);
    let images = Tensor::randn([1, 3, 28, 28], FLOAT);
    let expected = tch::no_grad(|| network.extract(&images));
    let path = std::path::Path::new("other.safetensors");
    let files = [
        own.iter()
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect(),
        theirs(&own, ""),
        theirs(&own, "dinov2."),
    ];
    for file in files {
        let (vars, network) = build(&part, Mode::Infer, Precision::Float32);
        let part: &dyn Backbone = &part;
        weights::load_below(&vars, "", &part.translate_checked(file).unwrap(), path).unwrap();
        assert_eq!(tch::no_grad(|| network.extract(&images)), expected);
    }
}

#[test]
fn a_file_without_keys_or_of_another_width_is_refused_by_name() {
    let part = small(&[1]);
    let (vars, _network) = build(&part, Mode::Infer, Precision::Float32);
    let path = std::path::Path::new("other.safetensors");
    let refused = |tensors| {
        let tensors = part.translate(tensors).unwrap();
        let error = weights::load_below(&vars, "", &tensors, path).unwrap_err();
        error.to_string()
    };
    let own = weights::named(&vars);
    let without: Vec<_> = theirs(&own, "")
        .into_iter()
        .filter(|(name, _)| !name.ends_with("attention.key.weight"))
        .collect();
    let error = refused(without);
    assert!(
        error.contains("`blocks.0.attn.qkv.weight` should be [1152, 384] but is [384, 384]"),
        "{error}"
    );
    let odd: Vec<_> = theirs(&own, "")
        .into_iter()
        .map(|(name, tensor)| {
            let cut = name.ends_with("attention.value.weight");
            (name, if cut { tensor.narrow(1, 0, 7) } else { tensor })
        })
        .collect();
    assert!(refused(odd).contains("blocks.0.attn.qkv.weight"));
    assert!(refused(Vec::new()).contains("is missing"));
}

/// The folder of golden numbers, if there is one.
fn golden() -> Option<PathBuf> {
    let folder = std::env::var_os("DAF_GOLDEN").map(PathBuf::from);
    if folder.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "DAF_GOLDEN must name the folder of golden numbers in CI"
        );
        eprintln!("skipped: DAF_GOLDEN does not name the folder of golden numbers");
    }
    folder
}

#[test]
fn golden_tokens_of_square_and_oblong_images_agree() {
    let Some(folder) = golden() else { return };
    let expected = weights::read(&folder.join("backbones/vit_s14.safetensors")).unwrap();
    let expected: HashMap<String, Tensor> = expected.into_iter().collect();
    let part = small(&[3, 6, 9]);
    let (vars, network) = build(&part, Mode::Infer, Precision::Float32);
    // Found by the name of the network, as `weights: pretrained` finds it.
    let folders = WeightFolders {
        user: Some(folder.join("../weights")),
        cache: folder.clone(),
        progress: None,
    };
    let file = folders.resolve(&Weights::Pretrained, part.pretrained().as_ref(), VitS14::NAME);
    let file = file.unwrap().unwrap();
    let tensors = part.translate(weights::read(&file).unwrap()).unwrap();
    weights::load_below(&vars, "", &tensors, &file).unwrap();
    for image in ["square", "oblong"] {
        let images = &expected[&format!("{image}.input")];
        let (found, global) = tch::no_grad(|| network.extract_with_global(images));
        for (features, block) in found.iter().zip([3, 6, 9]) {
            let tokens = &expected[&format!("{image}.block{block}")];
            let patches = features.flatten(2, 3).transpose(1, 2);
            let error = far(&patches, &tokens.narrow(1, 1, tokens.size()[1] - 1));
            assert!(error < 1e-4, "{image}, block {block}: {error:.1e}");
        }
        let error = far(
            &global.unwrap(),
            &expected[&format!("{image}.block9")].select(1, 0),
        );
        assert!(error < 1e-4, "{image}, class token: {error:.1e}");
    }
}
