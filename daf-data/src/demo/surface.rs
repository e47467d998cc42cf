//! Surfaces that fill the image.

use daf_core::rand::{Rng, RngExt};

use super::Scene;
use super::fault::{Fault, Mark};
use super::field::{Rgb, Vec2, blend, cell, cloud, mix, noise, ramp, scaled, vec2};

/// Brushed sheet metal.
#[derive(Debug)]
pub(super) struct Metal {
    axis: Vec2,
    tone: f32,
    band: f32,
    seed: u32,
}

impl Metal {
    pub(super) const FAULTS: &[Fault] = &[Fault::Dent, Fault::Rust, Fault::Scratch, Fault::Stain];

    pub(super) fn new(rng: &mut dyn Rng) -> Self {
        Self {
            axis: Vec2::unit(rng.random_range(-0.06..0.06)),
            tone: rng.random_range(0.5..0.56),
            band: rng.random_range(0.1..0.9),
            seed: rng.random(),
        }
    }
}

impl Scene for Metal {
    fn color(&self, p: Vec2, pixel: f32, mark: Option<&Mark>) -> Rgb {
        let (lit, shift) = match mark {
            Some(mark) if mark.fault == Fault::Dent => mark.dent(p),
            _ => (1.0, vec2(0.0, 0.0)),
        };
        let q = (p - shift).along(self.axis);
        let streaks = 0.5 * noise(vec2(q.x * 2.0, q.y * 170.0), self.seed)
            + 0.3 * noise(vec2(q.x * 5.0, q.y * 90.0), self.seed ^ 1)
            + 0.3 * noise(vec2(q.x * 0.8, q.y * 34.0), self.seed ^ 2)
            - 0.55;
        let away = (q.x - self.band) / 0.34;
        let bright = (self.tone + 0.2 * streaks + 0.17 * (-away * away).exp()) * lit;
        let color = [bright * 0.97, bright, bright * 1.035];
        let Some(mark) = mark else { return color };
        match mark.fault {
            Fault::Rust => mark.rust(color, p),
            Fault::Scratch => mark.scratch(color, p, pixel, [0.6, 0.61, 0.62]),
            Fault::Stain => mark.stain(color, p, [0.72, 0.55, 0.36], 0.75),
            _ => color,
        }
    }
}

/// Plain-woven cloth.
#[derive(Debug)]
pub(super) struct Fabric {
    axis: Vec2,
    phase: Vec2,
    threads: f32,
    seed: u32,
}

impl Fabric {
    pub(super) const FAULTS: &[Fault] = &[Fault::Hole, Fault::MissingThread, Fault::Stain];

    pub(super) fn new(rng: &mut dyn Rng) -> Self {
        Self {
            axis: Vec2::unit(rng.random_range(-0.1..0.1)),
            phase: vec2(rng.random(), rng.random()),
            threads: rng.random_range(23.0..25.0),
            seed: rng.random(),
        }
    }

    /// The weave's own coordinates: one thread per unit, a little wavy.
    fn weave(&self, p: Vec2) -> Vec2 {
        let wave = vec2(noise(p * 3.0, self.seed ^ 11), noise(p * 3.0, self.seed ^ 12)) * 0.5;
        (p - vec2(0.5, 0.5)).along(self.axis) * self.threads + wave + self.phase
    }
}

impl Scene for Fabric {
    fn color(&self, p: Vec2, _pixel: f32, mark: Option<&Mark>) -> Rgb {
        let q = self.weave(p);
        let (i, j) = (q.x.floor(), q.y.floor());
        let across = vec2(2.0 * (q.x - i) - 1.0, 2.0 * (q.y - j) - 1.0);
        let (column, row) = (i as i32, j as i32);
        let mut warp_on_top = (column + row).rem_euclid(2) == 0;
        let mut lone = false;
        if let Some(mark) = mark.filter(|mark| mark.fault == Fault::MissingThread) {
            let at = self.weave(mark.at);
            let away = (q.x - at.x).abs() - 2.4 * mark.size * self.threads;
            if row == at.y.floor() as i32 && away < 0.8 * (noise(vec2(q.y * 6.0, 0.5), self.seed) - 0.5) {
                lone = true;
                warp_on_top = true;
            }
        }
        // Where a thread passes over, it bulges toward the viewer; toward its edges it turns away.
        let round = |side: f32| (1.0 - 0.8 * side * side).max(0.0).sqrt();
        let (side, run) = if warp_on_top {
            (across.x, across.y)
        } else {
            (across.y, across.x)
        };
        let bulge = if lone {
            0.62
        } else {
            mix(0.72, 1.0, 1.0 - run * run)
        };
        let thread = if warp_on_top {
            cell(column, 0, self.seed)
        } else {
            cell(row, 1, self.seed)
        };
        let fibers = if warp_on_top {
            vec2(q.x * 9.0, q.y * 1.6)
        } else {
            vec2(q.x * 1.6, q.y * 9.0)
        };
        let fibers = noise(fibers, self.seed ^ 3);
        let shade = round(side) * bulge * mix(0.92, 1.06, thread) * mix(0.86, 1.08, fibers);
        let yarn = if warp_on_top {
            [0.62, 0.6, 0.55]
        } else {
            [0.5, 0.53, 0.56]
        };
        let mut color = scaled(yarn, shade);
        if lone {
            // Between the threads that are left one sees through.
            color = blend(color, [0.1, 0.1, 0.11], ramp(0.35, 0.75, side.abs()));
        }
        let Some(mark) = mark else { return color };
        match mark.fault {
            Fault::Hole => {
                let frayed = 0.035 * (noise(vec2(q.x * 1.3, q.y * 1.3), self.seed ^ 8) - 0.5);
                let d = mark.blob(p, 0.35) + frayed;
                let under = scaled([0.11, 0.11, 0.12], mix(0.7, 1.2, noise(p * 9.0, self.seed)));
                let color = scaled(color, mix(0.72, 1.0, ramp(0.0, 0.012, d)));
                blend(color, under, ramp(0.004, -0.006, d))
            }
            Fault::Stain => mark.stain(color, p, [0.62, 0.46, 0.34], 0.8),
            _ => color,
        }
    }
}

/// Planed wood.
#[derive(Debug)]
pub(super) struct Wood {
    axis: Vec2,
    offset: Vec2,
    warmth: f32,
    seed: u32,
}

impl Wood {
    pub(super) const FAULTS: &[Fault] = &[Fault::Hole, Fault::Scratch, Fault::Stain];

    pub(super) fn new(rng: &mut dyn Rng) -> Self {
        Self {
            axis: Vec2::unit(std::f32::consts::FRAC_PI_2 + rng.random_range(-0.08..0.08)),
            offset: vec2(rng.random_range(0.0..50.0), rng.random_range(0.0..50.0)),
            warmth: rng.random_range(0.0..1.0),
            seed: rng.random(),
        }
    }
}

impl Scene for Wood {
    fn color(&self, p: Vec2, pixel: f32, mark: Option<&Mark>) -> Rgb {
        let q = p.along(self.axis);
        let wave = cloud(vec2(q.x * 0.9, q.y * 2.2) + self.offset, 2, self.seed);
        let ring = (q.y * 7.0 + wave * 3.2 + self.offset.x).rem_euclid(1.0);
        // Early wood fades slowly into late wood, which ends abruptly.
        let late = ramp(0.1, 0.9, ring) * ramp(1.0, 0.93, ring);
        let fiber = noise(vec2(q.x * 7.0, q.y * 150.0), self.seed ^ 1);
        let broad = noise(vec2(q.x * 1.5, q.y * 22.0), self.seed ^ 2);
        let pore = ramp(0.74, 0.86, noise(vec2(q.x * 11.0, q.y * 120.0), self.seed ^ 3));
        let light = blend([0.74, 0.56, 0.37], [0.78, 0.57, 0.35], self.warmth);
        let color = blend(light, [0.55, 0.36, 0.2], 0.62 * late);
        let color = scaled(
            color,
            1.0 + 0.12 * (fiber - 0.5) + 0.12 * (broad - 0.5) - 0.2 * pore,
        );
        let Some(mark) = mark else { return color };
        match mark.fault {
            Fault::Hole => {
                let d = mark.blob(p, 0.12);
                let splintered = d + 0.012 * (noise(vec2(q.x * 6.0, q.y * 90.0), self.seed ^ 4) - 0.3);
                let lit = (p - mark.at).dot(vec2(0.6, 0.8)) / mark.size;
                let inside = scaled([0.2, 0.12, 0.07], (0.75 + 0.6 * lit).clamp(0.3, 1.5));
                blend(color, inside, ramp(pixel, -pixel, splintered))
            }
            Fault::Scratch => mark.scratch(color, p, pixel, [0.86, 0.74, 0.57]),
            Fault::Stain => mark.stain(color, p, [0.5, 0.45, 0.46], 0.8),
            _ => color,
        }
    }
}

/// A ground ceramic tile: dark, with a fine grain and marks of the grinding.
#[derive(Debug)]
pub(super) struct Tile {
    axis: Vec2,
    tone: f32,
    seed: u32,
}

impl Tile {
    pub(super) const FAULTS: &[Fault] = &[Fault::Crack];

    pub(super) fn new(rng: &mut dyn Rng) -> Self {
        Self {
            axis: Vec2::unit(std::f32::consts::FRAC_PI_2 + rng.random_range(-0.05..0.05)),
            tone: rng.random_range(0.4..0.46),
            seed: rng.random(),
        }
    }
}

impl Scene for Tile {
    fn color(&self, p: Vec2, pixel: f32, mark: Option<&Mark>) -> Rgb {
        let q = p.along(self.axis);
        let ground = 0.05 * (noise(vec2(q.x * 3.0, q.y * 60.0), self.seed) - 0.5);
        let grain = 0.04 * (cloud(p * 70.0, 2, self.seed ^ 1) - 0.5);
        let patches = 0.05 * (cloud(p * 4.0, 2, self.seed ^ 2) - 0.5);
        let bright = self.tone + ground + grain + patches;
        let crack = match mark {
            Some(mark) if mark.fault == Fault::Crack => mark.crack(p, pixel),
            _ => 0.0,
        };
        scaled([0.98, 1.0, 1.01], bright * (1.0 - 0.24 * crack))
    }
}
