//! Turns what serde says of a faulty pipeline into what the user needs to know.

use serde_json::Value;

use super::layers::{DATA, KeyPath};
use crate::registry::{Kind, components, nearest};

/// A fault in the user's words.
pub(super) struct Fault {
    /// The key at fault, or the map that lacks a key.
    pub(super) at: KeyPath,
    /// The key that is missing.
    pub(super) missing: Option<String>,
    /// What was expected and what was found.
    pub(super) reason: String,
    /// What to do about it.
    pub(super) hint: Option<String>,
}

/// Explains the message with which serde refused `pipeline` at the place `at`.
pub(super) fn explain(pipeline: &Value, mut at: KeyPath, message: &str) -> Fault {
    let plain = |at, reason: String| Fault {
        at,
        missing: None,
        reason,
        hint: None,
    };
    if let Some((name, expected)) = unknown(message, "unknown field ") {
        // Inside enums serde does not tell where it was, only what it met.
        if at.key() != Some(name) {
            at = at.child(name);
        }
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
    if let Some(key) = message
        .strip_prefix("missing field ")
        .map(|key| key.trim_matches('`'))
    {
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
        let value = at.of(pipeline);
        let hint = hint(value, &at, expected);
        let found = match value {
            Some(value) if !message.starts_with("invalid length") => found(value),
            _ if message.starts_with("invalid length") => format!("{found_words} elements"),
            _ => found_words.to_owned(),
        };
        return Fault {
            hint,
            ..plain(at, format!("expected {}, found {found}", wanted(expected)))
        };
    }
    plain(at, message.to_owned())
}

/// The name after `start` and the names that serde says there are.
fn unknown<'m>(message: &'m str, start: &str) -> Option<(&'m str, Vec<&'m str>)> {
    let (name, rest) = message.strip_prefix(start)?.strip_prefix('`')?.split_once('`')?;
    Some((name, rest.split('`').skip(1).step_by(2).collect()))
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

fn list(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => names.concat(),
    }
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

/// A value as a message shows it.
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a map".into(),
    }
}

/// What serde expects, without the names of Rust types.
fn wanted(expected: &str) -> String {
    match expected {
        "f32" | "f64" => "a number".into(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "a boolean" => "true or false".into(),
        "a string" | "path string" | "str" => "text".into(),
        "a sequence" => "a list".into(),
        other if other.starts_with("dyn ") => "a map with `type`".into(),
        other if other.starts_with("struct ") || other.starts_with("internally tagged enum ") => {
            "a map".into()
        }
        other => other.strip_prefix("expected ").unwrap_or(other).to_owned(),
    }
}

fn hint(value: Option<&Value>, at: &KeyPath, expected: &str) -> Option<String> {
    match value? {
        Value::Null => Some("leave the key out to get its default".into()),
        Value::String(name) if expected.starts_with("dyn ") => Some(format!(
            "write `{}: {{ type: {name} }}`",
            at.key().unwrap_or("part")
        )),
        Value::Number(number) if matches!(expected, "a string" | "path string") => {
            Some(format!("quote it: \"{number}\""))
        }
        Value::String(text) if expected != "a string" && text.parse::<f64>().is_ok() => {
            Some("leave the quotes out".into())
        }
        _ => None,
    }
}
