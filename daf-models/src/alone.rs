//! Turns of the tests that draw random numbers: libtorch has one generator for all threads, so what a test draws after it has set
//! the seed would depend on the others that run at the same time.

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

thread_local! {
    static TURN: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// Keeps other tests from drawing until this one, which has a thread of its own, has ended.
pub(crate) fn alone() {
    static DRAWING: Mutex<()> = Mutex::new(());
    TURN.with_borrow_mut(|turn| {
        turn.get_or_insert_with(|| DRAWING.lock().unwrap_or_else(PoisonError::into_inner));
    });
}
