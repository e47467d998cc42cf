use daf_core::data::geometry::Frame;
use daf_core::image::{GrayImage, RgbImage};
use daf_core::{BoxError, Detection, Item, Result, ScoreMap};

use crate::Pipeline;
use crate::config::Resolution;

/// A test image with its scores, its mask and its geometry.
pub(super) struct ScoredImage {
    pub(super) score: f64,
    /// At the resolution of the evaluation.
    pub(super) map: ScoreMap,
    /// At the map's size; `None` if the image is anomalous and its mask unknown.
    pub(super) mask: Option<GrayImage>,
    /// Why the mask that there is cannot be read.
    pub(super) broken_mask: Option<BoxError>,
    pub(super) frame: Frame,
}

impl ScoredImage {
    pub(super) fn of(pipeline: &Pipeline, item: &Item, image: &RgbImage, found: Detection) -> Result<Self> {
        let dataset = pipeline.data.as_ref();
        let settings = &pipeline.evaluation;
        let frame = pipeline.input.geometry().frame(image.width(), image.height());
        let region = frame.region();
        let map = match settings.resolution {
            Resolution::Network => found.map,
            Resolution::Image => found.map.resized(region.width, region.height)?,
        };
        let mut broken_mask = None;
        let mask = if item.is_anomalous() {
            let mask = dataset.mask(item).unwrap_or_else(|error| {
                broken_mask = Some(error);
                None
            });
            mask.map(|mask| frame.mask(&mask, settings.mask_rule, map.width, map.height))
                .transpose()?
        } else {
            Some(GrayImage::new(map.width, map.height))
        };
        Ok(Self {
            score: found.score,
            map,
            mask,
            broken_mask,
            frame,
        })
    }
}
