//! From maps to scores.

use std::fmt::Debug;

use tch::Tensor;

use crate::contract::{self, Broken};
use crate::{BoxError, Kind};

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

impl dyn Scorer + '_ {
    /// As [`pixels`](Scorer::pixels), with the size of the scores checked, and that they are finite if the maps are.
    ///
    /// # Errors
    /// The scorer's own, or [`Broken`] if it panics or its scores cannot be.
    pub fn pixels_checked(&self, maps: &Maps, size: (i64, i64)) -> Result<Tensor, BoxError> {
        let name = self.typetag_name();
        let pixels = contract::call(Kind::Scorer, name, "scoring pixels", || self.pixels(maps, size))?;
        let broken = |what| Broken::new(Kind::Scorer, name, what).into();
        let given = maps
            .discrepancy
            .iter()
            .chain(&maps.probability)
            .chain(&maps.images);
        let n = given.clone().next().map_or(0, |map| map.size()[0]);
        let (expected, found) = ([n, size.0, size.1], pixels.size());
        if found != expected {
            let (expected, found) = (contract::size(&expected), contract::size(&found));
            return Err(broken(format!(
                "pixel scores: expected {expected}, found {found}"
            )));
        }
        if !contract::is_finite(&pixels) && given.clone().all(contract::is_finite) {
            return Err(broken("pixel scores: not all finite, of maps that are".into()));
        }
        Ok(pixels)
    }

    /// As [`finish`](Scorer::finish), with the sizes of the scores checked, and that they are finite if those of the pixels were.
    ///
    /// # Errors
    /// [`Broken`] if it panics or its scores cannot be.
    pub fn finish_checked(&self, pixels: &Tensor) -> Result<Scores, BoxError> {
        let name = self.typetag_name();
        let scores = contract::call(Kind::Scorer, name, "smoothing", || Ok(self.finish(pixels)))?;
        let broken = |what: String| Broken::new(Kind::Scorer, name, what).into();
        let expected = pixels.size();
        for (what, expected, found) in [
            ("smoothed pixel scores", &expected[..], &scores.pixels),
            ("image scores", &expected[..1], &scores.images),
        ] {
            if found.size() != expected {
                let (expected, found) = (contract::size(expected), contract::size(&found.size()));
                return Err(broken(format!("{what}: expected {expected}, found {found}")));
            }
            if !contract::is_finite(found) && contract::is_finite(pixels) {
                return Err(broken(format!(
                    "{what}: not all finite, of pixel scores that are"
                )));
            }
        }
        Ok(scores)
    }
}

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
