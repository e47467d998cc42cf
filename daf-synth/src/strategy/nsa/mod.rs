//! NSA: natural synthetic anomalies.

use daf_core::image::RgbImage;
use daf_core::rand::{Rng, RngExt};
use daf_core::{BoxError, Donors, Rect, Synthesis, Synthesizer, Synthetic, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::object::ObjectModel;
use crate::poisson::{Gradients, MixedRule};
use crate::range::Range;

mod label;
mod patch;
mod preset;

use patch::{Objects, Patch, Scene};
pub use preset::Preset;

/// Patches of other normal images, resized and blended in without a seam: the strategy of NSA (Schlüter et
/// al., ECCV 2022). Without a preset it has the defaults of the official routine.
///
/// Whatever is not written comes from the preset. The DAF paper's NSA_B is a class's preset with its binary
/// labels.
///
/// Where the official code would leave an image as it is because no patch made a visible change, up to five
/// more draws are made here.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, remote = "Self")]
pub struct Nsa {
    /// Settings by the name of a data set: a class of MVTec AD or `chest_xray`. Any field beside it overrides
    /// them.
    pub preset: Option<Preset>,
    /// How patches are blended in: `normal` (Poisson blending with the patch's gradients: objects), `mixed`
    /// (with the stronger gradients: textures), `mix` (a coin decides on one of both), `swap` (pasted),
    /// `uniform` (pasted half-transparently, as in FPI).
    pub blend: Option<Blend>,
    /// Which gradients are the stronger ones in mixed blending: `opencv` or, by their length, `magnitude`.
    pub mixed_rule: Option<MixedRule>,
    /// The training target: `binary` (the mask), `continuous` (a blending factor drawn for each image),
    /// `intensity` (the change of the pixels), `logistic` (the same through a logistic function).
    pub labels: Option<Labels>,
    /// The function of `logistic` labels: `1 / (1 + exp(−k·(change − x0)))` with the change in gray levels.
    pub logistic: Option<Logistic>,
    /// Largest number of patches per image from 1 to 100: the first one is always made, each of the others in
    /// half of the cases.
    pub patches: Option<u32>,
    /// Bounds of half the height of a patch, as shares of the image's height: [low, high] within 0.001..=1.
    pub height: Option<Range>,
    /// Bounds of half the width of a patch, as shares of the image's width: [low, high] within 0.001..=1.
    pub width: Option<Range>,
    /// Distribution of both halves before the bounds cut it: `lower` + Gamma(`shape`, `scale`).
    pub gamma: Option<Gamma>,
    /// Factor by which a patch is resized, drawn from a normal distribution around 1 of deviation 0.5 and cut
    /// to [low, high] within 0.05..=20.
    pub resize: Option<Range>,
    /// Number of random ellipses that make up the outline of a patch, 5 in the official variant, 100 at most;
    /// 0 for the whole rectangle.
    pub ellipses: Option<u32>,
    /// How to tell the object, so that patches are cut from it and pasted onto it: `{type: everywhere}` for
    /// none, `{type: threshold, brightness: 200, threshold: 60}` or `{type: border}`.
    pub object: Option<ObjectModel>,
    /// Share of a patch from 0 to 1 that must be object in the image that it comes from.
    pub min_object: Option<f64>,
    /// Share of a patch's object from 0 to 1 that must come to lie on the object.
    pub min_overlap: Option<f64>,
    /// A pixel is labeled if the mean change of its channels is greater than this, in gray levels from 0 to
    /// 100.
    pub tolerance: Option<f64>,
}

daf_core::register!(Synthesizer: Nsa = "nsa");

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

/// The settings of an [`Nsa`], fully resolved. Its fields are documented there.
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

/// Blending factors of FPI and of continuous labels.
const FACTOR: Range = Range(0.05, 0.95);
/// Number of draws for an image.
const DRAWS: u32 = 6;

impl Nsa {
    /// Resolved settings: what is written, otherwise the preset's, otherwise the defaults.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let preset = self.preset.map_or_else(Settings::default, Preset::settings);
        Settings {
            blend: self.blend.unwrap_or(preset.blend),
            mixed_rule: self.mixed_rule.unwrap_or(preset.mixed_rule),
            labels: self.labels.unwrap_or(preset.labels),
            logistic: self.logistic.unwrap_or(preset.logistic),
            patches: self.patches.unwrap_or(preset.patches),
            height: self.height.unwrap_or(preset.height),
            width: self.width.unwrap_or(preset.width),
            gamma: self.gamma.unwrap_or(preset.gamma),
            resize: self.resize.unwrap_or(preset.resize),
            ellipses: self.ellipses.unwrap_or(preset.ellipses),
            object: self.object.unwrap_or(preset.object),
            min_object: self.min_object.unwrap_or(preset.min_object),
            min_overlap: self.min_overlap.unwrap_or(preset.min_overlap),
            tolerance: self.tolerance.unwrap_or(preset.tolerance),
        }
    }
}

impl<'de> Deserialize<'de> for Nsa {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// Every field is written, so that what a run leaves says what the preset was.
impl Serialize for Nsa {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let settings = self.settings();
        let written = Self {
            preset: self.preset,
            blend: Some(settings.blend),
            mixed_rule: Some(settings.mixed_rule),
            labels: Some(settings.labels),
            logistic: Some(settings.logistic),
            patches: Some(settings.patches),
            height: Some(settings.height),
            width: Some(settings.width),
            gamma: Some(settings.gamma),
            resize: Some(settings.resize),
            ellipses: Some(settings.ellipses),
            object: Some(settings.object),
            min_object: Some(settings.min_object),
            min_overlap: Some(settings.min_overlap),
            tolerance: Some(settings.tolerance),
        };
        Self::serialize(&written, serializer)
    }
}

#[typetag::serde(name = Nsa::NAME)]
impl Synthesizer for Nsa {
    fn synthesize(
        &self,
        normal: &RgbImage,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Synthesis, BoxError> {
        let settings = self.settings();
        let source = donors.draw(rng)?;
        if normal.is_empty() || source.is_empty() {
            return Ok(Synthesis::Unchanged);
        }
        let objects = (settings.object != ObjectModel::Everywhere {})
            .then(|| Objects::new(settings.object.find(&source), settings.object.find(normal)));
        let scene = Scene {
            source: &source,
            objects,
        };
        let damaged = (0..DRAWS).find_map(|_| settings.damage(normal, &scene, rng));
        Ok(damaged.map_or(Synthesis::Unchanged, Synthesis::Anomalous))
    }

    /// Poisson blending changes pixels around a patch, and changes within the tolerance are not in the mask.
    fn blends(&self) -> bool {
        true
    }

    fn check(&self) -> Result<(), BoxError> {
        self.settings().check()
    }
}

impl Settings {
    /// One draw; `None` if nothing has changed visibly.
    fn damage(&self, normal: &RgbImage, scene: &Scene<'_>, rng: &mut dyn Rng) -> Option<Synthetic> {
        let mixed = Gradients::Mixed(self.mixed_rule);
        let gradients = match self.blend {
            Blend::Normal => Some(Gradients::Normal),
            Blend::Mixed => Some(mixed),
            Blend::Mix => Some(if rng.random() { Gradients::Normal } else { mixed }),
            Blend::Swap | Blend::Uniform => None,
        };
        let transparent = self.blend == Blend::Uniform || self.labels == Labels::Continuous;
        let factor = if transparent { FACTOR.draw(rng) } else { 1.0 };

        let mut image = None;
        let mut patches = vec![0; normal.pixels().len()];
        let mut touched: Option<Rect> = None;
        for number in 0..self.patches {
            if number > 0 && !rng.random::<bool>() {
                continue;
            }
            let Some(patch) = Patch::draw(self, scene, normal.dimensions(), rng) else {
                continue;
            };
            let image = image.get_or_insert_with(|| normal.clone());
            let changed = patch.paste(self, scene, (gradients, factor), image, &mut patches, rng);
            touched = match (touched, changed) {
                (Some(a), Some(b)) => Some(union(a, b)),
                (a, b) => a.or(b),
            };
        }
        let (image, touched) = (image?, touched?);
        let (mask, target) = label::label(self, normal, &image, &patches, touched, factor)?;
        Some(Synthetic {
            image,
            mask,
            target,
            touched,
            class: 0,
        })
    }

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

/// The smallest rectangle around both.
fn union(a: Rect, b: Rect) -> Rect {
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    Rect {
        x,
        y,
        width: (a.x + a.width).max(b.x + b.width) - x,
        height: (a.y + a.height).max(b.y + b.height) - y,
    }
}
