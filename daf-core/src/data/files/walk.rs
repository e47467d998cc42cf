use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

use super::{Entry, LeftOut, Reason, entries, missing};

/// Images, and what lies beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The image files, by path.
    pub images: Vec<PathBuf>,
    /// What is not among them.
    pub left_out: LeftOut,
}

/// The images in `folder` and all folders within. Links to folders are followed; whatever leads to it, a folder is looked
/// through once.
///
/// # Errors
/// If the folder is missing, says how far the path leads and what is there instead; or names a folder within that cannot
/// be read.
pub fn images(folder: &Path) -> Result<Found> {
    let mut walk = Walk::through(folder)?;
    walk.found.images.sort_unstable();
    Ok(walk.found)
}

/// A way through a folder and all folders within.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) found: Found,
    /// The folders, with the first one.
    pub(super) folders: Vec<PathBuf>,
    entered: HashSet<PathBuf>,
    links: Vec<PathBuf>,
}

impl Walk {
    /// In no particular order.
    pub(super) fn through(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(missing(folder));
        }
        let mut walk = Self::default();
        let home = folder.canonicalize().map_err(Error::io(folder))?;
        walk.descend(folder.to_path_buf(), home.clone())?;
        // Links come last: what lies within keeps its own path, whatever else leads to it.
        while !walk.links.is_empty() {
            let mut links = std::mem::take(&mut walk.links);
            links.sort_unstable();
            for link in links {
                match link.canonicalize() {
                    Err(_) => walk.found.left_out.add(link, Reason::BrokenLink),
                    // By way of another link: all that lies beside the folder would come with it.
                    Ok(target) if home.starts_with(&target) => walk.found.left_out.add(link, Reason::Circle),
                    Ok(target) => walk.descend(link, target)?,
                }
            }
        }
        Ok(walk)
    }

    /// Enters a folder and those within; `real` is its path without links, which tells whether it was entered before.
    fn descend(&mut self, folder: PathBuf, real: PathBuf) -> Result<()> {
        let mut ahead = vec![(folder, real)];
        while let Some((folder, real)) = ahead.pop() {
            if !self.entered.insert(real.clone()) {
                continue;
            }
            for (path, entry) in entries(&folder)? {
                match entry {
                    Entry::Folder => {
                        let real = real.join(path.file_name().unwrap_or_default());
                        ahead.push((path, real));
                    }
                    Entry::Link => self.links.push(path),
                    Entry::Image => self.found.images.push(path),
                    Entry::Other(reason) => self.found.left_out.add(path, reason),
                }
            }
            self.folders.push(folder);
        }
        Ok(())
    }
}
