use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daf_core::Split;
use daf_core::calibration::Calibration;
use daf_core::config::{Choice, DeviceChoice};
use daf_core::observer::Observer;
use daf_core::results::{
    Findings, MAPS, METRICS, Measurements, Metrics, PREDICTIONS, Results, Value, short_name,
};
use daf_pipeline::Pipeline;
use daf_pipeline::Run;
use daf_pipeline::evaluate::evaluate;
use daf_pipeline::train;
use daf_report::events::{TrainingEvents, write_metrics};

use crate::Context;
use crate::check::forgotten_masks;
use crate::data;
use crate::ending;
use crate::environment::Environment;
use crate::failure::{self, Failure};
use crate::inputs::Inputs;
use crate::pipeline::PipelineArgs;
use crate::progress::{Counter, Training};
use crate::within;

/// Learn, measure and draw maps
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli run pipeline.yaml
  daf-cli run pipeline.yaml --within 10m  train as long as that allows
  daf-cli run pipeline.yaml --output runs/bottle --set seed=1
  daf-cli run pipeline.yaml --resume      go on after Ctrl-C, a crash or a power cut
  daf-cli run pipeline.yaml --finish      measure what has been learned until then

The run directory is the pipeline's output.dir, by default runs/ and the name of
the file. It ends up with the weights, the history, metrics.json, predictions.csv,
a heat map of every test image and report.html, which shows them all.")]
pub(crate) struct RunVerb {
    #[command(flatten)]
    train: Train,
}

/// Learn only
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli train pipeline.yaml
  daf-cli train pipeline.yaml --resume
  daf-cli train pipeline.yaml --finish    after Ctrl-C: make do with what has been learned")]
pub(crate) struct Train {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The run directory
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Go on with the run directory if it exists, from its newest checkpoint
    #[arg(long)]
    resume: bool,
    /// Go on although images were added, removed or changed since. Those that were learned from stay so and are not held
    /// out
    #[arg(long, requires = "resume")]
    accept_data: bool,
    /// End a training that was broken off at its newest checkpoint and use what has been learned by then; the run says
    /// that it was shortened
    #[arg(long)]
    finish: bool,
    /// Take no longer than this, such as 90s, 10m or 1h30m: some steps are measured, and the training gets as many as fit
    /// beside the rest of the run. The run records their number; a run that is gone on with keeps its own
    #[arg(long, value_name = "TIME", value_parser = within::duration)]
    within: Option<Duration>,
    /// Delete the run directory first if it exists
    #[arg(long, conflicts_with_all = ["resume", "finish"])]
    replace: bool,
}

impl RunVerb {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let pipeline = self.train.pipeline.load(&context.environment)?;
        // Before the training: a fault in the test images would come hours later otherwise.
        let tests = pipeline.items(Split::Test).map_err(Failure::usage)?;
        if let Some(suspicion) = forgotten_masks(&tests) {
            context.remark(&suspicion)?;
        }
        let run = self.train.train(pipeline, tests.len(), context)?;
        if tests.is_empty() {
            writeln!(context.out, "there are no test images, so nothing was measured")?;
            return Train::report(&run, context);
        }
        let device = run.pipeline().device;
        measure(&run, device, context, None, |_, _| ())
    }
}

impl Train {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let run = self.train(self.pipeline.load(&context.environment)?, 0, context)?;
        Self::report(&run, context)
    }

    fn report(run: &Run, context: &mut Context) -> Result<(), Failure> {
        let weights = run.dir().join("weights");
        // All is written before anything is printed: nobody may be there to read it.
        let page = daf_report::write(run.dir())?;
        if let Some(calibration) = Calibration::read(run.dir())? {
            if let Some(scale) = calibration.image.scale() {
                writeln!(
                    context.out,
                    "threshold {:.4}, {}",
                    scale.threshold, calibration.basis
                )?;
            }
            if let Some(doubt) = calibration.doubt() {
                writeln!(context.out, "{doubt}")?;
            }
        }
        writeln!(context.out, "weights: {}", weights.display())?;
        Ok(writeln!(context.out, "report:  {}", page.display())?)
    }

    /// Trains; `tests` images will be measured with afterwards.
    fn train(&self, pipeline: Pipeline, tests: usize, context: &mut Context) -> Result<Run, Failure> {
        if let Some(recipe) = &pipeline.recipe {
            context.remark(&format!(
                "recipe {recipe}: method {}",
                pipeline.method.typetag_name()
            ))?;
        }
        if let Some(chosen) = &pipeline.chosen {
            context.remark(&format!("input.size: {}", chosen_size(chosen)))?;
        }
        let pipeline = self.shortened(pipeline, tests, context)?;
        let run = self.open(pipeline)?;
        let left_out = run.pipeline().data.left_out();
        if !left_out.is_empty() {
            context.remark(&left_out)?;
        }
        ending::advise("continue with --resume");
        if self.accept_data {
            run.accept_images()?;
        }
        // A trained run keeps what was found when it learned.
        let found = (!run.is_trained()).then(|| data::examine(&run));
        learn(&run, &context.environment, (), self.finish)?;
        if let Some(found) = found {
            data::keep(run.dir(), &found)?;
        }
        Ok(run)
    }

    fn dir(&self, pipeline: &Pipeline) -> PathBuf {
        let named = || Path::new("runs").join(self.pipeline.file.file_stem().unwrap_or_default());
        (self.output.clone())
            .or_else(|| pipeline.output.dir.clone())
            .unwrap_or_else(named)
    }

    /// The pipeline with as many steps as `--within` allows.
    fn shortened(
        &self,
        mut pipeline: Pipeline,
        tests: usize,
        context: &mut Context,
    ) -> Result<Pipeline, Failure> {
        let Some(budget) = self.within else {
            return Ok(pipeline);
        };
        let dir = self.dir(&pipeline);
        if !self.replace
            && let Ok(run) = Run::open(&dir)
            && !run.is_empty()?
        {
            // It goes on as it was begun, or is in the way.
            let begun = &run.pipeline().trainer;
            pipeline.trainer.epochs = begun.epochs;
            pipeline.trainer.steps = begun.steps;
            pipeline.trainer.schedule = begun.schedule.clone();
            return Ok(pipeline);
        }
        within::shorten(&mut pipeline, budget, tests, context)?;
        Ok(pipeline)
    }

    fn open(&self, pipeline: Pipeline) -> Result<Run, Failure> {
        let dir = self.dir(&pipeline);
        // Whatever else the folder may be, only a run is deleted: one that is not wanted any more, or that failed before it
        // had anything to lose.
        if self.replace && dir.exists() {
            let run = Run::open(&dir)?;
            let mut inputs = Inputs::of(&pipeline);
            // What a run wrote of its settings it will write again.
            if run.config_file() != self.pipeline.file {
                inputs = inputs.and(&self.pipeline.file, "the pipeline file");
            }
            inputs.spare_folder(&dir)?;
            run.delete()?;
        } else if let Ok(run) = Run::open(&dir)
            && run.is_empty()?
        {
            run.delete()?;
        }
        if (self.resume || self.finish) && dir.exists() {
            let run = Run::open(&dir)?;
            return match run.difference(&pipeline)? {
                None => Ok(run.with(pipeline)),
                Some(key) => Err(Failure::usage(format!(
                    "{}: `{key}` is not what the run was started with; resume with the same settings, or start another \
                     run with --output",
                    dir.display()
                ))),
            };
        }
        if self.finish {
            return Err(Failure::usage(format!(
                "{}: there is no run that could be finished; without --finish it is begun",
                dir.display()
            )));
        }
        if dir.exists() {
            return Err(Failure::usage(format!(
                "{}: exists already; go on with --resume, start over with --replace, or choose another folder with \
                 --output",
                dir.display()
            )));
        }
        Ok(Run::create(&dir, pipeline)?)
    }
}

/// What `input.size: auto` came to, and from what.
pub(crate) fn chosen_size(chosen: &Choice) -> String {
    let (width, height) = chosen.images;
    format!(
        "auto is {} (height×width) for training images of {height}×{width}, the median",
        chosen.size
    )
}

/// Trains a run, from where it was broken off, unless it is trained already; `observer` watches as well.
/// With `finish` it ends where it was broken off.
pub(crate) fn learn(
    run: &Run,
    environment: &Environment,
    observer: impl Observer,
    finish: bool,
) -> Result<(), Failure> {
    if run.is_trained() {
        return Ok(run.check_images()?);
    }
    let events = TrainingEvents::new(run.dir().to_path_buf());
    let mut observer = (Training::default(), (events, observer));
    let folders = environment.weight_folders();
    let trained = match finish {
        true => train::finish(run, &folders, &mut observer),
        false => train::train(run, &folders, &mut observer),
    };
    if let Some(error) = observer.1.0.failure() {
        tracing::warn!("TensorBoard will not see all of the training: {error}");
    }
    trained?;
    if finish && let Some(shortened) = Results::read(run.dir())?.shortened {
        let _ = writeln!(anstream::stderr(), "the training was {shortened}");
    }
    Ok(())
}

/// Evaluates a trained run and prints what came of it; `progress` hears how many of how many images are scored. What was found
/// in the images goes into the run with the metrics, so that an evaluation that fails takes nothing away.
pub(crate) fn measure(
    run: &Run,
    device: DeviceChoice,
    context: &mut Context,
    findings: Option<&[Findings]>,
    mut progress: impl FnMut(usize, usize),
) -> Result<(), Failure> {
    let dir = run.dir().to_path_buf();
    let maps = run.pipeline().output.maps;
    let mut counter = Counter::new("scoring");
    let found = evaluate(run, device, |done, all| {
        counter.set(done, all);
        progress(done, all);
    })?;
    counter.finish();
    if let Some(findings) = findings {
        data::keep(&dir, findings)?;
    }
    // That of an earlier evaluation shows other images.
    let page = dir.join(daf_report::FILE);
    if page.exists() {
        std::fs::remove_file(&page).map_err(daf_core::Error::io(&page))?;
    }
    // All is written before anything is printed: nobody may be there to read it.
    write_metrics(&Results::read(&dir)?)?;
    daf_report::write(&dir)?;
    print(&found, context)?;
    writeln!(context.out)?;
    writeln!(context.out, "metrics: {}", dir.join(METRICS).display())?;
    writeln!(context.out, "scores:  {}", dir.join(PREDICTIONS).display())?;
    if maps {
        writeln!(context.out, "maps:    {}", dir.join(MAPS).display())?;
    }
    writeln!(context.out, "report:  {}", page.display())?;
    context.out.flush()?;
    failure::left_out(&[
        (found.unreadable, "image or mask", "images or masks", "read"),
        (found.undrawn, "heat map", "heat maps", "drawn"),
    ])
}

/// The metrics that the table shows; all of them are in metrics.json.
const SHOWN: usize = 4;

fn print(found: &Measurements, context: &mut Context) -> Result<(), Failure> {
    let of = |(name, metrics): (&String, &Metrics)| (name.clone(), cells(metrics));
    let mut rows: Vec<Row> = found.by_defect.iter().map(of).collect();
    rows.extend(found.by_category.iter().map(of));
    if let Some(mean) = &found.mean {
        let names = found.overall.values().map(|(name, _)| mean.get(name).copied());
        let cells = std::iter::once(String::new()).chain(names.take(SHOWN).map(percent));
        rows.push(("mean of categories".into(), cells.collect()));
    }
    rows.push(("all".into(), cells(&found.overall)));
    let interval = |name: &str| {
        found
            .intervals
            .get(name)
            .map_or_else(String::new, |i| format!("±{:.1}", 50.0 * (i.high - i.low)))
    };
    let names: Vec<&str> = found.overall.values().map(|(name, _)| name).take(SHOWN).collect();
    if !found.intervals.is_empty() {
        let cells = std::iter::once(String::new()).chain(names.iter().copied().map(interval));
        rows.push(("95 % of redraws".into(), cells.collect()));
    }

    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0)
        .max(6);
    let out = &mut context.out;
    write!(out, "{:width$}  images", "defect")?;
    for name in &names {
        write!(out, "  {}", short_name(name))?;
    }
    writeln!(out)?;
    for (name, cells) in rows {
        write!(out, "{name:width$}  {:>6}", cells[0])?;
        for cell in &cells[1..] {
            write!(out, "  {cell:>5}")?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "{} normal images, {:.1} images/s, {}",
        found.overall.normal, found.images_per_second, found.multiply_adds
    )?;
    if let Some(calibration) = &found.calibration {
        if let (Some(scale), Some(at)) = (calibration.image.scale(), &found.at_threshold) {
            writeln!(
                out,
                "at the threshold {:.4}: {} of {} normal images over it, {} of {} defective ones under it",
                scale.threshold, at.false_alarms, at.normal, at.missed, at.anomalous
            )?;
            writeln!(out, "it was {}", calibration.basis)?;
        }
        if let Some(doubt) = calibration.doubt() {
            writeln!(out, "{doubt}")?;
        }
    }
    if let Some(error) = found.pixel_error {
        writeln!(out, "pixel metrics are within {error:.1e} of the exact ones")?;
    }
    for origin in &found.weights {
        writeln!(out, "{} started from {}", origin.network, origin.weights)?;
    }
    for (name, value) in found.overall.values().take(SHOWN) {
        if let Value::Missing { unavailable } = value {
            writeln!(out, "{}: not available: {unavailable}", short_name(name))?;
        }
    }
    Ok(())
}

/// Name, number of anomalous images, metrics.
type Row = (String, Vec<String>);

fn cells(metrics: &Metrics) -> Vec<String> {
    let values = metrics.values().map(|(_, value)| percent(value.number()));
    let count = metrics.anomalous.to_string();
    std::iter::once(count)
        .chain(values.into_iter().take(SHOWN))
        .collect()
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |number| format!("{:.1}", 100.0 * number))
}
