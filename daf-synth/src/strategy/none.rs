//! The strategy that makes no defects.

use daf_core::image::RgbImage;
use daf_core::rand::Rng;
use daf_core::{BoxError, Donors, Synthesis, Synthesizer, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Leaves every image as it is, e.g. as one of the strategies of a `mixture`.
///
/// Alone it trains on normal images only, as `synthesizer: null` does, but without damaged copies
/// to be equal to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Unaltered {}

daf_core::register!(Synthesizer: Unaltered = "none");

#[typetag::serde(name = Unaltered::NAME)]
impl Synthesizer for Unaltered {
    fn synthesize(&self, _: &RgbImage, _: &dyn Donors, _: &mut dyn Rng) -> Result<Synthesis, BoxError> {
        Ok(Synthesis::Unchanged)
    }

    fn classes(&self) -> u8 {
        0
    }
}
