//! The threads that libtorch computes with: several networks, or stages of one, at the same time.
//!
//! How many threads libtorch has is a matter of the whole process. So nothing here touches it before the program has
//! [asked for it](manage).

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tch::{Device, Kind, Tensor};

use super::macs;
use crate::guard;

static MANAGED: AtomicBool = AtomicBool::new(false);

/// Has daf decide with how many threads libtorch computes, in the whole process: a program calls it at its start if it does no
/// other work with libtorch. On a CPU with two threads images are scored in about half the time then. Without it, libtorch's
/// threads stay as the program has them.
pub fn manage() {
    MANAGED.store(true, Ordering::Relaxed);
}

/// Does the work of inference on every item, without derivatives; the results are in the order of the items. The work is done
/// on `device`.
///
/// On a CPU for which libtorch has two threads, two items are worked on at a time with one each: sharing every operation among
/// the two would have them wait for each other at its end. Otherwise, in training and where multiply-adds are counted,
/// items are worked on one after the other.
///
/// The first time, two threads are started that stay until a training begins, and no other thread should ask libtorch for the
/// first time just then: it might get their number of threads. Meanwhile OpenMP's threads wait asleep between operations, in the
/// whole process.
pub fn each<Item: Send, R: Send>(
    device: Device,
    items: impl IntoIterator<Item = Item>,
    work: impl Fn(Item) -> R + Sync,
) -> Vec<R> {
    let quiet = guard::is_quiet();
    let work = |item| guard::in_quiet(quiet, || tch::no_grad(|| work(item)));
    match pair(device) {
        Some(pair) => {
            let items: Vec<Item> = items.into_iter().collect();
            pair.install(|| items.into_par_iter().with_max_len(1).map(work).collect())
        }
        None => items.into_iter().map(work).collect(),
    }
}

/// Two pieces of work, done as [`each`] does.
pub fn both<A: Send, B: Send>(
    device: Device,
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    let quiet = guard::is_quiet();
    let (one, other) = (
        || guard::in_quiet(quiet, || tch::no_grad(one)),
        || guard::in_quiet(quiet, || tch::no_grad(other)),
    );
    match pair(device) {
        Some(pair) => pair.join(one, other),
        None => (one(), other()),
    }
}

/// Values of an image up to which sharing an operation on it costs more than it brings.
const SMALL: usize = 1 << 17;

/// Does the work of inference of a network on so many pixels.
///
/// On a CPU for which libtorch has two threads, operations on few are not shared among them, except through [`each`] and
/// [`both`], which should have most of the work: waking a second thread takes longer than what it is to do, a hundred times in
/// an image. Meanwhile libtorch has one thread for threads that ask it for the first time.
pub fn single_threaded_if_small<R>(device: Device, pixels: usize, work: impl FnOnce() -> R) -> R {
    struct Threads(i32);
    impl Drop for Threads {
        fn drop(&mut self) {
            tch::set_num_threads(self.0);
        }
    }
    if pixels > SMALL || POLICY.get() != ThreadPolicy::Pairs || pair(device).is_none() {
        return work();
    }
    let _before = (Change::to(ThreadPolicy::Alone), Threads(tch::get_num_threads()));
    tch::set_num_threads(1);
    work()
}

/// [`single_threaded_if_small`] for the work behind a network, if the network has worked so.
pub(crate) fn stay_single_threaded_if_small<R>(device: Device, pixels: usize, work: impl FnOnce() -> R) -> R {
    if running().is_some() {
        single_threaded_if_small(device, pixels, work)
    } else {
        work()
    }
}

/// Does work whose operations are large, as those of training are: each is shared among all threads of libtorch, which wait awake
/// for the next.
pub fn with_all_threads<R>(work: impl FnOnce() -> R) -> R {
    // Threads beside theirs have them wait asleep.
    running().take();
    let _before = Change::to(ThreadPolicy::Shared);
    work()
}

/// Whether [`each`] and [`both`] do two pieces of work at a time.
pub fn in_pairs(device: Device) -> bool {
    if !MANAGED.load(Ordering::Relaxed) {
        return false;
    }
    let two = match POLICY.get() {
        ThreadPolicy::Pairs => tch::get_num_threads() == 2,
        ThreadPolicy::Alone => true,
        ThreadPolicy::Shared => false,
    };
    device == Device::Cpu && two && !macs::is_counting()
}

/// How a thread uses the two that libtorch has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ThreadPolicy {
    /// Both for an operation, but for pairs of items one each.
    Pairs,
    /// One, but for pairs of items one each.
    Alone,
    /// Both for every operation.
    Shared,
}

thread_local! {
    static POLICY: Cell<ThreadPolicy> = const { Cell::new(ThreadPolicy::Pairs) };
}

/// Policy that holds until this is dropped.
struct Change(ThreadPolicy);

impl Change {
    fn to(way: ThreadPolicy) -> Self {
        Self(POLICY.replace(way))
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        POLICY.set(self.0);
    }
}

/// The two threads, once they have been started.
fn running() -> MutexGuard<'static, Option<Arc<ThreadPool>>> {
    static PAIR: Mutex<Option<Arc<ThreadPool>>> = Mutex::new(None);
    PAIR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two threads with a single one of libtorch's each, where that pays and the system grants them.
fn pair(device: Device) -> Option<Arc<ThreadPool>> {
    if !in_pairs(device) {
        return None;
    }
    let mut running = running();
    if running.is_none() {
        let pair = ThreadPoolBuilder::new().num_threads(2).build().ok()?;
        let (threads, barrier) = (tch::get_num_threads(), Barrier::new(2));
        pair.broadcast(|_| {
            // What this is shared among are threads of its own, which are never used again. But where threads outnumber
            // cores, as ours do now, OpenMP's threads wait for work asleep instead of keeping a core busy for some
            // milliseconds, and it counts only those that it has started.
            let _ = Tensor::zeros([1 << 20], (Kind::Float, Device::Cpu)).relu();
            // A thread that asks for the first time gets the number that was set last.
            barrier.wait();
            tch::set_num_threads(1);
        });
        // Which is that of threads to come.
        tch::set_num_threads(threads);
        *running = Some(Arc::new(pair));
    }
    running.clone()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{panic, thread};

    use super::*;

    /// Runs in a thread for which libtorch has so many. Their number is that of threads to come as well, so one such thread
    /// runs at a time and puts it back.
    pub(crate) fn with_threads<T: Send>(number: i32, work: impl FnOnce() -> T + Send) -> T {
        static ONE: Mutex<()> = Mutex::new(());
        struct Before(i32);
        impl Drop for Before {
            fn drop(&mut self) {
                tch::set_num_threads(self.0);
            }
        }
        let run = || {
            let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
            let _before = Before(tch::get_num_threads());
            tch::set_num_threads(number);
            work()
        };
        manage();
        let joined = thread::scope(|scope| scope.spawn(run).join());
        joined.unwrap_or_else(|reason| panic::resume_unwind(reason))
    }

    #[test]
    fn two_items_are_worked_on_at_the_same_time_with_a_thread_of_libtorch_each() {
        // Which can only end if two are at work at the same time.
        let barrier = Barrier::new(2);
        let meet = |number: usize| {
            barrier.wait();
            (number, tch::get_num_threads())
        };
        let (together, after, counted) = with_threads(2, || {
            let together = each(Device::Cpu, [1, 2], meet);
            let after = tch::get_num_threads();
            let here = |number: usize| (number, tch::get_num_threads());
            let counted = macs::count(|| each(Device::Cpu, [1, 2], here)).0;
            (together, after, counted)
        });
        assert_eq!(together, [(1, 1), (2, 1)]);
        assert_eq!(after, 2);
        assert_eq!(counted, [(1, 2), (2, 2)]);
    }

    #[test]
    fn small_work_is_done_in_one_thread_which_shares_it_in_two_pieces() {
        let barrier = Barrier::new(2);
        let meet = || {
            barrier.wait();
            tch::get_num_threads()
        };
        let threads = |pixels| {
            single_threaded_if_small(Device::Cpu, pixels, || {
                (tch::get_num_threads(), both(Device::Cpu, meet, meet))
            })
        };
        let (small, large, after) = with_threads(2, || {
            let [small, large] = [SMALL, SMALL + 1].map(threads);
            (small, large, tch::get_num_threads())
        });
        assert_eq!(small, (1, (1, 1)));
        assert_eq!(large, (2, (1, 1)));
        assert_eq!(after, 2);
        let many = with_threads(3, || {
            single_threaded_if_small(Device::Cpu, SMALL, tch::get_num_threads)
        });
        assert_eq!(many, 3);
    }

    #[test]
    fn what_is_shared_is_done_by_all_threads_of_libtorch() {
        let threads = || each(Device::Cpu, [(); 2], |()| tch::get_num_threads());
        let (pairs, shared, again) = with_threads(2, || (threads(), with_all_threads(threads), threads()));
        assert_eq!(
            (&pairs[..], &shared[..], &again[..]),
            (&[1, 1][..], &[2, 2][..], &[1, 1][..])
        );
    }
}
