//! Color jitter of pasted pieces, as in CutPaste.

use daf_core::image::RgbImage;
use daf_core::rand::{Rng, RngExt};

use super::augment::turn_hue;
use crate::range::Range;

/// Changes brightness, contrast and saturation by factors of 1 ± `amount` and hue by as much of a full turn,
/// in random order, as torchvision's `ColorJitter` does.
pub(super) fn jitter(image: &mut RgbImage, amount: f64, rng: &mut dyn Rng) {
    if amount == 0.0 {
        return;
    }
    let factor = Range(1.0 - amount, 1.0 + amount);
    let mut operations = [
        Change::Brightness,
        Change::Contrast,
        Change::Saturation,
        Change::Hue,
    ];
    for i in 0..operations.len() {
        operations.swap(i, rng.random_range(i..4));
        match operations[i] {
            Change::Brightness => {
                let factor = factor.draw(rng) as f32;
                scale_from(image, 0.0, factor);
            }
            Change::Contrast => {
                let factor = factor.draw(rng) as f32;
                let pixels = image.as_chunks::<3>().0;
                let sum: u64 = pixels.iter().map(|rgb| u64::from(gray(*rgb))).sum();
                scale_from(image, (sum / pixels.len().max(1) as u64) as f32, factor);
            }
            Change::Saturation => {
                let factor = factor.draw(rng) as f32;
                for pixel in image.as_chunks_mut::<3>().0 {
                    let gray = gray(*pixel) as f32;
                    *pixel = pixel.map(|v| (gray + (f32::from(v) - gray) * factor) as u8);
                }
            }
            Change::Hue => {
                let turn = Range(-amount, amount).draw(rng) * 255.0;
                turn_hue(image, turn.round() as i32, 0);
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Change {
    Brightness,
    Contrast,
    Saturation,
    Hue,
}

/// Moves values away from a level by a factor.
fn scale_from(image: &mut RgbImage, level: f32, factor: f32) {
    let table: [u8; 256] = std::array::from_fn(|v| (level + (v as f32 - level) * factor) as u8);
    image.iter_mut().for_each(|v| *v = table[*v as usize]);
}

/// PIL's conversion to gray.
fn gray([r, g, b]: [u8; 3]) -> u32 {
    (u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16
}

#[cfg(test)]
mod tests {
    use daf_core::image::Rgb;
    use daf_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn no_jitter_changes_nothing_and_draws_nothing() {
        let image = RgbImage::from_pixel(3, 3, Rgb([9, 100, 240]));
        let mut same = image.clone();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        jitter(&mut same, 0.0, &mut rng);
        assert_eq!(same, image);
        assert_eq!(rng, ChaCha8Rng::seed_from_u64(1));
    }

    #[test]
    fn a_tenth_changes_gray_by_a_fifth_at_most_and_leaves_it_gray() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut found = Vec::new();
        for _ in 0..500 {
            let mut image = RgbImage::from_pixel(4, 4, Rgb([100; 3]));
            jitter(&mut image, 0.1, &mut rng);
            let [r, g, b] = image.get_pixel(0, 0).0;
            assert!(r == g && g == b, "{r} {g} {b}");
            found.push(r);
        }
        let (least, most) = (*found.iter().min().unwrap(), *found.iter().max().unwrap());
        assert!(
            (88..=92).contains(&least) && (108..=112).contains(&most),
            "{least} {most}"
        );
    }

    #[test]
    fn hue_turns_both_ways() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut towards_yellow, mut towards_magenta) = (0, 0);
        for _ in 0..200 {
            let mut image = RgbImage::from_pixel(4, 4, Rgb([200, 60, 60]));
            jitter(&mut image, 0.1, &mut rng);
            let [_, g, b] = image.get_pixel(0, 0).0;
            towards_yellow += u32::from(g > b + 5);
            towards_magenta += u32::from(b > g + 5);
        }
        assert!(
            towards_yellow > 60 && towards_magenta > 60,
            "{towards_yellow} {towards_magenta}"
        );
    }
}
