use std::io::{self, Read};
use std::num::NonZero;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use daf_core::observer::{Observer, Plan};
use daf_core::results::{METRICS, Record};
use daf_core::{Split, tch};
use daf_pipeline::Run;
use daf_sweep::{Claim, Job, Progress, State, Sweep};

use crate::Context;
use crate::ending::{self, Request};
use crate::failure::{Failure, describe_panic};

/// Run one job of a sweep in this process
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli sweep job runs/sweep 7
  daf-cli sweep job runs/sweep 3f09a1 --threads 4
  sbatch --array=1-24 --wrap 'daf-cli sweep job runs/sweep $SLURM_ARRAY_TASK_ID'

A job that is finished is left alone, one that was broken off goes on from its
newest checkpoint. Relative paths in the pipeline are relative to the current folder,
so start jobs where the sweep was started.")]
pub(crate) struct JobVerb {
    /// The directory of the sweep
    dir: PathBuf,
    /// The job: its number, from 1, or its hash, of which the beginning will do
    job: String,
    /// Threads to work with; by default one per core
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Stop as on SIGTERM when standard input ends: whoever started the process has gone
    #[arg(long, hide = true)]
    attended: bool,
}

impl JobVerb {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let sweep = Sweep::open(&self.dir).map_err(Failure::usage)?;
        let (_, job) = sweep.find(&self.job).map_err(Failure::usage)?;
        let Some(claim) = sweep.claim(job)? else {
            return Err(Failure::work(format!(
                "{}: another process is at work on job {}",
                self.dir.display(),
                job.hash
            )));
        };
        if let Some(threads) = self.threads {
            limit(threads)?;
        }
        ending::advise("the same command goes on");
        if self.attended {
            std::thread::spawn(watch_input);
        }
        // libtorch panics where a GPU has no memory left; `sweep status` is to tell why the job ended then too.
        let done = panic::catch_unwind(AssertUnwindSafe(|| {
            work(&sweep, job, &claim, self.threads, context)
        }));
        let done = match done {
            Ok(done) => done,
            Err(reason) => {
                claim.fail(&describe_panic(reason.as_ref(), ""))?;
                panic::resume_unwind(reason);
            }
        };
        match &done {
            // What was broken off goes on.
            Ok(()) | Err(Work::Interrupted(_)) => {}
            Err(Work::Failed(failure)) => claim.fail(&failure.text())?,
        }
        done.map_err(|(Work::Failed(failure) | Work::Interrupted(failure))| failure)
    }
}

/// Why a job ended early.
enum Work {
    Failed(Failure),
    Interrupted(Failure),
}

impl From<Failure> for Work {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Stopped(_) => Self::Interrupted(failure),
            failure => Self::Failed(failure),
        }
    }
}

fn work(
    sweep: &Sweep,
    job: &Job,
    claim: &Claim,
    threads: Option<NonZero<usize>>,
    context: &mut Context,
) -> Result<(), Work> {
    let dir = sweep.run_dir(job);
    if dir.join(METRICS).is_file() {
        return Ok(writeln!(context.out, "{}: is finished", dir.display()).map_err(Failure::from)?);
    }
    let run = open(sweep, job, threads)?;
    // Before the training: a fault in the test images would come hours later otherwise.
    let tests = run.pipeline().items(Split::Test).map_err(Failure::from)?;
    if tests.is_empty() {
        let reason = "there are no test images, so there is nothing to measure";
        return Err(Failure::work(format!("job {}: {reason}", job.hash)).into());
    }
    let mut reporter = Reporter::new(claim);
    crate::train::learn(&run, &context.environment, &mut reporter, false)?;
    let device = run.pipeline().device;
    crate::train::measure(&run, device, context, None, |done, all| {
        reporter.images("scoring", done, all);
    })?;
    Ok(())
}

/// The run of a job: a new one, or the one that was broken off.
fn open(sweep: &Sweep, job: &Job, threads: Option<NonZero<usize>>) -> Result<Run, Failure> {
    let dir = sweep.run_dir(job);
    let mut pipeline = job.pipeline(&sweep.manifest_file()).map_err(Failure::usage)?;
    pipeline.trainer.workers = threads.map(NonZero::get);
    if !dir.exists() {
        return Ok(Run::create(&dir, pipeline)?);
    }
    let run = Run::open(&dir)?;
    match run.difference(&pipeline)? {
        None => Ok(run.with(pipeline)),
        Some(key) => Err(Failure::work(format!(
            "{}: `{key}` is not that of job {}; delete the folder",
            dir.display(),
            job.hash
        ))),
    }
}

/// Leaves the other cores to other jobs.
fn limit(threads: NonZero<usize>) -> Result<(), Failure> {
    tch::set_num_threads(i32::try_from(threads.get()).unwrap_or(i32::MAX));
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.get())
        .build_global()
        .map_err(Failure::work)
}

/// Asks to stop when standard input ends.
fn watch_input() {
    let mut input = io::stdin().lock();
    let mut bytes = [0; 64];
    while input.read(&mut bytes).is_ok_and(|count| count > 0) {}
    ending::ask(Request::Terminate);
}

/// Tells whoever looks at the sweep how far a job is.
struct Reporter<'a> {
    claim: &'a Claim,
    plan: Option<Plan>,
    last: Option<Instant>,
}

/// How often it is told.
const PAUSE: Duration = Duration::from_millis(500);

impl<'a> Reporter<'a> {
    const fn new(claim: &'a Claim) -> Self {
        Self {
            claim,
            plan: None,
            last: None,
        }
    }

    fn tell(&mut self, progress: &Progress) {
        if self.last.is_none_or(|last| last.elapsed() >= PAUSE) {
            self.last = Some(Instant::now());
            self.claim.progress(progress);
        }
    }

    fn images(&mut self, phase: &str, done: usize, of: usize) {
        self.tell(&Progress {
            phase: phase.into(),
            done: done as u64,
            of: of as u64,
            images_per_second: None,
            loss: None,
        });
    }
}

impl Observer for &mut Reporter<'_> {
    fn started(&mut self, plan: &Plan) {
        self.plan = Some(*plan);
    }

    fn stepped(&mut self, record: &Record) {
        let Some(plan) = self.plan else { return };
        self.tell(&Progress {
            phase: "training".into(),
            done: record.step + 1,
            of: plan.steps,
            images_per_second: Some(plan.batch_size as f64 / record.seconds.max(1e-9)),
            loss: Some(record.loss),
        });
    }

    fn calibrated(&mut self, done: usize, all: usize) {
        self.images("choosing thresholds", done, all);
    }
}

/// How far a job is, in a few words.
pub(super) fn words(state: &State) -> String {
    match state {
        State::Running(Some(progress)) => {
            let Progress { phase, done, of, .. } = progress;
            let rate = progress
                .images_per_second
                .map_or_else(String::new, |rate| format!(", {rate:.1} images/s"));
            let loss = progress
                .loss
                .map_or_else(String::new, |loss| format!(", loss {loss:.3}"));
            format!("{phase} {done}/{of}{rate}{loss}")
        }
        State::Running(None) => "beginning".into(),
        State::Failed(reason) => reason.lines().next().unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}
