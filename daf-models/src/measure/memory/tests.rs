use daf_core::block::{Init, Mode, Precision};
use daf_core::{Compared, FeaturePair, Fit, NormalFeatures, ScaledFeatures};
use tch::nn::VarStore;
use tch::{Device, Tensor};

use super::*;
use crate::method::features::slow::{self, Map, close, numbers};

/// Of 32×48 images: 8×12 and 4×6 positions.
const STAGES: [Stage; 2] = [
    Stage {
        channels: 3,
        stride: 4,
    },
    Stage {
        channels: 5,
        stride: 8,
    },
];

/// Batches of features, each with the indices of its images.
struct Features(Vec<(Vec<Tensor>, Vec<usize>)>);

impl NormalFeatures for Features {
    fn batches(&self) -> Box<dyn Iterator<Item = Result<FeaturePair<'_>, BoxError>> + '_> {
        Box::new(self.0.iter().map(|(teacher, indices)| {
            Ok(FeaturePair {
                teacher: teacher.iter().map(Tensor::shallow_clone).collect(),
                student: Vec::new(),
                indices: indices.clone(),
                scaled: None,
            })
        }))
    }
}

fn draw(count: i64) -> Vec<Tensor> {
    let of = |stage: &Stage| {
        Tensor::rand(
            [count, stage.channels, 32 / stage.stride, 48 / stage.stride],
            slow::FLOAT,
        )
    };
    STAGES.iter().map(of).collect()
}

/// Five images; the last batch has two tiles of one.
fn normal() -> Features {
    Features(vec![
        (draw(2), vec![0, 1]),
        (draw(2), vec![2, 3]),
        (draw(2), vec![4, 4]),
    ])
}

fn all() -> Memory {
    Memory {
        stages: vec![1, 2],
        coreset: PositiveShare::new(1.0),
        projection: None,
        ..Memory::default()
    }
}

fn built(memory: &Memory, vars: &VarStore) -> Bank {
    let blocks = Blocks::new(vars.root(), Mode::Train, Init::FanOut, Precision::Float32);
    memory.check().unwrap();
    memory.bank(&blocks, &STAGES).unwrap()
}

fn fitted(memory: &Memory, features: &Features) -> (VarStore, Bank) {
    let vars = VarStore::new(Device::Cpu);
    let mut bank = built(memory, &vars);
    assert!(tch::no_grad(|| bank.fit(Fit::BeforeTraining, features)).unwrap());
    assert!(!tch::no_grad(|| bank.fit(Fit::AfterTraining, features)).unwrap());
    (vars, bank)
}

/// The mean over 3×3 positions, zeros outside.
fn averaged(features: &Tensor) -> Map {
    let features = Map::of(features);
    let mut averaged = Map::zeros([features.n, features.c, features.h, features.w]);
    for (n, y, x) in features.places() {
        for c in 0..features.c {
            let around = (0..3).flat_map(|dy| (0..3).map(move |dx| (y + dy, x + dx)));
            let inside =
                around.filter(|&(y, x)| (1..=features.h).contains(&y) && (1..=features.w).contains(&x));
            let sum: f64 = inside.map(|(y, x)| features.at(n, c, y - 1, x - 1)).sum();
            *averaged.at_mut(n, c, y, x) = sum / 9.0;
        }
    }
    averaged
}

/// The vectors of all positions of a batch, image by image and row by row.
fn vectors(stages: &[Tensor]) -> Vec<Vec<f64>> {
    let fine = averaged(&stages[0]);
    let joined = Map::concat(&[&fine, &averaged(&stages[1]).resized((fine.h, fine.w), false)]);
    let vector = |(n, y, x)| (0..joined.c).map(|c| joined.at(n, c, y, x)).collect();
    joined.places().map(vector).collect()
}

fn squared(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// Vectors of normal images with the index of each.
fn kept(features: &Features) -> Vec<(usize, Vec<f64>)> {
    let of = |(stages, indices): &(Vec<Tensor>, Vec<usize>)| {
        let vectors = vectors(stages);
        let per_image = vectors.len() / indices.len();
        let indices = indices.clone();
        let numbered = vectors.into_iter().enumerate();
        numbered
            .map(move |(number, vector)| (indices[number / per_image], vector))
            .collect::<Vec<_>>()
    };
    features.0.iter().flat_map(of).collect()
}

fn nearest<'a>(vector: &[f64], kept: &'a [(usize, Vec<f64>)], but: Option<usize>) -> &'a (usize, Vec<f64>) {
    let others = kept.iter().filter(|(image, _)| Some(*image) != but);
    let ordered = others.min_by(|a, b| squared(vector, &a.1).total_cmp(&squared(vector, &b.1)));
    ordered.unwrap()
}

#[test]
fn maps_and_residuals_are_those_of_loops_over_all_that_is_kept() {
    slow::seed(21);
    let features = normal();
    let (_vars, bank) = fitted(&all(), &features);
    let kept = kept(&features);
    assert_eq!(bank.features().size(), [6 * 96, 8]);
    let new = draw(2);
    let vectors = vectors(&new);
    let compared = Compared {
        residuals: true,
        ..Compared::of(&new, &[])
    };
    let found = bank.compare(&compared).unwrap().remove(0);
    assert_eq!((found.stage, found.map.size()), (0, vec![2, 1, 8, 12]));
    assert!(found.learned_from.is_none() && found.losses.is_empty());
    let distances = numbers(&found.map);
    let residual = Map::of(found.residual.as_ref().unwrap());
    assert_eq!((residual.n, residual.c, residual.h, residual.w), (2, 8, 8, 12));
    for (number, (n, y, x)) in residual.places().enumerate() {
        let (_, near) = nearest(&vectors[number], &kept, None);
        close(distances[number], squared(&vectors[number], near).sqrt(), 1e-4);
        for (c, (own, near)) in vectors[number].iter().zip(near).enumerate() {
            close(residual.at(n, c, y, x), (own - near).abs(), 1e-4);
        }
    }
    assert!(
        bank.compare(&Compared::of(&new, &[])).unwrap()[0]
            .residual
            .is_none()
    );
    let without_maps = Compared {
        maps: false,
        ..Compared::of(&[], &[])
    };
    assert!(bank.compare(&without_maps).unwrap().is_empty());
}

#[test]
fn an_image_is_not_compared_with_what_was_kept_of_it() {
    slow::seed(22);
    let features = normal();
    let (_vars, bank) = fitted(&all(), &features);
    let kept = kept(&features);
    for (stages, indices) in &features.0 {
        let map = |indices: Option<&[usize]>| {
            let compared = Compared {
                indices,
                ..Compared::of(stages, &[])
            };
            numbers(&bank.compare(&compared).unwrap()[0].map)
        };
        assert!(map(None).iter().all(|distance| *distance < 1e-3));
        let vectors = vectors(stages);
        for (number, found) in map(Some(indices)).into_iter().enumerate() {
            let (image, near) = nearest(&vectors[number], &kept, Some(indices[number / 96]));
            assert_ne!(*image, indices[number / 96]);
            close(found, squared(&vectors[number], near).sqrt(), 1e-4);
        }
    }
    // Of a single image everything would be left out.
    let one = Features(vec![(draw(1), vec![7])]);
    let (_vars, bank) = fitted(&all(), &one);
    let compared = Compared {
        indices: Some(&[7]),
        ..Compared::of(&one.0[0].0, &[])
    };
    let found = bank.compare(&compared).unwrap().remove(0).map;
    assert!(found.max().double_value(&[]) < 1e-3);
}

#[test]
fn the_usual_distance_between_normal_patches_is_taken_from_the_square() {
    slow::seed(23);
    let features = normal();
    let memory = Memory {
        density: Some(LocalDensity {
            neighbors: Count::new(4),
            alpha: NotNegative::new(0.7),
        }),
        ..all()
    };
    let (vars, bank) = fitted(&memory, &features);
    assert_eq!(vars.variables()["spacing"].size(), [6 * 96]);
    let kept = kept(&features);
    let new = draw(1);
    let vectors = vectors(&new);
    let found = numbers(&bank.compare(&Compared::of(&new, &[])).unwrap()[0].map);
    for (vector, found) in vectors.iter().zip(found) {
        let near = nearest(vector, &kept, None);
        let others = kept.iter().filter(|other| !std::ptr::eq(*other, near));
        let mut around: Vec<f64> = others.map(|(_, other)| squared(&near.1, other)).collect();
        around.sort_by(f64::total_cmp);
        let mean = around[..4].iter().sum::<f64>() / 4.0;
        close(found, squared(vector, &near.1) - 0.7 * mean, 1e-4);
    }
}

#[test]
fn as_many_patches_are_kept_as_share_and_limit_allow_each_with_its_image() {
    slow::seed(24);
    let features = normal();
    let all_kept = kept(&features);
    for (share, limit, expected) in [(0.1, None, 58), (0.1, Some(20), 20), (0.01, Some(20), 6)] {
        let memory = Memory {
            coreset: PositiveShare::new(share),
            limit: limit.map(Count::new),
            ..all()
        };
        let (vars, bank) = fitted(&memory, &features);
        let images = Vec::<i64>::try_from(&vars.variables()["images"]).unwrap();
        assert_eq!(images.len(), expected);
        assert_eq!(bank.features().size(), [expected as i64, 8]);
        for (row, image) in images.iter().enumerate() {
            let vector = numbers(&bank.features().get(row as i64));
            let (of, near) = nearest(&vector, &all_kept, None);
            assert_eq!(*of, *image as usize);
            assert!(squared(&vector, near) < 1e-6);
        }
    }
}

#[test]
fn what_it_cannot_work_with_is_named() {
    slow::seed(25);
    for stages in [vec![], vec![0, 1], vec![2, 1], vec![1, 1]] {
        let memory = Memory { stages, ..all() };
        let error = memory.check().unwrap_err().to_string();
        assert!(error.contains("`stages` must be rising numbers"), "{error}");
        assert!(memory.maps(&STAGES).len() <= 1);
    }
    let vars = VarStore::new(Device::Cpu);
    let blocks = Blocks::new(vars.root(), Mode::Train, Init::FanOut, Precision::Float32);
    let coarser = Memory {
        stages: vec![2, 3],
        ..all()
    };
    let error = coarser.build(&blocks, &STAGES).unwrap_err().to_string();
    assert!(error.contains("of 1 to 2"), "{error}");
    assert!(coarser.maps(&STAGES).is_empty());

    let mut bank = built(&all(), &vars);
    let new = draw(1);
    let error = |bank: &Bank, features: &[Tensor]| {
        let found = bank.compare(&Compared::of(features, &[]));
        found.unwrap_err().to_string()
    };
    assert!(error(&bank, &new).contains("not been fitted"));
    let none = bank.fit(Fit::BeforeTraining, &Features(vec![])).unwrap_err();
    assert!(none.to_string().contains("no normal images"), "{none}");
    let nameless = bank
        .fit(Fit::BeforeTraining, &Features(vec![(draw(2), vec![])]))
        .unwrap_err();
    assert!(nameless.to_string().contains("indices"), "{nameless}");
    let (_vars, bank) = fitted(&all(), &normal());
    assert!(error(&bank, &new[..1]).contains("`stages`"));
    let other = [new[0].shallow_clone(), new[1].narrow(1, 0, 4)];
    assert!(error(&bank, &other).contains("does not fit"));
}

#[test]
fn whitened_normal_features_vary_alike_in_all_directions_and_do_not_depend_on_each_other() {
    slow::seed(26);
    let features = normal();
    for (components, kept) in [(None, 8), (Some(3), 3)] {
        let memory = Memory {
            whiten: Some(Whiten {
                power: 0.5,
                floor: NotNegative::new(0.0),
                components: components.map(Count::new),
            }),
            ..all()
        };
        let (_vars, bank) = fitted(&memory, &features);
        assert_eq!(memory.residuals(&STAGES)[0].channels, kept);
        let rows: Vec<Vec<f64>> = (0..6 * 96)
            .map(|row| numbers(&bank.features().get(row)))
            .collect();
        for a in 0..kept as usize {
            let mean = rows.iter().map(|row| row[a]).sum::<f64>() / rows.len() as f64;
            close(mean, 0.0, 1e-3);
            for b in 0..kept as usize {
                let covariance = rows.iter().map(|row| row[a] * row[b]).sum::<f64>() / rows.len() as f64;
                close(covariance, f64::from(u8::from(a == b)), 1e-3);
            }
        }
    }
    // Without a power all components only turn the features.
    let turned = Memory {
        whiten: Some(Whiten {
            power: 0.0,
            components: None,
            ..Whiten::default()
        }),
        ..all()
    };
    let new = draw(2);
    let map = |memory: &Memory| {
        let (_vars, bank) = fitted(memory, &features);
        numbers(&bank.compare(&Compared::of(&new, &[])).unwrap()[0].map)
    };
    for (turned, plain) in map(&turned).into_iter().zip(map(&all())) {
        close(turned, plain, 1e-4);
    }
}

/// Features of resized images: those of the images, resized.
#[derive(Debug)]
struct Resized(Vec<Tensor>);

impl ScaledFeatures for Resized {
    fn at(&self, scale: f64) -> Vec<Tensor> {
        let resized = |of: &Tensor| {
            let side = |side: usize| (of.size()[side] as f64 * scale) as i64;
            of.upsample_bilinear2d([side(2), side(3)], false, None, None)
        };
        self.0.iter().map(resized).collect()
    }
}

#[test]
fn at_another_scale_features_of_resized_images_are_kept_and_compared() {
    slow::seed(27);
    let memory = |scale| Memory {
        stages: vec![2],
        scale,
        coreset: PositiveShare::new(1.0),
        projection: None,
        ..Memory::default()
    };
    // Finer features have a map at the stage that is as fine, if there is one.
    for (scale, stage) in [(0.5, 1), (1.0, 1), (1.5, 0), (2.0, 0), (4.0, 0)] {
        assert_eq!(memory(scale).maps(&STAGES)[0].stage, stage, "{scale}");
    }
    struct Scaling(Vec<Tensor>);
    impl NormalFeatures for Scaling {
        fn batches(&self) -> Box<dyn Iterator<Item = Result<FeaturePair<'_>, BoxError>> + '_> {
            let clones = || self.0.iter().map(Tensor::shallow_clone).collect::<Vec<_>>();
            Box::new(std::iter::once(Ok(FeaturePair {
                teacher: clones(),
                student: Vec::new(),
                indices: vec![0, 1],
                scaled: Some(Box::new(Resized(clones()))),
            })))
        }
    }
    let images = draw(2);
    let (memory, vars) = (memory(1.5), VarStore::new(Device::Cpu));
    let mut bank = built(&memory, &vars);
    let normal = Scaling(images.iter().map(Tensor::shallow_clone).collect());
    assert!(tch::no_grad(|| bank.fit(Fit::BeforeTraining, &normal)).unwrap());
    assert_eq!(bank.features().size(), [2 * 6 * 9, 5]);
    let new = draw(1);
    let resized = Resized(new.iter().map(Tensor::shallow_clone).collect());
    let compared = Compared {
        scaled: Some(&resized),
        residuals: true,
        ..Compared::of(&new, &[])
    };
    let found = bank.compare(&compared).unwrap().remove(0);
    assert_eq!((found.stage, found.map.size()), (0, vec![1, 1, 8, 12]));
    assert_eq!(found.residual.unwrap().size(), [1, 5, 8, 12]);
    // The map of 6×9 positions, brought to the size of the stage.
    let rows = averaged(&resized.at(1.5)[1]);
    let kept: Vec<Vec<f64>> = (0..108).map(|row| numbers(&bank.features().get(row))).collect();
    let mut map = Map::zeros([1, 1, 6, 9]);
    for (n, y, x) in rows.places() {
        let own: Vec<f64> = (0..5).map(|c| rows.at(n, c, y, x)).collect();
        let distances = kept.iter().map(|kept| squared(&own, kept));
        *map.at_mut(n, 0, y, x) = distances.fold(f64::INFINITY, f64::min).sqrt();
    }
    map.resized((8, 12), false).assert_close(&found.map, 1e-4);

    let error = bank.compare(&Compared::of(&new, &[])).unwrap_err().to_string();
    assert!(error.contains("`scale: 1.5`"), "{error}");
}

#[test]
fn scales_and_powers_out_of_range_are_named() {
    let whiten = |power| {
        let whiten = Whiten {
            power,
            ..Whiten::default()
        };
        Memory {
            whiten: Some(whiten),
            ..all()
        }
    };
    let scale = |scale| Memory { scale, ..all() };
    for (memory, field) in [
        (scale(0.0), "`scale`"),
        (scale(f64::NAN), "`scale`"),
        (scale(5.0), "`scale`"),
        (whiten(-0.1), "`whiten.power`"),
        (whiten(1.0), "`whiten.power`"),
    ] {
        let error = memory.check().unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
}
