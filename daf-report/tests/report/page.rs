use daf_core::overlay::Pieces;
use daf_core::results::{Results, Value};
use image::{GrayImage, Luma, Rgb, RgbImage};

use crate::drawn::{self, Noise};

#[test]
fn a_report_stands_alone_and_holds_what_the_run_holds() {
    let folder = tempfile::tempdir().unwrap();
    let drawn = drawn::run(folder.path(), 18, 3);
    let path = daf_report::write(folder.path()).unwrap();
    assert_eq!(path, folder.path().join("report.html"));
    let page = std::fs::read_to_string(&path).unwrap();

    // The one address is the namespace of SVG, which nobody fetches.
    let without = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for outside in [
        "http:",
        "https:",
        "src=\"/",
        "<link rel=\"stylesheet\"",
        "@import",
    ] {
        assert!(!without.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("<li class=\"card\"").count(), 18);
    assert_eq!(page.matches("<figure class=\"chart\">").count(), 7);
    let auroc = drawn
        .metrics
        .as_ref()
        .unwrap()
        .overall
        .image_auroc
        .number()
        .unwrap();
    assert!(page.contains(&format!("<p class=\"value\">{:.1}", 100.0 * auroc)));
    for part in [
        "limit 0.3",
        "threshold",
        "root: /data/metal",
        "resnet18-f37072fd.pth",
        "scratch &#38; dent",
        "synthesizer/dra",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // What is not available has its reason and no number.
    assert!(page.contains("not available: pixel scores were counted in bins"));
}

#[test]
fn text_of_the_run_is_no_markup() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = drawn::run(folder.path(), 6, 4);
    let attack = "\"><script>alert('x')</script>";
    run.config = format!("# {attack}\n");
    run.manifest.device = attack.into();
    run.manifest.parts.push((attack.into(), attack.into()));
    for record in &mut run.history {
        record.terms[0].0 = attack.into();
    }
    let metrics = run.metrics.as_mut().unwrap();
    metrics.mask_rule = attack.into();
    metrics.overall.pixel_pro = Value::Missing {
        unavailable: attack.into(),
    };
    let of_defect = metrics.by_defect["hole"].clone();
    metrics.by_defect.insert(attack.into(), of_defect);
    for image in &mut run.predictions {
        image.label = attack.into();
        image.image = format!("a/{attack}");
        image.category = Some(attack.into());
    }
    run.predictions[0].picture = Some(format!("maps/{attack}"));
    let page = daf_report::page(&run).unwrap();
    assert!(!page.contains("<script>alert"));
    assert_eq!(page.matches("<script>").count(), 1);
    assert!(page.contains("&#60;script&#62;alert"));
    let comparison = daf_report::compare(&[run.clone(), run]).unwrap().html().unwrap();
    assert!(!comparison.contains("<script>"));
}

#[test]
fn a_run_that_is_not_finished_has_a_report_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = drawn::run(folder.path(), 6, 5);
    run.metrics = None;
    run.curves = Default::default();
    run.predictions.clear();
    let page = daf_report::page(&run).unwrap();
    assert!(page.contains("not available: the run has not been evaluated"));
    assert!(!page.contains("NaN") && !page.contains("<li class=\"card\""));
    run.history.clear();
    run.calibration = None;
    let page = daf_report::page(&run).unwrap();
    assert!(page.contains("not available: no step of the training is on record"));
}

#[test]
fn a_run_without_thresholds_or_pictures_has_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = drawn::run(folder.path(), 6, 6);
    run.calibration = None;
    let metrics = run.metrics.as_mut().unwrap();
    (metrics.calibration, metrics.at_threshold) = (None, None);
    for image in &mut run.predictions {
        (image.picture, image.calibrated) = (None, None);
    }
    run.predictions[1].picture = Some("maps/gone.png".into());
    run.predictions[2].score = f64::NAN;
    let page = daf_report::page(&run).unwrap();
    assert!(page.contains("not available: the run has no calibration"));
    assert!(page.contains("no picture: no pictures were drawn"));
    assert!(page.contains("no picture: maps/gone.png: "));
    assert!(!page.contains("data-verdict") && !page.contains("id=\"verdict\""));
}

/// Pictures of pure noise are the worst that JPEG can meet.
#[test]
fn a_report_on_very_many_images_stays_small_and_shows_the_worst() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = drawn::run(folder.path(), 6, 7);
    let mut noise = Noise::new(1);
    let mut level = || (256.0 * noise.next()) as u8;
    let pieces = Pieces {
        image: RgbImage::from_fn(96, 96, |_, _| Rgb([level(), level(), level()])),
        mask: Some(GrayImage::from_fn(96, 96, |_, _| Luma([level() & 128]))),
        heat: GrayImage::from_fn(96, 96, |_, _| Luma([level()])),
    };
    pieces.save(&folder.path().join("maps/noise.png")).unwrap();
    let mut noise = Noise::new(2);
    let one = run.predictions[0].clone();
    run.predictions = (0..4000)
        .map(|number| {
            let mut image = one.clone();
            image.image = format!("test/good/{number:05}.png");
            image.picture = Some("maps/noise.png".into());
            image.score = noise.next();
            image
        })
        .collect();
    let page = daf_report::page(&run).unwrap();
    assert!(page.len() < 15_000_000, "{}", page.len());
    let shown = page.matches("<li class=\"card\"").count();
    assert!((100..4000).contains(&shown), "{shown}");
    assert!(page.contains(&format!("the page shows {shown} of 4000 images")));
    // All are normal, so the highest scores are the worst.
    let mut scores: Vec<f64> = run.predictions.iter().map(|image| image.score).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    let has = |score: f64| page.contains(&format!("data-score=\"{score}\""));
    assert!(has(scores[0]) && has(scores[shown - 1]) && !has(scores[shown]));
}

#[test]
fn what_is_no_run_has_no_report() {
    let folder = tempfile::tempdir().unwrap();
    let error = daf_report::write(folder.path()).unwrap_err().to_string();
    assert!(error.contains("not a run directory"), "{error}");
    assert!(Results::read(folder.path()).is_err());
}
