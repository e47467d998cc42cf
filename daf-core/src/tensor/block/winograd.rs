//! Winograd's algorithm for the 3×3 convolutions of inference on a CPU, in float32.

use std::cell::RefCell;
use std::mem;

use daf_kernels::winograd::{Convolution, Epilogue};
use tch::Tensor;

use super::ConvSpec;
use crate::kernel::to_vec_f32;
use crate::threads::each;

/// Whether Winograd's algorithm can compute a convolution.
pub(super) fn suits(spec: &ConvSpec) -> bool {
    let plain = ConvSpec {
        bias: spec.bias,
        ..ConvSpec::same(spec.input, spec.output, 3)
    };
    let [input, output] = [spec.input, spec.output].map(|channels| usize::try_from(channels).unwrap_or(0));
    *spec == plain && Convolution::fits(input, output)
}

/// Prepares a weight of output×input×3×3 and a bias.
pub(super) fn prepare(weight: &Tensor, bias: &Tensor) -> Convolution {
    let weight = weight.permute([0, 2, 3, 1]);
    let input = usize::try_from(weight.size()[3]).expect("channels are counted");
    Convolution::new(&to_vec_f32(&weight), &to_vec_f32(bias), input)
}

/// Convolutions one after the other, N×input×h×w to N×output×h×w, channels last, with ReLUs between them. The last result is
/// added to `onto`, of the same shape, and rectified if `relu` is set.
pub(super) fn apply(
    convolutions: &[&Convolution],
    input: &Tensor,
    onto: Option<&Tensor>,
    relu: bool,
) -> Tensor {
    let (n, _, h, w) = input.size4().expect("N×C×h×w features");
    let images: Vec<(Tensor, Option<Tensor>)> = (0..n)
        .map(|at| (input.get(at), onto.map(|onto| onto.get(at))))
        .collect();
    let results = each(input.device(), images, |(input, onto)| {
        image(convolutions, &input, onto.as_ref(), relu)
    });
    let results = match &results[..] {
        [one] => one.unsqueeze(0),
        several => Tensor::stack(several, 0),
    };
    results.view([n, h, w, -1]).permute([0, 3, 1, 2])
}

/// Numbers that a thread keeps allocated between images: 4 MB. Beyond that memory is given back.
const KEPT: usize = 1 << 20;

/// Input×h×w to h×w×output.
fn image(convolutions: &[&Convolution], input: &Tensor, onto: Option<&Tensor>, relu: bool) -> Tensor {
    thread_local! {
        static MEMORY: RefCell<[Vec<f32>; 2]> = RefCell::default();
    }
    let innermost = |values: &Tensor| values.permute([1, 2, 0]).contiguous();
    let input = innermost(input);
    let (h, w, _) = input.size3().expect("h×w×C values");
    let size = [h as usize, w as usize];
    MEMORY.with_borrow_mut(|memory| {
        let [values, results] = memory;
        values.resize(input.numel(), 0.0);
        input.copy_data(values, input.numel());
        for (number, convolution) in (1..).zip(convolutions) {
            results.resize(size[0] * size[1] * convolution.output(), 0.0);
            let last = number == convolutions.len();
            let onto = onto.filter(|_| last);
            if let Some(onto) = onto {
                innermost(onto).copy_data(results, onto.numel());
            }
            let epilogue = Epilogue {
                accumulate: onto.is_some(),
                relu: relu || !last,
            };
            convolution.apply(values, size, epilogue, results);
            mem::swap(values, results);
        }
        let found = Tensor::from_slice(values);
        for numbers in memory {
            numbers.truncate(KEPT);
            numbers.shrink_to(KEPT);
        }
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_3_by_3_convolutions_of_enough_channels_are_computed_so() {
        let spec = ConvSpec::same(64, 32, 3);
        assert!(suits(&spec));
        assert!(suits(&spec.with_bias()));
        for other in [
            ConvSpec::same(64, 32, 1),
            ConvSpec::same(64, 32, 5),
            ConvSpec::same(3, 64, 3),
            ConvSpec::same(64, 1, 3),
            spec.stride(2),
            ConvSpec { padding: 0, ..spec },
            ConvSpec {
                dilation: 2,
                padding: 2,
                ..spec
            },
            ConvSpec { groups: 2, ..spec },
        ] {
            assert!(!suits(&other), "{other:?}");
        }
    }
}
