//! A trained model at work on images of any size.

use std::fmt;
use std::path::Path;

use image::{GrayImage, RgbImage};

use crate::calibration::Calibration;
use crate::config::Input;
use crate::data::geometry::{Frame, MaskRule, Window};
use crate::data::{InputImage, InputView};
use crate::engine::{Engine, Inferred};
use crate::{Error, Rect, Result, ScoreMap};

/// A trained model that scores images: the way of an image to the network's input and back, an [`Engine`] and thresholds.
///
/// Threads may share it (`Sync`). Who computes is the engine's to say: with libtorch, images are scored in the thread that asks,
/// one call after the other. The page `docs/programs.md` of the repository shows how images that have gathered are scored
/// together.
pub struct Detector {
    input: Input,
    engine: Box<dyn Engine>,
    calibration: Option<Calibration>,
}

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Detector");
        f.field("input", &self.input)
            .field("calibration", &self.calibration)
            .finish_non_exhaustive()
    }
}

/// Result of a detector for an image.
#[derive(Debug, Clone)]
pub struct Detection {
    /// Score of the image; higher is more anomalous. Its range is the scorer's.
    pub score: f64,
    /// The score on the scale of the run's calibration: 0..=1, anomalous from 0.5 on.
    pub calibrated: Option<f64>,
    /// Score of every pixel: at the size of the network's input, or at that of the image's content where its shape is
    /// kept (see [`Frame`]).
    pub map: ScoreMap,
}

impl Detection {
    /// Whether the score reaches the run's threshold; `None` if the run has none.
    #[must_use]
    pub fn is_anomalous(&self) -> Option<bool> {
        self.calibrated.map(|score| score >= 0.5)
    }
}

/// Tiles that are held in memory together.
const TILES: usize = 8;

impl Detector {
    /// A detector of a model whose input is made as `input` says.
    #[must_use]
    pub fn new(engine: Box<dyn Engine>, input: Input, calibration: Option<Calibration>) -> Self {
        Self {
            input,
            engine,
            calibration,
        }
    }

    /// Settings of the network's input.
    #[must_use]
    pub const fn input(&self) -> &Input {
        &self.input
    }

    /// Its thresholds. Runs have them from the end of their training on; they are left out if the run was opened with settings
    /// that give other scores.
    #[must_use]
    pub const fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// Images that are opened and scored together with profit: one if they are cut into tiles.
    #[must_use]
    pub fn images_at_once(&self) -> usize {
        self.input.images_at_once(self.engine.batch_size())
    }

    /// Opens an image file as the run's `input` says: depth, transparency, a page of a TIFF file (`stack.tif#2`).
    ///
    /// # Errors
    /// Names the file and why it cannot be used.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<InputImage> {
        self.input.reading().open(path)
    }

    /// Scores one image of any size, an [`RgbImage`] or what [`read`](Self::read) gives.
    ///
    /// # Errors
    /// The errors of [`detect_batch`](Self::detect_batch).
    pub fn detect<'i>(&self, image: impl Into<InputView<'i>>) -> Result<Detection> {
        let mut found = self.detect_batch(&[image.into()])?;
        found
            .pop()
            .ok_or_else(|| Error::data("image", "the scorer gave no score"))
    }

    /// Scores images of any sizes. Those that the network sees as a whole are inferred together; the tiles of others a few at a
    /// time.
    ///
    /// # Errors
    /// If an image has no pixels, or a part refuses its work.
    pub fn detect_batch<'i>(&self, images: &[impl Into<InputView<'i>> + Copy]) -> Result<Vec<Detection>> {
        let images: Vec<InputView> = images.iter().map(|image| (*image).into()).collect();
        let geometry = self.input.geometry();
        let frames: Vec<Frame> = images
            .iter()
            .map(|image| geometry.frame(image.rgb.width(), image.rgb.height()))
            .collect();
        // Images that the network sees through one window each go together.
        if frames.iter().all(|frame| frame.len() == 1) {
            let inputs = images
                .iter()
                .zip(&frames)
                .map(|(image, frame)| Ok(frame.only_window(frame.content(image.rgb)?)))
                .collect::<Result<Vec<_>>>()?;
            let inputs: Vec<&RgbImage> = inputs.iter().map(AsRef::as_ref).collect();
            let inferred = self.engine.infer(&inputs)?;
            if frames.iter().all(Frame::is_whole) && images.iter().all(|image| image.visible.is_none()) {
                return self.finish(inferred);
            }
            let rows = inferred.into_iter().zip(images.iter().zip(&frames));
            return rows
                .map(|(inferred, (image, frame))| {
                    let inside = frame.windows().next().map(|window| frame.inside(window));
                    let pixels = match inside {
                        Some(inside) => part(&inferred.pixels, inside),
                        None => inferred.pixels,
                    };
                    self.finish_one(Inferred { pixels, ..inferred }, image, frame)
                })
                .collect();
        }
        (images.iter().zip(&frames))
            .map(|(image, frame)| {
                let content = frame.content(image.rgb)?;
                self.finish_one(self.tiled(&content, frame)?, image, frame)
            })
            .collect()
    }

    /// Scores images that have the size of the network's input already.
    ///
    /// # Errors
    /// The errors of [`detect_batch`](Self::detect_batch).
    pub fn detect_inputs(&self, inputs: &[&RgbImage]) -> Result<Vec<Detection>> {
        self.finish(self.engine.infer(inputs)?)
    }

    /// The pixel scores of the windows of one content, blended where they overlap, and the largest of their image scores.
    fn tiled(&self, content: &RgbImage, frame: &Frame) -> Result<Inferred> {
        let (columns, rows) = frame.weights();
        let (width, height) = (frame.width as usize, frame.height as usize);
        let mut sum = vec![0.0f32; width * height];
        let mut image: Option<f64> = None;
        let windows: Vec<Window> = frame.windows().collect();
        for windows in windows.chunks(TILES) {
            let cuts: Vec<RgbImage> = windows.iter().map(|window| frame.cut(content, *window)).collect();
            let inferred = self.engine.infer(&cuts.iter().collect::<Vec<_>>())?;
            for (window, inferred) in windows.iter().zip(inferred) {
                image = match (image, inferred.image) {
                    (Some(before), Some(score)) => Some(before.max(score)),
                    (before, score) => before.or(score),
                };
                let inside = frame.inside(*window);
                let (left, columns) = span(inside.x, inside.width, window.left, &columns);
                let (top, rows) = span(inside.y, inside.height, window.top, &rows);
                let from = inferred
                    .pixels
                    .scores
                    .chunks_exact(inferred.pixels.width as usize);
                let from = from.skip(inside.y as usize);
                let to = sum.chunks_exact_mut(width).skip(top);
                for ((from, to), row) in from.zip(to).zip(rows) {
                    let from = &from[inside.x as usize..];
                    let to = to[left..].iter_mut();
                    for ((from, to), column) in from.iter().zip(to).zip(columns) {
                        *to += from * (row * column);
                    }
                }
            }
        }
        let (columns, rows) = frame.total_weights();
        for (scores, row) in sum.chunks_exact_mut(width).zip(rows) {
            for (score, column) in scores.iter_mut().zip(&columns) {
                *score = *score / row / column;
            }
        }
        let pixels = ScoreMap {
            width: frame.width,
            height: frame.height,
            scores: sum,
        };
        Ok(Inferred { pixels, image })
    }

    /// The result for one content, with 0 for pixels that are not visible.
    fn finish_one(&self, mut inferred: Inferred, image: &InputView, frame: &Frame) -> Result<Detection> {
        if let Some(visible) = image.visible {
            hide(&mut inferred.pixels, visible, frame)?;
        }
        let mut found = self.finish(vec![inferred])?;
        found
            .pop()
            .ok_or_else(|| Error::data("image", "the scorer gave no score"))
    }

    fn finish(&self, inferred: Vec<Inferred>) -> Result<Vec<Detection>> {
        let (maps, own): (Vec<_>, Vec<_>) = inferred
            .into_iter()
            .map(|Inferred { pixels, image }| (pixels, image))
            .unzip();
        let scale = self
            .calibration
            .as_ref()
            .and_then(|calibration| calibration.image.scale());
        let finished = self.engine.finish(maps)?.into_iter().zip(own);
        Ok(finished
            .map(|((score, map), own)| {
                let score = own.unwrap_or(score);
                Detection {
                    score,
                    calibrated: scale.map(|scale| scale.calibrated(score)),
                    map,
                }
            })
            .collect())
    }
}

/// First pixel of the visible part of a window in the content, and the weights of its pixels.
fn span(inside: u32, length: u32, window: i64, weights: &[f32]) -> (usize, &[f32]) {
    let inside_first = inside as usize;
    let first = usize::try_from(window + i64::from(inside)).unwrap_or(0);
    (first, &weights[inside_first..inside_first + length as usize])
}

/// The part of a map within a rectangle.
fn part(map: &ScoreMap, inside: Rect) -> ScoreMap {
    let rows = map.scores.chunks_exact(map.width as usize);
    let rows = rows.skip(inside.y as usize).take(inside.height as usize);
    let columns = inside.x as usize..(inside.x + inside.width) as usize;
    ScoreMap {
        width: inside.width,
        height: inside.height,
        scores: rows.flat_map(|row| &row[columns.clone()]).copied().collect(),
    }
}

/// Sets the scores of pixels that are not visible to 0.
fn hide(map: &mut ScoreMap, visible: &GrayImage, frame: &Frame) -> Result<()> {
    let visible = frame.mask(visible, MaskRule::Nearest, frame.width, frame.height)?;
    for (score, visible) in map.scores.iter_mut().zip(visible.as_raw()) {
        if *visible == 0 {
            *score = 0.0;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::config::Size;
    use crate::data::geometry::Framing;

    /// Scores every pixel by its red value and an image by its mean, with no network.
    struct Redness;

    impl Engine for Redness {
        fn infer(&self, inputs: &[&RgbImage]) -> Result<Vec<Inferred>> {
            let scores = |image: &RgbImage| image.pixels().map(|pixel| f32::from(pixel.0[0])).collect();
            let inferred = inputs.iter().map(|image| Inferred {
                pixels: ScoreMap {
                    width: image.width(),
                    height: image.height(),
                    scores: scores(image),
                },
                image: None,
            });
            Ok(inferred.collect())
        }

        fn finish(&self, maps: Vec<ScoreMap>) -> Result<Vec<(f64, ScoreMap)>> {
            let mean = |map: &ScoreMap| {
                let sum: f64 = map.scores.iter().copied().map(f64::from).sum();
                sum / map.scores.len() as f64
            };
            Ok(maps.into_iter().map(|map| (mean(&map), map)).collect())
        }

        fn batch_size(&self) -> usize {
            4
        }
    }

    fn detector(fit: Framing) -> Detector {
        let input = Input {
            size: Size::Sides([16, 24]),
            fit,
            ..Input::default()
        };
        Detector::new(Box::new(Redness), input, None)
    }

    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(x * 5 + y * 3) as u8, 0, 9]))
    }

    #[test]
    fn what_an_engine_says_of_tiles_is_joined_without_seams() {
        let image = picture(70, 41);
        let found = detector(Framing::Tile).detect(&image).unwrap();
        assert_eq!((found.map.width, found.map.height), (70, 41));
        for (score, pixel) in found.map.scores.iter().zip(image.pixels()) {
            assert!((score - f32::from(pixel.0[0])).abs() < 1e-3, "{score} {pixel:?}");
        }
        assert_eq!((found.calibrated, found.is_anomalous()), (None, None));
    }

    #[test]
    fn images_together_score_as_they_do_alone() {
        let images = [picture(24, 16), picture(50, 20), picture(9, 31)];
        for fit in [Framing::Stretch, Framing::Letterbox, Framing::Tile] {
            let detector = detector(fit);
            let together = detector.detect_batch(&images.each_ref()).unwrap();
            for (image, found) in images.iter().zip(together) {
                let alone = detector.detect(image).unwrap();
                assert_eq!((found.score, &found.map), (alone.score, &alone.map), "{fit:?}");
            }
        }
    }

    #[test]
    fn bars_of_a_letterbox_and_transparent_pixels_have_no_score() {
        let image = picture(48, 16);
        let found = detector(Framing::Letterbox).detect(&image).unwrap();
        assert_eq!((found.map.width, found.map.height), (24, 8));
        let visible = GrayImage::from_fn(24, 16, |x, _| image::Luma([if x < 12 { 255 } else { 0 }]));
        let view = InputView {
            rgb: &picture(24, 16),
            visible: Some(&visible),
        };
        let found = detector(Framing::Stretch).detect(view).unwrap();
        for (place, score) in (0..).zip(&found.map.scores) {
            assert_eq!(*score > 0.0, place % 24 < 12 && place != 0, "{place}: {score}");
        }
    }
}
