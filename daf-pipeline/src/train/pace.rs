//! Measures what a training costs on this machine, before it begins.

use std::sync::Arc;
use std::time::{Duration, Instant};

use daf_core::block::Mode;
use daf_core::data::spread;
use daf_core::weights::WeightFolders;
use daf_core::{Error, FeatureCache, Fit, Item, Result};

use super::fit::TrainingImages;
use super::{OptimizerState, Place, step};
use crate::Pipeline;
use crate::samples::{Loader, batch};

/// Seconds that the parts of a run take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// A step of the training; 0 for a method that does not learn by steps.
    pub step: f64,
    /// All that a run does besides its steps, by estimate: opening images, fitting, choosing thresholds, measuring, drawing.
    pub rest: f64,
}

/// Steps before the measured ones: in the first of them memory is asked for and kernels are chosen.
const WARM_UP: u64 = 2;
/// Steps that are measured at most, and at least.
const MOST: u64 = 10;
const LEAST: u64 = 2;
/// No further step is measured after this time.
const ENOUGH: Duration = Duration::from_secs(3);
/// Images that are opened, fitted to and scored.
const IMAGES: usize = 8;
/// Times of opening an image that drawing its pictures takes: they are encoded, which takes longer than decoding.
const DRAWING: f64 = 10.0;
/// Times of opening an image that looking it through for faults takes, whether it is learned from or measured with.
const EXAMINING: f64 = 2.0;
/// Factor on what is estimated, and seconds for what no image costs: reports, confidence intervals.
const MARGIN: f64 = 1.3;
const FIXED: f64 = 3.0;

impl Pace {
    /// Measures a pipeline: some steps on the real samples, the opening of some images, and the scoring of some, by a model that
    /// is thrown away. `tests` is the number of images that will be measured with. Changes nothing of what a training does
    /// later.
    ///
    /// # Errors
    /// As those of [`train`](super::train()) that show in its first steps.
    pub fn measure(pipeline: &Pipeline, folders: &WeightFolders, tests: usize) -> Result<Self> {
        let trainer = &pipeline.trainer;
        let device = pipeline.device.resolve()?;
        let normals = pipeline.normals()?;
        let (train, held_out) = (normals.train.len(), normals.validation.len());

        let some: Vec<Item> = spread(&normals.train, IMAGES).into_iter().cloned().collect();
        let opening = per(some.len(), || {
            some.iter().try_for_each(|item| pipeline.open(item).map(drop))
        })?;
        let config = pipeline.model();
        tch::manual_seed(i64::try_from(pipeline.seed).unwrap_or(i64::MAX));
        let mut model = (config.build(device, Mode::Train, Some(folders))).map_err(Error::unusable)?;
        let few = Arc::new(pipeline.samples(some, *trainer.normal_share)?);
        let mut nobody = ();
        let fitting = per(few.len(), || {
            let images = TrainingImages::new(pipeline, &few, device, &mut nobody);
            config.fit(model.as_mut(), Fit::BeforeTraining, &images).map(drop)
        })?;
        let mut step_seconds = 0.0;
        if pipeline.method.learns() {
            let samples = Arc::new(pipeline.samples(normals.train, *trainer.normal_share)?);
            let mut optimizer = OptimizerState::new(&trainer.optimizer, &model.stores());
            let features = FeatureCache::new(trainer.feature_cache_mb << 20, samples.len());
            let mut loader = Loader::start(&samples, 0, trainer.threads())?;
            let mut started = Instant::now();
            let mut measured = 0;
            for number in 0..WARM_UP + MOST {
                if number == WARM_UP {
                    started = Instant::now();
                }
                let drawn = (0..trainer.batch_size)
                    .map(|_| loader.sample())
                    .collect::<Result<Vec<_>>>()?;
                let batch = batch(&drawn, &pipeline.input, device, features.as_ref())?;
                let place = Place {
                    method: pipeline.method.typetag_name(),
                    epoch: 0,
                    step: number,
                };
                let factor = trainer.rate(number, samples.len());
                step(model.as_ref(), &mut optimizer, &batch, factor, place, |_| ())?;
                measured = (number + 1).saturating_sub(WARM_UP);
                if measured >= LEAST && started.elapsed() > ENOUGH {
                    break;
                }
            }
            step_seconds = started.elapsed().as_secs_f64() / measured.max(1) as f64;
        }
        // A model that is fitted after its last step can score only then.
        let images = TrainingImages::new(pipeline, &few, device, &mut nobody);
        let fitted = per(few.len(), || {
            config.fit(model.as_mut(), Fit::AfterTraining, &images).map(drop)
        })?;
        let inputs = few.inputs(0)?;
        let scoring = per(1, || {
            let images: Vec<_> = inputs.iter().map(AsRef::as_ref).collect();
            let tensor = daf_core::images_to_tensor(&images, &pipeline.input, device)?;
            let maps = tch::no_grad(|| model.infer(&tensor))
                .map_err(|source| pipeline.method.fault("measuring the model", source))?;
            // A GPU has done its work when a number of it is known.
            let last = maps.probability.iter().chain(&maps.discrepancy).last();
            let _ = last.map(|map| map.sum(tch::Kind::Float).double_value(&[]));
            Ok(())
        })?;
        let calibrated = if held_out > 0 { held_out } else { train };
        let drawing = if pipeline.output.maps {
            DRAWING * opening
        } else {
            0.0
        };
        let rest = (train + held_out) as f64 * opening
            + (train + held_out + tests) as f64 * EXAMINING * opening
            + train as f64 * (fitting + fitted)
            + calibrated as f64 * (opening + scoring)
            + tests as f64 * (2.0 * opening + scoring + drawing);
        Ok(Self {
            step: step_seconds,
            rest: MARGIN * rest + FIXED,
        })
    }

    /// How many steps fit into a time beside all else; `None` if not one does.
    #[must_use]
    pub fn steps_within(&self, seconds: f64) -> Option<u64> {
        let steps = (seconds - self.rest) / self.step.max(f64::MIN_POSITIVE);
        (steps >= 1.0).then_some(steps as u64)
    }
}

/// The seconds that each of so many images takes.
fn per(images: usize, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64() / images.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_that_fit_leave_time_for_the_rest() {
        let pace = Pace {
            step: 0.5,
            rest: 10.0,
        };
        assert_eq!(pace.steps_within(60.0), Some(100));
        assert_eq!(pace.steps_within(10.5), Some(1));
        for short in [10.4, 3.0, 0.0] {
            assert_eq!(pace.steps_within(short), None);
        }
    }
}
