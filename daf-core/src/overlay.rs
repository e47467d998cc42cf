//! Score maps, and pictures of them.

use std::fs::{self, File};
use std::io::{BufWriter, Cursor, Write};
use std::path::Path;

use fast_image_resize::ResizeAlg;
use image::imageops::{self, FilterType, resize};
use image::{GrayImage, ImageFormat, Rgb, RgbImage};

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
    pub fn largest(&self) -> f32 {
        self.scores.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    /// The smallest and the largest score.
    #[must_use]
    pub fn range(&self) -> (f32, f32) {
        (
            self.scores.iter().copied().fold(f32::INFINITY, f32::min),
            self.largest(),
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

    /// The map as 8 bit: `low` and below become 0, `high` and above 255.
    #[must_use]
    pub fn to_gray(&self, (low, high): (f32, f32)) -> GrayImage {
        let scale = 255.0 / (high - low).max(f32::MIN_POSITIVE);
        let bytes = self
            .scores
            .iter()
            .map(|score| ((score - low) * scale).clamp(0.0, 255.0).round() as u8);
        GrayImage::from_raw(self.width, self.height, bytes.collect()).unwrap_or_default()
    }
}

/// How much of the image shows through the hottest colour.
const OPACITY: f32 = 0.6;
const OUTLINE: Rgb<u8> = Rgb([0, 255, 80]);

/// The image with the map over it: what scores `low` or less stays as it is, `high` is dark red.
///
/// The map is brought to the image's size.
#[must_use]
pub fn heat(image: &RgbImage, map: &ScoreMap, scale: (f32, f32)) -> RgbImage {
    let gray = map.to_gray(scale);
    let (width, height) = image.dimensions();
    let gray = resize(&gray, width, height, FilterType::Triangle);
    let mut picture = image.clone();
    for (pixel, heat) in picture.pixels_mut().zip(gray.pixels()) {
        let level = f64::from(heat.0[0]) / 255.0;
        let colour = colorous::TURBO.eval_continuous(level);
        // Cold regions stay visible, hot ones stand out.
        let alpha = OPACITY * (level as f32 * 2.0).min(1.0);
        let mix =
            |under: u8, over: u8| (f32::from(under) * (1.0 - alpha) + f32::from(over) * alpha).round() as u8;
        let [r, g, b] = pixel.0;
        *pixel = Rgb([mix(r, colour.r), mix(g, colour.g), mix(b, colour.b)]);
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
        let neighbours = [(-1, 0), (1, 0), (0, -1), (0, 1)];
        if !inside(x, y) && neighbours.iter().any(|(dx, dy)| inside(x + dx, y + dy)) {
            *pixel = OUTLINE;
        }
    }
}

/// The heat map alone, at the size `width`×`height`.
#[must_use]
pub fn colours(map: &ScoreMap, scale: (f32, f32), width: u32, height: u32) -> RgbImage {
    let gray = map.to_gray(scale);
    let gray = resize(&gray, width, height, FilterType::Triangle);
    let mut picture = RgbImage::new(width, height);
    for (pixel, heat) in picture.pixels_mut().zip(gray.pixels()) {
        let colour = colorous::TURBO.eval_continuous(f64::from(heat.0[0]) / 255.0);
        *pixel = Rgb([colour.r, colour.g, colour.b]);
    }
    picture
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

/// Side by side the image, the image with the outline of the true mask if that is known, the heat map, and the heat map
/// over the image.
#[must_use]
pub fn panel(image: &RgbImage, mask: Option<&GrayImage>, map: &ScoreMap, scale: (f32, f32)) -> RgbImage {
    let (width, height) = image.dimensions();
    let mut over = heat(image, map, scale);
    let mut pictures = vec![image.clone()];
    if let Some(mask) = mask {
        let mut truth = image.clone();
        outline(&mut truth, mask);
        pictures.push(truth);
        outline(&mut over, mask);
    }
    pictures.push(colours(map, scale, width, height));
    pictures.push(over);
    sheet(&[pictures])
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
        let picture = |width, height, grey| RgbImage::from_pixel(width, height, Rgb([grey; 3]));
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
