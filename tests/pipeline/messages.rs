//! A setting that is not what its key takes: the message names that key, in words that are not Rust's.

use std::fs;
use std::sync::Arc;

use daf_core::config::{Layers, read_file};
use daf_core::registry::components;
use daf_core::{
    Backbone, Dataset, Decoder, DiscrepancyMeasure, Kind, Method, Scorer, Shape, Synthesizer, Texture,
};
use daf_pipeline::Pipeline;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Words of Rust and of its libraries, which tell a user nothing.
const RUST: [&str; 36] = [
    "struct ",
    "enum ",
    "tuple",
    "newtype",
    "u8",
    "u16",
    "u32",
    "u64",
    "usize",
    "i32",
    "i64",
    "f32",
    "f64",
    "sequence",
    "variant",
    "invalid type",
    "invalid value",
    "invalid length",
    "untagged",
    "tagged",
    "Os {",
    "unit",
    "dyn ",
    "deserializ",
    "Option",
    "String",
    "Some(",
    "None",
    "::",
    "unwrap",
    "panick",
    "expected struct",
    "integer `",
    "floating point",
    "boolean",
    "mapping",
];

/// The places of all values in `value` but for the types of parts, each as messages write it.
fn places(at: &str, value: &Value, found: &mut Vec<(String, String)>) {
    let mut go = |name: String, pointer: String, value: &Value| {
        found.push((name.clone(), pointer.clone()));
        let mut below = Vec::new();
        places("", value, &mut below);
        for (inner, inner_pointer) in below {
            let dot = if inner.starts_with('[') { "" } else { "." };
            found.push((format!("{name}{dot}{inner}"), format!("{pointer}{inner_pointer}")));
        }
    };
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(key, _)| *key != "type") {
                go(format!("{at}{key}"), format!("/{key}"), value);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                go(format!("{at}[{index}]"), format!("/{index}"), value);
            }
        }
        _ => {}
    }
}

/// Values of another sort than `value`.
fn wrong(value: &Value) -> Vec<Value> {
    let map = json!({ "no_such_key": 1 });
    match value {
        Value::Number(_) => vec!["2e-4".into(), "lots".into(), true.into(), map],
        Value::Bool(_) => vec!["yes".into(), 3.into(), json!([true]), map],
        Value::String(_) => vec![json!([["x"]]), map],
        Value::Array(_) => vec!["some".into(), true.into(), map],
        Value::Object(_) => vec![3.into(), json!([{}]), json!({ "no_such_key": 1 })],
        Value::Null => vec![json!({ "no_such_key": 1 }), json!([[{}]])],
    }
}

/// Sets every value of a document to ones of another sort and checks how `read` refuses them; counts the refusals.
fn check(what: &str, document: &Value, read: &dyn Fn(&Value) -> Result<(), String>) -> usize {
    read(document).unwrap_or_else(|message| panic!("{what}: {message}"));
    let mut found = Vec::new();
    places("", document, &mut found);
    let mut refused = 0;
    for (place, pointer) in found {
        let given = document.pointer(&pointer).unwrap();
        for value in wrong(given) {
            let mut faulty = document.clone();
            *faulty.pointer_mut(&pointer).unwrap() = value.clone();
            let Err(message) = read(&faulty) else {
                // Of a key that may be text or null nobody knows what else it takes.
                assert!(
                    !given.is_number() && !given.is_boolean(),
                    "{what}: {place}: {value} is taken"
                );
                continue;
            };
            refused += 1;
            // What is wrong inside a value is named with its own key; a pair of numbers is one value.
            let pair = place.rsplit_once('[').map_or(place.as_str(), |(pair, _)| pair);
            let names = |key: &str| {
                let rest = message
                    .split_once("x.yaml: ")
                    .and_then(|(_, rest)| rest.strip_prefix(key));
                rest.is_some_and(|rest| rest.starts_with([':', '.', '[']))
            };
            assert!(
                names(&place) || names(pair),
                "{what}: {place} = {value}: {message}"
            );
            let shown = message.rsplit("x.yaml: ").next().unwrap();
            for word in RUST {
                assert!(
                    !shown.contains(word),
                    "{what}: {place} = {value}: `{word}` in {message}"
                );
            }
        }
    }
    refused
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "T: DeserializeOwned")]
struct Holder<T> {
    #[allow(dead_code)]
    part: T,
}

/// Reads a part from a file, as pipelines are read.
fn part<T: DeserializeOwned>(document: &Value) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.yaml");
    fs::write(&path, document.to_string()).unwrap();
    let found = read_file::<Holder<T>>(&path);
    found.map(drop).map_err(|error| error.to_string())
}

#[test]
fn every_part_names_the_key_that_is_at_fault() {
    for kind in Kind::ALL {
        let read: &dyn Fn(&Value) -> Result<(), String> = match kind {
            Kind::Dataset => &part::<Arc<dyn Dataset>>,
            Kind::Synthesizer => &part::<Arc<dyn Synthesizer>>,
            Kind::Shape => &part::<Arc<dyn Shape>>,
            Kind::Texture => &part::<Arc<dyn Texture>>,
            Kind::Backbone => &part::<Arc<dyn Backbone>>,
            Kind::DiscrepancyMeasure => &part::<Arc<dyn DiscrepancyMeasure>>,
            Kind::Decoder => &part::<Arc<dyn Decoder>>,
            Kind::Scorer => &part::<Arc<dyn Scorer>>,
            Kind::Method => &part::<Arc<dyn Method>>,
        };
        let mut refused = 0;
        for component in components(kind) {
            let document = json!({ "part": (component.example)() });
            refused += check(&format!("{kind} {}", component.name), &document, read);
        }
        assert!(refused > 2, "{kind}: {refused}");
    }
}

fn pipeline(document: &Value) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.yaml");
    fs::write(&path, document.to_string()).unwrap();
    let layers = Layers::new(daf_models::DEFAULTS).unwrap().file(&path);
    let found = layers.and_then(|layers| Pipeline::from_layers(&layers));
    found
        .map(drop)
        .map_err(|error| match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })
}

/// A pipeline with every setting written out.
fn written(optimizer: &Value) -> Value {
    let settings = [
        "data.type=demo".to_owned(),
        "method.teacher.weights=random".to_owned(),
        "trainer.checkpoint_every=60 s".to_owned(),
        "device=cpu".to_owned(),
        "output.dir=runs/x".to_owned(),
        "input.region=[0, 0, 1, 1]".to_owned(),
        "trainer.schedule.cosine_to=0.5".to_owned(),
        format!("trainer.optimizer={optimizer}"),
    ];
    let pipeline = Layers::new(daf_models::DEFAULTS).unwrap().set(&settings).unwrap();
    let mut document = serde_json::to_value(Pipeline::from_layers(&pipeline).unwrap()).unwrap();
    // Half a default.
    document["trainer"]["steps"].take();
    document
}

#[test]
fn every_setting_of_the_pipeline_itself_names_the_key_that_is_at_fault() {
    for optimizer in [
        json!({ "type": "adamw" }),
        json!({ "type": "adam" }),
        json!({ "type": "sgd", "learning_rate": 0.1 }),
    ] {
        let mut document = written(&optimizer);
        // Parts have a test of their own.
        for part in ["data", "synthesizer", "method", "scorer"] {
            document[part] = json!({ "type": document[part]["type"] });
        }
        let refused = check("pipeline", &document, &pipeline);
        assert!(refused > 100, "{refused}");
    }
}

/// Numbers that no setting is meant for.
const ABSURD: [&str; 9] = [
    ".nan",
    ".inf",
    "-.inf",
    "1e999",
    "-1",
    "1e300",
    "9223372036854775807",
    "-9223372036854775808",
    "1e-300",
];

#[test]
fn absurd_numbers_are_taken_or_refused_by_their_key() {
    let document = written(&json!({ "type": "adam" }));
    let mut found = Vec::new();
    places("", &document, &mut found);
    let mut refused = 0;
    for (place, pointer) in found {
        if !document.pointer(&pointer).unwrap().is_number() {
            continue;
        }
        for number in ABSURD {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x.yaml");
            // JSON has no such numbers, so they are put in as text without its quotes.
            let mut faulty = document.clone();
            *faulty.pointer_mut(&pointer).unwrap() = "ABSURD".into();
            fs::write(&path, faulty.to_string().replace("\"ABSURD\"", number)).unwrap();
            let layers = Layers::new(daf_models::DEFAULTS).unwrap().file(&path).unwrap();
            match Pipeline::from_layers(&layers) {
                Ok(_) => assert!(
                    number.contains(char::is_numeric) && number != "1e999",
                    "{place} takes {number}"
                ),
                Err(error) => {
                    refused += 1;
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    let message = format!("{error}: {}", source.unwrap_or_default());
                    let key = place.rsplit('.').next().unwrap().split('[').next().unwrap();
                    assert!(
                        message.contains("x.yaml") && message.contains(key),
                        "{place} = {number}: {message}"
                    );
                    let shown = message.rsplit("x.yaml").next().unwrap();
                    for word in RUST {
                        assert!(!shown.contains(word), "{place} = {number}: `{word}` in {message}");
                    }
                }
            }
        }
    }
    assert!(refused > 200, "{refused}");
}
