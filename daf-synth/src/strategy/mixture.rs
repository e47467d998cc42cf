//! Mixtures of strategies.

use std::path::PathBuf;
use std::sync::Arc;

use daf_core::image::RgbImage;
use daf_core::rand::{Rng, RngExt};
use daf_core::{BoxError, Donors, Synthesis, Synthesizer, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::composed::{CutPaste, Dra};

/// Several strategies: for each sample one of them is drawn, by weight.
///
/// The class of a defect is the one that its strategy gives it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mixture {
    /// The strategies, each as `{ weight: 1.0, synthesizer: { type: … } }`; at least one of them has a weight
    /// over 0.
    pub of: Vec<Weighted>,
}

/// A strategy of a mixture.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Weighted {
    /// How often it is drawn, relative to the others: 0 or more, 1 if left out.
    #[serde(default = "one")]
    pub weight: f64,
    /// The strategy, any synthesizer.
    pub synthesizer: Arc<dyn Synthesizer>,
}

const fn one() -> f64 {
    1.0
}

impl Default for Mixture {
    fn default() -> Self {
        let weighted = |synthesizer| Weighted {
            weight: one(),
            synthesizer,
        };
        Self {
            of: vec![
                weighted(Arc::new(Dra::default())),
                weighted(Arc::new(CutPaste::default())),
            ],
        }
    }
}

daf_core::register!(Synthesizer: Mixture = "mixture");

#[typetag::serde(name = Mixture::NAME)]
impl Synthesizer for Mixture {
    fn synthesize(
        &self,
        normal: &RgbImage,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Synthesis, BoxError> {
        let total: f64 = self.of.iter().map(|part| part.weight).sum();
        let mut left = rng.random::<f64>() * total;
        // Rounding may leave a little over after the last: it is the last one's, unless that is never to be
        // drawn.
        let drawn = self.of.iter().filter(|part| part.weight > 0.0).find(|part| {
            left -= part.weight;
            left < 0.0
        });
        match drawn.or(self.of.iter().rfind(|part| part.weight > 0.0)) {
            Some(part) => {
                let at = "as a part of `mixture`";
                part.synthesizer.synthesize_checked(normal, donors, rng, at)
            }
            None => Ok(Synthesis::Unchanged),
        }
    }

    fn blends(&self) -> bool {
        self.of.iter().any(|part| part.synthesizer.blends())
    }

    fn classes(&self) -> u8 {
        let classes = self.of.iter().map(|part| part.synthesizer.classes());
        classes.max().unwrap_or(1)
    }

    fn image_files(&self) -> Vec<PathBuf> {
        let files = self.of.iter().flat_map(|part| part.synthesizer.image_files());
        files.collect()
    }

    fn check(&self) -> Result<(), BoxError> {
        for (i, part) in self.of.iter().enumerate() {
            if !(part.weight >= 0.0 && part.weight.is_finite()) {
                return Err(format!("of[{i}].weight: expected 0 or more, found {}", part.weight).into());
            }
            part.synthesizer
                .check()
                .map_err(|error| format!("of[{i}].synthesizer: {error}"))?;
        }
        if self.of.iter().all(|part| part.weight == 0.0) {
            return Err("of: expected at least one strategy with a weight over 0, found none".into());
        }
        Ok(())
    }
}
