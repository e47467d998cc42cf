//! Methods that learn from synthetic defects.
//!
//! | `method.type` | learns | image score |
//! |---|---|---|
//! | `draem` | to undo the damage, then to find it beside what was restored | largest local mean |
//! | `nsa` | to map seamless patches, with soft targets if these are asked for | mean of the map |
//! | `cutpaste` | to tell pasted images from normal ones; a density judges the embeddings | Mahalanobis distance |
//! | `segmentation_only` | to segment and to decide, supervised by synthetic defects alone | its own decision |
//! | `ensemble` | whatever its members do, each for itself | as its members and the scorer say |

mod cutpaste;
mod density;
mod draem;
mod ensemble;
mod nsa;
mod segmentation_only;

pub use cutpaste::{CutPaste, Localization as CutPasteLocalization};
pub use density::Density;
pub use draem::Draem;
pub use ensemble::{Ensemble, Member};
pub use nsa::Nsa;
pub use segmentation_only::SegmentationOnly;

use daf_core::{Batch, BoxError, Synthesized};

/// The damaged half of a batch, without which none of these methods learns.
fn damaged(batch: &Batch) -> Result<&Synthesized, BoxError> {
    batch
        .synthetic
        .as_ref()
        .ok_or_else(|| "the method learns from synthetic defects: name a `synthesizer`".into())
}

/// Refuses a width that is no number of channels.
fn check_width(name: &str, width: i64) -> Result<(), BoxError> {
    if (1..=4096).contains(&width) {
        Ok(())
    } else {
        Err(format!("`{name}` must be 1 to 4096 channels, found {width}").into())
    }
}
