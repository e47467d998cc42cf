//! Masks: which pixels of a file are marked.

use std::path::Path;

use image::{DynamicImage, GrayImage, Luma, RgbaImage};

use super::decode::{read_header, read_image};
use crate::{Error, Result};

/// A mask as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    /// 255 where a pixel is marked, 0 elsewhere.
    pub pixels: GrayImage,
    /// Kind of values in the file, which decides which of them mark defects.
    pub values: MaskValues,
}

/// Kind of values in a mask file, and which of them mark defects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskValues {
    /// Black and white with at most soft edges between them: what is over half of the range.
    BlackAndWhite,
    /// Numbers of classes, levels of grey or colors: everything that is not black.
    Labels,
    /// A drawing of one color on a transparent ground: what is not transparent.
    Alpha,
}

/// Values between an eighth and seven eighths of the range are neither black nor white, also after lossy
/// compression.
const BETWEEN: std::ops::RangeInclusive<u8> = 32..=223;
/// Pixels around a white one in which a value between black and white is its soft edge.
const EDGE: usize = 2;
/// Side of the blocks of JPEG, within which the noise of an edge stays.
const BLOCK: usize = 8;
/// Numbers of classes that need no areas beside white, at most: thin lines have none.
const FEW_CLASSES: usize = 3;

/// Opens a mask: 255 where a pixel is marked, 0 elsewhere.
///
/// Which values mark defects depends on their kind, see [`MaskValues`]. Levels are compared with the file's
/// own range, 255 or 65535; a file with nothing over half of it holds numbers of classes.
///
/// # Errors
/// The errors of [`read_image`]; also if the file is a photo rather than a mask, or a lossy one too dark to tell.
pub fn read_mask(path: impl AsRef<Path>) -> Result<GrayImage> {
    Ok(read_mask_values(path)?.pixels)
}

/// Opens a mask and says what its file holds.
///
/// # Errors
/// The errors of [`read_mask`].
pub fn read_mask_values(path: impl AsRef<Path>) -> Result<Mask> {
    let path = path.as_ref();
    let lossy = read_header(path)?.format == "jpeg";
    of_image(&read_image(path)?, lossy).map_err(|reason| Error::data(path, reason))
}

/// Opens a mask whose values are numbers of classes: 255 where the file is not black, 0 elsewhere.
///
/// # Errors
/// The errors of [`read_image`].
pub fn read_mask_any(path: impl AsRef<Path>) -> Result<GrayImage> {
    Ok(not_black(&read_image(path)?))
}

fn of_image(image: &DynamicImage, lossy: bool) -> Result<Mask, String> {
    if image.color().has_alpha() {
        let image = image.to_rgba8();
        if image.pixels().any(|pixel| pixel.0[3] < 128) {
            return Ok(drawn(&image));
        }
    }
    let rgb = image.to_rgb8();
    let is_gray = rgb.pixels().all(|pixel| {
        let [r, g, b] = pixel.0;
        // Lossy compression colors grey a little.
        r.max(g).max(b) - r.min(g).min(b) <= if lossy { 32 } else { 0 }
    });
    let labels = |pixels| Mask {
        pixels,
        values: MaskValues::Labels,
    };
    if !is_gray {
        refuse_photo(&DynamicImage::from(rgb.clone()).into_luma8())?;
        return Ok(labels(if lossy {
            let over_half = |x, y| rgb.get_pixel(x, y).0.iter().any(|value| *value > 127);
            marked(rgb.width(), rgb.height(), over_half)
        } else {
            not_black(image)
        }));
    }
    let mut gray = image.to_luma8();
    if !matches!(image, DynamicImage::ImageRgb32F(_)) {
        // The lowest numbers of a deep file are black at 8 bit.
        let not_black = not_black(image);
        gray.iter_mut()
            .zip(not_black.iter())
            .for_each(|(level, is_marked)| *level = (*level).max(is_marked & 1));
    }
    refuse_photo(&gray)?;
    let largest = gray.iter().copied().max().unwrap_or(0);
    let over_half = marked(gray.width(), gray.height(), |x, y| {
        gray.get_pixel(x, y).0[0] > 127
    });
    if lossy {
        // Noise goes with white; where there is none, or far away from it, a level was drawn.
        let drawn = beside(&gray, &over_half, BLOCK)
            .filter(|(_, value)| largest < 128 || BETWEEN.contains(value))
            .map(|(_, value)| value)
            .max();
        return match drawn {
            Some(level) => Err(format!(
                "a mask with the level {level} of 255, in a format that changes values: expected black and white; save it as \
                 png"
            )),
            None => Ok(Mask {
                pixels: over_half,
                values: MaskValues::BlackAndWhite,
            }),
        };
    }
    if largest <= 127 || has_classes(&gray, &over_half) {
        return Ok(labels(not_black(image)));
    }
    Ok(Mask {
        pixels: over_half,
        values: MaskValues::BlackAndWhite,
    })
}

/// A mask drawn on a transparent ground. Where everything drawn has one color, black too, that is what is
/// marked; otherwise black is ground as well.
fn drawn(image: &RgbaImage) -> Mask {
    let mut colors = image
        .pixels()
        .filter(|pixel| pixel.0[3] > 127)
        .map(|pixel| &pixel.0[..3]);
    let first = colors.next();
    let one_color = colors.all(|color| Some(color) == first);
    let is_marked = |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0;
        alpha > 127 && (one_color || [r, g, b] != [0; 3])
    };
    Mask {
        pixels: marked(image.width(), image.height(), is_marked),
        values: MaskValues::Alpha,
    }
}

fn marked(width: u32, height: u32, is_marked: impl Fn(u32, u32) -> bool) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| {
        Luma([if is_marked(x, y) { 255 } else { 0 }])
    })
}

/// Pixels that are not black, alpha aside. Byte by byte: gray at 8 bit would round the lowest levels of
/// deeper or colored masks to black.
fn not_black(image: &DynamicImage) -> GrayImage {
    let color = image.color();
    let pixel = usize::from(color.bytes_per_pixel());
    let alpha = usize::from(color.has_alpha()) * pixel / usize::from(color.channel_count());
    let is_marked = |bytes: &[u8]| bytes[..pixel - alpha].iter().any(|byte| *byte > 0);
    let values = image.as_bytes().chunks_exact(pixel);
    let values = values
        .map(|bytes| if is_marked(bytes) { 255 } else { 0 })
        .collect();
    GrayImage::from_raw(image.width(), image.height(), values).unwrap_or_default()
}

/// The places and values of pixels that are neither black nor over half of the range, farther than `reach`
/// from any that is.
fn beside<'a>(
    gray: &'a GrayImage,
    over_half: &GrayImage,
    reach: usize,
) -> impl Iterator<Item = ((u32, u32), u8)> + use<'a> {
    let width = gray.width() as usize;
    let rows = over_half.as_raw().chunks(width.max(1));
    let along_rows: Vec<bool> = rows
        .flat_map(|row| spread(row.iter().map(|value| *value > 0), reach))
        .collect();
    let columns: Vec<Vec<bool>> = (0..width)
        .map(|x| spread(along_rows.iter().skip(x).step_by(width).copied(), reach))
        .collect();
    gray.enumerate_pixels()
        .filter(move |(x, y, Luma([value]))| (1..=127).contains(value) && !columns[*x as usize][*y as usize])
        .map(|(x, y, Luma([value]))| ((x, y), *value))
}

/// Positions at most `reach` away from one that is set.
fn spread(line: impl Iterator<Item = bool>, reach: usize) -> Vec<bool> {
    let mut wide: Vec<bool> = line.collect();
    let pass = |wide: &mut dyn Iterator<Item = &mut bool>| {
        let mut left = 0;
        for place in wide {
            left = if *place { reach + 1 } else { left };
            *place = left > 0;
            left = left.saturating_sub(1);
        }
    };
    let stated = wide.clone();
    pass(&mut wide.iter_mut());
    let mut back = stated;
    pass(&mut back.iter_mut().rev());
    wide.iter_mut()
        .zip(back)
        .for_each(|(place, other)| *place |= other);
    wide
}

/// Whether a pixel and all around it have one value: inside a painted area, not on an edge, a ramp or in
/// noise.
fn is_flat(gray: &GrayImage, (x, y): (u32, u32)) -> bool {
    let span = |place: u32, length: u32| place.saturating_sub(1)..(place + 2).min(length);
    let value = gray.get_pixel(x, y);
    span(y, gray.height()).all(|y| span(x, gray.width()).all(|x| gray.get_pixel(x, y) == value))
}

/// Whether values up to half of the range, but not black, are numbers of classes: those of painted areas, or
/// few, in more than the edges of what is over half. Others are soft edges, or the noise of a lossy format
/// that the mask was once stored in.
fn has_classes(gray: &GrayImage, over_half: &GrayImage) -> bool {
    // Values with a painted area somewhere, and those without.
    let (mut painted, mut found) = ([false; 128], [false; 128]);
    for (place, value) in beside(gray, over_half, EDGE) {
        found[usize::from(value)] = true;
        painted[usize::from(value)] |= is_flat(gray, place);
    }
    let dark = usize::from(*BETWEEN.start());
    if painted[dark..].contains(&true) {
        return true;
    }
    if !found[dark..].contains(&true) {
        // Almost black alone. In white there is noise as well.
        let mut whites = gray.iter().filter(|value| *value > BETWEEN.end());
        let white = whites.next();
        let is_near = || beside(gray, over_half, BLOCK).next().is_none();
        if whites.any(|value| Some(value) != white) || (!painted.contains(&true) && is_near()) {
            return false;
        }
    }
    // The ground of a lossy mask may be painted as well, in almost black.
    let count = |values: &[bool]| values.iter().filter(|is_there| **is_there).count();
    let (painted, found) = (count(&painted), count(&found));
    found > 0 && found - painted <= painted.max(FEW_CLASSES)
}

/// Refuses an image of many values, a quarter of which are neither black nor white, unless they make areas as
/// classes do.
fn refuse_photo(gray: &GrayImage) -> Result<(), String> {
    let (mut counts, mut flat) = ([0_u64; 256], 0);
    for (x, y, Luma([value])) in gray.enumerate_pixels() {
        counts[usize::from(*value)] += 1;
        flat += u64::from(BETWEEN.contains(value) && is_flat(gray, (x, y)));
    }
    let between = &counts[usize::from(*BETWEEN.start())..=usize::from(*BETWEEN.end())];
    let values = between.iter().filter(|count| **count > 0).count();
    let pixels: u64 = between.iter().sum();
    let all = gray.as_raw().len() as u64;
    if values > 32 && pixels * 4 > all && flat * 10 < pixels {
        return Err(format!(
            "not a mask: {values} levels of grey between black and white take {} % of it, as in a photo; expected black \
             with the defects in white or in numbers of classes",
            pixels * 100 / all.max(1)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::imageops;
    use image::{ImageBuffer, LumaA, Rgb, RgbImage, Rgba};
    use proptest::prelude::*;

    use super::*;

    const SIDE: u32 = 64;

    /// Three shapes that do not touch, by number from 1 on: a square, a disc and a line of one pixel.
    fn shape(x: u32, y: u32) -> usize {
        let (dx, dy) = (x.abs_diff(44), y.abs_diff(40));
        match (x, y) {
            (5..17, 8..21) => 1,
            _ if dx * dx + dy * dy < 81 => 2,
            (4..30, 50) => 3,
            _ => 0,
        }
    }

    fn painted(values: [u8; 4]) -> GrayImage {
        GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([values[shape(x, y)]]))
    }

    /// Mask of the shapes that `are_marked` chooses by number.
    fn shapes(are_marked: impl Fn(usize) -> bool) -> GrayImage {
        marked(SIDE, SIDE, |x, y| are_marked(shape(x, y)))
    }

    fn all_shapes() -> GrayImage {
        shapes(|shape| shape > 0)
    }

    fn over_half(gray: &GrayImage) -> GrayImage {
        marked(gray.width(), gray.height(), |x, y| {
            gray.get_pixel(x, y).0[0] > 127
        })
    }

    fn read(image: impl Into<DynamicImage>) -> Mask {
        of_image(&image.into(), false).unwrap()
    }

    /// Image after a JPEG file of this quality.
    fn through_jpeg(gray: &GrayImage, quality: u8) -> GrayImage {
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, quality)
            .encode_image(gray)
            .unwrap();
        image::load_from_memory(&bytes).unwrap().into_luma8()
    }

    #[test]
    fn black_and_white_is_what_it_says() {
        let mask = read(painted([0, 255, 255, 255]));
        assert_eq!(
            (mask.pixels, mask.values),
            (all_shapes(), MaskValues::BlackAndWhite)
        );
        let empty = read(GrayImage::new(9, 5));
        assert_eq!(empty.pixels, GrayImage::new(9, 5));
        // An inverted one marks the ground: nobody can know that it is not meant.
        let inverted = read(painted([255, 0, 0, 0]));
        assert_eq!(inverted.pixels, shapes(|shape| shape == 0));
        let full = read(GrayImage::from_pixel(9, 5, Luma([255])));
        assert!(full.pixels.iter().all(|value| *value == 255));
        // Labelme and others write booleans as 1-bit files, which arrive as 0 and 255, and floats.
        let floats = image::Rgb32FImage::from_fn(SIDE, SIDE, |x, y| Rgb([shape(x, y).min(1) as f32; 3]));
        assert_eq!(read(floats).pixels, all_shapes());
    }

    proptest! {
        #[test]
        fn numbers_of_classes_are_marked_whatever_they_are(
            numbers in [1..=255_u8, 1..=255],
        ) {
            let [a, b] = numbers;
            prop_assert_eq!(read(painted([0, a, b, a])).pixels, all_shapes());
        }

        #[test]
        fn deep_numbers_of_classes_are_marked_whatever_they_are(numbers in [1..=65_535_u16, 1..=65_535]) {
            let [a, b] = numbers;
            let values = [0, a, b, a];
            let deep = ImageBuffer::from_fn(SIDE, SIDE, |x, y| Luma([values[shape(x, y)]]));
            prop_assert_eq!(read(deep).pixels, all_shapes());
        }

        #[test]
        fn colors_are_marked_whatever_they_are(colors in [any_color(), any_color(), any_color()]) {
            let [a, b, c] = colors;
            let values = [[0; 3], a, b, c];
            let image = RgbImage::from_fn(SIDE, SIDE, |x, y| Rgb(values[shape(x, y)]));
            prop_assert_eq!(read(image).pixels, all_shapes());
        }

        #[test]
        fn soft_edges_end_at_half(sigma in 0.3..6.0_f32) {
            // Margins, so that the shapes stay white inside.
            let sharp = GrayImage::from_fn(160, 160, |x, y| {
                Luma([if (40..110).contains(&x) && (50..120).contains(&y) { 255 } else { 0 }])
            });
            let soft = imageops::blur(&sharp, sigma);
            let mask = read(soft.clone());
            prop_assert_eq!(mask.values, MaskValues::BlackAndWhite);
            prop_assert_eq!(mask.pixels, over_half(&soft));
        }

        #[test]
        fn noise_of_jpeg_is_not_marked(quality in 30..=100_u8, lossy: bool) {
            let noisy = through_jpeg(&painted([0, 255, 255, 0]), quality);
            // Saved as JPEG, or as PNG after it was one.
            let mask = of_image(&noisy.clone().into(), lossy).unwrap();
            prop_assert_eq!(mask.values, MaskValues::BlackAndWhite);
            prop_assert_eq!(mask.pixels, over_half(&noisy));
        }

        #[test]
        fn drawings_on_a_transparent_ground_are_marked(color in any::<[u8; 3]>(), ground in any::<[u8; 3]>()) {
            let [r, g, b] = color;
            let [gr, gg, gb] = ground;
            let image = RgbaImage::from_fn(SIDE, SIDE, |x, y| match shape(x, y) {
                0 => Rgba([gr, gg, gb, 0]),
                _ => Rgba([r, g, b, 255]),
            });
            let mask = read(image);
            prop_assert_eq!(mask.values, MaskValues::Alpha);
            prop_assert_eq!(mask.pixels, all_shapes());
        }
    }

    fn any_color() -> impl Strategy<Value = [u8; 3]> {
        proptest::array::uniform3(0..=255_u8).prop_filter("black is the ground", |color| *color != [0; 3])
    }

    #[test]
    fn a_class_beside_white_counts() {
        for low in [1, 30, 100, 127] {
            let mask = read(painted([0, low, 255, low]));
            assert_eq!(
                (mask.pixels, mask.values),
                (all_shapes(), MaskValues::Labels),
                "{low}"
            );
            let line = read(painted([0, 255, 255, low]));
            assert_eq!(line.pixels, all_shapes(), "{low}");
        }
        // As many as there are numbers.
        let many = GrayImage::from_fn(256, 60, |x, _| Luma([x as u8]));
        let many = imageops::resize(&many, 256 * 5, 60, imageops::FilterType::Nearest);
        let mask = read(many.clone());
        assert_eq!(mask.pixels, marked(256 * 5, 60, |x, _| x >= 5));
    }

    #[test]
    fn a_palette_of_voc_counts() {
        let colors = [[0; 3], [128, 0, 0], [192, 128, 128], [224, 224, 192]];
        let mask = read(RgbImage::from_fn(SIDE, SIDE, |x, y| Rgb(colors[shape(x, y)])));
        assert_eq!((mask.pixels, mask.values), (all_shapes(), MaskValues::Labels));
    }

    #[test]
    fn an_opaque_alpha_channel_changes_nothing() {
        let image = ImageBuffer::from_fn(SIDE, SIDE, |x, y| LumaA([shape(x, y).min(1) as u8 * 255, 255]));
        let mask = read(image);
        assert_eq!(
            (mask.pixels, mask.values),
            (all_shapes(), MaskValues::BlackAndWhite)
        );
        // A drawing in several colors, one of which is black.
        let image = RgbaImage::from_fn(SIDE, SIDE, |x, y| match shape(x, y) {
            1 => Rgba([0, 0, 0, 255]),
            2 => Rgba([255, 0, 0, 255]),
            _ => Rgba([9, 9, 9, 0]),
        });
        assert_eq!(read(image).pixels, shapes(|shape| shape == 2));
    }

    #[test]
    fn a_lossy_mask_of_classes_is_refused_with_the_level() {
        for values in [[0, 1, 0, 0], [0, 20, 20, 0], [0, 100, 255, 0], [0, 60, 120, 0]] {
            let gray = painted(values);
            let message = of_image(&gray.into(), true).unwrap_err();
            let level = values.iter().filter(|level| **level < 128).max().unwrap();
            assert!(message.contains(&format!("level {level} of 255")), "{message}");
            assert!(message.contains("save it as png"), "{message}");
        }
    }

    #[test]
    fn a_photo_is_no_mask() {
        let photo = RgbImage::from_fn(SIDE, SIDE, |x, y| {
            let level = |c: u32| (40 + (x * 2 + y * (c + 1) + (x * y * 7 + c) % 13) % 180) as u8;
            Rgb([level(0), level(1), level(2)])
        });
        let gray = DynamicImage::from(photo.clone()).into_luma8();
        for lossy in [false, true] {
            for image in [DynamicImage::from(photo.clone()), gray.clone().into()] {
                let message = of_image(&image, lossy).unwrap_err();
                assert!(message.contains("as in a photo"), "{message}");
            }
        }
    }
}
