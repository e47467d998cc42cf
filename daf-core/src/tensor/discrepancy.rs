//! Comparisons of teacher and student.

use std::fmt::Debug;

use tch::Tensor;

use super::backbone::Stage;
use super::method::Fit;
use crate::block::Blocks;
use crate::contract::{self, Broken};
use crate::{BoxError, Kind, guard};

/// Measure of how the student's features differ from the teacher's.
#[typetag::serde(tag = "type")]
pub trait DiscrepancyMeasure: Debug + Send + Sync {
    /// Channels of the map for features of so many channels: 1, or one per feature.
    fn channels(&self, features: i64) -> i64;

    /// Builds the comparator of teacher and student, both of which have these stages, fine to coarse. Its weights and what
    /// it is fitted with lie below `blocks`; a measure without either leaves that empty.
    ///
    /// # Errors
    /// If it cannot work with these stages: names what it expects.
    fn build(&self, blocks: &Blocks, stages: &[Stage]) -> Result<Box<dyn Comparator>, BoxError>;

    /// Checks ranges before any work is done.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

super::part!(DiscrepancyMeasure);

impl dyn DiscrepancyMeasure + '_ {
    /// As [`build`](DiscrepancyMeasure::build), with every map and loss checked.
    ///
    /// # Errors
    /// The measure's own, or [`Broken`] if it panics.
    pub fn build_checked(&self, blocks: &Blocks, stages: &[Stage]) -> Result<Box<dyn Comparator>, BoxError> {
        let name = self.typetag_name();
        let build = || {
            self.build(blocks, stages)
                .map_err(|reason| format!("measure `{name}`: {reason}").into())
        };
        Ok(Box::new(Checked {
            name,
            comparator: contract::call(Kind::DiscrepancyMeasure, name, "building", build)?,
            channels: stages.iter().map(|stage| self.channels(stage.channels)).collect(),
        }))
    }
}

/// A comparator whose maps and losses are checked.
#[derive(Debug)]
struct Checked {
    name: &'static str,
    comparator: Box<dyn Comparator>,
    /// Channels of the map of every stage.
    channels: Vec<i64>,
}

impl Checked {
    fn check(&self, stage: usize, found: &Comparison, teacher: &Tensor) -> Result<(), String> {
        if let ([n, _, h, w], Some(channels)) = (&teacher.size()[..], self.channels.get(stage)) {
            let (expected, map) = ([*n, *channels, *h, *w], found.map.size());
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

impl Comparator for Checked {
    fn compare(
        &self,
        stage: usize,
        teacher: &Tensor,
        student: &Tensor,
        normal: Option<&Tensor>,
    ) -> Comparison {
        let compare = || self.comparator.compare(stage, teacher, student, normal);
        let found = contract::call_within(Kind::DiscrepancyMeasure, self.name, "comparing", compare);
        if let Err(what) = self.check(stage, &found, teacher) {
            Broken::new(Kind::DiscrepancyMeasure, self.name, what).raise();
        }
        found
    }

    fn fit(&mut self, when: Fit, features: &dyn NormalFeatures) -> Result<bool, BoxError> {
        let comparator = self.comparator.as_mut();
        guard::catch(|| comparator.fit(when, features))
            .unwrap_or_else(|caught| Err(contract::fault(Kind::DiscrepancyMeasure, self.name, caught)))
    }
}

/// A discrepancy measure on a device. Several threads may compare stages at the same time: a tensor of its own stands behind a
/// [`Mutex`](std::sync::Mutex), which is held while a [`shallow_clone`](Tensor::shallow_clone) is taken.
pub trait Comparator: Debug + Send + Sync {
    /// Compares N×C×h×w features of the stage with this index, 0 for the finest. `normal`, N×1×h×w with 1 where the image is
    /// undamaged and 0 elsewhere, asks for the loss terms as well; map and losses come from one computation.
    fn compare(
        &self,
        stage: usize,
        teacher: &Tensor,
        student: &Tensor,
        normal: Option<&Tensor>,
    ) -> Comparison;

    /// Takes from the features of undamaged images what is not learned by steps, such as a memory, and writes it into its
    /// [buffers](Blocks::buffer); called as [`Model::fit`](crate::Model::fit) is. Says whether any of them has changed.
    ///
    /// # Errors
    /// If an image cannot be read or processed.
    fn fit(&mut self, when: Fit, features: &dyn NormalFeatures) -> Result<bool, BoxError> {
        let _ = (when, features);
        Ok(false)
    }
}

/// Discrepancy of one stage.
#[derive(Debug)]
pub struct Comparison {
    /// N×1×h×w or N×C×h×w, at least 0 and larger where an image is less normal; without fitting it is 0 where teacher and
    /// student agree.
    pub map: Tensor,
    /// Named scalar terms that are small when the student agrees with the teacher on normal regions; empty unless asked
    /// for.
    pub losses: Vec<(String, Tensor)>,
}

/// Features of the undamaged images of the training split, as often as they are asked for.
pub trait NormalFeatures {
    /// Features of all images, always in the same order, in batches.
    fn batches(&self) -> Box<dyn Iterator<Item = Result<FeaturePair, BoxError>> + '_>;
}

/// Features that teacher and student give of the same images.
#[derive(Debug)]
pub struct FeaturePair {
    /// N×C×h×w of every stage.
    pub teacher: Vec<Tensor>,
    /// N×C×h×w of every stage of the trained student; empty [before the training](Fit::BeforeTraining).
    pub student: Vec<Tensor>,
}
