//! The run directory: everything that a run is made of and what came of it.
//!
//! ```text
//! config.yaml      the pipeline, fully resolved
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
//! maps/            pictures of the test images and their heat maps
//! report.html      all of it on one page, by daf-report
//! events.out.*     history and metrics for TensorBoard, by daf-report
//! ```

mod images;

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::config::{Layers, Pipeline};
use crate::registry::{self, Kind};
use crate::results::{CONFIG, MANIFEST, Manifest, read_json};
use crate::{Error, Model, Origin, Result, weights};

/// A run directory.
#[derive(Debug)]
pub struct Run {
    dir: PathBuf,
    pipeline: Pipeline,
    /// See [`changed`](Self::changed).
    changed: Vec<String>,
    /// That of a directory which this process has made: from the first moment no other one takes it for abandoned.
    lock: Mutex<Option<Lock>>,
}

/// The keys of `trainer` that the weights do not depend on.
pub const FREE_TRAINER_KEYS: [&str; 3] = ["workers", "cache_mb", "checkpoint_every"];

/// The right to write to a run directory: see [`Run::lock`].
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// What runs were made with before these settings were written down.
const UNWRITTEN: &str = "input: { reduction: bilinear, depth: 16, alpha: drop }";

/// An empty file that is written after the last file of weights.
const COMPLETE: &str = "complete";
const ORIGINS: &str = "origins.json";
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
        let device = pipeline.device.resolve()?;
        let yaml = pipeline.to_yaml()?;
        let manifest = Manifest {
            daf: env!("CARGO_PKG_VERSION").into(),
            libtorch: "2.11.0".into(),
            device: format!("{device:?}"),
            threads: tch::get_num_threads(),
            folder: std::env::current_dir().ok(),
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
            write_json(&temporary.join(MANIFEST), &manifest)?;
            held = Some(lock(temporary)?);
            Ok(())
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
    /// As [`open`](Self::open), or if a setting cannot be read.
    pub fn open_with<S: AsRef<str>>(dir: &Path, settings: &[S]) -> Result<Self> {
        let pipeline = layers(dir)?.set(settings)?.resolve_run()?;
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
        let manifest: Manifest = read_json(&self.dir.join(MANIFEST)).ok()??;
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
            if ![CONFIG, MANIFEST, LOCK, images::IMAGES]
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
        is_trained(&self.dir)
    }

    /// Where the weights of its networks started from.
    ///
    /// # Errors
    /// If the file is damaged or missing.
    pub fn origins(&self) -> Result<Vec<Origin>> {
        let path = self.dir.join("weights").join(ORIGINS);
        let text = fs::read(&path).map_err(Error::io(&path))?;
        crate::results::from_json(&text).map_err(|fault| Error::data(&path, format!("damaged: {fault}")))
    }

    /// Saves the weights that training does not change: a checkpoint does without them.
    pub(crate) fn save_frozen(&self, model: &dyn Model) -> Result<()> {
        self.save(model, true)?;
        write_json(&self.dir.join("weights").join(ORIGINS), &model.origins())
    }

    /// Saves the trained weights.
    pub(crate) fn save_weights(&self, model: &dyn Model) -> Result<()> {
        self.save(model, false)
    }

    /// Notes that the training has ended and left everything.
    pub(crate) fn complete(&self) -> Result<()> {
        write_file(&self.dir.join("weights").join(COMPLETE), b"")
    }

    fn save(&self, model: &dyn Model, frozen: bool) -> Result<()> {
        let folder = self.dir.join("weights");
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        for store in model.stores().iter().filter(|store| store.frozen == frozen) {
            write_with(&weights_file(&self.dir, store.name), |temporary| {
                weights::write(temporary, crate::train::named(store.vars))
            })?;
        }
        Ok(())
    }

    /// Loads the weights that training does not change.
    pub(crate) fn load_frozen(&self, model: &dyn Model) -> Result<()> {
        load(&self.dir, model, |frozen| frozen)
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

/// What the pipeline of a run directory is read from.
pub(crate) fn layers(dir: &Path) -> Result<Layers> {
    // Both, so that a folder with a pipeline called config.yaml is not taken for a run, and deleted like one.
    for file in [CONFIG, MANIFEST] {
        if !dir.join(file).is_file() {
            let reason = match dir.exists() {
                true => format!("not a run directory: it holds no {file}"),
                false => "no such folder".into(),
            };
            return Err(Error::data(dir, reason));
        }
    }
    Layers::new(UNWRITTEN)?.file(dir.join(CONFIG))
}

/// Whether the training of the run in a directory has ended.
pub(crate) fn is_trained(dir: &Path) -> bool {
    dir.join("weights").join(COMPLETE).is_file()
}

/// Loads all weights of a run directory into a model that was built for inference.
///
/// # Errors
/// If a file is missing, damaged or of another network.
pub(crate) fn load_weights(dir: &Path, model: &dyn Model) -> Result<()> {
    load(dir, model, |_| true)
}

fn load(dir: &Path, model: &dyn Model, wanted: impl Fn(bool) -> bool) -> Result<()> {
    for store in model.stores().iter().filter(|store| wanted(store.frozen)) {
        let path = weights_file(dir, store.name);
        // A model for inference lacks what only training needs, so files may hold more than the model.
        weights::load(store.vars, &weights::read(&path)?, &path, false)?;
    }
    Ok(())
}

fn weights_file(dir: &Path, store: &str) -> PathBuf {
    dir.join("weights").join(store).with_extension("safetensors")
}

impl Pipeline {
    /// The pipeline as YAML; reading it gives the same pipeline.
    ///
    /// # Errors
    /// If a part does not serialise.
    pub fn to_yaml(&self) -> Result<String> {
        serde_saphyr::to_string(self).map_err(|e| Error::Config {
            layer: "pipeline".into(),
            at: String::new(),
            reason: format!("cannot be written as YAML: {e}"),
            hint: None,
        })
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

/// A name beside `path` that nobody else uses.
fn temporary_name(path: &Path) -> PathBuf {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

/// Fills a folder under a temporary name, syncs and renames it: `target` is whole or absent.
///
/// # Errors
/// What `fill` or the disk has to say; the temporary folder is removed then.
pub(crate) fn write_folder(target: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let temporary = temporary_name(target);
    // Left over from a process of the same number that was killed.
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(Error::io(&temporary))?;
    }
    let result = fs::create_dir_all(&temporary)
        .map_err(Error::io(&temporary))
        .and_then(|()| fill(&temporary))
        .and_then(|()| sync_folder(&temporary))
        .and_then(|()| fs::rename(&temporary, target).map_err(Error::io(target)));
    if result.is_err() {
        let _ = fs::remove_dir_all(&temporary);
    }
    result.and_then(|()| sync_folder(parent(target)))
}

/// A folder that is filled beside another one, whose place it then takes as a whole; dropped before, it leaves nothing. Only
/// one process may be at it: see [`Run::lock`].
pub(crate) struct Replacement {
    target: PathBuf,
    new: PathBuf,
}

impl Replacement {
    /// An empty folder that is to take the place of `target`.
    pub(crate) fn of(target: &Path) -> Result<Self> {
        let (old, new) = (beside(target, "old"), beside(target, "new"));
        // A process that was killed may have left the one in the place of the other, or half of a new one.
        if old.exists() && !target.exists() {
            fs::rename(&old, target).map_err(Error::io(target))?;
        }
        for left in [&old, &new] {
            if left.exists() {
                fs::remove_dir_all(left).map_err(Error::io(left))?;
            }
        }
        fs::create_dir_all(&new).map_err(Error::io(&new))?;
        Ok(Self {
            target: target.into(),
            new,
        })
    }

    /// Where it is until then.
    pub(crate) fn path(&self) -> &Path {
        &self.new
    }

    /// Puts it in the place of the target.
    pub(crate) fn finish(self) -> Result<()> {
        let (target, old) = (&self.target, beside(&self.target, "old"));
        sync_folder(&self.new)?;
        if target.exists() {
            fs::rename(target, &old).map_err(Error::io(target))?;
        }
        if let Err(error) = fs::rename(&self.new, target) {
            let _ = fs::rename(&old, target);
            return Err(Error::io(target)(error));
        }
        sync_folder(parent(target))?;
        if old.exists() {
            fs::remove_dir_all(&old).map_err(Error::io(&old))?;
        }
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.new);
    }
}

/// Removes a folder: it is whole or absent.
pub(crate) fn remove_folder(target: &Path) -> Result<()> {
    // The folder that a [`Replacement`] that was broken off leaves is removed as well.
    let gone = beside(target, "new");
    if gone.exists() {
        fs::remove_dir_all(&gone).map_err(Error::io(&gone))?;
    }
    if target.exists() {
        fs::rename(target, &gone).map_err(Error::io(target))?;
        fs::remove_dir_all(&gone).map_err(Error::io(&gone))?;
    }
    Ok(())
}

fn beside(target: &Path, end: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{end}"))
}

/// Bytes of a name that is made of others, at most. File systems take 255, also of the longer names that files have while they
/// are written.
const LONGEST: usize = 200;

/// The name of a file or folder: `stem` and `end`, or the beginning of the stem, a hash of all of it and `end` where that is too
/// long for a file system.
#[must_use]
pub fn file_name(stem: &str, end: &str) -> String {
    if stem.len() + end.len() <= LONGEST {
        return format!("{stem}{end}");
    }
    let hash: String = Sha256::digest(stem)[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let room = LONGEST.saturating_sub(hash.len() + 1 + end.len());
    let room = (0..=room).rev().find(|place| stem.is_char_boundary(*place));
    format!("{}-{hash}{end}", &stem[..room.unwrap_or(0)])
}

/// Writes a file under a temporary name with `write`, which syncs it, and renames it.
fn write_with(target: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    replace(target, write).and_then(|()| sync_folder(parent(target)))
}

/// Writes a file under a temporary name with `write` and renames it. When it gets to the disk is for the system to say.
pub(crate) fn replace(target: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let temporary = temporary_name(target);
    let result = write(&temporary).and_then(|()| fs::rename(&temporary, target).map_err(Error::io(target)));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Writes a file: the old content or the new, never a part.
///
/// # Errors
/// If the disk is full or the folder cannot be written to.
pub fn write_file(target: &Path, content: &[u8]) -> Result<()> {
    write_with(target, |temporary| {
        let mut file = File::create(temporary).map_err(Error::io(temporary))?;
        file.write_all(content)
            .and_then(|()| file.sync_all())
            .map_err(Error::io(temporary))
    })
}

/// Writes a value as readable JSON, as [`write_file`] does.
///
/// # Errors
/// As [`write_file`].
pub fn write_json(target: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| Error::io(target)(e.into()))?;
    text.push(b'\n');
    write_file(target, &text)
}

/// Writes lines as CSV with a header, as [`write_file`] does.
///
/// # Errors
/// As [`write_file`].
pub fn write_csv<T: Serialize>(target: &Path, lines: &[T]) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        writer
            .serialize(line)
            .map_err(|error| Error::data(target, error.to_string()))?;
    }
    let text = writer
        .into_inner()
        .map_err(|error| Error::data(target, error.to_string()))?;
    write_file(target, &text)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_too_long_are_shortened_and_stay_different() {
        assert_eq!(file_name("a/b".trim_start_matches("a/"), ".png"), "b.png");
        let long = |end: &str| format!("{}{end}", "ä".repeat(150));
        let names = [
            file_name(&long("1"), ".png"),
            file_name(&long("2"), ".png"),
            file_name(&long("1"), "-2.png"),
        ];
        for name in &names {
            assert!(
                name.len() <= LONGEST && name.starts_with("ääää") && name.ends_with(".png"),
                "{name}"
            );
        }
        assert!(names[0] != names[1] && names[0] != names[2]);
        assert_eq!(file_name(&long("1"), ".png"), names[0], "the same every time");
    }

    #[test]
    fn a_folder_is_replaced_as_a_whole_or_stays() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("maps");
        let files = |of: &Path| -> Vec<String> {
            let names = fs::read_dir(of).unwrap();
            names
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        };
        for name in ["first", "second"] {
            let new = Replacement::of(&target).unwrap();
            fs::write(new.path().join(name), "").unwrap();
            new.finish().unwrap();
            assert_eq!(files(&target), [name]);
        }
        let broken_off = Replacement::of(&target).unwrap();
        fs::write(broken_off.path().join("third"), "").unwrap();
        drop(broken_off);
        assert_eq!(files(&target), ["second"]);
        // As a process leaves it that is killed while the one takes the place of the other.
        fs::rename(&target, folder.path().join(".maps.old")).unwrap();
        fs::create_dir(folder.path().join(".maps.new")).unwrap();
        drop(Replacement::of(&target).unwrap());
        assert_eq!(files(&target), ["second"]);
        remove_folder(&target).unwrap();
        remove_folder(&target).unwrap();
        assert_eq!(files(folder.path()), [""; 0]);
    }
}
