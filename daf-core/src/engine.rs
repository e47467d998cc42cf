//! Models at work, whatever computes them.

use image::RgbImage;

use crate::{Result, ScoreMap};

/// Computes a trained model: images of the network's size in, scores out. It knows neither files nor tiles nor thresholds, which
/// are a [`Detector`](crate::Detector)'s.
///
/// Two verbs, so that the pixel scores of tiles can be blended before they are smoothed. Every map that passes is a slice of
/// numbers in the memory of the host, so that blending serves every engine. An engine is called by any thread, by several at a
/// time; it says who computes where.
pub trait Engine: Send + Sync {
    /// Pixel scores, not yet smoothed, and image scores of images that have the size of the network's input.
    ///
    /// # Errors
    /// If a part of the model refuses its work or breaks its promises.
    fn infer(&self, inputs: &[&RgbImage]) -> Result<Vec<Inferred>>;

    /// Smooths pixel scores and reduces them to a score for each image. All maps have one size, whichever that is.
    ///
    /// # Errors
    /// The errors of [`infer`](Self::infer).
    fn finish(&self, maps: Vec<ScoreMap>) -> Result<Vec<(f64, ScoreMap)>>;

    /// Images that it takes together with profit.
    fn batch_size(&self) -> usize;
}

/// Output of a network for an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Inferred {
    /// Scores of its pixels, not yet smoothed.
    pub pixels: ScoreMap,
    /// Score of the image, if the network has its own: it takes the place of the one that is drawn from the pixels.
    pub image: Option<f64>,
}
