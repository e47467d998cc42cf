//! Pipelines of daf: their files, training, checkpoints, evaluation, the run directory.
//!
//! A [`Pipeline`] is the *model* ([`ModelConfig`](daf_core::ModelConfig): method, input, scorer, precision) and its *training*
//! (data, synthesizer, trainer, validation, evaluation, output). It is read from [`Layers`](daf_core::config::Layers), trained by
//! [`train`](train::train) and measured by [`evaluate`](evaluate::evaluate). What is left is a [`Run`].
//!
//! ```no_run
//! use daf_core::config::{DeviceChoice, Layers};
//! use daf_core::weights::WeightFolders;
//! use daf_pipeline::{Pipeline, Run, evaluate::evaluate, train::train};
//!
//! # fn main() -> daf_core::Result<()> {
//! // The crates of the parts must be linked: `use daf_data as _;`, and the defaults are `daf_models::DEFAULTS`.
//! let layers = Layers::new("")?.file("pipeline.yaml")?;
//! let run = Run::create("runs/bottle".as_ref(), Pipeline::from_layers(&layers)?)?;
//! let weights = WeightFolders { user: None, cache: "weights".into(), progress: None };
//! train(&run, &weights, &mut ())?;
//! let measured = evaluate(&run, DeviceChoice::Auto, |_, _| ())?;
//! println!("{measured:?}");
//! # Ok(())
//! # }
//! ```

pub mod config;
pub mod evaluate;
pub mod run;
pub mod samples;
pub mod train;

pub use config::Pipeline;
pub use run::Run;
