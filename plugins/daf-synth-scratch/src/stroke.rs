//! Strokes and what they leave on an image.

use daf_core::image::{GrayImage, RgbImage};
use daf_core::rand::{Rng, RngExt};

/// Changes below this many gray levels cannot be seen; they are neither made nor marked.
const VISIBLE: f32 = 6.0;

/// The change of every pixel, in gray levels. Of several strokes over a pixel the strongest counts.
pub(crate) struct Canvas {
    width: u32,
    height: u32,
    change: Vec<f32>,
}

/// What a stroke starts with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pen {
    /// Column and row where the stroke begins.
    pub(crate) from: (f64, f64),
    /// Angle in radians.
    pub(crate) direction: f64,
    /// In pixels.
    pub(crate) length: f64,
    /// In pixels, in the middle of the length.
    pub(crate) width: f64,
    /// Gray levels in the middle of the width.
    pub(crate) change: f64,
    /// How much the flanks differ, 0..=1.
    pub(crate) relief: f64,
}

impl Pen {
    /// An arc, curved by at most `bend` radians, with a little tremor.
    pub(crate) fn scratch(self, bend: f64, canvas: &mut Canvas, rng: &mut dyn Rng) {
        let bend = bend * rng.random_range(-1.0..=1.0);
        let step = self.width.max(2.0);
        let steps = (self.length / step).ceil();
        self.walk(step, canvas, |direction| {
            direction + bend / steps + rng.random_range(-0.05..=0.05)
        });
    }

    /// A jagged line with `branches` others from it on average, each shorter and thinner.
    pub(crate) fn crack(self, branches: f64, canvas: &mut Canvas, rng: &mut dyn Rng) {
        let step = (2.0 * self.width).max(4.0);
        let main = self.direction;
        // The line turns sharply but keeps its general direction.
        let points = self.walk(step, canvas, |_| main + rng.random_range(-0.9..=0.9));
        let chance = (branches / points.len() as f64).min(1.0);
        for (share, at) in points {
            if rng.random_bool(chance) {
                let side = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
                let branch = Self {
                    from: at,
                    direction: main + side * rng.random_range(0.4..=1.2),
                    length: self.length * (1.0 - share) * rng.random_range(0.2..=0.6),
                    width: (0.7 * self.width).max(0.5),
                    ..self
                };
                let main = branch.direction;
                branch.walk(step, canvas, |_| main + rng.random_range(-0.9..=0.9));
            }
        }
    }

    /// Draws a line of straight steps, each in the direction that `turn` makes of the last. Gives the points
    /// with the share of the length that lies before them.
    fn walk(
        self,
        step: f64,
        canvas: &mut Canvas,
        mut turn: impl FnMut(f64) -> f64,
    ) -> Vec<(f64, (f64, f64))> {
        let mut points = Vec::new();
        let (mut done, mut from, mut direction) = (0.0, self.from, self.direction);
        while done < self.length {
            direction = turn(direction);
            let length = step.min(self.length - done);
            let to = (
                from.0 + length * direction.cos(),
                from.1 + length * direction.sin(),
            );
            let shares = (done / self.length, (done + length) / self.length);
            canvas.segment(&self, from, to, shares);
            points.push((shares.0, from));
            (done, from) = (done + step, to);
        }
        points
    }
}

impl Canvas {
    pub(crate) fn new(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            change: vec![0.0; width as usize * height as usize],
        }
    }

    /// Draws a straight piece of a stroke; `shares` of the stroke's length lie before its ends.
    fn segment(&mut self, pen: &Pen, from: (f64, f64), to: (f64, f64), shares: (f64, f64)) {
        let reach = 0.5 * pen.width + 1.0;
        let range = |a: f64, b: f64, size: u32| {
            let low = (a.min(b) - reach).floor().max(0.0);
            let high = (a.max(b) + reach).ceil().min(f64::from(size) - 1.0);
            // Empty where the piece lies outside.
            low as u32..if high < low { low as u32 } else { high as u32 + 1 }
        };
        let along = (to.0 - from.0, to.1 - from.1);
        let square = (along.0 * along.0 + along.1 * along.1).max(1e-12);
        let length = square.sqrt();
        for y in range(from.1, to.1, self.height) {
            for x in range(from.0, to.0, self.width) {
                let off = (f64::from(x) - from.0, f64::from(y) - from.1);
                let share = ((off.0 * along.0 + off.1 * along.1) / square).clamp(0.0, 1.0);
                let nearest = (off.0 - share * along.0, off.1 - share * along.1);
                let distance = nearest.0.hypot(nearest.1);
                // Thinner and fainter to both ends of the stroke.
                let position = shares.0 + share * (shares.1 - shares.0);
                let taper = (4.0 * position * (1.0 - position)).max(0.0).sqrt();
                let radius = 0.5 * pen.width * (0.4 + 0.6 * taper);
                // How much of the pixel lies under the stroke, so that thin ones have no steps.
                let cover = (radius + 0.5 - distance).clamp(0.0, 1.0);
                if cover == 0.0 {
                    continue;
                }
                // From -1 at one flank to 1 at the other; light falls on one of them.
                let across = (off.0 * along.1 - off.1 * along.0) / length / radius.max(0.5);
                let profile = 1.0 - pen.relief * (1.0 + across.clamp(-1.0, 1.0)) * across.abs().min(1.0);
                let change = (pen.change * cover * taper * profile) as f32;
                let pixel = &mut self.change[y as usize * self.width as usize + x as usize];
                if change.abs() > pixel.abs() {
                    *pixel = change;
                }
            }
        }
    }

    /// Changes the image and marks what was changed with 255.
    pub(crate) fn apply(&self, image: &mut RgbImage, mask: &mut GrayImage) {
        for ((pixel, mark), change) in image.pixels_mut().zip(mask.iter_mut()).zip(&self.change) {
            if change.abs() < VISIBLE {
                continue;
            }
            let changed = pixel.0.map(|value| (f32::from(value) + change).round() as u8);
            if changed != pixel.0 {
                pixel.0 = changed;
                *mark = 255;
            }
        }
    }
}
