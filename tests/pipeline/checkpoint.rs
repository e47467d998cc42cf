//! Checkpoints and weights that are damaged, of another network, or do not fit onto the disk.

use std::fs;
use std::path::Path;
use std::process::Command;

use daf_core::weights;

use crate::program::{
    SMALL, Said, Working, assert_same_history, assert_same_weights, changed, checkpoints, daf, folder, names,
    path, prepare, run, snapshot, succeed,
};

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_named_and_nothing_is_lost() {
    let folder = folder(SMALL);
    let folder = folder.path();
    succeed(folder, "train p.yaml -o run");
    let dir = folder.join("run");
    // As if the process had been killed after its last checkpoint.
    let whole = fs::read(dir.join("weights/student.safetensors")).unwrap();
    fs::remove_file(dir.join("weights/complete")).unwrap();
    fs::remove_file(dir.join("weights/student.safetensors")).unwrap();
    let checkpoint = dir.join("checkpoints/step-000000000002");
    let student = checkpoint.join("student.safetensors");
    let optimizer = checkpoint.join("optimizer.safetensors");
    let position = checkpoint.join("position.json");
    let teacher = dir.join("weights/teacher.safetensors");
    let history = dir.join("history.jsonl");

    type Damage<'a> = &'a dyn Fn(&Path);
    let write = |content: &'static str| move |path: &Path| fs::write(path, content).unwrap();
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let reshape = |path: &Path| {
        let mut tensors = weights::read(path).unwrap();
        let (_, tensor) = tensors
            .iter_mut()
            .find(|(name, _)| {
                name.ends_with("student.conv1.weight") || name.ends_with("student.conv1.weight#0")
            })
            .unwrap();
        *tensor = tensor.narrow(0, 0, 32);
        weights::write(path, tensors).unwrap();
    };
    let other_network = |path: &Path| _ = fs::copy(&teacher, path).unwrap();
    let faults: [(&Path, Damage, &str); 16] = [
        (&student, &truncate, "damaged or not a safetensors file"),
        (&student, &write(""), "damaged or not a safetensors file"),
        (&student, &remove, "No such file"),
        (&student, &other_network, "the weights are of another network"),
        (&student, &reshape, "should be [64, 3, 7, 7] but is [32, 3, 7, 7]"),
        (&optimizer, &truncate, "damaged or not a safetensors file"),
        (&optimizer, &other_network, "of another training: `student."),
        (
            &optimizer,
            &reshape,
            "of another training: `student.student.conv1.weight#0` should be",
        ),
        (&optimizer, &remove, "No such file"),
        (&position, &write(""), "damaged: "),
        (&position, &write("{\"step\": 2"), "damaged: "),
        (&position, &write("{\"step\": -2, \"history\": 0}"), "damaged: "),
        (&position, &remove, "No such file"),
        (&teacher, &truncate, "damaged or not a safetensors file"),
        (
            &teacher,
            &reshape_teacher,
            "should be [64, 3, 7, 7] but is [32, 3, 7, 7]",
        ),
        (&history, &write("{}\n"), "has 3 bytes, but "),
    ];
    for (file, damage, message) in faults {
        let sound = fs::read(file).unwrap();
        damage(file);
        let before = snapshot(&dir);
        let said = run(folder, "train p.yaml -o run --resume");
        said.fails(
            1,
            &[message, &file.strip_prefix(folder).unwrap().display().to_string()],
        );
        let changed = changed(&before, &snapshot(&dir));
        assert!(changed.is_empty(), "{message}: {changed:?}");
        fs::write(file, sound).unwrap();
    }
    succeed(folder, "train p.yaml -o run --resume");
    assert!(fs::read(dir.join("weights/student.safetensors")).unwrap() == whole);

    truncate(&dir.join("weights/student.safetensors"));
    run(folder, "evaluate run").fails(1, &["run/weights/student.safetensors", "damaged"]);
    fs::copy(&teacher, dir.join("weights/student.safetensors")).unwrap();
    run(folder, "evaluate run").fails(1, &["run/weights/student.safetensors", "of another network"]);
}

fn reshape_teacher(path: &Path) {
    let mut tensors = weights::read(path).unwrap();
    for (name, tensor) in &mut tensors {
        if name == "conv1.weight" {
            *tensor = tensor.narrow(0, 0, 32);
        }
    }
    weights::write(path, tensors).unwrap();
}

/// The program, unable to write files beyond so many blocks (of 512 bytes, or 1024 in some shells): as on a full disk,
/// the file that is being written ends in its middle.
fn on_a_full_disk(folder: &Path, blocks: u32, arguments: &str) -> Said {
    let mut command = prepare(Command::new("sh"), folder);
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" {arguments}");
    command.arg("-c").arg(script).arg(path());
    command.output().unwrap().into()
}

#[test]
fn a_full_disk_costs_nothing_that_was_saved() {
    let folder = folder(SMALL);
    let folder = folder.path();
    let settings = "--set trainer.steps=20";
    succeed(folder, &format!("train p.yaml -o whole {settings}"));
    let train = format!("train p.yaml -o run --resume {settings}");
    let dir = folder.join("run");

    // Not even the teacher fits.
    on_a_full_disk(folder, 6_000, &train)
        .fails(1, &["run/weights/", "teacher.safetensors", "cannot be written"]);
    assert!(
        names(&dir.join("weights")).is_empty(),
        "{:?}",
        names(&dir.join("weights"))
    );
    // The first checkpoint does not fit: none is left behind.
    on_a_full_disk(folder, 24_000, &train)
        .fails(1, &["run/checkpoints/", ".safetensors", "cannot be written"]);
    assert!(names(&dir.join("checkpoints")).is_empty());

    let mut process = Working::start(daf(folder, &train), &folder.join("log"));
    process.wait_until("a checkpoint", |_| !checkpoints(&dir).is_empty());
    assert!(process.kill());
    let before = checkpoints(&dir);
    let newest = *before.last().unwrap();
    let saved = snapshot(&dir.join(format!("checkpoints/step-{newest:012}")));
    // A later one does not fit: the one before is still there, whole.
    on_a_full_disk(folder, 24_000, &train)
        .fails(1, &["run/checkpoints/", ".safetensors", "cannot be written"]);
    assert_eq!(checkpoints(&dir), before);
    assert!(snapshot(&dir.join(format!("checkpoints/step-{newest:012}"))) == saved);
    assert!(!dir.join("weights/complete").exists());

    succeed(folder, &train);
    assert_same_weights(&folder.join("whole"), &dir);
    assert_same_history(&dir, &folder.join("whole"));
}
