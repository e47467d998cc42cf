//! The directory of a sweep.
//!
//! ```text
//! manifest.json        the jobs, frozen
//! jobs/HASH/           the run directory of a job
//! logs/HASH.txt        what its processes said
//! state/HASH.lock      held by the process that is at work on it
//! state/HASH.json      how far that process is
//! state/HASH.failure   why the last one gave up
//! results.csv          metrics of every place of the grid
//! tables.md            the tables
//! sweep.html           tables, plots and panels on one page
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use daf_core::atomic::{replace, write_file, write_json};
use daf_core::json::from_json;
use daf_core::results::METRICS;
use daf_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::manifest::{Job, SweepManifest};
use crate::view::Checker;

const MANIFEST: &str = "manifest.json";

/// A manifest with the directory that its jobs are run in.
#[derive(Debug)]
pub struct Sweep {
    dir: PathBuf,
    manifest: SweepManifest,
}

/// State of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Its metrics are there.
    Finished,
    /// A process is at work on it.
    Running(Option<Progress>),
    /// The last process that worked on it gave up, for this reason.
    Failed(String),
    /// The last process that worked on it was broken off; the next one goes on from there.
    Interrupted,
    /// No process has worked on it.
    Waiting,
}

impl State {
    /// Name of the state, one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Running(_) => "running",
            Self::Failed(_) => "failed",
            Self::Interrupted => "interrupted",
            Self::Waiting => "waiting",
        }
    }
}

/// Progress of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Phase of the job: `training`, `choosing thresholds` or `scoring`.
    pub phase: String,
    /// Steps or images that are done.
    pub done: u64,
    /// Steps or images in all.
    pub of: u64,
    /// Images per second, while training.
    pub images_per_second: Option<f64>,
    /// Loss of the last step, while training.
    pub loss: Option<f64>,
}

/// The right to work on a job: see [`Sweep::claim`].
#[derive(Debug)]
pub struct Claim {
    progress: PathBuf,
    failure: PathBuf,
    _lock: File,
}

/// A look at the lock takes a shared one for a moment, which must not keep a job from beginning.
const CLAIM_ATTEMPTS: usize = 20;
const CLAIM_PAUSE: Duration = Duration::from_millis(50);

impl Sweep {
    /// Freezes a manifest in a directory.
    ///
    /// # Errors
    /// If the directory has a manifest already, or cannot be written to.
    pub fn create(dir: &Path, manifest: SweepManifest) -> Result<Self> {
        if dir.join(MANIFEST).exists() {
            return Err(Error::data(dir, format!("has a {MANIFEST} already")));
        }
        Self::freeze(dir, manifest)
    }

    /// Freezes a manifest in place of the one that the directory may have. Jobs that both have stay as they
    /// are.
    ///
    /// # Errors
    /// If the directory cannot be written to.
    pub fn freeze(dir: &Path, manifest: SweepManifest) -> Result<Self> {
        for folder in ["jobs", "logs", "state"] {
            let folder = dir.join(folder);
            fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        }
        write_json(&dir.join(MANIFEST), &manifest)?;
        Ok(Self {
            dir: dir.into(),
            manifest,
        })
    }

    /// Whether a directory has a manifest.
    #[must_use]
    pub fn is_at(dir: &Path) -> bool {
        dir.join(MANIFEST).is_file()
    }

    /// Opens the directory of a sweep.
    ///
    /// # Errors
    /// If it is none, or its manifest is damaged or was altered.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        let text = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if dir.exists() => Error::data(
                dir,
                format!(
                    "not the directory of a sweep: it holds no {MANIFEST}; `daf-cli sweep FILE` makes one"
                ),
            ),
            io::ErrorKind::NotFound => Error::data(dir, "no such folder"),
            _ => Error::io(&path)(error),
        })?;
        let manifest: SweepManifest =
            from_json(&text).map_err(|fault| Error::data(&path, format!("damaged: {fault}")))?;
        if let Some(job) = manifest.altered() {
            let reason = format!(
                "the pipeline of job {} is not the one that the hash was made of; a manifest is frozen: change the \
                 sweep file instead",
                job.hash
            );
            return Err(Error::data(&path, reason));
        }
        let axes = manifest.axes.len();
        let mut cells = manifest.jobs.iter().flat_map(|job| &job.cells);
        if let Some(cell) = cells.find(|cell| cell.len() != axes) {
            let reason = format!("damaged: expected a variant for each of {axes} axes, found {cell:?}");
            return Err(Error::data(&path, reason));
        }
        let checker = Checker {
            file: &path,
            axes: &manifest.axes,
        };
        checker.view(&manifest.view)?;
        Ok(Self {
            dir: dir.into(),
            manifest,
        })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The frozen manifest.
    #[must_use]
    pub const fn manifest(&self) -> &SweepManifest {
        &self.manifest
    }

    /// The file of the manifest.
    #[must_use]
    pub fn manifest_file(&self) -> PathBuf {
        self.dir.join(MANIFEST)
    }

    /// The run directory of a job.
    #[must_use]
    pub fn run_dir(&self, job: &Job) -> PathBuf {
        self.dir.join("jobs").join(&job.hash)
    }

    /// The file for what the processes of a job say.
    #[must_use]
    pub fn log(&self, job: &Job) -> PathBuf {
        self.dir.join("logs").join(format!("{}.txt", job.hash))
    }

    fn state_file(&self, job: &Job, extension: &str) -> PathBuf {
        self.dir.join("state").join(&job.hash).with_extension(extension)
    }

    /// The job of a number, counted from 1, or of a hash, of which the beginning will do.
    ///
    /// # Errors
    /// If there is no such job or there are several.
    pub fn find(&self, name: &str) -> Result<(usize, &Job)> {
        let jobs = &self.manifest.jobs;
        let numbered = || (1..).zip(jobs);
        // No number of a job has as many digits as a hash.
        if let Ok(number) = name.parse::<usize>()
            && name.len() < 8
        {
            return numbered().find(|(known, _)| *known == number).ok_or_else(|| {
                Error::data(
                    &self.dir,
                    format!("there is no job {number}, only 1 to {}", jobs.len()),
                )
            });
        }
        let mut found = numbered().filter(|(_, job)| !name.is_empty() && job.hash.starts_with(name));
        match (found.next(), found.next()) {
            (Some(job), None) => Ok(job),
            (Some(_), Some(_)) => Err(Error::data(
                &self.dir,
                format!("the hashes of several jobs begin with `{name}`"),
            )),
            (None, _) => Err(Error::data(
                &self.dir,
                format!(
                    "there is no job `{name}`: expected a number of 1 to {}, or a hash",
                    jobs.len()
                ),
            )),
        }
    }

    /// State of a job, as its files tell.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn state(&self, job: &Job) -> Result<State> {
        let lock = self.state_file(job, "lock");
        match File::open(&lock) {
            Ok(file) => match file.try_lock_shared() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    // It may be in the making; then it is known the next time.
                    let progress = fs::read(self.state_file(job, "json")).ok();
                    let progress = progress.and_then(|text| serde_json::from_slice(&text).ok());
                    return Ok(State::Running(progress));
                }
                Err(TryLockError::Error(error)) => return Err(Error::io(&lock)(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(&lock)(error)),
        }
        let run = self.run_dir(job);
        if run.join(METRICS).is_file() {
            return Ok(State::Finished);
        }
        let failure = self.state_file(job, "failure");
        match fs::read_to_string(&failure) {
            Ok(reason) => Ok(State::Failed(reason.trim_end().into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(if run.exists() {
                State::Interrupted
            } else {
                State::Waiting
            }),
            Err(error) => Err(Error::io(&failure)(error)),
        }
    }

    /// Keeps other processes from working on a job while the claim lives; it goes with the process, however
    /// that ends.
    /// `None` if another process has it.
    ///
    /// # Errors
    /// If the directory cannot be written to.
    pub fn claim(&self, job: &Job) -> Result<Option<Claim>> {
        let path = self.state_file(job, "lock");
        // Not truncated: others may look at it.
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::io(&path))?;
        for attempt in 0..CLAIM_ATTEMPTS {
            match file.try_lock() {
                Ok(()) => {
                    let claim = Claim {
                        progress: self.state_file(job, "json"),
                        failure: self.state_file(job, "failure"),
                        _lock: file,
                    };
                    for old in [&claim.progress, &claim.failure] {
                        match fs::remove_file(old) {
                            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                                return Err(Error::io(old)(error));
                            }
                            _ => {}
                        }
                    }
                    return Ok(Some(claim));
                }
                Err(TryLockError::WouldBlock) if attempt + 1 < CLAIM_ATTEMPTS => sleep(CLAIM_PAUSE),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(Error::io(&path)(error)),
            }
        }
        Ok(None)
    }
}

impl Claim {
    /// Tells others how far the job is. What goes wrong with that is no fault of the job's.
    pub fn progress(&self, progress: &Progress) {
        // Not synced, unlike everything else: it is stale within a second.
        if let Ok(text) = serde_json::to_vec(progress) {
            let _ = replace(&self.progress, |file| {
                fs::write(file, text).map_err(Error::io(file))
            });
        }
    }

    /// Notes why the job was given up.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn fail(&self, reason: &str) -> Result<()> {
        write_file(&self.failure, format!("{reason}\n").as_bytes())
    }
}
