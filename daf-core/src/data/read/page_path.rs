//! Paths that name a page of a file.

use std::path::{Path, PathBuf};

/// The file of a path that may name a page.
pub(super) type FileOfPage = (PathBuf, Option<usize>);

/// The file and the page that a path names: `stack.tif#2` is page 2 of `stack.tif`, unless there is a file of
/// that very name.
pub(super) fn split(path: &Path) -> FileOfPage {
    let whole = || (path.to_path_buf(), None);
    let Some((name, page)) = (path.file_name().and_then(|name| name.to_str()))
        .and_then(|name| name.rsplit_once('#'))
        .filter(|(name, _)| !name.is_empty())
    else {
        return whole();
    };
    match page.parse() {
        Ok(page) if page > 0 && !path.exists() => (path.with_file_name(name), Some(page)),
        _ => whole(),
    }
}

/// The path of a page.
pub(super) fn numbered(path: &Path, page: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("#{page}"));
    name.into()
}
