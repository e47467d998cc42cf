//! The border between daf and the parts that it calls: what every part of a kind promises is checked at each call, and a part
//! that does not keep to it, or panics, is named with its crate. The checks cost little beside the work of the parts.
//!
//! Each kind has its border beside its trait, as `synthesize_checked` of [`Synthesizer`](crate::Synthesizer) and so on. Whoever
//! calls a part takes that one; so does a part that is made of other parts.

mod work;

use crate::registry::{self, Kind};
use crate::{BoxError, guard, libtorch};

pub use work::{Busy, busy};

/// A fault of a part itself, not of its settings or of what it was given: a promise that it did not keep, or a panic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; a fault of {kind} `{name}`, {}", origin(*kind, name))]
pub struct Broken {
    /// The part's kind.
    pub kind: Kind,
    /// The part's name in YAML.
    pub name: String,
    /// The promise, and what was found instead.
    pub what: String,
}

impl Broken {
    /// A fault of the part `name` of `kind`.
    pub fn new(kind: Kind, name: &str, what: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            what: what.into(),
        }
    }

    /// Ends the call of another part that called this one and cannot return errors: see [`call_within`].
    pub fn raise(self) -> ! {
        std::panic::panic_any(self)
    }
}

/// Where a part comes from, in words.
fn origin(kind: Kind, name: &str) -> String {
    match registry::find(kind, name) {
        Some(part) => format!("crate {} {}", part.krate, part.version),
        None => "which is not registered".into(),
    }
}

/// Calls a part. `at` says what it is working on, should it [take long](busy).
///
/// # Errors
/// The part's own error, or [`Broken`] if it panics.
pub(crate) fn call<T>(
    kind: Kind,
    name: &str,
    at: impl Into<String>,
    work: impl FnOnce() -> Result<T, BoxError>,
) -> Result<T, BoxError> {
    let _work = work::begin(kind, name, at.into());
    guard::catch(work).unwrap_or_else(|caught| Err(fault(kind, name, caught)))
}

/// Error for a panic of a part.
pub(crate) fn fault(kind: Kind, name: &str, caught: guard::Caught) -> BoxError {
    match libtorch::out_of_memory(caught.text()) {
        Some(reason) => reason.into(),
        None => of_panic(kind, name, caught).into(),
    }
}

/// Calls a part from another one that cannot return errors. A fault of it goes on as a panic, of which the border of that
/// other part makes the error that names this one.
pub fn call_within<T>(kind: Kind, name: &str, at: &str, work: impl FnOnce() -> T) -> T {
    let _work = work::begin(kind, name, at.into());
    let caught = match guard::catch(work) {
        Ok(value) => return value,
        Err(caught) => caught,
    };
    if libtorch::out_of_memory(caught.text()).is_some() {
        caught.resume();
    }
    of_panic(kind, name, caught).raise()
}

/// The fault behind a panic of a part: its own, or of one that it called.
fn of_panic(kind: Kind, name: &str, caught: guard::Caught) -> Broken {
    caught.downcast().unwrap_or_else(|caught| {
        let place = caught.place.as_ref().map(|place| format!(" ({place})"));
        let what = libtorch::in_short(caught.text());
        Broken::new(
            kind,
            name,
            format!("panicked: {what}{}", place.unwrap_or_default()),
        )
    })
}

/// The size of a tensor as messages write it: `2×64×32×32`.
#[must_use]
pub fn size(of: &[i64]) -> String {
    let sides: Vec<_> = of.iter().map(ToString::to_string).collect();
    if sides.is_empty() {
        "one number".into()
    } else {
        sides.join("×")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(work: impl FnOnce() -> Result<(), BoxError>) -> String {
        call(Kind::Shape, "blob", "at work", work)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_panic_names_the_part() {
        assert_eq!(
            called(|| panic!("index 3 of 2")),
            "panicked: index 3 of 2; a fault of shape `blob`, which is not registered"
        );
    }

    #[test]
    fn an_error_of_a_part_stays_its_own() {
        assert_eq!(called(|| Err("a.png: broken".into())), "a.png: broken");
    }

    #[test]
    fn a_full_memory_is_nobodys_fault() {
        let text =
            called(|| panic!("called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory.\")"));
        assert!(text.starts_with("libtorch: CUDA out of memory"), "{text}");
    }
}
