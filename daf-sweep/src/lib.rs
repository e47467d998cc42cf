#![forbid(unsafe_code)]
//! Grids of runs.
//!
//! A [`SweepFile`] names a base pipeline and axes of variants. It is planned into a [`Manifest`] of jobs, each a whole
//! pipeline that goes by the hash of its content, which is frozen in the directory of a [`Sweep`]. A job is run by any
//! process on any machine that sees the directory: jobs share nothing, and what has become of one is told by its files.
//! What they measured is [collected](Sweep::collect) into [`Outcomes`], from which [`tables`](Outcomes::table) and
//! [`profiles`](Outcomes::profiles) are made.
//!
//! Planning reads pipelines, with every part that they name: the feature `plan`, which links libtorch. Without it a sweep that was run
//! is looked at.
//!
//! ```no_run
//! use daf_sweep::{Plan, Sweep, SweepFile};
//!
//! let file = SweepFile::read("sweep.yaml".as_ref())?;
//! let plan = Plan { defaults: "scorer: { type: gaussian }", ..Plan::default() };
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
mod outcomes;
mod sweep;
#[cfg_attr(not(feature = "plan"), allow(dead_code))]
mod view;

pub use axis::AxisNames;
pub use daf_core::results::Metric;
pub use figures::{Figure, FigureRow, Figures, Line, Profile, Spread};
#[cfg(feature = "plan")]
pub use file::{Plan, PlanError, SweepFile};
pub use manifest::{Job, Manifest};
pub use outcomes::{Outcome, Outcomes};
pub use sweep::{Claim, Progress, State, Sweep};
pub use view::{METRIC, Names, Panels, Plot, SEED, Selection, Table, View};
