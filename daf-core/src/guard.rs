//! Panics of code that is not daf's own, as errors of what it was working on.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    /// How many calls of [`quietly`] this thread is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Does `work`, and gives the text of its panic if it panics: for decoders and other code of third parties, which one bad
/// file must not let end the program. Nothing is printed where the program's panic hook asks [`is_quiet`], as that of
/// `daf-cli` does.
///
/// What `work` changes behind a reference may be left half done by a panic; whoever calls throws it away.
///
/// ```
/// let found = daf_core::guard::quietly(|| "x".parse::<u8>().expect("a number"));
/// assert!(found.is_err_and(|text| text.starts_with("a number")));
/// ```
///
/// # Errors
/// If `work` panics.
pub fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    struct Deeper;
    impl Drop for Deeper {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
        }
    }
    DEPTH.set(DEPTH.get() + 1);
    let _deeper = Deeper;
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| text(payload.as_ref()).to_owned())
}

/// Whether a panic of this thread, now, would be an error of [`quietly`]: a panic hook has nothing to say of it.
#[must_use]
pub fn is_quiet() -> bool {
    DEPTH.get() > 0
}

/// What a panic says.
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
