use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use daf_core::data::files::{self, Found};
use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Dataset, Error, Item, Listing, Split, typetag};
use serde::{Deserialize, Serialize};

use crate::kind;
use crate::masks::{self, ByKind, Placed};
use crate::table::ABNORMAL;

/// Your own images, by folder or glob pattern.
///
/// A folder of good images is enough to train: `data: {type: folder, normal: ["good/*.png"]}`. In patterns
/// `*` stands for any part of a name, `**` for any folders; a pattern that names a folder means all images
/// within. The kind of a defect is the name of its image's folder, with `; ` in place of `, `: several kinds
/// are for tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// Folder that relative patterns start at; the working directory if not given.
    #[serde(default)]
    pub root: PathBuf,
    /// Normal images to learn from.
    pub normal: Vec<String>,
    /// Normal images to measure with.
    #[serde(default)]
    pub test_normal: Vec<String>,
    /// Defective images to measure with.
    #[serde(default)]
    pub abnormal: Vec<String>,
    /// Masks of the defects, named as their images are, with or without one of `mask_suffix`. Images without
    /// a mask are allowed. A mask in a folder named for a kind of defect belongs to an image of that kind.
    #[serde(default)]
    pub masks: Vec<String>,
    /// Suffixes that the names of masks may add to those of their images, in any case.
    #[serde(default = "masks::suffixes")]
    pub mask_suffix: Vec<String>,
}
daf_core::register!(Dataset: Folder = "folder");

impl Default for Folder {
    fn default() -> Self {
        let pattern = |pattern: &str| vec![pattern.to_owned()];
        Self {
            root: "data/product".into(),
            normal: pattern("good/*.png"),
            test_normal: pattern("test/good/*.png"),
            abnormal: pattern("test/scratch/*.png"),
            masks: pattern("masks/scratch/*.png"),
            mask_suffix: masks::suffixes(),
        }
    }
}

/// Files by path, with the folders that lead to them from the start of their pattern.
type Files = BTreeMap<PathBuf, Placed>;

impl Folder {
    /// The images of the patterns of a field, each once, by path. A pattern without any is a fault.
    fn find(&self, field: &str, patterns: &[String], listing: &mut Listing) -> Files {
        let root = files::locate(&self.root);
        let mut all = Files::new();
        for pattern in patterns.iter().map(Path::new) {
            let found = match files::expand(&root, pattern) {
                Ok(found) => found,
                Err(fault) => {
                    listing.faults.push(fault.into());
                    continue;
                }
            };
            if found.images.is_empty() {
                listing.faults.push(nothing(&root, field, pattern, &found).into());
            }
            let start = files::literal_part(&root, pattern);
            for image in found.images {
                let placed = Placed::below(&start, image.clone());
                all.entry(image).or_insert(placed);
            }
            listing.left_out.extend(found.left_out);
        }
        all
    }

    fn train(&self) -> Listing {
        if self.normal.is_empty() {
            let reason = "no normal images: expected patterns in `normal`, found an empty list";
            return Listing::failed(Error::data(&self.root, reason));
        }
        let mut listing = Listing::default();
        let mut images = self.find("normal", &self.normal, &mut listing);
        // Measuring on images that were learned from flatters every method; found here, before any work.
        for (field, patterns) in [("test_normal", &self.test_normal), ("abnormal", &self.abnormal)] {
            let mut of_field = Listing::default();
            for both in self.find(field, patterns, &mut of_field).into_keys() {
                if images.remove(&both).is_some() {
                    let reason =
                        format!("is in `normal` and in `{field}`: test images must not be learned from");
                    of_field.faults.push(Error::data(both, reason).into());
                }
            }
            // What these patterns leave out is counted with the images to measure with.
            listing.faults.append(&mut of_field.faults);
        }
        // Another pattern may name what one leaves out.
        listing.left_out.retain(|path, _| !images.contains_key(path));
        listing.items = images.into_keys().map(Item::normal).collect();
        listing
    }

    fn test(&self) -> Listing {
        let mut listing = Listing::default();
        let masks = self.find("masks", &self.masks, &mut listing);
        let mut normal = self.find("test_normal", &self.test_normal, &mut listing);
        // Masks often lie beside their images, where `*.png` means both.
        let mut images = self.find("abnormal", &self.abnormal, &mut listing);
        images.retain(|image, _| !masks.contains_key(image));
        for both in images.keys() {
            if normal.remove(both).is_some() {
                let fault = Error::data(both, "is in `test_normal` and in `abnormal`");
                listing.faults.push(fault.into());
            }
        }
        (listing.left_out).retain(|path, _| {
            ![&masks, &normal, &images]
                .iter()
                .any(|files| files.contains_key(path))
        });
        listing.items = normal.into_keys().map(Item::normal).collect();
        let (images, masks): (Vec<_>, Vec<_>) =
            (images.into_values().collect(), masks.into_values().collect());
        let places = ByKind::new(&images, &masks);
        let masks = masks::matched(&images, &masks, &self.mask_suffix, &places, &mut listing.faults);
        let mut kinds: BTreeMap<PathBuf, Option<String>> = BTreeMap::new();
        for (image, mask) in images.into_iter().zip(masks) {
            let folder = image.path.parent().unwrap_or(Path::new(""));
            if !kinds.contains_key(folder) {
                let kind = match folder.file_name() {
                    Some(_) => kind::of_folder(folder)
                        .map_err(|fault| listing.faults.push(fault.into()))
                        .ok(),
                    None => Some(ABNORMAL.to_owned()),
                };
                kinds.insert(folder.to_path_buf(), kind);
            }
            if let Some(kind) = kinds.get(folder).cloned().flatten() {
                listing.items.push(Item::anomalous(image.path, mask, kind));
            }
        }
        listing
    }
}

/// A pattern without images: shows the deepest folder that it leads to.
fn nothing(root: &Path, field: &str, pattern: &Path, found: &Found) -> Error {
    let mut folder = files::literal_part(root, pattern);
    if (folder.exists() && !folder.is_dir())
        || (folder == root.join(pattern) && !folder.is_dir() && files::is_image(&folder))
    {
        folder.pop();
    }
    if folder.as_os_str().is_empty() {
        folder.push(".");
    }
    let why = if folder.is_dir() {
        let there = found.left_out.beside(&folder);
        let (formats, folder) = (files::FORMATS, folder.display());
        format!("expected {formats} images; {folder} holds {there}")
    } else {
        files::missing(&folder).to_string()
    };
    let kind = match field {
        "normal" => "no normal images",
        "masks" => "no masks",
        _ => "no images",
    };
    Error::data(pattern, format!("{kind} match this pattern of `{field}`: {why}"))
}

#[typetag::serde(name = Folder::NAME)]
impl Dataset for Folder {
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        self.survey(split).complete()
    }

    fn survey(&self, split: Split) -> Listing {
        let root = files::locate(&self.root);
        if !root.as_os_str().is_empty() && !root.is_dir() {
            return Listing::failed(files::missing(&root));
        }
        match split {
            Split::Train => self.train(),
            Split::Test => self.test(),
        }
    }

    fn check(&self) -> Result<(), BoxError> {
        if self.normal.is_empty() {
            return Err("normal: expected at least one pattern of images, found none".into());
        }
        if self.abnormal.is_empty() && !self.masks.is_empty() {
            return Err("masks: expected patterns in `abnormal` too, found none".into());
        }
        let fields = [&self.normal, &self.test_normal, &self.abnormal, &self.masks];
        for pattern in fields.into_iter().flatten() {
            files::check_pattern(&files::locate(&self.root), Path::new(pattern))?;
        }
        masks::check_suffixes(&self.mask_suffix)
    }
}
