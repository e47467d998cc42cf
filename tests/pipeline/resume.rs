//! Runs that are broken off and go on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use daf_core::rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::program::{
    SMALL, Working, assert_same_history, assert_same_weights, checkpoints, daf, folder, history, names, same,
    succeed,
};

/// The step from which a process said that it goes on.
fn resumed_at(log: &str) -> Option<u64> {
    let (_, rest) = log.split_once("going on at step ")?;
    rest.split_once(" of ")?.0.parse().ok()
}

fn is_saving(run: &Path) -> bool {
    names(&run.join("checkpoints"))
        .iter()
        .any(|name| name.ends_with(".tmp"))
}

#[test]
fn a_run_that_is_killed_twenty_times_ends_bit_for_bit_as_one_that_is_not() {
    const KILLS: u64 = 20;
    // Far more than the twenty need, so that none of them ends before it is killed, however fast the machine.
    const STEPS: u64 = 4 * KILLS + 40;
    let folder = folder(SMALL);
    let folder = folder.path();
    let settings = format!("--set trainer.steps={STEPS}");
    succeed(folder, &format!("train p.yaml -o whole {settings}"));

    let run = folder.join("run");
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let (mut while_saving, mut executed) = (0, 0);
    for number in 0..KILLS {
        let saved = checkpoints(&run).pop();
        let command = daf(folder, &format!("train p.yaml -o run --resume {settings}"));
        let mut process = Working::start(command, &folder.join("log"));
        if let Some(saved) = saved {
            process.wait_until("going on", |log| resumed_at(log).is_some());
            // Finished steps are not repeated: it goes on at the newest checkpoint.
            assert_eq!(resumed_at(&process.log()), Some(saved), "process {number}");
        }
        let began = history(&run).len() as u64;
        // Every process is let through to a step of its own, so that all twenty find work to do.
        let target = 2 * number + rng.random_range(0..3);
        process.wait_until("its step", |_| history(&run).len() as u64 >= target);
        if number % 3 == 0 {
            process.wait_until("a checkpoint being saved", |_| is_saving(&run));
            std::thread::sleep(Duration::from_millis(rng.random_range(0..30)));
        } else {
            std::thread::sleep(Duration::from_millis(rng.random_range(0..300)));
        }
        assert!(
            process.kill(),
            "it ended before it was killed:\n{}",
            process.log()
        );
        let lines = history(&run).len() as u64;
        let newest = checkpoints(&run).pop().unwrap_or(0);
        assert!(newest >= saved.unwrap_or(0), "a checkpoint was lost");
        assert!(
            (newest..=newest + 1).contains(&lines),
            "{lines} steps, checkpoint {newest}: more than one step lost"
        );
        executed += lines.saturating_sub(began);
        while_saving += u64::from(is_saving(&run));
    }
    assert!(while_saving > 0, "no kill hit a checkpoint being saved");
    let last = checkpoints(&run).pop().unwrap();
    let said = succeed(folder, &format!("train p.yaml -o run --resume {settings}"));
    assert_eq!(resumed_at(&said.error), Some(last));
    executed += STEPS - last;
    assert!(
        executed <= STEPS + KILLS + 1,
        "{executed} steps for {STEPS}: finished steps were repeated"
    );

    let whole = folder.join("whole");
    assert_same_weights(&whole, &run);
    assert_same_history(&run, &whole);
    assert_eq!(history(&run).len() as u64, STEPS);
    for file in ["student.safetensors", "optimizer.safetensors"] {
        let file = format!("checkpoints/step-{STEPS:012}/{file}");
        assert!(same(&whole.join(&file), &run.join(&file)), "{file} differs");
    }
    // Nothing is left of the checkpoints that were being saved.
    assert_eq!(names(&run.join("checkpoints")), [format!("step-{STEPS:012}")]);
    assert_eq!(names(&run.join("weights")), names(&whole.join("weights")));
    // A run that has ended is left alone.
    succeed(folder, &format!("train p.yaml -o run --resume {settings}"));
    assert_same_weights(&whole, &run);
}

#[test]
fn ctrl_c_and_sigterm_save_and_the_run_goes_on_from_there() {
    let rarely = SMALL
        .replace("steps: 2", "steps: 40")
        .replace("checkpoint_every: 1 steps", "checkpoint_every: 1000 steps");
    let folder = folder(&rarely);
    let folder = folder.path();
    let train = |name: &str| daf(folder, &format!("train p.yaml --resume -o {name}"));
    assert!(train("whole").output().unwrap().status.success());

    let run = folder.join("run");
    let mut stopped = 0;
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut process = Working::start(train("run"), &folder.join("log"));
        if stopped > 0 {
            process.wait_until("going on", |log| resumed_at(log) == Some(stopped));
        }
        process.wait_until("two steps", |_| history(&run).len() as u64 >= stopped + 2);
        process.signal(signal);
        let status = process.end();
        let log = process.log();
        assert_eq!(status.code(), Some(code), "{signal}: {log}");
        stopped = history(&run).len() as u64;
        let message = format!("\nstopped on request at step {stopped}; continue with --resume\n");
        assert!(log.ends_with(&message), "{signal}: {log}");
        assert_eq!(checkpoints(&run), [stopped], "{signal}");
        assert!(!run.join("weights/complete").exists());
    }
    assert!(train("run").output().unwrap().status.success());
    assert_same_weights(&folder.join("whole"), &run);
    assert_same_history(&run, &folder.join("whole"));
}

#[test]
fn a_decoder_that_learns_from_a_memory_goes_on_with_the_same_memory() {
    let memory = "{ type: memory, coreset: 0.3 }";
    let of = [1, 2, 3].map(|stage| memory.replace(" }", &format!(", stages: [{stage}] }}")));
    let method = format!(
        "method: {{ teacher: {{ weights: random }}, student: null, discrepancy: {{ type: calibrated, of: {{ type: sum, of: [{}] }} }} }}",
        of.join(", ")
    );
    let pipeline = SMALL
        .replace("method: { teacher: { weights: random } }", &method)
        .replace("steps: 2", "steps: 12")
        .replace("checkpoint_every: 1 steps", "checkpoint_every: 1000 steps");
    let folder = folder(&pipeline);
    let folder = folder.path();
    succeed(folder, "train p.yaml -o whole");
    let run = folder.join("run");
    let command = daf(folder, "train p.yaml -o run --resume");
    let mut process = Working::start(command, &folder.join("log"));
    process.wait_until("two steps", |_| history(&run).len() >= 2);
    process.signal("INT");
    process.end();
    assert!(!run.join("weights/complete").exists());
    let said = succeed(folder, "train p.yaml -o run --resume");
    assert!(resumed_at(&said.error).is_some(), "{}", said.error);
    let whole = folder.join("whole");
    for store in ["teacher", "decoder", "discrepancy"] {
        let file = format!("weights/{store}.safetensors");
        assert!(same(&whole.join(&file), &run.join(&file)), "{file} differs");
    }
    assert_same_history(&run, &whole);
}

#[test]
fn the_same_pipeline_gives_the_same_weights_for_any_number_of_workers_and_another_seed_others() {
    let folder = folder(SMALL);
    let folder = folder.path();
    succeed(folder, "train p.yaml -o a");
    succeed(folder, "train p.yaml -o b --set trainer.workers=5");
    succeed(folder, "train p.yaml -o c --set seed=1");
    assert_same_weights(&folder.join("a"), &folder.join("b"));
    assert_same_history(&folder.join("a"), &folder.join("b"));
    for file in ["weights/student.safetensors", "weights/teacher.safetensors"] {
        assert!(!same(&folder.join("a").join(file), &folder.join("c").join(file)));
    }
}

#[test]
fn a_run_goes_on_with_the_images_that_it_was_started_with() {
    let folder = folder("");
    let folder = folder.path();
    fs::create_dir(folder.join("data")).unwrap();
    let draw = |number: u8| {
        let image = image::RgbImage::from_fn(96, 96, |x, y| image::Rgb([x as u8, y as u8, number]));
        image.save(folder.join(format!("data/{number:02}.png"))).unwrap();
    };
    (0..60).for_each(draw);
    let data = SMALL
        .replace(
            "{ type: demo, size: 96, train: 3, test: 1, test_good: 1 }",
            "{ type: folder, normal: [data] }",
        )
        .replace("steps: 2,", "steps: 40,");
    fs::write(folder.join("p.yaml"), data).unwrap();
    let run = folder.join("run");
    let stop = || {
        let mut process = Working::start(daf(folder, "train p.yaml --resume -o run"), &folder.join("log"));
        process.wait_until("a step", |_| !checkpoints(&run).is_empty());
        process.signal("INT");
        assert_eq!(process.end().code(), Some(130), "{}", process.log());
    };
    stop();
    let images = || -> BTreeMap<String, bool> {
        let text = fs::read_to_string(run.join("images.csv")).unwrap();
        let line = |line: &str| {
            let mut cells = line.split(',');
            (cells.next().unwrap().to_owned(), cells.next() == Some("true"))
        };
        text.lines().skip(1).map(line).collect()
    };
    let before = images();
    assert_eq!(
        (
            before.len(),
            before.values().filter(|held_out| **held_out).count()
        ),
        (60, 6)
    );
    assert!(before.contains_key("data/07.png"), "{before:?}");

    (60..90).for_each(draw);
    fs::remove_file(folder.join("data/03.png")).unwrap();
    fs::copy(folder.join("data/05.png"), folder.join("data/04.png")).unwrap();
    let said = crate::program::run(folder, "train p.yaml -o run --resume");
    said.fails(
        2,
        &[
            "run: the images are not those that the run was started with: 30 more (data/60.png, data/61.png, data/62.png, …), \
             1 gone (data/03.png), 1 changed (data/04.png); start another run",
            "--resume --accept-data",
        ],
    );
    assert_eq!(images(), before, "nothing was taken up");

    succeed(folder, "train p.yaml -o run --resume --accept-data");
    let after = images();
    assert_eq!(after.len(), 89);
    for (name, held_out) in &after {
        assert_eq!(before.get(name).unwrap_or(held_out), held_out, "{name}");
    }
    let calibration = fs::read_to_string(run.join("calibration.json")).unwrap();
    assert!(
        calibration.contains("\"source\": \"held_out\"") && calibration.contains("\"normal_images\": 8"),
        "{calibration}"
    );

    // Of a run that has ended nothing is learned any more.
    fs::remove_file(folder.join("data/05.png")).unwrap();
    crate::program::run(folder, "train p.yaml -o run --resume").fails(2, &["1 gone (data/05.png)"]);
    crate::program::run(folder, "train p.yaml -o run --resume --accept-data")
        .fails(1, &["run: its training has ended"]);
}

#[test]
fn a_run_without_a_list_of_images_goes_on_with_a_word() {
    let folder = folder(&SMALL.replace("steps: 2,", "steps: 40,"));
    let folder = folder.path();
    let run = folder.join("run");
    let mut process = Working::start(daf(folder, "train p.yaml -o run"), &folder.join("log"));
    process.wait_until("a step", |_| !checkpoints(&run).is_empty());
    process.signal("INT");
    process.end();
    fs::remove_file(run.join("images.csv")).unwrap();
    let said = succeed(folder, "train p.yaml -o run --resume");
    assert!(said.error.contains("kept no list of images"), "{}", said.error);
    assert!(run.join("images.csv").is_file());
    succeed(folder, "train p.yaml -o run --resume");
}

#[test]
fn a_training_that_is_ended_early_can_be_used_and_says_so() {
    let folder = folder(&SMALL.replace("steps: 2,", "steps: 400,"));
    let folder = folder.path();
    let run = folder.join("run");
    crate::program::run(folder, "train p.yaml -o run --finish")
        .fails(2, &["there is no run that could be finished"]);
    let mut process = Working::start(daf(folder, "train p.yaml -o run"), &folder.join("log"));
    process.wait_until("a step", |_| !checkpoints(&run).is_empty());
    process.signal("INT");
    process.end();
    let steps = checkpoints(&run).pop().unwrap();
    assert!(steps < 400);

    let said = succeed(folder, "run p.yaml -o run --finish");
    assert!(said.out.contains("metrics: "), "{}", said.out);
    assert_eq!(history(&run).len() as u64, steps);
    let results = daf_core::results::Results::read(&run).unwrap();
    let shortened = results.shortened.unwrap();
    assert_eq!((shortened.steps, shortened.of), (steps, 400));
    let words = format!("training ended early, after {steps} of 400 steps");
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains(&words), "the page does not say that {words}");
    let compared = succeed(folder, "compare run run");
    let words = format!("ended early, after {steps} of 400 steps");
    assert!(compared.out.contains(&words), "{}", compared.out);
    // It is a run as any other, and its settings are those that it was started with.
    succeed(folder, "train p.yaml -o run --resume");
    image::RgbImage::new(96, 96).save(folder.join("a.png")).unwrap();
    let scored = succeed(folder, "detect run a.png --json");
    assert!(scored.out.contains("\"score\""), "{}", scored.out);
}
