//! The fast computations against the definitions taken literally, on small random inputs.

use std::collections::BTreeSet;

use daf_metrics::{
    PixelEvaluation, PixelHistogram, PixelMaps, Regions, Unavailable, auroc, average_precision, f1_max,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

#[derive(Debug, Clone)]
struct Map {
    width: usize,
    height: usize,
    scores: Vec<f32>,
    mask: Vec<bool>,
}

fn map() -> impl Strategy<Value = Map> {
    (1usize..8, 1usize..8, 2u8..40).prop_flat_map(|(width, height, levels)| {
        let pixels = width * height;
        let scores = prop::collection::vec((0..levels).prop_map(|v| f32::from(v) / 4.0 - 2.0), pixels);
        let mask = prop::collection::vec(prop::bool::weighted(0.3), pixels);
        (scores, mask).prop_map(move |(scores, mask)| Map {
            width,
            height,
            scores,
            mask,
        })
    })
}

fn samples() -> impl Strategy<Value = (Vec<f32>, Vec<bool>)> {
    prop::collection::vec(
        ((0u8..12).prop_map(|v| f32::from(v) / 4.0 - 1.0), any::<bool>()),
        0..40,
    )
    .prop_map(|pairs| pairs.into_iter().unzip())
}

fn collect(maps: &[Map]) -> PixelMaps {
    let mut all = PixelMaps::new();
    for m in maps {
        all.push(&m.scores, &m.mask, m.width, m.height).unwrap();
    }
    all
}

fn flat(maps: &[Map]) -> (Vec<f32>, Vec<bool>) {
    maps.iter()
        .flat_map(|m| m.scores.iter().copied().zip(m.mask.iter().copied()))
        .unzip()
}

fn thresholds(scores: &[f32]) -> Vec<f32> {
    let mut distinct = scores.to_vec();
    distinct.sort_by(|a, b| b.total_cmp(a));
    distinct.dedup();
    distinct
}

/// Of the samples with the label, how many score at least `threshold`.
fn above(scores: &[f32], labels: &[bool], label: bool, threshold: f32) -> f64 {
    scores
        .iter()
        .zip(labels)
        .filter(|(s, l)| **l == label && **s >= threshold)
        .count() as f64
}

fn slow_auroc(scores: &[f32], labels: &[bool]) -> f64 {
    let (mut sum, mut pairs) = (0.0, 0.0);
    for (a, _) in scores.iter().zip(labels).filter(|p| *p.1) {
        for (n, _) in scores.iter().zip(labels).filter(|p| !p.1) {
            pairs += 1.0;
            sum += if a > n {
                1.0
            } else if a == n {
                0.5
            } else {
                0.0
            };
        }
    }
    sum / pairs
}

fn slow_average_precision(scores: &[f32], labels: &[bool]) -> f64 {
    let positives = above(scores, labels, true, f32::MIN);
    let (mut sum, mut recall) = (0.0, 0.0);
    for t in thresholds(scores) {
        let (tp, fp) = (above(scores, labels, true, t), above(scores, labels, false, t));
        sum += (tp / positives - recall) * tp / (tp + fp);
        recall = tp / positives;
    }
    sum
}

fn slow_f1(scores: &[f32], labels: &[bool], threshold: f32) -> f64 {
    let (tp, fp) = (
        above(scores, labels, true, threshold),
        above(scores, labels, false, threshold),
    );
    2.0 * tp / (tp + fp + above(scores, labels, true, f32::MIN))
}

fn slow_iou(scores: &[f32], labels: &[bool], threshold: f32) -> f64 {
    let union = above(scores, labels, false, threshold) + above(scores, labels, true, f32::MIN);
    above(scores, labels, true, threshold) / union
}

/// AUPIMO by sampling the curve of every anomalous image between the limits.
fn slow_aupimo(maps: &[Map], (lower, upper): (f64, f64)) -> Vec<Option<f64>> {
    let normal: Vec<&Map> = maps.iter().filter(|m| !m.mask.contains(&true)).collect();
    let shared = |t: f32| {
        let rates = normal
            .iter()
            .map(|m| above(&m.scores, &m.mask, false, t) / m.scores.len() as f64);
        rates.sum::<f64>() / normal.len() as f64
    };
    let of_image = |m: &Map| {
        let recall = |t: f32| above(&m.scores, &m.mask, true, t) / above(&m.scores, &m.mask, true, f32::MIN);
        let mut curve = vec![(0.0, 0.0)];
        curve.extend(
            thresholds(&flat(maps).0)
                .into_iter()
                .map(|t| (shared(t), recall(t))),
        );
        const SAMPLES: usize = 4000;
        let at = |i: usize| {
            let rate = lower * (upper / lower).powf((i as f64 + 0.5) / SAMPLES as f64);
            let (a, b) = curve
                .windows(2)
                .map(|p| (p[0], p[1]))
                .find(|(a, b)| a.0 < rate && rate <= b.0 + 1e-12)
                .unwrap();
            a.1 + (b.1 - a.1) * (rate - a.0) / (b.0 - a.0)
        };
        (0..SAMPLES).map(at).sum::<f64>() / SAMPLES as f64
    };
    maps.iter()
        .map(|m| m.mask.contains(&true).then(|| of_image(m)))
        .collect()
}

/// False-positive rate and mean overlap of the regions where `positive` says so.
fn point(maps: &[Map], positive: impl Fn(f32) -> bool) -> (f64, f64) {
    let (mut fp, mut normals, mut overlaps) = (0.0, 0.0, Vec::new());
    for m in maps {
        let regions = Regions::of(&m.mask, m.width, m.height).unwrap();
        for (&s, _) in m.scores.iter().zip(&m.mask).filter(|p| !p.1) {
            normals += 1.0;
            fp += f64::from(u8::from(positive(s)));
        }
        for label in regions
            .labels()
            .iter()
            .copied()
            .filter(|&l| l > 0)
            .collect::<BTreeSet<_>>()
        {
            let inside: Vec<_> = m
                .scores
                .iter()
                .zip(regions.labels())
                .filter(|p| *p.1 == label)
                .map(|p| *p.0)
                .collect();
            overlaps.push(inside.iter().filter(|&&s| positive(s)).count() as f64 / inside.len() as f64);
        }
    }
    (fp / normals, overlaps.iter().sum::<f64>() / overlaps.len() as f64)
}

fn slow_pro(maps: &[Map], limit: f64) -> f64 {
    let mut curve = vec![(0.0, 0.0)];
    curve.extend(
        thresholds(&flat(maps).0)
            .into_iter()
            .map(|t| point(maps, |s| s >= t)),
    );
    let mut area = 0.0;
    for pair in curve.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        if x1 <= limit {
            area += (x1 - x0) * (y0 + y1) / 2.0;
        } else if x0 < limit {
            let y = y0 + (y1 - y0) * (limit - x0) / (x1 - x0);
            area += (limit - x0) * (y0 + y) / 2.0;
        }
    }
    area / limit
}

fn slow_pro_200(maps: &[Map]) -> Option<f64> {
    let (scores, _) = flat(maps);
    let (max, min) = (
        scores.iter().copied().fold(f32::MIN, f32::max),
        scores.iter().copied().fold(f32::MAX, f32::min),
    );
    let step = (max - min) / 200.0;
    let mut points = Vec::new();
    let mut i = 0u16;
    while step > 0.0 && (i as f32) < (max - min) / step {
        let threshold = f64::from(min) + f64::from(i) * (f64::from(min + step) - f64::from(min));
        points.push(point(maps, |s| f64::from(s) > threshold));
        i += 1;
    }
    points.retain(|p| p.0 < 0.3);
    let largest = points.iter().map(|p| p.0).fold(0.0, f64::max);
    let area = points
        .windows(2)
        .map(|p| (p[0].0 - p[1].0) / largest * (p[0].1 + p[1].1) / 2.0)
        .sum();
    (points.len() >= 2 && largest > 0.0).then_some(area)
}

/// Of each metric, the bounds of the histogram hold the exact value; if one is not available, neither is the
/// other.
fn check_bounds(binned: &PixelHistogram, exact: &PixelEvaluation, limit: f64) -> Result<(), TestCaseError> {
    let pairs = [
        (binned.auroc(), exact.auroc()),
        (binned.average_precision(), exact.average_precision()),
        (binned.pro(limit), exact.pro(limit)),
        (binned.f1_max().map(|f| f.1), exact.f1_max().map(|f| f.f1)),
        (binned.iou_max().map(|f| f.1), exact.iou_max().map(|f| f.iou)),
    ];
    for (bounded, exact) in pairs {
        match (bounded, exact) {
            (Ok(b), Ok(e)) => prop_assert!(b.low - 1e-12 <= e && e <= b.high + 1e-12, "{} not in {:?}", e, b),
            (b, e) => prop_assert_eq!(b.err(), e.err()),
        }
    }
    Ok(())
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-12
}

proptest! {
    #[test]
    fn samples_follow_the_definitions((scores, labels) in samples()) {
        let (anomalous, normal) = (labels.contains(&true), labels.contains(&false));
        let expected = match (anomalous, normal) {
            (true, true) => None,
            (false, false) => Some(Unavailable::NoSample),
            (false, true) => Some(Unavailable::NoAnomalousSample),
            (true, false) => Some(Unavailable::NoNormalSample),
        };
        if let Some(reason) = expected {
            prop_assert_eq!(auroc(&scores, &labels), Err(reason));
            prop_assert_eq!(average_precision(&scores, &labels), Err(reason));
            prop_assert_eq!(f1_max(&scores, &labels), Err(reason));
            return Ok(());
        }
        prop_assert!(near(auroc(&scores, &labels).unwrap(), slow_auroc(&scores, &labels)));
        prop_assert!(near(average_precision(&scores, &labels).unwrap(), slow_average_precision(&scores, &labels)));
        let best = f1_max(&scores, &labels).unwrap();
        let slow = thresholds(&scores).iter().map(|&t| slow_f1(&scores, &labels, t)).fold(0.0, f64::max);
        prop_assert!(near(best.f1, slow));
        prop_assert_eq!(best.f1, slow_f1(&scores, &labels, best.threshold));
    }

    #[test]
    fn pixels_follow_the_definitions(maps in prop::collection::vec(map(), 1..5), limit in 0.01f64..=1.0) {
        let (scores, labels) = flat(&maps);
        let pixels = collect(&maps).evaluate();
        if !labels.contains(&true) {
            prop_assert_eq!(pixels.pro(limit), Err(Unavailable::NoAnomalousPixel));
            prop_assert_eq!(pixels.auroc(), Err(Unavailable::NoAnomalousPixel));
            return Ok(());
        }
        if !labels.contains(&false) {
            prop_assert_eq!(pixels.pro(limit), Err(Unavailable::NoNormalPixel));
            prop_assert_eq!(pixels.pro_200(), Err(Unavailable::NoNormalPixel));
            return Ok(());
        }
        prop_assert_eq!(pixels.auroc(), auroc(&scores, &labels));
        prop_assert_eq!(pixels.average_precision(), average_precision(&scores, &labels));
        prop_assert_eq!(pixels.f1_max(), f1_max(&scores, &labels));
        let best = pixels.iou_max().unwrap();
        let slow = thresholds(&scores).iter().map(|&t| slow_iou(&scores, &labels, t)).fold(0.0, f64::max);
        prop_assert!(near(best.iou, slow));
        prop_assert!(near(best.iou, slow_iou(&scores, &labels, best.threshold)));
        for limit in [limit, 0.05, 0.3, 1.0] {
            let pro = pixels.pro(limit).unwrap();
            prop_assert!(near(pro, slow_pro(&maps, limit)), "{} instead of {}", pro, slow_pro(&maps, limit));
        }
        match (pixels.pro_200(), slow_pro_200(&maps)) {
            (Ok(fast), Some(slow)) => prop_assert!(near(fast, slow), "{} instead of {}", fast, slow),
            (Err(_), None) => {}
            other => prop_assert!(false, "{:?}", other),
        }
        for value in [pixels.auroc(), pixels.average_precision(), pixels.pro(limit), pixels.pro_200()] {
            prop_assert!(value.is_err() || (0.0..=1.0).contains(&value.unwrap()));
        }
    }

    #[test]
    fn aupimo_follows_its_definition(
        mut maps in prop::collection::vec(map(), 1..5), normals in 0usize..3, limits in (0.01f64..0.5, 1.1f64..20.0),
    ) {
        let limits = (limits.0, (limits.0 * limits.1).min(1.0));
        for m in maps.iter_mut().take(normals) {
            m.mask.fill(false);
        }
        let found = collect(&maps).aupimo(limits);
        let anomalous: Vec<bool> = maps.iter().map(|m| m.mask.contains(&true)).collect();
        if !anomalous.contains(&true) {
            prop_assert_eq!(found, Err(Unavailable::NoAnomalousPixel));
        } else if !anomalous.contains(&false) {
            prop_assert_eq!(found, Err(Unavailable::NoNormalImage));
        } else if let Ok(found) = found {
            for (fast, slow) in found.images.iter().zip(slow_aupimo(&maps, limits)) {
                prop_assert_eq!(fast.is_some(), slow.is_some());
                let (fast, slow) = (fast.unwrap_or(0.0), slow.unwrap_or(0.0));
                prop_assert!((fast - slow).abs() < 5e-3, "{} instead of {}", fast, slow);
            }
            let (sum, count) = found.images.iter().flatten().fold((0.0, 0.0), |(s, c), v| (s + v, c + 1.0));
            prop_assert!(near(found.mean, sum / count));
            prop_assert!((0.0..=1.0).contains(&found.mean) && found.quantile(0.0) <= found.quantile(0.5));
        } else {
            prop_assert_eq!(found, Err(Unavailable::TooFewThresholds));
        }
    }

    #[test]
    fn a_subset_is_as_good_as_the_maps_alone(maps in prop::collection::vec(map(), 1..6), chosen in any::<u8>()) {
        let places: Vec<usize> = (0..maps.len()).filter(|p| chosen >> p & 1 == 1).collect();
        let alone: Vec<Map> = places.iter().map(|&p| maps[p].clone()).collect();
        let subset = collect(&maps).subset(places);
        let (a, b) = (subset.evaluate(), collect(&alone).evaluate());
        prop_assert_eq!((a.auroc(), a.pro(0.3), a.pro_200()), (b.auroc(), b.pro(0.3), b.pro_200()));
        prop_assert_eq!(subset.aupimo((0.1, 0.5)), collect(&alone).aupimo((0.1, 0.5)));
    }

    #[test]
    fn a_histogram_bounds_the_exact_values(
        maps in prop::collection::vec(map(), 1..6), scale in -20i32..20, offset in -2f32..2.0, limit in 0.01f64..=1.0,
        budget in 0usize..100_000,
    ) {
        let mut maps = maps;
        maps.iter_mut().flat_map(|m| &mut m.scores).for_each(|s| *s = *s * 2f32.powi(scale) + offset);
        let mut binned = PixelHistogram::with_budget(budget);
        for m in &maps {
            binned.push(&m.scores, &m.mask, m.width, m.height).unwrap();
        }
        check_bounds(&binned, &collect(&maps).evaluate(), limit)?;
        // In any order and by way of any number of histograms.
        let (mut first, mut second) = (PixelHistogram::with_budget(budget), PixelHistogram::with_budget(budget));
        for (i, m) in maps.iter().enumerate().rev() {
            let to = if i % 2 == 0 { &mut first } else { &mut second };
            to.push(&m.scores, &m.mask, m.width, m.height).unwrap();
        }
        first.append(&second);
        prop_assert_eq!(first.auroc(), binned.auroc());
        prop_assert_eq!(first.f1_max(), binned.f1_max());
        prop_assert_eq!(first.images(), binned.images());
        check_bounds(&first, &collect(&maps).evaluate(), limit)?;
    }

    #[test]
    fn monotone_transforms_of_the_scores_change_nothing(maps in prop::collection::vec(map(), 1..4)) {
        let mut moved = maps.clone();
        moved.iter_mut().flat_map(|m| &mut m.scores).for_each(|s| *s = s.exp() * 3.0 - 7.0);
        let (a, b) = (collect(&maps).evaluate(), collect(&moved).evaluate());
        prop_assert_eq!(a.auroc(), b.auroc());
        prop_assert_eq!(a.average_precision(), b.average_precision());
        prop_assert_eq!(a.pro(0.3), b.pro(0.3));
        prop_assert_eq!(a.f1_max().map(|f| f.f1), b.f1_max().map(|f| f.f1));
    }

    #[test]
    fn the_order_of_the_images_changes_nothing(maps in prop::collection::vec(map(), 1..6), turn in 0usize..6) {
        let mut other = maps.clone();
        other.reverse();
        other.rotate_left(turn % maps.len());
        // Half of them by way of another collection.
        let (first, second) = other.split_at(maps.len() / 2);
        let mut appended = collect(second);
        appended.append(collect(first));
        prop_assert_eq!((appended.images(), appended.pixels()), (maps.len(), collect(&maps).pixels()));
        let (a, b) = (collect(&maps).evaluate(), appended.evaluate());
        prop_assert_eq!(a.auroc(), b.auroc());
        prop_assert_eq!(a.average_precision(), b.average_precision());
        prop_assert_eq!(a.f1_max(), b.f1_max());
        prop_assert_eq!(a.pro(0.3).is_ok(), b.pro(0.3).is_ok());
        for (x, y) in [(a.pro(0.3), b.pro(0.3)), (a.pro_200(), b.pro_200())] {
            let same = x.and_then(|x| y.map(|y| near(x, y))).unwrap_or(x == y);
            prop_assert!(same);
        }
    }

    #[test]
    fn any_scores_give_a_value_in_range_or_a_reason(
        pairs in prop::collection::vec((any::<u32>().prop_map(f32::from_bits), any::<u8>()), 0..30), limit: f64,
    ) {
        let (scores, labels): (Vec<f32>, Vec<u8>) = pairs.into_iter().unzip();
        let mut maps = PixelMaps::new();
        maps.push(&scores, &labels, scores.len(), 1).unwrap();
        let finite: Vec<f32> = scores.iter().map(|s| if s.is_finite() { *s } else { f32::MAX }).collect();
        let mut finite_maps = PixelMaps::new();
        finite_maps.push(&finite, &labels, 1, finite.len()).unwrap();
        for pixels in [maps.evaluate(), finite_maps.evaluate()] {
            let values = [
                pixels.auroc(), pixels.average_precision(), pixels.pro(limit), pixels.pro(0.3), pixels.pro_200(),
                pixels.f1_max().map(|f| f.f1), auroc(&scores, &labels), average_precision(&scores, &labels),
            ];
            prop_assert!(values.iter().flatten().all(|v| (0.0..=1.0).contains(v)), "{:?}", values);
        }
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let mismatch = Err(Unavailable::LengthMismatch { scores: 2, labels: 1 });
    assert_eq!(auroc(&[1.0, 2.0], &[true]), mismatch);
    let mut maps = PixelMaps::new();
    assert_eq!(maps.push(&[1.0, 2.0], &[1u8], 2, 1), mismatch.map(|_| ()));
    assert_eq!(
        maps.push(&[1.0, 2.0], &[1u8, 0], 2, 2),
        Err(Unavailable::ShapeMismatch {
            elements: 2,
            width: 2,
            height: 2
        })
    );
    assert_eq!((maps.images(), maps.pixels(), maps.regions()), (0, 0, 0));
    assert_eq!(maps.evaluate().pro(0.3), Err(Unavailable::NoMask));
}

#[test]
fn limits_outside_of_the_unit_interval_are_refused() {
    let mut maps = PixelMaps::new();
    maps.push(&[1.0, 2.0], &[false, true], 2, 1).unwrap();
    let pixels = maps.evaluate();
    for limit in [0.0, -0.3, 1.1, f64::NAN, f64::INFINITY] {
        assert_eq!(pixels.pro(limit), Err(Unavailable::InvalidLimit));
    }
    assert_eq!(pixels.pro(1.0), Ok(1.0));
}

#[test]
fn scores_that_are_not_finite_are_counted() {
    let mut maps = PixelMaps::new();
    maps.push(&[f32::NAN, 2.0, f32::INFINITY], &[false, true, false], 3, 1)
        .unwrap();
    assert_eq!(
        maps.evaluate().auroc(),
        Err(Unavailable::NonFiniteScores { count: 2 })
    );
    assert_eq!(
        f1_max(&[f32::NAN, 2.0], &[false, true]),
        Err(Unavailable::NonFiniteScores { count: 1 })
    );
}

/// The values are those of the official function with numpy 2.4.6 and scipy's labels. Many scores lie at a
/// threshold: with thresholds of float32 these would be 0.297292, 0.242966 and 0.273742.
#[test]
fn thresholds_of_the_official_pro_are_float64() {
    for (seed, expected) in [
        (1u32, 0.297_212_230_215_827_27),
        (2, 0.244_264_588_329_336_53),
        (3, 0.273_842_592_592_592_64),
    ] {
        let mut state = seed;
        let mut maps = PixelMaps::new();
        for image in 0..2 {
            let inside = |x: usize, y: usize| match image {
                0 => {
                    ((3..9).contains(&x) && (2..6).contains(&y))
                        || ((10..14).contains(&x) && (10..12).contains(&y))
                }
                _ => (8..11).contains(&x) && (8..13).contains(&y),
            };
            let mask: Vec<u8> = (0..256).map(|at| u8::from(inside(at % 16, at / 16))).collect();
            let scores: Vec<f32> = mask
                .iter()
                .map(|defect| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let score = ((state >> 8) % 1001) as f32 * 0.001;
                    if *defect == 1 { score * 0.5 + 0.5 } else { score }
                })
                .collect();
            maps.push(&scores, &mask, 16, 16).unwrap();
        }
        let found = maps.evaluate().pro_200().unwrap();
        assert!(near(found, expected), "{seed}: {found}");
    }
}

#[test]
fn a_constant_detector_gets_no_credit() {
    let mut maps = PixelMaps::new();
    maps.push(&[0.5; 10], &[1u8, 0, 0, 0, 0, 0, 0, 0, 0, 0], 10, 1)
        .unwrap();
    let pixels = maps.evaluate();
    assert_eq!(pixels.auroc(), Ok(0.5));
    assert_eq!(pixels.average_precision(), Ok(0.1));
    assert!(near(pixels.pro(0.3).unwrap(), 0.15));
    assert_eq!(pixels.pro_200(), Err(Unavailable::NoScoreRange));
}

#[test]
fn detectors_that_separate_perfectly_or_not_at_all_reach_the_ends() {
    let mask = [1u8, 1, 0, 0, 0, 0];
    for (scores, expected) in [
        ([9.0, 8.0, 1.0, 2.0, 3.0, 4.0], 1.0),
        ([0.0, 0.1, 1.0, 2.0, 3.0, 4.0], 0.0),
    ] {
        let mut maps = PixelMaps::new();
        maps.push(&scores, &mask, 3, 2).unwrap();
        let pixels = maps.evaluate();
        assert_eq!((pixels.auroc(), pixels.pro(0.3)), (Ok(expected), Ok(expected)));
    }
}

#[test]
fn reasons_survive_serialization() {
    for reason in [Unavailable::NoMask, Unavailable::NonFiniteScores { count: 3 }] {
        let text = serde_json::to_string(&reason).unwrap();
        assert_eq!(serde_json::from_str::<Unavailable>(&text).unwrap(), reason);
    }
}
