//! Assignment of masks to images.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use daf_core::data::files::spelled;
use daf_core::words::listed;
use daf_core::{BoxError, Error, Item};

/// A file, and the folders that lead to it from where files of its sort were looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) path: PathBuf,
    pub(crate) place: PathBuf,
}

impl Placed {
    /// A file below `folder`.
    pub(crate) fn below(folder: &Path, path: PathBuf) -> Self {
        let place = path.parent().and_then(|around| around.strip_prefix(folder).ok());
        Self {
            place: place.map(Path::to_path_buf).unwrap_or_default(),
            path,
        }
    }

    /// The names of its folders, with the one that it lies in directly.
    fn folders(&self) -> impl Iterator<Item = String> {
        let place = self.place.components().map(Component::as_os_str);
        let around = self.path.parent().and_then(Path::file_name);
        place.chain(around).map(|name| spelled(name).into_owned())
    }

    fn stem(&self) -> String {
        stem(&self.path)
    }
}

/// Common part of the names of image and mask.
fn stem(file: &Path) -> String {
    spelled(file.file_stem().unwrap_or_default()).into_owned()
}

/// Whether the folders of a mask say that it may be an image's.
pub(crate) trait Places {
    fn fit(&self, image: &Placed, mask: &Placed) -> bool;
}

/// Masks lie in the folders of the same names as their images, or in one above them.
pub(crate) struct Mirrored;

impl Places for Mirrored {
    fn fit(&self, image: &Placed, mask: &Placed) -> bool {
        let spelled_place = |file: &Placed| -> Vec<_> {
            let names = file.place.components().map(Component::as_os_str);
            names.map(|name| spelled(name).into_owned()).collect()
        };
        spelled_place(image).starts_with(&spelled_place(mask))
    }
}

/// Folders of images are named as kinds of defects, and those of masks may be, too.
pub(crate) struct ByKind {
    /// Names of the folders of images.
    known: HashSet<String>,
    /// Whether some folder of masks is called so.
    by_kind: bool,
}

impl ByKind {
    pub(crate) fn new(images: &[Placed], masks: &[Placed]) -> Self {
        let mut places = Self {
            known: images.iter().flat_map(Placed::folders).collect(),
            by_kind: false,
        };
        let known = |name: String| places.known(&name).is_some();
        places.by_kind = masks.iter().flat_map(Placed::folders).any(known);
        places
    }

    /// The name of a folder of images that a folder of masks has, as it is or with the ending of a mask's.
    fn known<'n>(&self, name: &'n str) -> Option<&'n str> {
        let names = [Some(name), without_suffix(name, &SUFFIXES)];
        names
            .into_iter()
            .flatten()
            .find(|name| self.known.contains(*name))
    }
}

impl Places for ByKind {
    fn fit(&self, image: &Placed, mask: &Placed) -> bool {
        let of_image: Vec<_> = image.folders().collect();
        let names: Vec<_> = mask.folders().collect();
        let mut known = names.iter().filter_map(|name| self.known(name)).peekable();
        if known.peek().is_some() {
            return known.all(|name| of_image.iter().any(|of_image| of_image == name));
        }
        // No name of a kind: neither one that the images lack, where both are sorted into folders.
        let tells = |name: &String| !is_folder_of_masks(name);
        let in_place = mask
            .place
            .components()
            .any(|part| tells(&spelled(part.as_os_str()).into_owned()));
        let sorted = image.place.components().next().is_some();
        !(self.by_kind && names.iter().any(tells) || in_place && sorted)
    }
}

/// For each image its mask: the file of the same stem, or of the stem with one of the suffixes, whose folders
/// fit. Of several images the one wins whose path ends in the same folders. A mask that fits no image, or not
/// only one, is a fault.
pub(crate) fn matched(
    images: &[Placed],
    masks: &[Placed],
    suffixes: &[impl AsRef<str>],
    places: &impl Places,
    faults: &mut Vec<BoxError>,
) -> Vec<Option<PathBuf>> {
    let stems: Vec<_> = images.iter().map(Placed::stem).collect();
    let mut by_stem: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, stem) in stems.iter().enumerate() {
        by_stem.entry(stem).or_default().push(index);
    }
    let mut matched: Vec<Option<PathBuf>> = vec![None; images.len()];
    for mask in masks {
        let fault = match image_of(mask, suffixes, images, &by_stem, places) {
            Ok(index) => match &matched[index] {
                None => {
                    matched[index] = Some(mask.path.clone());
                    continue;
                }
                Some(first) => {
                    let image = images[index].path.display();
                    format!("a second mask of {image}, beside {}", first.display())
                }
            },
            Err(reason) => reason,
        };
        faults.push(Error::data(&mask.path, fault).into());
    }
    matched
}

fn image_of(
    mask: &Placed,
    suffixes: &[impl AsRef<str>],
    images: &[Placed],
    by_stem: &HashMap<&str, Vec<usize>>,
    places: &impl Places,
) -> Result<usize, String> {
    let stem = mask.stem();
    let short = without_suffix(&stem, suffixes);
    let named = |stem: &str| by_stem.get(stem).map_or(&[][..], Vec::as_slice);
    let fitting = |stem: &str| -> Vec<usize> {
        let same_stem = named(stem).iter().copied();
        same_stem
            .filter(|&image| places.fit(&images[image], mask))
            .collect()
    };
    let mut fitting_images = short.map(fitting).unwrap_or_default();
    if fitting_images.is_empty() {
        fitting_images = fitting(&stem);
    }
    let names = |images_of: &[usize]| {
        let paths: Vec<_> = images_of.iter().map(|&i| images[i].path.display()).collect();
        listed(&paths, QUOTED)
    };
    if fitting_images.is_empty() {
        let wanted = short.unwrap_or(&stem);
        let elsewhere = [wanted, &stem]
            .map(named)
            .into_iter()
            .find(|found| !found.is_empty());
        let expected = match (elsewhere, images.first().and_then(|image| image.path.parent())) {
            (Some(found), _) => {
                let folder = mask.path.parent().and_then(Path::file_name).unwrap_or_default();
                format!(
                    "an image {wanted}.* in a folder {}, found {}",
                    spelled(folder),
                    names(found)
                )
            }
            (None, Some(folder)) => format!("an image {wanted}.* as in {}", folder.display()),
            (None, None) => format!("an image {wanted}.*, found no images"),
        };
        return Err(format!("a mask without its image: expected {expected}"));
    }
    // As numbered images in folders per kind of defect have one another's names.
    let near = |&image: &usize| shared_folders(&images[image].path, &mask.path);
    let nearest = fitting_images.iter().map(near).max();
    let nearest: Vec<_> = fitting_images
        .iter()
        .filter(|image| Some(near(image)) == nearest)
        .collect();
    match nearest[..] {
        [&only] => Ok(only),
        _ => Err(format!(
            "fits several images ({}): name the mask's folder as its image's, or rename the images",
            names(&fitting_images)
        )),
    }
}

/// Number of images that an error names.
const QUOTED: usize = 8;

/// Number of folders of the same name in front of the names of two files.
fn shared_folders(one: &Path, other: &Path) -> usize {
    let folders = |file: &Path| -> Vec<String> {
        let parts = file.parent().into_iter().flat_map(Path::components).rev();
        parts.map(|part| spelled(part.as_os_str()).into_owned()).collect()
    };
    let (one, other) = (folders(one), folders(other));
    one.iter()
        .zip(&other)
        .take_while(|(one, other)| one == other)
        .count()
}

/// Suffixes that the file name of a mask adds to that of its image, in any case.
pub(crate) const SUFFIXES: [&str; 14] = [
    "_mask",
    "-mask",
    "_masks",
    "_gt",
    "-gt",
    "_label",
    "-label",
    "_labels",
    "_seg",
    "-seg",
    "_ground_truth",
    "_groundtruth",
    "_segmentation",
    "_annotation",
];

/// [`SUFFIXES`] as the fields of data sets have them.
pub(crate) fn suffixes() -> Vec<String> {
    SUFFIXES.map(str::to_owned).to_vec()
}

/// Refuses what every name ends in.
pub(crate) fn check_suffixes(suffixes: &[String]) -> Result<(), BoxError> {
    match suffixes.iter().any(String::is_empty) {
        true => Err(
            "mask_suffix: expected the ends of names such as _mask, found an empty text; a mask may always \
                     have its image's name"
                .into(),
        ),
        false => Ok(()),
    }
}

/// Names of folders of masks, in lower case and without separators between words.
const FOLDERS: [&str; 13] = [
    "groundtruth",
    "groundtruths",
    "gt",
    "gts",
    "mask",
    "masks",
    "label",
    "labels",
    "seg",
    "segmentation",
    "segmentations",
    "annotation",
    "annotations",
];

/// Whether folders of this name usually hold masks.
pub(crate) fn is_folder_of_masks(name: &str) -> bool {
    let letters = name
        .chars()
        .filter(|letter| !matches!(letter, ' ' | '_' | '-' | '.'));
    let letters: String = letters.flat_map(char::to_lowercase).collect();
    FOLDERS.contains(&letters.as_str())
}

/// The stem of the image that a mask of this stem belongs to, if the stem says that it is a mask's.
fn without_suffix<'s>(stem: &'s str, suffixes: &[impl AsRef<str>]) -> Option<&'s str> {
    suffixes.iter().map(AsRef::as_ref).find_map(|suffix| {
        let (short, end) = stem.split_at_checked(stem.len().checked_sub(suffix.len())?)?;
        (!short.is_empty() && !suffix.is_empty() && end.eq_ignore_ascii_case(suffix)).then_some(short)
    })
}

/// Images that are named as masks of others, each with the other: `0_mask.png` beside `0.png`, `masks/0.png`
/// below the folder of `0.png`, `0.png` beside `0.jpg`. A name is a suspicion only: what the file holds
/// tells.
pub fn named_as_masks(items: &[Item]) -> Vec<(PathBuf, PathBuf)> {
    let stems: Vec<_> = items.iter().map(|item| stem(&item.image)).collect();
    let mut by_stem: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, stem) in stems.iter().enumerate() {
        by_stem.entry(stem).or_default().push(index);
    }
    // Above the images of all kinds a folder's name tells nothing.
    let above = common_folder(items.iter().map(|item| item.image.as_path()));
    let above = above.map_or(0, |folder| folder.components().count());
    let inside: Vec<Option<PathBuf>> = items
        .iter()
        .map(|item| around_masks(&item.image, above))
        .collect();
    let lossy = |path: &Path| {
        let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        ["jpg", "jpeg", "jpe", "jfif"]
            .iter()
            .any(|jpeg| ending.eq_ignore_ascii_case(jpeg))
    };
    let image_of = |mask: usize| {
        let path = items[mask].image.as_path();
        let short = without_suffix(&stems[mask], &SUFFIXES);
        let named = |stem: &str| by_stem.get(stem).into_iter().flatten().copied();
        let beside = |&image: &usize| items[image].image.parent() == path.parent();
        let suffixed = short.and_then(|short| named(short).find(beside));
        let in_folder = || {
            let around = inside[mask].as_deref()?;
            let mut images = short.into_iter().chain([stems[mask].as_str()]).flat_map(named);
            images.find(|&image| inside[image].is_none() && items[image].image.starts_with(around))
        };
        let of_a_photo = || {
            let photo = |&image: &usize| beside(&image) && lossy(&items[image].image);
            named(&stems[mask]).find(photo).filter(|_| !lossy(path))
        };
        suffixed.or_else(in_folder).or_else(of_a_photo)
    };
    (0..items.len())
        .filter_map(|mask| Some((items[mask].image.clone(), items[image_of(mask)?].image.clone())))
        .collect()
}

/// The folder around the folder of masks that a file lies in, looked for below the first `above` parts of its
/// path.
fn around_masks(file: &Path, above: usize) -> Option<PathBuf> {
    let parts: Vec<_> = file.parent()?.components().collect();
    let masks =
        (above..parts.len()).find(|&part| is_folder_of_masks(&parts[part].as_os_str().to_string_lossy()))?;
    Some(parts[..masks].iter().collect())
}

/// The deepest folder that holds all files.
fn common_folder<'p>(mut files: impl Iterator<Item = &'p Path>) -> Option<PathBuf> {
    let first = files.next()?.parent()?.to_path_buf();
    Some(files.fold(first, |common, file| {
        if file.starts_with(&common) {
            return common;
        }
        let same = common.components().zip(file.components());
        same.take_while(|(one, other)| one == other)
            .map(|(part, _)| part)
            .collect()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspected(files: &[&str]) -> Vec<String> {
        let items: Vec<_> = files.iter().map(Item::normal).collect();
        let pair = |(mask, image): (PathBuf, PathBuf)| format!("{} {}", mask.display(), image.display());
        named_as_masks(&items).into_iter().map(pair).collect()
    }

    #[test]
    fn images_named_as_masks_of_others_are_found() {
        assert_eq!(
            suspected(&[
                "bad/0.png",
                "bad/0_mask.png",
                "bad/1.jpg",
                "bad/1-GT.bmp",
                "bad/2.jpg",
                "bad/2.png"
            ]),
            [
                "bad/0_mask.png bad/0.png",
                "bad/1-GT.bmp bad/1.jpg",
                "bad/2.png bad/2.jpg"
            ]
        );
        assert_eq!(
            suspected(&[
                "bad/0.png",
                "bad/Ground Truth/0.png",
                "bad/masks/a/1_mask.png",
                "bad/a/1.png"
            ]),
            [
                "bad/Ground Truth/0.png bad/0.png",
                "bad/masks/a/1_mask.png bad/a/1.png"
            ]
        );
    }

    #[test]
    fn a_name_alone_is_no_mask() {
        for files in [
            // Another folder, no image of the stem, an object of that name, the folder of the whole data set.
            &["a/0.png", "b/0_mask.png"][..],
            &["a/gas_mask.png", "a/1.png"],
            &["a/_mask.png", "a/.png"],
            &["labels/bad/0.png", "labels/good/0.png"],
            &["label/0.png", "dent/1.png"],
            &["a/0.png", "b/0.png"],
            &[],
        ] {
            assert_eq!(suspected(files), [""; 0], "{files:?}");
        }
    }

    /// The image of each mask, or what is wrong.
    fn pairs(images: &[(&str, &str)], masks: &[(&str, &str)]) -> (Vec<Option<String>>, Vec<String>) {
        let placed = |files: &[(&str, &str)]| -> Vec<_> {
            let placed =
                |(base, file): &(&str, &str)| Placed::below(Path::new(base), Path::new(base).join(file));
            files.iter().map(placed).collect()
        };
        let (images, masks) = (placed(images), placed(masks));
        let mut faults = Vec::new();
        let places = ByKind::new(&images, &masks);
        let found = matched(&images, &masks, &SUFFIXES, &places, &mut faults);
        let text = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
        let faults = faults.iter().map(ToString::to_string).collect();
        (found.into_iter().map(text).collect(), faults)
    }

    #[test]
    fn the_mask_of_a_missing_image_goes_to_no_other_kind() {
        for (images, masks) in [
            // Both kinds there, one pattern.
            (
                &[("test", "dent/1.png"), ("test", "scratch/0.png")][..],
                &[("masks", "scratch/1_mask.png")][..],
            ),
            // The other kind gone altogether.
            (&[("test", "dent/1.png")], &[("masks", "scratch/1_mask.png")]),
            (&[("test", "dent/1.png")], &[("masks", "scratch_mask/1.png")]),
            // A pattern for each kind.
            (
                &[("test/dent", "1.png"), ("test/scratch", "0.png")],
                &[("masks/scratch", "1.png")],
            ),
            (
                &[("test/dent", "1.png"), ("test/dent", "0.png")],
                &[("masks/scratch", "1.png"), ("masks/dent", "0.png")],
            ),
            // Kinds further up.
            (
                &[("bad", "dent/images/1.png"), ("bad", "scratch/images/0.png")],
                &[("bad", "scratch/masks/1.png")],
            ),
        ] {
            let (_, faults) = pairs(images, masks);
            assert_eq!(faults.len(), 1, "{images:?} {masks:?} {faults:?}");
            assert!(faults[0].contains("a mask without its image"), "{}", faults[0]);
        }
    }

    #[test]
    fn a_mask_finds_its_image_in_folders_of_many_forms() {
        for (images, masks) in [
            (&[("bad", "scratch/0.png")][..], &[("masks", "0.png")][..]),
            (&[("bad", "scratch/0.jpg")], &[("masks/scratch", "0_mask.png")]),
            (&[("ng", "0.png")], &[("gt", "0_GT.png")]),
            (&[("ng", "0.png")], &[("truth", "scratch/0.png")]),
            (&[("bad", "scratch/0.png")], &[("masks", "scratch_masks/0.tif")]),
            (
                &[("bad", "scratch/images/0.png")],
                &[("bad", "scratch/masks/0.png")],
            ),
            (&[("bad", "0.png")], &[("bad", "0_mask.png")]),
            (
                &[("test", "u\u{308}/u\u{308}.png")],
                &[("masks", "\u{fc}/\u{fc}_mask.png")],
            ),
        ] {
            let (found, faults) = pairs(images, masks);
            assert_eq!(faults, [""; 0], "{images:?}");
            assert_eq!(found.iter().flatten().count(), masks.len(), "{images:?}");
        }
    }

    #[test]
    fn numbered_masks_follow_their_folders() {
        let images = [
            ("test", "cam1/dent/0.png"),
            ("test", "cam2/dent/0.png"),
            ("test", "cam1/scratch/0.png"),
        ];
        let masks = [
            ("masks", "cam2/dent/0.png"),
            ("masks", "cam1/scratch/0.png"),
            ("masks", "cam1/dent/0.png"),
        ];
        let (found, faults) = pairs(&images, &masks);
        assert_eq!(faults, [""; 0]);
        let expected = [
            "masks/cam1/dent/0.png",
            "masks/cam2/dent/0.png",
            "masks/cam1/scratch/0.png",
        ];
        assert_eq!(found, expected.map(|mask| Some(mask.to_owned())));
        let (_, faults) = pairs(&images[..2], &[("masks", "dent/0.png")]);
        assert!(faults[0].contains("fits several images"), "{}", faults[0]);
    }
}
