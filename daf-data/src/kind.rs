//! Kinds of defects as folders and tables name them.

use std::path::Path;

use daf_core::data::files;
use daf_core::{Error, Item, Result};

/// Names with a meaning of their own in results, in any case: normal images, or all kinds together.
const RESERVED: [&str; 4] = ["good", "normal", "ok", "all"];

/// Refuses a kind of defect that reads as something else.
pub(crate) fn check(kind: &str) -> Result<(), String> {
    if !RESERVED.iter().any(|word| kind.eq_ignore_ascii_case(word)) {
        return Ok(());
    }
    let meaning = match kind.eq_ignore_ascii_case("all") {
        true => "all kinds of defects together",
        false => "normal images",
    };
    Err(format!(
        "expected the name of a kind of defect, found `{kind}`, which stands for {meaning}"
    ))
}

/// The kind that a folder is named for. It is one, whatever its name: what would separate several becomes a
/// semicolon.
pub(crate) fn of_folder(folder: &Path) -> Result<String> {
    let name = files::name(folder);
    check(&name).map_err(|reason| {
        Error::data(
            folder,
            format!("{reason}: rename the folder, or list its images as what they are"),
        )
    })?;
    Ok(name.replace(Item::BETWEEN_KINDS, "; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_folder_is_one_kind() {
        let kind = of_folder(Path::new("bad/crack, small, deep")).unwrap();
        assert_eq!(kind, "crack; small; deep");
        assert_eq!(Item::anomalous("a.png", None, kind).kinds().count(), 1);
        assert_eq!(of_folder(Path::new("bad/crack,small")).unwrap(), "crack,small");
    }

    #[test]
    fn a_folder_named_for_something_else_is_refused() {
        for (name, meaning) in [
            ("good", "normal"),
            ("Normal", "normal"),
            ("OK", "normal"),
            ("all", "together"),
        ] {
            let refused = of_folder(&Path::new("bad").join(name)).unwrap_err().to_string();
            assert!(
                refused.contains(&format!("bad/{name}: ")) && refused.contains(meaning),
                "{refused}"
            );
        }
    }
}
