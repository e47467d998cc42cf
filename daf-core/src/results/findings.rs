//! `findings.json`: what was found in the images that the run learned from and was measured with.

use serde::{Deserialize, Serialize};

/// Findings of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The kind, as `daf-cli data check --json` has it.
    pub kind: String,
    /// Number of findings.
    pub count: usize,
    /// The first of them, each a sentence.
    pub first: Vec<String>,
}
