//! Liars among the parts that work on images.

use std::thread;
use std::time::Duration;

use daf_core::image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};
use daf_core::rand::Rng;
use daf_core::schemars::{self, JsonSchema};
use daf_core::{
    BoxError, Dataset, Donors, Fill, Item, Rect, Region, Shape, Split, Synthesis, Synthesizer, Synthetic,
    Texture, typetag,
};
use serde::{Deserialize, Serialize};

/// A black square, about which something is not true.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LiarSynthesizer {
    /// The broken promise.
    how: Lie,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Lie {
    #[default]
    None,
    MaskSize,
    ImageSize,
    MaskOne,
    MaskGray,
    EmptyMask,
    Outside,
    Touched,
    Class,
    Target,
    Unchanged,
    Panic,
    Loop,
}

daf_core::register!(Synthesizer: LiarSynthesizer = "liar");

const SQUARE: Rect = Rect {
    x: 8,
    y: 8,
    width: 16,
    height: 16,
};

fn mask(size: (u32, u32), value: u8) -> GrayImage {
    GrayImage::from_fn(size.0, size.1, |x, y| {
        Luma([if SQUARE.contains(x, y) { value } else { 0 }])
    })
}

#[typetag::serde(name = LiarSynthesizer::NAME)]
impl Synthesizer for LiarSynthesizer {
    fn synthesize(&self, normal: &RgbImage, _: &dyn Donors, _: &mut dyn Rng) -> Result<Synthesis, BoxError> {
        let size = normal.dimensions();
        let other = (size.0 / 2, size.1);
        let mut synthetic = Synthetic {
            image: normal.clone(),
            mask: mask(size, 255),
            target: None,
            touched: SQUARE,
            class: 0,
        };
        for (x, y, pixel) in synthetic.image.enumerate_pixels_mut() {
            if SQUARE.contains(x, y) {
                *pixel = Rgb([0; 3]);
            }
        }
        match self.how {
            Lie::None => {}
            Lie::MaskSize => synthetic.mask = mask(other, 255),
            Lie::ImageSize => synthetic.image = RgbImage::new(other.0, other.1),
            Lie::MaskOne => synthetic.mask = mask(size, 1),
            Lie::MaskGray => synthetic.mask = mask(size, 128),
            Lie::EmptyMask => synthetic.mask = mask(size, 0),
            Lie::Outside => {
                synthetic.touched.y = 0;
                let pixel = synthetic.image.get_pixel_mut(9, 1);
                pixel.0[0] ^= 0xff;
            }
            Lie::Touched => synthetic.touched.width = 4,
            Lie::Class => synthetic.class = 99,
            Lie::Target => synthetic.target = Some(vec![1.5; normal.pixels().len()]),
            Lie::Unchanged => return Ok(Synthesis::Unchanged),
            Lie::Panic => panic!("a liar's panic"),
            Lie::Loop => loop {
                thread::sleep(Duration::from_millis(10));
            },
        }
        Ok(Synthesis::Anomalous(synthetic))
    }
}

/// A square of another size than the image has.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LiarShape {
    /// Whether it panics instead.
    panics: bool,
}

daf_core::register!(Shape: LiarShape = "liar");

#[typetag::serde(name = LiarShape::NAME)]
impl Shape for LiarShape {
    fn draw(&self, normal: &RgbImage, _: &mut dyn Rng) -> Result<Option<Region>, BoxError> {
        assert!(!self.panics, "a liar's panic");
        Ok(Region::of(mask((normal.width() + 1, normal.height()), 255)))
    }
}

/// Material of another size than the region has.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LiarTexture {
    /// Whether it is an image instead, of another size than the normal one.
    image: bool,
}

daf_core::register!(Texture: LiarTexture = "liar");

#[typetag::serde(name = LiarTexture::NAME)]
impl Texture for LiarTexture {
    fn draw(
        &self,
        normal: &RgbImage,
        region: &Region,
        _: &dyn Donors,
        _: &mut dyn Rng,
    ) -> Result<Fill, BoxError> {
        Ok(match self.image {
            true => Fill::Image(RgbImage::new(normal.width(), normal.height() - 1).into()),
            false => Fill::Patch(RgbImage::new(region.bounds().width + 1, 1)),
        })
    }
}

/// Images that panic when they are opened.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LiarDataset {
    /// Whether listing them panics already.
    lists: bool,
}

daf_core::register!(Dataset: LiarDataset = "liar");

#[typetag::serde(name = LiarDataset::NAME)]
impl Dataset for LiarDataset {
    fn items(&self, _: Split) -> Result<Vec<Item>, BoxError> {
        assert!(!self.lists, "a liar's panic");
        Ok(vec![Item::normal("drawn")])
    }

    fn image(&self, _: &Item) -> Result<DynamicImage, BoxError> {
        panic!("a liar's panic")
    }
}
