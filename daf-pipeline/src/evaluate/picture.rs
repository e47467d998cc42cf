//! Pictures of the test images.

use std::path::PathBuf;

use daf_core::image::RgbImage;
use daf_core::image::imageops::{self, FilterType};

use super::{ScoredImage, picture_names};
use daf_core::calibration::Calibration;
use daf_core::{Error, Item, Result, overlay};

use crate::config::Output;

/// Draws a picture for each test image: the image, the true defect, the heat map, and the heat map over the image.
pub(super) struct Pictures<'a> {
    folder: PathBuf,
    output: &'a Output,
    colours: Option<(f32, f32)>,
    names: Vec<String>,
    anomalous: Vec<bool>,
}

/// Pixels of the longer side of a picture's parts.
const SIDE: u32 = 512;

impl<'a> Pictures<'a> {
    pub(super) fn new(
        folder: &std::path::Path,
        output: &'a Output,
        calibration: Option<&Calibration>,
        items: &[Item],
    ) -> Self {
        Self {
            folder: folder.into(),
            output,
            colours: calibration
                .and_then(|calibration| calibration.pixel.scale())
                .map(|scale| scale.colours()),
            names: picture_names(items),
            anomalous: items.iter().map(Item::is_anomalous).collect(),
        }
    }

    /// Draws the picture of the image at `place`; gives its name in the folder.
    pub(super) fn draw(&self, place: usize, image: &RgbImage, known: &ScoredImage) -> Result<String> {
        let path = self.folder.join(&self.names[place]);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        let region = known.frame.region();
        let part = imageops::crop_imm(image, region.x, region.y, region.width, region.height);
        let least = known.map.width.max(known.map.height).min(SIDE);
        let longer = region.width.max(region.height).max(1);
        let factor = f64::from(longer.clamp(least, SIDE)) / f64::from(longer);
        let side = |side: u32| (f64::from(side) * factor).round().max(1.0) as u32;
        let small = imageops::resize(
            &*part,
            side(region.width),
            side(region.height),
            FilterType::Triangle,
        );
        let mask = known.mask.as_ref().filter(|_| self.anomalous[place]);
        let mask =
            mask.map(|mask| imageops::resize(mask, small.width(), small.height(), FilterType::Nearest));
        let colours = self.colours.unwrap_or_else(|| known.map.range());
        let failed = |error: &dyn std::fmt::Display| Error::data(&path, error.to_string());
        overlay::panel(&small, mask.as_ref(), &known.map, colours)
            .save(&path)
            .map_err(|error| failed(&error))?;
        if self.output.raw_maps {
            let path = path.with_extension("tiff");
            known.map.save_tiff(&path)?;
        }
        Ok(self.names[place].clone())
    }
}
