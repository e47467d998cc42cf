//! Plugins and programs as a stranger makes them: outside the workspace, with the program alone.
//!
//! Everything compiles in the target folder of this test, where the dependencies are there already, and without asking a
//! registry for anything.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use daf_core::Kind;
use serde_json::Value;

use crate::program::{Said, daf, prepare, succeed};

/// The program in `folder`, where Cargo asks no registry.
fn offline(folder: &Path, arguments: &str) -> Command {
    let mut command = daf(folder, arguments);
    command
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("CARGO_TERM_COLOR");
    command
}

fn run(folder: &Path, arguments: &str) -> Said {
    offline(folder, arguments).output().unwrap().into()
}

/// Replaces a text that must be there.
fn edit(file: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(
        text.contains(old),
        "`{old}` is not in {}:\n{text}",
        file.display()
    );
    fs::write(file, text.replace(old, new)).unwrap();
}

const TINY: &str = "--set data.size=64 --set data.train=2 --set data.test=1 --set data.test_good=1 --set input.size=96 \
                    --set trainer.steps=1 --set trainer.batch_size=2 --set method.teacher.weights=random \
                    --set output.maps=false --set device=cpu";

#[test]
fn a_part_of_ones_own_is_written_built_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let said = succeed(folder.path(), "new synthesizer my-stain");
    assert!(said.out.contains("cd my-stain"), "{}", said.out);
    let own = folder.path().join("my-stain");
    edit(
        &own.join("src/lib.rs"),
        "radius: (0.05, 0.2)",
        "radius: (0.25, 0.375)",
    );

    // Not linked yet: the file, the key and what to type.
    for verb in ["run", "train", "check"] {
        run(&own, &format!("{verb} pipeline.yaml")).fails(
            2,
            &[
                "pipeline.yaml: plugins.my-stain: ",
                "`daf-cli build pipeline.yaml`",
                "--build",
            ],
        );
    }

    // Built and run in one go.
    let said = run(&own, &format!("run pipeline.yaml --build {TINY}"));
    assert_eq!(said.code, Some(0), "{}", said.error);
    assert!(
        said.error.contains("compiling daf-cli with my-stain in "),
        "{}",
        said.error
    );
    let finished = own.join("runs/pipeline");
    let manifest: Value = serde_json::from_slice(&fs::read(finished.join("run.json")).unwrap()).unwrap();
    let part = serde_json::json!(["synthesizer/my_stain", "my-stain 0.1.0"]);
    assert!(
        manifest["parts"].as_array().unwrap().contains(&part),
        "{manifest:#}"
    );
    assert!(finished.join("metrics.json").is_file());

    // The run names its plugins wherever it is looked at from.
    let config = fs::read_to_string(finished.join("config.yaml")).unwrap();
    assert!(
        config.contains(&own.canonicalize().unwrap().display().to_string()),
        "{config}"
    );
    run(&own, "evaluate runs/pipeline").fails(
        2,
        &["plugins.my-stain", "daf-cli build runs/pipeline/config.yaml"],
    );

    // The program that was built, under a name of its own.
    let said = run(folder.path(), "build my-stain/runs/pipeline/config.yaml -o mine");
    assert_eq!(said.code, Some(0), "{}", said.error);
    assert!(
        said.out.contains("synthesizer/my_stain  my-stain 0.1.0"),
        "{}",
        said.out
    );
    let mine = |arguments: &[&str]| -> Said {
        let mut command = prepare(Command::new(folder.path().join("mine")), folder.path());
        command.args(arguments).output().unwrap().into()
    };
    let listed: Vec<Value> = serde_json::from_str(&mine(&["list", "--json"]).out).unwrap();
    let stain = listed.iter().find(|part| part["name"] == "my_stain").unwrap();
    assert_eq!(
        (&stain["crate"], &stain["version"]),
        (&"my-stain".into(), &"0.1.0".into())
    );
    assert!(
        listed.iter().any(|part| part["name"] == "dra"),
        "the default parts are there too"
    );
    let shown = mine(&["show", "synthesizer/my_stain"]).out;
    assert!(
        shown.contains("[0.25,0.375] by default"),
        "the constant that was changed:\n{shown}"
    );
    assert!(mine(&["schema"]).out.contains("\"my_stain\""));
    let said = mine(&["evaluate", "my-stain/runs/pipeline"]);
    assert_eq!(said.code, Some(0), "{}", said.error);

    // A crate that does not compile: Cargo's words, and a clear end.
    edit(
        &own.join("src/lib.rs"),
        "let mut image = normal.clone();",
        "let image = normal.klone();",
    );
    let said = run(&own, "build pipeline.yaml");
    said.fails_after_cargo(&["no method named `klone`", "build` failed"]);

    // Two crates with the same part: the program does not start, and names both.
    edit(
        &own.join("src/lib.rs"),
        "let image = normal.klone();",
        "let mut image = normal.clone();",
    );
    succeed(folder.path(), "new synthesizer other-stain");
    edit(
        &folder.path().join("other-stain/src/lib.rs"),
        "\"other_stain\"",
        "\"my_stain\"",
    );
    let said = run(
        folder.path(),
        "build --with my-stain=my-stain --with other-stain=other-stain",
    );
    said.fails(
        2,
        &["synthesizer `my_stain` is registered by my-stain 0.1.0 and other-stain 0.1.0"],
    );
}

impl Said {
    /// [`fails`](Self::fails) with exit code 1, where Cargo has said something before.
    #[track_caller]
    fn fails_after_cargo(&self, messages: &[&str]) {
        assert_eq!(self.code, Some(1), "{}", self.error);
        for message in messages {
            assert!(
                self.error.contains(message),
                "`{message}` is not in:\n{}",
                self.error
            );
        }
        assert!(
            self.error.lines().last().unwrap().starts_with("error: "),
            "{}",
            self.error
        );
    }
}

#[test]
fn what_new_writes_compiles_and_passes_its_tests_for_every_kind_and_a_program_scores() {
    let folder = tempfile::tempdir().unwrap();
    let kinds = Kind::ALL.map(Kind::name).into_iter();
    for kind in kinds.chain(["program"]) {
        succeed(folder.path(), &format!("new {kind} my-{kind}"));
        let own = folder.path().join(format!("my-{kind}"));
        let manifest = fs::read_to_string(own.join("Cargo.toml")).unwrap();
        assert!(
            !manifest.contains("path = "),
            "a path of this machine:\n{manifest}"
        );
        // Members of one workspace, so that Cargo is called once. What the last one has, which names the most crates, serves all.
        edit(&own.join("Cargo.toml"), "[workspace]", "");
        for shared in ["Cargo.lock", ".cargo", "target"] {
            let at = folder.path().join(shared);
            let _ = fs::remove_dir_all(&at);
            fs::rename(own.join(shared), at).unwrap();
        }
        if kind == "program" {
            let page = include_str!("../../docs/programs.md");
            for line in manifest.lines().filter(|line| line.starts_with("daf-")) {
                assert!(page.contains(line), "docs/programs.md has no `{line}`");
            }
            continue;
        }
        let pipeline = fs::read_to_string(own.join("pipeline.yaml")).unwrap();
        assert!(
            pipeline.contains(&format!("my-{kind}: {{ path: . }}")),
            "{pipeline}"
        );
        assert!(pipeline.contains(&format!("type: my_{kind}")), "{pipeline}");
        // The first thing that one does: a setting more. The tests know nothing of it.
        let code = own.join("src/lib.rs");
        let text = fs::read_to_string(&code).unwrap();
        let of_type = text
            .lines()
            .find_map(|line| line.strip_prefix("impl Default for ")?.strip_suffix(" {"))
            .unwrap();
        edit(
            &code,
            &format!("pub struct {of_type} {{"),
            &format!("pub struct {of_type} {{\n    /// A setting more.\n    pub another: u8,"),
        );
        edit(
            &code,
            "fn default() -> Self {\n        Self {",
            "fn default() -> Self {\n        Self {\n            another: 7,",
        );
    }
    fs::write(
        folder.path().join("Cargo.toml"),
        "[workspace]\nresolver = \"3\"\nmembers = [\"my-*\", \"whole\"]\n",
    )
    .unwrap();
    // With daf-cli beside them they have the dependencies, feature by feature, of the program that another test builds.
    let cli = concat!(env!("CARGO_MANIFEST_DIR"), "/../daf-cli");
    let whole = package("whole", "0.1.0") + &format!("[dependencies]\ndaf-cli = {{ path = \"{cli}\" }}\n");
    write_crate(&folder.path().join("whole"), &whole);
    let said: Said = cargo(folder.path(), "test --workspace --lib --offline")
        .output()
        .unwrap()
        .into();
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.error);
    let passed = said
        .out
        .lines()
        .filter(|line| line.starts_with("test result: ok"))
        .count();
    assert_eq!(passed, Kind::ALL.len() + 1, "{}", said.out);
    for line in said.error.lines() {
        assert!(!line.starts_with("warning: unused"), "{}", said.error);
    }

    // The program, with no more of a run than docs/programs.md says.
    let said: Said = cargo(folder.path(), "build --workspace --bins --offline")
        .output()
        .unwrap()
        .into();
    assert_eq!(said.code, Some(0), "{}", said.error);
    fs::write(folder.path().join("p.yaml"), "data: { type: demo }\n").unwrap();
    succeed(folder.path(), &format!("train p.yaml {TINY}"));
    let (run, moved) = (folder.path().join("runs/p"), folder.path().join("moved"));
    fs::create_dir(&moved).unwrap();
    for needed in ["config.yaml", "run.json", "calibration.json", "weights"] {
        fs::rename(run.join(needed), moved.join(needed)).unwrap();
    }
    let mut program = prepare(
        Command::new(folder.path().join("target/debug/my-program")),
        folder.path(),
    );
    let said: Said = program.arg("moved").output().unwrap().into();
    assert_eq!(said.code, Some(0), "{}", said.error);
    assert!(said.out.starts_with("score "), "{}", said.out);
}

#[test]
fn a_plugins_tests_need_nothing_that_is_not_compiled_for_daf_cli() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path(), "new backbone my-network");
    let checkout = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    // Packages with their versions and features. A feature more or less compiles them anew, and what depends on them.
    let packages = |folder: &Path, arguments: &str| -> BTreeSet<String> {
        let mut command = cargo(
            folder,
            "tree --edges=normal,build --prefix=none --format={p}_[{f}]",
        );
        command.args(arguments.split_whitespace());
        // Nothing is asked of a registry, though Cargo may.
        command.env("CARGO_HTTP_PROXY", "http://127.0.0.1:9");
        let said: Said = command.output().unwrap().into();
        assert_eq!(said.code, Some(0), "{}", said.error);
        let of_registry = said.out.lines().filter(|line| !line.contains('/'));
        of_registry
            .map(|line| line.trim_end_matches(" (*)").to_owned())
            .collect()
    };
    let own = packages(&folder.path().join("my-network"), "");
    let compiled = packages(checkout, "--package=daf-cli");
    assert!(
        own.iter().any(|package| package.starts_with("torch-sys v")),
        "{own:?}"
    );
    let anew: Vec<_> = own.difference(&compiled).collect();
    assert!(
        anew.is_empty(),
        "{anew:?} have other features beneath daf-cli; daf-core/Cargo.toml asks for the same ones"
    );
}

#[test]
fn what_belongs_to_the_machine_can_be_removed_and_written_again() {
    let folder = tempfile::tempdir().unwrap();
    // Where the program finds what is compiled, and others do.
    let compiled = folder.path().join("compiled");
    let new = |at: &Path, arguments: &str| -> Said {
        let mut command = offline(at, arguments);
        command
            .env("CARGO_TARGET_DIR", &compiled)
            .output()
            .unwrap()
            .into()
    };
    assert_eq!(new(folder.path(), "new decoder mine").code, Some(0));
    let own = folder.path().join("mine");
    let shared = compiled.join("debug/shared");
    fs::write(&shared, "").unwrap();
    assert!(own.join("target/debug/shared").is_file());
    let configuration = fs::read(own.join(".cargo/config.toml")).unwrap();

    // `cargo clean` leaves what is shared.
    let said: Said = cargo(&own, "clean --offline").output().unwrap().into();
    assert_eq!(said.code, Some(0), "{}", said.error);
    assert!(!own.join("target").exists());
    assert!(shared.is_file());

    // A clone has neither; what it has stays as it is.
    fs::remove_dir_all(own.join(".cargo")).unwrap();
    edit(
        &own.join("Cargo.toml"),
        "[workspace]",
        "daf-models = \"0.1\"\n[workspace]",
    );
    fs::write(own.join("src/lib.rs"), "// mine").unwrap();
    let before = contents(&own);
    let said = new(&own, "new decoder mine --path .");
    assert_eq!(said.code, Some(0), "{}", said.error);
    assert_eq!(contents(&own), before);
    assert!(own.join("target/debug/shared").is_file());
    let again = fs::read_to_string(own.join(".cargo/config.toml")).unwrap();
    assert!(again.contains("\ndaf-models = { path = "), "{again}");
    let without: String = again
        .lines()
        .filter(|line| !line.starts_with("daf-models "))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(without.into_bytes(), configuration);

    // A folder of the crate's own stays, and so does a configuration of the user's; another crate is not touched.
    fs::remove_file(own.join("target/debug")).unwrap();
    fs::create_dir(own.join("target/debug")).unwrap();
    assert_eq!(new(folder.path(), "new decoder mine").code, Some(0));
    assert!(!own.join("target/debug/shared").exists());
    fs::write(own.join(".cargo/config.toml"), "[net]\n").unwrap();
    new(folder.path(), "new decoder mine").fails(2, &["mine/.cargo/config.toml: ", "move it away"]);
    new(folder.path(), "new decoder other --path mine")
        .fails(2, &["mine/Cargo.toml: expected the crate `other`, found `mine`"]);
    fs::write(own.join("Cargo.toml"), "[package\n").unwrap();
    new(folder.path(), "new decoder mine").fails(2, &["mine/Cargo.toml: "]);
}

/// The files directly in a folder, and those of `src`, with what is in them.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let of = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = of(folder.into())
        .chain(of(folder.join("src")))
        .filter(|path| path.is_file());
    let mut files: Vec<_> = files
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// The Cargo that runs this test, in `folder`, with arguments divided by spaces.
fn cargo(folder: &Path, arguments: &str) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = prepare(Command::new(program), folder);
    cargo.args(arguments.split_whitespace());
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_TERM_"]
            .iter()
            .any(|start| name.to_string_lossy().starts_with(start))
        {
            cargo.env_remove(name);
        }
    }
    cargo
}

#[test]
fn new_overwrites_nothing_and_refuses_names_that_do_not_compile() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("taken")).unwrap();
    for (arguments, message) in [
        ("new scorer taken", "taken: exists already and holds no crate"),
        ("new scorer Upper", "lower-case"),
        ("new scorer match", "word of Rust"),
        (
            "new scorer gaussian",
            "there is a scorer `gaussian` already, of daf-models",
        ),
        ("new scorer mine --daf .", "is no checkout of daf"),
        ("new scorr mine", "did you mean `scorer`?"),
        ("new progam mine", "and `program`"),
        ("new program daf-core", "crate that is needed"),
    ] {
        let said = run(folder.path(), arguments);
        assert_eq!(said.code, Some(2), "{}", said.error);
        assert!(said.error.contains(message), "{}", said.error);
    }
    assert_eq!(crate::program::names(folder.path()), ["taken"]);
    succeed(folder.path(), "new scorer mine --path deep/er");
    assert!(folder.path().join("deep/er/src/lib.rs").is_file());
}

/// The beginning of a Cargo.toml.
fn package(name: &str, version: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2024\"\n")
}

/// A crate in `folder` with this Cargo.toml and an empty library.
fn write_crate(folder: &Path, manifest: &str) {
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/lib.rs"), "").unwrap();
}

#[test]
fn a_plugin_for_another_daf_core_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old-core");
    write_crate(
        &old,
        &(package("daf-core", "0.0.1") + "links = \"daf-core\"\n[workspace]\n"),
    );
    fs::write(old.join("build.rs"), "fn main() {}").unwrap();
    let dependency = "[dependencies]\ndaf-core = { path = \"../old-core\" }\n[workspace]\n";
    write_crate(
        &folder.path().join("dated"),
        &(package("dated", "0.1.0") + dependency),
    );
    let said = run(folder.path(), "build --with dated=dated");
    said.fails_after_cargo(&[
        "links to the native library `daf-core`",
        "conflicts with a previous package",
    ]);
}

#[test]
fn a_plugin_from_a_registry_is_built_against_the_checkout() {
    let folder = crate::program::folder(
        "plugins: { other-stain: { version: \"=0.1.0\", registry: shelf } }\ndata: { type: demo }\n",
    );
    // A folder stands in for the registry. The crate names a version of daf-core, as one that was published does.
    let shelf = folder.path().join("shelf");
    fs::create_dir(&shelf).unwrap();
    succeed(&shelf, "new synthesizer other-stain");
    let own = shelf.join("other-stain");
    let manifest = fs::read_to_string(own.join("Cargo.toml")).unwrap();
    let at = manifest
        .lines()
        .find(|line| line.starts_with("daf-core = "))
        .unwrap();
    edit(
        &own.join("Cargo.toml"),
        at,
        "daf-core = { version = \"0.1\", default-features = false }",
    );
    fs::write(own.join(".cargo-checksum.json"), "{ \"files\": {} }").unwrap();
    let configuration = folder.path().join("cache/.cargo/config.toml");
    fs::create_dir_all(configuration.parent().unwrap()).unwrap();
    let shelf = shelf.display();
    fs::write(
        configuration,
        format!(
            "[registries.shelf]\nindex = \"sparse+https://shelf.invalid/\"\n\
             [source.shelf]\nregistry = \"sparse+https://shelf.invalid/\"\nreplace-with = \"folder\"\n\
             [source.folder]\ndirectory = \"{shelf}\"\n"
        ),
    )
    .unwrap();
    let said = run(folder.path(), "build p.yaml");
    assert_eq!(said.code, Some(0), "{}", said.error);
    assert!(
        said.out.contains("synthesizer/other_stain  other-stain 0.1.0"),
        "{}",
        said.out
    );
    // Cargo warns of crates of the checkout that take no other one's place.
    assert!(!said.error.contains("warning"), "{}", said.error);
}

#[test]
fn without_a_crate_or_a_cargo_the_message_is_clear() {
    let folder = crate::program::folder("plugins: { mine: { path: nowhere } }\ndata: { type: demo }\n");
    run(folder.path(), "build p.yaml").fails(2, &["plugins.mine.path: ", "nowhere holds no crate"]);
    run(folder.path(), "check p.yaml --build").fails(2, &["nowhere holds no crate"]);
    fs::write(folder.path().join("none.yaml"), "data: { type: demo }\n").unwrap();
    run(folder.path(), "build none.yaml").fails(2, &["none.yaml: plugins: there are none"]);
    write_crate(&folder.path().join("nowhere"), "");
    let mut command = offline(folder.path(), "build p.yaml");
    let said: Said = command.env("CARGO", "no-such-cargo").output().unwrap().into();
    said.fails(
        1,
        &["`no-such-cargo` is not there: plugins are compiled, which needs Rust"],
    );
}
