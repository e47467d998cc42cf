//! Errors, in terms that a user can act on.

use std::path::{Path, PathBuf};

use crate::kind::{Fault, Kind};

/// Error type of the methods of parts: plugins use `?`, the pipeline adds the part's kind, name and place.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Result of the framework's own functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the framework. Each names the file or key that is at fault, what was expected and what was
/// found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A pipeline could not be read: `layer` is the file, environment variable or `--set` argument at fault.
    #[error("{layer}: {}{reason}{}", if at.is_empty() { String::new() } else { format!("{at}: ") },
        hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default())]
    Config {
        /// File, environment variable or argument that holds the faulty value.
        layer: String,
        /// Path of the key, as in `synthesizer.of[1].area`; empty for the whole document.
        at: String,
        /// Expected and found values.
        reason: String,
        /// Remedy.
        hint: Option<String>,
    },
    /// A part refused its settings or failed at work.
    #[error("{kind} `{name}`{}", if at.is_empty() { String::new() } else { format!(" ({at})") })]
    Part {
        /// The part's kind.
        kind: Kind,
        /// The part's name in YAML.
        name: String,
        /// Place in the pipeline, or input, where it failed.
        at: String,
        /// The part's own words.
        #[source]
        source: BoxError,
    },
    /// A pipeline cannot be worked with, as came out before the work began: its parts do not fit together or
    /// its data are not there.
    #[error(transparent)]
    Unusable(Box<Self>),
    /// An image, mask or data set could not be used.
    #[error("{}: {reason}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// Expected and found values, and the remedy.
        reason: String,
    },
    /// A tensor or image has an unusable shape.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// The tensor, image or file.
        what: String,
        /// The shape that fits.
        expected: String,
        /// The shape that was given.
        found: String,
    },
    /// A loss term or a gradient stopped being finite.
    #[error(
        "training diverged at epoch {epoch}, step {step}: {term} is not finite; \
         lower trainer.optimizer.learning_rate or look at the data of this step"
    )]
    Diverged {
        /// Epoch, counted from 0.
        epoch: u64,
        /// Step, counted from 0.
        step: u64,
        /// The loss term, or `gradient of <parameter>`.
        term: String,
    },
    /// A checkpoint or a file of weights does not fit or is damaged.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The file or folder.
        path: PathBuf,
        /// Expected and found values, and the remedy.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The images are not those that a run was started with.
    #[error(
        "{}: the images are not those that the run was started with: {difference}; start another run, or have `run` or \
         `train` go on with them: --resume --accept-data",
        run.display()
    )]
    OtherImages {
        /// The run directory.
        run: PathBuf,
        /// Images that were added, removed or changed.
        difference: String,
    },
    /// Work was stopped on request after everything was saved.
    #[error("stopped on request at step {step}; continue with --resume")]
    Interrupted {
        /// Finished steps.
        step: u64,
    },
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(BoxError),
    /// Parts are registered so that YAML cannot name them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Registry(Vec<Fault>),
}

impl Error {
    /// An I/O error at `path`; made for `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { path, source }
    }

    /// A fault in the file or folder `path`.
    pub fn data(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Data {
            path: path.as_ref().to_path_buf(),
            reason: reason.into(),
        }
    }

    /// A fault in the checkpoint or weights at `path`.
    pub fn checkpoint(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::Checkpoint {
            path: path.as_ref().to_path_buf(),
            reason: reason.into(),
        }
    }

    /// The error, said of work that has not begun.
    #[must_use]
    pub fn unusable(self) -> Self {
        Self::Unusable(Box::new(self))
    }

    /// Whether the user's configuration or arguments are at fault, rather than the work itself.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Config { .. } | Self::Unusable(_) | Self::Registry(_) | Self::OtherImages { .. }
        )
    }
}
