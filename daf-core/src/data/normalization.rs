use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Range of the values of images, as a network is given them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// Normalization of the method's backbone. A pipeline that has been checked holds which one it is, and so does a run.
    #[default]
    Auto,
    /// ImageNet's mean is taken off and its standard deviation divided out, channel by channel.
    Imagenet,
    /// By mean and standard deviation of CLIP's training images.
    Clip,
    /// -1..=1: 127 is taken off bytes, which are divided by 128.
    Centered,
    /// 0..=1.
    None,
}

impl Normalization {
    /// Mean and standard deviation in RGB of values of 0..=1; ImageNet's for [`Auto`](Self::Auto).
    #[must_use]
    pub const fn mean_and_deviation(self) -> [[f32; 3]; 2] {
        match self {
            Self::Auto | Self::Imagenet => [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]],
            Self::Clip => [
                [0.481_454_66, 0.457_827_5, 0.408_210_73],
                [0.268_629_54, 0.261_302_6, 0.275_777_1],
            ],
            Self::Centered => [[127.0 / 255.0; 3], [128.0 / 255.0; 3]],
            Self::None => [[0.0; 3], [1.0; 3]],
        }
    }
}
