//! Scorers.

mod gaussian;

pub use gaussian::{Fuse, Gaussian};
