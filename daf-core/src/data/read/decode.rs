//! From the bytes of a file to pixels.

use std::fs::{self, File};
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use image::codecs::{bmp::BmpDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, Limits};

use super::header::{Header, MAX_BYTES, SampleType, check_size};
use super::{jpeg, page_path, tiff};
use crate::{Error, Result, guard};

/// The formats that are read, for messages.
pub const FORMATS: &str = "png, jpeg, bmp, tiff or webp";

/// A file's pixels as stored, upright: 8 or 16 bit per channel, or `Rgb32F` with the file's own values where
/// it holds floats, signed or 32-bit integers.
///
/// `path` may name a page: `stack.tif#2`.
///
/// # Errors
/// The errors of [`read_rgb`](super::read_rgb), except that values of any depth are taken.
pub fn read_image(path: impl AsRef<Path>) -> Result<DynamicImage> {
    let path = path.as_ref();
    let (file, page) = page_path::split(path);
    let bytes = read_bytes(&file)?;
    let format = Format::of(&bytes, path)?;
    let (mut image, orientation) = decoded(path, format, "cannot be decoded", || format.decode(bytes, page))?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Result of a decoder for a file. Decoders panic on some damaged files, and one bad file must not end the work on all
/// others.
fn decoded<T>(
    path: &Path,
    format: Format,
    failing: &str,
    decode: impl FnOnce() -> Result<T, String>,
) -> Result<T> {
    let reason = match guard::quietly(decode) {
        Ok(Ok(found)) => return Ok(found),
        Ok(Err(reason)) => reason,
        Err(panic) => format!("the {} {failing}: its decoder failed ({panic})", format.name()),
    };
    Err(Error::data(path, reason))
}

/// Reads the header of an image file.
///
/// # Errors
/// The errors of [`read_image`], except that damage behind the header is not seen.
pub fn read_header(path: impl AsRef<Path>) -> Result<Header> {
    let path = path.as_ref();
    let (file, page) = page_path::split(path);
    check_file(&file)?;
    let mut source = BufReader::new(File::open(&file).map_err(Error::io(&file))?);
    let mut start = Vec::new();
    (&mut source)
        .take(64)
        .read_to_end(&mut start)
        .map_err(Error::io(&file))?;
    let format = Format::of(&start, path)?;
    drop(source);
    let open = || File::open(&file).map(BufReader::new);
    decoded(path, format, "has no readable header", || {
        format.header(open, page)
    })
}

/// Refuses what is no file of a usable size: a pipe would never end.
fn check_file(path: &Path) -> Result<()> {
    let found = fs::metadata(path).map_err(Error::io(path))?;
    if !found.is_file() {
        let what = if found.is_dir() {
            "a folder"
        } else {
            "a pipe, socket or device"
        };
        return Err(Error::data(path, format!("expected an image file, found {what}")));
    }
    if found.len() == 0 {
        return Err(Error::data(path, "the file is empty"));
    }
    if found.len() > MAX_BYTES {
        let reason = format!(
            "expected a file of at most {} MiB, found {} MiB",
            MAX_BYTES >> 20,
            found.len() >> 20
        );
        return Err(Error::data(path, reason));
    }
    Ok(())
}

fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    check_file(path)?;
    fs::read(path).map_err(Error::io(path))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Png,
    Jpeg,
    Bmp,
    Tiff,
    WebP,
}

type Decoded = (DynamicImage, Orientation);

impl Format {
    /// The format of a file that begins with `bytes`.
    fn of(bytes: &[u8], path: &Path) -> Result<Self> {
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        if starts(b"\x89PNG\r\n\x1a\n") {
            Ok(Self::Png)
        } else if starts(&[0xFF, 0xD8, 0xFF]) {
            Ok(Self::Jpeg)
        } else if starts(b"BM") {
            Ok(Self::Bmp)
        } else if [&b"II*\0"[..], b"MM\0*", b"II+\0", b"MM\0+"]
            .iter()
            .any(|magic| starts(magic))
        {
            Ok(Self::Tiff)
        } else if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Ok(Self::WebP)
        } else {
            let reason = match recognized(bytes) {
                Some(what) => format!("not a {FORMATS} image but {what}"),
                None => format!("not a {FORMATS} image"),
            };
            Err(Error::data(path, reason))
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
            Self::WebP => "webp",
        }
    }

    fn decode(self, bytes: Vec<u8>, page: Option<usize>) -> Result<Decoded, String> {
        if self != Self::Tiff {
            self.only_page(page)?;
        }
        let source = Cursor::new(&bytes);
        match self {
            Self::Png => {
                let decoder =
                    PngDecoder::with_limits(source, limits()).map_err(|error| undecodable(&error))?;
                one_frame(decoder.is_apng().map_err(|error| undecodable(&error))?)?;
                whole(decoder)
            }
            Self::Bmp => whole(BmpDecoder::new(source).map_err(|error| undecodable(&error))?),
            Self::WebP => {
                let decoder = WebPDecoder::new(source).map_err(|error| undecodable(&error))?;
                one_frame(decoder.has_animation())?;
                whole(decoder)
            }
            Self::Jpeg => jpeg::decode(&bytes),
            Self::Tiff => tiff::decode(bytes, page),
        }
    }

    fn header<R: std::io::BufRead + std::io::Seek>(
        self,
        open: impl Fn() -> std::io::Result<R>,
        page: Option<usize>,
    ) -> Result<Header, String> {
        if self != Self::Tiff {
            self.only_page(page)?;
        }
        let source = open().map_err(|error| error.to_string())?;
        match self {
            Self::Png => {
                let decoder =
                    PngDecoder::with_limits(source, limits()).map_err(|error| undecodable(&error))?;
                let frames = if decoder.is_apng().map_err(|error| undecodable(&error))? {
                    2
                } else {
                    1
                };
                Ok(self.of_decoder(&decoder, frames))
            }
            Self::Bmp => {
                Ok(self.of_decoder(&BmpDecoder::new(source).map_err(|error| undecodable(&error))?, 1))
            }
            Self::WebP => {
                let decoder = WebPDecoder::new(source).map_err(|error| undecodable(&error))?;
                let frames = if decoder.has_animation() { 2 } else { 1 };
                Ok(self.of_decoder(&decoder, frames))
            }
            Self::Jpeg => jpeg::header(source),
            Self::Tiff => tiff::header(source, page),
        }
    }

    fn of_decoder(self, decoder: &impl ImageDecoder, pages: usize) -> Header {
        let (width, height) = decoder.dimensions();
        let color = decoder.original_color_type();
        let channels = color.channel_count().max(1);
        Header {
            format: self.name(),
            width,
            height,
            channels,
            bits: color.bits_per_pixel() / u16::from(channels),
            sample: SampleType::Unsigned,
            pages,
        }
    }

    fn only_page(self, page: Option<usize>) -> Result<(), String> {
        match page {
            None | Some(1) => Ok(()),
            Some(page) => Err(format!("page {page} was asked for, a {} has one", self.name())),
        }
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    limits
}

fn one_frame(animated: bool) -> Result<(), String> {
    if animated {
        return Err(
            "an animation of several frames: save the frame that is meant as an image of its own".into(),
        );
    }
    Ok(())
}

fn undecodable(error: &ImageError) -> String {
    // The decoders' own words are those of programmers.
    match error {
        ImageError::Limits(_) => format!(
            "the image needs more than {} MiB to be decoded; reduce or cut it first",
            MAX_BYTES >> 20
        ),
        ImageError::Unsupported(_) => "the image is of a kind that is not read; save it as png".into(),
        _ => "the image cannot be decoded: it is damaged or cut short".into(),
    }
}

fn whole(mut decoder: impl ImageDecoder) -> Result<Decoded, String> {
    let (width, height) = decoder.dimensions();
    check_size(width, height, decoder.total_bytes())?;
    decoder
        .set_limits(limits())
        .map_err(|error| undecodable(&error))?;
    let orientation = decoder.orientation().map_err(|error| undecodable(&error))?;
    let image = DynamicImage::from_decoder(decoder).map_err(|error| undecodable(&error))?;
    Ok((image, orientation))
}

/// Description of a file that is no readable image, for the message, with a remedy.
fn recognized(bytes: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let at = |place: usize, magic: &[u8]| bytes.get(place..).is_some_and(|rest| rest.starts_with(magic));
    let known: [(bool, &'static str); 15] = [
        (starts(b"GIF8"), "a GIF; convert it to png"),
        (
            at(4, b"ftyphei") || at(4, b"ftyphev") || at(4, b"ftypmif") || at(4, b"ftypmsf"),
            "a HEIC image; convert it to jpeg or png",
        ),
        (at(4, b"ftypavi"), "an AVIF image; convert it to jpeg or png"),
        (
            starts(b"\0\0\0\x0cjP  ") || starts(&[0xFF, 0x4F, 0xFF, 0x51]),
            "a JPEG 2000 image; convert it to png",
        ),
        (
            starts(b"\0\0\0\x0cJXL ") || starts(&[0xFF, 0x0A]),
            "a JPEG XL image; convert it to png",
        ),
        (starts(b"8BPS"), "a Photoshop document; export it as png"),
        (
            starts(b"\x76\x2f\x31\x01"),
            "an OpenEXR image; convert it to tiff or png",
        ),
        (at(128, b"DICM"), "a DICOM file; convert it to tiff or png"),
        (starts(b"%PDF"), "a PDF"),
        (starts(b"PK\x03\x04"), "a zip archive; unpack it first"),
        (starts(b"\x1f\x8b"), "a gzip file; unpack it first"),
        (starts(b"\x93NUMPY"), "a NumPy array; save it as png or tiff"),
        (
            starts(b"version https://git-lfs"),
            "a pointer of Git LFS; fetch the file itself with `git lfs pull`",
        ),
        (
            (starts(b"P5") || starts(b"P6") || starts(b"P2") || starts(b"P3"))
                && bytes.get(2).is_some_and(u8::is_ascii_whitespace),
            "a PGM or PPM image; convert it to png",
        ),
        (
            starts(b"<") && bytes.is_ascii(),
            "a text file such as a web page or SVG",
        ),
    ];
    known.into_iter().find_map(|(is, what)| is.then_some(what))
}
