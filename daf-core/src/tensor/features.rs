use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tch::Tensor;

use crate::Batch;

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
    fn get(
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

impl Batch {
    /// What a frozen network makes of the undamaged images: every stage, N×C×h×w. `extract` turns N×3×H×W images into them,
    /// and must give the same for the same image as long as the training lasts; `network` tells several networks of a model
    /// apart.
    ///
    /// With a [`FeatureCache`] that has room for all images, each is computed once, and alone, so that the features do not
    /// depend on what else is in the batch: a resumed training sees the same ones, bit for bit.
    pub fn frozen_features(
        &self,
        network: &'static str,
        extract: impl Fn(&Tensor) -> Vec<Tensor>,
    ) -> Vec<Tensor> {
        let one = |row: usize| extract(&self.normal.narrow(0, row as i64, 1));
        let kept = self.features.as_ref().filter(|_| !self.indices.is_empty());
        let Some(images) = kept.and_then(|cache| cache.get(network, &self.indices, one)) else {
            return extract(&self.normal);
        };
        let stages = images.first().map_or(0, Vec::len);
        (0..stages)
            .map(|stage| {
                let images: Vec<&Tensor> = images.iter().map(|stages| &stages[stage]).collect();
                Tensor::cat(&images, 0)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tch::{Device, Kind};

    use super::*;

    fn batch(indices: &[usize], features: Option<&FeatureCache>) -> Batch {
        let values: Vec<f32> = indices.iter().map(|&index| index as f32).collect();
        Batch {
            normal: Tensor::from_slice(&values)
                .view([-1, 1, 1, 1])
                .expand([-1, 3, 4, 4], false),
            synthetic: None,
            indices: indices.to_vec(),
            features: features.cloned(),
        }
    }

    /// Two stages of an image, of 16 and 4 values; `computed` counts images.
    fn extract(images: &Tensor, computed: &Cell<i64>) -> Vec<Tensor> {
        computed.set(computed.get() + images.size()[0]);
        let first = images.narrow(1, 0, 1) + 0.5;
        vec![
            first.shallow_clone(),
            first.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None),
        ]
    }

    #[test]
    fn features_of_an_image_are_computed_once_and_are_those_of_the_network() {
        let cache = FeatureCache::new(1 << 20, 4);
        let computed = Cell::new(0);
        let first =
            batch(&[3, 1], cache.as_ref()).frozen_features("teacher", |images| extract(images, &computed));
        assert_eq!(computed.get(), 2);
        let again =
            batch(&[1, 2, 3], cache.as_ref()).frozen_features("teacher", |images| extract(images, &computed));
        assert_eq!(computed.get(), 3);
        assert!(first[0].get(0).equal(&again[0].get(2)) && first[1].get(1).equal(&again[1].get(0)));
        let plain = batch(&[1, 2, 3], None).frozen_features("teacher", |images| extract(images, &computed));
        assert!(plain.iter().zip(&again).all(|(a, b)| a.equal(b)));
        batch(&[1], cache.as_ref()).frozen_features("another", |images| extract(images, &computed));
        assert_eq!(computed.get(), 7, "networks do not share features");
    }

    #[test]
    fn features_that_exceed_the_budget_are_computed_for_the_whole_batch() {
        // An image takes 20 float32 values.
        for (images, expected) in [(2, 3), (3, 1 + 3 + 3)] {
            let cache = FeatureCache::new(2 * 80 + 79, images);
            let computed = Cell::new(0);
            for _ in 0..2 {
                let found = batch(&[0, 1, 2], cache.as_ref())
                    .frozen_features("teacher", |images| extract(images, &computed));
                assert_eq!(found[0].size(), [3, 1, 4, 4]);
            }
            assert_eq!(computed.get(), expected);
        }
        assert!(FeatureCache::new(0, 1).is_none());
    }

    #[test]
    fn features_keep_their_layout_and_kind() {
        let extract = |images: &Tensor| {
            let zeros = Tensor::zeros([images.size()[0], 2, 2, 8], (Kind::BFloat16, Device::Cpu));
            vec![zeros.permute([0, 3, 1, 2])]
        };
        let found =
            batch(&[0, 1], FeatureCache::new(1 << 20, 4).as_ref()).frozen_features("teacher", extract);
        assert_eq!(found[0].kind(), Kind::BFloat16);
        assert_eq!(found[0].stride(), [32, 1, 16, 8]);
    }
}
