use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use daf_core::config::Dependency;
use daf_core::{Error, Kind, registry};

use crate::Context;
use crate::failure::Failure;
use crate::outside;
use crate::source::{self, Source};

/// Write a crate with a part of your own to start from, or a program that scores images
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli new synthesizer my-stain
  daf-cli new backbone my-network --path ~/crates/my-network
  daf-cli new program my-inspection

The crate compiles and has an example part, a test, and a pipeline.yaml that uses it.

Where a crate of that name is already, only what belongs to this machine is written
again, .cargo/config.toml and the link target/debug:
  daf-cli new backbone my-network --path .")]
pub(crate) struct New {
    /// Kind of the part: dataset, synthesizer, shape, texture, backbone, measure, decoder, scorer or method; or `program`
    #[arg(value_parser = what)]
    kind: What,
    /// Name of the crate, in lower case with hyphens; the part is called the same with underscores
    name: String,
    /// The folder to write to [default: the crate's name]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// The checkout of daf that the crate is compiled with; otherwise the one that this program was compiled from
    #[arg(long, value_name = "DIR")]
    daf: Option<PathBuf>,
}

/// Content of a crate that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Part(Kind),
    Program,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::Part(kind) => kind.name(),
            Self::Program => "program",
        }
    }
}

fn what(name: &str) -> Result<What, String> {
    if name == What::Program.name() {
        return Ok(What::Program);
    }
    crate::kind::kind(name)
        .map(What::Part)
        .map_err(|reason| format!("{reason}, and `program`"))
}

/// Template of a crate.
struct Template {
    manifest: &'static str,
    readme: &'static str,
    /// Path and content of the one file of Rust.
    code: (&'static str, &'static str),
    pipeline: Option<&'static str>,
    /// The crates of daf that it names.
    crates: &'static [&'static str],
    /// Whether it computes with tensors. Other crates compile without libtorch.
    torch: bool,
}

macro_rules! part {
    ($folder:literal, $torch:literal) => {
        Template {
            manifest: include_str!("../templates/Cargo.toml"),
            readme: include_str!("../templates/README.md"),
            code: (
                "src/lib.rs",
                include_str!(concat!("../templates/", $folder, "/lib.rs")),
            ),
            pipeline: Some(include_str!(concat!("../templates/", $folder, "/pipeline.yaml"))),
            crates: &["daf-core"],
            torch: $torch,
        }
    };
}

const fn template(what: What) -> Template {
    match what {
        What::Part(Kind::Dataset) => part!("dataset", false),
        What::Part(Kind::Synthesizer) => part!("synthesizer", false),
        What::Part(Kind::Shape) => part!("shape", false),
        What::Part(Kind::Texture) => part!("texture", false),
        What::Part(Kind::Backbone) => part!("backbone", true),
        What::Part(Kind::DiscrepancyMeasure) => part!("measure", true),
        What::Part(Kind::Decoder) => part!("decoder", true),
        What::Part(Kind::Scorer) => part!("scorer", true),
        What::Part(Kind::Method) => part!("method", true),
        What::Program => Template {
            manifest: include_str!("../templates/program/Cargo.toml"),
            readme: include_str!("../templates/program/README.md"),
            // The example of the checkout, where its test is.
            code: ("src/main.rs", include_str!("../templates/program/main.rs")),
            pipeline: None,
            crates: &["daf-core", "daf-models"],
            torch: true,
        },
    }
}

impl Template {
    /// The crates of daf as lines of a `Cargo.toml`, which holds on every machine: no path.
    fn dependencies(&self) -> String {
        let dependency = |name: &'static str| {
            let version = Some(env!("CARGO_PKG_VERSION").into());
            let dependency = match name {
                // The features that daf's own crates ask for, so that one daf-core serves all.
                "daf-core" => Dependency {
                    version,
                    default_features: Some(false),
                    features: self.torch.then(|| "torch".into()).into_iter().collect(),
                    ..Dependency::default()
                },
                _ => Dependency {
                    version,
                    ..Dependency::default()
                },
            };
            (name, dependency)
        };
        source::dependencies(self.crates.iter().copied().map(dependency))
    }
}

impl New {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let source = Source::find(self.daf.as_deref())?;
        let folder = self.path.clone().unwrap_or_else(|| self.name.clone().into());
        if folder.join("Cargo.toml").is_file() {
            let crates = outside::named(&folder, &self.name, &context.environment)?;
            outside::write(&folder, &source, &crates, &context.environment)?;
            writeln!(
                context.out,
                "{0}: wrote .cargo/config.toml and target/debug; the crate is as it was",
                folder.display()
            )?;
            return Ok(());
        }
        let template = template(self.kind);
        let names = Names::new(&self.name, self.kind, template.code.1)?;
        if folder.exists() {
            return Err(Failure::usage(format!(
                "{}: exists already and holds no crate; choose another folder with --path",
                folder.display()
            )));
        }
        let manifest = template
            .manifest
            .replace("daf-core = \"*\"\n", &template.dependencies());
        let files = [
            ("Cargo.toml", manifest.as_str()),
            ("README.md", template.readme),
            (".gitignore", include_str!("../templates/gitignore")),
            template.code,
        ];
        let pipeline = template.pipeline.map(|text| ("pipeline.yaml", text));
        let mut files: Vec<_> = files
            .into_iter()
            .chain(pipeline)
            .map(|(name, text)| (name, names.fill(text).into_bytes()))
            .collect();
        if let Some(mut lock) = source.lock()? {
            // With the crate's own entry Cargo takes the versions that stand there, and asks no registry for others.
            let dependencies: Vec<_> = template
                .crates
                .iter()
                .copied()
                .chain(template.pipeline.map(|_| "serde"))
                .collect();
            lock.extend(source::locked(&names.krate, &dependencies).into_bytes());
            files.push(("Cargo.lock", lock));
        }
        let beside = match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(beside).map_err(Error::io(beside))?;
        // Under another name first: half a crate would be in the way of the next try.
        let temporary = tempfile::Builder::new()
            .prefix(".new-")
            .permissions(fs::Permissions::from_mode(0o777))
            .tempdir_in(beside)
            .map_err(Error::io(beside))?;
        for (name, content) in files {
            let path = temporary.path().join(name);
            let parent = path.parent().unwrap_or(beside);
            fs::create_dir_all(parent).map_err(Error::io(parent))?;
            fs::write(&path, content).map_err(Error::io(&path))?;
        }
        outside::write(temporary.path(), &source, template.crates, &context.environment)?;
        fs::rename(temporary.path(), &folder).map_err(Error::io(&folder))?;
        let next = match self.kind {
            What::Part(_) => "cargo test\n  daf-cli run pipeline.yaml --build",
            What::Program => "cargo run -- RUN",
        };
        writeln!(
            context.out,
            "wrote {0}; next:\n  cd {0}\n  {next}",
            folder.display()
        )?;
        Ok(())
    }
}

/// The names in a crate. The templates are Rust that compiles, with `my-part`, `my_part` and `MyPart`.
struct Names {
    krate: String,
    part: String,
    of_type: String,
    what: What,
}

impl Names {
    fn new(krate: &str, what: What, template: &str) -> Result<Self, Failure> {
        let refuse = |reason: String| Err(Failure::usage(format!("`{krate}`: {reason}")));
        let words: Vec<_> = krate.split('-').collect();
        let plain = |word: &&str| {
            !word.is_empty()
                && word
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
        };
        if !words.iter().all(plain) || krate.starts_with(|letter: char| letter.is_ascii_digit()) {
            return refuse(
                "expected the name of a crate: lower-case letters and digits, divided by hyphens".into(),
            );
        }
        let part = words.join("_");
        let of_type: String = words
            .iter()
            .map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..]))
            .collect();
        if RESERVED.contains(&part.as_str()) {
            return refuse("is a word of Rust or a crate that is needed; choose another name".into());
        }
        if let What::Part(kind) = what
            && let Some(there) = registry::find(kind, &part)
        {
            return refuse(format!(
                "there is a {kind} `{part}` already, of {} {}; choose another name",
                there.krate, there.version
            ));
        }
        let mut own = template.split(|letter: char| !letter.is_alphanumeric());
        if of_type != "MyPart" && own.any(|word| word == of_type) {
            return refuse(format!(
                "the type `{of_type}` is there already; choose another name"
            ));
        }
        Ok(Self {
            krate: krate.into(),
            part,
            of_type,
            what,
        })
    }

    fn fill(&self, template: &str) -> String {
        // None of the names holds a placeholder that is filled after it.
        template
            .replace("my_kind", self.what.name())
            .replace("my-part", &self.krate)
            .replace("my_part", &self.part)
            .replace("MyPart", &self.of_type)
    }
}

/// Names that a crate which is compiled with daf cannot have.
const RESERVED: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "daf_cli",
    "daf_core",
    "daf_data",
    "daf_metrics",
    "daf_models",
    "daf_pipeline",
    "daf_report",
    "daf_sweep",
    "daf_synth",
    "daf_kernels",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_crates_parts_and_types_go_together() {
        let names = Names::new("my-part-2", What::Part(Kind::Scorer), "").unwrap();
        assert_eq!(
            names.fill("my-part my_part MyPart my_kind"),
            "my-part-2 my_part_2 MyPart2 scorer"
        );
        let names = Names::new("my-kind", What::Program, "").unwrap();
        assert_eq!(
            names.fill("my-part my_part MyPart my_kind"),
            "my-kind my_kind MyKind program"
        );
    }

    #[test]
    fn names_that_would_not_compile_are_refused() {
        for (name, reason) in [
            ("", "lower-case"),
            ("My-Part", "lower-case"),
            ("my_part", "lower-case"),
            ("my--part", "lower-case"),
            ("../part", "lower-case"),
            ("2-parts", "lower-case"),
            ("match", "word of Rust"),
            ("daf-core", "crate that is needed"),
            ("synthesizer", "`Synthesizer` is there already"),
            ("dra", "a synthesizer `dra` already, of daf-synth"),
        ] {
            let kind = What::Part(Kind::Synthesizer);
            let Err(Failure::Usage(error)) = Names::new(name, kind, template(kind).code.1) else {
                panic!("`{name}` is taken");
            };
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
