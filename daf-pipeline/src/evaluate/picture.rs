//! Pictures of the test images.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use daf_core::image::RgbImage;
use daf_core::image::imageops::{self, FilterType};

use super::scored_image::ScoredImage;
use daf_core::atomic::file_name;
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
        folder: &Path,
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

/// Names of the pictures of test images: category and label as folders, then the image's own name, with a number behind it
/// where a picture or piece of another image has the same. Whatever a table of images says, none leads out of the folder.
fn picture_names(items: &[Item]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let name = |item: &Item| {
        let stem = item.image.file_stem().unwrap_or_default().to_string_lossy();
        let folder = item.category.as_deref().into_iter().chain([item.label()]);
        let inside = |part: &str| match part {
            "" | "." | ".." => "_".to_owned(),
            part => file_name(&part.replace(['\\', ':'], "_"), ""),
        };
        let folder: Vec<String> = folder.flat_map(|parts| parts.split('/').map(inside)).collect();
        let folder = folder.join("/");
        let named = |end: &str| format!("{folder}/{}", file_name(&stem, end));
        let mut name = named(".png");
        let mut number = 2;
        let mut is_free = |name: &str| {
            let pieces = Pieces::files(Path::new(name)).into_iter();
            pieces.chain([name.into()]).all(|file| taken.insert(file))
        };
        while !is_free(&name) {
            name = named(&format!("-{number}.png"));
            number += 1;
        }
        name
    };
    items.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_images_with_one_name_get_numbers() {
        let mut items = vec![
            Item::normal("a/1.jpg"),
            Item::normal("b/1.jpg"),
            Item::normal("b/2.png"),
        ];
        items.push(Item {
            defect: Some("scratch".into()),
            category: Some("bottle".into()),
            ..Item::normal("c/1.jpg")
        });
        assert_eq!(
            picture_names(&items),
            ["good/1.png", "good/1-2.png", "good/2.png", "bottle/scratch/1.png"]
        );
    }

    #[test]
    fn a_picture_takes_the_place_of_no_piece_of_another() {
        let labeled = |defect: &str, image: &str| Item {
            defect: Some(defect.into()),
            ..Item::normal(image)
        };
        let names = picture_names(&[labeled("hole", "a/deep.png"), labeled("hole/deep", "a/mask.png")]);
        assert_eq!(names, ["hole/deep.png", "hole/deep/mask-2.png"]);
    }

    #[test]
    fn pictures_stay_in_their_folder_whatever_categories_and_defects_are_called() {
        let names = picture_names(&[
            Item {
                category: Some("/data/bottle".into()),
                ..Item::normal("a/1.jpg")
            },
            Item {
                defect: Some("../../scratch".into()),
                ..Item::normal("a/1.jpg")
            },
        ]);
        assert_eq!(names, ["_/data/bottle/good/1.png", "_/_/scratch/1.png"]);
    }

    #[test]
    fn pictures_of_images_with_long_names_have_names_that_file_systems_take() {
        let long = "x".repeat(240);
        let names = picture_names(&[1, 2].map(|number| Item {
            defect: Some(format!("{long}{number}")),
            ..Item::normal(format!("a/{long}{number}.jpg"))
        }));
        assert!(
            names
                .iter()
                .all(|name| name.split('/').all(|part| part.len() <= 200)),
            "{names:?}"
        );
        assert_ne!(names[0], names[1]);
    }
}
