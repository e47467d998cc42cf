//! Sweeps as a user runs them: finished jobs are skipped, broken ones go on, failed ones are tried again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use daf_core::results::Results;
use serde_json::Value;

use crate::program::{
    SMALL, Said, Working, assert_same_history, assert_same_weights, daf, history, names, run, snapshot,
    succeed,
};

/// A folder with `s.yaml`: the small pipeline with these axes.
fn folder(axes: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.yaml"), SMALL).unwrap();
    write(folder.path(), axes);
    folder
}

fn write(folder: &Path, axes: &str) {
    fs::write(folder.join("s.yaml"), format!("base: p.yaml\n{axes}")).unwrap();
}

/// The jobs as `status` tells them.
fn status(folder: &Path, arguments: &str) -> Vec<Value> {
    let said = succeed(folder, &format!("sweep status {arguments} --json"));
    serde_json::from_str(&said.out).unwrap()
}

fn states(folder: &Path) -> Vec<String> {
    let jobs = status(folder, "s.yaml");
    jobs.iter()
        .map(|job| job["state"].as_str().unwrap().to_owned())
        .collect()
}

fn run_dirs(folder: &Path, sweep: &str) -> Vec<PathBuf> {
    let jobs = folder.join(sweep).join("jobs");
    names(&jobs).iter().map(|name| jobs.join(name)).collect()
}

#[test]
fn every_job_is_run_once_and_what_it_measured_is_collected() {
    let folder =
        folder("axes: { seed: [1, 2], strategy: { A: {}, B: { synthesizer: { type: simple_texture } } } }");
    let folder = folder.path();
    let plan = succeed(folder, "sweep s.yaml --dry-run").out;
    assert!(plan.ends_with("4 jobs for 4 places of the grid\n"), "{plan}");
    assert!(!folder.join("runs").exists(), "a dry run leaves nothing");
    // Neither the folder nor the number of jobs at a time changes what the jobs are.
    let below = folder.join("below");
    fs::create_dir(&below).unwrap();
    assert_eq!(
        succeed(&below, "sweep run ../s.yaml --dry-run --jobs 3").out,
        plan
    );

    let said = succeed(folder, "sweep s.yaml --jobs 2 --threads 1");
    assert_eq!(said.error.matches(": begins").count(), 4, "{}", said.error);
    assert_eq!(said.error.matches(": finished in").count(), 4, "{}", said.error);
    assert_eq!(states(folder), ["finished"; 4]);
    let hashes: Vec<_> = plan
        .lines()
        .take(4)
        .map(|line| line.split_whitespace().nth(1).unwrap())
        .collect();
    assert!(said.out.contains("| strategy |"), "{}", said.out);

    // One line per place of the grid, with the metrics that its run has.
    let csv = fs::read_to_string(folder.join("runs/s/results.csv")).unwrap();
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(
        lines[0][..7],
        [
            "number",
            "hash",
            "seed",
            "strategy",
            "state",
            "image_auroc",
            "pixel_auroc"
        ]
    );
    let cells: Vec<_> = lines[1..].iter().map(|line| line[2..5].join(" ")).collect();
    assert_eq!(
        cells,
        ["1 A finished", "1 B finished", "2 A finished", "2 B finished"]
    );
    for (line, hash) in lines[1..].iter().zip(&hashes) {
        assert_eq!(line[1], *hash);
        let results = Results::read(&folder.join("runs/s/jobs").join(hash)).unwrap();
        let found = results.metrics.unwrap().overall.pixel_auroc.number().unwrap();
        assert_eq!(line[6].parse::<f64>().unwrap(), found);
    }
    for file in ["tables.md", "sweep.html"] {
        assert!(folder.join("runs/s").join(file).is_file(), "{file}");
    }

    // A sweep that is finished is left alone, however it is named.
    let before = snapshot(&folder.join("runs/s/jobs"));
    for arguments in [
        "sweep s.yaml",
        "sweep run runs/s",
        "sweep job runs/s 1",
        &format!("sweep job runs/s {}", &hashes[1][..10]),
    ] {
        let said = succeed(folder, arguments);
        assert!(!said.error.contains("begins"), "{}", said.error);
    }
    assert_eq!(snapshot(&folder.join("runs/s/jobs")), before);

    // The same pipeline as a run of its own has the same weights.
    succeed(folder, "run p.yaml -o alone --set seed=2");
    assert_same_weights(&folder.join("alone"), &folder.join("runs/s/jobs").join(hashes[2]));
}

#[test]
fn a_sweep_that_is_killed_stops_its_jobs_and_goes_on_where_they_were() {
    const LONG: &str = "axes: { seed: [1, 2], trainer.steps: [60] }";
    let folder = folder(LONG);
    let folder = folder.path();
    let mut sweep = Working::start(
        daf(folder, "sweep s.yaml --jobs 2 --threads 1"),
        &folder.join("log"),
    );
    let begun = |least: u64| {
        let runs = run_dirs(folder, "runs/s");
        runs.len() == 2 && runs.iter().all(|run| history(run).len() as u64 >= least)
    };
    sweep.wait_until("some steps of both jobs", |_| begun(4));
    assert!(sweep.kill(), "{}", sweep.log());
    // The jobs notice that nobody waits for them, save, and let go.
    let mut found = states(folder);
    for _ in 0..600 {
        if !found.contains(&"running".to_owned()) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        found = states(folder);
    }
    assert_eq!(found, ["interrupted"; 2]);
    let done: u64 = run_dirs(folder, "runs/s")
        .iter()
        .map(|run| history(run).len() as u64)
        .sum();
    assert!(done < 2 * 60, "they had ended before");

    let said = succeed(folder, "sweep s.yaml --jobs 2 --threads 1");
    assert_eq!(said.error.matches(": finished in").count(), 2, "{}", said.error);
    for log in names(&folder.join("runs/s/logs")) {
        let log = fs::read_to_string(folder.join("runs/s/logs").join(log)).unwrap();
        assert!(log.contains("going on at step"), "{log}");
    }
    succeed(folder, "sweep s.yaml --output whole --threads 1");
    for run in run_dirs(folder, "whole") {
        let other = folder.join("runs/s/jobs").join(run.file_name().unwrap());
        assert_same_weights(&run, &other);
        assert_same_history(&other, &run);
    }
}

/// The process that `parent` has started.
fn child(parent: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_job_that_is_killed_is_tried_again_and_goes_on() {
    let folder = folder("axes: { trainer.steps: [60] }");
    let folder = folder.path();
    let mut sweep = Working::start(daf(folder, "sweep s.yaml --threads 1"), &folder.join("log"));
    let steps = || {
        run_dirs(folder, "runs/s")
            .iter()
            .map(|run| history(run).len())
            .sum::<usize>()
    };
    sweep.wait_until("some steps", |_| steps() >= 4);
    let job = child(sweep.id()).unwrap();
    assert!(
        Command::new("kill")
            .args(["-s", "KILL", &job.to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert!(sweep.end().success(), "{}", sweep.log());
    let log = sweep.log();
    assert!(
        log.contains("killed (signal 9); a full memory does that; trying again"),
        "{log}"
    );
    let run = run_dirs(folder, "runs/s").remove(0);
    let log = fs::read_to_string(
        folder
            .join("runs/s/logs")
            .join(run.file_name().unwrap())
            .with_extension("txt"),
    );
    assert!(log.unwrap().contains("going on at step"));
    succeed(folder, "train p.yaml -o whole --set trainer.steps=60");
    assert_same_weights(&folder.join("whole"), &run);
}

#[test]
fn a_sweep_that_is_stopped_says_so_and_goes_on() {
    let folder = folder("axes: { seed: [1, 2], trainer.steps: [60] }");
    let folder = folder.path();
    let mut sweep = Working::start(daf(folder, "sweep s.yaml"), &folder.join("log"));
    let steps = || {
        run_dirs(folder, "runs/s")
            .iter()
            .map(|run| history(run).len())
            .sum::<usize>()
    };
    sweep.wait_until("some steps", |_| steps() >= 2);
    // A second sweep of the same directory waits for the jobs that the first one is at work on.
    let mut other = Working::start(daf(folder, "sweep s.yaml"), &folder.join("log2"));
    other.wait_until("the job that is taken", |log| {
        log.contains("another process is at work on it")
    });
    other.signal("TERM");
    assert_eq!(other.end().code(), Some(143), "{}", other.log());
    sweep.signal("TERM");
    assert_eq!(sweep.end().code(), Some(143));
    let log = sweep.log();
    assert!(log.contains("\nstopped on request with 2 jobs: "), "{log}");
    let found = states(folder);
    assert!(
        found.contains(&"interrupted".to_owned()) && !found.contains(&"failed".to_owned()),
        "{found:?}"
    );
    succeed(folder, "sweep s.yaml");
    assert_eq!(states(folder), ["finished"; 2]);
}

#[test]
fn a_job_that_fails_is_tried_twice_and_missing_in_the_tables() {
    let folder = folder(
        "axes:
  rate: { sound: {}, wild: { trainer: { optimizer: { type: sgd, learning_rate: 1e30 } } } }
plots: [{ title: P, x: rate, lines: rate, metrics: [image_auroc] }]
tables: [{ title: T, rows: [rate] }]
",
    );
    let folder = folder.path();
    let said = run(folder, "sweep s.yaml");
    assert_eq!(said.code, Some(1), "{}", said.error);
    assert!(
        said.error
            .contains("error: 1 job failed; `daf-cli sweep status runs/s` says why"),
        "{}",
        said.error
    );
    assert_eq!(said.error.matches("; trying again").count(), 1, "{}", said.error);
    assert_eq!(
        said.error.matches(": failed: training diverged").count(),
        1,
        "{}",
        said.error
    );
    let jobs = status(folder, "runs/s");
    assert_eq!(
        (&jobs[0]["state"], &jobs[1]["state"]),
        (&"finished".into(), &"failed".into())
    );
    assert!(
        jobs[1]["detail"]
            .as_str()
            .unwrap()
            .starts_with("training diverged"),
        "{:?}",
        jobs[1]
    );
    let log = fs::read_to_string(folder.join(jobs[1]["log"].as_str().unwrap())).unwrap();
    assert_eq!(log.matches("error: training diverged").count(), 2, "{log}");

    let tables = fs::read_to_string(folder.join("runs/s/tables.md")).unwrap();
    let wild = tables.lines().find(|line| line.starts_with("| wild")).unwrap();
    assert_eq!(wild.matches("– (1)").count(), 4, "{tables}");
    assert!(tables.contains("(1) not available: failed"), "{tables}");
    let csv = fs::read_to_string(folder.join("runs/s/results.csv")).unwrap();
    let wild: Vec<_> = csv
        .lines()
        .find(|line| line.contains(",wild,"))
        .unwrap()
        .split(',')
        .collect();
    assert_eq!(wild[3], "failed");
    assert!(wild[4..15].iter().all(|value| value.is_empty()), "{csv}");
    // The next sweep tries it again.
    let again = run(folder, "sweep s.yaml");
    assert_eq!(again.error.matches(": begins").count(), 2, "{}", again.error);
}

#[test]
fn jobs_are_planned_for_a_scheduler_and_run_one_by_one() {
    let folder = folder("axes: { seed: [1, 2, 3] }");
    let folder = folder.path();
    succeed(folder, "sweep plan s.yaml --set trainer.steps=1");
    assert_eq!(states(folder), ["waiting"; 3]);
    succeed(folder, "sweep job runs/s 2 --threads 1");
    assert_eq!(states(folder), ["waiting", "finished", "waiting"]);
    let said = succeed(folder, "sweep collect s.yaml");
    assert!(
        said.out
            .contains("1 finished of 3 jobs over seed (3). 2 are missing."),
        "{}",
        said.out
    );
    assert_eq!(said.out.matches("– (1)").count(), 2 * 4, "{}", said.out);
    run(folder, "sweep job runs/s 4").fails(2, &["there is no job 4, only 1 to 3"]);
    run(folder, "sweep job runs/s beef").fails(2, &["there is no job `beef`"]);
    run(folder, "sweep job nowhere 1").fails(2, &["nowhere: no such folder"]);

    // What is frozen stays, until the change is asked for.
    let frozen = "runs/s: the sweep was started with other settings (jobs: 3 new, 3 gone";
    run(folder, "sweep s.yaml").fails(2, &[frozen, "--update", "--output"]);
    write(folder, "axes: { seed: [2, 5] }");
    let changed = "sweep s.yaml --set trainer.steps=1";
    run(folder, changed).fails(2, &["jobs: 1 new, 2 gone"]);
    let said = succeed(folder, &format!("{changed} --update"));
    assert_eq!(said.error.matches(": begins").count(), 1, "{}", said.error);
    run(folder, "sweep run runs/s --set seed=1")
        .fails(2, &["--set, --update, --smoke and --build need the sweep file"]);
}

#[test]
fn faults_of_a_sweep_exit_with_2_and_name_the_key() {
    let folder = folder("axes: { method: { DAF: { method: { type: dav } } } }");
    let folder = folder.path();
    let refused = |axes: &str, messages: &[&str]| {
        write(folder, axes);
        run(folder, "sweep s.yaml").fails(2, messages);
        assert!(!folder.join("runs").exists());
    };
    refused(
        "axes: { method: { DAF: { method: { type: dav } } } }",
        &[
            "s.yaml: the job with method DAF",
            "axes.method.DAF: method.type: there is no method `dav`",
            "did you mean `daf`?",
        ],
    );
    refused(
        "axes: { seed: [-1] }",
        &["axes.seed: seed: expected a whole number of at least 0, found -1"],
    );
    refused("axses: {}", &["s.yaml: axses: unknown key (did you mean `axes`?"]);
    run(folder, "sweep nowhere.yaml").fails(2, &["nowhere.yaml: there is no such file"]);
    run(folder, "sweep status s.yaml").fails(2, &["axses"]);
    write(folder, "axes: { seed: [1] }");
    run(folder, "sweep status s.yaml").fails(
        2,
        &["runs/s: the sweep has not been started; `daf-cli sweep s.yaml` does that"],
    );
    run(folder, "sweep collect .").fails(2, &["not the directory of a sweep: it holds no manifest.json"]);
    run(folder, "sweep s.yaml --set trainer.stps=1")
        .fails(2, &["--set trainer.stps: trainer.stps: unknown key"]);
    let said: Said = daf(folder, "sweep").output().unwrap().into();
    assert_eq!(said.code, Some(2));
}

/// The sweep files of the paper's tables.
fn paper() -> BTreeMap<String, PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/paper");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .collect()
}

#[test]
fn every_table_of_the_paper_has_sound_pipelines_in_its_small_form() {
    let folder = tempfile::tempdir().unwrap();
    let files = paper();
    assert!(files.len() >= 11, "{files:?}");
    for (name, path) in files {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains(&format!("daf-cli sweep examples/paper/{name}.yaml")) && text.contains("# Needs "),
            "{name}: says neither what it needs nor how it is run"
        );
        let said = run(
            folder.path(),
            &format!("sweep {} --smoke --dry-run", path.display()),
        );
        assert_eq!(said.code, Some(0), "{name}: {}", said.error);
    }
}

#[test]
fn every_table_of_the_paper_is_made_in_its_small_form() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (name, path) in paper() {
        let settings = "--set device=cpu --set trainer.workers=1";
        let said = succeed(
            folder,
            &format!("sweep {} --smoke --jobs 2 --threads 1 {settings}", path.display()),
        );
        assert!(!said.out.contains("not available"), "{name}: {}", said.out);
        let dir = folder.join(format!("runs/{name}-smoke"));
        assert!(dir.join("sweep.html").is_file(), "{name}");
        if name == "figure4" {
            assert!(dir.join("panels-1.png").is_file());
        } else {
            // A table, and in it what is best.
            assert!(
                said.out.contains("## ") && said.out.contains("**"),
                "{name}: {}",
                said.out
            );
        }
    }
}
