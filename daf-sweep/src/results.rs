//! Results of the jobs of a sweep.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use daf_core::atomic::write_file;
use daf_core::results::{Measurements, Metric, Results};
use daf_core::{Error, Result};

use crate::manifest::SweepManifest;
use crate::sweep::{State, Sweep};
use crate::view::{Checker, View};

/// Results of all places of a grid.
#[derive(Debug)]
pub struct SweepResults {
    pub(crate) manifest: SweepManifest,
    pub(crate) list: Vec<CellResult>,
    pub(crate) places: HashMap<Vec<String>, usize>,
}

/// Result of a place of the grid, which is that of its job.
#[derive(Debug, Clone)]
pub struct CellResult {
    /// Number of its job, from 1.
    pub number: usize,
    /// The job's hash.
    pub hash: String,
    /// A variant of every axis.
    pub cell: Vec<String>,
    /// State of the job.
    pub state: State,
    /// Measurements of the job, once it is finished.
    pub metrics: Option<Measurements>,
    /// Its run directory.
    pub dir: PathBuf,
}

impl Sweep {
    /// Reads the results of the jobs that there are so far.
    ///
    /// # Errors
    /// If a file is damaged.
    pub fn collect(&self) -> Result<SweepResults> {
        let mut list = Vec::new();
        for (number, job) in (1..).zip(&self.manifest().jobs) {
            let state = self.state(job)?;
            let dir = self.run_dir(job);
            let metrics = match state {
                State::Finished => Results::read(&dir)?.metrics,
                _ => None,
            };
            list.extend(job.cells.iter().map(|cell| CellResult {
                number,
                hash: job.hash.clone(),
                cell: cell.clone(),
                state: state.clone(),
                metrics: metrics.clone(),
                dir: dir.clone(),
            }));
        }
        Ok(SweepResults::new(self.manifest().clone(), list))
    }
}

impl SweepResults {
    /// Results of the places of a grid, given in any order.
    #[must_use]
    pub fn new(manifest: SweepManifest, mut list: Vec<CellResult>) -> Self {
        let place = |cell: &[String]| -> Vec<Option<usize>> {
            let axes = manifest.axes.iter().zip(cell);
            axes.map(|(axis, name)| axis.variants.iter().position(|known| known == name))
                .collect()
        };
        list.sort_by_key(|result| place(&result.cell));
        let places = list.iter().enumerate();
        let places = places
            .map(|(place, result)| (result.cell.clone(), place))
            .collect();
        Self {
            manifest,
            list,
            places,
        }
    }

    /// The manifest of the sweep.
    #[must_use]
    pub const fn manifest(&self) -> &SweepManifest {
        &self.manifest
    }

    /// The places of the grid, the last axis changing fastest.
    #[must_use]
    pub fn list(&self) -> &[CellResult] {
        &self.list
    }

    /// Takes tables, plots and panels from a newer version of the sweep file.
    ///
    /// # Errors
    /// If they name an axis or a variant that the jobs do not have.
    pub fn show(&mut self, file: &Path, view: View) -> Result<()> {
        let checker = Checker {
            file,
            axes: &self.manifest.axes,
        };
        checker.view(&view)?;
        self.manifest.view = view;
        Ok(())
    }

    /// Writes a line for every place of the grid as CSV: number and hash of its job, its variants, the job's
    /// state, and all metrics, shares as 0 to 1. What is not known is empty, and the last column says why.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let failed = |error: csv::Error| Error::data(path, error.to_string());
        let mut writer = csv::Writer::from_writer(Vec::new());
        let axes = self.manifest.axes.iter().map(|axis| axis.name.as_str());
        let metrics = Metric::ALL.map(Metric::name);
        let head = ["number", "hash"].into_iter().chain(axes).chain(["state"]);
        writer
            .write_record(head.chain(metrics).chain(["detail"]))
            .map_err(failed)?;
        for result in &self.list {
            let number = result.number.to_string();
            let mut detail = match &result.state {
                State::Failed(reason) => reason.clone(),
                _ => String::new(),
            };
            let values = Metric::ALL.map(|metric| match result.value(metric) {
                Ok(value) => value.to_string(),
                Err(reason) => {
                    if result.metrics.is_some() && !detail.contains(&reason) {
                        let gap = if detail.is_empty() { "" } else { "; " };
                        detail += &format!("{gap}{reason}");
                    }
                    String::new()
                }
            });
            let line = [number.as_str(), &result.hash].into_iter();
            let line = line
                .chain(result.cell.iter().map(String::as_str))
                .chain([result.state.name()])
                .chain(values.iter().map(String::as_str));
            writer
                .write_record(line.chain([detail.as_str()]))
                .map_err(failed)?;
        }
        let text = writer
            .into_inner()
            .map_err(|error| Error::data(path, error.to_string()))?;
        write_file(path, &text)
    }
}

impl CellResult {
    /// A metric of the job.
    ///
    /// # Errors
    /// The reason why it is missing.
    pub fn value(&self, metric: Metric) -> Result<f64, String> {
        match (&self.metrics, &self.state) {
            (Some(found), _) => metric.of(found),
            (None, State::Waiting) => Err("not run yet".into()),
            (None, state) => Err(state.name().into()),
        }
    }
}
