use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use daf_core::data;
use daf_core::image::GrayImage;
use daf_core::registry::nearest;
use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Dataset, Error, Item, Listing, Result, Split, typetag};
use glob::Pattern;
use serde::{Deserialize, Serialize};

use crate::table::{self, Columns};

/// VisA, twelve products, as published.
///
/// ```text
/// root/split_csv/1cls.csv                             object,split,label,image,mask
/// root/candle/Data/Images/Normal/0000.JPG
/// root/candle/Data/Images/Anomaly/000.JPG
/// root/candle/Data/Masks/Anomaly/000.png              whatever is not black is defective
/// root/candle/image_anno.csv                          image,label,mask with the kinds of defects as label
/// ```
///
/// The split is the official one for one class. Defects whose kind is not in `image_anno.csv` are of the kind
/// `abnormal`. A copy that was turned into MVTec's folders is read by `mvtec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Visa {
    /// The folder that holds the categories and `split_csv`.
    pub root: PathBuf,
    /// Name of the product, e.g. `candle`, or a pattern: `"*"` for all products in one.
    pub category: String,
}
daf_core::register!(Dataset: Visa = "visa");

const COLUMNS: Columns = Columns {
    path: "image",
    category: "object",
    ..table::MANIFEST
};

impl Default for Visa {
    fn default() -> Self {
        Self {
            root: "data/visa".into(),
            category: "candle".into(),
        }
    }
}

impl Visa {
    fn list(&self, split: Split) -> Result<Listing> {
        let root = daf_core::data::files::locate(&self.root);
        let file = root.join("split_csv").join("1cls.csv");
        let pattern =
            Pattern::new(&self.category).map_err(|e| Error::data(&root, not_a_pattern(self, &e)))?;
        let objects = RefCell::new(BTreeSet::new());
        let keep = |object: Option<&str>| {
            let object = object.unwrap_or_default();
            if !objects.borrow().contains(object) {
                objects.borrow_mut().insert(object.to_owned());
            }
            pattern.matches(object)
        };
        let listed = table::list(&file, &root, COLUMNS, split, keep);
        let objects = objects.into_inner();
        if !objects.is_empty() && !objects.iter().any(|object| pattern.matches(object)) {
            let names: Vec<_> = objects.iter().map(String::as_str).collect();
            let meant = nearest(&self.category, names.iter().copied());
            let meant = meant.map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
            let reason = format!(
                "expected category {} in it, found {}{meant}",
                self.category,
                names.join(", ")
            );
            return Err(Error::data(file, reason));
        }
        let mut listing = listed?;
        for object in objects.iter().filter(|object| pattern.matches(object)) {
            let mut kinds = table::annotations(&root.join(object).join("image_anno.csv"), &root)?;
            for item in listing.items.iter_mut().filter(|item| item.is_anomalous()) {
                if let Some(kinds) = kinds.remove(&item.image) {
                    item.defect = Some(kinds);
                }
            }
        }
        if self.category == Pattern::escape(&self.category) {
            listing.items.iter_mut().for_each(|item| item.category = None);
        }
        Ok(listing)
    }
}

fn not_a_pattern(data: &Visa, error: &glob::PatternError) -> String {
    format!("category: {}: not a valid pattern: {error}", data.category)
}

#[typetag::serde(name = Visa::NAME)]
impl Dataset for Visa {
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        self.survey(split).complete()
    }

    fn survey(&self, split: Split) -> Listing {
        self.list(split).unwrap_or_else(Listing::failed)
    }

    fn mask(&self, item: &Item) -> Result<Option<GrayImage>, BoxError> {
        Ok(item.mask.as_deref().map(data::read_mask_any).transpose()?)
    }

    fn check(&self) -> Result<(), BoxError> {
        if self.root.as_os_str().is_empty() {
            return Err("root: expected the folder of the data set, found an empty path".into());
        }
        if self.category.is_empty() {
            return Err("category: expected the name of a product or \"*\", found nothing".into());
        }
        Pattern::new(&self.category).map_err(|e| not_a_pattern(self, &e))?;
        Ok(())
    }
}
