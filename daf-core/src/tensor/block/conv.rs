use tch::{Device, Kind, Tensor};

use super::{Blocks, Precision};
use crate::macs;

/// Hyper-parameters of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvSpec {
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
    /// Distance between neighbouring rows and columns of the kernel.
    pub dilation: i64,
    /// Rows that a transposed convolution adds to the end of its output.
    pub output_padding: i64,
    /// Groups of channels that do not see each other; `input` for a depthwise convolution.
    pub groups: i64,
    /// Whether a bias is added before the batch norm.
    pub bias: bool,
}

impl ConvSpec {
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

    /// This convolution with another stride.
    #[must_use]
    pub const fn stride(self, stride: i64) -> Self {
        Self { stride, ..self }
    }

    /// This convolution with a bias.
    #[must_use]
    pub const fn with_bias(self) -> Self {
        Self { bias: true, ..self }
    }
}

impl Blocks<'_> {
    /// A bare convolution called `name`.
    #[must_use]
    pub fn conv(&self, name: &str, spec: ConvSpec) -> Conv {
        Conv::new(self, name, spec, false)
    }

    /// A bare transposed convolution called `name`.
    #[must_use]
    pub fn transposed_conv(&self, name: &str, spec: ConvSpec) -> Conv {
        Conv::new(self, name, spec, true)
    }
}

/// `images` in channels-last memory layout, in which libtorch's convolutions are fastest. The shape stays N×C×H×W, and
/// what is computed from it keeps the layout.
pub fn channels_last(images: &Tensor) -> Tensor {
    images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// In-place ReLU, for values that a block has just computed and nobody else holds.
pub fn relu(mut values: Tensor) -> Tensor {
    let _ = values.relu_();
    values
}

/// Convolution without its weights.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    pub(super) spec: ConvSpec,
    pub(super) transposed: bool,
    pub(super) precision: Precision,
}

/// Convolution, transposed or not.
#[derive(Debug)]
pub struct Conv {
    pub(super) weight: Tensor,
    pub(super) bias: Option<Tensor>,
    pub(super) operation: Operation,
}

impl Conv {
    fn new(blocks: &Blocks, name: &str, spec: ConvSpec, transposed: bool) -> Self {
        let path = blocks.path.sub(name);
        let ConvSpec {
            input,
            output,
            kernel,
            groups,
            ..
        } = spec;
        let size = if transposed {
            [input, output / groups, kernel, kernel]
        } else {
            [output, input / groups, kernel, kernel]
        };
        let weight = blocks.init.weight(&size, path.device());
        let weight = path.add("weight", channels_last(&weight), true);
        let bias = spec.bias.then(|| {
            let bound = blocks.init.bias(&size);
            path.uniform("bias", &[output], -bound, bound)
        });
        Self {
            weight,
            bias,
            operation: Operation {
                spec,
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
    /// Convolves an input with a weight and a bias, in the numbers of the precision.
    pub fn apply(&self, input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let ConvSpec {
            stride,
            padding,
            dilation,
            output_padding,
            groups,
            ..
        } = self.spec;
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
            let whole = output.numel() as u64 * weight.numel() as u64 / self.spec.output as u64;
            macs::add(defined, whole.saturating_sub(defined));
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
            macs::add(output.numel() as u64 * per_value(1), 0);
            output
        }
    }
}

/// 1×1 convolution, for decoders that use an identity of it; see [`ConvNorm::run`](super::ConvNorm::run).
pub fn pointwise(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let input = input.to_kind(weight.kind());
    let output = convolve_pointwise(&input, weight, bias);
    macs::add(output.numel() as u64 * weight.size()[1] as u64, 0);
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

/// Whether [`convolve_apart`] is faster. In the backward pass oneDNN takes up to four times as long for the weight of a transposed
/// convolution, the longer the wider the features are. In one thread libtorch computes 1×1 convolutions in another, slower way.
fn convolves_apart(input: &Tensor, weight: &Tensor) -> bool {
    weight.requires_grad() && input.device() == Device::Cpu && tch::get_num_threads() > 1
}

/// Transposed convolution whose kernel is as wide as its stride. Each position of the input has a square of the output for
/// itself: a 1×1 convolution gives the squares, which are laid side by side.
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

#[cfg(test)]
mod tests {
    use tch::nn::VarStore;

    use super::super::{Init, Mode};
    use super::*;

    #[test]
    fn a_transposed_convolution_as_wide_as_its_stride_trains_as_libtorchs() {
        tch::manual_seed(4);
        for side in [2, 3] {
            let vars = VarStore::new(Device::Cpu);
            let blocks = Blocks::new(vars.root(), Mode::Train, Init::FanIn, Precision::Float32);
            let spec = ConvSpec {
                kernel: side,
                stride: side,
                padding: 0,
                ..ConvSpec::same(5, 7, 1)
            };
            let conv = Conv::new(&blocks, "conv", spec.with_bias(), true);
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
}
