//! Opens everything that a training reads, once: a file that cannot be read is told before the first step.

use std::path::PathBuf;

use rayon::prelude::*;

use daf_core::observer::Observer;
use daf_core::{BoxError, Error, Result, data};

use crate::Pipeline;
use crate::samples::{Samples, TrainValSplit};

/// Images that are opened before the observer hears of them.
const TOGETHER: usize = 64;

impl Pipeline {
    /// Opens every image file that the synthesizer draws from.
    ///
    /// # Errors
    /// Names all those that cannot be read.
    pub fn check_image_files(&self) -> Result<()> {
        let Some(synthesizer) = &self.synthesizer else {
            return Ok(());
        };
        let open = |file: &PathBuf| data::read_rgb(file).err().map(Into::into);
        let broken: Vec<BoxError> = synthesizer.image_files().par_iter().filter_map(open).collect();
        match all(broken) {
            None => Ok(()),
            Some(source) => Err(synthesizer.fault("images that it draws from", source)),
        }
    }
}

/// Opens all images of a training and what its synthesizer draws from, and has it make defects. `samples` keep what they have room
/// for.
pub(super) fn check(
    pipeline: &Pipeline,
    normals: &TrainValSplit,
    samples: &Samples,
    observer: &mut dyn Observer,
) -> Result<()> {
    pipeline.check_image_files().map_err(Error::unusable)?;
    open(pipeline, normals, samples, observer)?;
    samples.check_defects()
}

/// Opens all images that a model is fitted and thresholds are chosen with. `samples` keep what they have room for.
pub(super) fn open(
    pipeline: &Pipeline,
    normals: &TrainValSplit,
    samples: &Samples,
    observer: &mut dyn Observer,
) -> Result<()> {
    let dataset = pipeline.data.as_ref();
    let reading = pipeline.input.reading();
    let (train, all_images) = (samples.len(), samples.len() + normals.validation.len());
    let open = |place: usize| match place.checked_sub(train) {
        None => samples.open(place).err(),
        Some(held_out) => dataset.read(&normals.validation[held_out], reading).err(),
    };
    let places: Vec<usize> = (0..all_images).collect();
    let mut broken = Vec::new();
    let mut done = 0;
    for places in places.chunks(TOGETHER) {
        broken.par_extend(places.par_iter().filter_map(|place| open(*place)));
        done += places.len();
        observer.opened(done, all_images);
    }
    match all(broken) {
        None => Ok(()),
        Some(source) => Err(dataset.fault("train images", source)),
    }
}

/// All errors as one, a line each.
fn all(mut errors: Vec<BoxError>) -> Option<BoxError> {
    if errors.len() < 2 {
        return errors.pop();
    }
    let lines: Vec<String> = errors.iter().map(|error| format!("\n    {error}")).collect();
    let count = errors.len();
    Some(
        format!(
            "{count} cannot be read; mend them, or take them out:{}",
            lines.concat()
        )
        .into(),
    )
}
