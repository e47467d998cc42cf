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
    prefer_large_pages();
}

/// Has the first gigabyte that is handed out lie in pages of 2 MB, where the system grants them: the processor finds the weights
/// and features of a network faster there. None of it is taken before it is used.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn prefer_large_pages() {
    const PAGE: usize = 2 << 20;
    // Each less than what is kept apart.
    const BLOCK: usize = 255 << 20;
    // SAFETY: `madvise` gets whole pages inside of a block that is ours, and changes nothing but how they are backed; each block
    // is freed once.
    unsafe {
        let blocks = [(); 4].map(|()| libc::malloc(BLOCK));
        for block in blocks {
            if !block.is_null() {
                let skipped = block.align_offset(PAGE);
                libc::madvise(
                    block.byte_add(skipped),
                    (BLOCK - skipped) / PAGE * PAGE,
                    libc::MADV_HUGEPAGE,
                );
            }
        }
        for block in blocks {
            libc::free(block);
        }
    }
}

/// Only the GNU C library needs to be told.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn keep() {}
