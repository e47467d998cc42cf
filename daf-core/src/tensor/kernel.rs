//! Choice between the loops of `daf-kernels` and the operations of libtorch.

use tch::{Device, Kind, Tensor};

use crate::{macs, threads};

/// Whether a loop of `daf-kernels` can compute something of these values and is faster than libtorch. They must be float32 or
/// bfloat16 on a CPU and must not require gradients, which the loops do not give.
///
/// In one thread the loops are several times as fast as libtorch. Sharing them among several threads would bring little, since
/// libtorch's own stay awake for some milliseconds after each operation: unless two pieces of work run beside each other
/// ([`each`](threads::each)), several threads are left to libtorch. So is all work while multiply-adds are
/// counted, which are those of the definition.
#[must_use]
pub fn is_faster(values: &[&Tensor]) -> bool {
    let suits = |values: &&Tensor| {
        values.device() == Device::Cpu
            && matches!(values.kind(), Kind::Float | Kind::BFloat16)
            && values.numel() > 0
            && !values.requires_grad()
    };
    let few = tch::get_num_threads() == 1 || threads::in_pairs(Device::Cpu);
    values.iter().all(suits) && few && daf_kernels::are_fast_here() && !macs::is_counting()
}

/// Values of a tensor in row-major order.
#[must_use]
pub fn to_vec_f32(values: &Tensor) -> Vec<f32> {
    let mut numbers = vec![0.0; values.numel()];
    let values = values.to_kind(Kind::Float).contiguous();
    values.copy_data(&mut numbers, values.numel());
    numbers
}
