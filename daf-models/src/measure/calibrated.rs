use std::sync::Arc;

use daf_core::block::Blocks;
use daf_core::config::Positive;
use daf_core::{
    BoxError, Comparator, Compared, Comparison, DiscrepancyMeasure, Fit, MapSize, NormalFeatures, Stage,
    typetag,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{Kept, L2};

/// The maps of another measure on the scale of normal images, where measures of different kinds can be added and weighed.
///
/// With the quantiles `low` and `high` of the sum of its S maps over all positions of the normal training images, each map becomes
/// (map − q_low / S) / (q_high − q_low) · weight: the sum is 0 at the low quantile and `weight` at the high one, and below 0 under the
/// low one. Maps of several channels count with their mean, and coarse ones at the finest size, each position as often as it
/// takes. An image is not compared with what the measure kept of itself.
///
/// A measure that needs no student is calibrated before the training, and decoders get calibrated maps. One that does can only be
/// calibrated after the training, since its maps shrink while the student learns: then decoders get its maps as they are, in the
/// training and afterwards, and only scorers get calibrated ones. Losses are not calibrated.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Calibrated {
    /// The measure.
    pub of: Arc<dyn DiscrepancyMeasure>,
    /// Share of the positions of normal images below 0; 0 to below `high`.
    pub low: f64,
    /// Share of the positions of normal images below `weight`; over `low` to 1.
    pub high: f64,
    /// What the sum of the maps is at the high quantile.
    pub weight: Positive,
}
daf_core::register!(DiscrepancyMeasure: Calibrated = "calibrated");

impl Default for Calibrated {
    fn default() -> Self {
        Self {
            of: Arc::new(L2::default()),
            low: 0.5,
            high: 0.995,
            weight: Positive::new(1.0),
        }
    }
}

#[typetag::serde(name = Calibrated::NAME)]
impl DiscrepancyMeasure for Calibrated {
    fn maps(&self, stages: &[Stage]) -> Vec<MapSize> {
        self.of.maps(stages)
    }

    fn residuals(&self, stages: &[Stage]) -> Vec<MapSize> {
        self.of.residuals(stages)
    }

    fn needs_student(&self) -> bool {
        self.of.needs_student()
    }

    fn needs_seen(&self) -> bool {
        self.of.needs_seen()
    }

    fn build(&self, blocks: &Blocks, stages: &[Stage]) -> Result<Box<dyn Comparator>, BoxError> {
        Ok(Box::new(Scaled {
            of: self.of.build_checked(&blocks.sub("of"), stages)?,
            when: match self.of.needs_student() {
                true => Fit::AfterTraining,
                false => Fit::BeforeTraining,
            },
            shares: [self.low, self.high],
            weight: *self.weight,
            quantiles: Kept::new(blocks.buffer("quantiles", &[0])),
        }))
    }

    fn check(&self) -> Result<(), BoxError> {
        if !(0.0 <= self.low && self.low < self.high && self.high <= 1.0) {
            return Err(format!(
                "`low` and `high` must be shares of 0 to 1, the first below the second, found {} and {}",
                self.low, self.high
            )
            .into());
        }
        self.of.check()
    }
}

#[derive(Debug)]
struct Scaled {
    of: Box<dyn Comparator>,
    when: Fit,
    shares: [f64; 2],
    weight: f64,
    /// The low and the high quantile; empty until it is fitted.
    quantiles: Kept,
}

impl Comparator for Scaled {
    fn compare(&self, compared: &Compared) -> Result<Vec<Comparison>, BoxError> {
        let mut found = self.of.compare(compared)?;
        let quantiles = self.quantiles.get();
        if !compared.maps || quantiles.numel() == 0 {
            return match (compared.maps, self.when) {
                (true, Fit::BeforeTraining) => {
                    Err("it has not been calibrated: it has not been fitted to normal images".into())
                }
                _ => Ok(found),
            };
        }
        // Its shape comes from a file.
        if quantiles.size() != [2] {
            let found = quantiles.size();
            return Err(format!("`quantiles`: expected 2, found {found:?}: the file is damaged").into());
        }
        let (low, high) = (quantiles.get(0), quantiles.get(1));
        let share = &low / found.len() as f64;
        let factor = self.weight / (high - low);
        for comparison in &mut found {
            if self.when == Fit::AfterTraining {
                comparison.learned_from = Some(comparison.guide().shallow_clone());
            }
            comparison.map = (&comparison.map - &share) * &factor;
        }
        Ok(found)
    }

    fn fit(&mut self, when: Fit, features: &dyn NormalFeatures) -> Result<bool, BoxError> {
        let changed = self.of.fit(when, features)?;
        if when != self.when {
            return Ok(changed);
        }
        let mut sums = Vec::new();
        for batch in features.batches() {
            let batch = batch?;
            let compared = Compared {
                indices: Some(&batch.indices),
                scaled: batch.scaled.as_deref(),
                ..Compared::of(&batch.teacher, &batch.student)
            };
            let maps = self.of.compare(&compared)?.into_iter().map(|found| found.map);
            let sum = summed(maps.collect()).ok_or("it gives no maps to calibrate")?;
            let sum = sum.flatten(0, -1).contiguous().to_device(tch::Device::Cpu);
            sums.extend(Vec::<f32>::try_from(sum)?);
        }
        let [low, mut high] =
            quantiles(&mut sums, self.shares).ok_or("there are no normal images to calibrate with")?;
        if high - low <= 0.0 {
            tracing::warn!(
                "the maps of all normal images are {low}: a calibrated measure adds to that as it is"
            );
            high = low + 1.0;
        }
        self.quantiles.set(&Tensor::from_slice(&[low, high]));
        Ok(true)
    }

    fn kept_patches(&self) -> u64 {
        self.of.kept_patches()
    }
}

/// The sum of N×D×h×w maps, each averaged over its channels, at the size of the first: N×1×h×w in float32.
fn summed(maps: Vec<Tensor>) -> Option<Tensor> {
    let size = maps.first()?.size();
    let alike = |map: Tensor| {
        let map = map.to_kind(Kind::Float).mean_dim(1, true, Kind::Float);
        map.upsample_nearest2d([size[2], size[3]], None, None)
    };
    maps.into_iter().map(alike).reduce(|a, b| a + b)
}

/// The values below which these shares of all lie, interpolated between values; `None` without values.
fn quantiles(values: &mut [f32], shares: [f64; 2]) -> Option<[f32; 2]> {
    let last = values.len().checked_sub(1)?;
    values.sort_unstable_by(f32::total_cmp);
    Some(shares.map(|share| {
        let place = share * last as f64;
        let (below, above) = (values[place as usize], values[(place as usize + 1).min(last)]);
        below + (above - below) * place.fract() as f32
    }))
}

#[cfg(test)]
mod tests {
    use daf_core::FeaturePair;
    use daf_core::block::{Init, Mode, Precision};
    use tch::Device;
    use tch::nn::VarStore;

    use super::*;
    use crate::measure::{Memory, Ssim, Sum};
    use crate::method::features::slow::{self, numbers};

    /// Stages of features, of 8×12 and 4×6 positions.
    const STAGES: [Stage; 2] = [
        Stage {
            channels: 6,
            stride: 4,
        },
        Stage {
            channels: 10,
            stride: 8,
        },
    ];

    struct Features(Vec<(Vec<Tensor>, Vec<Tensor>)>, bool);

    fn clones(tensors: &[Tensor]) -> Vec<Tensor> {
        tensors.iter().map(Tensor::shallow_clone).collect()
    }

    impl NormalFeatures for Features {
        fn batches(&self) -> Box<dyn Iterator<Item = Result<FeaturePair<'_>, BoxError>> + '_> {
            Box::new(self.0.iter().enumerate().map(|(number, (teacher, student))| {
                Ok(FeaturePair {
                    teacher: clones(teacher),
                    student: if self.1 { clones(student) } else { Vec::new() },
                    indices: vec![2 * number, 2 * number + 1],
                    scaled: None,
                })
            }))
        }
    }

    fn features(trained: bool) -> Features {
        let draw = || {
            let of = |stage: &Stage| {
                Tensor::rand(
                    [2, stage.channels, 32 / stage.stride, 48 / stage.stride],
                    slow::FLOAT,
                )
            };
            STAGES.iter().map(of).collect::<Vec<_>>()
        };
        Features((0..3).map(|_| (draw(), draw())).collect(), trained)
    }

    fn built(measure: &Calibrated, vars: &VarStore) -> Box<dyn Comparator> {
        let blocks = Blocks::new(vars.root(), Mode::Train, Init::FanOut, Precision::Float32);
        let measure: &dyn DiscrepancyMeasure = measure;
        measure.check().unwrap();
        measure.build_checked(&blocks, &STAGES).unwrap()
    }

    /// Sums over the stages at every position of all normal images, in loops.
    fn sums(comparator: &dyn Comparator, features: &Features) -> Vec<f64> {
        let mut sums = Vec::new();
        for batch in features.batches() {
            let batch = batch.unwrap();
            let compared = Compared {
                indices: Some(&batch.indices),
                ..Compared::of(&batch.teacher, &batch.student)
            };
            let maps: Vec<slow::Map> = comparator
                .compare(&compared)
                .unwrap()
                .iter()
                .map(|found| slow::Map::of(&found.map))
                .collect();
            let fine = &maps[0];
            for (n, y, x) in fine.places() {
                let of = |map: &slow::Map| {
                    let (y, x) = (y * map.h / fine.h, x * map.w / fine.w);
                    (0..map.c).map(|c| map.at(n, c, y, x)).sum::<f64>() / map.c as f64
                };
                sums.push(maps.iter().map(of).sum());
            }
        }
        sums
    }

    fn quantile(values: &[f64], share: f64) -> f64 {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let place = share * (values.len() - 1) as f64;
        let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
        low + (high - low) * place.fract()
    }

    #[test]
    fn normal_maps_have_0_and_the_weight_as_their_quantiles() {
        slow::seed(31);
        for (of, when) in [
            (
                Arc::new(Sum::default()) as Arc<dyn DiscrepancyMeasure>,
                Fit::AfterTraining,
            ),
            (Arc::new(Ssim::default()), Fit::AfterTraining),
            (
                Arc::new(Memory {
                    stages: vec![1, 2],
                    coreset: daf_core::config::PositiveShare::new(0.4),
                    ..Memory::default()
                }),
                Fit::BeforeTraining,
            ),
        ] {
            let measure = Calibrated {
                of,
                low: 0.25,
                high: 0.9,
                weight: Positive::new(2.0),
            };
            let vars = VarStore::new(Device::Cpu);
            let mut comparator = built(&measure, &vars);
            let (before, after) = (features(false), features(true));
            let fitted = match when {
                Fit::BeforeTraining => &before,
                Fit::AfterTraining => &after,
            };
            assert_eq!(
                tch::no_grad(|| comparator.fit(Fit::BeforeTraining, &before)).unwrap(),
                when == Fit::BeforeTraining
            );
            assert_eq!(
                tch::no_grad(|| comparator.fit(Fit::AfterTraining, &after)).unwrap(),
                when == Fit::AfterTraining
            );
            let calibrated = sums(comparator.as_ref(), fitted);
            slow::close(quantile(&calibrated, 0.25), 0.0, 1e-4);
            slow::close(quantile(&calibrated, 0.9), 2.0, 1e-4);
            // The order of positions is that of the measure itself.
            let quantiles = numbers(&vars.variables()["quantiles"]);
            let raw = calibrated
                .iter()
                .map(|sum| sum / 2.0 * (quantiles[1] - quantiles[0]) + quantiles[0]);
            let raw: Vec<f64> = raw.collect();
            slow::close(quantile(&raw, 0.25), quantiles[0], 1e-4);
            slow::close(quantile(&raw, 0.9), quantiles[1], 1e-4);
        }
    }

    #[test]
    fn a_decoder_sees_the_same_maps_before_and_after_the_calibration_of_a_student() {
        slow::seed(32);
        let measure = Calibrated {
            of: Arc::new(L2::default()),
            ..Calibrated::default()
        };
        let vars = VarStore::new(Device::Cpu);
        let mut comparator = built(&measure, &vars);
        let features = features(true);
        let (teacher, student) = &features.0[1];
        let compared = Compared::of(teacher, student);
        let before = comparator.compare(&compared).unwrap();
        assert!(tch::no_grad(|| comparator.fit(Fit::AfterTraining, &features)).unwrap());
        let after = comparator.compare(&compared).unwrap();
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before.guide(), &before.map);
            assert_eq!(after.guide(), before.guide());
            assert_ne!(after.map, before.map);
        }
    }

    #[test]
    fn what_cannot_be_calibrated_says_so() {
        slow::seed(33);
        for (low, high) in [(0.9, 0.5), (0.5, 0.5), (-0.1, 0.5), (0.5, 1.1), (f64::NAN, 0.5)] {
            let measure = Calibrated {
                low,
                high,
                ..Calibrated::default()
            };
            let error = measure.check().unwrap_err().to_string();
            assert!(error.contains("`low`") && error.contains("`high`"), "{error}");
        }
        let measure = Calibrated {
            of: Arc::new(Memory {
                stages: vec![1],
                ..Memory::default()
            }),
            ..Calibrated::default()
        };
        let vars = VarStore::new(Device::Cpu);
        let mut comparator = built(&measure, &vars);
        let none = Features(Vec::new(), false);
        let error = comparator
            .fit(Fit::BeforeTraining, &none)
            .unwrap_err()
            .to_string();
        assert!(error.contains("no normal images"), "{error}");
        // Images that are all the same have distances of 0.
        let one = || {
            STAGES.map(|stage| {
                Tensor::ones(
                    [2, stage.channels, 32 / stage.stride, 48 / stage.stride],
                    slow::FLOAT,
                )
            })
        };
        let same = Features(
            vec![(one().into(), Vec::new()), (one().into(), Vec::new())],
            false,
        );
        assert!(tch::no_grad(|| comparator.fit(Fit::BeforeTraining, &same)).unwrap());
        let found = comparator.compare(&Compared::of(&one(), &[])).unwrap();
        assert_eq!(found[0].map.abs().max().double_value(&[]), 0.0);
    }
}
