//! The pipeline file.

mod checkpoint_interval;
mod evaluation;
mod milestone;
mod pipeline;
mod schema;
#[cfg(test)]
mod tests;
mod trainer;

pub use checkpoint_interval::CheckpointInterval;
pub use evaluation::{Evaluation, Output, Resolution};
pub use milestone::Milestone;
pub use pipeline::Pipeline;
pub use schema::schema;
pub use trainer::{Optimizer, Schedule, Trainer};
