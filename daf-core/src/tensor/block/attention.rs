use tch::Tensor;

use super::{Blocks, Linear};
use crate::macs;

/// Multi-head self-attention of a vision transformer.
#[derive(Debug)]
pub struct Attention {
    qkv: Linear,
    proj: Linear,
    heads: i64,
}

impl Blocks<'_> {
    /// Self-attention called `name` on tokens of `width` channels, a multiple of `heads`. Its linear layers are called `qkv`,
    /// which gives queries, keys and values one behind the other, and `proj`.
    #[must_use]
    pub fn attention(&self, name: &str, width: i64, heads: i64) -> Attention {
        let blocks = self.sub(name);
        Attention {
            qkv: blocks.linear("qkv", width, 3 * width),
            proj: blocks.linear("proj", width, width),
            heads,
        }
    }
}

impl Attention {
    /// N×L×`width` tokens to as many, in the numbers of the precision.
    pub fn forward(&self, tokens: &Tensor) -> Tensor {
        let (n, length, width) = tokens.size3().expect("N×L×C tokens");
        let parts = self
            .qkv
            .forward(tokens)
            .view([n, length, 3, self.heads, width / self.heads])
            .permute([2, 0, 3, 1, 4]);
        let [queries, keys, values] = [0, 1, 2].map(|part| parts.get(part));
        let mixed = Tensor::scaled_dot_product_attention(
            &queries,
            &keys,
            &values,
            None::<&Tensor>,
            0.0,
            false,
            None,
            false,
        );
        // Products of queries with keys, and of the shares with values.
        macs::add((2 * n * length * length * width) as u64, 0);
        self.proj
            .forward(&mixed.transpose(1, 2).reshape([n, length, width]))
    }
}

#[cfg(test)]
mod tests {
    use tch::nn::VarStore;
    use tch::{Device, Kind};

    use super::super::{Init, Mode, Precision};
    use super::*;

    fn values(of: &Tensor) -> Vec<f64> {
        Vec::try_from(of.to_kind(Kind::Double).reshape(-1)).unwrap()
    }

    /// A linear layer of one row.
    fn linear(row: &[f64], vars: &VarStore, name: &str) -> Vec<f64> {
        let named = vars.variables();
        let weight = values(&named[&format!("{name}.weight")]);
        let bias = values(&named[&format!("{name}.bias")]);
        let outputs = weight.chunks(row.len()).zip(bias);
        outputs
            .map(|(weight, bias)| bias + weight.iter().zip(row).map(|(w, x)| w * x).sum::<f64>())
            .collect()
    }

    /// Attention of the tokens of one image, by its definition.
    fn attention(tokens: &[Vec<f64>], heads: usize, vars: &VarStore) -> Vec<Vec<f64>> {
        let width = tokens[0].len();
        let (side, scale) = (width / heads, ((width / heads) as f64).sqrt());
        let qkv: Vec<Vec<f64>> = tokens.iter().map(|row| linear(row, vars, "attn.qkv")).collect();
        let mixed = |query: &Vec<f64>| {
            let mut mixed = vec![0.0; width];
            for head in 0..heads {
                let at = |part: usize, c: usize| part * width + head * side + c;
                let product =
                    |key: &Vec<f64>| (0..side).map(|c| query[at(0, c)] * key[at(1, c)]).sum::<f64>();
                let shares: Vec<f64> = qkv.iter().map(|key| (product(key) / scale).exp()).collect();
                let all: f64 = shares.iter().sum();
                for (share, value) in shares.iter().zip(&qkv) {
                    for c in 0..side {
                        mixed[head * side + c] += share / all * value[at(2, c)];
                    }
                }
            }
            linear(&mixed, vars, "attn.proj")
        };
        qkv.iter().map(mixed).collect()
    }

    #[test]
    fn attention_agrees_with_plain_loops_in_both_precisions_and_both_inits_of_biases() {
        tch::manual_seed(8);
        let (length, width, heads) = (7, 12, 3);
        for (precision, init, bound) in [
            (Precision::Float32, Init::FanIn, 1e-5),
            (Precision::Float32, Init::Xavier, 1e-5),
            (Precision::Bf16, Init::FanIn, 3e-2),
        ] {
            let vars = VarStore::new(Device::Cpu);
            let blocks = Blocks::new(vars.root(), Mode::Infer, init, precision);
            let block = blocks.attention("attn", width, heads);
            let tokens = Tensor::randn([2, length, width], (Kind::Float, Device::Cpu));
            let found = tch::no_grad(|| block.forward(&tokens));
            assert_eq!((found.size(), found.kind()), (tokens.size(), precision.kind()));
            for image in 0..2 {
                let rows: Vec<Vec<f64>> = (0..length)
                    .map(|row| values(&tokens.get(image).get(row)))
                    .collect();
                let expected = attention(&rows, heads as usize, &vars).concat();
                let largest = expected
                    .iter()
                    .fold(0.0f64, |largest, value| largest.max(value.abs()));
                for (found, expected) in values(&found.get(image)).iter().zip(expected) {
                    let error = (found - expected).abs() / largest;
                    assert!(error < bound, "{precision:?}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn names_are_those_of_vision_transformers_and_every_weight_learns() {
        let vars = VarStore::new(Device::Cpu);
        let blocks = Blocks::new(vars.root(), Mode::Train, Init::Normal(0.02), Precision::Float32)
            .sub("blocks")
            .sub("0");
        let (norm, attention) = (
            blocks.layer_norm("norm1", 8, 1e-6),
            blocks.attention("attn", 8, 2),
        );
        let gamma = blocks.sub("ls1").parameter("gamma", &[8], 1e-5, 0.0);
        let tokens = Tensor::randn([1, 5, 8], (Kind::Float, Device::Cpu));
        let output = &tokens + attention.forward(&norm.forward(&tokens)) * gamma;
        output.square().sum(Kind::Float).backward();
        let mut names: Vec<String> = vars.variables().into_keys().collect();
        names.sort();
        let expected = [
            "attn.proj.bias",
            "attn.proj.weight",
            "attn.qkv.bias",
            "attn.qkv.weight",
            "ls1.gamma",
            "norm1.bias",
            "norm1.weight",
        ];
        assert_eq!(names, expected.map(|name| format!("blocks.0.{name}")));
        for (name, variable) in vars.variables() {
            assert!(variable.grad().defined(), "{name}");
        }
        assert_eq!(
            values(&vars.variables()["blocks.0.ls1.gamma"]),
            [f64::from(1e-5f32); 8]
        );
    }

    #[test]
    fn multiply_adds_of_attention_are_counted() {
        let vars = VarStore::new(Device::Cpu);
        let blocks = Blocks::new(vars.root(), Mode::Infer, Init::Xavier, Precision::Float32);
        let block = blocks.attention("attn", 8, 2);
        let (_, counted) =
            macs::count(|| block.forward(&Tensor::zeros([3, 5, 8], (Kind::Float, Device::Cpu))));
        // Four linear layers of one width, and two products of every token with every other.
        assert_eq!(counted.carried_out, 3 * (5 * 4 * 8 * 8 + 2 * 5 * 5 * 8));
    }
}
