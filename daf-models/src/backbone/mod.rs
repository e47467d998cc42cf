//! Backbones.

mod resnet;

pub use resnet::{ResNet18, Residual};
