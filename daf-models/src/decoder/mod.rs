//! Decoders.

mod fusion;
mod upsampled;

pub use fusion::Fusion;
