//! The pictures of the test images, small enough that all of them fit on one page.

use std::fmt;
use std::path::{Component, Path};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use daf_core::calibration::Scale;
use daf_core::results::{Prediction, Results};
use daf_core::{Error, Result};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{ExtendedColorType, RgbImage};
use rayon::prelude::*;

/// What became of an image at the run's threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Anomalous and over the threshold.
    Found,
    /// Normal and under it.
    Passed,
    /// Normal and over it.
    FalseAlarm,
    /// Anomalous and under it.
    Missed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Found => "found",
            Self::Passed => "passed",
            Self::FalseAlarm => "false alarm",
            Self::Missed => "missed",
        })
    }
}

impl Verdict {
    fn of(prediction: &Prediction, scale: Scale) -> Self {
        match (prediction.is_anomalous(), prediction.score >= scale.threshold) {
            (true, true) => Self::Found,
            (false, false) => Self::Passed,
            (false, true) => Self::FalseAlarm,
            (true, false) => Self::Missed,
        }
    }

    /// Whether it is what it should be.
    pub(crate) const fn is_right(self) -> bool {
        matches!(self, Self::Found | Self::Passed)
    }
}

/// An image of the gallery.
#[derive(Debug)]
pub(crate) struct Exhibit<'a> {
    pub(crate) prediction: &'a Prediction,
    /// Its place in `predictions.csv`.
    pub(crate) place: usize,
    /// How wrong its score is: see [`errors`].
    pub(crate) error: f64,
    /// `None` without a threshold.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) picture: std::result::Result<Picture, String>,
}

impl Exhibit<'_> {
    /// The file's name with its folder, by which people know it.
    pub(crate) fn name(&self) -> String {
        let path = Path::new(&self.prediction.image);
        let parts: Vec<_> = path
            .components()
            .map(|part| part.as_os_str().to_string_lossy())
            .collect();
        parts[parts.len().saturating_sub(2)..].join("/")
    }
}

/// The parts of a picture side by side as one JPEG.
#[derive(Debug)]
pub(crate) struct Picture {
    /// In base64.
    pub(crate) jpeg: String,
    pub(crate) parts: &'static [&'static str],
    /// Width and height of a part.
    pub(crate) size: (u32, u32),
}

impl Picture {
    /// The parts with where each begins, in percent as CSS positions backgrounds.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let last = (self.parts.len() - 1).max(1) as f64;
        self.parts
            .iter()
            .enumerate()
            .map(move |(number, part)| (*part, 100.0 * number as f64 / last))
    }
}

/// What of the images fits on the page, those with the largest errors first.
#[derive(Debug)]
pub(crate) struct Gallery<'a> {
    pub(crate) exhibits: Vec<Exhibit<'a>>,
    /// Images in all.
    pub(crate) all: usize,
    /// Pixels of the longer side of a picture's parts, at most.
    pub(crate) side: u32,
}

/// Longer side in pixels and JPEG quality, best first.
const SIZES: [(u32, u8); 7] = [
    (384, 85),
    (320, 82),
    (256, 80),
    (192, 76),
    (144, 70),
    (112, 62),
    (80, 55),
];

/// Bytes of a card around its picture, generously.
const CARD: usize = 1800;

/// Images whose pictures tell which size all of them can have.
const PROBES: usize = 16;

impl<'a> Gallery<'a> {
    /// The pictures of a run's test images, in at most `budget` bytes.
    pub(crate) fn of(results: &'a Results, budget: usize) -> Self {
        let scale = results
            .thresholds()
            .and_then(|calibration| calibration.image.scale());
        let errors = errors(&results.predictions, scale);
        let mut order: Vec<usize> = (0..errors.len()).collect();
        order.sort_by(|a, b| errors[*b].total_cmp(&errors[*a]));

        let (side, quality) = fitting(results, &order, budget);
        let mut exhibits = Vec::new();
        let mut used = 0;
        'all: for chunk in order.chunks(64) {
            let pictures: Vec<_> = chunk
                .par_iter()
                .map(|place| picture(&results.dir, &results.predictions[*place], side, quality))
                .collect();
            for (place, picture) in chunk.iter().zip(pictures) {
                used += cost(&picture);
                if used > budget {
                    break 'all;
                }
                let prediction = &results.predictions[*place];
                exhibits.push(Exhibit {
                    prediction,
                    place: *place,
                    error: errors[*place],
                    verdict: scale.map(|scale| Verdict::of(prediction, scale)),
                    picture,
                });
            }
        }
        Self {
            exhibits,
            all: results.predictions.len(),
            side,
        }
    }
}

/// The best size at which all pictures fit, judged by some of them, or the smallest.
fn fitting(results: &Results, order: &[usize], budget: usize) -> (u32, u8) {
    let probes: Vec<usize> = order
        .iter()
        .copied()
        .step_by((order.len() / PROBES).max(1))
        .collect();
    let fits = |(side, quality): &(u32, u8)| {
        let bytes: usize = probes
            .par_iter()
            .map(|place| {
                cost(&picture(
                    &results.dir,
                    &results.predictions[*place],
                    *side,
                    *quality,
                ))
            })
            .sum();
        // A tenth more, as probes can mislead.
        let expected = bytes as f64 / probes.len().max(1) as f64 * order.len() as f64 * 1.1;
        expected <= budget as f64
    };
    let smallest = SIZES[SIZES.len() - 1];
    SIZES.iter().copied().find(fits).unwrap_or(smallest)
}

fn cost(picture: &std::result::Result<Picture, String>) -> usize {
    CARD + picture.as_ref().map_or(0, |picture| picture.jpeg.len())
}

/// How wrong each score is. With a threshold: by how much it lies on the wrong side, in units of the distance from the
/// normal images' median to the threshold; negative on the right side. Without: the share of images that lie between the
/// image and the end of the ranking where it belongs.
fn errors(predictions: &[Prediction], scale: Option<Scale>) -> Vec<f64> {
    let signed = |prediction: &Prediction, height: f64| {
        if prediction.is_anomalous() {
            -height
        } else {
            height
        }
    };
    if let Some(scale) = scale {
        let unit = scale.threshold - scale.median;
        let unit = if unit > 0.0 { unit } else { 1.0 };
        return predictions
            .iter()
            .map(|p| signed(p, (p.score - scale.threshold) / unit))
            .collect();
    }
    let mut scores: Vec<f64> = predictions.iter().map(|prediction| prediction.score).collect();
    scores.sort_by(f64::total_cmp);
    let error = |prediction: &Prediction| {
        let below = scores.partition_point(|score| score.total_cmp(&prediction.score).is_lt());
        let share = below as f64 / scores.len() as f64;
        if prediction.is_anomalous() {
            1.0 - share
        } else {
            share
        }
    };
    predictions.iter().map(error).collect()
}

fn picture(
    dir: &Path,
    prediction: &Prediction,
    side: u32,
    quality: u8,
) -> std::result::Result<Picture, String> {
    let whole = drawn(dir, prediction)?;
    let (parts, names) = split(&whole);
    let (width, height) = (whole.width() / parts.len() as u32, whole.height());
    let (_, _, first_width, _) = parts[0];
    let width = width.min(first_width).max(1);
    let factor = (f64::from(side) / f64::from(width.max(height))).min(1.0);
    let scaled = |length: u32| (f64::from(length) * factor).round().max(1.0) as u32;
    let size = (scaled(width), scaled(height));
    let mut strip = RgbImage::new(size.0 * parts.len() as u32, size.1);
    for ((x, y, width, height), place) in parts.into_iter().zip(0..) {
        let part = imageops::crop_imm(&whole, x, y, width, height);
        let part = imageops::resize(&*part, size.0, size.1, FilterType::Triangle);
        imageops::replace(&mut strip, &part, i64::from(place * size.0), 0);
    }
    Ok(Picture {
        jpeg: encoded(&strip, quality)?,
        parts: names,
        size,
    })
}

/// The picture that an evaluation drew of a test image.
pub(crate) fn drawn(dir: &Path, prediction: &Prediction) -> std::result::Result<RgbImage, String> {
    let path = prediction
        .picture
        .as_ref()
        .ok_or("no pictures were drawn (output.maps: false)")?;
    let inside = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !inside {
        return Err(format!("{path}: expected a path within the run directory"));
    }
    let whole = image::open(dir.join(path)).map_err(|error| format!("{path}: {error}"))?;
    Ok(whole.into_rgb8())
}

/// An image as JPEG in base64.
pub(crate) fn encoded(image: &RgbImage, quality: u8) -> std::result::Result<String, String> {
    let jpeg = jpeg(image, quality).map_err(|error| error.to_string())?;
    Ok(STANDARD.encode(jpeg))
}

/// The parts of a picture by their names.
pub(crate) fn parts(picture: &RgbImage) -> Vec<(&'static str, RgbImage)> {
    let (parts, names) = split(picture);
    let cut = |(x, y, width, height): Part| imageops::crop_imm(picture, x, y, width, height).to_image();
    names.iter().copied().zip(parts.into_iter().map(cut)).collect()
}

/// A rectangle: left, top, width, height.
type Part = (u32, u32, u32, u32);

/// Pixels between the parts of a picture.
const GAP: u32 = 4;

/// The parts of a picture with their names. Whether it has the one with the true defect shows in where its white gaps
/// are: one of the four-part picture's would lie amid a heat map otherwise, which is nowhere white.
fn split(picture: &RgbImage) -> (Vec<Part>, &'static [&'static str]) {
    let (width, height) = picture.dimensions();
    let layouts: [&[&str]; 2] = [
        &["image", "true defect", "heat map", "overlay"],
        &["image", "heat map", "overlay"],
    ];
    for names in layouts {
        let count = names.len() as u32;
        let Some(pixels) = width.checked_sub(GAP * (count - 1)).filter(|pixels| *pixels > 0) else {
            continue;
        };
        if pixels % count != 0 {
            continue;
        }
        let part = pixels / count;
        let lefts = || (0..count).map(|place| place * (part + GAP));
        let mut gaps = lefts().skip(1).flat_map(|left| left - GAP..left);
        if gaps.all(|x| (0..height).all(|y| picture.get_pixel(x, y).0 == [255; 3])) {
            return (lefts().map(|left| (left, 0, part, height)).collect(), names);
        }
    }
    (vec![(0, 0, width, height)], &["picture"])
}

fn jpeg(picture: &RgbImage, quality: u8) -> image::ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    let (width, height) = picture.dimensions();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode(
        picture,
        width,
        height,
        ExtendedColorType::Rgb8,
    )?;
    Ok(bytes)
}

/// Pixels of the longer side of the contact sheet of synthetic samples, tried in turn until it fits.
const SHEET_SIDES: [u32; 4] = [1600, 1200, 800, 500];

/// The contact sheet of synthetic samples as JPEG in base64, in at most `budget` bytes; `None` if the run has none.
pub(crate) fn synthesis(dir: &Path, budget: usize) -> Result<Option<(String, (u32, u32))>> {
    let path = dir.join("synthesis.png");
    if !path.is_file() {
        return Ok(None);
    }
    let damaged = |error: image::ImageError| Error::data(&path, format!("cannot be used: {error}"));
    let whole = image::open(&path).map_err(damaged)?.into_rgb8();
    for side in SHEET_SIDES {
        let factor = (f64::from(side) / f64::from(whole.width().max(whole.height()).max(1))).min(1.0);
        let scaled = |length: u32| (f64::from(length) * factor).round().max(1.0) as u32;
        let (width, height) = (scaled(whole.width()), scaled(whole.height()));
        let small = imageops::resize(&whole, width, height, FilterType::Triangle);
        let encoded = STANDARD.encode(jpeg(&small, 82).map_err(damaged)?);
        if encoded.len() <= budget {
            return Ok(Some((encoded, (width, height))));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use daf_core::ScoreMap;
    use daf_core::overlay::panel;
    use image::{GrayImage, Luma, Rgb};

    use super::*;

    fn prediction(label: &str, score: f64) -> Prediction {
        Prediction {
            image: "a/b.png".into(),
            category: None,
            label: label.into(),
            score,
            calibrated: None,
            aupimo: None,
            picture: None,
        }
    }

    #[test]
    fn errors_grow_towards_the_wrong_side() {
        let images =
            [("good", 1.0), ("good", 4.0), ("hole", 1.0), ("hole", 4.0)].map(|(l, s)| prediction(l, s));
        let scale = Scale {
            median: 1.0,
            threshold: 3.0,
        };
        assert_eq!(errors(&images, Some(scale)), [-1.0, 0.5, 1.0, -0.5]);
        assert_eq!(errors(&images, None), [0.0, 0.5, 1.0, 0.5]);
        let verdicts = images.each_ref().map(|image| Verdict::of(image, scale));
        use Verdict::{FalseAlarm, Found, Missed, Passed};
        assert_eq!(verdicts, [Passed, FalseAlarm, Missed, Found]);
    }

    #[test]
    fn the_parts_of_a_picture_are_found_even_if_the_product_is_white() {
        // 12 divides all candidate widths, so only the gaps tell.
        for (width, height) in [(12, 7), (13, 20), (36, 36), (3, 1)] {
            let image = RgbImage::from_pixel(width, height, Rgb([255; 3]));
            let map = ScoreMap {
                width,
                height,
                scores: (0..width * height).map(|i| i as f32).collect(),
            };
            let mut mask = GrayImage::new(width, height);
            mask.put_pixel(1, 0, Luma([255]));
            for (mask, count) in [(Some(&mask), 4), (None, 3)] {
                let drawn = panel(&image, mask, &map, (0.0, 10.0));
                let (parts, names) = split(&drawn);
                assert_eq!((parts.len(), names.len()), (count, count), "{width}×{height}");
                assert_eq!(parts[1], (width + GAP, 0, width, height));
            }
        }
    }

    #[test]
    fn a_picture_of_another_kind_is_shown_whole() {
        for (width, height) in [(1, 1), (11, 3), (40, 2)] {
            let (parts, names) = split(&RgbImage::new(width, height));
            assert_eq!((parts, names), (vec![(0, 0, width, height)], &["picture"][..]));
        }
    }

    #[test]
    fn pictures_outside_the_run_are_not_read() {
        let mut image = prediction("good", 1.0);
        for path in ["../secret.png", "/etc/secret.png"] {
            image.picture = Some(path.into());
            let found = picture(Path::new("/"), &image, 64, 80).unwrap_err();
            assert!(found.contains("within the run directory"), "{found}");
        }
    }
}
