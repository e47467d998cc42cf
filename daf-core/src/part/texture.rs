//! Textures: the looks of synthetic defects.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use image::{Rgb, RgbImage};
use rand::Rng;

use crate::contract::{self, Broken};
use crate::{BoxError, Donors, Kind, Region};

/// Draws the material of a defect, for synthesizers that fill [shapes](crate::Shape) with textures.
///
/// A call depends on nothing but its arguments.
#[typetag::serde(tag = "type")]
pub trait Texture: Debug + Send + Sync {
    /// Material for a region of the normal image; `donors` are the other normal images.
    ///
    /// # Errors
    /// If the texture cannot be drawn, e.g. because a file cannot be read.
    fn draw(
        &self,
        normal: &RgbImage,
        region: &Region,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Fill, BoxError>;

    /// The image files that it draws from. Each is opened once before a training, which a broken one would end in the middle
    /// otherwise.
    fn image_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Checks ranges and files before any work is done.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

super::part!(Texture);

impl dyn Texture + '_ {
    /// [`draw`](Texture::draw), with the size of the material checked.
    ///
    /// # Errors
    /// The texture's own, or [`Broken`] if it panics or draws what does not fit.
    pub fn draw_checked(
        &self,
        normal: &RgbImage,
        region: &Region,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Fill, BoxError> {
        let name = self.typetag_name();
        let fill = contract::call(Kind::Texture, name, "drawing", || {
            self.draw(normal, region, donors, rng)
        })?;
        let bounds = region.bounds();
        let (what, found, (width, height)) = match &fill {
            Fill::Color(_) => return Ok(fill),
            Fill::Image(image) => ("the normal image", image.dimensions(), normal.dimensions()),
            Fill::Patch(patch) => (
                "the bounds of the region",
                patch.dimensions(),
                (bounds.width, bounds.height),
            ),
        };
        if found == (width, height) {
            return Ok(fill);
        }
        let what = format!(
            "material: expected the size of {what}, {width}×{height}, found {}×{}",
            found.0, found.1
        );
        Err(Broken::new(Kind::Texture, name, what).into())
    }
}

/// Material of a defect.
#[derive(Debug, Clone)]
pub enum Fill {
    /// One color everywhere.
    Color(Rgb<u8>),
    /// An image of the normal image's size, of which the region shows its own pixels.
    Image(Arc<RgbImage>),
    /// An image of the size of the region's bounds, laid over them.
    Patch(RgbImage),
}
