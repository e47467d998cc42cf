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

/// Rotates images of one size, clockwise for positive angles, with bilinear interpolation and 0 outside the source, as
/// imgaug's `Affine(rotate=…, order=1, cval=0)` does: about the point between the middle pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotation {
    width: usize,
    height: usize,
    sin: f64,
    cos: f64,
    /// Source of the pixel (0, 0).
    start: (f64, f64),
}

/// Where a pixel comes from: the upper left of four neighbours, and how far it lies from there.
#[derive(Debug, Clone, Copy)]
struct Place {
    left: isize,
    top: isize,
    fx: f32,
    fy: f32,
}

impl Place {
    /// How much the four neighbours weigh, row by row.
    #[inline]
    fn weights(self) -> [f32; 4] {
        let Self { fx, fy, .. } = self;
        [(1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy]
    }
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

    /// The point of the source that comes to a point of the target.
    pub(crate) fn source(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.start.0 + self.sin * y + self.cos * x,
            self.start.1 + self.cos * y - self.sin * x,
        )
    }

    #[inline]
    fn place(&self, x: usize, y: usize) -> Place {
        let (x, y) = self.source(x as f64, y as f64);
        let (x, y) = (x as f32, y as f32);
        // Rounds down without `floor`, which is a function call on processors without SSE 4.1; what lies further out than
        // the first pixel before the image is outside whatever it is rounded to.
        let (left, top) = ((x + 1.0) as isize - 1, (y + 1.0) as isize - 1);
        Place {
            left,
            top,
            fx: x - left as f32,
            fy: y - top as f32,
        }
    }

    fn outside(&self, place: Place) -> bool {
        let beyond = |at: isize, share: f32, size: usize| at >= size as isize || at < 0 && share <= 0.0;
        beyond(place.left, place.fx, self.width) || beyond(place.top, place.fy, self.height)
    }

    #[inline]
    fn inside(&self, place: Place) -> bool {
        place.left >= 0
            && place.top >= 0
            && place.left + 1 < self.width as isize
            && place.top + 1 < self.height as isize
    }

    /// The target's pixel (x, y) from a source of `C` channels.
    #[inline]
    pub(crate) fn pixel<const C: usize, T: Sample>(&self, source: &[T], x: usize, y: usize) -> [T; C] {
        let place = self.place(x, y);
        if !self.inside(place) {
            return self.border(source, place);
        }
        let weights = place.weights();
        let upper = (place.top as usize * self.width + place.left as usize) * C;
        let lower = &source[upper + self.width * C..][..2 * C];
        let upper = &source[upper..][..2 * C];
        // A loop and no `array::from_fn`, which the compiler does not take apart here.
        let mut pixel = [T::default(); C];
        for (c, value) in pixel.iter_mut().enumerate() {
            *value = T::from_f32(
                weights[0] * upper[c].to_f32()
                    + weights[1] * upper[c + C].to_f32()
                    + weights[2] * lower[c].to_f32()
                    + weights[3] * lower[c + C].to_f32(),
            );
        }
        pixel
    }

    /// The same where not all neighbours are inside the source.
    #[cold]
    fn border<const C: usize, T: Sample>(&self, source: &[T], place: Place) -> [T; C] {
        if self.outside(place) {
            return [T::default(); C];
        }
        let weights = place.weights();
        let at = |x: isize, y: isize, channel: usize| {
            let inside = x >= 0 && y >= 0 && (x as usize) < self.width && (y as usize) < self.height;
            if inside {
                source[(y as usize * self.width + x as usize) * C + channel].to_f32()
            } else {
                0.0
            }
        };
        let Place { left, top, .. } = place;
        std::array::from_fn(|c| {
            T::from_f32(
                weights[0] * at(left, top, c)
                    + weights[1] * at(left + 1, top, c)
                    + weights[2] * at(left, top + 1, c)
                    + weights[3] * at(left + 1, top + 1, c),
            )
        })
    }

    /// Writes 255 for each pixel of the source that [`pixel`](Self::pixel) reads for (x, y).
    pub(crate) fn mark(&self, x: usize, y: usize, marks: &mut [u8]) {
        let place = self.place(x, y);
        if self.inside(place) {
            let upper = place.top as usize * self.width + place.left as usize;
            marks[upper..upper + 2].fill(255);
            marks[upper + self.width..upper + self.width + 2].fill(255);
        } else if !self.outside(place) {
            for y in [place.top, place.top + 1] {
                for x in [place.left, place.left + 1] {
                    if x >= 0 && y >= 0 && x < self.width as isize && y < self.height as isize {
                        marks[y as usize * self.width + x as usize] = 255;
                    }
                }
            }
        }
    }
}

/// Tiles of so many pixels a side are looked at together.
const TILE: usize = 8;

/// Writes 255 into `mask` wherever `field`, rotated, exceeds `threshold`, which must be positive; elsewhere `mask` stays.
///
/// Exactly what comparing each rotated pixel would give, but most of a field of noise lies below the threshold, and an
/// interpolated value never exceeds its neighbours: tiles whose surroundings in the source stay below are not looked at.
pub(crate) fn threshold(rotation: &Rotation, field: &[f32], threshold: f32, mask: &mut [u8]) {
    let (width, height) = (rotation.width, rotation.height);
    let (columns, rows) = (width.div_ceil(TILE), height.div_ceil(TILE));
    // Tiles of the source with a value above the threshold (less what rounding may add), in a frame of two tiles.
    let stride = columns + 4;
    let limit = threshold * 0.9999;
    let mut high = vec![false; stride * (rows + 4)];
    for (y, row) in field.chunks_exact(width.max(1)).enumerate() {
        let flags = &mut high[(y / TILE + 2) * stride + 2..][..columns];
        let (tiles, rest) = row.as_chunks::<TILE>();
        for (flag, tile) in flags.iter_mut().zip(tiles) {
            // No exit in the loop: all of a tile are compared at a time.
            *flag |= tile.iter().fold(false, |any, v| any | (*v > limit));
        }
        if let Some(flag) = flags.get_mut(tiles.len()) {
            *flag |= rest.iter().any(|v| *v > limit);
        }
    }
    if !high.contains(&true) {
        return;
    }
    for top in (0..height).step_by(TILE) {
        for left in (0..width).step_by(TILE) {
            // All pixels of a tile are within 5 of its middle, and so are, rotated, their sources, whose neighbours are
            // within 6: in the source's tile of the middle or those around it.
            let middle = (TILE as f64 - 1.0) / 2.0;
            let (x, y) = rotation.source(left as f64 + middle, top as f64 + middle);
            let tile = |at: f64| (at / TILE as f64 + 2.0).max(0.0) as usize;
            let (column, row) = (tile(x), tile(y));
            if column == 0 || row == 0 || column + 1 >= stride || row + 1 >= rows + 4 {
                continue;
            }
            let near = |row: usize| high[row * stride + column - 1..][..3].contains(&true);
            if !(near(row - 1) || near(row) || near(row + 1)) {
                continue;
            }
            for y in top..height.min(top + TILE) {
                for x in left..width.min(left + TILE) {
                    let [value] = rotation.pixel(field, x, y);
                    if value > threshold {
                        mask[y * width + x] = 255;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use daf_core::rand::{RngExt, SeedableRng};
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn rotate<const C: usize, T: Sample>(source: &[T], width: usize, height: usize, degrees: f64) -> Vec<T> {
        let rotation = Rotation::new(width, height, degrees);
        (0..width * height)
            .flat_map(|i| rotation.pixel::<C, T>(source, i % width, i / width))
            .collect()
    }

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
    fn an_image_of_one_pixel_is_fine() {
        assert_eq!(rotate::<1, u8>(&[7], 1, 1, 33.0), [7]);
    }

    proptest! {
        #[test]
        fn tiles_that_are_skipped_hold_nothing(
            width in 1usize..70, height in 1usize..70, degrees in -180.0..180.0, seed: u64, smooth in 1usize..9,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let coarse: Vec<f32> = (0..70 * 70).map(|_| rng.random::<f32>().powi(4)).collect();
            let field: Vec<f32> =
                (0..width * height).map(|i| coarse[(i / width / smooth) * 70 + i % width / smooth]).collect();
            let expected: Vec<u8> = rotate::<1, f32>(&field, width, height, degrees)
                .iter()
                .map(|v| if *v > 0.5 { 255 } else { 0 })
                .collect();
            let mut mask = vec![0; field.len()];
            threshold(&Rotation::new(width, height, degrees), &field, 0.5, &mut mask);
            prop_assert_eq!(mask, expected);
        }

        #[test]
        fn what_is_not_marked_is_not_read(width in 1usize..20, height in 1usize..20, degrees in -90.0..90.0) {
            let rotation = Rotation::new(width, height, degrees);
            for (x, y) in [(0, 0), (width / 2, height / 3), (width - 1, height - 1)] {
                let mut marks = vec![0; width * height];
                rotation.mark(x, y, &mut marks);
                let field = |unmarked: f32| -> Vec<f32> {
                    marks.iter().map(|m| if *m == 0 { unmarked } else { 0.5 }).collect()
                };
                prop_assert_eq!(rotation.pixel::<1, _>(&field(0.0), x, y), rotation.pixel::<1, _>(&field(9.0), x, y));
            }
        }
    }
}
