//! Convolutions of up-sampled features at a quarter of their cost.

use daf_core::block::{ConvNorm, pointwise};
use daf_core::kernel::{is_faster, to_vec_f32};
use daf_core::macs::scaled;
use daf_kernels::LANES;
use daf_kernels::combine::{Term, combine};
use tch::{Device, Kind, Tensor};

use super::bilinear;
use crate::constants::Constants;
use crate::window::channels_innermost;

/// Positions per side up to which the matrices of [`conv_upsampled`] cost less than they save.
pub(super) const LONGEST: i64 = 256;

/// A block's 3×3 convolution, without its ReLU, of features that are first up-sampled bilinearly to `size`, a multiple of theirs: as
/// [`conv_upsampled`] where that is cheaper.
pub(super) fn convolve_upsampled(block: &ConvNorm, input: &Tensor, size: [i64; 2]) -> Tensor {
    if input.size()[2..].iter().any(|&side| side > LONGEST) {
        return block.forward(&bilinear(input, size));
    }
    block.run(|weight, bias| conv_upsampled(input, &shifted(weight), bias, size))
}

/// The weights of [`conv_upsampled`] for the weight O×C×3×3 of a convolution: for each vertical shift 3·O×C×1×1, those of the
/// horizontal shifts one behind the other.
pub(super) fn shifted(weight: &Tensor) -> Vec<Tensor> {
    let (outputs, channels, ..) = weight.size4().expect("O×C×3×3 weights");
    let shift = |vertical| {
        weight
            .select(2, vertical)
            .permute([2, 0, 1])
            .reshape([3 * outputs, channels, 1, 1])
    };
    (0..3).map(shift).collect()
}

/// A 3×3 convolution (zeros around) of N×C×h×w features that are first up-sampled bilinearly to `size`, a multiple of h×w:
/// N×O×H×W, exact up to rounding. The weights are [`shifted`].
///
/// A 3×3 convolution is the sum of nine 1×1 convolutions of shifted features, and a 1×1 convolution mixes channels where
/// up-sampling and shifting mix places: they commute. So the nine run at h×w, which saves as many multiply-adds as there
/// are more positions after up-sampling, in training twice more on the way back. What is left up-samples, shifts and
/// adds: a matrix on each side, or where that is faster sums of few rows and columns.
pub(super) fn conv_upsampled(
    input: &Tensor,
    weights: &[Tensor],
    bias: Option<&Tensor>,
    size: [i64; 2],
) -> Tensor {
    let (n, _, h, w) = input.size4().expect("N×C×h×w features");
    let outputs = weights[0].size()[0] / 3;
    let [height, width] = size;
    let factor = (height * width / (h * w)).max(1);
    let shift = |weight: &Tensor| scaled(factor as u64, || pointwise(input, weight, None));
    let parts: Vec<Tensor> = weights.iter().map(shift).collect();
    if (outputs as usize).is_multiple_of(LANES) && is_faster(&parts.iter().collect::<Vec<_>>()) {
        return combined(parts, bias, size);
    }
    let parts = parts
        .iter()
        .map(|part| part.permute([0, 2, 3, 1]).reshape([n, h, w * 3 * outputs]));
    let parts = Tensor::cat(&parts.collect::<Vec<_>>(), 1);
    let (kind, device) = (parts.kind(), parts.device());
    thread_local! {
        static KNOWN: Constants<(i64, i64, Kind, Device)> = const { Constants::new() };
    }
    let known = |from, to| KNOWN.with(|known| known.get((from, to, kind, device), matrices));
    let rows = known(h, height).permute([1, 0, 2]).reshape([height, 3 * h]);
    let columns = known(w, width).permute([1, 2, 0]).reshape([width, w * 3]);
    let sum = rows.matmul(&parts).view([n * height, w * 3, outputs]);
    let sum = columns.matmul(&sum).view([n, height, width, outputs]);
    let sum = match bias {
        Some(bias) => sum + bias,
        None => sum,
    };
    sum.permute([0, 3, 1, 2])
}

/// The sum of N×3·O×h×w parts, one for each vertical shift, up-sampled and shifted, in float32, without matrices, whose cost grows
/// with the length of a line.
fn combined(parts: Vec<Tensor>, bias: Option<&Tensor>, [height, width]: [i64; 2]) -> Tensor {
    let (n, channels, h, w) = parts[0].size4().expect("N×3·O×h×w parts");
    let outputs = channels / 3;
    let rows = terms_of(h, height, |shift, source| shift * h as usize + source);
    let columns = terms_of(w, width, |shift, source| source * 3 + shift);
    let offset = bias.map_or_else(|| vec![0.0; outputs as usize], to_vec_f32);
    let parts: Vec<Vec<f32>> = parts
        .into_iter()
        .map(|part| to_vec_f32(&channels_innermost(&part)))
        .collect();
    let mut sums = vec![0.0; (n * height * width * outputs) as usize];
    let images = sums.chunks_exact_mut((height * width * outputs) as usize);
    for (at, sums) in images.enumerate() {
        let part = (h * w * channels) as usize;
        let parts: Vec<&[f32]> = parts.iter().map(|parts| &parts[at * part..][..part]).collect();
        combine(&parts, [&rows, &columns], 3 * w as usize, &offset, sums);
    }
    Tensor::from_slice(&sums)
        .view([n, height, width, outputs])
        .permute([0, 3, 1, 2])
}

/// Terms of [`shifts`] by position, with their indices mapped by `place`.
fn terms_of(from: i64, to: i64, place: impl Fn(usize, usize) -> usize) -> Vec<Vec<Term>> {
    let mut terms = vec![Vec::new(); to as usize];
    shifts(from, to, |shift, position, source, weight| {
        terms[position].push((place(shift, source), weight));
    });
    terms
}

/// 3×`to`×`from`: for each shift the terms of [`shifts`].
fn matrices(&(from, to, kind, device): &(i64, i64, Kind, Device)) -> Tensor {
    let mut values = vec![0f32; (3 * to * from) as usize];
    shifts(from, to, |shift, position, source, weight| {
        values[(shift * to as usize + position) * from as usize + source] += weight;
    });
    Tensor::from_slice(&values)
        .view([3, to, from])
        .to_kind(kind)
        .to_device(device)
}

/// Terms of the bilinear up-sampling of a line of `from` values to `to` (corners not aligned, libtorch's default) and the shift
/// behind it, with zeros from outside: with shift 0, 1 and 2 a position holds the value before it, its own and the next. A term
/// has a shift, a position, the index of a value and its weight.
fn shifts(from: i64, to: i64, mut term: impl FnMut(usize, usize, usize, f32)) {
    let (long, short) = (to as usize, from as usize);
    for shift in 0..3 {
        for position in 0..long {
            let Some(before) = (position + shift).checked_sub(1).filter(|&before| before < long) else {
                continue;
            };
            let source = ((before as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
            let first = (source as usize).min(short - 1);
            let share = (source - first as f64) as f32;
            term(shift, position, first, 1.0 - share);
            term(shift, position, (first + 1).min(short - 1), share);
        }
    }
}

#[cfg(test)]
mod tests {
    use daf_core::macs::count;

    use super::*;
    use crate::alone::alone;

    /// From and to: doubled, a single row, different factors, as they are.
    const SIZES: [([i64; 2], [i64; 2]); 4] = [
        ([4, 7], [8, 14]),
        ([1, 3], [2, 6]),
        ([3, 2], [9, 6]),
        ([4, 4], [4, 4]),
    ];

    fn literal(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>, size: [i64; 2]) -> Tensor {
        let large = input.upsample_bilinear2d(size, false, None, None);
        large.conv2d(weight, bias, [1, 1], [1, 1], [1, 1], 1)
    }

    #[test]
    fn it_agrees_with_up_sampling_before_the_convolution_and_so_do_its_gradients() {
        alone();
        tch::manual_seed(4);
        let draw = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let (weight, bias) = (draw(&[5, 6, 3, 3]), draw(&[5]));
        for (small, size) in SIZES {
            let input = draw(&[2, 6, small[0], small[1]]);
            for bias in [None, Some(&bias)] {
                let found = conv_upsampled(&input, &shifted(&weight), bias, size);
                let expected = literal(&input, &weight, bias, size);
                assert_eq!(found.size(), expected.size());
                let far = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
                assert!(far(&found, &expected) < 5e-5, "{small:?} to {size:?}");
                let cotangent = Tensor::randn_like(&found);
                let gradients = |y: &Tensor| {
                    let sum = (y * &cotangent).sum(Kind::Float);
                    Tensor::run_backward(&[sum], &[&input, &weight], false, false)
                };
                for (found, expected) in gradients(&found).iter().zip(gradients(&expected)) {
                    assert!(far(found, &expected) < 1e-4, "{small:?} to {size:?}");
                }
            }
        }
    }

    #[test]
    fn sums_of_rows_and_columns_are_what_matrices_give() {
        alone();
        tch::manual_seed(5);
        for kind in [Kind::Float, Kind::BFloat16] {
            let draw = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(kind);
            let (weight, bias) = (draw(&[LANES as i64, 6, 3, 3]), draw(&[LANES as i64]));
            for (small, size) in SIZES {
                let input = draw(&[2, 6, small[0], small[1]]);
                let single = |values: &Tensor| values.to_kind(Kind::Float);
                for bias in [None, Some(&bias)] {
                    let weights = shifted(&weight);
                    let parts = weights.iter().map(|weight| pointwise(&input, weight, None));
                    let found = combined(parts.collect(), bias, size);
                    let bias = bias.map(single);
                    let expected = literal(&single(&input), &single(&weight), bias.as_ref(), size);
                    assert_eq!((found.size(), found.kind()), (expected.size(), Kind::Float));
                    // Only the parts are rounded to bfloat16.
                    let (far, largest) = ((found - &expected).abs().max(), expected.abs().max());
                    let bound = if kind == Kind::Float { 1e-5 } else { 1e-2 };
                    assert!((far / largest).double_value(&[]) < bound, "{small:?} to {size:?}");
                }
            }
        }
    }

    #[test]
    fn it_saves_the_multiply_adds_that_up_sampling_adds() {
        alone();
        let input = Tensor::zeros([1, 6, 4, 4], (Kind::Float, Device::Cpu));
        let weight = Tensor::zeros([5, 6, 3, 3], (Kind::Float, Device::Cpu));
        let (_, counted) = count(|| conv_upsampled(&input, &shifted(&weight), None, [8, 8]));
        assert_eq!(counted.defined, 8 * 8 * 9 * 6 * 5);
        assert_eq!(counted.carried_out, counted.defined / 4);
    }
}
