use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use daf_core::{Error, tch};
use daf_sweep::{Job, PlanOptions, State, Sweep, SweepFile, SweepManifest};
use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};

use super::{Found, Target, collect, job, status};
use crate::Context;
use crate::build;
use crate::ending::{self, Request};
use crate::environment::{Environment, VISIBLE_GPUS};
use crate::failure::Failure;

/// Run the jobs of a sweep that are not finished, then make tables
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    plan: PlanArgs,
    /// Only list the jobs; nothing is written
    #[arg(long)]
    dry_run: bool,
    /// Jobs at a time; by default one per GPU, without one a single one
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
    /// Threads per job; by default the cores are divided among the jobs that run at a time
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
}

/// Freeze the list of jobs without running any, for a scheduler that will
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    target: Target,
    /// Change a setting of every job, e.g. --set trainer.steps=600
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Take up changes of the file: jobs that it still has stay as they are
    #[arg(long)]
    update: bool,
    /// Compile the pipelines' `plugins` first, and go on with the program that has them
    #[arg(long)]
    build: bool,
}

/// Jobs, and where they are if they are to be frozen.
enum Planned {
    Frozen(Sweep),
    File(Box<SweepFile>, PathBuf, SweepManifest),
}

impl RunArgs {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let (sweep, file) = match self.plan.plan(context)? {
            Planned::File(_, _, manifest) if self.dry_run => return list(&manifest, context),
            Planned::Frozen(sweep) if self.dry_run => return list(sweep.manifest(), context),
            Planned::Frozen(sweep) => (sweep, None),
            Planned::File(file, dir, manifest) => (self.plan.freeze(&dir, manifest)?, Some(*file)),
        };
        let failed = Runner::new(&sweep, self, &context.environment)?.run(context)?;
        let view = file.as_ref().map(|file| (self.plan.target.path(), file));
        collect::collect(&sweep, view, context)?;
        if failed > 0 {
            let jobs = if failed == 1 { "job" } else { "jobs" };
            return Err(Failure::work(format!(
                "{failed} {jobs} failed; `daf-cli sweep status {}` says why",
                sweep.dir().display()
            )));
        }
        Ok(())
    }
}

impl PlanArgs {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let sweep = match self.plan(context)? {
            Planned::Frozen(sweep) => sweep,
            Planned::File(_, dir, manifest) => self.freeze(&dir, manifest)?,
        };
        list(sweep.manifest(), context)?;
        Ok(writeln!(
            context.out,
            "manifest: {}",
            sweep.manifest_file().display()
        )?)
    }

    fn plan(&self, context: &Context) -> Result<Planned, Failure> {
        match self.target.find()? {
            Found::Directory(dir) => {
                if !self.settings.is_empty() || self.update || self.build || self.target.smoke {
                    return Err(Failure::usage(format!(
                        "{}: the jobs of a sweep are frozen; --set, --update, --smoke and --build need the sweep file",
                        dir.display()
                    )));
                }
                Ok(Planned::Frozen(Sweep::open(&dir).map_err(Failure::usage)?))
            }
            Found::File(file, dir) => {
                let plan = PlanOptions {
                    defaults: daf_models::DEFAULTS,
                    smoke: self.target.smoke,
                    environment: &context.environment.settings,
                    settings: &self.settings,
                };
                if self.build {
                    let plugins = file.plugins(&plan).map_err(Failure::usage)?;
                    if !plugins.is_empty() {
                        return Err(build::go_on(&plugins, &context.environment));
                    }
                }
                let manifest = file.plan(&plan).map_err(Failure::usage)?;
                Ok(Planned::File(file, dir, manifest))
            }
        }
    }

    /// Freezes a plan, unless the directory has the same one already.
    fn freeze(&self, dir: &Path, planned: SweepManifest) -> Result<Sweep, Failure> {
        if !Sweep::is_at(dir) {
            return Ok(Sweep::create(dir, planned)?);
        }
        let sweep = Sweep::open(dir).map_err(Failure::usage)?;
        let same = |a: &Job, b: &Job| a.hash == b.hash && a.cells == b.cells;
        let frozen = &sweep.manifest().jobs;
        let new = planned
            .jobs
            .iter()
            .filter(|job| !frozen.iter().any(|known| same(known, job)));
        let gone = frozen
            .iter()
            .filter(|job| !planned.jobs.iter().any(|known| same(known, job)));
        let (new, gone) = (new.count(), gone.count());
        let axes = sweep.manifest().axes != planned.axes;
        if (new, gone) == (0, 0) && !axes {
            // What the weights do not depend on may have changed.
            let same = frozen
                .iter()
                .map(|job| &job.pipeline)
                .eq(planned.jobs.iter().map(|job| &job.pipeline));
            return Ok(if same { sweep } else { Sweep::freeze(dir, planned)? });
        }
        if !self.update {
            let axes = if axes {
                "; axes or variants have other names or another order"
            } else {
                ""
            };
            return Err(Failure::usage(format!(
                "{}: the sweep was started with other settings (jobs: {new} new, {gone} gone{axes}); take that up \
                 with --update, which keeps what is finished, or choose another folder with --output",
                dir.display()
            )));
        }
        Ok(Sweep::freeze(dir, planned)?)
    }
}

fn list(manifest: &SweepManifest, context: &mut Context) -> Result<(), Failure> {
    for (number, job) in (1..).zip(&manifest.jobs) {
        let number: usize = number;
        for (place, cell) in job.cells.iter().enumerate() {
            let at = manifest.describe_cell(cell);
            if place == 0 {
                writeln!(context.out, "{number:>4}  {}  {at}", job.hash)?;
            } else {
                writeln!(context.out, "{:>4}  {:<16}  {at}", "", "the same")?;
            }
        }
    }
    let cells: usize = manifest.jobs.iter().map(|job| job.cells.len()).sum();
    let jobs = manifest.jobs.len();
    let jobs = if jobs == 1 {
        "1 job".to_owned()
    } else {
        format!("{jobs} jobs")
    };
    let places = if cells == 1 { "place" } else { "places" };
    Ok(writeln!(context.out, "{jobs} for {cells} {places} of the grid")?)
}

/// How often a job that failed is tried in all.
const ATTEMPTS: u32 = 2;
const POLL: Duration = Duration::from_millis(50);
/// How often the lines of running jobs are brought up to date.
const LOOK: Duration = Duration::from_millis(500);
/// How often jobs that other processes work on are looked at.
const WAIT: Duration = Duration::from_secs(1);

/// Runs jobs as processes of this program.
struct Runner<'a> {
    sweep: &'a Sweep,
    threads: NonZero<usize>,
    /// Limits of what runs at a time.
    slots: Vec<Slot>,
    display: Display,
}

/// Room for a job.
struct Slot {
    /// The GPU that it sees.
    gpu: Option<String>,
    working: Option<Working>,
}

/// A process at work on a job.
struct Working {
    place: usize,
    attempt: u32,
    child: Child,
    started: Instant,
    bar: Option<ProgressBar>,
}

/// A job that is to be run.
struct Due {
    place: usize,
    attempt: u32,
    /// Not before; jobs that another process works on are looked at now and then.
    after: Option<Instant>,
}

impl<'a> Runner<'a> {
    fn new(sweep: &'a Sweep, settings: &RunArgs, environment: &Environment) -> Result<Self, Failure> {
        let cuda = sweep.manifest().jobs.iter().any(wants_cuda);
        let gpus = if cuda { gpus(environment) } else { Vec::new() };
        let jobs = sweep.manifest().jobs.len();
        let slots = slots(&gpus, settings.jobs, jobs);
        let cores = available_parallelism().map_or(1, NonZero::get);
        let share = NonZero::new(cores / slots.len().max(1)).unwrap_or(NonZero::<usize>::MIN);
        Ok(Self {
            sweep,
            threads: settings.threads.unwrap_or(share),
            slots,
            display: Display::new(jobs),
        })
    }

    /// Runs what is not finished; gives the number of jobs that failed.
    fn run(&mut self, context: &mut Context) -> Result<usize, Failure> {
        ending::advise("the same command goes on");
        ending::hear(Some("stopping after the steps that are being made"));
        let jobs = &self.sweep.manifest().jobs;
        let mut due = VecDeque::new();
        for (place, job) in jobs.iter().enumerate() {
            if self.sweep.state(job)? == State::Finished {
                self.display.finished += 1;
            } else {
                due.push_back(Due {
                    place,
                    attempt: 1,
                    after: None,
                });
            }
        }
        writeln!(
            context.out,
            "{}: {} of {} jobs are finished, {} at a time with {} threads each",
            self.sweep.dir().display(),
            self.display.finished,
            jobs.len(),
            self.slots.len(),
            self.threads
        )?;
        context.out.flush()?;
        self.display.refresh();
        let mut looked = Instant::now();
        loop {
            let stopping = ending::asked().is_some();
            self.reap(&mut due, stopping)?;
            if !stopping {
                self.start(&mut due)?;
            }
            let busy = self.slots.iter().any(|slot| slot.working.is_some());
            if !busy && (stopping || due.is_empty()) {
                break;
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look();
            }
            sleep(POLL);
        }
        self.display.clear();
        if ending::asked().is_some() {
            let states = jobs
                .iter()
                .map(|job| self.sweep.state(job))
                .collect::<Result<Vec<_>, _>>()?;
            return Err(Failure::Stopped(format!(
                "stopped on request with {}; the same command goes on",
                status::counts(&states)
            )));
        }
        ending::hear(None);
        Ok(self.display.failed)
    }

    /// Takes note of processes that have ended.
    fn reap(&mut self, due: &mut VecDeque<Due>, stopping: bool) -> Result<(), Failure> {
        for slot in &mut self.slots {
            let Some(working) = &mut slot.working else {
                continue;
            };
            if stopping {
                // The end of its input tells the process to stop.
                working.child.stdin.take();
            }
            let job = &self.sweep.manifest().jobs[working.place];
            let Some(status) = working.child.try_wait().map_err(Error::io(self.sweep.log(job)))? else {
                continue;
            };
            let Some(working) = slot.working.take() else {
                continue;
            };
            if let Some(bar) = &working.bar {
                self.display.bars.remove(bar);
            }
            let line = format!(
                "job {} {}",
                working.place + 1,
                self.sweep.manifest().describe(job)
            );
            let time = HumanDuration(working.started.elapsed());
            match self.sweep.state(job)? {
                State::Finished => {
                    self.display.finished += 1;
                    self.display.say(&format!("{line}: finished in {time}"));
                }
                // Another process has taken it up.
                State::Running(_) => due.push_back(Due {
                    place: working.place,
                    attempt: working.attempt,
                    after: Some(Instant::now() + WAIT),
                }),
                _ if stopping => self.display.say(&format!("{line}: stopped")),
                // Ctrl-C goes to all processes of a terminal at once, and this one may hear of it last.
                _ if Request::has_ended(status.code()) => due.push_front(Due {
                    place: working.place,
                    attempt: working.attempt,
                    after: Some(Instant::now() + WAIT),
                }),
                state => {
                    let reason = match &state {
                        State::Failed(reason) => reason.lines().next().unwrap_or_default().to_owned(),
                        _ => ended(status),
                    };
                    if working.attempt < ATTEMPTS {
                        self.display.say(&format!("{line}: {reason}; trying again"));
                        due.push_front(Due {
                            place: working.place,
                            attempt: working.attempt + 1,
                            after: None,
                        });
                        continue;
                    }
                    self.display.failed += 1;
                    let log = self.sweep.log(job);
                    self.display
                        .say(&format!("{line}: failed: {reason}; {} has more", log.display()));
                    // A process that was killed could not say so itself.
                    if !matches!(state, State::Failed(_))
                        && let Some(claim) = self.sweep.claim(job)?
                    {
                        claim.fail(&reason)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Starts jobs in slots that are free.
    fn start(&mut self, due: &mut VecDeque<Due>) -> Result<(), Failure> {
        for slot in self.slots.iter_mut().filter(|slot| slot.working.is_none()) {
            for _ in 0..due.len() {
                if ending::asked().is_some() {
                    return Ok(());
                }
                let Some(next) = due.pop_front() else {
                    return Ok(());
                };
                if next.after.is_some_and(|after| Instant::now() < after) {
                    due.push_back(next);
                    continue;
                }
                let job = &self.sweep.manifest().jobs[next.place];
                match self.sweep.state(job)? {
                    State::Finished => self.display.finished += 1,
                    State::Running(_) => {
                        if next.after.is_none() {
                            let at = self.sweep.manifest().describe(job);
                            self.display.say(&format!(
                                "job {} {at}: another process is at work on it",
                                next.place + 1
                            ));
                        }
                        due.push_back(Due {
                            after: Some(Instant::now() + WAIT),
                            ..next
                        });
                    }
                    _ => {
                        let child = spawn(self.sweep, job, self.threads, slot.gpu.as_deref())?;
                        let at = self.sweep.manifest().describe(job);
                        slot.working = Some(Working {
                            place: next.place,
                            attempt: next.attempt,
                            child,
                            started: Instant::now(),
                            bar: self.display.line(&format!("job {} {at}", next.place + 1)),
                        });
                        break;
                    }
                }
            }
        }
        self.display.refresh();
        Ok(())
    }

    /// Brings the lines of running jobs up to date.
    fn look(&self) {
        for working in self.slots.iter().filter_map(|slot| slot.working.as_ref()) {
            let job = &self.sweep.manifest().jobs[working.place];
            if let (Some(bar), Ok(state)) = (&working.bar, self.sweep.state(job)) {
                bar.set_message(job::words(&state));
            }
        }
    }
}

impl Drop for Runner<'_> {
    /// Standard input of the job, whose end tells it to stop: so no job outlives the runner.
    fn drop(&mut self) {
        for working in self.slots.iter_mut().filter_map(|slot| slot.working.as_mut()) {
            working.child.stdin.take();
        }
    }
}

/// Room for as many jobs as were asked for, otherwise for one per GPU, but for no more than there are. GPUs are dealt out in
/// turn.
fn slots(gpus: &[String], asked: Option<NonZero<usize>>, jobs: usize) -> Vec<Slot> {
    let count = asked.map_or(gpus.len().max(1), NonZero::get).min(jobs);
    let slot = |number: usize| Slot {
        gpu: (!gpus.is_empty()).then(|| gpus[number % gpus.len()].clone()),
        working: None,
    };
    (0..count).map(slot).collect()
}

/// Starts the process of a job.
fn spawn(sweep: &Sweep, job: &Job, threads: NonZero<usize>, gpu: Option<&str>) -> Result<Child, Failure> {
    let path = sweep.log(job);
    let log = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|log| Ok((log.try_clone()?, log)))
        .map_err(Error::io(&path))?;
    let program = std::env::current_exe().map_err(Failure::work)?;
    let mut command = command(&program, sweep.dir(), job, threads, gpu);
    command.stdin(Stdio::piped()).stdout(log.0).stderr(log.1);
    Ok(command.spawn().map_err(Error::io(&program))?)
}

/// The command that runs a job, with the one GPU that it may see.
fn command(program: &Path, sweep: &Path, job: &Job, threads: NonZero<usize>, gpu: Option<&str>) -> Command {
    let mut command = Command::new(program);
    command.args(["sweep", "job"]).arg(sweep);
    command.args([&job.hash, "--attended", "--threads", &threads.to_string()]);
    if let Some(gpu) = gpu.filter(|_| wants_cuda(job)) {
        command.env(VISIBLE_GPUS, gpu);
    }
    command
}

/// Whether a job takes whatever GPU it sees.
fn wants_cuda(job: &Job) -> bool {
    job.pipeline.get("device").is_some_and(|device| device == "auto")
}

/// The GPUs that this process may use, by the names that its processes are to be given.
fn gpus(environment: &Environment) -> Vec<String> {
    let count = if tch::Cuda::is_available() {
        usize::try_from(tch::Cuda::device_count()).unwrap_or(0)
    } else {
        0
    };
    names(count, &environment.gpus)
}

/// Names of the first GPUs that libtorch counts: `visible` has those that this process was given, where it was.
fn names(count: usize, visible: &[String]) -> Vec<String> {
    let name = |number: usize| {
        let named = visible.get(number).cloned();
        named.unwrap_or_else(|| number.to_string())
    };
    (0..count).map(name).collect()
}

/// How a process ended that said nothing about it.
fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(9), _) => "killed (signal 9); a full memory does that".into(),
        (Some(signal), _) => format!("killed (signal {signal})"),
        (None, Some(code)) => format!("ended with exit code {code}"),
        (None, None) => "ended".into(),
    }
}

/// Progress: a line per running job on a terminal, otherwise a line per event.
struct Display {
    bars: MultiProgress,
    total: Option<ProgressBar>,
    finished: usize,
    failed: usize,
}

impl Display {
    fn new(jobs: usize) -> Self {
        let bars = MultiProgress::new();
        let total = io::stderr().is_terminal().then(|| {
            let bar = bars.add(ProgressBar::new(jobs as u64));
            let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} jobs  {elapsed}  {msg}");
            style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
        });
        Self {
            bars,
            total,
            finished: 0,
            failed: 0,
        }
    }

    /// A line for a running job.
    fn line(&self, name: &str) -> Option<ProgressBar> {
        if self.total.is_none() {
            self.say(&format!("{name}: begins"));
            return None;
        }
        let bar = self.bars.insert_from_back(1, ProgressBar::new_spinner());
        // A long name is cut off, and so is the rest at the edge of the terminal: a line that wraps is not drawn over.
        let style = ProgressStyle::with_template("{spinner} {prefix:48!} {elapsed:>4}  {wide_msg}");
        let bar = style.map(|style| bar.clone().with_style(style)).unwrap_or(bar);
        bar.enable_steady_tick(Duration::from_millis(200));
        Some(bar.with_prefix(name.to_owned()))
    }

    fn say(&self, text: &str) {
        if self.total.is_some() {
            let _ = self.bars.println(text);
        } else {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    fn refresh(&self) {
        if let Some(bar) = &self.total {
            bar.set_position((self.finished + self.failed) as u64);
            if self.failed > 0 {
                bar.set_message(format!("{} failed", self.failed));
            }
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.total {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use serde_json::json;

    use super::*;

    fn names_of(gpus: &[&str]) -> Vec<String> {
        gpus.iter().map(|gpu| (*gpu).to_owned()).collect()
    }

    fn job(device: &str) -> Job {
        Job {
            hash: "beef".into(),
            cells: Vec::new(),
            pipeline: json!({ "device": device })
                .as_object()
                .cloned()
                .unwrap_or_default(),
        }
    }

    /// The GPU of every slot.
    fn dealt(gpus: &[&str], asked: Option<usize>, jobs: usize) -> Vec<Option<String>> {
        let slots = slots(&names_of(gpus), asked.and_then(NonZero::new), jobs);
        slots.into_iter().map(|slot| slot.gpu).collect()
    }

    #[test]
    fn there_is_a_job_at_a_time_for_every_gpu_and_one_without() {
        let given = |gpus: &[&str]| names_of(gpus).into_iter().map(Some).collect::<Vec<_>>();
        assert_eq!(dealt(&["0", "1", "2"], None, 9), given(&["0", "1", "2"]));
        assert_eq!(dealt(&["0", "1", "2"], None, 2), given(&["0", "1"]));
        assert_eq!(dealt(&["0", "1"], Some(5), 9), given(&["0", "1", "0", "1", "0"]));
        assert_eq!(dealt(&["0", "1"], Some(1), 9), given(&["0"]));
        assert_eq!(dealt(&[], None, 9), [None]);
        assert_eq!(dealt(&[], Some(3), 9), [None, None, None]);
        assert!(dealt(&["0"], None, 0).is_empty());
    }

    #[test]
    fn gpus_keep_the_names_that_this_process_was_given() {
        assert_eq!(names(2, &[]), ["0", "1"]);
        assert_eq!(names(2, &names_of(&["5", "GPU-1a2b"])), ["5", "GPU-1a2b"]);
    }

    #[test]
    fn a_job_sees_the_gpu_of_its_slot_unless_it_names_a_device() {
        let seen = |device: &str, gpu: Option<&str>| {
            let job = job(device);
            let command = command(
                Path::new("daf-cli"),
                Path::new("runs/s"),
                &job,
                NonZero::<usize>::MIN,
                gpu,
            );
            let line: Vec<_> = command.get_args().collect();
            assert_eq!(
                line,
                ["sweep", "job", "runs/s", "beef", "--attended", "--threads", "1"]
            );
            let set = command
                .get_envs()
                .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)));
            set.collect::<Vec<_>>()
        };
        let expected = (OsString::from(VISIBLE_GPUS), Some(OsString::from("3")));
        assert_eq!(seen("auto", Some("3")), [expected]);
        assert!(seen("cpu", Some("3")).is_empty());
        assert!(seen("cuda:1", Some("3")).is_empty());
        assert!(seen("auto", None).is_empty());
    }
}
