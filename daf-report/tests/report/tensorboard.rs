//! Event files as the real TensorBoard reads them. `DAF_TENSORBOARD` names a Python that has it; without the variable
//! `python3` is tried, and the test is skipped, visibly, where that has no TensorBoard.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use daf_core::observer::{Observer, Plan};
use daf_core::results::Record;
use daf_report::events::{TrainingEvents, write_metrics};

use crate::drawn::{self, Noise};

/// Steps and values of every tag.
type Scalars = BTreeMap<String, Vec<(u64, f64)>>;

const READ: &str = "
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0})
events.Reload()
print(json.dumps({tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()['scalars']}))
";

fn python() -> Option<String> {
    let named = std::env::var("DAF_TENSORBOARD").ok();
    let python = named.clone().unwrap_or_else(|| "python3".into());
    let output = Command::new(&python).args(["-c", "import tensorboard"]).output();
    let found = output.is_ok_and(|output| output.status.success());
    assert!(
        found || named.is_none(),
        "DAF_TENSORBOARD={python} cannot import tensorboard"
    );
    found.then_some(python)
}

fn read(python: &str, dir: &Path) -> Scalars {
    let output = Command::new(python)
        .arg("-c")
        .arg(READ)
        .arg(dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn watch(dir: &Path, done: u64, records: &[Record]) {
    let mut observer = TrainingEvents::new(dir.into());
    observer.started(&Plan {
        images: 8,
        steps: 12,
        done,
        batch_size: 4,
    });
    records.iter().for_each(|record| observer.stepped(record));
    assert!(observer.failure().is_none());
}

#[test]
fn tensorboard_reads_one_line_from_a_training_that_was_resumed() {
    let Some(python) = python() else {
        eprintln!("skipped: no TensorBoard; DAF_TENSORBOARD can name a Python that has it");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut run = drawn::run(folder.path(), 6, 1);
    // Killed after step 9; the last checkpoint was after step 5.
    let first = drawn::history(10, &mut Noise::new(5));
    let second = drawn::history(12, &mut Noise::new(6));
    watch(folder.path(), 0, &first);
    watch(folder.path(), 6, &second[6..]);
    run.history = [&first[..6], &second[6..]].concat();
    // Evaluated twice.
    write_metrics(&run).unwrap();
    write_metrics(&run).unwrap();

    let found = read(&python, folder.path());
    let names = [
        "learning_rate",
        "images_per_second",
        "loss/total",
        "loss/cosine.layer1",
        "loss/seg",
        "metrics/image_auroc",
    ];
    assert!(
        names.iter().all(|name| found.contains_key(*name)),
        "{:?}",
        found.keys()
    );
    let expected: Vec<(u64, f64)> = run
        .history
        .iter()
        .map(|record| (record.step, f64::from(record.loss as f32)))
        .collect();
    assert_eq!(found["loss/total"], expected);
    let rates: Vec<f64> = run
        .history
        .iter()
        .map(|record| f64::from((4.0 / record.seconds) as f32))
        .collect();
    assert_eq!(
        found["images_per_second"]
            .iter()
            .map(|(_, rate)| *rate)
            .collect::<Vec<_>>(),
        rates
    );
    let auroc = run.metrics.unwrap().overall.image_auroc.number().unwrap();
    assert_eq!(found["metrics/image_auroc"], [(12, f64::from(auroc as f32))]);
    // What is not available is not there.
    assert!(!found.contains_key("metrics/aupimo"));
}
