//! From features and discrepancy to a probability map.

use std::fmt::Debug;

use tch::Tensor;

use super::backbone::Stage;
use crate::block::Blocks;
use crate::contract::{self, Broken};
use crate::{BoxError, Kind};

/// Turns the student's features, guided by the discrepancy, into the probability that a pixel is defective.
#[typetag::serde(tag = "type")]
pub trait Decoder: Debug + Send + Sync {
    /// Builds the network.
    ///
    /// # Errors
    /// If it cannot work with these stages: names what it expects.
    fn build(&self, blocks: &Blocks, input: &DecoderInput) -> Result<Box<dyn Segmenter>, BoxError>;

    /// Checks ranges before any work is done.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

super::part!(Decoder);

impl dyn Decoder + '_ {
    /// As [`build`](Decoder::build), with every map of logits checked.
    ///
    /// # Errors
    /// The decoder's own, or [`Broken`] if it panics.
    pub fn build_checked(
        &self,
        blocks: &Blocks,
        input: &DecoderInput,
    ) -> Result<Box<dyn Segmenter>, BoxError> {
        let name = self.typetag_name();
        let build = || {
            self.build(blocks, input)
                .map_err(|reason| format!("decoder `{name}`: {reason}").into())
        };
        let network = contract::call(Kind::Decoder, name, "building", build)?;
        let finest = input.stages.first().map_or(1, |stage| stage.stride);
        Ok(Box::new(Checked {
            name,
            finest,
            network,
        }))
    }
}

/// A decoder whose logits are checked.
#[derive(Debug)]
struct Checked {
    name: &'static str,
    /// Stride of the finest stage.
    finest: i64,
    network: Box<dyn Segmenter>,
}

impl Segmenter for Checked {
    fn segment(&self, features: &[Tensor], discrepancy: &[Tensor]) -> Tensor {
        let segment = || self.network.segment(features, discrepancy);
        let logits = contract::call_within(Kind::Decoder, self.name, "segmenting", segment);
        let finest = features.first().map(Tensor::size).unwrap_or_default();
        if let [n, _, h, w] = finest[..] {
            let (expected, found) = ([n, 1, h * self.finest, w * self.finest], logits.size());
            if found != expected {
                let what = format!(
                    "logits: expected {}, found {}",
                    contract::size(&expected),
                    contract::size(&found)
                );
                Broken::new(Kind::Decoder, self.name, what).raise();
            }
        }
        logits
    }
}

/// Sizes of the input of a decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderInput {
    /// The student's stages, fine to coarse.
    pub stages: Vec<Stage>,
    /// Channels of the discrepancy map of every stage; empty if there is no discrepancy.
    pub discrepancy: Vec<i64>,
}

/// A decoder on a device.
pub trait Segmenter: Debug + Send {
    /// Logits, N×1×H×W at the size of the image, of features N×C×h×w and discrepancy maps N×D×h×w of every stage.
    /// The sigmoid is the caller's, so that losses may use the logits.
    fn segment(&self, features: &[Tensor], discrepancy: &[Tensor]) -> Tensor;
}
