//! The program scores with a trained run.

use std::fs;
use std::path::Path;
use std::process::Command;

use daf_core::config::Layers;
use daf_core::weights::WeightFolders;
use daf_core::{tch, threads};
use daf_data as _;
use daf_pipeline::train::train;
use daf_pipeline::{Pipeline, Run};
use daf_synth as _;

const PIPELINE: &str = "
data: { type: demo, size: 64, train: 2 }
input: { size: 96 }
method: { teacher: { weights: random } }
trainer: { steps: 1, batch_size: 2 }
device: cpu
";

/// Output of the program for the run in a folder.
fn scored(run: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_daf-embed"))
        .arg(run)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Copies files and folders of a run.
fn copy(from: &Path, to: &Path, names: &[&str]) {
    fs::create_dir_all(to).unwrap();
    for name in names {
        if from.join(name).is_file() {
            fs::copy(from.join(name), to.join(name)).unwrap();
            continue;
        }
        let files = fs::read_dir(from.join(name)).unwrap();
        let files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        let files: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
        copy(&from.join(name), &to.join(name), &files);
    }
}

#[test]
fn an_image_in_memory_gets_a_score_from_what_a_run_keeps_of_its_model() {
    let folder = tempfile::tempdir().unwrap();
    let (file, dir) = (folder.path().join("p.yaml"), folder.path().join("run"));
    fs::write(&file, PIPELINE).unwrap();
    let layers = Layers::new(daf_models::DEFAULTS).unwrap().file(&file).unwrap();
    let run = Run::create(&dir, Pipeline::from_layers(&layers).unwrap()).unwrap();
    let nowhere = WeightFolders {
        user: None,
        cache: folder.path().into(),
        progress: None,
    };
    train(&run, &nowhere, &mut ()).unwrap();
    let out = scored(&dir);
    let score = out
        .strip_prefix("score ")
        .and_then(|rest| rest.split(',').next())
        .unwrap();
    assert!(score.parse::<f64>().unwrap().is_finite(), "{out}");
    // All that detecting reads, and what runs had before there was a model.yaml.
    let (model, before) = (folder.path().join("model"), folder.path().join("before"));
    copy(&dir, &model, &["model.yaml", "calibration.json", "weights"]);
    copy(
        &dir,
        &before,
        &["config.yaml", "run.json", "calibration.json", "weights"],
    );
    assert_eq!(scored(&model), out);
    assert_eq!(scored(&before), out);
    // This process has not asked daf to decide on threads.
    assert!(!threads::in_pairs(tch::Device::Cpu));
}
