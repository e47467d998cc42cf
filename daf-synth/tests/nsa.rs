//! NSA does what its settings say, on whole images.

use std::sync::Arc;

use daf_core::image::{Rgb, RgbImage};
use daf_core::rand::{Rng, SeedableRng};
use daf_core::{BoxError, Donors, Synthesis, Synthesizer, Synthetic};
use daf_synth::Nsa;
use daf_synth::nsa::Preset;
use daf_synth::object::ObjectModel;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

struct One(Arc<RgbImage>);

impl Donors for One {
    fn draw(&self, _: &mut dyn Rng) -> Result<Arc<RgbImage>, BoxError> {
        Ok(self.0.clone())
    }
}

fn part(value: Value) -> Box<dyn Synthesizer> {
    let part: Box<dyn Synthesizer> = serde_json::from_value(value).unwrap();
    part.check().unwrap();
    part
}

fn draw(part: &dyn Synthesizer, normal: &RgbImage, donor: &One, seed: u64) -> Option<Synthetic> {
    match part
        .synthesize(normal, donor, &mut ChaCha8Rng::seed_from_u64(seed))
        .unwrap()
    {
        Synthesis::Anomalous(synthetic) => Some(synthetic),
        Synthesis::Unchanged => None,
    }
}

/// A striped dark disk on light gray; `turn` changes the stripes.
fn disk(width: u32, height: u32, turn: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (dx, dy) = (
            f64::from(x) / f64::from(width) - 0.5,
            f64::from(y) / f64::from(height) - 0.5,
        );
        let stripe = ((x * turn + y * (9 - turn)) % 40 * 2) as u8;
        Rgb(if dx.hypot(dy) < 0.35 {
            [20 + stripe, 30 + stripe, 40]
        } else {
            [200; 3]
        })
    })
}

#[test]
fn every_preset_damages_nearly_every_image_of_any_aspect() {
    for preset in Preset::all() {
        let dark = ["hazelnut", "metal_nut", "pill", "toothbrush", "chest_xray"].contains(&preset.name());
        let strategy = part(json!({"type": "nsa", "preset": preset.name()}));
        for (width, height) in [(160, 160), (200, 120)] {
            let image = |turn| {
                let mut image = disk(width, height, turn);
                // Presets for black backgrounds get the negative.
                if dark {
                    image.iter_mut().for_each(|v| *v = 215 - *v);
                }
                image
            };
            let (normal, donor) = (image(2), One(Arc::new(image(7))));
            let found: Vec<_> = (0..30)
                .filter_map(|seed| draw(strategy.as_ref(), &normal, &donor, seed))
                .collect();
            assert!(
                found.len() >= 27,
                "{} {width} × {height}: {}",
                preset.name(),
                found.len()
            );
            for synthetic in found {
                assert!(synthetic.target.is_none());
                assert!(synthetic.mask.iter().all(|m| matches!(m, 0 | 255)));
            }
        }
    }
}

#[test]
fn defects_stay_on_the_object_of_source_or_destination() {
    let (normal, donor) = (disk(160, 160, 2), disk(160, 160, 7));
    let model = ObjectModel::Threshold {
        brightness: 200.0,
        threshold: 60.0,
    };
    let (ours, theirs) = (model.find(&normal), model.find(&donor));
    let donor = One(Arc::new(donor));
    for preset in ["bottle", "screw", "zipper"] {
        let strategy = part(json!({"type": "nsa", "preset": preset}));
        let mut on = 0;
        let mut all = 0;
        for seed in 0..60 {
            let Some(found) = draw(strategy.as_ref(), &normal, &donor, seed) else {
                continue;
            };
            all += found.mask.iter().filter(|m| **m > 0).count();
            on += found
                .mask
                .iter()
                .zip(ours.as_raw())
                .filter(|(m, o)| **m > 0 && **o > 0)
                .count();
        }
        // Of a patch a quarter of the object must lie on the object, the rest may lie beside it.
        assert!(theirs.share() > 0.3 && on * 2 > all, "{preset}: {on} of {all}");
    }
}

#[test]
fn each_further_patch_is_made_in_half_of_the_cases() {
    // Pasted white squares on black, so small that they seldom overlap: their area counts them.
    let (normal, donor) = (
        RgbImage::new(400, 400),
        One(Arc::new(RgbImage::from_pixel(400, 400, Rgb([255; 3])))),
    );
    let strategy = |patches: u32| {
        part(json!({
            "type": "nsa", "blend": "swap", "patches": patches, "height": [0.02, 0.02], "width": [0.02, 0.02],
            "resize": [1, 1],
        }))
    };
    let mean = |patches| {
        let strategy = strategy(patches);
        (0..400)
            .map(|seed| {
                let found = draw(strategy.as_ref(), &normal, &donor, seed).unwrap();
                found.mask.iter().filter(|m| **m > 0).count() as f64
            })
            .sum::<f64>()
            / 400.0
    };
    let one = mean(1);
    for (patches, expected) in [(2, 1.5), (5, 3.0)] {
        let found = mean(patches) / one;
        assert!((found - expected).abs() < 0.15, "{patches}: {found}");
    }
}

#[test]
fn labels_are_as_asked_for() {
    let (normal, donor) = (disk(128, 128, 2), One(Arc::new(disk(128, 128, 7))));
    for (labels, soft) in [
        ("binary", false),
        ("continuous", true),
        ("intensity", true),
        ("logistic", true),
    ] {
        for blend in ["normal", "mixed", "mix", "swap", "uniform"] {
            let strategy = part(json!({"type": "nsa", "blend": blend, "labels": labels}));
            let mut seen = Vec::new();
            for seed in 0..10 {
                let Some(found) = draw(strategy.as_ref(), &normal, &donor, seed) else {
                    continue;
                };
                assert_eq!(found.target.is_some(), soft, "{labels} {blend}");
                let Some(target) = found.target else { continue };
                for (target, mask) in target.iter().zip(found.mask.iter()) {
                    assert!((0.0..=1.0).contains(target) && (*mask > 0 || *target == 0.0));
                }
                seen.push(target.into_iter().fold(0f32, f32::max));
            }
            if labels == "continuous" {
                assert!(seen.iter().all(|f| (0.05..=0.95).contains(f)), "{seen:?}");
                assert!(
                    seen.iter().any(|f| *f < 0.5) && seen.iter().any(|f| *f > 0.5),
                    "{seen:?}"
                );
            }
        }
    }
}

#[test]
fn uniform_blending_pastes_half_transparently() {
    let (normal, donor) = (
        RgbImage::new(64, 64),
        One(Arc::new(RgbImage::from_pixel(64, 64, Rgb([200; 3])))),
    );
    let strategy = part(json!({"type": "nsa", "blend": "uniform", "labels": "continuous", "patches": 1}));
    for seed in 0..30 {
        let found = draw(strategy.as_ref(), &normal, &donor, seed).unwrap();
        let factor = found.target.unwrap().into_iter().fold(0f32, f32::max);
        let shade = found.image.iter().max().unwrap();
        assert!(
            (f32::from(*shade) - 200.0 * factor).abs() <= 1.0,
            "{shade} {factor}"
        );
    }
}

#[test]
fn what_is_written_back_reproduces_the_strategy() {
    let value = json!({"type": "nsa", "preset": "screw", "labels": "logistic", "width": [0.1, 0.2]});
    let first = part(value.clone());
    let written = serde_json::to_value(&first).unwrap();
    assert_eq!(written["preset"], "screw");
    assert_eq!(
        (&written["patches"], &written["width"]),
        (&json!(4), &json!([0.1, 0.2]))
    );
    assert_eq!(
        written["object"],
        json!({"type": "threshold", "brightness": 200.0, "threshold": 60.0})
    );
    assert!(written.as_object().unwrap().values().all(|v| !v.is_null()));
    let second = part(written.clone());
    assert_eq!(serde_json::to_value(&second).unwrap(), written);
    let (normal, donor) = (disk(128, 128, 2), One(Arc::new(disk(128, 128, 7))));
    for seed in 0..10 {
        let (a, b) = (
            draw(first.as_ref(), &normal, &donor, seed),
            draw(second.as_ref(), &normal, &donor, seed),
        );
        assert_eq!(a.map(|s| (s.image, s.target)), b.map(|s| (s.image, s.target)));
    }
}

#[test]
fn fields_beside_a_preset_override_it() {
    let strategy: Nsa = serde_json::from_value(json!({
        "preset": "screw", "object": {"type": "everywhere"}, "blend": "mixed", "patches": 1,
    }))
    .unwrap();
    let (found, preset) = (
        strategy.settings(),
        Preset::try_from("screw".to_owned()).unwrap().settings(),
    );
    assert_eq!((found.object, found.patches), (ObjectModel::Everywhere {}, 1));
    assert_eq!((found.height, found.logistic), (preset.height, preset.logistic));
    assert_ne!(found.blend, preset.blend);
}

#[test]
fn wrong_settings_name_the_field() {
    let error = |value: Value| match serde_json::from_value::<Box<dyn Synthesizer>>(value) {
        Ok(part) => part.check().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    for (value, expected) in [
        (
            json!({"type": "nsa", "preset": "scrw"}),
            "unknown preset `scrw`, did you mean `screw`?",
        ),
        (
            json!({"type": "nsa", "patches": 0}),
            "patches: expected a number from 1 to 100, found 0",
        ),
        (
            json!({"type": "nsa", "height": [0.0, 0.4]}),
            "height: expected [low, high]",
        ),
        (
            json!({"type": "nsa", "min_object": 1.5}),
            "min_object: expected a number from 0 to 1, found 1.5",
        ),
        (
            json!({"type": "nsa", "object": {"type": "threshold", "brightness": 900, "threshold": 1}}),
            "object.brightness: expected a number from 0 to 255, found 900",
        ),
        (
            json!({"type": "nsa", "object": {"type": "border", "spread": 3}}),
            "unknown field `spread`",
        ),
    ] {
        let found = error(value);
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn a_donor_of_another_size_is_fine() {
    let normal = disk(100, 60, 2);
    for (width, height) in [(30, 200), (300, 20), (1, 1)] {
        let donor = One(Arc::new(disk(width, height, 7)));
        let strategy = part(json!({"type": "nsa"}));
        for seed in 0..20 {
            if let Some(found) = draw(strategy.as_ref(), &normal, &donor, seed) {
                assert_eq!(found.image.dimensions(), (100, 60));
            }
        }
    }
    let nothing = One(Arc::new(RgbImage::new(0, 0)));
    assert!(draw(part(json!({"type": "nsa"})).as_ref(), &normal, &nothing, 1).is_none());
}
