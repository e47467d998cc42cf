use std::path::PathBuf;

use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Dataset, Error, Item, Result, Split, typetag};
use serde::{Deserialize, Serialize};

use crate::masks;
use daf_core::data::files;

/// Images in the layout of MVTec AD, one category.
///
/// ```text
/// root/category/train/good/000.png               normal images to learn from
/// root/category/test/good/000.png                normal images to measure with
/// root/category/test/scratch/000.png             defects, one folder per kind
/// root/category/ground_truth/scratch/000_mask.png
/// ```
///
/// PNG, JPEG, BMP and TIFF, grey or colour, of any size. Masks are optional; their names may lack `_mask`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mvtec {
    /// The folder that holds the categories, or the category itself if none is given.
    pub root: PathBuf,
    /// Name of the category's folder, e.g. `bottle`.
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

impl Mvtec {
    fn folder(&self) -> PathBuf {
        match self.category.as_deref() {
            None | Some("") => self.root.clone(),
            Some(category) => self.root.join(category),
        }
    }

    fn train(&self) -> Result<Vec<Item>> {
        let folder = self.folder().join("train").join("good");
        let images = files::images(&folder)?;
        if images.is_empty() {
            let found = files::contents(&folder);
            return Err(Error::data(
                folder,
                format!("no normal images: expected png, jpeg, bmp or tiff, found {found}"),
            ));
        }
        Ok(images.into_iter().map(Item::normal).collect())
    }

    fn test(&self) -> Result<Vec<Item>> {
        let test = self.folder().join("test");
        let ground_truth = self.folder().join("ground_truth");
        let mut items = Vec::new();
        for folder in files::folders(&test)? {
            let defect = files::name(&folder);
            let images = files::images(&folder)?;
            if defect == "good" {
                items.extend(images.into_iter().map(Item::normal));
                continue;
            }
            let masks = ground_truth.join(&defect);
            let masks = if masks.exists() {
                masks_in(&masks)?
            } else {
                Vec::new()
            };
            let masks = masks::matched(&images, &masks)?;
            items.extend(images.into_iter().zip(masks).map(|(image, mask)| Item {
                image,
                mask,
                defect: Some(defect.clone()),
            }));
        }
        if items.is_empty() {
            let found = files::contents(&test);
            return Err(Error::data(
                test,
                format!("no test images: expected folders good and one per defect, found {found}"),
            ));
        }
        // A misspelt folder of masks would otherwise silently leave its images without any.
        if ground_truth.exists() {
            for masks in files::folders(&ground_truth)? {
                let images = test.join(files::name(&masks));
                if let (false, Some(mask)) = (images.is_dir(), files::images(&masks)?.first()) {
                    let reason = format!(
                        "a mask without its image: expected one in {}, no such folder",
                        images.display()
                    );
                    return Err(Error::data(mask, reason));
                }
            }
        }
        Ok(items)
    }
}

fn masks_in(folder: &std::path::Path) -> Result<Vec<PathBuf>> {
    if let Some(inner) = files::folders(folder)?.first() {
        let reason =
            "expected one mask file per image, found a folder (as in MVTec LOCO, which is not supported)";
        return Err(Error::data(inner, reason));
    }
    files::images(folder)
}

#[typetag::serde(name = Mvtec::NAME)]
impl Dataset for Mvtec {
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        let folder = self.folder();
        if !folder.is_dir() {
            return Err(files::missing(&folder).into());
        }
        Ok(match split {
            Split::Train => self.train()?,
            Split::Test => self.test()?,
        })
    }

    fn check(&self) -> Result<(), BoxError> {
        if self.root.as_os_str().is_empty() {
            return Err("root: expected the folder of the data set, found an empty path".into());
        }
        Ok(())
    }
}
