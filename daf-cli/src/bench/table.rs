//! Cost against size: one process for each size, batch and half of the work.

use std::process::Command;

use daf_core::atomic::write_file;
use daf_report::Cost;
use serde_json::{Value, json};

use super::arguments::Bench;
use super::clock::mebibytes;
use super::hardware::print_heading;
use super::hardware::{Hardware, memory};
use super::stage::Stage;
use super::subject::{Target, precision, program, throw_away};
use crate::Context;
use crate::ending::end_with_us;
use crate::failure::Failure;
use crate::inputs::Inputs;

/// The halves of a row.
const STAGES: [Stage; 2] = [Stage::TrainingStep, Stage::ScoreBatch];

pub(super) fn run(bench: &Bench, context: &mut Context) -> Result<(), Failure> {
    if let Some(stage) = bench.only.iter().find(|stage| !STAGES.contains(stage)) {
        return Err(Failure::usage(format!(
            "--only {}: a table of several sizes or batches has training_step and score_batch",
            stage.name()
        )));
    }
    // A size that does not fit the network is refused before anything is measured.
    for side in &bench.sizes {
        bench.open(Some(*side), None, context)?;
    }
    let target = bench.open(bench.sizes.first().copied(), None, context)?;
    let pipeline = target.pipeline();
    if let Some(plot) = &bench.plot {
        let inputs = Inputs::of(pipeline).and(&bench.target, "the pipeline file");
        inputs.spare(plot)?;
    }
    let own = pipeline.input.size;
    let sizes = match &bench.sizes[..] {
        [] if own.width() == own.height() => vec![own.width()],
        [] => {
            return Err(Failure::usage(format!(
                "--sizes: the input of {own} is no square; name the sides"
            )));
        }
        given => given.to_vec(),
    };
    let batches = match &bench.batches[..] {
        [] => vec![pipeline.trainer.batch_size as u32],
        given => given.to_vec(),
    };
    let folder =
        tempfile::tempdir().map_err(|error| Failure::work(format!("a temporary folder: {error}")))?;
    let detector = match &target {
        Target::File(_) if bench.wants(Stage::ScoreBatch) => Some(throw_away(bench, folder.path())?),
        Target::File(_) | Target::Run(_) => None,
    };
    let device = pipeline.device.resolve()?;
    let hardware = Hardware::find(device);
    let what = format!(
        "{}: {}, {}",
        bench.target.display(),
        pipeline.method.typetag_name(),
        precision(pipeline)
    );
    if !bench.json {
        print_heading(&what, &hardware, context.out)?;
        let bold = clap::builder::styling::Style::new().bold();
        writeln!(
            context.out,
            "{bold}                {:<33}  {}{bold:#}\n\
             {bold} size  batch        p50 ms   images/s  peak MiB        p50 ms   images/s  peak MiB{bold:#}",
            heading(STAGES[0]),
            heading(STAGES[1])
        )?;
    }
    let mut notes = Vec::new();
    let mut costs = Vec::new();
    let mut known = STAGES.map(|_| None);
    for side in sizes {
        for images in &batches {
            let mut cells = Vec::new();
            for (stage, known) in STAGES.into_iter().zip(&mut known) {
                if !bench.wants(stage) {
                    cells.push(None);
                    continue;
                }
                let load = f64::from(side).powi(2) * f64::from(*images);
                let measured = match too_large(*known, load) {
                    Some(reason) if !device.is_cuda() => Err(reason),
                    _ => measure(bench, side, *images, stage, detector.as_deref()),
                };
                match &measured {
                    Ok(found) => {
                        let measured = &found["stages"][0];
                        *known = Known::of(measured, load).or(*known);
                        costs.extend(cost(measured, stage, side, *images));
                    }
                    Err(reason) => notes.push(format!(
                        "{side}×{side}, batch {images}, {}: {reason}",
                        stage.name()
                    )),
                }
                cells.push(Some(measured));
            }
            if bench.json {
                for (stage, cell) in STAGES.iter().zip(&cells) {
                    let line = match cell {
                        Some(Ok(found)) => found.clone(),
                        Some(Err(reason)) => json!({
                            "height": side, "width": side, "batch_size": images, "stage": stage.name(),
                            "skipped": reason,
                        }),
                        None => continue,
                    };
                    writeln!(context.out, "{line}")?;
                }
            } else {
                let cells: Vec<_> = cells.iter().map(|cell| text(cell.as_ref())).collect();
                let line = format!("{side:>5}  {images:>5}  {}", cells.join("  "));
                writeln!(context.out, "{}", line.trim_end())?;
            }
            context.out.flush()?;
        }
    }
    if !bench.json && !notes.is_empty() {
        writeln!(context.out, "\nleft out:")?;
        for note in notes {
            writeln!(context.out, "  {note}")?;
        }
    }
    if let Some(file) = &bench.plot {
        let lines: Vec<String> = hardware.to_string().lines().map(str::to_owned).collect();
        write_file(file, daf_report::cost(&what, &lines, &costs)?.as_bytes())?;
        if !bench.json {
            writeln!(context.out, "\nplot: {}", file.display())?;
        }
    }
    Ok(())
}

/// A measured cell as it is drawn.
fn cost(measured: &Value, stage: Stage, side: u32, images: u32) -> Option<Cost> {
    Some(Cost {
        work: heading(stage).into(),
        batch: images as usize,
        pixels: f64::from(side).powi(2),
        ms: measured["p50_ms"].as_f64()?,
        mebibytes: measured["peak_mib"].as_f64(),
    })
}

/// Name of a stage in a table.
const fn heading(stage: Stage) -> &'static str {
    match stage {
        Stage::TrainingStep => "training step",
        _ => "inference",
    }
}

/// Memory of the last measurement, in MiB.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Pixels per batch.
    load: f64,
    /// Before the first batch: libtorch and the network.
    before: f64,
    peak: f64,
}

impl Known {
    fn of(stage: &Value, load: f64) -> Option<Self> {
        Some(Self {
            load,
            before: stage["before_mib"].as_f64()?,
            peak: stage["peak_mib"].as_f64()?,
        })
    }
}

/// Why a batch is not to be tried: memory grows with the pixels.
fn too_large(known: Option<Known>, load: f64) -> Option<String> {
    let Known {
        load: measured,
        before,
        peak,
    } = known?;
    let needed = before + (peak - before) * load / measured;
    let free = mebibytes(memory("MemAvailable")?);
    (needed > 0.95 * free).then(|| {
        format!(
            "would need about {:.1} GiB, {:.1} GiB are free",
            needed / 1024.0,
            free / 1024.0
        )
    })
}

/// Measures in a process of its own.
fn measure(
    bench: &Bench,
    side: u32,
    images: u32,
    stage: Stage,
    detector: Option<&std::path::Path>,
) -> Result<Value, String> {
    let mut command = Command::new(program().map_err(|_| "this program's own file is gone")?);
    command.arg("bench").arg(&bench.target).arg("--json");
    command.args(["--only", stage.name()]);
    command.args(["--sizes", &side.to_string(), "--batches", &images.to_string()]);
    command.args(["--repeats", &bench.repeats.to_string()]);
    command.args(["--warmup", &bench.warmup.to_string()]);
    for setting in &bench.settings {
        command.args(["--set", setting]);
    }
    if let Some(threads) = bench.threads {
        command.args(["--threads", &threads.to_string()]);
    }
    if let Some(detector) = detector {
        command.arg("--detector").arg(detector);
    }
    let output = end_with_us(&mut command)
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        // A process that was killed, e.g. for its memory, says nothing itself.
        return Err(if said.is_empty() {
            output.status.to_string()
        } else {
            said.to_owned()
        });
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

/// A half of a row.
fn text(cell: Option<&Result<Value, String>>) -> String {
    let (time, rate, peak) = match cell {
        Some(Ok(found)) => {
            let stage = &found["stages"][0];
            let number = |key: &str, digits: usize| {
                stage[key]
                    .as_f64()
                    .map_or_else(String::new, |value| format!("{value:.digits$}"))
            };
            (
                number("p50_ms", 1),
                number("images_per_second", 1),
                number("peak_mib", 0),
            )
        }
        Some(Err(_)) => ("left out".into(), String::new(), String::new()),
        None => (String::new(), String::new(), String::new()),
    };
    format!("{time:>12}  {rate:>9}  {peak:>8}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_foreseen_from_the_pixels() {
        let free = mebibytes(memory("MemAvailable").unwrap());
        let known = Some(Known {
            load: 1e6,
            before: 300.0,
            peak: 400.0,
        });
        assert_eq!(too_large(None, 1e20), None);
        assert_eq!(too_large(known, 1e6), None);
        let reason = too_large(known, 1e6 * (2.0 * free / 100.0 + 1.0)).unwrap();
        assert!(reason.starts_with("would need about "), "{reason}");
    }
}
