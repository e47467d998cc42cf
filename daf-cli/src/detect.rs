use std::collections::HashSet;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use daf_core::config::DeviceChoice;
use daf_core::image::RgbImage;
use daf_core::{Detection, Detector, concurrent, data, overlay};
use rayon::prelude::*;
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
    /// Change a setting of the run's pipeline; with another method, input or scorer there are no thresholds
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

impl Detect {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let files = self.files()?;
        let pictures = match &self.maps {
            Some(folder) => pictures(folder, &files)?.into_iter().map(Some).collect(),
            None => vec![None; files.len()],
        };
        let files: Vec<Asked> = files.into_iter().zip(pictures).collect();
        let run = daf_core::run::Run::open_with(&self.run, &self.settings)?;
        let device = self.device.unwrap_or(run.pipeline().device);
        let detector = Detector::new(run, device)?;
        if let Some(folder) = &self.maps {
            std::fs::create_dir_all(folder).map_err(daf_core::Error::io(folder))?;
        }
        match self.score(&detector, &files, context)? {
            0 => Ok(()),
            1 => Err(Failure::work("one image could not be scored")),
            many => Err(Failure::work(format!("{many} images could not be scored"))),
        }
    }

    /// Scores images and prints a line for each; how many could not be read.
    fn score<'f>(
        &self,
        detector: &Detector,
        files: &'f [Asked],
        context: &mut Context,
    ) -> Result<usize, Failure> {
        // The colours of the run's calibration, so that pictures can be compared; without one, those of each image.
        let scale = detector
            .calibration()
            .and_then(|calibration| calibration.pixel.scale())
            .map(|scale| scale.colours());
        let names = files
            .iter()
            .map(|(file, _)| file.display().to_string().chars().count());
        let width = names.max().unwrap_or(0);
        let missing = detector
            .calibration()
            .and_then(|calibration| calibration.image.reason());
        if let Some(reason) = missing {
            tracing::warn!("the run has no threshold, so there is no verdict on an image: {reason}");
        }
        if !self.json {
            writeln!(context.out, "{:width$}   score  0 to 1", "image")?;
        }
        let mut counter = Counter::new("scoring");
        let (mut done, mut failed) = (0, 0);
        let pipeline = detector.run().pipeline();
        let batch = pipeline.input.images_at_once(pipeline.evaluation.batch_size);
        let look = |opened: Opened<'f>| {
            let images: Vec<&RgbImage> = opened.images.iter().map(|(_, image)| image).collect();
            let found = match &images[..] {
                [] => Vec::new(),
                images => detector.detect_batch(images)?,
            };
            Ok((opened, found))
        };
        let finish = |(opened, found): (Opened<'f>, Vec<Detection>)| {
            let lines = (opened.images.par_iter().zip(found))
                .map(|((asked, image), found)| {
                    if let (_, Some(picture)) = asked {
                        draw(picture, image, &found, scale)?;
                    }
                    Ok((*asked, found))
                })
                .collect::<Result<Vec<_>, Failure>>()?;
            Ok((lines, opened.broken))
        };
        concurrent::stages(files.chunks(batch), open, look, finish, |(lines, broken)| {
            for error in &broken {
                let _ = writeln!(anstream::stderr(), "{error}");
            }
            done += lines.len() + broken.len();
            failed += broken.len();
            for ((file, picture), found) in lines {
                let file = file.display().to_string();
                if self.json {
                    let line = json!({
                        "image": file,
                        "score": found.score,
                        "calibrated": found.calibrated,
                        "anomalous": found.is_anomalous(),
                        "map": picture.as_ref().map(|picture| picture.display().to_string()),
                    });
                    writeln!(context.out, "{line}")?;
                    continue;
                }
                let calibrated = found
                    .calibrated
                    .map_or_else(|| "–".into(), |score| format!("{score:.3}"));
                let verdict = if found.is_anomalous() == Some(true) {
                    "  anomalous"
                } else {
                    ""
                };
                let score = found.score;
                writeln!(
                    context.out,
                    "{file:width$}  {score:>6.4}  {calibrated:>6}{verdict}"
                )?;
            }
            context.out.flush()?;
            counter.set(done, files.len());
            Ok(())
        })?;
        counter.finish();
        Ok(failed)
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

/// An image file, and the file that its heat map is drawn into.
type Asked = (PathBuf, Option<PathBuf>);

/// Some of the images, opened.
struct Opened<'f> {
    images: Vec<(&'f Asked, RgbImage)>,
    /// Why others cannot be read.
    broken: Vec<daf_core::Error>,
}

fn open(files: &[Asked]) -> Result<Opened<'_>, Failure> {
    let read: Vec<_> = files.par_iter().map(|(file, _)| data::read_rgb(file)).collect();
    let (mut images, mut broken) = (Vec::new(), Vec::new());
    for (asked, image) in files.iter().zip(read) {
        match image {
            Ok(image) => images.push((asked, image)),
            Err(error) => broken.push(error),
        }
    }
    Ok(Opened { images, broken })
}

/// Where the heat maps of images go: names in a folder, no two alike.
fn pictures(folder: &Path, files: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut taken = HashSet::new();
    let mut name = |file: &PathBuf| {
        // The whole path goes into the name: folders hold images of the same name.
        let file = file.with_extension("");
        let parts = file.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy()),
            _ => None,
        });
        let stem = parts.collect::<Vec<_>>().join("_");
        let numbered = (2..).map(|number| format!("{stem}-{number}.png"));
        let mut names = std::iter::once(format!("{stem}.png")).chain(numbered);
        let name = names.find(|name| taken.insert(name.clone()));
        folder.join(name.unwrap_or_default())
    };
    let pictures: Vec<PathBuf> = files.iter().map(&mut name).collect();
    let images: HashSet<PathBuf> = files.iter().filter_map(|file| file.canonicalize().ok()).collect();
    let overwritten = pictures.iter().find(|picture| {
        picture
            .canonicalize()
            .is_ok_and(|picture| images.contains(&picture))
    });
    match overwritten {
        Some(image) => Err(Failure::usage(format!(
            "--maps {}: a heat map would overwrite the image {}; choose another folder",
            folder.display(),
            image.display()
        ))),
        None => Ok(pictures),
    }
}

/// Draws the heat map of an image into a file.
pub(crate) fn draw(
    path: &Path,
    image: &RgbImage,
    found: &Detection,
    scale: Option<(f32, f32)>,
) -> Result<(), Failure> {
    let (low, high) = scale.unwrap_or_else(|| found.map.range());
    overlay::panel(image, None, &found.map, (low, high))
        .save(path)
        .map_err(|error| Failure::from(daf_core::Error::data(path, error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_heat_maps_share_a_name() {
        let files = ["a/b.png", "a_b.png", "a/b.jpg", "a/b.png"].map(PathBuf::from);
        let names = pictures(Path::new("maps"), &files).unwrap();
        let expected = [
            "maps/a_b.png",
            "maps/a_b-2.png",
            "maps/a_b-3.png",
            "maps/a_b-4.png",
        ];
        assert_eq!(names, expected.map(PathBuf::from));
    }
}
