//! Chooses the thresholds of a trained model.

use std::path::Path;
use std::sync::Arc;

use daf_core::image::RgbImage;
use tch::Device;

use super::fit::TrainingImages;
use daf_core::calibration::{
    Basis, Calibration, Chosen, Source, ThresholdRule, extreme_value, folds, spread, upper_quantile,
};
use daf_core::data::InputView;
use daf_core::observer::Observer;
use daf_core::{Detection, Detector, Error, Fit, Item, Libtorch, Result, Synthesis};

use crate::Pipeline;
use crate::samples::TrainValSplit;

/// The epoch whose random streams damage the images of the synthetic validation; no training gets there.
const EPOCH: u64 = u32::MAX as u64 - 1;

/// Scores the held-out images and chooses thresholds. If none were held out, a model that does not learn by steps is fitted anew to
/// some of the training images and scores the others; one that learns scores those that it was trained with. With
/// [`ThresholdRule::F1Max`] they are those of [`ThresholdRule::ExtremeValue`] until the test split has been scored. `run` is the
/// directory with the weights.
pub(super) fn calibrate(
    run: &Path,
    pipeline: &Pipeline,
    detector: &Detector,
    normals: &TrainValSplit,
    device: Device,
    observer: &mut dyn Observer,
) -> Result<Calibration> {
    let settings = &pipeline.validation;
    let basis = Basis::of(
        settings,
        normals.train.len() + normals.validation.len(),
        pipeline.method.learns(),
    );
    // Images that were accepted later may have left too few to hold out.
    let (items, source) = match (normals.validation.is_empty(), basis.source) {
        (true, Source::CrossValidation) => (&normals.train, Source::CrossValidation),
        (true, _) => (&normals.train, Source::Training),
        (false, _) => (&normals.validation, Source::HeldOut),
    };
    let synthetic = settings.threshold == ThresholdRule::Synthetic;
    let batch = pipeline.evaluation.batch_size;
    let all = items.len() * if synthetic { 2 } else { 1 };

    let mut normal = Normal::default();
    if source == Source::CrossValidation {
        for fold in folds(items.len()) {
            let others = (0..items.len()).filter(|number| !fold.contains(number));
            let others = others.map(|number| items[number].clone()).collect();
            let refitted = refitted(run, pipeline, others, device)?;
            let left_out: Vec<Item> = fold.iter().map(|number| items[*number].clone()).collect();
            let before = normal.scores.images.len();
            normal.score(pipeline, &refitted, &left_out, |done| {
                observer.calibrated(before + done, all);
            })?;
        }
        observer.calibrated(items.len(), all);
    } else {
        normal.score(pipeline, detector, items, |done| observer.calibrated(done, all))?;
    }
    let Normal {
        scores: normal,
        pixels,
    } = normal;

    let mut damaged = Scored::default();
    if synthetic {
        let samples = pipeline.samples(items.clone(), 0.0)?;
        let mut inputs: Vec<Arc<RgbImage>> = Vec::new();
        for index in 0..items.len() {
            if let Some(Synthesis::Anomalous(synthetic)) = samples.sample(EPOCH, index)?.outcome {
                inputs.push(Arc::new(synthetic.image));
            }
            if inputs.len() == batch || index + 1 == items.len() && !inputs.is_empty() {
                let images: Vec<&RgbImage> = inputs.iter().map(AsRef::as_ref).collect();
                for found in detector.detect_inputs(&images)? {
                    damaged.push(&found);
                }
                inputs.clear();
            }
            observer.calibrated(items.len() + index + 1, all);
        }
    }

    if let Some(score) = (normal.images.iter().chain(&normal.largest))
        .chain(damaged.images.iter().chain(&damaged.largest))
        .find(|score| !score.is_finite())
    {
        return Err(Error::data(
            "weights",
            format!(
                "the trained network gives an image the score {score}, so there can be no threshold: its weights have \
                 grown beyond all bounds; train with a lower learning rate"
            ),
        ));
    }
    let basis = Basis {
        anomalous_images: damaged.images.len(),
        ..basis
    };
    let chosen = |median: f64, normal: &[f64], damaged: &[f64]| {
        if let Err(reason) = spread(normal, source) {
            return Chosen::missing(reason);
        }
        let threshold = match settings.threshold {
            ThresholdRule::ExtremeValue | ThresholdRule::F1Max => {
                extreme_value(normal, settings.false_alarms)
            }
            ThresholdRule::Quantile => upper_quantile(normal, settings.false_alarms),
            // Where nothing could be damaged, what is known of normal images has to do.
            ThresholdRule::Synthetic => {
                f1_threshold(normal, damaged).or_else(|| extreme_value(normal, settings.false_alarms))
            }
        };
        Chosen::new(median, threshold.unwrap_or(f64::INFINITY))
    };
    let median = |scores: &[f64]| upper_quantile(scores, 0.5).unwrap_or(f64::NEG_INFINITY);
    Ok(Calibration {
        image: chosen(median(&normal.images), &normal.images, &damaged.images),
        pixel: chosen(median(&pixels), &normal.largest, &damaged.largest),
        basis,
    })
}

/// The threshold of the largest F1; `None` without damaged images.
fn f1_threshold(normal: &[f64], damaged: &[f64]) -> Option<f64> {
    // Scores are computed in 32 bit, so nothing is lost.
    let scores: Vec<f32> = normal.iter().chain(damaged).map(|score| *score as f32).collect();
    let labels: Vec<bool> = (0..scores.len()).map(|index| index >= normal.len()).collect();
    let best = daf_metrics::f1_max(&scores, &labels).ok()?;
    Some(f64::from(best.threshold))
}

/// The model of a method that does not learn by steps, fitted to some of the training images.
fn refitted(run: &Path, pipeline: &Pipeline, items: Vec<Item>, device: Device) -> Result<Detector> {
    let mut engine = Libtorch::trained(run, &pipeline.model(), device)?;
    let samples = pipeline.samples(items, 0.0)?;
    tch::manual_seed(i64::try_from(pipeline.seed).unwrap_or(i64::MAX));
    for when in [Fit::BeforeTraining, Fit::AfterTraining] {
        engine.fit(when, &TrainingImages::new(pipeline, &samples, device, &mut ()))?;
    }
    Ok(Detector::new(Box::new(engine), pipeline.input, None))
}

/// Scores of normal images.
#[derive(Default)]
struct Normal {
    scores: Scored,
    /// Scores of some pixels of each image.
    pixels: Vec<f64>,
}

impl Normal {
    /// Adds the scores of images; `progress` hears how many of them are done.
    fn score(
        &mut self,
        pipeline: &Pipeline,
        detector: &Detector,
        items: &[Item],
        mut progress: impl FnMut(usize),
    ) -> Result<()> {
        let together = pipeline.input.images_at_once(pipeline.evaluation.batch_size);
        for (number, chunk) in items.chunks(together).enumerate() {
            let images = chunk
                .iter()
                .map(|item| pipeline.open(item))
                .collect::<Result<Vec<_>>>()?;
            let views: Vec<InputView> = images.iter().map(InputView::from).collect();
            for found in detector.detect_batch(&views)? {
                // Some thousand pixels of each image are plenty for a median.
                let scores = &found.map.scores;
                let step = (scores.len() / 4096).max(1);
                let pixels = scores.iter().step_by(step);
                self.pixels.extend(pixels.map(|score| f64::from(*score)));
                self.scores.push(&found);
            }
            progress(number * together + chunk.len());
        }
        Ok(())
    }
}

/// Scores of images, and the largest score of the pixels of each.
#[derive(Default)]
struct Scored {
    images: Vec<f64>,
    largest: Vec<f64>,
}

impl Scored {
    fn push(&mut self, found: &Detection) {
        self.images.push(found.score);
        self.largest.push(f64::from(found.map.max()));
    }
}
