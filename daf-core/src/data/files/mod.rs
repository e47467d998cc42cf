//! Search for images in folders, what was left out, and messages about what is absent.

mod absent;
mod left_out;
mod pattern;
mod reason;
mod spelling;
mod walk;

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

pub use absent::{contents, hint, missing, missing_file};
pub use left_out::LeftOut;
pub use pattern::{check_pattern, expand, is_pattern, literal_part};
pub use reason::Reason;
pub use spelling::{Spellings, locate, spelled};
pub use walk::{Found, images};

/// The formats that can be read, in the words of messages.
pub const FORMATS: &str = "png, jpeg, bmp, tiff or webp";

/// Extensions of images, in any case.
const EXTENSIONS: [&str; 10] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "tif", "tiff", "webp",
];

/// Files that operating systems and network drives put into folders, besides hidden ones.
const JUNK: [&str; 10] = [
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "__macosx",
    "@eadir",
    "#recycle",
    "@recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
];

/// Whether a file is an image, by its name: hidden files, `Thumbs.db` and the like are not.
#[must_use]
pub fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    !path.file_name().is_none_or(is_hidden)
        && EXTENSIONS
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || JUNK.iter().any(|junk| name.eq_ignore_ascii_case(junk))
}

/// Something in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Folder,
    /// A link to a folder.
    Link,
    Image,
    Other(Reason),
}

impl Entry {
    fn of(entry: &DirEntry) -> std::io::Result<Self> {
        let kind = entry.file_type()?;
        if is_hidden(&entry.file_name()) {
            let reason = match kind.is_dir() {
                true => Reason::HiddenFolder,
                false => Reason::Hidden,
            };
            return Ok(Self::Other(reason));
        }
        let path = entry.path();
        if !kind.is_symlink() {
            return Ok(match kind.is_dir() {
                true => Self::Folder,
                false => Self::of_file(&path, kind.is_file()),
            });
        }
        Ok(match fs::metadata(&path) {
            Ok(target) if target.is_dir() => match leads_in_circle(&path) {
                true => Self::Other(Reason::Circle),
                false => Self::Link,
            },
            Ok(target) => Self::of_file(&path, target.is_file()),
            Err(_) => Self::Other(Reason::BrokenLink),
        })
    }

    fn of_file(path: &Path, regular: bool) -> Self {
        match (regular, is_image(path)) {
            // Opening a pipe would wait for ever.
            (false, _) => Self::Other(Reason::Special),
            (true, true) => Self::Image,
            (true, false) => Self::Other(Reason::extension_of(path)),
        }
    }

    const fn is_folder(&self) -> bool {
        matches!(self, Self::Folder | Self::Link)
    }
}

/// Whether a link to a folder lies in that folder, however deep.
fn leads_in_circle(link: &Path) -> bool {
    let around = link.parent().map(Path::canonicalize);
    matches!((around, link.canonicalize()), (Some(Ok(around)), Ok(target)) if around.starts_with(&target))
}

/// Entries directly in `folder`, by path.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, Entry)>> {
    if !folder.is_dir() {
        return Err(missing(folder));
    }
    let mut entries = fs::read_dir(folder)
        .and_then(|entries| {
            let entry = |entry: std::io::Result<DirEntry>| entry.and_then(|e| Ok((e.path(), Entry::of(&e)?)));
            entries.map(entry).collect::<std::io::Result<Vec<_>>>()
        })
        .map_err(Error::io(folder))?;
    // The file system's order is its own business; bytes sort alike everywhere.
    entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries)
}

/// The folders directly in `folder`, by name; hidden ones left out.
///
/// # Errors
/// If the folder is missing: says how far the path leads and what is there instead.
pub fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = entries(folder)?.into_iter();
    Ok(entries
        .filter(|(_, entry)| entry.is_folder())
        .map(|(path, _)| path)
        .collect())
}

/// The files directly in `folder`, by name: images, and what was left out.
///
/// # Errors
/// If the folder is missing: says how far the path leads and what is there instead.
pub fn directly_in(folder: &Path) -> Result<Found> {
    let mut found = Found::default();
    for (path, entry) in entries(folder)? {
        match entry {
            Entry::Image => found.images.push(path),
            Entry::Other(reason) => found.left_out.add(path, reason),
            Entry::Folder | Entry::Link => {}
        }
    }
    Ok(found)
}

/// The last part of a path, as text in Unicode's form NFC.
#[must_use]
pub fn name(path: &Path) -> String {
    spelled(path.file_name().unwrap_or_default()).into_owned()
}
