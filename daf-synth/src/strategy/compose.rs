//! Any shape with any texture.

use std::path::PathBuf;
use std::sync::Arc;

use daf_core::image::RgbImage;
use daf_core::rand::Rng;
use daf_core::{BoxError, Donors, Shape, Synthesis, Synthesizer, Synthetic, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blend::blend;
use crate::range::Range;
use crate::shape::Perlin;
use crate::texture::Textures;
use crate::texture::augment::augment;

/// Opacities of DRÆM and of the DAF paper.
pub const OPACITY: Range = Range(0.0, 0.8);

/// Any shape filled with any texture: the general form of most strategies.
///
/// `shape: { type: perlin }` with an augmented `texture` is `dra`; other shapes and textures, also those of
/// plugins, make strategies that have no name. `daf-cli list shape` and `daf-cli list texture` show what
/// there is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Compose {
    /// Where the defect is: `perlin`, `rectangle`, `scar`, `ellipses` or another shape that is linked.
    pub shape: Arc<dyn Shape>,
    /// Texture of the defect: `procedural`, a folder of images, or a map with the `type` of a texture, such as
    /// `{ type: donor }`.
    pub texture: Textures,
    /// Whether three of ten augmentations (contrast, brightness, sharpness, hue and saturation, solarize,
    /// posterize, invert, autocontrast, equalize, rotation) are applied to the texture; plain colors stay as
    /// they are.
    pub augment: bool,
    /// How much of the normal image shows through, drawn for each defect from [low, high] within 0..=0.99;
    /// `[0.0, 0.0]` for opaque defects.
    pub opacity: Range,
}

impl Default for Compose {
    fn default() -> Self {
        Self {
            shape: Arc::new(Perlin::default()),
            texture: Textures::default(),
            augment: false,
            opacity: OPACITY,
        }
    }
}

daf_core::register!(Synthesizer: Compose = "compose");

#[typetag::serde(name = Compose::NAME)]
impl Synthesizer for Compose {
    fn synthesize(
        &self,
        normal: &RgbImage,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Synthesis, BoxError> {
        let Some(region) = self.shape.draw_checked(normal, rng)? else {
            return Ok(Synthesis::Unchanged);
        };
        let texture = self.texture.texture();
        let mut fill = texture.draw_checked(normal, &region, donors, rng)?;
        if self.augment {
            augment(&mut fill, rng);
        }
        let mut image = normal.clone();
        blend(&mut image, &region, &fill, self.opacity.draw(rng));
        Ok(Synthesis::Anomalous(Synthetic {
            image,
            touched: region.bounds(),
            mask: region.into_mask(),
            target: None,
            class: 0,
        }))
    }

    fn image_files(&self) -> Vec<PathBuf> {
        self.texture.texture().image_files()
    }

    fn check(&self) -> Result<(), BoxError> {
        self.shape.check().map_err(|error| format!("shape.{error}"))?;
        let texture = self.texture.texture().check();
        texture.map_err(|error| format!("texture: {error}"))?;
        self.check_opacity()
    }
}

impl Compose {
    /// Checks the range of opacities. At 1 a defect would be invisible.
    pub(super) fn check_opacity(&self) -> Result<(), BoxError> {
        self.opacity.check("opacity", 0.0, 0.99)
    }
}
