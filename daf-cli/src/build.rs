use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Write as _};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use daf_core::Error;
use daf_core::atomic::{replace, write_file};
use daf_core::config::{Dependency, Layers, Plugins};
use serde_json::Value;

use crate::Context;
use crate::ending::end_with_us;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::source::{self, OPEN, Source};

/// Compile a daf-cli that has a pipeline's plugins
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli build pipeline.yaml
  daf-cli build pipeline.yaml -o ~/bin/daf-cli-mine
  daf-cli build --with my-parts=../my-parts --with other-parts@0.3

Needs cargo and a C++ compiler. Building runs the plugins' build scripts. What is
compiled is two files in the cache: a Cargo.toml that names daf-cli and the plugins,
and a main.rs that calls daf-cli.")]
pub(crate) struct Build {
    /// The pipeline file whose `plugins` are linked; the config.yaml of a run will do
    #[arg(required_unless_present = "with")]
    file: Option<PathBuf>,
    /// A further crate: NAME=FOLDER or NAME@VERSION
    #[arg(long, value_name = "CRATE", value_parser = with)]
    with: Vec<(String, Dependency)>,
    /// Copy the program there as well
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Compile with the release profile; otherwise with the profile of this program, which is there already for the most
    /// part
    #[arg(long)]
    release: bool,
    /// The checkout of daf to compile; otherwise the one that this program was compiled from
    #[arg(long, value_name = "DIR")]
    daf: Option<PathBuf>,
}

fn with(text: &str) -> Result<(String, Dependency), String> {
    if let Some((name, folder)) = text.split_once('=') {
        let path = fs::canonicalize(folder).map_err(|error| format!("{folder}: {error}"))?;
        let path = Some(path);
        return Ok((
            name.into(),
            Dependency {
                path,
                ..Dependency::default()
            },
        ));
    }
    let (name, version) = text
        .split_once('@')
        .ok_or("expected NAME=FOLDER or NAME@VERSION")?;
    let version = Some(version.into());
    Ok((
        name.into(),
        Dependency {
            version,
            ..Dependency::default()
        },
    ))
}

impl Build {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let mut plugins = match &self.file {
            Some(file) => Layers::new("")
                .and_then(|layers| layers.file(file))
                .and_then(|layers| layers.plugins())
                .map_err(Failure::usage)?,
            None => Plugins::new(),
        };
        plugins.extend(self.with.iter().cloned());
        if plugins.is_empty() {
            let file = self.file.as_deref().unwrap_or(Path::new("")).display();
            return Err(Failure::usage(format!(
                "{file}: plugins: there are none, so this program has all that it needs; name them as in \
                 `plugins: {{ my-parts: {{ path: ../my-parts }} }}` or by --with"
            )));
        }
        if let Some((file, output)) = self.file.as_ref().zip(self.output.as_ref()) {
            Inputs::default().and(file, "the pipeline file").spare(output)?;
        }
        let source = Source::find(self.daf.as_deref())?;
        let built = program(&plugins, &source, self.release, &context.environment)?;
        let path = match &self.output {
            Some(output) => {
                copy(&built.path, output)?;
                output
            }
            None => &built.path,
        };
        for part in &built.parts {
            writeln!(context.out, "{part}")?;
        }
        writeln!(context.out, "program: {}", path.display())?;
        Ok(())
    }
}

/// Compiles a program that has `plugins` and goes on as that program, with the arguments of this one.
pub(crate) fn go_on(plugins: &Plugins, environment: &Environment) -> Failure {
    let built = Source::find(None).and_then(|source| program(plugins, &source, false, environment));
    let built = match built {
        Ok(built) => built,
        Err(failure) => return failure,
    };
    let arguments = std::env::args_os()
        .skip(1)
        .filter(|argument| argument != "--build");
    let error = Command::new(&built.path).args(arguments).exec();
    Failure::from(Error::io(&built.path)(error))
}

/// A compiled program.
struct Built {
    path: PathBuf,
    /// The plugins' parts, a line each.
    parts: Vec<String>,
}

fn program(
    plugins: &Plugins,
    source: &Source,
    release: bool,
    environment: &Environment,
) -> Result<Built, Failure> {
    let folder = write_crate(plugins, source, environment)?;
    let names: Vec<_> = plugins.keys().map(String::as_str).collect();
    let target = source::target(environment);
    let _ = writeln!(
        anstream::stderr(),
        "compiling daf-cli with {} in {}",
        names.join(", "),
        target.display()
    );
    let compiled = cargo(
        &folder,
        &target,
        release || env!("DAF_PROFILE") == "release",
        environment,
    )?;
    let parts = parts(&compiled, plugins)?;
    let path = folder.join("daf-cli");
    copy(&compiled, &path)?;
    Ok(Built { path, parts })
}

/// Writes the crate whose program has the plugins; gives its folder.
fn write_crate(plugins: &Plugins, source: &Source, environment: &Environment) -> Result<PathBuf, Failure> {
    for (name, plugin) in plugins {
        if let Some(path) = plugin
            .path
            .as_ref()
            .filter(|path| !path.join("Cargo.toml").is_file())
        {
            return Err(Failure::usage(format!(
                "plugins.{name}.path: {} holds no crate: there is no Cargo.toml in it",
                path.display()
            )));
        }
    }
    let own = ("daf-cli", source.dependency("daf-cli"));
    let others = plugins
        .iter()
        .map(|(name, plugin)| (name.as_str(), plugin.clone()));
    // A plugin may name versions of this framework, for which a checkout stands in. So does the program, lest Cargo warn of
    // those that no plugin names.
    let replaced: &[&str] = match source {
        Source::Checkout(_) => &OPEN,
        Source::Registry => &[],
    };
    let named = replaced
        .iter()
        .filter(|name| !plugins.contains_key(**name))
        .map(|name| (*name, any_version()));
    let dependencies = source::dependencies([own].into_iter().chain(named).chain(others));
    let patch = source::dependencies(replaced.iter().map(|name| (*name, source.dependency(name))));
    let lock = source.lock()?;
    let mut hasher = DefaultHasher::new();
    (&dependencies, &patch, &lock).hash(&mut hasher);
    let name = format!("daf-cli-{:016x}", hasher.finish());
    let uses = plugins.keys().fold(String::new(), |mut uses, name| {
        let _ = writeln!(uses, "use {} as _;", name.replace('-', "_"));
        uses
    });
    let manifest = format!(
        "# Written by `daf-cli build`.\n\
         [package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [[bin]]\nname = \"{name}\"\npath = \"main.rs\"\n\n\
         [dependencies]\n{dependencies}\n[workspace]\n\n[patch.crates-io]\n{patch}"
    );
    let main = format!("{uses}\nfn main() -> std::process::ExitCode {{\n    daf_cli::main()\n}}\n");
    let folder = environment.cache.join("build").join(&name);
    let dot_cargo = folder.join(".cargo");
    fs::create_dir_all(&dot_cargo).map_err(Error::io(&dot_cargo))?;
    write_changed(&folder.join("Cargo.toml"), manifest.as_bytes())?;
    write_changed(&folder.join("main.rs"), main.as_bytes())?;
    write_changed(
        &dot_cargo.join("config.toml"),
        source.configuration(&[])?.as_bytes(),
    )?;
    // Cargo adds the plugins' own dependencies to it, so it is written once.
    if let Some(lock) = lock.filter(|_| !folder.join("Cargo.lock").exists()) {
        write_file(&folder.join("Cargo.lock"), &lock)?;
    }
    Ok(folder)
}

/// A dependency in any version, with the features that others ask for.
fn any_version() -> Dependency {
    Dependency {
        version: Some("*".into()),
        default_features: Some(false),
        ..Dependency::default()
    }
}

/// Writes a file unless it holds this already: Cargo compiles anew what was written anew.
fn write_changed(path: &Path, content: &[u8]) -> Result<(), Failure> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    Ok(write_file(path, content)?)
}

/// Compiles the crate in `folder`; gives the program. What Cargo says goes to standard error.
fn cargo(folder: &Path, target: &Path, release: bool, environment: &Environment) -> Result<PathBuf, Failure> {
    let mut command = Command::new(&environment.cargo);
    command
        .current_dir(folder)
        .args([
            "build",
            "--message-format=json-render-diagnostics",
            "--target-dir",
        ])
        .arg(target)
        .args(release.then_some("--release"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    // What `cargo run` and `cargo test` tell their programs is not meant for another Cargo, and some build scripts would
    // run again for it.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let told = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "CARGO_PRIMARY_",
        ];
        if told.iter().any(|start| text.starts_with(start)) || text == "OUT_DIR" {
            command.env_remove(&name);
        }
    }
    let name = Path::new(&environment.cargo)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let output = end_with_us(&mut command).output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::work(format!(
            "`{name}` is not there: plugins are compiled, which needs Rust 1.89 or newer (https://rustup.rs)"
        )),
        _ => Failure::work(format!("`{name}` cannot be started: {error}")),
    })?;
    if !output.status.success() {
        let libtorch = source::libtorch().map_or("none".into(), |path| path.display().to_string());
        return Err(Failure::work(format!(
            "`{name} build` failed ({}); what it said stands above. The crate is {}, libtorch {libtorch}",
            output.status,
            folder.display()
        )));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let program = messages.lines().rev().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    program.ok_or_else(|| Failure::work(format!("`{name} build` made no program in {}", folder.display())))
}

/// Parts that the program has from each plugin. A crate without parts is a mistake, which is found here and not in a pipeline.
fn parts(program: &Path, plugins: &Plugins) -> Result<Vec<String>, Failure> {
    let output = end_with_us(Command::new(program).args(["list", "--json"]))
        .output()
        .map_err(Error::io(program))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().trim_start_matches("error: ");
        return Err(Failure::usage(format!(
            "the program with these plugins does not start: {said}"
        )));
    }
    let listed: Vec<Value> = serde_json::from_slice(&output.stdout).map_err(Failure::work)?;
    let mut lines = Vec::new();
    for (name, plugin) in plugins {
        let package = plugin.package(name);
        let own = listed.iter().filter(|part| part["crate"] == package);
        let before = lines.len();
        lines.extend(own.map(|part| {
            let text = |key: &str| part[key].as_str().unwrap_or_default().to_owned();
            format!("{}/{}  {package} {}", text("kind"), text("name"), text("version"))
        }));
        if lines.len() == before {
            return Err(Failure::usage(format!(
                "plugins.{name}: the crate {package} brings no part; each needs `daf_core::register!(Kind: Type = \"name\")`"
            )));
        }
    }
    Ok(lines)
}

/// Copies a program, which may replace a running one.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    if to.is_dir() {
        return Err(Failure::usage(format!(
            "{}: is a folder; name the program's file",
            to.display()
        )));
    }
    replace(to, |beside| match fs::copy(from, beside) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::io(to)(error).into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_named_by_folder_or_version() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("parts={}", folder.path().display());
        let (name, dependency) = with(&text).unwrap();
        assert_eq!((name.as_str(), dependency.path.is_some()), ("parts", true));
        let (name, dependency) = with("parts@0.3").unwrap();
        assert_eq!(
            (name.as_str(), dependency.version.as_deref()),
            ("parts", Some("0.3"))
        );
        assert!(with("parts").unwrap_err().starts_with("expected NAME=FOLDER"));
        assert!(with("parts=/no/such").unwrap_err().contains("/no/such"));
    }
}
