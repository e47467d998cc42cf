//! A memory of normal patches.

mod coreset;
mod outlier;

use std::sync::Arc;

use crate::backbone::ResNet18;
use crate::teacher::Teacher;
use daf_core::block::channels_last;
use daf_core::config::{Count, OddSize, PartialShare, PositiveShare};
use daf_core::data::Normalization;
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::nn::VarStore;
use daf_core::tch::{Device, Kind, Tensor};
use daf_core::{
    Backbone, Batch, BoxError, BuildContext, Fit, Losses, Maps, Method, Model, NormalImages, Origin, Stage,
    Store, typetag, weights,
};
use serde::{Deserialize, Serialize};

use coreset::k_center;
use outlier::local_outlier_factors;

/// PatchCore: keeps features of normal patches; how far those of an image lie from the nearest is the score.
///
/// Roth et al., CVPR 2022. It does not learn by steps. Features of several stages are averaged over their neighbourhood,
/// brought to the size of the finest and joined; a greedy coreset of all is kept. The map is the distance of every patch
/// to the nearest one that is kept, bilinear at the size of the image; the image's score is the largest, weighed as in the
/// paper (eq. 7).
///
/// Departures: the official code takes the neighbourhood apart and averages it in pieces of 1,024 numbers in all, where
/// this one averages every channel over it; it starts the coreset from distances to ten random patches instead of one
/// patch; and it does not weigh the image's score. The search for the nearest patch is not among the multiply-adds that are
/// reported, which are those of convolutions.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PatchCore {
    /// The network that gives the features.
    pub backbone: Arc<dyn Backbone>,
    /// Which of its stages, counted from 1 and fine to coarse.
    pub stages: Vec<usize>,
    /// Side of the neighbourhood that features are averaged over; odd, 1 takes them as they are. Positions outside the
    /// image count as 0.
    pub patch: OddSize,
    /// Share of the training images' patches that is kept, over 0 to 1.
    pub coreset: PositiveShare,
    /// Length of the random projections in which patches are compared while the coreset is chosen; `null` compares the
    /// features themselves. Memory while fitting is eight bytes times this per patch.
    pub projection: Option<Count>,
    /// How many of the kept patches around the nearest one the image's score is weighed with; 0 does not weigh.
    #[serde(rename = "neighbours")]
    pub neighbors: i64,
    /// Leaves out what looks like a defect among the training images (SoftPatch); `null` trusts them.
    pub denoise: Option<Denoise>,
}
daf_core::register!(Method: PatchCore = "patchcore", recipe = include_str!("../patchcore.yaml"));

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

impl Default for PatchCore {
    fn default() -> Self {
        Self {
            backbone: Arc::new(ResNet18::default()),
            stages: vec![2, 3],
            patch: OddSize::new(3),
            coreset: PositiveShare::new(0.01),
            projection: Some(Count::new(128)),
            neighbors: 9,
            denoise: None,
        }
    }
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

#[typetag::serde(name = PatchCore::NAME)]
impl Method for PatchCore {
    fn learns(&self) -> bool {
        false
    }

    fn normalization(&self) -> Normalization {
        self.backbone.normalization()
    }

    fn stride(&self) -> i64 {
        self.backbone.stride()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
        Ok(Box::new(Memory::new(self, context)?))
    }

    fn check(&self) -> Result<(), BoxError> {
        self.backbone.check()?;
        let known: Vec<Stage> = self.backbone.stages();
        let rises = self.stages.is_sorted_by(|a, b| a < b);
        let inside = self.stages.iter().all(|stage| (1..=known.len()).contains(stage));
        if self.stages.is_empty() || !rises || !inside {
            return Err(format!(
                "`stages` must be rising numbers of 1 to {}, the stages of the backbone, found {:?}",
                known.len(),
                self.stages
            )
            .into());
        }
        if self.neighbors < 0 || self.neighbors == 1 {
            return Err(format!("`neighbours` must be 0 or at least 2, found {}", self.neighbors).into());
        }
        Ok(())
    }
}

/// Distances that are held in memory at once.
const AT_ONCE: i64 = 1 << 23;

struct Memory {
    backbone: Teacher,
    /// Counted from 0.
    stages: Vec<usize>,
    patch: i64,
    coreset: f64,
    projection: Option<i64>,
    neighbors: i64,
    denoise: Option<Denoise>,
    store: VarStore,
    /// The kept patches, M×C.
    features: Tensor,
    /// Their local outlier factors, M; 1 without denoising.
    factors: Tensor,
}

/// Features of the patches of a batch.
struct Patches {
    /// N·h·w×C, image by image and row by row.
    rows: Tensor,
    images: i64,
    height: i64,
    width: i64,
}

impl Memory {
    fn new(method: &PatchCore, context: &BuildContext) -> Result<Self, BoxError> {
        let mut store = VarStore::new(context.device);
        // They take their sizes when the model is fitted.
        let features = store.root().zeros_no_train("features", &[0]);
        let factors = store.root().zeros_no_train("factors", &[0]);
        store.freeze();
        Ok(Self {
            backbone: Teacher::build("backbone", method.backbone.as_ref(), context)?,
            stages: method.stages.iter().map(|stage| stage - 1).collect(),
            patch: *method.patch,
            coreset: *method.coreset,
            projection: method.projection.map(|length| *length),
            neighbors: method.neighbors,
            denoise: method.denoise,
            store,
            features,
            factors,
        })
    }

    fn patches(&self, images: &Tensor) -> Patches {
        let stages = self.backbone.extract(&channels_last(images));
        let fine = stages[self.stages[0]].size();
        let alike = |stage: &usize| {
            let features = stages[*stage].to_kind(Kind::Float);
            let (side, around) = ([self.patch; 2], [self.patch / 2; 2]);
            let averaged = features.avg_pool2d(side, [1, 1], around, false, true, None);
            if averaged.size()[2..] == fine[2..] {
                return averaged;
            }
            averaged.upsample_bilinear2d([fine[2], fine[3]], false, None, None)
        };
        let joined = Tensor::cat(&self.stages.iter().map(alike).collect::<Vec<_>>(), 1);
        let channels = joined.size()[1];
        Patches {
            rows: joined.permute([0, 2, 3, 1]).reshape([-1, channels]),
            images: fine[0],
            height: fine[2],
            width: fine[3],
        }
    }

    /// The nearest kept patch of each row Q×C and its distance, Q each.
    fn nearest(&self, rows: &Tensor) -> (Tensor, Tensor) {
        let squares = self.features.square().sum_dim_intlist(1, false, Kind::Float);
        let transposed = self.features.tr();
        let at_once = (AT_ONCE / self.features.size()[0]).max(1);
        let indices: Vec<Tensor> = rows
            .split(at_once, 0)
            .iter()
            // Squared distances less the row's own square, which is the same for all.
            .map(|rows| (rows.mm(&transposed) * -2.0 + &squares).argmin(1, false))
            .collect();
        let indices = Tensor::cat(&indices, 0);
        // Anew from the differences: the sum above cancels where the distance is small.
        let distances = lengths(&(rows - self.features.index_select(0, &indices)), 1);
        (indices, distances)
    }

    /// Scores of images, N: the largest distance of each, weighed by how the kept patches lie around (paper, eq. 7).
    fn score(&self, patches: &Patches, indices: &Tensor, distances: &Tensor) -> Tensor {
        let by_image = |values: &Tensor| values.view([patches.images, -1]);
        let factors = by_image(&self.factors.index_select(0, indices));
        let (scores, places) = (by_image(distances) * factors).max_dim(1, false);
        let neighbors = self.neighbors.min(self.features.size()[0]);
        if neighbors < 2 {
            return scores;
        }
        let places = places.unsqueeze(1);
        let own = by_image(indices).gather(1, &places, false).squeeze_dim(1);
        let first = Tensor::arange(patches.images, (Kind::Int64, indices.device()));
        let worst = patches.rows.index_select(
            0,
            &(first * (patches.height * patches.width) + places.squeeze_dim(1)),
        );
        let kept = self.features.index_select(0, &own);
        let around = Tensor::cdist(&kept, &self.features, 2.0, 2)
            .topk(neighbors, 1, false, true)
            .1;
        let around =
            self.features
                .index_select(0, &around.flatten(0, -1))
                .view([patches.images, neighbors, -1]);
        let to_all = lengths(&(worst.unsqueeze(1) - around), 2);
        let to_nearest = lengths(&(&worst - kept), 1);
        let share = (to_nearest - to_all.logsumexp([1].as_slice(), false)).exp();
        scores * (1.0 - share)
    }

    /// What patches are compared by while the coreset is chosen: the same random projection of all, on the CPU.
    fn projection(&self, channels: i64, device: Device) -> Option<Tensor> {
        let length = self.projection.filter(|&length| length < channels)?;
        let scale = (length as f64).sqrt();
        Some(Tensor::randn([channels, length], (Kind::Float, Device::Cpu)).to_device(device) / scale)
    }
}

fn lengths(vectors: &Tensor, dimension: i64) -> Tensor {
    vectors
        .square()
        .sum_dim_intlist(dimension, false, Kind::Float)
        .sqrt()
}

/// The rows that may be kept: all but the share with the largest factors.
fn without_largest(factors: &[f32], share: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..factors.len()).collect();
    order.sort_by(|&a, &b| factors[a].total_cmp(&factors[b]));
    let left_out = (factors.len() as f64 * share) as usize;
    order.truncate(factors.len() - left_out);
    order.sort_unstable();
    order
}

impl Model for Memory {
    fn stores(&self) -> Vec<Store<'_>> {
        vec![self.backbone.store(), Store::learned("memory", &self.store)]
    }

    fn origins(&self) -> Vec<Origin> {
        self.backbone.origin().cloned().into_iter().collect()
    }

    fn losses(&self, _: &Batch) -> Result<Losses, BoxError> {
        Err("PatchCore does not learn by steps".into())
    }

    fn fit(&mut self, when: Fit, images: &dyn NormalImages) -> Result<bool, BoxError> {
        if when == Fit::BeforeTraining {
            return Ok(false);
        }
        let mut projected = Vec::new();
        let mut projection = None;
        let (mut per_image, mut count) = (0, 0);
        for batch in images.batches() {
            let patches = self.patches(&batch?);
            let (channels, device) = (patches.rows.size()[1], patches.rows.device());
            let projection = projection.get_or_insert_with(|| self.projection(channels, device));
            let rows = match projection {
                Some(projection) => patches.rows.mm(projection),
                None => patches.rows,
            };
            per_image = patches.height * patches.width;
            count += patches.images;
            projected.push(rows.to_device(Device::Cpu));
        }
        if projected.is_empty() {
            return Err("there are no normal images to take patches from".into());
        }
        // Each form of the patches goes when the next is there: there may be gigabytes of them.
        let joined = Tensor::cat(&projected, 0);
        drop(projected);
        let width = joined.size()[1];
        let all = (count * per_image) as usize;
        let (candidates, factors) = match &self.denoise {
            None => ((0..all).collect(), vec![1.0; all]),
            Some(denoise) => {
                let by_position = joined.view([count, per_image, width]).transpose(0, 1);
                let factors = local_outlier_factors(&by_position.contiguous(), *denoise.neighbors);
                let factors = Vec::<f32>::try_from(factors.tr().contiguous().view(-1))?;
                let candidates = without_largest(&factors, *denoise.share);
                let weighed = if denoise.weigh { factors } else { vec![1.0; all] };
                (candidates, weighed)
            }
        };
        let first = Tensor::randint(candidates.len() as i64, [1], (Kind::Int64, Device::Cpu));
        let first = candidates[first.int64_value(&[0]) as usize];
        let wanted = ((all as f64 * self.coreset).ceil() as usize).min(candidates.len());
        let points = Vec::<f32>::try_from(joined.contiguous().view(-1))?;
        drop(joined);
        let mut taken = k_center(&points, width as usize, &candidates, first, wanted);
        drop(points);
        // In the order of the images, so that they can be taken from one batch after the other.
        taken.sort_unstable();
        let mut kept = Vec::new();
        let (mut passed, mut next) = (0, 0);
        for batch in images.batches() {
            let rows = self.patches(&batch?).rows;
            let end = passed + rows.size()[0] as usize;
            let here = taken[next..].iter().take_while(|&&row| row < end);
            let here: Vec<i64> = here.map(|&row| (row - passed) as i64).collect();
            if !here.is_empty() {
                let indices = Tensor::from_slice(&here).to_device(rows.device());
                kept.push(rows.index_select(0, &indices));
            }
            (passed, next) = (end, next + here.len());
        }
        weights::set(&mut self.features, &Tensor::cat(&kept, 0));
        let factors: Vec<f32> = taken.iter().map(|&row| factors[row]).collect();
        weights::set(&mut self.factors, &Tensor::from_slice(&factors));
        Ok(true)
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        if self.features.numel() == 0 {
            return Err("PatchCore's memory is empty: it has not been fitted to normal images".into());
        }
        let patches = self.patches(images);
        // Their shapes come from a file.
        let (memory, factors) = (self.features.size(), self.factors.size());
        let channels = patches.rows.size()[1];
        if memory.len() != 2 || memory[1] != channels || factors != memory[..1] {
            return Err(format!(
                "PatchCore's memory does not fit: expected patches of {channels} channels, each with a factor, found patches \
                 {memory:?} and factors {factors:?}; it was fitted with other `stages` or another backbone, or is damaged"
            )
            .into());
        }
        let (indices, distances) = self.nearest(&patches.rows);
        let scores = self.score(&patches, &indices, &distances);
        let weighed = distances * self.factors.index_select(0, &indices);
        let map = weighed.view([patches.images, 1, patches.height, patches.width]);
        let size = images.size();
        Ok(Maps {
            discrepancy: vec![map.upsample_bilinear2d([size[2], size[3]], false, None, None)],
            images: Some(scores),
            ..Maps::default()
        })
    }
}

#[cfg(test)]
mod tests;
