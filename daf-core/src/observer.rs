//! Watching a training.

use crate::results::Record;

/// Callbacks of a training: for a progress bar, a log, a button that stops it.
pub trait Observer {
    /// Called once before the first step.
    fn started(&mut self, plan: &Plan) {
        let _ = plan;
    }

    /// Called after every step.
    fn stepped(&mut self, record: &Record) {
        let _ = record;
    }

    /// Called before the first step, while all images are opened once: how many of how many have been.
    fn opened(&mut self, done: usize, all: usize) {
        let _ = (done, all);
    }

    /// Called while the model is fitted, before the first step or after the last: how many of how many images
    /// were read.
    fn fitted(&mut self, done: usize, all: usize) {
        let _ = (done, all);
    }

    /// Called after the last step, while thresholds are chosen: how many of how many images are scored.
    fn calibrated(&mut self, done: usize, all: usize) {
        let _ = (done, all);
    }

    /// Asked after every step; `true` saves a checkpoint and ends the training with
    /// [`Error::Interrupted`](crate::Error::Interrupted).
    fn stop(&mut self) -> bool {
        false
    }
}

/// Watches nothing.
impl Observer for () {}

/// Both watch; either can stop the training.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn started(&mut self, plan: &Plan) {
        self.0.started(plan);
        self.1.started(plan);
    }

    fn stepped(&mut self, record: &Record) {
        self.0.stepped(record);
        self.1.stepped(record);
    }

    fn opened(&mut self, done: usize, all: usize) {
        self.0.opened(done, all);
        self.1.opened(done, all);
    }

    fn fitted(&mut self, done: usize, all: usize) {
        self.0.fitted(done, all);
        self.1.fitted(done, all);
    }

    fn calibrated(&mut self, done: usize, all: usize) {
        self.0.calibrated(done, all);
        self.1.calibrated(done, all);
    }

    fn stop(&mut self) -> bool {
        // Both are asked, whatever the first one says.
        let first = self.0.stop();
        self.1.stop() || first
    }
}

/// Plan of a training.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Normal images; an epoch is as many samples.
    pub images: usize,
    /// Steps in all.
    pub steps: u64,
    /// Steps that an earlier process has finished.
    pub done: u64,
    /// Images per step.
    pub batch_size: usize,
}
