//! Compilation of crates outside the checkout on this machine: Cargo's configuration, and the folder of what is compiled already.
//! None of it is for committing, so it can be written again.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use daf_core::Error;
use daf_core::atomic::write_file;
use serde_json::Value;

use crate::ending::end_with_us;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::source::{self, OPEN, Source};

const CONFIGURATION: &str = ".cargo/config.toml";

/// How a configuration begins that may be replaced.
const FIRST_LINE: &str = "# Written by `daf-cli new` for this machine; not for committing.";

/// Writes what the crate in `folder`, which names these crates of daf, is compiled with.
pub(crate) fn write(
    folder: &Path,
    source: &Source,
    crates: &[&str],
    environment: &Environment,
) -> Result<(), Failure> {
    let path = folder.join(CONFIGURATION);
    let ours = match fs::read_to_string(&path) {
        Ok(text) => text.starts_with(FIRST_LINE),
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    if !ours {
        return Err(Failure::usage(format!(
            "{}: expected a file that `daf-cli new` wrote, found another one; move it away and take from it what you need",
            path.display()
        )));
    }
    let text = format!("{FIRST_LINE}\n\n{}", source.configuration(crates)?);
    let dot_cargo = path.parent().unwrap_or(folder);
    fs::create_dir_all(dot_cargo).map_err(Error::io(dot_cargo))?;
    write_file(&path, text.as_bytes())?;
    share(folder, environment)
}

/// Lets Cargo find in the crate's own target folder what is compiled already: `debug` is a link. `cargo clean` removes
/// the link alone, where with a `target-dir` or `build-dir` elsewhere it would remove the folder of all who share it.
fn share(folder: &Path, environment: &Environment) -> Result<(), Failure> {
    let compiled = source::target(environment).join("debug");
    let link = folder.join("target").join("debug");
    // What the crate has compiled by itself stays.
    if fs::symlink_metadata(&link).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let target = link.parent().unwrap_or(folder);
    for folder in [compiled.as_path(), target] {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    match fs::remove_file(&link) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io(&link)(error).into()),
        _ => {}
    }
    Ok(symlink(&compiled, &link).map_err(Error::io(&link))?)
}

/// The crates of daf that the crate in `folder` names, which must be called `name`.
pub(crate) fn named(
    folder: &Path,
    name: &str,
    environment: &Environment,
) -> Result<Vec<&'static str>, Failure> {
    let manifest = folder.join("Cargo.toml");
    let refuse = |reason: String| Failure::usage(format!("{}: {reason}", manifest.display()));
    let mut command = Command::new(&environment.cargo);
    command
        .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
        .arg(&manifest)
        .stdin(Stdio::null());
    let output = end_with_us(&mut command)
        .output()
        .map_err(|error| Failure::work(format!("`cargo metadata` cannot be started: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(refuse(said.trim().trim_start_matches("error: ").into()));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(Failure::work)?;
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(package) = packages.iter().find(|package| package["name"] == name) else {
        let found: Vec<_> = packages
            .iter()
            .filter_map(|package| package["name"].as_str())
            .collect();
        let found = found.join(", ");
        return Err(refuse(format!(
            "expected the crate `{name}`, found `{found}`; choose another folder with --path"
        )));
    };
    let dependencies = package["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
    let is_named = |krate: &&str| {
        dependencies
            .iter()
            .any(|dependency| dependency["name"] == **krate)
    };
    Ok(OPEN.into_iter().filter(is_named).collect())
}
