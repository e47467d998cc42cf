//! The training loop. It knows no method: a model offers named loss terms, the loop sums, checks and minimises them.

mod calibrate;
mod checkpoint;
mod fit;
mod history;
mod optimizer;
mod pace;
mod refit;
mod sound;
mod step;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::run::Run;
use daf_core::atomic::write_json;
use daf_core::block::Mode;
use daf_core::calibration::Calibration;
use daf_core::image::RgbImage;
use daf_core::overlay;
use daf_core::results::{HISTORY, Record, SHORTENED, SYNTHESIS, Shortened};
use daf_core::weights::WeightFolders;
use daf_core::{Detector, Error, FeatureCache, Fit, Libtorch, Result, store};

use crate::config::CheckpointInterval;
use crate::samples::{Loader, Samples, batch, picture};

use calibrate::calibrate;
use checkpoint::Position;
pub use daf_core::observer::{Observer, Plan};
use fit::TrainingImages;
use history::History;
pub use optimizer::OptimizerState;
pub use pace::Pace;
pub use refit::{Refitted, refit};
pub use step::{Phase, Place, step};

/// Trains the pipeline of a run and leaves its weights and thresholds in the run's directory. Goes on from the newest checkpoint if
/// there is one; on the same processor and number of threads the result is the same, bit for bit, as without the break. A GPU
/// adds in no fixed order: there it is the same within rounding.
///
/// # Errors
/// [`Error::Diverged`] if a loss or gradient is not finite, [`Error::Interrupted`] if the observer stops it,
/// [`Error::Data`] if another process is at work in the run, and whatever the data, the parts and the disk have to say.
pub fn train(run: &Run, folders: &WeightFolders, observer: &mut dyn Observer) -> Result<()> {
    go(run, folders, observer, false)
}

/// Ends a training that was broken off: makes of its newest checkpoint what [`train`] makes of its last step. That the run was
/// [shortened](Shortened) is written into its directory.
///
/// # Errors
/// The errors of [`train`], or if there is no checkpoint.
pub fn finish(run: &Run, folders: &WeightFolders, observer: &mut dyn Observer) -> Result<()> {
    go(run, folders, observer, true)
}

fn go(run: &Run, folders: &WeightFolders, observer: &mut dyn Observer, early: bool) -> Result<()> {
    let _lock = run.lock()?;
    let pipeline = run.pipeline();
    let trainer = &pipeline.trainer;
    let device = pipeline.device.resolve()?;
    let normals = run.normals()?;
    let samples = Arc::new(pipeline.samples(normals.train.clone(), *trainer.normal_share)?);
    checkpoint::sweep(run.dir());
    let newest = checkpoint::newest(run.dir())?;
    if early && newest.is_none() && pipeline.method.learns() {
        let reason = "there is no checkpoint yet, so nothing has been learned that the run could end with; go on with --resume";
        return Err(Error::data(run.dir(), reason));
    }
    if newest.is_none() {
        sound::check(pipeline, &normals, &samples, observer)?;
    }
    if !run.knows_images() {
        if newest.is_some() {
            tracing::warn!(
                "{}: begun by a version of daf that kept no list of images, so nobody knows whether they are still the same",
                run.dir().display()
            );
        }
        run.keep_images(&normals)?;
    }

    tch::manual_seed(i64::try_from(pipeline.seed).unwrap_or(i64::MAX));
    // A resumed run has its own weights, whatever has become of the published ones since.
    let pretrained = newest.is_none().then_some(folders);
    let config = pipeline.model();
    let mut model = (config.build(device, Mode::Train, pretrained)).map_err(Error::unusable)?;
    let mut optimizer = OptimizerState::new(&trainer.optimizer, &model.stores());
    let position = match &newest {
        Some(folder) => {
            store::load(run.dir(), &model.stores(), true)?;
            checkpoint::load(folder, model.as_ref(), &mut optimizer)?
        }
        None => {
            let images = TrainingImages::new(pipeline, &samples, device, observer);
            config.fit(model.as_mut(), Fit::BeforeTraining, &images)?;
            store::save(run.dir(), &model.stores(), true)?;
            store::save_origins(run.dir(), &model.origins())?;
            if pipeline.output.maps && pipeline.synthesizer.is_some() {
                overlay::save(&first_samples(&samples)?, &run.dir().join(SYNTHESIS))?;
            }
            Position::default()
        }
    };
    let mut history = History::open(&run.dir().join(HISTORY), position)?;

    let planned = match pipeline.method.learns() {
        true => trainer.total_steps(samples.len()),
        false => 0,
    };
    let plan = Plan {
        images: samples.len(),
        steps: if early { position.step } else { planned },
        done: position.step,
        batch_size: trainer.batch_size,
    };
    observer.started(&plan);
    let features = FeatureCache::new(trainer.feature_cache_mb << 20, samples.len());
    let first = plan.done * trainer.batch_size as u64;
    let mut loader = (plan.done < plan.steps)
        .then(|| Loader::start(&samples, first, trainer.threads()))
        .transpose()?;
    let mut due = Due::new(trainer.checkpoint_every, &plan);
    for number in plan.done..plan.steps {
        let Some(loader) = &mut loader else { break };
        let started = Instant::now();
        let drawn = (0..trainer.batch_size)
            .map(|_| loader.sample())
            .collect::<Result<Vec<_>>>()?;
        let batch = batch(&drawn, &pipeline.input, device, features.as_ref())?;
        let loaded = started.elapsed();
        let epoch = trainer.epoch(number, plan.images);
        let factor = trainer.rate(number, plan.images);
        let method = pipeline.method.typetag_name();
        let place = Place {
            method,
            epoch,
            step: number,
        };
        let terms = step(model.as_ref(), &mut optimizer, &batch, factor, place, |_| ())?;
        let record = Record {
            step: number,
            epoch,
            learning_rate: factor * trainer.optimizer.learning_rate(),
            loss: terms.iter().map(|(_, value)| value).sum(),
            terms,
            seconds: started.elapsed().as_secs_f64(),
            loading: loaded.as_secs_f64(),
        };
        history.append(&record)?;
        observer.stepped(&record);
        let done = number + 1;
        let stop = observer.stop();
        if stop || done == plan.steps || due.now(done) {
            let position = Position {
                step: done,
                history: history.sync()?,
            };
            checkpoint::save(run.dir(), model.as_ref(), &optimizer, position)?;
        }
        if stop {
            return Err(Error::Interrupted { step: done });
        }
    }
    drop(loader);
    store::save(run.dir(), &model.stores(), false)?;
    let mut engine = Libtorch::trained(run.dir(), &config, device)?;
    let images = TrainingImages::new(pipeline, &samples, device, observer);
    let changed = engine.fit(Fit::AfterTraining, &images)?;
    engine.save_fitted(run.dir(), changed)?;
    let detector = Detector::new(Box::new(engine), config.input, None);
    let calibration = calibrate(run.dir(), pipeline, &detector, &normals, device, observer)?;
    write_json(&run.dir().join(Calibration::FILE), &calibration)?;
    if plan.steps < planned {
        let shortened = Shortened {
            steps: plan.steps,
            of: planned,
        };
        write_json(&run.dir().join(SHORTENED), &shortened)?;
    }
    store::complete(run.dir())
}

/// A picture of the first samples of the training.
fn first_samples(samples: &Samples) -> Result<RgbImage> {
    const SAMPLES: usize = 16;
    let drawn = (0..SAMPLES)
        .map(|number| {
            let epoch = (number / samples.len()) as u64;
            samples.sample(epoch, samples.order(epoch)[number % samples.len()])
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(picture(&drawn))
}

/// When the next checkpoint is due.
struct Due {
    every_steps: Option<u64>,
    every: Option<Duration>,
    last: Instant,
}

impl Due {
    fn new(every: Option<CheckpointInterval>, plan: &Plan) -> Self {
        let epochs = |epochs: u64| {
            (epochs.saturating_mul(plan.images as u64))
                .div_ceil(plan.batch_size as u64)
                .max(1)
        };
        let (every_steps, every) = match every {
            Some(CheckpointInterval::Steps(steps)) => (Some(steps), None),
            Some(CheckpointInterval::Epochs(count)) => (Some(epochs(count)), None),
            Some(CheckpointInterval::Time(time)) => (None, Some(time)),
            None => (Some(epochs(1)), Some(Duration::from_secs(60))),
        };
        Self {
            every_steps,
            every,
            last: Instant::now(),
        }
    }

    fn now(&mut self, done: u64) -> bool {
        let by_steps = self.every_steps.is_some_and(|every| done.is_multiple_of(every));
        let by_time = self.every.is_some_and(|every| self.last.elapsed() >= every);
        if by_steps || by_time {
            self.last = Instant::now();
        }
        by_steps || by_time
    }
}
