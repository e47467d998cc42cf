use std::collections::HashSet;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use daf_core::atomic::file_name;
use daf_core::calibration::Calibration;
use daf_core::config::DeviceChoice;
use daf_core::data::files::{self, Found, LeftOut};
use daf_core::data::{InputImage, Reading};
use daf_core::image::RgbImage;
use daf_core::{Detection, Detector, concurrent, overlay};
use daf_pipeline::Run;
use rayon::prelude::*;
use serde_json::json;

use crate::Context;
use crate::failure::{self, Failure};
use crate::inputs::Inputs;
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
left out; so is a heat map that cannot be written. The exit code is then 1.")]
pub(crate) struct Detect {
    /// The run directory
    pub(crate) run: PathBuf,
    /// Images, folders with all images within, or patterns such as 'new/**/*.png'
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
        let detector = Detector::open_with(&self.run, &self.settings, self.device)?;
        let pages = detector.input().pages;
        let files: Vec<PathBuf> = files.iter().flat_map(|file| pages.of_file(file)).collect();
        let pictures = match &self.maps {
            Some(folder) => {
                let pictures = pictures(folder, &files);
                self.spare(folder, &pictures, &files)?;
                pictures.into_iter().map(Some).collect()
            }
            None => vec![None; files.len()],
        };
        let files: Vec<Asked> = files.into_iter().zip(pictures).collect();
        if let Some(folder) = &self.maps {
            // If that fails, so does every heat map, and says so.
            let _ = std::fs::create_dir_all(folder);
        }
        let (unreadable, undrawn) = self.score(&detector, &files, context)?;
        failure::left_out(&[
            (unreadable, "image", "images", "scored"),
            (undrawn, "heat map", "heat maps", "written"),
        ])
    }

    /// Scores images and prints a line for each; how many could not be read, and how many heat maps not be written.
    fn score<'f>(
        &self,
        detector: &Detector,
        files: &'f [Asked],
        context: &mut Context,
    ) -> Result<(usize, usize), Failure> {
        // The colors of the run's calibration, so that pictures can be compared; without one, those of each image.
        let scale = detector
            .calibration()
            .and_then(|calibration| calibration.pixel.scale())
            .map(|scale| scale.colors());
        let names = files
            .iter()
            .map(|(file, _)| file.display().to_string().chars().count());
        let width = names.max().unwrap_or(0);
        let calibration = detector.calibration();
        let basis = calibration.map(|calibration| calibration.basis);
        let doubt = calibration.and_then(Calibration::doubt);
        if let Some(doubt) = &doubt {
            let verdicts = match calibration.and_then(|calibration| calibration.image.scale()) {
                Some(_) => "verdicts on images are not to be relied on",
                None => "there is no verdict on an image",
            };
            tracing::warn!("{verdicts}: {doubt}");
        }
        if !self.json {
            writeln!(context.out, "{:width$}   score  0 to 1", "image")?;
        }
        let mut counter = Counter::new("scoring");
        let (mut done, mut unreadable, mut undrawn) = (0, 0, 0);
        let batch = detector.images_at_once();
        let reading = detector.input().reading();
        let open = |files: &'f [Asked]| open(files, reading);
        let look = |opened: Opened<'f>| {
            let images: Vec<&InputImage> = opened.images.iter().map(|(_, image)| image).collect();
            let found = match &images[..] {
                [] => Vec::new(),
                images => detector.detect_batch(images)?,
            };
            Ok((opened, found))
        };
        let finish = |(opened, found): (Opened<'f>, Vec<Detection>)| {
            let lines = (opened.images.par_iter().zip(found))
                .map(|((asked, image), found)| {
                    let (file, picture) = *asked;
                    let drawn = picture.as_deref().map(|picture| {
                        draw(picture, &image.rgb, &found, scale)?;
                        Ok::<_, daf_core::Error>(picture)
                    });
                    (file, drawn.transpose(), found)
                })
                .collect::<Vec<_>>();
            Ok((lines, opened.broken))
        };
        concurrent::stages(files.chunks(batch), open, look, finish, |(lines, broken)| {
            for error in &broken {
                let _ = writeln!(anstream::stderr(), "{error}");
            }
            done += lines.len() + broken.len();
            unreadable += broken.len();
            for (file, drawn, found) in lines {
                let file = file.display().to_string();
                let picture = drawn.unwrap_or_else(|error| {
                    undrawn += 1;
                    let _ = writeln!(anstream::stderr(), "{error}");
                    None
                });
                if self.json {
                    let line = json!({
                        "image": file,
                        "score": found.score,
                        "calibrated": found.calibrated,
                        "anomalous": found.is_anomalous(),
                        "basis": basis,
                        "doubt": doubt,
                        "map": picture.map(|picture| picture.display().to_string()),
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
        Ok((unreadable, undrawn))
    }

    /// Refuses heat maps that would take the place of an image, of those that are asked for or of the run's.
    fn spare(&self, folder: &Path, pictures: &[PathBuf], files: &[PathBuf]) -> Result<(), Failure> {
        if !pictures.iter().any(|picture| picture.exists()) {
            return Ok(());
        }
        // Without the crates of its data set nobody knows which images the run was trained with.
        let mut inputs =
            Run::open(&self.run).map_or_else(|_| Inputs::default(), |run| Inputs::of(run.pipeline()));
        for file in files {
            inputs = inputs.and(file, "the image");
        }
        let overwritten = pictures
            .iter()
            .find_map(|picture| Some((picture, inputs.find(picture)?)));
        match overwritten {
            None => Ok(()),
            Some((picture, what)) => Err(Failure::usage(format!(
                "--maps {}: a heat map would overwrite {what} {}; choose another folder",
                folder.display(),
                picture.display()
            ))),
        }
    }

    /// Every image that the arguments name, in their order, folders and patterns sorted. What lies among them and is none is
    /// said.
    fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut files = Vec::new();
        let mut left_out = LeftOut::default();
        let mut drawn = 0;
        for given in &self.images {
            let path = files::locate(given);
            if !path.exists() && !files::is_pattern(&path) {
                // Reported as an image that cannot be read, unless the path is none at all.
                if !files::hint(&path).is_empty() {
                    return Err(Failure::usage(files::missing_file(&path)));
                }
                files.push(path);
                continue;
            }
            let mut found = files::expand(Path::new(""), given).map_err(Failure::usage)?;
            let earlier = self.maps.as_deref().and_then(|maps| maps_within(maps, given));
            if let Some(maps) = earlier {
                let all = found.images.len();
                found.images.retain(|image| !image.starts_with(&maps));
                drawn += all - found.images.len();
            }
            if found.images.is_empty() {
                return Err(Failure::usage(no_image(&path, &found)));
            }
            files.append(&mut found.images);
            left_out.extend(found.left_out);
        }
        let taken: HashSet<&Path> = files.iter().map(PathBuf::as_path).collect();
        left_out.retain(|path, _| !taken.contains(path));
        if !left_out.is_empty() {
            let _ = writeln!(anstream::stderr(), "{left_out}");
        }
        if let (Some(maps), 1..) = (&self.maps, drawn) {
            let maps = maps.display();
            let _ = writeln!(
                anstream::stderr(),
                "{drawn} images in {maps} left out: heat maps are drawn there"
            );
        }
        Ok(files)
    }
}

/// The folder of heat maps, if it lies within what an argument names: those of an earlier time are no images to score.
fn maps_within(maps: &Path, given: &Path) -> Option<PathBuf> {
    let folder = files::literal_part(Path::new(""), given);
    let real = match folder.as_os_str().is_empty() {
        true => Path::new(".").canonicalize(),
        false => folder.canonicalize(),
    };
    let maps = maps.canonicalize().ok()?;
    let within = maps.strip_prefix(real.ok()?).ok()?;
    (!within.as_os_str().is_empty()).then(|| folder.join(within))
}

/// An argument that stands for no image: says what it stands for.
fn no_image(given: &Path, found: &Found) -> String {
    let mut folder = files::literal_part(Path::new(""), given);
    if folder.as_os_str().is_empty() {
        folder.push(".");
    }
    let there = match (folder.is_dir(), found.left_out.is_empty()) {
        (true, _) => format!("{} holds {}", folder.display(), found.left_out.beside(&folder)),
        (false, true) => files::missing(&folder).to_string(),
        (false, false) => found.left_out.to_string(),
    };
    format!(
        "{}: there is no image: expected {}; {there}",
        given.display(),
        files::FORMATS
    )
}

/// An image file, and the file that its heat map is drawn into.
type Asked = (PathBuf, Option<PathBuf>);

/// Opened images.
struct Opened<'f> {
    images: Vec<(&'f Asked, InputImage)>,
    /// Why others cannot be read.
    broken: Vec<daf_core::Error>,
}

fn open(files: &[Asked], reading: Reading) -> Result<Opened<'_>, Failure> {
    let read: Vec<_> = files.par_iter().map(|(file, _)| reading.open(file)).collect();
    let (mut images, mut broken) = (Vec::new(), Vec::new());
    for (asked, image) in files.iter().zip(read) {
        match image {
            Ok(image) => images.push((asked, image)),
            Err(error) => broken.push(error),
        }
    }
    Ok(Opened { images, broken })
}

/// Paths of the heat maps of images: names in a folder, no two alike.
fn pictures(folder: &Path, files: &[PathBuf]) -> Vec<PathBuf> {
    let mut taken = HashSet::new();
    let mut name = |file: &PathBuf| {
        // The whole path goes into the name: folders hold images of the same name.
        let file = file.with_extension("");
        let parts = file.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy()),
            _ => None,
        });
        let stem = parts.collect::<Vec<_>>().join("_");
        let numbered = (2..).map(|number| file_name(&stem, &format!("-{number}.png")));
        let mut names = std::iter::once(file_name(&stem, ".png")).chain(numbered);
        let name = names.find(|name| taken.insert(name.clone()));
        folder.join(name.unwrap_or_default())
    };
    files.iter().map(&mut name).collect()
}

/// Draws the heat map of an image into a file.
pub(crate) fn draw(
    path: &Path,
    image: &RgbImage,
    found: &Detection,
    scale: Option<(f32, f32)>,
) -> daf_core::Result<()> {
    let colors = scale.unwrap_or_else(|| found.map.range());
    let heat = found.map.heat(colors, image.dimensions());
    overlay::save(&overlay::panel(image, None, &heat), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_heat_maps_share_a_name() {
        let files = ["a/b.png", "a_b.png", "a/b.jpg", "a/b.png"].map(PathBuf::from);
        let names = pictures(Path::new("maps"), &files);
        let expected = [
            "maps/a_b.png",
            "maps/a_b-2.png",
            "maps/a_b-3.png",
            "maps/a_b-4.png",
        ];
        assert_eq!(names, expected.map(PathBuf::from));
    }

    #[test]
    fn heat_maps_of_deep_paths_have_names_that_file_systems_take() {
        let deep = |name: &str| PathBuf::from(format!("{}/{name}", ["line_of_a_long_name"; 20].join("/")));
        let files = [deep("a.png"), deep("b.png"), deep("a.jpg")];
        let names = pictures(Path::new("maps"), &files);
        let lengths = names.iter().map(|name| name.file_name().unwrap().len());
        assert!(lengths.max() <= Some(255), "{names:?}");
        assert_eq!(HashSet::<_>::from_iter(&names).len(), 3, "{names:?}");
    }
}
