//! The nine kinds of part, one trait per file.
//!
//! A part is a *recipe*: plain data that is read from YAML and can be written back. What it builds on a device
//! ([`Extractor`](backbone::Extractor), [`Segmenter`](decoder::Segmenter), [`Model`](method::Model)) lives elsewhere:
//! tensors are not `Sync`, recipes are.

#[cfg(feature = "torch")]
pub mod backbone;
pub mod dataset;
#[cfg(feature = "torch")]
pub mod decoder;
#[cfg(feature = "torch")]
pub mod discrepancy;
#[cfg(feature = "torch")]
pub mod method;
#[cfg(feature = "torch")]
pub mod scorer;
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
                $crate::registry::any_of($crate::registry::Kind::$part, generator)
            }
        }
    };
}
use boxed_schema;
