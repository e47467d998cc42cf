use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use daf_core::libtorch;
use daf_core::tch::{self, Device};
use serde_json::{Value, json};

use super::clock::{kibibytes, mebibytes};
use crate::check::device_name;

/// The machine.
#[derive(Debug)]
pub(crate) struct Hardware {
    /// Model of the processor.
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    /// Threads of libtorch.
    pub(crate) threads: i32,
    /// Instructions for bfloat16.
    pub(crate) bf16_instructions: Vec<&'static str>,
    /// All of the machine's memory, in bytes.
    pub(crate) memory: Option<u64>,
    pub(crate) device: String,
    /// Models of the GPUs, if it is one.
    pub(crate) gpu: Option<String>,
    pub(crate) libtorch: String,
}

impl Hardware {
    pub(crate) fn find(device: Device) -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = processors.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let flags = field("flags").or_else(|| field("Features")).unwrap_or_default();
        let has = |flag: &&str| flags.split_whitespace().any(|found| found == *flag);
        Self {
            cpu: field("model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads: tch::get_num_threads(),
            bf16_instructions: ["avx512_bf16", "amx_bf16", "bf16"]
                .into_iter()
                .filter(has)
                .collect(),
            memory: memory("MemTotal"),
            device: device_name(device),
            gpu: device.is_cuda().then(gpus).flatten(),
            libtorch: libtorch::version().unwrap_or_else(|| "of unknown version".into()),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "cpu": self.cpu,
            "cores": self.cores,
            "threads": self.threads,
            "bf16_instructions": self.bf16_instructions,
            "memory_mib": self.memory.map(mebibytes),
            "device": self.device,
            "gpu": self.gpu,
            "libtorch": self.libtorch,
            "daf": env!("CARGO_PKG_VERSION"),
        })
    }
}

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cpu,
            cores,
            threads,
            device,
            libtorch,
            ..
        } = self;
        write!(f, "{cpu}, {cores} cores")?;
        if !self.bf16_instructions.is_empty() {
            write!(f, " ({})", self.bf16_instructions.join(", "))?;
        }
        write!(f, ", {threads} threads, {device}")?;
        if let Some(gpu) = &self.gpu {
            write!(f, " ({gpu})")?;
        }
        write!(f, ", libtorch {libtorch}")
    }
}

/// A size in bytes that the kernel tells of this machine's memory.
pub(crate) fn memory(key: &str) -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, key)
}

/// The GPUs that NVIDIA's driver knows; libtorch's C interface does not name its devices.
fn gpus() -> Option<String> {
    let models: BTreeSet<String> = fs::read_dir("/proc/driver/nvidia/gpus")
        .ok()?
        .filter_map(|folder| fs::read_to_string(folder.ok()?.path().join("information")).ok())
        .filter_map(|text| {
            Some(
                text.lines()
                    .find_map(|l| l.strip_prefix("Model:"))?
                    .trim()
                    .to_owned(),
            )
        })
        .collect();
    (!models.is_empty()).then(|| models.into_iter().collect::<Vec<_>>().join(" or "))
}

pub(super) fn print_heading(
    what: &str,
    hardware: &Hardware,
    out: &mut (impl std::io::Write + ?Sized),
) -> std::io::Result<()> {
    writeln!(out, "{what}\n{hardware}\n")
}
