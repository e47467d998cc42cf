//! From features and discrepancy to a probability map.

use std::fmt::Debug;

use tch::Tensor;

use super::backbone::Stage;
use crate::BoxError;
use crate::block::Blocks;

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

super::boxed_schema!(Decoder);

/// What a decoder will be given.
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
