//! The words of messages.

use std::fmt::Display;

/// Names one after the other: `a, b and c`. Of more than `shown` the first ones and how many are left:
/// `a, b, c and 245 more`.
///
/// ```
/// use daf_core::words::listed;
/// assert_eq!(listed(&["a", "b", "c"], 8), "a, b and c");
/// assert_eq!(listed(&["a", "b", "c", "d"], 2), "a, b and 2 more");
/// ```
#[must_use]
pub fn listed(names: &[impl Display], shown: usize) -> String {
    let text = |names: &[_]| {
        names
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let left = names.len().saturating_sub(shown);
    match (&names[..names.len() - left], left) {
        ([], 0) => String::new(),
        ([], left) => left.to_string(),
        ([one], 0) => one.to_string(),
        ([others @ .., last], 0) => format!("{} and {last}", text(others)),
        (first, left) => format!("{} and {left} more", text(first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut_with_a_count() {
        let names: Vec<_> = (1..=248).collect();
        assert_eq!(listed(&names, 3), "1, 2, 3 and 245 more");
        assert_eq!(listed(&names[..4], 3), "1, 2, 3 and 1 more");
        assert_eq!(listed(&names[..3], 3), "1, 2 and 3");
        assert_eq!(listed(&names[..2], 3), "1 and 2");
        assert_eq!(listed(&names[..1], 3), "1");
        assert_eq!(listed(&names[..0], 3), "");
        assert_eq!(listed(&names, 0), "248");
    }
}
