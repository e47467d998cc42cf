#![forbid(unsafe_code)]
//! Reports on runs, made of what a run directory holds; the parts that made the run are not needed.
//!
//! * [`write()`] makes `report.html`: figures, curves, the history of the training, and all test images with
//!   their heat maps on one page that stands alone.
//! * [`compare`] puts runs side by side, as a table for a terminal and as a page.
//! * [`sweep`] makes tables, plots and panels of what the jobs of a sweep measured.
//! * [`cost()`] draws what training and detecting cost against the size of the input.
//! * [`events`] writes TensorBoard event files.
//!
//! ```no_run
//! use daf_core::results::Results;
//!
//! let report = daf_report::write("runs/bottle".as_ref())?;
//! println!("{}", report.display());
//!
//! let runs = ["runs/bottle", "runs/bottle-2"].map(|dir| Results::read(dir.as_ref()));
//! let runs = runs.into_iter().collect::<Result<Vec<_>, _>>()?;
//! println!("{}", daf_report::compare(&runs)?.markdown());
//! # Ok::<(), daf_core::Error>(())
//! ```

mod charts;
mod compare;
mod cost;
pub mod events;
mod gallery;
mod page;
mod panels;
mod plot;
mod sweep;
mod table;

pub use compare::{Comparison, compare};
pub use cost::{Cost, cost};
pub use page::{FILE, page, write};
pub use sweep::{SweepReport, sweep};
