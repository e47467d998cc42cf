//! Comparisons of teacher and student.

use std::fmt::Debug;

use tch::Tensor;

use crate::contract::{self, Broken};
use crate::{BoxError, Kind};

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

impl dyn DiscrepancyMeasure + '_ {
    /// As [`compare`](DiscrepancyMeasure::compare), for methods, with the map and the losses checked. A fault ends the method's
    /// call with [`Broken`].
    pub fn compare_checked(&self, teacher: &Tensor, student: &Tensor, normal: Option<&Tensor>) -> Comparison {
        let (kind, name) = (Kind::DiscrepancyMeasure, self.typetag_name());
        let found = contract::call_within(kind, name, "comparing", || self.compare(teacher, student, normal));
        if let Err(what) = self.check_comparison(&found, teacher) {
            Broken::new(kind, name, what).raise();
        }
        found
    }

    fn check_comparison(&self, found: &Comparison, teacher: &Tensor) -> Result<(), String> {
        if let [n, channels, h, w] = teacher.size()[..] {
            let (expected, map) = ([n, self.channels(channels), h, w], found.map.size());
            if map != expected {
                let (expected, map) = (contract::size(&expected), contract::size(&map));
                return Err(format!("map: expected {expected}, found {map}"));
            }
        }
        match found.losses.iter().find(|(_, loss)| loss.numel() != 1) {
            Some((name, loss)) => Err(format!(
                "loss `{name}`: expected one number, found {}",
                contract::size(&loss.size())
            )),
            None => Ok(()),
        }
    }
}

/// What a measure finds at one stage.
#[derive(Debug)]
pub struct Comparison {
    /// N×1×h×w or N×C×h×w, zero where teacher and student agree, larger where they do not.
    pub map: Tensor,
    /// Named scalar terms that are small when the student agrees with the teacher on normal regions; empty unless asked
    /// for.
    pub losses: Vec<(String, Tensor)>,
}
