//! Masks as runs of pixels: loops over runs have no condition inside.

use daf_core::{Rect, Region};

/// Pixels `start..end` of row `y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) y: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Run {
    pub(crate) fn pixels(self) -> usize {
        self.end - self.start
    }

    /// Where the run lies in an image of three channels.
    pub(crate) fn bytes(self, width: usize) -> std::ops::Range<usize> {
        (self.y * width + self.start) * 3..(self.y * width + self.end) * 3
    }
}

/// The runs of a region, row by row.
pub(crate) fn of_region(region: &Region) -> impl Iterator<Item = Run> + '_ {
    of_mask(
        region.mask().as_raw(),
        region.mask().width() as usize,
        region.bounds(),
    )
}

/// The runs of values other than 0 within `bounds`, row by row.
pub(crate) fn of_mask(mask: &[u8], width: usize, bounds: Rect) -> impl Iterator<Item = Run> + '_ {
    let (left, right) = (bounds.x as usize, (bounds.x + bounds.width) as usize);
    (bounds.y as usize..(bounds.y + bounds.height) as usize).flat_map(move |y| {
        let row = &mask[y * width..y * width + right];
        let mut at = left;
        std::iter::from_fn(move || {
            let start = leave(row, at, 0);
            if start == row.len() {
                return None;
            }
            at = leave(row, start, 255).max(start + 1);
            Some(Run { y, start, end: at })
        })
    })
}

/// The first place from `at` on whose value is not `value`.
fn leave(row: &[u8], at: usize, value: u8) -> usize {
    let (words, rest) = row[at..].as_chunks::<8>();
    let same = u64::from_le_bytes([value; 8]);
    for (i, word) in words.iter().enumerate() {
        let differing = u64::from_le_bytes(*word) ^ same;
        if differing != 0 {
            return at + 8 * i + differing.trailing_zeros() as usize / 8;
        }
    }
    let differs = rest.iter().position(|v| *v != value);
    row.len() - rest.len() + differs.unwrap_or(rest.len())
}

/// Every row of an image.
pub(crate) fn whole(width: usize, height: usize) -> impl Iterator<Item = Run> {
    (0..height).map(move |y| Run {
        y,
        start: 0,
        end: width,
    })
}

#[cfg(test)]
mod tests {
    use daf_core::image::GrayImage;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_hold_exactly_the_pixels_of_the_region(
            mask in proptest::collection::vec(prop_oneof![4 => Just(0u8), 4 => Just(255), 1 => Just(7)], 60 * 9),
        ) {
            let Some(region) = Region::of(GrayImage::from_raw(60, 9, mask.clone()).unwrap()) else {
                return Ok(());
            };
            let mut found = vec![false; mask.len()];
            for run in of_region(&region) {
                prop_assert!(run.pixels() > 0);
                found[run.y * 60 + run.start..run.y * 60 + run.end].fill(true);
            }
            prop_assert_eq!(found, mask.iter().map(|v| *v != 0).collect::<Vec<_>>());
        }
    }
}
