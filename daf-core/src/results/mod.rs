//! Files of a run, as data.

mod findings;
mod history;
mod manifest;
mod metric;
mod metrics;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use findings::Findings;
pub use history::Record;
pub use manifest::{Manifest, Origin, Shortened};
pub use metric::{Metric, short_name};
pub use metrics::{AtThreshold, Curves, Measurements, Metrics, MultiplyAdds, Prediction, Value};

use crate::calibration::Calibration;
use crate::json::{from_json, if_exists, read_json};
use crate::{Error, Result};

/// The pipeline of a run, fully resolved: what makes a folder a run directory.
pub const CONFIG: &str = "config.yaml";
/// The half of the pipeline that scores images.
pub const MODEL: &str = "model.yaml";
/// Versions, parts with their crates, device and threads of a run.
pub const MANIFEST: &str = "run.json";
/// How far a training came that was ended early.
pub const SHORTENED: &str = "shortened.json";
/// Findings about the images.
pub const FINDINGS: &str = "findings.json";
/// A picture of synthetic samples.
pub const SYNTHESIS: &str = "synthesis.png";
/// Loss terms and times of each step.
pub const HISTORY: &str = "history.jsonl";
/// Measurements; it is there once a run has been evaluated.
pub const METRICS: &str = "metrics.json";
/// ROC, precision-recall and PRO curves.
pub const CURVES: &str = "curves.json";
/// The score of each image.
pub const PREDICTIONS: &str = "predictions.csv";
/// The folder of score maps, if they are kept.
pub const MAPS: &str = "maps";

/// Remedy for files that `evaluate` writes; those of the training cannot be had again.
const AGAIN: &str = "; run `evaluate` again";

/// The files of a run directory but for its weights and pictures. Nothing of it needs the parts that made the
/// run.
#[derive(Debug, Clone)]
pub struct Results {
    /// The directory.
    pub dir: PathBuf,
    /// `config.yaml`, as text.
    pub config: String,
    /// `run.json`.
    pub manifest: Manifest,
    /// `findings.json`, once the images have been looked through.
    pub findings: Option<Vec<Findings>>,
    /// `shortened.json`, if the training was ended early.
    pub shortened: Option<Shortened>,
    /// `history.jsonl`.
    pub history: Vec<Record>,
    /// `calibration.json`, once the training has ended.
    pub calibration: Option<Calibration>,
    /// `metrics.json`, once the run has been evaluated.
    pub metrics: Option<Measurements>,
    /// `curves.json`, empty until then.
    pub curves: Curves,
    /// `predictions.csv`, empty until then.
    pub predictions: Vec<Prediction>,
}

impl Results {
    /// The thresholds that verdicts rest on: those of the evaluation, which has none if it was made with
    /// settings that give other scores; before it, those of the training.
    #[must_use]
    pub fn thresholds(&self) -> Option<&Calibration> {
        match &self.metrics {
            Some(metrics) => metrics.calibration.as_ref(),
            None => self.calibration.as_ref(),
        }
    }

    /// Reads a run directory.
    ///
    /// # Errors
    /// If it is none, or a file in it is damaged.
    pub fn read(dir: &Path) -> Result<Self> {
        let config = dir.join(CONFIG);
        let config = match fs::read_to_string(&config) {
            Ok(text) => text,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                let reason = if dir.is_dir() {
                    format!("not a run directory: it holds no {CONFIG}")
                } else if dir.exists() {
                    "not a run directory but a file".into()
                } else {
                    "no such folder".into()
                };
                return Err(Error::data(dir, reason));
            }
            Err(error) => return Err(Error::io(&config)(error)),
        };
        let manifest = read_json(&dir.join(MANIFEST), "")?
            .ok_or_else(|| Error::data(dir, format!("not a run directory: it holds no {MANIFEST}")))?;
        Ok(Self {
            config,
            manifest,
            findings: read_json(&dir.join(FINDINGS), "")?,
            shortened: read_json(&dir.join(SHORTENED), "")?,
            history: history(&dir.join(HISTORY))?,
            calibration: Calibration::read(dir)?,
            metrics: read_json(&dir.join(METRICS), AGAIN)?,
            curves: read_json(&dir.join(CURVES), AGAIN)?.unwrap_or_default(),
            predictions: predictions(&dir.join(PREDICTIONS))?,
            dir: dir.into(),
        })
    }
}

/// The last line may be in the making while a training goes on, so it is left out if it is not whole.
fn history(path: &Path) -> Result<Vec<Record>> {
    let text = if_exists(path)?.unwrap_or_default();
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let whole = lines.iter().filter(|line| line.ends_with(b"\n"));
    whole
        .zip(1..)
        .map(|(line, number)| {
            from_json(line).map_err(|fault| Error::data(path, format!("line {number}: damaged: {fault}")))
        })
        .collect()
}

fn predictions(path: &Path) -> Result<Vec<Prediction>> {
    let Some(text) = if_exists(path)? else {
        return Ok(Vec::new());
    };
    let mut reader = csv::Reader::from_reader(&text[..]);
    let columns = reader.headers().cloned().unwrap_or_default();
    let lines = reader.deserialize();
    lines
        .map(|line| {
            line.map_err(|error| {
                let fault = table_fault(&error, &columns);
                Error::data(path, format!("damaged: {fault}; run `evaluate` again"))
            })
        })
        .collect()
}

/// Description of a fault in a table.
fn table_fault(error: &csv::Error, columns: &csv::StringRecord) -> String {
    use csv::{DeserializeErrorKind, ErrorKind};
    let line = error
        .position()
        .map_or(String::new(), |place| format!("line {}: ", place.line()));
    let reason = match error.kind() {
        ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("expected {expected_len} columns, found {len}")
        }
        ErrorKind::Utf8 { .. } => "it is not a text in UTF-8".into(),
        ErrorKind::Deserialize { err, .. } => {
            let column = err.field().and_then(|field| columns.get(field as usize));
            let column = column.map_or(String::new(), |name| format!("column `{name}`: "));
            match err.kind() {
                DeserializeErrorKind::ParseFloat(_) | DeserializeErrorKind::ParseInt(_) => {
                    format!("{column}expected a number")
                }
                DeserializeErrorKind::UnexpectedEndOfRow => "a column is missing".into(),
                _ if column.is_empty() => "its columns are not those of predictions".into(),
                _ => format!("{column}expected something else"),
            }
        }
        _ => "it is not a table".into(),
    };
    line + &reason
}
