use std::path::{Path, PathBuf};

use daf_core::data::{self, files};
use daf_core::image::GrayImage;
use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Dataset, Error, Item, Listing, Result, Split, typetag};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::category::require;
use crate::masks::{self, Mirrored, Placed};

/// Kolektor surface defects, KolektorSDD or KolektorSDD2, told apart by their folders.
///
/// ```text
/// root/kos01/Part0.jpg      root/kos01/Part0_label.bmp      KolektorSDD: a folder per commutator
/// root/train/10000.png      root/train/10000_GT.png         KolektorSDD2
/// root/test/20000.png       root/test/20000_GT.png
/// ```
///
/// Every image has a mask; where it is black all over, the image is normal. Listing therefore reads the
/// masks. KolektorSDD2 comes with its split, from whose training part the defective images are left out.
/// KolektorSDD has none for learning from normal images: see `test_every`. All defects are of the kind
/// `defect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kolektor {
    /// The folder that holds `kos01`, `kos02`, … or `train` and `test`.
    pub root: PathBuf,
    /// KolektorSDD only: the normal images of every how many-th commutator, by name, are measured with. All
    /// others are learned from; all defective images are measured with. At least 2.
    #[serde(default = "fifth")]
    pub test_every: usize,
}
daf_core::register!(Dataset: Kolektor = "kolektor");

const fn fifth() -> usize {
    5
}

impl Default for Kolektor {
    fn default() -> Self {
        Self {
            root: "data/kolektor".into(),
            test_every: fifth(),
        }
    }
}

impl Kolektor {
    fn list(&self, split: Split) -> Result<Listing> {
        let root = files::locate(&self.root);
        if !root.is_dir() {
            return Err(files::missing(&root));
        }
        let own_split = ["train", "test"].map(|split| root.join(split));
        let mut listing = Listing::default();
        if own_split.iter().any(|folder| folder.is_dir()) {
            let [train, test] = own_split;
            match split {
                Split::Train => {
                    listing = labeled(&train, "_GT")?;
                    listing.items.retain(|item| !item.is_anomalous());
                }
                Split::Test => listing = labeled(&test, "_GT")?,
            }
        } else {
            let mut commutators = files::folders(&root)?;
            commutators.retain(|folder| files::name(folder).starts_with("kos"));
            for (number, folder) in (1..).zip(commutators) {
                let held_out = number % self.test_every.max(2) == 0;
                let mut found = labeled(&folder, "_label")?;
                found.items.retain(|item| match split {
                    Split::Train => !held_out && !item.is_anomalous(),
                    Split::Test => held_out || item.is_anomalous(),
                });
                listing.extend(found);
            }
        }
        let expected = format!(
            "no {} images: expected kosNN/PartN.jpg with PartN_label.bmp, or {1}/N.png with N_GT.png",
            if split == Split::Train { "normal" } else { "test" },
            split.name()
        );
        require(listing, &root, &expected)
    }
}

/// The images of a folder and those within, normal where the mask beside them is black all over.
fn labeled(folder: &Path, suffix: &str) -> Result<Listing> {
    let is_label = |path: &Path| {
        path.file_stem()
            .is_some_and(|stem| stem.to_string_lossy().ends_with(suffix))
    };
    let found = files::images(folder)?;
    let mut listing = Listing {
        left_out: found.left_out,
        ..Default::default()
    };
    let placed = found.images.into_iter().map(|file| Placed::below(folder, file));
    let (labels, images): (Vec<_>, Vec<_>) = placed.partition(|file| is_label(&file.path));
    let labels = masks::matched(&images, &labels, &[suffix], &Mirrored, &mut listing.faults);
    let found: Vec<_> = images
        .into_par_iter()
        .zip(labels)
        .map(|(image, label)| item(image.path, label, suffix))
        .collect();
    for item in found {
        match item {
            Ok(item) => listing.items.push(item),
            Err(fault) => listing.faults.push(fault.into()),
        }
    }
    Ok(listing)
}

fn item(image: PathBuf, label: Option<PathBuf>, suffix: &str) -> Result<Item> {
    let Some(label) = label else {
        let stem = Path::new(image.file_stem().unwrap_or_default())
            .display()
            .to_string();
        let reason = format!(
            "an image without its mask: expected {stem}{suffix}.* beside it, black all over if the image is normal"
        );
        return Err(Error::data(image, reason));
    };
    let defective = data::read_mask_any(&label)?.iter().any(|value| *value > 0);
    Ok(if defective {
        Item::anomalous(image, Some(label), "defect")
    } else {
        Item::normal(image)
    })
}

#[typetag::serde(name = Kolektor::NAME)]
impl Dataset for Kolektor {
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
        match self.test_every {
            0 | 1 => Err(format!("test_every: expected at least 2, found {}", self.test_every).into()),
            _ => Ok(()),
        }
    }
}
