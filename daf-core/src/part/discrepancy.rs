//! Comparisons of teacher and student.

use std::fmt::Debug;

use tch::Tensor;

use crate::BoxError;

/// Compares the features of teacher and student at one stage.
#[typetag::serde(tag = "type")]
pub trait DiscrepancyMeasure: Debug + Send + Sync {
    /// Channels of the map for features of so many channels: 1, or one per feature.
    fn channels(&self, features: i64) -> i64;

    /// Compares N×C×h×w features. `normal`, N×1×h×w with 1 where the image is undamaged and 0 elsewhere, asks for the
    /// loss terms as well; map and losses come from one computation.
    fn compare(&self, teacher: &Tensor, student: &Tensor, normal: Option<&Tensor>) -> Comparison;

    /// Checks ranges before any work is done.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

super::boxed_schema!(DiscrepancyMeasure);

/// What a measure finds at one stage.
#[derive(Debug)]
pub struct Comparison {
    /// N×1×h×w or N×C×h×w, zero where teacher and student agree, larger where they do not.
    pub map: Tensor,
    /// Named scalar terms that are small when the student agrees with the teacher on normal regions; empty unless asked
    /// for.
    pub losses: Vec<(String, Tensor)>,
}
