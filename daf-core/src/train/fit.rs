//! Shows a model the undamaged training images.

use std::cell::RefCell;

use tch::{Device, Tensor};

use super::Observer;
use crate::data::{self, Samples};
use crate::{BoxError, Fit, Model, NormalImages, Pipeline, Result};

/// The images of a training split as a model is fitted with them; the observer hears of every one.
struct TrainingImages<'a> {
    pipeline: &'a Pipeline,
    samples: &'a Samples,
    device: Device,
    observer: RefCell<&'a mut dyn Observer>,
}

impl NormalImages for TrainingImages<'_> {
    fn batches(&self) -> Box<dyn Iterator<Item = Result<Tensor, BoxError>> + '_> {
        let mut index = 0;
        let mut inputs = Vec::new();
        let next = move || {
            let wanted = self.pipeline.evaluation.batch_size;
            while inputs.len() < wanted && index < self.samples.len() {
                match self.samples.inputs(index) {
                    Ok(more) => inputs.extend(more),
                    Err(error) => return Some(Err(error.into())),
                }
                index += 1;
                self.observer.borrow_mut().fitted(index, self.samples.len());
            }
            if inputs.is_empty() {
                return None;
            }
            let batch: Vec<_> = inputs.drain(..inputs.len().min(wanted)).collect();
            let images: Vec<_> = batch.iter().map(AsRef::as_ref).collect();
            Some(data::images_to_tensor(&images, &self.pipeline.input, self.device).map_err(Into::into))
        };
        Box::new(std::iter::from_fn(next))
    }
}

/// Fits a model; says whether its stores have changed.
pub(super) fn fit(
    pipeline: &Pipeline,
    model: &mut dyn Model,
    when: Fit,
    samples: &Samples,
    device: Device,
    observer: &mut dyn Observer,
) -> Result<bool> {
    let images = TrainingImages {
        pipeline,
        samples,
        device,
        observer: RefCell::new(observer),
    };
    tch::no_grad(|| model.fit(when, &images)).map_err(|source| {
        pipeline
            .method
            .fault("fitting the model to normal images", source)
    })
}
