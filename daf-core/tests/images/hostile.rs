//! Damaged files of every format: each is read or refused by name, soon and within the bound on memory.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use daf_core::data::{self, Alpha, Depth, Reading};
use daf_tests::withstands;
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb, Rgba};
use mozjpeg::{ColorSpace, Compress};
use tiff::encoder::{Compression, DeflateLevel, TiffEncoder, colortype};

/// Largest memory of the program: the file, a gibibyte of pixels with the decoder's own needs, and what becomes of them.
const MEMORY_MIB: u64 = 5 << 10;

fn hashed(x: u32, y: u32, channel: u32) -> u16 {
    ((x * 7919 + y * 104_729 + channel * 17).wrapping_mul(2_654_435_761) >> 16) as u16
}

/// Small images of every kind that is easily written.
fn images() -> Vec<DynamicImage> {
    let deep = |x, y, channel| hashed(x, y, channel);
    let level = |x, y, channel| (hashed(x, y, channel) >> 8) as u8;
    let rgb = move |x, y| [0, 1, 2].map(|channel| level(x, y, channel));
    let rgba = move |x, y| [0, 1, 2, 3].map(|channel| level(x, y, channel));
    vec![
        ImageBuffer::from_fn(13, 9, |x, y| Luma([level(x, y, 0)])).into(),
        ImageBuffer::from_fn(13, 9, |x, y| Luma([deep(x, y, 0)])).into(),
        ImageBuffer::from_fn(13, 9, |x, y| Rgb(rgb(x, y))).into(),
        ImageBuffer::from_fn(13, 9, |x, y| Rgba(rgba(x, y))).into(),
        ImageBuffer::from_fn(13, 9, |x, y| Rgb([0, 1, 2].map(|channel| deep(x, y, channel)))).into(),
    ]
}

fn written(image: &DynamicImage, format: ImageFormat) -> Option<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).ok()?;
    Some(bytes.into_inner())
}

fn jpeg(progressive: bool, chroma: (u8, u8)) -> Vec<u8> {
    let mut encoder = Compress::new(ColorSpace::JCS_RGB);
    encoder.set_fastest_defaults();
    encoder.set_size(40, 24);
    encoder.set_chroma_sampling_pixel_sizes(chroma, chroma);
    if progressive {
        encoder.set_progressive_mode();
    }
    let pixels: Vec<u8> = (0..40 * 24 * 3)
        .map(|place| (hashed(place, 0, 0) >> 8) as u8)
        .collect();
    let mut encoder = encoder.start_compress(Vec::new()).unwrap();
    encoder.write_scanlines(&pixels).unwrap();
    encoder.finish().unwrap()
}

fn tiffs() -> Vec<Vec<u8>> {
    let levels: Vec<u8> = (0..13 * 9 * 3).map(|place| hashed(place, 0, 0) as u8).collect();
    let floats: Vec<f32> = levels.iter().map(|level| f32::from(*level) / 255.0).collect();
    let compressions = [
        Compression::Uncompressed,
        Compression::Lzw,
        Compression::Deflate(DeflateLevel::Fast),
        Compression::Packbits,
    ];
    let mut files = Vec::new();
    for compression in compressions {
        let mut file = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut file).unwrap().with_compression(compression);
        encoder.write_image::<colortype::RGB8>(13, 9, &levels).unwrap();
        files.push(file.into_inner());
        // Several pages of different kinds.
        let mut file = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new_big(&mut file)
            .unwrap()
            .with_compression(compression);
        encoder
            .write_image::<colortype::Gray32Float>(13, 9, &floats[..13 * 9])
            .unwrap();
        encoder
            .write_image::<colortype::CMYK8>(13, 6, &levels[..13 * 6 * 4])
            .unwrap();
        files.push(file.into_inner());
    }
    files
}

/// Everything that reads an image file, given one with these bytes.
fn read(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).unwrap();
    let other = Reading {
        depth: Depth::Range(10.0, 200.0),
        alpha: Alpha::Drop,
        ..Reading::default()
    };
    let second = path.with_file_name(format!("{}#2", path.file_name().unwrap().display()));
    let answers = [
        data::read_header(path).map(drop),
        data::read_rgb(path).map(drop),
        data::read_mask(path).map(drop),
        data::read_mask_any(path).map(drop),
        data::Values::of_file(path).map(drop),
        other.open(path).map(drop),
        data::read_rgb(&second).map(drop),
    ];
    let name = path.to_str().unwrap();
    let errors = answers
        .into_iter()
        .filter_map(|answer| answer.err().map(|error| error.to_string()));
    // The one that lacks the name, if any does.
    errors
        .max_by_key(|message| !message.contains(name))
        .map_or(Ok(()), Err)
}

fn withstood(format: &str, documents: &[Vec<u8>]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.image");
    for document in documents {
        data::read_header({
            fs::write(&path, document).unwrap();
            &path
        })
        .unwrap_or_else(|error| panic!("an undamaged {format}: {error}"));
    }
    let documents: Vec<&[u8]> = documents.iter().map(Vec::as_slice).collect();
    withstands(format, "hostile.image", &documents, |bytes| read(&path, bytes));
    if let Some(peak) = peak_mib() {
        assert!(peak < MEMORY_MIB, "{format}: {peak} MiB at most");
    }
}

/// The most memory that this program has taken; `None` where the system does not say.
fn peak_mib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib >> 10)
}

#[test]
fn damaged_png_files_are_read_or_refused_by_name() {
    let files: Vec<_> = images()
        .iter()
        .filter_map(|image| written(image, ImageFormat::Png))
        .collect();
    withstood("png", &files);
}

#[test]
fn damaged_jpeg_files_are_read_or_refused_by_name() {
    let mut files: Vec<_> = images()
        .iter()
        .filter_map(|image| written(image, ImageFormat::Jpeg))
        .collect();
    for progressive in [false, true] {
        for chroma in [(1, 1), (2, 1), (2, 2)] {
            files.push(jpeg(progressive, chroma));
        }
    }
    withstood("jpeg", &files);
}

#[test]
fn damaged_bmp_files_are_read_or_refused_by_name() {
    let files: Vec<_> = images()
        .iter()
        .filter_map(|image| written(image, ImageFormat::Bmp))
        .collect();
    withstood("bmp", &files);
}

#[test]
fn damaged_tiff_files_are_read_or_refused_by_name() {
    let mut files = tiffs();
    files.extend(
        images()
            .iter()
            .filter_map(|image| written(image, ImageFormat::Tiff)),
    );
    withstood("tiff", &files);
}

#[test]
fn damaged_webp_files_are_read_or_refused_by_name() {
    let files: Vec<_> = images()
        .iter()
        .filter_map(|image| written(image, ImageFormat::WebP))
        .collect();
    withstood("webp", &files);
}
