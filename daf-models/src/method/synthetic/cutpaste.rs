use std::sync::Arc;

use crate::backbone::ResNet18;
use crate::teacher::pretrain;
use daf_core::block::{Blocks, Conv, ConvNorm, ConvSpec, Init, Mode, Precision, channels_last};
use daf_core::data::Normalization;
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::nn::VarStore;
use daf_core::tch::{Kind, Reduction, Tensor};
use daf_core::weights::Weights;
use daf_core::{
    Backbone, Batch, BoxError, BuildContext, Extractor, Fit, Losses, Maps, Method, Model, NormalImages,
    Origin, Store, Synthesized, typetag,
};
use serde::{Deserialize, Serialize};

use super::{Density, check_width, damaged};

/// CutPaste (Li et al., CVPR 2021): a network learns to tell pasted images from normal ones; a Gaussian over the
/// embeddings of the normal images then says how far an image is from them.
///
/// The score of an image is the Mahalanobis distance of its embedding, the pooled last stage of the backbone at length 1,
/// under a covariance that is shrunk as by Ledoit and Wolf. Classes are those of the synthesizer behind that of normal
/// images: with `cutpaste_union` and three classes this is the paper's "3-way", with two classes all damage is one. Each
/// step shows the normal and the damaged form of its images; the paper's 3-way shows patch and scar of each. There is no
/// official code; the head's layers follow the common unofficial one.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CutPaste {
    /// The network, of which the coarsest stage is used. The paper trains it from random weights.
    pub backbone: Arc<dyn Backbone>,
    /// Widths of the layers between embedding and classes; they serve the training alone.
    pub head: Vec<i64>,
    /// Number of classes, normal images being the first: 2 to 256. Damage of a class that is not there counts as the last.
    pub classes: i64,
    /// How the score of a pixel comes about.
    pub localization: Localization,
}
daf_core::register!(Method: CutPaste = "cutpaste", recipe = include_str!("cutpaste.yaml"));

/// How the score of a pixel comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Localization {
    /// A second network, with a density of its own, is trained on patches and scores every place of the image; distances
    /// are spread by Gaussians of the patches' size (the paper's localisation). Its training patches are cut from the
    /// pasted images where they show an outline of the damage, and from the normal ones at the same places; the paper
    /// pastes into patches.
    Patches {
        /// Side of a patch in pixels, 32 or more; the paper's 64 are of images of 256.
        #[serde(default = "patch_side")]
        size: i64,
        /// Distance of neighbouring patches in pixels; the work grows with its inverse square.
        #[serde(default = "patch_stride")]
        stride: i64,
    },
    /// By how much each position of the last stage raises the image's distance: Grad-CAM (Selvaraju et al., ICCV 2017) of
    /// the density. Costs nothing, and is as coarse as the last stage.
    GradCam {},
}

const fn patch_side() -> i64 {
    64
}
const fn patch_stride() -> i64 {
    4
}

impl Default for CutPaste {
    fn default() -> Self {
        Self {
            backbone: Arc::new(ResNet18 {
                weights: Weights::Random,
                stages: 4,
            }),
            head: vec![512, 128],
            classes: 3,
            localization: Localization::Patches {
                size: patch_side(),
                stride: patch_stride(),
            },
        }
    }
}

#[typetag::serde(name = CutPaste::NAME)]
impl Method for CutPaste {
    fn needs_synthesis(&self) -> bool {
        true
    }

    fn normalization(&self) -> Normalization {
        self.backbone.normalization()
    }

    fn stride(&self) -> i64 {
        self.backbone.stride()
    }

    fn min_side(&self) -> i64 {
        match self.localization {
            Localization::Patches { size, .. } => size.max(self.stride()),
            Localization::GradCam {} => self.stride(),
        }
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
        let vars = VarStore::new(context.device);
        let mut origin = None;
        let mut classifier = |name: &str| {
            let classifier = Classifier::new(self, &vars, name, context.mode, context.precision)?;
            let prefix = format!("{name}.backbone.");
            origin = pretrain("backbone", self.backbone.as_ref(), &vars, &prefix, context)?;
            Ok::<_, BoxError>(classifier)
        };
        let images = classifier("images")?;
        let patches = match self.localization {
            Localization::Patches { size, stride } => Some(Patches {
                classifier: classifier("patches")?,
                size,
                stride,
            }),
            Localization::GradCam {} => None,
        };
        Ok(Box::new(CutPasteModel {
            images,
            patches,
            classes: self.classes,
            vars,
            origin,
        }))
    }

    fn check(&self) -> Result<(), BoxError> {
        self.backbone
            .check()
            .map_err(|error| format!("backbone: {error}"))?;
        for (number, width) in self.head.iter().enumerate() {
            check_width(&format!("head[{number}]"), *width)?;
        }
        if !(2..=256).contains(&self.classes) {
            return Err(format!("`classes` must be 2 to 256, found {}", self.classes).into());
        }
        if let Localization::Patches { size, stride } = self.localization {
            let coarsest = self.stride();
            if size < 32 || size % coarsest != 0 {
                return Err(format!(
                    "`localization.size` must be 32 or more and a multiple of the backbone's stride {coarsest}, found {size}"
                )
                .into());
            }
            if stride < 1 || stride > size {
                return Err(format!(
                    "`localization.stride` must be 1 to the patches' size {size}, found {stride}"
                )
                .into());
            }
        }
        Ok(())
    }
}

/// A network that embeds and classifies, and the density of its normal embeddings.
struct Classifier {
    backbone: Box<dyn Extractor>,
    head: Vec<ConvNorm>,
    last: Conv,
    density: Density,
}

impl Classifier {
    fn new(
        recipe: &CutPaste,
        vars: &VarStore,
        name: &str,
        mode: Mode,
        precision: Precision,
    ) -> Result<Self, BoxError> {
        let blocks = |start| Blocks::new(vars.root() / name, mode, start, precision);
        let mut input = recipe.backbone.stages().last().map_or(0, |stage| stage.channels);
        // As PyTorch's linear layers, by their inputs: from its three outputs the last one would start with logits of
        // several units, and the first steps at the paper's learning rate would ruin the backbone.
        let layers = blocks(Init::Xavier).sub("head");
        let head = recipe.head.iter().zip(0..).map(|(&output, number)| {
            let layer = layers.conv_norm(
                &format!("{number}"),
                &format!("bn{number}"),
                ConvSpec::same(input, output, 1),
            );
            input = output;
            layer
        });
        Ok(Self {
            backbone: recipe
                .backbone
                .build_checked(&blocks(Init::FanOut).sub("backbone"))?,
            head: head.collect(),
            last: layers.conv("classes", ConvSpec::same(input, recipe.classes, 1).with_bias()),
            density: Density::new(&(vars.root() / name / "density")),
        })
    }

    /// The last stage, float32 N×C×h×w.
    fn features(&self, images: &Tensor) -> Tensor {
        let mut stages = self.backbone.extract(&channels_last(images));
        stages.pop().expect("a backbone has stages").to_kind(Kind::Float)
    }

    /// Embeddings of length 1, N×C.
    fn embed(&self, images: &Tensor) -> Tensor {
        unit(&pooled(&self.features(images))).1
    }

    /// N×`classes`.
    fn logits(&self, images: &Tensor) -> Tensor {
        let embeddings = pooled(&self.features(images)).unsqueeze(-1).unsqueeze(-1);
        let hidden = self
            .head
            .iter()
            .fold(embeddings, |values, layer| layer.forward(&values).relu());
        self.last.forward(&hidden).to_kind(Kind::Float).flatten(1, -1)
    }

    /// Mean loss of images of classes n.
    fn loss(&self, images: &Tensor, classes: &Tensor) -> Tensor {
        self.logits(images)
            .cross_entropy_loss::<Tensor>(classes, None, Reduction::Mean, -100, 0.0)
    }
}

/// Means over height and width, N×C.
fn pooled(features: &Tensor) -> Tensor {
    features.mean_dim([2i64, 3].as_slice(), false, Kind::Float)
}

/// Lengths N×1 and the same embeddings at length 1.
fn unit(embeddings: &Tensor) -> (Tensor, Tensor) {
    let lengths = embeddings
        .square()
        .sum_dim_intlist(1, true, Kind::Float)
        .sqrt()
        .clamp_min(1e-12);
    let units = embeddings / &lengths;
    (lengths, units)
}

/// The network for patches.
struct Patches {
    classifier: Classifier,
    size: i64,
    stride: i64,
}

/// Patches per pass.
const TOGETHER: i64 = 256;

impl Patches {
    /// Squares of N×C×H×W at a distance of `size`, those of an image in a row: N·K×C×`size`×`size`.
    fn tiles(&self, images: &Tensor) -> Tensor {
        let channels = images.size()[1];
        images
            .unfold(2, self.size, self.size)
            .unfold(3, self.size, self.size)
            .permute([0, 2, 3, 1, 4, 5])
            .reshape([-1, channels, self.size, self.size])
    }

    /// Loss of the tiles that show an outline of the damage, and of the same tiles of the normal images; 0 if there are
    /// none. Inside of a large piece of the same image there is nothing that would tell it from others.
    fn loss(&self, normal: &Tensor, synthetic: &Synthesized, classes: &Tensor) -> Tensor {
        let share = self.tiles(&synthetic.mask.to_kind(Kind::Float)).mean_dim(
            [1i64, 2, 3].as_slice(),
            false,
            Kind::Float,
        );
        let chosen = share.gt(0.0).logical_and(&share.lt(1.0)).nonzero().squeeze_dim(1);
        if chosen.numel() == 0 {
            return Tensor::zeros([], (Kind::Float, normal.device()));
        }
        let per_image = share.size()[0] / normal.size()[0];
        let classes = classes
            .repeat_interleave_self_int(per_image, None::<i64>, None)
            .index_select(0, &chosen);
        let tiles = |images: &Tensor| self.tiles(images).index_select(0, &chosen);
        let both = Tensor::cat(&[tiles(normal), tiles(&synthetic.images)], 0);
        let classes = Tensor::cat(&[classes.zeros_like(), classes], 0);
        self.classifier.loss(&both, &classes)
    }

    /// First pixels of patches along a side: every `stride`, and one flush with the end.
    fn places(&self, side: i64, stride: i64) -> Vec<i64> {
        let last = side - self.size;
        let mut places: Vec<i64> = (0..=last).step_by(stride as usize).collect();
        if places.last() != Some(&last) {
            places.push(last);
        }
        places
    }

    /// Embeddings of the patches of one image 1×3×H×W, row by row.
    fn embed(&self, image: &Tensor, rows: &[i64], columns: &[i64]) -> Tensor {
        let patch = |(row, column): (i64, i64)| image.narrow(2, row, self.size).narrow(3, column, self.size);
        let places: Vec<(i64, i64)> = rows
            .iter()
            .flat_map(|row| columns.iter().map(|column| (*row, *column)))
            .collect();
        let embedded = places.chunks(TOGETHER as usize).map(|places| {
            let patches: Vec<Tensor> = places.iter().copied().map(patch).collect();
            self.classifier.embed(&Tensor::cat(&patches, 0))
        });
        Tensor::cat(&embedded.collect::<Vec<_>>(), 0)
    }

    /// Scores of all pixels, N×1×H×W: distances of the patches, weighed by Gaussians around their centres of a quarter of
    /// their size as standard deviation.
    fn scores(&self, images: &Tensor) -> Result<Tensor, BoxError> {
        let (n, _, height, width) = images.size4()?;
        let (rows, columns) = (self.places(height, self.stride), self.places(width, self.stride));
        let spread = |places: &[i64], side: i64| {
            let float = (Kind::Float, images.device());
            let center = (self.size - 1) as f64 / 2.0;
            let centers = Tensor::from_slice(places)
                .to_device(images.device())
                .to_kind(Kind::Float)
                + center;
            let offsets = Tensor::arange(side, float).unsqueeze(1) - centers.unsqueeze(0);
            let deviation = self.size as f64 / 4.0;
            (offsets.square() / (-2.0 * deviation * deviation)).softmax(1, Kind::Float)
        };
        let (over_rows, over_columns) = (spread(&rows, height), spread(&columns, width));
        let maps = (0..n).map(|number| {
            let embedded = self.embed(&images.narrow(0, number, 1), &rows, &columns);
            let distances = self.classifier.density.distances(&embedded)?;
            let grid = distances.view([rows.len() as i64, columns.len() as i64]);
            Ok(over_rows.matmul(&grid).matmul(&over_columns.tr()))
        });
        let maps = maps.collect::<Result<Vec<Tensor>, BoxError>>()?;
        Ok(Tensor::stack(&maps, 0).unsqueeze(1))
    }
}

struct CutPasteModel {
    images: Classifier,
    patches: Option<Patches>,
    classes: i64,
    vars: VarStore,
    origin: Option<Origin>,
}

impl CutPasteModel {
    /// By how much each position of N×C×h×w features raises the distance of its image, N×1×h×w, at least 0.
    fn raises(&self, features: &Tensor) -> Tensor {
        let (lengths, units) = unit(&pooled(features));
        let slope = self.images.density.slope(&units);
        // Through the division by the length, of which the direction of the embedding itself has no part.
        let along = (&slope * &units).sum_dim_intlist(1, true, Kind::Float);
        let weights = (slope - along * &units) / lengths;
        (features * weights.unsqueeze(-1).unsqueeze(-1))
            .sum_dim_intlist(1, true, Kind::Float)
            .relu()
    }
}

impl Model for CutPasteModel {
    fn stores(&self) -> Vec<Store<'_>> {
        vec![Store::learned("network", &self.vars)]
    }

    fn origins(&self) -> Vec<Origin> {
        self.origin.iter().cloned().collect()
    }

    fn losses(&self, batch: &Batch) -> Result<Losses, BoxError> {
        let synthetic = damaged(batch)?;
        let classes: Vec<i64> = synthetic
            .class
            .iter()
            .map(|class| (class + 1).clamp(0, self.classes - 1))
            .collect();
        let classes = Tensor::from_slice(&classes).to_device(batch.normal.device());
        let both = Tensor::cat(&[&batch.normal, &synthetic.images], 0);
        let targets = Tensor::cat(&[&classes.zeros_like(), &classes], 0);
        let mut losses = vec![("class".into(), self.images.loss(&both, &targets))];
        if let Some(patches) = &self.patches {
            losses.push(("patch".into(), patches.loss(&batch.normal, synthetic, &classes)));
        }
        Ok(losses)
    }

    fn fit(&mut self, when: Fit, images: &dyn NormalImages) -> Result<bool, BoxError> {
        if when == Fit::BeforeTraining {
            return Ok(false);
        }
        let (mut whole, mut pieces) = (Vec::new(), Vec::new());
        for batch in images.batches() {
            let batch = batch?.images;
            whole.push(self.images.embed(&batch));
            let Some(patches) = &self.patches else { continue };
            // Half overlapping patches are enough for a mean and a covariance.
            let (_, _, height, width) = batch.size4()?;
            let [rows, columns] = [height, width].map(|side| patches.places(side, patches.size / 2));
            for number in 0..batch.size()[0] {
                pieces.push(patches.embed(&batch.narrow(0, number, 1), &rows, &columns));
            }
        }
        if whole.is_empty() {
            return Err("there are no normal images to fit the density to".into());
        }
        self.images.density.fit(&Tensor::cat(&whole, 0))?;
        if let Some(patches) = &mut self.patches {
            patches.classifier.density.fit(&Tensor::cat(&pieces, 0))?;
        }
        Ok(true)
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let features = self.images.features(images);
        let (_, embeddings) = unit(&pooled(&features));
        let scores = self.images.density.distances(&embeddings)?;
        let map = match &self.patches {
            Some(patches) => patches.scores(images)?,
            None => {
                let size = images.size();
                self.raises(&features)
                    .upsample_bilinear2d([size[2], size[3]], false, None, None)
            }
        };
        Ok(Maps {
            discrepancy: vec![map],
            probability: None,
            images: Some(scores),
        })
    }
}

#[cfg(test)]
mod tests {
    use daf_core::NormalBatch;
    use daf_core::macs::count;
    use daf_core::tch::{self, Device};

    use super::*;
    use crate::alone::alone;
    use crate::method::synthetic::slow::{self, numbers};

    const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

    struct Noise;

    impl NormalImages for Noise {
        fn batches(&self) -> Box<dyn Iterator<Item = Result<NormalBatch, BoxError>> + '_> {
            let batch =
                |number: usize| NormalBatch::consecutive(2 * number, Tensor::rand([2, 3, 64, 64], FLOAT));
            Box::new((0..3).map(move |number| Ok(batch(number))))
        }
    }

    fn recipe(localization: Localization) -> CutPaste {
        CutPaste {
            localization,
            ..CutPaste::default()
        }
    }

    /// Patches of 32 pixels.
    const SMALL: Localization = Localization::Patches { size: 32, stride: 8 };

    #[test]
    fn its_parameters_are_those_of_two_networks_with_heads() {
        alone();
        let head = 512 * 512 + 2 * 512 + 512 * 128 + 2 * 128 + 128 * 3 + 3;
        let one = 11_176_512 + head;
        for (localization, networks) in [(Localization::GradCam {}, 1), (SMALL, 2)] {
            let model = slow::built(&recipe(localization), Mode::Train, (64, 64));
            assert_eq!(model.parameters(), networks * one);
        }
    }

    #[test]
    fn its_multiply_adds_grow_with_the_number_of_patches() {
        alone();
        let resnet = |side: u64| 1_813_561_344 / 49 * side * side / 1024;
        for (localization, expected) in [(Localization::GradCam {}, 0), (SMALL, 25 * resnet(32))] {
            let mut model = slow::built(&recipe(localization), Mode::Infer, (64, 64));
            tch::no_grad(|| model.fit(Fit::AfterTraining, &Noise)).unwrap();
            let image = Tensor::rand([1, 3, 64, 64], FLOAT);
            let (_, counted) = count(|| tch::no_grad(|| model.infer(&image).unwrap()));
            assert_eq!(counted.defined, resnet(64) + expected, "{localization:?}");
        }
    }

    #[test]
    fn its_loss_is_the_cross_entropy_of_normal_and_pasted_images() {
        alone();
        for classes in [2, 3] {
            let method = CutPaste {
                classes,
                head: vec![5],
                localization: Localization::GradCam {},
                ..CutPaste::default()
            };
            let vars = VarStore::new(Device::Cpu);
            let images = Classifier::new(&method, &vars, "images", Mode::Infer, Precision::Float32).unwrap();
            let model = CutPasteModel {
                images,
                patches: None,
                classes,
                vars,
                origin: None,
            };
            let mut batch = slow::batch(64, true);
            batch.synthetic.as_mut().unwrap().class = vec![1, -1];
            let weights = slow::Weights::of(&model.vars);
            let synthetic = &batch.synthetic.as_ref().unwrap().images;
            let mut expected = 0.0;
            for (images, targets) in [(&batch.normal, [0, 0]), (synthetic, [classes - 1, 0])] {
                for (number, target) in (0..2).zip(targets) {
                    let embedding = pooled(&model.images.features(&images.narrow(0, number, 1)));
                    let embedding = slow::Planes::of(&embedding.unsqueeze(-1).unsqueeze(-1));
                    let hidden = weights.conv(&embedding, "images.head.0", 1, 0);
                    let hidden = weights.norm(&hidden, "images.head.bn0").relu();
                    let logits = weights.conv(&hidden, "images.head.classes", 1, 0);
                    let exponentials = (0..classes).map(|class| logits.at(class, 0, 0).exp());
                    expected -= (logits.at(target, 0, 0).exp() / exponentials.sum::<f64>()).ln() / 4.0;
                }
            }
            let losses = model.losses(&batch).unwrap();
            assert_eq!((losses.len(), losses[0].0.as_str()), (1, "class"));
            let found = losses[0].1.double_value(&[]);
            assert!((found - expected).abs() < 1e-4, "{found} and {expected}");
        }
    }

    #[test]
    fn its_losses_start_near_those_of_guessing() {
        alone();
        let mut losses = Vec::new();
        for _ in 0..8 {
            let model = slow::built(&recipe(SMALL), Mode::Train, (64, 64));
            let drawn = model.losses(&slow::batch(64, true)).unwrap();
            losses.extend(drawn.iter().map(|(_, loss)| loss.double_value(&[])));
        }
        // Of three classes it is 1.1. A single one depends on the weights drawn.
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        assert!((0.5..2.5).contains(&mean), "{mean}: {losses:?}");
    }

    #[test]
    fn patches_learn_where_an_outline_is_seen() {
        alone();
        let model = slow::built(&recipe(SMALL), Mode::Train, (64, 64));
        let mut batch = slow::batch(64, true);
        let loss = |batch: &Batch| model.losses(batch).unwrap()[1].1.double_value(&[]);
        assert!(loss(&batch) > 0.0);
        // A tile that is damaged as a whole has no outline, nor has one without damage.
        let mask = &batch.synthetic.as_ref().unwrap().mask;
        let _ = mask.shallow_clone().zero_();
        let _ = mask.narrow(2, 0, 32).narrow(3, 32, 32).fill_(1.0);
        assert_eq!(loss(&batch), 0.0);
        batch.synthetic = None;
        assert!(
            model
                .losses(&batch)
                .unwrap_err()
                .to_string()
                .contains("name a `synthesizer`")
        );
    }

    #[test]
    fn scores_of_patches_are_spread_by_gaussians_around_them() {
        alone();
        let mut draws = slow::Draws::new(11);
        let method = recipe(Localization::Patches { size: 32, stride: 24 });
        let vars = VarStore::new(Device::Cpu);
        let mut patches = Patches {
            classifier: Classifier::new(&method, &vars, "patches", Mode::Infer, Precision::Float32).unwrap(),
            size: 32,
            stride: 24,
        };
        tch::no_grad(|| {
            let normal = patches.classifier.embed(&draws.uniform(&[6, 3, 32, 32]));
            patches.classifier.density.fit(&normal).unwrap();
            let image = draws.uniform(&[1, 3, 64, 32]);
            let found = numbers(&patches.scores(&image).unwrap());
            // Every 24 pixels, and one that ends with the image.
            let places = [0, 24, 32];
            let distances = places.map(|row| {
                let embedded = patches.classifier.embed(&image.narrow(2, row, 32));
                patches
                    .classifier
                    .density
                    .distances(&embedded)
                    .unwrap()
                    .double_value(&[0])
            });
            for row in 0..64i32 {
                let weights = places.map(|place| {
                    let offset = f64::from(row) - (place as f64 + 15.5);
                    (-offset * offset / (2.0 * 64.0)).exp()
                });
                let sum: f64 = weights.iter().zip(&distances).map(|(w, d)| w * d).sum();
                let expected = sum / weights.iter().sum::<f64>();
                let found = found[row as usize * 32 + 7];
                assert!(
                    (found - expected).abs() < 1e-3 * expected,
                    "{row}: {found} and {expected}"
                );
            }
        });
    }

    #[test]
    fn grad_cam_weighs_features_by_the_derivative_of_the_distance() {
        alone();
        let mut draws = slow::Draws::new(12);
        let mut model = {
            let method = recipe(Localization::GradCam {});
            let vars = VarStore::new(Device::Cpu);
            CutPasteModel {
                images: Classifier::new(&method, &vars, "images", Mode::Infer, Precision::Float32).unwrap(),
                patches: None,
                classes: 3,
                vars,
                origin: None,
            }
        };
        let normal = draws.uniform(&[6, 4]);
        model.images.density.fit(&unit(&normal).1).unwrap();
        let features = draws.uniform(&[1, 4, 2, 3]).set_requires_grad(true);
        let embedding = unit(&pooled(&features)).1;
        let square = model.images.density.distances(&embedding).unwrap().square();
        square.sum(Kind::Float).backward();
        // The mean spreads a derivative evenly over the six positions.
        let expected = (features.grad() * 6.0 * &features)
            .sum_dim_intlist(1, true, Kind::Float)
            .relu();
        let found = model.raises(&features.detach());
        let error = (found - expected).abs().max().double_value(&[]);
        assert!(error < 1e-3, "{error}");
    }

    #[test]
    fn what_it_cannot_be_is_said() {
        alone();
        let patches = |size, stride| recipe(Localization::Patches { size, stride });
        let cases = [
            (
                patches(40, 4),
                "`localization.size` must be 32 or more and a multiple of the backbone's stride 32, found 40",
            ),
            (
                patches(64, 65),
                "`localization.stride` must be 1 to the patches' size 64, found 65",
            ),
            (
                CutPaste {
                    classes: 1,
                    ..CutPaste::default()
                },
                "`classes` must be 2 to 256, found 1",
            ),
            (
                CutPaste {
                    head: vec![0],
                    ..CutPaste::default()
                },
                "`head[0]` must be 1 to 4096 channels, found 0",
            ),
        ];
        for (method, expected) in cases {
            assert_eq!(method.check().unwrap_err().to_string(), expected);
        }
        let sides = [patches(64, 4), recipe(Localization::GradCam {})].map(|method| method.min_side());
        assert_eq!(sides, [64, 32]);
    }
}
