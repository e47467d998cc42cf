//! Poisson blending by size of the solved box, object masks, and NSA as a whole. One core, everything
//! decoded.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use daf_core::Synthesizer;
use daf_core::image::{GrayImage, Luma, Rgb, RgbImage};
use daf_core::rand::SeedableRng;
use daf_synth::nsa::{Labels, Preset};
use daf_synth::object::{Border, ObjectModel};
use daf_synth::poisson::{Gradients, MixedRule, seamless_clone};
use daf_synth::{Foreground, Nsa, SimpleTexture};
use rand_chacha::ChaCha8Rng;

/// A dark disk with some texture on a light background.
fn scene(size: u32, seed: u32) -> RgbImage {
    let middle = f64::from(size) / 2.0;
    RgbImage::from_fn(size, size, |x, y| {
        let distance = (f64::from(x) - middle).hypot(f64::from(y) - middle);
        let noise = ((x * 31 + y * 17 + seed * 7 + x * y) % 23) as u8;
        Rgb(if distance < middle * 0.7 {
            [60 + noise, 70, 50 + noise]
        } else {
            [200 + noise / 4; 3]
        })
    })
}

fn clone(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("seamless_clone");
    let destination = scene(512, 1);
    for size in [16, 32, 64, 96, 128, 256, 400] {
        let patch = scene(size, 2);
        let mask = GrayImage::from_pixel(size, size, Luma([255]));
        for (name, gradients) in [
            ("normal", Gradients::Normal),
            ("mixed", Gradients::Mixed(MixedRule::Opencv)),
        ] {
            group.bench_function(BenchmarkId::new(name, size), |b| {
                let mut image = destination.clone();
                b.iter(|| seamless_clone(black_box(&mut image), &patch, &mask, (20, 30), gradients));
            });
        }
    }
}

fn object(bench: &mut Criterion) {
    let image = scene(256, 1);
    let threshold = ObjectModel::Threshold {
        brightness: 200.0,
        threshold: 60.0,
    };
    for (name, model) in [
        ("threshold", threshold),
        ("border", ObjectModel::Border(Border::default())),
    ] {
        bench.bench_function(&format!("object/{name}"), |b| {
            b.iter(|| model.find(black_box(&image)));
        });
    }
}

fn strategies(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("256 × 256");
    group.throughput(Throughput::Elements(1));
    let (normal, donor) = (scene(256, 1), scene(256, 5));
    let preset = |name: &str, labels| Nsa {
        preset: Some(Preset::try_from(name.to_owned()).expect("a preset")),
        labels,
        ..Nsa::default()
    };
    let logistic = Some(Labels::Logistic);
    let cases: [(&str, Box<dyn Synthesizer>); 6] = [
        ("nsa", Box::new(Nsa::default())),
        ("nsa, bottle", Box::new(preset("bottle", None))),
        ("nsa, carpet", Box::new(preset("carpet", None))),
        ("nsa, screw, logistic", Box::new(preset("screw", logistic))),
        ("simple_texture", Box::new(SimpleTexture::default())),
        (
            "simple_texture on the foreground",
            Box::new(Foreground::default()),
        ),
    ];
    // A donor is given, not copied, as a loaded training set gives it.
    let donor = std::sync::Arc::new(donor);
    for (name, strategy) in &cases {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        group.bench_function(*name, |b| {
            b.iter(|| strategy.synthesize(black_box(&normal), &One(donor.clone()), &mut rng));
        });
    }
}

struct One(std::sync::Arc<RgbImage>);

impl daf_core::Donors for One {
    fn draw(&self, _: &mut dyn daf_core::rand::Rng) -> Result<std::sync::Arc<RgbImage>, daf_core::BoxError> {
        Ok(self.0.clone())
    }
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(30).measurement_time(std::time::Duration::from_secs(2))
        .warm_up_time(std::time::Duration::from_millis(500));
    targets = clone, object, strategies
}
criterion_main!(all);
