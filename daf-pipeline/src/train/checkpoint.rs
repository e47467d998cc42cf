//! Checkpoints: one folder each, written under a temporary name, synced and renamed as a whole.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::optimizer::OptimizerState;
use daf_core::{Error, Model, Result, json, weights};

/// How far a training is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// Finished steps.
    pub(super) step: u64,
    /// Bytes of `history.jsonl` that belong to them.
    pub(super) history: u64,
}

const FOLDER: &str = "checkpoints";
const POSITION: &str = "position.json";
const OPTIMIZER: &str = "optimizer.safetensors";

/// The newest checkpoint of a run, if there is one.
pub(super) fn newest(run: &Path) -> Result<Option<PathBuf>> {
    Ok(finished(run)?.pop())
}

/// Finished checkpoints, oldest first. Zero-padded names sort by step.
fn finished(run: &Path) -> Result<Vec<PathBuf>> {
    let folder = run.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(&folder)(error)),
    };
    let named = |path: &PathBuf| {
        path.file_name()
            .and_then(|n| n.to_str())
            .is_some_and(|n| n.starts_with("step-"))
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(named)
        .collect();
    found.sort();
    Ok(found)
}

/// Removes what processes that were killed while saving have left under temporary names: each is as large as a
/// checkpoint. What cannot be removed does no harm.
pub(super) fn sweep(run: &Path) {
    for folder in ["", FOLDER, "weights"] {
        for entry in fs::read_dir(run.join(folder)).into_iter().flatten().flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".tmp") {
                let _ = if path.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
            }
        }
    }
}

/// Saves a checkpoint and then removes older ones. If anything fails, the older ones are still there.
pub(super) fn save(
    run: &Path,
    model: &dyn Model,
    optimizer: &OptimizerState,
    position: Position,
) -> Result<()> {
    let folder = run.join(FOLDER);
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let target = folder.join(format!("step-{:012}", position.step));
    if target.exists() {
        return Ok(());
    }
    let older = finished(run)?;
    daf_core::atomic::write_folder(&target, |temporary| {
        for store in model.stores().iter().filter(|store| !store.frozen) {
            weights::write(
                &temporary.join(store.name).with_extension("safetensors"),
                weights::named(store.vars),
            )?;
        }
        weights::write(&temporary.join(OPTIMIZER), optimizer.tensors())?;
        let path = temporary.join(POSITION);
        let json = serde_json::to_vec(&position).map_err(|e| Error::io(&path)(e.into()))?;
        let mut file = File::create(&path).map_err(Error::io(&path))?;
        file.write_all(&json)
            .and_then(|()| file.sync_all())
            .map_err(Error::io(&path))
    })?;
    for old in older {
        fs::remove_dir_all(&old).map_err(Error::io(&old))?;
    }
    Ok(())
}

/// Restores model and optimizer.
pub(super) fn load(folder: &Path, model: &dyn Model, optimizer: &mut OptimizerState) -> Result<Position> {
    let path = folder.join(POSITION);
    let text = fs::read(&path).map_err(Error::io(&path))?;
    let position: Position =
        json::from_json(&text).map_err(|fault| Error::checkpoint(&path, format!("damaged: {fault}")))?;
    for store in model.stores().iter().filter(|store| !store.frozen) {
        weights::restore(store.vars, &folder.join(store.name).with_extension("safetensors"))?;
    }
    let path = folder.join(OPTIMIZER);
    optimizer
        .restore(&weights::read(&path)?, position.step)
        .map_err(|reason| Error::checkpoint(&path, format!("of another training: {reason}")))?;
    Ok(position)
}
