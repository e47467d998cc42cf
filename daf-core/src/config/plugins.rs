use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::registry::{Kind, components};

/// Crates that bring further parts, by name.
pub type Plugins = BTreeMap<String, Dependency>;

/// Where Cargo finds a crate: a version such as `"0.3"`, or a map as in the dependencies of a `Cargo.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[schemars(transform = or_version)]
pub struct Dependency {
    /// Versions that will do, in Cargo's notation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The crate's folder; in a file it is relative to that file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Address of a git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// Branch of the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Tag of the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Commit of the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rev: Option<String>,
    /// Registry that is not the default one, as Cargo's configuration calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// The crate's name, if it goes by another one here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Features to switch on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Whether its default features are on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_features: Option<bool>,
}

fn or_version(schema: &mut Schema) {
    let map = schema.clone().to_value();
    *schema = schemars::json_schema!({ "anyOf": [{ "type": "string" }, map] });
}

impl Dependency {
    /// The crate's own name; `name` is the one that it goes by.
    #[must_use]
    pub fn package<'a>(&'a self, name: &'a str) -> &'a str {
        self.package.as_deref().unwrap_or(name)
    }

    /// Whether a crate of this name brought parts into this program.
    #[must_use]
    pub fn is_linked(&self, name: &str) -> bool {
        let package = self.package(name);
        Kind::ALL
            .into_iter()
            .flat_map(components)
            .any(|part| part.krate == package)
    }

    /// Reason why this cannot be a dependency of Cargo's.
    pub(super) fn fault(&self, name: &str) -> Option<String> {
        let plain = |name: &str| {
            name.starts_with(|letter: char| letter.is_ascii_alphabetic())
                && name
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_'))
        };
        if let Some(name) = [name, self.package(name)].into_iter().find(|name| !plain(name)) {
            return Some(format!(
                "`{name}` is no name of a crate: expected letters, digits, - and _"
            ));
        }
        if self.version.is_none() && self.path.is_none() && self.git.is_none() {
            return Some("expected `version`, `path` or `git`, found none of them".into());
        }
        None
    }
}
