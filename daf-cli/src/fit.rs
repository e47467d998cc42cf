use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daf_core::calibration::{Calibration, Chosen, FEWEST_HELD_OUT, Source};
use daf_core::data::files;
use daf_core::words::listed;
use daf_core::{Dataset, Split};
use daf_data::{Folder, Joined};
use daf_pipeline::run::{Duplicate, duplicates};
use daf_pipeline::train::{Refitted, refit};
use daf_pipeline::{Pipeline, Run};

use crate::Context;
use crate::data;
use crate::failure::Failure;
use crate::progress::Training;

/// Fit a trained run to more normal images, without training
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli fit runs/bottle --add new/
  daf-cli fit runs/bottle --add may/ june/ -o runs/bottle-june
  daf-cli fit runs/bottle --add new/ --set data.root=/elsewhere/mvtec

What is fitted and not trained (a memory of patches, quantiles, statistics of a
scorer) is fitted anew to the run's normal images and the added ones, and the
thresholds are chosen anew. Trained weights stay. The result is a run of its own;
the old one is only read, but its images have to be there.")]
pub(crate) struct Fit {
    /// The run directory
    run: PathBuf,
    /// Folders, files or patterns of further normal images
    #[arg(long, value_name = "FOLDER", required = true, num_args = 1..)]
    add: Vec<PathBuf>,
    /// The new run directory; by default the name of the run with -added
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Change a setting of the run's pipeline, such as the place of its images; method, input and scorer stay
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl Fit {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let old = Run::open_with(&self.run, &self.settings)?;
        daf_core::store::check_complete(old.dir())?;
        let target = self.target()?;
        let pipeline = self.with_added(&old)?;
        let found = refit(&old, pipeline, &target, &mut Training::default())?;
        let before = Calibration::read(old.dir())?;
        data::keep(found.run.dir(), &data::examine(&found.run))?;
        // All is written before anything is printed: nobody may be there to read it.
        let page = daf_report::write(found.run.dir())?;
        print(&found, before.as_ref(), context)?;
        writeln!(context.out, "run:     {}", target.display())?;
        Ok(writeln!(context.out, "report:  {}", page.display())?)
    }

    /// The new run directory.
    fn target(&self) -> Result<PathBuf, Failure> {
        let run = &self.run;
        let target = match &self.output {
            Some(output) => output.clone(),
            None => {
                let named = match run.file_name() {
                    Some(_) => run.clone(),
                    None => run.canonicalize().map_err(daf_core::Error::io(run))?,
                };
                let mut name = named.file_name().unwrap_or_default().to_owned();
                name.push("-added");
                named.with_file_name(name)
            }
        };
        let shown = target.display();
        if target.symlink_metadata().is_ok() {
            return Err(Failure::usage(format!(
                "{shown}: exists already; choose another folder with --output"
            )));
        }
        let absolute = std::path::absolute(&target).map_err(daf_core::Error::io(&target))?;
        let inside = |folder: &Path| match (folder.canonicalize(), run.canonicalize()) {
            (Ok(folder), Ok(run)) => folder.starts_with(run),
            _ => false,
        };
        if absolute.ancestors().any(inside) {
            return Err(Failure::usage(format!(
                "{shown}: lies in the run {}, which stays as it is; choose a folder beside it with --output",
                run.display()
            )));
        }
        Ok(target)
    }

    /// The pipeline of the run with the added images.
    fn with_added(&self, run: &Run) -> Result<Pipeline, Failure> {
        let mut pipeline = run.pipeline().clone();
        let known = (pipeline.data.check())
            .map_err(|error| pipeline.data.fault("data", error))
            .and_then(|()| pipeline.data.list(Split::Train))
            .map_err(|error| unreachable_images(run, error))?;
        let added = Arc::new(self.folder()?);
        let listing = added.survey(Split::Train);
        if !listing.left_out.is_empty() {
            let _ = writeln!(anstream::stderr(), "{}", listing.left_out);
        }
        let paths = |items: Vec<daf_core::Item>| items.into_iter().map(|item| item.image).collect::<Vec<_>>();
        let images = paths(listing.complete().map_err(Failure::usage)?);
        let tests = paths(pipeline.data.survey(Split::Test).items);

        let known: Vec<PathBuf> = tests.iter().cloned().chain(paths(known)).collect();
        let found = duplicates(&known, &images);
        let tests: HashSet<&Path> = tests.iter().map(PathBuf::as_path).collect();
        let (of_tests, again): (Vec<&Duplicate>, Vec<&Duplicate>) =
            (found.iter()).partition(|found| tests.contains(found.of.as_path()));
        if let Some(measured) = of_tests.iter().find(|found| found.same_file) {
            return Err(Failure::usage(format!(
                "{}: the run measures with this image, and test images must not be learned from; take it out of what is added",
                measured.image.display()
            )));
        }
        skip(&of_tests, "the run measures with the same images");
        skip(&again, "the same images are there already");
        if found.len() == images.len() {
            let given: Vec<_> = self.add.iter().map(|given| given.display()).collect();
            return Err(Failure::usage(format!(
                "--add {}: expected images that the run has not, found {}, all of which it has already",
                listed(&given, 3),
                images.len()
            )));
        }
        let mut data = Joined::and(&pipeline.data, added).map_err(Failure::work)?;
        let copies = found.iter().filter(|found| !found.same_file);
        data.except.extend(copies.map(|found| found.image.clone()));
        pipeline.data = Arc::new(data);
        // The new run is not to be written over the old one when its config.yaml is run.
        pipeline.output.dir = None;
        Ok(pipeline)
    }

    /// The added images as a data set.
    fn folder(&self) -> Result<Folder, Failure> {
        let pattern = |given: &PathBuf| match given.to_str() {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            Some(_) => Err(Failure::usage("--add: expected a folder, found an empty path")),
            None => Err(Failure::usage(format!(
                "--add {}: expected a path in UTF-8, as config.yaml is to name it; rename the folder",
                given.display()
            ))),
        };
        let normal = self.add.iter().map(pattern).collect::<Result<Vec<_>, _>>()?;
        for given in &self.add {
            let path = files::locate(given);
            if !path.exists() && !files::is_pattern(&path) {
                return Err(Failure::usage(files::missing(&path)));
            }
        }
        Ok(Folder {
            root: PathBuf::new(),
            normal,
            test_normal: Vec::new(),
            abnormal: Vec::new(),
            masks: Vec::new(),
            ..Folder::default()
        })
    }
}

/// The images of a run cannot be listed: says which ones, and what to do.
fn unreachable_images(run: &Run, error: daf_core::Error) -> Failure {
    let advice = match run.elsewhere() {
        Some(folder) => format!(
            "relative paths in its settings were relative to {}: run the command there, or give the place anew, as in --set \
             data.root=FOLDER",
            folder.display()
        ),
        None => "bring them back, or give their place anew, as in --set data.root=FOLDER".into(),
    };
    Failure::usage(format!(
        "{}: the images that the run learned from are needed and cannot be listed; {advice}\n  caused by: {}",
        run.dir().display(),
        Failure::from(error).text()
    ))
}

/// Warns of images that are not added.
fn skip(duplicates: &[&Duplicate], why: &str) {
    if duplicates.is_empty() {
        return;
    }
    let names: Vec<String> = (duplicates.iter())
        .map(|found| match found.same_file {
            true => found.image.display().to_string(),
            false => format!("{} = {}", found.image.display(), found.of.display()),
        })
        .collect();
    let images = if names.len() == 1 {
        "image is"
    } else {
        "images are"
    };
    tracing::warn!(
        "{} {images} not added, since {why}: {}",
        names.len(),
        listed(&names, 3)
    );
}

fn print(found: &Refitted, before: Option<&Calibration>, context: &mut Context) -> Result<(), Failure> {
    let out = &mut context.out;
    let Refitted {
        added, calibration, ..
    } = found;
    let held_out = match calibration.basis.source {
        Source::HeldOut | Source::Synthetic => {
            format!(
                ", {} of them held out to choose thresholds with",
                found.added_held_out
            )
        }
        _ => String::new(),
    };
    let images = if *added == 1 { "image" } else { "images" };
    writeln!(
        out,
        "added {added} {images} to {}{held_out}",
        found.images - added
    )?;
    if *added < FEWEST_HELD_OUT {
        writeln!(
            out,
            "so few images tell little of how normal ones vary; a dozen or more are better"
        )?;
    } else if !held_out.is_empty() && found.added_held_out == 0 {
        writeln!(
            out,
            "thresholds do not rest on any of the added images, since enough others were held out before"
        )?;
    }
    match &found.fitted[..] {
        [] => writeln!(
            out,
            "there is nothing in this model that is fitted: its weights are trained and stay, and only the thresholds change; \
             to learn from the added images, train another run with the config.yaml of the new one"
        )?,
        stores => writeln!(out, "fitted again: {}", listed(stores, 8))?,
    }
    if found.patches_before + found.patches_now > 0 {
        writeln!(
            out,
            "patches kept: {} before, {} now",
            found.patches_before, found.patches_now
        )?;
    }
    let text = |chosen: Option<&Chosen>| {
        let scale = chosen.and_then(Chosen::scale);
        scale.map_or_else(|| "none".to_owned(), |scale| format!("{:.4}", scale.threshold))
    };
    for (what, old, new) in [
        ("images", before.map(|before| &before.image), &calibration.image),
        ("pixels", before.map(|before| &before.pixel), &calibration.pixel),
    ] {
        writeln!(
            out,
            "threshold of {what}: {} before, {} now",
            text(old),
            text(Some(new))
        )?;
    }
    writeln!(out, "they were {}", calibration.basis)?;
    if let Some(doubt) = calibration.doubt() {
        writeln!(out, "{doubt}")?;
    }
    Ok(())
}
