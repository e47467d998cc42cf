//! Textures: materials of defects, and their forms in YAML.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use daf_core::{Fill, Texture};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub mod augment;
mod color;
pub mod colorspace;
mod cut;
mod folder;
mod jitter;
pub mod procedural;

pub use color::{Color, Granularity};
pub use cut::{Donor, SameImage};
pub use folder::Folder;
pub use procedural::Procedural;

/// A texture as it is written in YAML: `procedural`, the path of a folder (`./procedural` for one of that
/// name), or a map with the `type` and the settings of any texture.
#[derive(Debug, Clone)]
pub enum Textures {
    /// The short form of [`Procedural`].
    Procedural(Procedural),
    /// The short form of [`Folder`].
    Folder(Folder),
    /// A map with `type`, any texture.
    Part(Arc<dyn Texture>),
}

impl Textures {
    /// The short form of [`Textures::Procedural`] in YAML.
    pub const PROCEDURAL: &'static str = "procedural";

    /// A texture of any type.
    pub fn of(texture: impl Texture + 'static) -> Self {
        Self::Part(Arc::new(texture))
    }

    /// The texture.
    #[must_use]
    pub fn texture(&self) -> &dyn Texture {
        match self {
            Self::Procedural(texture) => texture,
            Self::Folder(texture) => texture,
            Self::Part(texture) => texture.as_ref(),
        }
    }
}

/// Procedural textures, which need no files.
impl Default for Textures {
    fn default() -> Self {
        Self::Procedural(Procedural::default())
    }
}

impl From<&str> for Textures {
    fn from(text: &str) -> Self {
        if text == Self::PROCEDURAL {
            Self::default()
        } else {
            Self::from(Path::new(text))
        }
    }
}

impl From<&Path> for Textures {
    fn from(path: &Path) -> Self {
        Self::Folder(Folder::new(path))
    }
}

impl Serialize for Textures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Procedural(_) => serializer.serialize_str(Self::PROCEDURAL),
            Self::Folder(folder) => serializer.serialize_str(&folder.path().to_string_lossy()),
            Self::Part(texture) => texture.serialize(serializer),
        }
    }
}

/// By hand, so that a fault inside the map keeps its place: an untagged enum would only say that nothing
/// fits.
impl<'de> Deserialize<'de> for Textures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Textures;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`procedural`, a folder or a map with `type`")
            }
            fn visit_str<E>(self, text: &str) -> Result<Textures, E> {
                Ok(text.into())
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Textures, A::Error> {
                Arc::deserialize(MapAccessDeserializer::new(map)).map(Textures::Part)
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for Textures {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Textures".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let part = generator.subschema_for::<Arc<dyn Texture>>();
        schemars::json_schema!({ "anyOf": [{ "type": "string", "minLength": 1 }, part] })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Textures, String> {
        serde_path_to_error::deserialize(value)
            .map_err(|error| format!("{}: {}", error.path(), error.inner()))
    }

    #[test]
    fn short_and_long_forms_are_written_as_they_were_read() {
        for value in [
            json!("procedural"),
            json!("/data/dtd/images"),
            json!("./procedural"),
            json!({"type": "procedural", "patterns": ["cells", "weave"]}),
            json!({"type": "folder", "path": "/data/dtd", "formats": ["jpg"]}),
            json!({"type": "colour", "granularity": "region"}),
        ] {
            assert_eq!(serde_json::to_value(read(value.clone()).unwrap()).unwrap(), value);
        }
    }

    #[test]
    fn faults_keep_their_place() {
        for (value, expected) in [
            (
                json!({"type": "colour", "granularity": "regionn"}),
                "granularity: unknown variant `regionn`",
            ),
            (
                json!({"type": "colour", "grain": 1}),
                "grain: unknown field `grain`",
            ),
            (json!({"type": "folder"}), ".: missing field `path`"),
            (
                json!({"type": "photographs"}),
                "type: unknown variant `photographs`",
            ),
            (
                json!(5),
                ".: invalid type: integer `5`, expected `procedural`, a folder or a map with `type`",
            ),
        ] {
            let error = read(value).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
