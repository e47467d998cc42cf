//! Bad input: every fault is told in one clear error that names the file or key, and nothing is overwritten.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use daf_pipeline::Run;
use image::{GrayImage, Rgb, RgbImage};

use crate::program::{SMALL, Said, daf, folder, run, snapshot, succeed};

/// A folder with `p.yaml` and images in the layout of MVTec: two to learn from; one good and one with a defect, whose
/// mask has another size, to measure with.
fn with_images() -> tempfile::TempDir {
    let folder = folder(&SMALL.replace(
        "{ type: demo, size: 96, train: 3, test: 1, test_good: 1 }",
        "{ type: mvtec, root: data }",
    ));
    let data = folder.path().join("data");
    for part in ["train/good", "test/good", "test/scratch", "ground_truth/scratch"] {
        fs::create_dir_all(data.join(part)).unwrap();
    }
    for (number, name) in (0u8..).zip([
        "train/good/0.png",
        "train/good/1.jpg",
        "test/good/0.png",
        "test/scratch/0.png",
    ]) {
        let image = RgbImage::from_fn(90, 70, |x, y| Rgb([x as u8, y as u8 * 3, 40 * number]));
        image.save(data.join(name)).unwrap();
    }
    let mask = GrayImage::from_fn(33, 50, |x, y| {
        image::Luma([if x > 20 && y > 30 { 255 } else { 0 }])
    });
    mask.save(data.join("ground_truth/scratch/0_mask.png")).unwrap();
    folder
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

/// Trains into a folder of this name.
fn train(folder: &Path, name: &str, arguments: &str) -> Said {
    run(
        folder,
        &format!("train p.yaml --set trainer.steps=1 -o {name} {arguments}"),
    )
}

#[test]
fn a_mask_of_another_size_is_fitted_to_the_image() {
    let folder = with_images();
    let said = succeed(folder.path(), "run p.yaml -o run --set output.maps=true");
    assert!(said.out.contains("scratch"), "{}", said.out);
    let metrics = fs::read(folder.path().join("run/metrics.json")).unwrap();
    let metrics: serde_json::Value = serde_json::from_slice(&metrics).unwrap();
    assert!(metrics["overall"]["pixel_pro"].is_number(), "{metrics:#}");
    assert_eq!(metrics["without_mask"], 0);
}

#[test]
fn a_mask_of_class_numbers_marks_what_is_not_black() {
    let folder = with_images();
    // As some tools write them: 1 for what is meant.
    let dark = GrayImage::from_pixel(90, 70, image::Luma([1]));
    dark.save(folder.path().join("data/ground_truth/scratch/0_mask.png"))
        .unwrap();
    succeed(folder.path(), "run p.yaml -o run");
    let metrics = metrics(&folder.path().join("run"));
    assert_eq!(metrics["without_mask"], 0);
    assert!(metrics["overall"]["pixel_auroc"].is_number(), "{metrics:#}");
}

#[test]
fn faults_of_the_test_images_are_told_before_the_training() {
    let folder = with_images();
    fs::remove_file(folder.path().join("data/test/scratch/0.png")).unwrap();
    let asked = "run p.yaml -o run";
    run(folder.path(), asked).fails(2, &["scratch/0_mask.png"]);
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_faulty_training_image_is_named() {
    let folder = with_images();
    let folder = folder.path();
    let image = folder.join("data/train/good/0.png");
    let jpeg = folder.join("data/train/good/1.jpg");
    let (sound, sound_jpeg) = (fs::read(&image).unwrap(), fs::read(&jpeg).unwrap());

    truncate(&image);
    train(folder, "a", "").fails(1, &["data/train/good/0.png", "cannot be decoded"]);
    fs::write(&image, "").unwrap();
    train(folder, "b", "").fails(1, &["data/train/good/0.png: the file is empty"]);
    fs::write(&image, "no image at all").unwrap();
    train(folder, "c", "").fails(
        1,
        &["data/train/good/0.png: not a png, jpeg, bmp, tiff or webp image"],
    );
    let mut damaged = sound.clone();
    for byte in &mut damaged[40..] {
        *byte ^= 0x55;
    }
    fs::write(&image, damaged).unwrap();
    train(folder, "d", "").fails(1, &["data/train/good/0.png", "cannot be decoded"]);
    fs::write(&image, sound).unwrap();
    truncate(&jpeg);
    train(folder, "e", "").fails(1, &["data/train/good/1.jpg"]);
    fs::write(&jpeg, sound_jpeg).unwrap();
    assert_eq!(train(folder, "f", "").code, Some(0));
}

#[test]
fn a_data_set_without_normal_images_or_at_a_wrong_path_is_named() {
    let folder = with_images();
    let folder = folder.path();
    train(folder, "a", "--set data.root=dat/wrong").fails(1, &["dataset `mvtec`", "dat/wrong"]);
    train(folder, "b", "--set data.category=bottle").fails(1, &["data/bottle"]);
    for name in ["0.png", "1.jpg"] {
        fs::remove_file(folder.join("data/train/good").join(name)).unwrap();
    }
    train(folder, "c", "").fails(1, &["data/train/good: no normal images"]);
    let missing = "data={type: folder, root: data, normal: [train/good/7.png]}";
    let output = daf(folder, "train p.yaml -o d --set")
        .arg(missing)
        .output()
        .unwrap();
    Said::from(output).fails(1, &["train/good/7.png"]);
    run(folder, "train nowhere.yaml").fails(2, &["nowhere.yaml: there is no such file"]);
}

#[test]
fn faulty_settings_are_named_before_anything_is_written() {
    let folder = folder(SMALL);
    let folder = folder.path();
    for (setting, message) in [
        (
            "synthesizer.type=simple_textur",
            "there is no synthesizer `simple_textur`",
        ),
        ("method.teacher.type=resnet19", "there is no backbone `resnet19`"),
        ("trainer.step=3", "trainer.step: unknown key"),
        ("trainer.steps=many", "trainer.steps: expected a whole number"),
        (
            "trainer.steps=-5",
            "trainer.steps: expected a whole number of at least 0, found -5",
        ),
        ("trainer.steps=0", "trainer.steps: expected at least 1, found 0"),
        (
            "trainer.batch_size=0",
            "trainer.batch_size: expected 1 to 65536, found 0",
        ),
        ("trainer.workers=-1", "trainer.workers"),
        (
            "trainer.normal_share=1.5",
            "trainer.normal_share: expected a share of 0 to 1, found 1.5",
        ),
        ("trainer.checkpoint_every=often", "trainer.checkpoint_every"),
        ("trainer.optimizer.learning_rate=-1", "trainer.optimizer"),
        ("input.size=100", "input.size: expected multiples of 16"),
        ("input.size=80", "input.size: expected sides of at least 96"),
        ("input.size=-96", "input.size"),
        ("input.size=32768", "input.size: expected sides of at most 16384"),
        (
            "scorer.sigma=-1",
            "scorer.sigma: expected a number of at least 0, found -1",
        ),
        (
            "scorer.sigma=1e12",
            "`sigma` must be at most 10000 pixels, found 1000000000000",
        ),
        (
            "method={type: stad, step: 0, teacher: random}",
            "`step` must be 1, 2, 4 or 8, found 0",
        ),
        ("data.train=-1", "data.train"),
        ("seed=-1", "seed"),
    ] {
        let output = daf(folder, "train p.yaml -o run --set")
            .arg(setting)
            .output()
            .unwrap();
        Said::from(output).fails(2, &[message]);
        assert!(!folder.join("run").exists(), "{setting}");
    }
}

#[test]
fn a_run_that_another_process_works_in_is_left_alone() {
    let folder = folder(SMALL);
    let folder = folder.path();
    succeed(folder, "train p.yaml -o run");
    let before = snapshot(&folder.join("run"));
    let lock = Run::open(&folder.join("run")).unwrap().lock().unwrap();
    run(folder, "evaluate run").fails(1, &["run: another process is at work in this run"]);
    fs::remove_file(folder.join("run/weights/complete")).unwrap();
    run(folder, "train p.yaml -o run --resume").fails(1, &["run: another process is at work in this run"]);
    fs::write(folder.join("run/weights/complete"), "").unwrap();
    run(folder, "train p.yaml -o run --replace").fails(1, &["run: another process is at work in this run"]);
    assert_eq!(snapshot(&folder.join("run")), before);
    drop(lock);
    succeed(folder, "evaluate run");
}

#[test]
fn a_run_that_failed_before_its_first_step_is_in_nobodys_way() {
    let folder = folder(SMALL);
    let folder = folder.path();
    let missing = "train p.yaml -o run --set method.teacher.weights=missing.safetensors";
    run(folder, missing).fails(2, &["missing.safetensors"]);
    assert!(folder.join("run/config.yaml").is_file());
    succeed(folder, "train p.yaml -o run");
}

#[test]
fn a_run_directory_is_never_overwritten_and_resumes_with_its_own_settings_only() {
    let folder = folder(SMALL);
    let folder = folder.path();
    succeed(folder, "train p.yaml -o run");
    let before = snapshot(&folder.join("run"));
    run(folder, "train p.yaml -o run").fails(2, &["run: exists already", "--resume"]);
    run(folder, "run p.yaml -o run").fails(2, &["run: exists already", "--resume"]);
    for (setting, key) in [
        ("trainer.batch_size=1", "`trainer.batch_size`"),
        ("trainer.steps=3", "`trainer.steps`"),
        ("seed=5", "`seed`"),
        ("synthesizer.type=dra", "`synthesizer"),
    ] {
        let said = run(folder, &format!("train p.yaml -o run --resume --set {setting}"));
        said.fails(2, &["run: ", key, "is not what the run was started with"]);
    }
    // A folder that is no run is neither resumed nor replaced, not even with a pipeline that is called as a run's.
    fs::create_dir(folder.join("photos")).unwrap();
    fs::write(folder.join("photos/a.txt"), "dear").unwrap();
    for fault in ["config.yaml", "run.json"] {
        for argument in ["--resume", "--replace"] {
            let said = run(folder, &format!("train p.yaml -o photos {argument}"));
            said.fails(1, &[&format!("photos: not a run directory: it holds no {fault}")]);
        }
        fs::copy(folder.join("run/config.yaml"), folder.join("photos/config.yaml")).unwrap();
    }
    run(folder, "train p.yaml -o photos").fails(2, &["photos: exists already"]);
    assert_eq!(fs::read(folder.join("photos/a.txt")).unwrap(), b"dear");
    assert!(snapshot(&folder.join("run")) == before);
    // What the weights do not depend on may change.
    succeed(
        folder,
        "train p.yaml -o run --resume --set trainer.workers=1 --set output.raw_maps=true",
    );
}

#[test]
fn images_that_cannot_be_scored_are_reported_and_the_others_scored() {
    let folder = with_images();
    let folder = folder.path();
    succeed(folder, "train p.yaml -o run");
    fs::create_dir_all(folder.join("new/empty")).unwrap();
    for name in ["a.png", "c.png"] {
        fs::copy(folder.join("data/test/good/0.png"), folder.join("new").join(name)).unwrap();
    }
    fs::copy(folder.join("new/a.png"), folder.join("new/b.png")).unwrap();
    fs::copy(folder.join("new/a.png"), folder.join("new_a.png")).unwrap();
    truncate(&folder.join("new/b.png"));

    let said = run(folder, "detect run new/a.png new_a.png --maps .");
    said.fails(2, &["--maps .: a heat map would overwrite the image ./new_a.png"]);
    let said = run(folder, "detect run new --json");
    said.fails(
        1,
        &[
            "new/b.png: the image cannot be decoded",
            "error: one image could not be scored",
        ],
    );
    let scored: Vec<_> = said
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .collect();
    assert_eq!(scored.len(), 2, "{}", said.out);
    assert_eq!(scored[0]["score"], scored[1]["score"], "equal images");

    let said = run(folder, "detect run new/a.png new/missing.png");
    said.fails(1, &["new/missing.png: ", "one image could not be scored"]);
    assert!(said.out.contains("new/a.png"), "{}", said.out);
    run(folder, "detect run new/empty").fails(2, &["new/empty: there is no image"]);
    let said = run(folder, "detect run ~/new");
    said.fails(2, &["no such folder", "~ is expanded by a shell"]);
    run(folder, "detect run new/*.bmp").fails(2, &["new/*.bmp: there is no image"]);
    run(folder, "detect run new/a.png --device cuda:99").fails(2, &["cuda:99"]);

    run(folder, "detect nowhere new").fails(1, &["nowhere: no such folder"]);
    run(folder, "evaluate nowhere").fails(1, &["nowhere: no such folder"]);
    run(folder, "evaluate new").fails(1, &["new: not a run directory"]);
    fs::remove_file(folder.join("run/weights/complete")).unwrap();
    run(folder, "evaluate run").fails(
        1,
        &["run: the training of this run has not ended; go on with --resume"],
    );
    run(folder, "detect run new").fails(
        1,
        &["run: the training of this run has not ended; go on with --resume"],
    );
    fs::write(folder.join("run/weights/complete"), "").unwrap();

    // Test images are no better than others.
    truncate(&folder.join("data/ground_truth/scratch/0_mask.png"));
    run(folder, "evaluate run").fails(1, &["data/ground_truth/scratch/0_mask.png", "cannot be decoded"]);
    fs::remove_dir_all(folder.join("data")).unwrap();
    run(folder, "evaluate run").fails(1, &["dataset `mvtec`", "data"]);

    // A reader that has enough of the scores is no failure.
    let mut child = daf(folder, "detect run new/a.png")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let said = Said::from(child.wait_with_output().unwrap());
    assert_eq!((said.code, without_warnings(&said.error).as_str()), (Some(0), ""));
}

/// Output without the warnings: these runs learned from too few images for a threshold.
fn without_warnings(said: &str) -> String {
    let lines = said.lines().filter(|line| !line.starts_with(" WARN "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_folder_is_scored_with_all_folders_within_and_what_is_left_out_is_counted() {
    let folder = with_images();
    let folder = folder.path();
    let said = succeed(folder, "train p.yaml -o run");
    assert!(!said.out.contains("left out"), "{}", said.out);
    fs::create_dir_all(folder.join("new/lot[1]/.AppleDouble")).unwrap();
    for name in [
        "a.png",
        "lot[1]/B.PNG",
        "lot[1]/.AppleDouble/B.PNG",
        "._a.png",
        "c.dat",
    ] {
        fs::copy(folder.join("data/test/good/0.png"), folder.join("new").join(name)).unwrap();
    }
    fs::write(folder.join("new/notes.heic"), "").unwrap();
    let names = |said: &Said| -> Vec<String> {
        let lines = said.out.lines().skip(1);
        lines
            .map(|line| line.split_whitespace().next().unwrap_or_default().to_owned())
            .collect()
    };
    for (given, images, left_out) in [
        (
            "new",
            &["new/a.png", "new/lot[1]/B.PNG"][..],
            "3 files and 1 folder left out: 1 .dat, 1 .heic, 1 hidden, 1 hidden folder",
        ),
        (
            "new/**/*.png",
            &["new/a.png", "new/lot[1]/B.PNG"],
            "1 file and 1 folder left out: 1 hidden, 1 hidden folder",
        ),
        (
            "new/lot[1]/*",
            &["new/lot[1]/B.PNG"],
            "1 folder left out: 1 hidden folder",
        ),
        ("new/lot[1]/B.PNG", &["new/lot[1]/B.PNG"], ""),
        ("new/c.dat", &["new/c.dat"], ""),
    ] {
        let said = succeed(folder, &format!("detect run {given}"));
        assert_eq!(names(&said), images, "{given}");
        assert_eq!(without_warnings(&said.error), left_out, "{given}");
    }
    // Heat maps of an earlier time are no images to score.
    for _ in 0..2 {
        let said = succeed(folder, "detect run new --maps new/maps");
        assert_eq!(names(&said), ["new/a.png", "new/lot[1]/B.PNG"]);
    }
    fs::create_dir(folder.join("only")).unwrap();
    fs::write(folder.join("only/a.heic"), "").unwrap();
    run(folder, "detect run only").fails(2, &["only: there is no image: expected png, jpeg", "1 .heic"]);
}

#[test]
fn all_faulty_training_images_and_textures_are_named_before_anything_is_learned() {
    let folder = with_images();
    let folder = folder.path();
    for name in ["0.png", "1.jpg"] {
        truncate(&folder.join("data/train/good").join(name));
    }
    train(folder, "a", "").fails(1, &["2 cannot be read", "good/0.png: ", "good/1.jpg: "]);
    assert!(!folder.join("a/history.jsonl").exists());

    let folder = with_images();
    let folder = folder.path();
    fs::create_dir(folder.join("textures")).unwrap();
    for name in ["sound.png", "broken.png"] {
        fs::copy(
            folder.join("data/test/good/0.png"),
            folder.join("textures").join(name),
        )
        .unwrap();
    }
    truncate(&folder.join("textures/broken.png"));
    for synthesizer in [
        "synthesizer={type: dra, textures: textures}",
        "synthesizer={type: mixture, of: [{synthesizer: {type: simple_shape, textures: textures}}]}",
        "synthesizer={type: foreground, of: {type: compose, texture: textures}}",
    ] {
        for (command, code) in [
            ("train p.yaml -o b", 2),
            ("check p.yaml", 2),
            ("data check p.yaml", 1),
        ] {
            let output = daf(folder, &format!("{command} --set"))
                .arg(synthesizer)
                .output()
                .unwrap();
            Said::from(output).fails(code, &["textures/broken.png: "]);
        }
        assert!(!folder.join("b/history.jsonl").exists());
    }
}

/// Content of `metrics.json`.
fn metrics(run: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(run.join("metrics.json")).unwrap()).unwrap()
}

#[test]
fn test_images_that_cannot_be_read_are_left_out_and_counted() {
    let folder = with_images();
    let folder = folder.path();
    for number in 1..5 {
        let (from, to) = ("data/test/good/0.png", format!("data/test/good/{number}.png"));
        fs::copy(folder.join(from), folder.join(to)).unwrap();
    }
    truncate(&folder.join("data/test/good/2.png"));
    let said = run(
        folder,
        "run p.yaml -o run --set output.maps=true --set evaluation.batch_size=2",
    );
    said.fails(
        1,
        &["data/test/good/2.png: ", "one image or mask could not be read"],
    );
    assert!(said.out.contains("scores:"), "{}", said.out);
    let found = metrics(&folder.join("run"));
    assert_eq!(found["unreadable"], 1);
    assert_eq!(found["overall"]["normal"], 4);
    let scores = fs::read_to_string(folder.join("run/predictions.csv")).unwrap();
    assert_eq!(scores.lines().count(), 1 + 4 + 1, "{scores}");
    for line in scores.lines().skip(1) {
        let picture = line.rsplit(',').next().unwrap();
        assert!(folder.join("run").join(picture).is_file(), "{line}");
    }

    // A mask is no image: the score of its image stays.
    truncate(&folder.join("data/ground_truth/scratch/0_mask.png"));
    let said = run(folder, "evaluate run");
    said.fails(1, &["0_mask.png: ", "2 images or masks could not be read"]);
    let found = metrics(&folder.join("run"));
    assert_eq!(found["unreadable"], 2);
    assert_eq!(found["without_mask"], 1);
    assert!(found["overall"]["image_auroc"].is_number());

    // Where all are, there is nothing to measure, and what was measured stays.
    let before = snapshot(&folder.join("run"));
    for number in 0..5 {
        fs::write(folder.join(format!("data/test/good/{number}.png")), "").unwrap();
    }
    fs::write(folder.join("data/test/scratch/0.png"), "").unwrap();
    run(folder, "evaluate run").fails(1, &["test images", "none of them can be read"]);
    assert!(snapshot(&folder.join("run")) == before);
}

#[test]
fn heat_maps_that_cannot_be_written_cost_no_scores() {
    let folder = with_images();
    let folder = folder.path();
    succeed(folder, "train p.yaml -o run");
    let images = "data/test/good/0.png data/test/scratch/0.png";
    fs::create_dir_all(folder.join("found/data_test_good_0.png/inside")).unwrap();
    let said = run(folder, &format!("detect run {images} --maps found --json"));
    said.fails(
        1,
        &[
            "found/data_test_good_0.png",
            "error: one heat map could not be written",
        ],
    );
    let lines: Vec<serde_json::Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["map"], serde_json::Value::Null);
    assert_eq!(lines[1]["map"], "found/data_test_scratch_0.png");
    assert!(lines.iter().all(|line| line["score"].is_number()), "{}", said.out);
    let left: Vec<_> = fs::read_dir(folder.join("found")).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
    // A file in the place of the folder.
    fs::write(folder.join("file"), "").unwrap();
    let said = run(folder, &format!("detect run {images} --maps file"));
    said.fails(1, &["2 heat maps could not be written"]);
    assert_eq!(said.out.lines().count(), 3, "{}", said.out);
}

#[test]
fn an_evaluation_leaves_no_pictures_of_other_images() {
    let folder = with_images();
    let folder = folder.path();
    succeed(folder, "run p.yaml -o run --set output.maps=true");
    assert!(folder.join("run/maps/scratch/0.png").is_file());
    // One that fails midway takes nothing away.
    let before = snapshot(&folder.join("run"));
    run(folder, "evaluate run --set data.root=elsewhere").fails(1, &["elsewhere"]);
    assert!(snapshot(&folder.join("run")) == before);
    succeed(folder, "evaluate run --set output.maps=false");
    assert!(!folder.join("run/maps").exists());
    let scores = fs::read_to_string(folder.join("run/predictions.csv")).unwrap();
    assert!(!scores.contains("maps/"), "{scores}");
}

#[test]
fn nothing_is_written_over_what_is_read() {
    let folder = with_images();
    let folder = folder.path();
    succeed(folder, "train p.yaml -o run");
    fs::create_dir(folder.join("maps")).unwrap();
    let image = "data/test/good/0.png";
    fs::hard_link(folder.join(image), folder.join("maps/data_test_scratch_0.png")).unwrap();
    // Data that lie in the folder of a run.
    fs::create_dir(folder.join("run/images")).unwrap();
    fs::copy(
        folder.join("data/train/good/0.png"),
        folder.join("run/images/0.png"),
    )
    .unwrap();
    let before = snapshot(folder);
    for command in [
        "synth preview p.yaml -o data/train/good/0.png".to_owned(),
        "synth preview p.yaml -o data/train/../train/good/1.jpg".to_owned(),
        format!("data check p.yaml --sheet {image}"),
        "data check p.yaml --sheet data/ground_truth/scratch/0_mask.png".to_owned(),
        "detect run data/test/scratch/0.png --maps maps".to_owned(),
        "bench p.yaml --sizes 96,112 --plot p.yaml".to_owned(),
    ] {
        run(folder, &command).fails(2, &["would overwrite "]);
    }
    let replaced = "train p.yaml -o run --replace --set";
    let output = daf(folder, replaced)
        .arg("data={type: folder, normal: [run/images]}")
        .output()
        .unwrap();
    Said::from(output).fails(2, &["is not deleted, since it holds an image of the data set"]);
    assert!(snapshot(folder) == before);
    succeed(folder, "synth preview p.yaml -n 1 -o sheet.png");
    succeed(folder, "synth preview p.yaml -n 1 -o sheet.png");
}

#[test]
fn what_is_no_run_is_passed_over_by_compare_and_report() {
    let folder = folder(SMALL);
    let folder = folder.path();
    succeed(folder, "train p.yaml -o runs/a");
    fs::create_dir(folder.join("runs/sweep")).unwrap();
    fs::write(folder.join("runs/notes.txt"), "").unwrap();
    let all = "runs/a runs/notes.txt runs/sweep";
    for command in ["compare", "report"] {
        let said = succeed(folder, &format!("{command} {all}"));
        assert!(said.out.contains('a'), "{}", said.out);
        for word in [
            "passed over: runs/notes.txt: not a run directory but a file\n",
            "passed over: runs/sweep: not a run directory: it holds no config.yaml\n",
        ] {
            assert!(said.error.contains(word), "{}", said.error);
        }
        run(folder, &format!("{command} runs/sweep runs/notes.txt"))
            .fails(1, &["none of these is a run directory"]);
        run(folder, &format!("{command} runs/sweep")).fails(1, &["runs/sweep: not a run directory"]);
    }
}

#[test]
fn a_reader_that_goes_away_costs_a_run_none_of_its_files() {
    let folder = with_images();
    let folder = folder.path();
    let mut child = daf(folder, "run p.yaml -o run")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let said = Said::from(child.wait_with_output().unwrap());
    assert_eq!(said.code, Some(0), "{}", said.error);
    assert!(folder.join("run/report.html").is_file());
    if let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") {
        let output = daf(folder, "detect run data/test/good")
            .stdout(full)
            .output()
            .unwrap();
        Said::from(output).fails(1, &["error: standard output: "]);
    }
}

#[test]
fn a_training_that_diverges_says_where() {
    let folder = folder(SMALL);
    let rate = "trainer.optimizer={type: adamw, learning_rate: 1e30}";
    let output = daf(folder.path(), "train p.yaml -o run --set trainer.steps=8 --set")
        .arg(rate)
        .output()
        .unwrap();
    let said = Said::from(output);
    said.fails(
        1,
        &[
            "training diverged at epoch ",
            ", step ",
            " is not finite",
            "learning_rate",
        ],
    );
    let words = ["the loss `", "the gradient of student."];
    assert!(
        words.iter().any(|word| said.error.contains(word)),
        "{}",
        said.error
    );
    assert!(!folder.path().join("run/weights/complete").exists());
}

#[test]
fn of_two_runs_that_begin_at_the_same_moment_one_is_told_of_the_other() {
    let folder = crate::program::folder(SMALL);
    let folder = folder.path();
    for number in 0..3 {
        let name = format!("run{number}");
        let start = || {
            let mut command = daf(folder, &format!("train p.yaml -o {name}"));
            command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        };
        let both = [start(), start()].map(|process| Said::from(process.wait_with_output().unwrap()));
        let lost: Vec<&Said> = both.iter().filter(|said| said.code != Some(0)).collect();
        assert_eq!(lost.len(), 1, "{} {}", both[0].error, both[1].error);
        let error = &lost[0].error;
        let clear = [
            "at the same moment",
            "another process is at work",
            "exists already",
        ];
        assert!(clear.iter().any(|words| error.contains(words)), "{error}");
        assert!(folder.join(name).join("weights/complete").is_file());
    }
}

#[test]
fn a_fault_of_the_pipeline_has_one_exit_code() {
    let folder = crate::program::folder(SMALL);
    let settings = "--set method.decoder=null --set method.auxiliary=null --set method.discrepancy=null";
    let two = "--set input.size=64";
    for settings in [settings, two] {
        let [check, run] = ["check p.yaml", "run p.yaml -o run"]
            .map(|command| crate::program::run(folder.path(), &format!("{command} {settings}")));
        assert_eq!(
            (check.code, run.code),
            (Some(2), Some(2)),
            "{} {}",
            check.error,
            run.error
        );
    }
}
