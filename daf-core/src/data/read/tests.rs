use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{
    DynamicImage, ExtendedColorType, GrayImage, ImageBuffer, ImageEncoder, ImageFormat, Luma, LumaA, Rgb,
    RgbImage, Rgba,
};
use tempfile::TempDir;

use super::*;

/// Pixels without structure, so that a shift by one cannot go unnoticed.
fn hashed(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let h = (x * 7919 + y * 104_729 + 17).wrapping_mul(2_654_435_761);
        Rgb([(h >> 8) as u8, (h >> 16) as u8, (h >> 24) as u8])
    })
}

fn written(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// The file is refused by both readers with its name; returns the message.
fn refused(name: &str, bytes: &[u8]) -> String {
    let (_folder, path) = written(name, bytes);
    let message = read_rgb(&path).unwrap_err().to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    assert!(read_mask(&path).is_err());
    message
}

#[test]
fn files_that_are_no_images_are_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let absent = folder.path().join("absent.png");
    assert!(read_rgb(&absent).unwrap_err().to_string().contains("absent.png"));
    assert!(read_rgb(folder.path()).is_err());
    assert!(refused("empty.png", &[]).contains("empty"));
    let noise: Vec<u8> = hashed(30, 30).into_raw();
    assert!(refused("noise.png", &noise).contains("not a png, jpeg, bmp, tiff or webp image"));
    for start in [
        &b"\x89PNG\r\n\x1a\n"[..],
        b"\xff\xd8\xff\xe0",
        b"BM",
        b"II*\0",
        b"MM\0*",
    ] {
        refused("head.png", start);
        refused("body.png", &[start, &noise].concat());
    }
}

#[test]
fn truncated_files_are_refused_wherever_they_end() {
    let image = DynamicImage::from(hashed(40, 30));
    for format in [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::WebP,
    ] {
        let bytes = encoded(&image, format);
        // The last bytes of a PNG only say that it ends, those of a TIFF may be padding.
        for length in (1..bytes.len() - 16).step_by(37) {
            refused("cut", &bytes[..length]);
        }
    }
    let bytes = encoded(&image, ImageFormat::Jpeg);
    assert!(refused("end.jpg", &bytes[..bytes.len() - 2]).contains("cut short"));
}

#[test]
fn a_jpeg_with_a_comment_and_bytes_behind_its_end_is_whole() {
    let bytes = encoded(&hashed(20, 20).into(), ImageFormat::Jpeg);
    // A comment that holds an end marker, and trailing bytes as some cameras write.
    let bytes = [
        &bytes[..2],
        &[0xFF, 0xFE, 0, 6, 0xFF, 0xD9, 0xFF, 0xDA],
        &bytes[2..],
        &[0; 100],
    ]
    .concat();
    let (_folder, path) = written("camera.jpg", &bytes);
    assert_eq!(read_rgb(&path).unwrap().dimensions(), (20, 20));
    let without_end = [&bytes[..bytes.len() - 102], &[0; 100]].concat();
    refused("cut.jpg", &without_end);
}

#[test]
fn every_depth_and_channel_count_is_read_as_eight_bit_rgb() {
    let deep = ImageBuffer::from_fn(5, 3, |x, y| Luma([(x * 13_000 + y * 90) as u16]));
    let deep_rgb = ImageBuffer::from_fn(5, 3, |x, _| Rgb([(x * 13_000) as u16, 65_535, 0]));
    let opaque = ImageBuffer::from_fn(5, 3, |x, _| LumaA([(x * 50) as u8, 255]));
    // 65535 / 255 = 257: a 16-bit level is the 8-bit one times 257.
    let level = |x: u32, y: u32| ((x * 13_000 + y * 90) as f64 / 257.0).round() as u8;
    type Expected<'a> = &'a dyn Fn(u32, u32) -> [u8; 3];
    let cases: [(DynamicImage, &[ImageFormat], Expected); 4] = [
        (deep.into(), &[ImageFormat::Png, ImageFormat::Tiff], &|x, y| {
            [level(x, y); 3]
        }),
        (
            deep_rgb.into(),
            &[ImageFormat::Png, ImageFormat::Tiff],
            &|x, _| [level(x, 0), 255, 0],
        ),
        (opaque.into(), &[ImageFormat::Png], &|x, _| [(x * 50) as u8; 3]),
        (
            hashed(5, 3).into(),
            &[ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff],
            &|x, y| hashed(5, 3).get_pixel(x, y).0,
        ),
    ];
    for (image, formats, expected) in cases {
        for format in formats {
            // The extension lies: the content decides.
            let (_folder, path) = written("image.jpg", &encoded(&image, *format));
            let read = read_rgb(&path).unwrap();
            for (x, y, pixel) in read.enumerate_pixels() {
                assert_eq!(pixel.0, expected(x, y), "{format:?} at {x}, {y}");
            }
        }
    }
}

#[test]
fn a_palette_is_looked_up() {
    // A hand-made BMP with 8-bit indices: the image crate reads palettes and writes none.
    let mut bmp = b"BM".to_vec();
    for value in [54 + 8 + 4_u32, 0, 54 + 8, 40, 2, 1, 1 | 8 << 16, 0, 4, 0, 0, 2, 2] {
        bmp.extend(value.to_le_bytes());
    }
    bmp.extend([30, 20, 10, 0, 60, 50, 40, 0]);
    bmp.extend([1, 0, 0, 0]);
    let (_folder, path) = written("palette.bmp", &bmp);
    assert_eq!(read_rgb(&path).unwrap().into_raw(), [40, 50, 60, 10, 20, 30]);
    // Likewise a PNG of one bit per pixel, whose first color is transparent.
    const PNG: [u8; 98] = [
        137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 2, 0, 0, 0, 1, 1, 3, 0, 0, 0,
        206, 236, 237, 201, 0, 0, 0, 6, 80, 76, 84, 69, 200, 10, 20, 1, 2, 3, 103, 234, 164, 112, 0, 0, 0, 1,
        116, 82, 78, 83, 0, 64, 230, 216, 102, 0, 0, 0, 10, 73, 68, 65, 84, 120, 156, 99, 112, 0, 0, 0, 66,
        0, 65, 41, 55, 244, 239, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
    ];
    let (_folder, path) = written("palette.png", &PNG);
    assert_eq!(read_rgb(&path).unwrap().into_raw(), [0, 0, 0, 1, 2, 3]);
    let below = Reading {
        alpha: Alpha::Drop,
        ..Reading::default()
    };
    assert_eq!(below.open(&path).unwrap().rgb.into_raw(), [200, 10, 20, 1, 2, 3]);
}

#[test]
fn transparent_pixels_show_a_color_or_what_lies_below() {
    let image = ImageBuffer::from_fn(4, 1, |x, _| Rgba([9, 80, 200, x as u8 * 85]));
    let hidden = ImageBuffer::from_fn(4, 1, |x, _| match x {
        0 => Rgba([250, 1, 99, 0]),
        _ => Rgba([9, 80, 200, x as u8 * 85]),
    });
    let over = |[r, g, b]: [u8; 3]| {
        let level = |value: u32, ground: u8, share: u32| {
            ((value * share + u32::from(ground) * (3 - share)) as f64 / 3.0).round() as u8
        };
        (0..4)
            .flat_map(|x| [level(9, r, x), level(80, g, x), level(200, b, x)])
            .collect::<Vec<_>>()
    };
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::WebP] {
        for image in [&image, &hidden] {
            let (_folder, path) = written("alpha", &encoded(&image.clone().into(), format));
            let read = |alpha| {
                let reading = Reading {
                    alpha,
                    ..Reading::default()
                };
                reading.open(&path).unwrap().rgb.into_raw()
            };
            for ground in [[0; 3], [255; 3], [10, 200, 77]] {
                assert_eq!(read(Alpha::Over(ground)), over(ground), "{format:?}");
            }
            assert_eq!(read(Alpha::default()), read_rgb(&path).unwrap().into_raw());
            assert_eq!(read(Alpha::Drop)[3..6], [9, 80, 200]);
            assert_eq!(read(Alpha::Drop)[..3], image.get_pixel(0, 0).0[..3]);
            assert_eq!(read_header(&path).unwrap().channels, 4);
        }
    }
}

#[test]
fn a_cmyk_jpeg_is_converted() {
    // 8×8 pixels of full magenta and yellow: red. As Adobe's programs have it, the values are stored
    // inverted.
    const JPEG: [u8; 176] = [
        255, 216, 255, 238, 0, 14, 65, 100, 111, 98, 101, 0, 100, 0, 0, 0, 0, 0, 255, 219, 0, 67, 0, 16, 11,
        12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58,
        51, 61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103,
        104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99, 255, 192, 0, 20, 8, 0, 8, 0, 8, 4, 67,
        17, 0, 77, 17, 0, 89, 17, 0, 75, 17, 0, 255, 196, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 7, 255, 196, 0, 20, 16, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 218, 0, 14, 4,
        67, 0, 77, 0, 89, 0, 75, 0, 0, 63, 0, 64, 31, 143, 200, 15, 255, 217,
    ];
    let (_folder, path) = written("print.jpg", &JPEG);
    let image = read_rgb(&path).unwrap();
    assert_eq!(image.dimensions(), (8, 8));
    for Rgb([red, green, blue]) in image.pixels() {
        assert!(*red > 250 && *green < 5 && *blue < 5, "{red} {green} {blue}");
    }
}

/// EXIF of a single entry: the orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    bytes.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

#[test]
fn images_and_masks_are_turned_as_their_exif_orientation_says() {
    let stored = hashed(5, 3);
    // The column and row at which a pixel of the upright image is stored; the standard's table says on which
    // side of the picture the first row and column lie.
    type Place = fn(u32, u32, u32, u32) -> (u32, u32);
    let places: [Place; 8] = [
        |x, y, _, _| (x, y),
        |x, y, w, _| (w - 1 - x, y),
        |x, y, w, h| (w - 1 - x, h - 1 - y),
        |x, y, _, h| (x, h - 1 - y),
        |x, y, _, _| (y, x),
        |x, y, w, _| (y, w - 1 - x),
        |x, y, w, h| (h - 1 - y, w - 1 - x),
        |x, y, _, h| (h - 1 - y, x),
    ];
    for (orientation, place) in (1..).zip(places) {
        let mut bytes = Vec::new();
        let mut encoder = PngEncoder::new(&mut bytes);
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder
            .write_image(&stored, 5, 3, ExtendedColorType::Rgb8)
            .unwrap();
        let (_folder, path) = written("turned.png", &bytes);
        let image = read_rgb(&path).unwrap();
        let (width, height) = if orientation < 5 { (5, 3) } else { (3, 5) };
        assert_eq!(image.dimensions(), (width, height), "{orientation}");
        assert_eq!(read_mask(&path).unwrap().dimensions(), (width, height));
        for (x, y, pixel) in image.enumerate_pixels() {
            let (column, row) = place(x, y, width, height);
            assert_eq!(pixel, stored.get_pixel(column, row), "{orientation} at {x}, {y}");
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif(6)).unwrap();
    encoder
        .write_image(&stored, 5, 3, ExtendedColorType::Rgb8)
        .unwrap();
    let (_folder, path) = written("phone.jpg", &bytes);
    assert_eq!(read_rgb(&path).unwrap().dimensions(), (3, 5));
    let header = read_header(&path).unwrap();
    assert_eq!((header.width, header.height), (5, 3));
}

#[test]
fn a_header_tells_format_channels_and_depth() {
    let gray = DynamicImage::from(ImageBuffer::from_pixel(6, 4, Luma([300_u16])));
    let color = DynamicImage::from(hashed(6, 4));
    for (image, format, expected) in [
        (&gray, ImageFormat::Png, ("png", 1, 16)),
        (&gray, ImageFormat::Tiff, ("tiff", 1, 16)),
        (&color, ImageFormat::Jpeg, ("jpeg", 3, 8)),
        (&color, ImageFormat::Bmp, ("bmp", 3, 8)),
    ] {
        let (_folder, path) = written("image", &encoded(image, format));
        let found = read_header(&path).unwrap();
        assert_eq!((found.format, found.channels, found.bits), expected);
        assert_eq!((found.width, found.height), (6, 4));
    }
    let (_folder, path) = written("noise.png", &hashed(9, 9));
    assert!(read_header(&path).unwrap_err().to_string().contains("noise.png"));
}

#[test]
fn an_image_that_would_fill_the_memory_is_refused_with_its_size() {
    // A BMP that claims 30000×30000 pixels of 24 bits: 2.5 GiB from 54 bytes.
    let mut bmp = b"BM".to_vec();
    for value in [54_u32, 0, 54, 40, 30_000, 30_000, 1 | 24 << 16, 0, 0, 0, 0, 0, 0] {
        bmp.extend(value.to_le_bytes());
    }
    let message = refused("bomb.bmp", &bmp);
    assert!(
        message.contains("30000×30000") && message.contains("at most 1024 MiB"),
        "{message}"
    );
}

#[test]
fn a_mask_of_class_numbers_is_white_where_it_is_not_black() {
    let numbers = GrayImage::from_raw(4, 1, vec![0, 1, 7, 255]).unwrap();
    let deep = ImageBuffer::<Luma<u16>, _>::from_raw(4, 1, vec![0, 1, 90, 65_535]).unwrap();
    let blue = RgbImage::from_fn(4, 1, |x, _| Rgb([0, 0, x as u8]));
    for image in [DynamicImage::from(numbers), deep.into(), blue.into()] {
        let (_folder, path) = written("mask.png", &encoded(&image, ImageFormat::Png));
        assert_eq!(
            read_mask_any(&path).unwrap().into_raw(),
            [0, 255, 255, 255],
            "{image:?}"
        );
    }
    assert!(read_mask_any("absent.png").is_err());
}

#[test]
fn a_mask_is_white_where_it_is_over_half() {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(&[0, 1, 127, 128, 254, 255], 3, 2, ExtendedColorType::L8)
        .unwrap();
    let (_folder, path) = written("mask.png", &bytes);
    assert_eq!(read_mask(&path).unwrap().into_raw(), [0, 0, 0, 255, 255, 255]);
    let deep = ImageBuffer::<Luma<u16>, _>::from_raw(3, 1, vec![32_000, 34_000, 65_535]).unwrap();
    let (_folder, path) = written("deep.png", &encoded(&deep.into(), ImageFormat::Png));
    assert_eq!(read_mask(&path).unwrap().into_raw(), [0, 255, 255]);
}
