use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use daf_core::observer::{Observer, Plan};
use daf_core::results::Record;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::ending;

/// Shows how far the download of `file` is: a bar on a terminal, otherwise a line when it begins.
pub(crate) fn download(file: &str, done: u64, total: Option<u64>) {
    static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);
    let Ok(mut bar) = BAR.lock() else { return };
    let bar = bar.get_or_insert_with(|| {
        if !io::stderr().is_terminal() {
            let _ = writeln!(io::stderr(), "downloading {file}");
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {bytes}/{total_bytes} {eta}");
        let bar = ProgressBar::new(total.unwrap_or_default()).with_prefix(file.to_owned());
        style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
    });
    bar.set_position(done);
    if Some(done) == total {
        bar.finish_and_clear();
    }
}

/// How often a plain line is printed where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

/// Steps after which their time is known well enough.
const SETTLED: u64 = 5;

/// Work that takes longer is said to, with what to do about it.
const LONG: Duration = Duration::from_secs(30 * 60);

/// Time after which work that is counted in images is projected.
const FIRST: Duration = Duration::from_secs(10);

/// Shows how far a training is, and stops it on Ctrl-C: a bar on a terminal, otherwise plain lines.
#[derive(Default)]
pub(crate) struct Training {
    bar: Option<ProgressBar>,
    plan: Option<Plan>,
    last_line: Option<Instant>,
    /// Moving average of the seconds of a step.
    pace: Option<f64>,
    /// Steps of this process.
    seen: u64,
    /// Whether it was said that the training takes long.
    warned: bool,
    counter: Option<Counter>,
}

impl Training {
    /// Shows how far work outside the steps is.
    fn count(&mut self, what: &'static str, done: usize, all: usize) {
        ending::hear(None);
        self.counter
            .get_or_insert_with(|| Counter::new(what))
            .set(done, all);
        if done == all
            && let Some(mut counter) = self.counter.take()
        {
            counter.finish();
        }
    }
}

impl Observer for Training {
    fn started(&mut self, plan: &Plan) {
        self.plan = Some(*plan);
        if plan.done < plan.steps {
            ending::hear(Some("stopping after this step"));
        }
        if plan.done > 0 {
            let _ = writeln!(io::stderr(), "going on at step {} of {}", plan.done, plan.steps);
        }
        if plan.steps > 0 && io::stderr().is_terminal() {
            let bar = ProgressBar::new(plan.steps).with_position(plan.done);
            let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}  {prefix}\n{msg}");
            self.bar = Some(style.map(|style| bar.clone().with_style(style)).unwrap_or(bar));
        }
    }

    fn stepped(&mut self, record: &Record) {
        let Some(plan) = self.plan else { return };
        let pace = self
            .pace
            .map_or(record.seconds, |pace| 0.9 * pace + 0.1 * record.seconds);
        self.pace = Some(pace);
        let done = record.step + 1;
        // More than a duration can hold is for ever.
        let left = pace * plan.steps.saturating_sub(done) as f64;
        let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
        self.seen += 1;
        // The first step is slower than the others; where even half of its pace is too slow, nothing has to settle.
        let clear = self.seen == 1 && left / 2 >= LONG;
        if !self.warned && (clear || (self.seen == SETTLED && left >= LONG)) {
            self.warned = true;
            let line = format!(
                "the {} steps that are left will take about {} here, {pace:.2} s each. What takes less: --within 10m (as many steps \
                 as fit), recipe: balanced (no training steps), a smaller input.size. Ctrl-C stops the training; the same command with \
                 --resume goes on, and with --finish uses what has been learned by then",
                plan.steps.saturating_sub(done),
                HumanDuration(left)
            );
            match &self.bar {
                Some(bar) => bar.println(line),
                None => _ = writeln!(io::stderr(), "{line}"),
            }
        }
        let rate = plan.batch_size as f64 / pace;
        let losses = losses(record);
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.set_prefix(format!("{rate:.1} images/s  {} left", HumanDuration(left)));
                bar.set_message(losses);
                if done == plan.steps {
                    bar.finish_and_clear();
                }
            }
            None if done == plan.steps || self.last_line.is_none_or(|last| last.elapsed() >= QUIET) => {
                self.last_line = Some(Instant::now());
                let left = HumanDuration(left);
                let _ = writeln!(
                    io::stderr(),
                    "step {done}/{}  epoch {}  {losses}  {rate:.1} images/s  {left} left",
                    plan.steps,
                    record.epoch
                );
            }
            None => {}
        }
    }

    fn opened(&mut self, done: usize, all: usize) {
        self.count("opening images", done, all);
    }

    fn fitted(&mut self, done: usize, all: usize) {
        self.count("reading normal images", done, all);
    }

    fn calibrated(&mut self, done: usize, all: usize) {
        self.count("choosing thresholds", done, all);
    }

    fn stop(&mut self) -> bool {
        ending::asked().is_some()
    }
}

/// The loss and its terms, those of all stages added up: `loss 7.1 (aux 2.1, cosine 1.0, seg 0.8, ssim 3.2)`.
fn losses(record: &Record) -> String {
    let mut sums: Vec<(&str, f64)> = Vec::new();
    for (name, value) in &record.terms {
        let name = name.split('.').next().unwrap_or(name);
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += value,
            None => sums.push((name, *value)),
        }
    }
    let terms: Vec<String> = sums
        .iter()
        .map(|(name, value)| format!("{name} {value:.3}"))
        .collect();
    format!("loss {:.3} ({})", record.loss, terms.join(", "))
}

/// Shows how many images are done: a bar on a terminal, otherwise nothing.
pub(crate) struct Counter {
    bar: ProgressBar,
    what: &'static str,
    started: Instant,
    warned: bool,
}

impl Counter {
    pub(crate) fn new(what: &'static str) -> Self {
        let bar = if io::stderr().is_terminal() {
            ProgressBar::new(0)
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {eta} left");
        let bar = style.map(|style| bar.clone().with_style(style)).unwrap_or(bar);
        Self {
            bar: bar.with_prefix(what),
            what,
            started: Instant::now(),
            warned: false,
        }
    }

    pub(crate) fn set(&mut self, done: usize, all: usize) {
        self.bar.set_length(all as u64);
        self.bar.set_position(done as u64);
        let elapsed = self.started.elapsed();
        if self.warned || done == 0 || elapsed < FIRST {
            return;
        }
        let each = elapsed.as_secs_f64() / done as f64;
        let left = each * all.saturating_sub(done) as f64;
        let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
        if left >= LONG {
            self.warned = true;
            let line = format!(
                "{}: the {} images that are left will take about {} here, {each:.2} s each",
                self.what,
                all.saturating_sub(done),
                HumanDuration(left)
            );
            // A hidden bar prints nothing.
            match self.bar.is_hidden() {
                true => _ = writeln!(io::stderr(), "{line}"),
                false => self.bar.println(line),
            }
        }
    }

    pub(crate) fn finish(&mut self) {
        self.bar.finish_and_clear();
    }
}
