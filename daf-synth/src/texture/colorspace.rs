//! Color spaces with 8-bit values, as OpenCV's `cvtColor` has them.
//!
//! Values are rounded to 8 bits in the color space, hue to steps of two degrees, so that going there and back
//! loses what OpenCV loses.

use std::sync::LazyLock;

/// A color space with an axis of brightness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorSpace {
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

impl ColorSpace {
    /// Every color space.
    pub const ALL: [Self; 6] = [Self::YCrCb, Self::Hsv, Self::Hls, Self::Lab, Self::Luv, Self::Yuv];

    /// Index of the brightness among the three values.
    #[must_use]
    pub const fn brightness(self) -> usize {
        match self {
            Self::Hsv => 2,
            Self::Hls => 1,
            Self::YCrCb | Self::Lab | Self::Luv | Self::Yuv => 0,
        }
    }

    /// Changes the brightness of colors in RGB to what the table has for it.
    pub(super) fn change_brightness(self, colors: &mut [[u8; 3]], table: &[u8; 256]) {
        // A loop for each space: which one it is is not asked for every pixel.
        match self {
            Self::YCrCb => change(colors, |color| Self::YCrCb.changed(color, table)),
            Self::Hsv => change(colors, |color| Self::Hsv.changed(color, table)),
            Self::Hls => change(colors, |color| Self::Hls.changed(color, table)),
            Self::Lab => change(colors, |color| Self::Lab.changed(color, table)),
            Self::Luv => change(colors, |color| Self::Luv.changed(color, table)),
            Self::Yuv => change(colors, |color| Self::Yuv.changed(color, table)),
        }
    }

    #[inline(always)]
    fn changed(self, rgb: [u8; 3], table: &[u8; 256]) -> [u8; 3] {
        let mut color = self.encode(rgb);
        let brightness = &mut color[self.brightness()];
        *brightness = table[usize::from(*brightness)];
        self.decode(color)
    }

    /// From RGB.
    #[must_use]
    #[inline(always)]
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
    #[inline(always)]
    pub fn decode(self, color: [u8; 3]) -> [u8; 3] {
        let [first, second, third] = color;
        match self {
            Self::YCrCb => decode_luma([first, second, third], [22987, -11698, -5636, 29049]),
            Self::Yuv => decode_luma([first, third, second], [18678, -9519, -6472, 33292]),
            Self::Hsv => decode_hsv(color),
            Self::Hls => decode_hls(color),
            Self::Lab => decode_lab(color),
            Self::Luv => decode_luv(color),
        }
    }
}

#[inline(always)]
fn change(colors: &mut [[u8; 3]], changed: impl Fn([u8; 3]) -> [u8; 3]) {
    for color in colors {
        *color = changed(*color);
    }
}

/// A static table of the values for all bytes.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident: $type:ty = |$byte:ident| $value:expr) => {
        $(#[$doc])*
        static $name: [$type; 256] = {
            let mut table = [0 as $type; 256];
            let mut $byte = 0;
            while $byte < table.len() {
                table[$byte] = $value;
                $byte += 1;
            }
            table
        };
    };
}

table!(
    /// Bytes as shares of 255.
    SHARE: f32 = |byte| byte as f32 / 255.0
);

/// A number with `bits` bits after the binary point, rounded and cut off to a byte.
fn descale(value: i32, bits: u32) -> u8 {
    ((value + (1 << (bits - 1))) >> bits).clamp(0, 255) as u8
}

/// Luma, and two of its differences from the channels, which are given with their weights. Weights have 14
/// bits after the binary point.
fn encode_luma(rgb: [u8; 3], differences: [(usize, i32); 2]) -> [u8; 3] {
    let rgb = rgb.map(i32::from);
    let luma = descale(rgb[0] * 4899 + rgb[1] * 9617 + rgb[2] * 1868, 14);
    let [first, second] = differences
        .map(|(channel, weight)| descale((rgb[channel] - i32::from(luma)) * weight + (128 << 14), 14));
    [luma, first, second]
}

/// From luma and the differences of red and blue; weights of red in red and green, of blue in green and blue.
fn decode_luma([luma, red, blue]: [u8; 3], weights: [i32; 4]) -> [u8; 3] {
    let luma = i32::from(luma) << 14;
    let (red, blue) = (i32::from(red) - 128, i32::from(blue) - 128);
    [
        red * weights[0],
        red * weights[1] + blue * weights[2],
        blue * weights[3],
    ]
    .map(|difference| descale(luma + difference, 14))
}

/// Number of hues: OpenCV counts steps of two degrees, so that they fit into 8 bits.
pub(super) const HUES: i32 = 180;

/// A reciprocal times `scale` with 12 bits after the binary point, as OpenCV has them in tables.
const fn reciprocal(scale: i32, of: usize) -> i32 {
    let of = of as i32;
    if of == 0 {
        0
    } else {
        ((scale << 13) + of) / (2 * of)
    }
}

table!(HUE_PER_SPAN: i32 = |span| reciprocal(HUES / 6, span));
table!(SATURATION_PER_VALUE: i32 = |value| reciprocal(255, value));

fn encode_hsv(rgb: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = rgb.map(i32::from);
    let value = r.max(g).max(b);
    let span = value - r.min(g).min(b);
    let hue = if value == r {
        g - b
    } else if value == g {
        b - r + 2 * span
    } else {
        r - g + 4 * span
    };
    let hue = (hue * HUE_PER_SPAN[usize::from(span as u8)] + (1 << 11)) >> 12;
    let saturation = descale(span * SATURATION_PER_VALUE[usize::from(value as u8)], 12);
    [
        (hue + if hue < 0 { HUES } else { 0 }) as u8,
        saturation,
        value as u8,
    ]
}

fn decode_hsv([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    let (saturation, value) = (SHARE[usize::from(saturation)], f32::from(value));
    let [r, g, b] = WHEEL[usize::from(hue)];
    let channel = |share: f32| (value * (1.0 - saturation * (1.0 - share)) + 0.5) as u8;
    [channel(r), channel(g), channel(b)]
}

fn encode_hls(rgb: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = rgb.map(|value| SHARE[usize::from(value)]);
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let (sum, span) = (most + least, most - least);
    let lightness = (sum * 0.5 * 255.0 + 0.5) as u8;
    if span <= f32::EPSILON {
        return [0, lightness, 0];
    }
    let saturation = span / if sum < 1.0 { sum } else { 2.0 - sum };
    let (difference, first) = if most == r {
        (g - b, 0.0)
    } else if most == g {
        (b - r, 120.0)
    } else {
        (r - g, 240.0)
    };
    let hue = difference / span * 60.0 + first;
    let hue = if hue < 0.0 { hue + 360.0 } else { hue };
    [
        (hue * 0.5 + 0.5) as u8,
        lightness,
        (saturation * 255.0 + 0.5) as u8,
    ]
}

fn decode_hls([hue, lightness, saturation]: [u8; 3]) -> [u8; 3] {
    let lightness = f32::from(lightness);
    let span = SHARE[usize::from(saturation)] * lightness.min(255.0 - lightness);
    let [r, g, b] = WHEEL[usize::from(hue)];
    let channel = |share: f32| (lightness - span + 2.0 * span * share + 0.5) as u8;
    [channel(r), channel(g), channel(b)]
}

/// How much of each of red, green and blue a hue has, from 0 to 1. A table, since no processor foresees in
/// which sixth of the color circle a pixel is.
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

/// [`XYZ`] · 2¹², white being 1, rounded.
const XYZ_12: [[i32; 3]; 3] = [[1777, 1541, 778], [871, 2929, 296], [73, 448, 3575]];

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
fn xyz_to_rgb([x, y, z]: [f32; 3]) -> [u8; 3] {
    let companded = &*COMPANDED;
    let channel = |[of_x, of_y, of_z]: [f32; 3]| {
        let linear = of_x * x + of_y * y + of_z * z;
        let place = (linear * COMPANDED_LAST as f32 + 0.5) as i32;
        companded[place.clamp(0, COMPANDED_LAST as i32) as usize]
    };
    [channel(RGB[0]), channel(RGB[1]), channel(RGB[2])]
}

/// Inverse of [`cube_root`].
fn cube(f: f32) -> f32 {
    if f > 6.0 / 29.0 {
        f * f * f
    } else {
        (f - 16.0 / 116.0) * (108.0 / 841.0)
    }
}

/// In OpenCV's integers: a difference of one in the dark is a visible difference after [`decode_lab`].
fn encode_lab(rgb: [u8; 3]) -> [u8; 3] {
    let tables = &*LAB;
    let rgb = rgb.map(|value| tables.linear[usize::from(value)]);
    let [x, y, z] = XYZ_12.map(|row| {
        let sum = row[0] * rgb[0] + row[1] * rgb[1] + row[2] * rgb[2];
        tables.roots[(((sum + (1 << 11)) >> 12) as usize).min(LAB_ROOTS - 1)]
    });
    const SCALE: i32 = (116 * 255 + 50) / 100;
    const OFFSET: i32 = (16 * 255 * (1 << 15) + 50) / 100;
    [
        descale(SCALE * y - OFFSET, 15),
        descale(500 * (x - y) + (128 << 15), 15),
        descale(200 * (y - z) + (128 << 15), 15),
    ]
}

table!(LAB_Y: f32 = |l| (l as f32 * (100.0 / 255.0) + 16.0) / 116.0);
table!(LAB_X: f32 = |a| (a as f32 - 128.0) / 500.0);
table!(LAB_Z: f32 = |b| (b as f32 - 128.0) / 200.0);

fn decode_lab(color: [u8; 3]) -> [u8; 3] {
    let [l, a, b] = color.map(usize::from);
    let y = LAB_Y[l];
    let (x, z) = (y + LAB_X[a], y - LAB_Z[b]);
    xyz_to_rgb([cube(x) * WHITE.0 as f32, cube(y), cube(z) * WHITE.1 as f32])
}

/// From a table with a node for every eighth level of red, green and blue, interpolated, as OpenCV does it.
fn encode_luv(rgb: [u8; 3]) -> [u8; 3] {
    // Sums over the nodes around, with shares of 1/8 along each axis.
    let mut sums = [0; 3];
    let [r, g, b] = rgb.map(|value| (usize::from(value / 8), u32::from(value % 8)));
    for (red, red_share) in [(r.0, 8 - r.1), (r.0 + 1, r.1)] {
        for (green, green_share) in [(g.0, 8 - g.1), (g.0 + 1, g.1)] {
            let nodes = &LUV[(red * LUV_NODES + green) * LUV_NODES + b.0..][..2];
            for (sum, (low, high)) in sums.iter_mut().zip(nodes[0].into_iter().zip(nodes[1])) {
                let value = u32::from(low) * (8 - b.1) + u32::from(high) * b.1;
                *sum += value * (red_share * green_share);
            }
        }
    }
    // The largest value is 2¹⁴ · 8³: 15 bits are left below the 8 of the result.
    sums.map(|sum| ((sum + 256) >> 15).min(255) as u8)
}

fn decode_luv(color: [u8; 3]) -> [u8; 3] {
    let [l, u, v] = color.map(f32::from);
    let l = l * (100.0 / 255.0);
    let (u, v) = (u * (354.0 / 255.0) - 134.0, v * (262.0 / 255.0) - 140.0);
    let y = cube((l + 16.0) / 116.0);
    // 13·l·u′ and 13·l·v′; OpenCV keeps the second away from 0.
    let (u, v) = (u + 13.0 * l * WHITE_UV.0 as f32, v + 13.0 * l * WHITE_UV.1 as f32);
    let v = if v.abs() < 1.0 { 1.0f32.copysign(v) } else { v };
    let x = y * 9.0 * u / (4.0 * v);
    let z = y * (12.0 * 13.0 * l - 3.0 * u - 20.0 * v) / (4.0 * v);
    xyz_to_rgb([x, y, z])
}

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
const COMPANDED_LAST: usize = 8192;

/// 8-bit sRGB of a linear value, by ⌊value · 8192⌉: fine enough that neighbors differ by less than half a
/// level where the curve is steepest.
static COMPANDED: LazyLock<[u8; COMPANDED_LAST + 1]> = LazyLock::new(|| {
    std::array::from_fn(|i| (companded(i as f64 / COMPANDED_LAST as f64) * 255.0).round() as u8)
});

struct Lab {
    /// Linear value of an 8-bit one, 255 · 8 for white.
    linear: [i32; 256],
    /// [`cube_root`] · 2¹⁵ of such values.
    roots: [i32; LAB_ROOTS],
}

/// Length of [`Lab::roots`]: half as much again as white needs.
const LAB_ROOTS: usize = 3072;

static LAB: LazyLock<Lab> = LazyLock::new(|| Lab {
    linear: std::array::from_fn(|i| (linear(i as f64 / 255.0) * 255.0 * 8.0).round() as i32),
    roots: std::array::from_fn(|i| (cube_root(i as f64 / (255.0 * 8.0)) * 32768.0).round() as i32),
});

/// Nodes of [`LUV`] along each axis.
const LUV_NODES: usize = 33;

/// L, u and v, each scaled to 0..=2¹⁴, by red, green and blue.
static LUV: LazyLock<Vec<[u16; 3]>> = LazyLock::new(|| {
    let node = |i: usize| linear(i as f64 / (LUV_NODES - 1) as f64);
    let scaled = |value: f64, offset: f64, span: f64| ((value + offset) / span * 16384.0).round() as u16;
    let color = |i: usize| {
        let rgb = [i / LUV_NODES.pow(2), i / LUV_NODES % LUV_NODES, i % LUV_NODES].map(node);
        let [x, y, z] = XYZ.map(|row| row[0] * rgb[0] + row[1] * rgb[1] + row[2] * rgb[2]);
        let l = 116.0 * cube_root(y) - 16.0;
        let sum = (x + 15.0 * y + 3.0 * z).max(f64::from(f32::EPSILON));
        let u = 13.0 * l * (4.0 * x / sum - WHITE_UV.0);
        let v = 13.0 * l * (9.0 * y / sum - WHITE_UV.1);
        [
            scaled(l, 0.0, 100.0),
            scaled(u, 134.0, 354.0),
            scaled(v, 140.0, 262.0),
        ]
    };
    (0..LUV_NODES.pow(3)).map(color).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grays_survive_every_color_space() {
        for space in ColorSpace::ALL {
            for gray in 0..=255 {
                // Between the nodes of OpenCV's table, Luv is off by up to 5 in the dark.
                let tolerance = if space == ColorSpace::Luv && gray < 32 {
                    5
                } else {
                    2
                };
                for value in space.decode(space.encode([gray; 3])) {
                    assert!(value.abs_diff(gray) <= tolerance, "{space:?} {gray} {value}");
                }
            }
        }
    }

    #[test]
    fn known_colors_have_opencvs_values() {
        assert_eq!(ColorSpace::Hsv.encode([255, 0, 0]), [0, 255, 255]);
        assert_eq!(ColorSpace::Hsv.encode([0, 0, 255]), [120, 255, 255]);
        assert_eq!(ColorSpace::Hls.encode([0, 255, 0]), [60, 128, 255]);
        assert_eq!(ColorSpace::YCrCb.encode([255, 0, 0]), [76, 255, 85]);
        assert_eq!(ColorSpace::Lab.encode([255, 0, 0]), [136, 208, 195]);
        assert_eq!(ColorSpace::Luv.encode([255, 0, 0]), [135, 222, 173]);
        assert_eq!(ColorSpace::Yuv.encode([255, 0, 0]), [76, 91, 255]);
    }

    #[test]
    fn no_value_of_any_color_space_panics() {
        for space in ColorSpace::ALL {
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
