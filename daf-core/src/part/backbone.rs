//! Feature networks.

use std::fmt::Debug;

use tch::Tensor;

use crate::BoxError;
use crate::block::Blocks;
use crate::weights::{Published, Weights};

/// A network that turns images into features of several stages, fine to coarse.
#[typetag::serde(tag = "type")]
pub trait Backbone: Debug + Send + Sync {
    /// Channels and stride of every stage, fine to coarse.
    fn stages(&self) -> Vec<Stage>;

    /// Where the weights come from.
    fn weights(&self) -> &Weights;

    /// The file of ImageNet weights that the network's authors publish, if there is one.
    fn published(&self) -> Option<Published> {
        None
    }

    /// Multiply-adds of the layers that the published network has behind the last stage, for an input of this height and
    /// width: papers count them although nothing needs them. The classifier, a thousandth of it, does not count.
    fn layers_behind(&self, size: (i64, i64)) -> u64 {
        let _ = size;
        0
    }

    /// Builds the network from blocks, with the names that published weights use.
    ///
    /// # Errors
    /// If the settings describe no network.
    fn build(&self, blocks: &Blocks) -> Result<Box<dyn Extractor>, BoxError>;

    /// Checks ranges before any work is done.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

super::boxed_schema!(Backbone);

/// The features of one stage are N×`channels`×(H/`stride`)×(W/`stride`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// Number of feature maps.
    pub channels: i64,
    /// Pixels of the image per position, in each direction.
    pub stride: i64,
}

/// A backbone on a device.
pub trait Extractor: Debug + Send {
    /// Features of every stage, fine to coarse, of N×3×H×W images whose sides are multiples of the coarsest stride.
    fn extract(&self, images: &Tensor) -> Vec<Tensor>;
}
