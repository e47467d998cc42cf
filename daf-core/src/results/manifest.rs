//! `run.json`: what made the run, and where its weights come from.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `run.json`: what made the run, for whoever has to reproduce it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of daf-core.
    pub daf: String,
    /// Version of the libtorch in use.
    pub libtorch: String,
    /// Device that `device: auto` came to.
    pub device: String,
    /// libtorch's threads; results are the same bit for bit for the same number only.
    pub threads: i32,
    /// Folder that relative paths in the run's pipeline are relative to: the one that it was started in. Runs
    /// of former versions do not say.
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// The recipe that the pipeline was made with, for information: its settings stand in the run's pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// Directory of the run that its trained weights come from, if it was only fitted to more images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fitted_from: Option<PathBuf>,
    /// Every part that was linked, as `kind/name` and `crate version`.
    pub parts: Vec<(String, String)>,
}

/// `shortened.json`: a training that was ended before its last step. Its settings name the whole of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortened {
    /// Steps that were learned.
    pub steps: u64,
    /// Steps that the settings ask for.
    pub of: u64,
}

impl fmt::Display for Shortened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended early, after {} of {} steps", self.steps, self.of)
    }
}

/// Origin of a network's initial weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The network's role in the method, e.g. `teacher`.
    pub network: String,
    /// A file, or why the weights are random.
    pub weights: String,
}
