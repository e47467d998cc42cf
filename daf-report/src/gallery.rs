//! The pictures of the test images, small enough that all of them fit on one page.

use std::fmt;
use std::io::Cursor;
use std::path::{Component, Path};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use daf_core::calibration::Scale;
use daf_core::overlay::{Pieces, shrunk};
use daf_core::results::{Prediction, Results, SYNTHESIS};
use daf_core::{Error, Result};
use image::codecs::jpeg::JpegEncoder;
use image::{ImageBuffer, ImageFormat, PixelWithColorType};
use rayon::prelude::*;

/// Verdict on an image at the run's threshold.
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
    /// Error of its score: see [`errors`].
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

/// The pieces of a picture, which the page lays over each other.
#[derive(Debug)]
pub(crate) struct Picture {
    /// Each as a data URL, by the name that the style sheet has for it: `image`, `heat` and, with a true
    /// defect, `mask`.
    pub(crate) pieces: Vec<(&'static str, String)>,
    /// Views that are composed of the pieces.
    pub(crate) views: &'static [&'static str],
    /// Width and height.
    pub(crate) size: (u32, u32),
}

/// Images that fit on the page, those with the largest errors first.
#[derive(Debug)]
pub(crate) struct Gallery<'a> {
    pub(crate) exhibits: Vec<Exhibit<'a>>,
    /// Images in all.
    pub(crate) all: usize,
    /// Pixels of the longer side of a picture, at most.
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
    let probes: Vec<&Prediction> = order
        .iter()
        .step_by((order.len() / PROBES).max(1))
        .map(|place| &results.predictions[*place])
        .collect();
    let fits = |(side, quality): &(u32, u8)| {
        let bytes: usize = probes
            .par_iter()
            .map(|probe| cost(&picture(&results.dir, probe, *side, *quality)))
            .sum();
        // A tenth more, as probes can mislead.
        let expected = bytes as f64 / probes.len().max(1) as f64 * order.len() as f64 * 1.1;
        expected <= budget as f64
    };
    let smallest = SIZES[SIZES.len() - 1];
    SIZES.iter().copied().find(fits).unwrap_or(smallest)
}

fn cost(picture: &std::result::Result<Picture, String>) -> usize {
    let pieces = |picture: &Picture| picture.pieces.iter().map(|(_, url)| url.len()).sum();
    CARD + picture.as_ref().map_or(0, pieces)
}

/// Error of each score. With a threshold: the distance by which the score lies on the wrong side, in units of
/// the distance from the normal images' median to the threshold; negative on the right side. Without: the
/// share of images that lie between the image and the end of the ranking where it belongs.
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

/// JPEG quality of heat maps: smooth as they are, they take few bytes, and their colors show what is lost.
const HEAT_QUALITY: u8 = 85;

fn picture(
    dir: &Path,
    prediction: &Prediction,
    side: u32,
    quality: u8,
) -> std::result::Result<Picture, String> {
    let name = drawn(prediction)?;
    let path = dir.join(name);
    let Some(found) = Pieces::open(&path).map_err(|error| error.to_string())? else {
        // A run of an earlier version has no pieces. Its picture is up to four times as wide as high.
        let whole = image::open(&path).map_err(|error| format!("{name}: {error}"))?;
        let whole = shrunk(&whole.into_rgb8(), 4 * side);
        return Ok(Picture {
            pieces: vec![("image", jpeg(&whole, quality)?)],
            views: &["picture"],
            size: whole.dimensions(),
        });
    };
    let image = shrunk(&found.image, side);
    let size = image.dimensions();
    let mut pieces = vec![
        ("image", jpeg(&image, quality)?),
        ("heat", jpeg(&shrunk(&found.heat, side), HEAT_QUALITY)?),
    ];
    let mut views: &[_] = &["image", "heat map", "overlay"];
    if let Some(mask) = found.mask {
        let mut mask = shrunk(&mask, side);
        // So that a defect smaller than a pixel is seen as well.
        mask.iter_mut()
            .for_each(|level| *level = if *level > 0 { 255 } else { 0 });
        let mut png = Cursor::new(Vec::new());
        mask.write_to(&mut png, ImageFormat::Png)
            .map_err(|error| error.to_string())?;
        pieces.push(("mask", data_url("png", png.get_ref())));
        views = &["image", "true defect", "heat map", "overlay"];
    }
    Ok(Picture { pieces, views, size })
}

/// The picture that an evaluation drew of a test image, in the run directory.
pub(crate) fn drawn(prediction: &Prediction) -> std::result::Result<&str, String> {
    let path = prediction.picture.as_deref();
    let path = path.ok_or("no pictures were drawn (output.maps: false)")?;
    let is_inside = |part| matches!(part, Component::Normal(_));
    match Path::new(path).components().all(is_inside) {
        true => Ok(path),
        false => Err(format!("{path}: expected a path within the run directory")),
    }
}

/// An image as a data URL.
pub(crate) fn jpeg<P>(image: &ImageBuffer<P, Vec<u8>>, quality: u8) -> std::result::Result<String, String>
where
    P: PixelWithColorType<Subpixel = u8>,
{
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode_image(image)
        .map_err(|error| error.to_string())?;
    Ok(data_url("jpeg", &bytes))
}

fn data_url(format: &str, bytes: &[u8]) -> String {
    format!("data:image/{format};base64,{}", STANDARD.encode(bytes))
}

/// Pixels of the longer side of the contact sheet of synthetic samples, tried in turn until it fits.
const SHEET_SIDES: [u32; 4] = [1600, 1200, 800, 500];

/// The contact sheet of synthetic samples as a data URL of at most `budget` bytes, with its size; `None` if
/// the run has none.
pub(crate) fn synthesis(dir: &Path, budget: usize) -> Result<Option<(String, (u32, u32))>> {
    let path = dir.join(SYNTHESIS);
    if !path.is_file() {
        return Ok(None);
    }
    let whole = image::open(&path).map_err(|error| Error::data(&path, format!("cannot be used: {error}")))?;
    let whole = whole.into_rgb8();
    for side in SHEET_SIDES {
        let small = shrunk(&whole, side);
        let url = jpeg(&small, 82).map_err(|reason| Error::data(&path, reason))?;
        if url.len() <= budget {
            return Ok(Some((url, small.dimensions())));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma, Rgb, RgbImage};

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

    fn opened(picture: &Pieces, keep: bool) -> Picture {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        picture.save(&path).unwrap();
        if !keep {
            std::fs::remove_dir_all(path.with_extension("")).unwrap();
        }
        let mut image = prediction("hole", 1.0);
        image.picture = Some("a.png".into());
        super::picture(folder.path(), &image, 40, 80).unwrap()
    }

    fn pieces(width: u32, height: u32) -> Pieces {
        let mut mask = GrayImage::new(width, height);
        mask.put_pixel(width / 2, height / 2, Luma([255]));
        Pieces {
            image: RgbImage::from_pixel(width, height, Rgb([255; 3])),
            mask: Some(mask),
            heat: GrayImage::new(width, height),
        }
    }

    #[test]
    fn a_picture_has_the_views_that_its_pieces_allow() {
        let defective = pieces(80, 60);
        let found = opened(&defective, true);
        assert_eq!(found.views, ["image", "true defect", "heat map", "overlay"]);
        let names: Vec<_> = found.pieces.iter().map(|(name, _)| *name).collect();
        assert_eq!((names, found.size), (vec!["image", "heat", "mask"], (40, 30)));
        // A defect of one pixel is seen at half the size.
        let (_, png) = found.pieces.last().unwrap();
        let png = STANDARD.decode(png.rsplit(',').next().unwrap()).unwrap();
        let mask = image::load_from_memory(&png).unwrap().into_luma8();
        assert!(mask.pixels().any(|pixel| pixel.0 == [255]));
        let normal = Pieces {
            mask: None,
            ..defective
        };
        assert_eq!(opened(&normal, true).views, ["image", "heat map", "overlay"]);
    }

    #[test]
    fn a_picture_without_pieces_is_shown_whole() {
        let found = opened(&pieces(20, 10), false);
        assert_eq!(
            (found.views, found.size),
            (&["picture"][..], (4 * 20 + 3 * 4, 10))
        );
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
