use daf_core::block::{Blocks, Conv, ConvNorm, ConvSpec};
use daf_core::tch::{Kind, Tensor};

/// An inverted residual as the paper's tables list it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layer {
    kernel: i64,
    /// Channels inside.
    width: i64,
    pub(crate) output: i64,
    /// Whether squeeze-and-excitation weighs the channels.
    excited: bool,
    activation: Activation,
    pub(crate) stride: i64,
}

/// A row of the paper's tables.
pub(crate) const fn layer(
    kernel: i64,
    width: i64,
    output: i64,
    excited: bool,
    activation: Activation,
    stride: i64,
) -> Layer {
    Layer {
        kernel,
        width,
        output,
        excited,
        activation,
        stride,
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Activation {
    Relu,
    HardSwish,
}

impl Activation {
    fn of(self, features: &Tensor) -> Tensor {
        match self {
            Self::Relu => features.relu(),
            Self::HardSwish => features.hardswish(),
        }
    }
}

/// Widen, look around, weigh the channels, narrow.
#[derive(Debug)]
pub(crate) struct Residual {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    excitation: Option<Excitation>,
    project: ConvNorm,
    activation: Activation,
    shortcut: bool,
}

impl Residual {
    pub(crate) fn new(blocks: &Blocks, input: i64, layer: &Layer) -> Self {
        let &Layer {
            kernel,
            width,
            output,
            stride,
            ..
        } = layer;
        let blocks = blocks.sub("block");
        // torchvision numbers what is there.
        let mut numbers = 0..;
        let mut next = || blocks.sub(&numbers.next().unwrap_or(0).to_string());
        let depthwise = ConvSpec {
            groups: width,
            ..ConvSpec::same(width, width, kernel).stride(stride)
        };
        Self {
            expand: (width != input).then(|| next().conv_norm("0", "1", ConvSpec::same(input, width, 1))),
            depthwise: next().conv_norm("0", "1", depthwise),
            excitation: layer.excited.then(|| Excitation::new(&next(), width)),
            project: next().conv_norm("0", "1", ConvSpec::same(width, output, 1)),
            activation: layer.activation,
            shortcut: stride == 1 && input == output,
        }
    }

    pub(crate) fn forward(&self, input: &Tensor) -> Tensor {
        let wide = self
            .expand
            .as_ref()
            .map(|expand| self.activation.of(&expand.forward(input)));
        let wide = self.depthwise.forward(wide.as_ref().unwrap_or(input));
        let mut wide = self.activation.of(&wide);
        if let Some(excitation) = &self.excitation {
            wide = excitation.forward(&wide);
        }
        let output = self.project.forward(&wide);
        if self.shortcut { output + input } else { output }
    }
}

/// Squeeze-and-excitation: a factor per channel, from the means of all channels.
#[derive(Debug)]
struct Excitation {
    squeeze: Conv,
    excite: Conv,
}

impl Excitation {
    fn new(blocks: &Blocks, channels: i64) -> Self {
        let inner = divisible(channels / 4);
        Self {
            squeeze: blocks.conv("fc1", ConvSpec::same(channels, inner, 1).with_bias()),
            excite: blocks.conv("fc2", ConvSpec::same(inner, channels, 1).with_bias()),
        }
    }

    fn forward(&self, features: &Tensor) -> Tensor {
        let means = features.mean_dim([2, 3].as_slice(), true, None::<Kind>);
        features
            * self
                .excite
                .forward(&self.squeeze.forward(&means).relu())
                .hardsigmoid()
    }
}

/// The multiple of 8 nearest to `channels`, but not less than nine tenths of it.
fn divisible(channels: i64) -> i64 {
    let nearest = ((channels + 4) / 8 * 8).max(8);
    if nearest * 10 < channels * 9 {
        nearest + 8
    } else {
        nearest
    }
}
