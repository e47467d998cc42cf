//! JPEG files, decoded by libjpeg: the pixels are those of OpenCV and Pillow, unusual but valid files are
//! read, and damage is noticed.

// The handler of warnings, libjpeg's way to tell of damage, is a C callback.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_int;
use std::io::BufRead;
use std::panic;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use mozjpeg::{ColorSpace, Decompress, Marker};
use mozjpeg_sys::{
    JERR_BAD_PRECISION, JERR_SOF_UNSUPPORTED, JERR_UNKNOWN_MARKER, jpeg_common_struct, jpeg_error_mgr,
    jpeg_std_error,
};

use super::header::{Header, SampleType, check_size, rgb_of_inks, rgb_of_ycbcr};

/// Scans of a progressive file, at most; a file can hold thousands, each of which takes as long as decoding
/// the image.
const MAX_SCANS: usize = 500;

thread_local! {
    /// Whether this thread reads pixels, where each of libjpeg's warnings tells of damage. Those before are
    /// about padding between the header's segments, which some cameras write.
    static IN_PIXELS: Cell<bool> = const { Cell::new(false) };
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
    libjpeg(|| {
        let decoder = start(bytes)?;
        let orientation = decoder
            .markers()
            .find_map(|marker| Orientation::from_exif_chunk(marker.data.strip_prefix(b"Exif\0\0")?))
            .unwrap_or(Orientation::NoTransforms);
        let space = match decoder.color_space() {
            ColorSpace::JCS_GRAYSCALE => ColorSpace::JCS_GRAYSCALE,
            ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK => ColorSpace::JCS_CMYK,
            _ => ColorSpace::JCS_RGB,
        };
        let (width, height) = (decoder.width() as u32, decoder.height() as u32);
        let values = scanlines(bytes, decoder, space)?;
        let image = match space {
            ColorSpace::JCS_GRAYSCALE => GrayImage::from_raw(width, height, values).map(DynamicImage::from),
            ColorSpace::JCS_CMYK => {
                // Stored inverted, as Adobe's programs do and others take for granted.
                let (inks, _) = values.as_chunks();
                let rgb = inks.iter().flat_map(|left| rgb_of_inks(*left)).collect();
                RgbImage::from_raw(width, height, rgb).map(DynamicImage::from)
            }
            _ => RgbImage::from_raw(width, height, values).map(DynamicImage::from),
        };
        let image = image.ok_or("the jpeg ended before its last row")?;
        Ok((image, orientation))
    })
}

/// The values of a file that is a part of another one, which says what they mean.
pub(super) struct RawImage {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub values: Vec<u8>,
}

/// The values of a file as stored, three channels brought from YCbCr to RGB if `to_rgb`.
pub(super) fn raw_image(bytes: &[u8], to_rgb: bool) -> Result<RawImage, String> {
    libjpeg(|| {
        let decoder = start(bytes)?;
        let stored = decoder.color_space();
        let space = match to_rgb && stored == ColorSpace::JCS_YCbCr {
            true => ColorSpace::JCS_RGB,
            false => stored,
        };
        let (width, height) = (decoder.width(), decoder.height());
        let channels = decoder.components().len();
        let mut values = scanlines(bytes, decoder, space)?;
        if to_rgb && stored == ColorSpace::JCS_RGB {
            // Libjpeg guesses by the components' names, the file around it knows better.
            let (pixels, _) = values.as_chunks_mut();
            pixels.iter_mut().for_each(|pixel| *pixel = rgb_of_ycbcr(*pixel));
        }
        Ok(RawImage {
            width,
            height,
            channels,
            values,
        })
    })
}

/// The rows of a whole file; damage is an error.
fn scanlines(bytes: &[u8], decoder: Decompress<&[u8]>, space: ColorSpace) -> Result<Vec<u8>, String> {
    let scans = scans(bytes);
    if scans > MAX_SCANS {
        return Err(format!(
            "expected at most {MAX_SCANS} scans in a jpeg, found {scans}"
        ));
    }
    let values = (decoder.width() * decoder.height() * decoder.components().len()) as u64;
    // Several scans are put together in coefficients of 16 bits.
    let per_value = if scans > 1 { 3 } else { 1 };
    check_size(
        decoder.width() as u32,
        decoder.height() as u32,
        values * per_value,
    )?;
    IN_PIXELS.set(true);
    let mut started = decoder.to_colorspace(space).map_err(undecodable)?;
    let values: Vec<u8> = started.read_scanlines().map_err(undecodable)?;
    started.finish().map_err(undecodable)?;
    Ok(values)
}

/// Scans up to the end marker; what lies behind it is no part of the image.
fn scans(bytes: &[u8]) -> usize {
    let (mut rest, mut scans) = (bytes.get(2..).unwrap_or_default(), 0);
    loop {
        // Data in between hold neither of the markers.
        let marker = rest
            .windows(2)
            .position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0 | 1 | 0xD0..=0xD8 | 0xFF));
        let Some((marker, segment)) = marker.and_then(|at| rest[at + 1..].split_first()) else {
            return scans;
        };
        match marker {
            0xD9 => return scans,
            0xDA => scans += 1,
            _ => {}
        }
        let length = match segment {
            [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return scans,
        };
        rest = segment.get(length..).unwrap_or_default();
    }
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

/// Does work with libjpeg, whose fatal errors unwind from [`fatal`] and [`emit`].
fn libjpeg<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    IN_PIXELS.set(false);
    panic::catch_unwind(panic::AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        match payload.downcast::<Refusal>() {
            Ok(refusal) => Err(refusal.0),
            Err(other) => panic::resume_unwind(other),
        }
    })
}

/// Why libjpeg cannot go on.
struct Refusal(String);

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

/// Ends the work at the first sign of damage; levels from 0 on are traces.
extern "C-unwind" fn emit(decoder: &mut jpeg_common_struct, level: c_int) {
    if level < 0 && IN_PIXELS.get() {
        refuse(format!("the jpeg is damaged or cut short: {}", message(decoder)));
    }
}

extern "C-unwind" fn fatal(decoder: &mut jpeg_common_struct) {
    // SAFETY: `err` points to the handlers, which live as long as the decoder.
    let code = unsafe { decoder.err.as_ref() }.map_or(0, |handlers| handlers.msg_code);
    refuse(match code {
        JERR_BAD_PRECISION => {
            "a jpeg whose values have more than 8 bit, which is not read; save it as 16-bit png or tiff"
                .into()
        }
        JERR_SOF_UNSUPPORTED | JERR_UNKNOWN_MARKER => {
            "a jpeg of another kind, such as a lossless one, which is not read; save it as png".into()
        }
        _ => undecodable(message(decoder)),
    });
}

fn refuse(reason: String) -> ! {
    // Not a panic: there is nothing for a panic hook to report.
    panic::resume_unwind(Box::new(Refusal(reason)))
}

/// The text of the message that libjpeg is about.
fn message(decoder: &mut jpeg_common_struct) -> String {
    type Read = unsafe extern "C-unwind" fn(&mut jpeg_common_struct, &[u8; 80]);
    type Write = unsafe extern "C-unwind" fn(&mut jpeg_common_struct, &mut [u8; 80]);
    let mut text = [0; 80];
    // SAFETY: `err` points to the handlers, which live as long as the decoder. The function writes a C string
    // of at most 80 bytes; the binding's type has the buffer as a shared reference, which is the same
    // pointer.
    unsafe {
        if let Some(write) = decoder.err.as_ref().and_then(|handlers| handlers.format_message) {
            let write: Write = std::mem::transmute::<Read, Write>(write);
            write(decoder, &mut text);
        }
    }
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use mozjpeg::Compress;

    use super::*;

    fn file(progressive: bool) -> Vec<u8> {
        let mut encoder = Compress::new(ColorSpace::JCS_RGB);
        encoder.set_fastest_defaults();
        encoder.set_size(48, 32);
        if progressive {
            encoder.set_progressive_mode();
        }
        let mut encoder = encoder.start_compress(Vec::new()).unwrap();
        let pixels: Vec<u8> = (0..48 * 32 * 3_u32)
            .map(|place| (place.wrapping_mul(2_654_435_761) >> 25) as u8)
            .collect();
        encoder.write_scanlines(&pixels).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn scans_are_counted_up_to_the_end_marker() {
        let (baseline, progressive) = (file(false), file(true));
        assert_eq!(scans(&baseline), 1);
        let found = scans(&progressive);
        assert!((2..50).contains(&found), "{found}");
        // A film behind the image, a comment in it, padding: none has scans.
        let film = [&baseline[..], &[0xFF, 0xDA, 0, 2].repeat(MAX_SCANS * 2)].concat();
        assert_eq!(scans(&film), 1);
        assert!(decode(&film).is_ok());
        let comment = [
            &[0xFF, 0xD8, 0xFF, 0xFE, 0, 10][..],
            &[0xFF, 0xDA].repeat(4),
            &baseline[2..],
        ]
        .concat();
        assert_eq!(scans(&comment), 1);
        assert!(decode(&comment).is_ok());
        for length in 0..baseline.len() {
            scans(&baseline[..length]);
        }
    }

    #[test]
    fn a_file_of_thousands_of_scans_is_refused() {
        let bytes = file(true);
        let end = bytes.len() - 2;
        let scan = bytes.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap();
        let many = [&bytes[..end], &bytes[scan..end].repeat(MAX_SCANS), &bytes[end..]].concat();
        let reason = decode(&many).unwrap_err();
        assert!(reason.contains("expected at most 500 scans"), "{reason}");
    }

    #[test]
    fn damage_ends_the_work_at_once_and_the_next_file_is_read() {
        let bytes = file(false);
        let scan = bytes.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap();
        let mut cut = bytes[..scan + 100].to_vec();
        let frame = cut.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        // Almost a gibibyte of pixels, of which some bytes are there.
        cut[frame + 5..frame + 9].copy_from_slice(&[0x46, 0x50, 0x46, 0x50]);
        let started = std::time::Instant::now();
        let reason = decode(&cut).unwrap_err();
        assert!(reason.contains("damaged or cut short"), "{reason}");
        assert!(started.elapsed().as_secs() < 10);
        assert!(decode(&bytes).is_ok());
        // Padding between the segments, as cameras write it, is no damage.
        let padded = [&bytes[..2], &[0xFF; 7], &bytes[2..]].concat();
        assert_eq!(decode(&padded).unwrap().0, decode(&bytes).unwrap().0);
    }
}
