use std::path::{Component, Path, PathBuf};

use crate::Error;
use crate::registry::nearest;

use super::{Entry, Reason, entries, name};

/// Number of names that an error quotes.
const QUOTED: usize = 8;

/// A folder that is not there: says how far the path leads, what is there instead and which name may be
/// meant.
#[must_use]
pub fn missing(folder: &Path) -> Error {
    if folder.exists() {
        return Error::data(folder, "expected a folder, found a file");
    }
    let hint = hint(folder);
    let mut wanted = folder;
    let there = loop {
        let Some(parent) = wanted.parent() else {
            return Error::data(folder, format!("no such folder{hint}"));
        };
        let there = or_here(parent);
        if there.exists() {
            break there;
        }
        wanted = parent;
    };
    if !there.is_dir() {
        return Error::data(folder, format!("no such folder: {} is a file", there.display()));
    }
    let meant = meant(there, wanted, true);
    let found = contents(there);
    Error::data(
        folder,
        format!("no such folder: {} holds {found}{meant}{hint}", there.display()),
    )
}

/// A file that is not there: says what its folder holds and which name may be meant, or how far the path
/// leads.
#[must_use]
pub fn missing_file(file: &Path) -> Error {
    if file.is_dir() {
        return Error::data(file, "expected a file, found a folder");
    }
    let folder = file.parent().map_or(Path::new("."), or_here);
    if !folder.is_dir() {
        return missing(folder);
    }
    if file.exists() {
        return Error::data(file, "expected a file, found a pipe, socket or device");
    }
    let (found, meant, hint) = (contents(folder), meant(folder, file, false), hint(file));
    let reason = format!("no such file: {} holds {found}{meant}{hint}", folder.display());
    Error::data(file, reason)
}

fn or_here(folder: &Path) -> &Path {
    match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    }
}

/// Possible mistakes in a path that leads nowhere, in words; often empty.
#[must_use]
pub fn hint(path: &Path) -> &'static str {
    let home = |part: Component| matches!(part, Component::Normal(name) if name == "~");
    if path.components().any(home) {
        return "; ~ is expanded by a shell, not by daf: write the path out";
    }
    match cfg!(unix) && path.as_os_str().as_encoded_bytes().contains(&b'\\') {
        true => "; write / between folders, not \\",
        false => "",
    }
}

/// Suggestion of the folder or file in `folder` that may be meant by the name of `wanted`.
fn meant(folder: &Path, wanted: &Path, of_folders: bool) -> String {
    let there = entries(folder).unwrap_or_default().into_iter();
    let names: Vec<_> = there
        .filter(|(_, entry)| entry.is_folder() == of_folders)
        .map(|(path, _)| (name(&path), path))
        .collect();
    let meant = nearest(&name(wanted), names.iter().map(|(name, _)| name.as_str()));
    let path = names.iter().find(|(name, _)| Some(name.as_str()) == meant);
    path.map_or(String::new(), |(_, path)| {
        format!("; did you mean {}?", path.display())
    })
}

/// Content of a folder, in a few words.
#[must_use]
pub fn contents(folder: &Path) -> String {
    let Ok(entries) = entries(or_here(folder)) else {
        return "nothing that can be read".into();
    };
    let hidden = |entry: &Entry| matches!(entry, Entry::Other(Reason::Hidden | Reason::HiddenFolder));
    let (folders, files): (Vec<_>, Vec<_>) = entries
        .iter()
        .filter(|(_, entry)| !hidden(entry))
        .partition(|(_, entry)| entry.is_folder());
    let quote = |noun: &str, entries: &[&(PathBuf, Entry)]| {
        let names: Vec<_> = entries.iter().take(QUOTED).map(|(path, _)| name(path)).collect();
        let more = if entries.len() > QUOTED { ", …" } else { "" };
        let plural = if entries.len() == 1 { "" } else { "s" };
        format!("{} {noun}{plural} ({}{more})", entries.len(), names.join(", "))
    };
    match (folders.is_empty(), files.is_empty()) {
        (true, true) => "nothing".into(),
        (false, true) => quote("folder", &folders),
        (true, false) => quote("file", &files),
        (false, false) => format!("{} and {}", quote("folder", &folders), quote("file", &files)),
    }
}
