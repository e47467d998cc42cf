//! Rotation about the centre.

/// A channel value that can be interpolated.
pub(crate) trait Sample: Copy + Default {
    fn to_f32(self) -> f32;
    fn from_f32(value: f32) -> Self;
}

impl Sample for f32 {
    fn to_f32(self) -> f32 {
        self
    }
    fn from_f32(value: f32) -> Self {
        value
    }
}

impl Sample for u8 {
    fn to_f32(self) -> f32 {
        f32::from(self)
    }
    fn from_f32(value: f32) -> Self {
        (value + 0.5) as Self
    }
}

/// Rotates an image of `C` channels, clockwise for positive angles, with bilinear interpolation and 0 outside the
/// source, as imgaug's `Affine(rotate=…, order=1, cval=0)` does: about the point between the middle pixels.
pub(crate) fn rotate<const C: usize, T: Sample>(
    source: &[T],
    width: usize,
    height: usize,
    degrees: f64,
) -> Vec<T> {
    let mut target = vec![T::default(); source.len()];
    if width == 0 || height == 0 {
        return target;
    }
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (middle_x, middle_y) = (width as f64 / 2.0 - 0.5, height as f64 / 2.0 - 0.5);
    let (beyond_x, beyond_y) = (width as f32, height as f32);
    let at = |x: isize, y: isize, channel: usize| {
        let inside = x >= 0 && y >= 0 && (x as usize) < width && (y as usize) < height;
        if inside {
            source[(y as usize * width + x as usize) * C + channel].to_f32()
        } else {
            0.0
        }
    };
    for (y, row) in target.chunks_exact_mut(width * C).enumerate() {
        let dy = y as f64 - middle_y;
        let (start_x, start_y) = (
            middle_x + sin * dy - cos * middle_x,
            middle_y + cos * dy + sin * middle_x,
        );
        for (x, pixel) in row.chunks_exact_mut(C).enumerate() {
            let from_x = (start_x + cos * x as f64) as f32;
            let from_y = (start_y - sin * x as f64) as f32;
            if from_x <= -1.0 || from_y <= -1.0 || from_x >= beyond_x || from_y >= beyond_y {
                continue;
            }
            // Rounds down without `floor`, which is a function call on processors without SSE 4.1.
            let (left, top) = ((from_x + 1.0) as isize - 1, (from_y + 1.0) as isize - 1);
            let (fx, fy) = (from_x - left as f32, from_y - top as f32);
            let weights = [(1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy];
            if left >= 0 && top >= 0 && left + 1 < width as isize && top + 1 < height as isize {
                let upper = (top as usize * width + left as usize) * C;
                let (upper, lower) = (
                    &source[upper..upper + 2 * C],
                    &source[upper + width * C..][..2 * C],
                );
                for (channel, value) in pixel.iter_mut().enumerate() {
                    *value = T::from_f32(
                        weights[0] * upper[channel].to_f32()
                            + weights[1] * upper[channel + C].to_f32()
                            + weights[2] * lower[channel].to_f32()
                            + weights[3] * lower[channel + C].to_f32(),
                    );
                }
            } else {
                for (channel, value) in pixel.iter_mut().enumerate() {
                    *value = T::from_f32(
                        weights[0] * at(left, top, channel)
                            + weights[1] * at(left + 1, top, channel)
                            + weights[2] * at(left, top + 1, channel)
                            + weights[3] * at(left + 1, top + 1, channel),
                    );
                }
            }
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rotation_changes_nothing() {
        let image: Vec<u8> = (0..5 * 4 * 3).collect();
        assert_eq!(rotate::<3, _>(&image, 5, 4, 0.0), image);
    }

    #[test]
    fn a_quarter_turn_moves_the_upper_left_to_the_upper_right() {
        let turned = rotate::<1, f32>(&[1.0, 2.0, 3.0, 4.0], 2, 2, 90.0);
        for (value, expected) in turned.iter().zip([3.0, 1.0, 4.0, 2.0]) {
            assert!((value - expected).abs() < 1e-6, "{turned:?}");
        }
    }

    #[test]
    fn corners_that_come_from_outside_are_zero() {
        let turned = rotate::<1, u8>(&[255; 81], 9, 9, 45.0);
        assert_eq!(turned[0], 0);
        assert_eq!(turned[40], 255);
    }

    #[test]
    fn images_of_one_pixel_and_of_none_are_fine() {
        assert_eq!(rotate::<1, u8>(&[7], 1, 1, 33.0), [7]);
        assert!(rotate::<1, u8>(&[], 0, 3, 33.0).is_empty());
    }
}
