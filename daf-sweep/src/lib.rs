#![forbid(unsafe_code)]
//! Grids of runs.
//!
//! A [`SweepFile`] names a base pipeline and axes of variants. It is planned into a [`SweepManifest`] of
//! jobs, each a whole pipeline that goes by the hash of its content, which is frozen in the directory of a
//! [`Sweep`]. A job is run by any process on any machine that sees the directory: jobs share nothing, and the
//! files of a job tell its state. Their measurements are [collected](Sweep::collect) into [`SweepResults`],
//! from which [`tables`](SweepResults::table) and [`profiles`](SweepResults::profiles) are made.
//!
//! Planning reads pipelines with every part that they name, which needs the feature `plan` and with it
//! libtorch. Everything else is there without the feature.
//!
//! ```no_run
//! use daf_sweep::{PlanOptions, Sweep, SweepFile};
//!
//! let file = SweepFile::read("sweep.yaml".as_ref())?;
//! let plan = PlanOptions { defaults: "scorer: { type: gaussian }", ..PlanOptions::default() };
//! let sweep = Sweep::create("runs/sweep".as_ref(), file.plan(&plan)?)?;
//! for job in &sweep.manifest().jobs {
//!     println!("{} {}: {:?}", job.hash, sweep.manifest().describe(job), sweep.state(job)?);
//! }
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```

mod axis;
mod figures;
#[cfg(feature = "plan")]
mod file;
#[cfg(feature = "plan")]
mod job;
mod manifest;
mod results;
mod sweep;
#[cfg_attr(not(feature = "plan"), allow(dead_code))]
mod view;

pub use axis::AxisNames;
pub use daf_core::results::Metric;
pub use figures::{Figure, FigureRow, Figures, Line, Profile, Spread};
#[cfg(feature = "plan")]
pub use file::{PlanError, PlanOptions, SweepFile};
pub use manifest::{Job, SweepManifest};
pub use results::{CellResult, SweepResults};
pub use sweep::{Claim, Progress, State, Sweep};
pub use view::{METRIC, Names, PanelSpec, PlotSpec, SEED, Selection, TableSpec, View};
