//! Which mask belongs to which image.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use daf_core::{BoxError, Error};

/// For each image its mask: the file of the same stem, or of the stem with `suffix`. Where several images share a stem,
/// as numbered ones in folders per defect do, the mask's folder must bear the name of the image's folder. A mask that
/// fits no image, or not only one, is a fault.
pub(crate) fn matched(
    images: &[PathBuf],
    masks: &[PathBuf],
    suffix: &str,
    faults: &mut Vec<BoxError>,
) -> Vec<Option<PathBuf>> {
    let mut by_stem: BTreeMap<&OsStr, Vec<usize>> = BTreeMap::new();
    for (index, image) in images.iter().enumerate() {
        by_stem
            .entry(image.file_stem().unwrap_or_default())
            .or_default()
            .push(index);
    }
    let mut matched: Vec<Option<PathBuf>> = vec![None; images.len()];
    for mask in masks {
        let fault = match image_of(mask, suffix, images, &by_stem) {
            Ok(index) => match &matched[index] {
                None => {
                    matched[index] = Some(mask.clone());
                    continue;
                }
                Some(first) => {
                    let image = images[index].display();
                    format!("a second mask of {image}, beside {}", first.display())
                }
            },
            Err(reason) => reason,
        };
        faults.push(Error::data(mask, fault).into());
    }
    matched
}

fn image_of(
    mask: &Path,
    suffix: &str,
    images: &[PathBuf],
    by_stem: &BTreeMap<&OsStr, Vec<usize>>,
) -> Result<usize, String> {
    let stem = mask.file_stem().unwrap_or_default();
    let short = stem
        .to_str()
        .and_then(|stem| stem.strip_suffix(suffix))
        .map(OsStr::new);
    let same_stem = short
        .and_then(|short| by_stem.get(short))
        .or_else(|| by_stem.get(stem));
    let Some(same_stem) = same_stem else {
        let wanted = Path::new(short.unwrap_or(stem)).display();
        let place = match images.first().and_then(|image| image.parent()) {
            Some(folder) => format!("an image {wanted}.* as in {}", folder.display()),
            None => format!("an image {wanted}.*, found no images"),
        };
        return Err(format!("a mask without its image: expected {place}"));
    };
    if let [only] = same_stem[..] {
        return Ok(only);
    }
    let folder = |path: &Path| path.parent().and_then(Path::file_name).map(OsStr::to_owned);
    let near: Vec<_> = same_stem
        .iter()
        .copied()
        .filter(|&i| folder(&images[i]) == folder(mask))
        .collect();
    if let [only] = near[..] {
        return Ok(only);
    }
    let names: Vec<_> = same_stem
        .iter()
        .map(|&i| images[i].display().to_string())
        .collect();
    Err(format!(
        "fits several images ({}): name the mask's folder as its image's, or rename the images",
        names.join(", ")
    ))
}
