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
mod settings;

use patch::{Objects, Patch, Scene};
pub use preset::Preset;
pub use settings::{Blend, Gamma, Labels, Logistic, Settings};

/// Patches of other normal images, resized and blended in without a seam: the strategy of NSA (Schlüter et
/// al., ECCV 2022). Without a preset it has the defaults of the official routine.
///
/// Settings that are not written come from the preset. The DAF paper's NSA_B is a class's preset with its binary
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
    /// Rule for the stronger gradients in mixed blending: `opencv` or, by their length, `magnitude`.
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

/// Blending factors of FPI and of continuous labels.
const FACTOR: Range = Range(0.05, 0.95);
/// Number of draws for an image.
const DRAWS: u32 = 6;

/// Functions that treat all settings alike.
macro_rules! settings {
    ($($field:ident)*) => {
        impl Nsa {
            /// Resolved settings: those that are written, otherwise the preset's, otherwise the defaults.
            #[must_use]
            pub fn settings(&self) -> Settings {
                let preset = self.preset.map_or_else(Settings::default, Preset::settings);
                Settings { $($field: self.$field.unwrap_or(preset.$field),)* }
            }

            /// Every setting written out.
            fn resolved(&self) -> Self {
                let settings = self.settings();
                Self { preset: self.preset, $($field: Some(settings.$field),)* }
            }
        }
    };
}

settings! {
    blend mixed_rule labels logistic patches height width gamma resize ellipses object min_object min_overlap tolerance
}

impl<'de> Deserialize<'de> for Nsa {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// Every field is written, so that what a run leaves says what the preset was.
impl Serialize for Nsa {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(&self.resolved(), serializer)
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
