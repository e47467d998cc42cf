//! 3×3 convolutions on the CPU in a quarter of the multiplications.
//!
//! Winograd's algorithm in the form F(4×4, 3×3) of Lavin and Gray ("Fast algorithms for convolutional neural
//! networks", CVPR 2016): 4×4 results come from a tile of 6×6 values. Tile and kernel are transformed into 36
//! numbers each, for every channel; their products, summed over the channels, are transformed into the
//! results. That takes 36 multiplications per pair of channels where the definition takes 144. The transforms
//! consist of additions, once per channel instead of once per pair.
//!
//! The result equals the definition up to rounding error, which is about ten times that of adding in order: a
//! few millionths for numbers of up to 1. A NaN or infinite value spoils all results of the tiles that it
//! lies in.

mod epilogue;
mod product;
mod tile;

use std::cell::RefCell;

use fearless_simd::{Level, Simd, dispatch};

pub use epilogue::Epilogue;
use product::{BLOCK, Block, CHUNK, Chunk};
use tile::{POINTS, SIDE};

use crate::lanes::{LANES, Lanes};

/// Tiles per pass over the kernels. More take more memory and are no faster.
const TILES: usize = 24;

/// Padding between the numbers of two points, so that they do not all fall to the same cache lines.
const SKEW: usize = 16;

/// A 3×3 convolution with stride 1 and a border of one zero: height and width stay.
#[derive(Debug)]
pub struct Convolution {
    input: usize,
    /// For every [`BLOCK`] output channels, point and input channel.
    weights: Vec<Block>,
    bias: Vec<[Lanes; BLOCK / LANES]>,
}

impl Convolution {
    /// Whether the numbers of channels are supported: multiples of 64 input and of 32 output channels.
    #[must_use]
    pub const fn fits(input: usize, output: usize) -> bool {
        input > 0 && output > 0 && input.is_multiple_of(CHUNK) && output.is_multiple_of(BLOCK)
    }

    /// Prepares a weight of output×3×3×input numbers, and a bias of one number per output channel.
    ///
    /// # Panics
    /// If the channels do not [fit](Self::fits), or the weight is of another length.
    #[must_use]
    pub fn new(weight: &[f32], bias: &[f32], input: usize) -> Self {
        let output = bias.len();
        assert!(
            Self::fits(input, output) && weight.len() == output * 9 * input,
            "{} weights are no 3×3 convolution of {input} to {output} channels",
            weight.len()
        );
        let mut weights = vec![Block::default(); output / BLOCK * POINTS * input];
        for (o, kernels) in weight.chunks_exact(9 * input).enumerate() {
            for channel in 0..input {
                let kernel = std::array::from_fn(|at| f64::from(kernels[at * input + channel]));
                for (point, number) in tile::kernel_transform(&kernel).into_iter().enumerate() {
                    weights[(o / BLOCK * POINTS + point) * input + channel].0[o % BLOCK / LANES][o % LANES] =
                        number as f32;
                }
            }
        }
        Self {
            input,
            weights,
            bias: bias.as_chunks().0.as_chunks().0.to_vec(),
        }
    }

    /// Channels of the result.
    #[must_use]
    pub const fn output(&self) -> usize {
        self.bias.len() * BLOCK
    }

    /// Convolves images of height×width×input numbers, one behind the other, into as many of
    /// height×width×output.
    ///
    /// # Panics
    /// If `images` or `results` are not whole images, or of different number.
    pub fn apply(
        &self,
        images: &[f32],
        [height, width]: [usize; 2],
        epilogue: Epilogue,
        results: &mut [f32],
    ) {
        let (from, to) = (height * width * self.input, height * width * self.output());
        assert!(
            from > 0 && images.len().is_multiple_of(from) && results.len() == images.len() / from * to,
            "{} numbers are no images of {height}×{width}×{}, or {} no room for their results",
            images.len(),
            self.input,
            results.len()
        );
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        SCRATCH.with_borrow_mut(|scratch| {
            for (image, result) in images.chunks_exact(from).zip(results.chunks_exact_mut(to)) {
                let (image, result) = (image.as_chunks().0, result.as_chunks_mut().0);
                dispatch!(Level::new(), simd => self.image(simd, image, [height, width], epilogue, result, scratch));
            }
        });
    }

    #[inline(always)]
    fn image<S: Simd>(
        &self,
        simd: S,
        image: &[Lanes],
        [height, width]: [usize; 2],
        epilogue: Epilogue,
        results: &mut [Lanes],
        scratch: &mut Scratch,
    ) {
        let input = self.input;
        let (down, across) = (height.div_ceil(SIDE), width.div_ceil(SIDE));
        let pitch = TILES * input + SKEW;
        scratch.values.resize(POINTS * pitch, 0.0);
        scratch.sums.resize(POINTS * TILES, Block::default());
        let mut first = 0;
        while first < down * across {
            let tiles = TILES.min(down * across - first);
            let corner = |tile: usize| {
                let tile = first + tile;
                [tile / across * SIDE, tile % across * SIDE]
            };
            for tile in 0..tiles {
                let seen = tile::InputTile::of(
                    image,
                    [height, width],
                    corner(tile),
                    input / LANES,
                    &mut scratch.border,
                );
                let (values, _) = scratch.values.as_chunks_mut::<LANES>();
                for lane in 0..input / LANES {
                    // Numbers of a chunk of channels lie together, tile after tile.
                    let per_chunk = CHUNK / LANES;
                    let at = (lane / per_chunk * tiles + tile) * per_chunk + lane % per_chunk;
                    tile::input_transform(simd, seen, lane, &mut values[at..], pitch / LANES);
                }
            }
            for (block, bias) in self.bias.iter().enumerate() {
                for point in 0..POINTS {
                    let kernels = &self.weights[(block * POINTS + point) * input..][..input];
                    let values: &[Chunk] = scratch.values[point * pitch..][..tiles * input].as_chunks().0;
                    product::sum(simd, values, kernels, &mut scratch.sums[point * TILES..][..tiles]);
                }
                for tile in 0..tiles {
                    let [y, x] = corner(tile);
                    let per_value = self.output() / LANES;
                    let place = tile::OutputTile {
                        size: [SIDE.min(height - y), SIDE.min(width - x)],
                        value: per_value,
                        row: width * per_value,
                    };
                    let first = (y * width + x) * per_value + block * BLOCK / LANES;
                    for (lane, bias) in bias.iter().enumerate() {
                        let (sums, results) = (&scratch.sums[tile..], &mut results[first + lane..]);
                        tile::output_transform(simd, sums, TILES, lane, bias, epilogue, results, place);
                    }
                }
            }
            first += tiles;
        }
    }
}

/// Memory of a thread that is used again and again.
#[derive(Debug, Default)]
struct Scratch {
    /// The values of a tile at the border.
    border: Vec<Lanes>,
    /// The turned tiles: for each point, chunk of input channels and tile, the chunk.
    values: Vec<f32>,
    /// The products, summed over the input channels: for each point and tile, a block of output channels.
    sums: Vec<Block>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers between −1 and 1.
    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// The results, and the sums of the absolute values of what each of them is the sum of.
    fn defined(
        image: &[f32],
        [h, w]: [usize; 2],
        weight: &[f32],
        bias: &[f32],
        input: usize,
    ) -> Vec<(f64, f64)> {
        let mut results = Vec::new();
        for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
            for (kernels, bias) in weight.chunks_exact(9 * input).zip(bias) {
                let mut sum = f64::from(*bias);
                let mut size = sum.abs();
                for (ky, kx) in (0..3).flat_map(|ky| (0..3).map(move |kx| (ky, kx))) {
                    let (row, column) = ((y + ky).wrapping_sub(1), (x + kx).wrapping_sub(1));
                    if row < h && column < w {
                        let values = &image[(row * w + column) * input..][..input];
                        let kernel = &kernels[(ky * 3 + kx) * input..][..input];
                        for (a, b) in values.iter().zip(kernel) {
                            let product = f64::from(*a) * f64::from(*b);
                            sum += product;
                            size += product.abs();
                        }
                    }
                }
                results.push((sum, size));
            }
        }
        results
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn it_agrees_with_the_definition(
            seed in any::<u64>(), h in 1_usize..15, w in 1_usize..30, chunks in 1_usize..3, blocks in 1_usize..3, n in 1_usize..3,
        ) {
            let (input, output) = (chunks * CHUNK, blocks * BLOCK);
            // Results are about as large as values.
            let weight: Vec<f32> = numbers(seed, output * 9 * input).iter().map(|x| x / 24.0).collect();
            let bias = numbers(seed ^ 1, output);
            let images = numbers(seed ^ 2, n * h * w * input);
            let mut found = vec![f32::NAN; n * h * w * output];
            Convolution::new(&weight, &bias, input).apply(&images, [h, w], Epilogue::default(), &mut found);
            let images = images.chunks_exact(h * w * input);
            let expected = images.flat_map(|image| defined(image, [h, w], &weight, &bias, input));
            for (found, (expected, size)) in found.iter().zip(expected) {
                // The transforms take differences of sums: the error goes with the sizes of the terms, not of
                // the result.
                let error = (f64::from(*found) - expected).abs() / size;
                prop_assert!(error < 2e-5, "{found} is not {expected}: {error:e} of {size}");
            }
        }
    }

    #[test]
    fn what_another_size_left_in_memory_is_not_seen() {
        let (input, output) = (CHUNK, BLOCK);
        let convolution = Convolution::new(&numbers(1, output * 9 * input), &numbers(2, output), input);
        let image = numbers(3, 5 * 6 * input);
        let run = || {
            let mut results = vec![0.0; 5 * 6 * output];
            convolution.apply(&image, [5, 6], Epilogue::default(), &mut results);
            results
        };
        let fresh = std::thread::scope(|scope| scope.spawn(run).join().unwrap());
        convolution.apply(
            &vec![f32::NAN; 9 * 31 * input],
            [9, 31],
            Epilogue::default(),
            &mut vec![0.0; 9 * 31 * output],
        );
        assert_eq!(run(), fresh);
    }

    #[test]
    fn an_image_does_not_depend_on_those_beside_it() {
        let (input, output) = (CHUNK, BLOCK);
        let convolution = Convolution::new(&numbers(1, output * 9 * input), &numbers(2, output), input);
        let images = numbers(3, 3 * 7 * 5 * input);
        let mut together = vec![0.0; 3 * 7 * 5 * output];
        convolution.apply(&images, [7, 5], Epilogue::default(), &mut together);
        for (image, expected) in images
            .chunks_exact(7 * 5 * input)
            .zip(together.chunks_exact(7 * 5 * output))
        {
            let mut alone = vec![0.0; 7 * 5 * output];
            convolution.apply(image, [7, 5], Epilogue::default(), &mut alone);
            assert_eq!(alone, expected);
        }
    }

    #[test]
    fn sums_are_added_to_what_is_there_and_those_below_zero_become_zero() {
        let (input, output) = (CHUNK, BLOCK);
        let convolution = Convolution::new(&numbers(1, output * 9 * input), &numbers(2, output), input);
        let image = numbers(3, 6 * 7 * input);
        let there = numbers(4, 6 * 7 * output);
        let run = |accumulate, relu| {
            let mut results = there.clone();
            convolution.apply(&image, [6, 7], Epilogue { accumulate, relu }, &mut results);
            results
        };
        let plain = run(false, false);
        let expected = plain.iter().map(|x| x.max(0.0));
        assert!(expected.eq(run(false, true)));
        let sums = plain.iter().zip(&there).map(|(x, y)| x + y);
        assert!(sums.clone().eq(run(true, false)));
        assert!(sums.map(|x| x.max(0.0)).eq(run(true, true)));
    }

    #[test]
    fn channels_must_come_in_whole_chunks() {
        assert!(Convolution::fits(64, 32) && Convolution::fits(256, 512));
        assert!(!Convolution::fits(3, 64) && !Convolution::fits(64, 16) && !Convolution::fits(0, 32));
    }
}
