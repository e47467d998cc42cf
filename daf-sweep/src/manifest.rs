//! The frozen list of a sweep's jobs.

use daf_core::config::FREE_TRAINER_KEYS;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::axis::AxisNames;
use crate::view::View;

/// The jobs of a sweep, and the tables, plots and panels that its file asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepManifest {
    /// Version of daf that planned the sweep.
    pub daf: String,
    /// Name of the sweep.
    pub title: String,
    /// Whether it is the small form of the sweep.
    pub smoke: bool,
    /// The axes with the names of their variants.
    pub axes: Vec<AxisNames>,
    /// The tables, plots and panels.
    pub view: View,
    /// The jobs, in the order of the grid.
    pub jobs: Vec<Job>,
}

/// A pipeline to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// 16 digits of the SHA-256 of the pipeline's content.
    pub hash: String,
    /// The places in the grid that have this pipeline, each with a variant of every axis.
    pub cells: Vec<Vec<String>>,
    /// The pipeline, fully resolved.
    pub pipeline: Map<String, Value>,
}

impl SweepManifest {
    /// A job in words that tell it from the others: the variants of its first place along the axes on which
    /// there are several, and the number of further places that share it.
    #[must_use]
    pub fn describe(&self, job: &Job) -> String {
        let Some(cell) = job.cells.first() else {
            return String::new();
        };
        let first = || self.jobs.iter().filter_map(|job| job.cells.first());
        let mut text = self.words(cell, |axis| {
            first().any(|other| other.get(axis) != cell.get(axis))
        });
        if text.is_empty() {
            text = self.describe_cell(cell);
        }
        if job.cells.len() > 1 {
            text += &format!(" (and {} more)", job.cells.len() - 1);
        }
        text
    }

    /// A place of the grid in words.
    #[must_use]
    pub fn describe_cell(&self, cell: &[String]) -> String {
        self.words(cell, |_| true)
    }

    /// A place of the grid in words, along the axes that are `shown`.
    fn words(&self, cell: &[String], shown: impl Fn(usize) -> bool) -> String {
        let names = self.axes.iter().zip(cell).enumerate();
        let names: Vec<_> = names
            .filter(|(axis, _)| shown(*axis))
            .map(|(_, (axis, variant))| format!("{} {variant}", axis.name))
            .collect();
        names.join(", ")
    }

    /// The first job whose hash is not that of its pipeline.
    pub(crate) fn altered(&self) -> Option<&Job> {
        self.jobs.iter().find(|job| hash(&job.pipeline) != job.hash)
    }
}

/// The hash of a pipeline's content, in whatever order its keys are.
pub(crate) fn hash(pipeline: &Map<String, Value>) -> String {
    let mut text = String::new();
    let mut pipeline = pipeline.clone();
    if let Some(trainer) = pipeline.get_mut("trainer").and_then(Value::as_object_mut) {
        trainer.retain(|key, _| !FREE_TRAINER_KEYS.contains(&key.as_str()));
    }
    write_sorted(&Value::Object(pipeline), &mut text);
    let digest = Sha256::digest(text.as_bytes());
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_sorted(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, value) in entries {
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write_sorted(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(list) => {
            out.push('[');
            for value in list {
                write_sorted(value, out);
                out.push(',');
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_hash_knows_content_and_not_the_order_of_keys() {
        let a = map(r#"{"seed": 1, "data": {"type": "demo", "size": 64}, "list": [1, 2]}"#);
        let b = map(r#"{"list": [1, 2], "data": {"size": 64, "type": "demo"}, "seed": 1}"#);
        assert_eq!(hash(&a), hash(&b));
        for other in [
            r#"{"seed": 1, "data": {"type": "demo", "size": 64}, "list": [2, 1]}"#,
            r#"{"seed": "1", "data": {"type": "demo", "size": 64}, "list": [1, 2]}"#,
            r#"{"seed": 1, "data": {"type": "demo"}, "size": 64, "list": [1, 2]}"#,
            r#"{"seed": 1, "data": {"type": "demo", "size": 64}, "list": [[1, 2]]}"#,
        ] {
            assert_ne!(hash(&a), hash(&map(other)), "{other}");
        }
    }

    proptest! {
        #[test]
        fn the_hash_survives_being_written_and_read(numbers in prop::collection::vec(prop::num::f64::NORMAL, 0..6)) {
            let pipeline = Map::from_iter([("numbers".to_owned(), Value::from(numbers))]);
            let text = serde_json::to_string(&pipeline).unwrap();
            prop_assert_eq!(hash(&map(&text)), hash(&pipeline));
        }
    }
}
