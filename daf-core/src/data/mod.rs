//! From image files to batches.

mod read;

pub use read::{read_mask, read_rgb, resize_mask, resize_rgb};
