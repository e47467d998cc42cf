//! Methods: the paper's own, and those that it is compared with. Each of these brings its paper's recipe (input, optimizer, schedule and
//! score) as a layer of YAML over the defaults, which `daf-cli show method/NAME` prints. What departs from the paper or the official
//! code is said at the type of the method.

mod daf;
pub(crate) mod features;
#[cfg(test)]
pub(crate) mod slow;
mod synthetic;

pub use daf::{Auxiliary, Daf, Mining, Segmentation, Targets};
pub use features::{Denoise, Localization, Mkdad, PatchCore, Rd4ad, Stad, Stpm};
pub use synthetic::{
    CutPaste, CutPasteLocalization, Density, Draem, Ensemble, Member, Nsa, SegmentationOnly,
};
