//! Backbones.

mod resnet;
pub(crate) mod vgg;

pub use resnet::{ResNet18, Residual};
pub use vgg::Vgg16;
