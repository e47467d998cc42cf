//! From parts to a trainable model.

use std::fmt::Debug;

use tch::{Device, Tensor};

use super::batch::Batch;
use super::block::{Mode, Precision};
use super::maps::Maps;
use super::store::Store;
use super::weights::WeightFolders;
use crate::contract::{self, Broken};
use crate::data::Normalization;
use crate::results::Origin;
use crate::{BoxError, Kind, guard};

/// Assembles parts into a model with a loss and maps.
#[typetag::serde(tag = "type")]
pub trait Method: Debug + Send + Sync {
    /// Whether training needs damaged images.
    fn needs_synthesis(&self) -> bool {
        false
    }

    /// Whether it learns by steps. One that does not is only [fitted](Model::fit), and the `trainer` has no effect.
    fn learns(&self) -> bool {
        true
    }

    /// Normalization of the images where the settings leave it to the method: that of its backbone.
    fn normalization(&self) -> Normalization {
        Normalization::Imagenet
    }

    /// Sides of the input must be multiples of this.
    fn stride(&self) -> i64 {
        1
    }

    /// Sides of the input must be at least this.
    fn min_side(&self) -> i64 {
        self.stride()
    }

    /// Builds the model. Everything drawn at random comes from libtorch's generator, which the caller has seeded.
    ///
    /// # Errors
    /// If the parts do not fit together or pretrained weights cannot be had.
    fn build(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError>;

    /// Checks ranges, and the parts that the method is made of, before any work is done.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl dyn Method + '_ {
    /// As [`build`](Method::build), with what the model gives checked at each call. A fault of a part that the model is made of
    /// names that part.
    ///
    /// # Errors
    /// The method's own, or [`Broken`] if it panics.
    pub fn build_checked(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
        let name = self.typetag_name();
        let model = contract::call(Kind::Method, name, "building the model", || self.build(context))?;
        Ok(Box::new(Checked { name, model }))
    }
}

super::part!(Method);

/// A model whose losses and maps are checked.
struct Checked {
    name: &'static str,
    model: Box<dyn Model>,
}

impl Checked {
    fn call<T>(&self, at: &str, work: impl FnOnce(&dyn Model) -> Result<T, BoxError>) -> Result<T, BoxError> {
        contract::call(Kind::Method, self.name, at, || work(self.model.as_ref()))
    }

    fn broken(&self, what: String) -> BoxError {
        Broken::new(Kind::Method, self.name, what).into()
    }
}

impl Model for Checked {
    fn stores(&self) -> Vec<Store<'_>> {
        self.model.stores()
    }

    fn origins(&self) -> Vec<Origin> {
        self.model.origins()
    }

    fn losses(&self, batch: &Batch) -> Result<Losses, BoxError> {
        let losses = self.call("computing losses", |model| model.losses(batch))?;
        match losses.iter().find(|(_, loss)| loss.numel() != 1) {
            None => Ok(losses),
            Some((name, loss)) => {
                let found = contract::size(&loss.size());
                Err(self.broken(format!("loss `{name}`: expected one number, found {found}")))
            }
        }
    }

    fn fit(&mut self, when: Fit, images: &dyn NormalImages) -> Result<bool, BoxError> {
        let model = self.model.as_mut();
        // Fitting may take any time, and whoever watches it hears of every image.
        guard::catch(|| model.fit(when, images))
            .unwrap_or_else(|caught| Err(contract::fault(Kind::Method, self.name, caught)))
    }

    fn kept_patches(&self) -> u64 {
        self.model.kept_patches()
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let maps = self.call("scoring", |model| model.infer(images))?;
        let n = images.size()[0];
        for (number, map) in (1..).zip(&maps.discrepancy) {
            if !matches!(map.size()[..], [of, _, _, _] if of == n) {
                let found = contract::size(&map.size());
                return Err(self.broken(format!(
                    "discrepancy of stage {number}: expected {n}×D×h×w, found {found}"
                )));
            }
        }
        if let Some(map) = &maps.probability
            && !matches!(map.size()[..], [of, 1, _, _] if of == n)
        {
            let found = contract::size(&map.size());
            return Err(self.broken(format!("probability: expected {n}×1×H×W, found {found}")));
        }
        if let Some(scores) = &maps.images
            && scores.size() != [n]
        {
            let found = contract::size(&scores.size());
            return Err(self.broken(format!("scores of images: expected {n}, found {found}")));
        }
        Ok(maps)
    }
}

/// Purpose of a model that is built.
#[derive(Debug, Clone)]
pub struct BuildContext<'a> {
    /// Device of its tensors.
    pub device: Device,
    /// Height and width of the input.
    pub size: (i64, i64),
    /// Whether it learns or works.
    pub mode: Mode,
    /// In what numbers convolutions compute.
    pub precision: Precision,
    /// Folders of pretrained weights; `None` leaves them out, since the caller loads those of a run.
    pub pretrained: Option<&'a WeightFolders>,
}

/// A method on a device.
pub trait Model: Send {
    /// Everything that a run must keep.
    fn stores(&self) -> Vec<Store<'_>>;

    /// Origins of each network's initial weights, e.g. `teacher` and a file, for the run's report; known to a model
    /// that was built with pretrained weights at hand.
    fn origins(&self) -> Vec<Origin> {
        Vec::new()
    }

    /// Named loss terms of a batch; the training loop sums, checks and minimises them.
    ///
    /// # Errors
    /// If the batch lacks what the method needs.
    fn losses(&self, batch: &Batch) -> Result<Losses, BoxError>;

    /// Takes from the undamaged images of the training split what is not learned by steps: a memory of features, a mean,
    /// a density. Called once before the first step ([`Fit::BeforeTraining`], on the model that will learn: what it
    /// finds belongs into a frozen store) and once after the last ([`Fit::AfterTraining`], on a model built for
    /// inference with the trained weights). Says whether any store has changed.
    ///
    /// Both may come again on the trained model, with more images. A frozen store is then left as the training knew it, if the
    /// method [learns](Method::learns).
    ///
    /// # Errors
    /// If an image cannot be read or processed.
    fn fit(&mut self, when: Fit, images: &dyn NormalImages) -> Result<bool, BoxError> {
        let _ = (when, images);
        Ok(false)
    }

    /// Number of patches of normal images that it keeps, for messages; 0 if it keeps none.
    fn kept_patches(&self) -> u64 {
        0
    }

    /// Maps of N×3×H×W images.
    ///
    /// # Errors
    /// If the images cannot be processed.
    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError>;
}

impl dyn Model + '_ {
    /// Number of weights and biases that training changes. In a model built for training this is what papers call
    /// the size of a method; one built for inference lacks what only training needs.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let stores = self.stores().into_iter();
        stores
            .filter(|store| !store.frozen)
            .map(|store| store.parameters())
            .sum()
    }
}

/// When a model is [fitted](Model::fit).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Before the first step.
    BeforeTraining,
    /// After the last step.
    AfterTraining,
}

/// The undamaged images of the training split, as often as they are asked for.
pub trait NormalImages {
    /// All of them, always in the same order, on the model's device.
    fn batches(&self) -> Box<dyn Iterator<Item = Result<NormalBatch, BoxError>> + '_>;
}

/// Some of the undamaged images of the training split.
#[derive(Debug)]
pub struct NormalBatch {
    /// N×3×H×W.
    pub images: Tensor,
    /// Which image of the training split each of the N is one of, as in [`Batch::indices`]: tiles of an image have the same index.
    pub indices: Vec<usize>,
}

impl NormalBatch {
    /// Images of which none is in tiles and each has the index after that of the one before.
    #[must_use]
    pub fn consecutive(first: usize, images: Tensor) -> Self {
        let count = images.size().first().map_or(0, |count| *count as usize);
        Self {
            images,
            indices: (first..first + count).collect(),
        }
    }
}

/// Named scalar loss terms.
pub type Losses = Vec<(String, Tensor)>;
