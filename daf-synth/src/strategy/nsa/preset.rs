//! The settings that NSA was published with, as data.

use std::borrow::Cow;
use std::fmt;

use daf_core::registry;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{Blend, Gamma, Labels, Logistic, Settings};
use crate::foreground::ObjectModel;
use crate::poisson::MixedRule;
use crate::range::Range;

/// Settings by the name of a data set: the fifteen classes of MVTec AD and `chest_xray`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Preset(&'static Row);

/// A line of the table.
#[derive(Debug, PartialEq)]
struct Row {
    name: &'static str,
    height: Range,
    width: Range,
    patches: u32,
    /// Least object share of the patch and least overlap of both objects.
    object: (f64, f64),
    /// k and x0.
    logistic: (f64, f64),
    /// Brightness of the background and threshold; `None` where there is no background.
    background: Option<(f64, f64)>,
    kind: Kind,
}

/// What decides on gradients and resizing.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Object,
    Texture,
    /// An object with mixed gradients.
    Radiograph,
}

/// Most patches are between a hundredth and half of the image wide.
const WIDE: Range = Range(0.03, 0.40);
/// Object rules where there is no object model: without effect, the routine's own values.
const UNUSED: (f64, f64) = (0.25, 0.25);
/// Backgrounds: light grey, black.
const LIGHT: Option<(f64, f64)> = Some((200.0, 60.0));
const DARK: Option<(f64, f64)> = Some((20.0, 20.0));

const fn texture(name: &'static str, logistic: (f64, f64)) -> Row {
    Row {
        name,
        height: WIDE,
        width: WIDE,
        patches: 4,
        object: UNUSED,
        logistic,
        background: None,
        kind: Kind::Texture,
    }
}

const fn object(
    name: &'static str,
    (height, width): (Range, Range),
    patches: u32,
    object: (f64, f64),
    logistic: (f64, f64),
    background: Option<(f64, f64)>,
) -> Row {
    Row {
        name,
        height,
        width,
        patches,
        object,
        logistic,
        background,
        kind: Kind::Object,
    }
}

/// The tables of the official code.
#[rustfmt::skip]
static TABLE: [Row; 16] = [
    object("bottle", (WIDE, WIDE), 3, (0.70, 0.25), (1.0 / 12.0, 24.0), LIGHT),
    object("cable", (Range(0.05, 0.40), Range(0.05, 0.40)), 3, UNUSED, (1.0 / 12.0, 24.0), None),
    object("capsule", (Range(0.03, 0.15), WIDE), 3, (0.70, 0.25), (1.0 / 2.0, 4.0), LIGHT),
    texture("carpet", (1.0 / 3.0, 7.0)),
    Row { kind: Kind::Radiograph, ..object("chest_xray", (WIDE, WIDE), 3, (0.70, 0.70), (1.0 / 2.0, 4.0), Some((0.0, 20.0))) },
    texture("grid", (1.0 / 3.0, 7.0)),
    object("hazelnut", (Range(0.03, 0.35), Range(0.03, 0.35)), 3, (0.70, 0.25), (1.0 / 12.0, 24.0), DARK),
    texture("leather", (1.0 / 3.0, 7.0)),
    object("metal_nut", (WIDE, WIDE), 3, (0.50, 0.25), (1.0 / 3.0, 7.0), DARK),
    object("pill", (Range(0.03, 0.20), WIDE), 3, (0.70, 0.25), (1.0 / 3.0, 7.0), DARK),
    object("screw", (Range(0.03, 0.12), Range(0.03, 0.12)), 4, (0.50, 0.25), (1.0, 3.0), LIGHT),
    texture("tile", (1.0 / 3.0, 7.0)),
    object("toothbrush", (WIDE, Range(0.03, 0.20)), 3, (0.25, 0.25), (1.0 / 6.0, 15.0), DARK),
    object("transistor", (WIDE, WIDE), 3, UNUSED, (1.0 / 6.0, 15.0), None),
    texture("wood", (1.0 / 6.0, 15.0)),
    object("zipper", (WIDE, Range(0.03, 0.20)), 4, (0.70, 0.25), (1.0 / 6.0, 15.0), LIGHT),
];

impl Preset {
    /// Every preset, sorted by name.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(Self)
    }

    /// The preset's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// What it stands for.
    #[must_use]
    pub fn settings(self) -> Settings {
        let row = self.0;
        let defaults = Settings::default();
        Settings {
            blend: match row.kind {
                Kind::Object => Blend::Normal,
                Kind::Texture | Kind::Radiograph => Blend::Mixed,
            },
            logistic: Logistic {
                k: row.logistic.0,
                x0: row.logistic.1,
            },
            patches: row.patches,
            height: row.height,
            width: row.width,
            resize: match row.kind {
                Kind::Texture => Range(0.5, 2.0),
                Kind::Object | Kind::Radiograph => defaults.resize,
            },
            object: match row.background {
                None => ObjectModel::Everywhere {},
                Some((brightness, threshold)) => ObjectModel::Threshold {
                    brightness,
                    threshold,
                },
            },
            min_object: row.object.0,
            min_overlap: row.object.1,
            ..defaults
        }
    }
}

/// The routine's own defaults; sizes are those of most classes.
impl Default for Settings {
    fn default() -> Self {
        Self {
            blend: Blend::Normal,
            mixed_rule: MixedRule::Opencv,
            labels: Labels::Binary,
            logistic: Logistic {
                k: 1.0 / 6.0,
                x0: 20.0,
            },
            patches: 3,
            height: WIDE,
            width: WIDE,
            gamma: Gamma {
                shape: 2.0,
                scale: 0.05,
                lower: 0.03,
            },
            resize: Range(0.7, 1.3),
            ellipses: 0,
            object: ObjectModel::Everywhere {},
            min_object: 0.25,
            min_overlap: 0.25,
            tolerance: 1.0,
        }
    }
}

impl TryFrom<String> for Preset {
    type Error = UnknownPreset;

    fn try_from(name: String) -> Result<Self, UnknownPreset> {
        Self::all()
            .find(|preset| preset.name() == name)
            .ok_or(UnknownPreset(name))
    }
}

impl std::str::FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        name.to_owned().try_into()
    }
}

impl From<Preset> for String {
    fn from(preset: Preset) -> Self {
        preset.name().to_owned()
    }
}

/// There is no preset of this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPreset(String);

impl fmt::Display for UnknownPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Preset::all().map(Preset::name).collect();
        write!(f, "unknown preset `{}`", self.0)?;
        if let Some(near) = registry::nearest(&self.0, names.iter().copied()) {
            write!(f, ", did you mean `{near}`?")?;
        }
        write!(f, " (there are {})", names.join(", "))
    }
}

impl std::error::Error for UnknownPreset {}

impl JsonSchema for Preset {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Preset".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = Self::all().map(Self::name).collect();
        schemars::json_schema!({ "type": "string", "enum": names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_mvtec_has_a_preset_that_reads_back() {
        let classes = [
            "bottle",
            "cable",
            "capsule",
            "carpet",
            "grid",
            "hazelnut",
            "leather",
            "metal_nut",
            "pill",
            "screw",
            "tile",
            "toothbrush",
            "transistor",
            "wood",
            "zipper",
        ];
        for name in classes.into_iter().chain(["chest_xray"]) {
            let preset: Preset = name.parse().unwrap();
            assert_eq!((preset.name(), String::from(preset).as_str()), (name, name));
            preset.settings().check().unwrap();
        }
        assert_eq!(Preset::all().count(), 16);
        assert!(
            Preset::all()
                .zip(Preset::all().skip(1))
                .all(|(a, b)| a.name() < b.name())
        );
    }

    #[test]
    fn textures_have_mixed_gradients_and_no_object() {
        for preset in Preset::all() {
            let settings = preset.settings();
            let texture = ["carpet", "grid", "leather", "tile", "wood"].contains(&preset.name());
            let mixed = texture || preset.name() == "chest_xray";
            assert_eq!(settings.blend == Blend::Mixed, mixed, "{preset:?}");
            assert_eq!(settings.resize == Range(0.5, 2.0), texture, "{preset:?}");
            let everywhere = texture || ["cable", "transistor"].contains(&preset.name());
            assert_eq!(
                settings.object == ObjectModel::Everywhere {},
                everywhere,
                "{preset:?}"
            );
        }
    }

    #[test]
    fn unknown_names_get_a_suggestion() {
        let error = "screws".parse::<Preset>().unwrap_err().to_string();
        assert!(
            error.starts_with("unknown preset `screws`, did you mean `screw`? (there are bottle, "),
            "{error}"
        );
    }
}
