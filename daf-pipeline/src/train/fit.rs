//! Shows a model the undamaged training images.

use std::cell::RefCell;

use tch::Device;

use daf_core::observer::Observer;
use daf_core::{BoxError, NormalBatch, NormalImages, images_to_tensor};

use crate::Pipeline;
use crate::samples::Samples;

/// The images of a training split as a model is fitted with them; the observer hears of every one.
pub(super) struct TrainingImages<'a> {
    pipeline: &'a Pipeline,
    samples: &'a Samples,
    device: Device,
    observer: RefCell<&'a mut dyn Observer>,
}

impl<'a> TrainingImages<'a> {
    pub(super) fn new(
        pipeline: &'a Pipeline,
        samples: &'a Samples,
        device: Device,
        observer: &'a mut dyn Observer,
    ) -> Self {
        Self {
            pipeline,
            samples,
            device,
            observer: RefCell::new(observer),
        }
    }
}

impl NormalImages for TrainingImages<'_> {
    fn batches(&self) -> Box<dyn Iterator<Item = Result<NormalBatch, BoxError>> + '_> {
        let mut index = 0;
        let mut inputs = Vec::new();
        let next = move || {
            let wanted = self.pipeline.evaluation.batch_size;
            while inputs.len() < wanted && index < self.samples.len() {
                match self.samples.inputs(index) {
                    Ok(more) => inputs.extend(more.into_iter().map(|input| (input, index))),
                    Err(error) => return Some(Err(error.into())),
                }
                index += 1;
                self.observer.borrow_mut().fitted(index, self.samples.len());
            }
            if inputs.is_empty() {
                return None;
            }
            let (batch, indices): (Vec<_>, Vec<_>) = inputs.drain(..inputs.len().min(wanted)).unzip();
            let images: Vec<_> = batch.iter().map(AsRef::as_ref).collect();
            let images = images_to_tensor(&images, &self.pipeline.input, self.device);
            let batch = |images| NormalBatch { images, indices };
            Some(images.map(batch).map_err(Into::into))
        };
        Box::new(std::iter::from_fn(next))
    }
}
