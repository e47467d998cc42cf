//! Finds the key at fault where serde does not tell it.

use serde::de::{DeserializeOwned, Unexpected};
use serde_json::{Number, Value};

use super::key::KeyPath;
use super::setting::Setting;

/// With what words serde refused a document, and where it noticed.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) at: KeyPath,
    pub(super) message: String,
}

/// Reads a document with serde.
pub(super) fn read<T: DeserializeOwned>(document: &Setting) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(document).map_err(|error| Refusal {
        at: error.path().into(),
        message: error.inner().to_string(),
    })
}

/// The name after `start` and the names that serde says there are.
pub(super) fn unknown<'m>(message: &'m str, start: &str) -> Option<(&'m str, Vec<&'m str>)> {
    let (name, rest) = message.strip_prefix(start)?.strip_prefix('`')?.split_once('`')?;
    Some((name, rest.split('`').skip(1).step_by(2).collect()))
}

/// The name of the key that serde misses.
pub(super) fn missing(message: &str) -> Option<&str> {
    Some(message.strip_prefix("missing field ")?.trim_matches('`'))
}

impl Refusal {
    /// The place of the fault; of a key that is missing, the map that lacks it.
    ///
    /// serde copies a map before it looks into it where the map decides what it is, as enums with their tag inside or none at
    /// all, and then knows no more than the place of the copy. So what is in it is changed value by value: the fault is where
    /// the message changes as the value does.
    pub(super) fn place<T: DeserializeOwned>(&self, document: &Setting) -> KeyPath {
        let Some(copied) = self.at.of(document) else {
            return self.at.clone();
        };
        let inside = self.at.below(copied);
        let changed = |at: &KeyPath, change: &dyn Fn(&mut Setting)| {
            let mut document = document.clone();
            if let Some(value) = at.of_mut(&mut document) {
                change(value);
            }
            read::<T>(&document).err()
        };
        if let Some((name, _)) = unknown(&self.message, "unknown field ") {
            let other = format!("{name}{MARK}");
            let expected = self.with(&format!("`{name}`"), &format!("`{other}`"));
            let rename = |value: &mut Setting| {
                if let Setting::Map(map) = value
                    && let Some(entry) = map.shift_remove(name)
                {
                    map.insert(other.clone(), entry);
                }
            };
            let found = std::iter::once(&self.at).chain(&inside).find(|at| {
                at.child(name).of(document).is_some()
                    && changed(at, &rename).is_some_and(|refusal| expected.contains(&refusal))
            });
            return found.map_or_else(|| self.at.clone(), |at| at.child(name));
        }
        if let Some(name) = missing(&self.message) {
            let add = |value: &mut Setting| {
                if let Setting::Map(map) = value {
                    map.insert(name.into(), Setting::Null);
                }
            };
            let found = std::iter::once(&self.at).chain(&inside).find(|at| {
                matches!(at.of(document), Some(Setting::Map(map)) if !map.contains_key(name))
                    && changed(at, &add).as_ref() != Some(self)
            });
            return found.unwrap_or(&self.at).clone();
        }
        let found = inside.iter().find(|at| {
            let others = at.of(document).map(others).unwrap_or_default();
            others.iter().any(|other| {
                let expected = self.with(&other.shown, &other.shown_instead);
                let replace = |value: &mut Setting| value.clone_from(&other.instead);
                !expected.is_empty()
                    && changed(at, &replace).is_some_and(|refusal| expected.contains(&refusal))
            })
        });
        found.unwrap_or(&self.at).clone()
    }

    /// This refusal with `instead` in place of one `shown`, for each of them.
    fn with(&self, shown: &str, instead: &str) -> Vec<Self> {
        let places = self.message.match_indices(shown);
        places
            .map(|(start, _)| Self {
                at: self.at.clone(),
                message: [
                    &self.message[..start],
                    instead,
                    &self.message[start + shown.len()..],
                ]
                .concat(),
            })
            .collect()
    }
}

/// A sign that no name in a pipeline has.
const MARK: char = '·';

/// Another value in place of one, and how messages show both.
struct Other {
    instead: Setting,
    shown: String,
    shown_instead: String,
}

/// Values of the same sort, of a list also longer and shorter ones.
fn others(value: &Setting) -> Vec<Other> {
    let truth = |truth: bool| Setting::from(Value::from(truth));
    let other = |instead: Setting, shown: &str, shown_instead: &str| Other {
        instead,
        shown: shown.into(),
        shown_instead: shown_instead.into(),
    };
    // Of two, since a key may take one of them.
    let lone = |shown: &str| {
        let text = MARK.to_string();
        let instead = format!("string {text:?}");
        vec![
            other(truth(true), shown, "boolean `true`"),
            other(Setting::Text(text), shown, &instead),
        ]
    };
    match value {
        Setting::Null => lone("null"),
        Setting::Map(_) => lone("map"),
        Setting::List(list) => {
            let resized = |length: usize| {
                let mut list = list.clone();
                list.resize(length, Setting::Null);
                list
            };
            let of_length = |length: usize| Other {
                instead: Setting::List(resized(length)),
                shown: format!("invalid length {}", list.len()),
                shown_instead: format!("invalid length {length}"),
            };
            let resized = [of_length(list.len() + 1), of_length(list.len().saturating_sub(1))];
            lone("sequence").into_iter().chain(resized).collect()
        }
        Setting::Text(text) => {
            let marked = format!("{text}{MARK}");
            // As between quotes, where some signs are escaped.
            let (shown, shown_instead) = (format!("{text:?}"), format!("{marked:?}"));
            let bare = other(Setting::Text(marked.clone()), text, &marked);
            vec![other(Setting::Text(marked), &shown, &shown_instead), bare]
        }
        Setting::Plain(plain) => match Value::from(Setting::Plain(plain.clone())) {
            Value::Bool(given) => {
                let shown = |truth: bool| Unexpected::Bool(truth).to_string();
                vec![other(truth(!given), &shown(given), &shown(!given))]
            }
            Value::Number(number) => {
                let instead = match (number.as_u64(), number.as_i64(), number.as_f64()) {
                    (Some(whole), ..) => Value::from(whole ^ 1),
                    (_, Some(whole), _) => Value::from(whole ^ 1),
                    (.., float) => Value::from(float.map_or(0.5, |float| float * 1.25)),
                };
                let shown = |number: &Value| match number.as_f64() {
                    Some(float) if number.is_f64() => Unexpected::Float(float).to_string(),
                    _ => format!("integer `{number}`"),
                };
                let found = |number: &Number| format!("found {}", number.as_f64().unwrap_or_default());
                // What is out of a range is so the more.
                let beyond = match (number.as_i64(), number.as_f64()) {
                    (Some(0), _) => Number::from(-1),
                    (Some(whole), _) => Number::from(whole.saturating_mul(2)),
                    (None, float) => Number::from_f64(2.0 * float.unwrap_or(1.0)).unwrap_or(Number::from(0)),
                };
                let (out, further) = (found(&number), found(&beyond));
                let (before, after) = (shown(&Value::Number(number)), shown(&instead));
                vec![
                    other(instead.into(), &before, &after),
                    other(Value::Number(beyond).into(), &out, &further),
                ]
            }
            _ => Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::super::range::{OddSize, Share};
    use super::*;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Whole {
        tagged: Tagged,
        #[serde(default)]
        other: Option<f64>,
    }

    #[derive(Deserialize, Debug)]
    #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
    #[allow(dead_code)]
    enum Tagged {
        Some {
            rate: f64,
            #[serde(default)]
            pair: (f64, f64),
            #[serde(default)]
            deep: BTreeMap<String, Deep>,
            #[serde(default)]
            name: String,
            #[serde(default)]
            sort: Sort,
        },
    }

    #[derive(Deserialize, Debug, Default)]
    #[serde(rename_all = "snake_case")]
    enum Sort {
        #[default]
        Fine,
        Coarse,
    }

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Deep {
        count: u8,
        #[serde(default)]
        on: bool,
        share: Option<Share>,
        side: Option<OddSize>,
    }

    #[test]
    fn the_key_is_found_that_serde_does_not_name() {
        let rate = |rate: Value| json!({ "type": "some", "rate": rate, "name": "2e-4" });
        let deep =
            |one: Value, two: Value| json!({ "type": "some", "rate": 1, "deep": { "one": one, "two": two } });
        let fine = json!({ "count": 1 });
        for (tagged, place) in [
            (rate("2e-4".into()), "tagged.rate"),
            (rate(true.into()), "tagged.rate"),
            (rate(json!({ "a": 1 })), "tagged.rate"),
            (rate(json!([1])), "tagged.rate"),
            (rate(Value::Null), "tagged.rate"),
            (rate("say \"2\"".into()), "tagged.rate"),
            (json!({ "type": "some" }), "tagged"),
            (json!({ "type": "some", "rate": 1, "rte": 1 }), "tagged.rte"),
            (json!({ "type": "some", "rate": 1, "pair": 0.9 }), "tagged.pair"),
            (json!({ "type": "some", "rate": 1, "pair": [0.9] }), "tagged.pair"),
            (
                json!({ "type": "some", "rate": 1, "pair": [1, 2, 3] }),
                "tagged.pair",
            ),
            (
                json!({ "type": "some", "rate": 1, "pair": [0.9, "0.9"] }),
                "tagged.pair[1]",
            ),
            (
                json!({ "type": "some", "rate": 1, "sort": "rough" }),
                "tagged.sort",
            ),
            (json!({ "type": "sum", "rate": 1 }), "tagged.type"),
            (json!({ "type": "some", "rate": 1, "name": 3 }), "tagged.name"),
            (
                deep(fine.clone(), json!({ "count": -1 })),
                "tagged.deep.two.count",
            ),
            (
                deep(fine.clone(), json!({ "count": 300 })),
                "tagged.deep.two.count",
            ),
            (
                deep(fine.clone(), json!({ "count": 1.5 })),
                "tagged.deep.two.count",
            ),
            (
                deep(fine.clone(), json!({ "count": 1, "on": 1 })),
                "tagged.deep.two.on",
            ),
            (
                deep(fine.clone(), json!({ "count": 1, "on": [true] })),
                "tagged.deep.two.on",
            ),
            (
                deep(fine.clone(), json!({ "count": 1, "on": null })),
                "tagged.deep.two.on",
            ),
            (
                deep(fine.clone(), json!({ "count": 1, "share": 1.5 })),
                "tagged.deep.two.share",
            ),
            (
                deep(fine.clone(), json!({ "count": 1, "share": -1 })),
                "tagged.deep.two.share",
            ),
            (
                deep(fine.clone(), json!({ "count": 1, "side": 4 })),
                "tagged.deep.two.side",
            ),
            (
                deep(fine.clone(), json!({ "count": 1, "side": 0 })),
                "tagged.deep.two.side",
            ),
            (deep(fine.clone(), json!({})), "tagged.deep.two"),
            (deep(json!({}), fine.clone()), "tagged.deep.one"),
            (
                deep(fine.clone(), json!({ "count": 1, "of": 1 })),
                "tagged.deep.two.of",
            ),
        ] {
            let document = Setting::from(json!({ "tagged": tagged, "other": 2 }));
            let refusal = read::<Whole>(&document).unwrap_err();
            assert_eq!(
                refusal.place::<Whole>(&document).to_string(),
                place,
                "{refusal:?}"
            );
        }
    }
}
