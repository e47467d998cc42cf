//! Image files that were seen before.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use rayon::prelude::*;

use super::images::fingerprint;

/// An image file that holds the same bytes as an earlier one, or is the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The file.
    pub image: PathBuf,
    /// The earlier one.
    pub of: PathBuf,
    /// Whether both paths lead to one file.
    pub same_file: bool,
}

/// The files of `more` that are in `known`, or come earlier in `more`, in their order. Files that cannot be read are none of them.
#[must_use]
pub fn duplicates(known: &[PathBuf], more: &[PathBuf]) -> Vec<Duplicate> {
    let prints = |paths: &[PathBuf]| -> Vec<Option<(u64, String)>> {
        paths.par_iter().map(|path| fingerprint(path).ok()).collect()
    };
    let mut seen: HashMap<(u64, String), Vec<&PathBuf>> = HashMap::new();
    for (path, print) in known.iter().zip(prints(known)) {
        if let Some(print) = print {
            seen.entry(print).or_default().push(path);
        }
    }
    let mut found = Vec::new();
    for (path, print) in more.iter().zip(prints(more)) {
        let Some(print) = print else { continue };
        let alike = seen.entry(print).or_default();
        let place = path.canonicalize().ok();
        let same_place = |other: &&&PathBuf| place.is_some() && other.canonicalize().ok() == place;
        let bytes = if alike.is_empty() {
            None
        } else {
            fs::read(path).ok()
        };
        // A fingerprint is of the ends of a file.
        let same_bytes = |other: &&&PathBuf| bytes.is_some() && fs::read(other).ok() == bytes;
        let file = alike.iter().find(same_place);
        let earlier = file.or_else(|| alike.iter().find(same_bytes));
        match earlier {
            Some(of) => found.push(Duplicate {
                image: path.clone(),
                of: (*of).clone(),
                same_file: file.is_some(),
            }),
            None => alike.push(path),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_again_by_its_path_and_by_all_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut bytes = vec![7u8; 400 << 10];
        fs::write(at("a"), &bytes).unwrap();
        fs::write(at("copy"), &bytes).unwrap();
        // In the middle, which no fingerprint is made of.
        bytes[200 << 10] = 8;
        for name in ["b", "c"] {
            fs::write(at(name), &bytes).unwrap();
        }
        let more = [
            at("copy"),
            at("b"),
            at("c"),
            folder.path().join("./a"),
            at("none"),
        ];
        let found = duplicates(&[at("a"), at("drawn")], &more);
        let copy = |image: PathBuf, of: &str, same_file| Duplicate {
            image,
            of: at(of),
            same_file,
        };
        let expected = [
            copy(at("copy"), "a", false),
            copy(at("c"), "b", false),
            copy(folder.path().join("./a"), "a", true),
        ];
        assert_eq!(found, expected);
    }
}
