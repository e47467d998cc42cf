//! Rotation about the centre.

use crate::lanes::{LANES, PARTS, nearest, whole, widest};
use crate::runs::Run;
use crate::scratch::Scratch;

/// Rotates images of one size, clockwise for positive angles, with bilinear interpolation and, unless something else is
/// asked for, 0 outside the source, as imgaug's `Affine(rotate=…, order=1, cval=0)` does: about the point between the
/// middle pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotation {
    width: usize,
    height: usize,
    sin: f64,
    cos: f64,
    /// Source of the pixel (0, 0).
    start: (f64, f64),
    outside: Outside,
}

/// What there is around the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outside {
    /// 0.
    Black,
    /// The source mirrored at its edges, again and again: for pieces, whose edges are no edges of what they were cut from.
    Mirrored,
}

/// Where [`LANES`] pixels come from: the upper left of four neighbours, and how far they lie from there.
struct Places {
    left: [i32; LANES],
    top: [i32; LANES],
    fx: [f32; LANES],
    fy: [f32; LANES],
}

impl Places {
    #[inline(always)]
    fn get(&self, lane: usize) -> Place {
        Place {
            left: self.left[lane],
            top: self.top[lane],
            fx: self.fx[lane],
            fy: self.fy[lane],
        }
    }
}

/// Where one pixel comes from.
#[derive(Debug, Clone, Copy)]
struct Place {
    left: i32,
    top: i32,
    fx: f32,
    fy: f32,
}

impl Place {
    /// The four neighbours, row by row.
    fn corners(self) -> [(i32, i32); 4] {
        let Self { left, top, .. } = self;
        let (right, bottom) = (left.saturating_add(1), top.saturating_add(1));
        [(left, top), (right, top), (left, bottom), (right, bottom)]
    }
}

/// Between four neighbours, row by row.
#[inline(always)]
fn interpolated(corners: [f32; 4], fx: f32, fy: f32) -> f32 {
    (1.0 - fx) * (1.0 - fy) * corners[0]
        + fx * (1.0 - fy) * corners[1]
        + (1.0 - fx) * fy * corners[2]
        + fx * fy * corners[3]
}

/// The colours around [`LANES`] pixels, row by row; the first channel is in a number's lowest byte.
type Corners = [[u32; LANES]; 4];

/// Between four neighbouring colours, at places in 64ths of a pixel (OpenCV has 32nds).
#[inline(always)]
fn interpolated_colours(corners: &Corners, (fx, fy): (&[f32; LANES], &[f32; LANES])) -> [u32; LANES] {
    let mut colours = [0; LANES];
    for lane in 0..LANES {
        let (fx, fy) = (
            nearest(fx[lane] * 64.0).0 as u32,
            nearest(fy[lane] * 64.0).0 as u32,
        );
        let (left, above) = (64u32.wrapping_sub(fx), 64u32.wrapping_sub(fy));
        let shares = [
            left.wrapping_mul(above),
            fx.wrapping_mul(above),
            left.wrapping_mul(fy),
            fx.wrapping_mul(fy),
        ];
        for channel in [0, 8, 16] {
            let mut sum = 2048u32;
            for corner in 0..4 {
                let value = corners[corner][lane] >> channel & 0xff;
                sum = sum.wrapping_add(value.wrapping_mul(shares[corner]));
            }
            colours[lane] |= (sum >> 12 & 0xff) << channel;
        }
    }
    colours
}

/// The bytes from `at` on, the first one the lowest.
#[inline(always)]
fn bytes(source: &[u8], at: usize) -> Option<u64> {
    let bytes = source.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

/// The number within 0..size of the pixel that a row of mirrors shows at `at`.
fn mirrored(at: i32, size: usize) -> usize {
    let size = i64::try_from(size).unwrap_or(i64::MAX / 2);
    let at = i64::from(at).rem_euclid((2 * size).max(1));
    at.min(2 * size - 1 - at).max(0) as usize
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
            outside: Outside::Black,
        }
    }

    /// The same with something else around the source.
    pub(crate) fn with(self, outside: Outside) -> Self {
        Self { outside, ..self }
    }

    /// The point of the source that comes to a point of the target.
    #[inline(always)]
    pub(crate) fn source(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.start.0 + self.sin * y + self.cos * x,
            self.start.1 + self.cos * y - self.sin * x,
        )
    }

    /// The places of the pixels from (x, y) on, also of those beyond the end of the row.
    #[inline(always)]
    fn places(&self, x: usize, y: usize) -> Places {
        // Single precision from the row on: twice as many numbers at a time.
        let (row_x, row_y) = self.source(0.0, y as f64);
        let (row_x, row_y) = (row_x as f32, row_y as f32);
        let (sin, cos) = (self.sin as f32, self.cos as f32);
        let mut places = Places {
            left: [0; LANES],
            top: [0; LANES],
            fx: [0.0; LANES],
            fy: [0.0; LANES],
        };
        let first = x as i32;
        for lane in 0..LANES {
            let column = first.wrapping_add(lane as i32) as f32;
            let (x, y) = (row_x + cos * column, row_y - sin * column);
            // Rounded down; a whole number may become the one before, and the share 1.
            let ((left, whole_x), (top, whole_y)) = (nearest(x - 0.5), nearest(y - 0.5));
            places.left[lane] = left;
            places.top[lane] = top;
            places.fx[lane] = x - whole_x;
            places.fy[lane] = y - whole_y;
        }
        places
    }

    #[inline(always)]
    fn inside(&self, place: Place) -> bool {
        place.left >= 0
            && place.top >= 0
            && place.left < self.width as i32 - 1
            && place.top < self.height as i32 - 1
    }

    /// Whether all neighbours of all pixels are inside the source.
    #[inline(always)]
    fn all_inside(&self, places: &Places) -> bool {
        let (right, bottom) = (self.width as i32 - 1, self.height as i32 - 1);
        // No exit in the loop: all are compared at a time.
        (0..LANES).fold(true, |all, lane| {
            let (left, top) = (places.left[lane], places.top[lane]);
            all & (left >= 0) & (top >= 0) & (left < right) & (top < bottom)
        })
    }

    /// The number of the pixel that is there, if there is one.
    fn number(&self, (x, y): (i32, i32)) -> Option<usize> {
        if self.outside == Outside::Mirrored {
            return Some(mirrored(y, self.height) * self.width + mirrored(x, self.width));
        }
        let (x, y) = (usize::try_from(x).ok()?, usize::try_from(y).ok()?);
        (x < self.width && y < self.height).then(|| y * self.width + x)
    }

    /// The number of the upper left neighbour, which is inside.
    #[inline(always)]
    fn first(&self, left: i32, top: i32) -> usize {
        (top as usize)
            .wrapping_mul(self.width)
            .wrapping_add(left as usize)
    }

    /// The value at a place of a field.
    fn value(&self, field: &[f32], place: Place) -> f32 {
        let corners = place
            .corners()
            .map(|corner| self.number(corner).map_or(0.0, |number| field[number]));
        interpolated(corners, place.fx, place.fy)
    }

    /// Whether there is nothing around a place.
    #[inline(always)]
    fn beyond(&self, Place { left, top, .. }: Place) -> bool {
        let outside = left < -1 || top < -1 || left >= self.width as i32 || top >= self.height as i32;
        outside && self.outside == Outside::Black
    }

    /// The colours around a place of which not all are inside the source.
    #[cold]
    fn border(&self, source: &[[u8; 3]], place: Place) -> [u32; 4] {
        place.corners().map(|corner| {
            let [r, g, b] = self.number(corner).map_or([0; 3], |number| source[number]);
            u32::from_le_bytes([r, g, b, 0])
        })
    }

    /// The colours around a place.
    #[inline(always)]
    fn corners(&self, source: &[u8], place: Place, inside: bool) -> [u32; 4] {
        if inside {
            // Two neighbours at a time, and two bytes more: the source's last pixel has none that follow.
            let first = self.first(place.left, place.top);
            let rows =
                [first, first.wrapping_add(self.width)].map(|first| bytes(source, first.wrapping_mul(3)));
            if let [Some(upper), Some(lower)] = rows {
                return [upper, upper >> 24, lower, lower >> 24].map(|colour| colour as u32);
            }
        }
        if self.beyond(place) {
            return [0; 4];
        }
        self.border(source.as_chunks().0, place)
    }

    /// Writes the colours of a run of the target's pixels into `target`, which holds just these.
    pub(crate) fn turn(self, source: &[u8], run: Run, target: &mut [u8]) {
        let target = target.as_chunks_mut::<3>().0;
        widest!({
            let parts = (run.start..run.end).step_by(PARTS * LANES);
            for (x, pixels) in parts.zip(target.chunks_mut(PARTS * LANES)) {
                let mut parts = [([[0; LANES]; 4], [0.0; LANES], [0.0; LANES]); PARTS];
                for (i, part) in parts[..pixels.len().div_ceil(LANES)].iter_mut().enumerate() {
                    let (corners, fx, fy) = part;
                    let places = self.places(x + i * LANES, run.y);
                    let all_inside = self.all_inside(&places);
                    for lane in 0..LANES.min(pixels.len() - i * LANES) {
                        let place = places.get(lane);
                        let colours = self.corners(source, place, all_inside || self.inside(place));
                        for (corner, colour) in corners.iter_mut().zip(colours) {
                            corner[lane] = colour;
                        }
                    }
                    (*fx, *fy) = (places.fx, places.fy);
                }
                for ((corners, fx, fy), pixels) in parts.iter().zip(pixels.chunks_mut(LANES)) {
                    let colours = interpolated_colours(corners, (fx, fy));
                    for (pixel, colour) in pixels.iter_mut().zip(colours) {
                        let [r, g, b, _] = colour.to_le_bytes();
                        *pixel = [r, g, b];
                    }
                }
            }
        });
    }

    /// Writes 255 for each pixel of the source that [`turn`](Self::turn) reads for a run.
    pub(crate) fn mark(self, run: Run, marks: &mut [u8]) {
        widest!({
            for x in (run.start..run.end).step_by(LANES) {
                let places = self.places(x, run.y);
                let all_inside = self.all_inside(&places);
                for lane in 0..LANES.min(run.end - x) {
                    let place = places.get(lane);
                    if all_inside || self.inside(place) {
                        let rows = &mut marks[self.first(place.left, place.top)..][..self.width + 2];
                        rows[..2].copy_from_slice(&[255; 2]);
                        rows[self.width..].copy_from_slice(&[255; 2]);
                    } else {
                        let corners = place.corners();
                        corners
                            .iter()
                            .filter_map(|corner| self.number(*corner))
                            .for_each(|number| marks[number] = 255);
                    }
                }
            }
        });
    }
}

/// Blocks of so many pixels a side have one flag.
const BLOCK: usize = 2;
/// Flags around those of the source: those at the very edge are never set.
const FRAME: usize = 4;

/// Writes 255 into `mask` wherever `field`, rotated, exceeds `threshold`, which must be positive; elsewhere `mask` stays.
///
/// Exactly what comparing each rotated pixel would give, but most of a field of noise lies below the threshold, and an
/// interpolated value never exceeds its neighbours: pixels whose surroundings in the source stay below are not looked at.
pub(crate) fn threshold(rotation: &Rotation, field: &[f32], threshold: f32, mask: &mut [u8]) {
    let (width, height) = (rotation.width, rotation.height);
    let stride = width.div_ceil(BLOCK) + 2 * FRAME;
    let rows = height.div_ceil(BLOCK) + 2 * FRAME;
    let mut high = Scratch::of(0, stride * rows);
    let mut above = Scratch::of(0, width.next_multiple_of(BLOCK));
    mark_high(field, width, threshold, &mut above, &mut high);
    if !high.contains(&1) {
        return;
    }
    // LANES pixels of a row lie on a line in the source, and their neighbours one pixel around it.
    let reach = |along: f64| {
        let pixels = (LANES as f64 - 1.0) / 2.0 * along.abs() + 1.1;
        (pixels / BLOCK as f64).ceil() as usize
    };
    let (mut wide, mut near) = (Scratch::of(0, high.len()), Scratch::of(0, high.len()));
    spread(&high, &mut wide, 1, reach(rotation.cos));
    spread(&wide, &mut near, stride, reach(rotation.sin));
    let (rotation, near) = (*rotation, &near[..]);
    let (last_column, last_row) = ((stride - 1) as f32, (rows - 1) as f32);
    let mut blocks = Scratch::of(0, width.div_ceil(LANES));
    let blocks = &mut blocks[..];
    widest!({
        for (y, row) in mask.chunks_exact_mut(width).enumerate() {
            // The blocks of the middles of LANES pixels each.
            let (x, y_source) = rotation.source((LANES as f64 - 1.0) / 2.0, y as f64);
            let block = |at: f64| (at / BLOCK as f64 + FRAME as f64) as f32;
            let step = |along: f64| (along * LANES as f64 / BLOCK as f64) as f32;
            let (x, y_source) = (block(x), block(y_source));
            let (dx, dy) = (step(rotation.cos), step(rotation.sin));
            for (i, block) in blocks.iter_mut().enumerate() {
                let i = i as i32 as f32;
                let (column, line) = (whole(x + dx * i, last_column), whole(y_source - dy * i, last_row));
                *block = line.wrapping_mul(stride as u32).wrapping_add(column);
            }
            for (i, pixels) in row.chunks_mut(LANES).enumerate() {
                if near[blocks[i] as usize] == 0 {
                    continue;
                }
                let left = i * LANES;
                let places = rotation.places(left, y);
                if pixels.len() == LANES && rotation.all_inside(&places) {
                    let [mut a, mut b, mut c, mut d] = [[0.0; LANES]; 4];
                    for lane in 0..LANES {
                        let first = rotation.first(places.left[lane], places.top[lane]);
                        let rows = &field[first..][..width + 2];
                        (a[lane], b[lane]) = (rows[0], rows[1]);
                        (c[lane], d[lane]) = (rows[width], rows[width + 1]);
                    }
                    let mut values = [0.0; LANES];
                    for lane in 0..LANES {
                        let corners = [a[lane], b[lane], c[lane], d[lane]];
                        values[lane] = interpolated(corners, places.fx[lane], places.fy[lane]);
                    }
                    for (pixel, value) in pixels.iter_mut().zip(values) {
                        *pixel |= u8::from(value > threshold) * 255;
                    }
                } else {
                    for (lane, pixel) in pixels.iter_mut().enumerate() {
                        if rotation.value(field, places.get(lane)) > threshold {
                            *pixel = 255;
                        }
                    }
                }
            }
        }
    });
}

/// Sets the flags of blocks with a value above the threshold, less what rounding may add. `above` is memory for a row.
fn mark_high(field: &[f32], width: usize, threshold: f32, above: &mut [u8], high: &mut [u8]) {
    let limit = threshold * 0.9999;
    let stride = width.div_ceil(BLOCK) + 2 * FRAME;
    widest!({
        for (i, lines) in field.chunks(BLOCK * width.max(1)).enumerate() {
            above.fill(0);
            for line in lines.chunks_exact(width) {
                for (above, value) in above.iter_mut().zip(line) {
                    *above |= u8::from(*value > limit);
                }
            }
            let flags = &mut high[(i + FRAME) * stride + FRAME..];
            for (flag, [left, right]) in flags.iter_mut().zip(above.as_chunks::<BLOCK>().0) {
                *flag = *left | *right;
            }
        }
    });
}

/// Sets each flag of `to` for which one of `from` is set among itself and its neighbours, `step` from one to the next, up to
/// `reach` of them on either side.
fn spread(from: &[u8], to: &mut [u8], step: usize, reach: usize) {
    widest!({
        for shift in (0..=reach * step).step_by(step) {
            let shift = shift.min(from.len());
            let (first, last) = (&from[..from.len() - shift], &from[shift..]);
            for (to, from) in to[shift..].iter_mut().zip(first) {
                *to |= *from;
            }
            for (to, from) in to.iter_mut().zip(last) {
                *to |= *from;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use daf_core::rand::{RngExt, SeedableRng};
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::runs::whole;

    /// Rotates a grey image.
    fn rotate(source: &[u8], width: usize, height: usize, degrees: f64) -> Vec<u8> {
        let rotation = Rotation::new(width, height, degrees);
        let source: Vec<u8> = source.iter().flat_map(|v| [*v; 3]).collect();
        let mut target = vec![9; source.len()];
        for run in whole(width, height) {
            rotation.turn(&source, run, &mut target[run.bytes(width)]);
        }
        target
            .as_chunks()
            .0
            .iter()
            .map(|[r, g, b]| {
                assert!(r == g && g == b);
                *r
            })
            .collect()
    }

    #[test]
    fn no_rotation_changes_nothing() {
        let image: Vec<u8> = (0..15 * 14).collect();
        assert_eq!(rotate(&image, 15, 14, 0.0), image);
    }

    #[test]
    fn a_quarter_turn_moves_the_upper_left_to_the_upper_right() {
        assert_eq!(rotate(&[1, 2, 3, 4], 2, 2, 90.0), [3, 1, 4, 2]);
    }

    #[test]
    fn colours_keep_their_channels_and_lie_between_their_neighbours() {
        let corners = [[0, 255, 10], [255, 255, 20], [0, 255, 30], [255, 255, 40]];
        let at = |fx, fy| {
            let corners = corners.map(|[r, g, b]| [u32::from_le_bytes([r, g, b, 77]); LANES]);
            let [r, g, b, _] = interpolated_colours(&corners, (&[fx; LANES], &[fy; LANES]))[0].to_le_bytes();
            [r, g, b]
        };
        assert_eq!(at(0.0, 0.0), corners[0]);
        assert_eq!(at(1.0, 1.0), corners[3]);
        assert_eq!(at(0.25, 0.5), [64, 255, 23]);
    }

    #[test]
    fn corners_that_come_from_outside_are_zero() {
        let turned = rotate(&[255; 81], 9, 9, 45.0);
        assert_eq!(turned[0], 0);
        assert_eq!(turned[40], 255);
    }

    #[test]
    fn an_image_of_one_pixel_is_fine() {
        assert_eq!(rotate(&[7], 1, 1, 33.0), [7]);
    }

    #[test]
    fn mirrors_leave_no_black() {
        let at = |at: i32| mirrored(at, 3);
        assert_eq!(
            (-4..8).map(at).collect::<Vec<_>>(),
            [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]
        );
        for (width, height, degrees) in [(40, 3, 45.0), (1, 1, 20.0), (2, 30, -90.0), (7, 5, 13.0)] {
            let source: Vec<u8> = (0..width * height * 3).map(|i| 100 + (i % 100) as u8).collect();
            let rotation = Rotation::new(width, height, degrees).with(Outside::Mirrored);
            let mut target = vec![0; source.len()];
            for run in whole(width, height) {
                rotation.turn(&source, run, &mut target[run.bytes(width)]);
            }
            assert!(
                target.iter().all(|v| *v >= 100),
                "{width} {height} {degrees}: {target:?}"
            );
        }
    }

    /// What is found of a field above 0.5, and what comparing every pixel finds.
    fn searched((width, height): (usize, usize), degrees: f64, seed: u64, smooth: usize) -> [Vec<u8>; 2] {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let coarse: Vec<f32> = (0..70 * 70).map(|_| rng.random::<f32>().powi(4)).collect();
        let field: Vec<f32> = (0..width * height)
            .map(|i| coarse[(i / width / smooth) * 70 + i % width / smooth])
            .collect();
        let rotation = Rotation::new(width, height, degrees);
        let place = |x: usize, y: usize| rotation.places(x / LANES * LANES, y).get(x % LANES);
        let expected = (0..field.len())
            .map(|i| rotation.value(&field, place(i % width, i / width)))
            .map(|v| if v > 0.5 { 255 } else { 0 })
            .collect();
        let mut mask = vec![0; field.len()];
        threshold(&rotation, &field, 0.5, &mut mask);
        [mask, expected]
    }

    #[test]
    fn a_low_field_is_searched_beyond_its_upper_and_lower_edge() {
        let [found, expected] = searched((32, 5), 108.258_107, 8_478_207_700_423_252_063, 3);
        assert!(expected.contains(&255));
        assert_eq!(found, expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_skipped_holds_nothing(
            width in 1usize..70, height in 1usize..70, degrees in -180.0..180.0, seed: u64, smooth in 1usize..9,
        ) {
            let [found, expected] = searched((width, height), degrees, seed, smooth);
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn what_is_not_marked_is_not_read(width in 1usize..20, height in 1usize..20, degrees in -90.0..90.0) {
            let rotation = Rotation::new(width, height, degrees);
            for (x, y) in [(0, 0), (width / 2, height / 3), (width - 1, height - 1)] {
                let run = Run { y, start: x, end: (x + 3).min(width) };
                let mut marks = vec![0; width * height];
                rotation.mark(run, &mut marks);
                let turned = |unmarked: u8| {
                    let source: Vec<u8> =
                        marks.iter().flat_map(|m| [if *m == 0 { unmarked } else { 100 }; 3]).collect();
                    let mut target = vec![0; run.pixels() * 3];
                    rotation.turn(&source, run, &mut target);
                    target
                };
                prop_assert_eq!(turned(0), turned(255));
            }
        }
    }
}
