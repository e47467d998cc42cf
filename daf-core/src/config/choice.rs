//! Choice of the network's input from the sizes of the images: what `input.size: auto` and `daf-cli init --data` do.

use super::Size;
use crate::data::Sizes;
use crate::data::geometry::{Framing, Tiles};

/// Conditions on the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Sides are multiples of it, in pixels; at least 1.
    pub stride: u32,
    /// The shortest side, in pixels.
    pub least: u32,
    /// Pixels of the input at most, except where `least` asks for more.
    pub pixels: u32,
}

impl Default for Bounds {
    /// Multiples of 32 from 96 on, up to 256×640 pixels.
    fn default() -> Self {
        Self {
            stride: 32,
            least: 96,
            pixels: 256 * 640,
        }
    }
}

impl Bounds {
    /// The default bounds for a method that takes multiples of `stride` from `least` on.
    #[must_use]
    pub fn of(stride: i64, least: i64) -> Self {
        let default = Self::default();
        let stride = u32::try_from(stride).unwrap_or(default.stride).max(1);
        let common = (default.stride..=stride.saturating_mul(default.stride))
            .step_by(default.stride as usize)
            .find(|multiple| multiple % stride == 0);
        Self {
            stride: common.unwrap_or(stride),
            least: u32::try_from(least).unwrap_or_default().max(default.least),
            ..default
        }
    }
}

/// An input that fits the images of a data set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Size of the network's input.
    pub size: Size,
    /// How images are brought to it.
    pub fit: Framing,
    /// How tiles are laid, with [`Framing::Tile`].
    pub tiles: Tiles,
    /// Median width and height of the images, in pixels.
    pub images: (u32, u32),
    /// How much the images differ in shape, as [`Sizes::shapes`].
    pub shapes: f64,
}

/// Images of fewer pixels are enlarged to this many, but no side to more than twice its length: networks were pretrained at
/// about that size.
const FEW: f64 = 256.0 * 256.0;
/// Images whose sides would shrink to less than this share are cut into tiles: small defects would be lost.
const SHRUNK: f64 = 0.25;
/// Images whose sides differ by more than this factor are cut into tiles, where they would shrink.
const LONG: f64 = 4.0;
/// Inputs' worth of pixels that the tiles of an image have at most, overlap left out: each is a pass of its own.
const TILED: f64 = 8.0;
/// Ratio of shapes from which on images are not stretched.
const DIFFERENT: f64 = 1.25;

impl Choice {
    /// Size, framing and tiles for images of these sizes: the shape of the images is kept, and images that are very large beside
    /// the input, or very long, are cut into tiles. `None` without images.
    #[must_use]
    pub fn of(sizes: &Sizes, bounds: Bounds) -> Option<Self> {
        let (width, height) = sizes.median()?;
        let [wide, high] = [width, height].map(f64::from);
        let shrunk = (f64::from(bounds.pixels) / (wide * high).max(1.0)).sqrt();
        let long = wide.max(high) / wide.min(high).max(1.0);
        let fit = if shrunk < SHRUNK || (long > LONG && shrunk < 1.0) {
            Framing::Tile
        } else if sizes.shapes() > DIFFERENT {
            Framing::Letterbox
        } else {
            Framing::Stretch
        };
        let scale = (TILED * f64::from(bounds.pixels) / (wide * high).max(1.0)).sqrt();
        let tiles = Tiles {
            // Two digits, rounded down: the number is for people to read.
            scale: ((scale * 100.0).floor() / 100.0).clamp(0.01, 1.0),
            ..Tiles::default()
        };
        Self::framed(sizes, fit, tiles, bounds)
    }

    /// The size for images of these sizes that are brought to it in a given way. `None` without images.
    #[must_use]
    pub fn framed(sizes: &Sizes, fit: Framing, tiles: Tiles, bounds: Bounds) -> Option<Self> {
        let images = sizes.median()?;
        let [wide, high] = [images.0, images.1].map(|side| f64::from(side).max(1.0));
        let size = match fit {
            Framing::Stretch | Framing::Letterbox => {
                let area = wide * high;
                let wanted = area.max(FEW.min(4.0 * area)).min(f64::from(bounds.pixels));
                nearest(wide / high, wanted, bounds)
            }
            Framing::Tile => window((wide * tiles.scale, high * tiles.scale), bounds),
        };
        Some(Self {
            size,
            fit,
            tiles,
            images,
            shapes: sizes.shapes(),
        })
    }
}

/// The size whose shape and number of pixels are nearest to the wanted ones.
fn nearest(shape: f64, pixels: f64, bounds: Bounds) -> Size {
    let Bounds { stride, least, .. } = bounds;
    let stride = stride.max(1);
    let least = least.div_ceil(stride).max(1);
    let most = (f64::from(bounds.pixels) / f64::from(stride * stride)) as u32 / least;
    let mut best = (f64::INFINITY, [least, least]);
    for high in least..=most.max(least) {
        let wide = shape * f64::from(high);
        for wide in [wide.floor(), wide.ceil(), f64::from(most)] {
            let wide = (wide.min(f64::from(u32::MAX)) as u32).clamp(least, most.max(least));
            let area = f64::from(wide) * f64::from(high) * f64::from(stride * stride);
            if area > f64::from(bounds.pixels) && [high, wide] != [least, least] {
                continue;
            }
            let bent = (f64::from(wide) / f64::from(high) / shape).ln().abs();
            let off = bent + 0.5 * (area / pixels).ln().abs();
            if off < best.0 - 1e-9 {
                best = (off, [high, wide]);
            }
        }
    }
    size(best.1.map(|side| side * stride))
}

/// A tile for images of `wide`×`high` pixels: square, or as high (or wide) as the image where that is less, and longer for it.
fn window((wide, high): (f64, f64), bounds: Bounds) -> Size {
    let stride = f64::from(bounds.stride.max(1));
    let least = (f64::from(bounds.least) / stride).ceil() * stride;
    let down = |side: f64| ((side / stride).floor() * stride).max(least);
    let up = |side: f64| ((side / stride).ceil() * stride).max(least);
    let pixels = f64::from(bounds.pixels);
    let short = up(wide.min(high)).min(down(pixels.sqrt()));
    let long = match wide.max(high) > LONG * wide.min(high) {
        true => down(pixels / short).min(up(wide.max(high))),
        false => short,
    };
    let sides = if wide > high { [short, long] } else { [long, short] };
    size(sides.map(|side| side as u32))
}

fn size([high, wide]: [u32; 2]) -> Size {
    match high == wide {
        true => Size::Square(high),
        false => Size::Sides([high, wide]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(sizes: &[(u32, u32)]) -> Choice {
        let sizes = Sizes {
            sizes: sizes.to_vec(),
            unreadable: Vec::new(),
        };
        Choice::of(&sizes, Bounds::default()).unwrap()
    }

    #[test]
    fn images_keep_their_shape_within_the_budget() {
        for (image, size) in [
            ((256, 640), Size::Sides([640, 256])),
            ((640, 256), Size::Sides([256, 640])),
            ((256, 256), Size::Square(256)),
            ((512, 512), Size::Square(384)),
            ((1024, 1024), Size::Square(384)),
            ((640, 480), Size::Sides([352, 448])),
            ((215, 271), Size::Sides([288, 224])),
        ] {
            let chosen = choice(&[image]);
            assert_eq!((chosen.size, chosen.fit), (size, Framing::Stretch), "{image:?}");
        }
    }

    #[test]
    fn small_images_are_enlarged_twice_at_most() {
        for (image, size) in [
            ((128, 128), Size::Square(256)),
            ((200, 200), Size::Square(256)),
            ((64, 64), Size::Square(128)),
            // The method takes no less.
            ((20, 20), Size::Square(96)),
            ((1, 1), Size::Square(96)),
        ] {
            assert_eq!(choice(&[image]).size, size, "{image:?}");
        }
    }

    #[test]
    fn very_large_and_very_long_images_are_cut_into_tiles() {
        let large = choice(&[(4096, 3000)]);
        assert_eq!((large.size, large.fit), (Size::Square(384), Framing::Tile));
        assert_eq!(large.tiles.scale, 0.32);
        let long = choice(&[(4096, 256)]);
        assert_eq!((long.size, long.fit), (Size::Sides([256, 640]), Framing::Tile));
        assert_eq!(long.tiles.scale, 1.0);
        let high = choice(&[(256, 4096)]);
        assert_eq!((high.size, high.fit), (Size::Sides([640, 256]), Framing::Tile));
        // Long, but it fits.
        assert_eq!(choice(&[(64, 640)]).fit, Framing::Stretch);
    }

    #[test]
    fn images_of_different_shapes_are_not_stretched() {
        let mixed = choice(&[(100, 300), (200, 300), (300, 300)]);
        assert_eq!(mixed.fit, Framing::Letterbox);
        assert_eq!(mixed.images, (200, 300));
        assert_eq!(
            choice(&[(300, 300), (310, 300), (320, 300)]).fit,
            Framing::Stretch
        );
    }

    #[test]
    fn every_choice_keeps_to_the_bounds_of_the_method() {
        for stride in [8, 14, 32, 48] {
            for least in [16, 96, 224] {
                let bounds = Bounds::of(stride, least);
                for image in [
                    (1, 1),
                    (1, 9000),
                    (9000, 1),
                    (20_000, 30_000),
                    (u32::MAX, 7),
                    (333, 777),
                ] {
                    let sizes = Sizes {
                        sizes: vec![image],
                        unreadable: Vec::new(),
                    };
                    let size = Choice::of(&sizes, bounds).unwrap().size;
                    for side in [size.height(), size.width()] {
                        let context = format!("{stride} {least} {image:?}: {size}");
                        assert!(
                            i64::from(side) % stride == 0 && i64::from(side) >= least,
                            "{context}"
                        );
                    }
                    let least = bounds.least.div_ceil(bounds.stride) * bounds.stride;
                    assert!(
                        size.height() * size.width() <= bounds.pixels.max(least * least),
                        "{size}"
                    );
                }
            }
        }
        let none = Sizes::default();
        assert_eq!(Choice::of(&none, Bounds::default()), None);
    }
}
