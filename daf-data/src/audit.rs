//! Audit of a data set: its content and its faults, found by opening every image and mask once.

mod alike;
mod origin;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use daf_core::data::files::LeftOut;
use daf_core::data::{self, Alpha, Depth, MaskValues, Reading, Values};
use daf_core::image::{DynamicImage, RgbImage};
use daf_core::{Dataset, Item, Split};
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::finding::{Finding, Named};
use crate::masks::named_as_masks;

use alike::{Index, Thumbnail, near_their_mean, same_shot};
use origin::{Origin, Traces};

/// The report on a data set. Lists are sorted, so that the same data give the same report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    /// Numbers of images by split, category and kind of defect.
    pub counts: Vec<Count>,
    /// Widths and heights as the pipeline sees them.
    pub sizes: Vec<Size>,
    /// Formats of the files; empty for drawn images. Splits of different formats are a trap: a method may
    /// learn to tell the format.
    pub formats: Vec<Format>,
    /// Mask files by what they hold, which decides what of it counts; nothing for drawn masks.
    pub masks: BTreeMap<MaskValues, usize>,
    /// Files and folders among the images that are not used.
    pub left_out: LeftOut,
    /// Findings: faults of the listing, then of single images in the order of the listing, then of several
    /// images together, then of names.
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
    /// Number of them with a mask.
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
    /// Number of images.
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
    /// Number of images.
    pub images: usize,
}

/// Measurements of one item. There is one for each image of a data set, so it is small: no image is kept.
#[derive(Default)]
struct Seen {
    origin: Origin,
    pixels: Option<[u8; 32]>,
    thumbnail: Option<Thumbnail>,
    /// The smallest and the largest level of any channel.
    levels: Option<(u8, u8)>,
    is_transparent: bool,
    /// Kind of values in the mask's file.
    mask_values: Option<MaskValues>,
    findings: Vec<Finding>,
}

/// Opens every image and mask of `dataset` as `reading` says and reports. Never fails: what cannot be read is
/// part of the report.
///
/// Runs on rayon's current pool; each thread holds one image at a time. `progress` is called from any of them
/// with the number of images done and to be done, not in order. The report does not depend on the number of
/// threads.
///
/// ```
/// let demo = daf_data::Demo { size: 32, train: 3, ..Default::default() };
/// let report = daf_data::audit(&demo, Default::default(), &|_done, _of| {});
/// assert!(report.findings.is_empty());
/// assert_eq!(report.counts[0].images, 3);
/// ```
pub fn audit(dataset: &dyn Dataset, reading: Reading, progress: &(dyn Fn(usize, usize) + Sync)) -> Audit {
    let mut findings = Vec::new();
    let mut left_out = LeftOut::default();
    let mut items = Vec::new();
    let mut reasons = Vec::new();
    for split in Split::ALL {
        let listing = dataset.survey(split);
        left_out.extend(listing.left_out);
        let found = Item::by_page(listing.items, reading.pages);
        items.extend(found.into_iter().map(|item| (split, item)));
        for fault in listing.faults {
            let reason = fault.to_string();
            if !reasons.contains(&reason) {
                reasons.push(reason.clone());
                findings.push(Finding::Listing { split, reason });
            }
        }
    }
    let done = AtomicUsize::new(0);
    let mut seen: Vec<_> = items
        .par_iter()
        .map(|(_, item)| {
            let seen = look(dataset, item, reading);
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
    let mut counts: BTreeMap<_, (usize, usize)> = BTreeMap::new();
    let mut sizes: BTreeMap<_, usize> = BTreeMap::new();
    let mut formats: BTreeMap<_, usize> = BTreeMap::new();
    let mut masks: BTreeMap<_, usize> = BTreeMap::new();
    for ((split, item), seen) in items.iter().zip(&mut seen) {
        let count = counts.entry((*split, &item.category, &item.defect)).or_default();
        count.0 += 1;
        count.1 += usize::from(item.mask.is_some());
        if let Some(size) = seen.origin.size {
            *sizes.entry((*split, size)).or_default() += 1;
        }
        if let Some(values) = seen.mask_values {
            *masks.entry(values).or_default() += 1;
        }
        if let Some(Traces { header, .. }) = &seen.origin.file {
            *formats
                .entry((*split, header.format, header.channels, header.bits))
                .or_default() += 1;
        }
        if masked.contains(&item.category) && item.is_anomalous() && item.mask.is_none() {
            let image = item.image.clone();
            findings.push(Finding::NoMask { image });
        }
        findings.append(&mut seen.findings);
    }
    findings.extend(values(reading, &items, &seen));
    findings.extend(masks_among(&items));
    findings.extend(duplicates(&items, &seen));
    findings.extend(near_duplicates(dataset, reading, &items, &seen));
    findings.extend(
        Split::ALL
            .map(|split| alike(dataset, reading, split, &items, &seen))
            .into_iter()
            .flatten(),
    );
    let origins: Vec<_> = seen.iter().map(|seen| &seen.origin).collect();
    findings.extend(origin::findings(&items, &origins));
    findings.extend(names(&items));
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
        masks,
        left_out,
        findings,
    }
}

/// Opens the image and the mask of an item.
fn look(dataset: &dyn Dataset, item: &Item, reading: Reading) -> Seen {
    let mut seen = Seen::default();
    seen.image(dataset, item, reading);
    seen.mask(dataset, item);
    seen
}

impl Seen {
    fn image(&mut self, dataset: &dyn Dataset, item: &Item, reading: Reading) {
        let unreadable = |reason: String| Finding::UnreadableImage {
            image: item.image.clone(),
            reason,
        };
        let stored = match dataset.image(item) {
            Ok(stored) => stored,
            Err(reason) => return self.findings.push(unreadable(reason.to_string())),
        };
        self.is_transparent = is_transparent(&stored);
        let image = match reading.input(stored) {
            Ok(image) => image.rgb,
            Err(reason) => {
                let reason = format!("{}: {reason}", item.image.display());
                return self.findings.push(unreadable(reason));
            }
        };
        self.origin = Origin {
            size: Some(image.dimensions()),
            gray: Some(image.pixels().all(|pixel| pixel.0 == [pixel.0[0]; 3])),
            file: Traces::of(&item.image),
        };
        self.levels = image.iter().copied().min().zip(image.iter().copied().max());
        if let Some(white) = white_of(reading.depth)
            && let Ok(Some(values)) = Values::of_file(&item.image)
            && values.range.1 > white
        {
            self.findings.push(Finding::CutOff {
                image: item.image.clone(),
                largest: values.range.1,
                white,
            });
        }
        self.thumbnail = Thumbnail::of(&image);
        if let Some((color, others)) = one_color(&image) {
            self.findings.push(Finding::OneColor {
                image: item.image.clone(),
                color,
                others,
            });
        }
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
        // Drawn masks have no file.
        self.mask_values = data::read_mask_values(&path).ok().map(|mask| mask.values);
        if let Some(image_size) = self.origin.size
            && image_size != mask.dimensions()
        {
            self.findings.push(Finding::MaskSize {
                image: image(),
                mask: path.clone(),
                image_size,
                mask_size: mask.dimensions(),
            });
        }
        let marked = mask.iter().filter(|value| **value > 0).count();
        if item.is_anomalous() && marked == 0 {
            self.findings.push(Finding::EmptyMask {
                image: image(),
                mask: path,
            });
        } else if !item.is_anomalous() && marked > 0 {
            self.findings.push(Finding::MaskOfNormal {
                image: image(),
                mask: path,
            });
        } else if marked > mask.len() / 2 {
            self.findings.push(Finding::WideMask {
                image: image(),
                mask: path,
                marked,
                of: mask.len(),
            });
        }
    }
}

fn is_transparent(image: &DynamicImage) -> bool {
    match image {
        DynamicImage::ImageLumaA8(image) => image.pixels().any(|pixel| pixel.0[1] < u8::MAX),
        DynamicImage::ImageRgba8(image) => image.pixels().any(|pixel| pixel.0[3] < u8::MAX),
        DynamicImage::ImageLumaA16(image) => image.pixels().any(|pixel| pixel.0[1] < u16::MAX),
        DynamicImage::ImageRgba16(image) => image.pixels().any(|pixel| pixel.0[3] < u16::MAX),
        _ => false,
    }
}

/// The value of deep files that is white, where one is set.
fn white_of(depth: Depth) -> Option<f64> {
    match depth {
        Depth::Auto => None,
        Depth::Bits(bits) => Some(f64::from(bits).exp2() - 1.0),
        Depth::Range(_, high) => Some(high),
    }
}

/// [`Finding::SmallRange`] of a data set, if that is so, from some of `items` only, evenly spread: what can
/// be told without opening all images. What cannot be read is passed over.
pub fn range_of_some(dataset: &dyn Dataset, reading: Reading, items: &[Item]) -> Option<Finding> {
    const SOME: usize = 32;
    let step = items.len().div_ceil(SOME).max(1);
    let some = items.par_iter().step_by(step).map(|item| {
        let mut seen = Seen::default();
        seen.image(dataset, item, reading);
        seen
    });
    small_range(&some.collect::<Vec<_>>())
}

/// Images that leave most of the range of levels empty.
fn small_range(seen: &[Seen]) -> Option<Finding> {
    /// A quarter of the range.
    const SMALL: u8 = 64;
    let widest = |all: (u8, u8), one: (u8, u8)| (all.0.min(one.0), all.1.max(one.1));
    let (low, high) = seen.iter().filter_map(|seen| seen.levels).reduce(widest)?;
    let bits = seen.iter().filter_map(|seen| seen.origin.file.as_ref());
    (high - low < SMALL).then(|| Finding::SmallRange {
        levels: (low, high),
        bits: bits.map(|file| file.header.bits).max().unwrap_or(8),
    })
}

/// Findings about the values of all images together.
fn values(reading: Reading, items: &[(Split, Item)], seen: &[Seen]) -> Vec<Finding> {
    let mut findings: Vec<_> = small_range(seen).into_iter().collect();
    let transparent = items.iter().zip(seen).filter(|(_, seen)| seen.is_transparent);
    let images: Vec<_> = transparent.map(|((_, item), _)| item.image.clone()).collect();
    if !images.is_empty() {
        findings.push(Finding::Transparent {
            images,
            shown_as: match reading.alpha {
                Alpha::Drop => "shown with the colors that their files hold below",
                Alpha::Over(_) => "laid over a color",
                Alpha::Mask => "not looked at",
            },
        });
    }
    findings
}

/// The color that all pixels but one in a thousand have, if there is one, and how many others there are.
fn one_color(image: &RgbImage) -> Option<([u8; 3], usize)> {
    // What more than half of the pixels are is left over when each is paired with one of another color.
    let (mut color, mut left) = ([0; 3], 0_usize);
    for pixel in image.pixels() {
        if pixel.0 == color {
            left += 1;
        } else if left == 0 {
            (color, left) = (pixel.0, 1);
        } else {
            left -= 1;
        }
    }
    let others = image.pixels().filter(|pixel| pixel.0 != color).count();
    (others * 1000 <= image.pixels().len()).then_some((color, others))
}

/// Images that are named as masks of others and hold what masks do.
fn masks_among(items: &[(Split, Item)]) -> Vec<Finding> {
    let items: Vec<Item> = items.iter().map(|(_, item)| item.clone()).collect();
    let suspected = named_as_masks(&items).into_par_iter();
    let found = suspected.filter_map(|(mask, image)| {
        // What cannot be read as a mask is a photo.
        let values = data::read_mask_values(&mask).ok()?.values;
        Some(Finding::MaskAmongImages {
            mask,
            image,
            black_and_white: values == MaskValues::BlackAndWhite,
        })
    });
    found.collect()
}

/// Images with the same pixels, in the order of the first of each.
fn duplicates(items: &[(Split, Item)], seen: &[Seen]) -> Vec<Finding> {
    let mut by_pixels: HashMap<[u8; 32], Vec<usize>> = HashMap::new();
    for (place, seen) in seen.iter().enumerate() {
        if let Some(pixels) = seen.pixels {
            by_pixels.entry(pixels).or_default().push(place);
        }
    }
    let mut same: Vec<_> = by_pixels.into_values().filter(|same| same.len() > 1).collect();
    same.sort();
    same.into_iter()
        .map(|same| {
            let (first, item) = &items[same[0]];
            let others = || same.iter().map(|place| &items[*place]);
            Finding::Duplicates {
                leak: others().any(|(split, _)| split != first),
                conflict: others().any(|(_, other)| other.is_anomalous() != item.is_anomalous()),
                images: others()
                    .map(|(split, item)| (*split, item.image.clone()))
                    .collect(),
            }
        })
        .collect()
}

/// Images to measure with that were learned from, with other pixels: each with the nearest of those to learn
/// from.
fn near_duplicates(
    dataset: &dyn Dataset,
    reading: Reading,
    items: &[(Split, Item)],
    seen: &[Seen],
) -> Vec<Finding> {
    let of = |wanted: Split| {
        let places = items.iter().zip(seen).enumerate();
        places.filter_map(move |(place, ((split, _), seen))| {
            let thumbnail = seen.thumbnail.as_ref().filter(|_| *split == wanted)?;
            Some((place, thumbnail))
        })
    };
    let open = |item: &Item| dataset.open(item, reading).ok().map(|image| image.rgb);
    let index = Index::new(of(Split::Train));
    let learned: HashSet<_> = of(Split::Train).map(|(place, _)| seen[place].pixels).collect();
    let found = of(Split::Test)
        .collect::<Vec<_>>()
        .into_par_iter()
        .filter_map(|(test, thumbnail)| {
            if learned.contains(&seen[test].pixels) {
                return None;
            }
            let train = index.nearest(thumbnail)?;
            let (train, test) = (&items[train].1, &items[test].1);
            same_shot(&open(train)?, &open(test)?).then(|| Finding::NearDuplicate {
                train: train.image.clone(),
                test: test.image.clone(),
            })
        });
    found.collect()
}

/// Whether nearly all normal images of a split are the same.
fn alike(
    dataset: &dyn Dataset,
    reading: Reading,
    split: Split,
    items: &[(Split, Item)],
    seen: &[Seen],
) -> Option<Finding> {
    /// Fewer may be alike by accident.
    const FEWEST: usize = 5;
    /// Pairs of neighbors that are looked at in detail.
    const PAIRS: usize = 4;
    let normal: Vec<usize> = (0..items.len())
        .filter(|place| items[*place].0 == split && !items[*place].1.is_anomalous())
        .collect();
    let thumbnails: Vec<_> = normal
        .iter()
        .filter_map(|place| seen[*place].thumbnail.as_ref())
        .collect();
    let images = near_their_mean(&thumbnails);
    if images < FEWEST || images * 10 < normal.len() * 9 {
        return None;
    }
    // Even surfaces are near each other as well; what tells them apart is finer than a thumbnail.
    let step = (normal.len() / PAIRS).max(1);
    let pairs = normal.windows(2).step_by(step).take(PAIRS).map(|pair| {
        if seen[pair[0]].pixels == seen[pair[1]].pixels {
            return true;
        }
        let open = |place: usize| dataset.open(&items[place].1, reading).ok().map(|image| image.rgb);
        let (Some(one), Some(other)) = (open(pair[0]), open(pair[1])) else {
            return false;
        };
        same_shot(&one, &other)
    });
    let same: Vec<bool> = pairs.collect();
    (same.iter().filter(|same| **same).count() * 2 > same.len()).then_some(Finding::Alike {
        split,
        images,
        of: normal.len(),
    })
}

/// Kinds of defects and categories whose names mean something else, or can be taken for one another.
fn names(items: &[(Split, Item)]) -> Vec<Finding> {
    let mut of: BTreeMap<Named, BTreeMap<&str, usize>> = BTreeMap::new();
    for (_, item) in items {
        let kinds = item.kinds().map(|kind| (Named::Kind, kind));
        let category = item
            .category
            .as_deref()
            .map(|category| (Named::Category, category));
        for (named, name) in kinds.chain(category) {
            *of.entry(named).or_default().entry(name).or_default() += 1;
        }
    }
    let mut findings = Vec::new();
    for (of, names) in of {
        let mut folded: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for (name, images) in names {
            let fold = name.trim().to_lowercase();
            // The names of rows in tables; normal images are `good`.
            if fold == "all" || fold == "good" && of == Named::Kind {
                findings.push(Finding::ReservedName {
                    of,
                    name: name.to_owned(),
                    images,
                });
            }
            folded.entry(fold).or_default().insert(name);
        }
        for names in folded.into_values().filter(|names| names.len() > 1) {
            findings.push(Finding::SimilarNames {
                of,
                names: names.into_iter().map(str::to_owned).collect(),
            });
        }
    }
    findings
}
