use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

use super::{Entry, LeftOut, Reason, entries, missing};

/// Images, and what lies beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The image files, by path.
    pub images: Vec<PathBuf>,
    /// Files and folders that are not among them.
    pub left_out: LeftOut,
}

/// The images in `folder` and all folders within. Links to folders are followed; whatever leads to it, a
/// folder is looked through once.
///
/// # Errors
/// If the folder is missing, says how far the path leads and what is there instead; or names a folder within
/// that cannot be read.
pub fn images(folder: &Path) -> Result<Found> {
    if !folder.is_dir() {
        return Err(missing(folder));
    }
    let mut walk = Walk::around(folder)?;
    walk.through(folder)?;
    walk.found.images.sort_unstable();
    Ok(walk.found)
}

/// A way through folders and all folders within.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) found: Found,
    /// The folders that were looked through.
    pub(super) folders: Vec<PathBuf>,
    /// Start of the search, with links resolved.
    home: PathBuf,
    entered: HashSet<PathBuf>,
    links: Vec<PathBuf>,
}

impl Walk {
    /// No way yet; `home` is the folder that the search starts in.
    pub(super) fn around(home: &Path) -> Result<Self> {
        Ok(Self {
            found: Found::default(),
            folders: Vec::new(),
            home: home.canonicalize().map_err(Error::io(home))?,
            entered: HashSet::new(),
            links: Vec::new(),
        })
    }

    /// Whether a link to a folder leads out of the search and back in: all that lies beside its start would
    /// come with it.
    pub(super) fn comes_back(&self, link: &Path) -> bool {
        link.canonicalize()
            .is_ok_and(|target| self.home.starts_with(target))
    }

    /// Finds what is in `folder` and was not found before, in no particular order.
    pub(super) fn through(&mut self, folder: &Path) -> Result<()> {
        let real = folder.canonicalize().map_err(Error::io(folder))?;
        self.descend(folder.to_path_buf(), real)?;
        // Links come last: what lies within keeps its own path, whatever else leads to it.
        while !self.links.is_empty() {
            let mut links = std::mem::take(&mut self.links);
            links.sort_unstable();
            for link in links {
                match link.canonicalize() {
                    Err(_) => self.found.left_out.add(link, Reason::BrokenLink),
                    Ok(_) if self.comes_back(&link) => self.found.left_out.add(link, Reason::Circle),
                    Ok(target) => self.descend(link, target)?,
                }
            }
        }
        Ok(())
    }

    /// Enters a folder and those within; `real` is its path without links, which tells whether it was entered
    /// before.
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
