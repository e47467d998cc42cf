//! Measures a trained run on its test split.

mod picture;
mod pixels;
mod scored_image;

use std::collections::BTreeMap;
use std::time::Instant;

use daf_metrics::{AUPIMO_LIMITS, Bootstrap, Groups, PixelMaps, RankedSamples, Unavailable};
use rayon::prelude::*;

use crate::run::Run;
use daf_core::atomic::{Replacement, remove_folder, write_csv, write_json};
use daf_core::calibration::{Basis, Calibration, Chosen, Scale, Source, ThresholdRule};
use daf_core::config::DeviceChoice;
use daf_core::data::InputImage;
use daf_core::results::{
    AtThreshold, CURVES, Curves, MAPS, METRICS, Measurements, Metrics, MultiplyAdds, PREDICTIONS, Prediction,
    Value,
};
use daf_core::{
    BoxError, Detection, Detector, Error, Item, Libtorch, Origin, Result, Split, concurrent, store,
};

use crate::Pipeline;

use picture::Pictures;
use pixels::{Pixels, Summary};
use scored_image::ScoredImage;

/// Scores the test split and writes `metrics.json`, `curves.json`, `predictions.csv` and, unless switched off, `maps/`
/// with the pictures and their [`Pieces`](daf_core::overlay::Pieces) into the run directory, all at its end; without `maps/`, those of an earlier
/// evaluation are removed. `progress` hears how many of how many images are done.
///
/// Images and masks that cannot be read, and heat maps that cannot be drawn, are left out with a warning;
/// [`Measurements`] counts them.
///
/// # Errors
/// If the test split is empty or none of its images can be read, the disk is full, or another process is at work in the run.
pub fn evaluate(run: &Run, device: DeviceChoice, progress: impl FnMut(usize, usize)) -> Result<Measurements> {
    let pipeline = run.pipeline();
    let model = pipeline.model();
    let engine = Libtorch::load(run.dir(), &model, device.resolve()?)?;
    let calibration = model.thresholds(run.dir(), !run.changed().is_empty())?;
    let _lock = run.lock()?;
    let dataset = pipeline.data.as_ref();
    let items = pipeline.items(Split::Test)?;
    if items.is_empty() {
        return Err(dataset.fault("test images", "there is none, so there is nothing to measure"));
    }
    // Before anything is scored or replaced: a fault here would come late otherwise.
    let network = Network {
        origins: store::origins(run.dir())?,
        multiply_adds: engine.multiply_adds()?,
        parameters: model.parameters()?,
    };
    let detector = &Detector::new(Box::new(engine), model.input, calibration);
    let started = Instant::now();
    let maps = run.dir().join(MAPS);
    let folder = (pipeline.output.maps)
        .then(|| Replacement::of(&maps))
        .transpose()?;
    let pictures = folder
        .as_ref()
        .map(|folder| Pictures::new(folder.path(), &pipeline.output, detector.calibration(), &items));
    let scored = score(detector, pipeline, &items, pictures.as_ref(), progress)?;
    let items: Vec<Item> = scored.items.iter().map(|place| items[*place].clone()).collect();
    let groups = groups(&items);
    let seconds = started.elapsed().as_secs_f64();

    let calibration = match (detector.calibration(), pipeline.validation.threshold) {
        (Some(calibration), ThresholdRule::F1Max) => Some(scored.recalibrated(calibration, &items)),
        (calibration, _) => calibration.cloned(),
    };
    // Thresholds of the test split go into the run only if it was trained to have them: those of held-out images cannot be had
    // again without another training.
    let kept = calibration.clone().filter(|_| {
        detector
            .calibration()
            .is_some_and(|of| of.basis.rule == ThresholdRule::F1Max)
    });
    let scale = calibration
        .as_ref()
        .and_then(|calibration| calibration.image.scale());
    let (measurements, curves) = scored.measure(run, &items, &groups, calibration, network, seconds);
    let predictions = scored.predictions(&items, scale);
    match folder {
        Some(folder) => folder.finish()?,
        None => remove_folder(&maps)?,
    }
    write_csv(&run.dir().join(PREDICTIONS), &predictions)?;
    write_json(&run.dir().join(CURVES), &curves)?;
    if let Some(calibration) = kept {
        write_json(&run.dir().join(Calibration::FILE), &calibration)?;
    }
    write_json(&run.dir().join(METRICS), &measurements)?;
    Ok(measurements)
}

/// Figures of the network that do not depend on the images.
struct Network {
    origins: Vec<Origin>,
    multiply_adds: MultiplyAdds,
    parameters: u64,
}

fn groups(items: &[Item]) -> Groups {
    Groups::new(
        items
            .iter()
            .map(|item| (item.category.as_deref().unwrap_or_default(), item.kinds())),
    )
}

/// The test images, scored.
struct Scored {
    /// Numbers among all images: those that could be read.
    items: Vec<usize>,
    /// Images and masks that could not be read.
    unreadable: usize,
    /// Pictures that could not be drawn.
    undrawn: usize,
    scores: Vec<f32>,
    pixels: Pixels,
    /// Place of each image among the maps that were pushed; `None` without a mask.
    places: Vec<Option<usize>>,
    size: (u32, u32),
    /// The scale that the pictures are colored by.
    colors: Option<Scale>,
    /// The name of each one's picture, if it was drawn.
    pictures: Vec<Option<String>>,
}

fn score(
    detector: &Detector,
    pipeline: &Pipeline,
    items: &[Item],
    pictures: Option<&Pictures>,
    mut progress: impl FnMut(usize, usize),
) -> Result<Scored> {
    let dataset = pipeline.data.as_ref();
    let reading = pipeline.input.reading();
    let settings = &pipeline.evaluation;
    let mut scored: Option<Scored> = None;
    let (mut done, mut unreadable, mut undrawn) = (0, 0, 0);
    let batch = pipeline.input.images_at_once(settings.batch_size);
    let places: Vec<usize> = (0..items.len()).collect();
    let read = |places: &[usize]| {
        let read: Vec<_> = (places.par_iter())
            .map(|place| dataset.read(&items[*place], reading))
            .collect();
        let mut opened = Opened {
            count: places.len(),
            ..Opened::default()
        };
        for (place, image) in places.iter().zip(read) {
            match image {
                Ok(image) => opened.images.push((*place, image)),
                Err(error) => opened.broken.push(error),
            }
        }
        Ok(opened)
    };
    let look = |opened: Opened| {
        let images: Vec<&InputImage> = opened.images.iter().map(|(_, image)| image).collect();
        let found = match &images[..] {
            [] => Vec::new(),
            images => detector.detect_batch(images)?,
        };
        Ok((opened, found))
    };
    let finish = |(opened, found): (Opened, Vec<Detection>)| {
        let known = (opened.images.par_iter().zip(found))
            .map(|((place, image), found)| {
                let known = ScoredImage::of(pipeline, &items[*place], &image.rgb, found)?;
                let picture = pictures.map(|pictures| pictures.draw(*place, &image.rgb, &known));
                Ok((*place, known, picture))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok((opened.count, opened.broken, known))
    };
    concurrent::stages(
        places.chunks(batch),
        read,
        look,
        finish,
        |(count, broken, known)| {
            done += count;
            progress(done, items.len());
            unreadable += broken.len();
            for error in broken {
                tracing::warn!("{error}; the image is left out");
            }
            let Some((_, first, _)) = known.first() else {
                return Ok(());
            };
            let size = (first.map.height, first.map.width);
            let scored = scored.get_or_insert_with(|| {
                let pixels = items.len() * size.0 as usize * size.1 as usize;
                Scored {
                    items: Vec::with_capacity(items.len()),
                    unreadable: 0,
                    undrawn: 0,
                    scores: Vec::with_capacity(items.len()),
                    pixels: Pixels::new(pixels, settings.memory_mb << 20, &groups(items)),
                    places: Vec::with_capacity(items.len()),
                    size,
                    colors: detector
                        .calibration()
                        .and_then(|calibration| calibration.pixel.scale()),
                    pictures: Vec::with_capacity(items.len()),
                }
            });
            let mut maps = Vec::with_capacity(known.len());
            for (place, known, picture) in known {
                if let Some(error) = &known.broken_mask {
                    unreadable += 1;
                    tracing::warn!("{error}; its image takes no part in the pixel metrics");
                }
                let picture = picture.and_then(|drawn| match drawn {
                    Ok(name) => Some(name),
                    Err(error) => {
                        undrawn += 1;
                        // Where a disk is full, the others fail as well.
                        if undrawn == 1 {
                            tracing::warn!("a heat map is left out: {error}");
                        }
                        None
                    }
                });
                scored.items.push(place);
                scored.pictures.push(picture);
                scored.scores.push(known.score as f32);
                maps.push(known);
            }
            let chunk: Vec<&Item> = (scored.items[scored.items.len() - maps.len()..].iter())
                .map(|place| &items[*place])
                .collect();
            let places = scored.pixels.push(&maps, &chunk)?;
            scored.places.extend(places);
            Ok::<_, Error>(())
        },
    )?;
    match scored {
        Some(scored) => Ok(Scored {
            unreadable,
            undrawn,
            ..scored
        }),
        None => Err(dataset.fault(
            "test images",
            "none of them can be read, so there is nothing to measure",
        )),
    }
}

/// Opened test images.
#[derive(Default)]
struct Opened {
    /// Number of images that were asked for.
    count: usize,
    /// Numbers among all, and pixels.
    images: Vec<(usize, InputImage)>,
    /// Why others cannot be read.
    broken: Vec<BoxError>,
}

impl Scored {
    /// Thresholds of the largest F1 on the test split itself.
    fn recalibrated(&self, calibration: &Calibration, items: &[Item]) -> Calibration {
        let labels: Vec<bool> = items.iter().map(Item::is_anomalous).collect();
        let moved = |chosen: &mut Chosen, threshold: f32| {
            if let Some(scale) = chosen.scale() {
                *chosen = Chosen::new(scale.median, f64::from(threshold));
            }
        };
        let mut chosen = calibration.clone();
        chosen.basis.rule = ThresholdRule::F1Max;
        if let Ok(best) = daf_metrics::f1_max(&self.scores, &labels) {
            moved(&mut chosen.image, best.threshold);
            let anomalous = labels.iter().filter(|anomalous| **anomalous).count();
            chosen.basis = Basis {
                source: Source::Test,
                anomalous_images: anomalous,
                normal_images: labels.len() - anomalous,
                ..chosen.basis
            };
        }
        if let Some(threshold) = self.pixels.f1_threshold() {
            moved(&mut chosen.pixel, threshold);
        }
        chosen
    }

    fn measure(
        &self,
        run: &Run,
        items: &[Item],
        groups: &Groups,
        calibration: Option<Calibration>,
        network: Network,
        seconds: f64,
    ) -> (Measurements, Curves) {
        let pipeline = run.pipeline();
        let limit = *pipeline.evaluation.pro_limit;
        let everything: Vec<usize> = (0..items.len()).collect();
        let (overall, summary) = self.metrics(items, &everything, None, limit);
        let several = groups.categories().len() > 1;
        let (mut by_category, mut by_defect) = (BTreeMap::new(), BTreeMap::new());
        for (name, category) in groups.categories() {
            if several {
                let group = Some((name.as_str(), None));
                by_category.insert(
                    name.clone(),
                    self.metrics(items, category.images(), group, limit).0,
                );
            }
            for defect in category.defects() {
                let places: Vec<usize> = category.defect(defect).collect();
                let label = if several {
                    format!("{name}/{defect}")
                } else {
                    defect.to_owned()
                };
                let group = Some((name.as_str(), Some(defect)));
                by_defect.insert(label, self.metrics(items, &places, group, limit).0);
            }
        }
        let labels: Vec<bool> = items.iter().map(Item::is_anomalous).collect();
        let samples = RankedSamples::new(&self.scores, &labels);
        let intervals = self.intervals(&samples, pipeline.evaluation.resamples, pipeline.seed, limit);
        let curves = Curves {
            image: samples.as_ref().map(RankedSamples::curve).unwrap_or_default(),
            pixel: summary.curve,
        };
        let measurements = Measurements {
            at_threshold: calibration
                .as_ref()
                .and_then(|calibration| calibration.image.scale())
                .map(|scale| at_threshold(&self.scores, &labels, scale)),
            intervals,
            mean: several.then(|| mean(by_category.values())),
            by_category,
            by_defect,
            calibration,
            colors: self.colors,
            weights: network.origins,
            size: self.size,
            mask_rule: pipeline.evaluation.mask_rule.to_string(),
            pro_limit: limit,
            without_mask: self.places.iter().filter(|place| place.is_none()).count(),
            unreadable: self.unreadable,
            undrawn: self.undrawn,
            pixel_error: summary.error,
            images_per_second: items.len() as f64 / seconds,
            multiply_adds: network.multiply_adds,
            parameters: Some(network.parameters),
            changed: run.changed().to_vec(),
            overall,
        };
        (measurements, curves)
    }

    /// The metrics of some of the images; `group` names category and defect type of those.
    fn metrics(
        &self,
        items: &[Item],
        places: &[usize],
        group: Option<(&str, Option<&str>)>,
        limit: f64,
    ) -> (Metrics, Summary) {
        let scores: Vec<f32> = places.iter().map(|place| self.scores[*place]).collect();
        let labels: Vec<bool> = places.iter().map(|place| items[*place].is_anomalous()).collect();
        let anomalous = labels.iter().filter(|anomalous| **anomalous).count();
        let samples = RankedSamples::new(&scores, &labels);
        let of = |metric: fn(&RankedSamples) -> f64| {
            Value::from(samples.as_ref().map(metric).map_err(|reason| *reason))
        };
        let maps: Vec<usize> = places.iter().filter_map(|place| self.places[*place]).collect();
        let pixels = self.pixels.summary(&maps, group, limit);
        let metrics = Metrics {
            normal: labels.len() - anomalous,
            anomalous,
            image_auroc: of(RankedSamples::auroc),
            image_ap: of(RankedSamples::average_precision),
            image_f1_max: of(|samples| samples.f1_max().f1),
            pixel_auroc: pixels.auroc.clone(),
            pixel_pro: pixels.pro.clone(),
            pixel_ap: pixels.average_precision.clone(),
            pixel_f1_max: pixels.f1_max.clone(),
            pixel_iou_max: pixels.iou_max.clone(),
            aupimo: pixels.aupimo.clone(),
        };
        (metrics, pixels)
    }

    fn intervals(
        &self,
        samples: &Result<RankedSamples, Unavailable>,
        resamples: u32,
        seed: u64,
        limit: f64,
    ) -> BTreeMap<String, daf_metrics::Interval> {
        let mut intervals = BTreeMap::new();
        if resamples == 0 {
            return intervals;
        }
        let settings = Bootstrap {
            resamples,
            seed,
            ..Bootstrap::default()
        };
        let mut note = |name: &str, interval| _ = intervals.insert(name.to_owned(), interval);
        if let Ok(found) = samples
            .as_ref()
            .map_err(|reason| *reason)
            .and_then(|s| s.bootstrap(&settings))
        {
            note("image_auroc", found.auroc);
            note("image_ap", found.average_precision);
            note("image_f1_max", found.f1_max);
        }
        if let Some(Ok(found)) = self
            .pixels
            .exact()
            .map(|maps| maps.evaluate().bootstrap(limit, &settings))
        {
            note("pixel_auroc", found.auroc);
            note("pixel_ap", found.average_precision);
            note("pixel_pro", found.pro);
        }
        intervals
    }

    fn predictions(&self, items: &[Item], scale: Option<Scale>) -> Vec<Prediction> {
        let aupimo = self
            .pixels
            .exact()
            .and_then(|maps: &PixelMaps| maps.aupimo(AUPIMO_LIMITS).ok())
            .map(|aupimo| aupimo.images)
            .unwrap_or_default();
        let lines = items.iter().enumerate().map(|(place, item)| {
            let score = f64::from(self.scores[place]);
            Prediction {
                image: item.image.display().to_string(),
                category: item.category.clone(),
                label: item.label().to_owned(),
                score,
                calibrated: scale.map(|scale| scale.calibrated(score)),
                aupimo: self.places[place].and_then(|map| aupimo.get(map).copied().flatten()),
                picture: self.pictures[place].as_ref().map(|name| format!("{MAPS}/{name}")),
            }
        });
        lines.collect()
    }
}

fn at_threshold(scores: &[f32], labels: &[bool], scale: Scale) -> AtThreshold {
    let count = |anomalous: bool, reaches: bool| {
        scores
            .iter()
            .zip(labels)
            .filter(|(score, label)| {
                **label == anomalous && (f64::from(**score) >= scale.threshold) == reaches
            })
            .count()
    };
    let (false_alarms, missed) = (count(false, true), count(true, false));
    AtThreshold {
        false_alarms,
        normal: false_alarms + count(false, false),
        missed,
        anomalous: missed + count(true, true),
    }
}

/// Mean over categories of every metric that all of them have.
fn mean<'m>(categories: impl ExactSizeIterator<Item = &'m Metrics>) -> BTreeMap<String, f64> {
    let count = categories.len();
    let mut sums: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    for metrics in categories {
        for (name, value) in metrics.values() {
            if let Some(number) = value.number() {
                let (sum, found) = sums.entry(name).or_default();
                *sum += number;
                *found += 1;
            }
        }
    }
    let complete = sums.into_iter().filter(|(_, (_, found))| *found == count);
    complete
        .map(|(name, (sum, found))| (name.to_owned(), sum / found as f64))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_at_the_threshold_counts_as_anomalous() {
        let scale = Scale {
            median: 0.0,
            threshold: 0.5,
        };
        let found = at_threshold(&[0.1, 0.5, 0.5, 0.4], &[false, false, true, true], scale);
        let expected = AtThreshold {
            false_alarms: 1,
            normal: 2,
            missed: 1,
            anomalous: 2,
        };
        assert_eq!(found, expected);
    }
}
