//! Scores an image from memory with a run that `daf-cli run` left: `cargo run -- RUN`.

use daf_core::{Detector, config::DeviceChoice, image::RgbImage, threads};
// The parts that score images have to be linked: these are what `daf-cli` has, plugins come beside them.
use daf_models as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // This program does nothing else with libtorch: its threads are daf's to use.
    threads::manage();
    let run = std::env::args().nth(1).ok_or("expected the folder of a run")?;
    let detector = Detector::open(run, DeviceChoice::Auto)?;
    // Yours comes from a camera.
    let image = RgbImage::from_fn(640, 480, |x, y| [(x % 256) as u8, (y % 256) as u8, 90].into());
    let found = detector.detect(&image)?;
    let verdict = match found.is_anomalous() {
        Some(true) => "anomalous",
        Some(false) => "normal",
        None => "no threshold, so no verdict",
    };
    println!(
        "score {:.3}, worst pixel {:.3}: {verdict}",
        found.score,
        found.map.max()
    );
    Ok(())
}
