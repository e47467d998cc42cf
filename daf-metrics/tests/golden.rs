//! Agreement with scikit-learn, an independent exact PRO and the official code of DAF, on the golden cases.

use std::path::PathBuf;

use daf_metrics::{PixelMaps, Unavailable, auroc, average_precision};
use safetensors::SafeTensors;
use serde_json::Value;

fn golden_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("DAF_GOLDEN").map(|f| PathBuf::from(f).join("metrics"));
    let found = folder.filter(|f| f.is_dir());
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "DAF_GOLDEN must name the folder of golden numbers in CI"
        );
        eprintln!("SKIPPED: DAF_GOLDEN names no folder of golden numbers");
    }
    found
}

fn floats(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let bytes = file.tensor(name).unwrap().data().to_vec();
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

fn close(case: &Value, key: &str, value: f64, tolerance: f64) {
    let expected = case[key].as_f64().unwrap();
    assert!(
        (value - expected).abs() <= tolerance,
        "{} {key}: {value} instead of {expected}",
        case["name"]
    );
}

#[test]
fn golden_metrics() {
    let Some(folder) = golden_folder() else { return };
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    assert!(!cases.is_empty());
    for case in &cases {
        let bytes =
            std::fs::read(folder.join(format!("{}.safetensors", case["name"].as_str().unwrap()))).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mask = file.tensor("mask").unwrap();
        assert_eq!((mask.dtype(), mask.shape().len()), (safetensors::Dtype::U8, 3));
        let (height, width) = (mask.shape()[1], mask.shape()[2]);
        let scores = floats(&file, "map");

        let mut maps = PixelMaps::new();
        for (map, mask) in scores
            .chunks(width * height)
            .zip(mask.data().chunks(width * height))
        {
            maps.push(map, mask, width, height).unwrap();
        }
        assert_eq!(maps.regions() as u64, case["regions"].as_u64().unwrap());
        let pixels = maps.evaluate();
        close(case, "pixel_auroc", pixels.auroc().unwrap(), 1e-9);
        close(case, "pixel_ap", pixels.average_precision().unwrap(), 1e-9);
        close(case, "pro_exact_fpr30", pixels.pro(0.3).unwrap(), 1e-9);
        close(case, "pro_exact_fpr05", pixels.pro(0.05).unwrap(), 1e-9);
        close(case, "pro_200_thresholds", pixels.pro_200().unwrap(), 1e-6);
        let best = pixels.f1_max().unwrap();
        close(case, "pixel_f1_max", best.f1, 1e-9);
        close(case, "pixel_f1_max_threshold", f64::from(best.threshold), 1e-9);

        let labels: Vec<bool> = mask
            .data()
            .chunks(width * height)
            .map(|m| m.contains(&1))
            .collect();
        let image_scores = floats(&file, "image_score");
        if case["image_auroc"].is_null() {
            assert_eq!(auroc(&image_scores, &labels), Err(Unavailable::NoNormalSample));
            assert_eq!(
                average_precision(&image_scores, &labels),
                Err(Unavailable::NoNormalSample)
            );
        } else {
            close(case, "image_auroc", auroc(&image_scores, &labels).unwrap(), 1e-9);
            close(
                case,
                "image_ap",
                average_precision(&image_scores, &labels).unwrap(),
                1e-9,
            );
        }
    }
}
