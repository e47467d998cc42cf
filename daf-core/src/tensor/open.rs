use std::path::Path;

use super::{Libtorch, ModelConfig};
use crate::config::DeviceChoice;
use crate::{Detector, Result};

impl Detector {
    /// Opens the trained model of a run. Neither the images that it learned from need be there nor the crates of parts that only
    /// training needs, such as its synthesizer.
    ///
    /// ```no_run
    /// use daf_core::{Detector, config::DeviceChoice};
    ///
    /// # fn main() -> daf_core::Result<()> {
    /// // The crates whose parts the run names must be linked: `use daf_models as _;`
    /// let detector = Detector::open("runs/bottle", DeviceChoice::Auto)?;
    /// let image = detector.read("bottle.png")?;
    /// let found = detector.detect(&image)?;
    /// println!("score {:.3}, worst pixel {:.3}", found.score, found.map.max());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If it is not a run, its training has not ended, or its weights do not fit.
    pub fn open(run: impl AsRef<Path>, device: DeviceChoice) -> Result<Self> {
        Self::open_with(run, &[] as &[&str], Some(device))
    }

    /// [`open`](Self::open) with settings changed, each `KEY=VALUE` as for [`Layers::set`](crate::config::Layers::set); on the
    /// device that they or the run name unless another one is given.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open), or if a setting cannot be read.
    pub fn open_with<S: AsRef<str>>(
        run: impl AsRef<Path>,
        settings: &[S],
        device: Option<DeviceChoice>,
    ) -> Result<Self> {
        let run = run.as_ref();
        let model = ModelConfig::open(run, settings)?;
        let device = device.unwrap_or(model.device).resolve()?;
        let engine = Libtorch::load(run, &model, device)?;
        let calibration = model.thresholds(run, !settings.is_empty())?;
        Ok(Self::new(Box::new(engine), model.input, calibration))
    }
}
