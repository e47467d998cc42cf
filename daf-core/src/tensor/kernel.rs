//! Where the loops of `daf-kernels` take over from the operations of libtorch.

use tch::{Device, Kind, Tensor};

use crate::{macs, threads};

/// Whether a loop of `daf-kernels` can compute something of these values and is faster than libtorch: float32 or bfloat16 on a
/// CPU, of which nobody asks for a derivative, since the loops have none.
///
/// In one thread they are some times as fast as libtorch is in one. Sharing them among several would bring little, since those of
/// libtorch, awake for some milliseconds after each of its operations, would be in their way: where two pieces of work do not run
/// beside each other ([`each`](threads::each)), several threads of libtorch compute. So they do where
/// multiply-adds are counted, which are those of the definition.
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
