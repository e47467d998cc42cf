//! Parts of other forms than those that daf brings, through a whole training.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use daf_core::block::{Attention, Blocks, Conv, ConvSpec, Init, LayerNorm, Linear, Mode, Precision};
use daf_core::config::{DeviceChoice, Layers, NotNegative, PositiveShare};
use daf_core::data::Normalization;
use daf_core::weights::{self, WeightFolders, Weights};
use daf_core::{
    Backbone, BoxError, BuildContext, Comparator, Compared, Comparison, Decoder, Detection, Detector,
    DiscrepancyMeasure, Error, Extractor, FeaturePair, Fit, Maps, Method, NormalFeatures, NormalMaps,
    Postprocessor, Scorer, Scores, Stage, Store, typetag,
};
use daf_models::backbone::ResNet18;
use daf_models::decoder::{Fusion, Residual};
use daf_models::measure::{Calibrated, Cosine, Memory, Sum};
use daf_models::method::{Daf, Mining, Segmentation};
use daf_pipeline::train::train;
use daf_pipeline::{Pipeline, Run};
use image::{Rgb, RgbImage};
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

const PIPELINE: &str = "
data: { type: demo, size: 96, train: 3 }
input: { size: 96 }
synthesizer: { type: simple_texture_shape }
trainer: { steps: 2, batch_size: 2, workers: 2 }
output: { maps: false }
device: cpu
";

/// Trains a method in the folder `run` and scores an image with what it left.
fn train_and_detect(folder: &Path, method: impl Method + 'static) -> Detection {
    train_with(folder, |pipeline| pipeline.method = Arc::new(method))
}

/// Trains a changed pipeline in the folder `run` and scores an image with what it left.
fn train_with(folder: &Path, change: impl FnOnce(&mut Pipeline)) -> Detection {
    let run = try_training(folder, change).unwrap();
    detect(run.dir())
}

/// Trains a changed pipeline in the folder `run`.
fn try_training(folder: &Path, change: impl FnOnce(&mut Pipeline)) -> Result<Run, Error> {
    let file = folder.join("p.yaml");
    std::fs::write(&file, PIPELINE).unwrap();
    let layers = Layers::new(daf_models::DEFAULTS).unwrap().file(&file).unwrap();
    let mut pipeline = Pipeline::from_layers(&layers).unwrap();
    assert_eq!(
        pipeline.input.normalization,
        Normalization::Imagenet,
        "that of resnet18"
    );
    pipeline.input.normalization = Normalization::Auto;
    change(&mut pipeline);
    pipeline.check().unwrap();
    let run = Run::create(&folder.join("run"), pipeline).unwrap();
    let nowhere = WeightFolders {
        user: None,
        cache: folder.into(),
        progress: None,
    };
    train(&run, &nowhere, &mut ()).map(|_| run)
}

fn detect(run: &Path) -> Detection {
    let image = RgbImage::from_fn(96, 96, |x, y| Rgb([x, y, x ^ y].map(|value| value as u8)));
    let detector = Detector::open(run, DeviceChoice::Cpu).unwrap();
    detector.detect(&image).unwrap()
}

/// Squared distance of the student's features from the mean of normal ones.
#[derive(Debug, Serialize, Deserialize)]
struct FromMean {
    /// Whether the mean is that of the trained student instead of the teacher's.
    trained: bool,
}

#[typetag::serde(name = "test_from_mean")]
impl DiscrepancyMeasure for FromMean {
    fn build(&self, blocks: &Blocks, stages: &[Stage]) -> Result<Box<dyn Comparator>, BoxError> {
        let mean = |(stage, number): (&Stage, usize)| {
            Mutex::new(blocks.buffer(&format!("mean{number}"), &[1, stage.channels, 1, 1]))
        };
        Ok(Box::new(Means {
            when: match self.trained {
                true => Fit::AfterTraining,
                false => Fit::BeforeTraining,
            },
            means: stages.iter().zip(1..).map(mean).collect(),
        }))
    }
}

#[derive(Debug)]
struct Means {
    when: Fit,
    /// The mean of every stage.
    means: Vec<Mutex<Tensor>>,
}

impl Comparator for Means {
    fn compare(&self, compared: &Compared) -> Result<Vec<Comparison>, BoxError> {
        Ok(compared.by_stage(|pair| {
            let mean = self.means[pair.stage]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .shallow_clone();
            let map = (&pair.student - mean).square().mean_dim(1, true, Kind::Float);
            let loss = |normal: &Tensor| ("from_mean".into(), (&map * normal).mean(Kind::Float));
            let losses = pair.normal.as_ref().map(loss).into_iter().collect();
            (map, losses)
        }))
    }

    fn fit(&mut self, when: Fit, features: &dyn NormalFeatures) -> Result<bool, BoxError> {
        if when != self.when {
            return Ok(false);
        }
        let mut sums: Vec<Tensor> = self.means.iter().map(|_| Tensor::from(0.0)).collect();
        let mut count = 0.0;
        for batch in features.batches() {
            let FeaturePair { teacher, student, .. } = batch?;
            assert_eq!(student.is_empty(), when == Fit::BeforeTraining);
            let features = if student.is_empty() { teacher } else { student };
            for (sum, features) in sums.iter_mut().zip(features) {
                *sum = &*sum + features.mean_dim([0, 2, 3].as_slice(), true, Kind::Float);
            }
            count += 1.0;
        }
        for (mean, sum) in self.means.iter_mut().zip(sums) {
            weights::set(
                mean.get_mut().unwrap_or_else(PoisonError::into_inner),
                &(sum / count),
            );
        }
        Ok(true)
    }
}

#[test]
fn a_measure_that_is_fitted_to_normal_images_keeps_what_it_found_in_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let before = train_and_detect(
        folder.path(),
        Daf {
            teacher: Some(random()),
            student: Some(random()),
            discrepancy: Some(Arc::new(Sum {
                of: vec![
                    Arc::new(FromMean { trained: false }),
                    Arc::new(Cosine::default()),
                    Arc::new(FromMean { trained: true }),
                ],
            })),
            ..Daf::default()
        },
    );
    let run = folder.path().join("run");
    let file = run.join("weights/discrepancy.safetensors");
    let mut kept = weights::read(&file).unwrap();
    kept.sort_by(|a, b| a.0.cmp(&b.0));
    let names = ["1.mean1", "1.mean2", "1.mean3", "3.mean1", "3.mean2", "3.mean3"];
    assert!(kept.iter().map(|(name, _)| name.as_str()).eq(names), "{kept:?}");
    for (number, channels) in [64, 128, 256].into_iter().enumerate() {
        let (before, after) = (&kept[number].1, &kept[3 + number].1);
        assert_ne!(before, after);
        for mean in [before, after] {
            assert_eq!(mean.size(), [1, channels, 1, 1]);
            // Of values behind a ReLU.
            assert!(mean.min().double_value(&[]) >= 0.0 && mean.max().double_value(&[]) > 0.1);
        }
    }

    // A new process reads the same; with another memory the image has another score.
    assert_eq!(detect(&run).score, before.score);
    let other = kept.into_iter().map(|(name, mean)| (name, mean + 1.0));
    weights::write(&file, other.collect()).unwrap();
    assert_ne!(detect(&run).score, before.score);
    std::fs::remove_file(&file).unwrap();
    assert!(Detector::open(&run, DeviceChoice::Cpu).is_err());
}

/// A vision transformer of two blocks, which are its stages, and a class token.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Patches {
    weights: Weights,
}

/// Channels of a token, and pixels of the image per token and side.
const WIDTH: i64 = 16;
const STRIDE: i64 = 8;

#[typetag::serde(name = "test_patches")]
impl Backbone for Patches {
    fn stages(&self) -> Vec<Stage> {
        let stage = Stage {
            channels: WIDTH,
            stride: STRIDE,
        };
        vec![stage; 2]
    }

    fn global_channels(&self) -> Option<i64> {
        Some(WIDTH)
    }

    fn normalization(&self) -> Normalization {
        Normalization::Centered
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn build(&self, blocks: &Blocks) -> Result<Box<dyn Extractor>, BoxError> {
        let embed = ConvSpec {
            padding: 0,
            ..ConvSpec::same(3, WIDTH, STRIDE).stride(STRIDE).with_bias()
        };
        let block = |number: usize| {
            let blocks = blocks.sub("blocks").sub(&number.to_string());
            Block {
                norm1: blocks.layer_norm("norm1", WIDTH, 1e-6),
                attn: blocks.attention("attn", WIDTH, 2),
                ls1: blocks.sub("ls1").parameter("gamma", &[WIDTH], 0.1, 0.0),
                norm2: blocks.layer_norm("norm2", WIDTH, 1e-6),
                fc1: blocks.sub("mlp").linear("fc1", WIDTH, 2 * WIDTH),
                fc2: blocks.sub("mlp").linear("fc2", 2 * WIDTH, WIDTH),
            }
        };
        Ok(Box::new(Transformer {
            embed: blocks.sub("patch_embed").conv("proj", embed),
            class: blocks.parameter("cls_token", &[1, 1, WIDTH], 0.0, 0.02),
            blocks: [0, 1].map(block),
        }))
    }
}

#[derive(Debug)]
struct Transformer {
    embed: Conv,
    class: Tensor,
    blocks: [Block; 2],
}

#[derive(Debug)]
struct Block {
    norm1: LayerNorm,
    attn: Attention,
    ls1: Tensor,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Block {
    fn forward(&self, tokens: &Tensor) -> Tensor {
        let tokens = tokens + self.attn.forward(&self.norm1.forward(tokens)) * &self.ls1;
        let inner = self.fc1.forward(&self.norm2.forward(&tokens)).gelu("none");
        tokens + self.fc2.forward(&inner)
    }
}

impl Extractor for Transformer {
    fn extract(&self, images: &Tensor) -> Vec<Tensor> {
        self.extract_with_global(images).0
    }

    fn extract_with_global(&self, images: &Tensor) -> (Vec<Tensor>, Option<Tensor>) {
        let embedded = self.embed.forward(images);
        let (n, _, h, w) = embedded.size4().unwrap();
        let class = self.class.expand([n, 1, WIDTH], false).to_kind(embedded.kind());
        let mut tokens = Tensor::cat(&[class, embedded.flatten(2, 3).transpose(1, 2)], 1);
        let mut stages = Vec::new();
        for block in &self.blocks {
            tokens = block.forward(&tokens);
            let patches = tokens.narrow(1, 1, h * w).transpose(1, 2);
            stages.push(patches.reshape([n, WIDTH, h, w]));
        }
        (stages, Some(tokens.select(1, 0)))
    }
}

#[test]
fn a_transformer_whose_stages_have_one_stride_is_trained_and_scores() {
    let random = || {
        Arc::new(Patches {
            weights: Weights::Random,
        })
    };
    for precision in [Precision::Float32, Precision::Bf16] {
        let vars = VarStore::new(Device::Cpu);
        let blocks = Blocks::new(vars.root(), Mode::Infer, Init::FanOut, precision);
        let backbone: Arc<dyn Backbone> = random();
        let network = backbone.build_checked(&blocks).unwrap();
        let images = Tensor::rand([2, 3, 48, 32], (Kind::Float, Device::Cpu));
        let (stages, global) = tch::no_grad(|| network.extract_with_global(&images));
        let sizes: Vec<_> = stages.iter().map(Tensor::size).collect();
        assert_eq!(sizes, [[2, WIDTH, 6, 4]; 2]);
        assert_eq!(global.unwrap().size(), [2, WIDTH]);
    }

    let folder = tempfile::tempdir().unwrap();
    let found = train_and_detect(
        folder.path(),
        Daf {
            teacher: Some(random()),
            student: Some(random()),
            ..Daf::default()
        },
    );
    assert!(found.score.is_finite());
    let config = std::fs::read_to_string(folder.path().join("run/config.yaml")).unwrap();
    assert!(config.contains("normalization: centered"), "{config}");
    let student = weights::read(&folder.path().join("run/weights/student.safetensors")).unwrap();
    let names: Vec<&str> = student.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "student.blocks.1.attn.qkv.weight",
        "student.blocks.0.ls1.gamma",
        "student.cls_token",
        "decoder.seg1.conv.weight",
    ] {
        assert!(names.contains(&name), "{name}");
    }
}

/// Mean discrepancy of the stages, each in units of its mean over normal images.
#[derive(Debug, Serialize, Deserialize)]
struct Relative {
    /// Whether its store has the name of one of the model's.
    clashes: bool,
}

#[typetag::serde(name = "test_relative")]
impl Scorer for Relative {
    fn build(&self, context: &BuildContext) -> Result<Box<dyn Postprocessor>, BoxError> {
        let vars = VarStore::new(context.device);
        let means = Mutex::new(vars.root().zeros_no_train("means", &[0]));
        let store = if self.clashes { "student" } else { "relative" };
        Ok(Box::new(RelativeTo { store, vars, means }))
    }
}

struct RelativeTo {
    store: &'static str,
    vars: VarStore,
    means: Mutex<Tensor>,
}

impl RelativeTo {
    fn stages(maps: &Maps) -> Vec<Tensor> {
        let of = |map: &Tensor| map.mean_dim([1].as_slice(), false, Kind::Float);
        maps.discrepancy.iter().map(of).collect()
    }
}

impl Postprocessor for RelativeTo {
    fn pixels(&self, maps: &Maps, (height, width): (i64, i64)) -> Result<Tensor, BoxError> {
        let means = self.means.lock().unwrap_or_else(PoisonError::into_inner);
        let stages = Self::stages(maps).into_iter().zip(0..);
        let relative = stages.map(|(map, stage)| {
            let map = (map / means.get(stage)).unsqueeze(1);
            map.upsample_nearest2d([height, width], None, None).squeeze_dim(1)
        });
        relative.reduce(|a, b| a + b).ok_or_else(|| "no stages".into())
    }

    fn finish(&self, pixels: &Tensor) -> Result<Scores, BoxError> {
        Ok(Scores {
            pixels: pixels.shallow_clone(),
            images: pixels.amax([1, 2].as_slice(), false),
        })
    }

    fn stores(&self) -> Vec<Store<'_>> {
        vec![Store::frozen(self.store, &self.vars)]
    }

    fn fit(&mut self, maps: &dyn NormalMaps) -> Result<(), BoxError> {
        let mut batches = Vec::new();
        for maps in maps.batches() {
            let means: Vec<Tensor> = Self::stages(&maps?)
                .iter()
                .map(|map| map.mean(Kind::Float))
                .collect();
            batches.push(Tensor::stack(&means, 0));
        }
        let means = self.means.get_mut().unwrap_or_else(PoisonError::into_inner);
        weights::set(
            means,
            &Tensor::stack(&batches, 0).mean_dim([0].as_slice(), false, Kind::Float),
        );
        Ok(())
    }
}

fn score_relatively(pipeline: &mut Pipeline, clashes: bool) {
    let teacher: Arc<dyn Backbone> = Arc::new(ResNet18 {
        weights: Weights::Random,
        ..ResNet18::default()
    });
    pipeline.method = Arc::new(Daf {
        teacher: Some(teacher),
        ..Daf::default()
    });
    pipeline.scorer = Arc::new(Relative { clashes });
}

#[test]
fn a_scorer_that_is_fitted_to_normal_images_keeps_what_it_found_in_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let found = train_with(folder.path(), |pipeline| score_relatively(pipeline, false));
    let run = folder.path().join("run");
    let kept = weights::read(&run.join("weights/relative.safetensors")).unwrap();
    assert_eq!(
        (kept.len(), kept[0].0.as_str(), kept[0].1.size()),
        (1, "means", vec![3])
    );
    assert!(kept[0].1.min().double_value(&[]) > 0.0);
    // A new process reads the same; with other statistics the image has another score.
    assert_eq!(detect(&run).score, found.score);
    let twice = kept
        .into_iter()
        .map(|(name, means)| (name, means * 2.0))
        .collect();
    weights::write(&run.join("weights/relative.safetensors"), twice).unwrap();
    assert!((detect(&run).score - found.score / 2.0).abs() < 1e-3 * found.score);
}

/// A ResNet18 with random weights.
fn random() -> Arc<dyn Backbone> {
    Arc::new(ResNet18 {
        weights: Weights::Random,
        ..ResNet18::default()
    })
}

const FOCAL: Segmentation = Segmentation::FocalL1 {
    l1: NotNegative::new(0.5),
    focal: NotNegative::new(0.5),
    gamma: NotNegative::new(2.0),
};

/// A memory of one stage, of all patches.
fn memory(stage: usize) -> Arc<dyn DiscrepancyMeasure> {
    Arc::new(Memory {
        stages: vec![stage],
        coreset: PositiveShare::new(0.5),
        ..Memory::default()
    })
}

#[test]
fn a_memory_without_a_student_learns_nothing_and_scores_as_it_did_when_it_is_opened_again() {
    let fusion: Arc<dyn Decoder> = Arc::new(Fusion::default());
    let residual: Arc<dyn Decoder> = Arc::new(Residual::default());
    for (decoder, segmentation) in [
        (None, Segmentation::default()),
        (Some(fusion), Segmentation::default()),
        (Some(residual), FOCAL),
    ] {
        let learns = decoder.is_some();
        let folder = tempfile::tempdir().unwrap();
        let discrepancy: Arc<dyn DiscrepancyMeasure> = Arc::new(Calibrated {
            of: Arc::new(Sum {
                of: [1, 2, 3].map(memory).into(),
            }),
            ..Calibrated::default()
        });
        let daf = Daf {
            teacher: Some(random()),
            student: None,
            discrepancy: Some(discrepancy),
            decoder,
            segmentation,
            ..Daf::default()
        };
        assert_eq!((daf.learns(), daf.needs_synthesis()), (learns, learns));
        let found = train_and_detect(folder.path(), daf);
        assert!(found.score.is_finite());
        let run = folder.path().join("run");
        let kept = weights::read(&run.join("weights/discrepancy.safetensors")).unwrap();
        let mut names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let of = |number: usize| ["factors", "features", "images"].map(|name| format!("of.{number}.{name}"));
        let mut expected: Vec<String> = (1..=3).flat_map(of).collect();
        expected.push("quantiles".into());
        assert_eq!(names, expected);
        assert_eq!(run.join("weights/decoder.safetensors").exists(), learns);
        assert!(!run.join("weights/student.safetensors").exists());
        assert_eq!(detect(&run).score, found.score);
        assert_eq!(detect(&run).map.scores, found.map.scores);
    }
}

#[test]
fn a_student_and_a_memory_are_added_on_one_scale() {
    let folder = tempfile::tempdir().unwrap();
    let calibrated = |of| -> Arc<dyn DiscrepancyMeasure> {
        Arc::new(Calibrated {
            of,
            ..Calibrated::default()
        })
    };
    let found = train_and_detect(
        folder.path(),
        Daf {
            teacher: Some(random()),
            student: Some(random()),
            discrepancy: Some(Arc::new(Sum {
                of: vec![
                    calibrated(Arc::new(Cosine::default())),
                    calibrated(Arc::new(Memory::default())),
                ],
            })),
            ..Daf::default()
        },
    );
    assert!(found.score.is_finite());
    let run = folder.path().join("run");
    let kept = weights::read(&run.join("weights/discrepancy.safetensors")).unwrap();
    for name in ["1.quantiles", "2.quantiles"] {
        let (_, quantiles) = kept.iter().find(|(found, _)| found == name).unwrap();
        assert_eq!(quantiles.size(), [2]);
        assert!(
            quantiles.double_value(&[1]) > quantiles.double_value(&[0]),
            "{name}"
        );
    }
    assert_eq!(detect(&run).score, found.score);
}

#[test]
fn parts_that_do_not_go_together_are_named_with_what_to_do() {
    let memory: Arc<dyn DiscrepancyMeasure> = Arc::new(Memory::default());
    let cosine: Arc<dyn DiscrepancyMeasure> = Arc::new(Cosine::default());
    let decoder: Arc<dyn Decoder> = Arc::new(Fusion::default());
    for (teacher, student, measure, decoder, expected) in [
        (
            true,
            false,
            Some(&cosine),
            None,
            "`discrepancy: cosine` compares with a student",
        ),
        (
            true,
            false,
            None,
            Some(&decoder),
            "a `discrepancy` that needs no student",
        ),
        (
            false,
            false,
            None,
            Some(&decoder),
            "without a `student` there must be a `teacher`",
        ),
        (
            false,
            false,
            Some(&memory),
            None,
            "`discrepancy` needs a `teacher`",
        ),
        (
            true,
            true,
            Some(&memory),
            None,
            "the `student` has no use: `discrepancy: memory`",
        ),
    ] {
        let daf = Daf {
            teacher: teacher.then(random),
            student: student.then(random),
            discrepancy: measure.cloned(),
            decoder: decoder.cloned(),
            ..Daf::default()
        };
        let error = daf.check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // A decoder that needs a map of every stage says so when it is built.
    let daf = Daf {
        teacher: Some(random()),
        student: None,
        discrepancy: Some(memory),
        ..Daf::default()
    };
    daf.check().unwrap();
    let context = BuildContext {
        device: Device::Cpu,
        size: (96, 96),
        mode: Mode::Train,
        precision: Precision::Float32,
        pretrained: None,
    };
    let error = daf.build(&context).err().unwrap().to_string();
    assert!(error.contains("maps for stages [2] only"), "{error}");
}

#[test]
fn losses_are_read_with_their_own_settings_and_without_a_name_as_before() {
    let read = |segmentation: &str| {
        let text = format!("{PIPELINE}method: {{ segmentation: {segmentation} }}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.yaml");
        std::fs::write(&file, text).unwrap();
        let layers = Layers::new(daf_models::DEFAULTS).unwrap().file(&file).unwrap();
        let pipeline = Pipeline::from_layers(&layers)?;
        let method = serde_json::to_value(&pipeline.method).unwrap();
        Ok::<Segmentation, Error>(serde_json::from_value(method["segmentation"].clone()).unwrap())
    };
    let mined = |ratio| Segmentation::Mined {
        negative_ratio: NotNegative::new(ratio),
        mining: Mining::PerPixel,
    };
    for (text, expected) in [
        ("{}", Segmentation::default()),
        ("{ negative_ratio: 2 }", mined(2.0)),
        ("{ loss: mined, negative_ratio: 1 }", mined(1.0)),
        ("{ loss: focal_l1, l1: 0.5, focal: 0.5, gamma: 2 }", FOCAL),
    ] {
        assert_eq!(read(text).unwrap(), expected, "{text}");
    }
    for (text, expected) in [
        ("{ gamma: 2 }", "found `gamma`, which belongs to `loss: focal_l1`"),
        (
            "{ loss: focal_l1, mining: per_pixel }",
            "found `mining`, which belongs to `loss: mined`",
        ),
        ("{ loss: focal_l1, gamma: -1 }", "method.segmentation.gamma"),
        ("{ loss: dice }", "method.segmentation.loss"),
        ("{ loss: focal_l1, gama: 2 }", "method.segmentation.gama"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("method.segmentation"),
            "{text}: {error}"
        );
    }
}

#[test]
fn a_scorer_with_a_store_of_the_name_of_the_models_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let trained = try_training(folder.path(), |pipeline| score_relatively(pipeline, true));
    let Err(Error::Part { name, source, .. }) = trained else {
        panic!("it was trained")
    };
    assert_eq!(name, "test_relative");
    assert_eq!(
        source.to_string(),
        "model and scorer both have a store `student`: their files would be one"
    );
}

#[test]
fn a_model_names_the_plugins_that_bring_parts_of_it() {
    let plugins = "plugins: { daf-backbones-mobilenet: '0.1', scratches: { version: '0.1', package: daf-synth-scratch } }";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    let model = |method: &str| {
        let text = format!("{PIPELINE}{plugins}\n{method}").replace("simple_texture_shape", "scratch");
        std::fs::write(&file, text).unwrap();
        let layers = Layers::new(daf_models::DEFAULTS).unwrap().file(&file).unwrap();
        let pipeline = Pipeline::from_layers(&layers).unwrap();
        assert_eq!(pipeline.plugins.len(), 2);
        pipeline.model()
    };
    assert!(!model("").to_yaml().unwrap().contains("plugins"));
    let mobile = "{ type: mobilenet_v3_large, weights: random }";
    let mobile = model(&format!("method: {{ teacher: {mobile}, student: {mobile} }}"));
    assert!(mobile.plugins.keys().eq(["daf-backbones-mobilenet"]));
}
