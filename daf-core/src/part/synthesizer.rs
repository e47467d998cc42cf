//! Synthetic defects.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use image::{GrayImage, RgbImage};
use rand::Rng;

use crate::contract::{self, Broken};
use crate::{BoxError, Kind};

/// Damages normal images, so that a student can learn where it may disagree with its teacher.
///
/// A call depends on nothing but its arguments: the same image, donors and random stream give the same bytes.
#[typetag::serde(tag = "type")]
pub trait Synthesizer: Debug + Send + Sync {
    /// Damages one normal image of any size.
    ///
    /// # Errors
    /// If the strategy cannot work, e.g. because a texture cannot be read.
    fn synthesize(
        &self,
        normal: &RgbImage,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Synthesis, BoxError>;

    /// Whether pixels outside the mask (but inside [`Synthetic::touched`]) may change, as Poisson blending does.
    fn blends(&self) -> bool {
        false
    }

    /// How many kinds of defects it makes, which it tells apart by [`Synthetic::class`]: 0 if it leaves all images as they are
    /// on purpose. A strategy made of other parts has the most of theirs.
    fn classes(&self) -> u8 {
        1
    }

    /// The image files that it draws from, as those of [`Texture::image_files`](crate::Texture::image_files); a strategy made of other
    /// parts gives theirs.
    fn image_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Checks ranges and files before any work is done.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

super::part!(Synthesizer);

impl dyn Synthesizer + '_ {
    /// [`synthesize`](Synthesizer::synthesize) with a [check](Synthetic::check) of the result. `at` says what is being damaged.
    ///
    /// # Errors
    /// The strategy's own, or [`Broken`] if it panics or makes what does not fit.
    pub fn synthesize_checked(
        &self,
        normal: &RgbImage,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
        at: impl Into<String>,
    ) -> Result<Synthesis, BoxError> {
        let name = self.typetag_name();
        let outcome = contract::call(Kind::Synthesizer, name, at, || {
            self.synthesize(normal, donors, rng)
        })?;
        if let Synthesis::Anomalous(synthetic) = &outcome {
            let broken = |what| Broken::new(Kind::Synthesizer, name, what);
            synthetic.check(normal, self.blends()).map_err(broken)?;
            let (class, classes) = (synthetic.class, self.classes());
            if class >= classes {
                let what = format!(
                    "class: expected less than {classes}, the number that `classes` gives, found {class}"
                );
                return Err(broken(what).into());
            }
        }
        Ok(outcome)
    }
}

/// Result of a synthesizer for an image.
#[derive(Debug, Clone)]
pub enum Synthesis {
    /// It has a defect now.
    Anomalous(Synthetic),
    /// It was left as it is: the strategy found no place for a defect, or keeps a share of the images normal.
    Unchanged,
}

/// A damaged image. All parts have the size of the normal image.
#[derive(Debug, Clone)]
pub struct Synthetic {
    /// The image with the defect.
    pub image: RgbImage,
    /// 255 where the defect is, 0 elsewhere; never all 0.
    pub mask: GrayImage,
    /// A soft training target in 0..=1, row by row, where the strategy has one (NSA); otherwise the mask is the target.
    pub target: Option<Vec<f32>>,
    /// Pixels outside this rectangle are those of the normal image.
    pub touched: Rect,
    /// Kind of the defect among the [`classes`](Synthesizer::classes) of the strategy, for methods that tell them apart; 0 if there is
    /// one kind.
    pub class: u8,
}

impl Synthetic {
    /// Checks what everyone who uses a synthesizer relies on, against the normal image that was damaged: the sizes, a mask
    /// of 0 and 255 that is not empty, targets in 0..=1, and no change outside [`touched`](Self::touched) nor, unless the
    /// strategy [blends](Synthesizer::blends), outside the mask.
    ///
    /// # Errors
    /// Says what does not hold, and where.
    pub fn check(&self, normal: &RgbImage, blends: bool) -> Result<(), String> {
        let size = normal.dimensions();
        for (what, found) in [
            ("image", self.image.dimensions()),
            ("mask", self.mask.dimensions()),
        ] {
            if found != size {
                return Err(format!(
                    "{what}: expected the size of the normal image, {}×{}, found {}×{}",
                    size.0, size.1, found.0, found.1
                ));
            }
        }
        if let Some(value) = self.mask.iter().find(|value| !matches!(value, 0 | 255)) {
            return Err(format!("mask: expected 0 and 255, found {value}"));
        }
        if !self.mask.contains(&255) {
            return Err("mask: empty; without a defect the outcome is `Unchanged`".into());
        }
        if let Some(target) = &self.target {
            let pixels = normal.pixels().len();
            if target.len() != pixels {
                return Err(format!(
                    "target: expected {pixels} values, found {}",
                    target.len()
                ));
            }
            if let Some(value) = target.iter().find(|value| !(0.0..=1.0).contains(*value)) {
                return Err(format!("target: expected values of 0 to 1, found {value}"));
            }
        }
        self.check_changes(normal, blends)
    }

    /// Checks that no pixel changed where none may.
    fn check_changes(&self, normal: &RgbImage, blends: bool) -> Result<(), String> {
        let width = (normal.width() as usize).max(1);
        let [old, new] = [normal, &self.image].map(|image| image.as_raw().chunks_exact(3 * width));
        let rows = old.zip(new).zip(self.mask.as_raw().chunks_exact(width));
        // Most rows are as they were.
        let changed = (0u32..).zip(rows).filter(|(_, ((old, new), _))| old != new);
        for (y, ((old, new), mask)) in changed {
            let pixels = old.chunks_exact(3).zip(new.chunks_exact(3)).zip(mask);
            let changed = (0u32..).zip(pixels).filter(|(_, ((old, new), _))| old != new);
            for (x, (_, mask)) in changed {
                if !self.touched.contains(x, y) {
                    return Err(format!(
                        "pixel {x}, {y} changed outside `touched`, {:?}",
                        self.touched
                    ));
                }
                if !blends && *mask == 0 {
                    return Err(format!("pixel {x}, {y} changed outside the mask"));
                }
            }
        }
        Ok(())
    }
}

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Number of columns.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
}

impl Rect {
    /// The smallest rectangle around the nonzero pixels of `mask`; `None` if there are none.
    #[must_use]
    #[inline]
    pub fn around(mask: &GrayImage) -> Option<Self> {
        let width = mask.width() as usize;
        let mut columns = vec![0; width];
        let (mut top, mut bottom) = (None, 0);
        for (y, row) in (0u32..mask.height()).zip(mask.as_raw().chunks_exact(width.max(1))) {
            // No exits in the loop, so that it runs over many pixels at a time.
            let mut any = 0;
            for (column, value) in columns.iter_mut().zip(row) {
                *column |= value;
                any |= value;
            }
            if any != 0 {
                top = top.or(Some(y));
                bottom = y;
            }
        }
        let top = top?;
        let left = columns.iter().position(|value| *value != 0)? as u32;
        let right = columns.iter().rposition(|value| *value != 0)? as u32;
        Some(Self {
            x: left,
            y: top,
            width: right - left + 1,
            height: bottom - top + 1,
        })
    }

    /// Whether the pixel lies inside.
    #[must_use]
    pub const fn contains(&self, x: u32, y: u32) -> bool {
        x >= self.x && y >= self.y && x - self.x < self.width && y - self.y < self.height
    }
}

/// The other normal images of the training set, for strategies that paste from them.
pub trait Donors: Sync {
    /// One of them, at the network's input size, drawn uniformly with `rng`.
    ///
    /// # Errors
    /// If there is none or it cannot be read.
    fn draw(&self, rng: &mut dyn Rng) -> Result<Arc<RgbImage>, BoxError>;
}

/// A training set of one image.
impl Donors for RgbImage {
    fn draw(&self, _: &mut dyn Rng) -> Result<Arc<RgbImage>, BoxError> {
        Ok(Arc::new(self.clone()))
    }
}
