//! Ranges of parameters that are drawn for each sample.

use daf_core::BoxError;
use daf_core::rand::{Rng, RngExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lower and upper bound of a value that is drawn for each sample; equal bounds make it constant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Range(pub f64, pub f64);

impl Range {
    /// A value drawn uniformly.
    pub fn draw(self, rng: &mut dyn Rng) -> f64 {
        let share: f64 = rng.random();
        self.0 + (self.1 - self.0) * share
    }

    /// A value whose logarithm is uniform, so that halves are as likely as doubles. Both bounds must be
    /// positive.
    pub fn draw_log(self, rng: &mut dyn Rng) -> f64 {
        Self(self.0.ln(), self.1.ln()).draw(rng).exp()
    }

    /// Whether every value lies from `least` to `most`.
    ///
    /// # Errors
    /// Names the field, the bounds and what was found.
    pub fn check(self, field: &str, least: f64, most: f64) -> Result<(), BoxError> {
        // Written so that a bound which is not a number fails.
        if least <= self.0 && self.0 <= self.1 && self.1 <= most {
            return Ok(());
        }
        let Self(low, high) = self;
        Err(format!(
            "{field}: expected [low, high] with {least} <= low <= high <= {most}, found [{low}, {high}]"
        )
        .into())
    }
}

#[cfg(test)]
mod tests {
    use daf_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn values_fill_the_range_evenly() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn: Vec<_> = (0..4000).map(|_| Range(0.2, 0.6).draw(&mut rng)).collect();
        assert!(drawn.iter().all(|v| (0.2..=0.6).contains(v)));
        let mean = drawn.iter().sum::<f64>() / 4000.0;
        assert!((mean - 0.4).abs() < 0.01, "{mean}");
    }

    #[test]
    fn half_and_double_are_equally_likely_on_a_log_scale() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let above = (0..4000)
            .filter(|_| Range(0.25, 4.0).draw_log(&mut rng) > 1.0)
            .count();
        assert!((1850..2150).contains(&above), "{above}");
    }

    #[test]
    fn bounds_that_are_reversed_outside_or_not_numbers_are_refused() {
        assert!(Range(0.0, 0.8).check("opacity", 0.0, 1.0).is_ok());
        for range in [
            Range(0.8, 0.0),
            Range(-0.1, 0.5),
            Range(0.5, 1.1),
            Range(f64::NAN, 0.5),
            Range(0.5, f64::NAN),
        ] {
            let error = range.check("opacity", 0.0, 1.0).unwrap_err().to_string();
            assert!(error.starts_with("opacity: expected [low, high]"), "{error}");
        }
    }
}
