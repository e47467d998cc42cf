//! The kinds of part that need no tensors, one trait per file; the others are [`Backbone`](crate::registry::Kind::Backbone) and
//! its neighbors behind the feature `torch`.
//!
//! A part is a *recipe*: plain data that is read from YAML and can be written back. What it builds on a device
//! (an extractor, a segmenter, a model) lives elsewhere: tensors are not `Sync`, recipes are.

pub mod dataset;
pub mod shape;
pub mod synthesizer;
pub mod texture;

/// Implementations that parts of every kind have in common: `Box<dyn Trait>` and `Arc<dyn Trait>` are members of the pipeline's JSON schema, and
/// their faults name them.
macro_rules! part {
    ($part:ident) => {
        impl schemars::JsonSchema for dyn $part {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($part).into()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::registry::any_of($crate::registry::Kind::$part, generator)
            }
        }

        impl dyn $part + '_ {
            /// A fault `at` a place of the pipeline or a piece of the work, with the part's name.
            pub fn fault(&self, at: impl Into<String>, source: impl Into<$crate::BoxError>) -> $crate::Error {
                $crate::Error::Part {
                    kind: $crate::registry::Kind::$part,
                    name: self.typetag_name().into(),
                    at: at.into(),
                    source: source.into(),
                }
            }
        }
    };
}
pub(crate) use part;
