//! Defects on the object only.

use std::path::PathBuf;

use daf_core::image::RgbImage;
use daf_core::rand::Rng;
use daf_core::{BoxError, Donors, Rect, Synthesis, Synthesizer, Synthetic, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::composed::SimpleTexture;
use crate::object::{ObjectMask, ObjectModel};

/// Another strategy, restricted to the object: defects never lie on the background.
///
/// Changes off the object are undone. If too little of the defect is left, it is drawn again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Foreground {
    /// How to tell the object: `{type: border}` by what the image's border shows, `{type: threshold,
    /// brightness: 200, threshold: 60}` by a known brightness of the background, `{type: everywhere}` not at
    /// all.
    pub model: ObjectModel,
    /// The strategy that makes the defects: any synthesizer with its settings, e.g. `{type: dra}`.
    pub of: Box<dyn Synthesizer>,
    /// Share of a defect's pixels from 0 to 1 that must lie on the object; with less, the defect is drawn
    /// again.
    pub least: f64,
    /// How many times a defect is drawn, from 1 to 1000, before the image is left as it is.
    pub tries: u32,
}

impl Default for Foreground {
    fn default() -> Self {
        Self {
            model: ObjectModel::default(),
            of: Box::new(SimpleTexture::default()),
            least: 0.1,
            tries: 20,
        }
    }
}

daf_core::register!(Synthesizer: Foreground = "foreground");

#[typetag::serde(name = Foreground::NAME)]
impl Synthesizer for Foreground {
    fn synthesize(
        &self,
        normal: &RgbImage,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Synthesis, BoxError> {
        let object = self.model.find(normal);
        let at = "as a part of `foreground`";
        for _ in 0..self.tries {
            // A strategy that leaves an image as it is may mean it, e.g. to keep a share of them normal.
            let Synthesis::Anomalous(found) = self.of.synthesize_checked(normal, donors, rng, at)? else {
                return Ok(Synthesis::Unchanged);
            };
            if let Some(restricted) = restrict(found, normal, &object, self.least) {
                return Ok(Synthesis::Anomalous(restricted));
            }
        }
        Ok(Synthesis::Unchanged)
    }

    fn blends(&self) -> bool {
        self.of.blends()
    }

    fn classes(&self) -> u8 {
        self.of.classes()
    }

    fn image_files(&self) -> Vec<PathBuf> {
        self.of.image_files()
    }

    fn check(&self) -> Result<(), BoxError> {
        self.model.check("model")?;
        if !(0.0..=1.0).contains(&self.least) {
            return Err(format!("least: expected a share from 0 to 1, found {}", self.least).into());
        }
        if !(1..=1000).contains(&self.tries) {
            return Err(format!("tries: expected a number from 1 to 1000, found {}", self.tries).into());
        }
        self.of.check().map_err(|error| format!("of: {error}").into())
    }
}

/// Undoes the defect off the object; `None` if fewer than `least` of its pixels, or none, are left.
fn restrict(mut found: Synthetic, normal: &RgbImage, object: &ObjectMask, least: f64) -> Option<Synthetic> {
    let (mut before, mut after) = (0u32, 0u32);
    let pixels = found
        .image
        .as_mut()
        .chunks_exact_mut(3)
        .zip(normal.as_raw().chunks_exact(3));
    for ((object, (new, old)), mask) in object
        .as_raw()
        .iter()
        .zip(pixels)
        .zip(found.mask.as_mut().iter_mut())
    {
        before += u32::from(*mask > 0);
        if *object == 0 {
            new.copy_from_slice(old);
            *mask = 0;
        }
        after += u32::from(*mask > 0);
    }
    if after == 0 || f64::from(after) < least * f64::from(before) {
        return None;
    }
    if let Some(target) = &mut found.target {
        target
            .iter_mut()
            .zip(object.as_raw())
            .for_each(|(value, object)| *value *= f32::from(*object));
    }
    found.touched = tighten(found.touched, object, normal.width());
    Some(found)
}

/// The part of the rectangle that holds the object; outside nothing has changed.
fn tighten(touched: Rect, object: &ObjectMask, width: u32) -> Rect {
    let columns = touched.x as usize..(touched.x.saturating_add(touched.width)).min(width) as usize;
    let rows = touched.y as usize..touched.y.saturating_add(touched.height) as usize;
    let (mut left, mut right, mut top, mut bottom) = (usize::MAX, 0, usize::MAX, 0);
    let lines = object.as_raw().chunks_exact(width.max(1) as usize).enumerate();
    for (y, row) in lines.take(rows.end).skip(rows.start) {
        let row = row.get(columns.clone()).unwrap_or_default();
        if let Some(first) = row.iter().position(|m| *m > 0) {
            let last = row.iter().rposition(|m| *m > 0).unwrap_or(first);
            (left, right) = (left.min(first), right.max(last));
            (top, bottom) = (top.min(y), y);
        }
    }
    if left == usize::MAX {
        return touched;
    }
    Rect {
        x: (columns.start + left) as u32,
        y: top as u32,
        width: (right - left + 1) as u32,
        height: (bottom - top + 1) as u32,
    }
}

#[cfg(test)]
mod tests {
    use daf_core::image::{GrayImage, Luma, Rgb};
    use daf_core::rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Paints a square of 10 pixels somewhere, shades the two columns right of it without masking them, and
    /// has a soft target and a class.
    #[derive(Debug, Serialize, Deserialize)]
    struct Square {}

    #[typetag::serde(name = "foreground_test_square")]
    impl Synthesizer for Square {
        fn synthesize(
            &self,
            normal: &RgbImage,
            _: &dyn Donors,
            rng: &mut dyn Rng,
        ) -> Result<Synthesis, BoxError> {
            let touched = Rect {
                x: rng.random_range(0..normal.width() - 12),
                y: rng.random_range(0..normal.height() - 10),
                width: 12,
                height: 10,
            };
            let mut image = normal.clone();
            let mut mask = GrayImage::new(normal.width(), normal.height());
            for (x, y) in (0..12).flat_map(|x| (0..10).map(move |y| (touched.x + x, touched.y + y))) {
                image.put_pixel(x, y, Rgb([1, 2, 3]));
                if x < touched.x + 10 {
                    mask.put_pixel(x, y, Luma([255]));
                }
            }
            let target = Some(mask.iter().map(|m| f32::from(*m) / 510.0).collect());
            Ok(Synthesis::Anomalous(Synthetic {
                image,
                mask,
                target,
                touched,
                class: 7,
            }))
        }
        fn blends(&self) -> bool {
            true
        }
        fn classes(&self) -> u8 {
            8
        }
        fn check(&self) -> Result<(), BoxError> {
            Err("side: too long".into())
        }
    }

    fn normal() -> RgbImage {
        RgbImage::from_fn(60, 50, |x, y| {
            let object = (20..40).contains(&x) && (15..35).contains(&y);
            Rgb(if object { [90, 40, 20] } else { [200; 3] })
        })
    }

    fn on(least: f64) -> Foreground {
        Foreground {
            of: Box::new(Square {}),
            least,
            ..Foreground::default()
        }
    }

    #[test]
    fn image_mask_target_and_box_are_cut_to_the_object() {
        let (normal, strategy) = (normal(), on(0.1));
        let object = strategy.model.find(&normal);
        let mut cut = 0;
        for seed in 0..60 {
            let outcome = strategy
                .synthesize(&normal, &normal, &mut ChaCha8Rng::seed_from_u64(seed))
                .unwrap();
            let Synthesis::Anomalous(found) = outcome else {
                panic!("20 tries are enough")
            };
            assert_eq!(found.class, 7);
            let target = found.target.unwrap();
            let mut count = 0;
            for (i, (x, y, pixel)) in found.image.enumerate_pixels().enumerate() {
                let (inside, masked) = (object.as_raw()[i] == 1, found.mask.get_pixel(x, y).0[0] > 0);
                assert!(inside || (pixel == normal.get_pixel(x, y) && !masked && target[i] == 0.0));
                assert!(!masked || (pixel.0 == [1, 2, 3] && target[i] == 0.5));
                assert!(found.touched.contains(x, y) || pixel == normal.get_pixel(x, y));
                count += u32::from(masked);
            }
            assert!(count >= 10, "at least a tenth of 100 pixels");
            cut += u32::from(count < 100);
        }
        assert!(cut > 20, "{cut}");
        assert!(strategy.blends());
    }

    #[test]
    fn a_defect_that_must_lie_on_the_object_does() {
        let (normal, strategy) = (
            normal(),
            Foreground {
                tries: 1000,
                ..on(1.0)
            },
        );
        for seed in 0..10 {
            let outcome = strategy
                .synthesize(&normal, &normal, &mut ChaCha8Rng::seed_from_u64(seed))
                .unwrap();
            let Synthesis::Anomalous(found) = outcome else {
                panic!()
            };
            assert_eq!(found.mask.iter().filter(|m| **m > 0).count(), 100);
        }
    }

    #[test]
    fn an_image_without_object_stays_normal() {
        let normal = RgbImage::from_pixel(40, 40, Rgb([200; 3]));
        let strategy = Foreground {
            model: ObjectModel::Threshold {
                brightness: 200.0,
                threshold: 20.0,
            },
            ..on(0.0)
        };
        let outcome = strategy
            .synthesize(&normal, &normal, &mut ChaCha8Rng::seed_from_u64(1))
            .unwrap();
        assert!(matches!(outcome, Synthesis::Unchanged));
    }

    #[test]
    fn checks_reach_the_model_and_the_strategy_inside() {
        assert_eq!(on(0.1).check().unwrap_err().to_string(), "of: side: too long");
        let error = Foreground {
            least: 2.0,
            ..Foreground::default()
        }
        .check()
        .unwrap_err()
        .to_string();
        assert_eq!(error, "least: expected a share from 0 to 1, found 2");
        assert!(
            Foreground {
                tries: 0,
                ..Foreground::default()
            }
            .check()
            .is_err()
        );
        Foreground::default().check().unwrap();
    }
}
