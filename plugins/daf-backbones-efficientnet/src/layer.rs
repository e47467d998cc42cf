use daf_core::block::{Blocks, ConvNorm, ConvSpec};
use daf_core::tch::Tensor;

/// An inverted residual.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layer {
    pub(crate) kernel: i64,
    pub(crate) stride: i64,
    pub(crate) input: i64,
    /// Channels inside.
    pub(crate) width: i64,
    pub(crate) output: i64,
}

impl Layer {
    /// Whether a 1×1 convolution widens.
    const fn is_expanded(&self) -> bool {
        self.width != self.input
    }

    /// Multiply-adds for so many positions of the input, as many in each direction as are a multiple of the stride.
    pub(crate) const fn multiply_adds(&self, positions: i64) -> i64 {
        let expand = if self.is_expanded() {
            positions * self.input * self.width
        } else {
            0
        };
        let positions = positions / (self.stride * self.stride);
        expand + positions * self.width * (self.kernel * self.kernel + self.output)
    }
}

/// In-place ReLU6, which holds values in 0..=6, for values that nobody else holds.
pub(crate) fn relu6(mut values: Tensor) -> Tensor {
    let _ = values.relu6_();
    values
}

/// Convolution with TensorFlow's SAME padding, and the batch norm behind it: h×w become ⌈h/stride⌉×⌈w/stride⌉. The zeros that this
/// takes are shared out evenly, an odd one going to the right and to the bottom.
#[derive(Debug)]
pub(crate) struct Padded {
    conv: ConvNorm,
    kernel: i64,
    stride: i64,
}

impl Padded {
    /// Names of convolution and batch norm; channels of input and output.
    pub(crate) fn new(
        blocks: &Blocks,
        [conv, norm]: [&str; 2],
        [input, output]: [i64; 2],
        kernel: i64,
        stride: i64,
        groups: i64,
    ) -> Self {
        let same = ConvSpec {
            groups,
            ..ConvSpec::same(input, output, kernel).stride(stride)
        };
        let spec = match stride {
            1 => same,
            _ => ConvSpec { padding: 0, ..same },
        };
        Self {
            conv: blocks.conv_norm(conv, norm, spec),
            kernel,
            stride,
        }
    }

    pub(crate) fn forward(&self, input: &Tensor) -> Tensor {
        if self.stride == 1 {
            return self.conv.forward(input);
        }
        // Of N×C×H×W, the last side first, as libtorch has it.
        let sides = input.size().into_iter().rev().take(2);
        let zeros = |side: i64| {
            let outputs = (side + self.stride - 1) / self.stride;
            let zeros = ((outputs - 1) * self.stride + self.kernel - side).max(0);
            [zeros / 2, zeros - zeros / 2]
        };
        let zeros: Vec<i64> = sides.flat_map(zeros).collect();
        self.conv.forward(&input.constant_pad_nd(zeros))
    }
}

/// Widen, look around, narrow.
#[derive(Debug)]
pub(crate) struct Residual {
    expand: Option<ConvNorm>,
    depthwise: Padded,
    project: ConvNorm,
    shortcut: bool,
}

impl Residual {
    pub(crate) fn new(blocks: &Blocks, layer: &Layer) -> Self {
        let &Layer {
            kernel,
            stride,
            input,
            width,
            output,
        } = layer;
        let expand = || blocks.conv_norm("_expand_conv", "_bn0", ConvSpec::same(input, width, 1));
        let names = ["_depthwise_conv", "_bn1"];
        Self {
            expand: layer.is_expanded().then(expand),
            depthwise: Padded::new(blocks, names, [width; 2], kernel, stride, width),
            project: blocks.conv_norm("_project_conv", "_bn2", ConvSpec::same(width, output, 1)),
            shortcut: stride == 1 && input == output,
        }
    }

    pub(crate) fn forward(&self, input: &Tensor) -> Tensor {
        let wide = self.expand.as_ref().map(|expand| relu6(expand.forward(input)));
        let wide = self.depthwise.forward(wide.as_ref().unwrap_or(input));
        let output = self.project.forward(&relu6(wide));
        if self.shortcut { output + input } else { output }
    }
}
