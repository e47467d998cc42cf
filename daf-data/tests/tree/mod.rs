//! Trees of files as data sets have them.

// Each test program uses some of these.
#![allow(dead_code)]

use std::fs;
use std::path::Path;

use daf_core::image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};
use daf_core::{Dataset, Item, Split};
use tempfile::TempDir;

/// Writes empty files: enough for what is only listed.
pub(crate) fn put(root: &Path, files: &[&str]) {
    for file in files {
        text(root, file, "");
    }
}

pub(crate) fn text(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub(crate) fn folder_with(files: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    put(folder.path(), files);
    folder
}

/// Writes an image in the format of its extension.
pub(crate) fn save(root: &Path, file: &str, image: impl Into<DynamicImage>) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.into().save(path).unwrap();
}

/// Another image for every seed.
pub(crate) fn colored(width: u32, height: u32, seed: u8) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([x as u8 * 9, y as u8 * 11, seed]))
}

/// A mask with one pixel of `value`.
pub(crate) fn spot(width: u32, height: u32, value: u8) -> GrayImage {
    let mut mask = GrayImage::new(width, height);
    mask.put_pixel(width / 2, height / 2, Luma([value]));
    mask
}

/// Items as `image label mask`, relative to the root, with the category before if there is one.
pub(crate) fn told(root: &Path, items: &[Item]) -> Vec<String> {
    let short = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    items
        .iter()
        .map(|item| {
            let category = item
                .category
                .as_ref()
                .map_or(String::new(), |name| format!("[{name}] "));
            let mask = item.mask.as_deref().map_or("-".into(), short);
            format!("{category}{} {} {mask}", short(&item.image), item.label())
        })
        .collect()
}

pub(crate) fn listed(root: &Path, data: &dyn Dataset, split: Split) -> Vec<String> {
    data.check().unwrap();
    told(root, &data.items(split).unwrap())
}

pub(crate) fn refusal(data: &dyn Dataset, split: Split) -> String {
    data.items(split).unwrap_err().to_string()
}
