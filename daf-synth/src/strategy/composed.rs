//! Compositions with a name: [`Compose`] with a fixed shape and texture, and the settings that each paper
//! names.

use std::path::PathBuf;
use std::sync::Arc;

use daf_core::image::RgbImage;
use daf_core::rand::{Rng, RngExt};
use daf_core::{BoxError, Donors, Synthesis, Synthesizer, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compose::{Compose, OPACITY};
use crate::range::Range;
use crate::shape::{Perlin, Rectangle, Scar};
use crate::texture::{Color, Granularity, SameImage, Textures};

/// Declares a registered synthesizer: its settings with their defaults, and the [`Compose`] that they stand
/// for.
macro_rules! composition {
    (
        $(#[$attribute:meta])*
        $part:ident = $name:literal { $($(#[$doc:meta])* $field:ident: $type:ty = $default:expr,)* }
        => |$settings:ident| $compose:expr
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $part { $($(#[$doc])* pub $field: $type,)* }

        impl Default for $part {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        daf_core::register!(Synthesizer: $part = $name);

        impl $part {
            /// The composition that these settings stand for.
            #[must_use]
            pub fn compose(&self) -> Compose {
                let $settings = self;
                $compose
            }
        }

        #[typetag::serde(name = $part::NAME)]
        impl Synthesizer for $part {
            fn synthesize(
                &self,
                normal: &RgbImage,
                donors: &dyn Donors,
                rng: &mut dyn Rng,
            ) -> Result<Synthesis, BoxError> {
                self.compose().synthesize(normal, donors, rng)
            }

            fn image_files(&self) -> Vec<PathBuf> {
                self.compose().image_files()
            }

            fn check(&self) -> Result<(), BoxError> {
                let compose = self.compose();
                compose.shape.check()?;
                compose.texture.texture().check()?;
                compose.check_opacity()
            }
        }
    };
}

composition! {
    /// Ragged blobs of Perlin noise, filled with foreign textures: the strategy of DRÆM (Zavrtanik et al.,
    /// ICCV 2021), which DAF trains with.
    ///
    /// Each texture gets three of ten augmentations: contrast, brightness, sharpness, hue and saturation,
    /// solarize, posterize, invert, autocontrast, equalize, rotation.
    Dra = "dra" {
        /// Where textures come from: `procedural` (drawn, needs no files), a folder of images, searched with
        /// its subfolders, e.g. the `images` of the Describable Textures Dataset, as in the paper, or a map
        /// with the `type` of any texture.
        textures: Textures = Textures::default(),
        /// How much of the normal image shows through, drawn for each defect from [low, high] within
        /// 0..=0.99; `[0.0, 0.0]` for opaque defects.
        opacity: Range = OPACITY,
    } => |settings| Compose {
        shape: Arc::new(Perlin::default()),
        texture: settings.textures.clone(),
        augment: true,
        opacity: settings.opacity,
    }
}

composition! {
    /// One rectangle, filled with a foreign texture: DAF's "Simple Shape".
    ///
    /// Textures are drawn and augmented as for `dra`. The paper gives no sizes; the defaults are CutPaste's.
    SimpleShape = "simple_shape" {
        /// Where textures come from: `procedural` (drawn, needs no files), a folder of images, searched with
        /// its subfolders, e.g. the `images` of the Describable Textures Dataset, as in the paper, or a map
        /// with the `type` of any texture.
        textures: Textures = Textures::default(),
        /// Share of the image's area that the rectangle takes, drawn uniformly from [low, high] within 0..=1.
        area: Range = Rectangle::AREA,
        /// Width divided by height of the rectangle, drawn uniformly on a log scale from [low, high] within
        /// 0.01..=100.
        aspect: Range = Rectangle::ASPECT,
        /// How much of the normal image shows through, drawn for each defect from [low, high] within
        /// 0..=0.99; `[0.0, 0.0]` for opaque defects.
        opacity: Range = OPACITY,
    } => |settings| Compose {
        shape: Arc::new(Rectangle { area: settings.area, aspect: settings.aspect }),
        texture: settings.textures.clone(),
        augment: true,
        opacity: settings.opacity,
    }
}

composition! {
    /// Ragged blobs of Perlin noise in one random color: DAF's "Simple Texture".
    ///
    /// The paper says "randomly sampled colors" and no more; here one color is drawn for each defect.
    SimpleTexture = "simple_texture" {
        /// Extent of one color: the whole `anomaly`, each connected `region` of it, or each `pixel`.
        granularity: Granularity = Granularity::default(),
        /// How much of the normal image shows through, drawn for each defect from [low, high] within
        /// 0..=0.99; `[0.0, 0.0]` for opaque defects.
        opacity: Range = OPACITY,
    } => |settings| Compose {
        shape: Arc::new(Perlin::default()),
        texture: Textures::of(Color { granularity: settings.granularity }),
        augment: false,
        opacity: settings.opacity,
    }
}

composition! {
    /// One rectangle in one random color: DAF's "Simple Texture-Shape", the plainest defect there is.
    ///
    /// The paper gives no sizes; the defaults are CutPaste's.
    SimpleTextureShape = "simple_texture_shape" {
        /// Share of the image's area that the rectangle takes, drawn uniformly from [low, high] within 0..=1.
        area: Range = Rectangle::AREA,
        /// Width divided by height of the rectangle, drawn uniformly on a log scale from [low, high] within
        /// 0.01..=100.
        aspect: Range = Rectangle::ASPECT,
        /// Extent of one color: the whole `anomaly`, each connected `region` of it, or each `pixel`.
        granularity: Granularity = Granularity::default(),
        /// How much of the normal image shows through, drawn for each defect from [low, high] within
        /// 0..=0.99; `[0.0, 0.0]` for opaque defects.
        opacity: Range = OPACITY,
    } => |settings| Compose {
        shape: Arc::new(Rectangle { area: settings.area, aspect: settings.aspect }),
        texture: Textures::of(Color { granularity: settings.granularity }),
        augment: false,
        opacity: settings.opacity,
    }
}

composition! {
    /// A piece of the image pasted elsewhere, its colors jittered: CutPaste (Li et al., CVPR 2021).
    ///
    /// There is no official code; of the paper's aspects, 0.3 to 1 or 1 to 3.3, both halves are equally
    /// likely here too.
    CutPaste = "cutpaste" {
        /// Share of the image's area that the piece takes, drawn uniformly from [low, high] within 0..=1.
        area: Range = Rectangle::AREA,
        /// Width of the piece divided by its height, drawn uniformly on a log scale from [low, high] within
        /// 0.01..=100.
        aspect: Range = Rectangle::ASPECT,
        /// By how much brightness, contrast, saturation and hue of the piece may change, 0..=0.5.
        jitter: f64 = SameImage::JITTER,
    } => |settings| Compose {
        shape: Arc::new(Rectangle { area: settings.area, aspect: settings.aspect }),
        texture: Textures::of(SameImage { jitter: settings.jitter, angle: Range(0.0, 0.0) }),
        augment: false,
        opacity: Range(0.0, 0.0),
    }
}

composition! {
    /// A small turned rectangle of the image pasted elsewhere, its colors jittered: CutPaste's scar.
    ///
    /// Sizes are those of an image whose shorter side has 256 pixels; others scale them.
    CutPasteScar = "cutpaste_scar" {
        /// Width in pixels at 256 × 256, drawn uniformly from [low, high] within 1..=256.
        width: Range = Scar::WIDTH,
        /// Height in pixels at 256 × 256, drawn uniformly from [low, high] within 1..=256.
        height: Range = Scar::HEIGHT,
        /// Degrees by which the scar, and what it shows, is turned clockwise, drawn uniformly from [low,
        /// high] within −180..=180.
        angle: Range = Scar::ANGLE,
        /// By how much brightness, contrast, saturation and hue of the piece may change, 0..=0.5.
        jitter: f64 = SameImage::JITTER,
    } => |settings| Compose {
        shape: Arc::new(Scar { width: settings.width, height: settings.height, angle: settings.angle }),
        // In the paper the content turns with the rectangle. Here both turn within the same range, each by an
        // angle of its own: shape and texture are drawn apart, and in so small a piece it cannot be seen.
        texture: Textures::of(SameImage { jitter: settings.jitter, angle: settings.angle }),
        augment: false,
        opacity: Range(0.0, 0.0),
    }
}

/// A patch or a scar, by the toss of a coin: CutPaste's union.
///
/// The class of a patch is 0, that of a scar 1, so that a classifier can tell normal, patch and scar apart
/// ("3-way").
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CutPasteUnion {
    /// Settings of the patches, those of `cutpaste`.
    pub patch: CutPaste,
    /// Settings of the scars, those of `cutpaste_scar`.
    pub scar: CutPasteScar,
    /// Share of the samples that get a scar, 0..=1; the others get a patch.
    pub scar_share: f64,
}

impl Default for CutPasteUnion {
    fn default() -> Self {
        Self {
            patch: CutPaste::default(),
            scar: CutPasteScar::default(),
            scar_share: 0.5,
        }
    }
}

daf_core::register!(Synthesizer: CutPasteUnion = "cutpaste_union");

#[typetag::serde(name = CutPasteUnion::NAME)]
impl Synthesizer for CutPasteUnion {
    fn synthesize(
        &self,
        normal: &RgbImage,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Synthesis, BoxError> {
        let is_scar = rng.random::<f64>() < self.scar_share;
        let mut outcome = if is_scar {
            self.scar.synthesize(normal, donors, rng)
        } else {
            self.patch.synthesize(normal, donors, rng)
        }?;
        if let Synthesis::Anomalous(synthetic) = &mut outcome {
            synthetic.class = u8::from(is_scar);
        }
        Ok(outcome)
    }

    fn classes(&self) -> u8 {
        2
    }

    fn check(&self) -> Result<(), BoxError> {
        self.patch.check().map_err(|error| format!("patch.{error}"))?;
        self.scar.check().map_err(|error| format!("scar.{error}"))?;
        if (0.0..=1.0).contains(&self.scar_share) {
            Ok(())
        } else {
            let found = self.scar_share;
            Err(format!("scar_share: expected a share of 0 to 1, found {found}").into())
        }
    }
}
