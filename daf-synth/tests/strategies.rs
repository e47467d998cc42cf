//! The settings of the strategies do what they say.

use std::path::Path;

use daf_core::image::{Rgb, RgbImage};
use daf_core::rand::{Rng, SeedableRng};
use daf_core::{BoxError, Donors, Synthesis, Synthesizer, Synthetic, schemars, typetag};
use daf_synth as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

fn part(value: Value) -> Box<dyn Synthesizer> {
    serde_json::from_value(value).unwrap()
}

fn damaged(part: &dyn Synthesizer, normal: &RgbImage, seed: u64) -> Synthetic {
    match part
        .synthesize(normal, normal, &mut ChaCha8Rng::seed_from_u64(seed))
        .unwrap()
    {
        Synthesis::Anomalous(synthetic) => synthetic,
        Synthesis::Unchanged => panic!("unchanged for seed {seed}"),
    }
}

/// A folder of images of one color each, in DTD's layout.
fn textures(colors: &[[u8; 3]]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (i, color) in colors.iter().enumerate() {
        let class = folder.path().join(format!("class{}", i % 2));
        std::fs::create_dir_all(&class).unwrap();
        RgbImage::from_pixel(50, 30, Rgb(*color))
            .save(class.join(format!("{i}.png")))
            .unwrap();
    }
    folder
}

fn error_of(value: Value) -> String {
    part(value).check().unwrap_err().to_string()
}

#[test]
fn opacity_is_spread_over_its_range() {
    // On a black image a color c shows as (1−β)·c; three random channels have their largest value near 255
    // only now and then, so look at the same draw with and without opacity: only β differs.
    let normal = RgbImage::new(64, 64);
    let opaque = part(json!({"type": "simple_texture_shape", "opacity": [0.0, 0.0]}));
    let through = part(json!({"type": "simple_texture_shape", "opacity": [0.2, 0.6]}));
    let mut found = Vec::new();
    for seed in 0..400 {
        let (color, seen) = (
            damaged(opaque.as_ref(), &normal, seed),
            damaged(through.as_ref(), &normal, seed),
        );
        assert_eq!(color.mask, seen.mask);
        let at = (color.touched.x, color.touched.y);
        let (color, seen) = (
            color.image.get_pixel(at.0, at.1).0,
            seen.image.get_pixel(at.0, at.1).0,
        );
        let (full, part) = color.into_iter().zip(seen).max().unwrap();
        if full > 100 {
            found.push(1.0 - f64::from(part) / f64::from(full));
        }
    }
    assert!(found.len() > 300);
    assert!(found.iter().all(|b| (0.19..0.61).contains(b)), "{found:?}");
    let mean = found.iter().sum::<f64>() / found.len() as f64;
    assert!((mean - 0.4).abs() < 0.03, "{mean}");
}

#[test]
fn rectangles_have_the_area_asked_for_and_one_color() {
    let normal = RgbImage::from_pixel(200, 100, Rgb([90, 120, 150]));
    let strategy = part(
        json!({"type": "simple_texture_shape", "area": [0.1, 0.1], "aspect": [2.0, 2.0], "opacity": [0, 0]}),
    );
    for seed in 0..50 {
        let synthetic = damaged(strategy.as_ref(), &normal, seed);
        assert_eq!((synthetic.touched.width, synthetic.touched.height), (63, 32));
        let inside: Vec<_> = synthetic
            .mask
            .iter()
            .zip(synthetic.image.pixels())
            .filter(|(m, _)| **m > 0)
            .map(|(_, p)| p)
            .collect();
        assert_eq!(inside.len(), 63 * 32);
        assert!(inside.iter().all(|p| *p == inside[0]));
    }
}

#[test]
fn perlin_masks_cover_a_moderate_share_of_the_image() {
    let strategy = part(json!({"type": "simple_texture"}));
    let normal = RgbImage::new(128, 128);
    let shares: Vec<_> = (0..300)
        .map(|seed| {
            damaged(strategy.as_ref(), &normal, seed)
                .mask
                .iter()
                .filter(|m| **m > 0)
                .count() as f64
        })
        .map(|count| count / (128.0 * 128.0))
        .collect();
    let mean = shares.iter().sum::<f64>() / 300.0;
    assert!((0.03..0.15).contains(&mean), "{mean}");
    assert!(shares.iter().all(|s| *s < 0.6));
}

#[test]
fn a_folder_of_textures_gives_the_same_result_cold_warm_and_from_many_threads() {
    let folder = textures(&[[200, 30, 30], [30, 200, 30], [30, 30, 200], [220, 220, 40]]);
    let value = json!({"type": "dra", "textures": folder.path(), "opacity": [0.0, 0.0]});
    let normal = RgbImage::from_pixel(48, 48, Rgb([100; 3]));
    let warm = part(value.clone());
    warm.check().unwrap();
    let expected: Vec<_> = (0..40)
        .map(|seed| damaged(part(value.clone()).as_ref(), &normal, seed).image)
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for (seed, expected) in (0..).zip(&expected) {
                    assert_eq!(&damaged(warm.as_ref(), &normal, seed).image, expected);
                }
            });
        }
    });
    assert_eq!(serde_json::to_value(&warm).unwrap(), value);
}

#[test]
fn errors_about_textures_name_the_folder_and_say_what_to_write() {
    let missing = error_of(json!({"type": "dra", "textures": "/no/such/folder"}));
    assert!(
        missing.contains("/no/such/folder: no such folder") && missing.contains("`procedural`"),
        "{missing}"
    );

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
    let empty = error_of(json!({"type": "simple_shape", "textures": folder.path()}));
    assert!(
        empty.contains("there is no image in it but 1 file (notes.txt)") && empty.contains("`procedural`"),
        "{empty}"
    );

    let file = error_of(json!({"type": "dra", "textures": folder.path().join("notes.txt")}));
    assert!(
        file.contains("notes.txt: expected a folder, found a file"),
        "{file}"
    );

    let nothing = error_of(json!({"type": "dra", "textures": ""}));
    assert!(nothing.contains("`procedural`"), "{nothing}");
}

#[test]
fn a_damaged_texture_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.JPG"), "no jpeg").unwrap();
    std::fs::write(folder.path().join(".hidden.png"), "no png").unwrap();
    let strategy = part(json!({"type": "simple_shape", "textures": folder.path()}));
    strategy.check().unwrap();
    let normal = RgbImage::new(16, 16);
    let error = strategy
        .synthesize(&normal, &normal, &mut ChaCha8Rng::seed_from_u64(1))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&Path::new("broken.JPG").display().to_string()),
        "{error}"
    );
}

#[test]
fn ranges_out_of_bounds_name_the_field() {
    for (field, range) in [
        ("opacity", [0.5, 1.0]),
        ("opacity", [0.8, 0.1]),
        ("area", [0.0, 1.5]),
        ("aspect", [0.0, 1.0]),
    ] {
        let mut value = json!({"type": "simple_texture_shape"});
        value[field] = json!(range);
        let error = error_of(value);
        assert!(
            error.starts_with(&format!("{field}: expected [low, high]")),
            "{error}"
        );
    }
}

#[test]
fn no_opacity_shows_the_texture_alone() {
    let folder = textures(&[[200, 30, 30]]);
    let normal = RgbImage::from_pixel(64, 64, Rgb([10, 120, 250]));
    for kind in ["compose", "simple_shape", "dra"] {
        let key = if kind == "compose" { "texture" } else { "textures" };
        let opaque = part(json!({"type": kind, key: folder.path(), "opacity": [0.0, 0.0]}));
        for seed in 0..20 {
            let found = damaged(opaque.as_ref(), &normal, seed);
            let mut inside = found
                .image
                .pixels()
                .zip(found.mask.iter())
                .filter(|(_, m)| **m > 0);
            if kind == "compose" {
                assert!(inside.all(|(pixel, _)| *pixel == Rgb([200, 30, 30])));
            } else {
                // Augmentations change the color, but nothing of the image's 250 shows through.
                let (first, _) = inside.next().unwrap();
                let distinct = inside.filter(|(pixel, _)| *pixel != first).count();
                let all = found.mask.iter().filter(|m| **m > 0).count();
                assert!(distinct * 2 <= all, "{kind} {seed}: {distinct} of {all}");
            }
        }
    }
}

#[test]
fn compose_is_dra_with_its_pieces_written_out() {
    let normal = RgbImage::from_fn(64, 64, |x, y| Rgb([x as u8, y as u8, 90]));
    let dra = part(json!({"type": "dra"}));
    let composed = part(json!({"type": "compose", "shape": {"type": "perlin"}, "augment": true}));
    for seed in 0..20 {
        let (a, b) = (
            damaged(dra.as_ref(), &normal, seed),
            damaged(composed.as_ref(), &normal, seed),
        );
        assert_eq!((a.image, a.mask), (b.image, b.mask));
    }
}

/// Number of distinct colors in a defect on a black image.
fn colors(value: Value, seed: u64) -> (usize, usize) {
    let found = damaged(part(value).as_ref(), &RgbImage::new(96, 96), seed);
    let inside: Vec<_> = found
        .image
        .pixels()
        .zip(found.mask.iter())
        .filter(|(_, m)| **m > 0)
        .map(|(p, _)| p.0)
        .collect();
    let distinct: std::collections::HashSet<_> = inside.iter().collect();
    (distinct.len(), inside.len())
}

#[test]
fn granularity_says_what_has_one_color() {
    let strategy =
        |granularity: &str| json!({"type": "simple_texture", "granularity": granularity, "opacity": [0, 0]});
    let mut several = 0;
    for seed in 0..60 {
        assert_eq!(colors(strategy("anomaly"), seed).0, 1);
        let (regions, _) = colors(strategy("region"), seed);
        several += usize::from(regions > 1);
        let (pixels, area) = colors(strategy("pixel"), seed);
        assert!(pixels * 100 >= area * 99, "{pixels} of {area}");
        assert!(regions <= pixels);
    }
    assert!(several > 25, "{several}");
    // A rectangle is connected.
    let rectangle = json!({"type": "simple_texture_shape", "granularity": "region", "opacity": [0, 0]});
    assert!((0..20).all(|seed| colors(rectangle.clone(), seed).0 == 1));
}

#[test]
fn cutpaste_pastes_pixels_of_the_image_itself() {
    // Every pixel has a color of its own, so the pasted piece tells where it comes from.
    let normal = RgbImage::from_fn(90, 70, |x, y| Rgb([x as u8, y as u8, 200]));
    let strategy = part(json!({"type": "cutpaste", "jitter": 0.0, "area": [0.05, 0.1]}));
    let mut moved = 0;
    for seed in 0..60 {
        let found = damaged(strategy.as_ref(), &normal, seed);
        let place = found.touched;
        let area = f64::from(place.width * place.height) / (90.0 * 70.0);
        assert!((0.045..0.11).contains(&area), "{area}");
        let [left, top, _] = found.image.get_pixel(place.x, place.y).0.map(u32::from);
        for y in 0..place.height {
            for x in 0..place.width {
                assert_eq!(
                    found.image.get_pixel(place.x + x, place.y + y),
                    normal.get_pixel(left + x, top + y)
                );
            }
        }
        moved += usize::from((left, top) != (place.x, place.y));
    }
    assert!(moved > 55, "{moved}");
}

#[test]
fn jitter_stays_within_its_share() {
    let normal = RgbImage::from_pixel(64, 64, Rgb([120; 3]));
    let strategy = part(json!({"type": "cutpaste", "jitter": 0.1}));
    let mut found = Vec::new();
    for seed in 0..200 {
        let synthetic = damaged(strategy.as_ref(), &normal, seed);
        found.push(
            synthetic
                .image
                .get_pixel(synthetic.touched.x, synthetic.touched.y)
                .0[0],
        );
    }
    assert!(found.iter().all(|v| (106..=133).contains(v)), "{found:?}");
    assert!(found.iter().any(|v| *v < 112) && found.iter().any(|v| *v > 128));
}

#[test]
fn a_union_tells_patches_from_scars_and_keeps_their_shares() {
    let normal = RgbImage::from_fn(256, 256, |x, y| Rgb([x as u8, y as u8, 90]));
    for share in [0.5, 0.2] {
        let union = part(json!({"type": "cutpaste_union", "scar_share": share}));
        let mut scars = 0;
        for seed in 0..400 {
            let found = damaged(union.as_ref(), &normal, seed);
            let area = found.mask.iter().filter(|m| **m > 0).count();
            // The largest scar has 16 · 25 pixels, the smallest patch 0.02 · 256².
            assert_eq!(found.class, u8::from(area < 500), "{area}");
            scars += usize::from(found.class == 1);
        }
        let expected = 400.0 * share;
        assert!((scars as f64 - expected).abs() < 40.0, "{scars} of {expected}");
    }
}

#[test]
fn a_mixture_draws_by_weight_and_keeps_the_class() {
    let normal = RgbImage::from_fn(128, 128, |x, y| Rgb([x as u8, y as u8, 90]));
    let scar = json!({"type": "cutpaste_union", "scar_share": 1.0});
    let mixture = part(json!({"type": "mixture", "of": [
        {"weight": 3.0, "synthesizer": scar},
        {"synthesizer": {"type": "simple_texture_shape"}},
        {"weight": 4.0, "synthesizer": {"type": "none"}},
        {"weight": 0.0, "synthesizer": {"type": "dra", "textures": "/never/opened"}},
    ]}));
    let mut counts = [0; 3];
    for seed in 0..800 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        match mixture.synthesize(&normal, &normal, &mut rng).unwrap() {
            Synthesis::Unchanged => counts[2] += 1,
            Synthesis::Anomalous(found) => counts[1 - usize::from(found.class)] += 1,
        }
    }
    for (count, expected) in counts.into_iter().zip([300, 100, 400]) {
        assert!(i32::abs(count - expected) < 60, "{counts:?}");
    }
}

/// Changes pixels outside its mask.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Spreading {}
daf_core::register!(Synthesizer: Spreading = "spreading");

#[typetag::serde(name = Spreading::NAME)]
impl Synthesizer for Spreading {
    fn synthesize(&self, _: &RgbImage, _: &dyn Donors, _: &mut dyn Rng) -> Result<Synthesis, BoxError> {
        Ok(Synthesis::Unchanged)
    }
    fn blends(&self) -> bool {
        true
    }
}

#[test]
fn a_mixture_blends_if_one_of_its_strategies_does() {
    let mixture = |second: &str| {
        part(json!({"type": "mixture", "of": [
            {"synthesizer": {"type": "dra"}},
            {"synthesizer": {"type": "mixture", "of": [{"synthesizer": {"type": second}}]}},
        ]}))
    };
    assert!(!mixture("cutpaste").blends());
    assert!(mixture("spreading").blends());
}

#[test]
fn errors_of_pieces_lead_to_the_piece() {
    for (value, expected) in [
        (
            json!({"type": "mixture", "of": [{"synthesizer": {"type": "dra"}}, {"synthesizer": {"type": "cutpaste", "area": [0.5, 2.0]}}]}),
            "of[1].synthesizer: area: expected [low, high]",
        ),
        (
            json!({"type": "mixture", "of": [{"weight": -1.0, "synthesizer": {"type": "dra"}}]}),
            "of[0].weight: expected 0 or more, found -1",
        ),
        (
            json!({"type": "mixture", "of": []}),
            "of: expected at least one strategy",
        ),
        (
            json!({"type": "compose", "shape": {"type": "perlin", "cells": [3, 1]}}),
            "shape.cells: expected [least, most]",
        ),
        (
            json!({"type": "compose", "texture": {"type": "donor", "jitter": 2.0}}),
            "texture: jitter: expected a number of 0 to 0.5, found 2",
        ),
        (
            json!({"type": "cutpaste_union", "scar": {"width": [0.0, 3.0]}}),
            "scar.width: expected [low, high]",
        ),
        (
            json!({"type": "dra", "textures": {"type": "procedural", "patterns": []}}),
            "patterns: expected at least one",
        ),
    ] {
        let error = error_of(value);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_folder_may_be_limited_to_some_formats() {
    let folder = textures(&[[200, 30, 30]]);
    RgbImage::from_pixel(20, 20, Rgb([0, 0, 255]))
        .save(folder.path().join("blue.bmp"))
        .unwrap();
    let strategy = |formats: Value| {
        json!({
            "type": "compose", "opacity": [0, 0],
            "texture": {"type": "folder", "path": folder.path(), "formats": formats},
        })
    };
    let mut reds = [0; 3];
    for (count, formats) in reds
        .iter_mut()
        .zip([json!(["BMP"]), json!([".png", "jpg"]), json!([])])
    {
        let strategy = part(strategy(formats));
        for seed in 0..40 {
            let found = damaged(strategy.as_ref(), &RgbImage::new(32, 32), seed);
            *count += usize::from(found.image.pixels().any(|p| p.0[0] > 0));
        }
    }
    assert!(
        reds[0] == 0 && reds[1] == 40 && (10..30).contains(&reds[2]),
        "{reds:?}"
    );
    let error = error_of(strategy(json!(["tiff"])));
    assert!(error.contains("none of its 2 images ends in tiff"), "{error}");
}

#[test]
fn donors_are_other_images_at_another_place() {
    struct Others(RgbImage);
    impl Donors for Others {
        fn draw(&self, _: &mut dyn Rng) -> Result<std::sync::Arc<RgbImage>, BoxError> {
            Ok(self.0.clone().into())
        }
    }
    let others = Others(RgbImage::from_pixel(64, 64, Rgb([1, 2, 3])));
    let strategy = part(
        json!({"type": "compose", "shape": {"type": "ellipses"}, "texture": {"type": "donor"}, "opacity": [0, 0]}),
    );
    let normal = RgbImage::from_pixel(64, 64, Rgb([100; 3]));
    let outcome = strategy
        .synthesize(&normal, &others, &mut ChaCha8Rng::seed_from_u64(1))
        .unwrap();
    let Synthesis::Anomalous(found) = outcome else {
        panic!()
    };
    for (pixel, mask) in found.image.pixels().zip(found.mask.iter()) {
        assert_eq!(pixel.0, if *mask > 0 { [1, 2, 3] } else { [100; 3] });
    }
}
