//! From maps to scores.

use std::fmt::Debug;

use tch::{Kind as Values, Tensor};

use super::maps::Maps;
use super::method::{BuildContext, Model, NormalImages};
use super::store::Store;
use crate::contract::{self, Broken};
use crate::{BoxError, Kind, guard};

/// Turns what a model sees into a score per pixel and per image; higher is more anomalous.
#[typetag::serde(tag = "type")]
pub trait Scorer: Debug + Send + Sync {
    /// Builds what computes the scores.
    ///
    /// # Errors
    /// If the settings do not go together.
    fn build(&self, context: &BuildContext) -> Result<Box<dyn Postprocessor>, BoxError>;

    /// Checks ranges before any work is done.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

super::part!(Scorer);

impl dyn Scorer + '_ {
    /// As [`build`](Scorer::build), with what is built checked at each call.
    ///
    /// # Errors
    /// The scorer's own, or [`Broken`] if it panics.
    pub fn build_checked(&self, context: &BuildContext) -> Result<Box<dyn Postprocessor>, BoxError> {
        let name = self.typetag_name();
        let built = contract::call(Kind::Scorer, name, "building", || self.build(context))?;
        Ok(Box::new(Checked { name, built }))
    }
}

/// A scorer on a device.
///
/// Two steps, so that the pixels of tiles can be blended before they are smoothed. Both use tensor operations only, with
/// no value read by the host, so that a model can be traced.
pub trait Postprocessor: Send {
    /// Pixel scores N×H×W at `size` (height, width), not yet smoothed.
    ///
    /// # Errors
    /// If the maps hold nothing that this scorer can use.
    fn pixels(&self, maps: &Maps, size: (i64, i64)) -> Result<Tensor, BoxError>;

    /// Smooths pixel scores N×H×W and reduces them to image scores.
    ///
    /// # Errors
    /// If the scores cannot be had from such pixels.
    fn finish(&self, pixels: &Tensor) -> Result<Scores, BoxError>;

    /// Stores that a run must keep, such as statistics of normal images; no store of the model has the same name.
    fn stores(&self) -> Vec<Store<'_>> {
        Vec::new()
    }

    /// Takes from the maps of the undamaged training images what is not learned by steps, such as their quantiles. Called once,
    /// after the last step, with what the trained model sees; its stores are saved then.
    ///
    /// # Errors
    /// If an image cannot be read or processed.
    fn fit(&mut self, maps: &dyn NormalMaps) -> Result<(), BoxError> {
        let _ = maps;
        Ok(())
    }
}

/// Maps that a trained model gives of the undamaged images of the training split, as often as they are asked for.
pub trait NormalMaps {
    /// The maps of all of them, always in the same order, in batches. Each is computed when it is asked for.
    fn batches(&self) -> Box<dyn Iterator<Item = Result<Maps, BoxError>> + '_>;
}

/// Maps of a model for undamaged images.
pub struct MapsOf<'a> {
    /// The model, built for inference.
    pub model: &'a dyn Model,
    /// The images.
    pub images: &'a dyn NormalImages,
}

impl NormalMaps for MapsOf<'_> {
    fn batches(&self) -> Box<dyn Iterator<Item = Result<Maps, BoxError>> + '_> {
        Box::new(
            self.images
                .batches()
                .map(|batch| self.model.infer(&batch?.images)),
        )
    }
}

/// A built scorer whose scores are checked: their sizes, and that they are finite if what they are made of is.
struct Checked {
    name: &'static str,
    built: Box<dyn Postprocessor>,
}

impl Checked {
    fn broken(&self, what: impl Into<String>) -> Broken {
        Broken::new(Kind::Scorer, self.name, what)
    }

    fn check_scores(&self, scores: &Scores, pixels: &Tensor) -> Result<(), Broken> {
        let expected = pixels.size();
        for (what, expected, found) in [
            ("smoothed pixel scores", &expected[..], &scores.pixels),
            ("image scores", &expected[..1], &scores.images),
        ] {
            if found.size() != expected {
                let (expected, found) = (contract::size(expected), contract::size(&found.size()));
                return Err(self.broken(format!("{what}: expected {expected}, found {found}")));
            }
            if !is_finite(found) && is_finite(pixels) {
                return Err(self.broken(format!("{what}: not all finite, of pixel scores that are")));
            }
        }
        Ok(())
    }
}

impl Postprocessor for Checked {
    fn pixels(&self, maps: &Maps, size: (i64, i64)) -> Result<Tensor, BoxError> {
        let pixels = contract::call(Kind::Scorer, self.name, "scoring pixels", || {
            self.built.pixels(maps, size)
        })?;
        let given = maps
            .discrepancy
            .iter()
            .chain(&maps.probability)
            .chain(&maps.images);
        let n = given.clone().next().map_or(0, |map| map.size()[0]);
        let (expected, found) = ([n, size.0, size.1], pixels.size());
        if found != expected {
            let (expected, found) = (contract::size(&expected), contract::size(&found));
            return Err(self
                .broken(format!("pixel scores: expected {expected}, found {found}"))
                .into());
        }
        if !is_finite(&pixels) && given.clone().all(is_finite) {
            return Err(self
                .broken("pixel scores: not all finite, of maps that are")
                .into());
        }
        Ok(pixels)
    }

    fn finish(&self, pixels: &Tensor) -> Result<Scores, BoxError> {
        let scores = contract::call(Kind::Scorer, self.name, "smoothing", || self.built.finish(pixels))?;
        self.check_scores(&scores, pixels)?;
        Ok(scores)
    }

    fn stores(&self) -> Vec<Store<'_>> {
        self.built.stores()
    }

    fn fit(&mut self, maps: &dyn NormalMaps) -> Result<(), BoxError> {
        let built = self.built.as_mut();
        // Fitting may take any time, and whoever watches it hears of every image.
        guard::catch(|| built.fit(maps))
            .unwrap_or_else(|caught| Err(contract::fault(Kind::Scorer, self.name, caught)))
    }
}

/// Whether all numbers are finite. A GPU is waited for.
fn is_finite(values: &Tensor) -> bool {
    // One number that is not makes the sum so, and a sum is quickly had. That of finite ones may be too large.
    values.sum(Values::Float).double_value(&[]).is_finite() || values.isfinite().all().int64_value(&[]) != 0
}

/// Scores of a batch.
#[derive(Debug)]
pub struct Scores {
    /// N×H×W.
    pub pixels: Tensor,
    /// N.
    pub images: Tensor,
}
