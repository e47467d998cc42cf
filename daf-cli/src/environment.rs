use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use daf_core::weights::WeightFolders;

use crate::failure::Failure;
use crate::progress;

/// The variable that tells CUDA which GPUs a process may use.
pub(crate) const VISIBLE_GPUS: &str = "CUDA_VISIBLE_DEVICES";

/// Settings in the process environment; read once.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    /// Settings of the pipeline, `DAF__…`.
    pub(crate) settings: Vec<(String, String)>,
    /// `DAF_WEIGHTS`: a folder or file of weights.
    pub(crate) weights: Option<PathBuf>,
    /// `DAF_CACHE`, or `daf` in the user's cache folder.
    pub(crate) cache: PathBuf,
    /// `CUDA_VISIBLE_DEVICES`: the GPUs that this process may use, by the names that its processes are to be given.
    pub(crate) gpus: Vec<String>,
    /// `CARGO`, which `cargo run` sets, or `cargo`.
    pub(crate) cargo: OsString,
    /// `CARGO_TARGET_DIR`, from the current folder.
    pub(crate) target: Option<PathBuf>,
}

impl Environment {
    pub(crate) fn read() -> Result<Self, Failure> {
        let settings = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with("DAF__"))
            .map(|(name, value)| text(&name, value).map(|value| (name, value)))
            .collect::<Result<_, _>>()?;
        let path = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        // A relative XDG_CACHE_HOME is to be ignored, says the specification.
        let cache = path("DAF_CACHE")
            .or_else(|| {
                path("XDG_CACHE_HOME")
                    .filter(|folder| folder.is_absolute())
                    .map(|folder| folder.join("daf"))
            })
            .or_else(|| path("HOME").map(|home| home.join(".cache").join("daf")))
            .unwrap_or_else(|| env::temp_dir().join("daf"));
        Ok(Self {
            settings,
            weights: path("DAF_WEIGHTS"),
            gpus: env::var(VISIBLE_GPUS)
                .unwrap_or_default()
                .split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            cache,
            cargo: path("CARGO").map_or_else(|| "cargo".into(), PathBuf::into_os_string),
            target: path("CARGO_TARGET_DIR").map(|target| std::path::absolute(&target).unwrap_or(target)),
        })
    }

    /// Folders of pretrained weights.
    pub(crate) fn weight_folders(&self) -> WeightFolders {
        let progress = Some(progress::download as daf_core::weights::Progress);
        WeightFolders {
            user: self.weights.clone(),
            cache: self.cache.join("weights"),
            progress,
        }
    }
}

/// `DAF_LOG`: which messages are shown.
pub(crate) fn log_filter() -> Result<Option<String>, Failure> {
    env::var_os("DAF_LOG")
        .filter(|value| !value.is_empty())
        .map(|value| text("DAF_LOG", value))
        .transpose()
}

fn text(name: &str, value: OsString) -> Result<String, Failure> {
    value
        .into_string()
        .map_err(|_| Failure::usage(format!("environment {name}: is not a text in UTF-8")))
}
