use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment of a training: a number of epochs or steps from its start, in the unit of its length, or a share of the
/// length, such as `80 %`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Milestone {
    /// Number of epochs or steps.
    After(u64),
    /// Hundredths of the length, 0 to 100.
    Percent(f64),
}

impl Milestone {
    /// The moment in a training of this length, rounded down.
    #[must_use]
    pub fn of(self, length: u64) -> u64 {
        match self {
            Self::After(moment) => moment,
            // Of a product slightly under a whole number, the whole number is meant.
            Self::Percent(percent) => (length as f64 * percent / 100.0 + 1e-9) as u64,
        }
    }
}

impl From<u64> for Milestone {
    fn from(moment: u64) -> Self {
        Self::After(moment)
    }
}

impl Serialize for Milestone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::After(moment) => serializer.serialize_u64(*moment),
            Self::Percent(percent) => serializer.collect_str(&format_args!("{percent} %")),
        }
    }
}

impl<'de> Deserialize<'de> for Milestone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Milestone;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of epochs or steps, or a share such as `80 %`")
            }

            fn visit_u64<E: Error>(self, moment: u64) -> Result<Milestone, E> {
                Ok(Milestone::After(moment))
            }

            fn visit_i64<E: Error>(self, moment: i64) -> Result<Milestone, E> {
                u64::try_from(moment)
                    .map(Milestone::After)
                    .map_err(|_| E::custom(format!("must not be negative, found {moment}")))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Milestone, E> {
                text.strip_suffix('%')
                    .and_then(|number| number.trim().parse().ok())
                    .filter(|percent| (0.0..=100.0).contains(percent))
                    .map(Milestone::Percent)
                    .ok_or_else(|| {
                        E::custom(format!(
                            "expected a number or a share of `0 %` to `100 %`, found `{text}`"
                        ))
                    })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Milestone {
    fn schema_name() -> Cow<'static, str> {
        "Milestone".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9.]+ ?%$" },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_counts_from_the_length() {
        let read = |yaml: &str| serde_json::from_str::<Milestone>(yaml);
        assert_eq!(read("650").unwrap().of(1200), 650);
        assert_eq!(read("\"80 %\"").unwrap().of(700), 560);
        assert_eq!(read("\"12.5%\"").unwrap().of(8), 1);
        assert_eq!(
            serde_json::to_string(&read("\"80%\"").unwrap()).unwrap(),
            "\"80 %\""
        );
        for bad in ["-1", "\"80\"", "\"101 %\"", "\"%\"", "1.5"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
