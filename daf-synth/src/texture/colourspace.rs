//! Colour spaces with 8-bit values, as OpenCV's `cvtColor` has them.
//!
//! Values are rounded to 8 bit in the colour space, hue to steps of two degrees, so that going there and back loses what
//! OpenCV loses.

use std::sync::LazyLock;

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
        match self {
            Self::YCrCb => encode_luma(rgb, [(0, 11682), (2, 9241)]),
            Self::Yuv => encode_luma(rgb, [(2, 8061), (0, 14369)]),
            Self::Hsv => encode_hsv(rgb),
            Self::Hls => encode_hls(rgb),
            Self::Lab => encode_lab(rgb),
            Self::Luv => encode_luv(rgb),
        }
    }

    /// To RGB.
    #[must_use]
    pub fn decode(self, [a, b, c]: [u8; 3]) -> [u8; 3] {
        match self {
            Self::YCrCb => decode_luma(a, b, c, [22987, -11698, -5636, 29049]),
            Self::Yuv => decode_luma(a, c, b, [18678, -9519, -6472, 33292]),
            Self::Hsv => decode_hsv([a, b, c]),
            Self::Hls => decode_hls([a, b, c]),
            Self::Lab => decode_lab([a, b, c]),
            Self::Luv => decode_luv([a, b, c]),
        }
    }

    /// Sends the brightness of RGB pixels through a table.
    pub(super) fn map_brightness(self, pixels: &mut [u8], table: &[u8; 256]) {
        /// A loop of its own for each colour space.
        fn each(pixels: &mut [u8], change: impl Fn([u8; 3]) -> [u8; 3]) {
            for pixel in pixels.as_chunks_mut::<3>().0 {
                *pixel = change(*pixel);
            }
        }
        let axis = self.brightness();
        let through = |mut colour: [u8; 3]| {
            colour[axis] = table[colour[axis] as usize];
            colour
        };
        match self {
            Self::YCrCb => each(pixels, |rgb| Self::YCrCb.decode(through(Self::YCrCb.encode(rgb)))),
            Self::Yuv => each(pixels, |rgb| Self::Yuv.decode(through(Self::Yuv.encode(rgb)))),
            Self::Hsv => each(pixels, |rgb| decode_hsv(through(encode_hsv(rgb)))),
            Self::Hls => each(pixels, |rgb| decode_hls(through(encode_hls(rgb)))),
            Self::Lab => each(pixels, |rgb| decode_lab(through(encode_lab(rgb)))),
            Self::Luv => each(pixels, |rgb| decode_luv(through(encode_luv(rgb)))),
        }
    }
}

/// Bits after the binary point of OpenCV's luma arithmetic.
const LUMA_SHIFT: i32 = 14;

fn descale(value: i32, shift: i32) -> i32 {
    (value + (1 << (shift - 1))) >> shift
}

fn byte(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}

fn round(value: f32) -> u8 {
    (value + 0.5) as u8
}

/// Luma and two differences (channel, weight · 2¹⁴).
#[inline]
fn encode_luma(rgb: [u8; 3], differences: [(usize, i32); 2]) -> [u8; 3] {
    let [r, g, b] = rgb.map(i32::from);
    let luma = descale(r * 4899 + g * 9617 + b * 1868, LUMA_SHIFT);
    let [first, second] = differences.map(|(channel, weight)| {
        let difference = i32::from(rgb[channel]) - luma;
        byte(descale(difference * weight + (128 << LUMA_SHIFT), LUMA_SHIFT))
    });
    [byte(luma), first, second]
}

/// From luma, red and blue difference; weights · 2¹⁴ of red→R, red→G, blue→G, blue→B.
#[inline]
fn decode_luma(luma: u8, red: u8, blue: u8, weights: [i32; 4]) -> [u8; 3] {
    let (luma, red, blue) = (i32::from(luma), i32::from(red) - 128, i32::from(blue) - 128);
    [
        byte(luma + descale(red * weights[0], LUMA_SHIFT)),
        byte(luma + descale(red * weights[1] + blue * weights[2], LUMA_SHIFT)),
        byte(luma + descale(blue * weights[3], LUMA_SHIFT)),
    ]
}

/// Number of hues: OpenCV counts steps of two degrees, so that they fit into 8 bit.
pub(super) const HUES: i32 = 180;

#[inline]
pub(super) fn encode_hsv(rgb: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = rgb.map(i32::from);
    let value = r.max(g).max(b);
    let span = value - r.min(g).min(b);
    let tables = &*HSV;
    let saturation = descale(span * tables.saturation[value as usize], 12);
    let hue = if value == r {
        g - b
    } else if value == g {
        b - r + 2 * span
    } else {
        r - g + 4 * span
    };
    let hue = descale(hue * tables.hue[span as usize], 12);
    [
        byte(if hue < 0 { hue + HUES } else { hue }),
        byte(saturation),
        byte(value),
    ]
}

#[inline]
pub(super) fn decode_hsv([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    let value = f32::from(value);
    let saturation = f32::from(saturation) / 255.0;
    WHEEL[hue as usize].map(|share| round(value * (1.0 - saturation * (1.0 - share))))
}

#[inline]
fn encode_hls(rgb: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = rgb.map(|v| f32::from(v) / 255.0);
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let (sum, span) = (most + least, most - least);
    let lightness = round(sum * 0.5 * 255.0);
    if span <= f32::EPSILON {
        return [0, lightness, 0];
    }
    let saturation = span / if sum < 1.0 { sum } else { 2.0 - sum };
    let hue = if most == r {
        (g - b) / span * 60.0
    } else if most == g {
        (b - r) / span * 60.0 + 120.0
    } else {
        (r - g) / span * 60.0 + 240.0
    };
    let hue = if hue < 0.0 { hue + 360.0 } else { hue };
    [round(hue * 0.5), lightness, round(saturation * 255.0)]
}

#[inline]
fn decode_hls([hue, lightness, saturation]: [u8; 3]) -> [u8; 3] {
    let (lightness, saturation) = (f32::from(lightness), f32::from(saturation) / 255.0);
    let span = saturation * lightness.min(255.0 - lightness);
    let low = lightness - span;
    WHEEL[hue as usize].map(|share| round(low + 2.0 * span * share))
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

#[inline]
fn xyz_to_rgb(xyz: [f32; 3]) -> [u8; 3] {
    let companded = &*COMPANDED;
    let last = companded.len() - 1;
    let mut rgb = [0; 3];
    for (value, row) in rgb.iter_mut().zip(RGB) {
        let linear = row[0] * xyz[0] + row[1] * xyz[1] + row[2] * xyz[2];
        *value = companded[((linear * last as f32 + 0.5) as usize).min(last)];
    }
    rgb
}

/// Inverse of [`cube_root`].
#[inline]
fn cube(f: f32) -> f32 {
    if f > 6.0 / 29.0 {
        f * f * f
    } else {
        (f - 16.0 / 116.0) * (108.0 / 841.0)
    }
}

/// In OpenCV's integers: a difference of one in the dark is a visible difference after [`decode_lab`].
#[inline]
fn encode_lab(rgb: [u8; 3]) -> [u8; 3] {
    let tables = &*LAB;
    let rgb = rgb.map(|v| i32::from(tables.linear[v as usize]));
    let [x, y, z] = tables.xyz.map(|row| {
        let sum = row[0] * rgb[0] + row[1] * rgb[1] + row[2] * rgb[2];
        i32::from(tables.roots[(descale(sum, 12) as usize).min(tables.roots.len() - 1)])
    });
    const SHIFT: i32 = 15;
    const SCALE: i32 = (116 * 255 + 50) / 100;
    const OFFSET: i32 = -((16 * 255 * (1 << SHIFT) + 50) / 100);
    [
        byte(descale(SCALE * y + OFFSET, SHIFT)),
        byte(descale(500 * (x - y) + (128 << SHIFT), SHIFT)),
        byte(descale(200 * (y - z) + (128 << SHIFT), SHIFT)),
    ]
}

#[inline]
fn decode_lab([l, a, b]: [u8; 3]) -> [u8; 3] {
    let y = (f32::from(l) * (100.0 / 255.0) + 16.0) / 116.0;
    let x = y + (f32::from(a) - 128.0) / 500.0;
    let z = y - (f32::from(b) - 128.0) / 200.0;
    xyz_to_rgb([cube(x) * WHITE.0 as f32, cube(y), cube(z) * WHITE.1 as f32])
}

/// As OpenCV does, from a table with a node for every eighth grey level, interpolated.
#[inline]
fn encode_luv(rgb: [u8; 3]) -> [u8; 3] {
    let nodes = &LUV.0;
    let [r, g, b] = rgb.map(|v| v as usize / 8);
    // Weights of the lower and the upper node along each axis, in eighths.
    let [red, green, blue] = rgb.map(|v| [8 - u64::from(v % 8), u64::from(v % 8)]);
    // Over green and blue, all three values at once: 64 times the largest one still fits beside the others.
    let planes = [r, r + 1].map(|r| {
        let pair = |g: usize| {
            let line = &nodes[(r * LUV_NODES + g) * LUV_NODES + b..][..2];
            blue[0] * line[0] + blue[1] * line[1]
        };
        green[0] * pair(g) + green[1] * pair(g + 1)
    });
    [0, 1, 2].map(|i| {
        let [low, high] = planes.map(|plane| plane >> (i * LUV_BITS) & ((1 << LUV_BITS) - 1));
        byte(descale((red[0] * low + red[1] * high) as i32, 9) / 64)
    })
}

#[inline]
fn decode_luv([l, u, v]: [u8; 3]) -> [u8; 3] {
    let l = f32::from(l) * (100.0 / 255.0);
    let u = f32::from(u) * (354.0 / 255.0) - 134.0;
    let v = f32::from(v) * (262.0 / 255.0) - 140.0;
    let y = cube((l + 16.0) / 116.0);
    // 13·l·u′ and 13·l·v′; OpenCV keeps the second away from 0.
    let (u, v) = (u + 13.0 * l * WHITE_UV.0 as f32, v + 13.0 * l * WHITE_UV.1 as f32);
    let v = if v.abs() < 1.0 { 1.0f32.copysign(v) } else { v };
    let x = y * 9.0 * u / (4.0 * v);
    let z = y * (12.0 * 13.0 * l - 3.0 * u - 20.0 * v) / (4.0 * v);
    xyz_to_rgb([x, y, z])
}

struct Hsv {
    saturation: [i32; 256],
    hue: [i32; 256],
}

/// Reciprocals with 12 bits after the binary point, as OpenCV has them.
static HSV: LazyLock<Hsv> = LazyLock::new(|| {
    let table = |scale: f64| {
        std::array::from_fn(|i| {
            if i == 0 {
                0
            } else {
                (scale * 4096.0 / i as f64).round_ties_even() as i32
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

/// 8-bit sRGB of a linear value, by ⌊value · 8192⌉: fine enough that neighbours differ by less than half a grey level
/// where the curve is steepest.
static COMPANDED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..=8192)
        .map(|i| (companded(f64::from(i) / 8192.0) * 255.0).round() as u8)
        .collect()
});

struct Lab {
    /// Linear value of an 8-bit one, 255 · 8 for white.
    linear: [u16; 256],
    /// [`cube_root`] · 2¹⁵ of such values.
    roots: Vec<u16>,
    /// Weights · 2¹² of linear RGB in XYZ, white being 1.
    xyz: [[i32; 3]; 3],
}

static LAB: LazyLock<Lab> = LazyLock::new(|| {
    let white = [WHITE.0, 1.0, WHITE.1];
    Lab {
        linear: std::array::from_fn(|i| (linear(i as f64 / 255.0) * 255.0 * 8.0).round() as u16),
        roots: (0..3072)
            .map(|i| (cube_root(f64::from(i) / (255.0 * 8.0)) * 32768.0).round() as u16)
            .collect(),
        xyz: std::array::from_fn(|i| XYZ[i].map(|weight| (4096.0 * weight / white[i]).round() as i32)),
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
