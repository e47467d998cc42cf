use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};

use daf_core::Result;
use daf_core::config::Layers;
use daf_core::recipe::recipes;

use super::Pipeline;

/// JSON schema of a pipeline file for the parts that are linked into this program. Keys that `below`, the layers under the
/// file, have already are not required of the file and have its value as their default.
///
/// # Errors
/// If the layers cannot be merged.
pub fn schema(below: &Layers) -> Result<Schema> {
    let mut schema = schemars::schema_for!(Pipeline);
    let given = Value::from(below.merged()?);
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|key| key.as_str().is_none_or(|key| given.get(key).is_none()));
    }
    if let (Some(Value::Object(properties)), Value::Object(given)) = (schema.get_mut("properties"), given) {
        for (key, value) in given {
            if let Some(Value::Object(property)) = properties.get_mut(&key) {
                property.insert("default".into(), value);
            }
        }
    }
    Ok(schema)
}

/// Schema of the key `recipe`: one alternative per registered recipe, or none.
pub(super) fn recipe(_: &mut SchemaGenerator) -> Schema {
    let known = recipes()
        .into_iter()
        .map(|recipe| json!({ "const": recipe.name, "description": recipe.doc }));
    let alternatives: Vec<Value> = known.chain([json!({ "type": "null" })]).collect();
    schemars::json_schema!({ "anyOf": alternatives })
}
