//! Liars among the parts that work on tensors.

use daf_core::block::{Blocks, Conv, ConvSpec};
use daf_core::schemars::{self, JsonSchema};
use daf_core::tch::nn::VarStore;
use daf_core::tch::{Kind, Tensor};
use daf_core::weights::Weights;
use daf_core::{
    Backbone, Batch, BoxError, BuildContext, Comparator, Compared, Comparison, Decoder, DecoderInput,
    DiscrepancyMeasure, Extractor, Losses, Maps, Method, Model, Postprocessor, Scorer, Scores, Segmenter,
    Stage, Store, typetag,
};
use serde::{Deserialize, Serialize};

/// Three convolutions, about which something is not true.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LiarBackbone {
    /// The broken promise.
    how: NetworkLie,
    weights: Weights,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum NetworkLie {
    #[default]
    None,
    Channels,
    Stride,
    Fewer,
    Zero,
    Falling,
    Empty,
    Panic,
}

daf_core::register!(Backbone: LiarBackbone = "liar");

impl Default for LiarBackbone {
    fn default() -> Self {
        Self {
            how: NetworkLie::None,
            weights: Weights::Random,
        }
    }
}

#[typetag::serde(name = LiarBackbone::NAME)]
impl Backbone for LiarBackbone {
    fn stages(&self) -> Vec<Stage> {
        let stage = |number: i64| Stage {
            channels: match self.how {
                NetworkLie::Channels => 7,
                _ => 8,
            },
            stride: match self.how {
                NetworkLie::Zero => 0,
                NetworkLie::Falling => 4 >> number,
                NetworkLie::Stride if number == 0 => 2,
                _ => 4 << number,
            },
        };
        match self.how {
            NetworkLie::Empty => Vec::new(),
            _ => (0..3).map(stage).collect(),
        }
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn build(&self, blocks: &Blocks) -> Result<Box<dyn Extractor>, BoxError> {
        let conv = |(name, input, stride)| blocks.conv(name, ConvSpec::same(input, 8, 3).stride(stride));
        Ok(Box::new(Network {
            how: self.how,
            convs: [("one", 3, 4), ("two", 8, 2), ("three", 8, 2)].map(conv),
        }))
    }
}

#[derive(Debug)]
struct Network {
    how: NetworkLie,
    convs: [Conv; 3],
}

impl Extractor for Network {
    fn extract(&self, images: &Tensor) -> Vec<Tensor> {
        assert!(self.how != NetworkLie::Panic, "a liar's panic");
        let mut features = images.shallow_clone();
        let mut stages = Vec::new();
        for conv in &self.convs {
            features = conv.forward(&features);
            stages.push(features.shallow_clone());
        }
        if self.how == NetworkLie::Fewer {
            stages.pop();
        }
        stages
    }
}

/// Squared differences, about which something is not true.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LiarMeasure {
    /// The broken promise.
    how: MapLie,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum MapLie {
    #[default]
    None,
    /// Of the map.
    Size,
    /// Of a loss or an image's score.
    Few,
    /// One is missing.
    Stages,
    Nan,
    Panic,
}

impl MapLie {
    /// A map of N×… that has lost a row, or is what it was.
    fn cropped(self, map: Tensor) -> Tensor {
        match self {
            Self::Size => map.narrow(-2, 1, map.size()[map.dim() - 2] - 1),
            Self::Panic => panic!("a liar's panic"),
            _ => map,
        }
    }
}

daf_core::register!(DiscrepancyMeasure: LiarMeasure = "liar");

#[typetag::serde(name = LiarMeasure::NAME)]
impl DiscrepancyMeasure for LiarMeasure {
    fn build(&self, _: &Blocks, _: &[Stage]) -> Result<Box<dyn Comparator>, BoxError> {
        Ok(Box::new(*self))
    }
}

impl Comparator for LiarMeasure {
    fn compare(&self, compared: &Compared) -> Result<Vec<Comparison>, BoxError> {
        let mut found = compared.by_stage(|pair| {
            let difference = &pair.teacher - &pair.student;
            let map = difference.square().mean_dim(1, true, Kind::Float);
            let loss = match self.how {
                MapLie::Few => map.flatten(0, -1),
                _ => map.mean(Kind::Float),
            };
            let losses = pair.normal.as_ref().map(|_| ("liar".to_owned(), loss));
            (self.how.cropped(map), losses.into_iter().collect())
        });
        if self.how == MapLie::Stages {
            found.remove(1);
        }
        Ok(found)
    }
}

/// One convolution of the first stage, about which something is not true.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LiarDecoder {
    /// The broken promise.
    how: MapLie,
}

daf_core::register!(Decoder: LiarDecoder = "liar");

#[typetag::serde(name = LiarDecoder::NAME)]
impl Decoder for LiarDecoder {
    fn build(&self, blocks: &Blocks, input: &DecoderInput) -> Result<Box<dyn Segmenter>, BoxError> {
        let first = input.stages.first().ok_or("no stage")?;
        Ok(Box::new(Head {
            how: self.how,
            conv: blocks.conv("conv", ConvSpec::same(first.channels, 1, 1)),
            stride: first.stride,
        }))
    }
}

#[derive(Debug)]
struct Head {
    how: MapLie,
    conv: Conv,
    stride: i64,
}

impl Segmenter for Head {
    fn segment(&self, features: &[Tensor], _: &[Comparison]) -> Tensor {
        let logits = self.conv.forward(&features[0]);
        let (_, _, height, width) = logits.size4().unwrap();
        let size = [height * self.stride, width * self.stride];
        self.how.cropped(logits.upsample_nearest2d(size, None, None))
    }
}

/// The first discrepancy map, about which something is not true.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LiarScorer {
    /// The broken promise.
    how: MapLie,
    /// Whether it is so of smoothed scores only.
    late: bool,
}

daf_core::register!(Scorer: LiarScorer = "liar");

impl LiarScorer {
    fn lie(&self, pixels: Tensor) -> Tensor {
        match self.how {
            MapLie::Nan => pixels * f64::NAN,
            how => how.cropped(pixels),
        }
    }
}

#[typetag::serde(name = LiarScorer::NAME)]
impl Scorer for LiarScorer {
    fn build(&self, _: &BuildContext) -> Result<Box<dyn Postprocessor>, BoxError> {
        Ok(Box::new(self.clone()))
    }
}

impl Postprocessor for LiarScorer {
    fn pixels(&self, maps: &Maps, size: (i64, i64)) -> Result<Tensor, BoxError> {
        let map = maps.discrepancy.first().ok_or("no map")?;
        let pixels = map.mean_dim(1, true, Kind::Float);
        let pixels = pixels
            .upsample_nearest2d([size.0, size.1], None, None)
            .squeeze_dim(1);
        Ok(if self.late { pixels } else { self.lie(pixels) })
    }

    fn finish(&self, pixels: &Tensor) -> Result<Scores, BoxError> {
        let images = pixels.amax([1, 2], false);
        let pixels = pixels.shallow_clone();
        Ok(Scores {
            pixels: if self.late { self.lie(pixels) } else { pixels },
            images: match self.how {
                MapLie::Few => images.narrow(0, 0, 0),
                _ => images,
            },
        })
    }
}

/// Says how bright an image is, about which something is not true.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LiarMethod {
    /// The broken promise.
    how: MapLie,
}

daf_core::register!(Method: LiarMethod = "liar");

#[typetag::serde(name = LiarMethod::NAME)]
impl Method for LiarMethod {
    fn build(&self, context: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
        let vars = VarStore::new(context.device);
        let factor = vars.root().ones("factor", &[1]);
        Ok(Box::new(Brightness {
            how: self.how,
            vars,
            factor,
        }))
    }
}

struct Brightness {
    how: MapLie,
    vars: VarStore,
    factor: Tensor,
}

impl Model for Brightness {
    fn stores(&self) -> Vec<Store<'_>> {
        vec![Store::learned("brightness", &self.vars)]
    }

    fn losses(&self, batch: &Batch) -> Result<Losses, BoxError> {
        let values = (&batch.normal * &self.factor).square();
        let loss = match self.how {
            MapLie::Few => values.flatten(0, -1),
            _ => values.mean(Kind::Float),
        };
        Ok(vec![("brightness".into(), loss)])
    }

    fn infer(&self, images: &Tensor) -> Result<Maps, BoxError> {
        let map = (images * &self.factor).mean_dim(1, true, Kind::Float);
        Ok(Maps {
            discrepancy: vec![match self.how {
                MapLie::Size => map.squeeze_dim(1),
                how => how.cropped(map),
            }],
            probability: None,
            images: None,
        })
    }
}
