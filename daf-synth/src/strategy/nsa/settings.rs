//! Settings of NSA, with every field filled in.

use daf_core::BoxError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object::ObjectModel;
use crate::poisson::MixedRule;
use crate::range::Range;

/// Kind of blending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blend {
    /// Poisson blending with the patch's gradients.
    Normal,
    /// Poisson blending with the stronger gradients.
    Mixed,
    /// A coin decides on `normal` or `mixed`.
    Mix,
    /// Pasted.
    Swap,
    /// Pasted half-transparently.
    Uniform,
}

/// The training target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// The mask.
    Binary,
    /// The mask times the blending factor.
    Continuous,
    /// The change of the pixels as a share of 255, median-filtered.
    Intensity,
    /// The change of the pixels, median-filtered, through a logistic function.
    Logistic,
}

/// Parameters of logistic labels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logistic {
    /// Steepness per gray level.
    pub k: f64,
    /// Change in gray levels that gives a target of one half.
    pub x0: f64,
}

/// Distribution of half-widths, as shares of the image's size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gamma {
    /// Shape of the gamma distribution.
    pub shape: f64,
    /// Its scale.
    pub scale: f64,
    /// Offset that is added.
    pub lower: f64,
}

/// The settings of an [`Nsa`](crate::Nsa), fully resolved. Its fields are documented there.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Settings {
    pub blend: Blend,
    pub mixed_rule: MixedRule,
    pub labels: Labels,
    pub logistic: Logistic,
    pub patches: u32,
    pub height: Range,
    pub width: Range,
    pub gamma: Gamma,
    pub resize: Range,
    pub ellipses: u32,
    pub object: ObjectModel,
    pub min_object: f64,
    pub min_overlap: f64,
    pub tolerance: f64,
}

impl Settings {
    /// Checks ranges.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    pub fn check(&self) -> Result<(), BoxError> {
        let within = |field: &str, value: f64, least: f64, most: f64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(BoxError::from(format!(
                "{field}: expected a number from {least} to {most}, found {value}"
            )))
        };
        within("logistic.k", self.logistic.k, 0.0, 1000.0)?;
        within("logistic.x0", self.logistic.x0, 0.0, 255.0)?;
        within("patches", f64::from(self.patches), 1.0, 100.0)?;
        self.height.check("height", 0.001, 1.0)?;
        self.width.check("width", 0.001, 1.0)?;
        within("gamma.shape", self.gamma.shape, 0.01, 1000.0)?;
        within("gamma.scale", self.gamma.scale, 0.0001, 10.0)?;
        within("gamma.lower", self.gamma.lower, 0.0, 1.0)?;
        self.resize.check("resize", 0.05, 20.0)?;
        within("ellipses", f64::from(self.ellipses), 0.0, 100.0)?;
        self.object.check("object")?;
        within("min_object", self.min_object, 0.0, 1.0)?;
        within("min_overlap", self.min_overlap, 0.0, 1.0)?;
        within("tolerance", self.tolerance, 0.0, 100.0)
    }
}
