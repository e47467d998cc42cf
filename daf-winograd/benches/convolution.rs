//! The convolutions of ResNet18's first three stages for an image of 256×256, in one thread.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use daf_winograd::Convolution;

fn convolutions(criterion: &mut Criterion) {
    for (channels, side) in [(64, 64), (128, 32), (256, 16)] {
        let numbers =
            |count: usize| -> Vec<f32> { (0..count).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect() };
        let convolution = Convolution::new(&numbers(9 * channels * channels), &numbers(channels), channels);
        let image = numbers(side * side * channels);
        let mut result = vec![0.0; image.len()];
        criterion.bench_function(&format!("{channels} channels, {side}×{side}"), |bencher| {
            bencher.iter(|| convolution.apply(black_box(&image), [side, side], &mut result));
        });
    }
}

criterion_group!(benches, convolutions);
criterion_main!(benches);
