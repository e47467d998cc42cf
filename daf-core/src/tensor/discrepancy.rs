//! Discrepancy of an image: comparison of features with those of a student or with what is known of normal ones.

use std::fmt::Debug;

use tch::Tensor;

use super::backbone::Stage;
use super::method::{Fit, Losses};
use super::threads::each;
use crate::block::Blocks;
use crate::contract::{self, Broken};
use crate::{BoxError, Kind, guard};

/// Measure of how features differ from what is normal: from a student's, or from what was kept of normal images.
#[typetag::serde(tag = "type")]
pub trait DiscrepancyMeasure: Debug + Send + Sync {
    /// The maps that it gives for features of these stages, of rising stages: by default one of one channel for each.
    fn maps(&self, stages: &[Stage]) -> Vec<MapSize> {
        let one = |stage| MapSize { stage, channels: 1 };
        (0..stages.len()).map(one).collect()
    }

    /// The [residuals](Comparison::residual) that it gives besides where they are asked for, at the stages of some of its maps.
    fn residuals(&self, stages: &[Stage]) -> Vec<MapSize> {
        let _ = stages;
        Vec::new()
    }

    /// Whether it compares teacher and student. Without a student only measures that do not can be used.
    fn needs_student(&self) -> bool {
        true
    }

    /// Whether it reads [`Compared::seen`], which costs a forward pass of the teacher in training.
    fn needs_seen(&self) -> bool {
        !self.needs_student()
    }

    /// Builds the comparator of features of these stages, fine to coarse. Its weights and what it is fitted with lie below
    /// `blocks`; a measure without either leaves that empty.
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

/// Size of a map, N×`channels`×h×w at the size of the features of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapSize {
    /// Index of the stage, 0 for the finest.
    pub stage: usize,
    /// Number of channels.
    pub channels: i64,
}

impl dyn DiscrepancyMeasure + '_ {
    /// As [`build`](DiscrepancyMeasure::build), with every map and loss checked.
    ///
    /// # Errors
    /// The measure's own, or [`Broken`] if it panics or its maps cannot be.
    pub fn build_checked(&self, blocks: &Blocks, stages: &[Stage]) -> Result<Box<dyn Comparator>, BoxError> {
        let name = self.typetag_name();
        let build = || {
            self.build(blocks, stages)
                .map_err(|reason| format!("measure `{name}`: {reason}").into())
        };
        let comparator = contract::call(Kind::DiscrepancyMeasure, name, "building", build)?;
        let (maps, residuals) = (self.maps(stages), self.residuals(stages));
        for (what, sizes) in [("maps", &maps), ("residuals", &residuals)] {
            let rises = sizes.is_sorted_by(|a, b| a.stage < b.stage);
            let fits = |size: &MapSize| size.stage < stages.len() && size.channels > 0;
            if !rises || !sizes.iter().all(fits) || (what == "maps" && sizes.is_empty()) {
                let count = stages.len();
                let what =
                    format!("`{what}`: expected rising stages of {count} with channels, found {sizes:?}");
                return Err(Broken::new(Kind::DiscrepancyMeasure, name, what).into());
            }
        }
        Ok(Box::new(Checked {
            name,
            comparator,
            maps,
            residuals,
        }))
    }
}

/// A comparator whose maps and losses are checked.
#[derive(Debug)]
struct Checked {
    name: &'static str,
    comparator: Box<dyn Comparator>,
    maps: Vec<MapSize>,
    residuals: Vec<MapSize>,
}

impl Checked {
    fn check(&self, found: &[Comparison], compared: &Compared) -> Result<(), String> {
        let stages: Vec<usize> = found.iter().map(|found| found.stage).collect();
        let expected: Vec<usize> = self.maps.iter().map(|map| map.stage).collect();
        let complete = match compared.maps {
            true => stages == expected,
            false => stages.is_sorted_by(|a, b| a < b) && stages.iter().all(|stage| expected.contains(stage)),
        };
        if !complete {
            return Err(format!(
                "maps: expected those of stages {expected:?}, found {stages:?}"
            ));
        }
        for found in found {
            self.check_stage(found, compared)?;
        }
        Ok(())
    }

    fn check_stage(&self, found: &Comparison, compared: &Compared) -> Result<(), String> {
        let at_stage = |sizes: &[MapSize]| sizes.iter().find(|size| size.stage == found.stage).copied();
        let features = [compared.teacher, compared.seen, compared.student]
            .iter()
            .find_map(|features| features.get(found.stage))
            .map(Tensor::size);
        let check = |what: &str, map: &Tensor, size: Option<MapSize>| match (features.as_deref(), size) {
            (Some([n, _, h, w]), Some(MapSize { channels, .. })) if map.size() != [*n, channels, *h, *w] => {
                let (expected, found) = ([*n, channels, *h, *w], map.size());
                let (expected, found) = (contract::size(&expected), contract::size(&found));
                Err(format!("{what}: expected {expected}, found {found}"))
            }
            _ => Ok(()),
        };
        let size = at_stage(&self.maps);
        check("map", &found.map, size)?;
        if let Some(map) = &found.learned_from {
            check("map that decoders learn from", map, size)?;
        }
        let residual = at_stage(&self.residuals);
        match &found.residual {
            Some(given) => check("residual", given, residual)?,
            None if residual.is_some() && compared.residuals => {
                return Err(format!(
                    "residual of stage {}: expected, found none",
                    found.stage + 1
                ));
            }
            None => {}
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
    fn compare(&self, compared: &Compared) -> Result<Vec<Comparison>, BoxError> {
        let name = self.name;
        let compare = || {
            let compared = self.comparator.compare(compared);
            compared.map_err(|reason| format!("measure `{name}`: {reason}").into())
        };
        let found = contract::call(Kind::DiscrepancyMeasure, name, "comparing", compare)?;
        match self.check(&found, compared) {
            Ok(()) => Ok(found),
            Err(what) => Err(Broken::new(Kind::DiscrepancyMeasure, name, what).into()),
        }
    }

    fn fit(&mut self, when: Fit, features: &dyn NormalFeatures) -> Result<bool, BoxError> {
        let comparator = self.comparator.as_mut();
        guard::catch(|| comparator.fit(when, features))
            .unwrap_or_else(|caught| Err(contract::fault(Kind::DiscrepancyMeasure, self.name, caught)))
    }

    fn kept_patches(&self) -> u64 {
        self.comparator.kept_patches()
    }
}

/// A discrepancy measure on a device. Several threads may compare at the same time: a tensor of its own stands behind a
/// [`Mutex`](std::sync::Mutex), which is held while a [`shallow_clone`](Tensor::shallow_clone) is taken.
pub trait Comparator: Debug + Send + Sync {
    /// Compares the features of all stages. Gives one comparison for each of the measure's [maps](DiscrepancyMeasure::maps), in
    /// their order; where `compared` asks for no maps, those without losses may be left out.
    ///
    /// # Errors
    /// If it was not fitted, or what it was fitted with does not suit these features.
    fn compare(&self, compared: &Compared) -> Result<Vec<Comparison>, BoxError>;

    /// Takes from the features of undamaged images what is not learned by steps, such as a memory, and writes it into its
    /// [buffers](Blocks::buffer); called as [`Model::fit`](crate::Model::fit) is. Says whether any of them has changed.
    ///
    /// # Errors
    /// If an image cannot be read or processed.
    fn fit(&mut self, when: Fit, features: &dyn NormalFeatures) -> Result<bool, BoxError> {
        let _ = (when, features);
        Ok(false)
    }

    /// Number of patches of normal images that it keeps, for messages; 0 if it keeps none.
    fn kept_patches(&self) -> u64 {
        0
    }
}

/// Features of N images that a measure compares, and what is asked of it. Features are N×C×h×w for every stage, fine to coarse.
#[derive(Debug, Clone, Copy)]
pub struct Compared<'a> {
    /// The teacher's features: in training of the undamaged images, otherwise of the images at hand. Empty without a student.
    pub teacher: &'a [Tensor],
    /// The student's features of the images at hand, in training the damaged ones. Empty without a student.
    pub student: &'a [Tensor],
    /// The teacher's features of the images at hand. Empty if the measure does not [need](DiscrepancyMeasure::needs_seen) them,
    /// or no maps are asked for.
    pub seen: &'a [Tensor],
    /// The teacher's features of the images at hand at other scales, given where `seen` is; `None` if there is no way to have them.
    pub scaled: Option<&'a dyn ScaledFeatures>,
    /// N×1×h×w for every stage, 1 where the image is undamaged and 0 elsewhere: asks for the loss terms.
    pub normal: Option<&'a [Tensor]>,
    /// Which training image each of the N is one of, or was one of before it was damaged; `None` for images that are new. What was
    /// kept of an image is not compared with that image itself.
    pub indices: Option<&'a [usize]>,
    /// Whether maps are asked for; without, only losses are.
    pub maps: bool,
    /// Whether [residuals](Comparison::residual) are asked for.
    pub residuals: bool,
}

impl<'a> Compared<'a> {
    /// Features of new images in inference; asks for maps. Without a student `student` is empty.
    #[must_use]
    pub const fn of(teacher: &'a [Tensor], student: &'a [Tensor]) -> Self {
        Self {
            teacher,
            student,
            seen: teacher,
            scaled: None,
            normal: None,
            indices: None,
            maps: true,
            residuals: false,
        }
    }

    /// Compares teacher and student stage by stage, for measures to which stages are independent of each other: two stages at a
    /// time as [`each`] does, unless loss terms or derivatives are wanted.
    pub fn by_stage(&self, compare: impl Fn(&StagePair) -> (Tensor, Losses) + Sync) -> Vec<Comparison> {
        let pair = |(stage, (teacher, student)): (usize, (&Tensor, &Tensor))| StagePair {
            stage,
            teacher: teacher.shallow_clone(),
            student: student.shallow_clone(),
            normal: self
                .normal
                .and_then(|normal| normal.get(stage))
                .map(Tensor::shallow_clone),
        };
        let pairs = self.teacher.iter().zip(self.student).enumerate().map(pair);
        let compare = |pair: StagePair| {
            let (map, losses) = compare(&pair);
            Comparison {
                losses,
                ..Comparison::new(pair.stage, map)
            }
        };
        let derived = self.normal.is_some() || self.student.iter().any(Tensor::requires_grad);
        match self.student.first() {
            Some(first) if !derived => each(first.device(), pairs, compare),
            _ => pairs.map(compare).collect(),
        }
    }
}

/// Features that a network gives of images at other scales; computed when they are asked for.
pub trait ScaledFeatures: Debug {
    /// N×C×h×w of every stage, fine to coarse, for the images resized by this factor, over 0. A side of S pixels becomes S·`scale`,
    /// rounded to a multiple of the network's stride.
    fn at(&self, scale: f64) -> Vec<Tensor>;
}

/// Features that teacher and student give at one stage.
#[derive(Debug)]
pub struct StagePair {
    /// Index of the stage, 0 for the finest.
    pub stage: usize,
    /// N×C×h×w.
    pub teacher: Tensor,
    /// N×C×h×w.
    pub student: Tensor,
    /// N×1×h×w, as [`Compared::normal`].
    pub normal: Option<Tensor>,
}

/// Discrepancy at one stage.
#[derive(Debug)]
pub struct Comparison {
    /// Index of the stage, 0 for the finest.
    pub stage: usize,
    /// N×D×h×w, larger where an image is less normal. It is at least 0, unless the measure is calibrated or divides by densities.
    pub map: Tensor,
    /// The map that decoders get in the place of `map`, of the same size; `None` where it is the same. A measure that changes its
    /// maps after the training, as a calibration does, keeps here the one that decoders have learned from.
    pub learned_from: Option<Tensor>,
    /// N×C×h×w, the absolute difference between the features and the nearest normal ones, if asked for and the measure has
    /// some.
    pub residual: Option<Tensor>,
    /// Named scalar terms that are small when the student agrees with the teacher on normal regions; empty unless asked
    /// for.
    pub losses: Losses,
}

impl Comparison {
    /// A map without losses and residual.
    #[must_use]
    pub const fn new(stage: usize, map: Tensor) -> Self {
        Self {
            stage,
            map,
            learned_from: None,
            residual: None,
            losses: Losses::new(),
        }
    }

    /// The map for decoders: the same in training and afterwards.
    pub const fn guide(&self) -> &Tensor {
        match &self.learned_from {
            Some(map) => map,
            None => &self.map,
        }
    }
}

/// Features of the undamaged images of the training split, as often as they are asked for.
pub trait NormalFeatures {
    /// Features of all images, always in the same order, in batches.
    fn batches(&self) -> Box<dyn Iterator<Item = Result<FeaturePair<'_>, BoxError>> + '_>;
}

/// Features that teacher and student give of the same undamaged images.
#[derive(Debug)]
pub struct FeaturePair<'a> {
    /// N×C×h×w of every stage.
    pub teacher: Vec<Tensor>,
    /// N×C×h×w of every stage of the trained student; empty [before the training](Fit::BeforeTraining) and without a student.
    pub student: Vec<Tensor>,
    /// Which image of the training split each of the N is one of: tiles of an image have the same index.
    pub indices: Vec<usize>,
    /// The teacher's features at other scales; `None` if there is no way to have them.
    pub scaled: Option<Box<dyn ScaledFeatures + 'a>>,
}
