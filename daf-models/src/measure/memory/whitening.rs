//! Principal components of features.

use daf_core::BoxError;
use daf_core::block::Blocks;
use tch::{Kind, Tensor};

use super::Whiten;
use crate::measure::Kept;

/// A linear map that is fitted to normal features.
#[derive(Debug)]
pub(super) struct Whitening {
    recipe: Whiten,
    /// Mean of normal features, C.
    mean: Kept,
    /// C×D.
    components: Kept,
}

impl Whitening {
    pub(super) fn new(recipe: Whiten, blocks: &Blocks) -> Self {
        let buffer = |name| Kept::new(blocks.buffer(name, &[0]));
        Self {
            recipe,
            mean: buffer("mean"),
            components: buffer("components"),
        }
    }

    /// Rows Q×C as Q×D.
    ///
    /// # Errors
    /// If it has not been fitted, or to other features.
    pub(super) fn apply(&self, rows: &Tensor) -> Result<Tensor, BoxError> {
        let (mean, components) = (self.mean.get(), self.components.get());
        if mean.numel() == 0 {
            return Err("`whiten` is empty: it has not been fitted to normal images".into());
        }
        // Their shapes come from a file.
        let channels = rows.size()[1];
        if mean.size() != [channels] || components.dim() != 2 || components.size()[0] != channels {
            return Err(format!(
                "`whiten` does not fit: expected components of {channels} channels, found a mean of {:?} and components of {:?}; \
                 it was fitted with other `stages` or another backbone, or is damaged",
                mean.size(),
                components.size()
            )
            .into());
        }
        Ok((rows - mean).mm(&components))
    }

    /// Takes the components of features with these moments.
    ///
    /// # Errors
    /// If there were none.
    pub(super) fn set(&mut self, moments: &Moments) -> Result<(), BoxError> {
        let (mean, covariance) = moments
            .mean_and_covariance()
            .ok_or("there are no normal images to take components from")?;
        // Rising eigenvalues; rounding may leave some below 0.
        let (values, vectors) = covariance.linalg_eigh("L");
        let values = values.clamp_min(0.0);
        let floored = &values + values.mean(Kind::Double) * *self.recipe.floor;
        // Where nothing varies there is nothing to even out.
        let weights = floored.clamp_min(1e-12).pow_tensor_scalar(-self.recipe.power);
        let channels = values.size()[0];
        let kept = self
            .recipe
            .components
            .map_or(channels, |kept| channels.min(*kept));
        let components = (vectors * weights).narrow(1, channels - kept, kept);
        self.mean.set(&mean.to_kind(Kind::Float));
        self.components.set(&components.to_kind(Kind::Float).contiguous());
        Ok(())
    }
}

/// Sums over features, in float64.
#[derive(Debug, Default)]
pub(super) struct Moments {
    count: i64,
    /// Sum of the rows, C, and of their outer products, C×C.
    sums: Option<(Tensor, Tensor)>,
}

impl Moments {
    /// Adds rows Q×C.
    pub(super) fn add(&mut self, rows: &Tensor) {
        let rows = rows.to_kind(Kind::Double);
        let (sum, product) = (rows.sum_dim_intlist(0, false, Kind::Double), rows.tr().mm(&rows));
        self.count += rows.size()[0];
        self.sums = Some(match self.sums.take() {
            Some((sums, products)) => (sums + sum, products + product),
            None => (sum, product),
        });
    }

    /// `None` without rows.
    fn mean_and_covariance(&self) -> Option<(Tensor, Tensor)> {
        let (sum, product) = self.sums.as_ref()?;
        let count = self.count as f64;
        let mean = sum / count;
        let covariance = product / count - mean.outer(&mean);
        Some((mean, covariance))
    }
}
