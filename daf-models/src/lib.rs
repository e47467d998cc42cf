//! The parts of daf that are made of tensors: backbones, discrepancy measures, decoders, the Gaussian scorer, the method
//! that the paper calls DAF, and the methods that it is compared with.
//!
//! A program that uses them by name in YAML only must mention the crate, or the linker leaves it out:
//!
//! ```
//! use daf_models as _;
//! ```

#![forbid(unsafe_code)]

#[cfg(test)]
mod alone;
pub mod backbone;
mod constants;
pub mod decoder;
pub mod measure;
pub mod method;
mod recipe;
pub mod scorer;
pub mod teacher;
pub mod window;

/// The default pipeline as YAML: the lowest of the layers from which a pipeline is read.
pub const DEFAULTS: &str = include_str!("defaults.yaml");
