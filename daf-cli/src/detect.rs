use std::io::Write;
use std::path::{Path, PathBuf};

use daf_core::config::DeviceChoice;
use daf_core::image::RgbImage;
use daf_core::{Detection, Detector, data, overlay};
use serde_json::json;

use crate::Context;
use crate::failure::Failure;
use crate::progress::Counter;

/// Score images with a trained run
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli detect runs/bottle new/*.png
  daf-cli detect runs/bottle new/ --maps found/     heat maps of a whole folder
  daf-cli detect runs/bottle 'new/**/*.jpg' --json | jq .score

A higher score is more anomalous. The score from 0 to 1 is measured by the normal
images that were held out of training: 0.05 is their median and 0.5 the threshold,
from which on an image counts as anomalous. An image that cannot be read is reported and
left out; the exit code is then 1.")]
pub(crate) struct Detect {
    /// The run directory
    pub(crate) run: PathBuf,
    /// Images, folders of images, or patterns such as 'new/**/*.png'
    #[arg(required = true)]
    pub(crate) images: Vec<PathBuf>,
    /// Change a setting of the run's pipeline
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw heat maps into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) maps: Option<PathBuf>,
    /// Where to compute: auto, cpu or cuda:N; by default as the run was trained
    #[arg(long, value_parser = |text: &str| DeviceChoice::try_from(text.to_owned()))]
    pub(crate) device: Option<DeviceChoice>,
}

/// Images per forward pass.
pub(crate) const BATCH: usize = 8;

impl Detect {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let files = self.files()?;
        let run = daf_core::run::Run::open_with(&self.run, &self.settings)?;
        let device = self.device.unwrap_or(run.pipeline().device);
        let detector = Detector::new(run, device)?;
        // The colours of the run's calibration, so that pictures can be compared; without one, those of each image.
        let scale = detector
            .calibration()
            .map(|calibration| calibration.pixel.colours());
        if let Some(folder) = &self.maps {
            std::fs::create_dir_all(folder).map_err(daf_core::Error::io(folder))?;
        }
        let width = files
            .iter()
            .map(|file| file.display().to_string().chars().count())
            .max()
            .unwrap_or(0);
        if !self.json {
            writeln!(context.out, "{:width$}   score  0 to 1", "image")?;
        }
        let mut counter = Counter::new("scoring");
        let mut failed = 0;
        let batch = detector.run().pipeline().input.images_at_once(BATCH);
        for (done, chunk) in (0..).step_by(batch).zip(files.chunks(batch)) {
            let (images, broken) = read(chunk);
            failed += broken;
            let pixels: Vec<&RgbImage> = images.iter().map(|(_, image)| image).collect();
            let found = if pixels.is_empty() {
                Vec::new()
            } else {
                detector.detect_batch(&pixels)?
            };
            for ((file, image), found) in images.iter().zip(&found) {
                let map = self
                    .maps
                    .as_ref()
                    .map(|folder| draw(folder, file, image, found, scale))
                    .transpose()?;
                if self.json {
                    let line = json!({
                        "image": file.display().to_string(),
                        "score": found.score,
                        "calibrated": found.calibrated,
                        "anomalous": found.is_anomalous(),
                        "map": map.map(|map| map.display().to_string()),
                    });
                    writeln!(context.out, "{line}")?;
                } else {
                    let calibrated = found
                        .calibrated
                        .map_or_else(|| "–".into(), |score| format!("{score:.3}"));
                    let verdict = if found.is_anomalous() == Some(true) {
                        "  anomalous"
                    } else {
                        ""
                    };
                    writeln!(
                        context.out,
                        "{:width$}  {:>6.4}  {calibrated:>6}{verdict}",
                        file.display().to_string(),
                        found.score
                    )?;
                }
            }
            context.out.flush()?;
            counter.set(done + chunk.len(), files.len());
        }
        counter.finish();
        match failed {
            0 => Ok(()),
            1 => Err(Failure::work("one image could not be scored")),
            many => Err(Failure::work(format!("{many} images could not be scored"))),
        }
    }

    /// Every image that the arguments name, in their order, folders and patterns sorted.
    fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut files = Vec::new();
        for given in &self.images {
            let before = files.len();
            if given.is_dir() {
                files.extend(data::files::images(given)?);
            } else if given.exists() || !is_pattern(given) {
                files.push(given.clone());
            } else {
                let text = given.to_string_lossy();
                let found = glob::glob(&text).map_err(|error| {
                    Failure::usage(format!("{}: not a pattern: {error}", given.display()))
                })?;
                files.extend(found.filter_map(Result::ok).filter(|path| path.is_file()));
            }
            if files.len() == before {
                return Err(Failure::usage(format!("{}: there is no image", given.display())));
            }
        }
        Ok(files)
    }
}

fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

/// Opens images; those that cannot be read are reported and counted.
fn read(files: &[PathBuf]) -> (Vec<(&Path, RgbImage)>, usize) {
    let mut images = Vec::new();
    let mut broken = 0;
    for file in files {
        match data::read_rgb(file) {
            Ok(image) => images.push((file.as_path(), image)),
            Err(error) => {
                broken += 1;
                let _ = writeln!(anstream::stderr(), "{error}");
            }
        }
    }
    (images, broken)
}

/// Draws the heat map of an image of `file` into a folder; says where it is.
pub(crate) fn draw(
    folder: &Path,
    file: &Path,
    image: &RgbImage,
    found: &Detection,
    scale: Option<(f32, f32)>,
) -> Result<PathBuf, Failure> {
    let (low, high) = scale.unwrap_or_else(|| found.map.range());
    // The whole path goes into the name: folders hold images of the same name.
    let name: Vec<String> = file
        .components()
        .filter_map(|part| match part {
            std::path::Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect();
    let path = folder.join(name.join("_")).with_extension("png");
    let picture = overlay::panel(image, None, &found.map, (low, high));
    picture
        .save(&path)
        .map_err(|error| daf_core::Error::data(&path, error.to_string()))?;
    Ok(path)
}
