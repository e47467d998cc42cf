use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use super::block::Mode;
use super::scorer::MapsOf;
use super::store::StoreTensors;
use super::{Fit, Model, ModelConfig, NormalImages, Postprocessor, Store, macs, store, threads};
use crate::engine::{Engine, Inferred};
use crate::results::MultiplyAdds;
use crate::{Error, Result, ScoreMap};

/// Pixels per forward pass on a CPU: sixteen images of 256×256. Larger batches are slower there, since caches and the C
/// library's memory do not hold their features.
const PASS: usize = 1 << 20;

/// A model that libtorch computes.
///
/// It computes in the thread that calls, with as many threads as libtorch has for that; calls of several threads come one after
/// the other.
pub struct Libtorch {
    config: ModelConfig,
    device: Device,
    network: Mutex<Network>,
}

/// A built model and its built scorer.
struct Network {
    model: Box<dyn Model>,
    postprocessor: Box<dyn Postprocessor>,
}

impl Network {
    fn stores(&self) -> Vec<Store<'_>> {
        let mut stores = self.model.stores();
        stores.extend(self.postprocessor.stores());
        stores
    }
}

impl Libtorch {
    /// The trained model in the directory of a run.
    ///
    /// # Errors
    /// If the training has not ended, a part cannot be built, or a file of weights is missing, damaged or of another network.
    pub fn load(run: &Path, config: &ModelConfig, device: Device) -> Result<Self> {
        store::check_complete(run)?;
        let engine = Self::trained(run, config, device)?;
        store::load(run, &engine.network().postprocessor.stores(), false)?;
        Ok(engine)
    }

    /// The model that the steps of a training leave in the directory of a run, with a scorer that has yet to be
    /// [fitted](Self::fit).
    ///
    /// # Errors
    /// If a part cannot be built, or a file of weights is missing, damaged or of another network.
    pub fn trained(run: &Path, config: &ModelConfig, device: Device) -> Result<Self> {
        let engine = Self::build(config, device)?;
        store::load(run, &engine.network().model.stores(), false)?;
        Ok(engine)
    }

    fn build(config: &ModelConfig, device: Device) -> Result<Self> {
        let network = Network {
            model: config.build(device, Mode::Infer, None)?,
            postprocessor: config.build_scorer(device)?,
        };
        let mut names: Vec<&str> = network.stores().iter().map(|store| store.name).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let reason = format!(
                "model and scorer both have a store `{}`: their files would be one",
                twice[0]
            );
            return Err(config.scorer.fault("building the scorer", reason));
        }
        Ok(Self {
            config: config.clone(),
            device,
            network: Mutex::new(network),
        })
    }

    /// Fits the model to the undamaged training images and, after the training, the scorer to what the model sees in them. Says
    /// whether the model's stores have changed.
    ///
    /// # Errors
    /// [`Error::Part`] if an image cannot be read or a part refuses its work.
    pub fn fit(&mut self, when: Fit, images: &dyn NormalImages) -> Result<bool> {
        let network = self.network.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Network { model, postprocessor } = network;
        let changed = self.config.fit(model.as_mut(), when, images)?;
        if when == Fit::AfterTraining {
            let model = model.as_ref();
            let maps = MapsOf { model, images };
            tch::no_grad(|| postprocessor.fit(&maps)).map_err(|error| {
                self.config
                    .scorer
                    .fault("fitting the scorer to normal images", error)
            })?;
        }
        Ok(changed)
    }

    /// Saves what [`fit`](Self::fit) has changed into the directory of a run: the stores of the scorer, and those of the model if
    /// it says so.
    ///
    /// # Errors
    /// If the disk is full or the folder cannot be written to.
    pub fn save_fitted(&self, run: &Path, model: bool) -> Result<()> {
        let network = self.network();
        if model {
            store::save(run, &network.model.stores(), false)?;
        }
        let stores = network.postprocessor.stores();
        store::save(run, &stores, false)?;
        store::save(run, &stores, true)
    }

    /// Fits the model and its scorer again to undamaged images, more than those of the training of the run in a directory, whose
    /// weights they have. What a training rested on, frozen stores, stays as it was. Gives the stores that have changed.
    ///
    /// # Errors
    /// The errors of [`fit`](Self::fit), or if the files of the run cannot be read.
    pub fn refit(&mut self, run: &Path, images: &dyn NormalImages) -> Result<Vec<StoreTensors>> {
        self.fit(Fit::BeforeTraining, images)?;
        if self.config.method.learns() {
            store::load(run, &self.network().model.stores(), true)?;
        }
        self.fit(Fit::AfterTraining, images)?;
        store::changed(run, &self.network().stores())
    }

    /// Number of patches of normal images that the model keeps.
    #[must_use]
    pub fn kept_patches(&self) -> u64 {
        self.network().model.kept_patches()
    }

    /// Multiply-adds of one image of the size of the network's input.
    ///
    /// # Errors
    /// If a part refuses its work.
    pub fn multiply_adds(&self) -> Result<MultiplyAdds> {
        let size = self.config.input.size;
        let image = RgbImage::new(size.width(), size.height());
        let (found, counted) = macs::count(|| self.infer(&[&image]));
        found.map(|_| counted)
    }

    /// The network, for this thread alone. A panic leaves it usable.
    fn network(&self) -> MutexGuard<'_, Network> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of images of so many pixels that one pass takes.
    fn together(&self, pixels: usize) -> usize {
        match self.device {
            Device::Cpu => (PASS / pixels.max(1)).max(1),
            _ => usize::MAX,
        }
    }

    fn infer_pass(&self, network: &Network, inputs: &[&RgbImage]) -> Result<Vec<Inferred>> {
        let config = &self.config;
        let batch = super::images_to_tensor(inputs, &config.input, self.device)?;
        let maps =
            (network.model.infer(&batch)).map_err(|error| config.method.fault("scoring images", error))?;
        let size = (
            i64::from(config.input.size.height()),
            i64::from(config.input.size.width()),
        );
        let count = inputs.len() * (size.0 * size.1) as usize;
        let pixels = threads::stay_single_threaded_if_small(self.device, count, || {
            network.postprocessor.pixels(&maps, size)
        })
        .map_err(|error| config.scorer.fault("scoring images", error))?;
        let images = maps.images.as_ref().map(to_f64).transpose()?;
        let images = images.map_or_else(
            || vec![None; inputs.len()],
            |scores| scores.into_iter().map(Some).collect(),
        );
        let pixels = self.to_host(&pixels)?.into_iter();
        Ok((pixels.zip(images))
            .map(|(pixels, image)| Inferred { pixels, image })
            .collect())
    }

    fn finish_pass(&self, network: &Network, maps: &[ScoreMap]) -> Result<Vec<(f64, ScoreMap)>> {
        let Some(ScoreMap { width, height, .. }) = maps.first() else {
            return Ok(Vec::new());
        };
        let size = [maps.len() as i64, i64::from(*height), i64::from(*width)];
        let scores: Vec<f32> = maps.iter().flat_map(|map| &map.scores).copied().collect();
        let pixels = Tensor::from_slice(&scores).f_view(size)?.to_device(self.device);
        let scores = threads::stay_single_threaded_if_small(self.device, scores.len(), || {
            network.postprocessor.finish(&pixels)
        })
        .map_err(|error| self.config.scorer.fault("scoring images", error))?;
        let images = to_f64(&scores.images)?;
        Ok(images.into_iter().zip(self.to_host(&scores.pixels)?).collect())
    }

    /// Maps of pixel scores N×H×W.
    fn to_host(&self, pixels: &Tensor) -> Result<Vec<ScoreMap>> {
        let [n, height, width] = pixels.size()[..] else {
            return Err(Error::Shape {
                what: format!("pixel scores of scorer `{}`", self.config.scorer.typetag_name()),
                expected: "N×H×W".into(),
                found: format!("{:?}", pixels.size()),
            });
        };
        // All maps in one copy: from a GPU each takes its time.
        let pixels = pixels.to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
        (0..n)
            .map(|row| {
                Ok(ScoreMap {
                    width: width as u32,
                    height: height as u32,
                    scores: Vec::<f32>::try_from(pixels.get(row).view(-1))?,
                })
            })
            .collect()
    }
}

impl Engine for Libtorch {
    fn infer(&self, inputs: &[&RgbImage]) -> Result<Vec<Inferred>> {
        let network = self.network();
        let size = self.config.input.size;
        let together = self.together(size.width() as usize * size.height() as usize);
        let mut inferred = Vec::with_capacity(inputs.len());
        for inputs in inputs.chunks(together) {
            inferred.extend(tch::no_grad(|| self.infer_pass(&network, inputs))?);
        }
        Ok(inferred)
    }

    fn finish(&self, maps: Vec<ScoreMap>) -> Result<Vec<(f64, ScoreMap)>> {
        let network = self.network();
        let together = self.together(maps.first().map_or(0, |map| map.scores.len()));
        let mut finished = Vec::with_capacity(maps.len());
        for maps in maps.chunks(together) {
            finished.extend(tch::no_grad(|| self.finish_pass(&network, maps))?);
        }
        Ok(finished)
    }

    fn batch_size(&self) -> usize {
        self.config.batch_size
    }
}

fn to_f64(values: &Tensor) -> Result<Vec<f64>> {
    Ok(Vec::<f64>::try_from(values.to_kind(Kind::Double))?)
}
