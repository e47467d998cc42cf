/// Lets the C library keep memory that is freed, for the next tensor of that size. By default it hands blocks of more than
/// a few hundred kilobytes back to the system and has them cleared anew page by page: a tenth of a training step, and a third
/// where single tensors take hundreds of megabytes. So the process stays as large as it once was. Threads share one arena, for
/// an arena of their own would give back everything above 64 MB: a fifth of the inference of large batches.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub(crate) fn keep() {
    const NO_LIMIT: i32 = -1;
    // SAFETY: `mallopt` sets numbers that the allocator reads; it is called before any other thread exists. Values that it
    // refuses change nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // No block has a mapping of its own, which would end with it.
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, NO_LIMIT);
    }
    prefer_large_pages();
}

/// Has the first gigabyte that is handed out lie in pages of 2 MB, where the system grants them: the processor finds the weights
/// and features of a network faster there. None of it is taken before it is used.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn prefer_large_pages() {
    const PAGE: usize = 2 << 20;
    const SIZE: usize = 1 << 30;
    // SAFETY: `madvise` gets whole pages inside of a block that is ours, and changes nothing but how they are backed; the block
    // is freed once.
    unsafe {
        let block = libc::malloc(SIZE);
        if !block.is_null() {
            let skipped = block.align_offset(PAGE);
            libc::madvise(
                block.byte_add(skipped),
                (SIZE - skipped) / PAGE * PAGE,
                libc::MADV_HUGEPAGE,
            );
            libc::free(block);
        }
    }
}

/// Only the GNU C library needs to be told.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn keep() {}
