//! Feature networks.

use std::fmt::Debug;

use tch::Tensor;

use crate::block::Blocks;
use crate::contract::{self, Broken};
use crate::weights::{Published, Weights};
use crate::{BoxError, Kind};

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

super::part!(Backbone);

impl dyn Backbone + '_ {
    /// As [`build`](Backbone::build), with its stages checked and the features of every image.
    ///
    /// # Errors
    /// The backbone's own, or [`Broken`] if it panics or its stages cannot be.
    pub fn build_checked(&self, blocks: &Blocks) -> Result<Box<dyn Extractor>, BoxError> {
        let (name, stages) = (self.typetag_name(), self.stages());
        let broken = |what| Broken::new(Kind::Backbone, name, what);
        if stages.is_empty() {
            return Err(broken("`stages` is empty".into()).into());
        }
        if let Some(stage) = stages.iter().find(|stage| stage.channels < 1 || stage.stride < 1) {
            return Err(broken(format!(
                "`stages`: expected channels and strides of 1 or more, found {} and {}",
                stage.channels, stage.stride
            ))
            .into());
        }
        let network = contract::call(Kind::Backbone, name, "building", || self.build(blocks))?;
        Ok(Box::new(Checked {
            name,
            stages,
            network,
        }))
    }
}

/// A network whose features are checked.
#[derive(Debug)]
struct Checked {
    name: &'static str,
    stages: Vec<Stage>,
    network: Box<dyn Extractor>,
}

impl Extractor for Checked {
    fn extract(&self, images: &Tensor) -> Vec<Tensor> {
        let extract = || self.network.extract(images);
        let features = contract::call_within(Kind::Backbone, self.name, "extracting features", extract);
        if let Err(what) = check_features(&features, &self.stages, images) {
            Broken::new(Kind::Backbone, self.name, what).raise();
        }
        features
    }
}

/// Whether features of images are those that `stages` promises.
fn check_features(features: &[Tensor], stages: &[Stage], images: &Tensor) -> Result<(), String> {
    if features.len() != stages.len() {
        return Err(format!(
            "features: expected those of {} stages, as in `stages`, found {}",
            stages.len(),
            features.len()
        ));
    }
    let [n, _, height, width] = images.size()[..] else {
        return Ok(());
    };
    for (number, (features, stage)) in (1..).zip(features.iter().zip(stages)) {
        let found = features.size();
        let expected = [n, stage.channels, height / stage.stride, width / stage.stride];
        if found != expected {
            return Err(format!(
                "features of stage {number}: expected {}, found {}",
                contract::size(&expected),
                contract::size(&found)
            ));
        }
    }
    Ok(())
}

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
