//! The kinds of part, and what can be wrong with a part's registration.

use std::fmt;

use serde::Serialize;

/// The nine kinds of part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Lists images and masks.
    Dataset,
    /// Damages a normal image.
    Synthesizer,
    /// Says where a synthetic defect is.
    Shape,
    /// Says what a synthetic defect looks like.
    Texture,
    /// Turns images into features.
    Backbone,
    /// Compares teacher and student features.
    DiscrepancyMeasure,
    /// Turns features and discrepancy into a probability map.
    Decoder,
    /// Turns maps into scores.
    Scorer,
    /// Assembles parts into a trainable model.
    Method,
}

impl Kind {
    /// Every kind, in the order in which the pipeline uses them.
    pub const ALL: [Self; 9] = [
        Self::Dataset,
        Self::Synthesizer,
        Self::Shape,
        Self::Texture,
        Self::Backbone,
        Self::DiscrepancyMeasure,
        Self::Decoder,
        Self::Scorer,
        Self::Method,
    ];

    /// The kind's name on the command line, e.g. `synthesizer`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Synthesizer => "synthesizer",
            Self::Shape => "shape",
            Self::Texture => "texture",
            Self::Backbone => "backbone",
            Self::DiscrepancyMeasure => "measure",
            Self::Decoder => "decoder",
            Self::Scorer => "scorer",
            Self::Method => "method",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A fault in the registration of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Several crates registered a part of the same kind under the same name.
    Duplicate {
        /// Kind of the parts.
        kind: Kind,
        /// Name of the parts.
        name: &'static str,
        /// The crates, with versions.
        crates: Vec<String>,
    },
    /// Several crates registered a recipe under the same name.
    Recipe {
        /// Name of the recipes.
        name: &'static str,
        /// The crates, with versions.
        crates: Vec<String>,
    },
    /// typetag has the part under another name than the record.
    Name {
        /// Kind of the part.
        kind: Kind,
        /// Registered name of the part.
        name: &'static str,
        /// The crate, with its version.
        krate: String,
        /// The part's name for typetag.
        typetag: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { kind, name, crates } => {
                write!(f, "{kind} `{name}` is registered by {}", crates.join(" and "))
            }
            Self::Recipe { name, crates } => {
                write!(f, "recipe `{name}` is registered by {}", crates.join(" and "))
            }
            Self::Name {
                kind,
                name,
                krate,
                typetag,
            } => write!(
                f,
                "{kind} `{name}` of {krate} is `{typetag}` for typetag; write `#[typetag::serde(name = Type::NAME)]`"
            ),
        }
    }
}
