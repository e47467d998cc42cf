//! From features and discrepancy to a probability map.

use std::fmt::Debug;

use tch::Tensor;

use super::backbone::Stage;
use super::discrepancy::{Comparison, MapSize};
use crate::block::Blocks;
use crate::contract::{self, Broken};
use crate::{BoxError, Kind};

/// Turns features, guided by the discrepancy, into the probability that a pixel is defective.
#[typetag::serde(tag = "type")]
pub trait Decoder: Debug + Send + Sync {
    /// Builds the network.
    ///
    /// # Errors
    /// If it cannot work with these stages: names what it expects.
    fn build(&self, blocks: &Blocks, input: &DecoderInput) -> Result<Box<dyn Segmenter>, BoxError>;

    /// Whether it reads the [residuals](Comparison::residual) of the discrepancy, which are computed only then.
    fn needs_residuals(&self) -> bool {
        false
    }

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
    fn segment(&self, features: &[Tensor], discrepancy: &[Comparison]) -> Tensor {
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
    /// Stages of the features, fine to coarse: the student's or, without one, the teacher's.
    pub stages: Vec<Stage>,
    /// The discrepancy maps, of rising stages: not every stage need have one. Empty if there is no discrepancy.
    pub discrepancy: Vec<MapSize>,
    /// The residuals among the discrepancy, of rising stages; empty if the decoder does not
    /// [need](Decoder::needs_residuals) them or the measure has none.
    pub residuals: Vec<MapSize>,
}

/// A decoder on a device.
pub trait Segmenter: Debug + Send {
    /// Logits, N×1×H×W at the size of the image, of features N×C×h×w of every stage and the comparisons that
    /// [`DecoderInput::discrepancy`] lists. Of these a decoder reads [`guide`](Comparison::guide) and the residual. The sigmoid is
    /// the caller's, so that losses may use the logits.
    fn segment(&self, features: &[Tensor], discrepancy: &[Comparison]) -> Tensor;
}
