//! Where images come from.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use image::{GrayImage, RgbImage};
use serde::{Deserialize, Serialize};

use crate::{BoxError, data};

/// A list of images with what is known about them.
///
/// Listing is cheap and fails early; images are opened one by one by the loader's threads.
#[typetag::serde(tag = "type")]
pub trait Dataset: Debug + Send + Sync {
    /// The images of a split, in an order that does not depend on the file system.
    ///
    /// # Errors
    /// If a folder is missing, a mask has no image, or the split is empty where it must not be: training needs at
    /// least one normal image.
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError>;

    /// Opens the image of an item at its own size. Grey images come as three equal channels, deeper ones at 8 bit.
    ///
    /// # Errors
    /// Names the file and why it cannot be read.
    fn image(&self, item: &Item) -> Result<RgbImage, BoxError> {
        Ok(data::read_rgb(&item.image)?)
    }

    /// Opens the mask of an item: 255 where the defect is, 0 elsewhere; `None` if the item has none.
    /// Its size may differ from the image's; both are resized to the network's input.
    ///
    /// # Errors
    /// Names the file and why it cannot be read.
    fn mask(&self, item: &Item) -> Result<Option<GrayImage>, BoxError> {
        Ok(item.mask.as_deref().map(data::read_mask).transpose()?)
    }

    /// Checks ranges before any work is done.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

super::boxed_schema!(Dataset);

/// A part of the data with one use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Normal images to learn from.
    Train,
    /// Normal and defective images to measure with; never used to choose anything.
    Test,
}

/// One image of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The image file; for drawn data a name of the same form.
    pub image: PathBuf,
    /// The mask file, where there is one.
    pub mask: Option<PathBuf>,
    /// Kind of the defect, e.g. `scratch`; `None` for a normal image.
    pub defect: Option<String>,
}

impl Item {
    /// A normal image.
    pub fn normal(image: impl AsRef<Path>) -> Self {
        Self {
            image: image.as_ref().to_path_buf(),
            mask: None,
            defect: None,
        }
    }

    /// Whether the image has a defect.
    #[must_use]
    pub const fn is_anomalous(&self) -> bool {
        self.defect.is_some()
    }

    /// The kind of defect, `good` for a normal image.
    #[must_use]
    pub fn label(&self) -> &str {
        self.defect.as_deref().unwrap_or("good")
    }
}
