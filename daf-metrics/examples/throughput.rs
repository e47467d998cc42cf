//! Time for all pixel metrics of a test set of 83 maps of 256×256 (bottle of MVTec AD has 83 images):
//! `cargo run --release -p daf-metrics --example throughput`.

use std::time::Instant;

use daf_metrics::{PixelMaps, Unavailable};

const IMAGES: usize = 83;
const SIDE: usize = 256;

fn main() -> Result<(), Unavailable> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    for share in [4, 1] {
        // Every `share`-th image of the rows has two discs; scores are noise, raised inside them.
        let images: Vec<(Vec<f32>, Vec<u8>)> = (0..IMAGES)
            .map(|i| {
                let radius = 15.0 + 50.0 * uniform();
                let inside = |p: usize, c: f32| {
                    (((p % SIDE) as f32 - c).powi(2) + ((p / SIDE) as f32 - c).powi(2)) < radius * radius
                };
                let mask: Vec<u8> = (0..SIDE * SIDE)
                    .map(|p| u8::from(i % share == 0 && (inside(p, 50.0) || inside(p, 180.0))))
                    .collect();
                let scores = mask
                    .iter()
                    .map(|&m| f32::from(m) * 0.4 + uniform() + uniform())
                    .collect();
                (scores, mask)
            })
            .collect();
        for _ in 0..3 {
            let start = Instant::now();
            let mut maps = PixelMaps::with_capacity(IMAGES * SIDE * SIDE);
            for (scores, mask) in &images {
                maps.push(scores, mask, SIDE, SIDE)?;
            }
            let pushed = start.elapsed();
            let pixels = maps.evaluate();
            let sorted = start.elapsed();
            let (auroc, ap, pro) = (pixels.auroc()?, pixels.average_precision()?, pixels.pro(0.3)?);
            let three = start.elapsed();
            let (f1, pro_200) = (pixels.f1_max()?.f1, pixels.pro_200()?);
            println!(
                "{} regions: push {pushed:.0?}, ranked {sorted:.0?}, AUROC + AP + PRO {three:.0?}, all {:.0?} \
                 ({auroc:.4} {ap:.4} {pro:.4} {f1:.4} {pro_200:.4})",
                pixels.regions(),
                start.elapsed()
            );
        }
    }
    Ok(())
}
