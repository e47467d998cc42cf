/// Lets the C library keep memory that is freed, for the next tensor of that size. By default it hands blocks of more than
/// a few hundred kilobytes back to the system and has them cleared anew page by page: a tenth of a training step. Threads share
/// one arena, for an arena of their own would give back everything above 64 MB: a fifth of the inference of large batches.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub(crate) fn keep() {
    // The maps of huge images go back nevertheless.
    const LARGE: i32 = 256 << 20;
    const KEPT: i32 = 2047 << 20;
    // SAFETY: `mallopt` sets numbers that the allocator reads; it is called before any other thread exists. Values that it
    // refuses change nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

/// Only the GNU C library needs to be told.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn keep() {}
