//! What lies in a folder, and what to say when it is not what was expected.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::registry::nearest;
use crate::{Error, Result};

const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff"];
/// How many names an error quotes.
const QUOTED: usize = 8;

/// Whether a file is an image, by its name: hidden files, `Thumbs.db` and the like are not.
#[must_use]
pub fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    !is_hidden(path)
        && EXTENSIONS
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// The images directly in `folder`, by name.
///
/// # Errors
/// If the folder is missing: says how far the path leads and what is there instead.
pub fn images(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(folder)?
        .into_iter()
        .filter(|path| is_image(path) && path.is_file())
        .collect())
}

/// The images in `folder` and the folders within, by path. Links to folders are left out: they may lead in circles.
///
/// # Errors
/// If the folder is missing: says how far the path leads and what is there instead.
pub fn images_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            if !path.is_symlink() && !is_hidden(&path) {
                found.extend(images_below(&path)?);
            }
        } else if is_image(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

/// The folders directly in `folder`, by name; hidden ones left out.
///
/// # Errors
/// If the folder is missing: says how far the path leads and what is there instead.
pub fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(folder)?
        .into_iter()
        .filter(|path| !is_hidden(path) && path.is_dir())
        .collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Err(missing(folder));
    }
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<Vec<_>>>()
        })
        .map_err(Error::io(folder))?;
    // The file system's order is its own business; bytes sort alike everywhere.
    paths.sort();
    Ok(paths)
}

/// The last part of a path, as text.
#[must_use]
pub fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A folder that is not there: says how far the path leads, what is there instead and which name may be meant.
#[must_use]
pub fn missing(folder: &Path) -> Error {
    if folder.exists() {
        return Error::data(folder, "expected a folder, found a file");
    }
    let mut wanted = folder;
    let there = loop {
        let Some(parent) = wanted.parent() else {
            return Error::data(folder, "no such folder");
        };
        let there = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        if there.exists() {
            break there;
        }
        wanted = parent;
    };
    if !there.is_dir() {
        return Error::data(folder, format!("no such folder: {} is a file", there.display()));
    }
    let names: Vec<_> = folders(there)
        .unwrap_or_default()
        .iter()
        .map(|path| name(path))
        .collect();
    let meant = match nearest(&name(wanted), names.iter().map(String::as_str)) {
        Some(meant) => format!("; did you mean {}?", there.join(meant).display()),
        None => String::new(),
    };
    Error::data(
        folder,
        format!(
            "no such folder: {} holds {}{meant}",
            there.display(),
            contents(there)
        ),
    )
}

/// A file that is not there: says what its folder holds and which name may be meant, or how far the path leads.
#[must_use]
pub fn missing_file(file: &Path) -> Error {
    if file.is_dir() {
        return Error::data(file, "expected a file, found a folder");
    }
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return missing(folder);
    }
    let names: Vec<_> = entries(folder)
        .unwrap_or_default()
        .iter()
        .filter(|path| path.is_file())
        .map(|path| name(path))
        .collect();
    let meant = match nearest(&name(file), names.iter().map(String::as_str)) {
        Some(meant) => format!("; did you mean {}?", folder.join(meant).display()),
        None => String::new(),
    };
    let reason = format!(
        "no such file: {} holds {}{meant}",
        folder.display(),
        contents(folder)
    );
    Error::data(file, reason)
}

/// What is in a folder, in a few words.
#[must_use]
pub fn contents(folder: &Path) -> String {
    let Ok(paths) = entries(folder) else {
        return "nothing that can be read".into();
    };
    let (folders, files): (Vec<_>, Vec<_>) = paths
        .iter()
        .filter(|path| !is_hidden(path))
        .partition(|path| path.is_dir());
    let quote = |noun: &str, paths: &[&PathBuf]| {
        let names: Vec<_> = paths.iter().take(QUOTED).map(|path| name(path)).collect();
        let more = if paths.len() > QUOTED { ", …" } else { "" };
        let plural = if paths.len() == 1 { "" } else { "s" };
        format!("{} {noun}{plural} ({}{more})", paths.len(), names.join(", "))
    };
    match (folders.is_empty(), files.is_empty()) {
        (true, true) => "nothing".into(),
        (false, true) => quote("folder", &folders),
        (true, false) => quote("file", &files),
        (false, false) => format!("{} and {}", quote("folder", &folders), quote("file", &files)),
    }
}
