//! Score maps, and pictures of them.

use std::fs::{self, File};
use std::io::{BufWriter, Cursor, Write};
use std::path::{Path, PathBuf};

use fast_image_resize::ResizeAlg;
use image::imageops::{self, FilterType, resize};
use image::{
    GenericImageView, GrayImage, ImageBuffer, ImageFormat, Pixel, PixelWithColorType, Rgb, RgbImage,
};

use crate::atomic::replace;
use crate::data;
use crate::{Error, Result};

/// Scores of the pixels of an image, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreMap {
    /// Number of columns.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
    /// `width`·`height` scores; higher is more anomalous.
    pub scores: Vec<f32>,
}

impl ScoreMap {
    /// The largest score.
    #[must_use]
    pub fn max(&self) -> f32 {
        self.scores.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    /// The smallest and the largest score.
    #[must_use]
    pub fn range(&self) -> (f32, f32) {
        (
            self.scores.iter().copied().fold(f32::INFINITY, f32::min),
            self.max(),
        )
    }

    /// The map at another size, bilinearly.
    ///
    /// # Errors
    /// [`Error::Shape`] if a side is 0.
    pub fn resized(&self, width: u32, height: u32) -> Result<Self> {
        if (width, height) == (self.width, self.height) {
            return Ok(self.clone());
        }
        let bytes =
            |scores: &[f32]| -> Vec<u8> { scores.iter().flat_map(|score| score.to_ne_bytes()).collect() };
        let mut resized = vec![0; width as usize * height as usize * 4];
        data::resize::<fast_image_resize::pixels::F32>(
            (self.width, self.height),
            &bytes(&self.scores),
            (width, height),
            &mut resized,
            ResizeAlg::Interpolation(fast_image_resize::FilterType::Bilinear),
        )?;
        let scores = resized
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_ne_bytes(*bytes));
        Ok(Self {
            width,
            height,
            scores: scores.collect(),
        })
    }

    /// Writes the map as a TIFF file of 32-bit floats.
    ///
    /// # Errors
    /// If the disk is full or the folder cannot be written to.
    pub fn save_tiff(&self, path: &Path) -> Result<()> {
        use tiff::encoder::{TiffEncoder, colortype::Gray32Float};
        let failed = |error: tiff::TiffError| match error {
            tiff::TiffError::IoError(error) => Error::io(path)(error),
            other => Error::data(path, other.to_string()),
        };
        let file = File::create(path).map_err(Error::io(path))?;
        let mut writer = BufWriter::new(file);
        TiffEncoder::new(&mut writer)
            .and_then(|mut encoder| encoder.write_image::<Gray32Float>(self.width, self.height, &self.scores))
            .map_err(failed)?;
        writer.flush().map_err(Error::io(path))
    }

    /// The map as a heat map of a size: levels of 8 bit, of which `low` and below become 0, `high` and above
    /// 255.
    #[must_use]
    pub fn heat(&self, (low, high): (f32, f32), (width, height): (u32, u32)) -> GrayImage {
        let scale = 255.0 / (high - low).max(f32::MIN_POSITIVE);
        let bytes = self
            .scores
            .iter()
            .map(|score| ((score - low) * scale).clamp(0.0, 255.0).round() as u8);
        let levels = GrayImage::from_raw(self.width, self.height, bytes.collect()).unwrap_or_default();
        resize(&levels, width, height, FilterType::Triangle)
    }
}

/// Opacity of the hottest color over an image.
const OPACITY: f32 = 0.6;
/// Color of the outlines of masks.
pub const OUTLINE: Rgb<u8> = Rgb([0, 255, 80]);

/// Color of a level of a heat map: 0 is cold, 255 hot.
#[must_use]
pub fn color(level: u8) -> Rgb<u8> {
    let color = colorous::TURBO.eval_continuous(f64::from(level) / 255.0);
    Rgb([color.r, color.g, color.b])
}

/// Opacity of a level of a heat map over an image: cold regions stay visible, hot ones stand out.
#[must_use]
pub fn opacity(level: u8) -> f32 {
    OPACITY * ((f64::from(level) / 255.0) as f32 * 2.0).min(1.0)
}

/// A heat map in its colors.
#[must_use]
pub fn colored(heat: &GrayImage) -> RgbImage {
    let mut picture = RgbImage::new(heat.width(), heat.height());
    for (pixel, level) in picture.pixels_mut().zip(heat.pixels()) {
        *pixel = color(level.0[0]);
    }
    picture
}

/// An image with a heat map of its size over it.
#[must_use]
pub fn overlaid(image: &RgbImage, heat: &GrayImage) -> RgbImage {
    let mut picture = image.clone();
    for (pixel, level) in picture.pixels_mut().zip(heat.pixels()) {
        let (over, alpha) = (color(level.0[0]), opacity(level.0[0]));
        pixel.apply2(&over, |under, over| {
            (f32::from(under) * (1.0 - alpha) + f32::from(over) * alpha).round() as u8
        });
    }
    picture
}

/// Draws the outline of a mask of the image's size.
pub fn outline(image: &mut RgbImage, mask: &GrayImage) {
    let inside = |x: i64, y: i64| {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
            return false;
        };
        mask.get_pixel_checked(x, y).is_some_and(|pixel| pixel.0[0] > 0)
    };
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let (x, y) = (i64::from(x), i64::from(y));
        let neighbors = [(-1, 0), (1, 0), (0, -1), (0, 1)];
        if !inside(x, y) && neighbors.iter().any(|(dx, dy)| inside(x + dx, y + dy)) {
            *pixel = OUTLINE;
        }
    }
}

/// Writes a picture in the format that its name ends in: the old file or the new, never a part.
///
/// # Errors
/// If there is no such format, the disk is full or the folder cannot be written to.
pub fn save(picture: &RgbImage, path: &Path) -> Result<()> {
    let mut bytes = Cursor::new(Vec::new());
    ImageFormat::from_path(path)
        .and_then(|format| picture.write_to(&mut bytes, format))
        .map_err(|error| Error::data(path, error.to_string()))?;
    replace(path, |temporary| {
        fs::write(temporary, bytes.get_ref()).map_err(Error::io(path))
    })
}

/// Side by side the image, the image with the outline of its true mask if that is known, the heat map, and
/// the heat map over the image. Mask and heat map have the image's size.
#[must_use]
pub fn panel(image: &RgbImage, mask: Option<&GrayImage>, heat: &GrayImage) -> RgbImage {
    let mut over = overlaid(image, heat);
    let mut pictures = vec![image.clone()];
    if let Some(mask) = mask {
        let mut truth = image.clone();
        outline(&mut truth, mask);
        pictures.push(truth);
        outline(&mut over, mask);
    }
    pictures.extend([colored(heat), over]);
    sheet(&[pictures])
}

/// A test image with its heat map, and the pieces that its picture is composed of, all of one size.
///
/// The picture `maps/hole/001.png` is the [`panel`] for people. Programs read its pieces, which lie in the
/// folder
/// `maps/hole/001`: `image.png`, `heat.png` and, for an image with a known defect, `mask.png`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pieces {
    /// The image.
    pub image: RgbImage,
    /// The mask of the true defect, if the image has one that is known.
    pub mask: Option<GrayImage>,
    /// The levels of the heat map: see [`ScoreMap::heat`].
    pub heat: GrayImage,
}

impl Pieces {
    /// Files of the pieces of a picture: image, mask, heat map.
    #[must_use]
    pub fn files(picture: &Path) -> [PathBuf; 3] {
        ["image.png", "mask.png", "heat.png"].map(|name| picture.with_extension("").join(name))
    }

    /// Writes the picture and its pieces into a folder that is not in use yet.
    ///
    /// # Errors
    /// If the disk is full or the folder cannot be written to.
    pub fn save(&self, picture: &Path) -> Result<()> {
        fn write<P: PixelWithColorType<Subpixel = u8>>(
            image: &ImageBuffer<P, Vec<u8>>,
            path: &Path,
        ) -> Result<()> {
            image
                .save(path)
                .map_err(|error| Error::data(path, error.to_string()))
        }
        let folder = picture.with_extension("");
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let [image, mask, heat] = Self::files(picture);
        write(&panel(&self.image, self.mask.as_ref(), &self.heat), picture)?;
        write(&self.image, &image)?;
        write(&self.heat, &heat)?;
        self.mask.as_ref().map_or(Ok(()), |found| write(found, &mask))
    }

    /// The pieces of a picture; `None` if there are none beside it.
    ///
    /// # Errors
    /// If a piece cannot be read, or is not of the image's size.
    pub fn open(picture: &Path) -> Result<Option<Self>> {
        let [image, mask, heat] = Self::files(picture);
        if !image.exists() {
            return Ok(None);
        }
        let open = |path: &Path| {
            image::open(path).map_err(|error| Error::data(path, format!("cannot be used: {error}")))
        };
        let image = open(&image)?.into_rgb8();
        let level = |path: &Path| {
            let piece = open(path)?.into_luma8();
            if piece.dimensions() == image.dimensions() {
                return Ok(piece);
            }
            let ((width, height), (w, h)) = (image.dimensions(), piece.dimensions());
            let reason = format!("expected {width}×{height} pixels, as its image has, found {w}×{h}");
            Err(Error::data(path, reason))
        };
        let heat = level(&heat)?;
        let mask = mask.exists().then(|| level(&mask)).transpose()?;
        Ok(Some(Self { image, mask, heat }))
    }
}

/// The image at the size at which its longer side has `side` pixels.
#[must_use]
pub fn scaled<I>(image: &I, side: u32) -> ImageBuffer<I::Pixel, Vec<u8>>
where
    I: GenericImageView<Pixel: Pixel<Subpixel = u8> + 'static>,
{
    let (width, height) = image.dimensions();
    let factor = f64::from(side) / f64::from(width.max(height).max(1));
    let length = |length: u32| (f64::from(length) * factor).round().max(1.0) as u32;
    resize(image, length(width), length(height), FilterType::Triangle)
}

/// The image at the size at which its longer side has at most `side` pixels.
#[must_use]
pub fn shrunk<I>(image: &I, side: u32) -> ImageBuffer<I::Pixel, Vec<u8>>
where
    I: GenericImageView<Pixel: Pixel<Subpixel = u8> + 'static>,
{
    scaled(image, side.min(image.width().max(image.height())))
}

/// Pixels between pictures.
const GAP: u32 = 4;

/// Rows of pictures on white; each column is as wide and each row as high as the largest picture in it.
#[must_use]
pub fn sheet(rows: &[Vec<RgbImage>]) -> RgbImage {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<u32> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(RgbImage::width)
                .max()
                .unwrap_or(0)
        })
        .collect();
    let heights: Vec<u32> = rows
        .iter()
        .map(|row| row.iter().map(RgbImage::height).max().unwrap_or(0))
        .collect();
    let length = |sides: &[u32]| {
        sides
            .iter()
            .map(|side| side + GAP)
            .sum::<u32>()
            .saturating_sub(GAP)
    };
    let mut sheet = RgbImage::from_pixel(length(&widths), length(&heights), Rgb([255; 3]));
    let mut top = 0;
    for (row, height) in rows.iter().zip(&heights) {
        let mut left = 0;
        for (picture, width) in row.iter().zip(&widths) {
            imageops::replace(&mut sheet, picture, i64::from(left), i64::from(top));
            left += width + GAP;
        }
        top += height + GAP;
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_holds_every_picture_with_gaps_between() {
        let picture = |width, height, gray| RgbImage::from_pixel(width, height, Rgb([gray; 3]));
        let sheet = sheet(&[vec![picture(5, 3, 1), picture(2, 4, 2)], vec![picture(1, 1, 3)]]);
        assert_eq!(sheet.dimensions(), (5 + 4 + 2, 4 + 4 + 1));
        let at = |x, y| sheet.get_pixel(x, y).0[0];
        assert_eq!(
            [at(0, 0), at(9, 3), at(0, 8), at(4, 3), at(6, 0)],
            [1, 2, 3, 255, 255]
        );
        assert_eq!(super::sheet(&[]).dimensions(), (0, 0));
    }
}
