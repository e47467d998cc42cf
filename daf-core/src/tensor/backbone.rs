//! Feature networks.

use std::fmt::Debug;

use tch::Tensor;

use crate::block::Blocks;
use crate::contract::{self, Broken};
use crate::data::Normalization;
use crate::weights::{Pretrained, Weights};
use crate::{BoxError, Kind};

/// Network that turns images into features of one or several stages.
#[typetag::serde(tag = "type")]
pub trait Backbone: Debug + Send + Sync {
    /// Channels and stride of every stage, at least one, fine to coarse; neighbours may have the same stride, as the blocks of a
    /// transformer do.
    fn stages(&self) -> Vec<Stage>;

    /// Channels of the [global features](Extractor::extract_with_global), if the network gives some.
    fn global_channels(&self) -> Option<i64> {
        None
    }

    /// Source of the weights.
    fn weights(&self) -> &Weights;

    /// The weights that the network's authors publish, if there are some.
    fn pretrained(&self) -> Option<Pretrained> {
        None
    }

    /// Normalization of the images: that of the published weights, or ImageNet's.
    fn normalization(&self) -> Normalization {
        self.pretrained()
            .map_or(Normalization::Imagenet, |pretrained| pretrained.preprocessing)
    }

    /// Multiply-adds of the layers of the published network behind the last stage, without its classifier, for an input of
    /// this height and width. Papers count them although nothing needs them.
    fn layers_behind(&self, size: (i64, i64)) -> u64 {
        let _ = size;
        0
    }

    /// Builds the network from blocks, with the names that published weights use.
    ///
    /// # Errors
    /// If the settings describe no network.
    fn build(&self, blocks: &Blocks) -> Result<Box<dyn Extractor>, BoxError>;

    /// Tensors of a file of weights under the names and in the shapes that [`build`](Self::build) gives them: for files that name
    /// or divide the same weights in another way. A run's own files do not need it.
    ///
    /// # Errors
    /// If they are of another network.
    fn translate(&self, tensors: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, BoxError> {
        Ok(tensors)
    }

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
    /// Sides of the images must be multiples of this: the least common multiple of the strides.
    #[must_use]
    pub fn stride(&self) -> i64 {
        common_stride(self.stages().iter().map(|stage| stage.stride))
    }

    /// As [`translate`](Backbone::translate).
    ///
    /// # Errors
    /// The backbone's own, or [`Broken`] if it panics.
    pub fn translate_checked(
        &self,
        tensors: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, BoxError> {
        contract::call(Kind::Backbone, self.typetag_name(), "reading weights", || {
            self.translate(tensors)
        })
    }

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
        if !stages.is_sorted_by_key(|stage| stage.stride) {
            let strides: Vec<i64> = stages.iter().map(|stage| stage.stride).collect();
            let what = format!("`stages`: expected strides from fine to coarse, found {strides:?}");
            return Err(broken(what).into());
        }
        let network = contract::call(Kind::Backbone, name, "building", || self.build(blocks))?;
        Ok(Box::new(Checked {
            name,
            stages,
            global: self.global_channels(),
            network,
        }))
    }
}

/// A network whose features are checked.
#[derive(Debug)]
struct Checked {
    name: &'static str,
    stages: Vec<Stage>,
    /// Channels of global features.
    global: Option<i64>,
    network: Box<dyn Extractor>,
}

impl Checked {
    fn call<T>(
        &self,
        extract: impl FnOnce(&dyn Extractor) -> T,
        check: impl FnOnce(&T) -> Result<(), String>,
    ) -> T {
        let extract = || extract(self.network.as_ref());
        let features = contract::call_within(Kind::Backbone, self.name, "extracting features", extract);
        if let Err(what) = check(&features) {
            Broken::new(Kind::Backbone, self.name, what).raise();
        }
        features
    }
}

impl Extractor for Checked {
    fn extract(&self, images: &Tensor) -> Vec<Tensor> {
        let check = |features: &Vec<Tensor>| check_features(features, &self.stages, images);
        self.call(|network| network.extract(images), check)
    }

    fn extract_with_global(&self, images: &Tensor) -> (Vec<Tensor>, Option<Tensor>) {
        let check = |(features, global): &(Vec<Tensor>, Option<Tensor>)| {
            check_features(features, &self.stages, images)?;
            let expected = self.global.map(|channels| vec![images.size()[0], channels]);
            let found = global.as_ref().map(Tensor::size);
            if found == expected {
                return Ok(());
            }
            let size = |of: Option<Vec<i64>>| of.map_or("none".into(), |size| contract::size(&size));
            Err(format!(
                "global features: expected {}, found {}",
                size(expected),
                size(found)
            ))
        };
        self.call(|network| network.extract_with_global(images), check)
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

/// Least common multiple of strides: images of such sides suit them all.
pub fn common_stride(strides: impl IntoIterator<Item = i64>) -> i64 {
    let divisor = |mut a: i64, mut b: i64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let strides = strides.into_iter().map(|stride| stride.max(1));
    strides.fold(1, |a, b| (a / divisor(a, b)).saturating_mul(b))
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
    /// Features of every stage, fine to coarse, of N×3×H×W images whose sides are multiples of every stride.
    fn extract(&self, images: &Tensor) -> Vec<Tensor>;

    /// The same with global features, a vector for each image such as a class token, N×C; `None` without
    /// [`global_channels`](Backbone::global_channels).
    fn extract_with_global(&self, images: &Tensor) -> (Vec<Tensor>, Option<Tensor>) {
        (self.extract(images), None)
    }
}
