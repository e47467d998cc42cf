//! Measures a trained run on its test split.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use daf_metrics::{PixelMaps, Unavailable, auroc};
use image::{GrayImage, RgbImage};
use serde::{Deserialize, Serialize};

use crate::detect::{Detection, Detector};
use crate::run::{write_file, write_json};
use crate::{Dataset, Error, Item, Kind, Origin, Result, Split, data, overlay};

/// A metric, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// 0..=1, higher is better.
    Number(f64),
    /// Why the metric is not available for this data.
    Missing {
        /// The reason.
        unavailable: String,
    },
}

impl From<std::result::Result<f64, Unavailable>> for Value {
    fn from(result: std::result::Result<f64, Unavailable>) -> Self {
        match result {
            Ok(number) => Self::Number(number),
            Err(reason) => Self::Missing {
                unavailable: reason.to_string(),
            },
        }
    }
}

impl Value {
    /// The number, if there is one.
    #[must_use]
    pub const fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Missing { .. } => None,
        }
    }
}

/// The four metrics of the paper on a set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Images without a defect.
    pub normal: usize,
    /// Images with one.
    pub anomalous: usize,
    /// I-AUC: area under the ROC curve of the image scores.
    pub image_auroc: Value,
    /// P-AUC: the same of the pixel scores.
    pub pixel_auroc: Value,
    /// PRO: mean overlap of the defect regions, exact, up to the false-positive rate of the settings.
    pub pixel_pro: Value,
    /// P-mAP: average precision of the pixel scores, step-wise.
    pub pixel_ap: Value,
}

/// `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// On the whole test split.
    pub overall: Metrics,
    /// On each type of defect together with all normal images.
    pub by_defect: BTreeMap<String, Metrics>,
    /// Where the weights of the networks started from.
    pub weights: Vec<Origin>,
    /// Height and width at which pixels were compared.
    pub size: (u32, u32),
    /// How masks were brought to that size.
    pub mask_rule: String,
    /// False-positive rate up to which PRO was integrated.
    pub pro_limit: f64,
    /// Anomalous images without a mask; they take no part in the pixel metrics.
    pub without_mask: usize,
    /// Scores between which heat maps are coloured: the median of the normal pixels, and the median over the anomalous
    /// images of their largest score.
    pub colour_scale: (f32, f32),
}

impl Report {
    /// Reads the report of a run, if it has been evaluated.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn read(run: &Path) -> Result<Option<Self>> {
        let path = run.join("metrics.json");
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|e| Error::data(&path, format!("damaged: {e}; run `evaluate` again"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(&path)(error)),
        }
    }
}

/// One test image, scored.
struct Scored {
    item: Item,
    score: f64,
    map: crate::ScoreMap,
    /// At the map's size; `None` if the image is anomalous and its mask unknown.
    mask: Option<GrayImage>,
}

/// Scores the test split, writes `metrics.json`, `predictions.csv` and, unless switched off, `maps/` into the run
/// directory. `progress` hears how many of how many images are done.
///
/// # Errors
/// If the test split is empty, an image or mask cannot be read, or the disk is full.
pub fn evaluate(detector: &Detector, mut progress: impl FnMut(usize, usize)) -> Result<Report> {
    let pipeline = detector.run().pipeline();
    let dataset = pipeline.data.as_ref();
    let items = dataset
        .items(Split::Test)
        .map_err(|source| part(dataset, "test images", source))?;
    if items.is_empty() {
        return Err(part(
            dataset,
            "test images",
            "there is none, so there is nothing to measure".into(),
        ));
    }
    let mut scored = Vec::with_capacity(items.len());
    for chunk in items.chunks(pipeline.evaluation.batch_size) {
        let images = chunk
            .iter()
            .map(|item| read(dataset, item))
            .collect::<Result<Vec<_>>>()?;
        let found = detector.detect_batch(&images.iter().collect::<Vec<_>>())?;
        for (item, Detection { score, map }) in chunk.iter().zip(found) {
            let mask = mask_of(dataset, item, &map)?;
            scored.push(Scored {
                item: item.clone(),
                score,
                map,
                mask,
            });
        }
        progress(scored.len(), items.len());
    }
    let report = measure(&scored, pipeline.evaluation.pro_limit, detector.run().origins()?)?;
    let dir = detector.run().dir();
    write_predictions(&dir.join("predictions.csv"), &scored)?;
    if pipeline.output.maps {
        crate::run::write_folder_over(&dir.join("maps"), |folder| {
            draw(folder, dataset, &scored, &report)
        })?;
    }
    write_json(&dir.join("metrics.json"), &report)?;
    Ok(report)
}

fn part(dataset: &dyn Dataset, at: &str, source: crate::BoxError) -> Error {
    Error::Part {
        kind: Kind::Dataset,
        name: dataset.typetag_name().into(),
        at: at.into(),
        source,
    }
}

fn read(dataset: &dyn Dataset, item: &Item) -> Result<RgbImage> {
    dataset
        .image(item)
        .map_err(|source| part(dataset, &item.image.display().to_string(), source))
}

/// The mask at the map's size, by the nearest pixel centre.
fn mask_of(dataset: &dyn Dataset, item: &Item, map: &crate::ScoreMap) -> Result<Option<GrayImage>> {
    if !item.is_anomalous() {
        return Ok(Some(GrayImage::new(map.width, map.height)));
    }
    let mask = dataset
        .mask(item)
        .map_err(|source| part(dataset, &item.image.display().to_string(), source))?;
    mask.map(|mask| data::resize_mask(&mask, map.width, map.height))
        .transpose()
}

fn measure(scored: &[Scored], pro_limit: f64, weights: Vec<Origin>) -> Result<Report> {
    let anomalous: Vec<&Scored> = scored.iter().filter(|s| s.item.is_anomalous()).collect();
    let types: std::collections::BTreeSet<&str> = anomalous.iter().map(|s| s.item.label()).collect();
    let of_type = |defect: &str| {
        let chosen = scored
            .iter()
            .filter(|s| !s.item.is_anomalous() || s.item.label() == defect);
        metrics(&chosen.collect::<Vec<_>>(), pro_limit)
    };
    let by_defect = types
        .iter()
        .map(|defect| Ok(((*defect).to_owned(), of_type(defect)?)));
    let first = &scored[0].map;
    Ok(Report {
        overall: metrics(&scored.iter().collect::<Vec<_>>(), pro_limit)?,
        by_defect: by_defect.collect::<Result<_>>()?,
        weights,
        size: (first.height, first.width),
        mask_rule: "nearest pixel centre, defect where the mask is over half of its range".into(),
        pro_limit,
        without_mask: anomalous.iter().filter(|s| s.mask.is_none()).count(),
        colour_scale: colour_scale(scored),
    })
}

fn metrics(scored: &[&Scored], pro_limit: f64) -> Result<Metrics> {
    let scores: Vec<f32> = scored.iter().map(|s| s.score as f32).collect();
    let labels: Vec<bool> = scored.iter().map(|s| s.item.is_anomalous()).collect();
    let pixels = scored
        .iter()
        .filter(|s| s.mask.is_some())
        .map(|s| s.map.scores.len())
        .sum();
    let mut maps = PixelMaps::with_capacity(pixels);
    for Scored { item, map, mask, .. } in scored {
        let Some(mask) = mask else { continue };
        maps.push(
            &map.scores,
            mask.as_raw().as_slice(),
            map.width as usize,
            map.height as usize,
        )
        .map_err(|reason| Error::data(&item.image, reason.to_string()))?;
    }
    let pixels = maps.evaluate();
    let anomalous = labels.iter().filter(|anomalous| **anomalous).count();
    Ok(Metrics {
        normal: labels.len() - anomalous,
        anomalous,
        image_auroc: auroc(&scores, &labels).into(),
        pixel_auroc: pixels.auroc().into(),
        pixel_pro: pixels.pro(pro_limit).into(),
        pixel_ap: pixels.average_precision().into(),
    })
}

/// From the median of the normal pixels to what a typical defect reaches: the median, over the anomalous images, of the
/// largest score. The largest of all would leave everything but one image pale.
fn colour_scale(scored: &[Scored]) -> (f32, f32) {
    let some = |anomalous: bool| {
        let chosen: Vec<&Scored> = scored
            .iter()
            .filter(|s| s.item.is_anomalous() == anomalous)
            .collect();
        if chosen.is_empty() {
            scored.iter().collect()
        } else {
            chosen
        }
    };
    // Every 16th pixel is plenty for a median.
    let pixels = some(false)
        .into_iter()
        .flat_map(|s| s.map.scores.iter().step_by(16).copied())
        .collect();
    let largest = some(true).into_iter().map(|s| s.map.largest()).collect();
    (median(pixels), median(largest))
}

fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

fn write_predictions(path: &Path, scored: &[Scored]) -> Result<()> {
    let mut text = String::from("image,label,score\n");
    for Scored { item, score, .. } in scored {
        let image = item.image.display().to_string().replace('"', "\"\"");
        let image = if image.contains([',', '"', '\n']) {
            format!("\"{image}\"")
        } else {
            image
        };
        text += &format!("{image},{},{score}\n", item.label());
    }
    write_file(path, text.as_bytes())
}

/// One picture per image: the image, the true mask as an outline, and the heat map over it.
fn draw(folder: &Path, dataset: &dyn Dataset, scored: &[Scored], report: &Report) -> Result<()> {
    for Scored { item, map, mask, .. } in scored {
        let image = data::resize_rgb(&read(dataset, item)?, map.width, map.height)?;
        let picture = overlay::panel(
            &image,
            mask.as_ref().filter(|_| item.is_anomalous()),
            map,
            report.colour_scale,
        );
        let path = folder.join(item.label()).join(picture_name(item));
        std::fs::create_dir_all(folder.join(item.label())).map_err(Error::io(folder))?;
        picture
            .save(&path)
            .map_err(|e| Error::data(&path, e.to_string()))?;
    }
    Ok(())
}

fn picture_name(item: &Item) -> PathBuf {
    PathBuf::from(item.image.file_stem().unwrap_or_default()).with_extension("png")
}
