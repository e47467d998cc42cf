//! TIFF files: classic and BigTIFF, of any depth, of several pages.

use std::io::{BufRead, Cursor, Seek};

use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer, Rgb32FImage};
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::decode::{Header, MAX_BYTES, SampleType, check_size};

/// Pages that are counted, at most: a damaged file may hold a circle of them.
const MAX_PAGES: usize = 10_000;

const SIGNED: u64 = 2;
const FLOAT: u64 = 3;
const PALETTE: u64 = 3;

pub(super) fn header(source: impl BufRead + Seek, page: Option<usize>) -> Result<Header, String> {
    let mut decoder = Decoder::new(source).map_err(refused)?.with_limits(limits());
    let pages = full_pages(&mut decoder)?;
    let place = match page {
        Some(page) => *place_of(&pages, page)?,
        None => pages[0],
    };
    decoder.seek_to_image(place).map_err(refused)?;
    let (width, height) = decoder.dimensions().map_err(refused)?;
    let bits = number(&mut decoder, Tag::BitsPerSample)?.unwrap_or(1);
    let samples = number(&mut decoder, Tag::SamplesPerPixel)?.unwrap_or(1);
    let is_palette = number(&mut decoder, Tag::PhotometricInterpretation)? == Some(PALETTE);
    Ok(Header {
        format: "tiff",
        width,
        height,
        channels: if is_palette { 3 } else { samples.min(255) as u8 },
        bits: bits.min(64) as u16,
        sample: match number(&mut decoder, Tag::SampleFormat)? {
            Some(SIGNED) => SampleType::Signed,
            Some(FLOAT) => SampleType::Float,
            _ => SampleType::Unsigned,
        },
        pages: pages.len(),
    })
}

pub(super) fn decode(bytes: &[u8], page: Option<usize>) -> Result<(DynamicImage, Orientation), String> {
    let mut decoder = Decoder::new(Cursor::new(bytes))
        .map_err(refused)?
        .with_limits(limits());
    let pages = full_pages(&mut decoder)?;
    let place = match page {
        Some(page) => *place_of(&pages, page)?,
        None if pages.len() == 1 => pages[0],
        None => {
            return Err(format!(
                "holds {} pages: `input.pages: all` takes each as an image, `first` the first one; `#2` behind the name is \
                 the second",
                pages.len()
            ));
        }
    };
    decoder.seek_to_image(place).map_err(refused)?;
    if number(&mut decoder, Tag::PhotometricInterpretation)? == Some(PALETTE) {
        return palette(bytes, place, &mut decoder);
    }
    let image = pixels(&mut decoder)?;
    Ok((image, orientation(&mut decoder)?))
}

/// Places of the pages in the file, those that it marks as reduced copies of others left out. At least one.
fn full_pages<R: BufRead + Seek>(decoder: &mut Decoder<R>) -> Result<Vec<usize>, String> {
    let mut pages = Vec::new();
    let mut place = 0;
    loop {
        // Bit 0: a reduced copy of another page, such as a thumbnail or a level of a pyramid.
        let is_copy = number(decoder, Tag::NewSubfileType)?.is_some_and(|kind| kind & 1 == 1);
        if !is_copy {
            pages.push(place);
        }
        place += 1;
        if !decoder.more_images() || place == MAX_PAGES {
            break;
        }
        decoder.next_image().map_err(refused)?;
    }
    if pages.is_empty() {
        pages.push(0);
    }
    Ok(pages)
}

fn place_of(pages: &[usize], page: usize) -> Result<&usize, String> {
    let missing = || format!("page {page} was asked for, the file has {}", pages.len());
    page.checked_sub(1)
        .and_then(|place| pages.get(place))
        .ok_or_else(missing)
}

/// The first number of a tag.
fn number<R: BufRead + Seek>(decoder: &mut Decoder<R>, tag: Tag) -> Result<Option<u64>, String> {
    let found = decoder.find_tag_unsigned_vec::<u64>(tag).map_err(refused)?;
    Ok(found.and_then(|numbers| numbers.first().copied()))
}

fn orientation<R: BufRead + Seek>(decoder: &mut Decoder<R>) -> Result<Orientation, String> {
    let found = number(decoder, Tag::Orientation)?;
    let known = found.and_then(|number| Orientation::from_exif(u8::try_from(number).ok()?));
    Ok(known.unwrap_or(Orientation::NoTransforms))
}

fn pixels<R: BufRead + Seek>(decoder: &mut Decoder<R>) -> Result<DynamicImage, String> {
    let (width, height) = decoder.dimensions().map_err(refused)?;
    let color = decoder.colortype().map_err(refused)?;
    let channels = usize::from(color.num_samples());
    let area = u64::from(width) * u64::from(height);
    check_size(
        width,
        height,
        area * u64::from(color.bit_depth()).div_ceil(8) * channels as u64,
    )?;
    let values = decoder.read_image().map_err(refused)?;
    let image = match (color, values) {
        (ColorType::Gray(bits @ ..8), DecodingResult::U8(packed)) => {
            buffer(width, height, unpacked(&packed, width as usize, bits)).map(DynamicImage::ImageLuma8)
        }
        (ColorType::Gray(8), DecodingResult::U8(values)) => {
            buffer(width, height, values).map(DynamicImage::ImageLuma8)
        }
        (ColorType::GrayA(8), DecodingResult::U8(values)) => {
            buffer(width, height, values).map(DynamicImage::ImageLumaA8)
        }
        (ColorType::RGB(8), DecodingResult::U8(values)) => {
            buffer(width, height, values).map(DynamicImage::ImageRgb8)
        }
        (ColorType::RGBA(8), DecodingResult::U8(values)) => {
            buffer(width, height, values).map(DynamicImage::ImageRgba8)
        }
        (ColorType::Gray(16), DecodingResult::U16(values)) => {
            buffer(width, height, values).map(DynamicImage::ImageLuma16)
        }
        (ColorType::GrayA(16), DecodingResult::U16(values)) => {
            buffer(width, height, values).map(DynamicImage::ImageLumaA16)
        }
        (ColorType::RGB(16), DecodingResult::U16(values)) => {
            buffer(width, height, values).map(DynamicImage::ImageRgb16)
        }
        (ColorType::RGBA(16), DecodingResult::U16(values)) => {
            buffer(width, height, values).map(DynamicImage::ImageRgba16)
        }
        (ColorType::CMYK(8), DecodingResult::U8(values)) => {
            let rgb = values.as_chunks().0.iter().flat_map(|&[c, m, y, k]: &[u8; 4]| {
                [c, m, y].map(|ink| ((255 - u32::from(ink)) * (255 - u32::from(k)) / 255) as u8)
            });
            buffer(width, height, rgb.collect()).map(DynamicImage::ImageRgb8)
        }
        (ColorType::YCbCr(8), DecodingResult::U8(values)) => {
            let rgb = values
                .as_chunks()
                .0
                .iter()
                .flat_map(|pixel: &[u8; 3]| rgb_of(*pixel));
            buffer(width, height, rgb.collect()).map(DynamicImage::ImageRgb8)
        }
        // Grey with a second value of whatever meaning.
        (
            ColorType::Multiband {
                bit_depth: 8,
                num_samples: 2,
            },
            DecodingResult::U8(values),
        ) => {
            let grey = values.into_iter().step_by(2);
            buffer(width, height, grey.collect()).map(DynamicImage::ImageLuma8)
        }
        (ColorType::Gray(_) | ColorType::RGB(_), values) => {
            let values = floats(values);
            let rgb = match channels {
                1 => values.into_iter().flat_map(|value| [value; 3]).collect(),
                _ => values,
            };
            Rgb32FImage::from_raw(width, height, rgb).map(DynamicImage::ImageRgb32F)
        }
        (other, _) => {
            return Err(format!(
                "a tiff whose pixels are {}: expected grey, RGB or RGBA with 8 or 16 bit, or grey or RGB floats; save it so",
                described(other)
            ));
        }
    };
    image.ok_or_else(|| "the tiff holds fewer pixels than its header says".into())
}

fn buffer<P: image::Pixel>(
    width: u32,
    height: u32,
    values: Vec<P::Subpixel>,
) -> Option<ImageBuffer<P, Vec<P::Subpixel>>> {
    ImageBuffer::from_raw(width, height, values)
}

/// Values of a page whose pixels are numbers of colors. The decoder has no palettes; of the same file marked as grey it gives
/// the numbers.
fn palette<R: BufRead + Seek>(
    bytes: &[u8],
    place: usize,
    decoder: &mut Decoder<R>,
) -> Result<(DynamicImage, Orientation), String> {
    let orientation = orientation(decoder)?;
    let colors = decoder.get_tag_u16_vec(Tag::ColorMap).map_err(refused)?;
    let bits = number(decoder, Tag::BitsPerSample)?.unwrap_or(1);
    let entry = decoder.ifd_pointer().and_then(|directory| {
        let directory = usize::try_from(directory.0).ok()?;
        photometric_entry(bytes, directory)
    });
    let mut grey = bytes.to_vec();
    let Some(value) = entry.and_then(|entry| grey.get_mut(entry..entry + 2)) else {
        return Err("the tiff's directory is damaged".into());
    };
    value.copy_from_slice(&if bytes.starts_with(b"II") { [1, 0] } else { [0, 1] });
    let mut decoder = Decoder::new(Cursor::new(&grey))
        .map_err(refused)?
        .with_limits(limits());
    decoder.seek_to_image(place).map_err(refused)?;
    let (width, height) = decoder.dimensions().map_err(refused)?;
    check_size(width, height, u64::from(width) * u64::from(height) * 3)?;
    let numbers: Vec<u8> = match decoder.read_image().map_err(refused)? {
        DecodingResult::U8(values) if bits == 8 => values,
        DecodingResult::U8(packed) if bits < 8 => {
            let spread = 255 / ((1 << bits) - 1);
            let spread_out = unpacked(&packed, width as usize, bits as u8);
            spread_out.into_iter().map(|value| value / spread).collect()
        }
        _ => return Err(format!("a tiff with a palette of {bits} bit; save it as RGB")),
    };
    // All reds, all greens, all blues, with 16 bit each.
    let size = colors.len() / 3;
    let color = |number: u8, channel: usize| {
        let value = colors
            .get(channel * size + usize::from(number))
            .copied()
            .unwrap_or(0);
        ((u32::from(value) + 128) / 257) as u8
    };
    let rgb = numbers
        .into_iter()
        .flat_map(|number| [0, 1, 2].map(|channel| color(number, channel)));
    match buffer(width, height, rgb.collect()) {
        Some(image) => Ok((DynamicImage::ImageRgb8(image), orientation)),
        None => Err("the tiff holds fewer pixels than its header says".into()),
    }
}

/// Where the value of the tag `PhotometricInterpretation` lies in a file whose directory begins at `directory`.
fn photometric_entry(bytes: &[u8], directory: usize) -> Option<usize> {
    let little = bytes.starts_with(b"II");
    let number = |place: usize, length: usize| {
        let bytes = bytes.get(place..place.checked_add(length)?)?;
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(match little {
            true => bytes.iter().rev().fold(0, fold),
            false => bytes.iter().fold(0, fold),
        })
    };
    // BigTIFF counts entries with 8 bytes and has 20 for each; the value comes last.
    let (count, entry, value) = if number(2, 2)? == 43 {
        (8, 20, 12)
    } else {
        (2, 12, 8)
    };
    let entries = usize::try_from(number(directory, count)?).ok()?.min(1 << 16);
    let first = directory + count;
    (0..entries)
        .map(|place| first + place * entry)
        .find(|place| number(*place, 2) == Some(u64::from(Tag::PhotometricInterpretation.to_u16())))
        .map(|place| place + value)
}

/// Grey levels of rows of values with fewer than 8 bit, each row filled up to a byte.
fn unpacked(packed: &[u8], width: usize, bits: u8) -> Vec<u8> {
    let per_byte = usize::from(8 / bits.max(1));
    let largest = (1u16 << bits) - 1;
    let row = width.div_ceil(per_byte).max(1);
    packed
        .chunks(row)
        .flat_map(|row| {
            (0..width).map(move |x| {
                let shift = 8 - bits * (x % per_byte + 1) as u8;
                let value = u16::from(row.get(x / per_byte).copied().unwrap_or(0) >> shift) & largest;
                (value * 255 / largest) as u8
            })
        })
        .collect()
}

/// RGB of YCbCr over the full range, with the coefficients of JFIF.
fn rgb_of([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [
        y + 1.402 * cr,
        y - 0.344_136 * cb - 0.714_136 * cr,
        y + 1.772 * cb,
    ]
    .map(|value| value.round() as u8)
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

fn described(color: ColorType) -> String {
    match color {
        ColorType::Gray(bits) => format!("grey with {bits} bit"),
        ColorType::GrayA(bits) => format!("grey and alpha with {bits} bit"),
        ColorType::RGB(bits) => format!("RGB with {bits} bit"),
        ColorType::RGBA(bits) => format!("RGBA with {bits} bit"),
        ColorType::CMYK(bits) | ColorType::CMYKA(bits) => format!("CMYK with {bits} bit"),
        ColorType::YCbCr(bits) => format!("YCbCr with {bits} bit"),
        ColorType::Lab(bits) => format!("L*a*b* with {bits} bit"),
        ColorType::Palette(bits) => format!("numbers of a palette with {bits} bit"),
        ColorType::Multiband {
            bit_depth,
            num_samples,
        } => format!("{num_samples} bands with {bit_depth} bit"),
        _ => "of another kind".into(),
    }
}

fn limits() -> Limits {
    let most = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = most;
    limits.intermediate_buffer_size = most;
    limits
}

fn refused(error: TiffError) -> String {
    match error {
        TiffError::IoError(_) => "the tiff cannot be decoded: it is cut short or damaged".into(),
        TiffError::LimitsExceeded => format!(
            "the tiff needs more than {} MiB to be decoded; reduce or cut it first",
            MAX_BYTES >> 20
        ),
        TiffError::UnsupportedError(what) => format!(
            "a tiff of a kind that is not read ({what}); save it as 8- or 16-bit grey or RGB, uncompressed or with LZW or Deflate"
        ),
        other => format!("the tiff cannot be decoded: {other}"),
    }
}
