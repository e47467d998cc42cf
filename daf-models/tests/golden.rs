//! Agreement with numbers from the official implementation, read from the folder that `DAF_GOLDEN` names.
//!
//! In CI a missing folder is a failure, elsewhere a visible skip.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use daf_core::block::{Mode, Precision};
use daf_core::config::NotNegative;
use daf_core::weights;
use daf_core::{Batch, BuildContext, Comparator, Compared, Method, Model, Postprocessor, Synthesized};
use daf_models::measure::{Cosine, Ssim};
use daf_models::method::{Daf, Mining, Segmentation};
use daf_models::scorer::Gaussian;
use tch::{Device, Kind, Tensor};

type Named = HashMap<String, Tensor>;

/// The folder `model` of the golden numbers, and the teacher's weights beside them.
fn golden() -> Option<(PathBuf, PathBuf)> {
    let Some(folder) = std::env::var_os("DAF_GOLDEN").map(PathBuf::from) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "DAF_GOLDEN must name the folder of golden numbers in CI"
        );
        eprintln!("skipped: DAF_GOLDEN does not name the folder of golden numbers");
        return None;
    };
    let teacher = folder.join("../weights/resnet18-imagenet-stages1to3.safetensors");
    assert!(teacher.is_file(), "{} is missing", teacher.display());
    Some((folder.join("model"), teacher))
}

fn read(path: &Path) -> Named {
    weights::read(path).unwrap().into_iter().collect()
}

/// The default method with the golden weights of `file`.
fn model(file: &Path, teacher: &Path, mode: Mode, mining: Mining) -> Box<dyn Model> {
    let mut recipe = Daf::default();
    if let Segmentation::Mined { mining: default, .. } = &mut recipe.segmentation {
        *default = mining;
    }
    let precision = Precision::Float32;
    let context = BuildContext {
        device: Device::Cpu,
        size: (256, 256),
        mode,
        precision,
        pretrained: None,
    };
    let model = recipe.build(&context).unwrap();
    for store in model.stores() {
        let path = if store.frozen { teacher } else { file };
        weights::load(store.vars, &weights::read(path).unwrap(), path, false).unwrap();
    }
    model
}

fn batch(golden: &Named) -> Batch {
    let mask = golden["mask"].shallow_clone();
    let images = golden["synthetic"].shallow_clone();
    Batch {
        normal: golden["image"].shallow_clone(),
        synthetic: Some(Synthesized {
            images,
            target: mask.copy(),
            mask,
            class: vec![0, 0],
        }),
        indices: vec![0, 1],
        features: None,
    }
}

/// Asserts agreement relative to the largest expected value.
fn assert_close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    let (found, expected) = (
        found.detach().to_kind(Kind::Double),
        expected.to_kind(Kind::Double),
    );
    let found = found.view_as(&expected);
    let largest = expected.abs().max().double_value(&[]).max(1e-12);
    let error = (found - expected).abs().max().double_value(&[]) / largest;
    assert!(
        error <= tolerance,
        "{what}: relative error {error:.2e} over {tolerance:.0e}"
    );
}

#[test]
fn golden_losses_and_gradients_of_a_training_step_agree() {
    let Some((folder, teacher)) = golden() else { return };
    let golden = read(&folder.join("training_step.safetensors"));
    for mining in [Mining::PerPixel, Mining::OfficialBroadcast] {
        let model = model(
            &folder.join("model_init.safetensors"),
            &teacher,
            Mode::Train,
            mining,
        );
        let losses = model.losses(&batch(&golden)).unwrap();
        assert_eq!(losses.len(), 10);
        for (name, loss) in &losses {
            let official = format!("loss.{name}.official_broadcast");
            let plain = format!("loss.{name}");
            let key = if mining == Mining::OfficialBroadcast && golden.contains_key(&official) {
                official
            } else {
                plain
            };
            assert_close(&key, loss, &golden[&key], 1e-5);
        }
        if mining == Mining::OfficialBroadcast {
            continue;
        }
        let total = losses
            .iter()
            .map(|(_, loss)| loss.shallow_clone())
            .reduce(|a, b| a + b)
            .unwrap();
        assert_close("loss.total", &total, &golden["loss.total"], 1e-5);
        total.backward();
        let student = &model.stores()[1];
        assert_eq!(student.name, "student");
        let variables = student.vars.variables();
        let mut compared = 0;
        for (key, expected) in &golden {
            let Some(name) = key.strip_prefix("grad_norm.") else {
                continue;
            };
            assert_close(key, &variables[name].grad().norm(), expected, 1e-3);
            compared += 1;
        }
        assert_eq!(compared, 74);
        for name in [
            "decoder.seg2.deconv.bias",
            "aux.1.conv.bias",
            "aux.2.conv.bias",
            "aux.3.conv.bias",
        ] {
            assert!(
                variables[name].grad().norm().double_value(&[]) < 1e-6,
                "{name} feeds a batch norm"
            );
        }
    }
}

#[test]
fn golden_inference_maps_and_scores_agree() {
    let Some((folder, teacher)) = golden() else { return };
    let golden = read(&folder.join("inference.safetensors"));
    let model = model(
        &folder.join("model_after_step.safetensors"),
        &teacher,
        Mode::Infer,
        Mining::PerPixel,
    );
    tch::no_grad(|| {
        let maps = model.infer(&golden["image"]).unwrap();
        for (number, map) in (1..).zip(&maps.discrepancy) {
            let key = format!("discrepancy.{number}.mean_c");
            assert_close(&key, &map.mean_dim(1, true, Kind::Float), &golden[&key], 1e-4);
        }
        assert_close(
            "probability",
            maps.probability.as_ref().unwrap(),
            &golden["probability"],
            1e-4,
        );
        let raw = Gaussian {
            lambda: NotNegative::new(0.0),
            sigma: NotNegative::new(0.0),
            ..Gaussian::default()
        };
        assert_close(
            "discrepancy.sum",
            &raw.pixels(&maps, (256, 256)).unwrap(),
            &golden["discrepancy.sum"],
            1e-4,
        );
        let scorer = Gaussian::default();
        let scores = scorer.finish(&scorer.pixels(&maps, (256, 256)).unwrap()).unwrap();
        assert_close("score_map", &scores.pixels, &golden["score_map"], 1e-4);
        assert_close("image_score", &scores.images, &golden["image_score"], 1e-4);
    });
}

#[test]
fn golden_measures_alone_agree() {
    let Some((folder, _)) = golden() else { return };
    let golden = read(&folder.join("discrepancy.safetensors"));
    let [teacher, student] = ["teacher", "student"].map(|of| [golden[of].shallow_clone()]);
    let compared = Compared::of(&teacher, &student);
    let map = |measure: &dyn Comparator| measure.compare(&compared).unwrap().remove(0).map;
    let (ssim, cosine) = (map(&Ssim::default()), map(&Cosine::default()));
    // The golden SSIM is the similarity itself, the golden cosine map one minus it, as both measures have it.
    assert_close("ssim_map", &(1.0 - ssim), &golden["ssim_map"], 1e-4);
    assert_close("cosine_map", &cosine, &golden["cosine_map"], 1e-4);
}
