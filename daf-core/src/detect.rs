//! A trained run at work.

use std::path::Path;

use image::{GrayImage, RgbImage};
use tch::{Device, Kind, Tensor};

use crate::block::Mode;
use crate::config::DeviceChoice;
use crate::run::Run;
use crate::{BuildContext, Error, Model, Result, data};

/// A trained model that scores images.
///
/// ```no_run
/// use daf_core::{Detector, config::DeviceChoice};
///
/// # fn main() -> daf_core::Result<()> {
/// // The crates whose parts the run names must be linked: `use daf_models as _;`
/// let detector = Detector::open("runs/bottle".as_ref(), DeviceChoice::Auto)?;
/// let image = daf_core::data::read_rgb("bottle.png")?;
/// let found = detector.detect(&image)?;
/// println!("score {:.3}, worst pixel {:.3}", found.score, found.map.largest());
/// # Ok(())
/// # }
/// ```
pub struct Detector {
    run: Run,
    model: Box<dyn Model>,
    device: Device,
}

/// What a detector finds in an image.
#[derive(Debug, Clone)]
pub struct Detection {
    /// Score of the image; higher is more anomalous. Its range is the scorer's.
    pub score: f64,
    /// Score of every pixel at the size of the network's input.
    pub map: ScoreMap,
}

/// Scores of the pixels of an image, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreMap {
    /// Number of columns.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
    /// `width`·`height` scores; higher is more anomalous.
    pub scores: Vec<f32>,
}

impl ScoreMap {
    /// The largest score.
    #[must_use]
    pub fn largest(&self) -> f32 {
        self.scores.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    /// The smallest and the largest score.
    #[must_use]
    pub fn range(&self) -> (f32, f32) {
        (
            self.scores.iter().copied().fold(f32::INFINITY, f32::min),
            self.largest(),
        )
    }

    /// The map as 8 bit: `low` and below become 0, `high` and above 255.
    #[must_use]
    pub fn to_gray(&self, (low, high): (f32, f32)) -> GrayImage {
        let scale = 255.0 / (high - low).max(f32::MIN_POSITIVE);
        let bytes = self
            .scores
            .iter()
            .map(|score| ((score - low) * scale).clamp(0.0, 255.0).round() as u8);
        GrayImage::from_raw(self.width, self.height, bytes.collect()).unwrap_or_default()
    }
}

impl Detector {
    /// Opens a trained run.
    ///
    /// # Errors
    /// If it is not a run, its training has not ended, or its weights do not fit.
    pub fn open(run: &Path, device: DeviceChoice) -> Result<Self> {
        Self::new(Run::open(run)?, device)
    }

    /// Puts a trained run on a device.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn new(run: Run, device: DeviceChoice) -> Result<Self> {
        let device = device.resolve()?;
        let size = run.pipeline().input.size;
        let context = BuildContext {
            device,
            size: (i64::from(size.height()), i64::from(size.width())),
            mode: Mode::Infer,
            precision: run.pipeline().precision,
            pretrained: None,
        };
        let model = crate::train::build(run.pipeline().method.as_ref(), &context)?;
        run.load_weights(model.as_ref())?;
        Ok(Self { run, model, device })
    }

    /// The run.
    #[must_use]
    pub const fn run(&self) -> &Run {
        &self.run
    }

    /// Scores one image of any size.
    ///
    /// # Errors
    /// As [`detect_batch`](Self::detect_batch).
    pub fn detect(&self, image: &RgbImage) -> Result<Detection> {
        let mut found = self.detect_batch(&[image])?;
        found
            .pop()
            .ok_or_else(|| Error::data("image", "the scorer gave no score"))
    }

    /// Scores images of any sizes in one pass.
    ///
    /// # Errors
    /// If an image has no pixels, or a part refuses its work.
    pub fn detect_batch(&self, images: &[&RgbImage]) -> Result<Vec<Detection>> {
        let pipeline = self.run.pipeline();
        let (width, height) = (pipeline.input.size.width(), pipeline.input.size.height());
        let resized = images
            .iter()
            .map(|image| data::resize_rgb(image, width, height))
            .collect::<Result<Vec<_>>>()?;
        let resized: Vec<&RgbImage> = resized.iter().collect();
        let part = |kind, name: &str| {
            let name = name.to_owned();
            move |source| Error::Part {
                kind,
                name,
                at: "scoring images".into(),
                source,
            }
        };
        let scores = tch::no_grad(|| {
            let batch = data::images_to_tensor(&resized, &pipeline.input, self.device)?;
            let method = &pipeline.method;
            let maps = self
                .model
                .infer(&batch)
                .map_err(part(crate::Kind::Method, method.typetag_name()))?;
            let scorer = &pipeline.scorer;
            let size = (i64::from(height), i64::from(width));
            let pixels = scorer
                .pixels(&maps, size)
                .map_err(part(crate::Kind::Scorer, scorer.typetag_name()))?;
            Ok::<_, Error>(scorer.finish(&pixels))
        })?;
        let image_scores = Vec::<f64>::try_from(scores.images.to_kind(Kind::Double))?;
        let flat = |row: i64| {
            let pixels: Tensor = scores.pixels.get(row).to_kind(Kind::Float).contiguous().view(-1);
            Vec::<f32>::try_from(pixels)
        };
        (0..)
            .zip(image_scores)
            .map(|(row, score)| {
                Ok(Detection {
                    score,
                    map: ScoreMap {
                        width,
                        height,
                        scores: flat(row)?,
                    },
                })
            })
            .collect()
    }
}
