//! Synthetic defects.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use image::{GrayImage, RgbImage};
use rand::Rng;

use crate::BoxError;

/// Damages normal images, so that a student can learn where it may disagree with its teacher.
///
/// A call depends on nothing but its arguments: the same image, donors and random stream give the same bytes.
#[typetag::serde(tag = "type")]
pub trait Synthesizer: Debug + Send + Sync {
    /// Damages one normal image of any size.
    ///
    /// # Errors
    /// Whatever keeps the strategy from its work, e.g. a texture that cannot be read.
    fn synthesize(
        &self,
        normal: &RgbImage,
        donors: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Outcome, BoxError>;

    /// Whether pixels outside the mask (but inside [`Synthetic::touched`]) may change, as Poisson blending does.
    fn blends(&self) -> bool {
        false
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

super::boxed_schema!(Synthesizer);

/// What became of the image.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It has a defect now.
    Damaged(Synthetic),
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
    /// Kind of the defect among those that the strategy makes, for methods that classify them; 0 if there is one kind.
    pub class: u8,
}

impl Synthetic {
    /// Checks what everyone who uses a synthesizer relies on, against the normal image that was damaged: the sizes, a mask
    /// of 0 and 255 that is not empty, targets in 0..=1, and no change outside [`touched`](Self::touched) nor, unless the
    /// strategy [blends](Synthesizer::blends), outside the mask. For the tests of strategies.
    ///
    /// # Errors
    /// Says what does not hold, and where.
    pub fn check(&self, normal: &RgbImage, blends: bool) -> Result<(), BoxError> {
        let size = normal.dimensions();
        for (what, found) in [
            ("image", self.image.dimensions()),
            ("mask", self.mask.dimensions()),
        ] {
            if found != size {
                return Err(format!(
                    "{what}: expected the size {size:?} of the normal image, found {found:?}"
                )
                .into());
            }
        }
        if let Some(value) = self.mask.iter().find(|value| !matches!(value, 0 | 255)) {
            return Err(format!("mask: expected 0 and 255, found {value}").into());
        }
        if !self.mask.contains(&255) {
            return Err("mask: empty; without a defect the outcome is `Unchanged`".into());
        }
        if let Some(target) = &self.target {
            let pixels = normal.pixels().len();
            if target.len() != pixels {
                return Err(format!("target: expected {pixels} values, found {}", target.len()).into());
            }
            if let Some(value) = target.iter().find(|value| !(0.0..=1.0).contains(*value)) {
                return Err(format!("target: expected values of 0 to 1, found {value}").into());
            }
        }
        let pixels = self.image.pixels().zip(self.mask.pixels());
        for ((x, y, old), (new, mask)) in normal.enumerate_pixels().zip(pixels) {
            if old != new && !self.touched.contains(x, y) {
                return Err(format!("pixel {x}, {y} changed outside {:?}", self.touched).into());
            }
            if old != new && !blends && mask.0[0] == 0 {
                return Err(format!("pixel {x}, {y} changed outside the mask").into());
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
