//! The subject of a measurement: a pipeline or a run, its images, and a run to throw away.

use std::path::{Path, PathBuf};

use daf_core::block::Precision;
use daf_core::{Item, Split};
use daf_pipeline::{Pipeline, Run};

use super::arguments::Bench;
use crate::Context;
use crate::ending::end_with_us;
use crate::failure::Failure;
use crate::pipeline::PipelineArgs;

/// A pipeline or a run to measure.
pub(super) enum Target {
    File(Pipeline),
    Run(Run),
}

impl Target {
    pub(super) const fn pipeline(&self) -> &Pipeline {
        match self {
            Self::File(pipeline) => pipeline,
            Self::Run(run) => run.pipeline(),
        }
    }
}

impl Bench {
    /// The pipeline or run, with its settings for a size and a batch.
    pub(super) fn open(
        &self,
        side: Option<u32>,
        images: Option<u32>,
        context: &Context,
    ) -> Result<Target, Failure> {
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
}

/// The precision as pipelines write it.
pub(super) const fn precision(pipeline: &Pipeline) -> &'static str {
    match pipeline.precision {
        Precision::Float32 => "float32",
        Precision::Bf16 => "bf16",
        Precision::Auto => "auto",
    }
}

/// Images of a pipeline to measure with, of the first split of `splits` that has any.
pub(super) fn items(pipeline: &Pipeline, splits: [Split; 2]) -> Result<Vec<Item>, Failure> {
    for split in splits {
        let items = pipeline.data.list(split)?;
        if !items.is_empty() {
            return Ok(items);
        }
    }
    Err(Failure::usage("data: there is no image to measure with"))
}

/// This program, to be started again with arguments.
pub(super) fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::work(format!("this program's own file: {error}")))
}

/// Trains a throw-away run of a pipeline for one step, in a process of its own so that its memory does not count here.
pub(super) fn throw_away(bench: &Bench, folder: &Path) -> Result<PathBuf, Failure> {
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
