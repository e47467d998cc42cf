//! Files and folders that are written as a whole or not at all, whatever ends the process meanwhile.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Temporary name beside `path`, unique to the process.
fn temporary_name(path: &Path) -> PathBuf {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

/// Fills a folder under a temporary name, syncs and renames it, so that `target` is complete or absent.
///
/// # Errors
/// An error of `fill` or of the disk; the temporary folder is removed then.
pub fn write_folder(target: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
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

/// A folder that is filled beside another one, whose place it then takes as a whole; dropped before, it
/// leaves nothing. Only one process may be at it: see `Run::lock` of daf-pipeline.
pub struct Replacement {
    target: PathBuf,
    new: PathBuf,
}

impl Replacement {
    /// An empty folder that is to take the place of `target`.
    pub fn of(target: &Path) -> Result<Self> {
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

    /// Path of the new folder.
    pub fn path(&self) -> &Path {
        &self.new
    }

    /// Replaces the target by the new folder.
    pub fn finish(self) -> Result<()> {
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

/// Removes a folder atomically: it is complete or absent.
pub fn remove_folder(target: &Path) -> Result<()> {
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

/// Bytes of a name that is made of others, at most. File systems take 255, also of the longer names that
/// files have while they are written.
const LONGEST: usize = 200;

/// The name of a file or folder: `stem` and `end`, or the beginning of the stem, a hash of all of it and
/// `end` where that is too long for a file system.
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
pub fn write_with<E: From<Error>>(
    target: &Path,
    write: impl FnOnce(&Path) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    replace(target, write)?;
    Ok(sync_folder(parent(target))?)
}

/// Writes a file under a temporary name with `write` and renames it, without a sync: for files that can be had again.
///
/// # Errors
/// The errors of `write`, and if the file cannot be renamed; the temporary file is removed then.
pub fn replace<E: From<Error>>(
    target: &Path,
    write: impl FnOnce(&Path) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let temporary = temporary_name(target);
    let result =
        write(&temporary).and_then(|()| Ok(fs::rename(&temporary, target).map_err(Error::io(target))?));
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

/// Copies a file and syncs the copy, which takes the place of a file of that name as a whole.
///
/// # Errors
/// If the file cannot be read, the disk is full or the folder cannot be written to.
pub fn copy_file(from: &Path, target: &Path) -> Result<()> {
    write_with(target, |temporary| {
        fs::copy(from, temporary).map_err(Error::io(from))?;
        File::open(temporary)
            .and_then(|file| file.sync_all())
            .map_err(Error::io(temporary))
    })
}

/// Writes a value as readable JSON, as [`write_file`] does.
///
/// # Errors
/// The errors of [`write_file`].
pub fn write_json(target: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| Error::io(target)(e.into()))?;
    text.push(b'\n');
    write_file(target, &text)
}

/// Writes lines as CSV with a header, as [`write_file`] does.
///
/// # Errors
/// The errors of [`write_file`].
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
