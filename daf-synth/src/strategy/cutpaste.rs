//! CutPaste's strategies.

use daf_core::image::RgbImage;
use daf_core::rand::{Rng, RngExt};
use daf_core::{BoxError, Donors, Outcome, Synthesizer, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Recipe;
use crate::range::Range;
use crate::shape::{Rectangle, Scar};
use crate::texture::SameImage;

/// A piece of the image pasted elsewhere, its colours jittered: CutPaste (Li et al., CVPR 2021).
///
/// There is no official code; of the paper's aspects, 0.3 to 1 or 1 to 3.3, both halves are equally likely here too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CutPaste {
    /// Share of the image's area that the piece takes, drawn uniformly from [low, high] within 0..=1.
    pub area: Range,
    /// Width of the piece divided by its height, drawn uniformly on a log scale from [low, high] within 0.01..=100.
    pub aspect: Range,
    /// By how much brightness, contrast, saturation and hue of the piece may change, 0..=0.5.
    pub jitter: f64,
}

impl Default for CutPaste {
    fn default() -> Self {
        Self {
            area: Rectangle::AREA,
            aspect: Rectangle::ASPECT,
            jitter: SameImage::JITTER,
        }
    }
}

daf_core::register!(Synthesizer: CutPaste = "cutpaste");

impl CutPaste {
    fn parts(&self) -> (Rectangle, SameImage) {
        let shape = Rectangle {
            area: self.area,
            aspect: self.aspect,
        };
        let texture = SameImage {
            jitter: self.jitter,
            angle: Range(0.0, 0.0),
        };
        (shape, texture)
    }
}

#[typetag::serde(name = CutPaste::NAME)]
impl Synthesizer for CutPaste {
    fn synthesize(
        &self,
        normal: &RgbImage,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Outcome, BoxError> {
        let (shape, texture) = self.parts();
        pasted(&shape, &texture).synthesize(normal, donors, rng)
    }

    fn check(&self) -> Result<(), BoxError> {
        let (shape, texture) = self.parts();
        pasted(&shape, &texture).check()
    }
}

/// A small turned rectangle of the image pasted elsewhere, its colours jittered: CutPaste's scar.
///
/// Sizes are those of an image whose shorter side has 256 pixels; others scale them.
// In the paper the content turns with the rectangle. Here both turn within the same range, each by an angle of its own:
// shape and texture are drawn apart, and in so small a piece it cannot be seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CutPasteScar {
    /// Width in pixels at 256 × 256, drawn uniformly from [low, high] within 1..=256.
    pub width: Range,
    /// Height in pixels at 256 × 256, drawn uniformly from [low, high] within 1..=256.
    pub height: Range,
    /// Degrees by which the scar, and what it shows, is turned clockwise, drawn uniformly from [low, high] within
    /// −180..=180.
    pub angle: Range,
    /// By how much brightness, contrast, saturation and hue of the piece may change, 0..=0.5.
    pub jitter: f64,
}

impl Default for CutPasteScar {
    fn default() -> Self {
        Self {
            width: Scar::WIDTH,
            height: Scar::HEIGHT,
            angle: Scar::ANGLE,
            jitter: SameImage::JITTER,
        }
    }
}

daf_core::register!(Synthesizer: CutPasteScar = "cutpaste_scar");

impl CutPasteScar {
    fn parts(&self) -> (Scar, SameImage) {
        let shape = Scar {
            width: self.width,
            height: self.height,
            angle: self.angle,
        };
        let texture = SameImage {
            jitter: self.jitter,
            angle: self.angle,
        };
        (shape, texture)
    }
}

#[typetag::serde(name = CutPasteScar::NAME)]
impl Synthesizer for CutPasteScar {
    fn synthesize(
        &self,
        normal: &RgbImage,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Outcome, BoxError> {
        let (shape, texture) = self.parts();
        pasted(&shape, &texture).synthesize(normal, donors, rng)
    }

    fn check(&self) -> Result<(), BoxError> {
        let (shape, texture) = self.parts();
        pasted(&shape, &texture).check()
    }
}

/// Pastes opaquely.
fn pasted<'a>(shape: &'a dyn daf_core::Shape, texture: &'a SameImage) -> Recipe<'a> {
    Recipe {
        shape,
        texture,
        augment: false,
        opacity: Range(0.0, 0.0),
    }
}

/// A patch or a scar, by the toss of a coin: CutPaste's union.
///
/// The class of a patch is 0, that of a scar 1, so that a classifier can tell normal, patch and scar apart ("3-way").
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    ) -> Result<Outcome, BoxError> {
        let is_scar = rng.random::<f64>() < self.scar_share;
        let mut outcome = if is_scar {
            self.scar.synthesize(normal, donors, rng)
        } else {
            self.patch.synthesize(normal, donors, rng)
        }?;
        if let Outcome::Damaged(synthetic) = &mut outcome {
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
            Err(format!(
                "scar_share: expected a share of 0 to 1, found {}",
                self.scar_share
            )
            .into())
        }
    }
}
