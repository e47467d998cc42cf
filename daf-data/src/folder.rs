use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Dataset, Error, Item, Listing, Result, Split, typetag};
use glob::{MatchOptions, Pattern};
use serde::{Deserialize, Serialize};

use crate::masks;
use daf_core::data::files;

/// Your own images, by folder or glob pattern.
///
/// A folder of good images is enough to train: `data: {type: folder, normal: ["good/*.png"]}`. In patterns `*` stands
/// for any part of a name, `**` for any folders; a pattern that names a folder means all images within.
/// The kind of a defect is the name of its image's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// Where relative patterns start; the working directory if not given.
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
    /// Masks of the defects, named as their images are, `_mask` appended or not. Images without a mask are allowed.
    #[serde(default)]
    pub masks: Vec<String>,
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
        }
    }
}

impl Folder {
    /// The images of a list of patterns, each once, by path. A pattern without any is a fault.
    fn find(&self, field: &str, patterns: &[String], faults: &mut Vec<BoxError>) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for pattern in patterns {
            match self.expand(pattern) {
                Ok(images) if images.is_empty() => faults.push(self.nothing(field, pattern).into()),
                Ok(images) => found.extend(images),
                Err(fault) => faults.push(fault.into()),
            }
        }
        found
    }

    fn expand(&self, pattern: &str) -> Result<Vec<PathBuf>> {
        let path = self.root.join(pattern);
        // A name such as `batch[3]` is a pattern by its looks and a folder or file in fact.
        if path.is_dir() {
            return files::images_below(&path);
        }
        if path.is_file() {
            return Ok(if files::is_image(&path) {
                vec![path]
            } else {
                Vec::new()
            });
        }
        // Only the user's pattern is one: the root may contain brackets.
        let root = Pattern::escape(&self.root.to_string_lossy());
        let whole = Path::new(&root).join(pattern);
        let options = MatchOptions {
            require_literal_leading_dot: true,
            ..MatchOptions::new()
        };
        let mut images = Vec::new();
        let matches = glob::glob_with(&whole.to_string_lossy(), options)
            .map_err(|e| Error::data(pattern, format!("not a valid pattern: {e}")))?;
        for path in matches {
            let path = path.map_err(|e| Error::io(e.path().to_path_buf())(e.into()))?;
            if path.is_dir() {
                images.extend(files::images_below(&path)?);
            } else if files::is_image(&path) {
                images.push(path);
            }
        }
        Ok(images)
    }

    /// A pattern without images: shows the deepest folder that it leads to.
    fn nothing(&self, field: &str, pattern: &str) -> Error {
        let path = self.root.join(pattern);
        let mut folder = PathBuf::new();
        for part in path.components() {
            if part.as_os_str().to_string_lossy().contains(['*', '?', '[']) {
                break;
            }
            folder.push(part);
        }
        if folder.is_file() || (folder == path && !folder.is_dir() && files::is_image(&folder)) {
            folder.pop();
        }
        if folder.as_os_str().is_empty() {
            folder.push(".");
        }
        let why = if folder.is_dir() {
            format!(
                "expected png, jpeg, bmp or tiff images; {} holds {}",
                folder.display(),
                files::contents(&folder)
            )
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

    fn train(&self) -> Listing {
        if self.normal.is_empty() {
            let reason = "no normal images: expected patterns in `normal`, found an empty list";
            return Listing::failed(Error::data(&self.root, reason));
        }
        let mut faults = Vec::new();
        let mut images = self.find("normal", &self.normal, &mut faults);
        // Measuring on images that were learned from flatters every method; found here, before any work.
        for (field, patterns) in [("test_normal", &self.test_normal), ("abnormal", &self.abnormal)] {
            for both in self.find(field, patterns, &mut faults) {
                if images.remove(&both) {
                    let reason =
                        format!("is in `normal` and in `{field}`: test images must not be learned from");
                    faults.push(Error::data(both, reason).into());
                }
            }
        }
        let items = images.into_iter().map(Item::normal).collect();
        Listing { items, faults }
    }

    fn test(&self) -> Listing {
        let mut faults = Vec::new();
        let masks = self.find("masks", &self.masks, &mut faults);
        let mut normal = self.find("test_normal", &self.test_normal, &mut faults);
        // Masks often lie beside their images, where `*.png` means both.
        let images: Vec<_> = self
            .find("abnormal", &self.abnormal, &mut faults)
            .into_iter()
            .filter(|image| !masks.contains(image))
            .collect();
        for both in &images {
            if normal.remove(both) {
                faults.push(Error::data(both, "is in `test_normal` and in `abnormal`").into());
            }
        }
        let masks: Vec<_> = masks.into_iter().collect();
        let masks = masks::matched(&images, &masks, "_mask", &mut faults);
        let mut items: Vec<_> = normal.into_iter().map(Item::normal).collect();
        for (image, mask) in images.into_iter().zip(masks) {
            let defect = image.parent().map(files::name).filter(|name| !name.is_empty());
            items.push(Item::anomalous(
                image,
                mask,
                defect.unwrap_or_else(|| "abnormal".to_owned()),
            ));
        }
        Listing { items, faults }
    }
}

#[typetag::serde(name = Folder::NAME)]
impl Dataset for Folder {
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        self.survey(split).complete()
    }

    fn survey(&self, split: Split) -> Listing {
        if !self.root.as_os_str().is_empty() && !self.root.is_dir() {
            return Listing::failed(files::missing(&self.root));
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
            if !self.root.join(pattern).exists() {
                Pattern::new(pattern).map_err(|e| format!("{pattern}: not a valid pattern: {e}"))?;
            }
        }
        Ok(())
    }
}
