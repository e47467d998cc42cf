//! Numbers of settings within bounds, which the JSON schema of a pipeline tells as well.

// `contains` of a range is not constant.
#![allow(clippy::manual_range_contains)]

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

macro_rules! range {
    ($(#[$doc:meta])* $name:ident($number:ty) = $expected:literal, |$value:ident| $within:expr, $schema:tt) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
        pub struct $name($number);

        impl $name {
            /// A value in the code: one out of range does not compile in a constant, and panics elsewhere. Settings are
            /// read by serde, and other values converted by `try_from`.
            ///
            /// # Panics
            /// If the value is out of range.
            #[must_use]
            pub const fn new($value: $number) -> Self {
                assert!($within, $expected);
                Self($value)
            }
        }

        impl TryFrom<$number> for $name {
            type Error = String;

            fn try_from($value: $number) -> Result<Self, String> {
                if $within {
                    Ok(Self($value))
                } else {
                    Err(format!(concat!("expected ", $expected, ", found {}"), $value))
                }
            }
        }

        impl Deref for $name {
            type Target = $number;

            fn deref(&self) -> &$number {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::try_from(<$number>::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

range!(
    /// A share of 0 to 1.
    Share(f64) = "a share of 0 to 1",
    |value| value >= 0.0 && value <= 1.0,
    { "type": "number", "minimum": 0, "maximum": 1 }
);

range!(
    /// A share that is not 0.
    PositiveShare(f64) = "a number over 0 and at most 1",
    |value| value > 0.0 && value <= 1.0,
    { "type": "number", "exclusiveMinimum": 0, "maximum": 1 }
);

range!(
    /// A share of less than the whole.
    PartialShare(f64) = "a share of 0 to under 1",
    |value| value >= 0.0 && value < 1.0,
    { "type": "number", "minimum": 0, "exclusiveMaximum": 1 }
);

range!(
    /// A finite number that is not negative.
    NotNegative(f64) = "a number of at least 0",
    |value| value >= 0.0 && value < f64::INFINITY,
    { "type": "number", "minimum": 0 }
);

range!(
    /// A finite number that is positive.
    Positive(f64) = "a number over 0",
    |value| value > 0.0 && value < f64::INFINITY,
    { "type": "number", "exclusiveMinimum": 0 }
);

range!(
    /// A number of things of which there is at least one.
    Count(i64) = "a whole number of at least 1",
    |value| value >= 1,
    { "type": "integer", "minimum": 1 }
);

range!(
    /// The side of a square with a pixel in its middle.
    OddSize(i64) = "an odd number of at least 1",
    |value| value >= 1 && value % 2 == 1,
    { "type": "integer", "minimum": 1, "not": { "multipleOf": 2 } }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused_with_what_was_expected() {
        for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Share::try_from(share).is_err(), "{share}");
            assert!(PositiveShare::try_from(share).is_err(), "{share}");
        }
        assert!(PositiveShare::try_from(0.0).is_err() && Share::try_from(0.0).is_ok());
        for number in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(NotNegative::try_from(number).is_err() && Positive::try_from(number).is_err());
        }
        assert!(NotNegative::try_from(0.0).is_ok() && Positive::try_from(0.0).is_err());
        assert!([0, -3, 4].iter().all(|size| OddSize::try_from(*size).is_err()));
        let error = serde_json::from_str::<OddSize>("4").unwrap_err().to_string();
        assert_eq!(error, "expected an odd number of at least 1, found 4");
        assert_eq!(serde_json::to_string(&OddSize::new(3)).unwrap(), "3");
        assert_eq!(*serde_json::from_str::<Share>("1").unwrap(), 1.0);
    }
}
