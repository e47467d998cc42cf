use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault;
use crate::Result;
use crate::data::geometry::{Crop, Framing, Geometry, Tiles};
use crate::data::{Alpha, Depth, Normalization, Pages, Reading, Reduction};

/// What the network is given of an image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Written")]
pub struct Input {
    /// Size of the network's input.
    pub size: Size,
    /// How images are brought to that size.
    pub fit: Framing,
    /// How tiles are laid, with [`Framing::Tile`].
    pub tiles: Tiles,
    /// The part of every image that is looked at.
    pub region: Option<Crop>,
    /// How images are brought to a smaller size.
    pub reduction: Reduction,
    /// Which values of deep files are black and white.
    pub depth: Depth,
    /// What becomes of transparency.
    pub alpha: Alpha,
    /// What a file of several pages stands for.
    pub pages: Pages,
    /// Order of the colour channels.
    pub channel_order: ChannelOrder,
    /// Range of the values.
    pub normalization: Normalization,
}

/// The same as users write it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Input", description = "What the network is given of an image.")]
struct Written {
    /// Side of a square in pixels, or [height, width]; 256 by default. Multiples of the coarsest stride of the backbone. `auto`
    /// is chosen from the sizes of the training images: their shape is kept, up to 256×640 pixels; a run records it.
    #[serde(default)]
    size: Size,
    /// How images are brought to that size: `stretch` (the default), `letterbox` (keeps their shape) or `tile` (cuts them
    /// up, for images that are large beside their defects).
    #[serde(default)]
    fit: Framing,
    /// How tiles are laid, with `fit: tile`.
    #[serde(default)]
    tiles: Tiles,
    /// The part of every image that is looked at, in shares of its width and height: [left, top, width, height]. The
    /// whole image by default.
    region: Option<Crop>,
    /// How images are brought to a smaller size: `average` (the default: along a side that shrinks to less than half, the mean
    /// of the pixels covered) or `bilinear` (between the two nearest pixels, whatever lies between them).
    reduction: Option<Reduction>,
    /// Which values of files with more than 8 bits are black and white: `auto` (the default: 0 and the largest number of as
    /// many bits as the largest value of the training images takes; a run records it), a number of bits such as 12, or a range
    /// [low, high], which 8-bit files are stretched by as well.
    #[serde(default)]
    depth: Depth,
    /// What becomes of transparency: the image is laid over `black` (the default), `white` or a color [red, green, blue] of 0 to 255;
    /// `mask` does not look at transparent pixels; `drop` shows the colors that they hold.
    #[serde(default)]
    alpha: Alpha,
    /// What a TIFF file of several pages stands for: an error (`refuse`, the default), its `first` page, or `all` pages as
    /// images of their own.
    #[serde(default)]
    pages: Pages,
    /// `official` stands for `channel_order: bgr`, `normalization: none` and `reduction: bilinear`, as the official DAF code has
    /// them.
    preset: Option<Preset>,
    /// Order of the colour channels: `rgb` by default.
    channel_order: Option<ChannelOrder>,
    /// Range of the values: `imagenet` or `clip` (mean and standard deviation of such images), `centered` (-1 to 1), `none` (0 to 1),
    /// or `auto` (the default: what the method's backbone was trained with; a run records it).
    normalization: Option<Normalization>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Preset {
    /// BGR in 0..=1, reduced without averaging.
    Official,
}

impl From<Written> for Input {
    fn from(written: Written) -> Self {
        let (order, range, reduction) = match written.preset {
            Some(Preset::Official) => (ChannelOrder::Bgr, Normalization::None, Reduction::Bilinear),
            None => Default::default(),
        };
        Self {
            size: written.size,
            fit: written.fit,
            tiles: written.tiles,
            region: written.region,
            reduction: written.reduction.unwrap_or(reduction),
            depth: written.depth,
            alpha: written.alpha,
            pages: written.pages,
            channel_order: written.channel_order.unwrap_or(order),
            normalization: written.normalization.unwrap_or(range),
        }
    }
}

impl Default for Input {
    fn default() -> Self {
        Written {
            size: Size::default(),
            fit: Framing::default(),
            tiles: Tiles::default(),
            region: None,
            reduction: None,
            depth: Depth::default(),
            alpha: Alpha::default(),
            pages: Pages::default(),
            preset: None,
            channel_order: None,
            normalization: None,
        }
        .into()
    }
}

/// Order of the colour channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Red, green, blue: what ImageNet networks were trained with.
    #[default]
    Rgb,
    /// Blue, green, red: what the official DAF code feeds, by way of OpenCV.
    Bgr,
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Automatic {
    /// Chosen from what is found.
    Auto,
}

/// Height and width in pixels, or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number of pixels, [height, width] or auto")]
pub enum Size {
    /// A square.
    Square(u32),
    /// Height and width.
    Sides([u32; 2]),
    /// To be chosen from the training images by a [`Choice`](super::Choice). Only a pipeline that has not been checked yet
    /// has it.
    Auto(Automatic),
}

/// The side of the paper's input.
const UNCHOSEN: u32 = 256;

impl Default for Size {
    fn default() -> Self {
        Self::Square(UNCHOSEN)
    }
}

impl Size {
    /// Whether the size has still to be chosen.
    #[must_use]
    pub const fn is_auto(self) -> bool {
        matches!(self, Self::Auto(_))
    }

    /// Number of rows; 256 where the size has still to be chosen.
    #[must_use]
    pub const fn height(self) -> u32 {
        match self {
            Self::Square(side) | Self::Sides([side, _]) => side,
            Self::Auto(_) => UNCHOSEN,
        }
    }

    /// Number of columns; 256 where the size has still to be chosen.
    #[must_use]
    pub const fn width(self) -> u32 {
        match self {
            Self::Square(side) | Self::Sides([_, side]) => side,
            Self::Auto(_) => UNCHOSEN,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto(_) => f.write_str("auto"),
            Self::Square(_) | Self::Sides(_) => write!(f, "{}×{}", self.height(), self.width()),
        }
    }
}

/// The longest side of a network's input.
const LARGEST: i64 = 1 << 14;

impl Input {
    /// The network's input and the way that images take to it.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        Geometry {
            width: self.size.width(),
            height: self.size.height(),
            fit: self.fit,
            tiles: self.tiles,
            region: self.region,
            reduction: self.reduction,
        }
    }

    /// How stored images become 8-bit RGB.
    #[must_use]
    pub const fn reading(&self) -> Reading {
        Reading {
            depth: self.depth,
            alpha: self.alpha,
            pages: self.pages,
        }
    }

    /// How many images are opened at once where `batch` of them make a pass. Those that are cut into tiles may be large,
    /// and each makes passes of its own.
    #[must_use]
    pub fn images_at_once(&self, batch: usize) -> usize {
        match self.fit {
            Framing::Tile => 1,
            Framing::Stretch | Framing::Letterbox => batch,
        }
    }

    /// Checks ranges; sides must be multiples of `stride`, at least `least` and at most 16384.
    ///
    /// # Errors
    /// Names the key, what was expected and what was found.
    pub fn check(&self, stride: i64, least: i64) -> Result<()> {
        let Tiles { overlap, scale } = self.tiles;
        if !(0.0..=0.9).contains(&overlap) {
            return Err(fault(
                "input.tiles.overlap",
                format!("expected a share of 0 to 0.9, found {overlap}"),
            ));
        }
        if !(scale > 0.0 && scale <= 1.0) {
            return Err(fault(
                "input.tiles.scale",
                format!("expected a factor over 0 and at most 1, found {scale}"),
            ));
        }
        self.depth
            .check()
            .map_err(|reason| fault("input.depth", reason))?;
        if let Some(region @ Crop(left, top, width, height)) = self.region
            && !region.is_valid()
        {
            return Err(fault(
                "input.region",
                format!(
                    "expected [left, top, width, height] in shares of the image's sides, within the image and not empty, \
                     found [{left}, {top}, {width}, {height}]"
                ),
            ));
        }
        if self.size.is_auto() {
            return Err(fault(
                "input.size",
                "`auto` is chosen from the training images, and there is no data set here; expected a number of pixels or \
                 [height, width]",
            ));
        }
        for side in [self.size.height(), self.size.width()].map(i64::from) {
            if side % stride != 0 || side == 0 {
                let near = ((side + stride / 2) / stride)
                    .max((least + stride - 1) / stride)
                    .max(1)
                    * stride;
                return Err(fault(
                    "input.size",
                    format!(
                        "expected multiples of {stride}, the coarsest stride, found {}; {near} would do",
                        self.size
                    ),
                ));
            }
            if side > LARGEST {
                return Err(fault(
                    "input.size",
                    format!(
                        "expected sides of at most {LARGEST}, found {}; `input.fit: tile` cuts up larger images",
                        self.size
                    ),
                ));
            }
            if side < least {
                return Err(fault(
                    "input.size",
                    format!("expected sides of at least {least}, found {}", self.size),
                ));
            }
        }
        Ok(())
    }
}
