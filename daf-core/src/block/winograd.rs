//! Winograd's algorithm for the 3×3 convolutions of inference in float32 on a CPU.

use std::cell::RefCell;

use daf_winograd::Convolution;
use tch::{Device, Kind, Tensor};

use super::Shape;

/// Whether convolutions of this shape can be computed so, on this processor.
pub(super) fn suits(shape: &Shape) -> bool {
    let Shape { input, output, .. } = *shape;
    *shape
        == Shape {
            bias: shape.bias,
            ..Shape::same(input, output, 3)
        }
        && usize::try_from(input)
            .is_ok_and(|input| usize::try_from(output).is_ok_and(|output| Convolution::fits(input, output)))
        && Convolution::pays()
}

/// Whether it is faster than libtorch's convolution of this input, and nobody asks for a derivative, which it has none of.
///
/// It takes one thread; libtorch with several is faster, and its waiting threads would be in the way of any others.
pub(super) fn pays(input: &Tensor) -> bool {
    input.device() == Device::Cpu
        && input.kind() == Kind::Float
        && !input.requires_grad()
        && tch::get_num_threads() == 1
}

/// Prepares a weight of output×input×3×3 and a bias.
pub(super) fn prepare(weight: &Tensor, bias: &Tensor) -> Convolution {
    let numbers = |tensor: &Tensor| {
        let mut numbers = vec![0.0; tensor.numel()];
        tensor.copy_data(&mut numbers, tensor.numel());
        numbers
    };
    let weight = weight.permute([0, 2, 3, 1]).contiguous();
    let input = usize::try_from(weight.size()[3]).expect("channels are counted");
    Convolution::new(&numbers(&weight), &numbers(bias), input)
}

/// N×input×h×w to N×output×h×w, channels last.
pub(super) fn apply(convolution: &Convolution, input: &Tensor) -> Tensor {
    thread_local! {
        static MEMORY: RefCell<[Vec<f32>; 2]> = RefCell::default();
    }
    let input = input.permute([0, 2, 3, 1]).contiguous();
    let (n, h, w, _) = input.size4().expect("N×h×w×C values");
    let output = convolution.output();
    let positions = (n * h * w) as usize;
    MEMORY
        .with_borrow_mut(|[images, results]| {
            images.resize(input.numel(), 0.0);
            input.copy_data(images, input.numel());
            results.resize(positions * output, 0.0);
            convolution.apply(images, [h as usize, w as usize], results);
            Tensor::from_slice(results)
        })
        .view([n, h, w, output as i64])
        .permute([0, 3, 1, 2])
}
