//! Threads that make training samples ahead of the training.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use daf_core::image::{GrayImage, Luma};
use tch::{Device, Tensor};

use super::{Sample, Samples};
use daf_core::config::Input;
use daf_core::{
    Batch, Error, FeatureCache, Result, Synthesis, Synthesized, images_to_tensor, masks_to_tensor, upload,
};

/// Samples in order, made by threads.
///
/// Thread `w` of `W` makes every `W`-th sample and hands it over through a channel of its own, so the order is that of a
/// single thread.
#[derive(Debug)]
pub struct Loader {
    channels: Vec<Receiver<Result<Sample>>>,
    threads: Vec<JoinHandle<()>>,
    next: usize,
}

/// Samples that each thread may be ahead.
const AHEAD: usize = 16;

impl Loader {
    /// Starts `workers` threads that make the samples from number `from` on, without end.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(samples: &Arc<Samples>, from: u64, workers: usize) -> Result<Self> {
        let workers = workers.max(1);
        let mut channels = Vec::with_capacity(workers);
        let mut threads = Vec::with_capacity(workers);
        for worker in 0..workers {
            let (sender, receiver) = sync_channel(AHEAD);
            let samples = Arc::clone(samples);
            let work = move || {
                let length = samples.len() as u64;
                let mut order = (u64::MAX, Vec::new());
                for number in (from + worker as u64..).step_by(workers) {
                    let (epoch, place) = (number / length, number % length);
                    if order.0 != epoch {
                        order = (epoch, samples.order(epoch));
                    }
                    let sample = samples.sample(epoch, order.1[place as usize]);
                    let failed = sample.is_err();
                    // The receiver is gone when the training has ended.
                    if sender.send(sample).is_err() || failed {
                        return;
                    }
                }
            };
            let thread = thread::Builder::new()
                .name(format!("loader {worker}"))
                .spawn(work)
                .map_err(Error::io("a thread of the loader"))?;
            channels.push(receiver);
            threads.push(thread);
        }
        Ok(Self {
            channels,
            threads,
            next: 0,
        })
    }

    /// The next sample.
    ///
    /// # Errors
    /// The error of the thread that made it.
    pub fn sample(&mut self) -> Result<Sample> {
        let channel = &self.channels[self.next];
        self.next = (self.next + 1) % self.channels.len();
        channel.recv().unwrap_or_else(|_| {
            Err(Error::data(
                "training data",
                "a loader thread died; its message is above: a part panicked",
            ))
        })
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.channels.clear();
        for thread in self.threads.drain(..) {
            // A thread that panicked has been reported by `sample`.
            let _ = thread.join();
        }
    }
}

/// Puts samples together, with what is kept of the features of undamaged images if they look the same every time.
///
/// # Errors
/// [`Error::Shape`] if the samples are not of one size.
pub fn batch(
    samples: &[Sample],
    input: &Input,
    device: Device,
    features: Option<&FeatureCache>,
) -> Result<Batch> {
    let normal: Vec<_> = samples.iter().map(|sample| sample.normal.as_ref()).collect();
    let indices = samples.iter().map(|sample| sample.index).collect();
    let synthetic = if samples.iter().any(|sample| sample.outcome.is_some()) {
        Some(synthesized(samples, input, device)?)
    } else {
        None
    };
    Ok(Batch {
        normal: images_to_tensor(&normal, input, device)?,
        synthetic,
        indices,
        features: features
            .filter(|_| samples.iter().all(|sample| sample.recurs))
            .cloned(),
    })
}

fn synthesized(samples: &[Sample], input: &Input, device: Device) -> Result<Synthesized> {
    let damage = |sample: &Sample| match &sample.outcome {
        Some(Synthesis::Anomalous(synthetic)) => Some(synthetic.clone()),
        _ => None,
    };
    let damages: Vec<_> = samples.iter().map(damage).collect();
    let (width, height) = samples[0].normal.dimensions();
    let clean = GrayImage::from_pixel(width, height, Luma([0]));
    let pairs = || samples.iter().zip(&damages);
    let images: Vec<_> = pairs()
        .map(|(sample, damage)| {
            damage
                .as_ref()
                .map_or(sample.normal.as_ref(), |damage| &damage.image)
        })
        .collect();
    let masks: Vec<_> = damages
        .iter()
        .map(|damage| damage.as_ref().map_or(&clean, |damage| &damage.mask))
        .collect();
    let mask = masks_to_tensor(&masks, device)?;
    let mut target = mask.shallow_clone();
    if damages.iter().flatten().any(|damage| damage.target.is_some()) {
        target = mask.copy();
        for (row, damage) in (0i64..).zip(&damages) {
            let Some(soft) = damage.as_ref().and_then(|damage| damage.target.as_ref()) else {
                continue;
            };
            let soft = Tensor::from_slice(soft).f_view([1, i64::from(height), i64::from(width)])?;
            target.get(row).copy_(&upload(&soft, device));
        }
    }
    let class = damages
        .iter()
        .map(|damage| damage.as_ref().map_or(-1, |damage| i64::from(damage.class)));
    Ok(Synthesized {
        images: images_to_tensor(&images, input, device)?,
        mask,
        target,
        class: class.collect(),
    })
}
