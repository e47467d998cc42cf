//! What a data set holds and what is wrong with it, found by opening every image and mask once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use daf_core::data::files::LeftOut;
use daf_core::data::{self, Header, Reading};
use daf_core::{Dataset, Item, Split};
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::finding::Finding;

/// The report on a data set. Lists are sorted, so that the same data give the same report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// How many images there are, by split, category and kind of defect.
    pub counts: Vec<Count>,
    /// Widths and heights as the pipeline sees them.
    pub sizes: Vec<Size>,
    /// What the files hold; nothing for drawn images. Splits of different formats are a trap: a method may learn to tell
    /// the format.
    pub formats: Vec<Format>,
    /// What lies among the images and is not used.
    pub left_out: LeftOut,
    /// What is wrong: faults of the listing, then of single images in the order of the listing, then duplicates.
    pub findings: Vec<Finding>,
}

/// Images of one split, category and kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Learned from or measured with.
    pub split: Split,
    /// `None` where the data set has one only.
    pub category: Option<String>,
    /// Kind of the defect; `None` for normal images.
    pub defect: Option<String>,
    /// Images listed, readable or not.
    pub images: usize,
    /// Those of them with a mask.
    pub masks: usize,
}

/// Images of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Learned from or measured with.
    pub split: Split,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// How many there are.
    pub images: usize,
}

/// Images of one file format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Format {
    /// Learned from or measured with.
    pub split: Split,
    /// `png`, `jpeg`, `bmp` or `tiff`, whatever the file's name says.
    pub format: &'static str,
    /// Values per pixel.
    pub channels: u8,
    /// Bits per value.
    pub bits: u16,
    /// How many there are.
    pub images: usize,
}

/// What opening one item brought to light. There is one for each image of a data set, so it is small.
#[derive(Default)]
struct Seen {
    size: Option<(u32, u32)>,
    header: Option<Header>,
    pixels: Option<[u8; 32]>,
    findings: Vec<Finding>,
}

/// Opens every image and mask of `dataset` and reports. Never fails: what cannot be read is part of the report.
///
/// Runs on rayon's current pool; each thread holds one image at a time. `progress` is called from any of them with the
/// number of images done and to be done, not in order. The report does not depend on the number of threads.
///
/// ```
/// let demo = daf_data::Demo { size: 32, train: 3, ..Default::default() };
/// let report = daf_data::audit(&demo, &|_done, _of| {});
/// assert!(report.findings.is_empty());
/// assert_eq!(report.counts[0].images, 3);
/// ```
pub fn audit(dataset: &dyn Dataset, progress: &(dyn Fn(usize, usize) + Sync)) -> Audit {
    let mut findings = Vec::new();
    let mut left_out = LeftOut::default();
    let mut items = Vec::new();
    let mut reasons = Vec::new();
    for split in Split::ALL {
        let listing = dataset.survey(split);
        left_out.extend(listing.left_out);
        items.extend(listing.items.into_iter().map(|item| (split, item)));
        for fault in listing.faults {
            let reason = fault.to_string();
            if !reasons.contains(&reason) {
                reasons.push(reason.clone());
                findings.push(Finding::Listing { split, reason });
            }
        }
    }
    let done = AtomicUsize::new(0);
    let seen: Vec<_> = items
        .par_iter()
        .map(|(_, item)| {
            let seen = look(dataset, item);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, items.len());
            seen
        })
        .collect();

    // Where no image of a category has a mask there are none by choice.
    let masked: HashSet<_> = items
        .iter()
        .filter(|(_, item)| item.mask.is_some())
        .map(|(_, item)| &item.category)
        .collect();
    let mut duplicates: HashMap<[u8; 32], Vec<usize>> = HashMap::new();
    let mut counts: BTreeMap<_, (usize, usize)> = BTreeMap::new();
    let mut sizes: BTreeMap<_, usize> = BTreeMap::new();
    let mut formats: BTreeMap<_, usize> = BTreeMap::new();
    for (index, ((split, item), seen)) in items.iter().zip(seen).enumerate() {
        let count = counts.entry((*split, &item.category, &item.defect)).or_default();
        count.0 += 1;
        count.1 += usize::from(item.mask.is_some());
        if let Some(size) = seen.size {
            *sizes.entry((*split, size)).or_default() += 1;
        }
        if let Some(header) = seen.header {
            *formats
                .entry((*split, header.format, header.channels, header.bits))
                .or_default() += 1;
        }
        if let Some(pixels) = seen.pixels {
            duplicates.entry(pixels).or_default().push(index);
        }
        if masked.contains(&item.category) && item.is_anomalous() && item.mask.is_none() {
            let image = item.image.clone();
            findings.push(Finding::NoMask { image });
        }
        findings.extend(seen.findings);
    }
    let mut duplicates: Vec<_> = duplicates.into_values().filter(|same| same.len() > 1).collect();
    duplicates.sort();
    findings.extend(duplicates.into_iter().map(|same| {
        let images: Vec<_> = same
            .iter()
            .map(|&i| (items[i].0, items[i].1.image.clone()))
            .collect();
        let leak = images.iter().any(|(split, _)| *split != images[0].0);
        Finding::Duplicates { leak, images }
    }));
    Audit {
        counts: counts
            .into_iter()
            .map(|((split, category, defect), (images, masks))| Count {
                split,
                category: category.clone(),
                defect: defect.clone(),
                images,
                masks,
            })
            .collect(),
        sizes: sizes
            .into_iter()
            .map(|((split, (width, height)), images)| Size {
                split,
                width,
                height,
                images,
            })
            .collect(),
        formats: formats
            .into_iter()
            .map(|((split, format, channels, bits), images)| Format {
                split,
                format,
                channels,
                bits,
                images,
            })
            .collect(),
        left_out,
        findings,
    }
}

/// Opens the image and the mask of an item.
fn look(dataset: &dyn Dataset, item: &Item) -> Seen {
    let mut seen = Seen::default();
    seen.image(dataset, item);
    seen.mask(dataset, item);
    seen
}

impl Seen {
    fn image(&mut self, dataset: &dyn Dataset, item: &Item) {
        let image = match dataset.open(item, Reading::default()) {
            Ok(image) => image,
            Err(reason) => {
                return self.findings.push(Finding::UnreadableImage {
                    image: item.image.clone(),
                    reason: reason.to_string(),
                });
            }
        };
        let image = image.rgb;
        self.size = Some(image.dimensions());
        // Drawn images have no file.
        self.header = data::read_header(&item.image).ok();
        // Of the pixels, not the file: the same picture saved twice differs in its bytes.
        let mut hash = Sha256::new();
        hash.update(image.width().to_le_bytes());
        hash.update(image.as_raw());
        self.pixels = Some(hash.finalize().into());
    }

    fn mask(&mut self, dataset: &dyn Dataset, item: &Item) {
        let image = || item.image.clone();
        let mask = match dataset.mask(item) {
            Ok(Some(mask)) => mask,
            Ok(None) => return,
            Err(reason) => {
                return self.findings.push(Finding::UnreadableMask {
                    image: image(),
                    reason: reason.to_string(),
                });
            }
        };
        let path = item.mask.clone().unwrap_or_default();
        if let Some(image_size) = self.size
            && image_size != mask.dimensions()
        {
            self.findings.push(Finding::MaskSize {
                image: image(),
                mask: path.clone(),
                image_size,
                mask_size: mask.dimensions(),
            });
        }
        let marks = mask.iter().any(|value| *value > 0);
        if item.is_anomalous() && !marks {
            self.findings.push(Finding::EmptyMask {
                image: image(),
                largest: None,
                mask: path,
            });
        } else if !item.is_anomalous() && marks {
            self.findings.push(Finding::MaskOfNormal {
                image: image(),
                mask: path,
            });
        }
    }
}
