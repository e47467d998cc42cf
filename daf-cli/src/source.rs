//! Source of the crates of daf, for programs and plugins that are compiled with them.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};

use daf_core::config::Dependency;
use daf_core::{Error, libtorch};
use serde_json::{Map, Value, json};

use crate::environment::Environment;
use crate::failure::Failure;

/// The crates of daf that plugins and programs may depend on.
pub(crate) const OPEN: [&str; 6] = [
    "daf-core",
    "daf-data",
    "daf-metrics",
    "daf-models",
    "daf-pipeline",
    "daf-synth",
];

/// The crates of daf that a plugin's program must share with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A folder with the whole workspace.
    Checkout(PathBuf),
    /// The registry, in the version of this program.
    Registry,
}

impl Source {
    /// The workspace at `given`, otherwise what this program was compiled from.
    pub(crate) fn find(given: Option<&Path>) -> Result<Self, Failure> {
        let is_checkout = |folder: &Path| {
            ["daf-core", "daf-cli"]
                .iter()
                .all(|name| folder.join(name).join("Cargo.toml").is_file())
        };
        if let Some(given) = given {
            let found = fs::canonicalize(given)
                .map_err(|error| Failure::usage(format!("--daf: {}: {error}", given.display())))?;
            if !is_checkout(&found) {
                let reason = "is no checkout of daf: it holds no daf-core/Cargo.toml and daf-cli/Cargo.toml";
                return Err(Failure::usage(format!("--daf: {}: {reason}", given.display())));
            }
            return Ok(Self::Checkout(found));
        }
        // In a registry the folders of the crates have the version in their names, and each stands alone.
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        Ok(own
            .filter(|folder| is_checkout(folder))
            .map_or(Self::Registry, |folder| Self::Checkout(folder.into())))
    }

    /// The crate `name` of daf, as a dependency of what is compiled on this machine only.
    pub(crate) fn dependency(&self, name: &str) -> Dependency {
        match self {
            Self::Checkout(folder) => {
                let parts = folder.join("plugins").join(name);
                Dependency {
                    path: Some(if parts.is_dir() { parts } else { folder.join(name) }),
                    ..Dependency::default()
                }
            }
            Self::Registry => Dependency {
                version: Some(concat!("=", env!("CARGO_PKG_VERSION")).into()),
                ..Dependency::default()
            },
        }
    }

    /// The versions that the workspace is compiled with; its users' crates take the same.
    pub(crate) fn lock(&self) -> Result<Option<Vec<u8>>, Failure> {
        let Self::Checkout(folder) = self else {
            return Ok(None);
        };
        let lock = folder.join("Cargo.lock");
        match fs::read(&lock) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            result => Ok(result.map(Some).map_err(Error::io(&lock))?),
        }
    }

    /// Cargo's configuration for a crate outside the checkout: where the `crates` of daf that it names in some version are,
    /// libtorch and an rpath to it, and the profiles that most of it is compiled with already.
    pub(crate) fn configuration(&self, crates: &[&str]) -> Result<String, Failure> {
        let mut text = String::new();
        if let (Self::Checkout(_), [_, ..]) = (self, crates) {
            let patch = dependencies(crates.iter().map(|name| (*name, self.dependency(name))));
            text += &format!("[patch.crates-io]\n{patch}\n");
        }
        let libtorch = libtorch();
        if let Some(libtorch) = &libtorch {
            text += &format!(
                "# A LIBTORCH variable in the environment wins.\n[env]\nLIBTORCH = {}\n\n",
                toml(&json!(libtorch))
            );
        }
        text += &format!("[target.{ARCH}-unknown-linux-gnu]\n");
        match self {
            Self::Checkout(folder) => {
                let linker = folder.join("scripts").join("libtorch-cc");
                text += &format!("linker = {}\n", toml(&json!(linker)));
                let manifest = folder.join("Cargo.toml");
                let manifest = fs::read_to_string(&manifest).map_err(Error::io(&manifest))?;
                text += &format!("\n{}{}", profiles(&manifest), members());
            }
            Self::Registry => {
                let rpath = libtorch
                    .map(|libtorch| format!("-Clink-arg=-Wl,-rpath,{}", libtorch.join("lib").display()));
                text += &format!("rustflags = {}\n", toml(&json!(rpath.as_slice())));
            }
        }
        Ok(text)
    }
}

/// The packages of the workspace whose profile is that of its members. It optimises dependencies more, which compile the
/// slower for it, and in a program they are dependencies all.
const MEMBERS: [&str; 5] = ["daf-cli", "daf-core", "daf-pipeline", "daf-report", "daf-sweep"];

fn members() -> String {
    let member = |name| format!("[profile.dev.package.{name}]\nopt-level = 1\ncodegen-units = 16\n");
    MEMBERS.map(member).concat()
}

/// The tables of the profiles of a `Cargo.toml`, which Cargo's configuration takes as they are.
fn profiles(manifest: &str) -> String {
    let mut inside = false;
    let lines = manifest.lines().filter(|line| {
        if line.starts_with('[') {
            inside = line.starts_with("[profile.");
        }
        inside && !line.starts_with('#') && !line.trim().is_empty()
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// The folder that Cargo compiles in: the one of the environment, the one of this program, or one in the cache.
pub(crate) fn target(environment: &Environment) -> PathBuf {
    let own = Path::new(env!("DAF_TARGET"));
    match &environment.target {
        Some(target) => target.clone(),
        None if own.is_dir() => own.into(),
        None => environment.cache.join("build").join("target"),
    }
}

/// The libtorch that this program was compiled with, or else runs with.
pub(crate) fn libtorch() -> Option<PathBuf> {
    let compiled = option_env!("LIBTORCH").map(PathBuf::from);
    let loaded = || {
        libtorch::loaded("libtorch_cpu.so").and_then(|library| Some(library.parent()?.parent()?.to_owned()))
    };
    compiled.filter(|folder| folder.is_dir()).or_else(loaded)
}

/// Dependencies as lines of a `Cargo.toml`.
pub(crate) fn dependencies<'a>(crates: impl IntoIterator<Item = (&'a str, Dependency)>) -> String {
    let line = |(name, dependency): (&str, Dependency)| {
        let value = json!(dependency);
        // A version alone is written as one does.
        let value = match value.get("version") {
            Some(version) if value.as_object().is_some_and(|keys| keys.len() == 1) => version,
            _ => &value,
        };
        format!("{name} = {}\n", toml(value))
    };
    crates.into_iter().map(line).collect()
}

/// A crate's own entry in a `Cargo.lock`.
pub(crate) fn locked(name: &str, dependencies: &[&str]) -> String {
    let dependencies = toml(&json!(dependencies));
    format!("\n[[package]]\nname = \"{name}\"\nversion = \"0.1.0\"\ndependencies = {dependencies}\n")
}

/// A value of TOML, on one line.
fn toml(value: &Value) -> String {
    let list = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join(", ");
    match value {
        Value::Array(values) => format!("[{}]", list(&mut values.iter().map(toml))),
        Value::Object(map) if map.is_empty() => "{}".into(),
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| format!("{key} = {}", toml(value));
            format!("{{ {} }}", list(&mut Map::iter(map).map(entry)))
        }
        // Texts, numbers and truth values are written alike in both languages.
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_written_as_cargo_reads_them() {
        let path = Dependency {
            path: Some("/a \"b\"/c".into()),
            features: vec!["x".into(), "y".into()],
            default_features: Some(false),
            ..Dependency::default()
        };
        let lines = dependencies([("one", path), ("two", Source::Registry.dependency("two"))]);
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "one = {{ path = \"/a \\\"b\\\"/c\", features = [\"x\", \"y\"], default-features = false }}\n\
             two = \"={version}\"\n"
        );
        assert_eq!(lines, expected);
    }

    #[test]
    fn profiles_are_cut_out_of_a_manifest() {
        let manifest = "[package]\nname = \"x\"\n\n# Why.\n[profile.dev]\nopt-level = 1\n\n# Why.\n\
                        [profile.dev.package.\"*\"]\ndebug = false\n[lints]\nworkspace = true\n";
        let expected = "[profile.dev]\nopt-level = 1\n[profile.dev.package.\"*\"]\ndebug = false\n";
        assert_eq!(profiles(manifest), expected);
    }

    #[test]
    fn a_folder_that_is_no_checkout_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            Source::find(Some(folder.path())),
            Err(Failure::Usage(_))
        ));
        assert!(matches!(Source::find(None), Ok(Source::Checkout(_))));
    }
}
