//! How the program ends on request: on Ctrl-C (SIGINT), SIGTERM or SIGHUP.
//!
//! A thread waits for the signals. While the work [hears](hear) of requests, the first one lets it go on to a place from which
//! it can be taken up again. At any other time, and on a second request, the process [leaves](leave) at once: whatever it
//! writes is whole or absent at any moment, and its locks go with it.

use std::ffi::{c_char, c_int};
use std::io::{self, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::waiting;

/// Who wants the program to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Interrupt from the keyboard.
    Interrupt,
    /// Signal of another program, or of a terminal that closes.
    Terminate,
}

impl Request {
    const fn of(signal: i32) -> Self {
        match signal {
            SIGINT => Self::Interrupt,
            _ => Self::Terminate,
        }
    }

    /// The exit code that a shell gives a program that the signal has ended.
    pub(crate) const fn code(self) -> u8 {
        128 + match self {
            Self::Interrupt => SIGINT as u8,
            Self::Terminate => SIGTERM as u8,
        }
    }

    /// Whether a process has ended with the exit code of a request.
    pub(crate) fn has_ended(code: Option<i32>) -> bool {
        [Self::Interrupt, Self::Terminate]
            .map(|request| Some(request.code().into()))
            .contains(&code)
    }
}

#[derive(Debug)]
struct State {
    /// Message for a request that the work is to hear of.
    heard: Option<&'static str>,
    asked: Option<Request>,
    /// How to go on after the process has left.
    advice: Option<&'static str>,
}

fn state() -> MutexGuard<'static, State> {
    static STATE: Mutex<State> = Mutex::new(State {
        heard: None,
        asked: None,
        advice: None,
    });
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on requests are taken.
pub(crate) fn watch() -> io::Result<()> {
    // Raised by the first signal that ends the process: should nobody take its last line, the next one does without.
    let leaving = Arc::new(AtomicBool::new(false));
    let mut signals = vec![SIGINT, SIGTERM];
    // Who starts a program with nohup wants it to outlive the terminal.
    if !is_ignored(SIGHUP) {
        signals.push(SIGHUP);
    }
    for signal in &signals {
        end_early(*signal, false);
        let code = Request::of(*signal).code().into();
        flag::register_conditional_shutdown(*signal, code, Arc::clone(&leaving))?;
    }
    let mut signals = Signals::new(signals)?;
    let wait = move || {
        for signal in signals.forever() {
            take(Request::of(signal), &leaving);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}

/// Run before the libraries of the program are initialised, which takes libtorch half a second: a request has no need to wait
/// for that, nor to be answered as if there were no program yet.
#[allow(unsafe_code)]
#[used]
// SAFETY: the section is a table of such functions, which the loader calls when all libraries are in place.
#[unsafe(link_section = ".preinit_array")]
static BEFORE_ALL: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = before_all;

#[allow(unsafe_code)]
extern "C" fn before_all(_: c_int, arguments: *const *const c_char, environment: *const *const c_char) {
    // SAFETY: these are the loader's, and no library is initialised yet.
    unsafe {
        waiting::shorten(arguments, environment);
    }
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if signal != SIGHUP || !is_ignored(signal) {
            end_early(signal, true);
        }
    }
}

/// Whether a signal ends the process right away, until [`watch`] has it waited for.
#[allow(unsafe_code)]
fn end_early(signal: i32, early: bool) {
    extern "C" fn end(signal: i32) {
        const LINE: &str = "stopped on request\n";
        // SAFETY: a signal handler may write and leave, and the bytes written are those of the line.
        unsafe {
            libc::write(libc::STDERR_FILENO, LINE.as_ptr().cast(), LINE.len());
            libc::_exit(Request::of(signal).code().into());
        }
    }
    let action = if early {
        end as *const () as usize
    } else {
        libc::SIG_DFL
    };
    // SAFETY: the handler does nothing that a signal handler may not do.
    unsafe {
        libc::signal(signal, action);
    }
}

#[allow(unsafe_code)]
fn is_ignored(signal: i32) -> bool {
    // SAFETY: without a new action `sigaction` only fills in the old one, which any bytes are valid for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

fn take(request: Request, leaving: &AtomicBool) {
    let mut state = state();
    if let (Some(message), None) = (state.heard, state.asked) {
        state.asked = Some(request);
        drop(state);
        say(&format!("{message}; again to stop at once"));
        return;
    }
    leaving.store(true, Ordering::SeqCst);
    stop(&state, request);
}

/// Takes a request that comes without a signal and, unlike a second signal, is the same as one that came before.
pub(crate) fn ask(request: Request) {
    let mut state = state();
    if state.heard.is_none() {
        stop(&state, request);
    }
    state.asked.get_or_insert(request);
}

/// From here on the first request is answered by `message`, and whoever called asks from time to time whether there was one;
/// with `None` requests end the process at once, also one that came before.
pub(crate) fn hear(message: Option<&'static str>) {
    let mut state = state();
    state.heard = message;
    if let (None, Some(request)) = (message, state.asked) {
        stop(&state, request);
    }
}

/// The request that was heard.
pub(crate) fn asked() -> Option<Request> {
    state().asked
}

/// Advice on how to go on after the process has ended.
pub(crate) fn advise(advice: &'static str) {
    state().advice = Some(advice);
}

fn stop(state: &State, request: Request) -> ! {
    let advice = state
        .advice
        .map_or_else(String::new, |advice| format!("; {advice}"));
    say(&format!("stopped on request{advice}"));
    leave(request.code())
}

/// Ends the process at once. Nothing runs that was registered for its end: that takes away from under other threads, those of
/// libtorch above all, what they work with. Standard output has nothing left but a line that is not whole.
pub(crate) fn leave(code: u8) -> ! {
    low_level::exit(code.into())
}

/// Says a line, on a terminal below what is drawn there. If nobody takes it, there is nobody to be told.
fn say(line: &str) {
    let mut error = io::stderr().lock();
    let below = if error.is_terminal() { "\n" } else { "" };
    let _ = error.write_all(format!("{below}{line}\n").as_bytes());
}

/// Has the process that `command` starts asked to stop when this one ends, however that comes about.
#[allow(unsafe_code)]
pub(crate) fn end_with_us(command: &mut Command) -> &mut Command {
    let parent = process::id();
    let ask = move || {
        // SAFETY: both are system calls that touch no memory of this process.
        let (set, alone) = unsafe {
            let set = libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            (set, u32::try_from(libc::getppid()) != Ok(parent))
        };
        // It may have ended before it was said what to do then.
        if set == 0 && !alone {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: between fork and exec `ask` does nothing but system calls: it takes no lock and no memory.
    unsafe { command.pre_exec(ask) }
}
