//! Masks and soft targets from the changes of an image.

use daf_core::Rect;
use daf_core::image::{GrayImage, RgbImage};

use super::settings::{Labels, Settings};
use crate::median::{disk_median, majority};

/// Radius of the squares over which the mask is median-filtered, as in the official code.
const SQUARE: usize = 2;
/// Radius of the disks over which the intensity is median-filtered.
const DISK: usize = 5;
/// Largest sum of the differences of three channels.
const MOST: u16 = 3 * 255;

/// Mask of the changes above the tolerance inside `patches` (1 there, row by row), and the target if labels
/// are soft; `None` without changes. `factor` is the blending factor.
pub(super) fn label(
    settings: &Settings,
    normal: &RgbImage,
    damaged: &RgbImage,
    patches: &[u8],
    touched: Rect,
    factor: f64,
) -> Option<(GrayImage, Option<Vec<f32>>)> {
    let (columns, rows) = normal.dimensions();
    let part = widened(touched, SQUARE as u32, columns, rows);
    let (width, height) = (part.width as usize, part.height as usize);
    let row = |y: usize| (part.y as usize + y) * columns as usize + part.x as usize;
    let mut differences = Vec::<u16>::new();
    for start in (0..height).map(row) {
        let values = start * 3..(start + width) * 3;
        let (old, new) = (&normal.as_raw()[values.clone()], &damaged.as_raw()[values]);
        let pairs = old
            .chunks_exact(3)
            .zip(new.chunks_exact(3))
            .zip(&patches[start..]);
        differences.extend(pairs.map(|((old, new), inside)| {
            let sum: u16 = old
                .iter()
                .zip(new)
                .map(|(old, new)| u16::from(old.abs_diff(*new)))
                .sum();
            sum * u16::from(*inside)
        }));
    }
    // mean > tolerance, as sums.
    let limit = (settings.tolerance * 3.0).floor() as u16;
    let mut changed: Vec<u8> = differences.iter().map(|sum| u8::from(*sum > limit)).collect();
    majority(&mut changed, width, SQUARE);
    if !changed.contains(&1) {
        return None;
    }
    let mut mask = GrayImage::new(columns, rows);
    for (y, changed) in changed.chunks_exact(width).enumerate() {
        let start = row(y);
        mask.as_mut()[start..start + width]
            .iter_mut()
            .zip(changed)
            .for_each(|(m, c)| *m = 255 * c);
    }
    let mut soft = |value: &dyn Fn(f64) -> f64| {
        // The intensity of what the filter has left of the changes.
        differences
            .iter_mut()
            .zip(changed.iter())
            .for_each(|(sum, changed)| *sum *= u16::from(*changed));
        let mut target = vec![0f32; mask.as_raw().len()];
        let values: Vec<f32> = (0..=MOST)
            .map(|sum| value(f64::from(sum) / 3.0).clamp(0.0, 1.0) as f32)
            .collect();
        for (at, _) in changed.iter().enumerate().filter(|(_, changed)| **changed > 0) {
            let (x, y) = (at % width, at / width);
            let median = disk_median(&differences, width, (x, y), DISK);
            target[row(y) + x] = values[usize::from(median)];
        }
        target
    };
    let target = match settings.labels {
        Labels::Binary => None,
        Labels::Continuous => {
            let factor = factor as f32;
            Some(
                mask.as_raw()
                    .iter()
                    .map(|m| if *m > 0 { factor } else { 0.0 })
                    .collect(),
            )
        }
        Labels::Intensity => Some(soft(&|mean| mean / 255.0)),
        Labels::Logistic => {
            let (k, x0) = (settings.logistic.k, settings.logistic.x0);
            Some(soft(&|mean| 1.0 / (1.0 + (-k * (mean - x0)).exp())))
        }
    };
    Some((mask, target))
}

/// A rectangle with a margin, within the image.
fn widened(rect: Rect, margin: u32, columns: u32, rows: u32) -> Rect {
    let (x, y) = (rect.x.saturating_sub(margin), rect.y.saturating_sub(margin));
    Rect {
        x,
        y,
        width: (rect.x + rect.width + margin).min(columns) - x,
        height: (rect.y + rect.height + margin).min(rows) - y,
    }
}

#[cfg(test)]
mod tests {
    use daf_core::image::Rgb;

    use super::*;

    /// A square of 20 × 20 pixels, brighter by `step`, at 10, 10; around it everything is brighter by one.
    fn case(labels: Labels, step: u8) -> Option<(GrayImage, Option<Vec<f32>>)> {
        let normal = RgbImage::from_pixel(50, 40, Rgb([50; 3]));
        let inside = |x: u32, y: u32| (10..30).contains(&x) && (10..30).contains(&y);
        let damaged = RgbImage::from_fn(50, 40, |x, y| Rgb([if inside(x, y) { 50 + step } else { 51 }; 3]));
        let settings = Settings {
            labels,
            ..Settings::default()
        };
        let touched = Rect {
            x: 5,
            y: 5,
            width: 30,
            height: 30,
        };
        label(&settings, &normal, &damaged, &[1; 2000], touched, 0.4)
    }

    #[test]
    fn changes_within_the_tolerance_are_none() {
        assert!(case(Labels::Binary, 1).is_none());
        let (mask, target) = case(Labels::Binary, 2).unwrap();
        assert!(target.is_none());
        let count = mask.iter().filter(|m| **m == 255).count();
        assert!((380..400).contains(&count), "the filter rounds corners: {count}");
        assert_eq!(mask.get_pixel(20, 20).0, [255]);
    }

    #[test]
    fn soft_labels_have_the_values_of_their_definition() {
        let middle = 20 * 50 + 20;
        let target = |labels, step| case(labels, step).unwrap().1.unwrap();
        assert_eq!(target(Labels::Continuous, 30)[middle], 0.4);
        assert!((target(Labels::Intensity, 51)[middle] - 0.2).abs() < 1e-6);
        // x0 = 20 by default.
        assert!((target(Labels::Logistic, 20)[middle] - 0.5).abs() < 1e-6);
        assert!((target(Labels::Logistic, 32)[middle] - 1.0 / (1.0 + (-2f32).exp())).abs() < 1e-6);
        for labels in [Labels::Continuous, Labels::Intensity, Labels::Logistic] {
            assert_eq!(target(labels, 60)[0], 0.0);
        }
    }

    #[test]
    fn only_patches_are_labeled() {
        let normal = RgbImage::new(20, 20);
        let damaged = RgbImage::from_pixel(20, 20, Rgb([90; 3]));
        let all = Rect {
            x: 0,
            y: 0,
            width: 20,
            height: 20,
        };
        assert!(label(&Settings::default(), &normal, &damaged, &[0; 400], all, 1.0).is_none());
        let (mask, _) = label(&Settings::default(), &normal, &damaged, &[1; 400], all, 1.0).unwrap();
        assert!(mask.iter().all(|m| *m == 255));
    }
}
