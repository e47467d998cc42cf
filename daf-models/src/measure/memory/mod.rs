//! Distance to the nearest of the normal features that were kept.

mod bank;
mod coreset;
mod outlier;
#[cfg(test)]
mod tests;
mod whitening;

use daf_core::block::Blocks;
use daf_core::config::{Count, NotNegative, OddSize, PartialShare, PositiveShare};
use daf_core::{BoxError, Comparator, DiscrepancyMeasure, MapSize, Stage, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use bank::{Bank, Patches, lengths};
#[cfg(test)]
pub(crate) use outlier::local_outlier_factors;

/// Distance of the teacher's features to the nearest of normal ones that were kept: a memory of patches. Needs no student.
///
/// As in PatchCore (Roth et al., CVPR 2022), features of several stages are averaged over their neighborhood, brought to the size of
/// the finest and joined; a greedy coreset of those of all normal training images is kept. There is one map, at the finest of the
/// stages or, with a `scale`, at the one that is as fine then, with one channel. It is at least 0 without `density`. The memory is
/// filled before the training. While a decoder learns, an image is not compared with features that were kept of itself, so that it
/// sees distances as new images have them. The search for the nearest is not among the multiply-adds that are reported, which are
/// those of convolutions.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// Stages whose features are joined, counted from 1 and fine to coarse.
    pub stages: Vec<usize>,
    /// Factor by which images are resized before the network sees them, 0.25 to 4: above 1 small defects are found better, below 1
    /// large and faint ones. Time grows with its square.
    pub scale: f64,
    /// Side of the neighborhood that features are averaged over; odd, 1 takes them as they are. Positions outside the
    /// image count as 0.
    pub patch: OddSize,
    /// Share of the training images' patches that is kept, over 0 to 1.
    pub coreset: PositiveShare,
    /// How many patches are kept at most; `null` keeps the share, however many these are.
    pub limit: Option<Count>,
    /// Evens out how much the directions count in which normal features vary; `null` takes the features as they are.
    pub whiten: Option<Whiten>,
    /// Length of the random projections in which patches are compared while the coreset is chosen; `null` compares the
    /// features themselves. Memory while fitting is eight bytes times this per patch.
    pub projection: Option<Count>,
    /// Leaves out what looks like a defect among the training images (SoftPatch); `null` trusts them.
    pub denoise: Option<Denoise>,
    /// Takes from the squared distance what is usual between normal patches around the nearest one; `null` gives the distance.
    pub density: Option<LocalDensity>,
}
daf_core::register!(DiscrepancyMeasure: Memory = "memory");

impl Default for Memory {
    fn default() -> Self {
        Self {
            stages: vec![2, 3],
            scale: 1.0,
            whiten: None,
            patch: OddSize::new(3),
            coreset: PositiveShare::new(0.01),
            limit: None,
            projection: Some(Count::new(128)),
            denoise: None,
            density: None,
        }
    }
}

/// For training images with defects among them: SoftPatch (Jiang et al., NeurIPS 2022).
///
/// Every patch is compared with those of the other images at its position. The ones that lie farthest out are left out,
/// and distances to the others are multiplied by their local outlier factors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Denoise {
    /// Share of the patches that is left out, 0 to below 1.
    pub share: PartialShare,
    /// Number of neighbors that a patch is compared with.
    #[serde(rename = "neighbours")]
    pub neighbors: Count,
    /// Whether distances are multiplied by the factors of the patches that are kept.
    pub weigh: bool,
}

impl Default for Denoise {
    fn default() -> Self {
        Self {
            share: PartialShare::new(0.15),
            neighbors: Count::new(6),
            weigh: true,
        }
    }
}

/// The map as d²(q, b) − α·m(b) for the patch q of an image and the nearest b of those that are kept, where m(b) is the mean of the
/// squared distances from b to its nearest neighbors among them (local density in k nearest neighbors).
///
/// It may be below 0. The neighbors of b may be of the image of q, also where that image itself is left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocalDensity {
    /// Number of neighbors; fewer where not as many patches are kept.
    #[serde(rename = "neighbours")]
    pub neighbors: Count,
    /// Weight α of their mean squared distance; 0 gives the squared distance.
    pub alpha: NotNegative,
}

impl Default for LocalDensity {
    fn default() -> Self {
        Self {
            neighbors: Count::new(9),
            alpha: NotNegative::new(1.0),
        }
    }
}

/// Principal components of normal features instead of the features: a feature f becomes (f − μ)·uᵢ / (λᵢ + `floor`·λ̄)^`power` for
/// the largest eigenvalues λᵢ of the covariance matrix around the mean μ, with their eigenvectors uᵢ and the mean λ̄ of all of them.
///
/// With the power 0.5 and no floor all directions count alike, as in Mahalanobis' distance; with 0 only the number of components
/// changes anything. Fewer components make the search faster.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Whiten {
    /// Power of the eigenvalues that components are divided by, 0 to 0.5.
    pub power: f64,
    /// What is added to the eigenvalues, in their mean: keeps directions down in which normal features hardly vary.
    pub floor: NotNegative,
    /// How many components are kept at most; `null` keeps all.
    pub components: Option<Count>,
}

impl Default for Whiten {
    fn default() -> Self {
        Self {
            power: 0.25,
            floor: NotNegative::new(0.1),
            components: Some(Count::new(96)),
        }
    }
}

impl Memory {
    /// The comparator, with its tensors below `blocks`: `features` M×C, `factors` M, the images of the features `images` M, with
    /// `density` also `spacing` M, and with `whiten` `mean` and `components`, which make M×D of `features`.
    ///
    /// # Errors
    /// If a stage is not there.
    pub(crate) fn bank(&self, blocks: &Blocks, stages: &[Stage]) -> Result<Bank, BoxError> {
        self.check_stages(stages.len())?;
        let stage = self.joined(stages).map_or(0, |map| map.stage);
        Ok(Bank::new(self, blocks, stage))
    }

    /// Whether the stages are some of a network with `known` stages.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    pub(crate) fn check_stages(&self, known: usize) -> Result<(), BoxError> {
        self.check()?;
        match self.stages.iter().all(|stage| *stage <= known) {
            true => Ok(()),
            false => Err(format!(
                "`stages` must be rising numbers of 1 to {known}, the stages of the backbone, found {:?}",
                self.stages
            )
            .into()),
        }
    }

    /// The map's stage, counted from 0, with the channels of what is compared. Empty if the stages are not there.
    fn joined(&self, stages: &[Stage]) -> Option<MapSize> {
        let channels = |number: &usize| Some(stages.get(number.checked_sub(1)?)?.channels);
        let joined = self.stages.iter().map(channels).sum::<Option<i64>>()?;
        let first = self.stages.first()?.checked_sub(1)?;
        let kept = self.whiten.and_then(|whiten| whiten.components);
        Some(MapSize {
            stage: self.map_stage(stages, first),
            channels: kept.map_or(joined, |kept| joined.min(*kept)),
        })
    }

    /// The coarsest stage up to `first` that is not coarser than `first` is at the scale of this memory; the finest if all are.
    fn map_stage(&self, stages: &[Stage], first: usize) -> usize {
        let stride = |stage: usize| stages.get(stage).map_or(0, |stage| stage.stride) as f64;
        let wanted = stride(first) / self.scale;
        (0..=first)
            .rev()
            .find(|&stage| stride(stage) <= wanted)
            .unwrap_or(0)
    }
}

#[typetag::serde(name = Memory::NAME)]
impl DiscrepancyMeasure for Memory {
    fn maps(&self, stages: &[Stage]) -> Vec<MapSize> {
        let map = self.joined(stages).map(|joined| MapSize {
            channels: 1,
            ..joined
        });
        map.into_iter().collect()
    }

    fn residuals(&self, stages: &[Stage]) -> Vec<MapSize> {
        self.joined(stages).into_iter().collect()
    }

    fn needs_student(&self) -> bool {
        false
    }

    fn build(&self, blocks: &Blocks, stages: &[Stage]) -> Result<Box<dyn Comparator>, BoxError> {
        Ok(Box::new(self.bank(blocks, stages)?))
    }

    fn check(&self) -> Result<(), BoxError> {
        let rises = self.stages.is_sorted_by(|a, b| a < b);
        if self.stages.first().is_none_or(|first| *first == 0) || !rises {
            return Err(format!(
                "`stages` must be rising numbers from 1, the stages of the backbone, found {:?}",
                self.stages
            )
            .into());
        }
        if !(0.25..=4.0).contains(&self.scale) {
            return Err(format!("`scale` must be 0.25 to 4, found {}", self.scale).into());
        }
        match self.whiten {
            Some(Whiten { power, .. }) if !(0.0..=0.5).contains(&power) => {
                Err(format!("`whiten.power` must be 0 to 0.5, found {power}").into())
            }
            _ => Ok(()),
        }
    }
}
