//! From a trained run to scores: images of any shape, thresholds, and what the evaluation writes.

use std::fs;
use std::path::Path;

use daf_core::calibration::{Calibration, Source, ThresholdRule};
use daf_core::config::DeviceChoice;
use daf_core::data::InputImage;
use daf_core::image::{GrayImage, Luma, Rgb, RgbImage, imageops};
use daf_core::overlay::{Pieces, panel};
use daf_core::results::{Results, Value};
use daf_core::{Detection, Detector};

use crate::program::{SMALL, folder, run, succeed};

/// A trained run of the small pipeline, changed.
fn trained(changes: &[(&str, &str)]) -> tempfile::TempDir {
    let mut pipeline = SMALL.to_owned();
    for (old, new) in changes {
        assert!(pipeline.contains(old));
        pipeline = pipeline.replace(old, new);
    }
    let folder = folder(&pipeline);
    succeed(folder.path(), "train p.yaml -o run");
    folder
}

fn textured(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |period: u32, at: u32| (at % period * 255 / period) as u8;
        Rgb([wave(23, x), wave(31, y), wave(17, x + y)])
    })
}

fn detect(run: &Path, settings: &[&str], image: &RgbImage) -> Detection {
    Detector::open_with(run, settings, Some(DeviceChoice::Cpu))
        .unwrap()
        .detect(image)
        .unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn images_of_every_shape_are_scored_in_their_own_geometry() {
    let folder = trained(&[]);
    let run = folder.path().join("run");
    let stretched = detect(&run, &[], &textured(300, 170));
    assert_eq!((stretched.map.width, stretched.map.height), (96, 96));

    let letterbox = detect(&run, &["input.fit=letterbox"], &textured(300, 170));
    assert_eq!((letterbox.map.width, letterbox.map.height), (96, 54));

    // One tile is the image itself.
    let whole = detect(&run, &[], &textured(96, 96));
    let tile = detect(&run, &["input.fit=tile"], &textured(96, 96));
    assert!(largest_difference(&whole.map.scores, &tile.map.scores) < 1e-5);
    assert!((whole.score - tile.score).abs() < 1e-5);

    // Many tiles cover the image, in its own size or a smaller one, and leave no seams in a texture that repeats.
    let tiles = detect(&run, &["input.fit=tile"], &textured(300, 170));
    assert_eq!((tiles.map.width, tiles.map.height), (300, 170));
    assert!(tiles.map.scores.iter().all(|score| score.is_finite()));
    let smaller = detect(
        &run,
        &["input.fit=tile", "input.tiles.scale=0.5"],
        &textured(300, 170),
    );
    assert_eq!((smaller.map.width, smaller.map.height), (150, 85));

    // A region is what it cuts out.
    let region = detect(&run, &["input.region=[0.25, 0.5, 0.5, 0.5]"], &textured(300, 170));
    let part = imageops::crop_imm(&textured(300, 170), 75, 85, 150, 85).to_image();
    assert_eq!(region.map, detect(&run, &[], &part).map);
}

#[test]
fn tiles_agree_with_the_whole_where_the_network_sees_the_same() {
    let folder = trained(&[]);
    let run = folder.path().join("run");
    // Two images that differ far to the right only: the left tiles give the same scores.
    let left = textured(400, 96);
    let mut right = left.clone();
    for (x, _, pixel) in right.enumerate_pixels_mut() {
        if x >= 300 {
            *pixel = Rgb([0; 3]);
        }
    }
    let settings = ["input.fit=tile", "scorer.sigma=0"];
    let [left, right] = [left, right].map(|image| detect(&run, &settings, &image).map);
    let differs = |x: u32| {
        (0..96).any(|y| {
            let at = (y * 400 + x) as usize;
            (left.scores[at] - right.scores[at]).abs() > 1e-4
        })
    };
    assert!(!(0..150).any(differs));
    assert!((320..400).any(differs));
}

#[test]
fn a_batch_of_several_passes_gives_every_image_the_scores_that_it_has_alone() {
    let folder = trained(&[]);
    let run = folder.path().join("run");
    // Four of this size make a pass.
    let settings = ["input.size=512"];
    let images: Vec<RgbImage> = (0..5).map(|number| textured(512 + 40 * number, 512)).collect();
    let detector = Detector::open_with(&run, &settings, Some(DeviceChoice::Cpu)).unwrap();
    let together = detector.detect_batch(&images.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(together.len(), images.len());
    for (image, found) in images.iter().zip(together) {
        let alone = detect(&run, &settings, image);
        assert!((alone.score - found.score).abs() < 1e-5 * alone.score.abs());
        assert!(largest_difference(&alone.map.scores, &found.map.scores) < 1e-5);
    }
    let none: [&RgbImage; 0] = [];
    assert!(detector.detect_batch(&none).unwrap().is_empty());
}

#[test]
fn what_is_transparent_is_not_looked_at() {
    let folder = trained(&[]);
    let run = folder.path().join("run");
    let rgb = textured(152, 120);
    let image = InputImage {
        visible: Some(GrayImage::from_fn(152, 120, |x, _| {
            Luma([if x < 76 { 255 } else { 0 }])
        })),
        rgb: rgb.clone(),
    };
    for fit in ["stretch", "letterbox", "tile"] {
        // Smoothing would carry scores over the edge.
        let settings = ["scorer.sigma=0", &format!("input.fit={fit}")];
        let detector = Detector::open_with(&run, &settings, Some(DeviceChoice::Cpu)).unwrap();
        let (all, half) = (detector.detect(&rgb).unwrap(), detector.detect(&image).unwrap());
        let width = all.map.width as usize;
        for (place, (all, half)) in all.map.scores.iter().zip(&half.map.scores).enumerate() {
            let expected = if place % width < width / 2 { *all } else { 0.0 };
            assert_eq!(*half, expected, "{fit} at {place}");
        }
    }
}

#[test]
fn a_run_scores_images_where_the_data_of_its_training_are_gone() {
    let pipeline = SMALL
        .replace(
            "{ type: demo, size: 96, train: 3, test: 1, test_good: 1 }",
            "{ type: folder, normal: [good] }",
        )
        .replace("simple_texture_shape", "simple_shape, textures: textures");
    let folder = folder(&pipeline);
    for images in ["good", "textures"] {
        let images = folder.path().join(images);
        fs::create_dir(&images).unwrap();
        textured(96, 96).save(images.join("0.png")).unwrap();
    }
    succeed(folder.path(), "train p.yaml -o run");
    for gone in ["good", "textures"] {
        fs::remove_dir_all(folder.path().join(gone)).unwrap();
    }
    textured(80, 60).save(folder.path().join("new.png")).unwrap();
    let said = succeed(folder.path(), "detect run new.png");
    assert!(said.out.contains("new.png"), "{}", said.out);
    // Learning needs them.
    run(folder.path(), "train run/config.yaml -o again").fails(2, &["textures: no such folder"]);
}

#[test]
fn other_settings_leave_their_trace_and_have_no_thresholds() {
    let folder = trained(&[]);
    succeed(
        folder.path(),
        "evaluate run --set scorer.lambda=0 --set output.maps=false",
    );
    let results = Results::read(&folder.path().join("run")).unwrap();
    let metrics = results.metrics.unwrap();
    assert_eq!(metrics.changed, ["scorer.lambda=0", "output.maps=false"]);
    assert_eq!(metrics.calibration, None);
    let page = fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    assert!(page.contains("with other settings than it was trained with: scorer.lambda=0"));
    assert!(page.contains("settings that give other scores than those its thresholds are for"));
    succeed(folder.path(), "evaluate run --set output.maps=false");
    let metrics = Results::read(&folder.path().join("run"))
        .unwrap()
        .metrics
        .unwrap();
    assert_eq!(metrics.changed, ["output.maps=false"]);
    assert!(metrics.calibration.is_some());
}

#[test]
fn thresholds_come_from_held_out_images_and_give_the_same_verdict_everywhere() {
    let folder = trained(&[
        ("train: 3", "train: 20"),
        ("output: {", "validation: { share: 0.4 }\noutput: {"),
    ]);
    let dir = folder.path().join("run");
    let calibration = Calibration::read(&dir).unwrap().unwrap();
    assert_eq!(
        (calibration.basis.rule, calibration.basis.source),
        (ThresholdRule::ExtremeValue, Source::HeldOut)
    );
    assert_eq!(
        (
            calibration.basis.normal_images,
            calibration.basis.anomalous_images
        ),
        (8, 0)
    );
    let scale = calibration.image.scale().unwrap();
    assert!(scale.threshold > scale.median);
    assert!(calibration.pixel.scale().is_some());

    succeed(folder.path(), "evaluate run");
    let results = Results::read(&dir).unwrap();
    let metrics = results.metrics.unwrap();
    assert_eq!(metrics.calibration, Some(calibration));
    let at = metrics.at_threshold.unwrap();
    let count = |anomalous: bool, over: bool| {
        let chosen = results
            .predictions
            .iter()
            .filter(|line| line.is_anomalous() == anomalous && (line.calibrated.unwrap() >= 0.5) == over);
        chosen.count()
    };
    assert_eq!(
        (at.false_alarms, at.missed),
        (count(false, true), count(true, false))
    );
    assert_eq!(at.normal + at.anomalous, results.predictions.len());

    let image = textured(96, 96);
    image.save(folder.path().join("a.png")).unwrap();
    let found = detect(&dir, &[], &image);
    let said = succeed(folder.path(), "detect run a.png --json");
    let line: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    // Within rounding: libtorch's matrix products need not take as many threads in two processes.
    let calibrated = line["calibrated"].as_f64().unwrap();
    assert!((calibrated - found.calibrated.unwrap()).abs() < 1e-4);
    assert_eq!(line["anomalous"].as_bool(), found.is_anomalous());
    assert_eq!(found.is_anomalous(), Some(found.score >= scale.threshold));
}

#[test]
fn every_rule_for_thresholds_says_what_it_used() {
    for (rule, before, after) in [
        ("quantile", Source::HeldOut, Source::HeldOut),
        ("synthetic", Source::Synthetic, Source::Synthetic),
        ("f1_max", Source::HeldOut, Source::Test),
    ] {
        let validation = format!("validation: {{ share: 0.5, threshold: {rule} }}\noutput: {{");
        let folder = trained(&[("train: 3", "train: 10"), ("output: {", &validation)]);
        let dir = folder.path().join("run");
        assert_eq!(
            Calibration::read(&dir).unwrap().unwrap().basis.source,
            before,
            "{rule}"
        );
        succeed(folder.path(), "evaluate run");
        let calibration = Calibration::read(&dir).unwrap().unwrap();
        assert_eq!(calibration.basis.source, after, "{rule}");
        assert_eq!(
            calibration.basis.anomalous_images > 0,
            rule != "quantile",
            "{rule}"
        );
        // Once more with its own result.
        succeed(folder.path(), "evaluate run");
        assert_eq!(Calibration::read(&dir).unwrap().unwrap(), calibration, "{rule}");
        // Thresholds of the test split, asked for once, do not take the place of those of held-out images.
        succeed(folder.path(), "evaluate run --set validation.threshold=f1_max");
        assert_eq!(Calibration::read(&dir).unwrap().unwrap(), calibration, "{rule}");
        let measured = Results::read(&dir).unwrap().metrics.unwrap();
        assert_eq!(measured.calibration.unwrap().basis.source, Source::Test, "{rule}");
    }
    let none = trained(&[]);
    let calibration = Calibration::read(&none.path().join("run")).unwrap().unwrap();
    assert_eq!(calibration.basis.source, Source::Training);
}

#[test]
fn the_evaluation_writes_curves_pictures_and_maps() {
    let folder = trained(&[("maps: false", "maps: true, raw_maps: true")]);
    succeed(folder.path(), "evaluate run");
    let dir = folder.path().join("run");
    let results = Results::read(&dir).unwrap();
    let metrics = results.metrics.as_ref().unwrap();
    assert!(metrics.multiply_adds.carried_out <= metrics.multiply_adds.defined);
    assert!(metrics.multiply_adds.carried_out > 0);
    // With the auxiliary heads, which the network that was measured does not have any more.
    assert_eq!(metrics.parameters, Some(4_432_452));
    assert!(
        metrics
            .intervals
            .values()
            .all(|interval| interval.low <= interval.high)
    );
    assert!(!results.curves.pixel.is_empty() && !results.curves.image.is_empty());
    assert!(dir.join("synthesis.png").is_file());
    assert_eq!(
        results.predictions.len(),
        metrics.overall.normal + metrics.overall.anomalous
    );
    for line in &results.predictions {
        let picture = dir.join(line.picture.as_ref().unwrap());
        let parts = if line.is_anomalous() { 4 } else { 3 };
        let (width, height) = daf_core::image::image_dimensions(&picture).unwrap();
        assert_eq!((width, height), (parts * 96 + (parts - 1) * 4, 96));
        let pieces = Pieces::open(&picture).unwrap().unwrap();
        assert_eq!(pieces.image.dimensions(), (96, 96));
        assert_eq!(pieces.mask.is_some(), line.is_anomalous());
        let whole = daf_core::image::open(&picture).unwrap().into_rgb8();
        assert_eq!(panel(&pieces.image, pieces.mask.as_ref(), &pieces.heat), whole);
        let raw = picture.with_extension("tiff");
        let mut raw = tiff::decoder::Decoder::new(fs::File::open(&raw).unwrap()).unwrap();
        assert_eq!(raw.dimensions().unwrap(), (96, 96));
        let tiff::decoder::DecodingResult::F32(scores) = raw.read_image().unwrap() else {
            panic!("not floats");
        };
        // The image's score is the mean of the fifty largest.
        let mut scores: Vec<f64> = scores.iter().map(|score| f64::from(*score)).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        assert!((scores[..50].iter().sum::<f64>() / 50.0 - line.score).abs() < 1e-4);
    }
}

#[test]
fn pixel_metrics_in_little_memory_are_within_the_error_that_they_state() {
    let folder = trained(&[]);
    succeed(folder.path(), "evaluate run");
    let dir = folder.path().join("run");
    let exact = Results::read(&dir).unwrap().metrics.unwrap();
    assert_eq!(exact.pixel_error, None);
    // A run reads its own settings.
    let config = fs::read_to_string(dir.join("config.yaml")).unwrap();
    fs::write(
        dir.join("config.yaml"),
        config.replace("memory_mb: 2048", "memory_mb: 0"),
    )
    .unwrap();
    succeed(folder.path(), "evaluate run");
    let counted = Results::read(&dir).unwrap().metrics.unwrap();
    let error = counted.pixel_error.unwrap();
    assert!(error < 0.05, "{error}");
    let pairs = exact.overall.values().zip(counted.overall.values());
    for ((name, exact), (_, counted)) in pairs {
        match (exact, counted) {
            (Value::Number(exact), Value::Number(counted)) => {
                assert!(
                    (exact - counted).abs() <= error + 1e-9,
                    "{name}: {exact} {counted} {error}"
                );
            }
            _ => assert_eq!(name, "aupimo"),
        }
    }
}

#[test]
fn metrics_at_the_size_of_the_images_use_whole_masks() {
    let folder = trained(&[("size: 96, train", "size: 200, train")]);
    succeed(folder.path(), "evaluate run");
    let dir = folder.path().join("run");
    let size = |dir: &Path| Results::read(dir).unwrap().metrics.unwrap().size;
    assert_eq!(size(&dir), (96, 96));
    let config = fs::read_to_string(dir.join("config.yaml")).unwrap();
    fs::write(
        dir.join("config.yaml"),
        config.replace("resolution: network", "resolution: image"),
    )
    .unwrap();
    succeed(folder.path(), "evaluate run");
    assert_eq!(size(&dir), (200, 200));
}

#[test]
fn settings_of_geometry_and_validation_out_of_range_are_refused() {
    let folder = folder(SMALL);
    for (setting, message) in [
        (
            "input.tiles.overlap=0.95",
            "input.tiles.overlap: expected a share of 0 to 0.9",
        ),
        (
            "input.tiles.scale=0",
            "input.tiles.scale: expected a factor over 0",
        ),
        (
            "input.region=[0.5,0,0.6,1]",
            "input.region: expected [left, top, width, height]",
        ),
        (
            "validation.share=0.7",
            "validation.share: expected a share of 0 to 0.5",
        ),
        (
            "validation.false_alarms=0",
            "validation.false_alarms: expected a share over 0",
        ),
        ("evaluation.mask_rule=some", "evaluation.mask_rule"),
    ] {
        run(folder.path(), &format!("check p.yaml --set {setting}")).fails(2, &[message]);
    }
    let said = run(
        folder.path(),
        "check p.yaml --set synthesizer=null --set method.decoder=null --set method.auxiliary=null --set validation.threshold=synthetic",
    );
    said.fails(2, &["validation.threshold: `synthetic` damages held-out images"]);
}

#[test]
fn a_run_has_a_page_and_event_files_and_two_runs_are_put_side_by_side() {
    let folder = folder(SMALL);
    let folder = folder.path();
    for (run, seed) in [("a", "seed=1"), ("b", "seed=2")] {
        let said = succeed(folder, &format!("run p.yaml -o {run} --set {seed}"));
        assert!(
            said.out.contains(&format!("report:  {run}/report.html")),
            "{}",
            said.out
        );
        let names = crate::program::names(&folder.join(run));
        assert!(
            names.iter().any(|name| name.starts_with("events.out.tfevents")),
            "{names:?}"
        );
    }
    let page = folder.join("a/report.html");
    let before = fs::read_to_string(&page).unwrap();
    assert!(before.contains("I-AUC"));
    fs::remove_file(&page).unwrap();
    succeed(folder, "report a");
    assert_eq!(fs::read_to_string(&page).unwrap(), before);

    let said = succeed(folder, "compare a b -o both.html");
    for part in ["I-AUC", "| a ", "| b "] {
        assert!(said.out.contains(part), "{part} is missing:\n{}", said.out);
    }
    assert!(
        fs::read_to_string(folder.join("both.html"))
            .unwrap()
            .contains("seed")
    );
    run(folder, "compare a nothing").fails(1, &["nothing: no such folder"]);
    run(folder, "report p.yaml").fails(1, &["p.yaml"]);
}

const FITTED: &str = "\
data: { type: demo, size: 96, train: 12, test: 1, test_good: 12 }
input: { size: 96 }
synthesizer: null
method: { type: patchcore, backbone: { type: resnet18, weights: random }, coreset: 0.2 }
output: { maps: false }
device: cpu
";

#[test]
fn a_memory_of_few_images_gets_a_threshold_that_new_images_keep_below() {
    let folder = crate::program::folder(FITTED);
    let said = succeed(folder.path(), "run p.yaml -o run");
    assert!(
        said.out
            .contains("chosen from 12 training images, each scored by a model fitted to others"),
        "{}",
        said.out
    );
    let dir = folder.path().join("run");
    let calibration = Calibration::read(&dir).unwrap().unwrap();
    assert_eq!(calibration.basis.source, Source::CrossValidation);
    let at = Results::read(&dir)
        .unwrap()
        .metrics
        .unwrap()
        .at_threshold
        .unwrap();
    assert_eq!(at.normal, 12);
    assert!(at.false_alarms <= 2, "{at:?}");
    // The same thresholds whatever was fitted before.
    succeed(folder.path(), "train p.yaml -o again");
    let again = Calibration::read(&folder.path().join("again")).unwrap().unwrap();
    assert_eq!(again, calibration);
}

#[test]
fn thresholds_say_what_they_rest_on_wherever_they_are_used() {
    let (twelve, three) = (
        crate::program::folder(FITTED),
        crate::program::folder(&FITTED.replace("train: 12", "train: 3")),
    );
    textured(96, 96).save(twelve.path().join("a.png")).unwrap();
    textured(96, 96).save(three.path().join("a.png")).unwrap();
    let line = |folder: &Path| -> serde_json::Value {
        serde_json::from_str(&succeed(folder, "detect run a.png --json").out).unwrap()
    };
    let said = succeed(twelve.path(), "train p.yaml -o run").out;
    assert!(
        said.contains("threshold ") && said.contains("chosen from 12 training images"),
        "{said}"
    );
    let some = line(twelve.path());
    assert_eq!(some["basis"]["source"], "cross_validation");
    assert_eq!(some["basis"]["normal_images"], 12);
    assert!(some["anomalous"].is_boolean());

    let said = succeed(three.path(), "train p.yaml -o run").out;
    assert!(
        said.contains("3 left-out scores say too little of how far scores spread"),
        "{said}"
    );
    let few = line(three.path());
    assert!(few["anomalous"].is_null() && few["calibrated"].is_null());
    assert!(few["doubt"].as_str().unwrap().contains("say too little"), "{few}");
    let said = succeed(three.path(), "detect run a.png");
    assert!(
        said.error.contains("there is no verdict on an image"),
        "{}",
        said.error
    );
}

#[test]
fn images_are_scored_without_the_crates_that_only_training_needs() {
    let folder = trained(&[("train: 3", "train: 60")]);
    let folder = folder.path();
    textured(96, 96).save(folder.join("a.png")).unwrap();
    let before = succeed(folder, "detect run a.png --json").out;
    // As a run that was trained with a synthesizer and a data set of plugins.
    let config = folder.join("run/config.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace(
        "type: simple_texture_shape",
        "type: water_drop\n  strength: [1, 2]",
    );
    let text = text.replace("type: demo", "type: line_camera");
    let foreign = format!("plugins: {{ water-drop: \"1\" }}\n{text}");
    assert!(foreign.contains("water_drop") && foreign.contains("line_camera"));
    std::fs::write(&config, foreign).unwrap();

    assert_eq!(succeed(folder, "detect run a.png --json").out, before);
    assert!(
        before.contains("\"anomalous\":true") || before.contains("\"anomalous\":false"),
        "{before}"
    );
    // With a setting of the scorer the run's own settings are read as well, to know that the thresholds are not of use.
    let changed = succeed(folder, "detect run a.png --json --set scorer.sigma=2");
    assert!(changed.out.contains("\"anomalous\":null"), "{}", changed.out);
    let unknown = crate::program::run(folder, "detect run a.png --set scorre.sigma=2");
    unknown.fails(2, &["unknown key", "scorer"]);
    let evaluated = crate::program::run(folder, "evaluate run");
    evaluated.fails(2, &["plugins.water-drop", "this crate is not linked"]);
}

#[test]
fn threads_share_a_detector_and_get_the_scores_that_one_gets() {
    let folder = trained(&[]);
    let run = folder.path().join("run");
    let images: Vec<RgbImage> = (0..4).map(|number| textured(96 + 16 * number, 96)).collect();
    let detector = Detector::open(&run, DeviceChoice::Cpu).unwrap();
    let alone: Vec<f64> = images
        .iter()
        .map(|image| detector.detect(image).unwrap().score)
        .collect();
    let shared: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let score = || {
            images
                .iter()
                .map(|image| detector.detect(image).unwrap().score)
                .collect()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(score)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for scores in shared {
        for (shared, alone) in scores.iter().zip(&alone) {
            assert!(
                (shared - alone).abs() < 1e-5 * alone.abs(),
                "{scores:?} {alone:?}"
            );
        }
    }
}
