//! A run as an evaluation leaves it, with drawn images and scores that are right for most of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use daf_core::atomic::{write_csv, write_file, write_json};
use daf_core::calibration::{Basis, Calibration, Chosen, Scale, Source, ThresholdRule};
use daf_core::overlay::Pieces;
use daf_core::results::{
    AtThreshold, Curves, Manifest, Measurements, Metrics, Origin, Prediction, Record, Results, Value,
};
use daf_core::{ScoreMap, overlay};
use daf_metrics::{Bootstrap, PixelMaps, RankedSamples};
use image::{GrayImage, Luma, Rgb, RgbImage};

const SIDE: u32 = 96;
const IMAGE: Scale = Scale {
    median: 0.31,
    threshold: 0.52,
};
const PIXEL: Scale = Scale {
    median: 0.22,
    threshold: 0.5,
};
const CALIBRATION: Calibration = Calibration {
    image: Chosen::Scale(IMAGE),
    pixel: Chosen::Scale(PIXEL),
    basis: Basis {
        rule: ThresholdRule::ExtremeValue,
        source: Source::HeldOut,
        normal_images: 40,
        anomalous_images: 0,
        false_alarms: 0.01,
    },
};

/// Numbers in 0..1 that look random and are always the same.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

struct Drawn {
    image: RgbImage,
    mask: GrayImage,
    map: ScoreMap,
}

/// Brushed metal, with a round defect if `defect` has a color.
fn draw(noise: &mut Noise, defect: Option<[u8; 3]>, seen: f64) -> Drawn {
    let mut image = RgbImage::new(SIDE, SIDE);
    for y in 0..SIDE {
        let row = noise.next() * 24.0;
        for x in 0..SIDE {
            let gray = (150.0 + row + 30.0 * f64::from(x) / f64::from(SIDE) + 8.0 * noise.next()) as u8;
            image.put_pixel(x, y, Rgb([gray, gray, gray.saturating_add(6)]));
        }
    }
    let mut mask = GrayImage::new(SIDE, SIDE);
    let center = [noise.next(), noise.next()].map(|at| (0.2 + 0.6 * at) * f64::from(SIDE));
    let radius = 5.0 + 9.0 * noise.next();
    let mut scores = Vec::new();
    for y in 0..SIDE {
        for x in 0..SIDE {
            let away = (f64::from(x) - center[0]).hypot(f64::from(y) - center[1]) / radius;
            let mut score = 0.18 + 0.12 * noise.next();
            if let Some(color) = defect {
                score += seen * (-away * away / 1.6).exp();
                if away < 1.0 {
                    image.put_pixel(x, y, Rgb(color));
                    mask.put_pixel(x, y, Luma([255]));
                }
            }
            scores.push(score as f32);
        }
    }
    let map = ScoreMap {
        width: SIDE,
        height: SIDE,
        scores,
    };
    Drawn { image, mask, map }
}

/// A run in `dir` with all its files: `count` test images, a third of them normal.
pub(crate) fn run(dir: &Path, count: usize, seed: u64) -> Results {
    let mut noise = Noise::new(seed + 1);
    let kinds: [(&str, Option<[u8; 3]>); 6] = [
        ("good", None),
        ("hole", Some([12, 12, 14])),
        ("scratch & dent", Some([225, 225, 230])),
        ("good", None),
        ("stain", Some([120, 84, 40])),
        ("hole, stain", Some([30, 28, 30])),
    ];
    let mut predictions = Vec::new();
    let mut maps = PixelMaps::new();
    for number in 0..count {
        let (label, defect) = kinds[number % kinds.len()];
        // Some defects are hardly seen, some normal images alarm.
        let seen = if noise.next() < 0.12 {
            0.1
        } else {
            0.35 + 0.4 * noise.next()
        };
        let drawn = draw(&mut noise, defect, seen);
        let alarm = if defect.is_none() && noise.next() < 0.1 {
            0.25
        } else {
            0.02 * noise.next()
        };
        let score = f64::from(drawn.map.max()) + alarm;
        let picture = format!("maps/{label}/{number:03}.png");
        let pieces = Pieces {
            heat: drawn.map.heat(PIXEL.colors(), drawn.image.dimensions()),
            mask: defect.map(|_| drawn.mask.clone()),
            image: drawn.image,
        };
        pieces.save(&dir.join(&picture)).unwrap();
        maps.push(
            &drawn.map.scores,
            drawn.mask.as_raw(),
            SIDE as usize,
            SIDE as usize,
        )
        .unwrap();
        predictions.push(Prediction {
            image: format!("/data/metal/test/{label}/{number:03}.png"),
            category: None,
            label: label.into(),
            score,
            calibrated: Some(IMAGE.calibrated(score)),
            aupimo: None,
            picture: Some(picture),
        });
    }
    let sheet: Vec<Vec<RgbImage>> = (0..3)
        .map(|_| {
            (0..6)
                .map(|_| draw(&mut noise, Some([90, 60, 160]), 0.0).image)
                .collect()
        })
        .collect();
    overlay::sheet(&sheet).save(dir.join("synthesis.png")).unwrap();
    let results = Results {
        dir: dir.into(),
        config: format!(
            "seed: {seed}\ndata:\n  type: folder\n  root: /data/metal\ninput:\n  size: [{SIDE}, {SIDE}]\n"
        ),
        manifest: Manifest {
            recipe: None,
            fitted_from: None,
            daf: "0.1.0".into(),
            libtorch: "2.11.0".into(),
            device: "Cpu".into(),
            threads: 2,
            folder: None,
            parts: vec![("synthesizer/dra".into(), "daf-synth 0.1.0".into())],
        },
        findings: Some(Vec::new()),
        shortened: None,
        history: history(1200, &mut noise),
        calibration: Some(CALIBRATION),
        metrics: Some(measure(&predictions, &maps)),
        curves: Curves {
            image: samples(&predictions).curve(),
            pixel: maps.evaluate().curve().unwrap(),
        },
        predictions,
    };
    save(&results);
    results
}

/// Writes the files that [`Results::read`] reads.
pub(crate) fn save(results: &Results) {
    let at = |name: &str| results.dir.join(name);
    write_file(&at("config.yaml"), results.config.as_bytes()).unwrap();
    write_json(&at("run.json"), &results.manifest).unwrap();
    let lines: Vec<String> = results
        .history
        .iter()
        .map(|record| serde_json::to_string(record).unwrap() + "\n")
        .collect();
    write_file(&at("history.jsonl"), lines.concat().as_bytes()).unwrap();
    if let Some(findings) = &results.findings {
        write_json(&at("findings.json"), findings).unwrap();
    }
    if let Some(calibration) = &results.calibration {
        write_json(&at("calibration.json"), calibration).unwrap();
    }
    if let Some(metrics) = &results.metrics {
        write_json(&at("metrics.json"), metrics).unwrap();
        write_json(&at("curves.json"), &results.curves).unwrap();
        write_csv(&at("predictions.csv"), &results.predictions).unwrap();
    }
}

pub(crate) fn history(steps: u64, noise: &mut Noise) -> Vec<Record> {
    let record = |step: u64| {
        let fall = 1.0 / (1.0 + step as f64 / 150.0);
        let term =
            |name: &str, size: f64, noise: &mut Noise| (name.to_owned(), size * (fall + 0.15 * noise.next()));
        let terms = vec![
            term("cosine.layer1", 0.6, noise),
            term("cosine.layer2", 0.4, noise),
            term("ssim.layer1", 0.9, noise),
            term("seg", 0.5, noise),
        ];
        Record {
            step,
            epoch: step / 60,
            learning_rate: if step < 900 { 1e-3 } else { 1e-4 },
            loss: terms.iter().map(|(_, value)| value).sum(),
            terms,
            seconds: 0.2 + 0.05 * noise.next(),
            loading: 0.02 * noise.next(),
        }
    };
    (0..steps).map(record).collect()
}

fn samples(predictions: &[Prediction]) -> RankedSamples {
    let scores: Vec<f32> = predictions.iter().map(|image| image.score as f32).collect();
    let labels: Vec<bool> = predictions.iter().map(Prediction::is_anomalous).collect();
    RankedSamples::new(&scores, &labels).unwrap()
}

fn metrics(predictions: &[Prediction], maps: &PixelMaps) -> Metrics {
    let samples = samples(predictions);
    let pixels = maps.evaluate();
    let anomalous = predictions.iter().filter(|image| image.is_anomalous()).count();
    Metrics {
        normal: predictions.len() - anomalous,
        anomalous,
        image_auroc: Value::Number(samples.auroc()),
        image_ap: Value::Number(samples.average_precision()),
        image_f1_max: Value::Number(samples.f1_max().f1),
        pixel_auroc: pixels.auroc().into(),
        pixel_pro: pixels.pro(0.3).into(),
        pixel_ap: pixels.average_precision().into(),
        pixel_f1_max: pixels.f1_max().map(|best| best.f1).into(),
        pixel_iou_max: pixels.iou_max().map(|best| best.iou).into(),
        aupimo: Value::Missing {
            unavailable: "pixel scores were counted in bins".into(),
        },
    }
}

fn measure(predictions: &[Prediction], maps: &PixelMaps) -> Measurements {
    let overall = metrics(predictions, maps);
    let settings = Bootstrap {
        resamples: 50,
        seed: 1,
        ..Bootstrap::default()
    };
    let images = samples(predictions).bootstrap(&settings).unwrap();
    let pixels = maps.evaluate().bootstrap(0.3, &settings).unwrap();
    let intervals = [
        ("image_auroc", images.auroc),
        ("pixel_auroc", pixels.auroc),
        ("pixel_pro", pixels.pro),
        ("pixel_ap", pixels.average_precision),
    ];
    let kinds: BTreeSet<&str> = predictions.iter().flat_map(Prediction::kinds).collect();
    let of = |kind: &str| {
        let fits = |image: &Prediction| !image.is_anomalous() || image.kinds().any(|of| of == kind);
        let places = predictions
            .iter()
            .enumerate()
            .filter(|(_, image)| fits(image))
            .map(|(place, _)| place);
        let images: Vec<Prediction> = predictions.iter().filter(|image| fits(image)).cloned().collect();
        metrics(&images, &maps.subset(places))
    };
    let wrong = |anomalous: bool| {
        let images = predictions
            .iter()
            .filter(|image| image.is_anomalous() == anomalous);
        images
            .filter(|image| (image.score >= IMAGE.threshold) != anomalous)
            .count()
    };
    Measurements {
        at_threshold: Some(AtThreshold {
            false_alarms: wrong(false),
            normal: overall.normal,
            missed: wrong(true),
            anomalous: overall.anomalous,
        }),
        intervals: intervals
            .into_iter()
            .map(|(name, interval)| (name.to_owned(), interval))
            .collect(),
        by_category: BTreeMap::new(),
        mean: None,
        by_defect: kinds
            .iter()
            .filter(|kind| **kind != "good")
            .map(|kind| ((*kind).to_owned(), of(kind)))
            .collect(),
        calibration: Some(CALIBRATION),
        colors: Some(PIXEL),
        weights: vec![Origin {
            network: "teacher".into(),
            weights: "/cache/resnet18-f37072fd.pth".into(),
        }],
        size: (SIDE, SIDE),
        mask_rule: "nearest".into(),
        pro_limit: 0.3,
        without_mask: 0,
        unreadable: 0,
        undrawn: 0,
        pixel_error: None,
        images_per_second: 34.5,
        multiply_adds: daf_core::results::MultiplyAdds {
            defined: 5_550_000_000,
            carried_out: 5_200_000_000,
            published: 6_800_000_000,
        },
        parameters: Some(4_432_452),
        changed: Vec::new(),
        overall,
    }
}
