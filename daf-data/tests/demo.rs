//! Drawn images: reproducible, varied, with masks that are right.

use daf_core::image::{GrayImage, RgbImage};
use daf_core::{Dataset, Item, Split};
use daf_data::{Demo, Kind};
use proptest::prelude::*;

fn demo(kind: Kind, size: u32) -> Demo {
    Demo {
        kind,
        size,
        train: 3,
        test_good: 2,
        test: 3,
        ..Demo::default()
    }
}

fn both(data: &Demo, item: &Item) -> (RgbImage, Option<GrayImage>) {
    (data.image(item).unwrap().into_rgb8(), data.mask(item).unwrap())
}

fn share(mask: &GrayImage) -> f64 {
    mask.pixels().filter(|pixel| pixel.0[0] > 0).count() as f64 / mask.len() as f64
}

#[test]
fn names_are_those_of_a_category_in_mvtec_layout() {
    let items = demo(Kind::Washer, 32).items(Split::Test).unwrap();
    let names: Vec<_> = items.iter().map(|item| item.image.to_str().unwrap()).collect();
    assert_eq!(names[0], "demo/washer/test/good/000.png");
    assert_eq!(names[2], "demo/washer/test/bend/000.png");
    assert_eq!(
        items[2].mask.as_ref().unwrap().to_str(),
        Some("demo/washer/ground_truth/bend/000_mask.png")
    );
    assert_eq!(items.len(), 2 + 4 * 3);
    assert_eq!(demo(Kind::Washer, 32).items(Split::Train).unwrap().len(), 3);
}

#[test]
fn the_documentation_names_every_defect() {
    let schema = schemars::schema_for!(Kind).to_value().to_string();
    for kind in Kind::ALL {
        let defects: Vec<_> = kind.defects().collect();
        assert!(
            schema.contains(&format!("defects: {}.", defects.join(", "))),
            "{kind}: {defects:?}"
        );
    }
}

#[test]
fn an_image_depends_on_the_seed_and_its_name_only() {
    for kind in Kind::ALL {
        let data = demo(kind, 48);
        let more = Demo {
            train: 50,
            test: 9,
            test_good: 0,
            ..data.clone()
        };
        let other = Demo {
            seed: 1,
            ..data.clone()
        };
        let mut seen = Vec::new();
        for split in [Split::Train, Split::Test] {
            for item in data.items(split).unwrap() {
                let (image, mask) = both(&data, &item);
                assert_eq!((image.clone(), mask), both(&more, &item), "{item:?}");
                assert_ne!(image, other.image(&item).unwrap().into_rgb8(), "{item:?}");
                assert!(!seen.contains(&image), "{item:?} looks like another image");
                seen.push(image);
            }
        }
    }
}

#[test]
fn masks_are_black_and_white_and_neither_tiny_nor_huge() {
    for kind in Kind::ALL {
        for size in [128, 256] {
            let data = demo(kind, size);
            for item in data.items(Split::Test).unwrap() {
                let mask = data.mask(&item).unwrap();
                assert_eq!(mask.is_some(), item.is_anomalous());
                let Some(mask) = mask else { continue };
                assert_eq!(mask.dimensions(), (size, size));
                assert!(mask.pixels().all(|pixel| [0, 255].contains(&pixel.0[0])));
                let share = share(&mask);
                let least = if kind == Kind::Tile { 0.001 } else { 0.005 };
                assert!((least..0.1).contains(&share), "{item:?} at {size}: {share}");
            }
        }
    }
}

#[test]
fn tall_images_have_their_hairlines_anywhere_and_parts_in_the_middle() {
    let tall = |kind| Demo {
        size: 64,
        height: Some(160),
        test: 12,
        ..demo(kind, 64)
    };
    let middles = |data: &Demo| -> Vec<f64> {
        let defective = data
            .items(Split::Test)
            .unwrap()
            .into_iter()
            .filter(Item::is_anomalous);
        defective
            .map(|item| {
                let (image, mask) = both(data, &item);
                let mask = mask.unwrap();
                assert_eq!((image.dimensions(), mask.dimensions()), ((64, 160), (64, 160)));
                let rows = mask.enumerate_pixels().filter(|(.., pixel)| pixel.0[0] > 0);
                let rows: Vec<f64> = rows.map(|(_, y, _)| f64::from(y) / 160.0).collect();
                assert!(!rows.is_empty(), "{item:?}");
                rows.iter().sum::<f64>() / rows.len() as f64
            })
            .collect()
    };
    let hairlines = middles(&tall(Kind::Tile));
    assert!(
        hairlines.iter().any(|at| *at < 0.4) && hairlines.iter().any(|at| *at > 0.8),
        "{hairlines:?}"
    );
    let parts = middles(&tall(Kind::Washer));
    assert!(parts.iter().all(|at| (0.25..0.75).contains(at)), "{parts:?}");
}

#[test]
fn counts_of_zero_leave_nothing_or_an_error() {
    let none = Demo {
        train: 0,
        test_good: 0,
        test: 0,
        ..Demo::default()
    };
    assert_eq!(none.items(Split::Test).unwrap(), []);
    let refused = none.items(Split::Train).unwrap_err().to_string();
    assert!(refused.contains("no normal images"), "{refused}");
}

#[test]
fn sizes_and_counts_out_of_range_are_refused() {
    let item = Item::normal("demo/wood/train/good/000.png");
    for size in [0, 1, 31, 4097, u32::MAX] {
        let data = Demo {
            size,
            ..Demo::default()
        };
        assert!(data.check().unwrap_err().to_string().contains(&size.to_string()));
        assert!(data.image(&item).is_err() && data.mask(&item).is_err());
    }
    assert!(
        Demo {
            test: u32::MAX,
            ..Demo::default()
        }
        .check()
        .is_err()
    );
    assert_eq!(
        demo(Kind::Wood, 32)
            .image(&item)
            .unwrap()
            .into_rgb8()
            .dimensions(),
        (32, 32)
    );
}

#[test]
fn foreign_names_are_refused() {
    for name in [
        "",
        "/",
        "a.png",
        "demo/wood/test/bend/000.png",
        "demo/wood/test/good/0.png",
        "demo/wood/test/good/+00.png",
        "demo/wood/test/good/99999999999.png",
        "demo/wood/train/scratch",
        "demo/brick/test/good/000.png",
    ] {
        let refused = demo(Kind::Wood, 32)
            .image(&Item::normal(name))
            .unwrap_err()
            .to_string();
        assert!(refused.contains("not the name of a drawn image"), "{refused}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_seed_defects_show_and_have_a_mask(seed: u64, kind in 0..Kind::ALL.len(), size in 32_u32..96) {
        let data = Demo { seed, ..demo(Kind::ALL[kind], size) };
        for item in data.items(Split::Test).unwrap() {
            let (image, mask) = both(&data, &item);
            prop_assert_eq!(image.dimensions(), (size, size));
            prop_assert!(mask.is_none_or(|mask| share(&mask) > 0.002), "{:?} at {}", item, size);
        }
    }
}
