//! Points, noise and distances: what pictures are drawn with.
//!
//! Coordinates run from 0 to 1 over the image, to the right and down.

use std::ops::{Add, Mul, Sub};

/// Linear red, green and blue, 0 to 1.
pub(super) type Rgb = [f32; 3];

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Vec2 {
    pub(super) x: f32,
    pub(super) y: f32,
}

pub(super) const fn vec2(x: f32, y: f32) -> Vec2 {
    Vec2 { x, y }
}

impl Vec2 {
    pub(super) fn unit(angle: f32) -> Self {
        vec2(angle.cos(), angle.sin())
    }
    pub(super) fn length(self) -> f32 {
        self.dot(self).sqrt()
    }
    pub(super) fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y
    }
    /// These coordinates in a frame whose first axis is `axis`, a unit vector.
    pub(super) fn along(self, axis: Self) -> Self {
        vec2(self.dot(axis), axis.x * self.y - axis.y * self.x)
    }
}

impl Add for Vec2 {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        vec2(self.x + other.x, self.y + other.y)
    }
}

impl Sub for Vec2 {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        vec2(self.x - other.x, self.y - other.y)
    }
}

impl Mul<f32> for Vec2 {
    type Output = Self;
    fn mul(self, factor: f32) -> Self {
        vec2(self.x * factor, self.y * factor)
    }
}

/// A number in 0..1 for a cell of a grid.
pub(super) fn cell(x: i32, y: i32, seed: u32) -> f32 {
    let mut h = seed ^ (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    h ^= h >> 15;
    (h >> 8) as f32 / (1 << 24) as f32
}

/// Smooth noise in 0..1 with one feature per unit.
pub(super) fn noise(p: Vec2, seed: u32) -> f32 {
    let (x, y) = (p.x.floor(), p.y.floor());
    let (u, v) = (p.x - x, p.y - y);
    let (u, v) = (u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v));
    let (x, y) = (x as i32, y as i32);
    let (x1, y1) = (x.wrapping_add(1), y.wrapping_add(1));
    let top = mix(cell(x, y, seed), cell(x1, y, seed), u);
    let bottom = mix(cell(x, y1, seed), cell(x1, y1, seed), u);
    mix(top, bottom, v)
}

/// Noise of several scales in 0..1, each half as wide and as strong as the one before.
pub(super) fn cloud(p: Vec2, octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut weight, mut scale) = (0.0, 0.0, 1.0);
    for octave in 0..octaves {
        sum += noise(p * (1.0 / scale), seed.wrapping_add(octave * 7919)) * scale;
        weight += scale;
        scale *= 0.5;
    }
    sum / weight
}

pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

pub(super) fn blend(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [mix(a[0], b[0], t), mix(a[1], b[1], t), mix(a[2], b[2], t)]
}

pub(super) fn scaled(a: Rgb, factor: f32) -> Rgb {
    a.map(|channel| channel * factor)
}

/// 0 up to `from`, 1 beyond `to`, smooth between.
pub(super) fn ramp(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Coverage of a pixel of side `pixel` by a shape whose border is at the signed distance `d` (negative
/// inside).
pub(super) fn cover(d: f32, pixel: f32) -> f32 {
    (0.5 - d / pixel).clamp(0.0, 1.0)
}

/// Signed distance to a box with rounded corners around the origin.
pub(super) fn rounded_box(p: Vec2, half: Vec2, radius: f32) -> f32 {
    let q = vec2(p.x.abs() - half.x + radius, p.y.abs() - half.y + radius);
    q.x.max(q.y).min(0.0) + vec2(q.x.max(0.0), q.y.max(0.0)).length() - radius
}

/// Distance to the line between two points.
pub(super) fn segment(p: Vec2, a: Vec2, b: Vec2) -> f32 {
    let (pa, ba) = (p - a, b - a);
    let t = (pa.dot(ba) / ba.dot(ba).max(1e-9)).clamp(0.0, 1.0);
    (pa - ba * t).length()
}
