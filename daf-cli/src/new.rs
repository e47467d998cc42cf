use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use daf_core::config::Dependency;
use daf_core::{Error, Kind, registry};

use crate::Context;
use crate::failure::Failure;
use crate::source::{self, Source};

/// Write a crate with a part of your own to start from
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli new synthesizer my-stain
  daf-cli new backbone my-network --path ~/crates/my-network

The crate compiles and has an example part, a test, and a pipeline.yaml that uses it.")]
pub(crate) struct New {
    /// Kind of the part: dataset, synthesizer, shape, texture, backbone, measure, decoder, scorer or method
    #[arg(value_parser = crate::list::kind)]
    kind: Kind,
    /// Name of the crate, in lower case with hyphens; the part is called the same with underscores
    name: String,
    /// The folder to write to; it must not exist yet [default: the crate's name]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// The checkout of daf that the crate depends on; otherwise the one that this program was compiled from
    #[arg(long, value_name = "DIR")]
    daf: Option<PathBuf>,
}

/// What a kind of part needs to begin with.
struct Template {
    part: &'static str,
    pipeline: &'static str,
    /// Whether parts of this kind compute with tensors. The others compile without libtorch.
    torch: bool,
}

macro_rules! template {
    ($folder:literal, $torch:literal) => {
        Template {
            part: include_str!(concat!("../templates/", $folder, "/lib.rs")),
            pipeline: include_str!(concat!("../templates/", $folder, "/pipeline.yaml")),
            torch: $torch,
        }
    };
}

const fn template(kind: Kind) -> Template {
    match kind {
        Kind::Dataset => template!("dataset", false),
        Kind::Synthesizer => template!("synthesizer", false),
        Kind::Shape => template!("shape", false),
        Kind::Texture => template!("texture", false),
        Kind::Backbone => template!("backbone", true),
        Kind::DiscrepancyMeasure => template!("measure", true),
        Kind::Decoder => template!("decoder", true),
        Kind::Scorer => template!("scorer", true),
        Kind::Method => template!("method", true),
    }
}

impl New {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let Template {
            part,
            pipeline,
            torch,
        } = template(self.kind);
        let names = Names::new(&self.name, self.kind, part)?;
        let source = Source::find(self.daf.as_deref())?;
        // The features that daf's own crates ask for, so that one daf-core serves all.
        let core = Dependency {
            default_features: Some(false),
            features: torch.then(|| "torch".into()).into_iter().collect(),
            ..source.dependency("daf-core")
        };
        let core = source::dependencies([("daf-core", core)]);
        let folder = self.path.clone().unwrap_or_else(|| names.krate.clone().into());
        if folder.exists() {
            return Err(Failure::usage(format!(
                "{}: exists already; choose another folder with --path",
                folder.display()
            )));
        }
        let manifest = include_str!("../templates/Cargo.toml").replace("daf-core = \"*\"\n", &core);
        let files = [
            ("Cargo.toml", manifest.as_str()),
            ("README.md", include_str!("../templates/README.md")),
            (".gitignore", include_str!("../templates/gitignore")),
            ("pipeline.yaml", pipeline),
            ("src/lib.rs", part),
        ];
        let mut files: Vec<_> = files
            .into_iter()
            .map(|(name, text)| (name, names.fill(text).into_bytes()))
            .collect();
        if torch {
            files.push((
                ".cargo/config.toml",
                source.configuration(&context.environment)?.into_bytes(),
            ));
        }
        files.extend(source.lock()?.map(|lock| ("Cargo.lock", lock)));
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
        fs::rename(temporary.path(), &folder).map_err(Error::io(&folder))?;
        writeln!(
            context.out,
            "wrote {0}; next:\n  cd {0}\n  cargo test\n  daf-cli run pipeline.yaml --build",
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
    kind: Kind,
}

impl Names {
    fn new(krate: &str, kind: Kind, template: &str) -> Result<Self, Failure> {
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
        if let Some(there) = registry::find(kind, &part) {
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
            kind,
        })
    }

    fn fill(&self, template: &str) -> String {
        // None of the names holds a placeholder that is filled after it.
        template
            .replace("my_kind", self.kind.name())
            .replace("my-part", &self.krate)
            .replace("my_part", &self.part)
            .replace("MyPart", &self.of_type)
    }
}

/// What no crate can be called that is compiled with daf.
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
        let names = Names::new("my-part-2", Kind::Scorer, "").unwrap();
        assert_eq!(
            names.fill("my-part my_part MyPart my_kind"),
            "my-part-2 my_part_2 MyPart2 scorer"
        );
        let names = Names::new("my-kind", Kind::Scorer, "").unwrap();
        assert_eq!(
            names.fill("my-part my_part MyPart my_kind"),
            "my-kind my_kind MyKind scorer"
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
            let kind = Kind::Synthesizer;
            let Err(Failure::Usage(error)) = Names::new(name, kind, template(kind).part) else {
                panic!("`{name}` is taken");
            };
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
