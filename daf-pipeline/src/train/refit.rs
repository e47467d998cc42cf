//! Fits a trained model again, to more images than its training had.

use std::path::Path;

use daf_core::atomic::{copy_file, write_json};
use daf_core::calibration::Calibration;
use daf_core::observer::Observer;
use daf_core::results::{HISTORY, SHORTENED, SYNTHESIS};
use daf_core::{Detector, Error, Libtorch, ModelConfig, Result, store};

use super::calibrate::calibrate;
use super::fit::TrainingImages;
use super::sound;
use crate::Pipeline;
use crate::run::{Run, images};

/// Files of a training that stay true of a model that is fitted again.
const OF_TRAINING: [&str; 3] = [HISTORY, SHORTENED, SYNTHESIS];

/// Result of [`refit`].
#[derive(Debug)]
pub struct Refitted {
    /// The new run.
    pub run: Run,
    /// Normal images that the old run did not have.
    pub added: usize,
    /// How many of them are held out to choose thresholds with.
    pub added_held_out: usize,
    /// Normal images in all.
    pub images: usize,
    /// Stores that were fitted to the images, in the order of their names; none if the model has nothing but trained weights.
    pub fitted: Vec<String>,
    /// Patches of normal images that were kept before.
    pub patches_before: u64,
    /// Patches of normal images that are kept now.
    pub patches_now: u64,
    /// The thresholds of the new run.
    pub calibration: Calibration,
}

/// Fits the model of a trained run again, to the normal images of `pipeline`: those of the run and more. What was trained by steps
/// stays as it is; what was fitted (a memory, quantiles, statistics of a scorer) is fitted anew, and thresholds are chosen anew. The
/// result is a new run in `dir`, which is complete or absent; the old one is only read.
///
/// # Errors
/// If the run has not ended its training, `pipeline` has another model, images of the run are gone, `dir` exists already, and
/// whatever the data, the parts and the disk have to say.
pub fn refit(old: &Run, pipeline: Pipeline, dir: &Path, observer: &mut dyn Observer) -> Result<Refitted> {
    store::check_complete(old.dir())?;
    let config = pipeline.model();
    if !ModelConfig::open(old.dir(), &[] as &[&str])?.scores_as(&config) {
        let reason = "`method`, `input` and `scorer` must be those of the run, whose weights are kept; found others among the settings";
        return Err(Error::data(old.dir(), reason).unusable());
    }
    let device = pipeline.device.resolve()?;
    let images::MoreNormals {
        normals,
        added,
        added_held_out,
    } = old.more_normals(&pipeline)?;
    let samples = pipeline.samples(normals.train.clone(), 0.0)?;
    sound::open(&pipeline, &normals, &samples, observer)?;
    let mut engine = Libtorch::load(old.dir(), &config, device)?;
    let patches_before = engine.kept_patches();
    tch::manual_seed(i64::try_from(pipeline.seed).unwrap_or(i64::MAX));
    let changed = engine.refit(
        old.dir(),
        &TrainingImages::new(&pipeline, &samples, device, observer),
    )?;
    let patches_now = engine.kept_patches();
    let mut fitted: Vec<String> = changed.iter().map(|changed| changed.store.clone()).collect();
    fitted.sort_unstable();
    let detector = Detector::new(Box::new(engine), config.input, None);
    let calibration = calibrate(old.dir(), &pipeline, &detector, &normals, device, observer)?;
    let images = normals.train.len() + normals.validation.len();
    let run = Run::create_from(dir, pipeline, old, |dir| {
        images::keep(dir, &normals)?;
        for file in OF_TRAINING {
            if old.dir().join(file).is_file() {
                copy_file(&old.dir().join(file), &dir.join(file))?;
            }
        }
        write_json(&dir.join(Calibration::FILE), &calibration)?;
        store::copy(old.dir(), dir, changed)
    })?;
    Ok(Refitted {
        run,
        added,
        added_held_out,
        images,
        fitted,
        patches_before,
        patches_now,
        calibration,
    })
}
