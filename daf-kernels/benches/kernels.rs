//! Kernels that ResNet18's first three stages need for an image of 256×256, in one thread.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use daf_kernels::combine::{Term, combine};
use daf_kernels::winograd::{Convolution, Epilogue};
use daf_kernels::{Filter, blur, cosine, ssim};

/// Channels and side of the stages.
const STAGES: [(usize, usize); 3] = [(64, 64), (128, 32), (256, 16)];

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect()
}

fn convolution(criterion: &mut Criterion) {
    for (channels, side) in STAGES {
        // As many as in the two networks: the weights of all of them do not fit into a cache.
        let convolutions: Vec<Convolution> = (0..6)
            .map(|_| Convolution::new(&numbers(9 * channels * channels), &numbers(channels), channels))
            .collect();
        let image = numbers(side * side * channels);
        let mut result = vec![0.0; image.len()];
        let name = format!("six convolutions, {channels} channels, {side}×{side}");
        criterion.bench_function(&name, |bencher| {
            bencher.iter(|| {
                for convolution in &convolutions {
                    convolution.apply(black_box(&image), [side, side], Epilogue::default(), &mut result);
                }
            });
        });
    }
}

fn comparison(criterion: &mut Criterion) {
    for (channels, side) in STAGES {
        let [one, other] = [0, 1].map(|at| numbers(side * side * channels + at).split_off(at));
        // What the border is continued by does not matter here: the edge.
        let sources: Vec<usize> = (0..side + 10)
            .map(|at| at.saturating_sub(5).min(side - 1))
            .collect();
        let filter = Filter {
            weights: vec![1.0 / 11.0; 11],
            rows: sources.clone(),
            columns: sources,
        };
        let mut result = vec![0.0; one.len()];
        criterion.bench_function(&format!("SSIM, {channels} channels, {side}×{side}"), |bencher| {
            bencher.iter(|| {
                ssim::similarity(
                    &filter,
                    [1e-4, 9e-4],
                    black_box(&one),
                    &other,
                    channels,
                    &mut result,
                );
            });
        });
        let mut result = vec![0.0; side * side];
        criterion.bench_function(
            &format!("cosine, {channels} channels, {side}×{side}"),
            |bencher| {
                bencher.iter(|| cosine::similarity(black_box(&one), &other, channels, &mut result));
            },
        );
    }
}

fn smoothing(criterion: &mut Criterion) {
    let (side, radius) = (256_usize, 16);
    let sources: Vec<usize> = (0..side + 2 * radius)
        .map(|at| at.saturating_sub(radius).min(side - 1))
        .collect();
    let filter = Filter {
        weights: vec![1.0 / 33.0; 33],
        rows: sources.clone(),
        columns: sources,
    };
    let map = numbers(side * side);
    let mut result = vec![0.0; map.len()];
    criterion.bench_function("smoothing, 256×256", |bencher| {
        bencher.iter(|| blur::map(&filter, black_box(&map), &mut result));
    });
}

fn shifting(criterion: &mut Criterion) {
    let (side, channels) = (16, 256);
    let parts: Vec<Vec<f32>> = (0..3).map(|_| numbers(side * side * 3 * channels)).collect();
    let parts: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
    // Six terms each, as doubling and three shifts have.
    let terms = |from: usize| -> Vec<Vec<Term>> {
        let of = |at: usize| (0..6).map(|i| ((at + i * 7) % from, 0.25)).collect();
        (0..2 * side).map(of).collect()
    };
    let (rows, columns) = (terms(3 * side), terms(3 * side));
    let (offset, mut result) = (numbers(channels), vec![0.0; 4 * side * side * channels]);
    criterion.bench_function("doubled with nine shifts, 256 channels, 16×16", |bencher| {
        bencher.iter(|| {
            combine(
                black_box(&parts),
                [&rows, &columns],
                3 * side,
                &offset,
                &mut result,
            );
        });
    });
}

criterion_group!(benches, convolution, comparison, smoothing, shifting);
criterion_main!(benches);
