use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use daf_core::data::{read_image, read_mask};
use daf_core::image::{DynamicImage, GrayImage};
use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Dataset, Error, Item, Listing, Split, typetag};
use serde::{Deserialize, Serialize};

use crate::{Folder, Mvtec};

/// Images of several data sets as those of one product, learned from and measured with together and not reported one by one.
///
/// ```yaml
/// data:
///   type: joined
///   of:
///     - { type: mvtec, root: data/mvtec, category: bottle }
///     - { type: folder, normal: [data/bottles-of-may] }
/// ```
///
/// A file that several data sets list counts once. `multi` is for several products.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Joined {
    /// The data sets, in the order of their images.
    pub of: Vec<Arc<dyn Dataset>>,
    /// Image files that are left out, for example copies of others.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub except: BTreeSet<PathBuf>,
    /// Index of the data set of every image, once one was opened.
    #[serde(skip)]
    owners: OnceLock<HashMap<PathBuf, usize>>,
}
daf_core::register!(Dataset: Joined = "joined");

impl Default for Joined {
    fn default() -> Self {
        let more = Folder {
            test_normal: Vec::new(),
            abnormal: Vec::new(),
            masks: Vec::new(),
            ..Folder::default()
        };
        Self::new(vec![Arc::new(Mvtec::default()), Arc::new(more)])
    }
}

impl Joined {
    /// The images of these data sets.
    #[must_use]
    pub const fn new(of: Vec<Arc<dyn Dataset>>) -> Self {
        Self {
            of,
            except: BTreeSet::new(),
            owners: OnceLock::new(),
        }
    }

    /// The images of a data set and, behind them, those of `more`. A joined data set becomes a longer one.
    ///
    /// # Errors
    /// If a data set does not serialize.
    pub fn and(data: &Arc<dyn Dataset>, more: Arc<dyn Dataset>) -> Result<Self, BoxError> {
        let mut joined = Self::new(vec![Arc::clone(data)]);
        if data.typetag_name() == Self::NAME {
            let mut settings = serde_json::to_value(data)?;
            settings
                .as_object_mut()
                .and_then(|settings| settings.remove("type"));
            joined = serde_json::from_value(settings)?;
        }
        joined.of.push(more);
        Ok(joined)
    }

    /// The data set that lists an image.
    fn owner(&self, image: &Path) -> Option<&dyn Dataset> {
        let owners = self.owners.get_or_init(|| {
            let mut owners = HashMap::new();
            for split in Split::ALL {
                for (index, dataset) in self.of.iter().enumerate() {
                    for item in dataset.survey(split).items {
                        owners.entry(item.image).or_insert(index);
                    }
                }
            }
            owners
        });
        let index = owners.get(image).or_else(|| owners.get(&file_of_page(image)?))?;
        self.of.get(*index).map(AsRef::as_ref)
    }
}

/// The file that an image is a page of: `stack.tif` for `stack.tif#2`.
fn file_of_page(image: &Path) -> Option<PathBuf> {
    let (file, _) = image.file_name()?.to_str()?.rsplit_once('#')?;
    Some(image.with_file_name(file))
}

/// The place of a file whatever path leads to it; none for a drawn image.
fn place(image: &Path) -> Option<PathBuf> {
    image.canonicalize().ok()
}

#[typetag::serde(name = Joined::NAME)]
impl Dataset for Joined {
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        self.survey(split).complete()
    }

    fn survey(&self, split: Split) -> Listing {
        let mut all = Listing::default();
        let except: BTreeSet<PathBuf> = self.except.iter().filter_map(|file| place(file)).collect();
        // By place, or by name for drawn images.
        let mut seen: HashMap<PathBuf, usize> = HashMap::new();
        let mut measured: HashMap<PathBuf, usize> = HashMap::new();
        if split == Split::Train && self.of.len() > 1 {
            for (index, dataset) in self.of.iter().enumerate() {
                let files = dataset.survey(Split::Test).items.into_iter();
                measured.extend(files.filter_map(|item| Some((place(&item.image)?, index))));
            }
        }
        for (index, dataset) in self.of.iter().enumerate() {
            let found = dataset.survey(split);
            all.left_out.extend(found.left_out);
            let fault = |fault: BoxError| BoxError::from(format!("of[{index}]: {fault}"));
            all.faults.extend(found.faults.into_iter().map(fault));
            for item in found.items {
                let file = place(&item.image);
                if file.as_ref().is_some_and(|file| except.contains(file)) {
                    continue;
                }
                if let Some(other) = file.as_ref().and_then(|file| measured.get(file)) {
                    let reason = format!(
                        "of[{index}] learns from it and of[{other}] measures with it: test images must not be learned from; take it \
                         out of one of the two"
                    );
                    all.faults.push(Error::data(&item.image, reason).into());
                    continue;
                }
                let is_file = file.is_some();
                let known = seen.insert(file.unwrap_or_else(|| item.image.clone()), index);
                match known {
                    None => all.items.push(item),
                    Some(_) if is_file => {}
                    Some(other) => {
                        let reason = format!(
                            "of[{other}] and of[{index}] both draw an image of this name; join them as `multi`, which tells them apart"
                        );
                        all.faults.push(Error::data(&item.image, reason).into());
                    }
                }
            }
        }
        all
    }

    fn image(&self, item: &Item) -> Result<DynamicImage, BoxError> {
        match self.owner(&item.image) {
            Some(dataset) => dataset.image(item),
            None => Ok(read_image(&item.image)?),
        }
    }

    fn mask(&self, item: &Item) -> Result<Option<GrayImage>, BoxError> {
        match self.owner(&item.image) {
            Some(dataset) => dataset.mask(item),
            None => Ok(item.mask.as_deref().map(read_mask).transpose()?),
        }
    }

    fn check(&self) -> Result<(), BoxError> {
        if self.of.is_empty() {
            return Err("of: expected at least one data set, found none".into());
        }
        for (index, dataset) in self.of.iter().enumerate() {
            dataset.check().map_err(|e| format!("of[{index}]: {e}"))?;
        }
        Ok(())
    }
}
