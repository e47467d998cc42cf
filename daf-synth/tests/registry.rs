//! What holds for every registered synthesizer. New strategies are covered from the moment they are registered.

use daf_core::image::{Rgb, RgbImage};
use daf_core::rand::SeedableRng;
use daf_core::registry::{self, Component};
use daf_core::{Kind, Outcome, Synthesizer, Synthetic, schemars};
// Links the crate, so that its parts are registered.
use daf_synth as _;
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;

fn synthesizers() -> Vec<(&'static Component, Box<dyn Synthesizer>)> {
    let found = registry::components(Kind::Synthesizer);
    found
        .into_iter()
        .map(|c| (c, serde_json::from_value((c.example)()).unwrap()))
        .collect()
}

fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// A smooth image with some texture, grey if asked for.
fn normal(width: u32, height: u32, grey: bool) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let shade = (x * 160 / width + y * 60 / height) as u8 + ((x * 7 + y * 13) % 17) as u8;
        if grey {
            Rgb([shade; 3])
        } else {
            Rgb([shade, 255 - shade, 128])
        }
    })
}

fn synthesize(part: &dyn Synthesizer, normal: &RgbImage, rng: &mut ChaCha8Rng) -> Option<Synthetic> {
    match part.synthesize(normal, normal, rng).unwrap() {
        Outcome::Damaged(synthetic) => Some(synthetic),
        Outcome::Unchanged => None,
    }
}

fn check_contract(name: &str, part: &dyn Synthesizer, normal: &RgbImage, seed: u64, number: u64) {
    let context = format!("{name}, {:?}, seed {seed}, stream {number}", normal.dimensions());
    let first = synthesize(part, normal, &mut stream(seed, number));
    let again = synthesize(part, normal, &mut stream(seed, number));
    let (Some(found), Some(again)) = (&first, &again) else {
        assert_eq!(first.is_some(), again.is_some(), "{context}");
        return;
    };
    assert_eq!(
        (&found.image, &found.mask),
        (&again.image, &again.mask),
        "{context}: not deterministic"
    );
    assert_eq!(
        (found.touched, found.class),
        (again.touched, again.class),
        "{context}: not deterministic"
    );
    assert_eq!(found.target, again.target, "{context}: not deterministic");

    assert_eq!(found.image.dimensions(), normal.dimensions(), "{context}");
    assert_eq!(found.mask.dimensions(), normal.dimensions(), "{context}");
    assert!(
        found.mask.iter().all(|v| matches!(v, 0 | 255)),
        "{context}: mask not of 0 and 255"
    );
    assert!(found.mask.contains(&255), "{context}: empty mask");
    if let Some(target) = &found.target {
        assert_eq!(target.len(), normal.pixels().len(), "{context}");
        assert!(target.iter().all(|t| (0.0..=1.0).contains(t)), "{context}");
    }
    for ((x, y, old), (new, mask)) in normal
        .enumerate_pixels()
        .zip(found.image.pixels().zip(found.mask.pixels()))
    {
        let may_change = found.touched.contains(x, y) && (part.blends() || mask.0[0] == 255);
        assert!(may_change || old == new, "{context}: pixel {x}, {y} changed");
    }
}

#[test]
fn the_four_strategies_are_registered_with_documentation() {
    let found: Vec<_> = registry::components(Kind::Synthesizer)
        .into_iter()
        .map(|c| c.name)
        .collect();
    for name in ["dra", "simple_shape", "simple_texture", "simple_texture_shape"] {
        assert!(found.contains(&name), "{name} is missing in {found:?}");
    }
    assert!(
        registry::components(Kind::Synthesizer)
            .iter()
            .all(|c| !c.summary().is_empty())
    );
    registry::check().unwrap();
}

#[test]
fn every_example_reads_back_to_the_same_part_and_passes_its_check() {
    for (component, part) in synthesizers() {
        let example = (component.example)();
        assert_eq!(example["type"], component.name);
        assert_eq!(serde_json::to_value(&part).unwrap(), example);
        part.check().unwrap();
    }
}

#[test]
fn every_field_is_documented_in_the_schema() {
    for (component, _) in synthesizers() {
        let schema = (component.schema)(&mut schemars::SchemaGenerator::default()).to_value();
        for field in (component.example)()
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| *key != "type")
        {
            let text = schema["properties"][field]["description"]
                .as_str()
                .unwrap_or_default();
            assert!(text.len() > 40, "{}.{field}: {schema:#}", component.name);
        }
    }
}

#[test]
fn unknown_fields_are_refused() {
    for (component, _) in synthesizers() {
        let mut example = (component.example)();
        example["opaqueness"] = 1.into();
        let error = serde_json::from_value::<Box<dyn Synthesizer>>(example)
            .unwrap_err()
            .to_string();
        assert!(error.contains("opaqueness"), "{}: {error}", component.name);
    }
}

#[test]
fn images_of_a_few_pixels_are_survived() {
    for (component, part) in synthesizers() {
        for (width, height) in [(1, 1), (1, 2), (2, 2), (3, 5), (1, 64), (40, 2)] {
            for number in 0..20 {
                check_contract(
                    component.name,
                    part.as_ref(),
                    &normal(width, height, false),
                    1,
                    number,
                );
            }
        }
    }
}

#[test]
fn large_images_keep_the_contract() {
    for (component, part) in synthesizers() {
        for (width, height) in [(1024, 700), (513, 1025)] {
            check_contract(component.name, part.as_ref(), &normal(width, height, false), 2, 3);
        }
    }
}

#[test]
fn nearly_every_sample_is_damaged_and_streams_differ() {
    for (component, part) in synthesizers() {
        let normal = normal(64, 64, false);
        let all: Vec<_> = (0..50)
            .filter_map(|n| synthesize(part.as_ref(), &normal, &mut stream(3, n)))
            .collect();
        assert!(all.len() >= 49, "{}: {}", component.name, all.len());
        assert!(
            all.windows(2).all(|pair| pair[0].image != pair[1].image),
            "{}",
            component.name
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_synthesizer_keeps_its_contract(
        width in 33u32..=256, height in 47u32..=256, grey: bool, seed: u64, number: u64,
    ) {
        for (component, part) in synthesizers() {
            check_contract(component.name, part.as_ref(), &normal(width, height, grey), seed, number);
        }
    }
}
