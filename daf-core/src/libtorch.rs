//! The libtorch in use: where and which it is, and what it says when it throws, which tch passes on as panics.

use std::fs;
use std::path::PathBuf;

/// Path that a library of this process was loaded from, by its file name, as Linux tells it; `None` if it was not, or is a part of the
/// program.
#[must_use]
pub fn loaded(library: &str) -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let paths = maps
        .lines()
        .filter_map(|line| line.find('/').map(|start| PathBuf::from(&line[start..])));
    paths
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| name == library))
}

/// The version of the libtorch in use, which libtorch and PyTorch keep in a file beside `lib`.
#[must_use]
pub fn version() -> Option<String> {
    let library = loaded("libtorch_cpu.so")?;
    let folder = library.ancestors().nth(2)?;
    let text = fs::read_to_string(folder.join("build-version"))
        .or_else(|_| fs::read_to_string(folder.join("version.py")))
        .ok()?;
    let quoted = text.lines().find_map(|line| line.strip_prefix("__version__ = "));
    Some(quoted.unwrap_or(&text).trim().trim_matches('\'').to_owned())
}

/// A message without the C++ stack that libtorch puts under its own. In panics the lines are divided by a written `\\n`.
#[must_use]
pub fn first_line(message: &str) -> &str {
    let starts = [
        "\nException raised from",
        "\\nException raised from",
        "\nframe #",
        "\\nframe #",
    ];
    let end = starts.iter().filter_map(|start| message.find(start)).min();
    message[..end.unwrap_or(message.len())].trim_end()
}

/// Words for a message about missing memory; `None` for other messages.
#[must_use]
pub fn out_of_memory(message: &str) -> Option<String> {
    let full = ["out of memory", "can't allocate memory"];
    full.iter()
        .any(|text| message.contains(text))
        .then(|| message.split_once(THROWN))?
        .map(|(_, error)| {
            format!(
                "libtorch: {}; smaller batches or images need less",
                first_line(error)
            )
        })
}

/// A panic's message in short: what libtorch says without what Rust puts around it.
#[must_use]
pub fn in_short(message: &str) -> String {
    match message.split_once(THROWN) {
        Some((_, error)) => format!("libtorch: {}", first_line(error).trim_end_matches("\")")),
        None => first_line(message).to_owned(),
    }
}

/// How tch's errors look where they are unwrapped.
const THROWN: &str = "Torch(\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_before_the_stack_of_libtorch() {
        assert_eq!(
            first_line("disk full\nException raised from x.cpp\nframe #0: y"),
            "disk full"
        );
        let panic =
            "called `Result::unwrap()` on an `Err` value: Torch(\"sizes differ\\nException raised from x\")";
        assert_eq!(in_short(panic), "libtorch: sizes differ");
        assert_eq!(
            in_short("called `Result::unwrap()` on an `Err` value: Torch(\"sizes differ\")"),
            "libtorch: sizes differ"
        );
        assert_eq!(in_short("index 3 of 2"), "index 3 of 2");
    }

    #[test]
    fn a_full_memory_is_told_apart() {
        let panic = "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory.\\nException raised from x\")";
        let reason = "libtorch: CUDA out of memory.; smaller batches or images need less";
        assert_eq!(out_of_memory(panic).as_deref(), Some(reason));
        assert_eq!(out_of_memory("sizes differ"), None);
    }
}
