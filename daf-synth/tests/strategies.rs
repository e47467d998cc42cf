//! The settings of the four strategies do what they say.

use std::path::Path;

use daf_core::image::{Rgb, RgbImage};
use daf_core::rand::SeedableRng;
use daf_core::{Outcome, Synthesizer, Synthetic};
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
        Outcome::Damaged(synthetic) => synthetic,
        Outcome::Unchanged => panic!("unchanged for seed {seed}"),
    }
}

/// A folder of images of one colour each, in DTD's layout.
fn textures(colours: &[[u8; 3]]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (i, colour) in colours.iter().enumerate() {
        let class = folder.path().join(format!("class{}", i % 2));
        std::fs::create_dir_all(&class).unwrap();
        RgbImage::from_pixel(50, 30, Rgb(*colour))
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
    // On a black image a colour c shows as (1−β)·c; three random channels have their largest value near 255 only now
    // and then, so look at the same draw with and without opacity: only β differs.
    let normal = RgbImage::new(64, 64);
    let opaque = part(json!({"type": "simple_texture_shape", "opacity": [0.0, 0.0]}));
    let through = part(json!({"type": "simple_texture_shape", "opacity": [0.2, 0.6]}));
    let mut found = Vec::new();
    for seed in 0..400 {
        let (colour, seen) = (
            damaged(opaque.as_ref(), &normal, seed),
            damaged(through.as_ref(), &normal, seed),
        );
        assert_eq!(colour.mask, seen.mask);
        let at = (colour.touched.x, colour.touched.y);
        let (colour, seen) = (
            colour.image.get_pixel(at.0, at.1).0,
            seen.image.get_pixel(at.0, at.1).0,
        );
        let (full, part) = colour.into_iter().zip(seen).max().unwrap();
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
fn rectangles_have_the_area_asked_for_and_one_colour() {
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
