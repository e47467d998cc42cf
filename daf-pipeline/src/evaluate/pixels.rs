//! Pixel metrics: exact while the maps fit into memory, counted in bins beyond that.

use std::collections::BTreeMap;

use daf_metrics::{
    AUPIMO_LIMITS, Bounded, Groups, OperatingPoint, PixelHistogram, PixelMaps, RankedMap, Unavailable,
};
use rayon::prelude::*;

use super::scored_image::ScoredImage;
use daf_core::results::Value;
use daf_core::{Error, Item};

/// Category and defect type; the type is missing for a category as a whole.
type Group = (String, Option<String>);

/// The pixels of the test images.
pub(super) enum Pixels {
    /// Every score is kept.
    Exact(PixelMaps),
    /// Scores are counted: all of them, and those of every group.
    Counted {
        all: PixelHistogram,
        groups: BTreeMap<Group, PixelHistogram>,
    },
}

/// Pixel metrics of some images.
pub(super) struct Summary {
    pub(super) auroc: Value,
    pub(super) average_precision: Value,
    pub(super) pro: Value,
    pub(super) f1_max: Value,
    pub(super) iou_max: Value,
    pub(super) aupimo: Value,
    pub(super) curve: Vec<OperatingPoint>,
    /// How far a metric may be from its exact value, if they were counted.
    pub(super) error: Option<f64>,
}

/// Bytes that exact metrics need for a pixel.
const BYTES_PER_PIXEL: usize = 8;

impl Pixels {
    /// For about so many pixels in so many bytes.
    pub(super) fn new(pixels: usize, bytes: usize, groups: &Groups) -> Self {
        if pixels.saturating_mul(BYTES_PER_PIXEL) <= bytes {
            return Self::Exact(PixelMaps::new());
        }
        let mut names: Vec<Group> = Vec::new();
        for (name, category) in groups.categories() {
            names.push((name.clone(), None));
            names.extend(
                category
                    .defects()
                    .map(|defect| (name.clone(), Some(defect.to_owned()))),
            );
        }
        let share = bytes / (names.len() + 1);
        tracing::info!("pixel scores are counted in bins: evaluation.memory_mb is too small to keep them");
        Self::Counted {
            all: PixelHistogram::with_budget(share),
            groups: names
                .into_iter()
                .map(|name| (name, PixelHistogram::with_budget(share)))
                .collect(),
        }
    }

    /// Adds the maps of consecutive images; gives each one's place, if it has a mask.
    pub(super) fn push(
        &mut self,
        known: &[ScoredImage],
        items: &[&Item],
    ) -> daf_core::Result<Vec<Option<usize>>> {
        let failed = |item: &Item| {
            let path = item.image.clone();
            move |reason: Unavailable| Error::data(&path, reason.to_string())
        };
        match self {
            Self::Exact(maps) => {
                let ranked = known
                    .par_iter()
                    .zip(items)
                    .filter_map(|(known, item)| Some((known, known.mask.as_ref()?, item)))
                    .map(|(known, mask, item)| {
                        let (width, height) = (known.map.width as usize, known.map.height as usize);
                        RankedMap::new(&known.map.scores, mask.as_raw().as_slice(), width, height)
                            .map_err(failed(item))
                    })
                    .collect::<daf_core::Result<Vec<_>>>()?;
                let mut place = maps.images();
                maps.extend(ranked);
                let places = known.iter().map(|known| {
                    known.mask.as_ref().map(|_| {
                        place += 1;
                        place - 1
                    })
                });
                Ok(places.collect())
            }
            Self::Counted { all, groups } => {
                for (known, item) in known.iter().zip(items) {
                    let Some(mask) = &known.mask else { continue };
                    let mask = mask.as_raw().as_slice();
                    let (width, height) = (known.map.width as usize, known.map.height as usize);
                    let category = item.category.as_deref().unwrap_or_default();
                    let of = groups.iter_mut().filter(|((name, defect), _)| {
                        // Normal images belong to every defect type of their category.
                        name == category
                            && match defect {
                                Some(defect) => {
                                    !item.is_anomalous() || item.kinds().any(|kind| kind == defect)
                                }
                                None => true,
                            }
                    });
                    for counted in std::iter::once(&mut *all).chain(of.map(|(_, counted)| counted)) {
                        counted
                            .push(&known.map.scores, mask, width, height)
                            .map_err(failed(item))?;
                    }
                }
                Ok(known.iter().map(|known| known.mask.as_ref().map(|_| 0)).collect())
            }
        }
    }

    /// The maps, if every score is kept.
    pub(super) const fn exact(&self) -> Option<&PixelMaps> {
        match self {
            Self::Exact(maps) => Some(maps),
            Self::Counted { .. } => None,
        }
    }

    /// The threshold of the largest F1 of all pixels.
    pub(super) fn f1_threshold(&self) -> Option<f32> {
        match self {
            Self::Exact(maps) => maps.evaluate().f1_max().ok().map(|best| best.threshold),
            Self::Counted { all, .. } => all.f1_max().ok().map(|(best, _)| best.threshold),
        }
    }

    /// The metrics of the maps at `places`, which are those of `group`, or of everything.
    pub(super) fn summary(
        &self,
        places: &[usize],
        group: Option<(&str, Option<&str>)>,
        limit: f64,
    ) -> Summary {
        match self {
            Self::Exact(maps) => {
                let maps = maps.subset(places.iter().copied());
                let pixels = maps.evaluate();
                Summary {
                    auroc: pixels.auroc().into(),
                    average_precision: pixels.average_precision().into(),
                    pro: pixels.pro(limit).into(),
                    f1_max: pixels.f1_max().map(|best| best.f1).into(),
                    iou_max: pixels.iou_max().map(|best| best.iou).into(),
                    aupimo: maps.aupimo(AUPIMO_LIMITS).map(|aupimo| aupimo.mean).into(),
                    curve: pixels.curve().unwrap_or_default(),
                    error: None,
                }
            }
            Self::Counted { all, groups } => {
                let key = group.map(|(category, defect)| (category.to_owned(), defect.map(str::to_owned)));
                let counted = key.and_then(|key| groups.get(&key)).unwrap_or(all);
                let mut error = 0.0_f64;
                let mut value = |bounded: Result<Bounded, Unavailable>| -> Value {
                    let value = bounded.map(|bounded| {
                        error = error
                            .max(bounded.high - bounded.value)
                            .max(bounded.value - bounded.low);
                        bounded.value
                    });
                    value.into()
                };
                Summary {
                    auroc: value(counted.auroc()),
                    average_precision: value(counted.average_precision()),
                    pro: value(counted.pro(limit)),
                    f1_max: value(counted.f1_max().map(|(_, bounded)| bounded)),
                    iou_max: value(counted.iou_max().map(|(_, bounded)| bounded)),
                    aupimo: Value::Missing {
                        unavailable:
                            "pixel scores were counted in bins; it needs evaluation.memory_mb to be larger"
                                .into(),
                    },
                    curve: counted.curve().unwrap_or_default(),
                    error: Some(error),
                }
            }
        }
    }
}
