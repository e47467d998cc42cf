//! Vision transformers with patches of 14×14 pixels for daf: `vit_s14`, `vit_b14` and `vit_l14`.
//!
//! The architecture is that of DINOv2 (Oquab et al., TMLR 2024) without registers: pre-norm blocks of self-attention and an MLP with the
//! exact GELU, each with a scale per channel. Names are those of its authors' files (`dinov2_vits14_pretrain.pth`), which load unchanged;
//! so do files with the names of Hugging Face's `Dinov2Model`, which are translated.

#![forbid(unsafe_code)]

mod names;
mod network;

use daf_core::block::Blocks;
use daf_core::data::Normalization;
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::Tensor;
use daf_core::weights::{Pretrained, Weights};
use daf_core::{Backbone, BoxError, Extractor, Stage, typetag};
use serde::{Deserialize, Serialize};

use network::Transformer;

/// Sides of a patch in pixels.
const PATCH: i64 = 14;

/// A size of the network.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Channels of a token.
    width: i64,
    /// Blocks of the published network.
    depth: usize,
}

/// A size of the network: the part, its name and documentation, channels, blocks, the blocks that are taken by default, and name
/// and SHA-256 of the weights that DINOv2's authors publish.
macro_rules! vit {
    ($(#[$doc:meta])+ $part:ident = $name:literal, $size:expr, $blocks:expr, $published:literal, $sha256:literal, $aliases:expr) => {
        $(#[$doc])+
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $part {
            /// Where the weights come from. The published ones (`pretrained`) were trained on other images than ImageNet's.
            pub weights: Weights,
            /// The blocks whose tokens are the stages, counted from 1, each greater than the one before.
            pub blocks: Vec<usize>,
        }
        daf_core::register!(Backbone: $part = $name);

        impl Default for $part {
            fn default() -> Self {
                Self {
                    weights: Weights::Pretrained,
                    blocks: $blocks.into(),
                }
            }
        }

        #[typetag::serde(name = $part::NAME)]
        impl Backbone for $part {
            fn stages(&self) -> Vec<Stage> {
                let stage = Stage {
                    channels: $size.width,
                    stride: PATCH,
                };
                vec![stage; self.blocks.len()]
            }

            fn global_channels(&self) -> Option<i64> {
                Some($size.width)
            }

            fn weights(&self) -> &Weights {
                &self.weights
            }

            fn pretrained(&self) -> Option<Pretrained> {
                Some(Pretrained {
                    name: Self::NAME,
                    aliases: &$aliases,
                    url: concat!(
                        "https://dl.fbaipublicfiles.com/dinov2/", $published, "/", $published, "_pretrain.pth"
                    )
                    .into(),
                    sha256: $sha256.into(),
                    license: "Apache-2.0",
                    preprocessing: Normalization::Imagenet,
                })
            }

            fn layers_behind(&self, size: (i64, i64)) -> u64 {
                $size.multiply_adds(&self.blocks, size)
            }

            fn translate(&self, tensors: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, BoxError> {
                Ok(names::translate(&tensors))
            }

            fn check(&self) -> Result<(), BoxError> {
                $size.check(&self.blocks)
            }

            fn build(&self, blocks: &Blocks) -> Result<Box<dyn Extractor>, BoxError> {
                Ok(Box::new(Transformer::new(blocks, $size.width, &self.blocks)))
            }
        }
    };
}

vit! {
    /// ViT-S/14: tokens of 384 channels at stride 14, after each of the chosen of 12 blocks; the class token is the global feature.
    ///
    /// The sides of images are multiples of 14. Names are DINOv2's or those of Hugging Face's `Dinov2Model`.
    VitS14 = "vit_s14", Size { width: 384, depth: 12 }, [6, 9], "dinov2_vits14",
    "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9", ["vit_s14_dinov2_names"]
}

vit! {
    /// ViT-B/14: tokens of 768 channels at stride 14, after each of the chosen of 12 blocks; the class token is the global feature.
    ///
    /// The sides of images are multiples of 14. Names are DINOv2's or those of Hugging Face's `Dinov2Model`.
    VitB14 = "vit_b14", Size { width: 768, depth: 12 }, [6, 9], "dinov2_vitb14",
    "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73", []
}

vit! {
    /// ViT-L/14: tokens of 1024 channels at stride 14, after each of the chosen of 24 blocks; the class token is the global feature.
    ///
    /// The sides of images are multiples of 14. Names are DINOv2's or those of Hugging Face's `Dinov2Model`.
    VitL14 = "vit_l14", Size { width: 1024, depth: 24 }, [12, 18], "dinov2_vitl14",
    "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428", []
}

impl Size {
    fn check(self, blocks: &[usize]) -> Result<(), BoxError> {
        let rises = blocks.is_sorted_by(|a, b| a < b);
        let fits = |block: &usize| (1..=self.depth).contains(block);
        if !blocks.is_empty() && rises && blocks.iter().all(fits) {
            Ok(())
        } else {
            Err(format!(
                "`blocks` must be one or more of 1 to {}, each greater than the one before, found {blocks:?}",
                self.depth
            )
            .into())
        }
    }

    /// Multiply-adds of the blocks behind the last of `blocks`, for images of this height and width.
    fn multiply_adds(self, blocks: &[usize], (height, width): (i64, i64)) -> u64 {
        let behind = self.depth.saturating_sub(blocks.last().copied().unwrap_or(0));
        let tokens = (height / PATCH) * (width / PATCH) + 1;
        // Queries, keys, values and their projection; two layers of the MLP; two products of every token with every other.
        let block = tokens * (4 + 8) * self.width * self.width + 2 * tokens * tokens * self.width;
        behind as u64 * block as u64
    }
}

#[cfg(test)]
mod tests;
