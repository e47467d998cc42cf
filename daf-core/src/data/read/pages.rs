//! Pages of TIFF files.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decode::read_header;
use super::page_path::numbered;

/// Treatment of files with several pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pages {
    /// An error that says how many pages there are.
    #[default]
    Refuse,
    /// Its first page.
    First,
    /// An image for each page: `stack.tif#1`, `stack.tif#2` and so on.
    All,
}

impl Pages {
    /// The paths of an image and its mask for each page of the image. A mask of several pages goes with its image page by
    /// page, one of a single page with each of them.
    #[must_use]
    pub fn of_pair(self, image: &Path, mask: Option<&Path>) -> Vec<(PathBuf, Option<PathBuf>)> {
        let images = self.of_file(image);
        let mask_has_pages = images[0] != image && mask.is_some_and(|mask| count(mask) > 1);
        (1..)
            .zip(images)
            .map(|(page, image)| match mask {
                Some(mask) if mask_has_pages => (image, Some(numbered(mask, page))),
                mask => (image, mask.map(Path::to_path_buf)),
            })
            .collect()
    }

    /// The paths of the images that a file stands for: itself, or those of its pages if it is a TIFF file of
    /// several. A file that cannot be read stays as it is, and is an error when it is opened.
    #[must_use]
    pub fn of_file(self, path: &Path) -> Vec<PathBuf> {
        let found = if self == Self::Refuse { 1 } else { count(path) };
        match (self, found) {
            (_, 1) => vec![path.to_path_buf()],
            (Self::First, _) => vec![numbered(path, 1)],
            _ => (1..=found).map(|page| numbered(path, page)).collect(),
        }
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Cursor;

    use tempfile::TempDir;
    use tiff::encoder::{TiffEncoder, colortype};
    use tiff::tags::Tag;

    use super::*;
    use crate::data::{read_header, read_rgb};

    /// Pages of one level each; those that are reduced copies are marked so.
    fn stack(pages: &[(u8, bool)]) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut file).unwrap();
        for (level, is_copy) in pages {
            let mut page = encoder.new_image::<colortype::Gray8>(4, 3).unwrap();
            if *is_copy {
                page.encoder().write_tag(Tag::NewSubfileType, 1_u32).unwrap();
            }
            page.write_data(&[*level; 12]).unwrap();
        }
        file.into_inner()
    }

    fn folder(files: &[(&str, &[(u8, bool)])]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, pages) in files {
            fs::write(folder.path().join(name), stack(pages)).unwrap();
        }
        folder
    }

    #[test]
    fn a_file_of_several_pages_is_refused_taken_by_its_first_or_page_by_page() {
        let folder = folder(&[("stack.tif", &[(10, false), (20, false), (30, false)])]);
        let path = folder.path().join("stack.tif");
        let message = read_rgb(&path).unwrap_err().to_string();
        assert!(
            message.contains("holds 3 pages") && message.contains("input.pages"),
            "{message}"
        );
        assert_eq!(Pages::Refuse.of_file(&path), std::slice::from_ref(&path));
        assert_eq!(Pages::First.of_file(&path), [folder.path().join("stack.tif#1")]);
        let all = Pages::All.of_file(&path);
        let levels: Vec<u8> = all
            .iter()
            .map(|page| read_rgb(page).unwrap().into_raw()[0])
            .collect();
        assert_eq!(levels, [10, 20, 30]);
        assert_eq!(read_header(&path).unwrap().pages, 3);
        for page in ["stack.tif#4", "stack.tif#0", "stack.tif#", "stack.tif#x", "#1"] {
            let error = read_rgb(folder.path().join(page)).unwrap_err().to_string();
            assert!(error.contains(page), "{error}");
        }
    }

    #[test]
    fn reduced_copies_are_no_pages() {
        let folder = folder(&[
            ("before.tif", &[(1, true), (50, false)]),
            ("behind.tif", &[(50, false), (1, true), (2, true)]),
            ("only.tif", &[(50, true)]),
        ]);
        for name in ["before.tif", "behind.tif", "only.tif"] {
            let path = folder.path().join(name);
            assert_eq!(read_rgb(&path).unwrap().into_raw()[0], 50, "{name}");
            assert_eq!(read_header(&path).unwrap().pages, 1, "{name}");
            assert_eq!(Pages::All.of_file(&path), std::slice::from_ref(&path));
        }
    }

    #[test]
    fn a_name_with_a_number_sign_is_that_of_a_file_if_there_is_one() {
        let folder = folder(&[
            ("stack.tif", &[(10, false), (20, false)]),
            ("stack.tif#2", &[(99, false)]),
        ]);
        let level = |name: &str| read_rgb(folder.path().join(name)).unwrap().into_raw()[0];
        assert_eq!(level("stack.tif#1"), 10);
        assert_eq!(level("stack.tif#2"), 99);
    }

    #[test]
    fn masks_go_with_their_images_page_by_page() {
        let folder = folder(&[
            ("stack.tif", &[(10, false), (20, false)]),
            ("masks.tif", &[(0, false), (255, false)]),
            ("mask.tif", &[(255, false)]),
        ]);
        let path = |name: &str| folder.path().join(name);
        let found = |mask: &str| {
            Pages::All
                .of_pair(&path("stack.tif"), Some(&path(mask)))
                .into_iter()
                .map(|(image, mask)| (image, mask.unwrap()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            found("masks.tif"),
            [
                (path("stack.tif#1"), path("masks.tif#1")),
                (path("stack.tif#2"), path("masks.tif#2"))
            ]
        );
        assert_eq!(
            found("mask.tif"),
            [
                (path("stack.tif#1"), path("mask.tif")),
                (path("stack.tif#2"), path("mask.tif"))
            ]
        );
        assert_eq!(
            Pages::Refuse.of_pair(&path("stack.tif"), None),
            [(path("stack.tif"), None)]
        );
    }
}
