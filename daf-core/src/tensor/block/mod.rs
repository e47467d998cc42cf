//! Building blocks of networks: convolutions with batch norm and activation, linear layers, layer norms and attention.
//!
//! A network that is made of these blocks gets the memory layout, the folding of batch norms, Winograd's algorithm, bfloat16
//! and the count of multiply-adds without doing anything: they live here and nowhere else.

mod attention;
mod blocks;
mod conv;
mod conv_norm;
mod init;
mod linear;
mod norm;
mod precision;
mod winograd;

pub use attention::Attention;
pub use blocks::{BatchNormConfig, Blocks, Mode};
pub use conv::{Conv, ConvSpec, Operation, channels_last, pointwise, relu};
pub use conv_norm::{ConvNorm, residual};
pub use init::Init;
pub use linear::Linear;
pub use norm::LayerNorm;
pub use precision::Precision;
