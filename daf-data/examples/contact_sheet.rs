//! Writes one sheet per kind of the demo data set: a row of normal images, then a row per defect with the
//! mask's outline in the right half.
//! `cargo run --release -p daf-data --example contact_sheet -- <folder> [size]`

use std::path::PathBuf;
use std::time::Instant;

use daf_core::image::{GrayImage, Rgb, RgbImage, imageops};
use daf_core::{BoxError, Dataset, Split};
use daf_data::{Demo, Kind};

const COLUMNS: u32 = 6;

fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("expected a folder to write to")?);
    let size = arguments.next().map_or(Ok(256), |size| size.parse())?;
    std::fs::create_dir_all(&folder)?;
    for kind in Kind::ALL {
        let data = Demo {
            kind,
            size,
            test_good: COLUMNS,
            test: COLUMNS,
            ..Demo::default()
        };
        let items = data.items(Split::Test)?;
        let rows = items.len() as u32 / COLUMNS;
        let mut sheet = RgbImage::new(COLUMNS * (size + 4), rows * (size + 4));
        let mut drawing = 0.0;
        for (index, item) in items.iter().enumerate() {
            let started = Instant::now();
            let mut image = data.image(item)?.into_rgb8();
            drawing += started.elapsed().as_secs_f64();
            let (column, row) = (index as u32 % COLUMNS, index as u32 / COLUMNS);
            if let Some(mask) = data.mask(item)? {
                let area = mask.pixels().filter(|p| p.0[0] > 0).count() as f64 / f64::from(size * size);
                print!("{} {:.1}%  ", item.label(), 100.0 * area);
                if column >= COLUMNS / 2 {
                    outline(&mut image, &mask);
                }
            }
            imageops::replace(
                &mut sheet,
                &image,
                (column * (size + 4)).into(),
                (row * (size + 4)).into(),
            );
        }
        println!(
            "\n{kind}: {:.1} ms per image",
            1000.0 * drawing / items.len() as f64
        );
        sheet.save(folder.join(format!("{kind}.png")))?;
    }
    Ok(())
}

/// Paints the pixels that touch the mask from outside.
fn outline(image: &mut RgbImage, mask: &GrayImage) {
    let set = |x: i64, y: i64| {
        let inside = (0..mask.width().into()).contains(&x) && (0..mask.height().into()).contains(&y);
        inside && mask.get_pixel(x as u32, y as u32).0[0] > 0
    };
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let (x, y) = (i64::from(x), i64::from(y));
        let near = [(1, 0), (-1, 0), (0, 1), (0, -1)];
        if !set(x, y) && near.iter().any(|(dx, dy)| set(x + dx, y + dy)) {
            *pixel = Rgb([255, 40, 40]);
        }
    }
}
