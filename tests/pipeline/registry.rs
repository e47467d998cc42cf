//! Rules for every registered part, whichever crate brings it.

use std::collections::BTreeMap;

use daf_core::block::{Blocks, Init, Mode, Precision};
use daf_core::config::Layers;
use daf_core::macs::count;
use daf_core::recipe;
use daf_core::registry::{self, Component, components};
use daf_core::{
    Backbone, Batch, BoxError, BuildContext, Compared, Comparison, Dataset, Decoder, DecoderInput,
    DiscrepancyMeasure, FeaturePair, Fit, Kind, MapSize, Maps, Method, Model, NormalBatch, NormalFeatures,
    NormalImages, Scorer, Shape, Stage, Store, Synthesized, Synthesizer, Texture, weights,
};
use daf_models::backbone::ResNet18;
use daf_models::method::Daf;
use daf_pipeline::Pipeline;
use daf_pipeline::config::schema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tch::nn::VarStore;
use tch::{Device, Kind as Number, Tensor};

const FLOAT: (Number, Device) = (Number::Float, Device::Cpu);

/// Every registered part of a kind, built from its example, with its name.
pub(crate) fn every<T: DeserializeOwned>(kind: Kind) -> Vec<(&'static str, T)> {
    let found = components(kind);
    assert!(!found.is_empty(), "no {kind} is registered");
    found
        .into_iter()
        .map(|part| (part.name, serde_json::from_value((part.example)()).unwrap()))
        .collect()
}

/// Every registered method, built from its example, but narrow where it says how wide it is.
pub(crate) fn methods() -> Vec<(&'static str, Box<dyn Method>)> {
    let narrow = |part: &Component| {
        let mut example = (part.example)();
        let fields = example.as_object_mut().unwrap().iter_mut();
        for (_, width) in fields.filter(|(field, _)| field.ends_with("width")) {
            *width = 8.into();
        }
        (part.name, serde_json::from_value(example).unwrap())
    };
    let found = components(Kind::Method);
    assert!(!found.is_empty(), "no method is registered");
    found.into_iter().map(narrow).collect()
}

fn reads_back<T: DeserializeOwned + Serialize>(component: &Component) {
    let example = (component.example)();
    let context = format!("{} {}", component.kind, component.name);
    assert_eq!(example["type"], component.name, "{context}");
    let part: T =
        serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(serde_json::to_value(&part).unwrap(), example, "{context}");
    // The type alone may lack fields that have no default; with one that nobody knows it is refused.
    let mut unknown = example;
    unknown["no_such_field"] = Value::Null;
    assert!(
        serde_json::from_value::<T>(unknown).is_err(),
        "{context} takes unknown fields"
    );
}

#[test]
fn every_example_reads_back_to_the_same_part() {
    for kind in Kind::ALL {
        for component in components(kind) {
            match kind {
                Kind::Dataset => reads_back::<Box<dyn Dataset>>(component),
                Kind::Synthesizer => reads_back::<Box<dyn Synthesizer>>(component),
                Kind::Shape => reads_back::<Box<dyn Shape>>(component),
                Kind::Texture => reads_back::<Box<dyn Texture>>(component),
                Kind::Backbone => reads_back::<Box<dyn Backbone>>(component),
                Kind::DiscrepancyMeasure => reads_back::<Box<dyn DiscrepancyMeasure>>(component),
                Kind::Decoder => reads_back::<Box<dyn Decoder>>(component),
                Kind::Scorer => reads_back::<Box<dyn Scorer>>(component),
                Kind::Method => reads_back::<Box<dyn Method>>(component),
            }
        }
    }
    registry::check().unwrap();
}

#[test]
fn every_part_is_documented() {
    for component in Kind::ALL.into_iter().flat_map(components) {
        let (doc, summary) = (component.doc(), component.summary());
        let context = format!("{} {}: {doc}", component.kind, component.name);
        assert!(summary.len() > 20 && summary.ends_with('.'), "{context}");
        assert!(!summary.contains('\n') && doc.len() >= summary.len(), "{context}");
    }
}

#[test]
fn the_schema_has_every_part_with_every_field_of_its_example() {
    let schema = schema(&Layers::new(daf_models::DEFAULTS).unwrap())
        .unwrap()
        .to_value();
    for kind in Kind::ALL {
        let variants = schema["$defs"][format!("{kind:?}")]["anyOf"]
            .as_array()
            .unwrap_or_else(|| panic!("{kind} is not in the schema"));
        assert_eq!(variants.len(), components(kind).len(), "{kind}");
        for component in components(kind) {
            let context = format!("{kind} {}", component.name);
            let variant = variants
                .iter()
                .find(|variant| variant["properties"]["type"]["const"] == component.name)
                .unwrap_or_else(|| panic!("{context} is not in the schema"));
            let example = (component.example)();
            let fields = example.as_object().unwrap();
            for field in fields.keys() {
                assert!(
                    variant["properties"].get(field).is_some(),
                    "{context}: `{field}` is not in the schema"
                );
            }
            for required in variant["required"].as_array().into_iter().flatten() {
                // A file that changes a setting of the part below it leaves `type` out.
                assert!(
                    required != "type" && fields.contains_key(required.as_str().unwrap()),
                    "{context}: {required}"
                );
            }
            assert_eq!(
                variant["additionalProperties"], false,
                "{context}: unknown fields are errors"
            );
        }
    }
}

/// A pipeline of drawn images, and what the program makes of it.
fn resolved(file: &str) -> Pipeline {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipeline.yaml");
    std::fs::write(&path, format!("data: {{ type: demo }}\n{file}")).unwrap();
    let layers = Layers::new(daf_models::DEFAULTS).and_then(|layers| layers.file(&path));
    layers
        .and_then(|layers| Pipeline::from_layers(&layers))
        .unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn every_recipe_makes_a_sound_pipeline_that_stands_without_it() {
    let recipes = recipe::recipes();
    assert!(recipes.len() > 1, "the default crates are not linked");
    for recipe in recipes {
        let name = recipe.name;
        assert!(
            recipe.doc.len() > 20 && recipe.doc.ends_with('.'),
            "{name}: {}",
            recipe.doc
        );
        let pipeline = resolved(&format!("recipe: {name}"));
        assert_eq!(pipeline.recipe.as_deref(), Some(name));
        let written = pipeline.to_yaml().unwrap();
        assert!(!written.contains("recipe:"), "{name}:\n{written}");
        let again = Layers::new("").and_then(|layers| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config.yaml");
            std::fs::write(&path, &written).unwrap();
            layers.file(&path)
        });
        let again = Pipeline::from_layers(&again.unwrap()).unwrap();
        assert_eq!(again.to_yaml().unwrap(), written, "{name}");
    }
}

#[test]
fn the_recipe_of_the_paper_is_what_no_recipe_is() {
    let [paper, none] = ["recipe: paper", ""].map(|file| resolved(file).to_yaml().unwrap());
    assert_eq!(paper, none);
}

#[test]
fn the_schema_has_every_recipe() {
    let schema = schema(&Layers::new(daf_models::DEFAULTS).unwrap())
        .unwrap()
        .to_value();
    let known = schema["properties"]["recipe"]["anyOf"].as_array().unwrap();
    for recipe in recipe::recipes() {
        assert!(
            known.iter().any(|one| one["const"] == recipe.name),
            "{}",
            recipe.name
        );
    }
    assert!(
        !schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .any(|key| key == "recipe")
    );
}

/// Height and width of the tests' images: not square, and the least that the coarsest stage allows.
pub(crate) const SIZE: (i64, i64) = (96, 128);

fn blocks(vars: &VarStore, mode: Mode) -> Blocks<'_> {
    Blocks::new(vars.root(), mode, Init::FanOut, Precision::Float32)
}

/// N×C×h×w for a stage, above 0.
fn features(stage: Stage) -> Tensor {
    Tensor::rand(
        [2, stage.channels, SIZE.0 / stage.stride, SIZE.1 / stage.stride],
        FLOAT,
    ) + 0.1
}

fn is_finite(tensor: &Tensor) -> bool {
    tensor.isfinite().all().int64_value(&[]) == 1
}

#[test]
fn every_backbone_gives_the_stages_that_it_declares() {
    tch::set_num_threads(1);
    for (name, backbone) in every::<Box<dyn Backbone>>(Kind::Backbone) {
        backbone.check().unwrap();
        let stages = backbone.stages();
        assert!(!stages.is_empty(), "{name}");
        assert!(
            stages.is_sorted_by(|a, b| a.stride <= b.stride),
            "{name}: fine to coarse"
        );
        for mode in [Mode::Train, Mode::Infer] {
            let vars = VarStore::new(Device::Cpu);
            let extractor = backbone.build(&blocks(&vars, mode)).unwrap();
            let images = Tensor::randn([2, 3, SIZE.0, SIZE.1], FLOAT);
            let (found, global) = tch::no_grad(|| extractor.extract_with_global(&images));
            let channels = backbone.global_channels();
            assert_eq!(
                global.map(|global| global.size()),
                channels.map(|channels| vec![2, channels]),
                "{name}"
            );
            let sizes: Vec<_> = found.iter().map(Tensor::size).collect();
            let declared: Vec<_> = stages.iter().map(|stage| features(*stage).size()).collect();
            assert_eq!(sizes, declared, "{name}, {mode:?}");
            assert!(found.iter().all(is_finite), "{name}, {mode:?}");
        }
    }
}

/// Features of normal images: some numbers of every stage, the same at every call.
struct NormalNoise<'a>(&'a [Vec<Tensor>], bool);

impl NormalFeatures for NormalNoise<'_> {
    fn batches(&self) -> Box<dyn Iterator<Item = Result<FeaturePair<'_>, BoxError>> + '_> {
        let clones = |stages: &[Tensor]| stages.iter().map(Tensor::shallow_clone).collect();
        Box::new(self.0.iter().enumerate().map(move |(number, stages)| {
            Ok(FeaturePair {
                teacher: clones(stages),
                student: if self.1 { clones(stages) } else { Vec::new() },
                indices: vec![2 * number, 2 * number + 1],
                scaled: None,
            })
        }))
    }
}

#[test]
fn every_measure_is_finite_for_any_features_and_sees_what_differs() {
    tch::set_num_threads(1);
    // Of sizes of one network many stages are the same.
    let mut lists: Vec<Vec<Stage>> = Vec::new();
    for (_, backbone) in every::<Box<dyn Backbone>>(Kind::Backbone) {
        let stages = backbone.stages();
        if !lists.contains(&stages) {
            lists.push(stages);
        }
    }
    for stages in lists {
        for (name, measure) in every::<Box<dyn DiscrepancyMeasure>>(Kind::DiscrepancyMeasure) {
            measure.check().unwrap();
            let vars = VarStore::new(Device::Cpu);
            let context = format!("{name} of {stages:?}");
            let mut comparator = match measure.build_checked(&blocks(&vars, Mode::Train), &stages) {
                Ok(comparator) => comparator,
                Err(error) => {
                    // Its settings may name a stage that this network does not have.
                    let has = format!("of 1 to {}", stages.len());
                    assert!(error.to_string().contains(&has), "{context}: {error}");
                    assert!(
                        stages.len() < ResNet18::default().stages().len(),
                        "{context}: {error}"
                    );
                    continue;
                }
            };
            let draw = || stages.iter().map(|stage| features(*stage)).collect::<Vec<_>>();
            let normal_features = [draw(), draw()];
            for (when, trained) in [(Fit::BeforeTraining, false), (Fit::AfterTraining, true)] {
                let normal = NormalNoise(&normal_features, trained);
                tch::no_grad(|| comparator.fit(when, &normal)).unwrap();
            }
            let random = &normal_features[0];
            let normal: Vec<Tensor> = random.iter().map(|of| of.narrow(1, 0, 1).ones_like()).collect();
            let with_losses = |seen| Compared {
                normal: Some(&normal),
                residuals: true,
                seen,
                ..Compared::of(seen, seen)
            };

            // What is normal is as small as it gets, and has no loss.
            let equal = comparator.compare(&with_losses(random)).unwrap();
            let maps = measure.maps(&stages);
            for (found, size) in equal.iter().zip(&maps) {
                assert_eq!(found.stage, size.stage, "{context}");
                let n_h_w = |of: &Tensor| [0, 2, 3].map(|side| of.size()[side]);
                assert_eq!(n_h_w(&found.map), n_h_w(&random[size.stage]), "{context}");
                assert_eq!(found.map.size()[1], size.channels, "{context}");
                for (term, loss) in &found.losses {
                    let loss = loss.double_value(&[]);
                    assert!(loss.abs() < 1e-4, "{context}: {term} for equal features");
                }
            }
            let learns = equal.iter().any(|found| !found.losses.is_empty());
            assert_eq!(learns, measure.needs_student(), "{context}");
            let plain = comparator.compare(&Compared::of(random, random)).unwrap();
            assert!(plain.iter().all(|found| found.losses.is_empty()), "{context}");

            let map = |change: &dyn Fn(&Tensor) -> Tensor| random.iter().map(change).collect::<Vec<_>>();
            let signed = map(&|of| of.randn_like() * 10.0);
            let (zero, constant) = (map(&Tensor::zeros_like), map(&|of| of.ones_like() * 3.0));
            let tiny = map(&|of| of * 1e-20);
            let all = [random, &signed, &zero, &constant, &tiny];
            for (t, teacher) in all.iter().enumerate() {
                for (s, student) in all.iter().enumerate() {
                    let leaves: Vec<Tensor> = student
                        .iter()
                        .map(|of| of.detach().copy().set_requires_grad(true))
                        .collect();
                    let nowhere: Vec<Tensor> = normal.iter().map(Tensor::zeros_like).collect();
                    for normal in [&normal, &nowhere] {
                        let found = comparator
                            .compare(&Compared {
                                normal: Some(normal),
                                ..Compared::of(teacher, &leaves)
                            })
                            .unwrap();
                        let losses = found.iter().flat_map(|found| &found.losses);
                        let losses: Vec<&Tensor> = losses.map(|(_, loss)| loss).collect();
                        for found in &found {
                            assert!(is_finite(&found.map), "{context}: map of features {t} and {s}");
                        }
                        if losses.is_empty() {
                            continue;
                        }
                        let total = Tensor::stack(&losses, 0).sum(Number::Float);
                        assert!(is_finite(&total), "{context}: loss of features {t} and {s}");
                        total.backward();
                        assert!(
                            leaves.iter().all(|leaf| is_finite(&leaf.grad())),
                            "{context}: gradient of features {t} and {s}"
                        );
                    }
                }
            }
            let differs = comparator.compare(&Compared {
                seen: &signed,
                ..Compared::of(random, &signed)
            });
            for (differs, equal) in differs.unwrap().iter().zip(&equal) {
                let larger = (&differs.map - &equal.map).max().double_value(&[]);
                assert!(larger > 0.1, "{context}: blind");
            }
        }
    }
}

#[test]
fn measures_of_teacher_and_student_are_zero_where_these_agree() {
    tch::set_num_threads(1);
    let stages = ResNet18::default().stages();
    for (name, measure) in every::<Box<dyn DiscrepancyMeasure>>(Kind::DiscrepancyMeasure) {
        if !measure.needs_student() {
            continue;
        }
        let vars = VarStore::new(Device::Cpu);
        let comparator = measure
            .build_checked(&blocks(&vars, Mode::Train), &stages)
            .unwrap();
        let random: Vec<Tensor> = stages.iter().map(|stage| features(*stage)).collect();
        for found in comparator.compare(&Compared::of(&random, &random)).unwrap() {
            let largest = found.map.abs().max().double_value(&[]);
            assert!(largest < 1e-4, "{name}: {largest} for equal features");
        }
    }
}

#[test]
fn every_decoder_gives_logits_at_the_size_of_the_image() {
    tch::set_num_threads(1);
    let student = ResNet18::default().stages();
    let measures = every::<Box<dyn DiscrepancyMeasure>>(Kind::DiscrepancyMeasure);
    for (name, decoder) in every::<Box<dyn Decoder>>(Kind::Decoder) {
        decoder.check().unwrap();
        for (measure_name, measure) in &measures {
            let (sizes, residuals) = (measure.maps(&student), measure.residuals(&student));
            let draw = |size: &MapSize| {
                features(Stage {
                    channels: size.channels,
                    ..student[size.stage]
                })
            };
            let map = |size: &MapSize| Comparison {
                residual: residuals.iter().find(|of| of.stage == size.stage).map(draw),
                ..Comparison::new(size.stage, draw(size))
            };
            let maps: Vec<Comparison> = sizes.iter().map(map).collect();
            let features: Vec<Tensor> = student.iter().map(|stage| features(*stage)).collect();
            let input = DecoderInput {
                stages: student.clone(),
                discrepancy: sizes.clone(),
                residuals: residuals.clone(),
            };
            for mode in [Mode::Train, Mode::Infer] {
                let vars = VarStore::new(Device::Cpu);
                let segmenter = match decoder.build(&blocks(&vars, mode), &input) {
                    Ok(segmenter) => segmenter,
                    Err(error) => {
                        // It may need a map of every stage.
                        assert!(sizes.len() < student.len(), "{name} with {measure_name}: {error}");
                        assert!(error.to_string().contains("stage"), "{name}: {error}");
                        continue;
                    }
                };
                let logits = tch::no_grad(|| segmenter.segment(&features, &maps));
                assert_eq!(
                    logits.size(),
                    [2, 1, SIZE.0, SIZE.1],
                    "{name} with {measure_name}"
                );
                assert!(is_finite(&logits), "{name} with {measure_name}");
            }
        }
    }
}

#[test]
fn every_scorer_gives_a_score_per_pixel_and_per_image() {
    tch::set_num_threads(1);
    for (name, scorer) in every::<Box<dyn Scorer>>(Kind::Scorer) {
        scorer.check().unwrap();
        let maps = Maps {
            discrepancy: ResNet18::default().stages().into_iter().map(features).collect(),
            probability: Some(Tensor::rand([2, 1, SIZE.0, SIZE.1], FLOAT)),
            images: None,
        };
        let scorer = scorer.build(&context(Mode::Infer, Device::Cpu)).unwrap();
        let pixels = scorer.pixels(&maps, SIZE).unwrap();
        assert_eq!(pixels.size(), [2, SIZE.0, SIZE.1], "{name}");
        let scores = scorer.finish(&pixels).unwrap();
        assert_eq!(scores.pixels.size(), [2, SIZE.0, SIZE.1], "{name}");
        assert_eq!(scores.images.size(), [2], "{name}");
        assert!(is_finite(&scores.pixels) && is_finite(&scores.images), "{name}");
        // Images do not see each other.
        let alone = scorer.finish(&pixels.narrow(0, 1, 1)).unwrap();
        let difference = (alone.images - scores.images.narrow(0, 1, 1))
            .abs()
            .max()
            .double_value(&[]);
        assert!(difference < 1e-6, "{name}: {difference}");
        assert!(
            scorer.pixels(&Maps::default(), SIZE).is_err(),
            "{name} scores nothing"
        );
    }
}

/// For images of [`SIZE`], without pretrained weights.
pub(crate) fn context(mode: Mode, device: Device) -> BuildContext<'static> {
    BuildContext {
        device,
        size: SIZE,
        mode,
        precision: Precision::Float32,
        pretrained: None,
    }
}

/// A model of random weights for images of [`SIZE`].
pub(crate) fn build(method: &dyn Method, mode: Mode, device: Device) -> Box<dyn Model> {
    method.build(&context(mode, device)).unwrap()
}

pub(crate) fn batch(device: Device) -> Batch {
    let image = || Tensor::randn([2, 3, SIZE.0, SIZE.1], FLOAT).to_device(device);
    let mask = Tensor::zeros([2, 1, SIZE.0, SIZE.1], (Number::Float, device));
    let _ = mask.narrow(2, 10, 30).narrow(3, 20, 50).fill_(1.0);
    Batch {
        normal: image(),
        synthetic: Some(Synthesized {
            images: image(),
            target: mask.copy(),
            mask,
            class: vec![0, 0],
        }),
        indices: vec![0, 1],
        features: None,
    }
}

#[test]
fn every_method_makes_a_sound_pipeline_by_its_name_alone() {
    for method in components(Kind::Method) {
        let layers = Layers::new(daf_models::DEFAULTS)
            .unwrap()
            .set([
                "data.type=demo".to_owned(),
                format!("method.type={}", method.name),
            ])
            .unwrap();
        Pipeline::from_layers(&layers).unwrap_or_else(|error| panic!("{}: {error}", method.name));
    }
}

/// Stands for the training images: a few batches of noise.
struct Noise(Vec<Tensor>);

impl NormalImages for Noise {
    fn batches(&self) -> Box<dyn Iterator<Item = Result<NormalBatch, BoxError>> + '_> {
        let batch =
            |(number, images): (usize, &Tensor)| NormalBatch::consecutive(2 * number, images.shallow_clone());
        Box::new(self.0.iter().enumerate().map(move |numbered| Ok(batch(numbered))))
    }
}

pub(crate) fn noise(device: Device) -> impl NormalImages {
    let image = || Tensor::randn([2, 3, SIZE.0, SIZE.1], FLOAT).to_device(device);
    Noise((0..3).map(|_| image()).collect())
}

/// A method's trained weights and buffers by file and name.
fn state(model: &dyn Model) -> BTreeMap<String, Tensor> {
    let of = |store: Store| {
        let named = move |(name, tensor): (String, Tensor)| (format!("{}.{name}", store.name), tensor);
        store.vars.variables().into_iter().map(named).collect::<Vec<_>>()
    };
    model.stores().into_iter().flat_map(of).collect()
}

#[test]
fn every_method_learns_with_all_its_parameters() {
    tch::set_num_threads(1);
    for (name, method) in methods() {
        method.check().unwrap();
        assert!(
            SIZE.0 % method.stride() == 0 && SIZE.1 % method.stride() == 0,
            "{name}"
        );
        if !method.learns() {
            continue;
        }
        let mut model = build(method.as_ref(), Mode::Train, Device::Cpu);
        tch::no_grad(|| model.fit(Fit::BeforeTraining, &noise(Device::Cpu))).unwrap();
        let losses = model.losses(&batch(Device::Cpu)).unwrap();
        assert!(!losses.is_empty(), "{name}");
        for (term, loss) in &losses {
            assert!(is_finite(loss) && loss.numel() == 1, "{name}: {term} is {loss:?}");
        }
        let terms: Vec<&Tensor> = losses.iter().map(|(_, loss)| loss).collect();
        Tensor::stack(&terms, 0).sum(Number::Float).backward();
        let stores = model.stores();
        assert!(
            stores.iter().any(|store| !store.frozen),
            "{name} has nothing to learn"
        );
        for store in stores {
            for (variable, tensor) in store.vars.variables() {
                let context = format!("{name}: {}.{variable}", store.name);
                if store.frozen {
                    assert!(
                        !tensor.requires_grad() && !tensor.grad().defined(),
                        "{context} is not frozen"
                    );
                } else if tensor.requires_grad() {
                    assert!(tensor.grad().defined(), "{context} has no gradient");
                    assert!(is_finite(&tensor.grad()), "{context}: gradient");
                }
            }
        }
    }
}

#[test]
fn every_method_gives_the_same_maps_after_its_weights_went_through_files() {
    tch::set_num_threads(1);
    for (name, method) in methods() {
        let mut model = build(method.as_ref(), Mode::Infer, Device::Cpu);
        for when in [Fit::BeforeTraining, Fit::AfterTraining] {
            tch::no_grad(|| model.fit(when, &noise(Device::Cpu))).unwrap();
        }
        let images = batch(Device::Cpu).normal;
        let maps = tch::no_grad(|| model.infer(&images)).unwrap();
        assert!(
            maps.probability.is_some() || !maps.discrepancy.is_empty(),
            "{name} sees nothing"
        );
        for map in maps.discrepancy.iter().chain(&maps.probability) {
            assert!(is_finite(map) && map.size()[0] == 2, "{name}");
        }
        if let Some(probability) = &maps.probability {
            assert_eq!(probability.size(), [2, 1, SIZE.0, SIZE.1], "{name}");
            assert!(probability.min().double_value(&[]) >= 0.0 && probability.max().double_value(&[]) <= 1.0);
        }
        if let Some(images) = &maps.images {
            assert!(images.size() == [2] && is_finite(images), "{name}");
        }

        let folder = tempfile::tempdir().unwrap();
        let again = build(method.as_ref(), Mode::Infer, Device::Cpu);
        for (old, new) in model.stores().iter().zip(again.stores()) {
            let file = folder.path().join(old.name).with_extension("safetensors");
            weights::write(&file, old.vars.variables().into_iter().collect()).unwrap();
            weights::load(new.vars, &weights::read(&file).unwrap(), &file, false).unwrap();
        }
        assert_eq!(state(model.as_ref()), state(again.as_ref()), "{name}");
        let read = tch::no_grad(|| again.infer(&images)).unwrap();
        for (before, after) in maps
            .discrepancy
            .iter()
            .chain(&maps.probability)
            .chain(&maps.images)
            .zip(
                read.discrepancy
                    .iter()
                    .chain(&read.probability)
                    .chain(&read.images),
            )
        {
            let difference = (before - after).abs().max().double_value(&[]);
            assert!(difference < 1e-5, "{name}: {difference}");
        }
    }
}

/// Trainable parameters of a model whose names begin with `prefix`.
fn parameters(model: &dyn Model, prefix: &str) -> usize {
    let stores = model.stores().into_iter().filter(|store| !store.frozen);
    let variables = stores.flat_map(|store| store.vars.variables());
    variables
        .filter(|(name, tensor)| name.starts_with(prefix) && tensor.requires_grad())
        .map(|(_, tensor)| tensor.numel())
        .sum()
}

#[test]
fn daf_has_as_many_parameters_as_the_official_code() {
    let method = Daf::default();
    let model = build(&method, Mode::Train, Device::Cpu);
    assert_eq!(parameters(model.as_ref(), ""), 4_432_452);
    assert_eq!(parameters(model.as_ref(), "student."), 2_782_784);
    assert_eq!(parameters(model.as_ref(), "aux."), 193_987);
    assert_eq!(parameters(model.as_ref(), "decoder."), 66_048 + 1_389_633);
    let model = build(&method, Mode::Infer, Device::Cpu);
    assert_eq!(parameters(model.as_ref(), ""), 4_238_465);
}

#[test]
fn daf_takes_as_many_multiply_adds_as_the_paper_says() {
    tch::set_num_threads(1);
    let context = BuildContext {
        device: Device::Cpu,
        size: (256, 256),
        mode: Mode::Infer,
        precision: Precision::Float32,
        pretrained: None,
    };
    let model = Daf::default().build(&context).unwrap();
    let image = Tensor::rand([1, 3, 256, 256], FLOAT);
    let (maps, counted) = count(|| tch::no_grad(|| model.infer(&image)));
    maps.unwrap();
    let giga = |count: u64| (count as f64 / 1e7).round() / 100.0;
    // Table II: 6.8 G. What inference really needs, as the network is defined, is less.
    assert_eq!((giga(counted.published), giga(counted.defined)), (6.8, 5.55));
}
