//! Chooses the thresholds of a trained model.

use std::sync::Arc;

use image::RgbImage;

use crate::calibration::{Basis, Calibration, Chosen, Rule, Source, extreme_value, spread, upper_quantile};
use crate::data::{InputView, Normals};
use crate::detect::Scoring;
use crate::{Error, Outcome, Pipeline, Result, ScoreMap};

/// The epoch whose random streams damage the images of the synthetic validation; no training gets there.
const EPOCH: u64 = u32::MAX as u64 - 1;

/// Scores the held-out images, or those that were trained with if none were held out, and chooses thresholds. With
/// [`Rule::F1Max`] they are those of [`Rule::ExtremeValue`] until the test split has been scored.
pub(super) fn calibrate(
    pipeline: &Pipeline,
    scoring: &Scoring,
    normals: &Normals,
    mut progress: impl FnMut(usize, usize),
) -> Result<Calibration> {
    let (items, source) = if normals.validation.is_empty() {
        (&normals.train, Source::Training)
    } else {
        (&normals.validation, Source::HeldOut)
    };
    let settings = &pipeline.validation;
    let synthetic = settings.threshold == Rule::Synthetic;
    let batch = pipeline.evaluation.batch_size;
    let all = items.len() * if synthetic { 2 } else { 1 };

    let mut normal = Scored::default();
    let mut pixels = Vec::new();
    for chunk in items.chunks(pipeline.input.images_at_once(batch)) {
        let images = chunk
            .iter()
            .map(|item| pipeline.open(item))
            .collect::<Result<Vec<_>>>()?;
        for (score, map) in
            scoring.score(pipeline, &images.iter().map(InputView::from).collect::<Vec<_>>())?
        {
            // Some thousand pixels of each image are plenty for a median.
            let step = (map.scores.len() / 4096).max(1);
            pixels.extend(map.scores.iter().step_by(step).map(|v| f64::from(*v)));
            normal.push(score, &map);
        }
        progress(normal.images.len(), all);
    }

    let mut damaged = Scored::default();
    if synthetic {
        let samples = pipeline.samples(items.clone(), 0.0)?;
        let mut inputs: Vec<Arc<RgbImage>> = Vec::new();
        for index in 0..items.len() {
            if let Some(Outcome::Damaged(synthetic)) = samples.sample(EPOCH, index)?.outcome {
                inputs.push(Arc::new(synthetic.image));
            }
            if inputs.len() == batch || index + 1 == items.len() && !inputs.is_empty() {
                let images: Vec<&RgbImage> = inputs.iter().map(AsRef::as_ref).collect();
                for (score, map) in scoring.score_inputs(pipeline, &images)? {
                    damaged.push(score, &map);
                }
                inputs.clear();
            }
            progress(items.len() + index + 1, all);
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
        ..Basis::of(settings, normals.train.len() + normals.validation.len())
    };
    let chosen = |median: f64, normal: &[f64], damaged: &[f64]| {
        if let Err(reason) = spread(normal, source) {
            return Chosen::missing(reason);
        }
        let threshold = match settings.threshold {
            Rule::ExtremeValue | Rule::F1Max => extreme_value(normal, settings.false_alarms),
            Rule::Quantile => upper_quantile(normal, settings.false_alarms),
            // Where nothing could be damaged, what is known of normal images has to do.
            Rule::Synthetic => {
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

/// Scores of images, and the largest score of the pixels of each.
#[derive(Default)]
struct Scored {
    images: Vec<f64>,
    largest: Vec<f64>,
}

impl Scored {
    fn push(&mut self, score: f64, map: &ScoreMap) {
        self.images.push(score);
        self.largest.push(f64::from(map.largest()));
    }
}
