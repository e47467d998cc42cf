//! TIFF files: classic and BigTIFF, of any depth, of several pages.
//!
//! The decoder is shown every file as grey with so many bands, and gives their values as stored; what they
//! mean is told here. By itself it knows no palettes and takes values beside the colors out before it undoes
//! a predictor. Strips and tiles that are JPEG files of their own are decoded as JPEG files are.

use std::collections::HashSet;
use std::io::{BufRead, Cursor, Seek};
use std::num::NonZeroUsize;

use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer, Rgb32FImage};
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::{IfdPointer, Tag};
use tiff::{Directory, TiffError, TiffFormatError, TiffUnsupportedError};

use super::header::{Header, MAX_BYTES, SampleType, check_size, rgb_of_inks, rgb_of_ycbcr};
use super::jpeg;

/// Pages of a file, at most.
const MAX_PAGES: usize = 10_000;
/// Entries of all directories together, at most; in a damaged file directories may overlap.
const MAX_ENTRIES: usize = 1_000_000;

const WHITE_IS_ZERO: u64 = 0;
const BLACK_IS_ZERO: u64 = 1;
const RGB: u64 = 2;
const PALETTE: u64 = 3;
const CMYK: u64 = 5;
const YCBCR: u64 = 6;

const UNCOMPRESSED: u64 = 1;
const JPEG: u64 = 7;
const PACK_BITS: u64 = 32_773;

pub(super) fn header(source: impl BufRead + Seek, page: Option<usize>) -> Result<Header, String> {
    let mut decoder = Decoder::new(source).map_err(refused)?;
    let pages = pages(&mut decoder)?;
    let at = chosen(&pages, page.unwrap_or(1))?;
    let page = Page::read(&mut decoder, at)?;
    Ok(Header {
        format: "tiff",
        width: page.width,
        height: page.height,
        channels: match page.photometric {
            PALETTE => 3,
            _ => page.samples.min(255) as u8,
        },
        bits: page.bits,
        sample: page.sample,
        pages: pages.len(),
    })
}

pub(super) fn decode(mut bytes: Vec<u8>, page: Option<usize>) -> Result<(DynamicImage, Orientation), String> {
    let mut decoder = Decoder::new(Cursor::new(&bytes)).map_err(refused)?;
    let pages = pages(&mut decoder)?;
    let at = match page {
        Some(page) => chosen(&pages, page)?,
        None if pages.len() == 1 => pages[0],
        None => {
            return Err(format!(
                "holds {} pages: `input.pages: all` takes each as an image, `first` the first one; `#2` behind the name is \
                 the second",
                pages.len()
            ));
        }
    };
    let page = Page::read(&mut decoder, at)?;
    page.check()?;
    drop(decoder);
    page.straighten(&mut bytes);
    let values = match page.compression {
        JPEG => DecodingResult::U8(page.jpeg(&bytes)?),
        _ => {
            page.show_as_gray(&mut bytes, at)?;
            page.values(&bytes)?
        }
    };
    Ok((page.image(values)?, page.orientation))
}

/// Directories of the pages, reduced copies of others and their transparency left out. At least one.
fn pages<R: BufRead + Seek>(decoder: &mut Decoder<R>) -> Result<Vec<IfdPointer>, String> {
    let first = decoder.ifd_pointer();
    let (mut pages, mut seen, mut entries) = (Vec::new(), HashSet::new(), 0);
    let mut next = first;
    while let Some(at) = next {
        if !seen.insert(at) {
            return Err(circle());
        }
        let directory = decoder.read_directory(at).map_err(refused)?;
        entries += directory.len();
        if seen.len() > MAX_PAGES || entries > MAX_ENTRIES {
            return Err(format!(
                "expected at most {MAX_PAGES} pages in a tiff, found more"
            ));
        }
        next = directory.next();
        let mut tag = |tag| numbers(decoder, &directory, tag).map(|found| found.first().copied());
        // Bit 0: a thumbnail or a level of a pyramid; bit 2: the transparency of another page. Older files
        // say 2 in another tag.
        let is_part = tag(Tag::NewSubfileType)?.is_some_and(|kind| kind & 0b101 != 0)
            || tag(Tag::SubfileType)? == Some(2);
        if !is_part {
            pages.push(at);
        }
    }
    if pages.is_empty() {
        pages.extend(first);
    }
    Ok(pages)
}

fn chosen(pages: &[IfdPointer], page: usize) -> Result<IfdPointer, String> {
    let found = page.checked_sub(1).and_then(|place| pages.get(place));
    found
        .copied()
        .ok_or_else(|| format!("page {page} was asked for, the file has {}", pages.len()))
}

/// The numbers of a tag; none if it is absent.
fn numbers<R: BufRead + Seek>(
    decoder: &mut Decoder<R>,
    directory: &Directory,
    tag: Tag,
) -> Result<Vec<u64>, String> {
    let found = decoder.read_directory_tags(directory).find_tag_unsigned_vec(tag);
    Ok(found.map_err(refused)?.unwrap_or_default())
}

/// Directory of a page.
struct Page {
    width: u32,
    height: u32,
    photometric: u64,
    compression: u64,
    /// Values per pixel.
    samples: usize,
    bits: u16,
    sample: SampleType,
    /// Place of the alpha channel among the values of a pixel, and whether the colors are multiplied by it.
    alpha: Option<(usize, bool)>,
    /// Whether each channel is stored by itself.
    is_planar: bool,
    /// Whether the first pixel of a byte is its lowest bit.
    is_reversed: bool,
    /// Pixels that share a color, in both directions.
    subsampling: Vec<u64>,
    /// All reds, all greens, all blues.
    colors: Vec<u64>,
    orientation: Orientation,
    is_tiled: bool,
    /// Width and height of strips or tiles, and where in the file they lie.
    chunk: (u32, u32),
    chunks: Vec<(usize, usize)>,
    jpeg_tables: Vec<u8>,
}

impl Page {
    fn read<R: BufRead + Seek>(decoder: &mut Decoder<R>, at: IfdPointer) -> Result<Self, String> {
        let directory = decoder.read_directory(at).map_err(refused)?;
        let mut all = |tag| numbers(decoder, &directory, tag);
        let mut first = |tag, absent| all(tag).map(|found| found.first().copied().unwrap_or(absent));
        let side = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let (width, height) = (
            side(first(Tag::ImageWidth, 0)?),
            side(first(Tag::ImageLength, 0)?),
        );
        let photometric = first(Tag::PhotometricInterpretation, u64::MAX)?;
        let samples = first(Tag::SamplesPerPixel, 1)?.min(u64::from(u16::MAX)) as usize;
        let tile = (first(Tag::TileWidth, 0)?, first(Tag::TileLength, 0)?);
        let rows = first(Tag::RowsPerStrip, u64::from(height))?.clamp(1, u64::from(height.max(1)));
        let is_tiled = tile != (0, 0);
        let sample = match first(Tag::SampleFormat, 1)? {
            2 => SampleType::Signed,
            3 => SampleType::Float,
            _ => SampleType::Unsigned,
        };
        let orientation = u8::try_from(first(Tag::Orientation, 1)?)
            .ok()
            .and_then(Orientation::from_exif)
            .unwrap_or(Orientation::NoTransforms);
        let page = Self {
            width,
            height,
            photometric,
            compression: first(Tag::Compression, UNCOMPRESSED)?,
            samples,
            bits: first(Tag::BitsPerSample, 1)?.min(64) as u16,
            sample,
            alpha: None,
            is_planar: first(Tag::PlanarConfiguration, 1)? == 2,
            is_reversed: first(Tag::FillOrder, 1)? == 2,
            orientation,
            is_tiled,
            chunk: match is_tiled {
                true => (side(tile.0), side(tile.1)),
                false => (width, side(rows)),
            },
            subsampling: Vec::new(),
            colors: Vec::new(),
            chunks: Vec::new(),
            jpeg_tables: Vec::new(),
        };
        let (offsets, lengths) = match is_tiled {
            true => (Tag::TileOffsets, Tag::TileByteCounts),
            false => (Tag::StripOffsets, Tag::StripByteCounts),
        };
        let place = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let chunks = all(offsets)?
            .into_iter()
            .zip(all(lengths)?)
            .map(|(offset, length)| (place(offset), place(length)))
            .collect();
        let extra = all(Tag::ExtraSamples)?;
        Ok(Self {
            alpha: page.alpha(&extra),
            subsampling: all(Tag::ChromaSubsampling)?,
            colors: all(Tag::ColorMap)?,
            jpeg_tables: all(Tag::JPEGTables)?.into_iter().map(|byte| byte as u8).collect(),
            chunks,
            ..page
        })
    }

    /// Index of alpha among the values beside the color. Some programs do not say what a fourth one beside
    /// RGB is.
    fn alpha(&self, extra: &[u64]) -> Option<(usize, bool)> {
        let before = self.samples.checked_sub(extra.len())?;
        let stated = extra.iter().position(|kind| matches!(kind, 1 | 2));
        match stated {
            Some(place) => Some((before + place, extra[place] == 1)),
            None if extra.is_empty() && self.photometric == RGB && self.samples == 4 => Some((3, false)),
            None => None,
        }
    }

    /// Values per pixel that make its color.
    const fn color_channels(&self) -> usize {
        match self.photometric {
            RGB | YCBCR => 3,
            CMYK => 4,
            _ => 1,
        }
    }

    /// Refuses what there is no rule for.
    fn check(&self) -> Result<(), String> {
        let (width, height) = (self.width, self.height);
        let values = match self.photometric {
            PALETTE => 3,
            _ => self.samples as u64,
        };
        let stored = u64::from(self.bits.div_ceil(8)) * values;
        let per_pixel = match (self.sample, self.bits) {
            (SampleType::Unsigned, ..=16) => stored,
            // Three floats of 32 bit.
            _ => stored.max(12),
        };
        check_size(width, height, u64::from(width) * u64::from(height) * per_pixel)?;
        if let Some(name) = unread_compression(self.compression) {
            return Err(format!(
                "a tiff compressed with {name}, which is not read; save it uncompressed or with LZW or Deflate"
            ));
        }
        let is_jpeg = self.compression == JPEG;
        let depth_is_read = match (self.photometric, self.sample, self.bits) {
            (PALETTE, SampleType::Unsigned, 1 | 2 | 4 | 8) => self.samples == 1,
            (WHITE_IS_ZERO | BLACK_IS_ZERO, SampleType::Unsigned, 1 | 2 | 4 | 8 | 16 | 32 | 64) => {
                self.samples <= 2
            }
            (WHITE_IS_ZERO | BLACK_IS_ZERO, SampleType::Signed, 8 | 16 | 32 | 64) => self.samples == 1,
            (WHITE_IS_ZERO | BLACK_IS_ZERO, SampleType::Float, 16 | 32 | 64) => self.samples == 1,
            (RGB, SampleType::Unsigned, 8 | 16) => true,
            (RGB, SampleType::Unsigned | SampleType::Signed, 32 | 64) => self.alpha.is_none(),
            (RGB, SampleType::Signed, 8 | 16) | (RGB, SampleType::Float, 16 | 32 | 64) => {
                self.alpha.is_none()
            }
            (CMYK | YCBCR, SampleType::Unsigned, 8) => true,
            _ => false,
        };
        if !depth_is_read || self.samples < self.color_channels() || (is_jpeg && self.bits != 8) {
            return Err(format!(
                "a tiff whose pixels are {}: expected grey, RGB or RGBA with 8 or 16 bit, or grey or RGB floats; save it so",
                self.described()
            ));
        }
        let shares_colors = self.photometric == YCBCR && self.subsampling != [1, 1];
        if shares_colors && !is_jpeg {
            return Err("a tiff in YCbCr whose pixels share colors, uncompressed; save it as RGB".into());
        }
        Ok(())
    }

    fn described(&self) -> String {
        let kind = match (self.photometric, self.samples, self.alpha) {
            (WHITE_IS_ZERO | BLACK_IS_ZERO, 1, _) => "grey".to_owned(),
            (WHITE_IS_ZERO | BLACK_IS_ZERO, 2, Some(_)) => "grey and alpha".to_owned(),
            (WHITE_IS_ZERO | BLACK_IS_ZERO, bands, _) => format!("{bands} bands"),
            (RGB, 3, _) => "RGB".to_owned(),
            (RGB, 4, Some(_)) => "RGBA".to_owned(),
            (RGB, bands, _) => format!("RGB among {bands} bands"),
            (PALETTE, ..) => "numbers of a palette".to_owned(),
            (CMYK, ..) => "CMYK".to_owned(),
            (YCBCR, ..) => "YCbCr".to_owned(),
            (8..=10, ..) => "L*a*b*".to_owned(),
            (32_803, ..) => "raw values of a camera's color filter".to_owned(),
            _ => "of an unknown kind".to_owned(),
        };
        let values = match self.sample {
            SampleType::Unsigned => "bit",
            SampleType::Signed => "bit, signed",
            SampleType::Float => "bit floats",
        };
        format!("{kind} with {} {values}", self.bits)
    }

    /// Turns bytes whose first pixel is the lowest bit.
    fn straighten(&self, bytes: &mut [u8]) {
        if !self.is_reversed || self.compression == JPEG {
            return;
        }
        for &(offset, length) in &self.chunks {
            let end = offset.saturating_add(length).min(bytes.len());
            for byte in bytes.get_mut(offset..end).into_iter().flatten() {
                *byte = byte.reverse_bits();
            }
        }
    }

    /// Makes this page the first one of the file, and its values those of grey.
    fn show_as_gray(&self, bytes: &mut [u8], at: IfdPointer) -> Result<(), String> {
        let damaged = || "the tiff is damaged: its directory has no end".to_owned();
        let file = Fields {
            is_little: bytes.starts_with(b"II"),
        };
        let is_big = file.number(bytes, 2, 2) == Some(43);
        let (first, size) = if is_big { (8, 8) } else { (4, 4) };
        file.put(bytes, first, size, at.0).ok_or_else(damaged)?;
        let set = |bytes: &mut [u8], tag: Tag, value: u64| {
            let at = usize::try_from(at.0).ok()?;
            let entry = file.entry(bytes, at, is_big, tag)?;
            file.put(bytes, entry + 2, 2, 3)?;
            file.put(bytes, entry + if is_big { 12 } else { 8 }, 2, value)
        };
        set(bytes, Tag::PhotometricInterpretation, BLACK_IS_ZERO).ok_or_else(damaged)?;
        // As libtiff, which knows predictors with LZW and Deflate only.
        if matches!(self.compression, UNCOMPRESSED | PACK_BITS) {
            set(bytes, Tag::Predictor, 1);
        }
        Ok(())
    }

    /// The values of all pixels, those of a pixel together.
    fn values(&self, bytes: &[u8]) -> Result<DecodingResult, String> {
        let mut decoder = Decoder::new(Cursor::new(bytes))
            .map_err(refused)?
            .with_limits(limits());
        let mut values = DecodingResult::U8(Vec::new());
        match self.is_planar && self.is_tiled {
            true => self.read_planes(&mut decoder, &mut values)?,
            false => {
                decoder.read_image_to_buffer(&mut values).map_err(refused)?;
            }
        }
        // What the directory says and what was decoded are two readings of a file.
        if self.bits < 8 {
            let DecodingResult::U8(packed) = &values else {
                return Err(too_few());
            };
            let per_row = self.width as usize * if self.is_planar { 1 } else { self.samples };
            let unpacked = unpacked(packed, per_row, self.bits as u8, self.photometric != PALETTE);
            values = DecodingResult::U8(unpacked);
        }
        if !self.is_planar || self.samples == 1 {
            return Ok(values);
        }
        Ok(match values {
            DecodingResult::U8(planes) => DecodingResult::U8(self.interleaved(&planes)),
            DecodingResult::U16(planes) => DecodingResult::U16(self.interleaved(&planes)),
            planes => DecodingResult::F32(self.interleaved(&floats(planes))),
        })
    }

    fn interleaved<T: Copy>(&self, planes: &[T]) -> Vec<T> {
        let area = planes.len() / self.samples;
        (0..area)
            .flat_map(|pixel| (0..self.samples).map(move |plane| planes[plane * area + pixel]))
            .collect()
    }

    /// Reads tiles of planes one by one, for the decoder takes those at the lower border for whole ones from
    /// the second plane on.
    fn read_planes<R: BufRead + Seek>(
        &self,
        decoder: &mut Decoder<R>,
        values: &mut DecodingResult,
    ) -> Result<(), String> {
        let layout = decoder.image_buffer_layout().map_err(refused)?;
        let (Some(plane_bytes), Some(row_bytes)) = (layout.plane_stride, layout.row_stride) else {
            return Err(too_few());
        };
        values.resize_to(&layout, &limits()).map_err(refused)?;
        let mut buffer = values.as_buffer(0);
        let bytes = buffer.as_bytes_mut();
        let mut tile = Vec::new();
        let in_bytes = |pixels: usize| (pixels * usize::from(self.bits)).div_ceil(8);
        for place in self.places()? {
            let number = place.number as u32;
            let stored = decoder.image_chunk_buffer_layout(number).map_err(refused)?;
            tile.resize(stored.len, 0);
            decoder.read_chunk_bytes(number, &mut tile).map_err(refused)?;
            let stride = stored.row_stride.map_or(1, NonZeroUsize::get);
            for (row, from) in tile.chunks(stride).take(place.rows).enumerate() {
                let to = place.plane * plane_bytes.get()
                    + (place.top + row) * row_bytes.get()
                    + in_bytes(place.left);
                let length = in_bytes(place.columns);
                let (Some(to), Some(from)) = (bytes.get_mut(to..to + length), from.get(..length)) else {
                    return Err(too_few());
                };
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    /// The values of strips or tiles that are JPEG files, with YCbCr brought to RGB.
    fn jpeg(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let width = self.width as usize;
        let channels = if self.is_planar { 1 } else { self.samples };
        let to_rgb = self.photometric == YCBCR && !self.is_planar;
        let mut values = vec![0; width * self.height as usize * self.samples];
        for place in self.places()? {
            let &(offset, length) = self.chunks.get(place.number).ok_or_else(too_few)?;
            let data = bytes
                .get(offset..offset.saturating_add(length).min(bytes.len()))
                .ok_or_else(too_few)?;
            let chunk = jpeg::raw_image(&self.jpeg_file(data), to_rgb)?;
            if chunk.channels != channels || chunk.width < place.columns || chunk.height < place.rows {
                return Err(too_few());
            }
            for row in 0..place.rows {
                let from = &chunk.values[row * chunk.width * channels..][..place.columns * channels];
                let to = ((place.top + row) * width + place.left) * self.samples + place.plane;
                match self.is_planar {
                    false => values[to..to + from.len()].copy_from_slice(from),
                    true => values[to..]
                        .iter_mut()
                        .step_by(self.samples)
                        .zip(from)
                        .for_each(|(to, from)| *to = *from),
                }
            }
        }
        Ok(values)
    }

    /// Positions of the strips or tiles in the image, one plane after another.
    fn places(&self) -> Result<impl Iterator<Item = Place> + use<>, String> {
        let (width, height) = (self.width as usize, self.height as usize);
        let (columns, rows) = (self.chunk.0 as usize, self.chunk.1 as usize);
        if columns == 0 || rows == 0 {
            return Err(too_few());
        }
        let (across, down) = (width.div_ceil(columns), height.div_ceil(rows));
        let planes = if self.is_planar { self.samples } else { 1 };
        Ok((0..planes * across * down).map(move |number| {
            let (plane, place) = (number / (across * down), number % (across * down));
            let (left, top) = (place % across * columns, place / across * rows);
            Place {
                number,
                plane,
                left,
                top,
                columns: columns.min(width - left),
                rows: rows.min(height - top),
            }
        }))
    }

    /// A strip or tile with the tables that all of them share.
    fn jpeg_file(&self, data: &[u8]) -> Vec<u8> {
        // The tables are a file as well, from a start to an end marker of two bytes each.
        let tables = self.jpeg_tables.len().saturating_sub(2);
        match tables {
            0 => data.to_vec(),
            _ => [&self.jpeg_tables[..tables], data.get(2..).unwrap_or_default()].concat(),
        }
    }

    fn image(&self, values: DecodingResult) -> Result<DynamicImage, String> {
        let mut kept: Vec<usize> = (0..self.color_channels()).collect();
        // Alpha of CMYK and YCbCr is left aside, as in Pillow.
        let alpha = self
            .alpha
            .filter(|_| matches!(self.photometric, WHITE_IS_ZERO | BLACK_IS_ZERO | RGB));
        kept.extend(alpha.map(|(place, _)| place));
        let negative = self.photometric == WHITE_IS_ZERO;
        let (width, height) = (self.width, self.height);
        let image = match values {
            DecodingResult::U8(values) => {
                let mut values = channels(values, self.samples, &kept);
                if negative {
                    values
                        .chunks_exact_mut(kept.len())
                        .for_each(|pixel| pixel[0] = 255 - pixel[0]);
                }
                if let Some((_, true)) = alpha {
                    divide_by_alpha(&mut values, kept.len(), 0xFF);
                }
                match (self.photometric, kept.len()) {
                    (PALETTE, _) => self.looked_up(&values),
                    (CMYK, _) => {
                        let (inks, _) = values.as_chunks::<4>();
                        let rgb = inks
                            .iter()
                            .flat_map(|inks| rgb_of_inks(inks.map(|ink| 255 - ink)));
                        buffer(width, height, rgb.collect()).map(DynamicImage::ImageRgb8)
                    }
                    (YCBCR, _) if self.compression != JPEG || self.is_planar => {
                        let rgb = values.as_chunks().0.iter().flat_map(|pixel| rgb_of_ycbcr(*pixel));
                        buffer(width, height, rgb.collect()).map(DynamicImage::ImageRgb8)
                    }
                    (_, 1) => buffer(width, height, values).map(DynamicImage::ImageLuma8),
                    (_, 2) => buffer(width, height, values).map(DynamicImage::ImageLumaA8),
                    (_, 3) => buffer(width, height, values).map(DynamicImage::ImageRgb8),
                    _ => buffer(width, height, values).map(DynamicImage::ImageRgba8),
                }
            }
            DecodingResult::U16(values) => {
                let mut values = channels(values, self.samples, &kept);
                if negative {
                    values
                        .chunks_exact_mut(kept.len())
                        .for_each(|pixel| pixel[0] = u16::MAX - pixel[0]);
                }
                if let Some((_, true)) = alpha {
                    divide_by_alpha(&mut values, kept.len(), 0xFFFF);
                }
                match kept.len() {
                    1 => buffer(width, height, values).map(DynamicImage::ImageLuma16),
                    2 => buffer(width, height, values).map(DynamicImage::ImageLumaA16),
                    3 => buffer(width, height, values).map(DynamicImage::ImageRgb16),
                    _ => buffer(width, height, values).map(DynamicImage::ImageRgba16),
                }
            }
            values => {
                let mut values = channels(floats(values), self.samples, &kept);
                if negative {
                    let white = match self.sample {
                        SampleType::Unsigned => f32::from(self.bits).exp2() - 1.0,
                        SampleType::Float => 1.0,
                        SampleType::Signed => -1.0,
                    };
                    values.iter_mut().for_each(|value| *value = white - *value);
                }
                let rgb = match kept.len() {
                    1 => values.into_iter().flat_map(|value| [value; 3]).collect(),
                    _ => values,
                };
                Rgb32FImage::from_raw(width, height, rgb).map(DynamicImage::ImageRgb32F)
            }
        };
        image.ok_or_else(too_few)
    }

    /// Pixels of a palette.
    fn looked_up(&self, numbers: &[u8]) -> Option<DynamicImage> {
        let size = self.colors.len() / 3;
        // Colors have 16 bit; some programs write 8.
        let shift = if self.colors.iter().all(|level| *level < 256) {
            0
        } else {
            8
        };
        let color = |number: u8| {
            let level = |channel| {
                let place = channel * size + usize::from(number);
                let level = self.colors.get(place).filter(|_| usize::from(number) < size);
                (level.copied().unwrap_or(0) >> shift) as u8
            };
            [level(0), level(1), level(2)]
        };
        let table: Vec<[u8; 3]> = (0..=255).map(color).collect();
        let rgb = numbers.iter().flat_map(|number| table[usize::from(*number)]);
        buffer(self.width, self.height, rgb.collect()).map(DynamicImage::ImageRgb8)
    }
}

/// Position of a strip or tile in the image; those at the borders are cut.
struct Place {
    number: usize,
    plane: usize,
    left: usize,
    top: usize,
    columns: usize,
    rows: usize,
}

fn too_few() -> String {
    "the tiff holds fewer pixels than its header says".into()
}

/// Numbers in the bytes of a file.
#[derive(Clone, Copy)]
struct Fields {
    is_little: bool,
}

impl Fields {
    fn number(self, bytes: &[u8], place: usize, length: usize) -> Option<u64> {
        let bytes = bytes.get(place..place.checked_add(length)?)?;
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(match self.is_little {
            true => bytes.iter().rev().fold(0, fold),
            false => bytes.iter().fold(0, fold),
        })
    }

    fn put(self, bytes: &mut [u8], place: usize, length: usize, value: u64) -> Option<()> {
        let bytes = bytes.get_mut(place..place.checked_add(length)?)?;
        match self.is_little {
            true => bytes.copy_from_slice(&value.to_le_bytes()[..length]),
            false => bytes.copy_from_slice(&value.to_be_bytes()[8 - length..]),
        }
        Some(())
    }

    /// Position of a tag's entry in the directory at `directory`.
    fn entry(self, bytes: &[u8], directory: usize, is_big: bool, tag: Tag) -> Option<usize> {
        let (count, size) = if is_big { (8, 20) } else { (2, 12) };
        let entries = usize::try_from(self.number(bytes, directory, count)?).ok()?;
        let first = directory + count;
        let most = bytes.len().saturating_sub(first) / size;
        // The last one counts, as in the decoder.
        (0..entries.min(most))
            .rev()
            .map(|number| first + number * size)
            .find(|place| self.number(bytes, *place, 2) == Some(u64::from(tag.to_u16())))
    }
}

fn buffer<P: image::Pixel>(
    width: u32,
    height: u32,
    values: Vec<P::Subpixel>,
) -> Option<ImageBuffer<P, Vec<P::Subpixel>>> {
    ImageBuffer::from_raw(width, height, values)
}

/// Some of the values of every pixel.
fn channels<T: Copy>(values: Vec<T>, samples: usize, kept: &[usize]) -> Vec<T> {
    if kept.len() == samples {
        return values;
    }
    let pixels = values.chunks_exact(samples);
    pixels
        .flat_map(|pixel| kept.iter().map(|place| pixel[*place]))
        .collect()
}

/// Undoes a multiplication by the last value of every pixel.
fn divide_by_alpha<T: Copy + Into<u32> + TryFrom<u32>>(values: &mut [T], channels: usize, largest: u32) {
    for pixel in values.chunks_exact_mut(channels) {
        let Some((alpha, colors)) = pixel.split_last_mut() else {
            continue;
        };
        let alpha: u32 = (*alpha).into();
        for value in colors {
            if let Some(level) = ((*value).into() * largest + alpha / 2).checked_div(alpha) {
                *value = T::try_from(level.min(largest)).unwrap_or(*value);
            }
        }
    }
}

/// Values with fewer than 8 bit of rows that are filled up to a byte; as levels of grey if `spread`, else as
/// they are.
fn unpacked(packed: &[u8], per_row: usize, bits: u8, spread: bool) -> Vec<u8> {
    let per_byte = usize::from(8 / bits);
    let largest = (1_u8 << bits) - 1;
    let factor = if spread { 255 / largest } else { 1 };
    packed
        .chunks(per_row.div_ceil(per_byte).max(1))
        .flat_map(|row| {
            (0..per_row).map(move |x| {
                let shift = 8 - bits * (x % per_byte + 1) as u8;
                (row.get(x / per_byte).copied().unwrap_or(0) >> shift & largest) * factor
            })
        })
        .collect()
}

fn floats(values: DecodingResult) -> Vec<f32> {
    match values {
        DecodingResult::U8(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::U16(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::U32(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::U64(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::I8(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::I16(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::I32(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::I64(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::F16(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::F32(values) => values,
        DecodingResult::F64(values) => values.into_iter().map(|value| value as f32).collect(),
    }
}

/// The name of a compression that is not read.
fn unread_compression(number: u64) -> Option<String> {
    let name = match number {
        // None, Group 4 fax, LZW, JPEG, two numbers of Deflate, PackBits.
        UNCOMPRESSED | 4 | 5 | JPEG | 8 | 32_946 | PACK_BITS => return None,
        2 | 3 => "Group 3 fax",
        6 => "JPEG of an outdated kind",
        34_712 | 33_003 | 33_005 => "JPEG 2000",
        34_887 => "LERC",
        34_892 => "lossy JPEG of DNG files",
        34_925 => "LZMA",
        50_000 => "ZSTD",
        50_001 => "WebP",
        50_002 | 52_546 => "JPEG XL",
        other => return Some(format!("a method of number {other}")),
    };
    Some(name.into())
}

fn limits() -> Limits {
    let most = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = most;
    limits.intermediate_buffer_size = most;
    limits
}

fn refused(error: TiffError) -> String {
    let unread = |kind: &str| {
        format!(
            "a tiff {kind}, which is not read; save it as 8- or 16-bit grey or RGB, uncompressed or with LZW or Deflate"
        )
    };
    match error {
        TiffError::IoError(_) => "the tiff cannot be decoded: it is cut short or damaged".into(),
        TiffError::LimitsExceeded | TiffError::IntSizeError => {
            "the tiff cannot be decoded: its header names sizes that no file has".into()
        }
        TiffError::FormatError(TiffFormatError::CompressedDataCorrupt(_)) => {
            "the tiff cannot be decoded: its compressed data are damaged".into()
        }
        TiffError::UnsupportedError(what) => match what {
            TiffUnsupportedError::FloatingPointPredictor(_)
            | TiffUnsupportedError::HorizontalPredictor(_) => {
                unread("with a predictor for another kind of values")
            }
            TiffUnsupportedError::InconsistentBitsPerSample(_) => unread("whose channels differ in depth"),
            TiffUnsupportedError::UnsupportedSampleFormat(_) => {
                unread("whose values are neither integers nor floats")
            }
            TiffUnsupportedError::UnknownInterpretation => unread("whose pixels are of an unknown kind"),
            _ => unread("of an unusual kind"),
        },
        TiffError::FormatError(TiffFormatError::CycleInOffsets) => circle(),
        TiffError::FormatError(what) => format!("the tiff is damaged: {what}"),
        other => format!("the tiff is damaged: {other}"),
    }
}

fn circle() -> String {
    "the tiff is damaged: its pages form a circle".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of one page, little-endian; entries are tag, type (3: 16 bit, 4: 32 bit) and a value.
    fn file(entries: &[(u16, u16, u32)], data: &[u8]) -> Vec<u8> {
        let directory = 8 + data.len() as u32;
        let mut bytes = [&b"II*\0"[..], &directory.to_le_bytes(), data].concat();
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend([0; 4]);
        bytes
    }

    /// A grey image of 4×2 pixels; entries replace those of the same tag.
    fn gray(other: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut entries = vec![
            (256, 3, 4),
            (257, 3, 2),
            (258, 3, 8),
            (259, 3, 1),
            (262, 3, 1),
            (273, 4, 8),
            (277, 3, 1),
            (278, 3, 2),
            (279, 4, 8),
        ];
        for entry in other {
            entries.retain(|(tag, ..)| *tag != entry.0);
            entries.push(*entry);
        }
        entries.sort_unstable();
        file(&entries, &[0, 10, 20, 30, 40, 50, 60, 255])
    }

    fn values(bytes: Vec<u8>) -> Vec<u8> {
        decode(bytes, None).unwrap().0.into_luma8().into_raw()
    }

    #[test]
    fn what_the_directory_says_of_values_is_followed() {
        let plain = vec![0, 10, 20, 30, 40, 50, 60, 255];
        assert_eq!(values(gray(&[])), plain);
        let inverted: Vec<u8> = plain.iter().map(|value| 255 - value).collect();
        assert_eq!(values(gray(&[(262, 3, 0)])), inverted);
        assert_eq!(values(gray(&[(262, 4, 0)])), inverted, "a longer type");
        let reversed: Vec<u8> = plain.iter().map(|value| value.reverse_bits()).collect();
        assert_eq!(values(gray(&[(266, 3, 2)])), reversed);
        // Predictors go with LZW and Deflate only.
        assert_eq!(values(gray(&[(317, 3, 2)])), plain);
        // 16 bit: half as many pixels.
        let deep = decode(gray(&[(256, 3, 2), (258, 3, 16)]), None).unwrap().0;
        assert_eq!(deep.into_luma16().into_raw(), [0x0A00, 0x1E14, 0x3228, 0xFF3C]);
        let signed = decode(gray(&[(339, 3, 2)]), None).unwrap().0.into_rgb32f();
        assert_eq!(signed.get_pixel(3, 1).0, [-1.0; 3]);
    }

    #[test]
    fn kinds_without_a_rule_are_refused_in_words() {
        for (entries, words) in [
            (&[(259, 3, 50_000)][..], "compressed with ZSTD"),
            (&[(259, 3, 12_345)], "a method of number 12345"),
            (&[(258, 3, 12)], "grey with 12 bit"),
            (&[(262, 3, 8), (277, 3, 3)], "L*a*b* with 8 bit"),
            (&[(277, 3, 5)], "5 bands with 8 bit"),
            (&[(262, 3, 99)], "unknown kind"),
            (&[(339, 3, 4)], "neither integers nor floats"),
            (
                &[(256, 4, 100_000), (257, 4, 100_000), (278, 4, 100_000)],
                "100000×100000",
            ),
            (&[(256, 3, 0)], "0x2"),
        ] {
            let reason = decode(gray(entries), None).unwrap_err();
            assert!(reason.contains(words), "{words}: {reason}");
        }
    }

    #[test]
    fn damaged_directories_are_refused() {
        let whole = gray(&[]);
        for length in 0..whole.len() {
            assert!(decode(whole[..length].to_vec(), None).is_err(), "{length}");
        }
        // The next page is this one.
        let mut circle = whole.clone();
        let end = circle.len() - 4;
        circle[end..].copy_from_slice(&16_u32.to_le_bytes());
        let reason = decode(circle.clone(), None).unwrap_err();
        assert!(reason.contains("circle"), "{reason}");
        assert!(header(Cursor::new(circle), None).is_err());
    }
}
