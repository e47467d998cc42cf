//! Reports on drawn runs: what the page holds, how it behaves in a browser, what TensorBoard reads.

mod browser;
mod comparison;
mod drawn;
mod page;
mod sweep;
mod tensorboard;
