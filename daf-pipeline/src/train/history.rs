//! `history.jsonl`: one line per step.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::checkpoint::Position;
use daf_core::results::Record;
use daf_core::{Error, Result};

/// The file, open at its end.
pub(super) struct History {
    path: PathBuf,
    file: BufWriter<File>,
    length: u64,
}

impl History {
    /// Opens the file and cuts off what was written after the checkpoint.
    pub(super) fn open(path: &Path, position: Position) -> Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(Error::io(path))?;
        let found = file.metadata().map_err(Error::io(path))?.len();
        if found < position.history {
            let reason = format!(
                "has {found} bytes, but {} were written before the checkpoint: it was changed or lost since",
                position.history
            );
            return Err(Error::data(path, reason));
        }
        file.set_len(position.history).map_err(Error::io(path))?;
        file.seek(SeekFrom::End(0)).map_err(Error::io(path))?;
        Ok(Self {
            path: path.into(),
            file: BufWriter::new(file),
            length: position.history,
        })
    }

    pub(super) fn append(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record).map_err(|e| Error::io(&self.path)(e.into()))?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .and_then(|()| self.file.flush())
            .map_err(Error::io(&self.path))?;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Makes everything so far safe; gives the file's length.
    pub(super) fn sync(&mut self) -> Result<u64> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_data())
            .map_err(Error::io(&self.path))?;
        Ok(self.length)
    }
}
