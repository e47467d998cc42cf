//! Discrepancy measures.

mod cosine;
mod l2;
mod ssim;
mod sum;

pub use cosine::Cosine;
pub use l2::L2;
pub use ssim::{Ssim, similarity};
pub use sum::Sum;

use tch::{Kind, Tensor};

/// Mean over the normal positions of N×1×h×w values, over the whole batch; 0 if no position is normal.
fn mean_over_normal(values: &Tensor, normal: &Tensor) -> Tensor {
    (values * normal).sum(Kind::Float) / normal.sum(Kind::Float).clamp_min(1.0)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use daf_core::Comparator;
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::alone::alone;

    #[test]
    fn in_one_pass_over_the_features_maps_are_those_of_the_operations_with_a_derivative() {
        alone();
        let compare = |channels: i64, measure: &dyn Comparator| {
            tch::set_num_threads(1);
            tch::manual_seed(5);
            let draw = || {
                let features = Tensor::randn([2, channels, 9, 13], (Kind::Float, Device::Cpu)).relu();
                // A part of it is constant, where rounding counts most.
                let _ = features.narrow(2, 0, 4).fill_(0.7);
                features
            };
            let (teacher, student) = (draw(), draw());
            let found = measure.compare(0, &teacher, &student, None).map;
            let expected = measure
                .compare(0, &teacher, &student.set_requires_grad(true), None)
                .map;
            assert_eq!(found.size(), expected.size());
            (found - expected).abs().max().double_value(&[])
        };
        let measures: [&dyn Comparator; 2] = [&Cosine::default(), &Ssim::default()];
        for measure in measures {
            for channels in [32, 20] {
                let far = thread::scope(|scope| scope.spawn(|| compare(channels, measure)).join().unwrap());
                assert!(far < 2e-4, "{channels}: {far}");
            }
        }
    }
}
