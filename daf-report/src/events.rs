//! TensorBoard event files: the history of a training and the metrics of a run, for those who watch with
//! TensorBoard.
//!
//! `tensorboard --logdir runs` shows every run below `runs`. Each start of a training adds a file
//! `events.out.tfevents.…` to the run directory. It begins with the mark of a restart at the step it goes on
//! from, on which TensorBoard drops what earlier files have from that step on; so a resumed training draws
//! one line.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use daf_core::observer::{Observer, Plan};
use daf_core::results::{Measurements, Record, Results};
use daf_core::{Error, Result};
use prost::Message;

// The part of TensorFlow's event.proto and summary.proto that scalars need.

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SessionLog.START`: what was written for this step and later ones is superseded.
const START: i32 = 1;

const PREFIX: &str = "events.out.tfevents.";

/// An event file, open for writing.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Events {
    /// Begins a file in `dir`. What other files of the folder have from `step` on is superseded.
    ///
    /// # Errors
    /// If the folder cannot be read or written to.
    pub fn start(dir: &Path, step: u64) -> Result<Self> {
        let path = dir.join(format!("{PREFIX}{:010}.daf", following(dir)?));
        let file = File::create_new(&path).map_err(Error::io(&path))?;
        let mut events = Self {
            path,
            file: BufWriter::new(file),
        };
        events.write(0, What::FileVersion("brain.Event:2".into()))?;
        events.write(step, What::SessionLog(SessionLog { status: START }))?;
        Ok(events)
    }

    /// Writes numbers that belong to a step, each under its tag; TensorBoard groups them by what stands
    /// before a slash.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn scalars<T: Into<String>>(
        &mut self,
        step: u64,
        values: impl IntoIterator<Item = (T, f64)>,
    ) -> Result<()> {
        let value = values
            .into_iter()
            .map(|(tag, value)| Scalar {
                tag: tag.into(),
                simple_value: Some(value as f32),
            })
            .collect();
        self.write(step, What::Summary(Summary { value }))
    }

    /// A record as TFRecord frames it: length, its checksum, the bytes, theirs.
    fn write(&mut self, step: u64, what: What) -> Result<()> {
        let event = Event {
            wall_time: now().as_secs_f64(),
            step: i64::try_from(step).unwrap_or(i64::MAX),
            what: Some(what),
        };
        let bytes = event.encode_to_vec();
        let length = (bytes.len() as u64).to_le_bytes();
        let parts = [&length[..], &masked_crc(&length), &bytes, &masked_crc(&bytes)];
        // Flushed at once: whoever watches the file sees whole steps.
        self.file
            .write_all(&parts.concat())
            .and_then(|()| self.file.flush())
            .map_err(Error::io(&self.path))
    }
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Seconds since 1970 for the name of a new file, but more than in any name there is: TensorBoard reads the
/// files in the order of their names.
fn following(dir: &Path) -> Result<u64> {
    let mut seconds = now().as_secs();
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let name = entry.map_err(Error::io(dir))?.file_name();
        let digits = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('.').next());
        if let Some(other) = digits.and_then(|digits| digits.parse::<u64>().ok()) {
            seconds = seconds.max(other.saturating_add(1));
        }
    }
    Ok(seconds)
}

/// The checksum of TFRecord files: a CRC-32C, rotated and shifted so that a checksum of checksums stays
/// sound.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(bytes);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Observer that writes every step of a training to an event file in its run directory: `loss/total`,
/// `loss/TERM`, `learning_rate` and `images_per_second`.
#[derive(Debug)]
pub struct TrainingEvents {
    dir: PathBuf,
    batch_size: usize,
    events: Option<Events>,
    failure: Option<Error>,
}

impl TrainingEvents {
    /// An observer of a training in the run directory `dir`.
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            batch_size: 0,
            events: None,
            failure: None,
        }
    }

    /// Reason why writing ended early, if it did; the training goes on.
    #[must_use]
    pub const fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }
}

impl Observer for TrainingEvents {
    fn started(&mut self, plan: &Plan) {
        self.batch_size = plan.batch_size;
        match Events::start(&self.dir, plan.done) {
            Ok(events) => self.events = Some(events),
            Err(error) => self.failure = Some(error),
        }
    }

    fn stepped(&mut self, record: &Record) {
        let Some(events) = &mut self.events else { return };
        let terms = record
            .terms
            .iter()
            .map(|(name, value)| (format!("loss/{name}"), *value));
        let rate = self.batch_size as f64 / record.seconds.max(f64::MIN_POSITIVE);
        let others = [
            ("loss/total", record.loss),
            ("learning_rate", record.learning_rate),
            ("images_per_second", rate),
        ];
        let others = others.map(|(tag, value)| (tag.to_owned(), value));
        if let Err(error) = events.scalars(record.step, terms.chain(others)) {
            self.events = None;
            self.failure = Some(error);
        }
    }
}

/// Writes the metrics of an evaluated run as `metrics/NAME`, at the step after its last; those of an earlier
/// evaluation are superseded. Writes nothing for a run that has not been evaluated.
///
/// # Errors
/// If the folder cannot be written to.
pub fn write_metrics(results: &Results) -> Result<()> {
    let Some(metrics) = &results.metrics else {
        return Ok(());
    };
    let step = results.history.last().map_or(0, |record| record.step + 1);
    Events::start(&results.dir, step)?.scalars(step, scalars(metrics))
}

fn scalars(found: &Measurements) -> impl Iterator<Item = (String, f64)> {
    let values = found.overall.values();
    values.filter_map(|(name, value)| Some((format!("metrics/{name}"), value.number()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_tfrecord_files() {
        // CRC-32C of "123456789" is e3069283; rotated by 15 bits and shifted by a282ead8.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        let expected = 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked_crc(b"123456789"), expected.to_le_bytes());
    }

    #[test]
    fn files_of_one_folder_are_named_in_the_order_in_which_they_were_begun() {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..3)
            .map(|step| Events::start(folder.path(), step).unwrap().path)
            .collect();
        assert!(
            names.is_sorted() && names[0] != names[1] && names[1] != names[2],
            "{names:?}"
        );
    }

    #[test]
    fn an_event_is_framed_by_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = Events::start(folder.path(), 7).unwrap();
        events.scalars(7, [("zero", 0.0)]).unwrap();
        let bytes = fs::read(&events.path).unwrap();
        let mut rest = &bytes[..];
        let mut found = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let length = u64::from_le_bytes(*length) as usize;
            found.push(Event::decode(&after[4..4 + length]).unwrap());
            rest = &after[4 + length + 4..];
        }
        assert_eq!(found.len(), 3);
        assert_eq!(found[1].step, 7);
        let Some(What::Summary(summary)) = &found[2].what else {
            panic!("{found:?}")
        };
        // A zero is written, not left out as proto3 does with defaults.
        assert_eq!(summary.value[0].simple_value, Some(0.0));
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_told_and_does_not_stop_the_training() {
        let mut observer = TrainingEvents::new("/nowhere/at/all".into());
        observer.started(&Plan {
            images: 1,
            steps: 1,
            done: 0,
            batch_size: 1,
        });
        assert!(!observer.stop());
        assert!(
            observer
                .failure()
                .unwrap()
                .to_string()
                .contains("/nowhere/at/all")
        );
    }
}
