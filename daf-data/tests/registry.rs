//! Rules for every registered data set. New ones are covered from the moment they are registered.

use daf_core::registry::{self, Component};
use daf_core::{Dataset, Kind, Split, schemars};
// Links the crate, so that its parts are registered.
use daf_data as _;
use serde_json::Value;
use tempfile::TempDir;

fn datasets() -> Vec<(&'static Component, Box<dyn Dataset>)> {
    registry::components(Kind::Dataset)
        .into_iter()
        .map(|c| (c, serde_json::from_value((c.example)()).unwrap()))
        .collect()
}

#[test]
fn the_published_layouts_and_the_general_ones_are_registered() {
    registry::check().unwrap();
    let found: Vec<_> = datasets().iter().map(|(c, _)| c.name).collect();
    for name in [
        "btad", "dagm", "demo", "folder", "joined", "kolektor", "manifest", "mpdd", "multi", "mvtec", "visa",
    ] {
        assert!(found.contains(&name), "{name} is missing in {found:?}");
    }
}

#[test]
fn every_example_reads_back_to_the_same_part_and_passes_its_check() {
    for (component, part) in datasets() {
        let example = (component.example)();
        assert_eq!(example["type"], component.name);
        part.check().unwrap();
        assert_eq!(serde_json::to_value(&part).unwrap(), example);
    }
}

#[test]
fn every_part_and_every_field_is_documented_in_the_schema() {
    for (component, _) in datasets() {
        assert!(!component.summary().is_empty(), "{}", component.name);
        let schema = (component.schema)(&mut schemars::SchemaGenerator::default()).to_value();
        for field in (component.example)()
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| *key != "type")
        {
            let property = &schema["properties"][field];
            let text = property["description"].as_str().unwrap_or_default();
            assert!(
                text.len() > 15 || property.get("$ref").is_some(),
                "{}.{field}: {schema:#}",
                component.name
            );
        }
    }
}

#[test]
fn unknown_fields_are_refused() {
    for (component, _) in datasets() {
        let mut example = (component.example)();
        example["no_such_field"] = 1.into();
        let refused = serde_json::from_value::<Box<dyn Dataset>>(example)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("no_such_field"), "{}: {refused}", component.name);
    }
}

/// The examples with every path replaced.
fn moved(value: &Value, to: &str) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| match key.as_str() {
                "root" | "file" => (key.clone(), to.into()),
                _ => (key.clone(), moved(value, to)),
            })
            .collect(),
        Value::Array(values) => values.iter().map(|value| moved(value, to)).collect(),
        other => other.clone(),
    }
}

#[test]
fn a_place_where_nothing_is_is_refused_by_its_name_in_both_splits() {
    let folder = TempDir::new().unwrap();
    let empty = folder.path().to_str().unwrap();
    let absent = folder.path().join("absent");
    for (component, _) in datasets() {
        if component.name == "demo" {
            continue;
        }
        for place in [empty, absent.to_str().unwrap()] {
            let data: Box<dyn Dataset> =
                serde_json::from_value(moved(&(component.example)(), place)).unwrap();
            for split in Split::ALL {
                let refused = data.items(split).unwrap_err().to_string();
                let words = ["expected", "no such", "holds", "No such"];
                let named = refused.contains(empty) || refused.contains("good");
                assert!(
                    named && words.iter().any(|word| refused.contains(word)),
                    "{}: {refused}",
                    component.name
                );
                assert!(data.survey(split).items.is_empty());
            }
        }
        let data: Box<dyn Dataset> = serde_json::from_value(moved(&(component.example)(), "")).unwrap();
        let checked = data.check().err().map(|e| e.to_string());
        let optional = component.name == "folder";
        assert_eq!(checked.is_none(), optional, "{}: {checked:?}", component.name);
    }
}
