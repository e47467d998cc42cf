//! The pipeline file.

mod evaluation;
mod every;
mod moment;
mod pipeline;
mod schema;
#[cfg(test)]
mod tests;
mod trainer;

pub use evaluation::{Evaluation, Output, Resolution};
pub use every::Every;
pub use moment::Moment;
pub use pipeline::Pipeline;
pub use schema::schema;
pub use trainer::{Optimizer, Schedule, Trainer};
