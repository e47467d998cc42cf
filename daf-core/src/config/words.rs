//! Turns what serde says of a faulty pipeline into what the user needs to know.

use serde::de::DeserializeOwned;

use super::key::KeyPath;
use super::refusal::{missing, read, unknown};
use super::setting::Setting;
use crate::registry::{Kind, components, nearest};
use crate::words::listed;

/// An example of the one thing that every pipeline must say.
pub(super) const DATA: &str =
    "say where images come from, for example `data: { type: mvtec, root: /data/mvtec, category: bottle }`";

/// A fault in the user's words.
pub(crate) struct Fault {
    /// The key at fault, or the map that lacks a key.
    pub(crate) at: KeyPath,
    /// The key that is missing.
    pub(crate) missing: Option<String>,
    /// Expected and found values.
    pub(crate) reason: String,
    /// Remedy.
    pub(crate) hint: Option<String>,
}

impl Fault {
    /// The key at fault, be it there or missing.
    pub(crate) fn key(&self) -> KeyPath {
        let missing = self.missing.as_ref().map(|key| self.at.child(key));
        missing.unwrap_or_else(|| self.at.clone())
    }
}

/// Deserializes a document.
pub(crate) fn typed<T: DeserializeOwned>(document: &Setting) -> Result<T, Fault> {
    read(document).map_err(|refusal| explain(document, refusal.place::<T>(document), &refusal.message))
}

/// Explains the message with which serde refused a document at the place `at`.
fn explain(document: &Setting, mut at: KeyPath, message: &str) -> Fault {
    let plain = |at, reason: String| Fault {
        at,
        missing: None,
        reason,
        hint: None,
    };
    if let Some((name, expected)) = unknown(message, "unknown field ") {
        let hint = match (nearest(name, expected.iter().copied()), expected.is_empty()) {
            (_, true) => "there are no keys here".into(),
            (Some(near), false) => format!("did you mean `{near}`? There are {}", list(&expected)),
            (None, false) => format!("there are {}", list(&expected)),
        };
        return Fault {
            hint: Some(hint),
            ..plain(at, "unknown key".into())
        };
    }
    if let Some((name, expected)) = unknown(message, "unknown variant ") {
        let kind = kind_of(&expected);
        let what = kind.map_or("value", Kind::name);
        if kind.is_some() && at.key() != Some("type") {
            at = at.child("type");
        }
        let near = nearest(name, expected.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        let linked = kind.map(|_| "Is the crate that brings it named under `plugins`?");
        let hint = near
            .as_deref()
            .into_iter()
            .chain(linked)
            .collect::<Vec<_>>()
            .join(" ");
        let reason = if expected.is_empty() {
            "there are no parts of this kind".into()
        } else {
            format!("there is no {what} `{name}`, only {}", list(&expected))
        };
        return Fault {
            hint: Some(lower(&hint)).filter(|hint| !hint.is_empty()),
            ..plain(at, reason)
        };
    }
    if let Some(key) = missing(message) {
        let hint = match key {
            "data" if at == KeyPath::default() => Some(DATA.to_owned()),
            "type" => Some("`daf-cli list` shows what there is".into()),
            _ => None,
        };
        return Fault {
            missing: Some(key.into()),
            hint,
            ..plain(at, "missing".into())
        };
    }
    if let Some((found_words, expected)) = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .find_map(|start| message.strip_prefix(start)?.split_once(", expected "))
    {
        let value = at.of(document);
        let hint = hint(value, &at, expected);
        let found = match value {
            Some(Setting::List(list)) if message.starts_with("invalid length") => {
                format!("a list of {}", list.len())
            }
            Some(value) => found(value),
            None => found_words.to_owned(),
        };
        return Fault {
            hint,
            ..plain(at, format!("expected {}, found {found}", wanted(expected, value)))
        };
    }
    if message.starts_with("data did not match any variant of untagged enum ") {
        let found = at.of(document).map_or("something else".into(), found);
        return plain(at, format!("{found} is none of the forms that this key takes"));
    }
    // What a type of our own expects, where serde found no form that fits.
    if message.starts_with("expected ") && !message.contains("found ") {
        let value = at.of(document);
        let found = value.map_or("something else".into(), found);
        return Fault {
            hint: hint(value, &at, message),
            ..plain(at, format!("{message}, found {found}"))
        };
    }
    plain(at, message.to_owned())
}

/// The kind of part whose names these are.
fn kind_of(names: &[&str]) -> Option<Kind> {
    let same = |kind: &Kind| {
        components(*kind)
            .iter()
            .map(|component| component.name)
            .eq(names.iter().copied())
    };
    Kind::ALL.into_iter().find(same)
}

/// Names in messages; those of more than any part has keys are cut.
fn list(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    listed(&names, SHOWN)
}

/// As many names as a message shows.
const SHOWN: usize = 32;

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

/// A value as a message shows it.
pub(super) fn found(value: &Setting) -> String {
    match value {
        Setting::Null => "null".into(),
        Setting::Plain(plain) => plain.text().to_owned(),
        Setting::Text(text) => format!("the text {text:?}"),
        Setting::List(_) => "a list".into(),
        Setting::Map(_) => "a map".into(),
    }
}

/// Expected value in serde's words, without the names of Rust types.
fn wanted(expected: &str, found: Option<&Setting>) -> String {
    // The limits of a number are of interest to whoever is beyond them.
    let above = |most: u64| {
        let number = found
            .and_then(Setting::written)
            .and_then(|text| text.parse::<f64>().ok());
        number.is_some_and(|number| number > most as f64)
    };
    let whole = |most: u64| match above(most) {
        true => format!("a whole number of at most {most}"),
        false => "a whole number of at least 0".into(),
    };
    let count = |text: &str| {
        text.split_whitespace()
            .find_map(|word| word.parse::<usize>().ok())
    };
    match expected {
        "f32" | "f64" => "a number".into(),
        "u8" => whole(u8::MAX.into()),
        "u16" => whole(u16::MAX.into()),
        "u32" => whole(u32::MAX.into()),
        // Larger ones are no whole numbers in YAML.
        "u64" | "usize" => whole(i64::MAX as u64),
        "i64" | "isize" if above(i64::MAX as u64) => whole(i64::MAX as u64),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "a boolean" => "true or false".into(),
        "a string" | "path string" | "str" | "string" | "a borrowed string" => "text".into(),
        "a character" => "one letter or sign".into(),
        "a sequence" => "a list".into(),
        "unit" => "null".into(),
        other if other.starts_with("a nonzero ") => "a whole number that is not 0".into(),
        other if other.starts_with("dyn ") => "a map with `type`".into(),
        other if other.starts_with("struct ") || other.starts_with("internally tagged enum ") => {
            "a map".into()
        }
        other if other.starts_with("adjacently tagged enum ") => "a map".into(),
        other if other.contains("variant identifier") || other.starts_with("enum ") => {
            "one of the names that there are".into()
        }
        other
            if ["a tuple of ", "tuple struct ", "tuple variant ", "an array of "]
                .iter()
                .any(|start| other.starts_with(start))
                || other.ends_with(" in sequence")
                || other.ends_with(" in array") =>
        {
            match count(other) {
                Some(1) => "a list of one value".into(),
                Some(count) => format!("a list of {count} values"),
                None => "a list of fewer values".into(),
            }
        }
        other => other.strip_prefix("expected ").unwrap_or(other).to_owned(),
    }
}

fn hint(value: Option<&Setting>, at: &KeyPath, expected: &str) -> Option<String> {
    let takes_text = wanted(expected, None) == "text";
    match value? {
        Setting::Null => Some("leave the key out to get its default".into()),
        Setting::Text(name) if expected.starts_with("dyn ") => Some(format!(
            "write `{}: {{ type: {name} }}`",
            at.key().unwrap_or("part")
        )),
        Setting::Plain(plain) if takes_text => Some(format!("quote it: \"{}\"", plain.text())),
        Setting::Text(text) if !takes_text && matches!(Setting::of_text(text), Setting::Plain(_)) => {
            Some("leave the quotes out".into())
        }
        _ => None,
    }
}
