//! The ten augmentations of DRÆM's textures, on 8-bit values.
//!
//! Semantics are those of imgaug, and of PIL where imgaug hands on to it. The official code keeps images in OpenCV's
//! BGR order while imgaug takes them for RGB; our images are RGB, so that colour spaces see the true colours. For the
//! random colours that come out this makes no systematic difference.
//!
//! A defect shows a small part of its texture, so only the pixels that it shows are computed, and those on which they
//! depend: `shown` gives the same bytes there as [`Augmentation::apply`] on the whole image, one after the other.

use std::cell::RefCell;

use daf_core::Rect;
use daf_core::image::RgbImage;
use daf_core::rand::{Rng, RngExt};

use super::colourspace::{self, ColourSpace, HUES, decode_hsv, encode_hsv};
use crate::lanes::{byte, nearest, widest};
use crate::range::Range;
use crate::rotate::{Outside, Rotation};
use crate::runs::{self, Run};

/// Applies three different augmentations, in the order in which they are drawn.
pub fn augment(image: &mut RgbImage, rng: &mut dyn Rng) {
    for augmentation in draw(rng) {
        augmentation.apply(image);
    }
}

/// Draws three different augmentations; fewer where one is drawn to do nothing.
pub fn draw(rng: &mut dyn Rng) -> Vec<Augmentation> {
    let mut kinds = DRAWN;
    (0..3)
        .filter_map(|i| {
            kinds.swap(i, rng.random_range(i..DRAWN.len()));
            kinds[i](rng)
        })
        .collect()
}

/// Hands the texture after these augmentations to `action`: RGB values of an image of the texture's size, of which only
/// the pixels that `wanted` names have a meaning.
pub(crate) fn shown<R>(
    texture: &RgbImage,
    outside: Outside,
    wanted: impl Iterator<Item = Run>,
    augmentations: &[Augmentation],
    action: impl FnOnce(&[u8]) -> R,
) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.want(augmentations.len(), wanted);
        action(process(texture, outside, augmentations, scratch))
    })
}

/// Draws an augmentation's parameters; `None` where it is drawn to do nothing.
type Draw = fn(&mut dyn Rng) -> Option<Augmentation>;

/// The ten, with the official code's ranges.
const DRAWN: [Draw; 10] = [
    |rng| {
        Some(Augmentation::Gamma(std::array::from_fn(|_| {
            Range(0.5, 2.0).draw(rng)
        })))
    },
    |rng| {
        Some(Augmentation::Brightness {
            space: ColourSpace::ALL[rng.random_range(0..ColourSpace::ALL.len())],
            factor: Range(0.8, 1.2).draw(rng),
            offset: rng.random_range(-30..=30),
            offset_first: rng.random(),
        })
    },
    |rng| Some(Augmentation::Sharpness(Range(0.0, 2.0).draw(rng))),
    |rng| {
        Some(Augmentation::HueSaturation {
            hue: rng.random_range(-50..=50),
            saturation: rng.random_range(-50..=50),
        })
    },
    |rng| {
        let threshold = rng.random_range(32..=128);
        rng.random::<bool>().then_some(Augmentation::Solarize(threshold))
    },
    |rng| Some(Augmentation::Posterize(rng.random_range(1..=8))),
    |_| Some(Augmentation::Invert),
    |rng| Some(Augmentation::Autocontrast(rng.random_range(0..=20))),
    |_| Some(Augmentation::Equalize),
    |rng| Some(Augmentation::Rotate(Range(-45.0, 45.0).draw(rng))),
];

/// An augmentation with its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Augmentation {
    /// `255·(v/255)^γ` with one γ per channel (imgaug's `GammaContrast`).
    Gamma([f64; 3]),
    /// Brightness times a factor and plus an offset (imgaug's `MultiplyAndAddToBrightness`).
    Brightness {
        /// Where brightness is taken from.
        space: ColourSpace,
        /// What it is multiplied by.
        factor: f64,
        /// What is added, in grey levels.
        offset: i16,
        /// Whether the offset is added before multiplying.
        offset_first: bool,
    },
    /// From smoothed (0) over unchanged (1) to sharpened (PIL's `ImageEnhance.Sharpness`).
    Sharpness(f64),
    /// Added to hue and saturation, both in 255ths (imgaug's `AddToHueAndSaturation`): hue turns, saturation is clipped.
    HueSaturation {
        /// 255 is a full turn of the colour circle.
        hue: i32,
        /// 255 is full saturation.
        saturation: i32,
    },
    /// Inverts values from the threshold on.
    Solarize(u8),
    /// Keeps the highest 1 to 8 bits, the others become 0 (imgaug's `Posterize`).
    Posterize(u8),
    /// 255 − v.
    Invert,
    /// Stretches each channel over the whole range, after dropping this many per cent of the pixels on either side
    /// (PIL's `ImageOps.autocontrast`).
    Autocontrast(u8),
    /// Makes each channel's histogram flat (PIL's `ImageOps.equalize`).
    Equalize,
    /// Degrees about the centre; what comes in is black.
    Rotate(f64),
}

impl Augmentation {
    /// Changes the image.
    pub fn apply(self, image: &mut RgbImage) {
        let (width, height) = (image.width() as usize, image.height() as usize);
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.want(1, runs::whole(width, height));
            let pixels = process(image, Outside::Black, &[self], scratch);
            // A copy that has to be made anyway: what was read cannot be written at the same time.
            let pixels = pixels.to_vec();
            image.copy_from_slice(&pixels);
        });
    }
}

thread_local! {
    /// Working memory, so that nothing is allocated for an operation.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    /// Two images: operations that cannot work in place read one and write the other.
    images: [Vec<u8>; 2],
    /// The pixels that are wanted after so many operations.
    wanted: Vec<Vec<Run>>,
    /// A mask to collect wanted pixels in.
    marks: Vec<u8>,
    /// Where pixels that are worked on together belong.
    pieces: Vec<std::ops::Range<usize>>,
}

/// So many bytes are worked on together: 256 pixels.
const TOGETHER: usize = 768;

impl Scratch {
    /// Sets the pixels that are wanted after the last of so many operations.
    fn want(&mut self, operations: usize, runs: impl Iterator<Item = Run>) {
        if self.wanted.len() <= operations {
            self.wanted.resize_with(operations + 1, Vec::new);
        }
        self.wanted[operations].clear();
        self.wanted[operations].extend(runs);
    }
}

/// Applies the augmentations to the pixels that `scratch` wants after the last of them.
fn process<'a>(
    texture: &'a RgbImage,
    outside: Outside,
    augmentations: &[Augmentation],
    scratch: &'a mut Scratch,
) -> &'a [u8] {
    let (width, height) = (texture.width() as usize, texture.height() as usize);
    let Scratch {
        images,
        wanted,
        marks,
        pieces,
    } = scratch;
    // From the last to the first: which pixels are needed?
    for (i, augmentation) in augmentations.iter().enumerate().rev() {
        let (before, after) = wanted.split_at_mut(i + 1);
        let (before, after) = (&mut before[i], &after[0]);
        before.clear();
        let all = after.iter().map(|run| run.pixels()).sum::<usize>() == width * height;
        match augmentation {
            // A histogram is one of the whole image.
            Augmentation::Autocontrast(_) | Augmentation::Equalize => {
                before.extend(runs::whole(width, height));
            }
            // The texture itself is all there.
            Augmentation::Rotate(_) if i == 0 => {}
            Augmentation::Rotate(degrees) => {
                let rotation = Rotation::new(width, height, *degrees).with(outside);
                collect(width, height, marks, before, |marks| {
                    for run in after {
                        rotation.mark(*run, marks);
                    }
                });
            }
            Augmentation::Sharpness(_) if !all => collect(width, height, marks, before, |marks| {
                for run in after {
                    let columns = run.start.saturating_sub(1)..(run.end + 1).min(width);
                    for y in run.y.saturating_sub(1)..(run.y + 2).min(height) {
                        marks[y * width..][columns.clone()].fill(255);
                    }
                }
            }),
            // Each pixel depends on itself.
            _ => before.extend(after),
        }
    }
    // From the first to the last. Tables wait until something else has to be done: a chain of them is one, and a histogram
    // goes through them more quickly than an image.
    let mut canvas = Canvas {
        texture: texture.as_raw(),
        width,
        images,
        pieces,
        current: None,
        tables: None,
    };
    for (augmentation, wanted) in augmentations.iter().zip(wanted.windows(2)) {
        let (before, after) = (&wanted[0], &wanted[1]);
        match *augmentation {
            Augmentation::Gamma(gammas) => canvas.look_up(
                gammas.map(|gamma| table(|v| ((v / 255.0).powf(gamma) * 255.0).clamp(0.0, 255.0) as u8)),
            ),
            Augmentation::Solarize(threshold) => {
                let solarized = |v: f64| if v >= f64::from(threshold) { 255.0 - v } else { v };
                canvas.look_up([table(|v| solarized(v) as u8); 3]);
            }
            Augmentation::Posterize(bits) => {
                let step = f64::from(1u32 << 8u8.saturating_sub(bits).min(8));
                canvas.look_up([table(|v| ((v / step).floor() * step) as u8); 3]);
            }
            Augmentation::Invert => canvas.look_up([table(|v| 255 - v as u8); 3]),
            Augmentation::Autocontrast(cutoff) => {
                let tables = canvas.histograms().map(|h| stretch(h, cutoff));
                canvas.look_up(tables);
            }
            Augmentation::Equalize => {
                let tables = canvas.histograms().map(|h| flatten(&h));
                canvas.look_up(tables);
            }
            Augmentation::Brightness {
                space,
                factor,
                offset,
                offset_first,
            } => {
                let add = |v: f64| (v + f64::from(offset)).clamp(0.0, 255.0);
                let multiply = |v: f64| (v * factor).floor().clamp(0.0, 255.0);
                let table = table(|v| if offset_first { multiply(add(v)) } else { add(multiply(v)) } as u8);
                canvas.in_place(after, |pixels| space.map_brightness(pixels, &table));
            }
            Augmentation::HueSaturation { hue, saturation } => {
                let turn = HueTurn::new(hue, saturation);
                canvas.in_place(after, |pixels| turn.apply(pixels));
            }
            Augmentation::Sharpness(factor) => {
                if width >= 3 && height >= 3 {
                    canvas.anew(before, |from, to| {
                        for run in after {
                            sharpen(from, to, (width, height), *run, factor as f32);
                        }
                    });
                }
            }
            Augmentation::Rotate(degrees) => {
                let rotation = Rotation::new(width, height, degrees).with(outside);
                canvas.anew(before, |from, to| {
                    for run in after {
                        rotation.turn(from, *run, &mut to[run.bytes(width)]);
                    }
                });
            }
        }
    }
    canvas.finish(&wanted[augmentations.len()])
}

/// Marks pixels and gives the runs of those that are marked.
fn collect(
    width: usize,
    height: usize,
    marks: &mut Vec<u8>,
    into: &mut Vec<Run>,
    mark: impl FnOnce(&mut [u8]),
) {
    marks.clear();
    marks.resize(width * height, 0);
    mark(marks);
    let all = Rect {
        x: 0,
        y: 0,
        width: width as u32,
        height: height as u32,
    };
    into.extend(runs::of_mask(marks, width, all));
}

/// The image between two operations.
struct Canvas<'a> {
    texture: &'a [u8],
    width: usize,
    images: &'a mut [Vec<u8>; 2],
    pieces: &'a mut Vec<std::ops::Range<usize>>,
    /// Which of the images holds it; none as long as it is the texture.
    current: Option<usize>,
    /// Tables that its values have still to go through.
    tables: Option<[Table; 3]>,
}

impl<'a> Canvas<'a> {
    fn look_up(&mut self, mut tables: [Table; 3]) {
        if let Some(waiting) = &self.tables {
            for (table, waiting) in tables.iter_mut().zip(waiting) {
                *table = waiting.map(|v| table[v as usize]);
            }
        }
        self.tables = Some(tables);
    }

    fn pixels(&self) -> &[u8] {
        self.current.map_or(self.texture, |i| &self.images[i])
    }

    fn histograms(&self) -> [[u64; 256]; 3] {
        const SEVERAL: usize = 4;
        // Several counts per channel: neighbours often have the same value, and counting it twice in a row has to wait.
        let mut counts = [[[0u32; 256]; 3]; SEVERAL];
        let (groups, last) = self.pixels()[..self.texture.len()].as_chunks::<{ 3 * SEVERAL }>();
        for group in groups {
            for (i, value) in group.iter().enumerate() {
                let count = &mut counts[i / 3][i % 3][*value as usize];
                *count = count.wrapping_add(1);
            }
        }
        for (i, value) in last.iter().enumerate() {
            counts[0][i % 3][*value as usize] += 1;
        }
        std::array::from_fn(|channel| {
            let mut histogram = [0; 256];
            for value in 0..256 {
                let shown = self
                    .tables
                    .map_or(value, |tables| tables[channel][value] as usize);
                histogram[shown] += counts
                    .iter()
                    .map(|counts| u64::from(counts[channel][value]))
                    .sum::<u64>();
            }
            histogram
        })
    }

    /// Changes runs of pixels. `change` is called with many pixels at a time, also where the runs are short.
    fn in_place(&mut self, runs: &[Run], mut change: impl FnMut(&mut [u8])) {
        let tables = self.tables.take();
        let from_texture = self.current.is_none();
        let image = &mut self.images[*self.current.get_or_insert(0)];
        if from_texture {
            // What lies outside the runs is never read.
            image.resize(self.texture.len().max(image.len()), 0);
        }
        let (mut together, mut filled) = ([0; TOGETHER], 0);
        let mut flush = |image: &mut [u8], pixels: &mut [u8], pieces: &mut Vec<std::ops::Range<usize>>| {
            if let Some(tables) = &tables {
                for pixel in pixels.as_chunks_mut::<3>().0 {
                    for (value, table) in pixel.iter_mut().zip(tables) {
                        *value = table[*value as usize];
                    }
                }
            }
            change(pixels);
            let mut rest = &*pixels;
            for bytes in pieces.drain(..) {
                let (piece, others) = rest.split_at(bytes.len());
                image[bytes].copy_from_slice(piece);
                rest = others;
            }
        };
        for run in runs {
            let bytes = run.bytes(self.width);
            for start in bytes.clone().step_by(TOGETHER) {
                let bytes = start..bytes.end.min(start + TOGETHER);
                if filled + bytes.len() > TOGETHER {
                    flush(image, &mut together[..filled], self.pieces);
                    filled = 0;
                }
                let source = if from_texture { self.texture } else { &image[..] };
                together[filled..filled + bytes.len()].copy_from_slice(&source[bytes.clone()]);
                filled += bytes.len();
                self.pieces.push(bytes);
            }
        }
        flush(image, &mut together[..filled], self.pieces);
    }

    /// Writes an image that depends on `before` of the one that there is.
    fn anew(&mut self, before: &[Run], write: impl FnOnce(&[u8], &mut [u8])) {
        if self.tables.is_some() {
            self.in_place(before, |_| {});
        }
        let target = self.current.map_or(0, |current| 1 - current);
        let [first, second] = &mut *self.images;
        let (to, other) = if target == 0 {
            (first, second)
        } else {
            (second, first)
        };
        to.resize(self.texture.len().max(to.len()), 0);
        write(
            if self.current.is_some() {
                other
            } else {
                self.texture
            },
            to,
        );
        self.current = Some(target);
    }

    fn finish(mut self, runs: &[Run]) -> &'a [u8] {
        if self.tables.is_some() {
            self.in_place(runs, |_| {});
        }
        match self.current {
            Some(current) => &self.images[current][..self.texture.len()],
            None => self.texture,
        }
    }
}

/// One table of 256 values per channel.
type Table = [u8; 256];

fn table(value: impl Fn(f64) -> u8) -> Table {
    std::array::from_fn(|v| value(v as f64))
}

/// Adds to hue and saturation.
pub(super) struct HueTurn {
    hues: Table,
    saturations: Table,
}

impl HueTurn {
    /// Both in 255ths.
    pub(super) fn new(hue: i32, saturation: i32) -> Self {
        let turn = hue * HUES / 255;
        Self {
            hues: table(|v| (v as i32 + turn).rem_euclid(HUES) as u8),
            saturations: table(|v| (v as i32 + saturation).clamp(0, 255) as u8),
        }
    }

    pub(super) fn apply(&self, pixels: &mut [u8]) {
        colourspace::each(
            pixels,
            #[inline(always)]
            |colours| {
                encode_hsv(colours);
                colourspace::look_up(&mut colours[0], &self.hues);
                colourspace::look_up(&mut colours[1], &self.saturations);
                decode_hsv(colours);
            },
        );
    }
}

/// PIL's autocontrast of one channel.
fn stretch(mut histogram: [u64; 256], cutoff: u8) -> Table {
    let cut = histogram.iter().sum::<u64>() * u64::from(cutoff) / 100;
    let drop = |left: &mut u64, count: &mut u64| {
        let dropped = (*count).min(*left);
        *count -= dropped;
        *left -= dropped;
    };
    histogram.iter_mut().fold(cut, |mut left, count| {
        drop(&mut left, count);
        left
    });
    histogram.iter_mut().rev().fold(cut, |mut left, count| {
        drop(&mut left, count);
        left
    });
    let low = histogram.iter().position(|c| *c > 0).unwrap_or(0) as f64;
    let high = histogram.iter().rposition(|c| *c > 0).unwrap_or(0) as f64;
    if high <= low {
        return table(|v| v as u8);
    }
    let scale = 255.0 / (high - low);
    table(|v| (v * scale - low * scale).clamp(0.0, 255.0) as u8)
}

/// PIL's equalize of one channel.
fn flatten(histogram: &[u64; 256]) -> Table {
    let total: u64 = histogram.iter().sum();
    let last = histogram.iter().rfind(|c| **c > 0).copied().unwrap_or(0);
    let step = (total - last) / 255;
    if step == 0 {
        return table(|v| v as u8);
    }
    let mut sum = step / 2;
    histogram.map(|count| {
        let value = (sum / step).min(255) as u8;
        sum += count;
        value
    })
}

/// PIL blends with its `SMOOTH` filter: 1 around 5, divided by 13; the outermost pixels stay.
fn sharpen(source: &[u8], target: &mut [u8], (width, height): (usize, usize), run: Run, factor: f32) {
    target[run.bytes(width)].copy_from_slice(&source[run.bytes(width)]);
    let inner = Run {
        start: run.start.max(1),
        end: run.end.min(width - 1),
        ..run
    };
    if run.y == 0 || run.y == height - 1 || inner.start >= inner.end {
        return;
    }
    let bytes = inner.bytes(width);
    let stride = width * 3;
    // Three rows of equal length, one pixel wider than the target on either side.
    let around = |start: usize| &source[start - 3..start + bytes.len() + 3];
    let (above, here, below) = (
        around(bytes.start - stride),
        around(bytes.start),
        around(bytes.start + stride),
    );
    let target = &mut target[bytes];
    widest!({
        // The length is written out so that the compiler needs no check in the loop.
        let reach = target.len() + 6;
        let (above, here, below) = (&above[..reach], &here[..reach], &below[..reach]);
        for (i, value) in target.iter_mut().enumerate() {
            let column = |i: usize| {
                let sum = u16::from(above[i]).wrapping_add(u16::from(here[i]));
                sum.wrapping_add(u16::from(below[i]))
            };
            let middle = u16::from(here[i + 3]);
            let sum = column(i).wrapping_add(column(i + 3)).wrapping_add(column(i + 6));
            let sum = sum.wrapping_add(middle.wrapping_mul(4));
            // No sum of integers is half a 13th between two.
            let smooth = nearest(f32::from(sum) * (1.0 / 13.0)).1;
            *value = byte(smooth + (f32::from(middle) - smooth) * factor);
        }
    });
}

#[cfg(test)]
mod tests {
    use daf_core::Region;
    use daf_core::image::GrayImage;
    use daf_core::rand::SeedableRng;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::texture::Procedural;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_shown_has_the_bytes_of_the_whole_image(
            width in 1u32..50, height in 1u32..50, seed: u64, share in 0.0..1.0, blocks in 1u32..12,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let texture = Procedural::default().image(width, height, &mut rng);
            let grid: Vec<bool> = (0..50 * 50).map(|_| rng.random_bool(share)).collect();
            let mask = GrayImage::from_fn(width, height, |x, y| {
                [if grid[(y / blocks * 50 + x / blocks) as usize] { 255 } else { 0 }].into()
            });
            let Some(region) = Region::of(mask) else { return Ok(()) };
            let drawn = draw(&mut rng);
            let mut whole = texture.clone();
            for augmentation in &drawn {
                augmentation.apply(&mut whole);
            }
            shown(&texture, Outside::Black, runs::of_region(&region), &drawn, |pixels| {
                for ((inside, found), expected) in
                    region.mask().iter().zip(pixels.chunks_exact(3)).zip(whole.chunks_exact(3))
                {
                    prop_assert!(*inside == 0 || found == expected, "{drawn:?}: {found:?} {expected:?}");
                }
                Ok(())
            })?;
        }
    }

    #[test]
    fn a_small_image_after_a_large_one_sees_nothing_of_it() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let images: Vec<_> = [(64, 64), (9, 7), (64, 64)]
            .map(|(width, height)| Procedural::default().image(width, height, &mut rng))
            .into();
        for augmentation in [
            Augmentation::Rotate(30.0),
            Augmentation::Sharpness(0.3),
            Augmentation::Equalize,
            Augmentation::Invert,
        ] {
            let fresh = |image: &RgbImage| {
                let mut image = image.clone();
                std::thread::scope(|scope| scope.spawn(|| augmentation.apply(&mut image)).join().unwrap());
                image
            };
            for image in &images {
                let mut used = image.clone();
                augmentation.apply(&mut used);
                assert_eq!(used, fresh(image));
            }
        }
    }
}
