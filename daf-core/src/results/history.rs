//! `history.jsonl`: one line per step.

use serde::{Deserialize, Serialize};

/// Record of one training step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Counted from 0.
    pub step: u64,
    /// Counted from 0.
    pub epoch: u64,
    /// The rate of this step.
    pub learning_rate: f64,
    /// Sum of the terms.
    pub loss: f64,
    /// Loss terms by name.
    #[serde(with = "terms")]
    pub terms: Vec<(String, f64)>,
    /// Wall time of the step, waiting for data included.
    pub seconds: f64,
    /// Part of it that was spent waiting for data and putting the batch together.
    pub loading: f64,
}

mod terms {
    //! Loss terms as a map, in their own order.
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        terms: &[(String, f64)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(terms.iter().map(|(name, value)| (name, value)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(String, f64)>, D::Error> {
        let map = serde_json::Map::deserialize(deserializer)?;
        map.into_iter()
            .map(|(name, value)| {
                let number = value
                    .as_f64()
                    .ok_or_else(|| D::Error::custom(format!("`{name}` is not a number")))?;
                Ok((name, number))
            })
            .collect()
    }
}
