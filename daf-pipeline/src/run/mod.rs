//! The run directory: everything that a run is made of and what came of it.
//!
//! ```text
//! config.yaml      the pipeline, fully resolved
//! model.yaml       the half of the pipeline that scores images
//! run.json         versions, parts with their crates, device, threads
//! images.csv       the images to learn from and those held out
//! synthesis.png    the first training samples
//! history.jsonl    loss terms and times of every step
//! checkpoints/     what a broken run goes on from
//! weights/         one safetensors file per store; all there when the training has ended
//! shortened.json   how far a training came that was ended early
//! findings.json    what is wrong with the images, by daf-cli
//! calibration.json thresholds, and what they rest on
//! metrics.json     what the evaluation found
//! curves.json      ROC, precision-recall and PRO curves
//! predictions.csv  score of every test image
//! maps/            pictures of the test images and their heat maps, and their pieces
//! report.html      all of it on one page, by daf-report
//! events.out.*     history and metrics for TensorBoard, by daf-report
//! ```

mod copies;
pub(crate) mod images;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use daf_core::atomic::{write_file, write_folder, write_json};
use daf_core::config::{FREE_TRAINER_KEYS, Layers};
use daf_core::registry::{self, Kind};
use daf_core::results::{CONFIG, MANIFEST, MODEL, Manifest};
use daf_core::{Error, Result, json, libtorch, store};

use crate::Pipeline;

pub use copies::{Duplicate, duplicates};

/// A run directory.
#[derive(Debug)]
pub struct Run {
    dir: PathBuf,
    pipeline: Pipeline,
    /// See [`changed`](Self::changed).
    changed: Vec<String>,
    /// Lock of a directory that this process has made: from the first moment no other process takes it for abandoned.
    lock: Mutex<Option<Lock>>,
}

/// The right to write to a run directory: see [`Run::lock`].
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

const LOCK: &str = ".lock";

impl Run {
    /// Makes a new run directory for a checked pipeline.
    ///
    /// # Errors
    /// If `dir` exists already: nothing is overwritten.
    pub fn create(dir: &Path, pipeline: Pipeline) -> Result<Self> {
        if dir.exists() {
            return Err(Error::data(
                dir,
                "exists already; choose another folder or go on with --resume",
            ));
        }
        Self::write(dir, pipeline, None, |_| Ok(()))
    }

    /// Makes the directory of a run whose model is that of another one, fitted again, with what `fill` writes into it: whole, or
    /// not at all.
    ///
    /// # Errors
    /// The errors of `fill`, or if `dir` exists already.
    pub(crate) fn create_from(
        dir: &Path,
        pipeline: Pipeline,
        from: &Self,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        if dir.exists() {
            return Err(Error::data(dir, "exists already; choose another folder"));
        }
        Self::write(dir, pipeline, Some(&from.dir), fill)
    }

    fn write(
        dir: &Path,
        pipeline: Pipeline,
        fitted_from: Option<&Path>,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let device = pipeline.device.resolve()?;
        let (yaml, model) = (pipeline.to_yaml()?, pipeline.model().to_yaml()?);
        let manifest = Manifest {
            daf: env!("CARGO_PKG_VERSION").into(),
            libtorch: libtorch::version().unwrap_or_else(|| "linked into the program".into()),
            device: format!("{device:?}"),
            threads: tch::get_num_threads(),
            folder: std::env::current_dir().ok(),
            recipe: pipeline.recipe.clone(),
            fitted_from: fitted_from.map(|from| std::path::absolute(from).unwrap_or_else(|_| from.into())),
            parts: Kind::ALL
                .into_iter()
                .flat_map(registry::components)
                .map(|c| {
                    (
                        format!("{}/{}", c.kind, c.name),
                        format!("{} {}", c.krate, c.version),
                    )
                })
                .collect(),
        };
        let mut held = None;
        let written = write_folder(dir, |temporary| {
            write_file(&temporary.join(CONFIG), yaml.as_bytes())?;
            write_file(&temporary.join(MODEL), model.as_bytes())?;
            write_json(&temporary.join(MANIFEST), &manifest)?;
            held = Some(lock(temporary)?);
            fill(temporary)
        });
        written.map_err(|error| match dir.exists() {
            true => Error::data(
                dir,
                "another process has made this run at the same moment; wait for it, or choose another folder",
            ),
            false => error,
        })?;
        Ok(Self {
            dir: dir.into(),
            pipeline,
            changed: Vec::new(),
            lock: Mutex::new(held),
        })
    }

    /// Opens a run directory.
    ///
    /// # Errors
    /// If it is none, or its pipeline cannot be read, e.g. because a part's crate is not linked.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_with(dir, &[] as &[&str])
    }

    /// Opens a run directory with settings changed, each `KEY=VALUE` as for [`Layers::set`]; the directory itself stays
    /// as it is.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open), or if a setting cannot be read.
    pub fn open_with<S: AsRef<str>>(dir: &Path, settings: &[S]) -> Result<Self> {
        let pipeline = Pipeline::of_run(&Layers::of_run(dir)?.set(settings)?)?;
        Ok(Self {
            dir: dir.into(),
            pipeline,
            changed: settings
                .iter()
                .map(|setting| setting.as_ref().to_owned())
                .collect(),
            lock: Mutex::default(),
        })
    }

    /// The settings that it was opened with, each `KEY=VALUE`: what its directory does not say.
    #[must_use]
    pub fn changed(&self) -> &[String] {
        &self.changed
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Folder that relative paths in the pipeline are relative to, if that is not the current one.
    #[must_use]
    pub fn elsewhere(&self) -> Option<PathBuf> {
        let manifest: Manifest = json::read_json(&self.dir.join(MANIFEST), "").ok()??;
        let here = std::env::current_dir().ok();
        manifest.folder.filter(|folder| Some(folder) != here.as_ref())
    }

    /// The file that it keeps its pipeline in.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.dir.join(CONFIG)
    }

    /// Its pipeline.
    #[must_use]
    pub const fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The run with the settings that results do not depend on ([`difference`](Self::difference)) taken from `pipeline`; what
    /// the directory holds stays as it is.
    #[must_use]
    pub fn with(self, pipeline: Pipeline) -> Self {
        Self { pipeline, ..self }
    }

    /// The first key in which `pipeline` differs from the run's. What is written, how often, and how many threads and how much
    /// memory prepare images does not count: the weights are the same.
    ///
    /// # Errors
    /// If a part does not serialise.
    pub fn difference(&self, pipeline: &Pipeline) -> Result<Option<String>> {
        let value = |pipeline: &Pipeline| {
            let mut value = serde_json::to_value(pipeline).map_err(|e| Error::io(&self.dir)(e.into()))?;
            value.as_object_mut().and_then(|map| map.remove("output"));
            for key in FREE_TRAINER_KEYS {
                value["trainer"].as_object_mut().and_then(|map| map.remove(key));
            }
            Ok::<_, Error>(value)
        };
        Ok(differing_key(&value(&self.pipeline)?, &value(pipeline)?))
    }

    /// Keeps other processes from writing to the directory while the guard lives; it goes with the process, however that
    /// ends.
    ///
    /// # Errors
    /// If another process holds it, or the directory cannot be written to.
    pub fn lock(&self) -> Result<Lock> {
        let held = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        match held {
            Some(lock) => Ok(lock),
            None => lock(&self.dir),
        }
    }

    /// Deletes the directory.
    ///
    /// # Errors
    /// If another process is at work in it, or the system refuses.
    pub fn delete(self) -> Result<()> {
        let _lock = self.lock()?;
        fs::remove_dir_all(&self.dir).map_err(Error::io(&self.dir))
    }

    /// Whether nothing has been learned yet: there is nothing but what [`create`](Self::create) writes and the list of images, as after a training whose model could not be
    /// built.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    pub fn is_empty(&self) -> Result<bool> {
        let entries = fs::read_dir(&self.dir).map_err(Error::io(&self.dir))?;
        for entry in entries {
            let name = entry.map_err(Error::io(&self.dir))?.file_name();
            if ![CONFIG, MODEL, MANIFEST, LOCK, images::IMAGES]
                .iter()
                .any(|own| name == *own)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the training has ended: all weights are there.
    #[must_use]
    pub fn is_trained(&self) -> bool {
        store::is_complete(&self.dir)
    }
}

fn lock(dir: &Path) -> Result<Lock> {
    let path = dir.join(LOCK);
    let file = File::create(&path).map_err(Error::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(Error::data(
            dir,
            "another process is at work in this run; wait for it, or choose another folder",
        )),
        Err(TryLockError::Error(error)) => Err(Error::io(&path)(error)),
    }
}

/// The first key, depth first, in which two values differ.
fn differing_key(a: &serde_json::Value, b: &serde_json::Value) -> Option<String> {
    use serde_json::Value::Object;
    let (Object(a), Object(b)) = (a, b) else {
        return (a != b).then(String::new);
    };
    a.keys().chain(b.keys()).find_map(|key| {
        let (Some(a), Some(b)) = (a.get(key), b.get(key)) else {
            return Some(key.clone());
        };
        let below = differing_key(a, b)?;
        Some(if below.is_empty() {
            key.clone()
        } else {
            format!("{key}.{below}")
        })
    })
}
