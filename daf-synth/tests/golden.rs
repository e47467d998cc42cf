//! Comparison with numbers from the official code and the libraries it uses. `DAF_GOLDEN` names their folder.

use std::path::PathBuf;

use daf_core::image::{GrayImage, RgbImage};
use daf_synth::poisson::{Gradients, MixedRule, seamless_clone};
use daf_synth::shape::perlin::Lattice;
use daf_synth::texture::augment::Augmentation;
use daf_synth::texture::colorspace::ColorSpace;
use safetensors::SafeTensors;

/// The file of reference numbers; without one the test is skipped, except where `CI` is set.
fn golden(name: &str) -> Option<Vec<u8>> {
    let file = std::env::var_os("DAF_GOLDEN").map(|folder| PathBuf::from(folder).join("synth").join(name));
    match file {
        Some(file) if file.exists() => Some(std::fs::read(file).unwrap()),
        missing => {
            assert!(
                std::env::var_os("CI").is_none(),
                "no reference numbers: {missing:?}, set DAF_GOLDEN"
            );
            eprintln!("SKIPPED: no reference numbers ({missing:?}), set DAF_GOLDEN to compare with {name}");
            None
        }
    }
}

fn numbers(tensors: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let tensor = tensors.tensor(name).unwrap();
    tensor
        .data()
        .chunks_exact(8)
        .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

#[test]
fn perlin_noise_agrees_with_golden_numbers() {
    let Some(bytes) = golden("perlin.safetensors") else {
        return;
    };
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let names: Vec<_> = tensors
        .names()
        .into_iter()
        .filter_map(|n| n.strip_prefix("angles."))
        .collect();
    assert_eq!(names.len(), 4);
    for name in names {
        let [corners_down, corners_right] = *tensors.tensor(&format!("angles.{name}")).unwrap().shape()
        else {
            panic!()
        };
        let [height, width] = *tensors.tensor(&format!("noise.{name}")).unwrap().shape() else {
            panic!()
        };
        let angles = numbers(&tensors, &format!("angles.{name}"));
        let noise = Lattice::from_angles(corners_down - 1, corners_right - 1, &angles)
            .unwrap()
            .noise(width, height);
        let expected = numbers(&tensors, &format!("noise.{name}"));
        let worst = noise
            .iter()
            .zip(&expected)
            .map(|(a, b)| (f64::from(*a) - b).abs())
            .fold(0.0, f64::max);
        println!("{name}: largest difference {worst:.1e}");
        assert!(worst < 1e-6, "{name}: {worst}");
    }
}

#[test]
fn augmentations_agree_with_golden_images() {
    let Some(bytes) = golden("augment.safetensors") else {
        return;
    };
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let image = |name: &str| {
        let tensor = tensors.tensor(name).unwrap();
        let (height, width) = (tensor.shape()[0] as u32, tensor.shape()[1] as u32);
        RgbImage::from_raw(width, height, tensor.data().to_vec()).unwrap()
    };
    let mut names: Vec<_> = tensors
        .names()
        .into_iter()
        .filter(|name| *name != "image")
        .collect();
    names.sort_unstable();
    assert_eq!(names.len(), 31);
    let mut failed = Vec::new();
    for name in names {
        let augmentation = parse(name);
        let mut found = image("image");
        augmentation.apply(&mut found);
        let expected = image(name);
        // Bilinear borders differ between libraries, so pixels beside the black that came in are left out.
        let rotated = matches!(augmentation, Augmentation::Rotate(_));
        let compared: Vec<_> = found
            .enumerate_pixels()
            .filter(|(x, y, _)| !rotated || !beside_black(&expected, *x, *y))
            .flat_map(|(x, y, pixel)| pixel.0.into_iter().zip(expected.get_pixel(x, y).0))
            .map(|(a, b)| a.abs_diff(b))
            .collect();
        let near = compared.iter().filter(|d| **d <= 2).count() as f64 / compared.len() as f64;
        let equal = compared.iter().filter(|d| **d == 0).count() as f64 / compared.len() as f64;
        let worst = compared.iter().max().unwrap();
        println!(
            "{name}: {:.3} % within 2, {:.2} % equal, worst {worst}",
            near * 100.0,
            equal * 100.0
        );
        if near < 0.995 {
            failed.push((name, near));
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn poisson_blending_agrees_with_golden_images() {
    let Some(bytes) = golden("poisson.safetensors") else {
        return;
    };
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let image = |name: &str| {
        let tensor = tensors.tensor(name).unwrap();
        let (height, width) = (tensor.shape()[0] as u32, tensor.shape()[1] as u32);
        RgbImage::from_raw(width, height, tensor.data().to_vec()).unwrap()
    };
    let cases = tensors.names().iter().filter(|n| n.ends_with(".mask")).count();
    assert_eq!(cases, 3);
    for (case, (kind, gradients)) in (0..cases).flat_map(|case| {
        [
            (case, ("normal", Gradients::Normal)),
            (case, ("mixed", Gradients::Mixed(MixedRule::Opencv))),
        ]
    }) {
        let mask = tensors.tensor(&format!("{case}.mask")).unwrap();
        let size = (mask.shape()[1] as u32, mask.shape()[0] as u32);
        let mask = GrayImage::from_raw(size.0, size.1, mask.data().to_vec()).unwrap();
        let center = tensors.tensor(&format!("{case}.center_xy")).unwrap();
        let center: Vec<_> = center
            .data()
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes(b.try_into().unwrap()))
            .collect();
        // OpenCV puts the center of the bounding box of the mask, less its outermost pixels, there.
        let inner = GrayImage::from_fn(size.0, size.1, |x, y| {
            let edge = x == 0 || y == 0 || x + 1 == size.0 || y + 1 == size.1;
            daf_core::image::Luma([if edge { 0 } else { mask.get_pixel(x, y).0[0] }])
        });
        let bounds = daf_core::Rect::around(&inner).unwrap();
        let corner = |center: i64, start: u32, size: u32| center - i64::from(size / 2) - i64::from(start);
        let corner = (
            corner(center[0], bounds.x, bounds.width),
            corner(center[1], bounds.y, bounds.height),
        );
        let destination = image(&format!("{case}.destination"));
        let mut found = destination.clone();
        let solved = seamless_clone(
            &mut found,
            &image(&format!("{case}.source")),
            &mask,
            corner,
            gradients,
        )
        .unwrap();
        assert_eq!((solved.width, solved.height), (bounds.width, bounds.height));
        let expected = image(&format!("{case}.{kind}"));
        let mut differences = Vec::new();
        for (x, y, pixel) in found.enumerate_pixels() {
            let worst = (0..3)
                .map(|c| pixel.0[c].abs_diff(expected.get_pixel(x, y).0[c]))
                .max()
                .unwrap();
            if solved.contains(x, y) {
                differences.push(worst);
            } else {
                assert_eq!(worst, 0, "{case}.{kind}: pixel {x}, {y} outside the box");
            }
        }
        let share =
            |most: u8| differences.iter().filter(|d| **d <= most).count() as f64 / differences.len() as f64;
        let worst = *differences.iter().max().unwrap();
        println!(
            "{case}.{kind}: {:.2} % equal, {:.3} % within 1, worst {worst}",
            share(0) * 100.0,
            share(1) * 100.0
        );
        assert!(
            share(1) >= 0.995 && worst <= 3,
            "{case}.{kind}: {} {worst}",
            share(1)
        );
        assert_ne!(found, destination);
    }
}

fn beside_black(image: &RgbImage, x: u32, y: u32) -> bool {
    let around = |at: u32, size: u32| at.saturating_sub(1)..(at + 2).min(size);
    around(y, image.height()).any(|y| around(x, image.width()).any(|x| image.get_pixel(x, y).0 == [0; 3]))
}

/// `<operation>.<parameter>`.
fn parse(name: &str) -> Augmentation {
    let (operation, parameter) = name.split_once('.').unwrap_or((name, ""));
    let number = || parameter.parse::<f64>().unwrap();
    match operation {
        "gamma" => Augmentation::Gamma([number(); 3]),
        "brightness" => {
            let (space, rest) = parameter.split_once('.').unwrap();
            assert_eq!(rest, "mul0.85_add20");
            let space = *ColorSpace::ALL
                .iter()
                .find(|s| format!("{s:?}").eq_ignore_ascii_case(space))
                .unwrap_or_else(|| panic!("{space}"));
            Augmentation::Brightness {
                space,
                factor: 0.85,
                offset: 20,
                offset_first: false,
            }
        }
        "sharpness" => Augmentation::Sharpness(number()),
        "hue_saturation" => Augmentation::HueSaturation {
            hue: number() as i32,
            saturation: number() as i32,
        },
        "solarize" => Augmentation::Solarize(number() as u8),
        "posterize" => Augmentation::Posterize(number() as u8),
        "invert" => Augmentation::Invert,
        "autocontrast" => Augmentation::Autocontrast(number() as u8),
        "equalize" => Augmentation::Equalize,
        "rotate" => Augmentation::Rotate(number()),
        other => panic!("unknown operation {other}"),
    }
}
