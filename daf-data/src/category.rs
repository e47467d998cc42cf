//! The categories of a published data set: one folder each in a common root.

use std::path::{Path, PathBuf};

use daf_core::data::files;
use daf_core::{BoxError, Error, Listing, Result};
use glob::Pattern;

/// Location of a data set, from its fields.
pub(crate) struct Categories<'a> {
    pub(crate) root: &'a Path,
    /// A name, a pattern, or nothing if `root` is the category.
    pub(crate) category: Option<&'a str>,
    /// Folders of which a category has at least one: what else lies in the root is passed over by a pattern.
    pub(crate) marks: &'static [&'static str],
}

impl Categories<'_> {
    pub(crate) fn check(&self) -> Result<(), BoxError> {
        if self.root.as_os_str().is_empty() {
            return Err("root: expected the folder of the data set, found an empty path".into());
        }
        if let Some(pattern) = self.pattern() {
            Pattern::new(pattern).map_err(|e| format!("category: {pattern}: not a valid pattern: {e}"))?;
        }
        Ok(())
    }

    fn pattern(&self) -> Option<&str> {
        let name = self.category?;
        // A folder named like a pattern is a folder.
        let is_pattern = files::is_pattern(Path::new(name));
        (is_pattern && !files::locate(&self.root.join(name)).is_dir()).then_some(name)
    }

    /// Listings by `list` of the folder of the category, or of each that the pattern fits, by name.
    pub(crate) fn survey(&self, list: impl Fn(&Path) -> Result<Listing>) -> Listing {
        let Some(pattern) = self.pattern() else {
            let folder = files::locate(&match self.category {
                None | Some("") => self.root.to_path_buf(),
                Some(category) => self.root.join(category),
            });
            if !folder.is_dir() {
                return Listing::failed(files::missing(&folder));
            }
            return list(&folder).unwrap_or_else(Listing::failed);
        };
        let folders = match self.fitting(pattern) {
            Ok(folders) => folders,
            Err(fault) => return Listing::failed(fault),
        };
        let mut all = Listing::default();
        for folder in folders {
            let mut found = list(&folder).unwrap_or_else(Listing::failed);
            for item in &mut found.items {
                item.category = Some(files::name(&folder));
            }
            all.extend(found);
        }
        all
    }

    fn fitting(&self, pattern: &str) -> Result<Vec<PathBuf>> {
        let root = files::locate(self.root);
        let parsed = Pattern::new(&files::spelled(pattern.as_ref())).map_err(|e| {
            let reason = format!("category: {pattern}: not a valid pattern: {e}");
            Error::data(&root, reason)
        })?;
        let mut folders = files::folders(&root)?;
        folders.retain(|folder| {
            parsed.matches(&files::name(folder)) && self.marks.iter().any(|mark| folder.join(mark).is_dir())
        });
        if folders.is_empty() {
            let reason = format!(
                "no category fits `{pattern}`: expected folders that hold {}, found {}",
                self.marks.join(" or "),
                files::contents(&root)
            );
            return Err(Error::data(root, reason));
        }
        Ok(folders)
    }
}

/// Refuses an empty list of images to learn from or to measure with, and says what lies in `folder` instead.
pub(crate) fn require(listing: Listing, folder: &Path, expected: &str) -> Result<Listing> {
    if listing.items.is_empty() && listing.faults.is_empty() {
        return Err(Error::data(
            folder,
            format!("{expected}, found {}", listing.left_out.beside(folder)),
        ));
    }
    Ok(listing)
}
