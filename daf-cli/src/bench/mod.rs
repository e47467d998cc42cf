//! `daf-cli bench`: what training and detecting cost, stage by stage.

mod clock;
mod detecting;
mod hardware;
mod table;
mod training;

use std::path::{Path, PathBuf};

use daf_core::block::Precision;
use daf_core::{Item, Split, tch};
use daf_pipeline::Pipeline;
use daf_pipeline::Run;
use serde_json::{Value, json};

use crate::Context;
use crate::ending::end_with_us;
use crate::failure::Failure;
use crate::pipeline::PipelineArgs;
use clock::{Clock, Stage, Timing};
use detecting::Detecting;
use hardware::Hardware;
use training::Training;

/// Measure what training and detecting cost, stage by stage
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli bench pipeline.yaml
  daf-cli bench runs/bottle --only score,detect --json | jq '.stages[].images_per_second'
  daf-cli bench pipeline.yaml --sizes 128,256,512,1024 --batches 1,8,64    cost against size
  daf-cli bench pipeline.yaml --sizes 128,256,512 --batches 1,8 --plot cost.svg

`training_step` and `score` start from what is in memory: a batch of tensors, an
image at the size of the network's input. `score` ends with map and score in
memory. `training` and `detect` are whole: with reading, damaging and, for
`detect`, with heat maps written. A pipeline is measured with random weights, a run
with its own; neither is changed.

Several sizes or batches give a table of `training_step` and `score_batch`, each
measured in a process of its own so that its peak memory is its own; what would
not fit into the free memory is left out, and the table says so.")]
pub(crate) struct Bench {
    /// A pipeline file, or the directory of a trained run
    target: PathBuf,
    /// Change a setting; the value is YAML, e.g. --set precision=bf16
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Compile the pipeline's `plugins` first, and go on with the program that has them
    #[arg(long)]
    build: bool,
    /// Only these stages; by default all
    #[arg(long, value_delimiter = ',', value_name = "STAGE,…")]
    only: Vec<Stage>,
    /// Measurements of each stage; stages of single images have ten times as many
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    repeats: u16,
    /// Rounds before the first measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    warmup: u16,
    /// Threads of libtorch; by default as many as it chooses
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Sizes of the network's input, instead of the pipeline's: sides of squares
    #[arg(long, value_delimiter = ',', value_name = "SIDE,…", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    sizes: Vec<u32>,
    /// Images per batch, instead of the trainer's
    #[arg(long, value_delimiter = ',', value_name = "IMAGES,…", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batches: Vec<u32>,
    /// Print JSON: one object with every time, or one per line for several sizes or batches
    #[arg(long)]
    json: bool,
    /// Draw the table of several sizes or batches: time and memory against pixels
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// A trained run to detect with in place of one with random weights; the rows of a table share it.
    #[arg(long, hide = true)]
    detector: Option<PathBuf>,
}

/// What is measured.
enum Target {
    File(Pipeline),
    Run(Run),
}

impl Target {
    const fn pipeline(&self) -> &Pipeline {
        match self {
            Self::File(pipeline) => pipeline,
            Self::Run(run) => run.pipeline(),
        }
    }
}

impl Bench {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        if let Some(threads) = self.threads {
            tch::set_num_threads(threads.into());
        }
        if self.sizes.len() > 1 || self.batches.len() > 1 {
            return table::run(self, context);
        }
        if self.plot.is_some() {
            return Err(Failure::usage(
                "--plot: expected several --sizes or --batches to draw, found one",
            ));
        }
        let (side, images) = (self.sizes.first().copied(), self.batches.first().copied());
        let target = self.open(side, images, context)?;
        let pipeline = target.pipeline();
        let timings = self.measure(pipeline, context)?;
        let hardware = Hardware::find(pipeline.device.resolve()?);
        if self.json {
            let report = self.report(pipeline, &hardware, &timings);
            return Ok(writeln!(context.out, "{report}")?);
        }
        self.print(pipeline, &hardware, &timings, context)
    }

    /// The settings that are laid over the pipeline or run for a size and a batch.
    fn settings(&self, side: Option<u32>, images: Option<u32>) -> Vec<String> {
        let size = side.map(|side| format!("input.size={side}"));
        let batch = images.map(|images| format!("trainer.batch_size={images}"));
        self.settings.iter().cloned().chain(size).chain(batch).collect()
    }

    fn open(&self, side: Option<u32>, images: Option<u32>, context: &Context) -> Result<Target, Failure> {
        let settings = self.settings(side, images);
        if self.target.is_dir() {
            return Ok(Target::Run(Run::open_with(&self.target, &settings)?));
        }
        let arguments = PipelineArgs {
            file: self.target.clone(),
            settings,
            build: self.build,
        };
        let pipeline = arguments.load(&context.environment)?;
        if !pipeline.method.learns() {
            return Err(Failure::usage(format!(
                "{}: method `{}` does not learn by steps, and what it costs to detect depends on the images that it has read; \
                 train it and measure the run",
                self.target.display(),
                pipeline.method.typetag_name()
            )));
        }
        Ok(Target::File(pipeline))
    }

    fn wants(&self, stage: Stage) -> bool {
        self.only.is_empty() || self.only.contains(&stage)
    }

    fn measure(&self, pipeline: &Pipeline, context: &Context) -> Result<Vec<Timing>, Failure> {
        let mut clock = Clock::new(self, pipeline.device.resolve()?);
        // Detecting comes first: the peak of its memory is to be its own, and training needs more.
        if Stage::DETECTING.iter().any(|stage| self.wants(*stage)) {
            Detecting::new(self, pipeline)?.measure(&mut clock, context)?;
        }
        if pipeline.method.learns() && Stage::TRAINING.iter().any(|stage| self.wants(*stage)) {
            Training::new(pipeline)?.measure(&mut clock)?;
        }
        let timings = clock.timings();
        if timings.is_empty() {
            let reason = if pipeline.method.learns() {
                "there is no synthesizer".to_owned()
            } else {
                format!(
                    "method `{}` does not learn by steps",
                    pipeline.method.typetag_name()
                )
            };
            return Err(Failure::usage(format!(
                "--only: {reason}, so there is no such stage"
            )));
        }
        Ok(timings)
    }

    fn report(&self, pipeline: &Pipeline, hardware: &Hardware, timings: &[Timing]) -> Value {
        let size = pipeline.input.size;
        json!({
            "target": self.target.display().to_string(),
            "settings": self.settings,
            "method": pipeline.method.typetag_name(),
            "precision": precision(pipeline),
            "height": size.height(),
            "width": size.width(),
            "batch_size": pipeline.trainer.batch_size,
            "warmup": self.warmup,
            "hardware": hardware.json(),
            "stages": timings.iter().map(Timing::json).collect::<Vec<_>>(),
        })
    }

    fn print(
        &self,
        pipeline: &Pipeline,
        hardware: &Hardware,
        timings: &[Timing],
        context: &mut Context,
    ) -> Result<(), Failure> {
        let out = &mut context.out;
        print_heading(
            &format!(
                "{}: {} at {}, {}, batches of {}",
                self.target.display(),
                pipeline.method.typetag_name(),
                pipeline.input.size,
                precision(pipeline),
                pipeline.trainer.batch_size
            ),
            hardware,
            out,
        )?;
        let bold = clap::builder::styling::Style::new().bold();
        writeln!(
            out,
            "{bold}{:<21}  images  repeats     p50 ms     p99 ms   images/s  peak MiB{bold:#}",
            "stage"
        )?;
        let mut group = "";
        for timing in timings {
            if timing.stage.group() != group {
                group = timing.stage.group();
                writeln!(out, "{group}")?;
            }
            let peak = timing
                .memory
                .map_or_else(String::new, |memory| format!("{:.0}", mebibytes(memory.peak)));
            // An image that has the right size already is not resized at all.
            let rate = match timing.images_per_second() {
                rate if rate < 1e6 => format!("{rate:.1}"),
                _ => "–".into(),
            };
            let line = format!(
                "  {:<19}  {:>6}  {:>7}  {:>9.2}  {:>9.2}  {rate:>9}  {peak:>8}",
                timing.stage.name(),
                timing.images,
                timing.ms.len(),
                timing.quantile(0.5),
                timing.quantile(0.99),
            );
            writeln!(out, "{}", line.trim_end())?;
        }
        let rate = |stage| {
            timings
                .iter()
                .find(|timing| timing.stage == stage)
                .map(Timing::images_per_second)
        };
        if let (Some(whole), Some(step)) = (rate(Stage::Training), rate(Stage::TrainingStep)) {
            let share = 100.0 * whole / step;
            writeln!(
                out,
                "\ntraining runs at {share:.0} % of the rate of its steps once images are cached"
            )?;
        }
        let few = timings.iter().any(|timing| (2..100).contains(&timing.ms.len()));
        if few {
            writeln!(out, "p99 of fewer than 100 repeats is the largest of them")?;
        }
        Ok(())
    }
}

fn print_heading(
    what: &str,
    hardware: &Hardware,
    out: &mut (impl std::io::Write + ?Sized),
) -> std::io::Result<()> {
    writeln!(out, "{what}\n{hardware}\n")
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The precision as pipelines write it.
const fn precision(pipeline: &Pipeline) -> &'static str {
    match pipeline.precision {
        Precision::Float32 => "float32",
        Precision::Bf16 => "bf16",
        Precision::Auto => "auto",
    }
}

/// Images of a pipeline to measure with, of the first split of `splits` that has any.
fn items(pipeline: &Pipeline, splits: [Split; 2]) -> Result<Vec<Item>, Failure> {
    for split in splits {
        let items = pipeline.data.list(split)?;
        if !items.is_empty() {
            return Ok(items);
        }
    }
    Err(Failure::usage("data: there is no image to measure with"))
}

/// This program, to be started again with arguments.
fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::work(format!("this program's own file: {error}")))
}

/// Trains a throw-away run of a pipeline for one step, in a process of its own so that its memory does not count here.
fn throw_away(bench: &Bench, folder: &Path) -> Result<PathBuf, Failure> {
    // Weights do not matter for what detecting costs, so drawn images and any synthetic defects will do.
    const QUICK: [&str; 8] = [
        "data={type: demo, size: 64, train: 3, test: 1, test_good: 1}",
        "synthesizer={type: simple_texture_shape}",
        "trainer.epochs=null",
        "trainer.steps=1",
        "trainer.schedule=null",
        "trainer.batch_size=2",
        "trainer.cache_mb=16",
        "output.maps=false",
    ];
    let run = folder.join("run");
    let mut command = std::process::Command::new(program()?);
    command.arg("train").arg(&bench.target).arg("--output").arg(&run);
    let settings = bench.settings(bench.sizes.first().copied(), None);
    for setting in settings.iter().map(String::as_str).chain(QUICK) {
        command.args(["--set", setting]);
    }
    let output = end_with_us(&mut command)
        .output()
        .map_err(|error| Failure::work(format!("this program cannot be started again: {error}")))?;
    if output.status.success() {
        return Ok(run);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("error: ");
    Err(Failure::work(format!("training a run to detect with: {said}")))
}
