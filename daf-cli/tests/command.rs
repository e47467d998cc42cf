//! Runs the program as a user does and looks at exit codes and messages.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use daf_core::{Dataset, Split};
use daf_data::{Demo, Kind};

/// The program in `folder`, with nothing of ours in its environment.
fn daf(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daf-cli"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DAF_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).env("DAF_CACHE", folder.join("cache"));
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A pipeline that needs no file, is small and quick.
const SMALL: &str = "data: { type: demo, size: 64, train: 2, test: 1, test_good: 1 }
input: { size: 96 }
method: { teacher: { weights: random } }
trainer: { steps: 2 }
device: cpu
";

/// `check` of a pipeline file with this text.
fn check(file: &str, change: impl FnOnce(&mut Command)) -> Output {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.yaml"), file).unwrap();
    let mut command = daf(folder.path());
    command.args(["check", "p.yaml"]);
    change(&mut command);
    command.output().unwrap()
}

/// The message with which `check` refuses a small pipeline under these arguments: one line, exit code 2.
fn refused(arguments: &[&str]) -> String {
    let output = check(SMALL, |command| {
        command.args(arguments.iter().flat_map(|argument| ["--set", argument]));
    });
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty(), "{error}");
    assert!(
        !error.contains("panicked") && !error.contains("frame #") && !error.contains("stack backtrace"),
        "{error}"
    );
    error
}

#[test]
fn a_sound_pipeline_passes() {
    let output = check(SMALL, |_| ());
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{error}");
    assert!(out.ends_with("p.yaml is sound\n"), "{out}");
    for part in [
        "data         demo, 2 normal images",
        "student: ",
        "losses       ",
        "trainer      2 steps",
        "device       cpu",
    ] {
        assert!(out.contains(part), "{part} is missing:\n{out}");
    }
    assert!(!out.contains('\x1b'), "no colours in a pipe");
}

#[test]
fn faults_of_the_pipeline_exit_with_2_and_one_line() {
    for (argument, message) in [
        (
            "synthesizer.type=draa",
            "error: --set synthesizer.type: synthesizer.type: there is no synthesizer `draa`, only `compose`, `cutpaste`,",
        ),
        (
            "synthesizer.opacit=1",
            "error: --set synthesizer.opacit: synthesizer.opacit: unknown key (did you mean `opacity`?",
        ),
        (
            "trainer.batch_size=lots",
            "trainer.batch_size: expected a whole number of at least 0, found the text \"lots\"\n",
        ),
        (
            "trainer.batch_size=-1",
            "trainer.batch_size: expected a whole number of at least 0, found -1\n",
        ),
        (
            "trainer.batch_size=0",
            "trainer.batch_size: expected 1 to 65536, found 0\n",
        ),
        (
            "synthesizer.opacity=[-1, 0.5]",
            "error: synthesizer `dra` (synthesizer in --set synthesizer.opacity)\n  caused by: opacity",
        ),
        (
            "input.size=100",
            "input.size: expected multiples of 16, the coarsest stride, found 100×100",
        ),
        (
            "trainer",
            "error: --set trainer: expected KEY=VALUE (for example `--set trainer.steps=600`)\n",
        ),
        ("data={type: mvtec, root: no/where}", "no/where"),
        (
            "device=cuda:99",
            "device: cuda:99 was asked for, but libtorch sees",
        ),
        (
            "method.teacher.weights=no/such.pth",
            "no/such.pth: there is no such file",
        ),
        (
            "method.decoder.type=cosine",
            "method.decoder.type: there is no decoder `cosine`, only",
        ),
    ] {
        let error = refused(&[argument]);
        assert!(error.contains(message), "`{message}` is not in:\n{error}");
    }
}

#[test]
fn faults_of_the_file_exit_with_2_and_one_line() {
    for (file, message) in [
        ("", "error: p.yaml: is empty; a pipeline names at least `data`"),
        (
            "synthesizer: {}",
            "error: p.yaml: data: missing (say where images come from",
        ),
        ("a: [1", "error: p.yaml: line "),
        (
            "seed: 1\nseed: 2",
            "error: p.yaml: line 2, column 1: the key \"seed\" is given twice\n",
        ),
    ] {
        let output = check(file, |_| ());
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.starts_with(message), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let output = daf(folder.path())
        .args(["check", "nowhere.yaml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr)
            .starts_with("error: nowhere.yaml: there is no such file (`daf-cli init` writes one")
    );
}

#[test]
fn arguments_win_over_the_environment_and_that_over_the_file() {
    let steps = |change: &dyn Fn(&mut Command)| {
        let output = check(SMALL, change);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let out = text(&output.stdout);
        out.lines()
            .find_map(|line| line.strip_prefix("trainer      "))
            .unwrap()
            .to_owned()
    };
    assert_eq!(steps(&|_| ()), "2 steps, batch size 8");
    assert_eq!(
        steps(&|c| _ = c.env("DAF__TRAINER__STEPS", "3")),
        "3 steps, batch size 8"
    );
    assert_eq!(
        steps(&|c| {
            c.env("DAF__TRAINER__STEPS", "3")
                .args(["--set=trainer.steps=4", "--set=trainer.batch_size=1"]);
        }),
        "4 steps, batch size 1"
    );
    let output = check(SMALL, |command| _ = command.env("DAF__TRAINER__STEPS", "0"));
    assert_eq!(
        text(&output.stderr),
        "error: environment DAF__TRAINER__STEPS: trainer.steps: expected at least 1, found 0\n"
    );
}

#[test]
fn what_init_writes_passes_check_and_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let output = daf(folder.path()).arg("init").output().unwrap();
    assert_eq!(
        text(&output.stdout),
        "wrote pipeline.yaml and daf.schema.json; next: daf-cli check pipeline.yaml\n"
    );
    let written = fs::read(folder.path().join("pipeline.yaml")).unwrap();
    let schema = fs::read_to_string(folder.path().join("daf.schema.json")).unwrap();
    assert_eq!(
        schema,
        text(&daf(folder.path()).arg("schema").output().unwrap().stdout)
    );
    let output = daf(folder.path())
        .args([
            "check",
            "pipeline.yaml",
            "--set",
            "method.teacher.weights=random",
            "--set",
            "device=cpu",
        ])
        .args(["--set", "data.size=64", "--set", "data.train=1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let again = daf(folder.path()).arg("init").output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("pipeline.yaml: exists already"));
    assert_eq!(fs::read(folder.path().join("pipeline.yaml")).unwrap(), written);
    let output = daf(folder.path())
        .args(["init", "no/such/folder.yaml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// Writes some images of drawn tiles in the layout of MVTec AD.
fn draw_tiles(folder: &Path, width: u32, height: u32) {
    let demo = Demo {
        kind: Kind::Tile,
        train: 5,
        test_good: 1,
        test: 1,
        size: width,
        height: Some(height),
        ..Demo::default()
    };
    for item in Split::ALL
        .into_iter()
        .flat_map(|split| demo.items(split).unwrap())
    {
        let path = folder.join(item.image.strip_prefix("demo/tile").unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        demo.image(&item).unwrap().save(path).unwrap();
    }
}

#[test]
fn init_keeps_the_shape_of_tall_images_with_hairlines() {
    let folder = tempfile::tempdir().unwrap();
    draw_tiles(&folder.path().join("tiles"), 256, 640);
    let output = daf(folder.path())
        .args(["init", "--data", "tiles"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(
        said.contains("5 images without defects to learn from, 256 pixels wide and 640 high"),
        "{said}"
    );
    assert!(
        said.contains("input 640×256 (height×width), stretch, recipe fast"),
        "{said}"
    );
    let written = fs::read_to_string(folder.path().join("pipeline.yaml")).unwrap();
    for line in [
        "  type: mvtec\n",
        "  root: tiles\n",
        "recipe: fast\n",
        "  size: [640, 256] ",
        "  fit: stretch\n",
        "# Thresholds: chosen from 5 training images",
    ] {
        assert!(written.contains(line), "{line}:\n{written}");
    }
    assert!(
        written.lines().all(|line| line.chars().count() <= 120),
        "{written}"
    );
    let output = daf(folder.path())
        .args([
            "check",
            "pipeline.yaml",
            "--set",
            "method.backbone={type: resnet18, weights: random}",
            "--set",
            "device=cpu",
        ])
        .output()
        .unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    assert!(
        said.contains("recipe       fast") && said.contains("640×256 pixels"),
        "{said}"
    );
    assert!(said.contains("rest on 5 normal images"), "{said}");
}

#[test]
fn init_says_what_is_wrong_with_a_folder_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["empty", "broken/good", "text", "both/train/good", "both/train/ok"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    fs::write(at("broken/good/0.png"), "no image").unwrap();
    fs::write(at("text/readme.txt"), "no image").unwrap();
    for name in ["both/train/good/0.png", "both/train/ok/0.png"] {
        fs::write(at(name), "").unwrap();
    }
    for (data, expected) in [
        (
            "empty",
            "empty: there is no image: expected png, jpeg, bmp, tiff or webp, found nothing",
        ),
        ("text", "text: there is no image"),
        (
            "broken",
            "broken: expected images that can be read, found none among the 1",
        ),
        (
            "both",
            "both/train: expected one folder of normal images, found good",
        ),
        ("nowhere", "nowhere: no such folder"),
    ] {
        let output = daf(folder.path())
            .args(["init", "--data", data])
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("error: {expected}")), "{said}");
        assert!(!at("pipeline.yaml").exists(), "{data}");
    }
}

#[test]
fn a_size_that_is_left_to_the_program_is_said_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let file = "data: { type: demo, kind: tile, size: 64, height: 160, train: 2, test: 1, test_good: 1 }
input: { size: auto }
method: { teacher: { weights: random } }
trainer: { steps: 1, batch_size: 1 }
device: cpu
";
    fs::write(folder.path().join("tall.yaml"), file).unwrap();
    let output = daf(folder.path()).args(["train", "tall.yaml"]).output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    assert!(
        said.contains("input.size: auto is 320×128 (height×width) for training images of 160×64"),
        "{said}"
    );
    for name in ["config.yaml", "model.yaml"] {
        let recorded = fs::read_to_string(folder.path().join("runs/tall").join(name)).unwrap();
        assert!(
            !recorded.contains("size: auto") && recorded.contains("320"),
            "{name}:\n{recorded}"
        );
    }
}

#[test]
fn a_training_gets_the_steps_that_fit_into_a_time_and_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.yaml"), SMALL).unwrap();
    let train = |arguments: &[&str]| {
        daf(folder.path())
            .args([
                "train",
                "small.yaml",
                "--set",
                "trainer.steps=1000000000",
                "--set",
                "device=cpu",
                "--set",
                "trainer.batch_size=1",
            ])
            .args(arguments)
            .output()
            .unwrap()
    };
    let short = train(&["--within", "0.01s"]);
    let said = text(&short.stderr);
    assert_eq!(short.status.code(), Some(2), "{said}");
    assert!(said.contains("--within") && said.contains("too short"), "{said}");
    assert!(!folder.path().join("runs").exists());

    let output = train(&["--within", "30s"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    assert!(
        said.contains("of the 1000000000 steps that the pipeline asks for"),
        "{said}"
    );
    assert!(
        said.contains("too few for what the pipeline was made for"),
        "{said}"
    );
    let config = || fs::read_to_string(folder.path().join("runs/small/config.yaml")).unwrap();
    let first = config();
    assert!(
        first.contains("epochs: null") && !first.contains("1000000000"),
        "{first}"
    );
    let again = train(&["--within", "1h", "--resume"]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    assert_eq!(config(), first);
}

#[test]
fn every_part_and_recipe_that_is_listed_can_be_shown() {
    let folder = tempfile::tempdir().unwrap();
    let output = daf(folder.path()).args(["list", "--json"]).output().unwrap();
    let parts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let parts = parts.as_array().unwrap();
    let table = text(&daf(folder.path()).arg("list").output().unwrap().stdout);
    assert!(parts.len() > 8, "the default crates are not linked:\n{table}");
    for part in parts {
        let name = part["name"].as_str().unwrap();
        assert!(table.contains(name), "{name} is not listed");
        assert_eq!(part["version"], env!("CARGO_PKG_VERSION"));
        assert_ne!(part["summary"], "");
        let shown = daf(folder.path())
            .args(["show", &format!("{}/{name}", part["kind"].as_str().unwrap())])
            .output();
        let shown = text(&shown.unwrap().stdout);
        let key = if part["kind"] == "recipe" {
            "recipe"
        } else {
            "type"
        };
        assert!(shown.contains(&format!("{key}: {name}")), "{shown}");
        assert!(!shown.contains("anything"), "a field has no type:\n{shown}");
    }
    let some = text(
        &daf(folder.path())
            .args(["list", "synthesizers"])
            .output()
            .unwrap()
            .stdout,
    );
    assert!(some.contains("dra") && !some.contains("resnet18"), "{some}");
}

#[test]
fn unknown_words_on_the_command_line_exit_with_2_and_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, message) in [
        (&["chek"][..], "'check'"),
        (&["list", "synthesiser"], "did you mean `synthesizer`?"),
        (&["show", "synthesizer/dre"], "did you mean `dra`?"),
        (&["show", "backbone/dra"], "there is no such part"),
        (&["check"], "<FILE>"),
        (&["check", "p.yaml", "--sett", "x=1"], "--set"),
    ] {
        let output = daf(folder.path()).args(arguments).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(message), "{error}");
    }
    let output = daf(folder.path())
        .arg("list")
        .env("DAF_LOG", "a=b=c")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).starts_with("error: environment DAF_LOG: "),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn help_is_no_failure_and_has_examples() {
    let folder = tempfile::tempdir().unwrap();
    for verb in [
        &["--help"][..],
        &["check", "--help"],
        &["list", "-h"],
        &["show", "-h"],
        &["schema", "-h"],
        &["init", "-h"],
        &["new", "-h"],
        &["build", "-h"],
        &["fit", "-h"],
        &["doctor", "-h"],
        &["completions", "-h"],
    ] {
        let output = daf(folder.path()).args(verb).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let help = text(&output.stdout);
        assert!(help.contains("Examples:"), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
}

#[test]
fn the_schema_is_json_and_knows_the_parts() {
    let folder = tempfile::tempdir().unwrap();
    let output = daf(folder.path()).arg("schema").output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["required"], serde_json::json!(["data"]));
    let synthesizers = schema["$defs"]["Synthesizer"]["anyOf"].as_array().unwrap();
    assert!(
        synthesizers
            .iter()
            .any(|part| part["properties"]["type"]["const"] == "dra")
    );
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pipeline.schema.json");
    assert!(
        fs::read_to_string(committed).unwrap() == text(&output.stdout),
        "docs/pipeline.schema.json is out of date: cargo run -p daf-cli -- schema > docs/pipeline.schema.json"
    );
}

#[test]
fn completions_know_the_commands_and_their_arguments() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = daf(folder.path()).args(["completions", shell]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let out = text(&output.stdout);
        for word in ["preview", "detect", "accept-data"] {
            assert!(out.contains(word), "{shell}: {word} is missing");
        }
    }
}

#[test]
fn doctor_names_libtorch_and_the_folders() {
    let folder = tempfile::tempdir().unwrap();
    let output = daf(folder.path()).arg("doctor").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    for word in [
        "libtorch_cpu.so",
        "threads",
        "threads that wait for each other do so by GOMP_SPINCOUNT=20000",
        "devices    cpu",
        "resnet18",
        &folder.path().join("cache").display().to_string(),
    ] {
        assert!(out.contains(word), "{word} is missing:\n{out}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["schema"][..],
        &["list"],
        &["show", "daf"],
        &["doctor"],
        &["--help"],
        &["schema", "--help"],
    ] {
        let mut child = daf(folder.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Closed before anything is written.
        drop(child.stdout.take());
        let mut error = String::new();
        child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{error}");
        assert_eq!(error, "");
    }
}

#[test]
fn a_full_disk_behind_the_output_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else {
        return;
    };
    let output = daf(folder.path()).arg("schema").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).starts_with("error: standard output: "),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_preview_is_the_same_picture_byte_by_byte_and_says_what_it_shows() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.yaml"), SMALL).unwrap();
    let preview = |file: &str, seed: &str| {
        let output = daf(folder.path())
            .args(["synth", "preview", "p.yaml", "-n", "5", "-o", file, "--set", seed])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        (fs::read(folder.path().join(file)).unwrap(), text(&output.stdout))
    };
    let (first, said) = preview("a.png", "seed=1");
    for part in [
        "damaged           5 of 5",
        "anomalous pixels",
        "time per sample",
        "a.png",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    assert_eq!(preview("b.png", "seed=1").0, first);
    assert_ne!(preview("c.png", "seed=2").0, first);
    let none = daf(folder.path())
        .args([
            "synth",
            "preview",
            "p.yaml",
            "--set",
            "synthesizer=null",
            "--set",
            "method.decoder=null",
        ])
        .args(["--set", "method.auxiliary=null"])
        .output()
        .unwrap();
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).contains("synthesizer: the pipeline has none"));
}

#[test]
fn the_synthesis_bench_measures_every_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.yaml"), SMALL).unwrap();
    let output = daf(folder.path())
        .args([
            "synth",
            "bench",
            "p.yaml",
            "--threads",
            "1,2",
            "--seconds",
            "0.02",
            "--json",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines: Vec<serde_json::Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for (line, threads) in lines.iter().zip([1, 2]) {
        assert_eq!((&line["threads"], &line["height"]), (&threads.into(), &96.into()));
        let rate = |which: &str| line["samples_per_second"][which].as_f64().unwrap();
        assert!(0.0 < rate("least") && rate("least") <= rate("median") && rate("median") <= rate("most"));
    }
    let bad = daf(folder.path())
        .args(["synth", "bench", "p.yaml", "--seconds", "-1"])
        .output()
        .unwrap();
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn a_data_set_is_counted_and_its_faults_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("p.yaml"), SMALL).unwrap();
    let drawn = daf(folder)
        .args(["data", "check", "p.yaml", "--sheet", "images.png"])
        .output()
        .unwrap();
    let said = text(&drawn.stdout);
    assert_eq!(drawn.status.code(), Some(0), "{}", text(&drawn.stderr));
    for part in [
        "train  good ",
        "test   scratch ",
        "64×64 (2)",
        "there are only 2 normal images to choose thresholds with",
        "sheet: images.png",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    assert!(folder.join("images.png").is_file());

    fs::create_dir_all(folder.join("good")).unwrap();
    fs::write(folder.join("good/1.png"), "not an image").unwrap();
    daf_core::image::RgbImage::new(9, 9)
        .save(folder.join("good/2.png"))
        .unwrap();
    let folder_data = ["--set", "data={type: folder, normal: [good]}"];
    let broken = daf(folder)
        .args(["data", "check", "p.yaml"])
        .args(folder_data)
        .output()
        .unwrap();
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        text(&broken.stdout).contains("good/1.png"),
        "{}",
        text(&broken.stdout)
    );
    assert!(
        text(&broken.stderr).starts_with("error: one fault"),
        "{}",
        text(&broken.stderr)
    );
    let json = daf(folder)
        .args(["data", "check", "p.yaml", "--json"])
        .args(folder_data)
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["findings"][0]["finding"], "unreadable_image");
}

/// `bench` of what `target` names in a folder, once for each measurement.
fn bench(folder: &Path, target: &str, arguments: &[&str]) -> Output {
    let mut command = daf(folder);
    command.args(["bench", target, "--repeats", "1", "--warmup", "0"]);
    command.env("OMP_NUM_THREADS", "1").args(arguments);
    command.output().unwrap()
}

#[test]
fn every_stage_of_a_pipeline_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.yaml"), SMALL).unwrap();
    let output = bench(
        folder.path(),
        "p.yaml",
        &["--json", "--batches", "2", "--threads", "1"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["height"], 96);
    assert_eq!(found["batch_size"], 2);
    assert_eq!(found["precision"], "float32");
    assert_eq!(found["hardware"]["threads"], 1);
    assert_eq!(found["hardware"]["device"], "cpu");
    let stages = found["stages"].as_array().unwrap();
    let expected = [
        ("decode", 1, 10),
        ("resize", 1, 10),
        ("synthesize", 1, 10),
        ("collate", 2, 1),
        ("forward", 2, 1),
        ("backward", 2, 1),
        ("optimizer", 2, 1),
        ("training_step", 2, 1),
        ("score", 1, 10),
        ("score_batch", 2, 1),
        ("write", 1, 10),
        ("first_epoch", 2, 1),
        ("training", 2, 1),
        ("detect", 8, 1),
    ];
    let names: Vec<_> = stages
        .iter()
        .map(|stage| stage["stage"].as_str().unwrap())
        .collect();
    assert_eq!(names, expected.map(|(name, ..)| name));
    for (stage, (name, images, repeats)) in stages.iter().zip(expected) {
        assert_eq!(stage["images"], images, "{name}");
        assert_eq!(stage["repeats"], repeats, "{name}");
        assert_eq!(stage["ms"].as_array().unwrap().len(), repeats, "{name}");
        let number = |key: &str| stage[key].as_f64().unwrap();
        assert!(number("images_per_second") > 0.0, "{name}");
        assert!(
            0.0 <= number("p50_ms") && number("p50_ms") <= number("p99_ms"),
            "{name}"
        );
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "a measurement leaves nothing behind: {left:?}");
}

#[test]
fn a_run_is_measured_as_it_is_and_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.yaml"), SMALL).unwrap();
    let trained = daf(folder.path()).args(["train", "p.yaml"]).output().unwrap();
    assert_eq!(trained.status.code(), Some(0), "{}", text(&trained.stderr));
    let run = folder.path().join("runs/p");
    let files = || {
        let mut files: Vec<_> = fs::read_dir(&run)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        (files, fs::read(run.join("config.yaml")).unwrap())
    };
    let before = files();
    let output = bench(
        folder.path(),
        "runs/p",
        &["--only", "score,detect", "--set", "precision=bf16"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    assert!(
        out.starts_with("runs/p: daf at 96×96, bf16, batches of 8\n"),
        "{out}"
    );
    let stages: Vec<_> = out.lines().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(stages.len(), 2, "{out}");
    assert!(
        stages[0].starts_with("  score  ") && stages[1].starts_with("  detect  "),
        "{out}"
    );
    assert_eq!(files(), before);
}

#[test]
fn a_table_of_sizes_says_what_it_leaves_out() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.yaml"), SMALL).unwrap();
    let sizes = [
        "--sizes",
        "96,112",
        "--batches",
        "1,65536",
        "--only",
        "training_step",
    ];
    let output = bench(folder.path(), "p.yaml", &sizes);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    for start in [
        "   96      1  ",
        "   96  65536      left out",
        "  112      1  ",
        "  112  65536      left out",
    ] {
        assert!(out.lines().any(|line| line.starts_with(start)), "{start}\n{out}");
    }
    assert!(
        out.contains("  96×96, batch 65536, training_step: would need about "),
        "{out}"
    );

    let output = bench(folder.path(), "p.yaml", &["--sizes", "96,100"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("expected multiples of 16"),
        "{}",
        text(&output.stderr)
    );
    let output = bench(
        folder.path(),
        "p.yaml",
        &["--sizes", "96,112", "--only", "decode"],
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).starts_with("error: --only decode: "),
        "{}",
        text(&output.stderr)
    );
}
