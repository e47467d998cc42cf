//! Training samples: which image comes when, and what is done to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use image::RgbImage;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{BoxError, Dataset, Donors, Error, Item, Kind, Outcome, Result, Split, Synthesizer, data};

/// The endless stream of training samples of a data set.
///
/// An epoch goes through every normal image once, in an order of its own. What happens to an image depends on the seed,
/// the epoch and the image alone, so any number of threads makes the same samples, and a resumed run needs no state.
#[derive(Debug)]
pub struct Samples {
    dataset: Arc<dyn Dataset>,
    items: Vec<Item>,
    synthesizer: Option<Arc<dyn Synthesizer>>,
    width: u32,
    height: u32,
    seed: u64,
    normal_share: f64,
    /// Images as they are given to the network, as far as `cache_left` goes.
    cache: Vec<OnceLock<Arc<RgbImage>>>,
    cache_left: AtomicU64,
}

/// One training sample.
#[derive(Debug)]
pub struct Sample {
    /// Which image of the training split it is.
    pub index: usize,
    /// The image, at the size of the network's input.
    pub normal: Arc<RgbImage>,
    /// What the synthesizer made of it; `None` without a synthesizer.
    pub outcome: Option<Outcome>,
}

impl Samples {
    /// The samples of the training split of `dataset` at `width`×`height`. `normal_share` of them stay normal; up to
    /// `cache_bytes` of resized images are kept.
    ///
    /// # Errors
    /// If the split cannot be listed or is empty.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        synthesizer: Option<Arc<dyn Synthesizer>>,
        (width, height): (u32, u32),
        seed: u64,
        normal_share: f64,
        cache_bytes: u64,
    ) -> Result<Self> {
        let part = |source| Error::Part {
            kind: Kind::Dataset,
            name: dataset.typetag_name().into(),
            at: "training images".into(),
            source,
        };
        let items = dataset.items(Split::Train).map_err(part)?;
        if items.is_empty() {
            return Err(part("there are no normal images to learn from".into()));
        }
        let cache = items.iter().map(|_| OnceLock::new()).collect();
        let cache_left = AtomicU64::new(cache_bytes);
        Ok(Self {
            dataset,
            items,
            synthesizer,
            width,
            height,
            seed,
            normal_share,
            cache,
            cache_left,
        })
    }

    /// How many normal images there are: the length of an epoch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none; never, since [`new`](Self::new) refuses an empty split.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The order in which the images of an epoch come.
    #[must_use]
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        order.shuffle(&mut self.stream(epoch, u32::MAX));
        order
    }

    /// The random stream of one image in one epoch.
    fn stream(&self, epoch: u64, index: u32) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream((epoch << 32) | u64::from(index));
        rng
    }

    /// The sample of image `index` in `epoch`.
    ///
    /// # Errors
    /// Names the image and, if it failed, the synthesizer.
    pub fn sample(&self, epoch: u64, index: usize) -> Result<Sample> {
        let normal = self.image(index)?;
        let Some(synthesizer) = &self.synthesizer else {
            return Ok(Sample {
                index,
                normal,
                outcome: None,
            });
        };
        let mut rng = self.stream(epoch, u32::try_from(index).unwrap_or(u32::MAX - 1));
        let stays_normal = self.normal_share > 0.0 && rng.random_bool(self.normal_share);
        let outcome = if stays_normal {
            Outcome::Unchanged
        } else {
            synthesizer
                .synthesize(&normal, self, &mut rng)
                .map_err(|source| Error::Part {
                    kind: Kind::Synthesizer,
                    name: synthesizer.typetag_name().into(),
                    at: format!("on {}, epoch {epoch}", self.items[index].image.display()),
                    source,
                })?
        };
        Ok(Sample {
            index,
            normal,
            outcome: Some(outcome),
        })
    }

    /// A normal image at the size of the network's input.
    ///
    /// # Errors
    /// Names the file and why it cannot be read.
    pub fn image(&self, index: usize) -> Result<Arc<RgbImage>> {
        if let Some(kept) = self.cache[index].get() {
            return Ok(Arc::clone(kept));
        }
        let image = self
            .dataset
            .image(&self.items[index])
            .map_err(|source| Error::Part {
                kind: Kind::Dataset,
                name: self.dataset.typetag_name().into(),
                at: self.items[index].image.display().to_string(),
                source,
            })?;
        let image = Arc::new(data::resize_rgb(&image, self.width, self.height)?);
        let bytes = image.as_raw().len() as u64;
        let reserve = |left: u64| left.checked_sub(bytes);
        if self
            .cache_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve)
            .is_ok()
        {
            // Two threads may both have read it; the images are equal.
            let _ = self.cache[index].set(Arc::clone(&image));
        }
        Ok(image)
    }
}

impl Donors for Samples {
    fn draw(&self, rng: &mut dyn Rng) -> Result<Arc<RgbImage>, BoxError> {
        Ok(self.image(rng.random_range(0..self.items.len()))?)
    }
}
