//! A GPU computes what the CPU computes. Where libtorch has no CUDA, `fixtures/simulated_cuda.cpp` stands in for it, which
//! refuses what a GPU refuses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use daf_core::block::Mode;
use daf_core::config::PositiveShare;
use daf_core::{DiscrepancyMeasure, Fit, Kind, Method, Model, Scorer, weights};
use daf_models::measure::{Calibrated, Cosine, LocalDensity, Memory, Sum};
use daf_models::method::Daf;
use daf_pipeline::config::Optimizer;
use daf_pipeline::train::{OptimizerState, Place, step};
use sha2::{Digest, Sha256};
use tch::{Cuda, Device, Tensor};

use crate::program::{SMALL, Said, daf, folder, history, succeed};
use crate::registry::{SIZE, batch, build, context, every, methods, noise};

const DEVICES: [Device; 2] = [Device::Cpu, Device::Cuda(0)];

/// The library that gives libtorch a GPU, and whether there has to be one then: libtorch's own if it has one, else the
/// simulated one, compiled the first time.
fn cuda() -> (PathBuf, bool) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let libtorch = std::env::var_os("LIBTORCH").map_or_else(|| root.join(".libtorch"), PathBuf::from);
    let libtorch = fs::canonicalize(libtorch).unwrap();
    let own = libtorch.join("lib/libtorch_cuda.so");
    if own.is_file() {
        return (own, false);
    }
    let source = root.join("tests/fixtures/simulated_cuda.cpp");
    let hash = Sha256::new()
        .chain_update(fs::read(&source).unwrap())
        .chain_update(libtorch.to_str().unwrap())
        .finalize();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("simulated-cuda-{hash:x}"));
    let library = folder.join("libtorch_cuda.so");
    if !library.is_file() {
        fs::create_dir_all(&folder).unwrap();
        let unfinished = library.with_extension(std::process::id().to_string());
        let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
        let status = Command::new(compiler)
            .args(["-std=c++20", "-O0", "-fPIC", "-shared", "-o"])
            .args([&unfinished, &source])
            .arg("-isystem")
            .arg(libtorch.join("include"))
            .arg("-L")
            .arg(libtorch.join("lib"))
            .args(["-ltorch_cpu", "-lc10"])
            .arg(format!("-Wl,-rpath,{}", libtorch.join("lib").display()))
            .status()
            .unwrap();
        assert!(status.success(), "{} does not compile", source.display());
        fs::rename(unfinished, &library).unwrap();
    }
    (library, true)
}

/// Output of the child process where it finds no GPU.
const NONE: &str = "skipped: there is no GPU";

/// Libtorch remembers what devices there were when it was first asked, so this is a process of its own.
#[test]
fn every_part_computes_on_a_gpu_what_it_computes_on_the_cpu() {
    let (library, required) = cuda();
    let said = Command::new(std::env::current_exe().unwrap())
        .args(["device::on_both_devices", "--exact", "--ignored", "--nocapture"])
        .env("LD_PRELOAD", library)
        .output()
        .unwrap();
    let said = Said::from(said);
    print!("{}", said.out);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.error);
    assert!(said.out.contains("1 passed"), "{}", said.out);
    assert!(!(required && said.out.contains(NONE)), "{}", said.error);
}

#[test]
#[ignore = "needs a GPU: the test before runs it where there is one, simulated or not"]
fn on_both_devices() {
    if !Cuda::is_available() {
        println!("{NONE}");
        return;
    }
    tch::set_num_threads(1);
    for (name, method) in methods() {
        if method.learns() {
            learns_the_same(name, method.as_ref());
        }
        sees_the_same(name, method.as_ref());
    }
    for (name, method) in memories() {
        if method.learns() {
            learns_the_same(name, &method);
        }
        sees_the_same(name, &method);
    }
}

/// Memories beside a student and without one.
fn memories() -> [(&'static str, Daf); 2] {
    let calibrated = |of| -> Arc<dyn DiscrepancyMeasure> {
        Arc::new(Calibrated {
            of,
            ..Calibrated::default()
        })
    };
    let memory = calibrated(Arc::new(Memory {
        coreset: PositiveShare::new(0.3),
        density: Some(LocalDensity::default()),
        ..Memory::default()
    }));
    let sum = Sum {
        of: vec![calibrated(Arc::new(Cosine::default())), memory.clone()],
    };
    let beside = Daf {
        discrepancy: Some(Arc::new(sum)),
        ..Daf::default()
    };
    let alone = Daf {
        student: None,
        discrepancy: Some(memory),
        decoder: None,
        ..Daf::default()
    };
    [("a memory and a student", beside), ("a memory", alone)]
}

/// The losses before and after a step.
fn learns_the_same(name: &str, method: &dyn Method) {
    let mut models = DEVICES.map(|device| build(method, Mode::Train, device));
    same_weights(&models);
    let [cpu, gpu] = [0, 1].map(|k| {
        let (model, device) = (&mut models[k], DEVICES[k]);
        tch::manual_seed(3);
        tch::no_grad(|| model.fit(Fit::BeforeTraining, &noise(device))).unwrap();
        let batch = batch(device);
        let mut optimizer = OptimizerState::new(&Optimizer::default(), &model.stores());
        let place = Place {
            method: name,
            epoch: 0,
            step: 0,
        };
        let mut losses = step(model.as_ref(), &mut optimizer, &batch, 1.0, place, |_| ()).unwrap();
        let after = tch::no_grad(|| model.losses(&batch)).unwrap();
        losses.extend(
            after
                .into_iter()
                .map(|(term, loss)| (term, loss.double_value(&[]))),
        );
        losses
    });
    assert!(!cpu.is_empty() && cpu.len() == gpu.len(), "{name}");
    for ((term, cpu), (_, gpu)) in cpu.iter().zip(&gpu) {
        let difference = (cpu - gpu).abs() / cpu.abs().max(0.1);
        assert!(difference < 1e-2, "{name}: {term} is {cpu} and {gpu}");
    }
}

fn sees_the_same(name: &str, method: &dyn Method) {
    let mut models = DEVICES.map(|device| build(method, Mode::Infer, device));
    same_weights(&models);
    let maps = [0, 1].map(|k| {
        let (model, device) = (&mut models[k], DEVICES[k]);
        tch::manual_seed(3);
        for when in [Fit::BeforeTraining, Fit::AfterTraining] {
            tch::no_grad(|| model.fit(when, &noise(device))).unwrap();
        }
        tch::no_grad(|| model.infer(&batch(device).normal)).unwrap()
    });
    for (scorer_name, scorer) in every::<Box<dyn Scorer>>(Kind::Scorer) {
        let [cpu, gpu] = [0, 1].map(|k| {
            let scorer = scorer.build(&context(Mode::Infer, DEVICES[k])).unwrap();
            scorer.finish(&scorer.pixels(&maps[k], SIZE).unwrap()).unwrap()
        });
        for (cpu, gpu) in [(cpu.pixels, gpu.pixels), (cpu.images, gpu.images)] {
            let range = f64::try_from(cpu.abs().max()).unwrap();
            let largest = f64::try_from((&cpu - gpu.to_device(Device::Cpu)).abs().max()).unwrap();
            assert!(
                largest <= 1e-3 * range,
                "{name}, {scorer_name}: {largest} of {range}"
            );
        }
    }
}

/// Gives the second model the weights of the first.
fn same_weights([from, to]: &[Box<dyn Model>; 2]) {
    for (from, to) in from.stores().iter().zip(to.stores()) {
        let tensors: Vec<(String, Tensor)> = from.vars.variables().into_iter().collect();
        weights::load(to.vars, &tensors, Path::new(from.name), false).unwrap();
    }
}

#[test]
fn a_run_on_a_gpu_is_that_of_the_cpu_and_can_be_used_on_either() {
    let folder = folder(SMALL);
    let (library, required) = cuda();
    let with_gpu = |arguments: &str| {
        let mut command = daf(folder.path(), arguments);
        command.env("LD_LIBRARY_PATH", library.parent().unwrap());
        Said::from(command.output().unwrap())
    };
    let doctor = with_gpu("doctor");
    if !doctor.out.contains("cuda:0") {
        assert!(!required, "{}{}", doctor.out, doctor.error);
        eprintln!("{NONE}");
        return;
    }
    for device in ["cpu", "cuda:0"] {
        let arguments = format!("run p.yaml --set device={device} -o {}", &device[..3]);
        let run = with_gpu(&arguments);
        assert_eq!(run.code, Some(0), "{}", run.error);
    }
    let run = fs::read_to_string(folder.path().join("cud/run.json")).unwrap();
    assert!(run.contains(r#""device": "Cuda(0)""#), "{run}");
    let [cpu, gpu] = ["cpu", "cud"].map(|run| history(&folder.path().join(run)));
    assert_eq!(cpu.len(), gpu.len());
    for (cpu, gpu) in cpu.iter().zip(&gpu) {
        let difference = (cpu.loss - gpu.loss).abs();
        assert!(difference < 1e-2 * cpu.loss, "{} and {}", cpu.loss, gpu.loss);
    }
    let scores = || -> Vec<f64> {
        let written = fs::read_to_string(folder.path().join("cud/predictions.csv")).unwrap();
        assert!(written.starts_with("image,category,label,score,"), "{written}");
        let score = |line: &str| line.split(',').nth(3).unwrap().parse().unwrap();
        written.lines().skip(1).map(score).collect()
    };
    let gpu = scores();
    succeed(folder.path(), "evaluate cud --set device=cpu");
    let cpu = scores();
    assert!(gpu.len() == cpu.len() && !cpu.is_empty());
    for (gpu, cpu) in gpu.iter().zip(cpu) {
        assert!((gpu - cpu).abs() < 1e-3 * cpu.abs(), "{gpu} and {cpu}");
    }
}
