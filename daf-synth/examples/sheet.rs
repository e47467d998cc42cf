//! Draws what a strategy makes of the images of a folder, the others being donors: a sheet of rows of three
//! (normal | synthetic | mask), and prints its speed.
//!
//! `cargo run --release -p daf-synth --example sheet -- '{"type": "dra"}' <folder of images> <sheet.png>`

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use daf_core::image::{DynamicImage, RgbImage, imageops};
use daf_core::rand::{Rng, RngExt, SeedableRng};
use daf_core::{BoxError, Donors, Synthesis, Synthesizer, data};
// Links the crate, so that its parts are registered.
use daf_synth as _;
use rand_chacha::ChaCha8Rng;

const SIZE: u32 = 256;
const ROWS: u32 = 5;
const TRIPLES: u32 = 3;

/// The other images of the folder.
struct Others<'a> {
    files: &'a [PathBuf],
    normal: &'a PathBuf,
}

impl Donors for Others<'_> {
    fn draw(&self, rng: &mut dyn Rng) -> Result<Arc<RgbImage>, BoxError> {
        let others: Vec<_> = self.files.iter().filter(|file| *file != self.normal).collect();
        let file = match others.len() {
            0 => self.normal,
            count => others[rng.random_range(0..count)],
        };
        Ok(Arc::new(data::resize_rgb(&data::read_rgb(file)?, SIZE, SIZE)?))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let [_, part, images, sheet] = std::env::args().collect::<Vec<_>>().try_into().map_err(
        |_| "usage: sheet '<synthesizer as JSON, e.g. {\"type\": \"dra\"}>' <folder of images> <sheet.png>",
    )?;
    let synthesizer: Box<dyn Synthesizer> = serde_json::from_str(&part)?;
    synthesizer.check().map_err(|e| e.to_string())?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(images)?
        .map(|e| Ok(e?.path()))
        .collect::<std::io::Result<_>>()?;
    files.sort();
    let mut drawn = RgbImage::new(TRIPLES * 3 * SIZE, ROWS * SIZE);
    for (i, file) in (0..TRIPLES * ROWS).zip(files.iter().cycle().step_by(7)) {
        let normal = data::resize_rgb(&data::read_rgb(file)?, SIZE, SIZE)?;
        let others = Others {
            files: &files,
            normal: file,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(u64::from(i));
        let outcome = synthesizer
            .synthesize(&normal, &others, &mut rng)
            .map_err(|e| e.to_string())?;
        let (x, y) = (i64::from(i % TRIPLES * 3 * SIZE), i64::from(i / TRIPLES * SIZE));
        imageops::replace(&mut drawn, &normal, x, y);
        if let Synthesis::Anomalous(synthetic) = outcome {
            imageops::replace(&mut drawn, &synthetic.image, x + i64::from(SIZE), y);
            let mask = DynamicImage::ImageLuma8(synthetic.mask).into_rgb8();
            imageops::replace(&mut drawn, &mask, x + 2 * i64::from(SIZE), y);
        }
    }
    drawn.save(sheet)?;

    let normal = RgbImage::new(SIZE, SIZE);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut work = |samples: u32| {
        let start = Instant::now();
        for _ in 0..samples {
            synthesizer
                .synthesize(&normal, &normal, &mut rng)
                .map_err(|e| e.to_string())?;
        }
        Ok::<_, String>(f64::from(samples) / start.elapsed().as_secs_f64())
    };
    work(1000)?;
    println!("{:.0} samples/s at {SIZE} × {SIZE} on one core", work(2000)?);
    Ok(())
}
