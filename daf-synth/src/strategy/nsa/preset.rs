//! Settings that NSA was published with.

use std::borrow::Cow;

use daf_core::registry;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::settings::{Blend, Gamma, Labels, Logistic, Settings};
use crate::object::ObjectModel;
use crate::poisson::MixedRule;
use crate::range::Range;

/// Settings with the name of a data set: the fifteen classes of MVTec AD and `chest_xray`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Preset(&'static (&'static str, Settings));

/// Bounds of most patches: a hundredth to half of the image.
const WIDE: Range = Range(0.03, 0.40);

/// The routine's own defaults; sizes are those of most classes.
const DEFAULT: Settings = Settings {
    blend: Blend::Normal,
    mixed_rule: MixedRule::Opencv,
    labels: Labels::Binary,
    logistic: logistic(6.0, 20.0),
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
};

/// Textures have mixed gradients and no object.
const TEXTURE: Settings = Settings {
    blend: Blend::Mixed,
    logistic: logistic(3.0, 7.0),
    patches: 4,
    resize: Range(0.5, 2.0),
    ..DEFAULT
};

/// Objects on backgrounds that are light gray, dark and black.
const LIGHT: ObjectModel = threshold(200.0, 60.0);
const DARK: ObjectModel = threshold(20.0, 20.0);
const BLACK: ObjectModel = threshold(0.0, 20.0);

const fn threshold(brightness: f64, threshold: f64) -> ObjectModel {
    ObjectModel::Threshold {
        brightness,
        threshold,
    }
}

/// `width` is 1/k.
const fn logistic(width: f64, x0: f64) -> Logistic {
    Logistic { k: 1.0 / width, x0 }
}

/// The tables of the official code, sorted by name.
#[rustfmt::skip]
static TABLE: [(&str, Settings); 16] = [
    ("bottle", Settings { min_object: 0.7, logistic: logistic(12.0, 24.0), object: LIGHT, ..DEFAULT }),
    ("cable", Settings {
        height: Range(0.05, 0.40), width: Range(0.05, 0.40), logistic: logistic(12.0, 24.0), ..DEFAULT
    }),
    ("capsule", Settings {
        height: Range(0.03, 0.15), min_object: 0.7, logistic: logistic(2.0, 4.0), object: LIGHT, ..DEFAULT
    }),
    ("carpet", TEXTURE),
    ("chest_xray", Settings {
        blend: Blend::Mixed, min_object: 0.7, min_overlap: 0.7, logistic: logistic(2.0, 4.0), object: BLACK,
        ..DEFAULT
    }),
    ("grid", TEXTURE),
    ("hazelnut", Settings {
        height: Range(0.03, 0.35), width: Range(0.03, 0.35), min_object: 0.7, logistic: logistic(12.0, 24.0),
        object: DARK, ..DEFAULT
    }),
    ("leather", TEXTURE),
    ("metal_nut", Settings { min_object: 0.5, logistic: logistic(3.0, 7.0), object: DARK, ..DEFAULT }),
    ("pill", Settings {
        height: Range(0.03, 0.20), min_object: 0.7, logistic: logistic(3.0, 7.0), object: DARK, ..DEFAULT
    }),
    ("screw", Settings {
        patches: 4, height: Range(0.03, 0.12), width: Range(0.03, 0.12), min_object: 0.5,
        logistic: logistic(1.0, 3.0), object: LIGHT, ..DEFAULT
    }),
    ("tile", TEXTURE),
    ("toothbrush", Settings {
        width: Range(0.03, 0.20), logistic: logistic(6.0, 15.0), object: DARK, ..DEFAULT
    }),
    ("transistor", Settings { logistic: logistic(6.0, 15.0), ..DEFAULT }),
    ("wood", Settings { logistic: logistic(6.0, 15.0), ..TEXTURE }),
    ("zipper", Settings {
        patches: 4, width: Range(0.03, 0.20), min_object: 0.7, logistic: logistic(6.0, 15.0), object: LIGHT,
        ..DEFAULT
    }),
];

impl Preset {
    /// Every preset, sorted by name.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(Self)
    }

    /// The preset's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.0
    }

    /// The preset's settings.
    #[must_use]
    pub fn settings(self) -> Settings {
        self.0.1.clone()
    }
}

impl Default for Settings {
    fn default() -> Self {
        DEFAULT
    }
}

impl TryFrom<String> for Preset {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::all().find(|preset| preset.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::all().map(Self::name).collect();
            let near = registry::nearest(&name, names.iter().copied());
            let hint = near.map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
            format!("unknown preset `{name}`{hint} (there are {})", names.join(", "))
        })
    }
}

impl From<Preset> for String {
    fn from(preset: Preset) -> Self {
        preset.name().to_owned()
    }
}

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
            let preset = Preset::try_from(name.to_owned()).unwrap();
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
        let error = Preset::try_from("screws".to_owned()).unwrap_err();
        assert!(
            error.starts_with("unknown preset `screws`, did you mean `screw`? (there are bottle, "),
            "{error}"
        );
    }
}
