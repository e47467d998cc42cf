use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daf_core::block::{Init, Mode, Precision, channels_last};
use daf_core::config::{Input, NotNegative, PositiveShare};
use daf_core::macs::count;
use daf_core::tch::nn::{self, OptimizerConfig, VarStore};
use daf_core::{Batch, Dataset, Fit, Model, Split, Stage, Store, Synthesized, weights};
use daf_data::Demo;

use super::*;
use crate::backbone::ResNet18;
use crate::measure::{Memory, Sum};
use crate::method::slow::{self, Draws, FLOAT, Images, Map, Weights};
use crate::method::{Daf, Segmentation};

/// Stages, maps and residuals: one memory, memories of two stages of which one has no residual, a map of several channels,
/// stages of one size, and a stride that no power of two is.
type Sizes<'a> = (&'a [(i64, i64)], &'a [(usize, i64)], &'a [(usize, i64)]);
const SIZES: [Sizes; 5] = [
    (&[(6, 4), (8, 8), (10, 16)], &[(1, 1)], &[(1, 18)]),
    (&[(6, 4), (8, 8), (10, 16)], &[(0, 1), (2, 1)], &[(2, 10)]),
    (&[(6, 4), (8, 8)], &[(0, 6), (1, 1)], &[(1, 8)]),
    (&[(6, 8), (6, 8)], &[(0, 1), (1, 1)], &[(0, 12), (1, 6)]),
    (&[(5, 14)], &[(0, 1)], &[]),
];

fn input((stages, maps, residuals): Sizes) -> DecoderInput {
    let sizes = |of: &[(usize, i64)]| {
        let size = |&(stage, channels): &(usize, i64)| MapSize { stage, channels };
        of.iter().map(size).collect()
    };
    let stage = |&(channels, stride): &(i64, i64)| Stage { channels, stride };
    DecoderInput {
        stages: stages.iter().map(stage).collect(),
        discrepancy: sizes(maps),
        residuals: sizes(residuals),
    }
}

/// Features and comparisons of two images of 3×5 positions of the coarsest stage.
fn draw(input: &DecoderInput, draws: &mut Draws) -> (Vec<Tensor>, Vec<Comparison>) {
    let coarse = input.stages.last().unwrap().stride;
    let mut of = |stage: usize, channels: i64| {
        let factor = coarse / input.stages[stage].stride;
        draws.uniform(&[2, channels, 3 * factor, 5 * factor])
    };
    let features = (0..input.stages.len()).map(|stage| of(stage, input.stages[stage].channels));
    let features = features.collect();
    let found = input.discrepancy.iter().map(|map| {
        let residual = input.residuals.iter().find(|size| size.stage == map.stage);
        Comparison {
            residual: residual.map(|size| of(size.stage, size.channels)),
            ..Comparison::new(map.stage, of(map.stage, map.channels) * 7.0)
        }
    });
    (features, found.collect())
}

fn build(
    decoder: &Residual,
    input: &DecoderInput,
    mode: Mode,
    precision: Precision,
) -> (VarStore, Box<dyn Segmenter>) {
    let vars = VarStore::new(FLOAT.1);
    let blocks = Blocks::new(vars.root(), mode, Init::FanIn, precision);
    let network = (decoder as &dyn Decoder).build_checked(&blocks, input).unwrap();
    (vars, network)
}

fn small(features: bool) -> Residual {
    Residual {
        channels: Count::new(4),
        features,
    }
}

/// The mean of the positions within the map among 3×3.
fn around(map: &Map) -> Map {
    let mut output = map.clone();
    for (n, y, x) in map.places() {
        let near = |place: usize, length: usize| place.saturating_sub(1)..(place + 2).min(length);
        let places = || near(y, map.h).flat_map(|y| near(x, map.w).map(move |x| (y, x)));
        let sum: f64 = places().map(|(y, x)| map.at(n, 0, y, x)).sum();
        *output.at_mut(n, 0, y, x) = sum / places().count() as f64;
    }
    output
}

/// The decoder in loops.
fn plainly(
    weights: &Weights,
    decoder: &Residual,
    input: &DecoderInput,
    features: &[Tensor],
    found: &[Comparison],
) -> Map {
    let block = |values: &Map, name: &str, padding: usize| {
        weights.norm(
            &weights.conv(values, &format!("{name}.conv"), 1, padding),
            &format!("{name}.bn"),
        )
    };
    let finest = Map::of(&features[input.discrepancy[0].stage]);
    let levels = found.iter().map(|found| {
        let (map, number) = (Map::of(&found.map), found.stage + 1);
        let mut mean = Map::zeros([map.n, 1, map.h, map.w]);
        for (n, y, x) in map.places() {
            let sum: f64 = (0..map.c).map(|c| map.at(n, c, y, x)).sum();
            *mean.at_mut(n, 0, y, x) = sum / map.c as f64;
        }
        let guide = Map::concat(&[&mean, &around(&mean)]);
        // Its convolution has one weight for each channel.
        let mut scaled = guide.clone();
        for (n, y, x) in guide.places() {
            for c in 0..2 {
                *scaled.at_mut(n, c, y, x) *= weights.number(&format!("guide.{number}.conv.weight"), c);
            }
        }
        let guide = weights.norm(&scaled, &format!("guide.{number}.bn"));
        let mut read: Vec<Map> = found.residual.iter().map(Map::of).collect();
        if map.c > 1 {
            read.push(map);
        }
        if decoder.features {
            read.push(Map::of(&features[found.stage]));
        }
        let level = match read.is_empty() {
            true => guide,
            false => {
                let read = Map::concat(&read.iter().collect::<Vec<_>>());
                let projected = block(&read, &format!("project.{number}"), 0).relu();
                Map::concat(&[&projected, &guide])
            }
        };
        level.resized((finest.h, finest.w), false)
    });
    let levels: Vec<Map> = levels.collect();
    let first = block(&Map::concat(&levels.iter().collect::<Vec<_>>()), "seg1", 1).relu();
    let second = block(&first, "seg2", 1).relu();
    let doubled = second.resized((2 * finest.h, 2 * finest.w), false);
    let last = block(&doubled, "seg3", 1).relu();
    let stage = Map::of(&features[0]);
    let stride = input.stages[0].stride as usize;
    weights
        .conv(&last, "head.conv", 1, 0)
        .resized((stage.h * stride, stage.w * stride), false)
}

#[test]
fn it_agrees_with_plain_loops_for_maps_with_and_without_residuals() {
    slow::seed(21);
    let mut draws = Draws::new(21);
    for (number, features) in (0..SIZES.len()).flat_map(|number| [(number, false), (number, true)]) {
        let (input, decoder) = (input(SIZES[number]), small(features));
        for precision in [Precision::Float32, Precision::Bf16] {
            let (vars, network) = build(&decoder, &input, Mode::Infer, precision);
            draws.shake(&[Store::learned("decoder", &vars)]);
            let (features, found) = draw(&input, &mut draws);
            let logits = slow::no_grad(|| network.segment(&features, &found));
            assert_eq!(logits.kind(), Kind::Float);
            let tolerance = if precision == Precision::Float32 {
                1e-4
            } else {
                6e-2
            };
            plainly(&Weights::of(&vars), &decoder, &input, &features, &found)
                .assert_close(&logits, tolerance);
        }
    }
}

#[test]
fn every_weight_learns() {
    slow::seed(22);
    let mut draws = Draws::new(22);
    for sizes in SIZES {
        let input = input(sizes);
        let (vars, network) = build(&small(true), &input, Mode::Train, Precision::Float32);
        let (features, found) = draw(&input, &mut draws);
        let loss = network.segment(&features, &found).square().mean(Kind::Float);
        loss.backward();
        for (name, variable) in vars.variables() {
            assert!(!variable.requires_grad() || variable.grad().defined(), "{name}");
        }
    }
}

#[test]
fn it_reads_the_map_that_does_not_change_after_the_training() {
    slow::seed(23);
    let input = input(SIZES[0]);
    let (_vars, network) = build(&small(false), &input, Mode::Infer, Precision::Float32);
    let (features, mut found) = draw(&input, &mut Draws::new(23));
    let segment = |found: &[Comparison]| slow::no_grad(|| network.segment(&features, found));
    let expected = segment(&found);
    found[0].learned_from = Some(found[0].map.shallow_clone());
    found[0].map = &found[0].map * 3.0 + 1.0;
    assert_eq!(segment(&found), expected);
}

#[test]
fn its_parameters_and_multiply_adds_are_those_of_its_layers() {
    slow::seed(24);
    let sizes: Sizes = (&[(64, 4), (128, 8), (256, 16)], &[(1, 1)], &[(1, 384)]);
    let input = input(sizes);
    let (vars, network) = build(&Residual::default(), &input, Mode::Infer, Precision::Float32);
    let layers = [384 * 64, 2, 9 * 66 * 64, 9 * 64 * 64, 9 * 64 * 32, 32];
    let norms = 2 * (64 + 2 + 64 + 64 + 32);
    let learned: usize = vars.trainable_variables().iter().map(Tensor::numel).sum();
    assert_eq!(learned, layers.iter().sum::<usize>() + norms + 1);
    let (features, found) = draw(&input, &mut Draws::new(24));
    let (_, counted) = slow::no_grad(|| count(|| network.segment(&features, &found)));
    // Two images of 6×10 positions; the last two layers run at twice that size.
    let positions = |layers: &[usize]| layers.iter().sum::<usize>() as u64 * 2 * 60;
    assert_eq!(
        counted.defined,
        positions(&layers[..4]) + 4 * positions(&layers[4..])
    );
    assert!(counted.carried_out < counted.defined);
}

#[test]
fn a_decoder_without_maps_says_what_to_do() {
    let mut input = input(SIZES[0]);
    input.discrepancy.clear();
    let vars = VarStore::new(FLOAT.1);
    let blocks = Blocks::new(vars.root(), Mode::Infer, Init::FanIn, Precision::Float32);
    let error = Residual::default()
        .build(&blocks, &input)
        .unwrap_err()
        .to_string();
    assert!(error.contains("name a `discrepancy`"), "{error}");
}

/// Normal drawn images, N×3×`side`×`side`, other ones for each seed.
fn drawn(count: u32, side: u32, seed: u64) -> Tensor {
    let demo = Demo {
        kind: daf_data::Kind::Wood,
        train: count,
        size: side,
        seed,
        ..Demo::default()
    };
    let items = demo.items(Split::Train).unwrap();
    let images: Vec<_> = items
        .iter()
        .map(|item| demo.image(item).unwrap().into_rgb8())
        .collect();
    let images: Vec<_> = images.iter().collect();
    daf_core::images_to_tensor(&images, &Input::default(), FLOAT.1).unwrap()
}

/// Images with a disk each that shows another part of the image, at a place and of a size that are drawn.
fn damage(normal: &Tensor, draws: &mut Draws) -> Synthesized {
    let (n, _, height, width) = normal.size4().unwrap();
    let place = draws.uniform(&[n, 3, 1, 1]);
    let along = |length: i64, channel: i64, size: &[i64]| {
        let line = Tensor::arange(length, FLOAT).view(size) / length as f64;
        (line - (place.narrow(1, channel, 1) * 0.6 + 0.2)).square()
    };
    let away = (along(height, 0, &[1, 1, height, 1]) + along(width, 1, &[1, 1, 1, width])).sqrt();
    let mask = away
        .le_tensor(&(place.narrow(1, 2, 1) * 0.1 + 0.08))
        .to_kind(Kind::Float);
    let other = normal.flip([3]).transpose(2, 3).contiguous() * 0.8;
    Synthesized {
        images: normal * (1.0 - &mask) + other * &mask,
        target: mask.copy(),
        mask,
        class: vec![0; n as usize],
    }
}

fn recipe(side: usize, segmentation: Segmentation) -> Daf {
    let memory = |stages: &[usize]| Memory {
        stages: stages.to_vec(),
        coreset: PositiveShare::new(if side > 100 { 0.01 } else { 0.1 }),
        ..Memory::default()
    };
    Daf {
        teacher: Some(Arc::new(ResNet18 {
            weights: daf_core::weights::Weights::Random,
            ..ResNet18::default()
        })),
        student: None,
        discrepancy: match side {
            100.. => Some(Arc::new(memory(&[2, 3]))),
            _ => Some(Arc::new(Sum {
                of: vec![Arc::new(memory(&[1])), Arc::new(memory(&[2, 3]))],
            })),
        },
        decoder: Some(Arc::new(Residual::default())),
        auxiliary: None,
        segmentation,
    }
}

/// A batch of the first images of all, damaged.
fn batch(normal: &Tensor, first: i64, count: i64, draws: &mut Draws) -> Batch {
    let chosen: Vec<i64> = (first..first + count)
        .map(|index| index % normal.size()[0])
        .collect();
    let normal = normal.index_select(0, &Tensor::from_slice(&chosen));
    Batch {
        synthetic: Some(damage(&normal, draws)),
        normal,
        indices: chosen.iter().map(|index| *index as usize).collect(),
        features: None,
    }
}

/// The model for inference with the weights of a trained one.
fn opened(recipe: &Daf, trained: &dyn Model, side: i64) -> Box<dyn Model> {
    let model = slow::built(recipe, Mode::Infer, (side, side));
    for (to, from) in model.stores().iter().zip(trained.stores()) {
        let named: Vec<(String, Tensor)> = from.vars.variables().into_iter().collect();
        weights::load(to.vars, &named, Path::new("trained"), true).unwrap();
    }
    model
}

/// Share of pairs of a damaged and a normal pixel of which the damaged one has the larger value.
fn auroc(values: &Tensor, mask: &Tensor) -> f64 {
    let mut pairs: Vec<(f64, f64)> = slow::numbers(values)
        .into_iter()
        .zip(slow::numbers(mask))
        .collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut normal, mut won) = (0.0, 0.0);
    for (_, damaged) in &pairs {
        match *damaged > 0.5 {
            true => won += normal,
            false => normal += 1.0,
        }
    }
    won / (normal * (pairs.len() as f64 - normal))
}

#[test]
fn a_short_training_lowers_either_loss_and_finds_defects_of_images_that_are_new() {
    for segmentation in [
        Segmentation::default(),
        Segmentation::FocalL1 {
            l1: NotNegative::new(0.6),
            focal: NotNegative::new(0.4),
            gamma: NotNegative::new(4.0),
        },
    ] {
        slow::seed(25);
        let mut draws = Draws::new(25);
        let (normal, held_out) = (drawn(16, 64, 1), drawn(16, 64, 2));
        let recipe = recipe(64, segmentation);
        let mut model = slow::built(&recipe, Mode::Train, (64, 64));
        assert!(
            slow::no_grad(|| model.fit(Fit::BeforeTraining, &Images(vec![normal.shallow_clone()]))).unwrap()
        );
        let learned = |model: &dyn Model| {
            let stores = model.stores();
            let store = stores.iter().find(|store| store.name == "decoder").unwrap();
            nn::AdamW::default().build(store.vars, 3e-3).unwrap()
        };
        let mut optimizer = learned(model.as_ref());
        let mut losses = Vec::new();
        for step in 0..100 {
            let batch = batch(&normal, 8 * step, 8, &mut draws);
            let (name, loss) = model.losses(&batch).unwrap().pop().unwrap();
            assert_eq!(name, "seg");
            optimizer.backward_step(&loss);
            losses.push(loss.double_value(&[]));
        }
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (first, last) = (mean(&losses[..10]), mean(&losses[90..]));
        assert!(last < 0.9 * first, "{segmentation:?}: {first} {last}");
        let test = batch(&held_out, 0, 16, &mut draws).synthetic.unwrap();
        let model = opened(&recipe, model.as_ref(), 64);
        let found = slow::no_grad(|| model.infer(&test.images))
            .unwrap()
            .probability
            .unwrap();
        let area = auroc(&found, &test.mask);
        assert!(area > 0.7, "{segmentation:?}: {area}");
    }
}

/// Seconds of a step's parts: `cargo test -p daf-models --lib parts_of_a_training_step -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn parts_of_a_training_step() {
    slow::seed(26);
    tch::set_num_threads(2);
    let mut draws = Draws::new(26);
    let normal = drawn(16, 256, 1);
    let recipe = recipe(256, Segmentation::default());
    let mut model = slow::built(&recipe, Mode::Train, (256, 256));
    assert!(slow::no_grad(|| model.fit(Fit::BeforeTraining, &Images(normal.split(8, 0)))).unwrap());
    let stores = model.stores();
    let learned = stores.iter().find(|store| store.name == "decoder").unwrap();
    let kept = stores.iter().find(|store| store.name == "discrepancy").unwrap();
    let features = kept.vars.variables()["features"].shallow_clone();
    let mut optimizer = nn::AdamW::default().build(learned.vars, 1e-3).unwrap();
    let batch = batch(&normal, 0, 8, &mut draws);
    let images = channels_last(&batch.synthetic.as_ref().unwrap().images);
    let teacher = crate::teacher::Teacher::build(
        "teacher",
        recipe.teacher.as_ref().unwrap().as_ref(),
        &slow::context(Mode::Train, (256, 256)),
    )
    .unwrap();
    let input = input((
        &[(64, 4), (128, 8), (256, 16)],
        &[(1, 1)],
        &[(1, features.size()[1])],
    ));
    let (_vars, decoder) = build(&Residual::default(), &input, Mode::Train, Precision::Float32);
    let seen = teacher.extract(&images);
    let residual = draws.uniform(&[8, features.size()[1], 32, 32]);
    let found = [Comparison {
        residual: Some(residual),
        ..Comparison::new(1, draws.uniform(&[8, 1, 32, 32]))
    }];
    let rows = draws.uniform(&[8 * 32 * 32, features.size()[1]]);
    let target = recipe
        .segmentation
        .targets(&batch.synthetic.as_ref().unwrap().target);
    let median = |what: &str, work: &mut dyn FnMut()| {
        work();
        let mut times: Vec<Duration> = (0..7)
            .map(|_| {
                let start = Instant::now();
                work();
                start.elapsed()
            })
            .collect();
        times.sort();
        eprintln!("{what}: {:.1} ms", times[3].as_secs_f64() * 1e3);
    };
    eprintln!("memory: {:?}", features.size());
    median("step", &mut || {
        let (_, loss) = model.losses(&batch).unwrap().pop().unwrap();
        optimizer.backward_step(&loss);
    });
    median("losses without backward", &mut || {
        tch::no_grad(|| drop(model.losses(&batch).unwrap()));
    });
    median("teacher", &mut || drop(teacher.extract(&images)));
    median("products of the search", &mut || {
        drop((rows.mm(&features.tr()) * -2.0 + 1.0).argmin(1, false));
    });
    median("decoder forward", &mut || drop(decoder.segment(&seen, &found)));
    median("decoder forward, loss and backward", &mut || {
        target.loss_of_logits(&decoder.segment(&seen, &found)).backward();
    });
    median("loss and targets", &mut || {
        let logits = Tensor::zeros([8, 1, 256, 256], FLOAT).set_requires_grad(true);
        target.loss_of_logits(&logits).backward();
    });
}
