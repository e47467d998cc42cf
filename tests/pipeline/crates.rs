//! Dependencies among the crates, as docs/architecture.md says.

use std::process::Command;

/// The names of all packages that a crate of the workspace is compiled from, with these features.
fn packages(arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

fn needs(package: &[String], name: &str) -> bool {
    package.iter().any(|package| package == name)
}

#[test]
fn what_works_without_tensors_is_compiled_without_libtorch() {
    for crate_of in [
        "daf-metrics",
        "daf-kernels",
        "daf-data",
        "daf-synth",
        "daf-report",
    ] {
        let packages = packages(&["-p", crate_of]);
        assert!(needs(&packages, crate_of), "{packages:?}");
        assert!(!needs(&packages, "torch-sys"), "{crate_of}: {packages:?}");
    }
    for crate_of in ["daf-core", "daf-sweep"] {
        let without = packages(&["-p", crate_of, "--no-default-features"]);
        assert!(!needs(&without, "torch-sys"), "{crate_of}: {without:?}");
        assert!(
            needs(&packages(&["-p", crate_of]), "torch-sys"),
            "{crate_of} with its features"
        );
    }
}

#[test]
fn a_program_that_detects_links_neither_training_nor_data_sets_nor_synthesis() {
    let packages = packages(&["-p", "daf-embed"]);
    assert!(needs(&packages, "daf-models") && needs(&packages, "torch-sys"));
    for other in [
        "daf-pipeline",
        "daf-data",
        "daf-synth",
        "daf-cli",
        "daf-report",
        "daf-sweep",
    ] {
        assert!(!needs(&packages, other), "{other}: {packages:?}");
    }
}
