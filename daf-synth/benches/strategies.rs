//! Cost of samples at 256 × 256, the normal image already decoded: `cargo bench -p daf-synth`.
//!
//! * `strategy`: every registered synthesizer with its defaults, `simple_shape` and `dra` with a folder of textures; one
//!   core;
//! * `piece`: what they are made of;
//! * `threads`: `dra` on one and on two threads, which should give twice as many samples.

use std::hint::black_box;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use daf_core::image::RgbImage;
use daf_core::rand::SeedableRng;
use daf_core::{Fill, Kind, Region, Shape, Synthesis, Synthesizer, registry};
use daf_synth::shape::Perlin;
use daf_synth::shape::perlin::Lattice;
use daf_synth::texture::Procedural;
use daf_synth::texture::augment::{Augmentation, augment};
use daf_synth::texture::colorspace::ColorSpace;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const SIZE: u32 = 256;
/// Photographs of textures in the folder.
const TEXTURES: u64 = 64;

fn stream(number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    rng.set_stream(number);
    rng
}

/// A normal image that is no single color.
fn normal() -> RgbImage {
    Procedural::default().image(SIZE, SIZE, &mut stream(u64::MAX))
}

/// Every registered strategy, and `simple_shape` and `dra` with the textures of `folder`.
fn strategies(folder: &Path) -> Vec<(String, Box<dyn Synthesizer>)> {
    let named = registry::components(Kind::Synthesizer)
        .into_iter()
        .map(|component| (component.name.to_owned(), (component.example)()));
    let with_folder = ["simple_shape", "dra"].map(|name| {
        (
            format!("{name}, folder"),
            json!({ "type": name, "textures": folder }),
        )
    });
    named
        .chain(with_folder)
        .map(|(name, part)| (name, serde_json::from_value(part).expect("an example")))
        .collect()
}

fn sample(part: &dyn Synthesizer, normal: &RgbImage, number: u64) -> Synthesis {
    part.synthesize(normal, normal, &mut stream(number))
        .expect("a sample")
}

/// The time for so many samples, each of its own stream, as in training.
fn time(part: &dyn Synthesizer, normal: &RgbImage, samples: u64) -> Duration {
    let start = Instant::now();
    for number in 0..samples {
        black_box(sample(part, normal, number));
    }
    start.elapsed()
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for number in 0..TEXTURES {
        let texture = Procedural::default().image(SIZE, SIZE, &mut stream(number));
        texture
            .save(folder.path().join(format!("{number}.png")))
            .expect("a texture");
    }
    let mut criterion = Criterion::default()
        .sample_size(20)
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1))
        .configure_from_args();

    let normal = normal();
    let strategies = strategies(folder.path());
    let mut group = criterion.benchmark_group("strategy");
    group.throughput(Throughput::Elements(1));
    for (name, part) in &strategies {
        // Opens the textures.
        time(part.as_ref(), &normal, 4 * TEXTURES);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|samples| time(part.as_ref(), &normal, samples));
        });
    }
    group.finish();

    pieces(&mut criterion, &normal);

    let (_, dra) = strategies.last().expect("strategies");
    let mut group = criterion.benchmark_group("threads");
    for threads in [1, 2] {
        group.throughput(Throughput::Elements(threads));
        group.bench_function(threads.to_string(), |bencher| {
            bencher.iter_custom(|samples| {
                let start = Instant::now();
                thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| time(dra.as_ref(), &normal, samples));
                    }
                });
                start.elapsed()
            });
        });
    }
    group.finish();
}

fn pieces(criterion: &mut Criterion, normal: &RgbImage) {
    let mut group = criterion.benchmark_group("piece");
    let shape = Perlin::default();
    let mut rng = stream(0);
    group.bench_function("perlin", |bencher| {
        bencher.iter(|| shape.draw(normal, &mut rng).expect("a shape"));
    });
    let lattice = Lattice::draw(8, 8, &mut rng);
    group.bench_function("noise", |bencher| {
        bencher.iter(|| lattice.noise(SIZE as usize, SIZE as usize));
    });
    let textures = Procedural::default();
    group.bench_function("procedural", |bencher| {
        bencher.iter(|| textures.image(SIZE, SIZE, &mut rng));
    });
    let mask = shape
        .draw(normal, &mut rng)
        .expect("a shape")
        .map(Region::into_mask);
    group.bench_function("region", |bencher| {
        bencher.iter(|| mask.clone().and_then(Region::of));
    });
    let mut fill = Fill::Patch(normal.clone());
    group.bench_function("augment", |bencher| {
        bencher.iter(|| augment(&mut fill, &mut rng));
    });
    let brightness = ColorSpace::ALL.map(|space| Augmentation::Brightness {
        space,
        factor: 0.9,
        offset: 10,
        offset_first: false,
    });
    let others = [
        Augmentation::Gamma([0.7; 3]),
        Augmentation::Sharpness(0.5),
        Augmentation::HueSaturation {
            hue: 20,
            saturation: 20,
        },
        Augmentation::Equalize,
        Augmentation::Rotate(20.0),
    ];
    for augmentation in brightness.into_iter().chain(others) {
        group.bench_function(format!("{augmentation:?}"), |bencher| {
            bencher.iter_batched_ref(
                || normal.clone(),
                |image| augmentation.apply(image),
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}
