//! The program scores with a trained run.

use std::process::Command;

use daf_core::config::Layers;
use daf_core::weights::WeightFolders;
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

#[test]
fn an_image_in_memory_gets_a_score() {
    let folder = tempfile::tempdir().unwrap();
    let (file, dir) = (folder.path().join("p.yaml"), folder.path().join("run"));
    std::fs::write(&file, PIPELINE).unwrap();
    let layers = Layers::new(daf_models::DEFAULTS).unwrap().file(&file).unwrap();
    let run = Run::create(&dir, Pipeline::from_layers(&layers).unwrap()).unwrap();
    let nowhere = WeightFolders {
        user: None,
        cache: folder.path().into(),
        progress: None,
    };
    train(&run, &nowhere, &mut ()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_daf-embed"))
        .arg(&dir)
        .output()
        .unwrap();
    let (out, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{error}");
    let score = out
        .strip_prefix("score ")
        .and_then(|rest| rest.split(',').next())
        .unwrap();
    assert!(score.parse::<f64>().unwrap().is_finite(), "{out}");
}
