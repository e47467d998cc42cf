//! A trained run at work.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use image::{GrayImage, RgbImage};
use tch::{Device, Kind, Tensor};

use crate::block::Mode;
use crate::calibration::Calibration;
use crate::config::{DeviceChoice, Inference};
use crate::data::geometry::{Frame, MaskRule, Window};
use crate::data::{InputImage, InputView};
use crate::macs;
use crate::results::MultiplyAdds;
use crate::run::{self, Run};
use crate::{BoxError, Error, Model, Rect, Result, ScoreMap, concurrent, data};

/// A trained model that scores images.
///
/// ```no_run
/// use daf_core::{Detector, config::DeviceChoice};
///
/// # fn main() -> daf_core::Result<()> {
/// // The crates whose parts the run names must be linked: `use daf_models as _;`
/// let detector = Detector::open("runs/bottle", DeviceChoice::Auto)?;
/// let image = detector.read("bottle.png")?;
/// let found = detector.detect(&image)?;
/// println!("score {:.3}, worst pixel {:.3}", found.score, found.map.largest());
/// # Ok(())
/// # }
/// ```
///
/// Threads may share it (`Sync`): they score one after the other, since libtorch computes with several threads as it is. The page
/// `docs/programs.md` of the repository shows how images that have gathered are scored together.
pub struct Detector {
    inference: Arc<Inference>,
    /// Tensors are used by one thread at a time.
    scoring: Mutex<Scoring>,
    calibration: Option<Calibration>,
}

/// What a detector finds in an image.
#[derive(Debug, Clone)]
pub struct Detection {
    /// Score of the image; higher is more anomalous. Its range is the scorer's.
    pub score: f64,
    /// The score on the scale of the run's calibration: 0..=1, anomalous from 0.5 on.
    pub calibrated: Option<f64>,
    /// Score of every pixel: at the size of the network's input, or at that of the image's content where its shape is
    /// kept (see [`Frame`](crate::data::geometry::Frame)).
    pub map: ScoreMap,
}

impl Detection {
    /// Whether the score reaches the run's threshold; `None` if the run has none.
    #[must_use]
    pub fn is_anomalous(&self) -> Option<bool> {
        self.calibrated.map(|score| score >= 0.5)
    }
}

impl Detector {
    /// Opens a trained run. Neither the images that it learned from need be there nor the crates of parts that only training
    /// needs, such as its synthesizer.
    ///
    /// # Errors
    /// If it is not a run, its training has not ended, or its weights do not fit.
    pub fn open(run: impl AsRef<Path>, device: DeviceChoice) -> Result<Self> {
        Self::open_with(run, &[] as &[&str], Some(device))
    }

    /// The same with settings changed, each `KEY=VALUE` as for [`Layers::set`](crate::config::Layers::set); on the device that
    /// they or the run name unless another one is given.
    ///
    /// # Errors
    /// As [`open`](Self::open), or if a setting cannot be read.
    pub fn open_with<S: AsRef<str>>(
        run: impl AsRef<Path>,
        settings: &[S],
        device: Option<DeviceChoice>,
    ) -> Result<Self> {
        let dir = run.as_ref();
        let layers = run::layers(dir)?;
        let changed = layers.clone().set(settings)?.resolve_inference()?;
        // Where the run's own settings cannot be read without the others, nothing is known of its scores.
        let keeps_thresholds = settings.is_empty()
            || (layers.resolve_inference()).is_ok_and(|trained| trained.scores_as(&changed));
        Self::new(dir, changed, keeps_thresholds, device)
    }

    /// A trained run, opened with settings or not, on a device.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn of(run: &Run, device: DeviceChoice) -> Result<Self> {
        let inference = run.pipeline().inference();
        let keeps_thresholds = run.changed().is_empty()
            || (run::layers(run.dir())?.resolve_inference())
                .is_ok_and(|trained| trained.scores_as(&inference));
        Self::new(run.dir(), inference, keeps_thresholds, Some(device))
    }

    fn new(
        dir: &Path,
        inference: Inference,
        keeps_thresholds: bool,
        device: Option<DeviceChoice>,
    ) -> Result<Self> {
        if !run::is_trained(dir) {
            let ended = Calibration::read(dir)?.is_some();
            let reason = if ended && !dir.join("weights").is_dir() {
                "the training has ended, but its weights are not here: expected the folder `weights` as it was left"
            } else {
                "the training of this run has not ended; go on with --resume, or use what it has learned with `train --finish`"
            };
            return Err(Error::data(dir, reason));
        }
        let calibration = if keeps_thresholds {
            Calibration::read(dir)?
        } else {
            tracing::warn!("the thresholds of the run are not used: other settings give other scores");
            None
        };
        let device = device.unwrap_or(inference.device).resolve()?;
        let inference = Arc::new(inference);
        Ok(Self {
            scoring: Mutex::new(Scoring::of(dir, Arc::clone(&inference), device)?),
            inference,
            calibration,
        })
    }

    /// What it scores images with.
    #[must_use]
    pub fn inference(&self) -> &Inference {
        &self.inference
    }

    /// The network, for this thread; what a panic left of it is as good as before.
    fn scoring(&self) -> MutexGuard<'_, Scoring> {
        self.scoring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its thresholds. Runs have them from the end of their training on; they are left out if the run was opened with settings
    /// that give other scores.
    #[must_use]
    pub const fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// Opens an image file as the run's `input` says: depth, transparency, a page of a TIFF file (`stack.tif#2`).
    ///
    /// # Errors
    /// Names the file and why it cannot be used.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<InputImage> {
        self.inference().input.reading().open(path)
    }

    /// Multiply-adds of one image of the size of the network's input.
    ///
    /// # Errors
    /// If the method refuses its work.
    pub fn multiply_adds(&self) -> Result<MultiplyAdds> {
        let size = self.inference().input.size;
        let image = RgbImage::new(size.width(), size.height());
        let (found, counted) = macs::count(|| tch::no_grad(|| self.scoring().look(&[&image])));
        found.map(|_| counted)
    }

    /// Number of weights and biases that the training changed, those that only training needs included.
    ///
    /// # Errors
    /// If the parts do not fit together.
    pub fn parameters(&self) -> Result<u64> {
        let model = self.inference().build(Device::Cpu, Mode::Train, None)?;
        Ok(model.parameters())
    }

    /// Scores one image of any size, an [`RgbImage`] or what [`read`](Self::read) gives.
    ///
    /// # Errors
    /// As [`detect_batch`](Self::detect_batch).
    pub fn detect<'i>(&self, image: impl Into<InputView<'i>>) -> Result<Detection> {
        let mut found = self.detect_batch(&[image.into()])?;
        found
            .pop()
            .ok_or_else(|| Error::data("image", "the scorer gave no score"))
    }

    /// Scores images of any sizes. Those that the network sees as a whole take one pass, on a CPU one per 2^20 pixels of its
    /// input; the tiles of others take passes of a few.
    ///
    /// # Errors
    /// If an image has no pixels, or a part refuses its work.
    pub fn detect_batch<'i>(&self, images: &[impl Into<InputView<'i>> + Copy]) -> Result<Vec<Detection>> {
        let images: Vec<InputView> = images.iter().map(|image| (*image).into()).collect();
        let scored = self.scoring().score(&images)?;
        let scale = self
            .calibration
            .as_ref()
            .and_then(|calibration| calibration.image.scale());
        Ok(scored
            .into_iter()
            .map(|(score, map)| Detection {
                score,
                calibrated: scale.map(|scale| scale.calibrated(score)),
                map,
            })
            .collect())
    }
}

/// Tiles per forward pass, at most.
const TILES: usize = 8;

/// Pixels per forward pass on a CPU: sixteen images of 256×256. Larger batches are slower there, since caches and the C
/// library's memory do not hold their features.
const PASS: usize = 1 << 20;

/// A model for inference on a device.
pub(crate) struct Scoring {
    inference: Arc<Inference>,
    pub(crate) model: Box<dyn Model>,
    device: Device,
}

impl Scoring {
    /// The model of the run in a directory, with its trained weights.
    pub(crate) fn of(run: &Path, inference: Arc<Inference>, device: Device) -> Result<Self> {
        let model = inference.build(device, Mode::Infer, None)?;
        run::load_weights(run, model.as_ref())?;
        Ok(Self {
            inference,
            model,
            device,
        })
    }

    /// Scores and maps of images of any sizes.
    pub(crate) fn score(&self, images: &[InputView]) -> Result<Vec<(f64, ScoreMap)>> {
        self.in_passes(images, |images| self.score_together(images))
    }

    /// The results of `pass` for as many images at a time as go together.
    fn in_passes<T>(
        &self,
        images: &[T],
        pass: impl Fn(&[T]) -> Result<Vec<(f64, ScoreMap)>>,
    ) -> Result<Vec<(f64, ScoreMap)>> {
        let mut scored = Vec::with_capacity(images.len());
        for images in images.chunks(self.together()) {
            scored.extend(tch::no_grad(|| pass(images))?);
        }
        Ok(scored)
    }

    /// Images or tiles per forward pass, at most.
    fn together(&self) -> usize {
        let size = self.inference.input.size;
        match self.device {
            Device::Cpu => (PASS / (size.width() as usize * size.height() as usize)).max(1),
            _ => usize::MAX,
        }
    }

    fn score_together(&self, images: &[InputView]) -> Result<Vec<(f64, ScoreMap)>> {
        let geometry = self.inference.input.geometry();
        let frames: Vec<Frame> = images
            .iter()
            .map(|image| geometry.frame(image.rgb.width(), image.rgb.height()))
            .collect();
        // Images that the network sees through one window each take one pass together.
        if frames.iter().all(|frame| frame.len() == 1) {
            let inputs = images
                .iter()
                .zip(&frames)
                .map(|(image, frame)| Ok(frame.only_window(frame.content(image.rgb)?)))
                .collect::<Result<Vec<_>>>()?;
            let inputs: Vec<&RgbImage> = inputs.iter().map(AsRef::as_ref).collect();
            let raw = self.look(&inputs)?;
            if frames.iter().all(Frame::is_whole) && images.iter().all(|image| image.visible.is_none()) {
                return self.finish(&raw);
            }
            let raw = &raw;
            let rows = (0..)
                .zip(images.iter().zip(&frames))
                .flat_map(|(row, (image, frame))| {
                    let insides = frame.windows().map(|window| frame.inside(window));
                    insides.map(move |inside| self.finish(&raw.part(row, inside).seen(image.visible, frame)?))
                });
            return Ok(rows.collect::<Result<Vec<_>>>()?.concat());
        }
        let mut scored = Vec::with_capacity(images.len());
        for (image, frame) in images.iter().zip(&frames) {
            let content = frame.content(image.rgb)?;
            let raw = self.tiled(&content, frame)?.seen(image.visible, frame)?;
            scored.extend(self.finish(&raw)?);
        }
        Ok(scored)
    }

    /// Scores and maps of images that have the size of the network's input already.
    pub(crate) fn score_inputs(&self, inputs: &[&RgbImage]) -> Result<Vec<(f64, ScoreMap)>> {
        self.in_passes(inputs, |inputs| self.finish(&self.look(inputs)?))
    }

    /// What the network says of images that have the size of its input.
    fn look(&self, inputs: &[&RgbImage]) -> Result<Raw> {
        let batch = data::images_to_tensor(inputs, &self.inference.input, self.device)?;
        let maps = self
            .model
            .infer(&batch)
            .map_err(|source| refused(crate::Kind::Method, self.inference.method.typetag_name(), source))?;
        let size = self.inference.input.size;
        let size = (i64::from(size.height()), i64::from(size.width()));
        let scorer = &self.inference.scorer;
        let count = inputs.len() * (size.0 * size.1) as usize;
        let pixels =
            concurrent::go_on_alone_if_small(self.device, count, || scorer.pixels_checked(&maps, size))
                .map_err(|source| refused(crate::Kind::Scorer, scorer.typetag_name(), source))?;
        Ok(Raw {
            pixels,
            images: maps.images,
        })
    }

    /// The same of one content: the pixel scores of its windows, blended where they overlap, and the largest of their
    /// image scores.
    fn tiled(&self, content: &RgbImage, frame: &Frame) -> Result<Raw> {
        let to_device = |values: &[f32]| Tensor::from_slice(values).to_device(self.device);
        let (columns, rows) = frame.weights();
        let weights = to_device(&rows).unsqueeze(1) * to_device(&columns).unsqueeze(0);
        let size = [i64::from(frame.height), i64::from(frame.width)];
        let sum = Tensor::zeros(size, (Kind::Float, self.device));
        let windows: Vec<Window> = frame.windows().collect();
        let mut largest: Option<Tensor> = None;
        for windows in windows.chunks(TILES.min(self.together())) {
            let cuts: Vec<RgbImage> = windows.iter().map(|window| frame.cut(content, *window)).collect();
            let found = self.look(&cuts.iter().collect::<Vec<_>>())?;
            if let Some(images) = found.images {
                let most = images.max();
                largest = Some(largest.map_or_else(|| most.shallow_clone(), |before| before.maximum(&most)));
            }
            let pixels = found.pixels.to_kind(Kind::Float) * &weights;
            for (number, window) in (0..).zip(windows) {
                let inside = frame.inside(*window);
                let (width, height) = (i64::from(inside.width), i64::from(inside.height));
                let (x, y) = (i64::from(inside.x), i64::from(inside.y));
                let part = pixels.get(number).narrow(0, y, height).narrow(1, x, width);
                let mut place = sum
                    .narrow(0, window.top + y, height)
                    .narrow(1, window.left + x, width);
                let _ = place.g_add_(&part);
            }
        }
        let (columns, rows) = frame.total_weights();
        // In place: the map of a large image is large.
        let mut pixels = sum;
        pixels /= to_device(&rows).unsqueeze(1);
        pixels /= to_device(&columns).unsqueeze(0);
        Ok(Raw {
            pixels: pixels.unsqueeze(0),
            images: largest.map(|score| score.view(1)),
        })
    }

    /// Smooths pixel scores and brings them and the image scores to the host.
    fn finish(&self, raw: &Raw) -> Result<Vec<(f64, ScoreMap)>> {
        let (device, pixels) = (raw.pixels.device(), raw.pixels.numel());
        let scorer = &self.inference.scorer;
        let scores = concurrent::go_on_alone_if_small(device, pixels, || scorer.finish_checked(&raw.pixels))
            .map_err(|source| refused(crate::Kind::Scorer, scorer.typetag_name(), source))?;
        let images = raw.images.as_ref().unwrap_or(&scores.images);
        let images = Vec::<f64>::try_from(images.to_kind(Kind::Double))?;
        let (height, width) = match scores.pixels.size()[..] {
            [_, height, width] => (height as u32, width as u32),
            ref other => {
                return Err(Error::Shape {
                    what: format!("pixel scores of scorer `{}`", scorer.typetag_name()),
                    expected: "N×H×W".into(),
                    found: format!("{other:?}"),
                });
            }
        };
        // All maps in one copy: from a GPU each takes its time.
        let pixels = scores
            .pixels
            .to_device(Device::Cpu)
            .to_kind(Kind::Float)
            .contiguous();
        (0..)
            .zip(images)
            .map(|(row, score)| {
                let scores = Vec::<f32>::try_from(pixels.get(row).view(-1))?;
                Ok((
                    score,
                    ScoreMap {
                        width,
                        height,
                        scores,
                    },
                ))
            })
            .collect()
    }
}

/// What a model and a scorer say of images before anything is smoothed.
struct Raw {
    /// N×H×W.
    pixels: Tensor,
    /// N, if the method scores images itself.
    images: Option<Tensor>,
}

impl Raw {
    /// Those of one image, within a rectangle.
    fn part(&self, row: i64, inside: Rect) -> Self {
        let rows = self
            .pixels
            .narrow(0, row, 1)
            .narrow(1, inside.y.into(), inside.height.into());
        Self {
            pixels: rows.narrow(2, inside.x.into(), inside.width.into()),
            images: self.images.as_ref().map(|scores| scores.narrow(0, row, 1)),
        }
    }

    /// The same of one content, with 0 for pixels that are not visible.
    fn seen(self, visible: Option<&GrayImage>, frame: &Frame) -> Result<Self> {
        let Some(visible) = visible else {
            return Ok(self);
        };
        let (width, height) = (frame.width, frame.height);
        let visible = frame.mask(visible, MaskRule::Nearest, width, height)?;
        let visible = Tensor::from_slice(visible.as_raw()).view([1, i64::from(height), i64::from(width)]);
        let seen = visible.gt(0).to_device(self.pixels.device());
        Ok(Self {
            pixels: self.pixels * seen,
            ..self
        })
    }
}

fn refused(kind: crate::Kind, name: &str, source: BoxError) -> Error {
    Error::Part {
        kind,
        name: name.into(),
        at: "scoring images".into(),
        source,
    }
}
