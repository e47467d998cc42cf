use std::collections::BTreeMap;
use std::sync::Arc;

use daf_core::image::{DynamicImage, GrayImage};
use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Dataset, Item, Listing, Split, typetag};
use serde::{Deserialize, Serialize};

use crate::{Folder, Mvtec};

/// Several data sets as one, learned from and measured with together.
///
/// ```yaml
/// data:
///   type: multi
///   of:
///     bottle: { type: mvtec, root: data/mvtec, category: bottle }
///     lid: { type: folder, normal: [data/lid/good], abnormal: [data/lid/bad] }
/// ```
///
/// The name of a data set is the category of its images. All categories of one root need no list: give
/// `mvtec` and its like the category `"*"`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Multi {
    /// The data sets by name.
    pub of: BTreeMap<String, Arc<dyn Dataset>>,
}
daf_core::register!(Dataset: Multi = "multi");

/// Between the name of a data set and the category that the data set itself gave.
const WITHIN: char = '/';

impl Default for Multi {
    fn default() -> Self {
        let bottle: Arc<dyn Dataset> = Arc::new(Mvtec::default());
        let lid: Arc<dyn Dataset> = Arc::new(Folder::default());
        Self {
            of: [("bottle".into(), bottle), ("lid".into(), lid)].into(),
        }
    }
}

impl Multi {
    /// The data set that listed an item, and the item as it did.
    fn origin(&self, item: &Item) -> Result<(&dyn Dataset, Item), BoxError> {
        let category = item.category.as_deref().unwrap_or_default();
        let (name, within) = match category.split_once(WITHIN) {
            Some((name, within)) => (name, Some(within.to_owned())),
            None => (category, None),
        };
        let Some(dataset) = self.of.get(name) else {
            let names: Vec<_> = self.of.keys().map(String::as_str).collect();
            return Err(format!(
                "{}: expected a category of {}, found `{category}`",
                item.image.display(),
                names.join(", ")
            )
            .into());
        };
        let item = Item {
            category: within,
            ..item.clone()
        };
        Ok((dataset.as_ref(), item))
    }
}

#[typetag::serde(name = Multi::NAME)]
impl Dataset for Multi {
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        self.survey(split).complete()
    }

    fn survey(&self, split: Split) -> Listing {
        let mut all = Listing::default();
        for (name, dataset) in &self.of {
            let found = dataset.survey(split);
            all.left_out.extend(found.left_out);
            all.items.extend(found.items.into_iter().map(|item| Item {
                category: Some(match &item.category {
                    Some(within) => format!("{name}{WITHIN}{within}"),
                    None => name.clone(),
                }),
                ..item
            }));
            all.faults.extend(
                found
                    .faults
                    .into_iter()
                    .map(|fault| format!("of.{name}: {fault}").into()),
            );
        }
        all
    }

    fn image(&self, item: &Item) -> Result<DynamicImage, BoxError> {
        let (dataset, item) = self.origin(item)?;
        dataset.image(&item)
    }

    fn mask(&self, item: &Item) -> Result<Option<GrayImage>, BoxError> {
        let (dataset, item) = self.origin(item)?;
        dataset.mask(&item)
    }

    fn check(&self) -> Result<(), BoxError> {
        if self.of.is_empty() {
            return Err("of: expected at least one data set, found none".into());
        }
        for (name, dataset) in &self.of {
            if name.is_empty() || name.contains(WITHIN) {
                return Err(format!("of: expected names without `{WITHIN}`, found `{name}`").into());
            }
            dataset.check().map_err(|e| format!("of.{name}: {e}"))?;
        }
        Ok(())
    }
}
