//! What libtorch says when it throws, which tch passes on as panics.

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

/// What to say of a message by which there is not enough memory; `None` for others.
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
