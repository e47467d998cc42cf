//! Decoders.

mod fusion;

pub use fusion::Fusion;
