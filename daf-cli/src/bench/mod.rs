//! `daf-cli bench`: what training and detecting cost, stage by stage.

mod arguments;
mod clock;
mod detecting;
mod hardware;
mod stage;
mod subject;
mod table;
mod training;

use daf_core::tch;
use daf_pipeline::Pipeline;
use serde_json::{Value, json};

use crate::Context;
use crate::failure::Failure;
pub(crate) use arguments::Bench;
use clock::{Clock, Timing, mebibytes};
use detecting::Detecting;
use hardware::{Hardware, print_heading};
use stage::Stage;
use subject::precision;
use training::Training;

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
