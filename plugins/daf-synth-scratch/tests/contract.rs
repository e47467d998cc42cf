//! What everyone who uses the synthesizer relies on, and that its settings do what they say.

use daf_core::image::{Rgb, RgbImage};
use daf_core::rand::{SeedableRng, rngs::SmallRng};
use daf_core::{Kind, Outcome, Synthesizer, Synthetic, registry};
use daf_synth_scratch::Scratch;
use proptest::prelude::*;

fn damage(part: &dyn Synthesizer, normal: &RgbImage, seed: u64) -> Option<Synthetic> {
    match part
        .synthesize(normal, normal, &mut SmallRng::seed_from_u64(seed))
        .unwrap()
    {
        Outcome::Damaged(synthetic) => Some(synthetic),
        Outcome::Unchanged => None,
    }
}

fn gray(side: u32) -> RgbImage {
    RgbImage::from_pixel(side, side, Rgb([128; 3]))
}

/// Share of masked pixels, on average over 200 images.
fn share(part: &Scratch) -> f64 {
    part.check().unwrap();
    let normal = gray(128);
    let shares = (0..200).map(|seed| {
        let masked =
            damage(part, &normal, seed).map_or(0, |found| found.mask.iter().filter(|m| **m > 0).count());
        masked as f64 / (128.0 * 128.0)
    });
    shares.sum::<f64>() / 200.0
}

#[test]
fn the_part_is_registered_and_reads_back() {
    let part = registry::find(Kind::Synthesizer, "scratch").unwrap();
    assert_eq!(part.krate, "daf-synth-scratch");
    let example = (part.example)();
    let read: Box<dyn Synthesizer> = serde_json::from_value(example.clone()).unwrap();
    read.check().unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), example);
    let mut unknown = example;
    unknown["lenght"] = 1.into();
    assert!(serde_json::from_value::<Box<dyn Synthesizer>>(unknown).is_err());
}

#[test]
fn defects_are_thin_and_grow_with_width_length_and_number() {
    let one = Scratch {
        strokes: (1, 1),
        cracks: 0.0,
        ..Scratch::default()
    };
    let usual = share(&one);
    assert!((0.001..0.05).contains(&usual), "{usual}");
    assert!(
        share(&Scratch {
            width: (8.0, 8.0),
            ..one.clone()
        }) > 2.0 * usual
    );
    assert!(
        share(&Scratch {
            length: (0.8, 0.8),
            ..one.clone()
        }) > 1.2 * usual
    );
    assert!(
        share(&Scratch {
            strokes: (4, 4),
            ..one.clone()
        }) > 2.0 * usual
    );
    let crack = Scratch {
        cracks: 1.0,
        branches: 0.0,
        ..one
    };
    assert!(
        share(&Scratch {
            branches: 10.0,
            ..crack.clone()
        }) > 1.2 * share(&crack)
    );
}

#[test]
fn the_largest_change_is_the_contrast_in_either_direction() {
    let normal = gray(96);
    let part = Scratch {
        contrast: (0.3, 0.3),
        relief: 0.0,
        width: (4.0, 4.0),
        cracks: 0.0,
        ..Scratch::default()
    };
    let (mut lighter, mut darker) = (0, 0);
    for seed in 0..100 {
        let found = damage(&part, &normal, seed).unwrap();
        let values = || found.image.pixels().map(|pixel| i32::from(pixel.0[0]) - 128);
        let (low, high) = (values().min().unwrap(), values().max().unwrap());
        let largest = high.max(-low);
        // 77 where the middle of a stroke lies on the image.
        assert!(largest <= 77, "seed {seed}: {largest}");
        lighter += u32::from(high >= 70);
        darker += u32::from(low <= -70);
    }
    assert!(lighter > 40 && darker > 40, "{lighter} lighter, {darker} darker");
}

#[test]
fn relief_makes_one_flank_light_and_the_other_dark() {
    let normal = gray(96);
    let part = Scratch {
        width: (6.0, 6.0),
        strokes: (1, 1),
        cracks: 0.0,
        ..Scratch::default()
    };
    let both = |relief| {
        let part = Scratch {
            relief,
            ..part.clone()
        };
        let found = (0..50).filter_map(|seed| damage(&part, &normal, seed));
        let both = found.filter(|found| {
            found.image.pixels().any(|pixel| pixel.0[0] < 120)
                && found.image.pixels().any(|pixel| pixel.0[0] > 136)
        });
        both.count()
    };
    assert_eq!(both(0.0), 0);
    assert!(both(1.0) > 40, "{}", both(1.0));
}

#[test]
fn defects_are_seen_on_black_and_on_white() {
    for level in [0, 255] {
        let normal = RgbImage::from_pixel(64, 64, Rgb([level; 3]));
        let part = Scratch::default();
        let seen = (0..50)
            .filter(|seed| damage(&part, &normal, *seed).is_some())
            .count();
        assert_eq!(seen, 50, "level {level}");
    }
}

#[test]
fn settings_out_of_range_name_the_field() {
    let good = Scratch::default();
    for (part, field) in [
        (
            Scratch {
                strokes: (0, 2),
                ..good.clone()
            },
            "strokes",
        ),
        (
            Scratch {
                length: (0.5, 0.1),
                ..good.clone()
            },
            "length",
        ),
        (
            Scratch {
                width: (1.0, f64::NAN),
                ..good.clone()
            },
            "width",
        ),
        (
            Scratch {
                contrast: (0.0, 0.5),
                ..good.clone()
            },
            "contrast",
        ),
        (
            Scratch {
                cracks: 1.5,
                ..good.clone()
            },
            "cracks",
        ),
        (
            Scratch {
                relief: -0.1,
                ..good.clone()
            },
            "relief",
        ),
    ] {
        let error = part.check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{field}: expected")), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_contract_holds_for_every_size_and_seed(width in 1u32..300, height in 1u32..300, seed: u64, cracks: bool) {
        let part = Scratch { cracks: f64::from(u8::from(cracks)), ..Scratch::default() };
        let normal = RgbImage::from_fn(width, height, |x, y| Rgb([(x % 256) as u8, (y * 3 % 256) as u8, 128]));
        let (first, second) = (damage(&part, &normal, seed), damage(&part, &normal, seed));
        prop_assert_eq!(first.is_some(), second.is_some());
        if let (Some(first), Some(second)) = (first, second) {
            first.check(&normal, part.blends()).unwrap();
            prop_assert_eq!((first.image, first.mask, first.touched), (second.image, second.mask, second.touched));
        }
    }
}
