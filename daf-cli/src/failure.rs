use std::any::Any;
use std::error::Error;
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Style};
use daf_core::{BoxError, guard, libtorch};

use crate::ending::{self, Request};

/// Why the program ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The pipeline or the arguments are at fault.
    Usage(BoxError),
    /// Something went wrong at work.
    Work(BoxError),
    /// The reader of the output has closed it.
    Closed,
    /// The work was stopped on request and can go on; how, says the text.
    Stopped(String),
    /// clap's own messages: bad arguments, but help and version as well.
    Arguments(clap::Error),
}

impl Failure {
    /// The pipeline or the arguments are at fault.
    pub(crate) fn usage(error: impl Into<BoxError>) -> Self {
        Self::Usage(error.into())
    }

    /// Something went wrong at work.
    pub(crate) fn work(error: impl Into<BoxError>) -> Self {
        Self::Work(error.into())
    }

    /// Message for the user, one line per cause.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Usage(error) | Self::Work(error) => joined(&lines(error.as_ref())),
            Self::Closed => "nobody reads the output".into(),
            Self::Stopped(text) => text.clone(),
            Self::Arguments(error) => error.to_string(),
        }
    }

    /// Prints the failure and gives its exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let (error, code) = match self {
            Self::Closed => return ExitCode::SUCCESS,
            Self::Stopped(text) => {
                let _ = writeln!(anstream::stderr(), "{text}");
                return ExitCode::from(ending::asked().map_or(1, Request::code));
            }
            Self::Arguments(error) => {
                let _ = error.print();
                return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
            }
            Self::Usage(error) => (error, 2),
            Self::Work(error) => (error, 1),
        };
        print_error(&lines(error.as_ref()));
        ExitCode::from(code)
    }
}

impl From<daf_core::Error> for Failure {
    fn from(error: daf_core::Error) -> Self {
        match error {
            daf_core::Error::Interrupted { .. } => Self::Stopped(error.to_string()),
            error if error.is_usage() => Self::usage(error),
            error => Self::work(error),
        }
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::Arguments(error)
    }
}

/// Whether all was done; otherwise what was not, `(how many, what one is called, what several, what could not be done)`.
pub(crate) fn left_out(counts: &[(usize, &str, &str, &str)]) -> Result<(), Failure> {
    let parts: Vec<String> = (counts.iter())
        .filter_map(|(count, one, several, done)| match count {
            0 => None,
            1 => Some(format!("one {one} could not be {done}")),
            many => Some(format!("{many} {several} could not be {done}")),
        })
        .collect();
    if parts.is_empty() {
        Ok(())
    } else {
        Err(Failure::work(parts.join(", ")))
    }
}

/// Errors of standard output; those of files have a path and are [`daf_core::Error::Io`].
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::work(format!("standard output: {error}")),
        }
    }
}

/// The chain of causes, one line each; a cause that the line before quotes already is left out.
fn lines(error: &dyn Error) -> Vec<String> {
    let mut lines = vec![libtorch::first_line(&error.to_string()).to_owned()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = libtorch::first_line(&error.to_string()).to_owned();
        if lines.last().is_none_or(|last| !last.contains(&line)) {
            lines.push(line);
        }
        cause = error.source();
    }
    lines
}

fn joined(lines: &[String]) -> String {
    lines.join("\n  caused by: ")
}

fn print_error(lines: &[String]) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let text = joined(lines);
    // Nobody is left to be told if this fails.
    let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {text}");
}

/// Says in one line what would be a panic's message and backtrace. tch panics where libtorch throws, so that a full
/// memory comes this way too and is no fault of the program.
pub(crate) fn report_panic(info: &PanicHookInfo) {
    if guard::told(info) {
        return;
    }
    let place = info
        .location()
        .map(|place| format!(" ({}:{})", place.file(), place.line()));
    print_error(&[describe_panic(info.payload(), &place.unwrap_or_default())]);
}

/// Message of a panic, in one line.
pub(crate) fn describe_panic(payload: &(dyn Any + Send), place: &str) -> String {
    let message = guard::text(payload);
    match libtorch::out_of_memory(message) {
        Some(reason) => reason,
        None => format!(
            "internal error: {}{place}; please report it",
            libtorch::first_line(message)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_listed_once_and_without_the_stack_of_libtorch() {
        let source = io::Error::other("disk full\nException raised from x.cpp\nframe #0: y");
        let error = daf_core::Error::io("a/b")(source);
        assert_eq!(lines(&error), ["a/b: disk full"]);
        let error = daf_core::Error::Part {
            kind: daf_core::Kind::Method,
            name: "daf".into(),
            at: "method".into(),
            source: Box::new(error),
        };
        assert_eq!(lines(&error), ["method `daf` (method)", "a/b: disk full"]);
    }

    #[test]
    fn a_full_memory_is_no_internal_error() {
        let panic = "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory.\\nException raised from x\")";
        assert_eq!(
            describe_panic(&panic, " (a.rs:1)"),
            "libtorch: CUDA out of memory.; smaller batches or images need less"
        );
        assert_eq!(
            describe_panic(&"index out of bounds".to_owned(), " (a.rs:1)"),
            "internal error: index out of bounds (a.rs:1); please report it"
        );
    }
}
