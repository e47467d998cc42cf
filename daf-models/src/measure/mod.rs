//! Discrepancy measures.

mod calibrated;
mod cosine;
mod l2;
mod memory;
mod ssim;
mod sum;

pub use calibrated::Calibrated;
pub use cosine::Cosine;
pub use l2::L2;
#[cfg(test)]
pub(crate) use memory::local_outlier_factors;
pub(crate) use memory::{Bank, Patches, lengths};
pub use memory::{Denoise, LocalDensity, Memory, Whiten};
pub use ssim::{Ssim, similarity};
pub use sum::Sum;

use std::sync::{Mutex, PoisonError};

use tch::{Kind, Tensor};

/// Tensor of a measure that several threads read.
#[derive(Debug)]
struct Kept(Mutex<Tensor>);

impl Kept {
    const fn new(tensor: Tensor) -> Self {
        Self(Mutex::new(tensor))
    }

    fn get(&self) -> Tensor {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .shallow_clone()
    }

    fn set(&mut self, value: &Tensor) {
        daf_core::weights::set(self.0.get_mut().unwrap_or_else(PoisonError::into_inner), value);
    }
}

/// Mean over the normal positions of N×1×h×w values, over the whole batch; 0 if no position is normal.
fn mean_over_normal(values: &Tensor, normal: &Tensor) -> Tensor {
    (values * normal).sum(Kind::Float) / normal.sum(Kind::Float).clamp_min(1.0)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use daf_core::{Comparator, Compared};
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
            let compare = |student: Tensor| {
                let compared = measure.compare(&Compared::of(&[teacher.shallow_clone()], &[student]));
                compared.unwrap().remove(0).map
            };
            let found = compare(student.shallow_clone());
            let expected = compare(student.set_requires_grad(true));
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
