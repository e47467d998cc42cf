use serde::{Deserialize, Serialize};

/// An axis with the names of its variants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxisNames {
    /// Its name.
    pub name: String,
    /// Their names.
    pub variants: Vec<String>,
}
