//! The program `daf-cli` as a user runs it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use daf_core::results::Record;

/// A small and quick pipeline that needs no file.
pub(crate) const SMALL: &str = "\
data: { type: demo, size: 96, train: 3, test: 1, test_good: 1 }
input: { size: 96 }
synthesizer: { type: simple_texture_shape }
method: { teacher: { weights: random } }
trainer: { steps: 2, batch_size: 2, workers: 2, checkpoint_every: 1 steps }
output: { maps: false }
device: cpu
";

/// A folder with `p.yaml`.
pub(crate) fn folder(pipeline: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.yaml"), pipeline).unwrap();
    folder
}

/// The program, which Cargo puts beside the folder of the tests.
pub(crate) fn path() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    let path = target
        .join("daf-cli")
        .with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.is_file(),
        "{} is missing; `cargo build -p daf-cli` makes it",
        path.display()
    );
    path
}

/// Prepares a command: run in `folder`, with nothing of the caller's settings and one thread.
pub(crate) fn prepare(mut command: Command, folder: &Path) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DAF_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(folder)
        .env("DAF_CACHE", folder.join("cache"))
        .env("OMP_NUM_THREADS", "1");
    command
}

/// The program in `folder` with arguments divided by spaces.
pub(crate) fn daf(folder: &Path, arguments: &str) -> Command {
    let mut command = prepare(Command::new(path()), folder);
    command.args(arguments.split_whitespace());
    command
}

/// Output of a program.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            error: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    /// Asserts the exit code, and that the user was told `messages` in one clear error.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, messages: &[&str]) {
        let error = &self.error;
        assert_eq!(self.code, Some(code), "{error}");
        for word in ["panicked", "backtrace", "frame #", "internal error", "Exception"] {
            assert!(!error.contains(word), "{error}");
        }
        let errors = error.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "not one error:\n{error}");
        for message in messages {
            assert!(error.contains(message), "`{message}` is not in:\n{error}");
        }
    }
}

/// Runs the program.
pub(crate) fn run(folder: &Path, arguments: &str) -> Said {
    daf(folder, arguments).output().unwrap().into()
}

/// Runs the program, which must succeed.
#[track_caller]
pub(crate) fn succeed(folder: &Path, arguments: &str) -> Said {
    let said = run(folder, arguments);
    assert_eq!(said.code, Some(0), "{arguments}: {}", said.error);
    said
}

/// The content of every file below `folder`.
pub(crate) fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

/// The paths of the files in which two snapshots differ.
pub(crate) fn changed(
    before: &BTreeMap<PathBuf, Vec<u8>>,
    after: &BTreeMap<PathBuf, Vec<u8>>,
) -> Vec<PathBuf> {
    let all = before.keys().chain(after.keys());
    all.filter(|path| before.get(*path) != after.get(*path))
        .cloned()
        .collect()
}

/// Asserts that both runs have the same trained and frozen weights, byte by byte.
#[track_caller]
pub(crate) fn assert_same_weights(a: &Path, b: &Path) {
    for file in ["weights/student.safetensors", "weights/teacher.safetensors"] {
        assert!(same(&a.join(file), &b.join(file)), "{file} differs");
    }
}

/// Whether two files are equal byte by byte.
pub(crate) fn same(a: &Path, b: &Path) -> bool {
    fs::read(a).unwrap() == fs::read(b).unwrap()
}

/// The whole lines of a run's history, as far as it is written.
pub(crate) fn history(run: &Path) -> Vec<Record> {
    let text = fs::read(run.join("history.jsonl")).unwrap_or_default();
    let lines = text
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n"));
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// Asserts that the history of `run` has every step once, in order, with the losses of `whole`.
#[track_caller]
pub(crate) fn assert_same_history(run: &Path, whole: &Path) {
    let timeless = |run| {
        let records = history(run).into_iter();
        records
            .map(|r| Record {
                seconds: 0.0,
                loading: 0.0,
                ..r
            })
            .collect::<Vec<_>>()
    };
    let found = timeless(run);
    assert!(
        found.iter().map(|record| record.step).eq(0..found.len() as u64),
        "{found:?}"
    );
    assert_eq!(found, timeless(whole));
}

/// The steps of a run's checkpoints, oldest first.
pub(crate) fn checkpoints(run: &Path) -> Vec<u64> {
    let names = names(&run.join("checkpoints"));
    names
        .iter()
        .filter_map(|name| name.strip_prefix("step-")?.parse().ok())
        .collect()
}

/// The names in a folder, sorted; none if there is no folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A program at work. It is killed when dropped.
pub(crate) struct Working {
    child: Child,
    log: PathBuf,
}

impl Working {
    /// Starts `command`; what it says goes to a file.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let file = File::create(log).unwrap();
        let child = command
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self {
            child,
            log: log.into(),
        }
    }

    /// Output so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until something is so, while the program works.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, mut so: impl FnMut(&str) -> bool) {
        let start = Instant::now();
        while !so(&self.log()) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{status} while waiting for {what}:\n{}", self.log());
            }
            assert!(
                start.elapsed() < Duration::from_secs(300),
                "{what}: waited in vain\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, e.g. `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Kills it (SIGKILL); `false` if it had ended before.
    pub(crate) fn kill(&mut self) -> bool {
        let worked = self.child.try_wait().unwrap().is_none();
        let _ = self.child.kill();
        self.child.wait().unwrap();
        worked
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
