//! Defects of the drawn images. Nothing here is shared with any synthesizer, so that a method cannot be
//! tested on what it was trained with.

use daf_core::rand::{Rng, RngExt};

use super::field::{Rgb, Vec2, blend, cloud, mix, noise, ramp, scaled, vec2};

/// Kind of a drawn defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Bend,
    Bridge,
    Chip,
    Dent,
    Hole,
    Missing,
    MissingThread,
    Rust,
    Scratch,
    Shifted,
    Stain,
    Worn,
    // The seeds of images have the number of the defect: new ones come last.
    Crack,
}

impl Fault {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bend => "bend",
            Self::Bridge => "bridge",
            Self::Chip => "chip",
            Self::Crack => "crack",
            Self::Dent => "dent",
            Self::Hole => "hole",
            Self::Missing => "missing",
            Self::MissingThread => "missing_thread",
            Self::Rust => "rust",
            Self::Scratch => "scratch",
            Self::Shifted => "shifted",
            Self::Stain => "stain",
            Self::Worn => "worn",
        }
    }
}

/// One defect: its place, size and the dice that shape it.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) fault: Fault,
    pub(super) at: Vec2,
    axis: Vec2,
    /// Radius of a blob, half the length of a line.
    pub(super) size: f32,
    /// Ratio of length to width of a blob.
    aspect: f32,
    /// Sag of a line, as a share of its length.
    pub(super) curve: f32,
    /// Free for the drawn thing: which part, which side.
    pub(super) choice: u32,
    seed: u32,
}

impl Mark {
    pub(super) fn new(fault: Fault, at: Vec2, rng: &mut dyn Rng) -> Self {
        let size = match fault {
            Fault::Scratch => 0.16..0.3,
            Fault::Hole => 0.055..0.1,
            Fault::Chip => 0.08..0.12,
            Fault::Dent => 0.08..0.14,
            Fault::Crack => 0.15..0.4,
            _ => 0.07..0.15,
        };
        let sign = if rng.random::<bool>() { 1.0 } else { -1.0 };
        let angle = rng.random_range(0.0..std::f32::consts::TAU);
        Self {
            fault,
            at,
            axis: Vec2::unit(match fault {
                // Across the part, as a bending load breaks it.
                Fault::Crack => 0.12 * (angle - std::f32::consts::PI),
                _ => angle,
            }),
            size: rng.random_range(size),
            aspect: rng.random_range(1.0..1.7),
            curve: sign * rng.random_range(0.05..0.5),
            choice: rng.random(),
            seed: rng.random(),
        }
    }

    /// Signed distance to a blob with a border of the given raggedness, 0 for an ellipse.
    pub(super) fn blob(&self, p: Vec2, ragged: f32) -> f32 {
        let q = (p - self.at).along(self.axis);
        let q = vec2(q.x, q.y * self.aspect);
        let r = q.length();
        if r > 3.0 * self.size {
            return r - self.size;
        }
        let toward = q * (1.6 / r.max(1e-6));
        let wobble = cloud(toward + vec2(7.0, 7.0), 3, self.seed) - 0.5;
        r - self.size * (1.0 + 2.0 * ragged * wobble)
    }

    /// Place across a bent line of uneven width: -1 at one edge, 1 at the other; `None` outside.
    pub(super) fn stroke(&self, p: Vec2, half_width: f32) -> Option<f32> {
        let q = (p - self.at).along(self.axis);
        let t = q.x / self.size;
        if t.abs() >= 1.0 {
            return None;
        }
        let middle = self.size * self.curve * (t * t - 0.4)
            + self.size * 0.1 * (noise(vec2(t * 2.5, 0.5), self.seed) - 0.5);
        let width = half_width * (1.0 - t * t).sqrt() * mix(0.6, 1.4, noise(vec2(t * 4.0, 9.5), self.seed));
        let across = (q.y - middle) / width.max(1e-6);
        (across.abs() < 1.0).then_some(across)
    }

    /// A groove: one wall catches the light, the other lies in the shade. In small images it is at least as
    /// wide as can be seen.
    pub(super) fn scratch(&self, color: Rgb, p: Vec2, pixel: f32, bare: Rgb) -> Rgb {
        let Some(across) = self.stroke(p, pixel.max(0.013)) else {
            return color;
        };
        let edge = ramp(1.0, 0.55, across.abs());
        let toward_light = if self.axis.x > 0.0 { across } else { -across };
        let wall = scaled(bare, 1.0 + 0.45 * toward_light);
        blend(color, wall, 0.9 * edge)
    }

    /// A hairline with a jagged course, some 1.4 pixels wide at 256 pixels: how much of it a pixel shows, 0 to 1.
    pub(super) fn crack(&self, p: Vec2, pixel: f32) -> f32 {
        let q = (p - self.at).along(self.axis);
        let t = q.x / self.size;
        if t.abs() >= 1.0 {
            return 0.0;
        }
        let middle = 0.3 * self.size * (noise(vec2(t * 2.5, 0.5), self.seed) - 0.5)
            + 0.03 * (noise(vec2(t * 13.0, 4.5), self.seed) - 0.5);
        let half_width = 0.0028 * mix(0.7, 1.2, noise(vec2(t * 6.0, 8.5), self.seed));
        ramp(
            half_width + 0.5 * pixel,
            half_width - 0.5 * pixel,
            (q.y - middle).abs(),
        )
    }

    /// A dried liquid: tinted within, darker at its rim.
    pub(super) fn stain(&self, color: Rgb, p: Vec2, tint: Rgb, strength: f32) -> Rgb {
        let d = self.blob(p, 0.55);
        if d > 0.0 {
            return color;
        }
        let inside = -d / self.size;
        let rim = ramp(0.3, 0.06, inside) * 0.4;
        let uneven = mix(0.75, 1.1, noise(p * 14.0, self.seed));
        let amount = (strength * ramp(0.0, 0.12, inside) * (uneven + rim)).clamp(0.0, 1.0);
        blend(
            color,
            [color[0] * tint[0], color[1] * tint[1], color[2] * tint[2]],
            amount,
        )
    }

    /// Corrosion: rough, in several shades.
    pub(super) fn rust(&self, color: Rgb, p: Vec2) -> Rgb {
        let d = self.blob(p, 0.35) + 0.09 * (cloud(p * 16.0, 3, self.seed ^ 4) - 0.5);
        let amount = ramp(0.0, -0.015, d);
        if amount == 0.0 {
            return color;
        }
        let shade = cloud(p * 38.0, 3, self.seed ^ 5);
        blend(
            color,
            blend([0.24, 0.1, 0.05], [0.62, 0.31, 0.12], shade),
            0.92 * amount,
        )
    }

    /// A pushed-in place: how much brighter it is and how far it moves the texture.
    pub(super) fn dent(&self, p: Vec2) -> (f32, Vec2) {
        let q = (p - self.at).along(self.axis);
        let u = vec2(q.x, q.y * self.aspect) * (1.0 / self.size);
        let depth = 1.0 - u.dot(u);
        if depth <= 0.0 {
            return (1.0, vec2(0.0, 0.0));
        }
        let lit = (p - self.at).dot(vec2(0.6, 0.8)) / self.size;
        (
            1.0 + 1.1 * lit * depth - 0.16 * depth,
            (p - self.at) * (0.5 * depth),
        )
    }
}
