//! `run.json`: what made the run, and where its weights come from.

use serde::{Deserialize, Serialize};

/// `run.json`: what made the run, for whoever has to reproduce it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of daf-core.
    pub daf: String,
    /// Version of libtorch that the program was written for.
    pub libtorch: String,
    /// Device that `device: auto` came to.
    pub device: String,
    /// libtorch's threads; results are the same bit for bit for the same number only.
    pub threads: i32,
    /// Every part that was linked, as `kind/name` and `crate version`.
    pub parts: Vec<(String, String)>,
}

/// Where the weights of a network started from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The network's role in the method, e.g. `teacher`.
    pub network: String,
    /// A file, or why the weights are random.
    pub weights: String,
}
