use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use daf_core::Result;
use daf_core::config::{NotNegative, PartialShare, PositiveShare, Share, fault};

use super::{CheckpointInterval, Milestone};

/// How long and how fast to learn.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Trainer {
    /// Length in epochs; an epoch is as many samples as there are normal images. 1200 unless `steps` is given.
    pub epochs: Option<u64>,
    /// Length in steps, instead of `epochs`.
    pub steps: Option<u64>,
    /// Images per step.
    pub batch_size: usize,
    /// Threads that read and damage images; by default one per core, at most eight. The samples do not depend on it.
    pub workers: Option<usize>,
    /// The rule by which weights change.
    pub optimizer: Optimizer,
    /// How the learning rate changes; by default the paper's proportions: a warm-up over 1/24 of the length and factors
    /// of 0.2 at 7/12 and 5/6 of it.
    pub schedule: Option<Schedule>,
    /// Share of the samples, 0..=1, that stay normal.
    pub normal_share: Share,
    /// How much work an interrupted run may lose: `100 steps`, `2 epochs` or `60 s`; by default the shorter of an epoch
    /// and 60 s.
    pub checkpoint_every: Option<CheckpointInterval>,
    /// Memory for decoded images in MiB; those that do not fit are read again every time.
    pub cache_mb: u64,
    /// Memory for the features of undamaged images in MiB, on the device of the training. A frozen teacher need not compute
    /// them again in every epoch; 0 lets it. Images of which a window is drawn at random are always computed.
    pub feature_cache_mb: u64,
}

impl Default for Trainer {
    fn default() -> Self {
        Self {
            epochs: None,
            steps: None,
            batch_size: 8,
            workers: None,
            optimizer: Optimizer::default(),
            schedule: None,
            normal_share: Share::new(0.0),
            checkpoint_every: None,
            cache_mb: 1024,
            feature_cache_mb: 1024,
        }
    }
}

/// The rule by which weights change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// Adam with decoupled weight decay; β 0.9 and 0.999, ε 1e-8.
    Adamw {
        /// Learning rate after the warm-up.
        #[serde(default = "adamw_rate")]
        learning_rate: NotNegative,
        /// Share of a weight that is taken off per step, times the learning rate.
        #[serde(default = "adamw_decay")]
        weight_decay: NotNegative,
    },
    /// Adam; ε 1e-8.
    Adam {
        /// Learning rate after the warm-up.
        #[serde(default = "adam_rate")]
        learning_rate: NotNegative,
        /// Shares of the gradient's mean and of its square's mean that are kept from step to step.
        #[serde(default = "adam_betas")]
        betas: (PartialShare, PartialShare),
        /// Share of a weight that is added to its gradient.
        #[serde(default = "no_decay")]
        weight_decay: NotNegative,
    },
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Learning rate after the warm-up.
        learning_rate: NotNegative,
        /// Share of the last step that is kept.
        #[serde(default = "sgd_momentum")]
        momentum: NotNegative,
        /// Share of a weight that is added to its gradient.
        #[serde(default = "no_decay")]
        weight_decay: NotNegative,
    },
}

const fn adamw_rate() -> NotNegative {
    NotNegative::new(2e-4)
}
const fn adamw_decay() -> NotNegative {
    NotNegative::new(1e-5)
}
const fn adam_rate() -> NotNegative {
    NotNegative::new(1e-3)
}
const fn adam_betas() -> (PartialShare, PartialShare) {
    (PartialShare::new(0.9), PartialShare::new(0.999))
}
const fn no_decay() -> NotNegative {
    NotNegative::new(0.0)
}
const fn sgd_momentum() -> NotNegative {
    NotNegative::new(0.9)
}

impl Optimizer {
    /// The rate after the warm-up.
    #[must_use]
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::Adamw { learning_rate, .. }
            | Self::Adam { learning_rate, .. }
            | Self::Sgd { learning_rate, .. } => **learning_rate,
        }
    }
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::Adamw {
            learning_rate: adamw_rate(),
            weight_decay: adamw_decay(),
        }
    }
}

/// How the learning rate changes. Moments are in the unit of the trainer's length, epochs or steps, or shares of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Length of the linear rise from 0.
    pub warmup: Milestone,
    /// When the rate is multiplied by `gamma`, counted from the start.
    pub milestones: Vec<Milestone>,
    /// The factor at each milestone.
    pub gamma: PositiveShare,
    /// Share of the rate, 0 to 1, that is left at the end of a fall along half a cosine, which begins after the warm-up;
    /// `null` does without.
    pub cosine_to: Option<Share>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            warmup: Milestone::After(0),
            milestones: Vec::new(),
            gamma: PositiveShare::new(0.2),
            cosine_to: None,
        }
    }
}

impl Trainer {
    /// Threads that prepare samples: `workers`, or one per core, up to 8.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.unwrap_or_else(|| {
            std::thread::available_parallelism()
                .map_or(1, std::num::NonZero::get)
                .min(8)
        })
    }

    /// Checks ranges, and writes length and schedule out.
    pub(super) fn resolve(&mut self) -> Result<()> {
        let length = match (self.epochs, self.steps) {
            (Some(_), Some(_)) => {
                return Err(fault("trainer.steps", "give `epochs` or `steps`, not both"));
            }
            (None, None) => *self.epochs.insert(1200),
            (Some(length), None) | (None, Some(length)) => length,
        };
        let unit = if self.epochs.is_some() { "epochs" } else { "steps" };
        if length == 0 {
            return Err(fault(&format!("trainer.{unit}"), "expected at least 1, found 0"));
        }
        let schedule = self.schedule.get_or_insert_with(|| Schedule {
            warmup: (length / 24).into(),
            milestones: vec![
                (length.saturating_mul(7) / 12).into(),
                (length.saturating_mul(5) / 6).into(),
            ],
            ..Schedule::default()
        });
        for moment in schedule.milestones.iter_mut().chain([&mut schedule.warmup]) {
            *moment = moment.of(length).into();
        }
        if !schedule
            .milestones
            .is_sorted_by_key(|milestone| milestone.of(length))
        {
            return Err(fault("trainer.schedule.milestones", "expected rising numbers"));
        }
        if !(1..=LARGEST_BATCH).contains(&self.batch_size) {
            return Err(fault(
                "trainer.batch_size",
                format!("expected 1 to {LARGEST_BATCH}, found {}", self.batch_size),
            ));
        }
        if let Some(workers) = self
            .workers
            .filter(|workers| !(1..=MOST_WORKERS).contains(workers))
        {
            return Err(fault(
                "trainer.workers",
                format!("expected 1 to {MOST_WORKERS}, found {workers}"),
            ));
        }
        Ok(())
    }

    /// Gives the training a length in steps. A schedule keeps its proportions.
    pub fn shorten(&mut self, steps: u64) {
        let length = self.steps.or(self.epochs).unwrap_or(1200);
        if let Some(schedule) = &mut self.schedule {
            let moments = schedule.milestones.iter_mut().chain([&mut schedule.warmup]);
            for moment in moments {
                let share = moment.of(length) as f64 / length.max(1) as f64;
                *moment = ((share * steps as f64).round() as u64).into();
            }
        }
        self.epochs = None;
        self.steps = Some(steps);
    }

    /// How many steps the training has on so many normal images.
    #[must_use]
    pub fn total_steps(&self, images: usize) -> u64 {
        match (self.steps, self.epochs) {
            (Some(steps), _) => steps,
            (None, epochs) => epochs
                .unwrap_or(1200)
                .saturating_mul(images as u64)
                .div_ceil(self.batch_size as u64),
        }
    }

    /// Learning rate of a step, as a factor, on so many normal images.
    #[must_use]
    pub fn rate(&self, step: u64, images: usize) -> f64 {
        let Some(schedule) = &self.schedule else {
            return 1.0;
        };
        let time = if self.steps.is_some() {
            step
        } else {
            self.epoch(step, images)
        };
        let length = self.steps.or(self.epochs).unwrap_or(1200);
        let warmup = schedule.warmup.of(length);
        // The official warm-up starts at a rate of 0: its first epoch only moves the statistics of the batch norms.
        let rise = if time < warmup {
            time as f64 / warmup as f64
        } else {
            1.0
        };
        let passed = schedule
            .milestones
            .iter()
            .filter(|milestone| time >= milestone.of(length))
            .count();
        let fallen = schedule.cosine_to.map_or(1.0, |share| {
            let share = *share;
            let part = time.saturating_sub(warmup) as f64 / length.saturating_sub(warmup).max(1) as f64;
            share + (1.0 - share) * (1.0 + (std::f64::consts::PI * part.min(1.0)).cos()) / 2.0
        });
        rise * fallen * schedule.gamma.powi(i32::try_from(passed).unwrap_or(i32::MAX))
    }

    /// The epoch, counted from 0, in which a step begins.
    #[must_use]
    pub const fn epoch(&self, step: u64, images: usize) -> u64 {
        step.saturating_mul(self.batch_size as u64) / if images == 0 { 1 } else { images as u64 }
    }
}

/// No machine computes more images at once; a larger number is a mistake.
pub(super) const LARGEST_BATCH: usize = 1 << 16;
/// No machine has more cores.
const MOST_WORKERS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortened_training_keeps_the_proportions_of_its_schedule() {
        let mut trainer = Trainer {
            epochs: Some(1200),
            ..Trainer::default()
        };
        trainer.resolve().unwrap();
        trainer.shorten(240);
        assert_eq!((trainer.epochs, trainer.steps), (None, Some(240)));
        let schedule = trainer.schedule.clone().unwrap();
        assert_eq!(schedule.warmup, Milestone::After(10));
        assert_eq!(
            schedule.milestones,
            [Milestone::After(140), Milestone::After(200)]
        );
        let written = serde_json::to_value(&trainer).unwrap();
        trainer.resolve().unwrap();
        assert_eq!(serde_json::to_value(&trainer).unwrap(), written);
    }
}
