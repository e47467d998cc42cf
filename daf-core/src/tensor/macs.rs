//! Multiply-adds of networks, counted while they run.

use std::cell::Cell;

use crate::results::MultiplyAdds;

thread_local! {
    /// The sums, while counting is active, and the factor of [`scaled`].
    static COUNTED: Cell<(Option<MultiplyAdds>, u64)> = const { Cell::new((None, 1)) };
}

/// Counts the multiply-adds of all blocks that run on this thread in `work`.
pub fn count<T>(work: impl FnOnce() -> T) -> (T, MultiplyAdds) {
    let before = COUNTED.replace((Some(MultiplyAdds::default()), 1));
    let result = work();
    let (counted, _) = COUNTED.replace(before);
    (result, counted.unwrap_or_default())
}

/// Whether counting is active on this thread.
pub(crate) fn is_counting() -> bool {
    COUNTED.get().0.is_some()
}

/// Scales what is counted in `work`, which computes by an identity: the network as it is defined takes `factor` times as many
/// multiply-adds.
pub fn scaled<T>(factor: u64, work: impl FnOnce() -> T) -> T {
    let (counted, before) = COUNTED.get();
    COUNTED.set((counted, before * factor));
    let result = work();
    COUNTED.set((COUNTED.get().0, before));
    result
}

/// Adds multiply-adds that papers count although inference does without them: layers behind the last stage of a published
/// network, heads for training alone.
pub fn add_published_only(multiply_adds: u64) {
    add(0, multiply_adds);
}

/// Adds those carried out, and by how much papers count more than the definition takes.
pub(crate) fn add(carried_out: u64, published_only: u64) {
    COUNTED.with(|counted| {
        if let (Some(mut sum), factor) = counted.get() {
            sum.carried_out += carried_out;
            sum.defined += carried_out * factor;
            sum.published += carried_out * factor + published_only;
            counted.set((Some(sum), factor));
        }
    });
}
