//! Which mask belongs to which image.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use daf_core::{Error, Result};

/// For each image its mask: the file of the same stem, or of the stem with `_mask`. Where several images share a stem,
/// as numbered ones in folders per defect do, the mask's folder must bear the name of the image's folder.
pub(crate) fn matched(images: &[PathBuf], masks: &[PathBuf]) -> Result<Vec<Option<PathBuf>>> {
    let mut by_stem: BTreeMap<&OsStr, Vec<usize>> = BTreeMap::new();
    for (index, image) in images.iter().enumerate() {
        by_stem
            .entry(image.file_stem().unwrap_or_default())
            .or_default()
            .push(index);
    }
    let mut matched = vec![None; images.len()];
    for mask in masks {
        let stem = mask.file_stem().unwrap_or_default();
        let short = stem
            .to_str()
            .and_then(|stem| stem.strip_suffix("_mask"))
            .map(OsStr::new);
        let wanted = short.unwrap_or(stem);
        let same_stem = short
            .and_then(|short| by_stem.get(short))
            .or_else(|| by_stem.get(stem));
        let Some(same_stem) = same_stem else {
            let wanted = Path::new(wanted).display();
            let place = match images.first().and_then(|image| image.parent()) {
                Some(folder) => format!("an image {wanted}.* as in {}", folder.display()),
                None => format!("an image {wanted}.*, found no images"),
            };
            return Err(Error::data(
                mask,
                format!("a mask without its image: expected {place}"),
            ));
        };
        let index = match same_stem[..] {
            [only] => only,
            _ => {
                let folder = |path: &PathBuf| path.parent().and_then(Path::file_name).map(OsStr::to_owned);
                let near: Vec<_> = same_stem
                    .iter()
                    .copied()
                    .filter(|&i| folder(&images[i]) == folder(mask))
                    .collect();
                let [only] = near[..] else {
                    let names: Vec<_> = same_stem
                        .iter()
                        .map(|&i| images[i].display().to_string())
                        .collect();
                    return Err(Error::data(
                        mask,
                        format!(
                            "fits several images ({}): name the mask's folder as its image's, or rename the images",
                            names.join(", ")
                        ),
                    ));
                };
                only
            }
        };
        if let Some(first) = matched[index].replace(mask.clone()) {
            let image = images[index].display();
            return Err(Error::data(
                mask,
                format!("a second mask of {image}, beside {}", first.display()),
            ));
        }
    }
    Ok(matched)
}
