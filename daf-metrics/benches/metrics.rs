//! `cargo bench -p daf-metrics`: time from score maps in memory to pixel AUROC, AP and exact PRO.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use daf_metrics::PixelMaps;
use rayon::prelude::*;

mod maps;
use maps::{Map, SIDE};

fn three(images: &[Map]) -> [f64; 3] {
    let mut maps = PixelMaps::new();
    for Map { scores, mask } in images {
        maps.push(scores, mask.as_slice(), SIDE, SIDE).unwrap();
    }
    let pixels = maps.evaluate();
    [
        pixels.auroc().unwrap(),
        pixels.average_precision().unwrap(),
        pixels.pro(0.3).unwrap(),
    ]
}

fn test_set(criterion: &mut Criterion, name: &str, count: usize, seconds: u64) {
    let images: Vec<Map> = (0..count).into_par_iter().map(maps::map).collect();
    let anomalous: usize = images
        .iter()
        .map(|m| m.mask.iter().filter(|&&l| l > 0).count())
        .sum();
    let values = three(&images);
    println!(
        "{name}: {:.1} % anomalous, {values:.6?}",
        anomalous as f64 / (count * SIDE * SIDE) as f64 * 100.0
    );
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(seconds))
        .throughput(Throughput::Elements((count * SIDE * SIDE) as u64));
    group.bench_function("auroc_ap_pro", |b| b.iter(|| three(black_box(&images))));
    group.finish();
}

fn bottle(criterion: &mut Criterion) {
    test_set(criterion, "83_maps", 83, 4);
}

fn mvtec(criterion: &mut Criterion) {
    test_set(criterion, "1725_maps", 1725, 30);
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bottle(&mut criterion);
    mvtec(&mut criterion);
    criterion.final_summary();
}
