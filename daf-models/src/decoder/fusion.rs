use std::ops::Range;

use daf_core::block::{Blocks, Conv, ConvNorm, ConvSpec, Mode, pointwise, relu};
use daf_core::kernel::{is_faster, to_vec_f32};
use daf_core::macs::scaled;
use daf_core::threads::{both, in_pairs};
use daf_core::{BoxError, Comparison, Decoder, DecoderInput, Segmenter, typetag};
use daf_kernels::{LANES, head};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::upsampled::{LONGEST, conv_upsampled, convolve_upsampled, shifted};
use super::{bilinear, size};
use crate::window::channels_innermost;

/// Three blocks from coarse to fine: the discrepancy of all stages guides the student's features to a probability map.
///
/// The maps are tiled to the channels of the coarsest stage, added at the size of the finest, smoothed by a 1×1
/// convolution and brought to the coarsest size; each block then doubles the size and takes in a finer stage (paper,
/// section III-C). The paper has three stages whose strides double. Others are resampled to such a pyramid above the
/// coarsest: the last two are its coarse levels, all before them are joined in the finest; of fewer than three the first is
/// used again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fusion {
    /// Whether the discrepancy guides the decoder; `false` is the ablation of the paper's Table VII.
    pub discrepancy: bool,
}
daf_core::register!(Decoder: Fusion = "fusion");

impl Default for Fusion {
    fn default() -> Self {
        Self { discrepancy: true }
    }
}

#[typetag::serde(name = Fusion::NAME)]
impl Decoder for Fusion {
    fn build(&self, blocks: &Blocks, input: &DecoderInput) -> Result<Box<dyn Segmenter>, BoxError> {
        let stages = &input.stages;
        let coarse = *stages.last().ok_or("the student must have a stage")?;
        let levels = Levels::of(stages.len());
        let middle = stages[levels.middle].channels;
        let fine: i64 = stages[levels.fine.clone()]
            .iter()
            .map(|stage| stage.channels)
            .sum();
        let guided = self.discrepancy && !input.discrepancy.is_empty();
        let found: Vec<usize> = input.discrepancy.iter().map(|map| map.stage + 1).collect();
        if guided && !found.iter().copied().eq(1..=stages.len()) {
            return Err(format!(
                "`discrepancy` needs a map for each of the {} stages, and the measure gives maps for stages {found:?} only: add \
                 measures for the others in a `sum`, or set `discrepancy: false`",
                stages.len()
            )
            .into());
        }
        let width = coarse.channels;
        let smooth = guided.then(|| {
            blocks
                .sub("smooth")
                .conv_norm("conv", "bn", ConvSpec::same(width, width, 1))
        });
        let guide = if guided { width } else { 0 };
        let seg2 = ConvSpec {
            kernel: 2,
            stride: 2,
            padding: 0,
            ..ConvSpec::same(middle + 256, 128, 1)
        };
        Ok(Box::new(FusionSegmenter {
            smooth,
            seg1: blocks
                .sub("seg1")
                .conv_norm("conv", "bn", ConvSpec::same(guide + coarse.channels, 256, 3)),
            seg2: blocks
                .sub("seg2")
                .transposed_conv_norm("deconv", "bn", seg2.with_bias()),
            seg3: blocks
                .sub("seg3")
                .conv_norm("conv", "bn", ConvSpec::same(fine + 128, 64, 1)),
            head: blocks
                .sub("head")
                .conv("conv", ConvSpec::same(64, 1, 1).with_bias()),
            levels,
            stride: coarse.stride,
            mode: blocks.mode(),
        }))
    }
}

/// The names are those of the official code: `smooth`, `seg1` (coarsest), `seg2`, `seg3`, `head`.
#[derive(Debug)]
struct FusionSegmenter {
    smooth: Option<ConvNorm>,
    seg1: ConvNorm,
    seg2: ConvNorm,
    seg3: ConvNorm,
    head: Conv,
    levels: Levels,
    /// Pixels of the image per position of the coarsest stage.
    stride: i64,
    mode: Mode,
}

impl Segmenter for FusionSegmenter {
    fn segment(&self, features: &[Tensor], discrepancy: &[Comparison]) -> Tensor {
        let (maps, features) = self.levels.resample(features, discrepancy);
        let size = size(&features[2]).map(|side| self.stride * side);
        let logits = match self.mode {
            Mode::Train => self.train(features.each_ref(), &maps),
            Mode::Infer => self.infer(features.each_ref(), &maps),
        };
        bilinear(&logits.to_kind(Kind::Float), size)
    }
}

/// Indices of the stages in the levels of a pyramid of three sizes, each twice as large as the next.
#[derive(Debug)]
struct Levels {
    fine: Range<usize>,
    middle: usize,
    coarse: usize,
}

impl Levels {
    /// Of so many stages, at least 1.
    const fn of(stages: usize) -> Self {
        let middle = stages.saturating_sub(2);
        Self {
            fine: 0..if middle == 0 { 1 } else { middle },
            middle,
            coarse: stages - 1,
        }
    }

    /// The discrepancy map of every stage and the features of every level, fine to coarse, at the sizes of their levels.
    fn resample(&self, features: &[Tensor], discrepancy: &[Comparison]) -> (Vec<Tensor>, [Tensor; 3]) {
        let coarse = &features[self.coarse];
        let larger = |factor: i64| size(coarse).map(|side| factor * side);
        let maps = discrepancy.iter().enumerate().map(|(stage, map)| {
            let factor = if stage == self.coarse {
                1
            } else if stage == self.middle {
                2
            } else {
                4
            };
            resample(map.guide(), larger(factor))
        });
        let fine: Vec<Tensor> = features[self.fine.clone()]
            .iter()
            .map(|features| resample(features, larger(4)))
            .collect();
        let fine = match &fine[..] {
            [one] => one.shallow_clone(),
            several => Tensor::cat(several, 1),
        };
        let middle = resample(&features[self.middle], larger(2));
        (maps.collect(), [fine, middle, coarse.shallow_clone()])
    }
}

impl FusionSegmenter {
    /// N×1×h×w logits at twice the size of the finest level.
    fn train(&self, [fine, middle, coarse]: [&Tensor; 3], discrepancy: &[Tensor]) -> Tensor {
        let guided = match &self.smooth {
            Some(smooth) => {
                let smoothed = smooth.run(|weight, bias| {
                    fuse(
                        &sum_repetitions(weight, discrepancy),
                        bias,
                        discrepancy,
                        size(fine),
                    )
                });
                Tensor::cat(&[&quarter(&middle_positions(&smoothed)), coarse], 1)
            }
            None => coarse.shallow_clone(),
        };
        let seg1 = relu(convolve_upsampled(&self.seg1, &guided, size(middle)));
        let seg2 = self.seg2.forward_relu(&Tensor::cat(&[&seg1, middle], 1));
        let joined = Tensor::cat(&[&seg2, fine], 1);
        let half = size(fine).map(|side| 2 * side);
        // A 1×1 convolution commutes with bilinear up-sampling (its weights sum to 1, so a bias does too): convolving
        // first does a quarter of the work. The batch norm must see the up-sampled values, so it stays behind them.
        let seg3 = self
            .seg3
            .run(|weight, bias| bilinear(&scaled(4, || pointwise(&joined, weight, bias)), half));
        self.head(seg3)
    }

    /// The same with folded batch norms. A convolution of joined features is the sum of the convolutions of each, so what does
    /// not depend on the discrepancy is computed beside what does.
    fn infer(&self, [fine, middle, coarse]: [&Tensor; 3], discrepancy: &[Tensor]) -> Tensor {
        let target = size(middle);
        let guide = self.smooth.as_ref().map(|smooth| {
            // At half its size a map of the finest level lies on the grid of the next one.
            let halve = |map: &Tensor| match size(map) == size(fine) {
                true => middle_positions(map),
                false => map.shallow_clone(),
            };
            let maps: Vec<Tensor> = discrepancy.iter().map(halve).collect();
            let (weights, bias) = smooth.prepared(|weight| sum_repetitions(weight, discrepancy));
            move || quarter(&scaled(4, || fuse(&weights, Some(&bias), &maps, target)))
        });
        let (seg2, seg2_bias) = self.seg2.prepared(|weight| parts(weight, 0, middle));
        let (seg3, seg3_bias) = self.seg3.prepared(|weight| parts(weight, 1, fine));
        let others = {
            let (deconv, seg2, seg3) = (
                self.seg2.operation(),
                seg2[1].shallow_clone(),
                seg3[1].shallow_clone(),
            );
            let (fine, middle) = (fine.shallow_clone(), middle.shallow_clone());
            move || {
                let seg2 = deconv.apply(&middle, &seg2, Some(&seg2_bias));
                (seg2, scaled(4, || pointwise(&fine, &seg3, Some(&seg3_bias))))
            }
        };
        let device = coarse.device();
        let (seg1, (from_middle, from_fine)) = match guide {
            Some(guide) if size(coarse).iter().all(|&side| side <= LONGEST) => {
                let split = |weight: &Tensor| parts(weight, 1, coarse).iter().flat_map(shifted).collect();
                let (mut weights, bias) = self.seg1.prepared(split);
                let features = weights.split_off(3);
                let coarse = coarse.shallow_clone();
                let (seg1, (from_coarse, others)) = both(
                    device,
                    move || conv_upsampled(&guide(), &weights, Some(&bias), target),
                    move || (conv_upsampled(&coarse, &features, None, target), others()),
                );
                (seg1 + from_coarse, others)
            }
            Some(guide) => (
                convolve_upsampled(&self.seg1, &join(&guide(), coarse), target),
                others(),
            ),
            None => (convolve_upsampled(&self.seg1, coarse, target), others()),
        };
        let last = |part: &dyn Fn(&Tensor) -> Tensor| {
            let (seg1, from_middle, from_fine) = (part(&seg1), part(&from_middle), part(&from_fine));
            let (deconv, seg2, seg3) = (
                self.seg2.operation(),
                seg2[0].shallow_clone(),
                seg3[0].shallow_clone(),
            );
            move || {
                let seg2 = relu(deconv.apply(&relu(seg1), &seg2, None) + from_middle);
                scaled(4, || pointwise(&seg2, &seg3, None)) + from_fine
            }
        };
        let seg3 = if in_pairs(device) {
            // Each row of the first block is for itself up to the end of the last.
            let rows = |values: &Tensor| (values.size()[2], values.size()[2] / target[0] * (target[0] / 2));
            let upper = last(&|values| values.narrow(2, 0, rows(values).1));
            let lower = last(&|values| values.narrow(2, rows(values).1, rows(values).0 - rows(values).1));
            let (upper, lower) = both(device, upper, lower);
            Tensor::cat(&[upper, lower], 2)
        } else {
            last(&Tensor::shallow_clone)()
        };
        head_of_doubled(&self.head, &seg3)
            .unwrap_or_else(|| self.head(bilinear(&seg3, size(fine).map(|side| 2 * side))))
    }

    /// Logits of the up-sampled features of the last block: the head's 1×1 convolution commutes with the up-sampling behind it.
    fn head(&self, seg3: Tensor) -> Tensor {
        let seg3 = relu(seg3);
        // As defined, the head runs at the size of the image; here at eight times that of the coarsest stage.
        let factor = (self.stride * self.stride / 64).max(1);
        scaled(factor as u64, || self.head.forward(&seg3))
    }
}

/// A weight's parts along a dimension: for what comes before the channels of `last`, and for these.
fn parts(weight: &Tensor, dimension: i64, last: &Tensor) -> Vec<Tensor> {
    let (whole, last) = (weight.size()[dimension as usize], last.size()[1]);
    weight.split_with_sizes([whole - last, last], dimension)
}

/// The smoothed discrepancy at half its size. With [`middle_positions`], the bilinear reduction to a quarter per side of the
/// official code, which takes the mean of the two middle ones of every four positions per side: the others are left out, in
/// inference before the smoothing convolution, in training behind its batch norm, whose statistics they belong to.
fn quarter(smoothed: &Tensor) -> Tensor {
    smoothed
        .relu()
        .avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)
}

/// Of every four positions per side the two in the middle: N×C×h×w to N×C×h/2×w/2.
fn middle_positions(map: &Tensor) -> Tensor {
    let (n, c, h, w) = map.size4().expect("N×C×h×w maps");
    let fours = map.permute([0, 2, 3, 1]).reshape([n, h / 4, 4, w / 4, 4, c]);
    let middle = fours.narrow(2, 1, 2).narrow(4, 1, 2);
    middle.reshape([n, h / 2, w / 2, c]).permute([0, 3, 1, 2])
}

/// The smoothing convolution of the tiled and summed maps, at the size `target`.
///
/// The official code repeats each map along its channels up to the width of the coarsest, up-samples it to the nearest
/// position, adds and convolves. Both repetition and up-sampling commute with the convolution: its columns are summed
/// over the repetitions ([`sum_repetitions`]), and it runs at each map's own size.
fn fuse(weights: &[Tensor], bias: Option<&Tensor>, maps: &[Tensor], target: [i64; 2]) -> Tensor {
    let area = |[height, width]: [i64; 2]| height * width;
    let terms = maps
        .iter()
        .zip(weights)
        .enumerate()
        .map(|(stage, (map, weight))| {
            // The bias belongs to the sum, so one term carries it.
            let bias = bias.filter(|_| stage == 0);
            // As defined, there is one convolution, of all channels at the size of the result.
            let factor = match stage {
                0 => weight.size()[0] * area(target) / (map.size()[1] * area(size(map))),
                _ => 0,
            };
            let smoothed = scaled(factor as u64, || pointwise(map, weight, bias));
            if size(map) == target {
                smoothed
            } else {
                smoothed.upsample_nearest2d(target, None, None)
            }
        });
    terms.reduce(|a, b| a + b).expect("a guided decoder has maps")
}

/// Both joined along the channels, in the kind of number of the first: the kind that convolutions compute in.
fn join(first: &Tensor, second: &Tensor) -> Tensor {
    Tensor::cat(&[first, &second.to_kind(first.kind())], 1)
}

/// The head's N×1×2h×2w logits of N×C×h×w features that are doubled bilinearly and pass a ReLU first, where that can be computed
/// without the doubled features.
fn head_of_doubled(head: &Conv, features: &Tensor) -> Option<Tensor> {
    let features = features.to_kind(Kind::Float);
    let (n, c, h, w) = features.size4().expect("N×C×h×w features");
    if !(c as usize).is_multiple_of(LANES) || !is_faster(&[&features]) {
        return None;
    }
    let (weights, bias) = (
        to_vec_f32(head.weight()),
        head.bias().map_or(0.0, |bias| bias.double_value(&[0])),
    );
    let features = to_vec_f32(&channels_innermost(&features));
    let mut logits = vec![0.0; (n * 4 * h * w) as usize];
    let images = features.chunks_exact((c * h * w) as usize);
    for (image, logits) in images.zip(logits.chunks_exact_mut((4 * h * w) as usize)) {
        head::of_doubled(image, [h as usize, w as usize], &weights, bias as f32, logits);
    }
    Some(Tensor::from_slice(&logits).view([n, 1, 2 * h, 2 * w]))
}

/// For each map the columns of a `out`×`width`×1×1 weight, folded onto its channels, which are repeated up to `width`.
fn sum_repetitions(weight: &Tensor, maps: &[Tensor]) -> Vec<Tensor> {
    let (out, width) = (weight.size()[0], weight.size()[1]);
    let folded = |channels| {
        let repetitions = (width + channels - 1) / channels;
        let padded = weight
            .view([out, width])
            .constant_pad_nd([0, repetitions * channels - width]);
        padded
            .view([out, repetitions, channels])
            .sum_dim_intlist(1, false, weight.kind())
            .view([out, channels, 1, 1])
    };
    maps.iter()
        .map(|map| match map.size()[1] {
            channels if channels == width => weight.shallow_clone(),
            channels => folded(channels),
        })
        .collect()
}

/// Values at another size: enlarged bilinearly, or averaged.
fn resample(values: &Tensor, target: [i64; 2]) -> Tensor {
    let found = size(values);
    if found == target {
        values.shallow_clone()
    } else if found < target {
        bilinear(values, target)
    } else {
        values.adaptive_avg_pool2d(target)
    }
}

#[cfg(test)]
mod tests {
    use daf_core::block::{Init, Precision};
    use daf_core::macs::count;
    use daf_core::{MapSize, Stage};
    use tch::Device;
    use tch::nn::VarStore;

    use super::*;
    use crate::alone::alone;

    /// Channels and strides of stages: a pyramid as the paper's, a deeper one, blocks of a transformer, stages that do not
    /// double.
    const STAGES: [&[(i64, i64)]; 6] = [
        &[(32, 4), (48, 8), (64, 16)],
        &[(8, 4), (16, 8), (24, 16), (32, 32)],
        &[(32, 8)],
        &[(32, 16), (32, 16)],
        &[(16, 8), (16, 8), (16, 8), (16, 8)],
        &[(16, 4), (24, 16), (32, 16)],
    ];

    fn stages(list: &[(i64, i64)]) -> Vec<Stage> {
        let stage = |&(channels, stride)| Stage { channels, stride };
        list.iter().map(stage).collect()
    }

    /// Features of 64×96 images.
    fn features(stages: &[Stage]) -> Vec<Tensor> {
        let draw = |stage: &Stage| {
            let size = [2, stage.channels, 64 / stage.stride, 96 / stage.stride];
            Tensor::randn(size, (Kind::Float, Device::Cpu))
        };
        stages.iter().map(draw).collect()
    }

    /// Maps of every stage.
    fn found(maps: &[Tensor]) -> Vec<Comparison> {
        let of = |(stage, map): (usize, &Tensor)| Comparison::new(stage, map.shallow_clone());
        maps.iter().enumerate().map(of).collect()
    }

    fn build(stages: &[Stage], discrepancy: bool, mode: Mode) -> (VarStore, Box<dyn Segmenter>) {
        let vars = VarStore::new(Device::Cpu);
        let blocks = Blocks::new(vars.root(), mode, Init::FanIn, Precision::Float32);
        let input = DecoderInput {
            stages: stages.to_vec(),
            discrepancy: (stages.iter().enumerate())
                .map(|(stage, of)| MapSize {
                    stage,
                    channels: of.channels,
                })
                .collect(),
            residuals: Vec::new(),
        };
        let decoder = Fusion { discrepancy }.build(&blocks, &input).unwrap();
        (vars, decoder)
    }

    #[test]
    fn inference_gives_the_same_with_and_without_the_loops_that_libtorch_lacks() {
        alone();
        daf_core::threads::manage();
        tch::set_num_threads(2);
        tch::manual_seed(6);
        for (list, discrepancy) in STAGES.iter().flat_map(|list| [(list, true), (list, false)]) {
            let stages = stages(list);
            let features = features(&stages);
            let (_vars, decoder) = build(&stages, discrepancy, Mode::Infer);
            let segment = || tch::no_grad(|| decoder.segment(&features, &found(&features)));
            // Where multiply-adds are counted, libtorch computes.
            let (found, (expected, _)) = (segment(), count(segment));
            assert_eq!(found.size(), [2, 1, 64, 96]);
            let (far, largest) = ((found - &expected).abs().max(), expected.abs().max());
            assert!((far / largest).double_value(&[]) < 1e-5, "{stages:?}");
        }
    }

    /// The decoder as the paper has it, of features and discrepancy of three levels, with the weights of a store.
    fn literal(
        vars: &VarStore,
        maps: &[Tensor],
        [fine, middle, coarse]: [&Tensor; 3],
        image: [i64; 2],
    ) -> Tensor {
        let named = vars.variables();
        let block = |input: &Tensor, name: &str, conv: &str| {
            let of = |what: &str| named.get(&format!("{name}.{what}"));
            let (weight, bias) = (
                of(&format!("{conv}.weight")).unwrap(),
                of(&format!("{conv}.bias")),
            );
            let output = match conv {
                "conv" => input.conv2d(weight, bias, [1, 1], [weight.size()[2] / 2; 2], [1, 1], 1),
                _ => input.conv_transpose2d(weight, bias, [2, 2], [0, 0], [0, 0], 1, [1, 1]),
            };
            let (mean, variance) = (of("bn.running_mean"), of("bn.running_var"));
            let normalized = output.batch_norm(
                of("bn.weight"),
                of("bn.bias"),
                mean,
                variance,
                false,
                0.1,
                1e-5,
                false,
            );
            normalized.relu()
        };
        let (width, large) = (coarse.size()[1], size(fine));
        let tiled = maps.iter().map(|map| {
            let channels = map.size()[1];
            let repeated = map.repeat([1, (width + channels - 1) / channels, 1, 1]);
            repeated.narrow(1, 0, width).upsample_nearest2d(large, None, None)
        });
        let smoothed = block(&tiled.reduce(|a, b| a + b).unwrap(), "smooth", "conv");
        let guided = Tensor::cat(&[&bilinear(&smoothed, size(coarse)), coarse], 1);
        let seg1 = block(&bilinear(&guided, size(middle)), "seg1", "conv");
        let seg2 = block(&Tensor::cat(&[&seg1, middle], 1), "seg2", "deconv");
        let double = large.map(|side| 2 * side);
        let seg3 = block(&bilinear(&Tensor::cat(&[&seg2, fine], 1), double), "seg3", "conv");
        let (weight, bias) = (&named["head.conv.weight"], named.get("head.conv.bias"));
        bilinear(&seg3, image).conv2d(weight, bias, [1, 1], [0, 0], [1, 1], 1)
    }

    #[test]
    fn stages_of_any_stride_are_decoded_as_a_pyramid_of_resampled_ones() {
        alone();
        tch::manual_seed(9);
        for list in STAGES {
            let stages = stages(list);
            let features = features(&stages);
            let (vars, decoder) = build(&stages, true, Mode::Infer);
            let (found, expected) = tch::no_grad(|| {
                let coarse = features.last().unwrap();
                let at = |features: &Tensor, factor: i64| match size(coarse).map(|side| factor * side) {
                    target if size(features) > target => features.adaptive_avg_pool2d(target),
                    target => bilinear(features, target),
                };
                let count = features.len();
                let (middle, rest) = (&features[count.saturating_sub(2)], count.saturating_sub(2).max(1));
                let fine: Vec<Tensor> = features[..rest].iter().map(|features| at(features, 4)).collect();
                let map = |(place, map): (usize, &Tensor)| at(map, [1, 2, 4][(count - 1 - place).min(2)]);
                let maps: Vec<Tensor> = features.iter().enumerate().map(map).collect();
                let levels = [&Tensor::cat(&fine, 1), &at(middle, 2), coarse];
                (
                    decoder.segment(&features, &found(&features)),
                    literal(&vars, &maps, levels, [64, 96]),
                )
            });
            let (far, largest) = ((found - &expected).abs().max(), expected.abs().max());
            assert!((far / largest).double_value(&[]) < 1e-4, "{stages:?}");
        }
    }

    #[test]
    fn every_weight_learns_whatever_the_strides() {
        alone();
        for list in STAGES {
            let stages = stages(list);
            let features = features(&stages);
            let (vars, decoder) = build(&stages, true, Mode::Train);
            let logits = decoder.segment(&features, &found(&features));
            assert_eq!(logits.size(), [2, 1, 64, 96]);
            logits.square().mean(Kind::Float).backward();
            for (name, variable) in vars.variables() {
                let learns = variable.requires_grad();
                assert!(!learns || variable.grad().defined(), "{name} of {stages:?}");
            }
        }
    }
}
