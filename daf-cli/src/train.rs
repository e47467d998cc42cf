use std::path::{Path, PathBuf};

use daf_core::config::DeviceChoice;
use daf_core::evaluate::{Metrics, Report, Value, evaluate};
use daf_core::run::Run;
use daf_core::{Detector, Pipeline, Split, train};

use crate::Context;
use crate::failure::Failure;
use crate::pipeline::PipelineArgs;
use crate::progress::{Counter, Training};

/// Learn, measure and draw maps
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli run pipeline.yaml
  daf-cli run pipeline.yaml --output runs/bottle --set seed=1
  daf-cli run pipeline.yaml --resume      go on after Ctrl-C, a crash or a power cut

The run directory is the pipeline's output.dir, by default runs/ and the name of
the file. It ends up with the weights, the history, metrics.json, predictions.csv
and a heat map of every test image.")]
pub(crate) struct RunVerb {
    #[command(flatten)]
    train: Train,
}

/// Learn only
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli train pipeline.yaml
  daf-cli train pipeline.yaml --resume")]
pub(crate) struct Train {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The run directory
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Go on with the run directory if it exists, from its newest checkpoint
    #[arg(long)]
    resume: bool,
    /// Delete the run directory first if it exists
    #[arg(long, conflicts_with = "resume")]
    replace: bool,
}

impl RunVerb {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let run = self.train.train(context)?;
        let data = &run.pipeline().data;
        if data.items(Split::Test).map_err(Failure::work)?.is_empty() {
            writeln!(context.out, "there are no test images, so nothing was measured")?;
            return Train::report(&run, context);
        }
        let device = run.pipeline().device;
        measure(run, device, context)
    }
}

impl Train {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let run = self.train(context)?;
        Self::report(&run, context)
    }

    fn report(run: &Run, context: &mut Context) -> Result<(), Failure> {
        let weights = run.dir().join("weights");
        Ok(writeln!(context.out, "weights: {}", weights.display())?)
    }

    fn train(&self, context: &mut Context) -> Result<Run, Failure> {
        let run = self.open(self.pipeline.load(&context.environment)?)?;
        if !run.is_trained() {
            let mut observer = Training::new()?;
            train::train(&run, &context.environment.weight_folders(), &mut observer)?;
        }
        Ok(run)
    }

    fn open(&self, pipeline: Pipeline) -> Result<Run, Failure> {
        let named = || Path::new("runs").join(self.pipeline.file.file_stem().unwrap_or_default());
        let dir = self
            .output
            .clone()
            .or_else(|| pipeline.output.dir.clone())
            .unwrap_or_else(named);
        if self.replace && dir.exists() {
            // Whatever else the folder may be, only a run is deleted.
            Run::open(&dir)?.delete()?;
        }
        if self.resume && dir.exists() {
            let run = Run::open(&dir)?;
            return match run.difference(&pipeline)? {
                None => Ok(run),
                Some(key) => Err(Failure::usage(format!(
                    "{}: `{key}` is not what the run was started with; resume with the same settings, or start another \
                     run with --output",
                    dir.display()
                ))),
            };
        }
        Ok(Run::create(&dir, pipeline)?)
    }
}

/// Evaluates a trained run and prints what came of it.
pub(crate) fn measure(run: Run, device: DeviceChoice, context: &mut Context) -> Result<(), Failure> {
    let dir = run.dir().to_path_buf();
    let maps = run.pipeline().output.maps;
    let mut counter = Counter::new("scoring");
    let report = evaluate(&Detector::new(run, device)?, |done, all| counter.set(done, all))?;
    counter.finish();
    print(&report, context)?;
    writeln!(context.out)?;
    writeln!(context.out, "metrics: {}", dir.join("metrics.json").display())?;
    writeln!(context.out, "scores:  {}", dir.join("predictions.csv").display())?;
    if maps {
        writeln!(context.out, "maps:    {}", dir.join("maps").display())?;
    }
    Ok(())
}

fn print(report: &Report, context: &mut Context) -> Result<(), Failure> {
    let rows = report
        .by_defect
        .iter()
        .map(|(name, metrics)| (name.as_str(), metrics));
    let rows: Vec<(&str, &Metrics)> = rows.chain([("all", &report.overall)]).collect();
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0)
        .max(6);
    let out = &mut context.out;
    writeln!(out, "{:width$}  images  I-AUC  P-AUC  P-PRO  P-mAP", "defect")?;
    for (name, metrics) in rows {
        write!(out, "{name:width$}  {:>6}", metrics.anomalous)?;
        for value in [
            &metrics.image_auroc,
            &metrics.pixel_auroc,
            &metrics.pixel_pro,
            &metrics.pixel_ap,
        ] {
            match value {
                Value::Number(number) => write!(out, "  {:>5.1}", 100.0 * number)?,
                Value::Missing { .. } => write!(out, "  {:>5}", "–")?,
            }
        }
        writeln!(out)?;
    }
    writeln!(out, "{} normal images", report.overall.normal)?;
    for origin in &report.weights {
        writeln!(out, "{} started from {}", origin.network, origin.weights)?;
    }
    let overall = &report.overall;
    let values = [
        ("I-AUC", &overall.image_auroc),
        ("P-AUC", &overall.pixel_auroc),
        ("P-PRO", &overall.pixel_pro),
        ("P-mAP", &overall.pixel_ap),
    ];
    for (name, value) in values {
        if let Value::Missing { unavailable } = value {
            writeln!(out, "{name}: not available: {unavailable}")?;
        }
    }
    Ok(())
}
