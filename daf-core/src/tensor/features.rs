use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tch::Tensor;

/// Features that frozen networks gave of undamaged training images, kept within a budget of memory so that they need not be
/// computed in every epoch: those of all images or, where these are too many, of none. Clones share what they keep.
#[derive(Debug, Clone)]
pub struct FeatureCache(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    /// Images of the training.
    images: usize,
    bytes_left: usize,
    /// By network and image: every stage, 1×C×h×w. `None` for a network whose features are not kept.
    features: HashMap<&'static str, Option<HashMap<usize, Vec<Tensor>>>>,
}

impl FeatureCache {
    /// An empty one for the features of so many images, with so many bytes on the device that they are computed on; `None` for
    /// 0 bytes, which keep nothing.
    #[must_use]
    pub fn new(bytes: u64, images: usize) -> Option<Self> {
        let kept = Kept {
            images,
            bytes_left: usize::try_from(bytes).unwrap_or(usize::MAX),
            features: HashMap::new(),
        };
        (bytes > 0).then(|| Self(Arc::new(Mutex::new(kept))))
    }

    /// The features of some images, each computed alone if they are not kept; `None` if they are not to be kept, since those
    /// of all images would take too much.
    pub(super) fn get(
        &self,
        network: &'static str,
        indices: &[usize],
        mut compute: impl FnMut(usize) -> Vec<Tensor>,
    ) -> Option<Vec<Vec<Tensor>>> {
        // A panic elsewhere leaves no features half kept.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.features.contains_key(network) {
            let features = compute(0);
            let values = features
                .iter()
                .map(|stage| stage.numel() * stage.kind().elt_size_in_bytes());
            let all = values.sum::<usize>().saturating_mul(kept.images);
            let left = kept.bytes_left.checked_sub(all);
            if let Some(left) = left {
                kept.bytes_left = left;
            } else {
                tracing::info!(
                    "the features of `{network}` take {} MiB for all images, more than trainer.feature_cache_mb has left, so \
                     they are computed in every step",
                    all >> 20
                );
            }
            let first = left.map(|_| HashMap::from([(indices[0], features)]));
            kept.features.insert(network, first);
        }
        let known = kept.features.get_mut(network)?.as_mut()?;
        let of = |(row, index): (usize, &usize)| {
            let features = known.entry(*index).or_insert_with(|| compute(row));
            features.iter().map(Tensor::shallow_clone).collect()
        };
        Some(indices.iter().enumerate().map(of).collect())
    }
}
