use daf_core::block::Blocks;
use daf_core::{
    BoxError, Comparator, Compared, Comparison, FeaturePair, Fit, NormalFeatures, ScaledFeatures,
};
use tch::{Device, Kind, Tensor};

use super::coreset::k_center;
use super::outlier::local_outlier_factors;
use super::whitening::{Moments, Whitening};
use super::{Denoise, LocalDensity, Memory};
use crate::measure::Kept;

/// Distances that are held in memory at once.
const AT_ONCE: i64 = 1 << 23;

/// Patches of normal images.
#[derive(Debug)]
pub(crate) struct Bank {
    /// Counted from 0.
    stages: Vec<usize>,
    patch: i64,
    /// Of the input.
    scale: f64,
    /// Stage of the map, counted from 0.
    map: usize,
    coreset: f64,
    limit: Option<i64>,
    projection: Option<i64>,
    denoise: Option<Denoise>,
    density: Option<LocalDensity>,
    whitening: Option<Whitening>,
    /// The kept patches, M×C.
    features: Kept,
    /// Their local outlier factors, M; 1 without denoising.
    factors: Kept,
    /// Index of the training image that each is of, M; empty in files of versions that did not keep it.
    images: Kept,
    /// Mean squared distance from each to its neighbors, M; only with `density`.
    spacing: Option<Kept>,
}

/// Features of the patches of a batch.
pub(crate) struct Patches {
    /// N·h·w×C, image by image and row by row.
    pub(crate) rows: Tensor,
    pub(crate) images: i64,
    pub(crate) height: i64,
    pub(crate) width: i64,
}

impl Patches {
    /// Values of every patch, N·h·w×D, as N×D×h×w.
    fn map(&self, values: &Tensor) -> Tensor {
        let values = values.view([self.images, self.height, self.width, -1]);
        values.permute([0, 3, 1, 2])
    }
}

impl Bank {
    pub(super) fn new(recipe: &Memory, blocks: &Blocks, map: usize) -> Self {
        // They take their sizes when the memory is filled.
        let buffer = |name| Kept::new(blocks.buffer(name, &[0]));
        Self {
            stages: recipe.stages.iter().map(|stage| stage - 1).collect(),
            patch: *recipe.patch,
            scale: recipe.scale,
            map,
            coreset: *recipe.coreset,
            limit: recipe.limit.map(|limit| *limit),
            projection: recipe.projection.map(|length| *length),
            denoise: recipe.denoise,
            density: recipe.density,
            whitening: recipe.whiten.map(|whiten| Whitening::new(whiten, blocks)),
            features: buffer("features"),
            factors: buffer("factors"),
            images: Kept::new(blocks.integers("images")),
            spacing: recipe.density.map(|_| buffer("spacing")),
        }
    }

    /// The kept patches, M×C.
    pub(crate) fn features(&self) -> Tensor {
        self.features.get()
    }

    /// Number of the kept patches.
    pub(crate) fn patch_count(&self) -> u64 {
        match self.features().size()[..] {
            [count, _] => count.unsigned_abs(),
            _ => 0,
        }
    }

    /// Local outlier factors of the kept patches, M.
    pub(crate) fn factors(&self) -> Tensor {
        self.factors.get()
    }

    /// The patches of features N×C×h×w of every stage of the network.
    ///
    /// # Errors
    /// If the memory has not been filled, or not with such patches.
    pub(crate) fn patches(&self, stages: &[Tensor]) -> Result<Patches, BoxError> {
        let patches = self.whitened(stages)?;
        let (memory, factors) = (self.features().size(), self.factors().size());
        let (images, channels) = (self.images.get().size(), patches.rows.size()[1]);
        if memory.iter().product::<i64>() == 0 {
            return Err("the memory is empty: it has not been fitted to normal images".into());
        }
        // Their shapes come from a file.
        let spacing = self.spacing.as_ref().map(|spacing| spacing.get().size());
        let fits = memory.len() == 2
            && memory[1] == channels
            && factors == memory[..1]
            && (images == memory[..1] || images == [0])
            && spacing.as_ref().is_none_or(|spacing| *spacing == memory[..1]);
        if !fits {
            return Err(format!(
                "the memory does not fit: expected patches of {channels} channels, each with a factor, found patches {memory:?}, \
                 factors {factors:?}, images {images:?} and spacing {spacing:?}; it was fitted with other `stages`, without \
                 `density` or with another backbone, or is damaged"
            )
            .into());
        }
        Ok(patches)
    }

    fn whitened(&self, stages: &[Tensor]) -> Result<Patches, BoxError> {
        let patches = self.joined(stages)?;
        Ok(match &self.whitening {
            Some(whitening) => Patches {
                rows: whitening.apply(&patches.rows)?,
                ..patches
            },
            None => patches,
        })
    }

    fn joined(&self, stages: &[Tensor]) -> Result<Patches, BoxError> {
        if self.stages.last().is_none_or(|last| *last >= stages.len()) {
            let known = stages.len();
            return Err(format!(
                "`stages`: expected some of {known} stages, found {:?}",
                self.stages
            )
            .into());
        }
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
        Ok(Patches {
            rows: joined.permute([0, 2, 3, 1]).reshape([-1, channels]),
            images: fine[0],
            height: fine[2],
            width: fine[3],
        })
    }

    /// The nearest kept patch of each row Q×C and its distance, Q each. With the training image of every row, Q, those of that
    /// image are passed over.
    pub(crate) fn nearest(&self, rows: &Tensor, images: Option<&Tensor>) -> (Tensor, Tensor) {
        let features = self.features();
        let squares = features.square().sum_dim_intlist(1, false, Kind::Float);
        let transposed = features.tr();
        let at_once = (AT_ONCE / features.size()[0]).max(1);
        let own = images.map(|images| (images.split(at_once, 0), self.images.get()));
        let nearest = |(number, rows): (usize, &Tensor)| {
            // Squared distances less the row's own square, which is the same for all.
            let distances = rows.mm(&transposed) * -2.0 + &squares;
            let distances = match &own {
                Some((images, kept)) => {
                    let same = images[number].unsqueeze(1).eq_tensor(kept);
                    distances.masked_fill(&same, f64::INFINITY)
                }
                None => distances,
            };
            distances.argmin(1, false)
        };
        let rows_at_once = rows.split(at_once, 0);
        let indices: Vec<Tensor> = rows_at_once.iter().enumerate().map(nearest).collect();
        let indices = Tensor::cat(&indices, 0);
        // Anew from the differences: the sum above cancels where the distance is small.
        let distances = lengths(&(rows - features.index_select(0, &indices)), 1);
        (indices, distances)
    }

    /// The training image of each patch, N·h·w, of the images of a batch; `None` if they are new, or nothing would be left to
    /// compare them with.
    fn owners(&self, indices: Option<&[usize]>, patches: &Patches) -> Option<Tensor> {
        let kept = self.images.get();
        let indices = indices.filter(|indices| indices.len() as i64 == patches.images)?;
        if kept.numel() == 0 || kept.min().equal(&kept.max()) {
            return None;
        }
        let indices: Vec<i64> = indices.iter().map(|index| *index as i64).collect();
        let indices = Tensor::from_slice(&indices).to_device(kept.device());
        Some(indices.repeat_interleave_self_int(patches.height * patches.width, 0, None))
    }

    /// Distances to the kept patches with these indices, as the map has them.
    pub(crate) fn weighed(&self, indices: &Tensor, distances: Tensor) -> Tensor {
        let weighed = distances * self.factors().index_select(0, indices);
        match (&self.density, &self.spacing) {
            (Some(density), Some(spacing)) => {
                weighed.square() - spacing.get().index_select(0, indices) * *density.alpha
            }
            _ => weighed,
        }
    }

    /// The map N×1×h×w of patches.
    pub(crate) fn map(&self, patches: &Patches, indices: &Tensor, distances: Tensor) -> Tensor {
        patches.map(&self.weighed(indices, distances))
    }

    /// What patches are compared by while the coreset is chosen: the same random projection of all, on the CPU.
    fn projection(&self, channels: i64, device: Device) -> Option<Tensor> {
        let length = self.projection.filter(|&length| length < channels)?;
        let scale = (length as f64).sqrt();
        Some(Tensor::randn([channels, length], (Kind::Float, Device::Cpu)).to_device(device) / scale)
    }

    /// Fills the memory from the teacher's features of normal images, which are asked for twice.
    ///
    /// # Errors
    /// If an image cannot be read, or there is none.
    pub(crate) fn fill(&mut self, features: &dyn NormalFeatures) -> Result<(), BoxError> {
        let scale = self.scale;
        let normal = |batch: &FeaturePair| at_scale(scale, &batch.teacher, batch.scaled.as_deref());
        if self.whitening.is_some() {
            let mut moments = Moments::default();
            for batch in features.batches() {
                moments.add(&self.joined(&normal(&batch?)?)?.rows);
            }
            if let Some(whitening) = &mut self.whitening {
                whitening.set(&moments)?;
            }
        }
        let mut projected = Vec::new();
        let mut projection = None;
        let (mut per_image, mut count) = (0, 0);
        for batch in features.batches() {
            let patches = self.whitened(&normal(&batch?)?)?;
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
        let limit = self.limit.map_or(usize::MAX, |limit| limit as usize);
        let wanted = ((all as f64 * self.coreset).ceil() as usize).min(candidates.len());
        let points = Vec::<f32>::try_from(joined.contiguous().view(-1))?;
        drop(joined);
        let mut taken = k_center(&points, width as usize, &candidates, first, wanted.min(limit));
        drop(points);
        // In the order of the images, so that they can be taken from one batch after the other.
        taken.sort_unstable();
        let (mut kept, mut images) = (Vec::new(), Vec::new());
        let (mut passed, mut next) = (0, 0);
        for batch in features.batches() {
            let batch = batch?;
            let rows = self.whitened(&normal(&batch)?)?.rows;
            let end = passed + rows.size()[0] as usize;
            let here = taken[next..].iter().take_while(|&&row| row < end);
            let here: Vec<i64> = here.map(|&row| (row - passed) as i64).collect();
            if !here.is_empty() {
                let indices = Tensor::from_slice(&here).to_device(rows.device());
                kept.push(rows.index_select(0, &indices));
            }
            let image = |row: &i64| {
                batch
                    .indices
                    .get((row / per_image) as usize)
                    .map(|index| *index as i64)
            };
            images.extend(here.iter().filter_map(image));
            (passed, next) = (end, next + here.len());
        }
        if images.len() != taken.len() {
            return Err("normal images came without their indices, or changed while they were read".into());
        }
        let kept = Tensor::cat(&kept, 0);
        if let (Some(density), Some(buffer)) = (&self.density, &mut self.spacing) {
            buffer.set(&spacing(&kept, *density.neighbors));
        }
        self.features.set(&kept);
        let factors: Vec<f32> = taken.iter().map(|&row| factors[row]).collect();
        self.factors.set(&Tensor::from_slice(&factors));
        self.images.set(&Tensor::from_slice(&images));
        Ok(())
    }
}

impl Comparator for Bank {
    fn compare(&self, compared: &Compared) -> Result<Vec<Comparison>, BoxError> {
        if !compared.maps {
            return Ok(Vec::new());
        }
        let patches = self.patches(&at_scale(self.scale, compared.seen, compared.scaled)?)?;
        let owners = self.owners(compared.indices, &patches);
        let (indices, distances) = self.nearest(&patches.rows, owners.as_ref());
        let residual = || {
            let nearest = self.features().index_select(0, &indices);
            patches.map(&(&patches.rows - nearest).abs())
        };
        // At another scale there are not as many positions.
        let size = compared.seen.get(self.map).map(Tensor::size);
        let at_stage = |map: Tensor| match size.as_deref() {
            Some([_, _, h, w]) if map.size()[2..] != [*h, *w] => {
                map.upsample_bilinear2d([*h, *w], false, None, None)
            }
            _ => map,
        };
        Ok(vec![Comparison {
            residual: compared.residuals.then(residual).map(at_stage),
            ..Comparison::new(self.map, at_stage(self.map(&patches, &indices, distances)))
        }])
    }

    fn fit(&mut self, when: Fit, features: &dyn NormalFeatures) -> Result<bool, BoxError> {
        match when {
            Fit::BeforeTraining => self.fill(features).map(|()| true),
            Fit::AfterTraining => Ok(false),
        }
    }

    fn kept_patches(&self) -> u64 {
        self.patch_count()
    }
}

/// The teacher's features at a scale.
///
/// # Errors
/// If there is no way to have them.
fn at_scale(
    scale: f64,
    unscaled: &[Tensor],
    scaled: Option<&dyn ScaledFeatures>,
) -> Result<Vec<Tensor>, BoxError> {
    match scaled {
        _ if scale == 1.0 => Ok(unscaled.iter().map(Tensor::shallow_clone).collect()),
        Some(scaled) => Ok(scaled.at(scale)),
        None => Err(format!("`scale: {scale}`: there are no features at other scales here; use 1").into()),
    }
}

pub(crate) fn lengths(vectors: &Tensor, dimension: i64) -> Tensor {
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

/// Mean squared distance from each of M×C points to its so many nearest others, M; 0 for a point alone.
fn spacing(points: &Tensor, neighbors: i64) -> Tensor {
    let (count, channels) = (points.size()[0], points.size()[1]);
    let neighbors = neighbors.min(count - 1);
    let options = (Kind::Float, points.device());
    if neighbors < 1 {
        return Tensor::zeros([count], options);
    }
    let squares = points.square().sum_dim_intlist(1, false, Kind::Float);
    let transposed = points.tr();
    let at_once = (AT_ONCE / count.max(neighbors * channels)).max(1);
    let own = Tensor::arange(count, (Kind::Int64, points.device())).unsqueeze(1);
    let of = |(rows, own): (Tensor, Tensor)| {
        let distances = rows.mm(&transposed) * -2.0 + &squares;
        let others = distances.scatter_value(1, &own, f64::INFINITY);
        let nearest = others.topk(neighbors, 1, false, false).1;
        let nearest = points.index_select(0, &nearest.flatten(0, -1));
        let differences = rows.unsqueeze(1) - nearest.view([-1, neighbors, channels]);
        let squared = differences.square().sum_dim_intlist(2, false, Kind::Float);
        squared.mean_dim(1, false, Kind::Float)
    };
    let rows = points.split(at_once, 0).into_iter().zip(own.split(at_once, 0));
    Tensor::cat(&rows.map(of).collect::<Vec<_>>(), 0)
}
