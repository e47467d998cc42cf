//! Gaussian windows over maps.
//!
//! Reflecting the border and blurring with a separable window is one fixed matrix on each side: blur(X) = A·X·Bᵀ, with
//! A (h×h) and B (w×w) holding window and reflection. As matrix products the blur needs no padded copies and no
//! depthwise convolutions, and autograd knows its derivative. Since matrices cost more the longer a line is, long lines are padded
//! and convolved nevertheless.

use std::ops::Range;

use daf_core::kernel::{is_faster, to_vec_f32};
use daf_kernels::blur;
use tch::{Device, Kind, Tensor};

use crate::constants::Constants;

/// Continuation of values beyond the border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Border {
    /// `d c b | a b c d | c b a`: the edge is not repeated (PyTorch's `reflect`).
    Reflect,
    /// `c b a | a b c d | d c b`: the edge is repeated (`reflect` of scipy.ndimage).
    Symmetric,
    /// `0 0 0 | a b c d | 0 0 0`: the padding of PyTorch's convolutions.
    Zero,
}

/// A normalised Gaussian window of odd length.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    weights: Vec<f64>,
    border: Border,
}

/// Length of a line up to which a matrix costs less than a convolution with the same window.
const DENSE: i64 = 256;

/// The same of features on a CPU, for windows of up to a fifth as many weights: a multiplication takes five times as long in a
/// convolution as in a matrix product. On a GPU a convolution takes three operations, a matrix one.
const DENSE_FEATURES: i64 = 64;

/// Number of channels below which products of single rows are too small.
const FEW: i64 = 16;

/// Number of values of large maps that are processed at a time.
pub(crate) const STRIP: i64 = 1 << 22;

impl Window {
    /// A window of 2·`radius` + 1 values whose sum is 1, with this standard deviation.
    #[must_use]
    pub fn gaussian(sigma: f64, radius: usize, border: Border) -> Self {
        let weight = |i: usize| {
            let x = i as f64 - radius as f64;
            (-x * x / (2.0 * sigma * sigma)).exp()
        };
        let raw: Vec<f64> = (0..=2 * radius).map(weight).collect();
        let sum: f64 = raw.iter().sum();
        Self {
            weights: raw.into_iter().map(|w| w / sum).collect(),
            border,
        }
    }

    fn radius(&self) -> i64 {
        (self.weights.len() / 2) as i64
    }

    /// Source of the position `i`, which may lie outside; `None` where the value is zero.
    fn source(&self, i: i64, length: i64) -> Option<i64> {
        let (period, shift) = match self.border {
            Border::Reflect => (2 * (length - 1), 0),
            Border::Symmetric => (2 * length, 1),
            Border::Zero => return (0..length).contains(&i).then_some(i),
        };
        if period == 0 {
            return Some(0);
        }
        let folded = i.rem_euclid(period);
        Some(if folded < length {
            folded
        } else {
            period - shift - folded
        })
    }

    fn weights(&self) -> Vec<f32> {
        self.weights.iter().map(|weight| *weight as f32).collect()
    }

    /// The filter on an image of this size, whose border it continues.
    pub(crate) fn on(&self, height: i64, width: i64) -> daf_kernels::Filter {
        let sources = |length| {
            let positions = -self.radius()..length + self.radius();
            let source = |i| self.source(i, length).expect("the line is continued") as usize;
            positions.map(source).collect()
        };
        daf_kernels::Filter {
            weights: self.weights(),
            rows: sources(height),
            columns: sources(width),
        }
    }

    /// The blur of a line of `length` values as a `length`×`length` matrix.
    fn matrix(&self, length: i64, device: Device) -> Tensor {
        thread_local! {
            static KNOWN: Constants<(Window, i64, Device)> = const { Constants::new() };
        }
        let key = (self.clone(), length, device);
        KNOWN.with(|known| {
            known.get(key, |(window, length, device)| {
                window.new_matrix(*length, *device)
            })
        })
    }

    fn new_matrix(&self, length: i64, device: Device) -> Tensor {
        let mut matrix = vec![0f32; (length * length) as usize];
        for row in 0..length {
            for (k, weight) in (0..).zip(&self.weights) {
                if let Some(column) = self.source(row + k - self.radius(), length) {
                    matrix[(row * length + column) as usize] += *weight as f32;
                }
            }
        }
        Tensor::from_slice(&matrix)
            .view([length, length])
            .to_device(device)
    }

    /// Blurs N×h×w maps, whose border the window continues; large ones in strips of rows where libtorch does it, so that the work
    /// takes little memory beside them.
    pub(crate) fn blur_maps(&self, maps: &Tensor) -> Tensor {
        let (n, h, w) = maps.size3().expect("N×h×w maps");
        if h * w <= STRIP && is_faster(&[maps]) {
            return self.blur_each(maps);
        }
        if n * h * w <= STRIP || h.min(w) <= DENSE {
            return self.blur(&maps.unsqueeze(-1)).squeeze_dim(-1);
        }
        let blurred = maps.empty_like();
        let height = (STRIP / w).max(1);
        for image in 0..n {
            let map = maps.get(image).view([1, h, w, 1]);
            for top in (0..h).step_by(height as usize) {
                let rows = top..(top + height).min(h);
                let count = rows.end - rows.start;
                let strip = self.slide(&self.slide(&map, 1, rows), 2, 0..w).view([count, w]);
                blurred.get(image).narrow(0, top, count).copy_(&strip);
            }
        }
        blurred
    }

    /// Blurs N×h×w×C values over h and w; the channels lie innermost, as channels-last features have them. In the result
    /// columns may come before rows in memory.
    pub fn blur(&self, values: &Tensor) -> Tensor {
        let (n, h, w, c) = values.size4().expect("N×h×w×C values");
        let dense = match values.device() {
            Device::Cpu => DENSE_FEATURES.max(5 * self.weights.len() as i64).min(DENSE),
            _ => DENSE,
        };
        if c >= FEW && h.max(w) > dense {
            return self.slide(&self.slide(values, 1, 0..h), 2, 0..w);
        }
        // Along h there is one large product per image. Along w there is a product per row: with few channels they are so
        // small that MKL takes several times as long as for a large one of the values turned around.
        let rows = self.blur_first(values);
        if c < FEW {
            return self.blur_first(&rows.transpose(1, 2)).transpose(1, 2);
        }
        self.blur_first(&rows.reshape([n * h, w, 1, c]))
            .view([n, h, w, c])
    }

    /// Blurs N×h×w maps of values one after the other, without a derivative.
    fn blur_each(&self, maps: &Tensor) -> Tensor {
        let (_, h, w) = maps.size3().expect("N×h×w maps");
        let window = self.on(h, w);
        let (values, map) = (to_vec_f32(maps), (h * w) as usize);
        let mut blurred = vec![0.0; values.len()];
        for (map, blurred) in values.chunks_exact(map).zip(blurred.chunks_exact_mut(map)) {
            blur::map(&window, map, blurred);
        }
        Tensor::from_slice(&blurred).view([-1, h, w])
    }

    /// Blurs N×`length`×K×C values over `length`.
    fn blur_first(&self, values: &Tensor) -> Tensor {
        let (n, length, k, c) = values.size4().expect("four dimensions");
        let blurred = if length <= DENSE {
            self.matrix(length, values.device())
                .matmul(&values.reshape([n, length, k * c]))
        } else {
            self.slide(&values.reshape([n, length, k * c, 1]), 1, 0..length)
        };
        blurred.view([n, length, k, c])
    }

    /// Blurs N×h×w×C values along dimension 1 or 2, for the positions `wanted` of it, as a convolution of each channel: its
    /// cost per value does not grow.
    fn slide(&self, values: &Tensor, dimension: usize, wanted: Range<i64>) -> Tensor {
        let (length, channels) = (values.size()[dimension], values.size()[3]);
        let radius = self.radius();
        let positions = wanted.start - radius..wanted.end + radius;
        let sources: Option<Vec<i64>> = positions.clone().map(|i| self.source(i, length)).collect();
        let padded = match sources {
            Some(sources) => {
                let sources = Tensor::from_slice(&sources).to_device(values.device());
                values.index_select(dimension as i64, &sources)
            }
            None => {
                let (first, last) = (positions.start.max(0), positions.end.min(length));
                let ends = [first - positions.start, positions.end - last];
                let part = values.narrow(dimension as i64, first, last - first);
                if dimension == 1 {
                    part.constant_pad_nd([0, 0, 0, 0, ends[0], ends[1]])
                } else {
                    part.constant_pad_nd([0, 0, ends[0], ends[1]])
                }
            }
        };
        let mut shape = [1, 1, 1, 1];
        shape[dimension + 1] = -1;
        let kernel = Tensor::from_slice(&self.weights())
            .view(shape)
            .repeat([channels, 1, 1, 1])
            .to_device(values.device());
        padded
            .permute([0, 3, 1, 2])
            .conv2d(&kernel, None::<Tensor>, [1, 1], [0, 0], [1, 1], channels)
            .permute([0, 2, 3, 1])
    }
}

/// Float32 N×h×w×C view of N×C×h×w features.
pub fn channels_innermost(features: &Tensor) -> Tensor {
    features.to_kind(Kind::Float).permute([0, 2, 3, 1]).contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alone::alone;

    fn literal(window: &Window, line: &[f32]) -> Vec<f32> {
        let length = line.len() as i64;
        (0..length)
            .map(|i| {
                let terms = (0i64..).zip(&window.weights).map(|(k, weight)| {
                    let mut j = i + k - window.radius();
                    if window.border == Border::Zero && !(0..length).contains(&j) {
                        return 0.0;
                    }
                    while j < 0 || j >= length {
                        let edge = if window.border == Border::Reflect { 0 } else { 1 };
                        j = if j < 0 {
                            -j - edge
                        } else {
                            2 * length - 2 + edge - j
                        };
                    }
                    weight * f64::from(line[j as usize])
                });
                terms.sum::<f64>() as f32
            })
            .collect()
    }

    #[test]
    fn blurs_agree_with_the_definition_on_both_sides_of_the_switch_to_convolution() {
        alone();
        for border in [Border::Reflect, Border::Symmetric, Border::Zero] {
            let window = Window::gaussian(2.5, 7, border);
            // The other side has one value; of its window, zeros leave the middle alone.
            let other = if border == Border::Zero {
                window.weights[7] as f32
            } else {
                1.0
            };
            for length in [9, DENSE_FEATURES, DENSE_FEATURES + 1, DENSE, DENSE + 1] {
                let line: Vec<f32> = (0..length).map(|i| ((i * 37 % 101) as f32).sin()).collect();
                let expected = literal(&window, &line).into_iter().map(|value| value * other);
                let expected: Vec<f32> = expected.collect();
                let values = Tensor::from_slice(&line);
                for (shape, channels) in [[1, length, 1, 1], [1, 1, length, 1]]
                    .into_iter()
                    .flat_map(|shape| [(shape, 1), (shape, FEW)])
                {
                    let alike = values.view(shape).repeat([1, 1, 1, channels]);
                    let last = window.blur(&alike).select(3, channels - 1);
                    let blurred = Vec::<f32>::try_from(last.reshape(-1)).unwrap();
                    for (found, expected) in blurred.iter().zip(&expected) {
                        assert!(
                            (found - expected).abs() < 1e-5,
                            "{border:?} {length}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn many_channels_are_blurred_as_one_by_one() {
        alone();
        tch::manual_seed(2);
        for (border, [h, w]) in [
            (Border::Reflect, [7, 9]),
            (Border::Zero, [8, 5]),
            (Border::Reflect, [DENSE_FEATURES + 1, 9]),
            (Border::Zero, [8, DENSE_FEATURES + 1]),
            (Border::Symmetric, [3, DENSE + 2]),
        ] {
            let window = Window::gaussian(1.5, 5, border);
            let values = Tensor::randn([2, h, w, FEW], (Kind::Float, Device::Cpu));
            let alone: Vec<Tensor> = (0..FEW)
                .map(|channel| window.blur(&values.narrow(3, channel, 1)))
                .collect();
            let difference = (window.blur(&values) - Tensor::cat(&alone, 3)).abs().max();
            assert!(difference.double_value(&[]) < 1e-6, "{border:?}, {h}×{w}");
        }
    }

    #[test]
    fn strips_of_a_large_map_agree_with_the_whole() {
        alone();
        tch::manual_seed(1);
        let window = Window::gaussian(4.0, 16, Border::Symmetric);
        let maps = Tensor::rand([2, 2100, 2050], (Kind::Float, Device::Cpu));
        let whole = window.blur(&maps.unsqueeze(-1)).squeeze_dim(-1);
        let difference = (window.blur_maps(&maps) - whole).abs().max().double_value(&[]);
        assert!(difference < 1e-6, "{difference}");
    }

    #[test]
    fn a_window_wider_than_the_map_reflects_again_and_again() {
        alone();
        let window = Window::gaussian(4.0, 16, Border::Symmetric);
        let expected = literal(&window, &[1.0, 0.0, 2.0]);
        let blurred = window.blur(&Tensor::from_slice(&[1f32, 0.0, 2.0]).view([1, 3, 1, 1]));
        for (found, expected) in Vec::<f32>::try_from(blurred.reshape(-1))
            .unwrap()
            .iter()
            .zip(&expected)
        {
            assert!((found - expected).abs() < 1e-6);
        }
    }
}
