//! A memory of normal patches.

use std::sync::Arc;

use crate::backbone::ResNet18;
use crate::measure::{Bank, Denoise, Memory, Patches, lengths};
use crate::teacher::{Normal, Teacher};
use daf_core::block::{Blocks, Init, channels_last};
use daf_core::config::{Count, OddSize, PositiveShare};
use daf_core::data::Normalization;
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::nn::VarStore;
use daf_core::tch::{Kind, Tensor};
use daf_core::{
    Backbone, Batch, BoxError, BuildContext, Fit, Losses, Maps, Method, Model, NormalImages, Origin, Store,
    typetag,
};
use serde::{Deserialize, Serialize};

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

impl PatchCore {
    /// The memory behind it.
    fn memory(&self) -> Memory {
        Memory {
            stages: self.stages.clone(),
            patch: self.patch,
            coreset: self.coreset,
            projection: self.projection,
            denoise: self.denoise,
            ..Memory::default()
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
        Ok(Box::new(Scoring::new(self, context)?))
    }

    fn check(&self) -> Result<(), BoxError> {
        self.backbone.check()?;
        self.memory().check_stages(self.backbone.stages().len())?;
        if self.neighbors < 0 || self.neighbors == 1 {
            return Err(format!("`neighbours` must be 0 or at least 2, found {}", self.neighbors).into());
        }
        Ok(())
    }
}

/// What scores images with a memory.
struct Scoring {
    backbone: Teacher,
    store: VarStore,
    bank: Bank,
    neighbors: i64,
}

impl Scoring {
    fn new(method: &PatchCore, context: &BuildContext) -> Result<Self, BoxError> {
        let mut store = VarStore::new(context.device);
        let blocks = Blocks::new(store.root(), context.mode, Init::FanOut, context.precision);
        let bank = method.memory().bank(&blocks, &method.backbone.stages())?;
        store.freeze();
        Ok(Self {
            backbone: Teacher::build("backbone", method.backbone.as_ref(), context)?,
            store,
            bank,
            neighbors: method.neighbors,
        })
    }

    /// Scores of images, N: the largest distance of each, weighed by how the kept patches lie around (paper, eq. 7).
    fn score(&self, patches: &Patches, indices: &Tensor, distances: &Tensor) -> Tensor {
        let features = self.bank.features();
        let by_image = |values: &Tensor| values.view([patches.images, -1]);
        let factors = by_image(&self.bank.factors().index_select(0, indices));
        let (scores, places) = (by_image(distances) * factors).max_dim(1, false);
        let neighbors = self.neighbors.min(features.size()[0]);
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
        let kept = features.index_select(0, &own);
        let around = Tensor::cdist(&kept, &features, 2.0, 2)
            .topk(neighbors, 1, false, true)
            .1;
        let around = features
            .index_select(0, &around.flatten(0, -1))
            .view([patches.images, neighbors, -1]);
        let to_all = lengths(&(worst.unsqueeze(1) - around), 2);
        let to_nearest = lengths(&(&worst - kept), 1);
        let share = (to_nearest - to_all.logsumexp([1].as_slice(), false)).exp();
        scores * (1.0 - share)
    }
}

impl Model for Scoring {
    fn stores(&self) -> Vec<Store<'_>> {
        // Runs of before the measure `memory` do not know the image of a patch; only trainings ask for it.
        let memory = Store::learned("memory", &self.store).optional(&["images"]);
        vec![self.backbone.store(), memory]
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
        let (teacher, student) = (&self.backbone, None);
        self.bank.fill(&Normal {
            teacher,
            student,
            images,
        })?;
        Ok(true)
    }

    fn kept_patches(&self) -> u64 {
        self.bank.patch_count()
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let patches = self
            .bank
            .patches(&self.backbone.extract(&channels_last(images)))?;
        let (indices, distances) = self.bank.nearest(&patches.rows, None);
        let scores = self.score(&patches, &indices, &distances);
        let map = self.bank.map(&patches, &indices, distances);
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
