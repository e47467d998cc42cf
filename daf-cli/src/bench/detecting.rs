use std::io;
use std::path::PathBuf;
use std::time::Instant;

use daf_core::image::RgbImage;
use daf_core::{Detector, Error, Item, Split};
use daf_pipeline::Pipeline;

use super::arguments::Bench;
use super::clock::{Clock, Peak};
use super::stage::Stage;
use super::subject::{items, throw_away};
use crate::Context;
use crate::detect::{self, Detect};
use crate::failure::Failure;

/// Images that are read, written and scored, again and again.
const IMAGES: usize = 16;

/// Batches that `detect` is ahead with, read or scored, when it prints one. They are not measured: with fewer than so many
/// left there is less to do at the same time.
const AHEAD: usize = 2;

/// Images and a run, to measure detecting.
pub(super) struct Detecting<'a> {
    pipeline: &'a Pipeline,
    items: Vec<Item>,
    run: PathBuf,
    /// Changes of the run's own settings.
    settings: Vec<String>,
    /// Pictures and runs that are thrown away.
    folder: tempfile::TempDir,
}

impl<'a> Detecting<'a> {
    pub(super) fn new(bench: &Bench, pipeline: &'a Pipeline) -> Result<Self, Failure> {
        let folder =
            tempfile::tempdir().map_err(|error| Failure::work(format!("a temporary folder: {error}")))?;
        let mut items = items(pipeline, [Split::Test, Split::Train])?;
        items.truncate(IMAGES);
        let size = pipeline.input.size;
        let (run, settings) = match &bench.detector {
            // It was trained for all rows of a table, which differ in size.
            Some(run) => (
                run.clone(),
                vec![format!("input.size=[{}, {}]", size.height(), size.width())],
            ),
            None if bench.target.is_dir() => {
                let settings = bench.settings(bench.sizes.first().copied(), bench.batches.first().copied());
                (bench.target.clone(), settings)
            }
            None => (throw_away(bench, folder.path())?, Vec::new()),
        };
        Ok(Self {
            pipeline,
            items,
            run,
            settings,
            folder,
        })
    }

    pub(super) fn measure(&self, clock: &mut Clock, context: &Context) -> Result<(), Failure> {
        let image = |number: usize| self.image(number);
        clock.single(Stage::Decode, |round| image(round).map(drop))?;

        let images = (0..self.items.len()).map(image).collect::<Result<Vec<_>, _>>()?;
        let geometry = self.pipeline.input.geometry();
        clock.single(Stage::Resize, |round| {
            let image = &images[round % images.len()];
            let frame = geometry.frame(image.width(), image.height());
            Ok(frame.content(image).map(drop)?)
        })?;

        let network = [Stage::Score, Stage::ScoreBatch, Stage::Write];
        if network.iter().any(|stage| clock.wants(*stage)) {
            self.network(&images, clock)?;
        }
        if clock.wants(Stage::Detect) {
            self.end_to_end(&images, clock, context)?;
        }
        Ok(())
    }

    fn image(&self, number: usize) -> Result<RgbImage, Failure> {
        let item = &self.items[number % self.items.len()];
        Ok(self.pipeline.open(item)?.rgb)
    }

    fn network(&self, images: &[RgbImage], clock: &mut Clock) -> Result<(), Failure> {
        let detector = Detector::open_with(&self.run, &self.settings, Some(self.pipeline.device))?;
        let size = self.pipeline.input.size;
        let inputs = images
            .iter()
            .map(|image| daf_core::data::resize_rgb(image, size.width(), size.height()))
            .collect::<Result<Vec<_>, _>>()?;
        clock.single(Stage::Score, |round| {
            Ok(detector.detect(&inputs[round % inputs.len()]).map(drop)?)
        })?;
        let batch = self.pipeline.trainer.batch_size;
        let together: Vec<&RgbImage> = inputs.iter().cycle().take(batch).collect();
        clock.batches(Stage::ScoreBatch, batch, |_| {
            Ok(detector.detect_batch(&together).map(drop)?)
        })?;
        let found = detector.detect(&images[0])?;
        let scale = detector
            .calibration()
            .and_then(|calibration| calibration.pixel.scale())
            .map(|scale| scale.colors());
        clock.single(Stage::Write, |_| {
            let path = self.folder.path().join("map.png");
            Ok(detect::draw(&path, &images[0], &found, scale)?)
        })
    }

    /// Runs the verb once and measures from one batch that it has printed to the next. A second run of fewer images, to be
    /// taken off the first, would take off its noise as well: what is left of a few small images can be less than nothing.
    fn end_to_end(&self, images: &[RgbImage], clock: &mut Clock, context: &Context) -> Result<(), Failure> {
        let files = images
            .iter()
            .enumerate()
            .map(|(number, image)| {
                let file = self.folder.path().join(format!("{number}.png"));
                image
                    .save(&file)
                    .map_err(|error| Error::data(&file, error.to_string()))?;
                Ok(file)
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let batch = self
            .pipeline
            .input
            .images_at_once(self.pipeline.evaluation.batch_size);
        let count = batch * (clock.warmup() + 1 + clock.repeats() + AHEAD);
        let detect = Detect {
            run: self.run.clone(),
            images: files.iter().cycle().take(count).cloned().collect(),
            settings: self.settings.clone(),
            json: true,
            maps: Some(self.folder.path().join("maps")),
            device: Some(self.pipeline.device),
        };
        let mut printed = Flushes::default();
        let peak = Peak::start();
        detect.run(&mut Context {
            out: &mut printed,
            environment: context.environment.clone(),
            started: context.started,
        })?;
        let peak = peak.end();
        let between = |pair: &[Instant]| 1e3 * (pair[1] - pair[0]).as_secs_f64();
        let ms = printed.0.windows(2).map(between);
        let ms = ms.skip(clock.warmup()).take(clock.repeats()).collect();
        clock.add(Stage::Detect, batch, ms, peak);
        Ok(())
    }
}

/// An output that is thrown away but for the moments at which it was flushed, which `detect` does after each batch.
#[derive(Default)]
struct Flushes(Vec<Instant>);

impl io::Write for Flushes {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.push(Instant::now());
        Ok(())
    }
}
