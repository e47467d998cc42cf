//! Memory that the metrics take beside the maps, as counted by the allocator.

#[path = "../benches/maps/mod.rs"]
mod maps;

use daf_metrics::{PixelHistogram, PixelMaps};
use maps::{Map, SIDE, map};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Alone in this file: another test in the process would count as well.
#[test]
fn at_most_eight_bytes_per_pixel_whatever_is_anomalous_and_a_fixed_budget_for_histograms() {
    const COUNT: usize = 60;
    let whole: Vec<Map> = (0..COUNT)
        .map(|i| Map {
            mask: vec![u8::from(i > 0); SIDE * SIDE],
            ..map(i)
        })
        .collect();
    let usual: Vec<Map> = (0..COUNT).map(map).collect();
    for images in [&usual, &whole] {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let mut maps = PixelMaps::new();
        for m in images {
            maps.push(&m.scores, &m.mask, SIDE, SIDE).unwrap();
        }
        let pixels = maps.evaluate();
        let three = (pixels.auroc(), pixels.average_precision(), pixels.pro(0.3));
        assert!(three.0.is_ok() && three.1.is_ok() && three.2.is_ok());
        let taken = (MEMORY.peak_usage() - before) as f64 / (COUNT * SIDE * SIDE) as f64;
        println!("{taken:.2} bytes a pixel in memory");
        // A few MB of buffers per thread serve all maps, however many.
        let buffers =
            rayon::current_num_threads().saturating_sub(2) as f64 * 6e6 / (COUNT * SIDE * SIDE) as f64;
        assert!(taken - buffers <= 8.0, "{taken} bytes a pixel");

        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let mut binned = PixelHistogram::with_budget(1 << 20);
        for m in images {
            binned.push(&m.scores, &m.mask, SIDE, SIDE).unwrap();
        }
        assert!(binned.auroc().is_ok() && binned.pro(0.3).is_ok());
        let taken = MEMORY.peak_usage() - before;
        println!("{taken} bytes with a budget of {}", 1 << 20);
        // While a map is pushed, the labels of its regions.
        assert!(taken <= (1 << 20) + 5 * SIDE * SIDE, "{taken} bytes");
    }
}
