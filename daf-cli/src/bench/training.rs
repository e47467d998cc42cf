use std::sync::Arc;
use std::time::Instant;

use daf_core::FeatureCache;
use daf_core::block::Mode;
use daf_core::tch::{self, Device, Kind, Tensor};
use daf_core::{Batch, Fit, Model};
use daf_pipeline::Pipeline;
use daf_pipeline::samples::{Loader, Sample, Samples, TrainValSplit, batch};
use daf_pipeline::train::{OptimizerState, Phase, Place, step};

use super::clock::{Clock, Peak, milliseconds};
use super::stage::Stage;
use crate::check::Noise;
use crate::failure::Failure;

/// The parts of the training loop, to measure them.
pub(super) struct Training<'a> {
    pipeline: &'a Pipeline,
    device: Device,
    normals: TrainValSplit,
}

impl<'a> Training<'a> {
    pub(super) fn new(pipeline: &'a Pipeline) -> Result<Self, Failure> {
        Ok(Self {
            pipeline,
            device: pipeline.device.resolve()?,
            normals: pipeline.normals()?,
        })
    }

    pub(super) fn measure(&self, clock: &mut Clock) -> Result<(), Failure> {
        let batch_size = self.pipeline.trainer.batch_size;
        let samples = self.samples(batch_size)?;
        let drawn = self.drawn(&samples, batch_size)?;
        if self.pipeline.synthesizer.is_some() {
            // The images are in memory now, so that only the synthesis is left.
            clock.single(Stage::Synthesize, |round| {
                let (epoch, place) = (round / samples.len(), round % samples.len());
                Ok(samples.sample(1 + epoch as u64, place).map(drop)?)
            })?;
        }
        let features = FeatureCache::new(
            self.pipeline.trainer.feature_cache_mb << 20,
            self.normals.train.len(),
        );
        let batch = || batch(&drawn, &self.pipeline.input, self.device, features.as_ref());
        clock.batches(Stage::Collate, batch_size, |_| Ok(batch().map(drop)?))?;

        let steps = Stage::TRAINING[2..].iter();
        if steps.into_iter().any(|stage| clock.wants(*stage)) {
            let mut learner = Learner::new(self.pipeline, self.device)?;
            self.steps(&mut learner, &batch()?, clock)?;
            self.end_to_end(&mut learner, clock)?;
        }
        Ok(())
    }

    /// The samples of at most so many images.
    fn samples(&self, images: usize) -> Result<Arc<Samples>, Failure> {
        let mut items = self.normals.train.clone();
        items.truncate(images);
        let share = *self.pipeline.trainer.normal_share;
        Ok(Arc::new(self.pipeline.samples(items, share)?))
    }

    fn drawn(&self, samples: &Samples, count: usize) -> Result<Vec<Sample>, Failure> {
        let sample = |number: usize| {
            let epoch = (number / samples.len()) as u64;
            Ok(samples.sample(epoch, number % samples.len())?)
        };
        (0..count).map(sample).collect()
    }

    fn steps(&self, learner: &mut Learner, batch: &Batch, clock: &mut Clock) -> Result<(), Failure> {
        let images = batch.indices.len();
        clock.batches(Stage::TrainingStep, images, |_| learner.step(batch, |_| ()))?;
        let parts = [Stage::Forward, Stage::Backward, Stage::Optimizer];
        if !parts.iter().any(|stage| clock.wants(*stage)) {
            return Ok(());
        }
        // Apart from the whole steps: on a GPU every look at the clock waits for it.
        let mut ms = parts.map(|_| Vec::with_capacity(clock.repeats()));
        for round in 0..clock.warmup() + clock.repeats() {
            clock.finish_device_work();
            let mut last = Instant::now();
            learner.step(batch, |part| {
                clock.finish_device_work();
                if round >= clock.warmup() {
                    ms[part as usize].push(milliseconds(last));
                }
                last = Instant::now();
            })?;
        }
        for (stage, ms) in parts.into_iter().zip(ms) {
            clock.add(stage, images, ms, None);
        }
        Ok(())
    }

    /// Two epochs and more with the loader: images are read in the first and are in memory, as far as the cache goes, from
    /// then on.
    fn end_to_end(&self, learner: &mut Learner, clock: &mut Clock) -> Result<(), Failure> {
        if !clock.wants(Stage::FirstEpoch) && !clock.wants(Stage::Training) {
            return Ok(());
        }
        let trainer = &self.pipeline.trainer;
        let batch_size = trainer.batch_size;
        let samples = self.samples(clock.repeats() * batch_size)?;
        let peak = Peak::start();
        let mut last = Instant::now();
        let mut loader = Loader::start(&samples, 0, trainer.threads())?;
        let features = FeatureCache::new(trainer.feature_cache_mb << 20, self.normals.train.len());
        let first = samples.len().div_ceil(batch_size);
        let mut ms = Vec::new();
        for _ in 0..first + clock.repeats() {
            let drawn = (0..batch_size)
                .map(|_| loader.sample())
                .collect::<Result<Vec<_>, _>>()?;
            let batch = batch(&drawn, &self.pipeline.input, self.device, features.as_ref())?;
            learner.step(&batch, |_| ())?;
            ms.push(milliseconds(last));
            last = Instant::now();
        }
        let peak = peak.end();
        let later = ms.split_off(first);
        clock.add(Stage::FirstEpoch, batch_size, ms, None);
        clock.add(Stage::Training, batch_size, later, peak);
        Ok(())
    }
}

/// A model and its optimizer.
struct Learner {
    model: Box<dyn Model>,
    optimizer: OptimizerState,
    method: &'static str,
}

impl Learner {
    fn new(pipeline: &Pipeline, device: Device) -> Result<Self, Failure> {
        let size = pipeline.input.size;
        tch::manual_seed(i64::try_from(pipeline.seed).unwrap_or_default());
        // Pretrained weights cost as much as others.
        let mut model = pipeline.build(device, Mode::Train, None)?;
        let [height, width] = [size.height(), size.width()].map(i64::from);
        let noise = Tensor::rand([3, 3, height, width], (Kind::Float, device));
        tch::no_grad(|| model.fit(Fit::BeforeTraining, &Noise(noise)))
            .map_err(|source| pipeline.method.fault("fitting the model to noise", source))?;
        let optimizer = OptimizerState::new(&pipeline.trainer.optimizer, &model.stores());
        Ok(Self {
            model,
            optimizer,
            method: pipeline.method.typetag_name(),
        })
    }

    /// A step of the training. `ended` is told of each part when it has been asked for.
    fn step(&mut self, batch: &Batch, ended: impl FnMut(Phase)) -> Result<(), Failure> {
        let place = Place {
            method: self.method,
            epoch: 0,
            step: 0,
        };
        step(self.model.as_ref(), &mut self.optimizer, batch, 1.0, place, ended)?;
        Ok(())
    }
}
