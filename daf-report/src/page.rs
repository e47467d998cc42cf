//! `report.html`: a run on one page.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use askama::Template;
use daf_core::atomic::write_file;
use daf_core::calibration::{Chosen, Scale};
use daf_core::overlay::{OUTLINE, color, opacity};
use daf_core::results::{Findings, Measurements, Metric, Prediction, Record, Results};
use daf_core::{Error, Result};

use crate::charts::{self, CurveKind, NOT_EVALUATED, ScoreLevel, Values};
use crate::gallery::{self, Exhibit, Gallery, Picture, Verdict};
use crate::plot::{Chart, Mark};
use crate::table::{Table, percent};

/// The file's name in the run directory.
pub const FILE: &str = "report.html";

/// Bytes for the pictures of test images, of the 15 MB that a page may have.
const GALLERY: usize = 11_500_000;
/// Bytes for the contact sheet of synthetic samples.
const SHEET: usize = 1_500_000;

/// Writes `report.html` into a run directory, or writes it anew; gives its path.
///
/// # Errors
/// If it is no run directory, a file in it is damaged, or the disk is full.
pub fn write(dir: &Path) -> Result<PathBuf> {
    let path = dir.join(FILE);
    write_file(&path, page(&Results::read(dir)?)?.as_bytes())?;
    Ok(path)
}

/// The report on a run as an HTML page of less than 15 MB that needs no other file. A run that has not been
/// evaluated, or trained, has one too, which says what is missing.
///
/// # Errors
/// If the contact sheet of synthetic samples is damaged.
pub fn page(results: &Results) -> Result<String> {
    let metrics = results.metrics.as_ref();
    let scale = results
        .thresholds()
        .and_then(|calibration| calibration.image.scale());
    let colors = metrics.and_then(|metrics| metrics.colors);
    let gallery = Gallery::of(results, GALLERY);
    let shown = gallery.exhibits.len();
    let left_out = (shown < gallery.all).then(|| {
        format!(
            "For want of room the page shows {shown} of {} images, those with the largest errors, in parts of at most {} \
             pixels; predictions.csv and maps/ have all of them.",
            gallery.all, gallery.side
        )
    });
    let exhibits: Vec<ImageCard> = gallery.exhibits.into_iter().map(ImageCard::of).collect();
    let kinds: BTreeSet<String> = exhibits
        .iter()
        .flat_map(|card| card.kinds.iter().cloned())
        .collect();
    let page = Page {
        name: name(results),
        summary: summary(results),
        findings: results.findings.as_deref().unwrap_or_default(),
        cards: cards(metrics),
        tables: metrics.map(tables).unwrap_or_default(),
        conditions: metrics.map(conditions).unwrap_or_default(),
        curves: curves(results, scale),
        training: training(&results.history),
        ramp: Ramp::new(),
        scale_ends: scale_ends(colors),
        scale_note: if colors.is_some() {
            "All heat maps have this one scale. The overlay lets the image show through where the map is cold. The outline \
             is that of the true defect."
        } else {
            "The run has no threshold for pixels, so each heat map has a scale of its own."
        },
        error_note: if scale.is_some() {
            "The error of an image is how far its score lies on the wrong side of the threshold."
        } else {
            "The run has no threshold: the error of an image is the share of images between it and the end of the ranking \
             where it belongs."
        },
        judged: scale.is_some(),
        left_out,
        kinds,
        exhibits,
        no_images: if metrics.is_some() {
            "The run has no predictions.csv."
        } else {
            "Not available: the run has not been evaluated."
        },
        synthesis: gallery::synthesis(&results.dir, SHEET)?,
        facts: facts(results),
        parts: &results.manifest.parts,
        config: &results.config,
    };
    page.render()
        .map_err(|error| Error::data(&results.dir, format!("the report could not be made: {error}")))
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    name: String,
    summary: String,
    /// Findings in the images, by kind.
    findings: &'a [Findings],
    cards: Vec<Card>,
    tables: Vec<Table>,
    conditions: Vec<String>,
    curves: Vec<Chart>,
    training: Vec<Chart>,
    ramp: Ramp,
    scale_ends: [ScaleEnd; 3],
    scale_note: &'static str,
    error_note: &'static str,
    judged: bool,
    left_out: Option<String>,
    kinds: BTreeSet<String>,
    exhibits: Vec<ImageCard>,
    no_images: &'static str,
    synthesis: Option<(String, (u32, u32))>,
    facts: Vec<(&'static str, String)>,
    parts: &'a [(String, String)],
    config: &'a str,
}

/// A figure on a card of its own.
struct Card {
    name: String,
    value: Result<String, String>,
    unit: &'static str,
    interval: String,
    meaning: String,
    /// Whether it needs twice the width.
    wide: bool,
}

/// An end of the color scale, or its middle.
struct ScaleEnd {
    score: String,
    meaning: &'static str,
}

/// An image of the gallery as the page words it.
struct ImageCard {
    name: String,
    label: String,
    /// Every type of its defects, by which cards are filtered.
    kinds: Vec<String>,
    place: usize,
    /// Digits that people read.
    score: String,
    /// All digits, to sort by.
    score_key: String,
    calibrated: Option<String>,
    error: f64,
    verdict: Option<Verdict>,
    picture: Result<Picture, String>,
}

impl ImageCard {
    fn of(exhibit: Exhibit) -> Self {
        let prediction = exhibit.prediction;
        Self {
            name: exhibit.name(),
            label: labeled(prediction, &prediction.label),
            kinds: prediction.kinds().map(|kind| labeled(prediction, kind)).collect(),
            place: exhibit.place,
            score: significant(prediction.score),
            score_key: prediction.score.to_string(),
            calibrated: prediction.calibrated.map(|score| format!("{score:.2}")),
            error: exhibit.error,
            verdict: exhibit.verdict,
            picture: exhibit.picture,
        }
    }
}

/// A label of an image, after its category if it has one.
fn labeled(prediction: &Prediction, label: &str) -> String {
    match &prediction.category {
        Some(category) => format!("{category}/{label}"),
        None => label.to_owned(),
    }
}

/// The directory's name.
pub(crate) fn name(results: &Results) -> String {
    let dir = &results.dir;
    let absolute = dir.canonicalize();
    let name = absolute.as_deref().unwrap_or(dir).file_name();
    name.map_or_else(
        || dir.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn summary(results: &Results) -> String {
    let steps = results.history.len();
    // Measured without a step: a method without weights to learn.
    let trained = match (steps, &results.metrics) {
        (0, None) => "not trained yet".to_owned(),
        (0, Some(_)) => "no training steps".to_owned(),
        _ => match &results.shortened {
            Some(shortened) => format!("training {shortened}"),
            None => format!("{steps} training steps"),
        },
    };
    match &results.metrics {
        Some(metrics) => format!(
            "{trained}, measured on {} normal images and {} with a defect",
            metrics.overall.normal, metrics.overall.anomalous
        ),
        None => format!("{trained}, not evaluated yet"),
    }
}

fn cards(metrics: Option<&Measurements>) -> Vec<Card> {
    let mut cards: Vec<Card> = Vec::new();
    for metric in Metric::of_the_paper() {
        let value = match metrics {
            Some(metrics) => metric.of(metrics).map(percent),
            None => Err(NOT_EVALUATED.to_owned()),
        };
        let interval = metrics
            .and_then(|metrics| metrics.intervals.get(metric.name()))
            .filter(|_| value.is_ok());
        let interval = interval.map(|i| format!("95 %: {}–{}", percent(i.low), percent(i.high)));
        cards.push(Card {
            name: metric.short().to_owned(),
            value,
            unit: "%",
            interval: interval.unwrap_or_default(),
            meaning: metric.meaning().to_owned(),
            wide: false,
        });
    }
    cards.push(threshold_card(metrics));
    cards.push(Card {
        name: "Speed".into(),
        value: metrics
            .map(|metrics| format!("{:.1}", metrics.images_per_second))
            .ok_or_else(|| NOT_EVALUATED.to_owned()),
        unit: "images/s",
        interval: String::new(),
        meaning: "of the evaluation, reading and writing included".into(),
        wide: false,
    });
    cards
}

fn threshold_card(metrics: Option<&Measurements>) -> Card {
    let calibration = metrics.and_then(|metrics| metrics.calibration.as_ref());
    let value = match (metrics, calibration) {
        (None, _) => Err(NOT_EVALUATED.to_owned()),
        (Some(_), Some(calibration)) => match &calibration.image {
            Chosen::Scale(scale) => Ok(significant(scale.threshold)),
            Chosen::Missing { unavailable } => Err(unavailable.clone()),
        },
        (Some(metrics), None) if metrics.changed.is_empty() => Err("the run has no calibration".to_owned()),
        (Some(_), None) => Err(
            "the run was measured with settings that give other scores than those its thresholds are for"
                .to_owned(),
        ),
    };
    let chosen = calibration.filter(|_| value.is_ok());
    let counts = chosen
        .and(metrics.and_then(|metrics| metrics.at_threshold))
        .map(|at| {
            format!(
                "{} of {} normal images over it, {} of {} with a defect under it",
                at.false_alarms, at.normal, at.missed, at.anomalous
            )
        });
    Card {
        name: "Threshold".into(),
        value,
        unit: "",
        interval: counts.unwrap_or_default(),
        meaning: chosen
            .map(|calibration| match calibration.doubt() {
                Some(doubt) => format!("{}; {doubt}", calibration.basis),
                None => calibration.basis.to_string(),
            })
            .unwrap_or_default(),
        wide: true,
    }
}

fn tables(metrics: &Measurements) -> Vec<Table> {
    let mut tables = vec![Table::by_defect(metrics)];
    tables.extend(Table::by_category(metrics));
    tables
}

/// Conditions under which the figures were measured.
fn conditions(metrics: &Measurements) -> Vec<String> {
    let (height, width) = metrics.size;
    let mut lines = vec![
        format!(
            "Pixels were compared at {width} × {height} (the first image's), masks brought there by: {}.",
            metrics.mask_rule
        ),
        format!(
            "P-PRO is integrated up to a false-positive rate of {}.",
            metrics.pro_limit
        ),
        format!(
            "An image takes the network {:.2} G multiply-adds as it is defined, of which {:.2} G are carried out; as papers \
             count, with what inference leaves out, {:.2} G.",
            metrics.multiply_adds.defined as f64 / 1e9,
            metrics.multiply_adds.carried_out as f64 / 1e9,
            metrics.multiply_adds.published as f64 / 1e9
        ),
    ];
    if !metrics.changed.is_empty() {
        lines.push(format!(
            "The run was measured with other settings than it was trained with: {}.",
            metrics.changed.join(", ")
        ));
    }
    if !metrics.intervals.is_empty() {
        lines.push("Intervals of 95 % come from drawing the test images anew: they tell what other images of this kind would give, not another training.".into());
    }
    if metrics.without_mask > 0 {
        lines.push(format!(
            "{} images with a defect have no mask, or one that is too dark, and take no part in the pixel metrics.",
            metrics.without_mask
        ));
    }
    if let Some(error) = metrics.pixel_error {
        lines.push(format!("Pixel scores were counted in bins for want of memory: pixel metrics are within {error:.1e} of the exact ones."));
    }
    lines
}

fn curves(results: &Results, scale: Option<Scale>) -> Vec<Chart> {
    let value_of = |metric: Metric| {
        let value = (results.metrics.as_ref()).and_then(|metrics| metric.of(metrics).ok());
        value.map_or_else(String::new, |share| {
            format!(": {} {} %", metric.short(), percent(share))
        })
    };
    let named = |what: &str, scores, metric| (format!("{what}{}", value_of(metric)), results, scores);
    let limit = results.metrics.as_ref().map(|metrics| Mark {
        name: format!("limit {}", metrics.pro_limit),
        at: metrics.pro_limit,
    });
    vec![
        charts::curves(
            "ROC curves",
            CurveKind::Roc,
            [
                named("images", ScoreLevel::Image, Metric::ImageAuroc),
                named("pixels", ScoreLevel::Pixel, Metric::PixelAuroc),
            ],
            None,
        ),
        charts::curves(
            "Precision-recall curves",
            CurveKind::PrecisionRecall,
            [
                named("images", ScoreLevel::Image, Metric::ImageAp),
                named("pixels", ScoreLevel::Pixel, Metric::PixelAp),
            ],
            None,
        ),
        charts::curves(
            "PRO curve",
            CurveKind::Pro,
            [named("regions", ScoreLevel::Pixel, Metric::PixelPro)],
            limit.as_ref(),
        ),
        charts::scores(results, scale.map(|scale| scale.threshold)),
    ]
}

fn training(records: &[Record]) -> Vec<Chart> {
    let total: Values = (
        "all terms together".into(),
        records,
        Box::new(|record| record.loss),
    );
    let terms = charts::terms(records).into_iter().map(|name| -> Values {
        let term = name.clone();
        (name, records, Box::new(move |record| charts::term(record, &term)))
    });
    let rate: Values = (
        "learning rate".into(),
        records,
        Box::new(|record| record.learning_rate),
    );
    let times: [Values; 2] = [
        ("step".into(), records, Box::new(|record| record.seconds)),
        (
            "of it waiting for data".into(),
            records,
            Box::new(|record| record.loading),
        ),
    ];
    vec![
        charts::history("Loss", "loss", std::iter::once(total).chain(terms)),
        charts::history("Learning rate", "learning rate", [rate]),
        charts::history("Time per step", "seconds", times),
    ]
}

/// The colors of the heat maps from cold to hot, as lists of CSS and of SVG.
struct Ramp {
    /// Stops of a gradient of CSS.
    gradient: String,
    /// Red, green and blue as tables of a `feComponentTransfer`.
    channels: [(char, String); 3],
    /// Opacities of the overlay, likewise.
    opacity: String,
}

impl Ramp {
    fn new() -> Self {
        const LAST: u8 = 32;
        let stops = (0..=LAST).map(|stop| (255.0 * f64::from(stop) / f64::from(LAST)).round() as u8);
        let table = |share: &dyn Fn(u8) -> f64| {
            let shares = stops.clone().map(|level| format!("{:.3}", share(level)));
            shares.collect::<Vec<_>>().join(" ")
        };
        let channel = |place: usize| table(&|level| f64::from(color(level).0[place]) / 255.0);
        let gradient = stops.clone().map(|level| {
            let [red, green, blue] = color(level).0;
            format!("rgb({red} {green} {blue})")
        });
        Self {
            gradient: gradient.collect::<Vec<_>>().join(","),
            channels: [('R', channel(0)), ('G', channel(1)), ('B', channel(2))],
            opacity: table(&|level| f64::from(opacity(level))),
        }
    }
}

fn scale_ends(scale: Option<Scale>) -> [ScaleEnd; 3] {
    let end = |score: String, meaning| ScaleEnd { score, meaning };
    match scale {
        Some(scale) => {
            let (low, high) = scale.colors();
            [
                end(
                    format!("≤ {}", significant(low.into())),
                    "median of normal pixels",
                ),
                end(
                    significant(scale.threshold),
                    "pixel threshold: anomalous from here on",
                ),
                end(
                    format!("≥ {}", significant(high.into())),
                    "as far over the threshold as the median is under it",
                ),
            ]
        }
        None => [
            end("lowest".into(), "score of the image"),
            end("middle".into(), "between the two"),
            end("highest".into(), "score of the image"),
        ],
    }
}

fn facts(results: &Results) -> Vec<(&'static str, String)> {
    let manifest = &results.manifest;
    let mut facts = vec![
        ("Directory", results.dir.display().to_string()),
        ("daf", manifest.daf.clone()),
        ("libtorch", manifest.libtorch.clone()),
        ("Device", manifest.device.clone()),
        ("Threads", manifest.threads.to_string()),
    ];
    if let Some([]) = results.findings.as_deref() {
        let text = "every image was looked through and nothing was found to be wrong";
        facts.push(("Images", text.to_owned()));
    }
    match &results.metrics {
        Some(metrics) => facts.extend(metrics.weights.iter().map(|origin| {
            (
                "Weights",
                format!("{} started from {}", origin.network, origin.weights),
            )
        })),
        None => facts.push(("Weights", format!("not available: {NOT_EVALUATED}"))),
    }
    facts
}

/// A number with about four digits that count.
pub(crate) fn significant(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || !size.is_finite() {
        return value.to_string();
    }
    if !(1e-4..1e6).contains(&size) {
        return format!("{value:.3e}");
    }
    let digits = (3.0 - size.log10().floor()).clamp(0.0, 7.0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits_that_count() {
        let numbers = [
            0.0, 0.012_345, 0.5, 3.256_78, 128.44, 99_999.7, 2.5e-7, 1e9, -0.25,
        ];
        let expected = [
            "0", "0.01235", "0.5000", "3.257", "128.4", "100000", "2.500e-7", "1.000e9", "-0.2500",
        ];
        assert_eq!(numbers.map(significant), expected);
    }

    #[test]
    fn the_scale_runs_from_cold_to_hot() {
        let stops = Ramp::new().gradient;
        assert_eq!(stops.matches("rgb(").count(), 33);
        // Turbo begins in dark blue and ends in dark red.
        assert!(stops.starts_with("rgb(34 23 27)"), "{stops}");
        assert!(stops.ends_with("rgb(144 12 0)"), "{stops}");
    }
}
