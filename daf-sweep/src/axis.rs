use serde::{Deserialize, Serialize};

/// An axis with the names of its variants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxisNames {
    /// Name of the axis.
    pub name: String,
    /// Names of its variants.
    pub variants: Vec<String>,
}
