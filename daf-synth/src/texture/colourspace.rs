//! Colour spaces with 8-bit values, as OpenCV's `cvtColor` has them.
//!
//! Values are rounded to 8 bit in the colour space, hue to half of its degrees, so that going there and back loses what
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
fn decode_luma(luma: u8, red: u8, blue: u8, weights: [i32; 4]) -> [u8; 3] {
    let (luma, red, blue) = (i32::from(luma), i32::from(red) - 128, i32::from(blue) - 128);
    [
        byte(luma + descale(red * weights[0], LUMA_SHIFT)),
        byte(luma + descale(red * weights[1] + blue * weights[2], LUMA_SHIFT)),
        byte(luma + descale(blue * weights[3], LUMA_SHIFT)),
    ]
}

/// Values of hue, which counts half degrees... of two: 0..180.
pub(super) const HUES: i32 = 180;

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

pub(super) fn decode_hsv([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    let value = f32::from(value);
    let saturation = f32::from(saturation) / 255.0;
    if saturation == 0.0 {
        return [round(value); 3];
    }
    let (sector, within) = sector(hue);
    let low = value * (1.0 - saturation);
    let falling = value * (1.0 - saturation * within);
    let rising = value * (1.0 - saturation * (1.0 - within));
    around(sector, value, low, rising, falling)
}

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

fn decode_hls([hue, lightness, saturation]: [u8; 3]) -> [u8; 3] {
    let (lightness, saturation) = (f32::from(lightness) / 255.0, f32::from(saturation) / 255.0);
    if saturation == 0.0 {
        return [round(lightness * 255.0); 3];
    }
    let high = if lightness <= 0.5 {
        lightness * (1.0 + saturation)
    } else {
        lightness + saturation - lightness * saturation
    };
    let low = 2.0 * lightness - high;
    let (sector, within) = sector(hue);
    let falling = low + (high - low) * (1.0 - within);
    let rising = low + (high - low) * within;
    around(sector, high * 255.0, low * 255.0, rising * 255.0, falling * 255.0)
}

/// Which sixth of the colour circle a hue lies in, and where within it.
fn sector(hue: u8) -> (u8, f32) {
    let hue = i32::from(hue) % HUES;
    ((hue / 30) as u8, (hue % 30) as f32 / 30.0)
}

fn around(sector: u8, high: f32, low: f32, rising: f32, falling: f32) -> [u8; 3] {
    match sector {
        0 => [high, rising, low],
        1 => [falling, high, low],
        2 => [low, high, rising],
        3 => [low, falling, high],
        4 => [rising, low, high],
        _ => [high, low, falling],
    }
    .map(round)
}

/// sRGB to XYZ under D65.
const XYZ: [[f32; 3]; 3] = [
    [0.412_453, 0.357_580, 0.180_423],
    [0.212_671, 0.715_160, 0.072_169],
    [0.019_334, 0.119_193, 0.950_227],
];

/// XYZ to sRGB.
const RGB: [[f32; 3]; 3] = [
    [3.240_479, -1.537_150, -0.498_535],
    [-0.969_256, 1.875_991, 0.041_556],
    [0.055_648, -0.204_043, 1.057_311],
];

/// X and Z of D65's white, where Y is 1.
const WHITE: (f32, f32) = (0.950_456, 1.088_754);

/// u′ and v′ of that white.
const WHITE_UV: (f32, f32) = {
    let sum = WHITE.0 + 15.0 + 3.0 * WHITE.1;
    (4.0 * WHITE.0 / sum, 9.0 / sum)
};

fn linear_to_xyz(rgb: [f32; 3]) -> [f32; 3] {
    XYZ.map(|row| row[0] * rgb[0] + row[1] * rgb[1] + row[2] * rgb[2])
}

fn xyz_to_rgb(xyz: [f32; 3]) -> [u8; 3] {
    let companded = &SRGB.companded;
    let last = companded.len() - 1;
    RGB.map(|row| {
        let linear = row[0] * xyz[0] + row[1] * xyz[1] + row[2] * xyz[2];
        companded[((linear * last as f32 + 0.5) as usize).min(last)]
    })
}

/// f(t) of CIE 1976, with f(t)³ = t for all but the darkest.
fn cube_root(t: f32) -> f32 {
    if t > 216.0 / 24389.0 {
        t.cbrt()
    } else {
        t * (841.0 / 108.0) + 16.0 / 116.0
    }
}

fn cube(f: f32) -> f32 {
    if f > 6.0 / 29.0 {
        f * f * f
    } else {
        (f - 16.0 / 116.0) * (108.0 / 841.0)
    }
}

fn encode_lab(rgb: [u8; 3]) -> [u8; 3] {
    let [x, y, z] = linear_to_xyz(rgb.map(|v| SRGB.linear[v as usize]));
    let (x, y, z) = (cube_root(x / WHITE.0), cube_root(y), cube_root(z / WHITE.1));
    [
        round((116.0 * y - 16.0) * (255.0 / 100.0)),
        round(500.0 * (x - y) + 128.0),
        round(200.0 * (y - z) + 128.0),
    ]
}

fn decode_lab([l, a, b]: [u8; 3]) -> [u8; 3] {
    let y = (f32::from(l) * (100.0 / 255.0) + 16.0) / 116.0;
    let x = y + (f32::from(a) - 128.0) / 500.0;
    let z = y - (f32::from(b) - 128.0) / 200.0;
    xyz_to_rgb([cube(x) * WHITE.0, cube(y), cube(z) * WHITE.1])
}

fn encode_luv(rgb: [u8; 3]) -> [u8; 3] {
    let [x, y, z] = linear_to_xyz(rgb.map(|v| SRGB.linear[v as usize]));
    let l = 116.0 * cube_root(y) - 16.0;
    let sum = (x + 15.0 * y + 3.0 * z).max(f32::EPSILON);
    let u = 13.0 * l * (4.0 * x / sum - WHITE_UV.0);
    let v = 13.0 * l * (9.0 * y / sum - WHITE_UV.1);
    [
        round(l * (255.0 / 100.0)),
        round((u + 134.0) * (255.0 / 354.0)),
        round((v + 140.0) * (255.0 / 262.0)),
    ]
}

fn decode_luv([l, u, v]: [u8; 3]) -> [u8; 3] {
    let l = f32::from(l) * (100.0 / 255.0);
    let u = f32::from(u) * (354.0 / 255.0) - 134.0;
    let v = f32::from(v) * (262.0 / 255.0) - 140.0;
    let y = cube((l + 16.0) / 116.0);
    // 13·l·u′ and 13·l·v′; OpenCV keeps the second away from 0.
    let (u, v) = (u + 13.0 * l * WHITE_UV.0, v + 13.0 * l * WHITE_UV.1);
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

struct Srgb {
    linear: [f32; 256],
    companded: Vec<u8>,
}

static SRGB: LazyLock<Srgb> = LazyLock::new(|| {
    let linear = |v: f64| {
        if v <= 0.04045 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    };
    let companded = |v: f64| {
        if v <= 0.003_130_8 {
            v * 12.92
        } else {
            1.055 * v.powf(1.0 / 2.4) - 0.055
        }
    };
    Srgb {
        linear: std::array::from_fn(|i| linear(i as f64 / 255.0) as f32),
        // Fine enough that neighbours differ by less than half a grey level where the curve is steepest.
        companded: (0..=8192)
            .map(|i| (companded(f64::from(i) / 8192.0) * 255.0).round() as u8)
            .collect(),
    }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_survive_every_colour_space() {
        for space in ColourSpace::ALL {
            for grey in 0..=255 {
                for value in space.decode(space.encode([grey; 3])) {
                    assert!(value.abs_diff(grey) <= 2, "{space:?} {grey} {value}");
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
        assert_eq!(ColourSpace::Luv.encode([255, 0, 0]), [136, 223, 173]);
    }

    #[test]
    fn no_value_of_any_colour_space_panics() {
        for space in ColourSpace::ALL {
            for a in (0..=255).step_by(5) {
                for b in (0..=255).step_by(5) {
                    for c in (0..=255).step_by(5) {
                        space.decode(space.encode(space.decode([a, b, c])));
                    }
                }
            }
        }
    }
}
