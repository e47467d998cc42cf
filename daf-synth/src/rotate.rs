//! Rotation about the center, with bilinear interpolation.

use daf_core::image::RgbImage;

use crate::round::{floor, nearest};

/// Values outside an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outside {
    /// 0.
    Black,
    /// The image mirrored at its edges, repeatedly: for pieces of an image, which go on beyond their edges.
    Mirrored,
}

/// Rotates an image, clockwise for positive angles, as imgaug's `Affine(rotate=…, order=1, cval=0)` does.
/// Places are rounded to 64ths of a pixel (OpenCV has 32nds).
pub(crate) fn rotate(image: &RgbImage, degrees: f64, outside: Outside) -> RgbImage {
    let (width, height) = image.dimensions();
    let source = image.as_chunks::<3>().0;
    let rotation = Rotation::new(width as usize, height as usize, degrees);
    let mut turned = RgbImage::new(width, height);
    let row_length = (width as usize * 3).max(1);
    for (y, row) in turned.chunks_exact_mut(row_length).enumerate() {
        for (pixel, place) in row.as_chunks_mut::<3>().0.iter_mut().zip(rotation.places(y)) {
            let colors = rotation.around(source, place, outside);
            let [fx, fy] = [place.fx, place.fy].map(|share| i32::from(nearest(share * 64.0)));
            for (channel, value) in pixel.iter_mut().enumerate() {
                let [a, b, c, d] = colors.map(|color| i32::from(color[channel]));
                let (upper, lower) = (64 * a + fx * (b - a), 64 * c + fx * (d - c));
                *value = ((64 * upper + fy * (lower - upper) + 2048) >> 12) as u8;
            }
        }
    }
    turned
}

fn interpolate(corners: [f32; 4], Place { fx, fy, .. }: Place) -> f32 {
    (1.0 - fx) * (1.0 - fy) * corners[0]
        + fx * (1.0 - fy) * corners[1]
        + (1.0 - fx) * fy * corners[2]
        + fx * fy * corners[3]
}

/// A rotation of images of one size about the point between the middle pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotation {
    width: usize,
    height: usize,
    sin: f64,
    cos: f64,
    /// Source of the pixel (0, 0).
    start: (f64, f64),
}

/// Source of a pixel: the upper left one of four neighbors, and the distance from there.
#[derive(Debug, Clone, Copy)]
struct Place {
    left: i32,
    top: i32,
    fx: f32,
    fy: f32,
}

impl Rotation {
    pub(crate) fn new(width: usize, height: usize, degrees: f64) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (x, y) = (width as f64 / 2.0 - 0.5, height as f64 / 2.0 - 0.5);
        Self {
            width,
            height,
            sin,
            cos,
            start: (x - sin * y - cos * x, y - cos * y + sin * x),
        }
    }

    /// Sources of the pixels of row `y`.
    fn places(&self, y: usize) -> impl Iterator<Item = Place> + use<> {
        let row_x = (self.start.0 + self.sin * y as f64) as f32;
        let row_y = (self.start.1 + self.cos * y as f64) as f32;
        let (sin, cos) = (self.sin as f32, self.cos as f32);
        (0..self.width).map(move |x| {
            let (x, y) = (row_x + cos * x as f32, row_y - sin * x as f32);
            let (left, top) = (floor(x), floor(y));
            Place {
                left,
                top,
                fx: x - left as f32,
                fy: y - top as f32,
            }
        })
    }

    /// 255 where a rotated field is above a positive threshold, row by row; it is 0 outside.
    pub(crate) fn mask(&self, field: &[f32], threshold: f32) -> Vec<u8> {
        let (width, height) = (self.width, self.height);
        let mut mask = vec![0; width * height];
        // Whether one of the four neighbors is above it, by the lower right one: where none is, which is nearly
        // everywhere, nothing need be interpolated.
        let mut near = vec![0; (width + 1) * (height + 1)];
        let above: Vec<u8> = field.iter().map(|value| u8::from(*value > threshold)).collect();
        for (y, above) in above.chunks_exact(width.max(1)).enumerate() {
            for near in near[y * (width + 1)..].chunks_exact_mut(width + 1).take(2) {
                near.iter_mut()
                    .zip(above)
                    .for_each(|(near, above)| *near |= above);
                near[1..]
                    .iter_mut()
                    .zip(above)
                    .for_each(|(near, above)| *near |= above);
            }
        }
        for (y, row) in mask.chunks_exact_mut(width.max(1)).enumerate() {
            for (pixel, place) in row.iter_mut().zip(self.places(y)) {
                let [right, below] = [place.left, place.top].map(|at| (at + 1) as usize);
                if right <= width
                    && below <= height
                    && near[below * (width + 1) + right] > 0
                    && self.exceeds(field, place, threshold)
                {
                    *pixel = 255;
                }
            }
        }
        mask
    }

    fn exceeds(&self, field: &[f32], place: Place, threshold: f32) -> bool {
        interpolate(self.around(field, place, Outside::Black), place) > threshold
    }

    /// The four neighbors of a place, row by row.
    #[inline]
    fn around<T: Copy + Default>(&self, source: &[T], place: Place, outside: Outside) -> [T; 4] {
        let Place { left, top, .. } = place;
        let (width, height) = (self.width as i32, self.height as i32);
        if (0..width - 1).contains(&left) && (0..height - 1).contains(&top) {
            let first = top as usize * self.width + left as usize;
            let (upper, lower) = (&source[first..], &source[first + self.width..]);
            return [upper[0], upper[1], lower[0], lower[1]];
        }
        if outside == Outside::Black && !((-1..width).contains(&left) && (-1..height).contains(&top)) {
            return [T::default(); 4];
        }
        // The number of a column or a row, if there is one.
        let number = |at: i32, size: i32| match outside {
            Outside::Black => (0..size).contains(&at).then_some(at as usize),
            Outside::Mirrored => {
                let near = (-size..2 * size).contains(&at);
                let at = if near { at } else { at.rem_euclid(2 * size) };
                Some(at.max(-1 - at).min(2 * size - 1 - at) as usize)
            }
        };
        let columns = [left, left + 1].map(|at| number(at, width));
        let rows = [top, top + 1].map(|at| number(at, height));
        std::array::from_fn(|corner| match (columns[corner % 2], rows[corner / 2]) {
            (Some(x), Some(y)) => source[y * self.width + x],
            _ => T::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use daf_core::image::Rgb;

    use super::*;

    /// Rotates a gray image.
    fn turned(source: &[u8], width: u32, height: u32, degrees: f64, outside: Outside) -> Vec<u8> {
        let image = RgbImage::from_fn(width, height, |x, y| Rgb([source[(y * width + x) as usize]; 3]));
        let turned = rotate(&image, degrees, outside);
        assert!(
            turned
                .pixels()
                .all(|pixel| pixel.0[0] == pixel.0[1] && pixel.0[1] == pixel.0[2])
        );
        turned.pixels().map(|pixel| pixel.0[0]).collect()
    }

    #[test]
    fn no_rotation_changes_nothing() {
        let image: Vec<u8> = (0..15 * 14).collect();
        assert_eq!(turned(&image, 15, 14, 0.0, Outside::Black), image);
    }

    #[test]
    fn a_quarter_turn_moves_the_upper_left_to_the_upper_right() {
        assert_eq!(turned(&[1, 2, 3, 4], 2, 2, 90.0, Outside::Black), [3, 1, 4, 2]);
    }

    #[test]
    fn colors_keep_their_channels_and_lie_between_their_neighbors() {
        // Between its two pixels a row of two is turned by nothing; half a turn exchanges them.
        let image = RgbImage::from_fn(2, 1, |x, _| Rgb([x as u8 * 200, 255, 10 + x as u8]));
        let half = rotate(&image, 180.0, Outside::Black);
        assert_eq!(
            (half.get_pixel(0, 0), half.get_pixel(1, 0)),
            (image.get_pixel(1, 0), image.get_pixel(0, 0))
        );
        let image = RgbImage::from_fn(31, 31, |x, y| Rgb([8 * x as u8, 255, 40 + y as u8]));
        let turned = rotate(&image, 45.0, Outside::Mirrored);
        assert!(
            turned
                .pixels()
                .all(|pixel| pixel.0[1] == 255 && (40..=70).contains(&pixel.0[2]))
        );
        assert_eq!(turned.get_pixel(15, 15), image.get_pixel(15, 15));
    }

    #[test]
    fn corners_that_come_from_outside_are_zero() {
        let turned = turned(&[255; 81], 9, 9, 45.0, Outside::Black);
        assert_eq!((turned[0], turned[40]), (0, 255));
    }

    #[test]
    fn an_image_of_one_pixel_or_none_is_fine() {
        assert_eq!(turned(&[7], 1, 1, 33.0, Outside::Black), [7]);
        for outside in [Outside::Black, Outside::Mirrored] {
            assert!(
                turned(&[], 0, 4, 33.0, outside).is_empty() && turned(&[], 4, 0, 33.0, outside).is_empty()
            );
        }
    }

    #[test]
    fn mirrors_leave_no_black() {
        for (width, height, degrees) in [(40, 3, 45.0), (1, 1, 20.0), (2, 30, -90.0), (7, 5, 13.0)] {
            let source: Vec<u8> = (0..width * height).map(|i| 100 + (i % 100) as u8).collect();
            let turned = turned(&source, width, height, degrees, Outside::Mirrored);
            assert!(
                turned.iter().all(|v| *v >= 100),
                "{width} {height} {degrees}: {turned:?}"
            );
        }
    }

    #[test]
    fn a_field_is_interpolated_between_its_values_and_zero_outside() {
        let rotation = Rotation::new(2, 2, 0.0);
        for ((left, top), (fx, fy), value) in [
            ((0, 0), (0.5, 0.5), 2.5),
            ((0, 0), (0.0, 1.0), 3.0),
            ((-1, 0), (0.5, 0.0), 0.5),
            ((1, 1), (0.5, 0.5), 1.0),
        ] {
            let place = Place { left, top, fx, fy };
            let exceeds = |threshold| rotation.exceeds(&[1.0, 2.0, 3.0, 4.0], place, threshold);
            assert!(exceeds(value - 0.01) && !exceeds(value), "{place:?}");
        }
    }
}
