//! Ctrl-C and SIGTERM, at any moment of any command.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use daf_core::rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::program::{SMALL, Working, daf, folder, names, succeed};

/// How many times each command is interrupted; `DAF_INTERRUPTS=100` asks for more.
fn interrupts() -> u32 {
    let asked = std::env::var("DAF_INTERRUPTS").ok();
    asked.map_or(4, |count| count.parse().expect("DAF_INTERRUPTS is a number"))
}

/// Texts that no command that is asked to stop may print.
const NEVER: [&str; 6] = [
    "panicked",
    "internal error",
    "Segmentation",
    "terminate called",
    "frame #",
    "schema",
];

/// Interrupts `command` at random moments of the time that it takes, and looks at how it ends. `before` prepares each time,
/// `after` sees what is left.
fn interrupt(folder: &Path, command: &str, before: impl Fn(), after: impl Fn()) {
    before();
    let started = Instant::now();
    let whole = succeed(folder, command);
    let takes = started.elapsed();
    drop(whole);
    let mut rng = ChaCha8Rng::seed_from_u64(31);
    let (mut stopped, mut slowest) = (0, Duration::ZERO);
    for number in 0..interrupts() {
        before();
        let (signal, code) = [("INT", 130), ("TERM", 143)][number as usize % 2];
        let log = folder.join("log");
        let mut process = Working::start(daf(folder, command), &log);
        std::thread::sleep(takes.mul_f64(rng.random_range(0.0..1.0)));
        process.signal(signal);
        if number % 5 == 4 {
            // Once more, as the impatient do.
            std::thread::sleep(Duration::from_millis(rng.random_range(0..100)));
            process.signal(signal);
        }
        let asked = Instant::now();
        let status = process.end();
        let (said, took) = (process.log(), asked.elapsed());
        let place = format!("{command}, {number}: {status} after {took:?}:\n{said}");
        for word in NEVER {
            assert!(!said.contains(word), "{place}");
        }
        match (status.code(), status.signal()) {
            (Some(0), _) => {}
            // There was no program yet, but the system that puts it together.
            (None, Some(2 | 15)) => assert!(said.is_empty(), "{place}"),
            (Some(found), _) => {
                assert_eq!(found, code, "{place}");
                assert!(said.contains("stopped on request"), "{place}");
                stopped += 1;
                slowest = slowest.max(took);
            }
            _ => panic!("{place}"),
        }
        after();
    }
    println!(
        "{command}: {stopped} of {} stopped, the slowest in {slowest:?}",
        interrupts()
    );
}

/// Removes what an interrupted command has left.
fn clean(folder: &Path, name: &str) {
    let path = folder.join(name);
    if path.exists() {
        fs::remove_dir_all(path).unwrap();
    }
}

#[test]
fn a_training_that_is_stopped_at_any_moment_goes_on() {
    let folder = folder(&SMALL.replace("steps: 2", "steps: 12"));
    let folder = folder.path();
    interrupt(
        folder,
        "run p.yaml -o run --set output.maps=true",
        || clean(folder, "run"),
        || {
            succeed(folder, "run p.yaml -o run --resume --set output.maps=true");
            let left: Vec<_> = names(&folder.join("run"))
                .into_iter()
                .filter(|name| name.ends_with(".new"))
                .collect();
            assert!(left.is_empty(), "{left:?}");
        },
    );
}

#[test]
fn a_fit_that_is_stopped_at_any_moment_goes_on() {
    let folder = folder(
        "data: { type: demo, size: 96, train: 60, test: 1, test_good: 1 }\ninput: { size: 96 }\nsynthesizer: null\n\
         method: { type: patchcore, backbone: { type: resnet18, weights: random } }\ndevice: cpu\n",
    );
    let folder = folder.path();
    interrupt(
        folder,
        "train p.yaml -o run",
        || clean(folder, "run"),
        || _ = succeed(folder, "train p.yaml -o run --resume"),
    );
}

#[test]
fn a_sweep_that_is_stopped_at_any_moment_goes_on() {
    let folder = folder(SMALL);
    let folder = folder.path();
    fs::write(folder.join("s.yaml"), "base: p.yaml\naxes: { seed: [1, 2] }\n").unwrap();
    interrupt(
        folder,
        "sweep s.yaml -o sweep",
        || clean(folder, "sweep"),
        || _ = succeed(folder, "sweep s.yaml -o sweep"),
    );
}

#[test]
fn commands_that_leave_a_run_as_it_is_end_at_once() {
    let folder = folder(SMALL);
    let folder = folder.path();
    succeed(folder, "train p.yaml -o run");
    fs::create_dir(folder.join("new")).unwrap();
    for number in 0..20 {
        let image = image::RgbImage::from_fn(96, 96, |x, y| image::Rgb([(x * y) as u8, x as u8, number]));
        image.save(folder.join(format!("new/{number}.png"))).unwrap();
    }
    for command in [
        "evaluate run --set output.maps=true",
        "detect run new --maps found",
        "bench run --repeats 1 --warmup 0 --only score,write",
        "check p.yaml",
        "data check p.yaml",
        "synth preview p.yaml -n 50",
    ] {
        interrupt(folder, command, || (), || ());
    }
    succeed(folder, "evaluate run");
}
