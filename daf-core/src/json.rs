//! Reading JSON, with the key at fault.

use std::fs;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::config::{Setting, typed};
use crate::{Error, Result};

/// Reads a JSON file, if it exists. `mend` is what to do about one that is damaged.
///
/// # Errors
/// Names the file and the key at fault.
pub fn read_json<T: DeserializeOwned>(path: &Path, mend: &str) -> Result<Option<T>> {
    let Some(text) = if_exists(path)? else {
        return Ok(None);
    };
    from_json(&text)
        .map(Some)
        .map_err(|fault| Error::data(path, format!("damaged: {fault}{mend}")))
}

/// Reads JSON.
///
/// # Errors
/// Says where it ends too early or is no JSON; else which key is at fault, what was expected and what was
/// found.
pub fn from_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let error = match serde_json::from_slice(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Eof => return Err("it is cut short".into()),
        Category::Io | Category::Syntax => return Err(format!("{place}: this is not JSON")),
        Category::Data => {}
    }
    let document = serde_json::from_slice::<serde_json::Value>(text).map(Setting::from);
    let fault = document.ok().and_then(|document| typed::<T>(&document).err());
    Err(fault.map_or(place, |fault| match fault.key().to_string() {
        key if key.is_empty() => fault.reason,
        key => format!("{key}: {}", fault.reason),
    }))
}

/// The content of a file, if it exists.
///
/// # Errors
/// If a file that exists cannot be read.
pub(crate) fn if_exists(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path)(error)),
    }
}
