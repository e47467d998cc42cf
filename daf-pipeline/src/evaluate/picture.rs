//! Pictures of the test images.

use std::path::PathBuf;

use daf_core::image::RgbImage;
use daf_core::image::imageops::{self, FilterType};

use super::{ScoredImage, picture_names};
use daf_core::calibration::Calibration;
use daf_core::overlay::{self, Pieces};
use daf_core::{Item, Result};

use crate::config::Output;

/// The drawing of a picture for each test image, with its [`Pieces`].
pub(super) struct Pictures<'a> {
    folder: PathBuf,
    output: &'a Output,
    colors: Option<(f32, f32)>,
    names: Vec<String>,
    anomalous: Vec<bool>,
}

/// Pixels of the longer side of a picture's pieces.
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
            colors: calibration
                .and_then(|calibration| calibration.pixel.scale())
                .map(|scale| scale.colors()),
            names: picture_names(items),
            anomalous: items.iter().map(Item::is_anomalous).collect(),
        }
    }

    /// Draws the picture of the image at `place`; gives its name in the folder.
    pub(super) fn draw(&self, place: usize, image: &RgbImage, known: &ScoredImage) -> Result<String> {
        let path = self.folder.join(&self.names[place]);
        let region = known.frame.region();
        let part = imageops::crop_imm(image, region.x, region.y, region.width, region.height);
        let least = known.map.width.max(known.map.height).min(SIDE);
        let image = overlay::scaled(&*part, region.width.max(region.height).clamp(least, SIDE));
        let (width, height) = image.dimensions();
        let mask = known.mask.as_ref().filter(|_| self.anomalous[place]);
        let mask = mask.map(|mask| imageops::resize(mask, width, height, FilterType::Nearest));
        let colors = self.colors.unwrap_or_else(|| known.map.range());
        let heat = known.map.heat(colors, (width, height));
        Pieces { image, mask, heat }.save(&path)?;
        if self.output.raw_maps {
            known.map.save_tiff(&path.with_extension("tiff"))?;
        }
        Ok(self.names[place].clone())
    }
}
