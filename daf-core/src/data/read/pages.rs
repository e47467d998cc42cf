//! Pages of TIFF files.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decode::{FileOfPage, read_header};
use crate::Item;

/// What a file of several pages stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pages {
    /// An error that says how many pages there are.
    #[default]
    Refuse,
    /// Its first page.
    First,
    /// As many images as it has pages: `stack.tif#1`, `stack.tif#2` and so on.
    All,
}

/// The file and the page that a path names: `stack.tif#2` is page 2 of `stack.tif`, unless there is a file of that very name.
pub(super) fn split(path: &Path) -> FileOfPage {
    let whole = || (path.to_path_buf(), None);
    let Some((name, page)) = (path.file_name().and_then(|name| name.to_str()))
        .and_then(|name| name.rsplit_once('#'))
        .filter(|(name, _)| !name.is_empty())
    else {
        return whole();
    };
    match page.parse() {
        Ok(page) if page > 0 && !path.exists() => (path.with_file_name(name), Some(page)),
        _ => whole(),
    }
}

/// The path of a page.
fn numbered(path: &Path, page: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("#{page}"));
    name.into()
}

impl Pages {
    /// The paths of the images that a file stands for: itself, or those of its pages if it is a TIFF file of several. A file
    /// that cannot be read stays as it is, and is an error when it is opened.
    #[must_use]
    pub fn of_file(self, path: &Path) -> Vec<PathBuf> {
        let found = if self == Self::Refuse { 1 } else { count(path) };
        match (self, found) {
            (_, 1) => vec![path.to_path_buf()],
            (Self::First, _) => vec![numbered(path, 1)],
            _ => (1..=found).map(|page| numbered(path, page)).collect(),
        }
    }

    /// The same of the images of a data set. A mask of several pages goes with its image page by page, one of a single page
    /// with each of them.
    #[must_use]
    pub fn of_items(self, items: Vec<Item>) -> Vec<Item> {
        if self == Self::Refuse {
            return items;
        }
        items
            .into_iter()
            .flat_map(|item| {
                let images = self.of_file(&item.image);
                let mask_has_pages =
                    images[0] != item.image && item.mask.as_deref().is_some_and(|mask| count(mask) > 1);
                (1..).zip(images).map(move |(page, image)| Item {
                    image,
                    mask: match &item.mask {
                        Some(mask) if mask_has_pages => Some(numbered(mask, page)),
                        mask => mask.clone(),
                    },
                    ..item.clone()
                })
            })
            .collect()
    }
}

/// Pages of a file; 1 if it is no TIFF file by its name or cannot be read.
fn count(path: &Path) -> usize {
    let is_tiff = path.extension().is_some_and(|extension| {
        ["tif", "tiff"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    });
    match is_tiff {
        true => read_header(path).map_or(1, |header| header.pages),
        false => 1,
    }
}
