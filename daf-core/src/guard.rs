//! Panics of code that is not daf's own, as errors of what it was working on.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};

thread_local! {
    /// Depth of calls of [`catch`] on this thread.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Place of this thread's last panic, if the program's hook [told](told) of it.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught.
#[derive(Debug)]
pub struct Caught {
    payload: Box<dyn Any + Send>,
    /// File and line, as `src/lib.rs:40`; known where the program's panic hook calls [`told`], and in the
    /// thread that panicked.
    pub place: Option<String>,
}

impl Caught {
    /// Message of the panic.
    #[must_use]
    pub fn text(&self) -> &str {
        text(self.payload.as_ref())
    }

    /// Goes on with the panic.
    pub fn resume(self) -> ! {
        panic::resume_unwind(self.payload)
    }

    /// Payload of `panic_any`, if it is a `T`.
    ///
    /// # Errors
    /// The panic itself, if it is not.
    pub fn downcast<T: 'static>(self) -> Result<T, Self> {
        let Self { payload, place } = self;
        match payload.downcast() {
            Ok(value) => Ok(*value),
            Err(payload) => Err(Self { payload, place }),
        }
    }
}

/// Does `work`, and gives the text of its panic if it panics: for decoders and other code of third parties,
/// which one bad file must not let end the program. Nothing is printed where the program's panic hook asks
/// [`is_quiet`], as that of `daf-cli` does.
///
/// Changes that `work` makes behind a reference may be left half done by a panic; the caller must discard
/// them.
///
/// ```
/// let found = daf_core::guard::quietly(|| "x".parse::<u8>().expect("a number"));
/// assert!(found.is_err_and(|text| text.starts_with("a number")));
/// ```
///
/// # Errors
/// If `work` panics.
pub fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch(work).map_err(|caught| caught.text().to_owned())
}

/// [`quietly`], with all that is known of the panic.
///
/// # Errors
/// If `work` panics.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Caught> {
    PLACE.take();
    let caught = in_quiet(true, || panic::catch_unwind(AssertUnwindSafe(work)));
    caught.map_err(|payload| Caught {
        payload,
        place: PLACE.take(),
    })
}

/// Does `work`, whose panics are caught by another thread if `quiet`: this one's hook has nothing to say of
/// them either.
pub(crate) fn in_quiet<T>(quiet: bool, work: impl FnOnce() -> T) -> T {
    struct Deeper(u32);
    impl Drop for Deeper {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - self.0);
        }
    }
    let deeper = Deeper(quiet.into());
    DEPTH.set(DEPTH.get() + deeper.0);
    work()
}

/// Whether a panic of this thread, now, would be an error of [`quietly`]: a panic hook has nothing to say of
/// it.
#[must_use]
pub fn is_quiet() -> bool {
    DEPTH.get() > 0
}

/// For panic hooks: whether the panic will be an error of [`quietly`], as [`is_quiet`]. If so, its place is
/// kept for that error.
#[must_use]
pub fn told(info: &PanicHookInfo) -> bool {
    if is_quiet() {
        let place = info.location();
        PLACE.set(place.map(|place| format!("{}:{}", place.file(), place.line())));
    }
    is_quiet()
}

/// Message of a panic.
#[must_use]
pub fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_text_and_is_quiet_only_meanwhile() {
        assert!(!is_quiet());
        assert_eq!(quietly(is_quiet), Ok(true));
        let number = 7;
        let inner = quietly(|| {
            let inner: Result<(), String> = quietly(|| panic!("number {number}"));
            assert!(is_quiet(), "the outer one goes on");
            inner
        });
        assert_eq!(inner, Ok(Err("number 7".into())));
        assert_eq!(quietly(|| -> () { panic!("plain") }), Err("plain".into()));
        assert_eq!(quietly(|| -> () { panic::panic_any(3) }), Err("unknown".into()));
        assert!(!is_quiet());
    }

    #[test]
    fn other_threads_are_not_quiet() {
        let other = quietly(|| std::thread::scope(|scope| scope.spawn(is_quiet).join().unwrap()));
        assert_eq!(other, Ok(false));
    }
}
