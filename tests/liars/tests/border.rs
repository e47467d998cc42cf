//! Every command that calls a part that breaks its promises names that part, its crate and what was promised.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PIPELINE: &str = "\
data: { type: demo, size: 96, train: 3, test: 1, test_good: 1 }
input: { size: 96 }
synthesizer: { type: simple_texture_shape }
method: { teacher: { type: liar }, student: { type: liar }, decoder: { type: liar } }
trainer: { steps: 2, batch_size: 2, workers: 2 }
output: { maps: false }
device: cpu
";

fn liars(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daf-liars"));
    command
        .args(arguments)
        .current_dir(folder)
        .env("DAF_CACHE", folder.join("cache"))
        .env("OMP_NUM_THREADS", "1");
    command
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.yaml"), PIPELINE).unwrap();
    folder
}

/// Runs commands with settings, of which each must fail with `code` and name the part `kind` and what is wrong with it.
fn name(settings: &[&str], commands: &[(&[&str], i32)], kind: &str, what: &str) {
    let folder = folder();
    let folder = folder.path();
    for (command, code) in commands {
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let arguments: Vec<_> = command.iter().copied().chain(settings).collect();
        let output = liars(folder, &arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        let context = format!("{arguments:?}:\n{error}");
        assert_eq!(output.status.code(), Some(*code), "{context}");
        for words in [what, &format!("fault of {kind} `liar`, crate daf-liars ")] {
            assert!(error.contains(words), "`{words}` is not in {context}");
        }
        let errors = error.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "{context}");
        for word in ["internal error", "frame #", "Exception", "beyond all bounds"] {
            assert!(!error.contains(word), "{context}");
        }
    }
}

const CHECK: (&[&str], i32) = (&["check", "p.yaml"], 2);
const PREVIEW: (&[&str], i32) = (&["synth", "preview", "p.yaml"], 1);
const RUN: (&[&str], i32) = (&["run", "p.yaml", "-o", "run", "--replace"], 1);
/// Faults that show when the model is built.
const RUN_UNUSABLE: (&[&str], i32) = (RUN.0, 2);

#[test]
fn a_synthesizer_that_lies_is_named() {
    for (how, what) in [
        (
            "mask_size",
            "mask: expected the size of the normal image, 96×96, found 48×96",
        ),
        (
            "image_size",
            "image: expected the size of the normal image, 96×96, found 48×96",
        ),
        ("mask_one", "mask: expected 0 and 255, found 1"),
        ("mask_gray", "mask: expected 0 and 255, found 128"),
        ("empty_mask", "mask: empty"),
        ("outside", "pixel 9, 1 changed outside the mask"),
        ("touched", "changed outside `touched`"),
        (
            "class",
            "class: expected less than 1, the number that `classes` gives, found 99",
        ),
        ("target", "target: expected values of 0 to 1, found 1.5"),
        ("panic", "panicked: a liar's panic (tests/liars/src/images.rs:"),
    ] {
        let setting = format!("synthesizer={{type: liar, how: {how}}}");
        name(&[&setting], &[CHECK, PREVIEW, RUN], "synthesizer", what);
    }
}

#[test]
fn a_synthesizer_within_another_is_named_and_not_the_other() {
    let setting = "synthesizer={type: mixture, of: [{synthesizer: {type: liar, how: empty_mask}}]}";
    name(&[setting], &[CHECK, PREVIEW], "synthesizer", "mask: empty");
    let setting = "synthesizer={type: foreground, of: {type: liar, how: mask_gray}}";
    name(
        &[setting],
        &[CHECK],
        "synthesizer",
        "mask: expected 0 and 255, found 128",
    );
}

#[test]
fn a_synthesizer_that_makes_no_defect_is_refused_before_the_training() {
    let setting = "synthesizer={type: liar, how: unchanged}";
    name(
        &[setting],
        &[CHECK, RUN],
        "synthesizer",
        "made no defect in 64 samples",
    );
}

#[test]
fn a_synthesizer_that_never_comes_back_is_named_while_it_is_silent() {
    let folder = folder();
    let log = folder.path().join("log");
    let mut process = liars(
        folder.path(),
        &["train", "p.yaml", "--set", "synthesizer={type: liar, how: loop}"],
    )
    .stdout(Stdio::null())
    .stderr(fs::File::create(&log).unwrap())
    .spawn()
    .unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let said = loop {
        let said = fs::read_to_string(&log).unwrap();
        if said.contains("at work") || Instant::now() > deadline {
            break said;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(
        said.contains("synthesizer `liar` has been at work for "),
        "{said}"
    );
    assert!(said.contains("epoch 0"), "{said}");
}

#[test]
fn shapes_and_textures_that_lie_are_named() {
    for (setting, kind, what) in [
        (
            "synthesizer={type: compose, shape: {type: liar}}",
            "shape",
            "mask: expected the size of the normal image, 96×96, found 97×96",
        ),
        (
            "synthesizer={type: compose, shape: {type: liar, panics: true}}",
            "shape",
            "panicked: a liar's panic",
        ),
        (
            "synthesizer={type: compose, texture: {type: liar}}",
            "texture",
            "material: expected the size of the bounds of the region",
        ),
        (
            "synthesizer={type: compose, texture: {type: liar, image: true}}",
            "texture",
            "material: expected the size of the normal image, 96×96, found 96×95",
        ),
    ] {
        name(&[setting], &[CHECK, PREVIEW, RUN], kind, what);
    }
}

#[test]
fn a_data_set_that_panics_is_named() {
    for lists in ["false", "true"] {
        let setting = format!("data={{type: liar, lists: {lists}}}");
        name(&[&setting], &[CHECK], "dataset", "panicked: a liar's panic");
    }
}

#[test]
fn a_backbone_that_lies_is_named() {
    for (how, what, run) in [
        ("channels", "×7×24×24, found ", RUN),
        ("stride", "×8×48×48, found ", RUN),
        (
            "fewer",
            "features: expected those of 3 stages, as in `stages`, found 2",
            RUN,
        ),
        (
            "zero",
            "`stages`: expected channels and strides of 1 or more, found 8 and 0",
            RUN_UNUSABLE,
        ),
        (
            "falling",
            "`stages`: expected strides from fine to coarse, found [4, 2, 1]",
            RUN_UNUSABLE,
        ),
        ("empty", "`stages` is empty", RUN_UNUSABLE),
        (
            "panic",
            "panicked: a liar's panic (tests/liars/src/networks.rs:",
            RUN,
        ),
    ] {
        let settings = ["teacher", "student"].map(|network| format!("method.{network}.how={how}"));
        let settings = settings.each_ref().map(String::as_str);
        name(&settings, &[CHECK, run], "backbone", what);
    }
}

#[test]
fn a_measure_that_lies_is_named() {
    for (how, what) in [
        ("size", "map: expected 2×1×24×24, found 2×1×23×24"),
        ("few", "loss `liar`: expected one number, found 1152"),
        ("stages", "maps: expected those of stages [0, 1, 2], found [0, 2]"),
        ("panic", "panicked: a liar's panic"),
    ] {
        let setting = format!("method.discrepancy={{type: liar, how: {how}}}");
        name(&[&setting], &[CHECK, RUN], "measure", what);
    }
}

#[test]
fn a_decoder_that_lies_is_named() {
    for (how, what) in [
        ("size", "logits: expected 2×1×96×96, found 2×1×95×96"),
        ("panic", "panicked: a liar's panic"),
    ] {
        let setting = format!("method.decoder={{type: liar, how: {how}}}");
        name(&[&setting], &[CHECK, RUN], "decoder", what);
    }
}

#[test]
fn a_scorer_that_lies_is_named() {
    for (how, late, what) in [
        ("size", false, "pixel scores: expected 1×96×96, found 1×95×96"),
        ("nan", false, "pixel scores: not all finite, of maps that are"),
        ("panic", false, "panicked: a liar's panic"),
        (
            "size",
            true,
            "smoothed pixel scores: expected 1×96×96, found 1×95×96",
        ),
        (
            "nan",
            true,
            "smoothed pixel scores: not all finite, of pixel scores that are",
        ),
        ("few", true, "image scores: expected 1, found 0"),
    ] {
        let setting = format!("scorer={{type: liar, how: {how}, late: {late}}}");
        name(&[&setting], &[CHECK], "scorer", what);
        let without_count = what.split_once(": ").unwrap().0;
        name(&[&setting], &[RUN], "scorer", without_count);
    }
}

#[test]
fn a_method_that_lies_is_named() {
    for (how, what) in [
        ("size", "discrepancy of stage 1: expected 1×D×h×w, found 1×96×96"),
        ("few", "loss `brightness`: expected one number, found"),
        ("panic", "panicked: a liar's panic"),
    ] {
        let setting = format!("method={{type: liar, how: {how}}}");
        name(&[&setting], &[CHECK], "method", what);
    }
}
