use std::path::{Path, PathBuf};

use daf_core::data::{self, files};
use daf_core::image::GrayImage;
use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Dataset, Item, Listing, Result, Split, typetag};
use serde::{Deserialize, Serialize};

use crate::category::{Categories, require};
use crate::masks::{self, Mirrored, Placed};

/// DAGM 2007, ten classes of drawn textures.
///
/// ```text
/// root/Class1/Train/0001.PNG
/// root/Class1/Train/Label/0002_label.PNG     for images with a defect only
/// root/Class1/Test/0001.PNG
/// root/Class1/Test/Label/0003_label.PNG
/// ```
///
/// The images of `Train` without a label are learned from, those with one are not used. The labels are
/// ellipses drawn generously around the defects: they say which image is defective, and are no truth for
/// pixels unless asked for. All defects are of the kind `defect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dagm {
    /// The folder that holds the classes, or the class itself if no category is given.
    pub root: PathBuf,
    /// Name of the class's folder, e.g. `Class1`, or a pattern: `"*"` for all classes in one.
    #[serde(default)]
    pub category: Option<String>,
    /// Whether the ellipses are taken for masks, so that pixels are measured too. What comes of it is a
    /// measure of finding the ellipse, not the defect, and does not compare with other data sets.
    #[serde(default)]
    pub weak_masks: bool,
}
daf_core::register!(Dataset: Dagm = "dagm");

impl Default for Dagm {
    fn default() -> Self {
        Self {
            root: "data/dagm".into(),
            category: Some("Class1".into()),
            weak_masks: false,
        }
    }
}

impl Dagm {
    fn categories(&self) -> Categories<'_> {
        Categories {
            root: &self.root,
            category: self.category.as_deref(),
            marks: &["Train", "Test"],
        }
    }

    fn list(&self, class: &Path, split: Split) -> Result<Listing> {
        let folder = class.join(match split {
            Split::Train => "Train",
            Split::Test => "Test",
        });
        let label_folder = folder.join("Label");
        // Required: without the labels defective images would be learned as normal.
        if !label_folder.is_dir() {
            return Err(files::missing(&label_folder));
        }
        let found = files::images(&folder)?;
        let (labels, images): (Vec<_>, Vec<_>) = found
            .images
            .into_iter()
            .partition(|file| file.starts_with(&label_folder));
        let placed = |folder: &Path, files: Vec<PathBuf>| -> Vec<_> {
            files
                .into_iter()
                .map(|file| Placed::below(folder, file))
                .collect()
        };
        let (labels, images) = (placed(&label_folder, labels), placed(&folder, images));
        let mut listing = Listing {
            left_out: found.left_out,
            ..Default::default()
        };
        let labels = masks::matched(&images, &labels, &["_label"], &Mirrored, &mut listing.faults);
        for (image, label) in images.into_iter().zip(labels) {
            match (split, label) {
                (_, None) => listing.items.push(Item::normal(image.path)),
                (Split::Train, Some(_)) => {}
                (Split::Test, label) => {
                    let mask = label.filter(|_| self.weak_masks);
                    listing.items.push(Item::anomalous(image.path, mask, "defect"));
                }
            }
        }
        let expected = match split {
            Split::Train => "no normal images: expected NNNN.PNG, some without a label in the folder Label",
            Split::Test => "no test images: expected NNNN.PNG",
        };
        require(listing, &folder, expected)
    }
}

#[typetag::serde(name = Dagm::NAME)]
impl Dataset for Dagm {
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        self.survey(split).complete()
    }

    fn survey(&self, split: Split) -> Listing {
        self.categories().survey(|class| self.list(class, split))
    }

    fn mask(&self, item: &Item) -> Result<Option<GrayImage>, BoxError> {
        Ok(item.mask.as_deref().map(data::read_mask_any).transpose()?)
    }

    fn check(&self) -> Result<(), BoxError> {
        self.categories().check()
    }
}
