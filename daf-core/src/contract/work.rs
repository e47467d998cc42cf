//! Calls of parts that have not come back yet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::registry::Kind;

static CALLS: Mutex<Vec<Call>> = Mutex::new(Vec::new());

struct Call {
    number: u64,
    since: Instant,
    /// After how long it is told of next.
    patience: Duration,
    busy: Busy,
}

/// A part that has been at work for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    /// The part's kind.
    pub kind: Kind,
    /// The part's name in YAML.
    pub name: String,
    /// Item that it is working on.
    pub at: String,
    /// Since when it has been silent.
    pub time: Duration,
}

/// Parts that have been at work on one thing for longer than such parts should take. Each call is told of again after twice the
/// time, so that whoever asks every second can print all of it.
#[must_use]
pub fn busy() -> Vec<Busy> {
    let overdue = |call: &mut Call| {
        let time = call.since.elapsed();
        (time >= call.patience).then(|| {
            call.patience = time * 2;
            Busy {
                time,
                ..call.busy.clone()
            }
        })
    };
    calls().iter_mut().filter_map(overdue).collect()
}

/// How long a call may take before anyone is told. Networks learn from large images for a while; what is done with one
/// image takes milliseconds.
const fn patience(kind: Kind) -> Duration {
    Duration::from_secs(match kind {
        Kind::Dataset | Kind::Synthesizer | Kind::Shape | Kind::Texture => 5,
        Kind::Backbone | Kind::DiscrepancyMeasure | Kind::Decoder | Kind::Scorer | Kind::Method => 30,
    })
}

/// A call that has begun; it has ended when this is dropped.
pub(super) struct Work(u64);

pub(super) fn begin(kind: Kind, name: &str, at: String) -> Work {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let busy = Busy {
        kind,
        name: name.into(),
        at,
        time: Duration::ZERO,
    };
    calls().push(Call {
        number,
        since: Instant::now(),
        patience: patience(kind),
        busy,
    });
    Work(number)
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut calls = calls();
        if let Some(place) = calls.iter().position(|call| call.number == self.0) {
            calls.swap_remove(place);
        }
    }
}

fn calls() -> MutexGuard<'static, Vec<Call>> {
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_of_when_it_takes_long_and_again_after_twice_that() {
        let mine = || {
            let found = busy()
                .into_iter()
                .filter(|busy| busy.name == "slow")
                .collect::<Vec<_>>();
            found.into_iter().map(|busy| busy.at).collect::<Vec<_>>()
        };
        let work = begin(Kind::Shape, "slow", "a.png".into());
        assert!(mine().is_empty());
        let make_late = || {
            for call in calls().iter_mut().filter(|call| call.number == work.0) {
                call.patience = Duration::ZERO;
            }
        };
        make_late();
        assert_eq!(mine(), ["a.png"]);
        make_late();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(mine(), ["a.png"]);
        drop(work);
        assert!(mine().is_empty());
    }
}
