//! Training samples: which image comes when, and what is done to it.

mod loader;
mod picture;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use daf_core::image::RgbImage;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use daf_core::calibration::{self, FEWEST_HELD_OUT};
use daf_core::contract::Broken;
use daf_core::data::Reading;
use daf_core::data::geometry::{Frame, Geometry, Window};
use daf_core::{
    BoxError, Dataset, Donors, Error, Item, Kind, Rect, Result, Synthesis, Synthesizer, Synthetic,
};

pub use loader::{Loader, batch};
pub use picture::picture;

/// The normal images of a training split: those to learn from and those held out, to choose thresholds with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainValSplit {
    /// To learn from, in the data set's order.
    pub train: Vec<Item>,
    /// Held out, in the data set's order.
    pub validation: Vec<Item>,
}

impl TrainValSplit {
    /// Draws the images that are [`held_out`](daf_core::calibration::held_out); which ones depends on the seed alone.
    ///
    /// # Errors
    /// If there are none.
    pub fn of(items: Vec<Item>, share: f64, seed: u64) -> Result<Self> {
        Self::divided(items, share, seed, |_| None)
    }

    /// [`of`](Self::of) where `held_out` knows of some images whether they are held out; they stay so, and the share is filled up with
    /// others.
    ///
    /// # Errors
    /// The errors of [`of`](Self::of).
    pub fn divided(
        items: Vec<Item>,
        share: f64,
        seed: u64,
        held_out: impl Fn(&Item) -> Option<bool>,
    ) -> Result<Self> {
        if items.is_empty() {
            return Err(Error::data(
                "training data",
                "there are no normal images to learn from",
            ));
        }
        let held = calibration::held_out(items.len(), share);
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.shuffle(&mut stream(seed, u64::from(u32::MAX), u32::MAX));
        let known: Vec<Option<bool>> = items.iter().map(held_out).collect();
        let mut is_held: Vec<bool> = known.iter().map(|known| *known == Some(true)).collect();
        let missing = held.saturating_sub(is_held.iter().filter(|held| **held).count());
        order.retain(|index| known[*index].is_none());
        for index in order.into_iter().take(missing) {
            is_held[index] = true;
        }
        if is_held.iter().filter(|held| **held).count() < FEWEST_HELD_OUT {
            is_held.fill(false);
        }
        let (mut train, mut validation) = (Vec::new(), Vec::new());
        for (item, held) in items.into_iter().zip(is_held) {
            if held { &mut validation } else { &mut train }.push(item);
        }
        Ok(Self { train, validation })
    }
}

/// The random stream of one image in one epoch.
fn stream(seed: u64, epoch: u64, index: u32) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream((epoch << 32) | u64::from(index));
    rng
}

/// The endless stream of training samples of normal images.
///
/// An epoch goes through every image once, in an order of its own. What happens to an image depends on the seed, the epoch
/// and the image alone, so any number of threads makes the same samples, and a resumed run needs no state.
#[derive(Debug)]
pub struct Samples {
    dataset: Arc<dyn Dataset>,
    items: Vec<Item>,
    synthesizer: Option<Arc<dyn Synthesizer>>,
    settings: SampleSettings,
    /// Contents of images, resized, as far as `cache_left` goes.
    cache: Vec<OnceLock<Content>>,
    cache_left: AtomicU64,
}

/// How samples are made.
#[derive(Debug, Clone, Copy)]
pub struct SampleSettings {
    /// How images are brought to the size of the network's input.
    pub geometry: Geometry,
    /// How stored images become 8-bit RGB.
    pub reading: Reading,
    /// Seed of everything random.
    pub seed: u64,
    /// Share of the samples that stay normal.
    pub normal_share: f64,
    /// Memory for resized images, in bytes.
    pub cache_bytes: u64,
}

/// One training sample.
#[derive(Debug)]
pub struct Sample {
    /// Number of the image.
    pub index: usize,
    /// Whether the undamaged image looks the same in every epoch: the network sees all of it, not a window somewhere.
    pub recurs: bool,
    /// The image, at the size of the network's input.
    pub normal: Arc<RgbImage>,
    /// Result of the synthesizer; `None` without one.
    pub outcome: Option<Synthesis>,
}

/// The content of an image and the way that it took.
#[derive(Debug, Clone)]
struct Content {
    image: Arc<RgbImage>,
    frame: Arc<Frame>,
}

impl Content {
    /// Network input of a window.
    fn cut(&self, window: Window) -> Arc<RgbImage> {
        if self.frame.is_whole() {
            Arc::clone(&self.image)
        } else {
            Arc::new(self.frame.cut(&self.image, window))
        }
    }

    /// A window that `rng` draws where there is a choice.
    fn window(&self, rng: &mut dyn Rng) -> Window {
        self.frame.any_window(|most| rng.random_range(0..=most))
    }
}

impl Samples {
    /// The samples of `items`, images of `dataset` without defects, damaged by `synthesizer`.
    ///
    /// # Errors
    /// If there is no image.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        items: Vec<Item>,
        synthesizer: Option<Arc<dyn Synthesizer>>,
        settings: SampleSettings,
    ) -> Result<Self> {
        if items.is_empty() {
            return Err(Error::data("training data", "there are no normal images"));
        }
        let cache = items.iter().map(|_| OnceLock::new()).collect();
        Ok(Self {
            dataset,
            items,
            synthesizer,
            settings,
            cache,
            cache_left: AtomicU64::new(settings.cache_bytes),
        })
    }

    /// How many images there are: the length of an epoch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none; never, since [`new`](Self::new) refuses that.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The order in which the images of an epoch come.
    #[must_use]
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        order.shuffle(&mut stream(self.settings.seed, epoch, u32::MAX));
        order
    }

    /// The sample of image `index` in `epoch`.
    ///
    /// # Errors
    /// Names the image and, if it failed, the synthesizer.
    pub fn sample(&self, epoch: u64, index: usize) -> Result<Sample> {
        self.draw_sample(epoch, index, self.settings.normal_share)
    }

    /// Has the synthesizer make some samples, and refuses one that makes no defect in any: there would be nothing to learn from.
    ///
    /// # Errors
    /// The synthesizer's own, or that it makes no defect.
    pub fn check_defects(&self) -> Result<()> {
        /// So many are tried in any case: a fault that is rare shows itself now and then.
        const SOME: usize = 16;
        const TRIED: usize = 64;
        let Some(synthesizer) = self.synthesizer.as_ref().filter(|part| part.classes() > 0) else {
            return Ok(());
        };
        let mut damaged = false;
        for number in 0..TRIED {
            if damaged && number >= SOME {
                break;
            }
            let (epoch, index) = (number / self.len(), number % self.len());
            let sample = self.draw_sample(epoch as u64, index, 0.0)?;
            damaged |= matches!(sample.outcome, Some(Synthesis::Anomalous(_)));
        }
        if damaged {
            return Ok(());
        }
        let what = format!(
            "made no defect in {TRIED} samples, so there would be nothing to learn from (`daf-cli synth preview` shows them)"
        );
        let name = synthesizer.typetag_name();
        let broken = Broken::new(Kind::Synthesizer, name, what);
        Err(synthesizer.fault("on the training images", broken))
    }

    fn draw_sample(&self, epoch: u64, index: usize, share: f64) -> Result<Sample> {
        let content = self.content(index)?;
        let number = u32::try_from(index).unwrap_or(u32::MAX - 1);
        let mut rng = stream(self.settings.seed, epoch, number);
        let window = content.window(&mut rng);
        let normal = content.cut(window);
        let recurs = content.frame.len() == 1;
        let Some(synthesizer) = &self.synthesizer else {
            return Ok(Sample {
                index,
                recurs,
                normal,
                outcome: None,
            });
        };
        let stays_normal = share > 0.0 && rng.random_bool(share);
        let outcome = if stays_normal {
            Synthesis::Unchanged
        } else {
            let at = format!("on {}, epoch {epoch}", self.items[index].image.display());
            let outcome = synthesizer
                .synthesize_checked(&normal, self, &mut rng, &at)
                .map_err(|source| synthesizer.fault(at, source))?;
            confine(outcome, &normal, content.frame.inside(window))
        };
        Ok(Sample {
            index,
            recurs,
            normal,
            outcome: Some(outcome),
        })
    }

    /// Network inputs of image `index`, undamaged: the image, or all of its tiles.
    ///
    /// # Errors
    /// Names the image.
    pub fn inputs(&self, index: usize) -> Result<Vec<Arc<RgbImage>>> {
        let content = self.content(index)?;
        Ok(content
            .frame
            .windows()
            .map(|window| content.cut(window))
            .collect())
    }

    /// Opens image `index`, and keeps it if there is room.
    ///
    /// # Errors
    /// Names the image.
    pub(crate) fn open(&self, index: usize) -> Result<(), BoxError> {
        self.read(index).map(drop)
    }

    fn content(&self, index: usize) -> Result<Content> {
        let fault = |source| {
            let at = self.items[index].image.display().to_string();
            self.dataset.fault(at, source)
        };
        self.read(index).map_err(fault)
    }

    fn read(&self, index: usize) -> Result<Content, BoxError> {
        if let Some(kept) = self.cache[index].get() {
            return Ok(kept.clone());
        }
        let image = self.dataset.read(&self.items[index], self.settings.reading)?.rgb;
        let frame = self.settings.geometry.frame(image.width(), image.height());
        let content = Content {
            image: Arc::new(frame.content(&image)?.into_owned()),
            frame: Arc::new(frame),
        };
        let bytes = content.image.as_raw().len() as u64;
        let reserve = |left: u64| left.checked_sub(bytes);
        if self
            .cache_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve)
            .is_ok()
        {
            // Two threads may both have read it; the images are equal, and only one of them takes memory.
            if self.cache[index].set(content.clone()).is_err() {
                self.cache_left.fetch_add(bytes, Ordering::Relaxed);
            }
        }
        Ok(content)
    }
}

/// Takes back what was done to the part of the image that only fills up the network's input.
fn confine(outcome: Synthesis, normal: &RgbImage, inside: Rect) -> Synthesis {
    let (width, height) = normal.dimensions();
    let Synthesis::Anomalous(mut synthetic) = outcome else {
        return outcome;
    };
    if (inside.width, inside.height) == (width, height) {
        return Synthesis::Anomalous(synthetic);
    }
    for (x, y, pixel) in synthetic.image.enumerate_pixels_mut() {
        if !inside.contains(x, y) {
            *pixel = *normal.get_pixel(x, y);
        }
    }
    for (x, y, pixel) in synthetic.mask.enumerate_pixels_mut() {
        if !inside.contains(x, y) {
            pixel.0[0] = 0;
        }
    }
    if let Some(target) = &mut synthetic.target {
        for (value, pixel) in target.iter_mut().zip(0..) {
            if !inside.contains(pixel % width, pixel / width) {
                *value = 0.0;
            }
        }
    }
    match Rect::around(&synthetic.mask) {
        Some(_) => Synthesis::Anomalous(Synthetic {
            touched: inside,
            ..synthetic
        }),
        None => Synthesis::Unchanged,
    }
}

impl Donors for Samples {
    fn draw(&self, rng: &mut dyn Rng) -> Result<Arc<RgbImage>, BoxError> {
        let content = self.content(rng.random_range(0..self.items.len()))?;
        let window = content.window(rng);
        Ok(content.cut(window))
    }
}
