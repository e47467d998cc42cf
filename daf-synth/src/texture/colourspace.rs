//! Colour spaces with 8-bit values, as OpenCV's `cvtColor` has them.
//!
//! Values are rounded to 8 bit in the colour space, hue to steps of two degrees, so that going there and back loses what
//! OpenCV loses.

use std::sync::LazyLock;

use crate::lanes::{byte, floor, greater, lesser, whole, widest};

/// So many pixels are worked on together: more than fit a processor's registers, since what has just been looked up one by
/// one cannot be read together at once.
pub(super) const LANES: usize = 32;

/// A colour space with an axis of brightness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourSpace {
    /// Luma with red and blue differences.
    YCrCb,
    /// Hue, saturation, value.
    Hsv,
    /// Hue, lightness, saturation.
    Hls,
    /// CIE L*a*b* under D65.
    Lab,
    /// CIE L*u*v* under D65.
    Luv,
    /// Luma with blue and red differences at PAL's weights.
    Yuv,
}

impl ColourSpace {
    /// Every colour space.
    pub const ALL: [Self; 6] = [Self::YCrCb, Self::Hsv, Self::Hls, Self::Lab, Self::Luv, Self::Yuv];

    /// Which of the three values is the brightness.
    #[must_use]
    pub const fn brightness(self) -> usize {
        match self {
            Self::Hsv => 2,
            Self::Hls => 1,
            Self::YCrCb | Self::Lab | Self::Luv | Self::Yuv => 0,
        }
    }

    /// From RGB.
    #[must_use]
    pub fn encode(self, rgb: [u8; 3]) -> [u8; 3] {
        let mut pixel = rgb;
        each(&mut pixel, |colours| match self {
            Self::YCrCb => encode_ycrcb(colours),
            Self::Yuv => encode_yuv(colours),
            Self::Hsv => encode_hsv(colours),
            Self::Hls => encode_hls(colours),
            Self::Lab => encode_lab(colours),
            Self::Luv => encode_luv(colours),
        });
        pixel
    }

    /// To RGB.
    #[must_use]
    pub fn decode(self, colour: [u8; 3]) -> [u8; 3] {
        let mut pixel = colour;
        each(&mut pixel, |colours| match self {
            Self::YCrCb => decode_ycrcb(colours),
            Self::Yuv => decode_yuv(colours),
            Self::Hsv => decode_hsv(colours),
            Self::Hls => decode_hls(colours),
            Self::Lab => decode_lab(colours),
            Self::Luv => decode_luv(colours),
        });
        pixel
    }

    /// Sends the brightness of RGB pixels through a table.
    pub(super) fn map_brightness(self, pixels: &mut [u8], table: &[u8; 256]) {
        let axis = self.brightness();

        // A loop of its own for each colour space.
        macro_rules! map {
            ($encode:ident, $decode:ident) => {
                each(
                    pixels,
                    #[inline(always)]
                    |colours| {
                        $encode(colours);
                        look_up(&mut colours[axis], table);
                        $decode(colours);
                    },
                )
            };
        }
        match self {
            Self::YCrCb => map!(encode_ycrcb, decode_ycrcb),
            Self::Yuv => map!(encode_yuv, decode_yuv),
            Self::Hsv => map!(encode_hsv, decode_hsv),
            Self::Hls => map!(encode_hls, decode_hls),
            Self::Lab => map!(encode_lab, decode_lab),
            Self::Luv => map!(encode_luv, decode_luv),
        }
    }
}

/// A few pixels, channel by channel.
pub(super) type Colours = [[u8; LANES]; 3];

/// Changes pixels, a few at a time.
#[inline(always)]
pub(super) fn each(pixels: &mut [u8], mut change: impl FnMut(&mut Colours)) {
    widest!({
        let (parts, rest) = pixels.as_chunks_mut::<3>().0.as_chunks_mut::<LANES>();
        for pixels in parts {
            let mut colours = read(pixels);
            change(&mut colours);
            write(&colours, pixels);
        }
        if !rest.is_empty() {
            let mut colours = read(rest);
            change(&mut colours);
            write(&colours, rest);
        }
    });
}

/// The channels of at most [`LANES`] pixels. Inlined where their number is known, it is a few operations.
#[inline(always)]
fn read(pixels: &[[u8; 3]]) -> Colours {
    let mut colours = [[0; LANES]; 3];
    for (lane, [r, g, b]) in pixels.iter().enumerate() {
        (colours[0][lane], colours[1][lane], colours[2][lane]) = (*r, *g, *b);
    }
    colours
}

/// The inverse of [`read`].
#[inline(always)]
fn write(colours: &Colours, pixels: &mut [[u8; 3]]) {
    for (lane, pixel) in pixels.iter_mut().enumerate() {
        *pixel = [colours[0][lane], colours[1][lane], colours[2][lane]];
    }
}

/// Sends a channel through a table.
#[inline(always)]
pub(super) fn look_up(channel: &mut [u8; LANES], table: &[u8; 256]) {
    for value in channel {
        *value = table[*value as usize];
    }
}

/// 2⁻¹⁴: OpenCV's luma arithmetic has 14 bits after the binary point. Sums of such integers are below 2²⁴, so that single
/// precision has them without error.
const LUMA: f32 = 1.0 / 16384.0;

/// Luma and two differences (channel, weight · 2¹⁴).
#[inline(always)]
fn encode_luma(colours: &mut Colours, differences: [(usize, f32); 2]) {
    let rgb = *colours;
    for lane in 0..LANES {
        let (r, g, b) = (
            f32::from(rgb[0][lane]),
            f32::from(rgb[1][lane]),
            f32::from(rgb[2][lane]),
        );
        let luma = floor((r * 4899.0 + g * 9617.0 + b * 1868.0) * LUMA + 0.5);
        let first = f32::from(rgb[differences[0].0][lane]) - luma;
        let second = f32::from(rgb[differences[1].0][lane]) - luma;
        colours[0][lane] = byte(luma);
        colours[1][lane] = byte(first * differences[0].1 * LUMA + 128.5);
        colours[2][lane] = byte(second * differences[1].1 * LUMA + 128.5);
    }
}

/// From luma and the differences of red and blue, whose channels are given; weights · 2¹⁴ of red→R, red→G, blue→G, blue→B.
#[inline(always)]
fn decode_luma(colours: &mut Colours, (red, blue): (usize, usize), weights: [f32; 4]) {
    let from = *colours;
    for lane in 0..LANES {
        let luma = f32::from(from[0][lane]) + 0.5;
        let (red, blue) = (
            f32::from(from[red][lane]) - 128.0,
            f32::from(from[blue][lane]) - 128.0,
        );
        colours[0][lane] = byte(luma + red * weights[0] * LUMA);
        colours[1][lane] = byte(luma + (red * weights[1] + blue * weights[2]) * LUMA);
        colours[2][lane] = byte(luma + blue * weights[3] * LUMA);
    }
}

#[inline(always)]
fn encode_ycrcb(colours: &mut Colours) {
    encode_luma(colours, [(0, 11682.0), (2, 9241.0)]);
}

#[inline(always)]
fn decode_ycrcb(colours: &mut Colours) {
    decode_luma(colours, (1, 2), [22987.0, -11698.0, -5636.0, 29049.0]);
}

#[inline(always)]
fn encode_yuv(colours: &mut Colours) {
    encode_luma(colours, [(2, 8061.0), (0, 14369.0)]);
}

#[inline(always)]
fn decode_yuv(colours: &mut Colours) {
    decode_luma(colours, (2, 1), [18678.0, -9519.0, -6472.0, 33292.0]);
}

/// Number of hues: OpenCV counts steps of two degrees, so that they fit into 8 bit.
pub(super) const HUES: i32 = 180;

#[inline(always)]
pub(super) fn encode_hsv(colours: &mut Colours) {
    let rgb = *colours;
    let tables = &*HSV;
    let (mut values, mut spans) = ([0; LANES], [0; LANES]);
    for lane in 0..LANES {
        let (r, g, b) = (rgb[0][lane], rgb[1][lane], rgb[2][lane]);
        values[lane] = r.max(g).max(b);
        spans[lane] = values[lane].wrapping_sub(r.min(g).min(b));
    }
    let (mut saturation_of, mut hue_of) = ([0.0; LANES], [0.0; LANES]);
    for lane in 0..LANES {
        saturation_of[lane] = tables.saturation[values[lane] as usize];
        hue_of[lane] = tables.hue[spans[lane] as usize];
    }
    const SCALE: f32 = 1.0 / 4096.0;
    for lane in 0..LANES {
        let (r, g, b) = (
            f32::from(rgb[0][lane]),
            f32::from(rgb[1][lane]),
            f32::from(rgb[2][lane]),
        );
        let (value, span) = (f32::from(values[lane]), f32::from(spans[lane]));
        let other = if value == g {
            b - r + 2.0 * span
        } else {
            r - g + 4.0 * span
        };
        let hue = if value == r { g - b } else { other };
        let hue = floor(hue * hue_of[lane] * SCALE + 0.5);
        colours[0][lane] = byte(if hue < 0.0 { hue + HUES as f32 } else { hue });
        colours[1][lane] = byte(span * saturation_of[lane] * SCALE + 0.5);
        colours[2][lane] = values[lane];
    }
}

#[inline(always)]
pub(super) fn decode_hsv(colours: &mut Colours) {
    let shares = wheel(&colours[0]);
    let [_, saturation, value] = *colours;
    for (channel, shares) in colours.iter_mut().zip(&shares) {
        for lane in 0..LANES {
            let saturation = f32::from(saturation[lane]) / 255.0;
            let value = f32::from(value[lane]) * (1.0 - saturation * (1.0 - shares[lane]));
            channel[lane] = byte(value + 0.5);
        }
    }
}

#[inline(always)]
fn encode_hls(colours: &mut Colours) {
    let rgb = *colours;
    for lane in 0..LANES {
        let r = f32::from(rgb[0][lane]) / 255.0;
        let g = f32::from(rgb[1][lane]) / 255.0;
        let b = f32::from(rgb[2][lane]) / 255.0;
        let (most, least) = (greater(greater(r, g), b), lesser(lesser(r, g), b));
        let (sum, span) = (most + least, most - least);
        // Without a colour, hue and saturation are divided by nothing and thrown away.
        let coloured = span > f32::EPSILON;
        let saturation = span / if sum < 1.0 { sum } else { 2.0 - sum };
        let (from, to, offset) = if most == g { (b, r, 120.0) } else { (r, g, 240.0) };
        let (from, to, offset) = if most == r {
            (g, b, 0.0)
        } else {
            (from, to, offset)
        };
        let hue = (from - to) / span * 60.0 + offset;
        let hue = if hue < 0.0 { hue + 360.0 } else { hue };
        colours[0][lane] = byte(if coloured { hue * 0.5 + 0.5 } else { 0.0 });
        colours[1][lane] = byte(sum * 0.5 * 255.0 + 0.5);
        colours[2][lane] = byte(if coloured { saturation * 255.0 + 0.5 } else { 0.0 });
    }
}

#[inline(always)]
fn decode_hls(colours: &mut Colours) {
    let shares = wheel(&colours[0]);
    let [_, lightness, saturation] = *colours;
    for (channel, shares) in colours.iter_mut().zip(&shares) {
        for lane in 0..LANES {
            let lightness = f32::from(lightness[lane]);
            let saturation = f32::from(saturation[lane]) / 255.0;
            let span = saturation * lesser(lightness, 255.0 - lightness);
            channel[lane] = byte(lightness - span + 2.0 * span * shares[lane] + 0.5);
        }
    }
}

/// Shares of red, green and blue of hues.
#[inline(always)]
fn wheel(hues: &[u8; LANES]) -> [[f32; LANES]; 3] {
    let mut shares = [[0.0; LANES]; 3];
    for lane in 0..LANES {
        let [r, g, b] = WHEEL[hues[lane] as usize];
        shares[0][lane] = r;
        shares[1][lane] = g;
        shares[2][lane] = b;
    }
    shares
}

/// How much of each of red, green and blue a hue has, from 0 to 1: a table takes the place of a branch on the sixth of the
/// colour circle, which no processor foresees.
static WHEEL: [[f32; 3]; 256] = {
    let mut wheel = [[0.0; 3]; 256];
    let mut hue = 0;
    while hue < wheel.len() {
        let rising = (hue as i32 % 30) as f32 / 30.0;
        let falling = 1.0 - rising;
        wheel[hue] = match hue as i32 % HUES / 30 {
            0 => [1.0, rising, 0.0],
            1 => [falling, 1.0, 0.0],
            2 => [0.0, 1.0, rising],
            3 => [0.0, falling, 1.0],
            4 => [rising, 0.0, 1.0],
            _ => [1.0, 0.0, falling],
        };
        hue += 1;
    }
    wheel
};

/// sRGB to XYZ under D65.
const XYZ: [[f64; 3]; 3] = [
    [0.412_453, 0.357_580, 0.180_423],
    [0.212_671, 0.715_160, 0.072_169],
    [0.019_334, 0.119_193, 0.950_227],
];

/// XYZ to sRGB.
const RGB: [[f32; 3]; 3] = [
    [3.240_479, -1.537_15, -0.498_535],
    [-0.969_256, 1.875_991, 0.041_556],
    [0.055_648, -0.204_043, 1.057_311],
];

/// X and Z of D65's white, where Y is 1.
const WHITE: (f64, f64) = (0.950_456, 1.088_754);

/// u′ and v′ of that white.
const WHITE_UV: (f64, f64) = {
    let sum = WHITE.0 + 15.0 + 3.0 * WHITE.1;
    (4.0 * WHITE.0 / sum, 9.0 / sum)
};

#[inline(always)]
fn xyz_to_rgb(xyz: &[[f32; LANES]; 3]) -> Colours {
    let mut rgb = [[0; LANES]; 3];
    for (channel, row) in rgb.iter_mut().zip(&RGB) {
        let mut places = [0; LANES];
        for lane in 0..LANES {
            let linear = row[0] * xyz[0][lane] + row[1] * xyz[1][lane] + row[2] * xyz[2][lane];
            places[lane] = whole(linear * COMPANDED_LAST as f32 + 0.5, COMPANDED_LAST as f32);
        }
        let companded = &*COMPANDED;
        for lane in 0..LANES {
            channel[lane] = companded[places[lane] as usize];
        }
    }
    rgb
}

/// Inverse of [`cube_root`].
#[inline(always)]
fn cube(f: f32) -> f32 {
    let (cube, linear) = (f * f * f, (f - 16.0 / 116.0) * (108.0 / 841.0));
    if f > 6.0 / 29.0 { cube } else { linear }
}

/// In OpenCV's integers: a difference of one in the dark is a visible difference after [`decode_lab`]. Single precision
/// has them without error: they are below 2²⁴, or multiples of 4 or 8 where they are not.
#[inline(always)]
fn encode_lab(colours: &mut Colours) {
    let tables = &*LAB;
    let mut linear = [[0.0; LANES]; 3];
    for (linear, channel) in linear.iter_mut().zip(&*colours) {
        for lane in 0..LANES {
            linear[lane] = tables.linear[channel[lane] as usize];
        }
    }
    let mut roots = [[0.0; LANES]; 3];
    for (roots, row) in roots.iter_mut().zip(&tables.xyz) {
        let mut places = [0; LANES];
        for lane in 0..LANES {
            let sum = row[0] * linear[0][lane] + row[1] * linear[1][lane] + row[2] * linear[2][lane];
            places[lane] = whole(sum * (1.0 / 4096.0) + 0.5, (tables.roots.len() - 1) as f32);
        }
        for lane in 0..LANES {
            roots[lane] = tables.roots[places[lane] as usize];
        }
    }
    const UNIT: f32 = 32768.0;
    const SCALE: f32 = ((116 * 255 + 50) / 100) as f32;
    const OFFSET: f32 = -(((16 * 255 * (1 << 15) + 50) / 100) as f32);
    for lane in 0..LANES {
        let (x, y, z) = (roots[0][lane], roots[1][lane], roots[2][lane]);
        colours[0][lane] = byte((SCALE * y + OFFSET + 0.5 * UNIT) * (1.0 / UNIT));
        colours[1][lane] = byte((500.0 * (x - y) + 128.5 * UNIT) * (1.0 / UNIT));
        colours[2][lane] = byte((200.0 * (y - z) + 128.5 * UNIT) * (1.0 / UNIT));
    }
}

#[inline(always)]
fn decode_lab(colours: &mut Colours) {
    let mut xyz = [[0.0; LANES]; 3];
    for lane in 0..LANES {
        let y = (f32::from(colours[0][lane]) * (100.0 / 255.0) + 16.0) / 116.0;
        let x = y + (f32::from(colours[1][lane]) - 128.0) / 500.0;
        let z = y - (f32::from(colours[2][lane]) - 128.0) / 200.0;
        xyz[0][lane] = cube(x) * WHITE.0 as f32;
        xyz[1][lane] = cube(y);
        xyz[2][lane] = cube(z) * WHITE.1 as f32;
    }
    *colours = xyz_to_rgb(&xyz);
}

/// As OpenCV does, from a table with a node for every eighth grey level, interpolated.
#[inline(always)]
fn encode_luv(colours: &mut Colours) {
    const PLANE: usize = LUV_NODES * LUV_NODES;
    let nodes = &LUV.0[..];
    let (mut first, mut upper) = ([0; LANES], [[0; LANES]; 3]);
    for lane in 0..LANES {
        let [r, g, b] = [0, 1, 2].map(|channel| u32::from(colours[channel][lane]));
        let nodes = LUV_NODES as u32;
        first[lane] = (r >> 3)
            .wrapping_mul(nodes)
            .wrapping_add(g >> 3)
            .wrapping_mul(nodes)
            .wrapping_add(b >> 3);
        // Shares of the upper node along each axis, in eighths.
        for (upper, value) in upper.iter_mut().zip([r, g, b]) {
            upper[lane] = u64::from(value & 7);
        }
    }
    // Over blue and green, all three values at once: 64 times the largest one still fits beside the others.
    let between = |lower: u64, upper: u64, share: u64| {
        lower
            .wrapping_mul(8u64.wrapping_sub(share))
            .wrapping_add(upper.wrapping_mul(share))
    };
    let mut planes = [[0; LANES]; 2];
    for lane in 0..LANES {
        let first = first[lane] as usize;
        let (green, blue) = (upper[1][lane], upper[2][lane]);
        let cell = &nodes[first..first + PLANE + LUV_NODES + 2];
        let pair = |at: usize| between(cell[at], cell[at + 1], blue);
        planes[0][lane] = between(pair(0), pair(LUV_NODES), green);
        planes[1][lane] = between(pair(PLANE), pair(PLANE + LUV_NODES), green);
    }
    for (i, channel) in colours.iter_mut().enumerate() {
        for lane in 0..LANES {
            let part = |plane: usize| planes[plane][lane] >> (i * LUV_BITS) & ((1 << LUV_BITS) - 1);
            // The largest value is 2¹⁴ · 8³: with a half, 15 bits are left below the 8 of the result.
            let sum = between(part(0), part(1), upper[0][lane]).wrapping_add(256);
            channel[lane] = ((sum >> 15) as u32).min(255) as u8;
        }
    }
}

#[inline(always)]
fn decode_luv(colours: &mut Colours) {
    let mut xyz = [[0.0; LANES]; 3];
    for lane in 0..LANES {
        let l = f32::from(colours[0][lane]) * (100.0 / 255.0);
        let u = f32::from(colours[1][lane]) * (354.0 / 255.0) - 134.0;
        let v = f32::from(colours[2][lane]) * (262.0 / 255.0) - 140.0;
        let y = cube((l + 16.0) / 116.0);
        // 13·l·u′ and 13·l·v′; OpenCV keeps the second away from 0.
        let (u, v) = (u + 13.0 * l * WHITE_UV.0 as f32, v + 13.0 * l * WHITE_UV.1 as f32);
        let v = if v.abs() < 1.0 { 1.0f32.copysign(v) } else { v };
        xyz[0][lane] = y * 9.0 * u / (4.0 * v);
        xyz[1][lane] = y;
        xyz[2][lane] = y * (12.0 * 13.0 * l - 3.0 * u - 20.0 * v) / (4.0 * v);
    }
    *colours = xyz_to_rgb(&xyz);
}

struct Hsv {
    saturation: [f32; 256],
    hue: [f32; 256],
}

/// Reciprocals with 12 bits after the binary point, as OpenCV has them.
static HSV: LazyLock<Hsv> = LazyLock::new(|| {
    let table = |scale: f64| {
        std::array::from_fn(|i| {
            if i == 0 {
                0.0
            } else {
                (scale * 4096.0 / i as f64).round_ties_even() as f32
            }
        })
    };
    Hsv {
        saturation: table(255.0),
        hue: table(f64::from(HUES) / 6.0),
    }
});

/// sRGB's curve.
fn linear(v: f64) -> f64 {
    if v <= 0.04045 {
        v / 12.92
    } else {
        ((v + 0.055) / 1.055).powf(2.4)
    }
}

fn companded(v: f64) -> f64 {
    if v <= 0.003_130_8 {
        v * 12.92
    } else {
        1.055 * v.powf(1.0 / 2.4) - 0.055
    }
}

/// f(t) of CIE 1976, with f(t)³ = t for all but the darkest.
fn cube_root(t: f64) -> f64 {
    if t > 216.0 / 24389.0 {
        t.cbrt()
    } else {
        t * (841.0 / 108.0) + 16.0 / 116.0
    }
}

/// The last place of [`COMPANDED`].
const COMPANDED_LAST: u32 = 8192;

/// 8-bit sRGB of a linear value, by ⌊value · 8192⌉: fine enough that neighbours differ by less than half a grey level
/// where the curve is steepest.
static COMPANDED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..=COMPANDED_LAST)
        .map(|i| (companded(f64::from(i) / f64::from(COMPANDED_LAST)) * 255.0).round() as u8)
        .collect()
});

struct Lab {
    /// Linear value of an 8-bit one, 255 · 8 for white.
    linear: [f32; 256],
    /// [`cube_root`] · 2¹⁵ of such values.
    roots: Vec<f32>,
    /// Weights · 2¹² of linear RGB in XYZ, white being 1.
    xyz: [[f32; 3]; 3],
}

static LAB: LazyLock<Lab> = LazyLock::new(|| {
    let white = [WHITE.0, 1.0, WHITE.1];
    Lab {
        linear: std::array::from_fn(|i| (linear(i as f64 / 255.0) * 255.0 * 8.0).round() as f32),
        roots: (0..3072)
            .map(|i| (cube_root(f64::from(i) / (255.0 * 8.0)) * 32768.0).round() as f32)
            .collect(),
        xyz: std::array::from_fn(|i| XYZ[i].map(|weight| (4096.0 * weight / white[i]).round() as f32)),
    }
});

/// Nodes of [`LUV`] along each axis.
const LUV_NODES: usize = 33;

/// Bits for each of the three values of a node.
const LUV_BITS: usize = 21;

/// L, u and v, each scaled to 0..=2¹⁴ and the first in the lowest bits, by red, green and blue.
struct Luv(Vec<u64>);

static LUV: LazyLock<Luv> = LazyLock::new(|| {
    let node = |i: usize| linear(i as f64 / (LUV_NODES - 1) as f64);
    let scaled = |value: f64, offset: f64, span: f64| ((value + offset) / span * 16384.0).round() as u64;
    let colours = (0..LUV_NODES.pow(3)).map(|i| {
        let rgb = [i / LUV_NODES.pow(2), i / LUV_NODES % LUV_NODES, i % LUV_NODES].map(node);
        let [x, y, z] = XYZ.map(|row| row[0] * rgb[0] + row[1] * rgb[1] + row[2] * rgb[2]);
        let l = 116.0 * cube_root(y) - 16.0;
        let sum = (x + 15.0 * y + 3.0 * z).max(f64::from(f32::EPSILON));
        let u = 13.0 * l * (4.0 * x / sum - WHITE_UV.0);
        let v = 13.0 * l * (9.0 * y / sum - WHITE_UV.1);
        scaled(l, 0.0, 100.0)
            | scaled(u, 134.0, 354.0) << LUV_BITS
            | scaled(v, 140.0, 262.0) << (2 * LUV_BITS)
    });
    Luv(colours.collect())
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_survive_every_colour_space() {
        for space in ColourSpace::ALL {
            for grey in 0..=255 {
                // Between the nodes of OpenCV's table, Luv is off by up to 5 in the dark.
                let tolerance = if space == ColourSpace::Luv && grey < 32 {
                    5
                } else {
                    2
                };
                for value in space.decode(space.encode([grey; 3])) {
                    assert!(value.abs_diff(grey) <= tolerance, "{space:?} {grey} {value}");
                }
            }
        }
    }

    #[test]
    fn many_pixels_become_what_each_becomes_alone() {
        let table: [u8; 256] = std::array::from_fn(|i| (i * 7 % 256) as u8);
        let values: Vec<u8> = (0..3 * 151u32).map(|i| (i * i % 251) as u8).collect();
        for space in ColourSpace::ALL {
            for count in [1, 7, 8, 9, 64, 65, 151] {
                let mut pixels = values[..3 * count].to_vec();
                space.map_brightness(&mut pixels, &table);
                for (found, rgb) in pixels.as_chunks::<3>().0.iter().zip(values.as_chunks().0) {
                    let mut colour = space.encode(*rgb);
                    let brightness = &mut colour[space.brightness()];
                    *brightness = table[*brightness as usize];
                    assert_eq!(*found, space.decode(colour), "{space:?} {rgb:?}");
                }
            }
        }
    }

    #[test]
    fn known_colours_have_opencvs_values() {
        assert_eq!(ColourSpace::Hsv.encode([255, 0, 0]), [0, 255, 255]);
        assert_eq!(ColourSpace::Hsv.encode([0, 0, 255]), [120, 255, 255]);
        assert_eq!(ColourSpace::Hls.encode([0, 255, 0]), [60, 128, 255]);
        assert_eq!(ColourSpace::YCrCb.encode([255, 0, 0]), [76, 255, 85]);
        assert_eq!(ColourSpace::Lab.encode([255, 0, 0]), [136, 208, 195]);
        assert_eq!(ColourSpace::Luv.encode([255, 0, 0]), [135, 222, 173]);
        assert_eq!(ColourSpace::Yuv.encode([255, 0, 0]), [76, 91, 255]);
    }

    #[test]
    fn no_value_of_any_colour_space_panics() {
        for space in ColourSpace::ALL {
            for a in (0..=255).step_by(5) {
                for b in (0..=255).step_by(5) {
                    for c in (0..=255).step_by(5) {
                        let _ = space.decode(space.encode(space.decode([a, b, c])));
                    }
                }
            }
        }
    }
}
