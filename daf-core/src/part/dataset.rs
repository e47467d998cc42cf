//! Data sets: the sources of images.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use image::{DynamicImage, GrayImage};
use serde::{Deserialize, Serialize};

use crate::contract;
use crate::data::files::LeftOut;
use crate::data::{self, InputImage, Pages, Reading};
use crate::{BoxError, Error, Kind, Result};

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

    /// Images that can be listed of a split in spite of faults, and the faults. A data set that can go on after a fault
    /// implements this and lets [`items`](Self::items) be `self.survey(split).complete()`; others need not.
    fn survey(&self, split: Split) -> Listing {
        match self.items(split) {
            Ok(items) => items.into(),
            Err(fault) => Listing::failed(fault),
        }
    }

    /// Opens the image of an item at its own size, with the values and channels that are stored; what the network sees of
    /// them is decided by the pipeline's `input`. Drawn images are 8-bit RGB: `Ok(image.into())`.
    ///
    /// # Errors
    /// Names the file and why it cannot be read.
    fn image(&self, item: &Item) -> Result<DynamicImage, BoxError> {
        Ok(data::read_image(&item.image)?)
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

/// With the data set's name on what goes wrong.
impl dyn Dataset + '_ {
    /// [`items`](Dataset::items).
    ///
    /// # Errors
    /// The errors of [`items`](Dataset::items).
    pub fn list(&self, split: Split) -> Result<Vec<Item>> {
        let at = || format!("{} images", split.name());
        contract::call(Kind::Dataset, self.typetag_name(), at(), || self.items(split))
            .map_err(|source| self.fault(at(), source))
    }

    /// Files among the images of either split that are not used.
    #[must_use]
    pub fn left_out(&self) -> LeftOut {
        let mut all = LeftOut::default();
        for split in Split::ALL {
            all.extend(self.survey(split).left_out);
        }
        all
    }

    /// The [`image`](Dataset::image) of an item as a pipeline takes it.
    ///
    /// # Errors
    /// Names the file: it cannot be read, or `reading` has no rule for what it holds.
    pub fn open(&self, item: &Item, reading: Reading) -> Result<InputImage> {
        let at = || item.image.display().to_string();
        self.read(item, reading)
            .map_err(|source| self.fault(at(), source))
    }

    /// `open` in the data set's own words, where a list of files at fault says already whose they are.
    ///
    /// # Errors
    /// If the file cannot be read, or `reading` has no rule for what it holds.
    pub fn read(&self, item: &Item, reading: Reading) -> Result<InputImage, BoxError> {
        let refused = |reason| Error::data(&item.image, reason);
        let at = item.image.display().to_string();
        let image = contract::call(Kind::Dataset, self.typetag_name(), at, || self.image(item))?;
        Ok(reading.input(image).map_err(refused)?)
    }
}

super::part!(Dataset);

/// A part of the data with one use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Normal images to learn from.
    Train,
    /// Normal and defective images to measure with; never used to choose anything.
    Test,
}

impl Split {
    /// Both, in the order of use.
    pub const ALL: [Self; 2] = [Self::Train, Self::Test];

    /// `train` or `test`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// One image of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The image file; for drawn data a name of the same form.
    pub image: PathBuf,
    /// The mask file, where there is one.
    pub mask: Option<PathBuf>,
    /// Kind of the defect, e.g. `scratch`, or several of them, e.g. `dent, scratch`; `None` for a normal image.
    pub defect: Option<String>,
    /// Product or surface that the image shows, e.g. `bottle`; `None` where the data set has one only.
    #[serde(default)]
    pub category: Option<String>,
}

impl Item {
    /// Images with each page of a file as an item of its own, as `pages` says.
    #[must_use]
    pub fn by_page(items: Vec<Self>, pages: Pages) -> Vec<Self> {
        if pages == Pages::Refuse {
            return items;
        }
        items
            .into_iter()
            .flat_map(|item| {
                let found = pages.of_pair(&item.image, item.mask.as_deref()).into_iter();
                found.map(move |(image, mask)| Self {
                    image,
                    mask,
                    ..item.clone()
                })
            })
            .collect()
    }

    /// Separator between several kinds of defects.
    pub const BETWEEN_KINDS: &str = ", ";

    /// A normal image.
    pub fn normal(image: impl AsRef<Path>) -> Self {
        Self {
            image: image.as_ref().to_path_buf(),
            mask: None,
            defect: None,
            category: None,
        }
    }

    /// An image with a defect of the given kind, and its mask if there is one.
    pub fn anomalous(image: impl AsRef<Path>, mask: Option<PathBuf>, defect: impl Into<String>) -> Self {
        Self {
            mask,
            defect: Some(defect.into()),
            ..Self::normal(image)
        }
    }

    /// Whether the image has a defect.
    #[must_use]
    pub const fn is_anomalous(&self) -> bool {
        self.defect.is_some()
    }

    /// The kind of defect or several of them, `good` for a normal image.
    #[must_use]
    pub fn label(&self) -> &str {
        self.defect.as_deref().unwrap_or("good")
    }

    /// Every kind of defect that the image has; none for a normal image.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.defect.iter().flat_map(|defect| kinds(defect))
    }
}

/// The kinds of defects in the text of [`Item::defect`].
pub(crate) fn kinds(defect: &str) -> impl Iterator<Item = &str> {
    defect.split(Item::BETWEEN_KINDS)
}

/// Images of a split, and faults of its listing.
///
/// A data set that only has items makes one of them: `items.into()`.
#[derive(Debug, Default)]
pub struct Listing {
    /// The images that could be listed.
    pub items: Vec<Item>,
    /// Each names the file or folder, what was expected and what was found.
    pub faults: Vec<BoxError>,
    /// Files where the images lie that are none of them.
    pub left_out: LeftOut,
}

impl Listing {
    /// Empty listing with a fault.
    pub fn failed(fault: impl Into<BoxError>) -> Self {
        Self {
            faults: vec![fault.into()],
            ..Self::default()
        }
    }

    /// Takes over all that another one has found.
    pub fn extend(&mut self, other: Self) {
        self.items.extend(other.items);
        self.faults.extend(other.faults);
        self.left_out.extend(other.left_out);
    }

    /// The images, if there is no fault.
    ///
    /// # Errors
    /// The first fault, and how many more there are.
    pub fn complete(mut self) -> Result<Vec<Item>, BoxError> {
        match self.faults.len() {
            0 => Ok(self.items),
            1 => Err(self.faults.remove(0)),
            count => Err(format!("{} (and {} more)", self.faults[0], count - 1).into()),
        }
    }
}

impl From<Vec<Item>> for Listing {
    fn from(items: Vec<Item>) -> Self {
        Self {
            items,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_listing_tells_its_first_fault_and_counts_the_rest() {
        assert_eq!(Listing::default().complete().unwrap(), []);
        let mut listing = Listing::failed("a.png: broken");
        listing.items.push(Item::normal("b.png"));
        listing.faults.push("c.png: broken".into());
        assert_eq!(
            listing.complete().unwrap_err().to_string(),
            "a.png: broken (and 1 more)"
        );
        let one = Listing::failed("a.png: broken").complete().unwrap_err();
        assert_eq!(one.to_string(), "a.png: broken");
    }

    #[test]
    fn an_image_has_every_kind_of_defect_that_is_named() {
        let kinds = |item: Item| item.kinds().map(str::to_owned).collect::<Vec<_>>();
        assert!(kinds(Item::normal("a.png")).is_empty());
        assert_eq!(kinds(Item::anomalous("a.png", None, "dent")), ["dent"]);
        assert_eq!(
            kinds(Item::anomalous("a.png", None, "dent, deep scratch")),
            ["dent", "deep scratch"]
        );
    }

    #[test]
    fn items_written_before_there_were_categories_can_be_read() {
        let item: Item =
            serde_json::from_str(r#"{"image": "a.png", "mask": null, "defect": "dent"}"#).unwrap();
        assert_eq!(item, Item::anomalous("a.png", None, "dent"));
    }
}
