//! The `daf-cli` command as a library.
//!
//! A program with parts of its own mentions their crates and calls [`main`]; it then has every verb with every part:
//!
//! ```no_run
//! // use my_synthesizers as _;
//! fn main() -> std::process::ExitCode {
//!     daf_cli::main()
//! }
//! ```
//!
//! This is the one crate that prints, reads the process environment and chooses exit codes.

mod bench;
mod build;
mod check;
mod compare;
mod completions;
mod cuda;
mod data;
mod detect;
mod doctor;
mod ending;
mod environment;
mod evaluate;
mod failure;
mod fit;
mod init;
mod inputs;
mod kind;
mod list;
mod memory;
mod new;
mod outside;
mod pipeline;
mod progress;
mod proposal;
mod report;
mod schema;
mod show;
mod source;
mod sweep;
mod synth;
mod train;
mod waiting;
mod watchdog;
mod within;

use std::io::{self, IsTerminal, Write};
use std::panic;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

// The default parts register themselves, but only from crates that are mentioned.
use daf_backbones_efficientnet as _;
use daf_backbones_vit as _;
use daf_data as _;
use daf_models as _;
use daf_synth as _;

use environment::Environment;
use failure::Failure;

/// Finds defects in images, having seen images without defects only.
#[derive(Debug, Parser)]
#[command(name = "daf-cli", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    /// Say more: once what is being done, twice what it is done with (DAF_LOG sets filters, e.g. DAF_LOG=daf_core=debug).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "Examples:
  daf-cli init --data images/       look at images, write a pipeline.yaml for them
  daf-cli run pipeline.yaml         learn, measure, draw maps
  daf-cli detect runs/pipeline new/ score images
  daf-cli fit runs/pipeline --add good/   more normal images, without training
  daf-cli compare runs/*            put runs side by side
  daf-cli sweep sweep.yaml          run a grid of pipelines, make tables
  daf-cli check pipeline.yaml       is everything there, do the parts fit?
  daf-cli list synthesizer          what can damage images?
  daf-cli synth preview pipeline.yaml   what do synthetic defects look like?
  daf-cli show synthesizer/dra      what can be set there?
  daf-cli new synthesizer my-stain  a crate with a part of your own

Settings of a pipeline come from the defaults, the file, variables such as
DAF__TRAINER__STEPS=600 and arguments such as --set trainer.steps=600; later
ones win. Exit codes: 0 done, 1 failed at work, 2 the pipeline or the arguments
are at fault, 130 stopped by Ctrl-C, 143 stopped by SIGTERM or SIGHUP.";

#[derive(Debug, Subcommand)]
enum Verb {
    Run(train::RunVerb),
    Train(train::Train),
    Evaluate(evaluate::Evaluate),
    Fit(fit::Fit),
    Report(report::Report),
    Compare(compare::Compare),
    Detect(detect::Detect),
    Bench(bench::Bench),
    Check(check::Check),
    Data(data::Data),
    Synth(synth::Synth),
    Sweep(sweep::Sweep),
    List(list::List),
    Show(show::Show),
    Schema(schema::Schema),
    Init(init::Init),
    New(new::New),
    Build(build::Build),
    Completions(completions::Completions),
    Doctor(doctor::Doctor),
}

impl Verb {
    /// Whether tensors are made, so that CUDA has to be there before libtorch is first asked for it.
    const fn needs_device(&self) -> bool {
        !matches!(
            self,
            Self::Report(_)
                | Self::Compare(_)
                | Self::Data(_)
                | Self::Synth(_)
                | Self::List(_)
                | Self::Show(_)
                | Self::Schema(_)
                | Self::Init(_)
                | Self::New(_)
                | Self::Build(_)
                | Self::Completions(_)
        )
    }

    fn run(&self, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Run(verb) => verb.run(context),
            Self::Train(verb) => verb.run(context),
            Self::Evaluate(verb) => verb.run(context),
            Self::Fit(verb) => verb.run(context),
            Self::Report(verb) => verb.run(context),
            Self::Compare(verb) => verb.run(context),
            Self::Detect(verb) => verb.run(context),
            Self::Bench(verb) => verb.run(context),
            Self::Check(verb) => verb.run(context),
            Self::Data(verb) => verb.run(context),
            Self::Synth(verb) => verb.run(context),
            Self::Sweep(verb) => verb.run(context),
            Self::List(verb) => verb.run(context),
            Self::Show(verb) => verb.run(context),
            Self::Schema(verb) => verb.run(context),
            Self::Init(verb) => verb.run(context),
            Self::New(verb) => verb.run(context),
            Self::Build(verb) => verb.run(context),
            Self::Completions(verb) => verb.run(context),
            Self::Doctor(verb) => verb.run(context),
        }
    }
}

/// Context of every verb.
struct Context<'a> {
    /// Standard output, for results. A reader that goes away ends the program quietly: write with `writeln!(…)?`.
    out: &'a mut dyn Write,
    /// Settings in the process environment.
    environment: Environment,
    /// When the command was started.
    started: Instant,
}

impl Context<'_> {
    /// A line on what is ahead. If nobody takes it, the work is done all the same.
    fn remark(&mut self, line: &dyn std::fmt::Display) -> Result<(), Failure> {
        match writeln!(self.out, "{line}").and_then(|()| self.out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let started = Instant::now();
    panic::set_hook(Box::new(failure::report_panic));
    let result = panic::catch_unwind(|| -> Result<(), Failure> {
        let cli = Cli::try_parse()?;
        log(cli.verbose)?;
        daf_core::registry::check()?;
        let environment = Environment::read()?;
        if cli.verb.needs_device() {
            memory::keep();
            daf_core::threads::manage();
        }
        ending::watch().map_err(|error| Failure::work(format!("signals cannot be caught: {error}")))?;
        watchdog::start()?;
        if cli.verb.needs_device() {
            cuda::load();
        }
        let mut out = anstream::stdout().lock();
        cli.verb.run(&mut Context {
            out: &mut out,
            environment,
            started,
        })?;
        Ok(out.flush()?)
    });
    match result {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => failure.report(),
        // The hook has reported it.
        Err(_) => ExitCode::from(1),
    }
}

fn log(verbose: u8) -> Result<(), Failure> {
    let default = ["warn", "warn,daf=info", "warn,daf=debug"][usize::from(verbose.min(2))];
    let filter = match environment::log_filter()? {
        Some(text) => EnvFilter::try_new(&text)
            .map_err(|error| Failure::usage(format!("environment DAF_LOG: `{text}`: {error}")))?,
        None => EnvFilter::new(default),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .log_internal_errors(false)
        .init();
    Ok(())
}
