//! From parts to a trainable model.

use std::fmt::Debug;

use tch::nn::VarStore;
use tch::{Device, Tensor};

use super::scorer::Maps;
use crate::block::{Mode, Precision};
use crate::contract::{self, Broken};
use crate::data::{FeatureCache, Normalization};
use crate::results::Origin;
use crate::weights::WeightFolders;
use crate::{BoxError, Error, Kind, guard};

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

    /// What is wrong `at` a piece of the work, such as `fitting the model`, with the method's name.
    pub fn fault(&self, at: impl Into<String>, source: impl Into<BoxError>) -> Error {
        Error::Part {
            kind: Kind::Method,
            name: self.typetag_name().into(),
            at: at.into(),
            source: source.into(),
        }
    }
}

super::boxed_schema!(Method);

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

/// What a model is built for.
#[derive(Debug, Clone)]
pub struct BuildContext<'a> {
    /// Where its tensors live.
    pub device: Device,
    /// Height and width of the input.
    pub size: (i64, i64),
    /// Whether it learns or works.
    pub mode: Mode,
    /// In what numbers convolutions compute.
    pub precision: Precision,
    /// Where pretrained weights are found; `None` leaves them out, since the caller loads those of a run.
    pub pretrained: Option<&'a WeightFolders>,
}

/// A method on a device.
pub trait Model: Send {
    /// Everything that a run must keep.
    fn stores(&self) -> Vec<Store<'_>>;

    /// Where the weights of each network started from, e.g. `teacher` and a file, for the run's report; known to a model
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
    /// # Errors
    /// If an image cannot be read or processed.
    fn fit(&mut self, when: Fit, images: &dyn NormalImages) -> Result<bool, BoxError> {
        let _ = (when, images);
        Ok(false)
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
    /// All of them, always in the same order, in batches n×3×H×W on the model's device.
    fn batches(&self) -> Box<dyn Iterator<Item = Result<Tensor, BoxError>> + '_>;
}

/// A set of weights and buffers with a file of its own. A variable without elements takes the shape that the file has: for
/// what depends on the data, such as a memory of features.
#[derive(Debug, Clone, Copy)]
pub struct Store<'a> {
    /// Name of the file, without extension; no two stores of a model share one.
    pub name: &'a str,
    /// The variables.
    pub vars: &'a VarStore,
    /// Whether training leaves them as they are.
    pub frozen: bool,
}

impl<'a> Store<'a> {
    /// A store that training changes.
    #[must_use]
    pub const fn learned(name: &'a str, vars: &'a VarStore) -> Self {
        Self {
            name,
            vars,
            frozen: false,
        }
    }

    /// A store that training leaves as it is.
    #[must_use]
    pub const fn frozen(name: &'a str, vars: &'a VarStore) -> Self {
        Self {
            name,
            vars,
            frozen: true,
        }
    }

    /// Number of its weights and biases; the statistics of batch norms are none.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let variables = self.vars.trainable_variables();
        variables.iter().map(|variable| variable.numel() as u64).sum()
    }
}

/// Named scalar loss terms.
pub type Losses = Vec<(String, Tensor)>;

/// One training batch.
#[derive(Debug)]
pub struct Batch {
    /// Undamaged images, N×3×H×W.
    pub normal: Tensor,
    /// The same images after synthesis; without a synthesizer there are none.
    pub synthetic: Option<Synthesized>,
    /// Which image of the training split each one is.
    pub indices: Vec<usize>,
    /// What frozen networks gave of these undamaged images before; `None` where nothing is kept, or where an image does not
    /// look the same every time. See [`frozen_features`](Self::frozen_features).
    pub features: Option<FeatureCache>,
}

/// The damaged half of a batch.
#[derive(Debug)]
pub struct Synthesized {
    /// Damaged images, N×3×H×W.
    pub images: Tensor,
    /// 1 where the image is damaged, 0 elsewhere; N×1×H×W.
    pub mask: Tensor,
    /// Soft targets in 0..=1, N×1×H×W; the mask where the strategy has none.
    pub target: Tensor,
    /// Kind of defect per image; −1 for images that stayed normal.
    pub class: Vec<i64>,
}
