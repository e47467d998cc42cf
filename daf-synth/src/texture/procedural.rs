//! Procedural textures, which need no image files.
//!
//! A [`Pattern`] gives each pixel a height in 0..=1, a random palette turns heights into colors, uneven light
//! and pixel noise take away what is artificial. Sizes of structures are relative to the image's shorter
//! side.

use std::f32::consts::{PI, TAU};

use daf_core::image::RgbImage;
use daf_core::rand::{Rng, RngExt};
use daf_core::{BoxError, Donors, Fill, Rect, Region, Texture, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::range::Range;
use crate::round::{floor, nearest};
use crate::shape::perlin::Lattice;

/// Drawn textures: marble, stripes, checks, cells, weave, grain, blotches. They need no files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Procedural {
    /// Patterns, each as likely as any other: `marble`, `stripes`, `checks`, `cells`,
    /// `weave`, `grain`, `blotches`; all of them by default.
    pub patterns: Vec<Pattern>,
}

impl Default for Procedural {
    fn default() -> Self {
        Self {
            patterns: Pattern::ALL.to_vec(),
        }
    }
}

daf_core::register!(Texture: Procedural = "procedural");

impl Procedural {
    /// A texture of one of the patterns, of which there must be one.
    #[must_use]
    pub fn image(&self, width: u32, height: u32, rng: &mut dyn Rng) -> RgbImage {
        self.pattern(rng).draw(width, height, rng)
    }

    fn pattern(&self, rng: &mut dyn Rng) -> Pattern {
        self.patterns[rng.random_range(0..self.patterns.len())]
    }
}

#[typetag::serde(name = Procedural::NAME)]
impl Texture for Procedural {
    fn draw(
        &self,
        normal: &RgbImage,
        region: &Region,
        _: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Fill, BoxError> {
        self.check()?;
        // What lies outside the region is never seen.
        let area = Area {
            size: (normal.width() as usize, normal.height() as usize),
            window: region.bounds(),
        };
        Ok(Fill::Patch(self.pattern(rng).fill(area, rng)))
    }

    fn check(&self) -> Result<(), BoxError> {
        if self.patterns.is_empty() {
            return Err(
                "patterns: expected at least one, found an empty list; leave it out to have all".into(),
            );
        }
        Ok(())
    }
}

/// A family of textures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// Noise of several octaves, smooth or with ridges: clouds, stains, marble.
    Marble,
    /// Wavering parallel lines.
    Stripes,
    /// Two sets of lines across each other: checkers, grids.
    Checks,
    /// Cells around scattered points: pebbles, cracks, scales.
    Cells,
    /// Threads that pass over and under each other.
    Weave,
    /// Fine noise, isotropic or brushed.
    Grain,
    /// Flat stains with a more or less sharp edge.
    Blotches,
}

impl Pattern {
    /// Every pattern.
    pub const ALL: [Self; 7] = [
        Self::Marble,
        Self::Stripes,
        Self::Checks,
        Self::Cells,
        Self::Weave,
        Self::Grain,
        Self::Blotches,
    ];

    /// One of these textures.
    #[must_use]
    pub fn draw(self, width: u32, height: u32, rng: &mut dyn Rng) -> RgbImage {
        let area = Area {
            size: (width as usize, height as usize),
            window: Rect {
                x: 0,
                y: 0,
                width,
                height,
            },
        };
        self.fill(area, rng)
    }

    /// The part of one of these textures that is in the area's window.
    fn fill(self, area: Area, rng: &mut dyn Rng) -> RgbImage {
        if area.pixels() == 0 {
            return RgbImage::new(area.window.width, area.window.height);
        }
        let heights = match self {
            Self::Marble => area.marble(rng),
            Self::Stripes => area.stripes(rng),
            Self::Checks => area.checks(rng),
            Self::Cells => area.cells(rng),
            Self::Weave => area.weave(rng),
            Self::Grain => area.grain(rng),
            Self::Blotches => area.blotches(rng),
        };
        area.paint(&heights, rng)
    }
}

fn uniform(low: f64, high: f64, rng: &mut dyn Rng) -> f32 {
    Range(low, high).draw(rng) as f32
}

fn uniform_log(low: f64, high: f64, rng: &mut dyn Rng) -> f32 {
    Range(low, high).draw_log(rng) as f32
}

fn fraction(value: f32) -> f32 {
    value - floor(value) as f32
}

/// sin(π·t) for t in 0..=1 to a thousandth. The sine itself is a function call, whose last bits depend on the
/// library.
fn arch(t: f32) -> f32 {
    let parabola = 4.0 * t * (1.0 - t);
    parabola * (0.775 + 0.225 * parabola)
}

/// A value for each pixel of a window.
type Field = Vec<f32>;

/// The pixels to fill: a window of an image of a size, both of at least one pixel.
#[derive(Debug, Clone, Copy)]
struct Area {
    size: (usize, usize),
    window: Rect,
}

impl Area {
    /// The image's shorter side.
    fn side(self) -> usize {
        self.size.0.min(self.size.1)
    }

    /// Columns of the window.
    fn width(self) -> usize {
        self.window.width as usize
    }

    fn pixels(self) -> usize {
        self.width() * self.window.height as usize
    }

    /// A value for each pixel from its column, its row and its values in `fields`.
    fn map<const N: usize>(self, fields: [&[f32]; N], value: impl Fn(f32, f32, [f32; N]) -> f32) -> Field {
        let mut values = vec![0.0; self.pixels()];
        for (row, values) in values.chunks_exact_mut(self.width()).enumerate() {
            let fields = fields.map(|field| &field[row * values.len()..][..values.len()]);
            let (left, y) = (self.window.x as i32, (self.window.y as usize + row) as f32);
            for (column, to) in values.iter_mut().enumerate() {
                let mut here = [0.0; N];
                for (here, field) in here.iter_mut().zip(fields) {
                    *here = field[column];
                }
                *to = value((left + column as i32) as f32, y, here);
            }
        }
        values
    }

    /// Perlin noise with so many cells along the shorter side, times `weight`.
    fn noise(self, cells: usize, weight: f32, rng: &mut dyn Rng) -> Field {
        let mut noise = vec![0.0; self.pixels()];
        self.add_noise(cells, weight, &mut noise, rng);
        noise
    }

    fn add_noise(self, cells: usize, weight: f32, to: &mut [f32], rng: &mut dyn Rng) {
        let lattice = self.lattice(cells, rng);
        lattice.add(self.size, self.window, weight, to);
    }

    fn lattice(self, cells: usize, rng: &mut dyn Rng) -> Lattice {
        let along = |size: usize| (cells * size).div_ceil(self.side());
        let cells = (along(self.size.1), along(self.size.0));
        Lattice::for_window(cells, self.size, self.window, rng)
    }

    /// Noise of octaves from `cells` on, each twice as fine as the one before, about −1..1.
    fn octaves(self, cells: usize, octaves: u32, persistence: f32, rng: &mut dyn Rng) -> Field {
        let weight = |octave: u32| persistence.powi(octave as i32);
        let scale = 1.2
            / (0..octaves)
                .map(|octave| weight(octave).powi(2))
                .sum::<f32>()
                .sqrt();
        let mut sum = self.noise(cells, scale, rng);
        for octave in 1..octaves {
            self.add_noise(cells << octave, scale * weight(octave), &mut sum, rng);
        }
        sum
    }

    /// Displacement of lines in pixels, up to `most` of a period.
    fn waver(self, period: f32, most: f64, rng: &mut dyn Rng) -> Field {
        let amplitude = period * uniform(0.0, most, rng);
        self.noise(rng.random_range(2..=6), amplitude, rng)
    }

    fn period(self, low: f64, high: f64, rng: &mut dyn Rng) -> f32 {
        (self.side() as f32 * uniform_log(low, high, rng)).max(2.5)
    }

    fn marble(self, rng: &mut dyn Rng) -> Field {
        let cells = rng.random_range(2..=10);
        let mut noise = self.octaves(cells, rng.random_range(3..=5), uniform(0.4, 0.7, rng), rng);
        let folds = rng.random::<bool>();
        let veins = uniform(1.0, 4.0, rng);
        for n in &mut noise {
            *n = if folds {
                1.0 - arch(fraction(*n * veins))
            } else {
                0.5 + 0.6 * *n
            };
        }
        noise
    }

    fn stripes(self, rng: &mut dyn Rng) -> Field {
        let period = self.period(1.0 / 64.0, 1.0 / 6.0, rng);
        let waver = self.waver(period, 1.2, rng);
        let line = Line::draw(rng);
        let (sin, cos) = uniform(0.0, f64::from(PI), rng).sin_cos();
        let scale = period.recip();
        self.map([&waver], move |x, y, [waver]| {
            line.height((x * cos + y * sin + waver) * scale)
        })
    }

    fn checks(self, rng: &mut dyn Rng) -> Field {
        let period = self.period(1.0 / 32.0, 1.0 / 4.0, rng);
        let other = period * uniform(0.6, 1.6, rng);
        let (across, down) = (self.waver(period, 0.3, rng), self.waver(other, 0.3, rng));
        let (first, second) = (Line::draw(rng), Line::draw(rng));
        let (sin, cos) = uniform(0.0, f64::from(PI), rng).sin_cos();
        let checkered = rng.random::<bool>();
        let scales = (period.recip(), other.recip());
        self.map([&across, &down], move |x, y, [across, down]| {
            let a = first.height((x * cos + y * sin + across) * scales.0);
            let b = second.height((y * cos - x * sin + down) * scales.1);
            if checkered {
                a + b - 2.0 * a * b
            } else {
                0.6 * a.max(b) + 0.4 * a * b
            }
        })
    }

    fn cells(self, rng: &mut dyn Rng) -> Field {
        let spacing = self.period(1.0 / 24.0, 1.0 / 5.0, rng);
        // One point per square of a grid from the window's corner on, with a border of squares around the
        // window.
        let columns = (self.window.width as f32 / spacing) as usize + 3;
        let rows = (self.window.height as f32 / spacing) as usize + 3;
        let points: Vec<(f32, f32, f32)> = (0..rows * columns)
            .map(|i| {
                let place = |at: usize, within: f32| (at as f32 - 1.0 + within) * spacing;
                (
                    place(i % columns, rng.random()),
                    place(i / columns, rng.random()),
                    rng.random(),
                )
            })
            .collect();
        let waver = self.waver(spacing, 0.3, rng);
        let seam = spacing * uniform(0.03, 0.25, rng);
        let flat = uniform(0.0, 1.0, rng);
        let bulging = uniform(-0.8, 0.8, rng);
        let (scale, seam) = (spacing.recip(), SmoothStep::new(0.0, seam));
        let (left, top) = (self.window.x as f32, self.window.y as f32);
        let square = |at: f32, count: usize| (floor(at * scale) + 1).clamp(1, count as i32 - 2) as usize;
        self.map([&waver], |x, y, [waver]| {
            let (x, y) = (x - left + waver, y - top - waver);
            let square = square(y, rows) * columns + square(x, columns);
            // Squared distances of the nearest two points, and the value of the nearest.
            let (mut first, mut second, mut own) = (f32::INFINITY, f32::INFINITY, 0.0);
            for row in [square - columns, square, square + columns] {
                for &(point_x, point_y, value) in &points[row - 1..=row + 1] {
                    let distance = (point_x - x).powi(2) + (point_y - y).powi(2);
                    // Without branches: which point is the nearest cannot be foreseen.
                    let farther = if distance < first { first } else { distance };
                    second = if farther < second { farther } else { second };
                    own = if distance < first { value } else { own };
                    first = if distance < first { distance } else { first };
                }
            }
            let (first, second) = (first.sqrt(), second.sqrt());
            let body = flat * own + (1.0 - flat) * 0.5 + bulging * (first * scale - 0.4);
            seam.at(second - first) * (0.25 + 0.75 * body)
        })
    }

    fn weave(self, rng: &mut dyn Rng) -> Field {
        let period = self.period(1.0 / 48.0, 1.0 / 10.0, rng);
        let (across, down) = (self.waver(period, 0.5, rng), self.waver(period, 0.5, rng));
        let (sin, cos) = uniform(0.0, f64::from(PI), rng).sin_cos();
        // 1 over 1 is linen, 2 over 2 with a step is twill.
        let float = rng.random_range(1..=2i32);
        let contrast = uniform(0.1, 0.5, rng);
        let scale = period.recip();
        self.map([&across, &down], move |x, y, [across, down]| {
            let u = (x * cos + y * sin + across) * scale;
            let v = (y * cos - x * sin + down) * scale;
            let (column, row) = (floor(u), floor(v));
            let over = ((column + row) >> (float - 1)) & 1 == 0;
            // Round across its width, bent down towards the thread that crosses.
            let (u, v) = (arch(u - column as f32), arch(v - row as f32));
            let (round, bent) = if over { (u, v) } else { (v, u) };
            let shade = round * (0.55 + 0.45 * bent);
            if over { shade } else { shade * (1.0 - contrast) }
        })
    }

    fn grain(self, rng: &mut dyn Rng) -> Field {
        let fine = uniform(0.2, 1.0, rng);
        let (shorter, longer) = (rng.random_range(2..=16usize), rng.random_range(32..=96usize));
        let brushed = rng.random_range(0..3);
        let (rows, columns) = [(longer, longer), (shorter, longer), (longer, shorter)][brushed];
        // Coarse noise, and noise that is uneven on a large scale.
        let mut heights = vec![0.0; self.pixels()];
        let coarse = Lattice::for_window((rows, columns), self.size, self.window, rng);
        coarse.add(self.size, self.window, (1.3 - fine) * 0.6, &mut heights);
        self.add_noise(3, 0.2, &mut heights, rng);
        let mut bytes = vec![0; self.width()];
        for row in heights.chunks_exact_mut(bytes.len()) {
            rng.fill_bytes(&mut bytes);
            for (height, byte) in row.iter_mut().zip(&bytes) {
                *height += 0.5 + fine * 0.6 * (f32::from(*byte) / 255.0 - 0.5);
            }
        }
        heights
    }

    fn blotches(self, rng: &mut dyn Rng) -> Field {
        let cells = rng.random_range(2..=12);
        let noise = self.octaves(cells, rng.random_range(1..=4), 0.5, rng);
        let softness = uniform_log(0.02, 0.3, rng);
        let (low, high) = (uniform(-0.4, 0.1, rng), uniform(0.1, 0.5, rng));
        let middle = uniform(0.2, 0.8, rng);
        let [low, high] = [low, high].map(|at| SmoothStep::new(at - softness, at + softness));
        self.map([&noise], move |_, _, [noise]| {
            middle * low.at(noise) + (1.0 - middle) * high.at(noise)
        })
    }

    /// Colors for heights, under uneven light, with the noise of a camera.
    fn paint(self, heights: &[f32], rng: &mut dyn Rng) -> RgbImage {
        let palette = &palette(rng);
        let uneven = uniform(0.0, 0.25, rng);
        let light = self.noise(2, uneven, rng);
        let noise = uniform(0.0, 12.0, rng);
        let mut image = RgbImage::new(self.window.width, self.window.height);
        let mut bytes = vec![0; self.width()];
        let mut values = vec![[0.0; 3]; self.width()];
        let mut fields = heights.iter().zip(&light);
        for row in image.chunks_exact_mut(3 * bytes.len()) {
            rng.fill_bytes(&mut bytes);
            for ((value, byte), (height, light)) in values.iter_mut().zip(&bytes).zip(&mut fields) {
                let speck = f32::from(*byte) * (noise / 255.0) - 0.5 * noise;
                let color = palette[usize::from((height * 255.0) as u8)];
                *value = color.map(|plain| plain * (1.0 + light) + speck);
            }
            for (to, value) in row.iter_mut().zip(values.as_flattened()) {
                *to = nearest(value.clamp(0.0, 255.0));
            }
        }
        image
    }
}

/// 0 from `low` down, 1 from `high` up, smooth in between.
#[derive(Clone, Copy)]
struct SmoothStep {
    low: f32,
    scale: f32,
}

impl SmoothStep {
    fn new(low: f32, high: f32) -> Self {
        Self {
            low,
            scale: (high - low).recip(),
        }
    }

    fn at(self, value: f32) -> f32 {
        let t = ((value - self.low) * self.scale).clamp(0.0, 1.0);
        t * t * (3.0 - 2.0 * t)
    }
}

/// The profile of a line and the gap beside it.
#[derive(Clone, Copy)]
struct Line {
    /// Fade with the distance from the middle of the line, in periods.
    edge: SmoothStep,
}

impl Line {
    fn draw(rng: &mut dyn Rng) -> Self {
        // Shares of the period.
        let (width, edge) = (uniform(0.25, 0.75, rng), uniform(0.02, 0.25, rng));
        Self {
            edge: SmoothStep::new((width - edge) / 2.0, (width + edge) / 2.0),
        }
    }

    fn height(self, at: f32) -> f32 {
        1.0 - self.edge.at((fraction(at) - 0.5).abs())
    }
}

/// Colors of the heights 0..=255: from two to five random colors, either about one hue as in most materials
/// or unrelated.
fn palette(rng: &mut dyn Rng) -> [[f32; 3]; 256] {
    let related = rng.random::<bool>();
    let (hue, saturation) = (uniform(0.0, 1.0, rng), uniform(0.0, 0.8, rng));
    let count = rng.random_range(2..=5);
    let colors: Vec<[f32; 3]> = (0..count)
        .map(|_| {
            if related {
                let hue = hue + uniform(-0.06, 0.06, rng);
                let value = uniform(0.05, 1.0, rng);
                [0.0, 1.0 / 3.0, 2.0 / 3.0].map(|offset| {
                    let wave = 0.5 + 0.5 * ((hue - offset) * TAU).cos();
                    255.0 * value * (1.0 - saturation + saturation * wave)
                })
            } else {
                [(); 3].map(|()| uniform(0.0, 255.0, rng))
            }
        })
        .collect();
    std::array::from_fn(|i| {
        let at = i as f32 / 255.0 * (count - 1) as f32;
        let (left, share) = (
            (at as usize).min(count - 2),
            at - (at as usize).min(count - 2) as f32,
        );
        std::array::from_fn(|c| colors[left][c] + (colors[left + 1][c] - colors[left][c]) * share)
    })
}

#[cfg(test)]
mod tests {
    use daf_core::rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn every_pattern_has_the_size_asked_for_down_to_nothing() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for pattern in Pattern::ALL {
            for (width, height) in [(0, 0), (0, 5), (1, 1), (1, 9), (2, 1), (33, 47), (300, 4)] {
                for _ in 0..20 {
                    assert_eq!(
                        pattern.draw(width, height, &mut rng).dimensions(),
                        (width, height)
                    );
                }
            }
        }
    }

    #[test]
    fn textures_are_textured() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for pattern in Pattern::ALL {
            let mut contrasts = Vec::new();
            for _ in 0..40 {
                let image = pattern.draw(64, 64, &mut rng);
                let values: Vec<_> = image
                    .pixels()
                    .map(|p| f64::from(p.0[0]) + f64::from(p.0[1]))
                    .collect();
                let mean = values.iter().sum::<f64>() / 4096.0;
                contrasts.push((values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 4096.0).sqrt());
            }
            contrasts.sort_by(f64::total_cmp);
            assert!(contrasts[20] > 10.0, "{pattern:?}: {contrasts:?}");
        }
    }

    #[test]
    fn the_same_stream_gives_the_same_texture() {
        let draw = |seed| Procedural::default().image(40, 30, &mut ChaCha8Rng::seed_from_u64(seed));
        for seed in 0..20 {
            assert_eq!(draw(seed), draw(seed));
            assert_ne!(draw(seed), draw(seed + 1));
        }
    }
}
