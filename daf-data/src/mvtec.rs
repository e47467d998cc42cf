//! MVTec's layout and the data sets that follow it but for the names of folders.

use std::path::{Path, PathBuf};

use daf_core::data::{self, files};
use daf_core::image::GrayImage;
use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Dataset, Error, Item, Listing, Result, Split, typetag};
use serde::{Deserialize, Serialize};

use crate::category::{Categories, require};
use crate::masks;

/// The names that a data set gives to the folders of a category.
struct Layout {
    /// Holds the normal images to learn from in a folder `normal`.
    train: &'static str,
    /// Holds `normal` and a folder per kind of defect.
    test: &'static str,
    ground_truth: &'static str,
    normal: &'static str,
}

const MVTEC: Layout = Layout {
    train: "train",
    test: "test",
    ground_truth: "ground_truth",
    normal: "good",
};
const MVTEC_AD_2: Layout = Layout {
    test: "test_public",
    ground_truth: "test_public/ground_truth",
    ..MVTEC
};
const BTAD: Layout = Layout {
    normal: "ok",
    ..MVTEC
};

const MARKS: &[&str] = &["train", "test", "test_public", "ground_truth"];

impl Layout {
    fn list(&self, category: &Path, split: Split) -> Result<Listing> {
        match split {
            Split::Train => self.train(category),
            Split::Test => self.test(category),
        }
    }

    fn train(&self, category: &Path) -> Result<Listing> {
        let folder = category.join(self.train).join(self.normal);
        let items: Vec<_> = files::images(&folder)?.into_iter().map(Item::normal).collect();
        require(
            items.into(),
            &folder,
            "no normal images: expected png, jpeg, bmp or tiff",
        )
    }

    fn test(&self, category: &Path) -> Result<Listing> {
        let test = category.join(self.test);
        let ground_truth = category.join(self.ground_truth);
        let mut listing = Listing::default();
        for folder in files::folders(&test)? {
            if folder == ground_truth {
                continue;
            }
            let defect = files::name(&folder);
            let images = files::images(&folder)?;
            if defect == self.normal {
                listing.items.extend(images.into_iter().map(Item::normal));
                continue;
            }
            let masks = ground_truth.join(&defect);
            let masks = if masks.exists() {
                masks_in(&masks)?
            } else {
                Vec::new()
            };
            let masks = masks::matched(&images, &masks, "_mask", &mut listing.faults);
            for (image, mask) in images.into_iter().zip(masks) {
                listing.items.push(Item::anomalous(image, mask, &*defect));
            }
        }
        // A misspelt folder of masks would otherwise silently leave its images without any.
        if ground_truth.exists() {
            for masks in files::folders(&ground_truth)? {
                let images = test.join(files::name(&masks));
                if let (false, Some(mask)) = (images.is_dir(), masks_in(&masks)?.first()) {
                    let reason = format!(
                        "a mask without its image: expected one in {}, no such folder",
                        images.display()
                    );
                    listing.faults.push(Error::data(mask, reason).into());
                }
            }
        }
        let expected = format!(
            "no test images: expected folders {} and one per defect",
            self.normal
        );
        require(listing, &test, &expected)
    }
}

/// A file per image, or a folder of files.
fn masks_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut masks = files::images(folder)?;
    masks.extend(files::folders(folder)?);
    Ok(masks)
}

/// The union of the masks in a folder. MVTec LOCO has one per defect, whose value is the number of its kind.
fn union_of(folder: &Path) -> Result<GrayImage> {
    let paths = files::images(folder)?;
    let Some((first, rest)) = paths.split_first() else {
        let found = files::contents(folder);
        return Err(Error::data(
            folder,
            format!("no masks: expected png, found {found}"),
        ));
    };
    let mut union = data::read_mask_any(first)?;
    for path in rest {
        let mask = data::read_mask_any(path)?;
        if mask.dimensions() != union.dimensions() {
            let size = |(width, height)| format!("{width}×{height}");
            return Err(Error::data(
                path,
                format!(
                    "expected a mask of {} as {}, found {}",
                    size(union.dimensions()),
                    first.display(),
                    size(mask.dimensions())
                ),
            ));
        }
        for (all, one) in union.iter_mut().zip(mask.iter()) {
            *all |= one;
        }
    }
    Ok(union)
}

/// Images in the layout of MVTec AD, one category or several.
///
/// ```text
/// root/category/train/good/000.png               normal images to learn from
/// root/category/test/good/000.png                normal images to measure with
/// root/category/test/scratch/000.png             defects, one folder per kind
/// root/category/ground_truth/scratch/000_mask.png
/// ```
///
/// PNG, JPEG, BMP and TIFF, grey or colour, of any size. Masks are optional; their names may lack `_mask`.
/// MVTec LOCO (a folder of masks per image: what is white in any of them is defective) and MVTec AD 2 (`test_public`
/// with its `ground_truth`) are recognised. Their folders `validation` and `test_private` are not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mvtec {
    /// The folder that holds the categories, or the category itself if none is given.
    pub root: PathBuf,
    /// Name of the category's folder, e.g. `bottle`, or a pattern: `"*"` for all categories in one.
    #[serde(default)]
    pub category: Option<String>,
}
daf_core::register!(Dataset: Mvtec = "mvtec");

impl Default for Mvtec {
    fn default() -> Self {
        Self {
            root: "data/mvtec".into(),
            category: Some("bottle".into()),
        }
    }
}

#[typetag::serde(name = Mvtec::NAME)]
impl Dataset for Mvtec {
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        self.survey(split).complete()
    }

    fn survey(&self, split: Split) -> Listing {
        categories(&self.root, self.category.as_deref()).survey(|category| {
            let second = category.join(MVTEC_AD_2.test).is_dir();
            if second { MVTEC_AD_2 } else { MVTEC }.list(category, split)
        })
    }

    fn mask(&self, item: &Item) -> Result<Option<GrayImage>, BoxError> {
        let read = |path: &Path| {
            if path.is_dir() {
                union_of(path)
            } else {
                data::read_mask(path)
            }
        };
        Ok(item.mask.as_deref().map(read).transpose()?)
    }

    fn check(&self) -> Result<(), BoxError> {
        categories(&self.root, self.category.as_deref()).check()
    }
}

fn categories<'a>(root: &'a Path, category: Option<&'a str>) -> Categories<'a> {
    Categories {
        root,
        category,
        marks: MARKS,
    }
}

/// MPDD, metal parts: the layout of MVTec AD.
///
/// ```text
/// root/tubes/train/good/000.png
/// root/tubes/test/anomalous/000.png
/// root/tubes/ground_truth/anomalous/000_mask.png
/// ```
///
/// Categories: `bracket_black`, `bracket_brown`, `bracket_white`, `connector`, `metal_plate`, `tubes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mpdd {
    /// The folder that holds the categories, or the category itself if none is given.
    pub root: PathBuf,
    /// Name of the category's folder, e.g. `tubes`, or a pattern: `"*"` for all categories in one.
    #[serde(default)]
    pub category: Option<String>,
}
daf_core::register!(Dataset: Mpdd = "mpdd");

impl Default for Mpdd {
    fn default() -> Self {
        Self {
            root: "data/mpdd".into(),
            category: Some("tubes".into()),
        }
    }
}

#[typetag::serde(name = Mpdd::NAME)]
impl Dataset for Mpdd {
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        self.survey(split).complete()
    }

    fn survey(&self, split: Split) -> Listing {
        categories(&self.root, self.category.as_deref()).survey(|category| MVTEC.list(category, split))
    }

    fn check(&self) -> Result<(), BoxError> {
        categories(&self.root, self.category.as_deref()).check()
    }
}

/// BTAD, three industrial products: MVTec's layout with `ok` and `ko`.
///
/// ```text
/// root/01/train/ok/0000.bmp
/// root/01/test/ok/0000.bmp
/// root/01/test/ko/0000.bmp
/// root/01/ground_truth/ko/0000.png
/// ```
///
/// Categories: `"01"`, `"02"`, `"03"`, in quotes, as YAML takes 01 for a number. All defects are of the kind `ko`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Btad {
    /// The folder that holds the categories, or the category itself if none is given.
    pub root: PathBuf,
    /// Name of the category's folder, e.g. `"01"`, or a pattern: `"*"` for all categories in one.
    #[serde(default)]
    pub category: Option<String>,
}
daf_core::register!(Dataset: Btad = "btad");

impl Default for Btad {
    fn default() -> Self {
        Self {
            root: "data/btad".into(),
            category: Some("01".into()),
        }
    }
}

#[typetag::serde(name = Btad::NAME)]
impl Dataset for Btad {
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        self.survey(split).complete()
    }

    fn survey(&self, split: Split) -> Listing {
        categories(&self.root, self.category.as_deref()).survey(|category| BTAD.list(category, split))
    }

    fn check(&self) -> Result<(), BoxError> {
        categories(&self.root, self.category.as_deref()).check()
    }
}
