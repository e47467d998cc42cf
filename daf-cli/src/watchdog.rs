//! Says which part of a pipeline has been at work on one thing for long: one that hangs is silent otherwise.

use std::io;
use std::thread;
use std::time::Duration;

use daf_core::contract::busy;

use crate::failure::Failure;

/// From here on parts that take long are named on standard error.
pub(crate) fn start() -> Result<(), Failure> {
    let watch = || loop {
        thread::sleep(Duration::from_secs(1));
        for part in busy() {
            let (kind, name, at, time) = (part.kind, part.name, part.at, part.time.as_secs());
            tracing::warn!("{kind} `{name}` has been at work for {time} s: {at}");
        }
    };
    let failed = |error: io::Error| Failure::work(format!("a thread cannot be started: {error}"));
    thread::Builder::new()
        .name("watchdog".into())
        .spawn(watch)
        .map_err(failed)?;
    Ok(())
}
