//! The building blocks of networks: convolution, batch norm and activation as one piece.
//!
//! A backbone or decoder that is made of these blocks gets the memory layout, the folding of batch norms and Winograd's
//! algorithm without doing anything: they live here and nowhere else.

mod winograd;

use std::cell::{Cell, OnceCell};

use daf_kernels::winograd::Convolution;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::nn::init::{FanInOut, NonLinearity, NormalOrUniform};
use tch::nn::{Init, Path};
use tch::{Device, Kind, Tensor};

use crate::kernel;
use crate::results::MultiplyAdds;

/// What a network is built for. It cannot change later: a trained model is saved and built anew for inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch norms use and update the statistics of the batch.
    Train,
    /// Batch norms are folded into the convolutions when the network first runs; weights loaded later have no effect.
    Infer,
}

/// In what numbers convolutions compute. Parameters, batch-norm statistics, discrepancy, losses and scores are float32
/// in either case. In inference on CPUs 3×3 convolutions may be computed by Winograd's algorithm, in float32 in either case,
/// which rounds some ten times more coarsely than adding in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 24 bits of mantissa. On GPUs that have TF32, cuDNN's convolutions multiply numbers of 11 bits
    /// (unless the environment has `NVIDIA_TF32_OVERRIDE=0`).
    #[default]
    Float32,
    /// 8 bits of mantissa; faster on processors with bfloat16 instructions, a training step by about a half.
    Bf16,
    /// `bf16` where the device computes in it natively, otherwise `float32`. A pipeline that has been checked holds which
    /// of the two it is, and so does a run.
    Auto,
}

impl Precision {
    /// What [`Auto`](Self::Auto) stands for on a device: bfloat16 on GPUs, which have had it since 2020, and on processors
    /// with instructions for it.
    #[must_use]
    pub fn native(device: Device) -> Self {
        #[cfg(target_arch = "x86_64")]
        let processor = std::arch::is_x86_feature_detected!("avx512bf16");
        #[cfg(target_arch = "aarch64")]
        let processor = std::arch::is_aarch64_feature_detected!("bf16");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let processor = false;
        if device.is_cuda() || processor {
            Self::Bf16
        } else {
            Self::Float32
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Float32 | Self::Auto => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
        }
    }
}

/// How the weights of a convolution are drawn. The batch norm after it starts at weight 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// Kaiming normal over the fan-out, biases 0: torchvision's networks.
    FanOut,
    /// Kaiming normal over the fan-in and batch-norm bias 1e-4: the heads of the official DAF code.
    FanIn,
    /// Normal with this standard deviation around 0, that of batch-norm weights around 1; biases 0.
    Normal(f64),
    /// Xavier uniform, biases 0.
    Xavier,
}

/// Places blocks below one name in a variable store.
#[derive(Debug, Clone)]
pub struct Blocks<'a> {
    path: Path<'a>,
    mode: Mode,
    start: Start,
    precision: Precision,
    statistics: Statistics,
}

/// How batch norms keep and use their statistics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistics {
    /// What is added to the variance before its root is taken.
    pub epsilon: f64,
    /// Share of a batch in the running mean and variance.
    pub momentum: f64,
}

impl Statistics {
    /// PyTorch's defaults: 1e-5 and 0.1.
    pub const PYTORCH: Self = Self {
        epsilon: 1e-5,
        momentum: 0.1,
    };
}

/// Size and step of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Channels of the input.
    pub input: i64,
    /// Channels of the output.
    pub output: i64,
    /// Side of the kernel.
    pub kernel: i64,
    /// Step of the kernel.
    pub stride: i64,
    /// Zeros around the input; a transposed convolution leaves out as many rows of its output instead.
    pub padding: i64,
    /// Distance of the kernel's columns and rows.
    pub dilation: i64,
    /// Rows that a transposed convolution adds to the end of its output.
    pub output_padding: i64,
    /// Groups of channels that do not see each other; `input` for a depthwise convolution.
    pub groups: i64,
    /// Whether a bias is added before the batch norm.
    pub bias: bool,
}

impl Shape {
    /// A convolution that keeps height and width: odd kernel, stride 1, no bias.
    #[must_use]
    pub const fn same(input: i64, output: i64, kernel: i64) -> Self {
        Self {
            input,
            output,
            kernel,
            stride: 1,
            padding: kernel / 2,
            dilation: 1,
            output_padding: 0,
            groups: 1,
            bias: false,
        }
    }

    /// The same with another stride.
    #[must_use]
    pub const fn stride(self, stride: i64) -> Self {
        Self { stride, ..self }
    }

    /// The same with a bias.
    #[must_use]
    pub const fn with_bias(self) -> Self {
        Self { bias: true, ..self }
    }
}

impl<'a> Blocks<'a> {
    /// Blocks below `path`.
    #[must_use]
    pub const fn new(path: Path<'a>, mode: Mode, start: Start, precision: Precision) -> Self {
        Self {
            path,
            mode,
            start,
            precision,
            statistics: Statistics::PYTORCH,
        }
    }

    /// The same with batch norms that keep their statistics in another way.
    #[must_use]
    pub fn statistics(&self, statistics: Statistics) -> Self {
        Self {
            statistics,
            ..self.clone()
        }
    }

    /// Blocks below the name `name`.
    #[must_use]
    pub fn sub(&self, name: &str) -> Self {
        Self {
            path: self.path.sub(name),
            ..*self
        }
    }

    /// What the network is built for.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// A parameter called `name`, in float32.
    #[must_use]
    pub fn parameter(&self, name: &str, size: &[i64], init: Init) -> Tensor {
        self.path.var(name, size, init)
    }

    /// A tensor called `name` that is kept with the weights and not trained, in float32. [`weights::set`](crate::weights::set)
    /// gives it another value; without elements it takes the size that a file has.
    #[must_use]
    pub fn buffer(&self, name: &str, size: &[i64]) -> Tensor {
        self.path.zeros_no_train(name, size)
    }

    /// A bare convolution called `name`.
    #[must_use]
    pub fn conv(&self, name: &str, shape: Shape) -> Conv {
        Conv::new(self, name, shape, false)
    }

    /// A convolution called `conv` and the batch norm `norm` after it.
    #[must_use]
    pub fn conv_norm(&self, conv: &str, norm: &str, shape: Shape) -> ConvNorm {
        ConvNorm::new(self, conv, norm, shape, false)
    }

    /// A bare transposed convolution called `name`.
    #[must_use]
    pub fn transposed_conv(&self, name: &str, shape: Shape) -> Conv {
        Conv::new(self, name, shape, true)
    }

    /// A transposed convolution called `conv` and the batch norm `norm` after it.
    #[must_use]
    pub fn transposed_conv_norm(&self, conv: &str, norm: &str, shape: Shape) -> ConvNorm {
        ConvNorm::new(self, conv, norm, shape, true)
    }
}

/// `images` with the channels of a pixel side by side in memory, which is how the convolutions of libtorch's CPU and
/// GPU kernels run fastest; the shape stays N×C×H×W and everything computed from it keeps the layout.
pub fn channels_last(images: &Tensor) -> Tensor {
    images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// The larger of each value and 0, written over the values: for what a block has just computed and nobody else holds.
pub fn relu(mut values: Tensor) -> Tensor {
    let _ = values.relu_();
    values
}

/// What a convolution does with whatever weight.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    shape: Shape,
    transposed: bool,
    precision: Precision,
}

/// A convolution.
#[derive(Debug)]
pub struct Conv {
    weight: Tensor,
    bias: Option<Tensor>,
    operation: Operation,
}

impl Conv {
    fn new(blocks: &Blocks, name: &str, shape: Shape, transposed: bool) -> Self {
        let path = blocks.path.sub(name);
        let Shape {
            input,
            output,
            kernel,
            groups,
            ..
        } = shape;
        let kaiming = |fan| Init::Kaiming {
            dist: NormalOrUniform::Normal,
            fan,
            non_linearity: NonLinearity::ReLU,
        };
        let size = if transposed {
            [input, output / groups, kernel, kernel]
        } else {
            [output, input / groups, kernel, kernel]
        };
        let init = match blocks.start {
            Start::FanOut => kaiming(FanInOut::FanOut),
            Start::FanIn => kaiming(FanInOut::FanIn),
            Start::Normal(stdev) => Init::Randn { mean: 0.0, stdev },
            Start::Xavier => {
                let bound = (6.0 / ((size[0] + size[1]) * kernel * kernel) as f64).sqrt();
                Init::Uniform {
                    lo: -bound,
                    up: bound,
                }
            }
        };
        let weight = tch::nn::f_init(init, &size, path.device(), Kind::Float)
            .expect("a convolution has four dimensions");
        let weight = path.add("weight", channels_last(&weight), true);
        let bias = shape.bias.then(|| {
            // PyTorch's default is uniform within 1/sqrt(fan-in), which the official code leaves as it is.
            let bound = match blocks.start {
                Start::FanOut | Start::Normal(_) | Start::Xavier => 0.0,
                Start::FanIn => 1.0 / ((size[1] * kernel * kernel) as f64).sqrt(),
            };
            path.uniform("bias", &[output], -bound, bound)
        });
        Self {
            weight,
            bias,
            operation: Operation {
                shape,
                transposed,
                precision: blocks.precision,
            },
        }
    }

    /// N×`input`×h×w to N×`output`×h'×w'.
    pub fn forward(&self, input: &Tensor) -> Tensor {
        self.operation.apply(input, &self.weight, self.bias.as_ref())
    }

    /// The weight, `output`×`input`×k×k; for a transposed convolution `input`×`output`×k×k.
    pub const fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias, `output` numbers.
    pub const fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

impl Operation {
    /// The convolution of an input with a weight and a bias, in the numbers that convolutions compute in.
    pub fn apply(&self, input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let Shape {
            stride,
            padding,
            dilation,
            output_padding,
            groups,
            ..
        } = self.shape;
        let kind = self.precision.kind();
        let (input, weight) = (input.to_kind(kind), weight.to_kind(kind));
        let bias = bias.map(|bias| bias.to_kind(kind));
        // Each value of the one side meets every weight that leads to or from its channel.
        let per_value = |dimension: usize| weight.size()[dimension..].iter().product::<i64>() as u64;
        if self.transposed {
            let defined = input.numel() as u64 * per_value(1);
            let apart = weight.size()[2..] == [stride; 2]
                && [padding, output_padding, dilation, groups] == [0, 0, 1, 1];
            let output = if apart && convolves_apart(&input, &weight) {
                convolve_apart(&input, &weight, bias.as_ref())
            } else {
                input.conv_transpose2d(
                    &weight,
                    bias.as_ref(),
                    [stride; 2],
                    [padding; 2],
                    [output_padding; 2],
                    groups,
                    [dilation; 2],
                )
            };
            let whole = output.numel() as u64 * weight.numel() as u64 / self.shape.output as u64;
            note_with(defined, whole.saturating_sub(defined));
            output
        } else {
            let output = if weight.size()[2..] == [1, 1] && stride == 1 && padding == 0 && groups == 1 {
                convolve_pointwise(&input, &weight, bias.as_ref())
            } else {
                input.conv2d(
                    &weight,
                    bias.as_ref(),
                    [stride; 2],
                    [padding; 2],
                    [dilation; 2],
                    groups,
                )
            };
            note(output.numel() as u64 * per_value(1));
            output
        }
    }
}

thread_local! {
    /// What has been counted, while somebody counts, and by what the defined ones exceed those carried out.
    static COUNTED: Cell<(Option<MultiplyAdds>, u64)> = const { Cell::new((None, 1)) };
}

fn note(carried_out: u64) {
    note_with(carried_out, 0);
}

/// Notes what was carried out and by how much papers count more than is defined.
fn note_with(carried_out: u64, more: u64) {
    COUNTED.with(|counted| {
        if let (Some(mut sum), factor) = counted.get() {
            sum.carried_out += carried_out;
            sum.defined += carried_out * factor;
            sum.published += carried_out * factor + more;
            counted.set((Some(sum), factor));
        }
    });
}

/// Notes multiply-adds that papers count although inference leaves them out: layers behind the last stage of a published
/// network, heads for training alone.
pub fn left_out(multiply_adds: u64) {
    note_with(0, multiply_adds);
}

/// Counts the multiply-adds of all blocks that run on this thread meanwhile.
pub fn count<T>(work: impl FnOnce() -> T) -> (T, MultiplyAdds) {
    let before = COUNTED.replace((Some(MultiplyAdds::default()), 1));
    let result = work();
    let (counted, _) = COUNTED.replace(before);
    (result, counted.unwrap_or_default())
}

/// Whether somebody counts on this thread.
pub(crate) fn counts() -> bool {
    COUNTED.get().0.is_some()
}

/// Marks work that an identity has shortened: the network as it is defined takes `factor` times as many multiply-adds.
pub fn shortened<T>(factor: u64, work: impl FnOnce() -> T) -> T {
    let (counted, before) = COUNTED.get();
    COUNTED.set((counted, before * factor));
    let result = work();
    COUNTED.set((COUNTED.get().0, before));
    result
}

/// A 1×1 convolution, for decoders that use an identity of it; see [`ConvNorm::run`].
pub fn pointwise(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let input = input.to_kind(weight.kind());
    let output = convolve_pointwise(&input, weight, bias);
    note(output.numel() as u64 * weight.size()[1] as u64);
    output
}

fn convolve_pointwise(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let fixed = |values: &Tensor| !values.requires_grad();
    if input.device() == Device::Cpu
        && input.kind() == Kind::Float
        && [input, weight].into_iter().chain(bias).all(fixed)
        && tch::get_num_threads() == 1
    {
        // In one thread libtorch takes another way by itself, which takes twice as long.
        let direct = input.f_mkldnn_convolution(weight, bias, [0, 0], [1, 1], [1, 1], 1);
        if let Ok(output) = direct {
            return output;
        }
    }
    input.conv2d(weight, bias, [1, 1], [0, 0], [1, 1], 1)
}

/// Whether [`convolve_apart`] is faster: on the way back oneDNN takes up to four times as long for the weight of a transposed
/// convolution, the wider the features the longer. In one thread libtorch computes 1×1 convolutions another way, which is slower.
fn convolves_apart(input: &Tensor, weight: &Tensor) -> bool {
    weight.requires_grad() && input.device() == Device::Cpu && tch::get_num_threads() > 1
}

/// A transposed convolution whose kernel is as wide as its stride: every position of the input has a square of the output for
/// itself, so a 1×1 convolution gives the squares' values and they are laid side by side.
fn convolve_apart(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let (n, channels, h, w) = input.size4().expect("N×C×h×w features");
    let (outputs, side) = (weight.size()[1], weight.size()[2]);
    let square = weight
        .permute([2, 3, 1, 0])
        .reshape([side * side * outputs, channels, 1, 1]);
    let bias = bias.map(|bias| bias.repeat([side * side]));
    convolve_pointwise(input, &square, bias.as_ref())
        .permute([0, 2, 3, 1])
        .reshape([n, h, w, side, side, outputs])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([n, h * side, w * side, outputs])
        .permute([0, 3, 1, 2])
}

/// Batch norm over N, H and W.
#[derive(Debug)]
struct Norm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    statistics: Statistics,
}

impl Norm {
    fn new(blocks: &Blocks, name: &str, channels: i64) -> Self {
        let path = &blocks.path.sub(name);
        let bias = match blocks.start {
            Start::FanIn => 1e-4,
            Start::FanOut | Start::Normal(_) | Start::Xavier => 0.0,
        };
        let weight = match blocks.start {
            Start::Normal(stdev) => Init::Randn { mean: 1.0, stdev },
            Start::FanOut | Start::FanIn | Start::Xavier => Init::Const(1.0),
        };
        Self {
            weight: path.var("weight", &[channels], weight),
            bias: path.var("bias", &[channels], Init::Const(bias)),
            running_mean: path.zeros_no_train("running_mean", &[channels]),
            running_var: path.ones_no_train("running_var", &[channels]),
            statistics: blocks.statistics,
        }
    }

    /// Factor and offset per channel of the function that the norm is in inference.
    fn affine(&self) -> (Tensor, Tensor) {
        let factor = &self.weight / (&self.running_var + self.statistics.epsilon).sqrt();
        let offset = &self.bias - &self.running_mean * &factor;
        (factor, offset)
    }
}

/// A convolution and the batch norm after it: one convolution in inference.
#[derive(Debug)]
pub struct ConvNorm {
    conv: Conv,
    norm: Norm,
    mode: Mode,
    folded: OnceCell<(Tensor, Tensor)>,
    /// What [`prepared`](Self::prepared) made of the folded weight.
    prepared: OnceCell<Vec<Tensor>>,
    /// The same for Winograd's algorithm, once it is used.
    winograd: OnceCell<Convolution>,
}

impl ConvNorm {
    fn new(blocks: &Blocks, conv: &str, norm: &str, shape: Shape, transposed: bool) -> Self {
        Self {
            conv: Conv::new(blocks, conv, shape, transposed),
            norm: Norm::new(blocks, norm, shape.output),
            mode: blocks.mode,
            folded: OnceCell::new(),
            prepared: OnceCell::new(),
            winograd: OnceCell::new(),
        }
    }

    /// N×`input`×h×w to N×`output`×h'×w', without an activation.
    pub fn forward(&self, input: &Tensor) -> Tensor {
        compute(&[self], input, None, false)
    }

    /// The same behind a ReLU.
    pub fn forward_relu(&self, input: &Tensor) -> Tensor {
        compute(&[self], input, None, true)
    }

    /// Whether Winograd's algorithm can compute the convolution.
    fn suits_winograd(&self) -> bool {
        let operation = &self.conv.operation;
        self.mode == Mode::Infer && !operation.transposed && winograd::suits(&operation.shape)
    }

    fn winograd(&self) -> &Convolution {
        self.winograd.get_or_init(|| {
            // Not kept: it is four times as large as the weights already.
            let (weight, bias) = tch::no_grad(|| self.fold());
            winograd::prepare(&weight, &bias)
        })
    }

    /// As [`forward`](Self::forward), with another way to apply the convolution: `apply` gets weight and bias, folded
    /// in inference and in the kind of number that convolutions compute with, and must be linear in them. For decoders
    /// that use an identity of the convolution.
    pub fn run(&self, apply: impl Fn(&Tensor, Option<&Tensor>) -> Tensor) -> Tensor {
        match self.mode {
            Mode::Train => {
                let (norm, kind) = (&self.norm, self.conv.operation.precision.kind());
                let bias = self.conv.bias.as_ref().map(|bias| bias.to_kind(kind));
                apply(&self.conv.weight.to_kind(kind), bias.as_ref()).batch_norm(
                    Some(&norm.weight),
                    Some(&norm.bias),
                    Some(&norm.running_mean),
                    Some(&norm.running_var),
                    true,
                    norm.statistics.momentum,
                    norm.statistics.epsilon,
                    false,
                )
            }
            Mode::Infer => {
                let (weight, bias) = self.folded();
                apply(weight, Some(bias))
            }
        }
    }

    /// Weight and bias of the convolution with its batch norm, for work in another thread or an identity that takes the weight in
    /// another form: `prepare` makes it, once. It must be the same at every call.
    ///
    /// # Panics
    /// In training, where the batch norm is no part of the convolution.
    pub fn prepared(&self, prepare: impl Fn(&Tensor) -> Vec<Tensor>) -> (Vec<Tensor>, Tensor) {
        assert_eq!(self.mode, Mode::Infer, "batch norms are folded in inference");
        let (weight, bias) = self.folded();
        let prepared = self.prepared.get_or_init(|| tch::no_grad(|| prepare(weight)));
        let prepared = prepared.iter().map(Tensor::shallow_clone).collect();
        (prepared, bias.shallow_clone())
    }

    /// What the convolution does with its weight.
    pub const fn operation(&self) -> Operation {
        self.conv.operation
    }

    /// Weight and bias with the batch norm, in the numbers that convolutions compute in.
    fn folded(&self) -> &(Tensor, Tensor) {
        self.folded.get_or_init(|| {
            let (weight, bias) = tch::no_grad(|| self.fold());
            let kind = self.conv.operation.precision.kind();
            (weight.to_kind(kind), bias.to_kind(kind))
        })
    }

    fn fold(&self) -> (Tensor, Tensor) {
        let (factor, offset) = self.norm.affine();
        let weight = &self.conv.weight;
        let weight = if self.conv.operation.transposed {
            // The second dimension of its weight is that of the output channels of each group.
            let (size, groups) = (weight.size(), self.conv.operation.shape.groups);
            let grouped = weight.reshape([groups, size[0] / groups, size[1], size[2], size[3]]);
            (grouped * factor.view([groups, 1, size[1], 1, 1])).reshape(size)
        } else {
            weight * factor.view([-1, 1, 1, 1])
        };
        let weight = channels_last(&weight);
        let bias = match &self.conv.bias {
            Some(bias) => bias * factor + offset,
            None => offset,
        };
        (weight, bias)
    }
}

/// The convolutions of a residual block: a ReLU behind the first, another one behind the sum of the second and the shortcut.
pub fn residual(first: &ConvNorm, second: &ConvNorm, input: &Tensor, shortcut: &Tensor) -> Tensor {
    compute(&[first, second], input, Some(shortcut), true)
}

/// One convolution after the other, with ReLUs between them; the last one's result is added to `onto`, and is rectified or not.
fn compute(chain: &[&ConvNorm], input: &Tensor, onto: Option<&Tensor>, rectified: bool) -> Tensor {
    let values: Vec<&Tensor> = [input].into_iter().chain(onto).collect();
    if chain.iter().all(|conv| conv.suits_winograd()) && kernel::is_faster(&values) {
        // In bfloat16 too: it is no slower than a convolution in bfloat16, and more accurate.
        let (input, onto) = (
            input.to_kind(Kind::Float),
            onto.map(|onto| onto.to_kind(Kind::Float)),
        );
        let convolutions: Vec<&Convolution> = chain.iter().map(|conv| conv.winograd()).collect();
        return winograd::apply(&convolutions, &input, onto.as_ref(), rectified);
    }
    match chain {
        [] => input.shallow_clone(),
        [conv] => {
            let result = conv.run(|weight, bias| conv.conv.operation.apply(input, weight, bias));
            let result = match onto {
                Some(onto) => result + onto,
                None => result,
            };
            if rectified { relu(result) } else { result }
        }
        [first, rest @ ..] => compute(rest, &first.forward_relu(input), onto, rectified),
    }
}

#[cfg(test)]
mod tests {
    use tch::nn::VarStore;

    use super::*;
    use crate::threads::tests::with_threads;

    fn trained(vars: &VarStore) -> ConvNorm {
        tch::manual_seed(3);
        let blocks = Blocks::new(vars.root(), Mode::Infer, Start::FanOut, Precision::Float32);
        let norm = blocks.conv_norm("conv", "bn", Shape::same(64, 32, 3).with_bias());
        tch::no_grad(|| {
            for mut value in vars.variables().into_values() {
                let _ = value.uniform_(0.1, 0.3);
            }
        });
        norm
    }

    #[test]
    fn in_one_thread_inference_computes_by_winograds_algorithm_and_agrees_with_libtorch() {
        with_threads(1, || {
            let vars = VarStore::new(Device::Cpu);
            let norm = trained(&vars);
            for (n, h, w) in [(2, 9, 14), (1, 1, 3)] {
                let input = channels_last(&Tensor::randn([n, 64, h, w], (Kind::Float, Device::Cpu)));
                let found = norm.forward(&input);
                assert_eq!(norm.winograd.get().is_some(), daf_kernels::are_fast_here());
                let expected = norm.run(|weight, bias| norm.conv.operation.apply(&input, weight, bias));
                assert_eq!(found.size(), expected.size());
                let (largest, error) = (expected.abs().max(), (&found - &expected).abs().max());
                // Winograd's rounding was found to be up to 2e-5 of the largest number.
                assert!((error / largest).double_value(&[]) < 5e-5);
                assert_eq!(found, norm.forward(&input.contiguous()));
            }
        });
    }

    #[test]
    fn derivatives_and_counts_are_those_of_the_definition() {
        with_threads(1, || {
            let vars = VarStore::new(Device::Cpu);
            let norm = trained(&vars);
            let input = Tensor::randn([1, 64, 5, 6], (Kind::Float, Device::Cpu)).set_requires_grad(true);
            norm.forward(&input).sum(Kind::Float).backward();
            assert!(input.grad().abs().sum(Kind::Float).double_value(&[]) > 0.0);
            let (_, counted) = count(|| norm.forward(&input.detach()));
            assert_eq!(counted.carried_out, 5 * 6 * 64 * 32 * 9);
            assert!(norm.winograd.get().is_none());
        });
    }

    #[test]
    fn a_transposed_convolution_as_wide_as_its_stride_trains_as_libtorchs() {
        tch::manual_seed(4);
        for side in [2, 3] {
            let vars = VarStore::new(Device::Cpu);
            let blocks = Blocks::new(vars.root(), Mode::Train, Start::FanIn, Precision::Float32);
            let shape = Shape {
                kernel: side,
                stride: side,
                padding: 0,
                ..Shape::same(5, 7, 1)
            };
            let conv = Conv::new(&blocks, "conv", shape.with_bias(), true);
            let input = Tensor::randn([2, 5, 4, 6], (Kind::Float, Device::Cpu)).set_requires_grad(true);
            let leaves = || [&input, conv.weight(), conv.bias().unwrap()];
            let train = |output: &Tensor| {
                let weights = Tensor::arange(output.numel() as i64, (Kind::Float, Device::Cpu));
                let loss = (output * weights.view_as(output).cos()).sum(Kind::Float);
                Tensor::run_backward(&[loss], &leaves(), false, false)
            };
            let (weight, bias) = (conv.weight(), conv.bias());
            let found = convolve_apart(&input, weight, bias);
            let expected = input.conv_transpose2d(weight, bias, [side; 2], [0, 0], [0, 0], 1, [1, 1]);
            assert_eq!(found.size(), [2, 7, 4 * side, 6 * side]);
            assert!((conv.forward(&input) - &expected).abs().max().double_value(&[]) < 1e-5);
            let gradients = train(&found).into_iter().zip(train(&expected));
            for (found, expected) in gradients.chain([(found, expected)]) {
                let (far, largest) = ((&found - &expected).abs().max(), expected.abs().max());
                assert!((far / largest).double_value(&[]) < 1e-5, "{found} {expected}");
            }
        }
    }

    #[test]
    fn many_threads_and_training_leave_convolutions_to_libtorch() {
        let forward = |mode, precision, threads| {
            with_threads(threads, || {
                let vars = VarStore::new(Device::Cpu);
                let blocks = Blocks::new(vars.root(), mode, Start::FanOut, precision);
                let norm = blocks.conv_norm("conv", "bn", Shape::same(64, 32, 3));
                let input = Tensor::randn([1, 64, 5, 6], (Kind::Float, Device::Cpu));
                let _ = tch::no_grad(|| norm.forward(&input));
                norm.winograd.get().is_some()
            })
        };
        let fast = daf_kernels::are_fast_here();
        assert_eq!(forward(Mode::Infer, Precision::Float32, 2), fast);
        assert!(!forward(Mode::Infer, Precision::Float32, 3));
        assert_eq!(forward(Mode::Infer, Precision::Bf16, 1), fast);
        assert!(!forward(Mode::Train, Precision::Float32, 1));
    }
}
