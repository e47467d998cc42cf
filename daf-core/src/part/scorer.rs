//! From maps to scores.

use std::fmt::Debug;

use tch::Tensor;

use crate::BoxError;

/// Turns what a model sees into a score per pixel and per image; higher is more anomalous.
///
/// Two steps, so that the pixels of tiles can be blended before they are smoothed. Both use tensor operations only, with
/// no value read by the host, so that a model can be traced.
#[typetag::serde(tag = "type")]
pub trait Scorer: Debug + Send + Sync {
    /// Pixel scores N×H×W at `size` (height, width), not yet smoothed.
    ///
    /// # Errors
    /// If the maps hold nothing that this scorer can use.
    fn pixels(&self, maps: &Maps, size: (i64, i64)) -> Result<Tensor, BoxError>;

    /// Smooths pixel scores N×H×W and reduces them to image scores.
    fn finish(&self, pixels: &Tensor) -> Scores;

    /// Checks ranges before any work is done.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

super::boxed_schema!(Scorer);

/// What a model sees in a batch of images.
#[derive(Debug, Default)]
pub struct Maps {
    /// Discrepancy maps N×D×h×w of every stage, fine to coarse; empty if the method has none.
    pub discrepancy: Vec<Tensor>,
    /// Probability of a defect, N×1×H×W in 0..=1, if the method has one.
    pub probability: Option<Tensor>,
    /// Scores of whole images, N, if the method has its own: they take the place of those that the scorer draws from the
    /// pixels. That of an image in tiles is the largest of its tiles.
    pub images: Option<Tensor>,
}

/// Scores of a batch.
#[derive(Debug)]
pub struct Scores {
    /// N×H×W.
    pub pixels: Tensor,
    /// N.
    pub images: Tensor,
}
