use daf_core::Extractor;
use daf_core::block::{Attention, Blocks, Conv, ConvSpec, LayerNorm, Linear};
use daf_core::tch::{Kind, Tensor};

use crate::PATCH;

/// Patches in each direction of the images that the published networks were trained with, 518×518 pixels.
const GRID: i64 = 37;
/// Channels of a head of attention.
const HEAD: i64 = 64;
/// Addend of the variance in layer norms.
const EPSILON: f64 = 1e-6;

/// The network up to the last block that is given out; files of weights hold more.
#[derive(Debug)]
pub(crate) struct Transformer {
    patches: Conv,
    class: Tensor,
    /// Of the class token, then of every patch of [`GRID`]×[`GRID`], row by row.
    positions: Tensor,
    blocks: Vec<Block>,
    /// The blocks whose tokens are given out, counted from 1.
    taken: Vec<usize>,
}

impl Transformer {
    pub(crate) fn new(blocks: &Blocks, width: i64, taken: &[usize]) -> Self {
        let patches = ConvSpec {
            padding: 0,
            ..ConvSpec::same(3, width, PATCH).stride(PATCH).with_bias()
        };
        let below = blocks.sub("blocks");
        let number = taken.last().copied().unwrap_or(0);
        Self {
            patches: blocks.sub("patch_embed").conv("proj", patches),
            class: blocks.parameter("cls_token", &[1, 1, width], 0.0, 0.02),
            positions: blocks.parameter("pos_embed", &[1, 1 + GRID * GRID, width], 0.0, 0.02),
            blocks: (0..number)
                .map(|number| Block::new(&below.sub(&number.to_string()), width))
                .collect(),
            taken: taken.to_vec(),
        }
    }

    /// Position embeddings of the class token and of h×w patches: 1×(1 + h·w)×`width`.
    pub(crate) fn positions(&self, h: i64, w: i64) -> Tensor {
        if (h, w) == (GRID, GRID) {
            return self.positions.shallow_clone();
        }
        let width = self.positions.size()[2];
        let class = self.positions.narrow(1, 0, 1);
        let patches = self.positions.narrow(1, 1, GRID * GRID);
        let square = patches.reshape([1, GRID, GRID, width]).permute([0, 3, 1, 2]);
        let resampled = square.upsample_bicubic2d([h, w], false, None, None);
        let patches = resampled.permute([0, 2, 3, 1]).reshape([1, h * w, width]);
        Tensor::cat(&[class, patches], 1)
    }
}

impl Extractor for Transformer {
    fn extract(&self, images: &Tensor) -> Vec<Tensor> {
        self.extract_with_global(images).0
    }

    fn extract_with_global(&self, images: &Tensor) -> (Vec<Tensor>, Option<Tensor>) {
        let patches = self.patches.forward(images).to_kind(Kind::Float);
        let size = patches.size();
        let (n, width, h, w) = (size[0], size[1], size[2], size[3]);
        let class = self.class.expand([n, 1, width], false);
        let mut tokens =
            Tensor::cat(&[class, patches.flatten(2, 3).transpose(1, 2)], 1) + self.positions(h, w);
        let mut stages = Vec::with_capacity(self.taken.len());
        for (number, block) in (1..).zip(&self.blocks) {
            tokens = block.forward(&tokens);
            if self.taken.contains(&number) {
                let patches = tokens.narrow(1, 1, h * w);
                // Channels stay innermost in memory.
                stages.push(patches.reshape([n, h, w, width]).permute([0, 3, 1, 2]));
            }
        }
        (stages, Some(tokens.select(1, 0)))
    }
}

/// Self-attention and an MLP, each behind a layer norm and beside a shortcut.
#[derive(Debug)]
struct Block {
    norm1: LayerNorm,
    attention: Attention,
    scale1: Tensor,
    norm2: LayerNorm,
    widen: Linear,
    narrow: Linear,
    scale2: Tensor,
}

impl Block {
    fn new(blocks: &Blocks, width: i64) -> Self {
        let scale = |name: &str| blocks.sub(name).parameter("gamma", &[width], 1.0, 0.0);
        let mlp = blocks.sub("mlp");
        Self {
            norm1: blocks.layer_norm("norm1", width, EPSILON),
            attention: blocks.attention("attn", width, width / HEAD),
            scale1: scale("ls1"),
            norm2: blocks.layer_norm("norm2", width, EPSILON),
            widen: mlp.linear("fc1", width, 4 * width),
            narrow: mlp.linear("fc2", 4 * width, width),
            scale2: scale("ls2"),
        }
    }

    /// N×L×`width` tokens to as many, in float32.
    fn forward(&self, tokens: &Tensor) -> Tensor {
        let mixed = self.attention.forward(&self.norm1.forward(tokens));
        let tokens = tokens + mixed * &self.scale1;
        let inner = self.widen.forward(&self.norm2.forward(&tokens)).gelu("none");
        tokens + self.narrow.forward(&inner) * &self.scale2
    }
}
