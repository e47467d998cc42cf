//! Work on many images that is done in stages, at the same time.

use std::panic;
use std::thread::{self, ScopedJoinHandle};

/// Takes batches through four stages: while one is scored, the next is read and the one before finished, each in a thread
/// of its own. `score` and `take` run in this thread, in the order of the batches: networks do not move between threads, and
/// whoever prints need not be able to. At most three batches are in memory.
///
/// ```
/// let mut sums = Vec::new();
/// let read = |number: u32| Ok::<_, std::io::Error>(vec![number; 3]);
/// let score = |read: Vec<u32>| Ok(read.iter().sum::<u32>());
/// let finish = |sum| Ok(format!("{sum}"));
/// daf_core::concurrent::stages(1..=3, read, score, finish, |text| {
///     sums.push(text);
///     Ok(())
/// })?;
/// assert_eq!(sums, ["3", "6", "9"]);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// The first one of the stages, in the order of the batches; what was read or scored beyond it is dropped.
pub fn stages<Batch, Read, Scored, Finished, Error>(
    batches: impl IntoIterator<Item = Batch>,
    read: impl Fn(Batch) -> Result<Read, Error> + Sync,
    mut score: impl FnMut(Read) -> Result<Scored, Error>,
    finish: impl Fn(Scored) -> Result<Finished, Error> + Sync,
    mut take: impl FnMut(Finished) -> Result<(), Error>,
) -> Result<(), Error>
where
    Batch: Send,
    Read: Send,
    Scored: Send,
    Finished: Send,
    Error: Send,
{
    let (read, finish) = (&read, &finish);
    thread::scope(|scope| {
        let mut reading = batches.into_iter().map(|batch| scope.spawn(move || read(batch)));
        let mut next = reading.next();
        let mut finishing: Option<ScopedJoinHandle<'_, _>> = None;
        while let Some(current) = next {
            let images = join(current);
            // Only now: no more than one batch is read ahead.
            next = images.is_ok().then(|| reading.next()).flatten();
            let scored = images.and_then(&mut score);
            if let Some(before) = finishing.take() {
                take(join(before)?)?;
            }
            let scored = scored?;
            finishing = Some(scope.spawn(move || finish(scored)));
        }
        match finishing {
            Some(last) => take(join(last)?),
            None => Ok(()),
        }
    })
}

/// Result of a thread; its panic goes on in this one.
fn join<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle
        .join()
        .unwrap_or_else(|reason| panic::resume_unwind(reason))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_batch_is_scored_while_the_next_is_read_and_the_one_before_finished() {
        // Three meet here, which can only be if they are at work at the same time.
        let arrived = AtomicUsize::new(0);
        let meet = |number: usize, from: usize, to: usize| {
            if (from..=to).contains(&number) {
                // The meetings come one after the other: the first three are of the first one.
                let place = arrived.fetch_add(1, Ordering::SeqCst);
                let (all, deadline) = (place / 3 * 3 + 3, Instant::now() + Duration::from_secs(60));
                while arrived.load(Ordering::SeqCst) < all {
                    if Instant::now() > deadline {
                        return Err("nobody else is at work");
                    }
                    thread::yield_now();
                }
            }
            Ok(number)
        };
        let mut taken = Vec::new();
        stages(
            0..10,
            |number| meet(number, 2, 9),
            |number| meet(number, 1, 8),
            |number| meet(number, 0, 7),
            |number| {
                taken.push(number);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(taken, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_error_ends_it_after_everything_before_it_was_taken() {
        for stage in 0..4 {
            let at = |here: usize, number: usize| {
                if here == stage && number == 4 {
                    Err(number)
                } else {
                    Ok(number)
                }
            };
            let read = AtomicUsize::new(0);
            let mut taken = Vec::new();
            let result = stages(
                0..1000,
                |number| {
                    read.fetch_add(1, Ordering::Relaxed);
                    at(0, number)
                },
                |number| at(1, number),
                |number| at(2, number),
                |number| {
                    taken.push(at(3, number)?);
                    Ok(())
                },
            );
            assert_eq!((result, &taken[..]), (Err(4), &[0, 1, 2, 3][..]), "stage {stage}");
            assert!(read.into_inner() < 8);
        }
    }

    #[test]
    fn without_batches_there_is_nothing_to_do() {
        let nothing = |number: u32| Ok::<_, ()>(number);
        assert_eq!(stages([], nothing, nothing, nothing, |_| Err(())), Ok(()));
    }
}
