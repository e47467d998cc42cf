//! The weights of a model, and the files of a run that hold them: `weights/` has one safetensors file for each store, and the file
//! `complete` once all are there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tch::Tensor;
use tch::nn::VarStore;

use super::weights;
use crate::atomic::{copy_file, write_file, write_json, write_with};
use crate::calibration::Calibration;
use crate::results::Origin;
use crate::{Error, Result, json};

/// A set of weights and buffers with a file of its own. A variable without elements takes the shape that the file has: for
/// what depends on the data, such as a memory of features.
#[derive(Debug, Clone, Copy)]
pub struct Store<'a> {
    /// Name of the file, without extension; no two stores of a model share one.
    pub name: &'a str,
    /// The variables.
    pub vars: &'a VarStore,
    /// Whether training leaves them as they are.
    pub frozen: bool,
    /// Names of variables without elements that files of older versions lack: they stay without.
    pub optional: &'a [&'a str],
}

impl<'a> Store<'a> {
    /// A store that training changes.
    #[must_use]
    pub const fn learned(name: &'a str, vars: &'a VarStore) -> Self {
        Self {
            name,
            vars,
            frozen: false,
            optional: &[],
        }
    }

    /// A store that training leaves as it is.
    #[must_use]
    pub const fn frozen(name: &'a str, vars: &'a VarStore) -> Self {
        Self {
            name,
            vars,
            frozen: true,
            optional: &[],
        }
    }

    /// With variables that files of older versions may lack.
    #[must_use]
    pub const fn optional(self, names: &'a [&'a str]) -> Self {
        Self {
            optional: names,
            ..self
        }
    }

    /// Number of its weights and biases; the statistics of batch norms are none.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let variables = self.vars.trainable_variables();
        variables.iter().map(|variable| variable.numel() as u64).sum()
    }
}

const FOLDER: &str = "weights";
/// An empty file that is written after the last file of weights.
const COMPLETE: &str = "complete";
const ORIGINS: &str = "origins.json";

/// Saves the stores that training changes, or those that it leaves as they are (`frozen`), into the directory of a run.
///
/// # Errors
/// If the disk is full or the folder cannot be written to.
pub fn save(run: &Path, stores: &[Store], frozen: bool) -> Result<()> {
    let folder = run.join(FOLDER);
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    for store in stores.iter().filter(|store| store.frozen == frozen) {
        write_with(&file(run, store.name), |temporary| {
            weights::write(temporary, weights::named(store.vars))
        })?;
    }
    Ok(())
}

/// Loads stores from the directory of a run: those that training left as they were, or all. A model that was built for inference
/// lacks what only training needs, so files may hold more than the stores.
///
/// # Errors
/// If a file is missing, damaged or of another network.
pub fn load(run: &Path, stores: &[Store], frozen_only: bool) -> Result<()> {
    for store in stores.iter().filter(|store| store.frozen || !frozen_only) {
        let path = file(run, store.name);
        let mut tensors = weights::read(&path)?;
        for name in store.optional {
            if let Some(variable) = store.vars.variables().remove(*name)
                && tensors.iter().all(|(given, _)| given != name)
            {
                tensors.push(((*name).to_owned(), variable));
            }
        }
        weights::load(store.vars, &tensors, &path, false)?;
    }
    Ok(())
}

/// The tensors of a store with their names.
#[derive(Debug)]
pub struct StoreTensors {
    /// Name of the store.
    pub store: String,
    /// All that its file holds.
    pub tensors: Vec<(String, Tensor)>,
}

/// The stores that are not what the directory of a run has of them. What the files hold besides, such as what only training needs, is
/// kept.
///
/// # Errors
/// If a file is damaged.
pub fn changed(run: &Path, stores: &[Store]) -> Result<Vec<StoreTensors>> {
    let mut changed = Vec::new();
    for store in stores {
        let path = file(run, store.name);
        let known = match path.is_file() {
            true => weights::read(&path)?,
            false => Vec::new(),
        };
        let mut known: BTreeMap<String, Tensor> = known.into_iter().collect();
        let mut differs = false;
        for (name, tensor) in weights::named(store.vars) {
            let same = known
                .get(&name)
                .is_some_and(|known| known.size() == tensor.size() && tensor.equal(&alike(known, &tensor)));
            if !same {
                known.insert(name, tensor);
                differs = true;
            }
        }
        if differs {
            changed.push(StoreTensors {
                store: store.name.to_owned(),
                tensors: known.into_iter().collect(),
            });
        }
    }
    Ok(changed)
}

/// A tensor with the numbers of another one and on its device.
fn alike(tensor: &Tensor, other: &Tensor) -> Tensor {
    tensor.to_device(other.device()).to_kind(other.kind())
}

/// Copies the weights of a trained run into the directory of another one, with these stores in the place of its own.
///
/// # Errors
/// If a file cannot be read or written.
pub fn copy(from: &Path, run: &Path, changed: Vec<StoreTensors>) -> Result<()> {
    let (source, folder) = (from.join(FOLDER), run.join(FOLDER));
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let written: Vec<PathBuf> = changed.iter().map(|changed| file(run, &changed.store)).collect();
    for StoreTensors { store, tensors } in changed {
        write_with(&file(run, &store), |temporary| weights::write(temporary, tensors))?;
    }
    for entry in fs::read_dir(&source).map_err(Error::io(&source))? {
        let entry = entry.map_err(Error::io(&source))?;
        let target = folder.join(entry.file_name());
        // Names with a dot before them are of files that were not written to their end.
        let unfinished = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !unfinished && !written.contains(&target) && entry.path().is_file() {
            copy_file(&entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Notes that all weights are saved.
///
/// # Errors
/// The errors of [`save`].
pub fn complete(run: &Path) -> Result<()> {
    write_file(&run.join(FOLDER).join(COMPLETE), b"")
}

/// Whether all weights are saved: the training has ended.
#[must_use]
pub fn is_complete(run: &Path) -> bool {
    run.join(FOLDER).join(COMPLETE).is_file()
}

/// Refuses a run whose weights are not all there.
///
/// # Errors
/// If its training has not ended, or its weights were taken away.
pub fn check_complete(run: &Path) -> Result<()> {
    if is_complete(run) {
        return Ok(());
    }
    let reason = if Calibration::read(run)?.is_some() && !run.join(FOLDER).is_dir() {
        "the training has ended, but its weights are not here: expected the folder `weights` as it was left"
    } else {
        "the training of this run has not ended; go on with --resume, or use what it has learned with `train --finish`"
    };
    Err(Error::data(run, reason))
}

/// Saves the origins of each network's initial weights.
///
/// # Errors
/// The errors of [`save`].
pub fn save_origins(run: &Path, origins: &[Origin]) -> Result<()> {
    write_json(&run.join(FOLDER).join(ORIGINS), &origins)
}

/// Origins of each network's initial weights.
///
/// # Errors
/// If the file is damaged or missing.
pub fn origins(run: &Path) -> Result<Vec<Origin>> {
    let path = run.join(FOLDER).join(ORIGINS);
    let text = fs::read(&path).map_err(Error::io(&path))?;
    json::from_json(&text).map_err(|fault| Error::data(&path, format!("damaged: {fault}")))
}

fn file(run: &Path, store: &str) -> PathBuf {
    run.join(FOLDER).join(store).with_extension("safetensors")
}
