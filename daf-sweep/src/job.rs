//! From pipelines to jobs and back.

use std::path::Path;

use daf_core::config::Layers;
use daf_core::{Error, Result};
use daf_pipeline::Pipeline;
use serde_json::{Map, Value};

use crate::manifest::{Job, SweepManifest, hash};

impl Job {
    /// A job of this pipeline, without a place yet.
    ///
    /// The run directory and the number of threads that prepare images are left out of the job; the memory of
    /// these threads and the interval of checkpoints are left out of its hash: they change nothing that a run
    /// leaves behind. With `smoke`, random weights take the place of published ones, which may have to be
    /// downloaded.
    ///
    /// # Errors
    /// If a part does not serialize.
    pub fn new(mut pipeline: Pipeline, smoke: bool) -> Result<Self> {
        pipeline.output.dir = None;
        pipeline.trainer.workers = None;
        let mut value = serde_json::to_value(&pipeline);
        if let (true, Ok(value)) = (smoke, &mut value) {
            forget_weights(value);
        }
        let pipeline = match value {
            Ok(Value::Object(map)) => map,
            Ok(_) => Map::new(),
            Err(error) => {
                return Err(Error::Config {
                    layer: "pipeline".into(),
                    at: String::new(),
                    reason: format!("cannot be written: {error}"),
                    hint: None,
                });
            }
        };
        Ok(Self {
            hash: hash(&pipeline),
            cells: Vec::new(),
            pipeline,
        })
    }

    /// The pipeline with all its parts.
    ///
    /// # Errors
    /// If a part's crate is not linked, or a part does not work on this machine, e.g. because a folder is missing.
    pub fn pipeline(&self, manifest: &Path) -> Result<Pipeline> {
        let settings = self.pipeline.clone().into_iter();
        let settings = settings.map(|(key, value)| (key, value.into())).collect();
        let job = format!("job {}", self.hash);
        Pipeline::from_layers(&Layers::new("")?.settings(manifest, &job, settings))
    }
}

impl SweepManifest {
    /// Adds a place of the grid: to the job that has this pipeline already, or with a new one.
    pub(crate) fn add(&mut self, cell: Vec<String>, job: Job) {
        match self.jobs.iter_mut().find(|known| known.hash == job.hash) {
            Some(known) => known.cells.push(cell),
            None => self.jobs.push(Job {
                cells: vec![cell],
                ..job
            }),
        }
    }
}

/// Puts random weights in place of published ones, whatever part has them.
fn forget_weights(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if key == "weights"
                    && ["imagenet", "pretrained", "auto"]
                        .iter()
                        .any(|word| value == word)
                {
                    *value = "random".into();
                } else {
                    forget_weights(value);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(forget_weights),
        _ => {}
    }
}
