//! Rules for every registered synthesizer, shape and texture. New ones are covered from the moment they
//! are registered.

use daf_core::image::{Rgb, RgbImage};
use daf_core::rand::SeedableRng;
use daf_core::registry::{self, Component};
use daf_core::{Fill, Kind, Region, Shape, Synthesis, Synthesizer, Synthetic, Texture, schemars};
// Links the crate, so that its parts are registered.
use daf_synth as _;
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The registered parts of a kind with their defaults.
fn parts<T: DeserializeOwned>(kind: Kind) -> Vec<(&'static Component, T)> {
    registry::components(kind)
        .into_iter()
        .map(|c| (c, serde_json::from_value((c.example)()).unwrap()))
        .collect()
}

fn synthesizers() -> Vec<(&'static Component, Box<dyn Synthesizer>)> {
    parts(Kind::Synthesizer)
}

fn shapes() -> Vec<(&'static Component, Box<dyn Shape>)> {
    parts(Kind::Shape)
}

/// Textures that need no files.
fn textures() -> Vec<(&'static Component, Box<dyn Texture>)> {
    let mut found: Vec<(_, Box<dyn Texture>)> = parts(Kind::Texture);
    found.retain(|(component, _)| component.name != "folder");
    found
}

/// Whether it leaves every image as it is.
fn is_none(component: &Component) -> bool {
    component.name == "none"
}

fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// A smooth image with some texture, gray if asked for.
fn normal(width: u32, height: u32, gray: bool) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let shade = (x * 160 / width + y * 60 / height) as u8 + ((x * 7 + y * 13) % 17) as u8;
        if gray {
            Rgb([shade; 3])
        } else {
            Rgb([shade, 255 - shade, 128])
        }
    })
}

fn synthesize(part: &dyn Synthesizer, normal: &RgbImage, rng: &mut ChaCha8Rng) -> Option<Synthetic> {
    match part.synthesize(normal, normal, rng).unwrap() {
        Synthesis::Anomalous(synthetic) => Some(synthetic),
        Synthesis::Unchanged => None,
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

/// Size kept and nothing but 0 and 255, of which some.
fn check_region(region: &Region, normal: &RgbImage, context: &str) {
    assert_eq!(region.mask().dimensions(), normal.dimensions(), "{context}");
    assert!(region.mask().iter().all(|v| matches!(v, 0 | 255)), "{context}");
    assert!(region.mask().contains(&255), "{context}: empty");
}

#[test]
fn the_strategies_and_their_pieces_are_registered_with_documentation() {
    for (kind, expected) in [
        (
            Kind::Synthesizer,
            &[
                "compose",
                "cutpaste",
                "cutpaste_scar",
                "cutpaste_union",
                "dra",
                "mixture",
                "none",
                "simple_shape",
                "simple_texture",
                "simple_texture_shape",
            ][..],
        ),
        (Kind::Shape, &["ellipses", "perlin", "rectangle", "scar"]),
        (
            Kind::Texture,
            &["colour", "donor", "folder", "procedural", "same_image"],
        ),
    ] {
        let found: Vec<_> = registry::components(kind).into_iter().map(|c| c.name).collect();
        for name in expected {
            assert!(found.contains(name), "{kind} {name} is missing in {found:?}");
        }
        assert!(registry::components(kind).iter().all(|c| !c.summary().is_empty()));
    }
    registry::check().unwrap();
}

fn reads_back<T: DeserializeOwned + Serialize>(kind: Kind) {
    for (component, part) in parts::<T>(kind) {
        let example = (component.example)();
        assert_eq!(example["type"], component.name);
        assert_eq!(serde_json::to_value(&part).unwrap(), example);
    }
}

#[test]
fn every_example_reads_back_to_the_same_part_and_passes_its_check() {
    reads_back::<Box<dyn Synthesizer>>(Kind::Synthesizer);
    reads_back::<Box<dyn Shape>>(Kind::Shape);
    reads_back::<Box<dyn Texture>>(Kind::Texture);
    synthesizers().iter().for_each(|(_, part)| part.check().unwrap());
    shapes().iter().for_each(|(_, part)| part.check().unwrap());
    textures().iter().for_each(|(_, part)| part.check().unwrap());
}

#[test]
fn every_field_is_documented_in_the_schema() {
    for kind in [Kind::Synthesizer, Kind::Shape, Kind::Texture] {
        for component in registry::components(kind) {
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
                assert!(text.len() > 30, "{}.{field}: {schema:#}", component.name);
            }
        }
    }
}

fn refuse_unknown_fields<T: DeserializeOwned>(kind: Kind) {
    for component in registry::components(kind) {
        let mut example = (component.example)();
        example["opaqueness"] = 1.into();
        let error = serde_json::from_value::<T>(example).err().unwrap().to_string();
        assert!(error.contains("opaqueness"), "{}: {error}", component.name);
    }
}

#[test]
fn unknown_fields_are_refused() {
    refuse_unknown_fields::<Box<dyn Synthesizer>>(Kind::Synthesizer);
    refuse_unknown_fields::<Box<dyn Shape>>(Kind::Shape);
    refuse_unknown_fields::<Box<dyn Texture>>(Kind::Texture);
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
        for (width, height, gray) in [(1024, 1024, false), (513, 1025, true)] {
            check_contract(component.name, part.as_ref(), &normal(width, height, gray), 2, 3);
        }
    }
}

#[test]
fn nearly_every_sample_is_damaged_and_streams_differ() {
    for (component, part) in synthesizers().into_iter().filter(|(c, _)| !is_none(c)) {
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

#[test]
fn samples_do_not_depend_on_the_thread_that_makes_them_nor_on_what_it_made_before() {
    const SAMPLES: usize = 24;
    let normals = [normal(64, 80, false), normal(96, 33, true)];
    for (component, part) in synthesizers() {
        let part = part.as_ref();
        let make = |number: usize| {
            let found = synthesize(part, &normals[number % 2], &mut stream(4, number as u64))?;
            Some((found.image, found.mask, found.target, found.touched, found.class))
        };
        let alone: Vec<_> = (0..SAMPLES).map(make).collect();
        for threads in [2, 3, 5] {
            let shared: Vec<_> = std::thread::scope(|scope| {
                let workers: Vec<_> = (0..threads)
                    .map(|thread| {
                        scope.spawn(move || {
                            // Backwards, so that each comes after others than it did alone.
                            let numbers = (0..SAMPLES).rev().filter(|number| number % threads == thread);
                            numbers.map(|number| (number, make(number))).collect::<Vec<_>>()
                        })
                    })
                    .collect();
                workers
                    .into_iter()
                    .flat_map(|worker| worker.join().unwrap())
                    .collect()
            });
            assert_eq!(shared.len(), SAMPLES);
            for (number, found) in shared {
                assert!(
                    found == alone[number],
                    "{}, {threads} threads, sample {number}",
                    component.name
                );
            }
        }
    }
}

#[test]
fn only_none_leaves_every_image_as_it_is() {
    let unaltered = synthesizers().into_iter().find(|(c, _)| is_none(c)).unwrap().1;
    let normal = normal(64, 64, false);
    assert!((0..20).all(|n| synthesize(unaltered.as_ref(), &normal, &mut stream(1, n)).is_none()));
}

#[test]
fn every_shape_can_be_filled_with_every_texture() {
    for (shape, _) in shapes() {
        for (texture, _) in textures() {
            for augment in [false, true] {
                let part: Box<dyn Synthesizer> = serde_json::from_value(serde_json::json!({
                    "type": "compose", "shape": { "type": shape.name }, "texture": { "type": texture.name },
                    "augment": augment,
                }))
                .unwrap();
                part.check().unwrap();
                let context = format!("{} with {}, augment {augment}", shape.name, texture.name);
                for (width, height) in [(70, 50), (3, 40)] {
                    for number in 0..5 {
                        check_contract(&context, part.as_ref(), &normal(width, height, false), 6, number);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_shape_and_texture_keeps_its_contract(
        width in 1u32..=90, height in 1u32..=90, gray: bool, seed: u64, number: u64,
    ) {
        let normal = normal(width, height, gray);
        for (component, shape) in shapes() {
            let context = format!("{} at {width}×{height}", component.name);
            let draw = || shape.draw(&normal, &mut stream(seed, number)).unwrap();
            let Some(region) = draw() else { continue };
            check_region(&region, &normal, &context);
            assert_eq!(region.mask(), draw().unwrap().mask(), "{context}: not deterministic");
            for (component, texture) in textures() {
                let context = format!("{} in {context}", component.name);
                let draw = || texture.draw(&normal, &region, &normal, &mut stream(seed, number)).unwrap();
                match (draw(), draw()) {
                    (Fill::Color(first), Fill::Color(second)) => assert_eq!(first, second, "{context}"),
                    (Fill::Image(first), Fill::Image(second)) => {
                        assert_eq!(first, second, "{context}");
                        assert_eq!(first.dimensions(), normal.dimensions(), "{context}");
                    }
                    (Fill::Patch(first), Fill::Patch(second)) => {
                        assert_eq!(first, second, "{context}");
                        let bounds = region.bounds();
                        assert_eq!(first.dimensions(), (bounds.width, bounds.height), "{context}");
                    }
                    different => panic!("{context}: {different:?}"),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_synthesizer_keeps_its_contract(
        width in 33u32..=256, height in 47u32..=256, gray: bool, seed: u64, number: u64,
    ) {
        for (component, part) in synthesizers() {
            check_contract(component.name, part.as_ref(), &normal(width, height, gray), seed, number);
        }
    }
}
