//! MVTec's layout and the data sets that follow it but for the names of folders.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use daf_core::data::files::{LeftOut, Reason};
use daf_core::data::{self, files};
use daf_core::image::GrayImage;
use daf_core::registry::nearest;
use daf_core::schemars::{self, JsonSchema};
use daf_core::words::listed;
use daf_core::{BoxError, Dataset, Error, Item, Listing, Result, Split, typetag};
use serde::{Deserialize, Serialize};

use crate::category::{Categories, require};
use crate::kind;
use crate::masks::{self, Mirrored, Placed};

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
    fn list(&self, category: &Path, split: Split, suffixes: &[String]) -> Result<Listing> {
        match split {
            Split::Train => self.train(category),
            Split::Test => self.test(category, suffixes),
        }
    }

    fn train(&self, category: &Path) -> Result<Listing> {
        let train = category.join(self.train);
        let folder = train.join(self.normal);
        let found = files::images(&folder)?;
        let mut listing = Listing {
            items: found.images.into_iter().map(Item::normal).collect(),
            left_out: outside_folders(&train)?,
            ..Default::default()
        };
        listing.left_out.extend(found.left_out);
        for other in files::folders(&train)?
            .into_iter()
            .filter(|other| *other != folder)
        {
            let found = files::images(&other)?;
            listing.left_out.extend(found.left_out);
            for image in found.images {
                listing.left_out.add(image, Reason::Misplaced);
            }
        }
        let expected = format!("no normal images: expected {}", files::FORMATS);
        require(listing, &folder, &expected)
    }

    fn test(&self, category: &Path, suffixes: &[String]) -> Result<Listing> {
        let test = category.join(self.test);
        let mut listing = Listing {
            left_out: outside_folders(&test)?,
            ..Default::default()
        };
        let ground_truth = self.ground_truth(category)?;
        for folder in files::folders(&test)? {
            if ground_truth.as_ref() == Some(&folder) {
                continue;
            }
            let found = files::images(&folder)?;
            listing.left_out.extend(found.left_out);
            if files::name(&folder) == self.normal {
                listing.items.extend(found.images.into_iter().map(Item::normal));
                continue;
            }
            let defect = match kind::of_folder(&folder) {
                Ok(defect) => defect,
                Err(fault) => {
                    listing.faults.push(fault.into());
                    continue;
                }
            };
            let images = found
                .images
                .into_iter()
                .map(|image| Placed::below(&folder, image));
            let images: Vec<_> = images.collect();
            let masks = match &ground_truth {
                Some(all) => files::locate(&all.join(folder.file_name().unwrap_or_default())),
                None => PathBuf::new(),
            };
            let masks = if masks.exists() {
                masks_of(&images, &folder, &masks, &mut listing.left_out)?
            } else {
                Vec::new()
            };
            let masks = masks::matched(&images, &masks, suffixes, &Mirrored, &mut listing.faults);
            for (image, mask) in images.into_iter().zip(masks) {
                listing.items.push(Item::anomalous(image.path, mask, &*defect));
            }
        }
        if let Some(ground_truth) = ground_truth {
            without_images(&ground_truth, &test, &mut listing)?;
        }
        let expected = format!(
            "no test images: expected folders {} and one per defect",
            self.normal
        );
        require(listing, &test, &expected)
    }

    /// The folder of masks, or the only one whose name says so.
    fn ground_truth(&self, category: &Path) -> Result<Option<PathBuf>> {
        let named = category.join(self.ground_truth);
        if named.is_dir() {
            return Ok(Some(named));
        }
        let around = named.parent().unwrap_or(category);
        let mut called = Vec::new();
        for folder in files::folders(around)? {
            let name = files::name(&folder);
            let is_split = [self.train, self.test, "validation"].contains(&&*name);
            let close = || nearest(&name, ["ground_truth"]).is_some();
            if !is_split
                && (masks::is_folder_of_masks(&name) || close())
                && !files::images(&folder)?.images.is_empty()
            {
                called.push(folder);
            }
        }
        match &called[..] {
            [] => Ok(None),
            [only] if masks::is_folder_of_masks(&files::name(only)) => Ok(called.pop()),
            _ => {
                let names: Vec<_> = called.iter().map(|folder| files::name(folder)).collect();
                let reason = format!(
                    "no such folder, found {}: did you mean ground_truth? Rename the folder that holds the masks",
                    listed(&names, 8)
                );
                Err(Error::data(named, reason))
            }
        }
    }
}

/// Files directly in a folder of which the layout uses the folders only.
fn outside_folders(folder: &Path) -> Result<LeftOut> {
    let found = files::directly_in(folder)?;
    let mut left_out = found.left_out;
    for image in found.images {
        left_out.add(image, Reason::Misplaced);
    }
    Ok(left_out)
}

/// The masks below `masks` of the images in `folder`: a file per image, or a folder of files. Other folders
/// are those of the images.
fn masks_of(images: &[Placed], folder: &Path, masks: &Path, left_out: &mut LeftOut) -> Result<Vec<Placed>> {
    let spelled = |path: &Path| -> Vec<String> {
        let parts = path.components().map(Component::as_os_str);
        parts.map(|part| files::spelled(part).into_owned()).collect()
    };
    let stem = |image: &Placed| {
        let stem = image.path.file_stem().unwrap_or_default();
        spelled(&image.place.join(stem))
    };
    let stems: HashSet<_> = images.iter().map(stem).collect();
    let mut found = Vec::new();
    let mut ahead = vec![PathBuf::new()];
    while let Some(place) = ahead.pop() {
        let here = masks.join(&place);
        let files = files::directly_in(&here)?;
        left_out.extend(files.left_out);
        found.extend(files.images);
        for inner in files::folders(&here)? {
            let place = place.join(inner.file_name().unwrap_or_default());
            let of_image = stems.contains(&spelled(&place));
            match !of_image && files::locate(&folder.join(&place)).is_dir() {
                true => ahead.push(place),
                false => found.push(inner),
            }
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|mask| Placed::below(masks, mask)).collect())
}

/// Finds masks that lie in no folder of a kind, or in one of which there are no images: a misspelt one would
/// otherwise silently leave its images without any.
fn without_images(ground_truth: &Path, test: &Path, listing: &mut Listing) -> Result<()> {
    let outside = files::directly_in(ground_truth)?;
    listing.left_out.extend(outside.left_out);
    if let Some(mask) = outside.images.first() {
        let reason = "a mask outside of the folders of masks: expected one folder per kind of defect, as in the test images";
        listing.faults.push(Error::data(mask, reason).into());
    }
    for masks in files::folders(ground_truth)? {
        let images = files::locate(&test.join(masks.file_name().unwrap_or_default()));
        if images.is_dir() {
            continue;
        }
        if let Some(mask) = files::images(&masks)?.images.first() {
            let reason = format!(
                "a mask without its image: expected one in {}, no such folder",
                images.display()
            );
            listing.faults.push(Error::data(mask, reason).into());
        }
    }
    Ok(())
}

/// The union of the masks in a folder. MVTec LOCO has one per defect, whose value is the number of its kind.
fn union_of(folder: &Path) -> Result<GrayImage> {
    let paths = files::images(folder)?.images;
    let Some((first, rest)) = paths.split_first() else {
        let found = files::contents(folder);
        return Err(Error::data(
            folder,
            format!("no masks: expected {}, found {found}", files::FORMATS),
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
/// Images of any format and size. Folders within those of the layout belong to them. Masks are optional;
/// their names may lack `_mask`, and their folder may be called `masks`, `gt`, `labels` or the like if it is
/// the only one of that sort. MVTec LOCO (a folder of masks per image: what is white in any of them is
/// defective) and MVTec AD 2 (`test_public` with its `ground_truth`) are recognized. Their folders
/// `validation` and `test_private` are not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mvtec {
    /// The folder that holds the categories, or the category itself if none is given.
    pub root: PathBuf,
    /// Name of the category's folder, e.g. `bottle`, or a pattern: `"*"` for all categories in one.
    #[serde(default)]
    pub category: Option<String>,
    /// Suffixes that the names of masks may add to those of their images, in any case.
    #[serde(default = "masks::suffixes")]
    pub mask_suffix: Vec<String>,
}
daf_core::register!(Dataset: Mvtec = "mvtec");

impl Default for Mvtec {
    fn default() -> Self {
        Self {
            root: "data/mvtec".into(),
            category: Some("bottle".into()),
            mask_suffix: masks::suffixes(),
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
            if second { MVTEC_AD_2 } else { MVTEC }.list(category, split, &self.mask_suffix)
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
        masks::check_suffixes(&self.mask_suffix)?;
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

/// Declares a registered data set in a variant of MVTec AD's layout, with its defaults.
macro_rules! variant {
    (
        $(#[$doc:meta])*
        $part:ident = $name:literal in $layout:ident { root: $root:literal, $(#[$category_doc:meta])* category: $category:literal }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $part {
            /// The folder that holds the categories, or the category itself if none is given.
            pub root: PathBuf,
            $(#[$category_doc])*
            #[serde(default)]
            pub category: Option<String>,
            /// Suffixes that the names of masks may add to those of their images, in any case.
            #[serde(default = "masks::suffixes")]
            pub mask_suffix: Vec<String>,
        }
        daf_core::register!(Dataset: $part = $name);

        impl Default for $part {
            fn default() -> Self {
                Self {
                    root: $root.into(),
                    category: Some($category.into()),
                    mask_suffix: masks::suffixes(),
                }
            }
        }

        #[typetag::serde(name = $part::NAME)]
        impl Dataset for $part {
            fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
                self.survey(split).complete()
            }

            fn survey(&self, split: Split) -> Listing {
                categories(&self.root, self.category.as_deref())
                    .survey(|category| $layout.list(category, split, &self.mask_suffix))
            }

            fn check(&self) -> Result<(), BoxError> {
                masks::check_suffixes(&self.mask_suffix)?;
                categories(&self.root, self.category.as_deref()).check()
            }
        }
    };
}

variant! {
    /// MPDD, metal parts: the layout of MVTec AD.
    ///
    /// ```text
    /// root/tubes/train/good/000.png
    /// root/tubes/test/anomalous/000.png
    /// root/tubes/ground_truth/anomalous/000_mask.png
    /// ```
    ///
    /// Categories: `bracket_black`, `bracket_brown`, `bracket_white`, `connector`, `metal_plate`, `tubes`.
    Mpdd = "mpdd" in MVTEC {
        root: "data/mpdd",
        /// Name of the category's folder, e.g. `tubes`, or a pattern: `"*"` for all categories in one.
        category: "tubes"
    }
}

variant! {
    /// BTAD, three industrial products: MVTec's layout with `ok` and `ko`.
    ///
    /// ```text
    /// root/01/train/ok/0000.bmp
    /// root/01/test/ok/0000.bmp
    /// root/01/test/ko/0000.bmp
    /// root/01/ground_truth/ko/0000.png
    /// ```
    ///
    /// Categories: `"01"`, `"02"`, `"03"`, in quotes, as YAML takes 01 for a number. All defects are of the kind
    /// `ko`.
    Btad = "btad" in BTAD {
        root: "data/btad",
        /// Name of the category's folder, e.g. `"01"`, or a pattern: `"*"` for all categories in one.
        category: "01"
    }
}
