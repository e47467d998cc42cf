//! Backbones.

mod resnet;
pub(crate) mod vgg;

pub use resnet::{ResNet18, ResNet34, ResNet50, Residual, WideResNet50};
pub use vgg::Vgg16;
