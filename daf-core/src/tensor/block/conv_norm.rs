use std::cell::OnceCell;

use daf_kernels::winograd::Convolution;
use tch::{Kind, Tensor};

use super::conv::{channels_last, relu};
use super::norm::BatchNorm;
use super::{Blocks, Conv, ConvSpec, Mode, Operation, winograd};
use crate::kernel;

/// Convolution and batch norm; one convolution in inference.
#[derive(Debug)]
pub struct ConvNorm {
    conv: Conv,
    norm: BatchNorm,
    mode: Mode,
    folded: OnceCell<(Tensor, Tensor)>,
    /// Results of [`prepared`](Self::prepared).
    prepared: OnceCell<Vec<Tensor>>,
    /// Weights in the form of Winograd's algorithm, once it is used.
    winograd: OnceCell<Convolution>,
}

impl Blocks<'_> {
    /// A convolution called `conv` and the batch norm `norm` after it.
    #[must_use]
    pub fn conv_norm(&self, conv: &str, norm: &str, spec: ConvSpec) -> ConvNorm {
        ConvNorm::new(self, conv, norm, spec, false)
    }

    /// A transposed convolution called `conv` and the batch norm `norm` after it.
    #[must_use]
    pub fn transposed_conv_norm(&self, conv: &str, norm: &str, spec: ConvSpec) -> ConvNorm {
        ConvNorm::new(self, conv, norm, spec, true)
    }
}

impl ConvNorm {
    fn new(blocks: &Blocks, conv: &str, norm: &str, spec: ConvSpec, transposed: bool) -> Self {
        Self {
            conv: match transposed {
                true => blocks.transposed_conv(conv, spec),
                false => blocks.conv(conv, spec),
            },
            norm: BatchNorm::new(blocks, norm, spec.output),
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

    /// [`forward`](Self::forward) with a ReLU behind.
    pub fn forward_relu(&self, input: &Tensor) -> Tensor {
        compute(&[self], input, None, true)
    }

    /// Whether Winograd's algorithm can compute the convolution.
    fn suits_winograd(&self) -> bool {
        let operation = &self.conv.operation;
        self.mode == Mode::Infer && !operation.transposed && winograd::suits(&operation.spec)
    }

    fn winograd(&self) -> &Convolution {
        self.winograd.get_or_init(|| {
            // Not kept: it is four times as large as the weights already.
            let (weight, bias) = tch::no_grad(|| self.fold());
            winograd::prepare(&weight, &bias)
        })
    }

    /// [`forward`](Self::forward) with the convolution computed by `apply`, for decoders that use an identity of it.
    /// `apply` gets weight and bias, folded in inference and in the numbers of the precision, and must be linear in them.
    pub fn run(&self, apply: impl Fn(&Tensor, Option<&Tensor>) -> Tensor) -> Tensor {
        match self.mode {
            Mode::Train => {
                let kind = self.conv.operation.precision.kind();
                let bias = self.conv.bias.as_ref().map(|bias| bias.to_kind(kind));
                let output = apply(&self.conv.weight.to_kind(kind), bias.as_ref());
                self.norm.train(&output)
            }
            Mode::Infer => {
                let (weight, bias) = self.folded();
                apply(weight, Some(bias))
            }
        }
    }

    /// Folded weight, in a form that `prepare` makes once, and folded bias: for work in another thread and for identities of the
    /// convolution. `prepare` must be the same at every call.
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

    /// The convolution without its weights.
    pub const fn operation(&self) -> Operation {
        self.conv.operation
    }

    /// Weight and bias with the batch norm folded in, in the numbers of the precision.
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
            let (size, groups) = (weight.size(), self.conv.operation.spec.groups);
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

/// Residual block of two convolutions, with ReLUs behind the first and behind the sum of the second and the shortcut.
pub fn residual(first: &ConvNorm, second: &ConvNorm, input: &Tensor, shortcut: &Tensor) -> Tensor {
    compute(&[first, second], input, Some(shortcut), true)
}

/// Convolutions one after the other, with ReLUs between them. The last result is added to `onto`, and rectified if asked for.
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
    use tch::Device;
    use tch::nn::VarStore;

    use super::super::{Init, Precision};
    use super::*;
    use crate::macs;
    use crate::threads::tests::with_threads;

    fn trained(vars: &VarStore) -> ConvNorm {
        tch::manual_seed(3);
        let blocks = Blocks::new(vars.root(), Mode::Infer, Init::FanOut, Precision::Float32);
        let norm = blocks.conv_norm("conv", "bn", ConvSpec::same(64, 32, 3).with_bias());
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
            let (_, counted) = macs::count(|| norm.forward(&input.detach()));
            assert_eq!(counted.carried_out, 5 * 6 * 64 * 32 * 9);
            assert!(norm.winograd.get().is_none());
        });
    }

    #[test]
    fn many_threads_and_training_leave_convolutions_to_libtorch() {
        let forward = |mode, precision, threads| {
            with_threads(threads, || {
                let vars = VarStore::new(Device::Cpu);
                let blocks = Blocks::new(vars.root(), mode, Init::FanOut, precision);
                let norm = blocks.conv_norm("conv", "bn", ConvSpec::same(64, 32, 3));
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
