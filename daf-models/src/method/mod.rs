//! Methods.

mod daf;

pub use daf::{Auxiliary, Daf, Mining, Segmentation, Targets};
