use daf_core::block::Mode;
use daf_core::config::Input;
use daf_core::config::{Count, PartialShare, PositiveShare};
use daf_core::tch::Device;
use daf_core::{Dataset, Split, weights};
use daf_data::Demo;

use super::*;
use crate::method::features::slow::{self, Images, Map, batch, context};

const SIZE: (i64, i64) = (32, 48);

fn fitted(method: &PatchCore, images: &Images) -> Scoring {
    let mut memory = Scoring::new(method, &context(Mode::Infer, SIZE)).unwrap();
    assert!(!slow::no_grad(|| memory.fit(Fit::BeforeTraining, images)).unwrap());
    assert!(slow::no_grad(|| memory.fit(Fit::AfterTraining, images)).unwrap());
    memory
}

fn images() -> Images {
    Images(vec![
        batch(SIZE).normal,
        batch(SIZE).normal,
        batch(SIZE).normal.narrow(0, 0, 1),
    ])
}

/// Patches of all images in loops: image, row and column, and the features.
fn plainly(memory: &Scoring, images: &Tensor) -> Vec<Vec<f64>> {
    let stages = memory.backbone.extract(images);
    let averaged = |stage: usize| {
        let features = Map::of(&stages[stage]);
        let mut averaged = Map::zeros([features.n, features.c, features.h, features.w]);
        for (n, y, x) in features.places() {
            for c in 0..features.c {
                let mut sum = 0.0;
                for (dy, dx) in (0..3).flat_map(|dy| (0..3).map(move |dx| (dy, dx))) {
                    let (sy, sx) = (y + dy, x + dx);
                    if (1..=features.h).contains(&sy) && (1..=features.w).contains(&sx) {
                        sum += features.at(n, c, sy - 1, sx - 1);
                    }
                }
                *averaged.at_mut(n, c, y, x) = sum / 9.0;
            }
        }
        averaged
    };
    let fine = averaged(1);
    let joined = Map::concat(&[&fine, &averaged(2).resized((fine.h, fine.w), false)]);
    let vector = |(n, y, x)| (0..joined.c).map(|c| joined.at(n, c, y, x)).collect();
    joined.places().map(vector).collect()
}

fn rows(tensor: &Tensor) -> Vec<Vec<f64>> {
    (0..tensor.size()[0])
        .map(|row| slow::numbers(&tensor.get(row)))
        .collect()
}

/// Features of the patches of images.
fn patches(memory: &Scoring, images: &Tensor) -> Tensor {
    slow::no_grad(|| {
        memory
            .bank
            .patches(&memory.backbone.extract(images))
            .unwrap()
            .rows
    })
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
    squares.sum::<f64>().sqrt()
}

#[test]
fn memory_map_and_score_agree_with_loops() {
    slow::seed(11);
    let images = images();
    let method = PatchCore {
        coreset: PositiveShare::new(0.3),
        neighbors: 4,
        ..PatchCore::default()
    };
    let memory = fitted(&method, &images);
    let normal = plainly(&memory, &Tensor::cat(&images.0, 0));
    assert_eq!(normal.len(), 5 * 24);
    let kept = rows(&memory.bank.features());
    assert_eq!((kept.len(), kept[0].len()), (36, 128 + 256));
    for row in &kept {
        let nearest = normal
            .iter()
            .map(|patch| distance(row, patch))
            .fold(f64::INFINITY, f64::min);
        assert!(nearest < 1e-3, "{nearest}: a row that is no patch of the images");
    }

    let tested = batch(SIZE).normal;
    let patches = plainly(&memory, &tested);
    let mut map = Map::zeros([2, 1, 4, 6]);
    let mut scores = Vec::new();
    for (image, patches) in patches.chunks(24).enumerate() {
        let nearest = |patch: &[f64]| {
            let distances = kept.iter().map(|row| distance(patch, row)).enumerate();
            distances.fold(
                (0, f64::INFINITY),
                |least, next| if next.1 < least.1 { next } else { least },
            )
        };
        let found: Vec<_> = patches.iter().map(|patch| nearest(patch)).collect();
        for (place, (_, distance)) in found.iter().enumerate() {
            *map.at_mut(image, 0, place / 6, place % 6) = *distance;
        }
        let largest = |most: usize, next: usize| if found[next].1 > found[most].1 { next } else { most };
        let worst = (0..24).fold(0, largest);
        let (own, score) = found[worst];
        let mut around: Vec<&Vec<f64>> = kept.iter().collect();
        around.sort_by(|a, b| distance(&kept[own], a).total_cmp(&distance(&kept[own], b)));
        let sum: f64 = around[..4]
            .iter()
            .map(|row| distance(&patches[worst], row).exp())
            .sum();
        scores.push((1.0 - score.exp() / sum) * score);
    }
    let maps = slow::no_grad(|| memory.infer(&tested)).unwrap();
    map.resized((32, 48), false)
        .assert_close(&maps.discrepancy[0], 1e-4);
    let found = slow::numbers(maps.images.as_ref().unwrap());
    for (found, expected) in found.iter().zip(&scores) {
        slow::close(*found, *expected, 1e-3);
    }
    // Without neighbours the score is the largest distance.
    let unweighed = Scoring {
        neighbors: 0,
        ..memory
    };
    let found = slow::no_grad(|| unweighed.infer(&tested))
        .unwrap()
        .images
        .unwrap();
    for image in 0..2 {
        let largest = map.values[image * 24..][..24]
            .iter()
            .fold(0.0f64, |a, b| a.max(*b));
        slow::close(found.double_value(&[image as i64]), largest, 1e-4);
    }
}

#[test]
fn the_same_seed_keeps_the_same_patches() {
    let kept = |seed| {
        slow::seed(12);
        let images = images();
        let mut memory = Scoring::new(&PatchCore::default(), &context(Mode::Infer, SIZE)).unwrap();
        slow::seed(seed);
        slow::no_grad(|| memory.fit(Fit::AfterTraining, &images)).unwrap();
        memory.bank.features().copy()
    };
    let first = kept(1);
    assert_eq!(first.size()[0], 2);
    assert_eq!(first, kept(1));
    assert_ne!(first, kept(2));
}

#[test]
fn denoising_leaves_out_the_patches_with_the_largest_factors_at_their_position() {
    slow::seed(13);
    let images = images();
    let method = PatchCore {
        coreset: PositiveShare::new(1.0),
        projection: None,
        denoise: Some(Denoise {
            share: PartialShare::new(0.25),
            neighbors: Count::new(3),
            weigh: true,
        }),
        ..PatchCore::default()
    };
    let memory = fitted(&method, &images);
    let patches = patches(&memory, &Tensor::cat(&images.0, 0));
    let by_position = patches.view([5, 24, -1]).transpose(0, 1).contiguous();
    let factors = slow::numbers(&crate::measure::local_outlier_factors(&by_position, 3).tr());
    let mut order: Vec<usize> = (0..120).collect();
    order.sort_by(|&a, &b| factors[a].total_cmp(&factors[b]));
    let (patches, kept) = (rows(&patches), rows(&memory.bank.features()));
    assert_eq!(kept.len(), 90);
    let weights = slow::numbers(&memory.bank.factors());
    for &patch in &order[..90] {
        let place = kept.iter().position(|row| distance(row, &patches[patch]) < 1e-4);
        let place = place.unwrap_or_else(|| panic!("patch {patch} is missing"));
        slow::close(weights[place], factors[patch], 1e-4);
    }
    // Its own patches lie 0 away, those of other images by the factor of the nearest farther or nearer.
    let tested = batch(SIZE).normal;
    let plain = fitted(&method, &images);
    let _ = slow::no_grad(|| plain.bank.factors().fill_(1.0));
    let found = slow::no_grad(|| memory.bank.nearest(&self::patches(&memory, &tested), None));
    let (ours, theirs) = slow::no_grad(|| (memory.infer(&tested).unwrap(), plain.infer(&tested).unwrap()));
    assert!(ours.discrepancy[0] != theirs.discrepancy[0]);
    let weighed = found.1 * memory.bank.factors().index_select(0, &found.0);
    let map = Map::of(&weighed.view([2, 1, 4, 6])).resized((32, 48), false);
    map.assert_close(&ours.discrepancy[0], 1e-4);
}

/// Normal and defective images of drawn wood, with 1 where they are defective.
fn wood(normal: usize, defective: usize) -> (Tensor, Vec<bool>) {
    let wood = Demo {
        kind: daf_data::Kind::Wood,
        size: 64,
        train: normal as u32,
        ..Demo::default()
    };
    let read = |split, wanted, anomalous: bool| -> Vec<_> {
        let items = wood.items(split).unwrap().into_iter();
        let items = items.filter(|item| item.is_anomalous() == anomalous).take(wanted);
        items
            .map(|item| (wood.image(&item).unwrap().into_rgb8(), wood.mask(&item).unwrap()))
            .collect()
    };
    let mut all = read(Split::Train, normal, false);
    all.extend(read(Split::Test, defective, true));
    let images: Vec<_> = all.iter().map(|(image, _)| image).collect();
    let mask = |mask: &Option<daf_core::image::GrayImage>| {
        // Of a patch of 8×8 pixels.
        let at = |y: u32, x: u32| {
            mask.as_ref().is_some_and(|mask| {
                (0..64).any(|pixel| mask.get_pixel(8 * x + pixel % 8, 8 * y + pixel / 8).0[0] > 127)
            })
        };
        (0..64)
            .map(move |patch| at(patch / 8, patch % 8))
            .collect::<Vec<_>>()
    };
    let masks = all.iter().flat_map(|(_, of)| mask(of)).collect();
    let images = daf_core::images_to_tensor(&images, &Input::default(), Device::Cpu).unwrap();
    (images, masks)
}

#[test]
fn denoising_keeps_defects_among_the_training_images_out_of_the_memory() {
    slow::seed(14);
    let (images, defective) = wood(30, 6);
    let images = Images(vec![images]);
    let kept_defects = |denoise| {
        let method = PatchCore {
            coreset: PositiveShare::new(1.0),
            projection: None,
            denoise,
            ..PatchCore::default()
        };
        slow::seed(15);
        let memory = fitted(&method, &images);
        let patches = rows(&patches(&memory, &images.0[0]));
        let kept = rows(&memory.bank.features());
        let among = |patch: &Vec<f64>| kept.iter().any(|row| distance(row, patch) < 1e-5);
        let defects = patches
            .iter()
            .zip(&defective)
            .filter(|(_, defective)| **defective);
        let (all, kept): (Vec<_>, Vec<_>) = defects.map(|(patch, _)| (patch, among(patch))).unzip();
        (kept.iter().filter(|kept| **kept).count(), all.len())
    };
    let (kept, all) = kept_defects(None);
    assert_eq!(kept, all, "without denoising everything is remembered");
    let (kept, all) = kept_defects(Some(Denoise::default()));
    // A blind choice would leave out 15 %.
    assert!(2 * kept < all, "{kept} of {all} defective patches are remembered");
}

#[test]
fn a_memory_that_was_not_filled_says_so() {
    slow::seed(16);
    let mut memory = Scoring::new(&PatchCore::default(), &context(Mode::Infer, SIZE)).unwrap();
    let error = memory.infer(&batch(SIZE).normal).unwrap_err().to_string();
    assert!(error.contains("not been fitted"), "{error}");
    let error = memory
        .fit(Fit::AfterTraining, &Images(vec![]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no normal images"), "{error}");
}

#[test]
fn a_run_that_kept_no_images_of_its_patches_opens_with_the_same_scores() {
    slow::seed(17);
    let folder = tempfile::tempdir().unwrap();
    let method = PatchCore {
        coreset: PositiveShare::new(0.2),
        ..PatchCore::default()
    };
    let memory = fitted(&method, &images());
    for frozen in [true, false] {
        daf_core::store::save(folder.path(), &memory.stores(), frozen).unwrap();
    }
    let file = folder.path().join("weights/memory.safetensors");
    let mut kept = weights::read(&file).unwrap();
    kept.sort_by(|a, b| a.0.cmp(&b.0));
    let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["factors", "features", "images"]);
    let tested = batch(SIZE).normal;
    let expected = slow::no_grad(|| memory.infer(&tested)).unwrap();
    let opened = || {
        let opened = Scoring::new(&method, &context(Mode::Infer, SIZE)).unwrap();
        daf_core::store::load(folder.path(), &opened.stores(), false).map(|()| opened)
    };
    for older in [false, true] {
        if older {
            let all = weights::read(&file).unwrap();
            let without = all.into_iter().filter(|(name, _)| name != "images");
            weights::write(&file, without.collect()).unwrap();
        }
        let found = slow::no_grad(|| opened().unwrap().infer(&tested)).unwrap();
        assert_eq!(found.discrepancy, expected.discrepancy);
        assert_eq!(found.images, expected.images);
    }
    let factors = kept.remove(0);
    weights::write(&file, vec![factors]).unwrap();
    let error = opened().err().unwrap().to_string();
    assert!(error.contains("`features` is missing"), "{error}");
}

#[test]
fn settings_out_of_range_are_named() {
    let with = |change: fn(&mut PatchCore)| {
        let mut method = PatchCore::default();
        change(&mut method);
        method
    };
    for (method, field) in [
        (with(|method| method.stages = vec![]), "`stages`"),
        (with(|method| method.stages = vec![3, 2]), "`stages`"),
        (with(|method| method.stages = vec![0, 2]), "`stages`"),
        (with(|method| method.stages = vec![4]), "`stages`"),
        (with(|method| method.neighbors = 1), "`neighbours`"),
    ] {
        let error = method.check().unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}
