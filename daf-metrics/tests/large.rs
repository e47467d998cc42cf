//! Sets of maps large enough to be ranked in several stretches, against one sort of all pixels.

#[path = "../benches/maps/mod.rs"]
mod maps;

use daf_metrics::{
    Bootstrap, Interval, OperatingPoint, PixelHistogram, PixelMaps, RankedMap, RankedSamples, Regions,
};
use maps::{Map, SIDE, map};

/// Pixels by descending score: score, whether anomalous, share of its region.
fn sorted(images: &[Map]) -> (Vec<(f32, bool, f64)>, f64) {
    let (mut pixels, mut count) = (Vec::new(), 0);
    for Map { scores, mask } in images {
        let regions = Regions::of(mask, SIDE, SIDE).unwrap();
        count += regions.areas().len();
        pixels.extend(scores.iter().zip(regions.labels()).map(|(&s, &l)| match l {
            0 => (s, false, 0.0),
            l => (s, true, 1.0 / f64::from(regions.areas()[l as usize - 1])),
        }));
    }
    pixels.sort_by(|a, b| b.0.total_cmp(&a.0));
    (pixels, count as f64)
}

/// Score, false and true positives, overlap, at every distinct score.
fn curve(images: &[Map]) -> Vec<(f32, f64, f64, f64)> {
    let (pixels, regions) = sorted(images);
    let (mut fp, mut tp, mut overlap) = (0.0, 0.0, 0.0);
    let mut curve = vec![(f32::INFINITY, 0.0, 0.0, 0.0)];
    for tied in pixels.chunk_by(|a, b| a.0 == b.0) {
        for pixel in tied {
            fp += f64::from(u8::from(!pixel.1));
            tp += f64::from(u8::from(pixel.1));
            overlap += pixel.2;
        }
        curve.push((tied[0].0, fp, tp, overlap / regions));
    }
    curve
}

fn area(points: impl Iterator<Item = (f64, f64)>, limit: f64) -> f64 {
    let points: Vec<_> = points.collect();
    let mut area = 0.0;
    for pair in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let x = x1.min(limit);
        if x > x0 {
            area += (x - x0) * (y0 + y0 + (y1 - y0) * (x - x0) / (x1 - x0)) / 2.0;
        }
    }
    area / limit
}

/// Maps as they are, with few or very few scores, and with most of the pixels at one score.
fn test_sets() -> Vec<Vec<Map>> {
    let with = |change: fn(f32) -> f32| {
        (0..9)
            .map(|i| {
                let mut map = map(i);
                map.scores.iter_mut().for_each(|s| *s = change(*s));
                map
            })
            .collect()
    };
    vec![
        with(|s| s),
        with(|s| (s * 300.0).round()),
        with(|s| (s * 4.0).round() - 1.0),
        with(|s| (s - 0.25).max(0.0)),
        with(|_| 0.5),
    ]
}

fn ranked(images: &[Map]) -> PixelMaps {
    images
        .iter()
        .map(|m| RankedMap::new(&m.scores, &m.mask, SIDE, SIDE).unwrap())
        .collect()
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-10
}

#[test]
fn stretches_add_up_to_the_definitions() {
    for images in test_sets() {
        let pixels = ranked(&images).evaluate();
        let curve = curve(&images);
        let (_, n, p, _) = curve[curve.len() - 1];
        let auroc = area(curve.iter().map(|c| (c.1 / n, c.2 / p)), 1.0);
        assert!(
            near(pixels.auroc().unwrap(), auroc),
            "{:?} {auroc}",
            pixels.auroc()
        );
        let ap: f64 = curve
            .windows(2)
            .map(|c| (c[1].2 - c[0].2) / p * c[1].2 / (c[1].1 + c[1].2))
            .sum();
        assert!(near(pixels.average_precision().unwrap(), ap));
        let f1 = |c: &(f32, f64, f64, f64)| 2.0 * c.2 / (c.1 + c.2 + p);
        let best = pixels.f1_max().unwrap();
        assert!(near(best.f1, curve.iter().map(f1).fold(0.0, f64::max)));
        assert!(near(
            best.f1,
            f1(curve.iter().find(|c| c.0 == best.threshold).unwrap())
        ));
        for limit in [1e-6, 1e-3, 0.05, 0.3, 0.77, 1.0] {
            let slow = area(curve.iter().map(|c| (c.1 / n, c.3)), limit);
            let fast = pixels.pro(limit).unwrap();
            assert!(near(fast, slow), "{fast} instead of {slow} up to {limit}");
        }
    }
}

#[test]
fn the_drawn_curve_stays_close_to_the_exact_one() {
    for images in test_sets() {
        let exact = curve(&images);
        let (_, n, p, _) = exact[exact.len() - 1];
        let mut binned = PixelHistogram::with_budget(1 << 16);
        for m in &images {
            binned.push(&m.scores, &m.mask, SIDE, SIDE).unwrap();
        }
        for points in [
            ranked(&images).evaluate().curve().unwrap(),
            binned.curve().unwrap(),
        ] {
            assert!(points.len() <= 750, "{}", points.len());
            let ends = [points[0], points[points.len() - 1]].map(|e| (e.fpr, e.tpr, e.overlap > 0.5));
            assert_eq!(ends, [(0.0, 0.0, false), (1.0, 1.0, true)]);
            for point in &points {
                let truth = exact[exact.partition_point(|e| e.0 >= point.threshold) - 1];
                assert!(
                    near(point.fpr, truth.1 / n) && near(point.tpr, truth.2 / p),
                    "{point:?} {truth:?}"
                );
                assert!(near(point.overlap, truth.3));
            }
            assert!(
                points.is_sorted_by(|a, b| a.fpr <= b.fpr && a.tpr <= b.tpr && a.threshold > b.threshold)
            );
        }
        // A point left out lies in a box of less than 0.01 between two that were not.
        let points = ranked(&images).evaluate().curve().unwrap();
        for e in &exact {
            let after = points.partition_point(|q| q.fpr * n < e.1 - 0.5 || q.tpr * p < e.2 - 0.5);
            let b = points[after.min(points.len() - 1)];
            let a = points[after.saturating_sub(1)];
            let drawn = |q: &OperatingPoint| near(q.fpr * n, e.1) && near(q.tpr * p, e.2);
            let on_a_line = b.tpr == a.tpr && near(a.tpr * p, e.2);
            let boxed = b.fpr - a.fpr < 0.01 && b.tpr - a.tpr < 0.01 && b.overlap - a.overlap < 0.01;
            assert!(
                drawn(&a) || drawn(&b) || on_a_line || boxed,
                "{e:?} between {a:?} and {b:?}"
            );
        }
    }
}

#[test]
fn threads_do_not_show_in_any_result() {
    let images: Vec<Map> = (0..9).map(map).collect();
    let labels: Vec<bool> = images.iter().map(|m| m.mask.contains(&1)).collect();
    let scores: Vec<f32> = images.iter().map(|m| m.scores[7]).collect();
    let results: Vec<_> = [1, 2, 5]
        .into_iter()
        .map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let maps = ranked(&images);
                let pixels = maps.evaluate();
                let settings = Bootstrap {
                    resamples: 50,
                    ..Bootstrap::default()
                };
                (
                    (
                        pixels.auroc(),
                        pixels.average_precision(),
                        pixels.f1_max(),
                        pixels.curve(),
                    ),
                    (pixels.pro(0.3), pixels.pro_200(), maps.aupimo((1e-4, 1e-2))),
                    pixels.bootstrap(0.3, &settings),
                    RankedSamples::new(&scores, &labels).unwrap().bootstrap(&settings),
                )
            })
        })
        .collect();
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
}

#[test]
fn a_histogram_of_a_mebibyte_is_exact_to_the_fourth_digit() {
    let images: Vec<Map> = (0..9).map(map).collect();
    let exact = ranked(&images).evaluate();
    let mut binned = PixelHistogram::with_budget(1 << 20);
    for m in &images {
        binned.push(&m.scores, &m.mask, SIDE, SIDE).unwrap();
    }
    assert!(binned.memory() <= 1 << 20);
    for (bounded, exact) in [
        (binned.auroc(), exact.auroc()),
        (binned.average_precision(), exact.average_precision()),
        (binned.pro(0.3), exact.pro(0.3)),
        (binned.pro(0.05), exact.pro(0.05)),
    ] {
        let (bounded, exact) = (bounded.unwrap(), exact.unwrap());
        assert!(
            bounded.low <= exact && exact <= bounded.high,
            "{exact} not in {bounded:?}"
        );
        assert!(bounded.high - bounded.low < 5e-4, "{bounded:?}");
        assert!((bounded.value - exact).abs() < 5e-5, "{exact} and {bounded:?}");
    }
    let (best, exact) = (binned.f1_max().unwrap().0, exact.f1_max().unwrap());
    assert!((best.f1 - exact.f1).abs() < 1e-4 && (best.threshold - exact.threshold).abs() < 1e-3);
}

/// The counted draws against draws of whole maps, ranked anew each time.
#[test]
fn pixel_intervals_are_those_of_exact_draws() {
    let images: Vec<Map> = (0..12).map(map).collect();
    let maps = ranked(&images);
    let pixels = maps.evaluate();
    let found = pixels
        .bootstrap(
            0.3,
            &Bootstrap {
                level: 0.8,
                ..Bootstrap::default()
            },
        )
        .unwrap();
    let (normal, anomalous): (Vec<usize>, Vec<usize>) = (0..12).partition(|&i| !images[i].mask.contains(&1));
    let mut state = 5u64;
    let mut draw = |from: &[usize]| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        from[(state >> 33) as usize % from.len()]
    };
    let mut values: [Vec<f64>; 3] = Default::default();
    for _ in 0..200 {
        let chosen: Vec<usize> = [&normal, &anomalous]
            .into_iter()
            .flat_map(|class| class.iter().map(|_| draw(class)).collect::<Vec<_>>())
            .collect();
        let drawn = maps.subset(chosen).evaluate();
        for (list, value) in values
            .iter_mut()
            .zip([drawn.auroc(), drawn.average_precision(), drawn.pro(0.3)])
        {
            list.push(value.unwrap());
        }
    }
    for (values, interval) in values
        .iter_mut()
        .zip([found.auroc, found.average_precision, found.pro])
    {
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[20], values[179]);
        let tolerance = 0.3 * (high - low);
        assert!(
            (interval.low - low).abs() < tolerance && (interval.high - high).abs() < tolerance,
            "{interval:?} instead of {low}..{high}"
        );
    }
}

#[test]
fn more_samples_make_narrower_intervals_around_the_value() {
    let width = |count: usize| {
        let scores: Vec<f32> = (0..count)
            .map(|i| ((i * 7919) % 1009) as f32 + (i % 2) as f32 * 300.0)
            .collect();
        let labels: Vec<bool> = (0..count).map(|i| i % 2 == 1).collect();
        let samples = RankedSamples::new(&scores, &labels).unwrap();
        let Interval { low, high } = samples.bootstrap(&Bootstrap::default()).unwrap().auroc;
        assert!(low < samples.auroc() && samples.auroc() < high);
        high - low
    };
    let (few, many) = (width(40), width(1000));
    // Five times narrower by the square-root law.
    assert!((3.0..8.0).contains(&(few / many)), "{few} {many}");
}

#[test]
fn settings_that_make_no_interval_are_refused() {
    use daf_metrics::Unavailable::{InvalidBootstrap, TooFewSamples};
    let samples = RankedSamples::new(&[1.0, 2.0, 3.0, 4.0], &[false, true, false, true]).unwrap();
    for (resamples, level) in [(0, 0.95), (10, 0.0), (10, 1.0), (10, f64::NAN)] {
        let settings = Bootstrap {
            resamples,
            level,
            seed: 0,
        };
        assert_eq!(samples.bootstrap(&settings), Err(InvalidBootstrap));
    }
    let single = RankedSamples::new(&[1.0, 2.0, 3.0], &[false, true, true]).unwrap();
    assert_eq!(single.bootstrap(&Bootstrap::default()), Err(TooFewSamples));
    let pixels = ranked(&[map(1), map(0)]).evaluate();
    assert_eq!(
        pixels.bootstrap(0.3, &Bootstrap::default()).err(),
        Some(TooFewSamples)
    );
}
