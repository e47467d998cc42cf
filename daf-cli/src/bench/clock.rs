use std::fs;
use std::time::Instant;

use daf_core::tch::{Cuda, Device};
use serde_json::{Value, json};

use super::arguments::Bench;
use super::stage::Stage;
use crate::failure::Failure;

/// How long a stage took, time after time.
#[derive(Debug)]
pub(crate) struct Timing {
    pub(crate) stage: Stage,
    /// Images per measurement.
    pub(crate) images: usize,
    /// Milliseconds of each measurement, in their order.
    pub(crate) ms: Vec<f64>,
    /// Memory that was looked at.
    pub(crate) memory: Option<Memory>,
}

/// Resident memory of this process, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Before the first round.
    pub(crate) before: u64,
    /// The largest from then on.
    pub(crate) peak: u64,
}

impl Timing {
    /// The time below which a share of the measurements lies, by nearest rank.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.ms.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted
            .get(rank.clamp(1, sorted.len().max(1)) - 1)
            .copied()
            .unwrap_or(f64::NAN)
    }

    pub(crate) fn images_per_second(&self) -> f64 {
        1e3 * (self.images * self.ms.len()) as f64 / self.ms.iter().sum::<f64>()
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "stage": self.stage.name(),
            "images": self.images,
            "repeats": self.ms.len(),
            "p50_ms": self.quantile(0.5),
            "p99_ms": self.quantile(0.99),
            "images_per_second": self.images_per_second(),
            "before_mib": self.memory.map(|memory| mebibytes(memory.before)),
            "peak_mib": self.memory.map(|memory| mebibytes(memory.peak)),
            "ms": self.ms,
        })
    }
}

/// Measures stages.
#[derive(Debug)]
pub(crate) struct Clock {
    repeats: usize,
    warmup: usize,
    only: Vec<Stage>,
    device: Device,
    timings: Vec<Timing>,
}

/// How many times as many measurements stages of a single image have.
const SINGLE: usize = 10;

impl Clock {
    pub(crate) fn new(bench: &Bench, device: Device) -> Self {
        Self {
            repeats: bench.repeats.into(),
            warmup: bench.warmup.into(),
            only: bench.only.clone(),
            device,
            timings: Vec::new(),
        }
    }

    pub(crate) fn wants(&self, stage: Stage) -> bool {
        self.only.is_empty() || self.only.contains(&stage)
    }

    /// Measurements of a stage of batches.
    pub(crate) const fn repeats(&self) -> usize {
        self.repeats
    }

    /// Rounds before the first measurement.
    pub(crate) const fn warmup(&self) -> usize {
        self.warmup
    }

    /// Measures `work` on single images; it is told the number of the round.
    pub(crate) fn single(
        &mut self,
        stage: Stage,
        work: impl FnMut(usize) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.measure(stage, 1, SINGLE * self.repeats, work)
    }

    /// Measures `work` on batches of `images`; it is told the number of the round.
    pub(crate) fn batches(
        &mut self,
        stage: Stage,
        images: usize,
        work: impl FnMut(usize) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.measure(stage, images, self.repeats, work)
    }

    fn measure(
        &mut self,
        stage: Stage,
        images: usize,
        repeats: usize,
        mut work: impl FnMut(usize) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if !self.wants(stage) {
            return Ok(());
        }
        let peak = Peak::start();
        for round in 0..self.warmup {
            work(round)?;
        }
        self.finish_device_work();
        let mut ms = Vec::with_capacity(repeats);
        for round in self.warmup..self.warmup + repeats {
            let started = Instant::now();
            work(round)?;
            self.finish_device_work();
            ms.push(milliseconds(started));
        }
        self.add(stage, images, ms, peak.end());
        Ok(())
    }

    /// Keeps what was measured elsewhere.
    pub(crate) fn add(&mut self, stage: Stage, images: usize, ms: Vec<f64>, memory: Option<Memory>) {
        if self.wants(stage) {
            self.timings.push(Timing {
                stage,
                images,
                ms,
                memory,
            });
        }
    }

    /// Waits for a GPU: what it was told to do counts for the stage that told it.
    pub(crate) fn finish_device_work(&self) {
        if let Device::Cuda(index) = self.device {
            Cuda::synchronize(i64::try_from(index).unwrap_or_default());
        }
    }

    /// The measurements, in the order of the work.
    pub(crate) fn timings(mut self) -> Vec<Timing> {
        self.timings.sort_by_key(|timing| timing.stage);
        self.timings
    }
}

pub(crate) fn milliseconds(since: Instant) -> f64 {
    1e3 * since.elapsed().as_secs_f64()
}

/// Watches the memory of this process from a moment on.
pub(crate) struct Peak {
    before: Option<u64>,
}

impl Peak {
    /// From now on. Where the kernel does not let the peak be forgotten, it is that of the whole process.
    pub(crate) fn start() -> Self {
        let _ = fs::write("/proc/self/clear_refs", "5");
        Self {
            before: status("VmRSS"),
        }
    }

    /// The peak; `None` where the system does not tell.
    pub(crate) fn end(self) -> Option<Memory> {
        Some(Memory {
            before: self.before?,
            peak: status("VmHWM")?,
        })
    }
}

/// A size in bytes that the kernel tells of this process.
fn status(key: &str) -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, key)
}

pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The line `key: N kB` of a file of /proc, in bytes.
pub(crate) fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number = line.strip_prefix(':')?.trim().strip_suffix(" kB")?;
    Some(number.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    fn timing(ms: Vec<f64>) -> Timing {
        Timing {
            stage: Stage::Score,
            images: 2,
            ms,
            memory: None,
        }
    }

    #[test]
    fn quantiles_are_measurements_by_nearest_rank() {
        let hundred = timing((1..=100).rev().map(f64::from).collect());
        assert_eq!([hundred.quantile(0.5), hundred.quantile(0.99)], [50.0, 99.0]);
        let three = timing(vec![3.0, 1.0, 2.0]);
        assert_eq!([three.quantile(0.5), three.quantile(0.99)], [2.0, 3.0]);
    }

    #[test]
    fn images_per_second_count_the_whole_time() {
        // Four images in 10 ms.
        assert_eq!(timing(vec![1.0, 9.0]).images_per_second(), 400.0);
    }

    #[test]
    fn every_stage_belongs_to_one_half_and_has_the_name_of_the_command_line() {
        for stage in Stage::value_variants() {
            let halves = [&Stage::DETECTING[..], &Stage::TRAINING[..]];
            assert_eq!(
                halves.iter().filter(|half| half.contains(stage)).count(),
                1,
                "{stage:?}"
            );
            assert_eq!(stage.to_possible_value().unwrap().get_name(), stage.name());
        }
    }

    #[test]
    fn sizes_of_proc_are_kibibytes() {
        let text = "VmPeak:\t  10 kB\nVmHWM:\t  2048 kB\n";
        assert_eq!(kibibytes(text, "VmHWM"), Some(2 << 20));
        assert_eq!(kibibytes(text, "VmRSS"), None);
    }
}
