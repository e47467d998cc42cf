//! Hostile bytes in place of a text or of weights are read or refused by name: nothing panics, hangs or fills memory.

use std::error::Error;
use std::fs;
use std::path::Path;

use daf_core::calibration::{Basis, Calibration, Chosen, Scale, Source, ThresholdRule};
use daf_core::config::Layers;
use daf_core::results::Results;
use daf_core::{Dataset, Split, weights};
use daf_data::Manifest;
use daf_pipeline::{Pipeline, Run};
use daf_sweep::{PlanOptions, SweepFile};
use daf_tests::withstands;
use tch::{Device, Kind, Tensor};

use crate::program::SMALL;

const MERGED: &str = "\
x-common: &common { batch_size: 2, workers: 1 }
data: { type: manifest, file: 01.csv }
trainer:
  <<: *common
  optimizer: { type: adam, learning_rate: 2e-4, betas: [0.9, 0.999] }
  schedule: { warmup: 10 %, milestones: [3, 80 %] }
  checkpoint_every: 60 s
synthesizer: { type: nsa, preset: screw }
scorer: { type: gaussian, sigma: 4 }
";

const SWEEP: &str = "\
title: Strategies
base: { data: { type: demo, size: 64 }, trainer: { steps: 3 } }
axes:
  data.kind: [wood, washer]
  strategy:
    DRA: { synthesizer: { type: dra, opacity: [0.1, 0.2] } }
    none: { synthesizer: null, smoke: { seed: 3 } }
  seed: [7, 08]
exclude: [{ strategy: none, seed: 7 }]
tables: [{ title: T, rows: [strategy], columns: [data.kind] }]
";

fn defaults() -> Layers {
    Layers::new(daf_models::DEFAULTS).unwrap()
}

/// An error with its causes.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// Writes the document to `path`, reads it and tells of the error.
fn reading<T, E: Error>(
    path: &Path,
    read: impl Fn() -> Result<T, E>,
) -> impl FnMut(&[u8]) -> Result<(), String> {
    move |bytes| {
        fs::write(path, bytes).unwrap();
        read().map(drop).map_err(|error| told(&error))
    }
}

#[test]
fn pipelines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.yaml");
    let read = || {
        defaults()
            .file(&path)
            .and_then(|layers| Pipeline::from_layers(&layers))
    };
    let documents = [
        SMALL.as_bytes(),
        MERGED.as_bytes(),
        daf_models::DEFAULTS.as_bytes(),
    ];
    // A GPU that is not there is no fault of the file.
    let mut read = reading(&path, read);
    let read =
        |bytes: &[u8]| read(bytes).map_err(|message| message.replace("this machine: device", "hostile.yaml"));
    withstands("pipelines", "hostile.yaml", &documents, read);
}

#[test]
fn sweeps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.yaml");
    let plan = PlanOptions {
        defaults: daf_models::DEFAULTS,
        ..PlanOptions::default()
    };
    let read = || SweepFile::read(&path);
    withstands(
        "sweeps",
        "hostile.yaml",
        &[SWEEP.as_bytes(), MERGED.as_bytes()],
        |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let file = read().map_err(|error| told(&error))?;
            let places: usize = file.axes().iter().map(|axis| axis.variants.len()).product();
            if places < 50 {
                // What is wrong with a job may be in any layer.
                let _ = file.plan(&plan);
            }
            Ok(())
        },
    );
}

#[test]
fn arguments() {
    let documents: [&[u8]; 5] = [
        b"synthesizer.opacity=[0.2, 0.8]",
        b"method.discrepancy.of[0].type=cosine",
        b"trainer={ optimizer: { type: sgd, learning_rate: 1e-3 }, steps: 3 }",
        b"data={ type: demo }",
        b"input.size=256",
    ];
    withstands("arguments", "--set", &documents, |bytes: &[u8]| {
        let argument = String::from_utf8_lossy(bytes);
        let layers = defaults().set([&argument]).map_err(|error| told(&error))?;
        let _ = Pipeline::from_layers(&layers);
        Ok(())
    });
}

#[test]
fn variables() {
    let documents: [&[u8]; 4] = [
        b"DAF__TRAINER__STEPS=600",
        b"DAF__DATA__CATEGORY=01",
        b"DAF__SYNTHESIZER__TYPE=dra",
        b"DAF__METHOD__TEACHER__WEIGHTS=random",
    ];
    withstands("variables", "environment DAF__", &documents, |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        let layers = defaults().environment([(name.to_owned(), value.to_owned())]);
        let layers = layers.map_err(|error| told(&error))?;
        let _ = Pipeline::from_layers(&layers);
        Ok(())
    });
}

#[test]
fn manifests() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.csv");
    let table = b"path,split,label,mask\na.png,train,good,\n\"b,c.png\",test,bent,m.png\nd.png,test,good,\n";
    let read = || {
        let dataset: Manifest = serde_json::from_value(serde_json::json!({ "file": path })).unwrap();
        dataset.items(Split::Train)?;
        dataset.items(Split::Test)
    };
    withstands("manifests", "hostile.csv", &[table], |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        read().map(drop).map_err(|error| told(&*error))
    });
}

/// The files of a run, as a training and an evaluation write them.
fn run_files() -> Vec<(&'static str, String)> {
    let scale = Scale {
        median: 0.25,
        threshold: 0.5,
    };
    let calibration = Calibration {
        image: Chosen::Scale(scale),
        pixel: Chosen::Scale(scale),
        basis: Basis {
            rule: ThresholdRule::ExtremeValue,
            source: Source::HeldOut,
            normal_images: 12,
            anomalous_images: 0,
            false_alarms: 0.01,
        },
    };
    let metrics = serde_json::json!({
        "normal": 1, "anomalous": 1, "image_auroc": 1.0, "image_ap": 0.5, "image_f1_max": 0.5, "pixel_auroc": 0.5,
        "pixel_pro": { "unavailable": "no mask" }, "pixel_ap": 0.5, "pixel_f1_max": 0.5, "pixel_iou_max": 0.5, "aupimo": 0.5,
    });
    vec![
        ("config.yaml", format!("{SMALL}{}", daf_models::DEFAULTS.replace("synthesizer: { type: dra }", ""))),
        (
            "run.json",
            serde_json::json!({
                "daf": "0.1.0", "libtorch": "2", "device": "cpu", "threads": 1, "parts": [["dataset/demo", "daf-data 0.1.0"]],
            })
            .to_string(),
        ),
        (
            "history.jsonl",
            "{\"step\":0,\"epoch\":0,\"learning_rate\":1e-4,\"loss\":0.5,\"terms\":{\"a\":0.5},\"seconds\":1,\"loading\":0}\n"
                .repeat(3),
        ),
        ("calibration.json", serde_json::to_string(&calibration).unwrap()),
        (
            "metrics.json",
            serde_json::json!({
                "overall": metrics, "intervals": {}, "by_category": {}, "mean": null, "by_defect": { "bent": metrics },
                "at_threshold": null, "calibration": calibration, "colours": scale, "weights": [], "size": [64, 64],
                "mask_rule": "nearest", "pro_limit": 0.3, "without_mask": 0, "pixel_error": null, "images_per_second": 3.5,
                "multiply_adds": { "defined": 5, "carried_out": 4 },
            })
            .to_string(),
        ),
        ("curves.json", "{\"image\":[],\"pixel\":[]}".to_owned()),
        (
            "predictions.csv",
            "image,category,label,score,calibrated,aupimo,picture\na.png,,good,0.5,,,\n\"b,c.png\",x,\"dent, cut\",1e-3,0.5,0.1,maps/b.png\n"
                .to_owned(),
        ),
    ]
}

#[test]
fn files_of_runs() {
    let files = run_files();
    let others: Vec<&[u8]> = files.iter().map(|(_, text)| text.as_bytes()).collect();
    for (name, text) in &files {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in &files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let path = folder.path().join(name);
        let documents: Vec<&[u8]> = std::iter::once(text.as_bytes())
            .chain(others.iter().copied())
            .collect();
        withstands(
            name,
            name,
            &documents,
            reading(&path, || Results::read(folder.path())),
        );
        if *name == "config.yaml" {
            let read = reading(&path, || Run::open(folder.path()));
            withstands("the pipeline of a run", "", &documents, read);
        }
    }
}

#[test]
fn weights_in_both_formats() {
    let folder = tempfile::tempdir().unwrap();
    let pickled = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/state_dict.pth")).unwrap();
    let path = folder.path().join("hostile.pth");
    withstands(
        "pickled weights",
        "hostile.pth",
        &[&pickled],
        reading(&path, || weights::read(&path)),
    );

    let path = folder.path().join("hostile.safetensors");
    let tensor = || Tensor::arange(6, (Kind::Float, Device::Cpu)).reshape([2, 3]);
    weights::write(
        &path,
        vec![("a.weight".into(), tensor()), ("a.bias".into(), tensor())],
    )
    .unwrap();
    let safe = fs::read(&path).unwrap();
    withstands(
        "safetensors",
        "hostile.safetensors",
        &[&safe],
        reading(&path, || weights::read(&path)),
    );
}
