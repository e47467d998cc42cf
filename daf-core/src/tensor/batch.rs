//! Training batches.

use tch::Tensor;

use super::features::FeatureCache;

/// One training batch.
#[derive(Debug)]
pub struct Batch {
    /// Undamaged images, N×3×H×W.
    pub normal: Tensor,
    /// Images after synthesis; `None` without a synthesizer.
    pub synthetic: Option<Synthesized>,
    /// Numbers of the images in the training split.
    pub indices: Vec<usize>,
    /// Features that frozen networks gave of these undamaged images before; `None` where nothing is kept, or where an image does not
    /// look the same every time. See [`frozen_features`](Self::frozen_features).
    pub features: Option<FeatureCache>,
}

/// The damaged half of a batch.
#[derive(Debug)]
pub struct Synthesized {
    /// Damaged images, N×3×H×W.
    pub images: Tensor,
    /// 1 where the image is damaged, 0 elsewhere; N×1×H×W.
    pub mask: Tensor,
    /// Soft targets in 0..=1, N×1×H×W; the mask where the strategy has none.
    pub target: Tensor,
    /// Kind of defect per image; −1 for images that stayed normal.
    pub class: Vec<i64>,
}

impl Batch {
    /// Features that a frozen network gives of the undamaged images: every stage, N×C×h×w. `extract` turns N×3×H×W images into them,
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
