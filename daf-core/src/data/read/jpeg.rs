//! JPEG files, decoded by libjpeg: the pixels are those of OpenCV and Pillow, unusual but valid files are read, and damage is
//! noticed.

// The handler of warnings, libjpeg's way to tell of damage, is a C callback.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::c_int;
use std::io::BufRead;
use std::panic;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use mozjpeg::{ColorSpace, Decompress, Marker};
use mozjpeg_sys::{jpeg_common_struct, jpeg_error_mgr, jpeg_std_error};

use super::decode::{Header, SampleType, check_size};

/// Scans of a progressive file, at most; a file can hold thousands, each of which takes as long as decoding the image.
const MAX_SCANS: usize = 500;

thread_local! {
    /// The first warning of libjpeg on this thread since [`libjpeg`] began.
    static WARNING: RefCell<Option<String>> = const { RefCell::new(None) };
}

pub(super) fn header(source: impl BufRead) -> Result<Header, String> {
    libjpeg(|| {
        let decoder = start(source)?;
        let channels = decoder.components().len() as u8;
        Ok(Header {
            format: "jpeg",
            width: decoder.width() as u32,
            height: decoder.height() as u32,
            channels,
            bits: 8,
            sample: SampleType::Unsigned,
            pages: 1,
        })
    })
}

pub(super) fn decode(bytes: &[u8]) -> Result<(DynamicImage, Orientation), String> {
    let scans = bytes.windows(2).filter(|pair| pair == &[0xFF, 0xDA]).count();
    if scans > MAX_SCANS {
        return Err(format!(
            "expected at most {MAX_SCANS} scans in a jpeg, found {scans}"
        ));
    }
    libjpeg(|| {
        let decoder = start(bytes)?;
        let (width, height) = (decoder.width() as u32, decoder.height() as u32);
        check_size(
            width,
            height,
            u64::from(width) * u64::from(height) * decoder.components().len() as u64,
        )?;
        let orientation = decoder
            .markers()
            .find_map(|marker| Orientation::from_exif_chunk(marker.data.strip_prefix(b"Exif\0\0")?))
            .unwrap_or(Orientation::NoTransforms);
        // Padding between the header's segments, which some cameras write, is no damage.
        WARNING.take();
        let space = match decoder.color_space() {
            ColorSpace::JCS_GRAYSCALE => ColorSpace::JCS_GRAYSCALE,
            ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK => ColorSpace::JCS_CMYK,
            _ => ColorSpace::JCS_RGB,
        };
        let mut started = decoder.to_colorspace(space).map_err(undecodable)?;
        let pixels: Vec<u8> = started.read_scanlines().map_err(undecodable)?;
        started.finish().map_err(undecodable)?;
        if let Some(warning) = WARNING.take() {
            return Err(format!("the jpeg is damaged or cut short: {warning}"));
        }
        let image = match space {
            ColorSpace::JCS_GRAYSCALE => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
            ColorSpace::JCS_CMYK => {
                // Stored inverted, as Adobe's programs do and others take for granted.
                let (inks, _) = pixels.as_chunks::<4>();
                let with_black = |ink: u8, black: u8| ((u32::from(ink) * u32::from(black) + 127) / 255) as u8;
                let pixels = inks
                    .iter()
                    .flat_map(|&[c, m, y, k]| [c, m, y].map(|ink| with_black(ink, k)))
                    .collect();
                RgbImage::from_raw(width, height, pixels).map(DynamicImage::from)
            }
            _ => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
        };
        let image = image.ok_or("the jpeg ended before its last row")?;
        Ok((image, orientation))
    })
}

fn start<R: BufRead>(source: R) -> Result<Decompress<R>, String> {
    Decompress::with_markers(&[Marker::APP(1)])
        .with_err(handlers())
        .from_reader(source)
        .map_err(undecodable)
}

fn undecodable(error: impl std::fmt::Display) -> String {
    format!("the jpeg cannot be decoded: {error}")
}

/// Does work with libjpeg, whose fatal errors unwind from [`fatal`].
fn libjpeg<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    WARNING.take();
    panic::catch_unwind(panic::AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        match payload.downcast::<Fatal>() {
            Ok(fatal) => Err(undecodable(fatal.0)),
            Err(other) => panic::resume_unwind(other),
        }
    })
}

/// Libjpeg's words for why it cannot go on.
struct Fatal(String);

fn handlers() -> jpeg_error_mgr {
    // SAFETY: the structure holds numbers, pointers and optional functions, for all of which zero is a value;
    // `jpeg_std_error` fills in what libjpeg needs.
    let mut handlers = unsafe {
        let mut handlers = std::mem::zeroed();
        jpeg_std_error(&mut handlers);
        handlers
    };
    handlers.emit_message = Some(emit);
    handlers.error_exit = Some(fatal);
    handlers
}

/// Keeps the first warning; levels from 0 on are traces.
extern "C-unwind" fn emit(decoder: &mut jpeg_common_struct, level: c_int) {
    if level < 0 {
        WARNING.with_borrow_mut(|kept| {
            kept.get_or_insert_with(|| message(decoder));
        });
    }
}

extern "C-unwind" fn fatal(decoder: &mut jpeg_common_struct) {
    // Not a panic: there is nothing for a panic hook to report.
    panic::resume_unwind(Box::new(Fatal(message(decoder))));
}

/// The text of the message that libjpeg is about.
fn message(decoder: &mut jpeg_common_struct) -> String {
    type Write = unsafe extern "C-unwind" fn(&mut jpeg_common_struct, &mut [u8; 80]);
    let mut text = [0; 80];
    // SAFETY: `err` points to the handlers, which live as long as the decoder. The function writes a C string of at most 80
    // bytes; the binding's type has the buffer as a shared reference, which is the same pointer.
    unsafe {
        if let Some(write) = decoder.err.as_ref().and_then(|handlers| handlers.format_message) {
            std::mem::transmute::<_, Write>(write)(decoder, &mut text);
        }
    }
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
