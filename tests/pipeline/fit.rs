//! Trained runs that are fitted to more normal images.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};

use crate::program::{SMALL, changed, folder, run, same, snapshot, succeed};

/// Saves an image of a part: stripes of one width, in shades of one color that `number` moves about.
fn part(path: &Path, color: [u8; 3], number: u32, size: (u32, u32)) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = RgbImage::from_fn(size.0, size.1, |x, y| {
        let noise = (x * 31 + y * 17 + number * 101) % 23;
        let stripe = if (x + number) % 16 < 8 { 3 } else { 2 };
        Rgb(color.map(|value| ((u32::from(value) * stripe + noise * 3) / 4) as u8))
    });
    image.save(path).unwrap();
}

const GRAY: [u8; 3] = [120, 120, 120];
const RED: [u8; 3] = [240, 60, 20];

/// A data set of gray parts, `p.yaml` with a method and the folder `new` with red ones, which are normal as well.
fn parts(method: &str) -> tempfile::TempDir {
    let data = "{ type: folder, normal: [data], test_normal: [test], abnormal: [bad] }";
    let pipeline = SMALL
        .replace("{ type: demo, size: 96, train: 3, test: 1, test_good: 1 }", data)
        .replace("method: { teacher: { weights: random } }", method)
        + "validation: { share: 0.25 }\n";
    let folder = folder(&pipeline);
    let at = |name: String| folder.path().join(name);
    for number in 0..24 {
        part(&at(format!("data/{number:02}.png")), GRAY, number, (96, 96));
        part(&at(format!("new/{number:02}.png")), RED, number + 50, (96, 96));
    }
    for number in 90..93 {
        part(&at(format!("test/{number}.png")), RED, number, (96, 96));
        part(&at(format!("bad/{number}.png")), [0, 255, 0], number, (96, 96));
    }
    folder
}

/// The score of an image.
fn score(folder: &Path, of: &str, image: &str) -> f64 {
    let said = succeed(folder, &format!("detect {of} {image} --json"));
    let line: serde_json::Value = serde_json::from_str(said.out.trim()).unwrap();
    line["score"].as_f64().unwrap()
}

const PATCHCORE: &str =
    "method: { type: patchcore, backbone: { type: resnet18, weights: random }, coreset: 0.05 }";

#[test]
fn a_look_that_is_added_is_normal_afterwards_and_the_old_run_stays() {
    let folder = parts(PATCHCORE);
    let folder = folder.path();
    succeed(folder, "train p.yaml -o run");
    // Another shape, copies under other names, and a file that is no image.
    part(&folder.join("new/wide.png"), RED, 80, (150, 100));
    fs::copy(folder.join("data/03.png"), folder.join("new/copy.png")).unwrap();
    fs::copy(folder.join("test/90.png"), folder.join("new/tested.png")).unwrap();
    fs::write(folder.join("new/notes.txt"), "red ones").unwrap();
    let before = snapshot(&folder.join("run"));
    let said = succeed(folder, "fit run --add new");
    for words in [
        "added 25 images to 24, ",
        "fitted again: memory",
        "patches kept: ",
        "threshold of images: ",
        "they were chosen from 12 normal images held out",
        "run:     run-added",
    ] {
        assert!(said.out.contains(words), "`{words}`: {}", said.out);
    }
    for words in [
        "1 image is not added, since the same images are there already: new/copy.png = data/03.png",
        "1 image is not added, since the run measures with the same images: new/tested.png = test/90.png",
        "1 file left out: 1 .txt",
    ] {
        assert!(said.error.contains(words), "`{words}`: {}", said.error);
    }
    assert_eq!(
        changed(&before, &snapshot(&folder.join("run"))),
        [] as [&Path; 0],
        "the old run was changed"
    );

    for image in ["test/91.png", "test/92.png"] {
        let (old, new) = (score(folder, "run", image), score(folder, "run-added", image));
        assert!(new < 0.8 * old, "{image}: {old} before, {new} now");
    }
    succeed(folder, "evaluate run-added");
    let config = fs::read_to_string(folder.join("run-added/config.yaml")).unwrap();
    for words in [
        "type: joined",
        "- new\n",
        "except:",
        "new/copy.png",
        "new/tested.png",
    ] {
        assert!(config.contains(words), "`{words}`: {config}");
    }
    // The run is as any other: its images are known, and its pipeline gives it again.
    succeed(folder, "train run-added/config.yaml -o run-added --resume");
    succeed(folder, "train run-added/config.yaml -o whole");
    let images = ["run-added", "whole"].map(|run| folder.join(run).join("images.csv"));
    assert!(same(&images[0], &images[1]), "another division");

    succeed(folder, "fit run --add new -o twice");
    for file in [
        "config.yaml",
        "model.yaml",
        "run.json",
        "images.csv",
        "calibration.json",
        "findings.json",
        "weights/backbone.safetensors",
        "weights/memory.safetensors",
    ] {
        let [one, two] = ["run-added", "twice"].map(|run| folder.join(run).join(file));
        assert!(same(&one, &two), "{file} differs");
    }

    // More can be added later; what is there already is not.
    run(folder, "fit twice --add new").fails(
        2,
        &["--add new: expected images that the run has not, found 27, all of which it has already"],
    );
    part(&folder.join("blue/0.png"), [0, 40, 250], 1, (96, 96));
    let said = succeed(folder, "fit twice --add blue new/00.png");
    assert!(
        said.out.contains("added 1 image to 49") && said.out.contains("so few images"),
        "{}",
        said.out
    );
}

#[test]
fn what_is_trained_stays_and_what_is_fitted_is_fitted_again() {
    let of = [1, 2, 3].map(|stage| format!("{{ type: memory, coreset: 0.05, stages: [{stage}] }}"));
    let memory = format!("{{ type: sum, of: [{}] }}", of.join(", "));
    let methods = [
        // A decoder over a memory, and a calibration after the training.
        (
            format!(
                "method: {{ teacher: {{ weights: random }}, student: null, discrepancy: {{ type: calibrated, of: {memory} }} }}"
            ),
            "discrepancy",
            "decoder",
        ),
        (
            "method: { teacher: { weights: random }, discrepancy: { type: calibrated } }".to_owned(),
            "discrepancy",
            "student",
        ),
        (
            "method: { teacher: { weights: random } }".to_owned(),
            "",
            "student",
        ),
    ];
    for (method, fitted, trained) in methods {
        let folder = parts(&method);
        let folder = folder.path();
        succeed(folder, "train p.yaml -o run");
        let before = snapshot(&folder.join("run"));
        let said = succeed(folder, "fit run --add new -o more");
        assert!(changed(&before, &snapshot(&folder.join("run"))).is_empty());
        let file = |run: &str, store: &str| folder.join(format!("{run}/weights/{store}.safetensors"));
        for store in [trained, "teacher"] {
            assert!(
                same(&file("run", store), &file("more", store)),
                "{method}: {store}"
            );
        }
        let thresholds = ["run", "more"].map(|run| folder.join(run).join("calibration.json"));
        assert!(!same(&thresholds[0], &thresholds[1]), "{method}");
        match fitted {
            "" => assert!(
                said.out.contains("only the thresholds change") && !said.out.contains("patches kept"),
                "{}",
                said.out
            ),
            store => {
                assert!(
                    !same(&file("run", store), &file("more", store)),
                    "{method}: {store}"
                );
                assert!(said.out.contains("fitted again: discrepancy"), "{}", said.out);
            }
        }
        // What was learned from is not held out now.
        let roles = |run: &str| {
            let text = fs::read_to_string(folder.join(run).join("images.csv")).unwrap();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.retain(|line| line.starts_with("data/"));
            lines.sort();
            lines
        };
        assert_eq!(roles("run"), roles("more"));
        succeed(folder, "evaluate more");
        for run in ["run", "more"] {
            assert!(score(folder, run, "test/91.png").is_finite());
        }
        assert!(same(
            &folder.join("run/history.jsonl"),
            &folder.join("more/history.jsonl")
        ));
    }
}

#[test]
fn what_cannot_be_added_is_said_and_leaves_nothing() {
    let folder = parts(PATCHCORE);
    let folder = folder.path();
    succeed(folder, "train p.yaml -o run");
    let before = snapshot(folder);
    fs::create_dir(folder.join("empty")).unwrap();
    let fails = |arguments: &str, code: i32, words: &[&str]| {
        run(folder, &format!("fit run {arguments}")).fails(code, words);
    };
    fails("--add empty", 2, &["no normal images match", "empty"]);
    fails("--add nowhere", 2, &["nowhere: no such"]);
    fails("--add data", 2, &["found 24, all of which it has already"]);
    fails(
        "--add new test/91.png",
        2,
        &["test/91.png: the run measures with this image"],
    );
    fails(
        "--add new -o test",
        2,
        &["test: exists already; choose another folder"],
    );
    fails("--add new -o run/more", 2, &["run/more: lies in the run run"]);
    fails(
        "--add new --set input.size=64",
        2,
        &["`method`, `input` and `scorer`"],
    );
    run(folder, "fit data --add new").fails(1, &["data: not a run directory"]);
    assert!(changed(&before, &snapshot(folder)).is_empty());
    fs::write(folder.join("new/broken.png"), "no image").unwrap();
    fails("--add new", 1, &["new/broken.png"]);
    fs::remove_file(folder.join("new/broken.png")).unwrap();

    // A data set that was moved is found by the content of its files.
    fs::rename(folder.join("data"), folder.join("moved")).unwrap();
    fails(
        "--add new",
        2,
        &[
            "run: the images that the run learned from are needed and cannot be listed",
            "data",
            "--set data.root=FOLDER",
        ],
    );
    fs::remove_file(folder.join("moved/07.png")).unwrap();
    fails(
        "--add new --set data.normal=[moved]",
        2,
        &["run: 1 of the 24 images that the run began with are gone or have changed (data/07.png)"],
    );
    part(&folder.join("moved/07.png"), GRAY, 7, (96, 96));
    assert!(!folder.join("run-added").exists());
    succeed(folder, "fit run --add new --set data.normal=[moved]");

    fs::remove_file(folder.join("run/weights/complete")).unwrap();
    fails(
        "--add new -o more",
        1,
        &["run: the training of this run has not ended"],
    );
}
