//! Masks of defects: the pixels where the drawn image differs from the same image without the defect.

use daf_core::image::{GrayImage, Luma, RgbImage};

/// Grey levels by which a channel must differ to be seen.
const SEEN: u8 = 6;

fn differs(a: &RgbImage, b: &RgbImage) -> impl Iterator<Item = bool> {
    a.pixels()
        .zip(b.pixels())
        .map(|(a, b)| a.0.iter().zip(b.0).any(|(a, b)| a.abs_diff(b) > SEEN))
}

/// Share of the pixels that differ.
pub(super) fn area(normal: &RgbImage, defective: &RgbImage) -> f32 {
    let seen = differs(normal, defective).filter(|&seen| seen).count();
    seen as f32 / (normal.width() * normal.height()).max(1) as f32
}

/// The mask of a defect: 255 where the images differ. Pinholes and gaps of a pixel or two, where the defect
/// happens to have the color of what it covers, belong to it; lone pixels do not.
pub(super) fn difference(normal: &RgbImage, defective: &RgbImage) -> GrayImage {
    let (width, height) = normal.dimensions();
    let mut mask = Grid {
        width: width as usize,
        height: height as usize,
        set: differs(normal, defective).collect(),
    };
    let reach = (width as usize).div_ceil(256);
    mask.grow(reach, true);
    mask.grow(reach, false);
    let pixels = mask.set.len();
    // 1 % for gaps, 0.02 % for specks.
    mask.flip_small(false, pixels / 100);
    mask.flip_small(true, (pixels / 5000).max(2));
    GrayImage::from_fn(width, height, |x, y| {
        Luma([if mask.set[y as usize * mask.width + x as usize] {
            255
        } else {
            0
        }])
    })
}

struct Grid {
    width: usize,
    height: usize,
    set: Vec<bool>,
}

impl Grid {
    /// Gives pixels within `reach` of a pixel of `value` that value too, along rows and then columns.
    fn grow(&mut self, reach: usize, value: bool) {
        for (lines, line, along, step) in [
            (self.height, self.width, self.width, 1),
            (self.width, 1, self.height, self.width),
        ] {
            for start in (0..lines).map(|i| i * line) {
                let old: Vec<_> = (0..along).map(|i| self.set[start + i * step]).collect();
                for i in 0..along {
                    let near = &old[i.saturating_sub(reach)..(i + reach + 1).min(along)];
                    if near.contains(&value) {
                        self.set[start + i * step] = value;
                    }
                }
            }
        }
    }

    /// Inverts the connected regions of `value` that have fewer than `least` pixels.
    fn flip_small(&mut self, value: bool, least: usize) {
        let mut visited = vec![false; self.set.len()];
        let mut region = Vec::new();
        for start in 0..self.set.len() {
            if visited[start] || self.set[start] != value {
                continue;
            }
            region.clear();
            region.push(start);
            visited[start] = true;
            let mut next = 0;
            while let Some(&at) = region.get(next) {
                next += 1;
                let x = at % self.width;
                let neighbors = [
                    (x > 0).then(|| at - 1),
                    (x + 1 < self.width).then(|| at + 1),
                    at.checked_sub(self.width),
                    Some(at + self.width).filter(|&below| below < self.set.len()),
                ];
                for near in neighbors.into_iter().flatten() {
                    if !visited[near] && self.set[near] == value {
                        visited[near] = true;
                        region.push(near);
                    }
                }
            }
            if region.len() < least {
                for &at in &region {
                    self.set[at] = !value;
                }
            }
        }
    }
}
