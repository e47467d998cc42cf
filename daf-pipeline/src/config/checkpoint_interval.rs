use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// A span of training: `100 steps`, `2 epochs` or `60 s`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum CheckpointInterval {
    /// Number of steps.
    Steps(u64),
    /// Number of epochs.
    Epochs(u64),
    /// So much time.
    Time(Duration),
}

impl fmt::Display for CheckpointInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{steps} steps"),
            Self::Epochs(epochs) => write!(f, "{epochs} epochs"),
            Self::Time(time) => write!(f, "{} s", time.as_secs_f64()),
        }
    }
}

impl FromStr for CheckpointInterval {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            let number = text.trim().parse::<u64>().ok().filter(|number| *number > 0);
            let unit = number.map_or(String::new(), |number| format!(" (write `{number} steps`)"));
            format!("expected `N steps`, `N epochs` or `N s`, each over 0, found `{text}`{unit}")
        };
        let text_parts: Vec<&str> = text.split_whitespace().collect();
        let [number, unit] = text_parts[..] else {
            return Err(bad());
        };
        match unit {
            "step" | "steps" => number
                .parse()
                .ok()
                .filter(|n| *n > 0)
                .map(Self::Steps)
                .ok_or_else(bad),
            "epoch" | "epochs" => number
                .parse()
                .ok()
                .filter(|n| *n > 0)
                .map(Self::Epochs)
                .ok_or_else(bad),
            "s" => number
                .parse()
                .ok()
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .filter(|time| !time.is_zero())
                .map(Self::Time)
                .ok_or_else(bad),
            _ => Err(bad()),
        }
    }
}

impl From<CheckpointInterval> for String {
    fn from(every: CheckpointInterval) -> Self {
        every.to_string()
    }
}

impl TryFrom<String> for CheckpointInterval {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl JsonSchema for CheckpointInterval {
    fn schema_name() -> Cow<'static, str> {
        "CheckpointInterval".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9.]+ (steps?|epochs?|s)$" })
    }
}
