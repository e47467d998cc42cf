//! Image files of every kind, whole and damaged.

mod formats;
mod hostile;
