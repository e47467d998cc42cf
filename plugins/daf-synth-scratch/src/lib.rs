//! Scratches and cracks for daf: the synthesizer `scratch`.
//!
//! A defect is a few strokes: random walks over the image with a profile across them, of width and
//! brightness, that tapers to both ends.

#![forbid(unsafe_code)]

mod stroke;

use daf_core::image::{GrayImage, RgbImage};
use daf_core::rand::{Rng, RngExt};
use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Donors, Rect, Synthesis, Synthesizer, Synthetic, typetag};
use serde::{Deserialize, Serialize};

use stroke::{Canvas, Pen};

/// Scratches and cracks: random strokes, lighter or darker than the surface, that taper to their ends.
///
/// A scratch is a gentle curve, lit from one side: one flank is light, the other dark. A crack is dark, runs
/// in a jagged line and sends out branches.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scratch {
    /// How many strokes an image gets, drawn from [least, most] within 1..=100; branches of cracks do not
    /// count.
    pub strokes: (u32, u32),
    /// Share of the images that get cracks instead of scratches, 0..=1.
    pub cracks: f64,
    /// Length of a stroke as a share of the image's longer side, drawn from [low, high] within 0.01..=4.
    pub length: (f64, f64),
    /// Width of a stroke in pixels in the middle of its length, drawn from [low, high] within 0.5..=64.
    pub width: (f64, f64),
    /// Change of brightness in the middle of a stroke as a share of the range from black to white, drawn from
    /// [low, high] within 0.05..=1.
    pub contrast: (f64, f64),
    /// How far a scratch curves over its whole length, in degrees, drawn from [-bend, bend]; 0..=360.
    pub bend: f64,
    /// How much the flanks of a scratch differ, 0..=1: at 0 they are alike, at 1 one of them changes as much
    /// as the middle, in the other direction.
    pub relief: f64,
    /// Branches of a crack on average, 0..=20.
    pub branches: f64,
}
daf_core::register!(Synthesizer: Scratch = "scratch");

impl Default for Scratch {
    fn default() -> Self {
        Self {
            strokes: (1, 4),
            cracks: 0.3,
            length: (0.1, 0.7),
            width: (1.0, 4.0),
            contrast: (0.15, 0.6),
            bend: 60.0,
            relief: 0.5,
            branches: 2.0,
        }
    }
}

#[typetag::serde(name = Scratch::NAME)]
impl Synthesizer for Scratch {
    fn synthesize(
        &self,
        normal: &RgbImage,
        _: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Synthesis, BoxError> {
        let mut canvas = Canvas::new(normal.width(), normal.height());
        let cracks = rng.random_bool(self.cracks);
        for _ in 0..rng.random_range(self.strokes.0..=self.strokes.1) {
            let pen = self.pen(normal, cracks, rng);
            if cracks {
                pen.crack(self.branches, &mut canvas, rng);
            } else {
                pen.scratch(self.bend.to_radians(), &mut canvas, rng);
            }
        }
        let mut image = normal.clone();
        let mut mask = GrayImage::new(normal.width(), normal.height());
        canvas.apply(&mut image, &mut mask);
        Ok(match Rect::around(&mask) {
            Some(touched) => Synthesis::Anomalous(Synthetic {
                image,
                mask,
                target: None,
                touched,
                class: u8::from(cracks),
            }),
            None => Synthesis::Unchanged,
        })
    }

    fn check(&self) -> Result<(), BoxError> {
        let ranges = [
            (
                "strokes",
                (f64::from(self.strokes.0), f64::from(self.strokes.1)),
                (1.0, 100.0),
            ),
            ("length", self.length, (0.01, 4.0)),
            ("width", self.width, (0.5, 64.0)),
            ("contrast", self.contrast, (0.05, 1.0)),
        ];
        for (field, (low, high), (least, most)) in ranges {
            if !(least <= low && low <= high && high <= most) {
                return Err(format!(
                    "{field}: expected [low, high] with {least} <= low <= high <= {most}, found [{low}, {high}]"
                )
                .into());
            }
        }
        let numbers = [
            ("cracks", self.cracks, 1.0),
            ("bend", self.bend, 360.0),
            ("relief", self.relief, 1.0),
            ("branches", self.branches, 20.0),
        ];
        for (field, value, most) in numbers {
            if !(0.0..=most).contains(&value) {
                return Err(format!("{field}: expected a number of 0 to {most}, found {value}").into());
            }
        }
        Ok(())
    }
}

impl Scratch {
    /// A pen for a stroke around some point of the image, with everything that is drawn once for a stroke.
    fn pen(&self, normal: &RgbImage, cracks: bool, rng: &mut dyn Rng) -> Pen {
        let (width, height) = normal.dimensions();
        let (x, y) = (rng.random_range(0..width), rng.random_range(0..height));
        let level = normal
            .get_pixel(x, y)
            .0
            .iter()
            .map(|value| f64::from(*value))
            .sum::<f64>()
            / 3.0;
        let contrast = 255.0 * draw(self.contrast, rng);
        // A crack is a shadow. Either turns round where the surface leaves it little room.
        let darkens = cracks || rng.random_bool(0.5);
        let room = if darkens { level } else { 255.0 - level };
        let darkens = if room < 0.5 * contrast { !darkens } else { darkens };
        let length = (draw(self.length, rng) * f64::from(width.max(height))).max(1.0);
        let direction = rng.random_range(0.0..std::f64::consts::TAU);
        let (half_x, half_y) = (0.5 * length * direction.cos(), 0.5 * length * direction.sin());
        Pen {
            // The point is the middle of the stroke, where it is strongest.
            from: (f64::from(x) - half_x, f64::from(y) - half_y),
            direction,
            length,
            width: draw(self.width, rng),
            change: if darkens { -contrast } else { contrast },
            relief: if cracks { 0.0 } else { self.relief },
        }
    }
}

/// A number drawn evenly from a range.
fn draw((low, high): (f64, f64), rng: &mut dyn Rng) -> f64 {
    low + (high - low) * rng.random::<f64>()
}
