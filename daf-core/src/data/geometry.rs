//! Geometry between images of any size and a network of one size.

use std::borrow::Cow;
use std::fmt;

use image::imageops;
use image::{GrayImage, ImageBuffer, Pixel, RgbImage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Reduction, reduce_rgb, resize_mask};
use crate::{Rect, Result};

/// Mapping of an image to the size of the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// Resized to that size whatever its shape, as in the paper.
    #[default]
    Stretch,
    /// Resized until it fits, its shape kept; what is left is filled with its own border.
    Letterbox,
    /// Cut into tiles of that size, which overlap.
    Tile,
}

/// Layout of tiles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tiles {
    /// Share of a tile's side that it has in common with its neighbor at least, 0..=0.9.
    pub overlap: f64,
    /// Factor by which images are resized before they are cut, over 0 to 1.
    pub scale: f64,
}

impl Default for Tiles {
    fn default() -> Self {
        Self {
            overlap: 0.25,
            scale: 1.0,
        }
    }
}

/// A part of every image, in shares of its width and height: [left, top, width, height].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Crop(pub f64, pub f64, pub f64, pub f64);

impl Crop {
    /// Whether it is a part of an image.
    #[must_use]
    pub fn is_valid(self) -> bool {
        let Self(left, top, width, height) = self;
        let within = |start: f64, length: f64| start >= 0.0 && length > 0.0 && start + length <= 1.0 + 1e-9;
        within(left, width) && within(top, height)
    }

    /// The pixels of an image that belong to it: at least one.
    #[must_use]
    pub fn of(self, width: u32, height: u32) -> Rect {
        let along = |start: f64, length: f64, side: u32| {
            let pixel = |share: f64| (share * f64::from(side)).round().clamp(0.0, f64::from(side)) as u32;
            let first = pixel(start).min(side.saturating_sub(1));
            (first, pixel(start + length).max(first + 1) - first)
        };
        let (x, columns) = along(self.0, self.2, width);
        let (y, rows) = along(self.1, self.3, height);
        Rect {
            x,
            y,
            width: columns,
            height: rows,
        }
    }
}

/// The network's input and the way that images take to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Columns of the network's input.
    pub width: u32,
    /// Rows of the network's input.
    pub height: u32,
    /// Mapping of images to that size.
    pub fit: Framing,
    /// Layout of tiles, where `fit` asks for them.
    pub tiles: Tiles,
    /// The part of every image that is looked at; the whole image without it.
    pub region: Option<Crop>,
    /// Resampling where images are reduced.
    pub reduction: Reduction,
}

impl Geometry {
    /// Every image is resized to `width`×`height`.
    #[must_use]
    pub fn stretch(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            fit: Framing::Stretch,
            tiles: Tiles::default(),
            region: None,
            reduction: Reduction::default(),
        }
    }

    /// The way of an image of `width`×`height` pixels.
    #[must_use]
    pub fn frame(&self, width: u32, height: u32) -> Frame {
        let region = self.region.map_or(
            Rect {
                x: 0,
                y: 0,
                width,
                height,
            },
            |region| region.of(width, height),
        );
        let by = |factor: f64, side: u32| (f64::from(side) * factor).round().max(1.0) as u32;
        let (wide, high) = match self.fit {
            Framing::Stretch => (self.width, self.height),
            Framing::Letterbox => {
                let factor = (f64::from(self.width) / f64::from(region.width.max(1)))
                    .min(f64::from(self.height) / f64::from(region.height.max(1)));
                (
                    by(factor, region.width).min(self.width),
                    by(factor, region.height).min(self.height),
                )
            }
            Framing::Tile => (
                by(self.tiles.scale, region.width),
                by(self.tiles.scale, region.height),
            ),
        };
        Frame {
            image: (width, height),
            region,
            width: wide,
            height: high,
            window: (self.width, self.height),
            reduction: self.reduction,
            columns: edges(wide, self.width, self.tiles.overlap),
            rows: edges(high, self.height, self.tiles.overlap),
        }
    }
}

/// Starts of windows of length `window` that cover `length`, evenly spaced and with at least `overlap` in
/// common. One that is longer than what it covers lies about its middle.
fn edges(length: u32, window: u32, overlap: f64) -> Vec<i64> {
    let (length, window) = (i64::from(length), i64::from(window));
    if length <= window {
        return vec![(length - window).div_euclid(2)];
    }
    let stride = ((window as f64 * (1.0 - overlap)) as i64).max(1);
    let steps = (length - window + stride - 1) / stride;
    (0..=steps)
        .map(|step| (step * (length - window) + steps / 2) / steps)
        .collect()
}

/// The way of images of one size to the network and of its maps back.
///
/// The *content* of an image is its region, resized; the network sees windows of it. A map of scores has the
/// content's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    image: (u32, u32),
    region: Rect,
    /// Columns of the content.
    pub width: u32,
    /// Rows of the content.
    pub height: u32,
    window: (u32, u32),
    reduction: Reduction,
    columns: Vec<i64>,
    rows: Vec<i64>,
}

/// The upper left corner of a window in the content; negative where the window reaches beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Left edge.
    pub left: i64,
    /// Upper edge.
    pub top: i64,
}

impl Frame {
    /// The part of the image that is looked at, in its pixels.
    #[must_use]
    pub const fn region(&self) -> Rect {
        self.region
    }

    /// The content of an image of this frame's size.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if the image has no pixels.
    pub fn content<'i>(&self, image: &'i RgbImage) -> Result<Cow<'i, RgbImage>> {
        let part = crop(image, self.region);
        if part.dimensions() == (self.width, self.height) {
            return Ok(part);
        }
        reduce_rgb(&part, self.width, self.height, self.reduction).map(Cow::Owned)
    }

    /// The part of a mask that belongs to the region, resized to `width`×`height`. The mask may have another
    /// size than the image.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if the mask has no pixels.
    pub fn mask(&self, mask: &GrayImage, rule: MaskRule, width: u32, height: u32) -> Result<GrayImage> {
        let share = |pixels: u32, of: u32| f64::from(pixels) / f64::from(of.max(1));
        let region = Crop(
            share(self.region.x, self.image.0),
            share(self.region.y, self.image.1),
            share(self.region.width, self.image.0),
            share(self.region.height, self.image.1),
        );
        let part = crop(mask, region.of(mask.width(), mask.height()));
        let shrinks = part.width() > width.saturating_mul(2) || part.height() > height.saturating_mul(2);
        match rule {
            MaskRule::Auto if shrinks => Ok(touched(&part, width, height)),
            MaskRule::Auto | MaskRule::Nearest => resize_mask(&part, width, height),
            MaskRule::Any => Ok(touched(&part, width, height)),
        }
    }

    /// Every window, row by row.
    pub fn windows(&self) -> impl Iterator<Item = Window> + '_ {
        self.rows
            .iter()
            .flat_map(|&top| self.columns.iter().map(move |&left| Window { left, top }))
    }

    /// Number of windows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Whether there is no window; never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the content is the network's input as it is.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        (self.width, self.height) == self.window
    }

    /// Network input of a content that has one window.
    pub(crate) fn only_window<'i>(&self, content: Cow<'i, RgbImage>) -> Cow<'i, RgbImage> {
        match self.windows().next() {
            Some(window) if !self.is_whole() => Cow::Owned(self.cut(&content, window)),
            _ => content,
        }
    }

    /// A window at any place, for training: `along(n)` draws one of 0 to n.
    pub fn any_window(&self, mut along: impl FnMut(u32) -> u32) -> Window {
        let mut place = |edges: &[i64], length: u32, window: u32| match edges {
            [only] => *only,
            _ => i64::from(along(length - window)),
        };
        Window {
            left: place(&self.columns, self.width, self.window.0),
            top: place(&self.rows, self.height, self.window.1),
        }
    }

    /// Network input of a window of the content; beyond the border lies the nearest pixel.
    #[must_use]
    pub fn cut(&self, content: &RgbImage, window: Window) -> RgbImage {
        let (width, height) = self.window;
        let inside = self.inside(window);
        if content.width() == 0 || content.height() == 0 {
            return RgbImage::new(width, height);
        }
        let mut cut = RgbImage::new(width, height);
        let stride = width as usize * 3;
        for (y, row) in cut.as_mut().chunks_exact_mut(stride).enumerate() {
            let from = (window.top + y as i64).clamp(0, i64::from(content.height()) - 1) as usize;
            let source =
                &content.as_raw()[from * content.width() as usize * 3..][..content.width() as usize * 3];
            let first = (window.left + i64::from(inside.x)).max(0) as usize * 3;
            let (start, length) = (inside.x as usize * 3, inside.width as usize * 3);
            row[start..start + length].copy_from_slice(&source[first..first + length]);
            let (left, right) = (
                [0, 1, 2].map(|c| row[start + c]),
                [3, 2, 1].map(|c| row[start + length - c]),
            );
            row[..start].as_chunks_mut().0.fill(left);
            row[start + length..].as_chunks_mut().0.fill(right);
        }
        cut
    }

    /// The part of a window that shows content, in the window's pixels.
    #[must_use]
    pub fn inside(&self, window: Window) -> Rect {
        let along = |edge: i64, length: u32, window: u32| {
            let first = (-edge).clamp(0, i64::from(window));
            let last = (i64::from(length) - edge).clamp(first, i64::from(window));
            (first as u32, (last - first) as u32)
        };
        let (x, width) = along(window.left, self.width, self.window.0);
        let (y, height) = along(window.top, self.height, self.window.1);
        Rect { x, y, width, height }
    }

    /// Blending weights of the columns of a window where windows overlap, and those of its rows: rising from
    /// the window's border to 1 over half of what neighbors have in common, so that no seam is seen.
    #[must_use]
    pub fn weights(&self) -> (Vec<f32>, Vec<f32>) {
        (
            ramp(self.window.0, &self.columns),
            ramp(self.window.1, &self.rows),
        )
    }

    /// The sum of the weights of all windows at each column of the content and at each row; the sum at a
    /// pixel is their product.
    #[must_use]
    pub fn total_weights(&self) -> (Vec<f32>, Vec<f32>) {
        let total = |weights: &[f32], edges: &[i64], length: u32| {
            let mut sums = vec![0.0; length as usize];
            for edge in edges {
                for (place, weight) in (*edge..).zip(weights) {
                    if let Some(sum) = usize::try_from(place).ok().and_then(|place| sums.get_mut(place)) {
                        *sum += weight;
                    }
                }
            }
            sums
        };
        let (columns, rows) = self.weights();
        (
            total(&columns, &self.columns, self.width),
            total(&rows, &self.rows, self.height),
        )
    }
}

fn ramp(window: u32, edges: &[i64]) -> Vec<f32> {
    let shared = edges
        .windows(2)
        .map(|pair| i64::from(window) - (pair[1] - pair[0]))
        .max()
        .unwrap_or(0);
    let slope = (shared as f32).max(1.0);
    (0..window)
        .map(|place| {
            let depth = place.min(window - 1 - place) as f32 + 0.5;
            (depth / slope).min(1.0)
        })
        .collect()
}

/// Resampling where masks are reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaskRule {
    /// `any` where a side shrinks to less than half, so that thin defects are not passed over, otherwise
    /// `nearest`.
    #[default]
    Auto,
    /// A pixel is defective if the mask is at the nearest place, as in the official code.
    Nearest,
    /// A pixel is defective if anything that it covers is, so that small defects do not get lost.
    Any,
}

impl fmt::Display for MaskRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "nearest pixel centre; any defective pixel among those covered where a side shrinks to less than half",
            Self::Nearest => "nearest pixel centre",
            Self::Any => "any defective pixel among those covered",
        })
    }
}

/// Reduces a mask: 255 where anything that a pixel covers is.
fn touched(mask: &GrayImage, width: u32, height: u32) -> GrayImage {
    let span = |place: u32, length: u32, source: u32| {
        let scaled = |place: u32| u64::from(place) * u64::from(source);
        let first = scaled(place) / u64::from(length);
        let last = scaled(place + 1).div_ceil(u64::from(length));
        (first as u32, (last as u32).clamp(first as u32, source))
    };
    let columns: Vec<_> = (0..width).map(|x| span(x, width, mask.width())).collect();
    GrayImage::from_fn(width, height, |x, y| {
        let (top, bottom) = span(y, height, mask.height());
        let (left, right) = columns[x as usize];
        let hit = (top..bottom).any(|y| (left..right).any(|x| mask.get_pixel(x, y).0[0] != 0));
        image::Luma([if hit { 255 } else { 0 }])
    })
}

fn crop<P: Pixel + 'static>(
    image: &ImageBuffer<P, Vec<P::Subpixel>>,
    part: Rect,
) -> Cow<'_, ImageBuffer<P, Vec<P::Subpixel>>>
where
    P::Subpixel: 'static,
{
    let whole = Rect {
        x: 0,
        y: 0,
        width: image.width(),
        height: image.height(),
    };
    if part == whole {
        return Cow::Borrowed(image);
    }
    Cow::Owned(imageops::crop_imm(image, part.x, part.y, part.width, part.height).to_image())
}

#[cfg(test)]
mod tests {
    use image::{Luma, Rgb};
    use proptest::prelude::*;

    use super::*;

    fn numbered(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 7]))
    }

    #[test]
    fn stretching_resizes_and_shows_one_window() {
        let frame = Geometry::stretch(32, 16).frame(100, 50);
        assert_eq!((frame.width, frame.height, frame.len()), (32, 16, 1));
        assert!(frame.is_whole());
        let image = numbered(32, 16);
        let frame = Geometry::stretch(32, 16).frame(32, 16);
        assert!(matches!(frame.content(&image).unwrap(), Cow::Borrowed(_)));
    }

    #[test]
    fn a_letterbox_keeps_the_shape_and_repeats_the_border() {
        let geometry = Geometry {
            fit: Framing::Letterbox,
            ..Geometry::stretch(16, 16)
        };
        let frame = geometry.frame(40, 20);
        assert_eq!((frame.width, frame.height, frame.len()), (16, 8, 1));
        let window = frame.windows().next().unwrap();
        assert_eq!(window, Window { left: 0, top: -4 });
        assert_eq!(
            frame.inside(window),
            Rect {
                x: 0,
                y: 4,
                width: 16,
                height: 8
            }
        );
        let cut = frame.cut(&numbered(16, 8), window);
        assert_eq!(cut.get_pixel(5, 0), &Rgb([5, 0, 7]));
        assert_eq!(cut.get_pixel(5, 6), &Rgb([5, 2, 7]));
        assert_eq!(cut.get_pixel(5, 15), &Rgb([5, 7, 7]));
    }

    #[test]
    fn a_region_is_cut_out_of_image_and_mask_alike() {
        let geometry = Geometry {
            region: Some(Crop(0.5, 0.0, 0.5, 1.0)),
            ..Geometry::stretch(8, 8)
        };
        let frame = geometry.frame(16, 8);
        assert_eq!(frame.region().x, 8);
        assert_eq!(
            frame.content(&numbered(16, 8)).unwrap().get_pixel(0, 3),
            &Rgb([8, 3, 7])
        );
        // A mask of twice the size.
        let mask = GrayImage::from_fn(32, 16, |x, _| Luma([if x >= 24 { 255 } else { 0 }]));
        let mask = frame.mask(&mask, MaskRule::Nearest, 8, 8).unwrap();
        assert_eq!([3, 4].map(|x| mask.get_pixel(x, 0).0[0]), [0, 255]);
    }

    #[test]
    fn a_region_outside_the_image_is_refused() {
        assert!(Crop(0.0, 0.0, 1.0, 1.0).is_valid());
        for region in [
            Crop(0.5, 0.0, 0.6, 1.0),
            Crop(-0.1, 0.0, 0.5, 1.0),
            Crop(0.0, 0.0, 0.0, 1.0),
            Crop(f64::NAN, 0.0, 0.5, 0.5),
        ] {
            assert!(!region.is_valid());
        }
    }

    #[test]
    fn small_defects_survive_the_rule_any() {
        let mut mask = GrayImage::new(64, 64);
        mask.put_pixel(37, 21, Luma([255]));
        let frame = Geometry::stretch(8, 8).frame(64, 64);
        let nearest = frame.mask(&mask, MaskRule::Nearest, 8, 8).unwrap();
        assert!(nearest.iter().all(|v| *v == 0));
        let any = frame.mask(&mask, MaskRule::Any, 8, 8).unwrap();
        assert_eq!(any.iter().filter(|v| **v > 0).count(), 1);
        assert_eq!(any.get_pixel(4, 2).0[0], 255);
    }

    proptest! {
        #[test]
        fn tiles_cover_the_content_with_the_overlap_asked_for(
            width in 1u32..700, height in 1u32..700, side in 8u32..100, overlap in 0.0..0.9,
        ) {
            let geometry = Geometry { fit: Framing::Tile, tiles: Tiles { overlap, scale: 1.0 }, ..Geometry::stretch(side, side) };
            let frame = geometry.frame(width, height);
            prop_assert_eq!((frame.width, frame.height), (width, height));
            let mut covered = vec![false; (width * height) as usize];
            for window in frame.windows() {
                let inside = frame.inside(window);
                for y in 0..inside.height {
                    for x in 0..inside.width {
                        let x = window.left + i64::from(inside.x + x);
                        let y = window.top + i64::from(inside.y + y);
                        covered[(y * i64::from(width) + x) as usize] = true;
                    }
                }
            }
            prop_assert!(covered.iter().all(|c| *c));
            for pair in frame.columns.windows(2) {
                prop_assert!(pair[1] - pair[0] <= ((f64::from(side) * (1.0 - overlap)) as i64).max(1));
            }
            let (columns, rows) = frame.total_weights();
            prop_assert!(columns.iter().chain(&rows).all(|sum| *sum > 0.0));
        }

        #[test]
        fn windows_drawn_for_training_lie_on_the_content(width in 1u32..200, height in 1u32..200, place in 0u32..1000) {
            let geometry = Geometry { fit: Framing::Tile, ..Geometry::stretch(32, 48) };
            let frame = geometry.frame(width, height);
            let window = frame.any_window(|most| place % (most + 1));
            let inside = frame.inside(window);
            prop_assert_eq!((inside.width, inside.height), (width.min(32), height.min(48)));
            let cut = frame.cut(&numbered(width, height), window);
            prop_assert_eq!(cut.dimensions(), (32, 48));
        }
    }
}
