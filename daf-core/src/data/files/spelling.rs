use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// A name as it is compared with others: in Unicode's form NFC, as the same letters may be written as other
/// characters (`ü`, or `u` with a diaeresis after it). Bytes that are no UTF-8 become escapes, so that names
/// stay apart.
#[must_use]
pub fn spelled(name: &OsStr) -> Cow<'_, str> {
    match name.to_str() {
        Some(text) if is_nfc_quick(text.chars()) == IsNormalized::Yes => Cow::Borrowed(text),
        Some(text) => Cow::Owned(text.nfc().collect()),
        None => Cow::Owned(name.as_encoded_bytes().escape_ascii().to_string()),
    }
}

/// The path under which a file lies whose name is written in another form of Unicode; the path itself if
/// there is none.
#[must_use]
pub fn locate(path: &Path) -> PathBuf {
    Spellings::default().locate(path)
}

/// Finds files whose names are written in another form of Unicode. Reads a folder once, and only if it has
/// to.
#[derive(Debug, Default)]
pub struct Spellings {
    folders: HashMap<PathBuf, HashMap<String, OsString>>,
}

impl Spellings {
    /// The path under which a file lies whose name is written in another form of Unicode; the path itself if
    /// there is none.
    pub fn locate(&mut self, path: &Path) -> PathBuf {
        let plain = path.as_os_str().is_ascii();
        if plain || path.symlink_metadata().is_ok() {
            return path.to_path_buf();
        }
        let mut found = PathBuf::new();
        for part in path.components() {
            let next = found.join(part);
            if part.as_os_str().is_ascii() || next.symlink_metadata().is_ok() {
                found = next;
                continue;
            }
            let Some(name) = self.names(&found).get(&*spelled(part.as_os_str())) else {
                return path.to_path_buf();
            };
            let next = found.join(name);
            found = next;
        }
        found
    }

    /// Entries of a folder, by normalized name.
    fn names(&mut self, folder: &Path) -> &HashMap<String, OsString> {
        self.folders.entry(folder.to_path_buf()).or_insert_with(|| {
            let folder = match folder.as_os_str().is_empty() {
                true => Path::new("."),
                false => folder,
            };
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
            // Of two names that differ in form only the last one stays, the same one everywhere.
            names.sort_unstable();
            let spelled = |name: OsString| (spelled(&name).into_owned(), name);
            names.into_iter().map(spelled).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_whatever_form_of_unicode_its_name_has() {
        let folder = tempfile::tempdir().unwrap();
        let decomposed = folder.path().join("u\u{308}/o\u{308}.png");
        fs::create_dir(decomposed.parent().unwrap()).unwrap();
        fs::write(&decomposed, "").unwrap();
        let composed = folder.path().join("\u{fc}/\u{f6}.png");
        assert_eq!(locate(&composed), decomposed);
        assert_eq!(locate(&decomposed), decomposed);
        let absent = folder.path().join("\u{fc}/\u{e4}.png");
        assert_eq!(locate(&absent), absent);
        assert_eq!(spelled(OsStr::new("u\u{308}")), spelled(OsStr::new("\u{fc}")));
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_utf_8_stay_apart() {
        use std::os::unix::ffi::OsStrExt;
        let names = [&b"a\xff_mask"[..], b"a\xfe_mask"].map(|bytes| spelled(OsStr::from_bytes(bytes)));
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.ends_with("_mask")));
    }
}
