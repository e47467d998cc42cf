//! Files of weights: published, a user's own, or a run's.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use super::pickle;
use crate::atomic::write_with;
use crate::data::Normalization;
use crate::words::listed;
use crate::{BoxError, Error, Result};

/// Source of the weights of a backbone. In YAML: `imagenet`, `pretrained`, `auto`, `random` or the path of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Weights {
    /// The published weights ([`Pretrained`]): looked for in the folders of [`WeightFolders`], then downloaded.
    #[default]
    Imagenet,
    /// The same under a name that suits networks whose authors trained them on other images than ImageNet's.
    Pretrained,
    /// The published weights if they can be had, otherwise random ones, with a warning.
    Auto,
    /// Drawn from the run's seed.
    Random,
    /// A `.safetensors` file, or a `.pth` file that Python's `torch.save` wrote (its data is read, nothing is executed).
    File(PathBuf),
}

impl From<Weights> for String {
    fn from(weights: Weights) -> Self {
        weights.to_string()
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Imagenet => f.write_str("imagenet"),
            Self::Pretrained => f.write_str("pretrained"),
            Self::Auto => f.write_str("auto"),
            Self::Random => f.write_str("random"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl TryFrom<String> for Weights {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Weights {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "imagenet" => Ok(Self::Imagenet),
            "pretrained" => Ok(Self::Pretrained),
            "auto" => Ok(Self::Auto),
            "random" => Ok(Self::Random),
            path if path.contains(['/', '.', '\\']) => Ok(Self::File(path.into())),
            other => Err(format!(
                "`{other}` is neither `imagenet`, `pretrained`, `auto` or `random` nor the path of a .safetensors or .pth \
                 file"
            )),
        }
    }
}

impl JsonSchema for Weights {
    fn schema_name() -> Cow<'static, str> {
        "Weights".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "anyOf": [
                { "enum": ["imagenet", "pretrained", "auto", "random"] },
                { "type": "string", "title": "path of a .safetensors or .pth file" },
            ],
        })
    }
}

/// Record of a file of weights that the authors of a network publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pretrained {
    /// Name of the network, with which the names of its files start, e.g. `resnet18`.
    pub name: &'static str,
    /// Further names with which its files may start.
    pub aliases: &'static [&'static str],
    /// Address of a `.safetensors` or `.pth` file; or of a page with the weights in another format, which nothing is downloaded
    /// from.
    pub url: String,
    /// SHA-256 of the file in hexadecimal, or its first digits where no more are published.
    pub sha256: String,
    /// SPDX identifier of the license of the weights, e.g. `BSD-3-Clause`.
    pub license: &'static str,
    /// Normalization of the images that the network was trained with.
    pub preprocessing: Normalization,
}

impl Pretrained {
    /// Name of the file.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }

    /// Whether the address is that of a file that can be loaded, not of a page.
    #[must_use]
    pub fn is_downloadable(&self) -> bool {
        has_format_of_weights(Path::new(self.file_name()))
    }

    /// Whether a file's name starts with one of the network's names and ends as files of weights do.
    fn is_name_of(&self, path: &Path) -> bool {
        let file = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let starts = |name: &str| {
            let rest = file.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['-', '.']))
        };
        (starts(self.name) || self.aliases.iter().any(|name| starts(name))) && has_format_of_weights(path)
    }
}

/// Callback of downloads: name of the file, bytes so far and, where known, in all.
pub type Progress = fn(&str, u64, Option<u64>);

/// Folders in which published weights are looked for and kept.
#[derive(Debug, Clone)]
pub struct WeightFolders {
    /// The user's own folder, or one file; searched first.
    pub user: Option<PathBuf>,
    /// Folder of downloads; searched second.
    pub cache: PathBuf,
    /// Called while a file is downloaded.
    pub progress: Option<Progress>,
}

impl WeightFolders {
    /// The file that `weights` stands for in the backbone called `name`, whose authors publish `pretrained`; `None` for random
    /// weights.
    ///
    /// # Errors
    /// If a file does not exist, or published weights can be neither found nor downloaded.
    pub fn resolve(
        &self,
        weights: &Weights,
        pretrained: Option<&Pretrained>,
        name: &str,
    ) -> Result<Option<PathBuf>> {
        match weights {
            Weights::Random => Ok(None),
            Weights::File(path) if path.is_file() => Ok(Some(path.clone())),
            Weights::File(path) => Err(Error::checkpoint(path, "there is no such file of weights")),
            Weights::Imagenet | Weights::Pretrained => self.published(pretrained, name).map(Some),
            Weights::Auto => match self.published(pretrained, name) {
                Ok(path) => Ok(Some(path)),
                Err(error) => {
                    tracing::warn!("no published weights, going on with random ones: {error}");
                    Ok(None)
                }
            },
        }
    }

    fn published(&self, pretrained: Option<&Pretrained>, name: &str) -> Result<PathBuf> {
        let Some(pretrained) = pretrained else {
            return Err(Error::checkpoint(
                name,
                "nobody publishes weights for this network; write `weights: random` or the path of a file",
            ));
        };
        if let Some(found) = self.find(pretrained)? {
            return Ok(found);
        }
        if !pretrained.is_downloadable() {
            return Err(Error::checkpoint(
                name,
                format!(
                    "the published weights are not in {}, and cannot be downloaded as a file that can be loaded; make \
                     {}.safetensors of those on {}, as docs/backbones.md says, and set DAF_WEIGHTS to its folder, or \
                     write `weights: random` to do without",
                    self.searched(),
                    pretrained.name,
                    pretrained.url,
                ),
            ));
        }
        let target = self.cache.join(pretrained.file_name());
        download(pretrained, &target, self.progress).map_err(|reason| {
            Error::checkpoint(
                pretrained.file_name(),
                format!(
                    "the published weights of {network} are not in {searched} and could not be downloaded from {url} \
                     ({reason}); put the file there, set DAF_WEIGHTS to its folder, or write `weights: random` to do \
                     without",
                    network = pretrained.name,
                    searched = self.searched(),
                    url = pretrained.url,
                ),
            )
        })?;
        Ok(target)
    }

    /// The published file, or another file of the same network, in one of the folders.
    ///
    /// # Errors
    /// If the user's folder or file does not exist.
    pub fn find(&self, pretrained: &Pretrained) -> Result<Option<PathBuf>> {
        if let Some(user) = &self.user {
            if user.is_file() {
                return Ok(Some(user.clone()));
            }
            if !user.is_dir() {
                return Err(Error::checkpoint(
                    user,
                    "DAF_WEIGHTS names neither a folder nor a file",
                ));
            }
        }
        for folder in self.user.iter().chain([&self.cache]) {
            let exact = folder.join(pretrained.file_name());
            if pretrained.is_downloadable() && exact.is_file() {
                return Ok(Some(exact));
            }
            // Only in the user's own folder do other names count: `resnet18.safetensors`, `resnet18-mine.pth`.
            if Some(folder) == self.user.as_ref() {
                let mut same: Vec<PathBuf> = fs::read_dir(folder)
                    .map_err(Error::io(folder))?
                    .filter_map(|entry| Some(entry.ok()?.path()))
                    .filter(|path| pretrained.is_name_of(path) && path.is_file())
                    .collect();
                same.sort();
                if let Some(first) = same.into_iter().next() {
                    return Ok(Some(first));
                }
            }
        }
        Ok(None)
    }

    fn searched(&self) -> String {
        let folders = self.user.iter().chain([&self.cache]);
        folders
            .map(|f| f.display().to_string())
            .collect::<Vec<_>>()
            .join(" or ")
    }
}

fn has_format_of_weights(path: &Path) -> bool {
    matches!(
        path.extension().and_then(|e| e.to_str()),
        Some("safetensors" | "pth")
    )
}

/// Downloads published weights and checks their hash; `target` is complete or absent.
fn download(
    pretrained: &Pretrained,
    target: &Path,
    progress: Option<Progress>,
) -> std::result::Result<(), BoxError> {
    let agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .build()
        .new_agent();
    let mut response = agent.get(&pretrained.url).call()?;
    let total = response.body().content_length();
    let folder = target.parent().ok_or("the cache has no folder")?;
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    write_with(target, |temporary| {
        let mut file = File::create(temporary).map_err(|e| format!("{}: {e}", temporary.display()))?;
        let mut body = response.body_mut().as_reader();
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        let mut done = 0u64;
        loop {
            let read = body
                .read(&mut buffer)
                .map_err(|e| format!("the connection broke off: {e}"))?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            file.write_all(&buffer[..read])
                .map_err(|e| format!("{}: {e}", temporary.display()))?;
            done += read as u64;
            if let Some(progress) = progress {
                progress(pretrained.file_name(), done, total);
            }
        }
        if let Some(total) = total.filter(|&total| total != done) {
            return Err(format!("the connection broke off after {done} of {total} bytes").into());
        }
        let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if !found.starts_with(&pretrained.sha256) {
            return Err(format!(
                "its SHA-256 should begin with {} but is {found}",
                pretrained.sha256
            )
            .into());
        }
        file.sync_all()
            .map_err(|e| format!("{}: {e}", temporary.display()))?;
        Ok(())
    })
}

/// The named tensors of a `.safetensors` file or of a `.pth` file.
///
/// # Errors
/// If the file is missing, damaged or of another format.
pub fn read(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let found = File::open(path).and_then(|file| file.metadata());
    if found.map_err(Error::io(path))?.is_dir() {
        return Err(Error::checkpoint(
            path,
            "expected a file of weights, found a folder",
        ));
    }
    if matches!(path.extension().and_then(|e| e.to_str()), Some("pth" | "pt")) {
        return pickle::read(path);
    }
    Tensor::read_safetensors(path).map_err(|error| {
        let reason = in_plain_words(&error);
        Error::checkpoint(path, format!("damaged or not a safetensors file: {reason}"))
    })
}

/// Reason of a safetensors error in plain words. The library's own text is Rust's debug output.
fn in_plain_words(error: &tch::TchError) -> String {
    let text = match error {
        tch::TchError::SafeTensorError { err, .. } => err.to_string(),
        other => other.to_string(),
    };
    let system = text
        .split_once("message: \"")
        .and_then(|(_, rest)| rest.split('"').next());
    let any = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
    if let Some(system) = system {
        system.to_owned()
    } else if any(&["InvalidHeader", "HeaderToo", "JsonError"]) {
        "it does not begin with a list of tensors".into()
    } else if any(&["MetadataIncompleteBuffer"]) {
        "it is cut short, or longer than its list of tensors says".into()
    } else if any(&[
        "TensorInvalidInfo",
        "InvalidOffset",
        "ValidationOverflow",
        "InvalidTensorView",
    ]) {
        "its list of tensors does not fit what is in it".into()
    } else {
        // libtorch's errors carry a C++ stack trace after the first line.
        text.lines().next().unwrap_or_default().to_owned()
    }
}

/// Copies named tensors into the variables of a store.
///
/// Every variable must be among the tensors, with its shape (one without elements takes theirs). Other tensors, such as the
/// classifier of a published network, are ignored unless `exact` is set.
///
/// # Errors
/// Lists what is missing, has another shape or is not wanted. Nothing is copied then.
pub fn load(store: &VarStore, tensors: &[(String, Tensor)], path: &Path, exact: bool) -> Result<()> {
    load_into(store.variables(), tensors, path, exact)
}

/// [`load`] for the variables whose names begin with `prefix` (`""` for all), which the tensors' names lack. The tensors
/// may have a prefix of their own, such as `student.` in a run's weights or `module.` in a checkpoint of several GPUs.
///
/// # Errors
/// The errors of [`load`], and if the tensors hold the network below more than one prefix.
pub fn load_below(store: &VarStore, prefix: &str, tensors: &[(String, Tensor)], path: &Path) -> Result<()> {
    let below = |(name, variable): (String, Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), variable));
    let variables: HashMap<String, Tensor> = store.variables().into_iter().filter_map(below).collect();
    let inner = match prefixes(&variables, tensors).as_slice() {
        [] => "",
        [only] => only,
        [first, second, ..] => {
            let reason =
                format!("it holds the network below `{first}` and `{second}`: a file must hold it once");
            return Err(Error::checkpoint(path, reason));
        }
    };
    let inside = |(name, tensor): &(String, Tensor)| {
        Some((name.strip_prefix(inner)?.to_owned(), tensor.shallow_clone()))
    };
    let tensors: Vec<(String, Tensor)> = tensors.iter().filter_map(inside).collect();
    load_into(variables, &tensors, path, false)
}

/// Prefixes below which the tensors hold all `variables`; the empty one alone, if it is among them.
fn prefixes<'a>(variables: &HashMap<String, Tensor>, tensors: &'a [(String, Tensor)]) -> Vec<&'a str> {
    let given: HashSet<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    let Some(any) = variables.keys().min() else {
        return Vec::new();
    };
    let mut found: Vec<&str> = given
        .iter()
        .filter_map(|name| name.strip_suffix(any.as_str()))
        .filter(|before| before.is_empty() || before.ends_with('.'))
        .filter(|before| {
            variables
                .keys()
                .all(|name| given.contains(format!("{before}{name}").as_str()))
        })
        .collect();
    found.sort_unstable();
    if found.first() == Some(&"") {
        found.truncate(1);
    }
    found
}

fn load_into(
    variables: HashMap<String, Tensor>,
    tensors: &[(String, Tensor)],
    path: &Path,
    exact: bool,
) -> Result<()> {
    let given: HashMap<&str, &Tensor> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let mut faults = Vec::new();
    for (name, variable) in &variables {
        match given.get(name.as_str()) {
            None => faults.push(format!("`{name}` is missing")),
            Some(tensor) if tensor.size() != variable.size() && variable.numel() > 0 => {
                faults.push(format!(
                    "`{name}` should be {:?} but is {:?}",
                    variable.size(),
                    tensor.size()
                ));
            }
            Some(_) => {}
        }
    }
    if exact {
        let unwanted = given.keys().filter(|name| !variables.contains_key(**name));
        faults.extend(unwanted.map(|name| format!("`{name}` is not part of the network")));
    }
    if !faults.is_empty() {
        faults.sort();
        let reason = format!("the weights are of another network: {}", listed(&faults, 3));
        return Err(Error::checkpoint(path, reason));
    }
    tch::no_grad(|| {
        for (name, mut variable) in variables {
            set(&mut variable, given[name.as_str()]);
        }
    });
    Ok(())
}

/// Sets a variable that is not trained to a value of any shape; see [`Store`](crate::Store).
pub fn set(variable: &mut Tensor, value: &Tensor) {
    tch::no_grad(|| {
        if variable.size() != value.size() {
            let _ = variable.resize_(value.size());
        }
        variable.copy_(value);
    });
}

/// Writes named tensors as safetensors and syncs the file.
///
/// # Errors
/// If the file cannot be written, e.g. because the disk is full.
pub fn write(path: &Path, mut tensors: Vec<(String, Tensor)>) -> Result<()> {
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    // The format stores plain row-major data; the parameters of convolutions lie channels-last.
    let tensors: Vec<(String, Tensor)> = tensors
        .into_iter()
        .map(|(name, t)| (name, t.detach().to_device(tch::Device::Cpu).contiguous()))
        .collect();
    let pairs: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
    Tensor::write_safetensors(&pairs, path)
        .map_err(|error| Error::checkpoint(path, format!("cannot be written: {}", in_plain_words(&error))))?;
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::io(path))
}

/// Whether the batch norms of a network have been folded into its convolutions: every running mean is 0 and every
/// weight 1. In training mode such a network computes something else than the one that it was made of.
#[must_use]
pub fn is_folded(tensors: &[(String, Tensor)]) -> bool {
    let mut means = tensors
        .iter()
        .filter(|(name, _)| name.ends_with("running_mean"))
        .peekable();
    means.peek().is_some()
        && means.all(|(_, mean)| mean.to_kind(Kind::Float).count_nonzero(None).int64_value(&[]) == 0)
}

/// Names and tensors of a store.
#[must_use]
pub fn named(vars: &VarStore) -> Vec<(String, Tensor)> {
    vars.variables().into_iter().collect()
}

/// Reads a file of weights into a store that must match it exactly.
///
/// # Errors
/// If the file is damaged, or the store has other names or shapes.
pub fn restore(vars: &VarStore, path: &Path) -> Result<()> {
    load(vars, &read(path)?, path, true)
}
