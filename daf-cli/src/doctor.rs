use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use daf_core::registry::{Component, components};
use daf_core::{Backbone, Kind, libtorch, tch};

use crate::Context;
use crate::failure::Failure;
use crate::waiting;

/// Show what daf finds on this machine: libtorch, devices, weights, cache
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli doctor
  DAF_WEIGHTS=weights/ daf-cli doctor     are the weights found there?

Variables: DAF_WEIGHTS names a folder or file of pretrained weights, DAF_CACHE the
folder for downloads (otherwise daf in $XDG_CACHE_HOME or ~/.cache), DAF_LOG filters
messages, DAF__KEY__KEY=VALUE sets what a pipeline holds.")]
pub(crate) struct Doctor {}

impl Doctor {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let environment = &context.environment;
        let out = &mut context.out;
        let mut row = |name: &str, text: String| writeln!(out, "{name:<10} {text}");
        let version = env!("CARGO_PKG_VERSION");
        row(
            "daf-cli",
            format!("{version}, {} {}", std::env::consts::OS, std::env::consts::ARCH),
        )?;
        row("libtorch", library())?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        row("threads", format!("{} for {cores} cores", tch::get_num_threads()))?;
        row("", waiting::described())?;
        if let Some(taken) = taken() {
            let share = if taken + tch::get_num_threads() as f64 > cores as f64 + 0.5 {
                ": training and scoring will take longer than on a machine of their own"
            } else {
                ""
            };
            row(
                "",
                format!("other programs use {taken:.1} cores at the moment{share}"),
            )?;
        }
        row("devices", devices())?;
        let names: Vec<_> = environment
            .settings
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        if !names.is_empty() {
            row("settings", format!("{} in the environment", names.join(", ")))?;
        }
        let folders = environment.weight_folders();
        for backbone in components(Kind::Backbone) {
            let found = match recipe(backbone).and_then(|recipe| recipe.pretrained()) {
                None => "none are published".into(),
                Some(pretrained) => match folders.find(&pretrained) {
                    Ok(Some(path)) => path.display().to_string(),
                    Ok(None) if !pretrained.is_downloadable() => {
                        format!("not found; {} has them ({})", pretrained.url, pretrained.license)
                    }
                    Ok(None) => format!(
                        "not found, will be downloaded from {} ({})",
                        pretrained.url, pretrained.license
                    ),
                    Err(error) => error.to_string(),
                },
            };
            row("weights", format!("{}: {found}", backbone.name))?;
        }
        let user = environment
            .weights
            .as_ref()
            .map_or("DAF_WEIGHTS is not set".into(), |p| {
                format!("{} (DAF_WEIGHTS)", p.display())
            });
        row("", format!("looked for in: {user}, {}", folders.cache.display()))?;
        row(
            "cache",
            format!("{}{}", environment.cache.display(), space(&environment.cache)),
        )?;
        row("disk", format!("this folder{}", space(Path::new("."))))?;
        let parts: Vec<_> = Kind::ALL.into_iter().flat_map(components).collect();
        let crates: BTreeSet<_> = parts
            .iter()
            .map(|part| format!("{} {}", part.krate, part.version))
            .collect();
        row(
            "parts",
            format!(
                "{} from {}",
                parts.len(),
                crates.into_iter().collect::<Vec<_>>().join(", ")
            ),
        )?;
        Ok(())
    }
}

/// How many cores others use, as Linux counts it over a moment.
fn taken() -> Option<f64> {
    const MOMENT: Duration = Duration::from_millis(300);
    // Of each state: user, nice, system, idle, waiting for the disk, interrupts of two kinds.
    let times = || -> Option<(f64, f64)> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let times: Vec<f64> = (text.lines().next()?.split_whitespace().skip(1).take(7))
            .map(|time| time.parse().ok())
            .collect::<Option<_>>()?;
        let idle = times.get(3)? + times.get(4)?;
        Some((times.iter().sum::<f64>() - idle, idle))
    };
    let before = times()?;
    // This process sleeps.
    thread::sleep(MOMENT);
    let after = times()?;
    let (busy, idle) = (after.0 - before.0, after.1 - before.1);
    let all = fs::read_to_string("/proc/stat").ok()?;
    let cores = all
        .lines()
        .filter(|line| line.starts_with("cpu"))
        .count()
        .checked_sub(1)?;
    (busy + idle > 0.0).then(|| cores as f64 * busy / (busy + idle))
}

fn library() -> String {
    let Some(library) = libtorch::loaded("libtorch_cpu.so") else {
        return "linked into the program".into();
    };
    format!(
        "{} in {}",
        libtorch::version().as_deref().unwrap_or("of unknown version"),
        library.display()
    )
}

fn devices() -> String {
    let cuda = if tch::Cuda::is_available() {
        tch::Cuda::device_count()
    } else {
        0
    };
    match (cuda, libtorch::loaded("libtorch_cuda.so")) {
        (0, None) => {
            "cpu; no cuda, because libtorch is here without its CUDA libraries (`make setup CUDA=1`)".into()
        }
        (0, Some(_)) => "cpu; no cuda, because libtorch sees no GPU or no driver".into(),
        (count, _) => {
            let names = (0..count).map(|index| format!("cuda:{index}"));
            std::iter::once("cpu".to_owned())
                .chain(names)
                .collect::<Vec<_>>()
                .join(", ")
        }
    }
}

/// The backbone with its default settings.
fn recipe(backbone: &Component) -> Option<Box<dyn Backbone>> {
    serde_json::from_value((backbone.example)()).ok()
}

/// Free space where `folder` is or will be, as `df` tells it.
fn space(folder: &Path) -> String {
    let existing = folder
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("."));
    let output = Command::new("df").arg("-Pk").arg(existing).output();
    let free = output.ok().and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        text.lines()
            .nth(1)?
            .split_whitespace()
            .nth(3)?
            .parse::<f64>()
            .ok()
    });
    free.map(|kib| format!(", {:.1} GiB free", kib / f64::from(1 << 20)))
        .unwrap_or_default()
}
