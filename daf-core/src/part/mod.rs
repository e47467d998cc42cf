//! The kinds of part that need no tensors, one trait per file; the others are [`Backbone`](crate::registry::Kind::Backbone) and
//! its neighbors behind the feature `torch`.
//!
//! A part is a *recipe*: plain data that is read from YAML and can be written back. What it builds on a device
//! (an extractor, a segmenter, a model) lives elsewhere: tensors are not `Sync`, recipes are.

pub mod dataset;
pub mod shape;
pub mod synthesizer;
pub mod texture;

/// Makes `Box<dyn Trait>` and `Arc<dyn Trait>` members of the pipeline's JSON schema.
macro_rules! boxed_schema {
    ($part:ident) => {
        impl schemars::JsonSchema for dyn $part {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($part).into()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::registry::one_of($crate::registry::Kind::$part, generator)
            }
        }
    };
}
pub(crate) use boxed_schema;
