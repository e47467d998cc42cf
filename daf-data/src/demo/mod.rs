//! Images that the program draws itself.

mod fault;
mod field;
mod mask;
mod part;
mod surface;

use std::fmt;
use std::path::{Path, PathBuf};

use daf_core::image::{DynamicImage, GrayImage, Rgb as Pixel, RgbImage};
use daf_core::rand::{Rng, RngExt, SeedableRng};
use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Dataset, Error, Item, Result, Split, typetag};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use fault::{Fault, Mark};
use field::{Rgb, Vec2, vec2};

/// Drawn surfaces and parts with drawn defects and exact masks: no files are needed.
///
/// Every image depends on the seed and its own name only. Position, light, texture and noise vary as they do
/// under a camera. The defects are made by code that no synthesizer shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Demo {
    /// The scene.
    pub kind: Kind,
    /// Number of normal images to learn from.
    pub train: u32,
    /// Number of normal images to measure with.
    pub test_good: u32,
    /// Number of images with each kind of defect.
    pub test: u32,
    /// Width of the images in pixels, 32 to 4096.
    pub size: u32,
    /// Height of the images in pixels, 32 to 4096; as `size` if not given. Parts keep their shape and lie in the middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Seed of the images: another one gives other images.
    pub seed: u64,
}
daf_core::register!(Dataset: Demo = "demo");

impl Default for Demo {
    fn default() -> Self {
        Self {
            kind: Kind::Washer,
            train: 60,
            test_good: 20,
            test: 10,
            size: 256,
            height: None,
            seed: 0,
        }
    }
}

/// Scene of the demo data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A circuit board; defects: bridge, missing, scratch, shifted.
    Board,
    /// Woven cloth; defects: hole, missing_thread, stain.
    Fabric,
    /// Brushed metal; defects: dent, rust, scratch, stain.
    Metal,
    /// A screw, turned any way; defects: bend, chip, rust, worn.
    Screw,
    /// A washer; defects: bend, chip, rust, scratch.
    Washer,
    /// Planed wood; defects: hole, scratch, stain.
    Wood,
    // The seeds of images have the kind's number: new ones come last.
    /// Ground ceramic, whose cracks are faint hairlines, about a pixel wide at a `size` of 256; defects: crack.
    Tile,
}

impl Kind {
    /// Every kind, by name.
    pub const ALL: [Self; 7] = [
        Self::Board,
        Self::Fabric,
        Self::Metal,
        Self::Screw,
        Self::Tile,
        Self::Washer,
        Self::Wood,
    ];

    /// The kind's name in YAML.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Board => "board",
            Self::Fabric => "fabric",
            Self::Metal => "metal",
            Self::Screw => "screw",
            Self::Tile => "tile",
            Self::Washer => "washer",
            Self::Wood => "wood",
        }
    }

    /// The kinds of defect that this kind has.
    pub fn defects(self) -> impl Iterator<Item = &'static str> {
        self.faults().iter().map(|fault| fault.name())
    }

    const fn faults(self) -> &'static [Fault] {
        match self {
            Self::Board => part::Board::FAULTS,
            Self::Fabric => surface::Fabric::FAULTS,
            Self::Metal => surface::Metal::FAULTS,
            Self::Screw => part::Screw::FAULTS,
            Self::Tile => surface::Tile::FAULTS,
            Self::Washer => part::Washer::FAULTS,
            Self::Wood => surface::Wood::FAULTS,
        }
    }

    fn scene(self, rng: &mut dyn Rng) -> Box<dyn Scene> {
        match self {
            Self::Board => Box::new(part::Board::new(rng)),
            Self::Fabric => Box::new(surface::Fabric::new(rng)),
            Self::Metal => Box::new(surface::Metal::new(rng)),
            Self::Screw => Box::new(part::Screw::new(rng)),
            Self::Tile => Box::new(surface::Tile::new(rng)),
            Self::Washer => Box::new(part::Washer::new(rng)),
            Self::Wood => Box::new(surface::Wood::new(rng)),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One thing under the camera: a color for every place, with or without a defect.
trait Scene: fmt::Debug {
    /// The color at `p` of a thing with the given defect; `pixel` is the side of a pixel.
    fn color(&self, p: Vec2, pixel: f32, mark: Option<&Mark>) -> Rgb;

    /// A defect at a place where this thing can have it: anywhere, unless it says otherwise.
    fn place(&self, fault: Fault, rng: &mut dyn Rng) -> Mark {
        let anywhere = vec2(rng.random_range(0.15..0.85), rng.random_range(0.15..0.85));
        Mark::new(fault, anywhere, rng)
    }
}

/// Camera noise and exposure.
#[derive(Debug)]
struct Camera {
    exposure: f32,
    slope: Vec2,
    seed: u32,
}

impl Camera {
    fn new(rng: &mut dyn Rng) -> Self {
        let toward = Vec2::unit(rng.random_range(0.0..std::f32::consts::TAU));
        Self {
            exposure: rng.random_range(0.95..1.05),
            slope: toward * rng.random_range(0.0..0.14),
            seed: rng.random(),
        }
    }

    fn shoot(&self, scene: &dyn Scene, mark: Option<&Mark>, Frame { width, height }: Frame) -> RgbImage {
        let pixel = 1.0 / width as f32;
        // The square that a scene is made for lies in the middle.
        let above = 0.5 * (height as f32 - width as f32);
        RgbImage::from_fn(width, height, |x, y| {
            let p = vec2((x as f32 + 0.5) * pixel, (y as f32 + 0.5 - above) * pixel);
            let from_middle = p - vec2(0.5, 0.5);
            let light =
                self.exposure * (1.0 + self.slope.dot(from_middle) - 0.12 * from_middle.dot(from_middle));
            let color = scene.color(p, pixel, mark);
            let (x, y) = (x as i32, y as i32);
            // Two dice make a hump that is close enough to a sensor's noise.
            let shared = field::cell(x, y, self.seed) + field::cell(x, y, self.seed ^ 1) - 1.0;
            let mut channel = 1;
            Pixel(color.map(|value| {
                channel += 1;
                let noise = 0.018 * shared + 0.012 * (field::cell(x, y, self.seed ^ channel) - 0.5);
                ((value * light + noise) * 255.0).round().clamp(0.0, 255.0) as u8
            }))
        })
    }
}

/// Size of the images, in pixels.
#[derive(Debug, Clone, Copy)]
struct Frame {
    width: u32,
    height: u32,
}

impl Frame {
    /// The same shape, so many pixels wide.
    fn scaled(self, width: u32) -> Self {
        let height = u64::from(self.height) * u64::from(width) / u64::from(self.width.max(1));
        Self {
            width,
            height: u32::try_from(height).unwrap_or(u32::MAX).max(1),
        }
    }

    /// Widths by which the image is higher than it is wide, at each end; negative where it is less high.
    fn beyond(self) -> f32 {
        0.5 * (self.height as f32 / self.width as f32 - 1.0)
    }
}

/// Image that an item's name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Request {
    kind: Kind,
    split: Split,
    fault: Option<Fault>,
    index: u32,
}

/// An image about to be drawn.
#[derive(Debug)]
struct Shot {
    scene: Box<dyn Scene>,
    camera: Camera,
    mark: Option<Mark>,
}

/// Side at which the size of a defect is estimated.
const ESTIMATE: u32 = 64;
/// Shares of the image that a defect may take.
const AREA: std::ops::Range<f32> = 0.01..0.085;

impl Shot {
    fn new(seed: u64, request: Request, frame: Frame) -> Self {
        let estimate = frame.scaled(ESTIMATE);
        let mut rng = ChaCha8Rng::from_seed(request.seed(seed));
        let scene = request.kind.scene(&mut rng);
        let camera = Camera::new(&mut rng);
        let mark = request.fault.map(|fault| {
            let normal = camera.shoot(scene.as_ref(), None, estimate);
            let mut best = scene.place(fault, &mut rng);
            if fault == Fault::Crack {
                // Too thin to be measured at the size of the estimate, and anywhere along the image.
                let beyond = frame.beyond().max(0.0);
                best.at.y += beyond * rng.random_range(-1.0..=1.0);
                return best;
            }
            let mut least = f32::INFINITY;
            let mut next = best.clone();
            // A chip may miss its part or a scratch run off the edge: throw again.
            for _ in 0..16 {
                let area = mask::area(&normal, &camera.shoot(scene.as_ref(), Some(&next), estimate));
                let off = (AREA.start - area).max(area - AREA.end).max(0.0);
                if off < least {
                    (best, least) = (next, off);
                }
                if off == 0.0 {
                    break;
                }
                next = scene.place(fault, &mut rng);
            }
            best
        });
        Self { scene, camera, mark }
    }

    fn image(&self, frame: Frame) -> RgbImage {
        self.camera.shoot(self.scene.as_ref(), self.mark.as_ref(), frame)
    }

    fn mask(&self, frame: Frame) -> GrayImage {
        mask::difference(
            &self.camera.shoot(self.scene.as_ref(), None, frame),
            &self.image(frame),
        )
    }
}

impl Request {
    /// A seed for this image alone.
    fn seed(self, seed: u64) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.index.to_le_bytes());
        bytes[12] = self.kind as u8;
        bytes[13] = u8::from(self.split == Split::Test);
        bytes[14] = self.fault.map_or(0, |fault| 1 + fault as u8);
        bytes
    }

    fn image(self) -> PathBuf {
        let split = self.split.name();
        let label = self.fault.map_or("good", Fault::name);
        format!("demo/{}/{split}/{label}/{:03}.png", self.kind, self.index).into()
    }

    fn mask(self) -> Option<PathBuf> {
        let fault = self.fault?.name();
        Some(
            format!(
                "demo/{}/ground_truth/{fault}/{:03}_mask.png",
                self.kind, self.index
            )
            .into(),
        )
    }

    fn item(self) -> Item {
        match self.fault {
            Some(fault) => Item::anomalous(self.image(), self.mask(), fault.name()),
            None => Item::normal(self.image()),
        }
    }

    /// The request behind the name that [`Self::image`] gave.
    fn parse(path: &Path) -> Result<Self> {
        let parse = || {
            let parts: Vec<_> = path.iter().map(|part| part.to_str()).collect::<Option<_>>()?;
            let &["demo", kind, split, label, file] = &parts[..] else {
                return None;
            };
            let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
            let split = match split {
                "train" => Split::Train,
                "test" => Split::Test,
                _ => return None,
            };
            let fault = match label {
                "good" => None,
                label => Some(*kind.faults().iter().find(|fault| fault.name() == label)?),
            };
            let request = Self {
                kind,
                split,
                fault,
                index: file.strip_suffix(".png")?.parse().ok()?,
            };
            (request.image() == path).then_some(request)
        };
        parse().ok_or_else(|| {
            let example = "demo/washer/test/chip/003.png";
            Error::data(path, format!("not the name of a drawn image, as in {example}"))
        })
    }
}

impl Demo {
    fn frame(&self) -> Frame {
        Frame {
            width: self.size,
            height: self.height.unwrap_or(self.size),
        }
    }

    fn requests(&self, split: Split) -> Vec<Request> {
        let some = |fault, count| {
            (0..count).map(move |index| Request {
                kind: self.kind,
                split,
                fault,
                index,
            })
        };
        match split {
            Split::Train => some(None, self.train).collect(),
            Split::Test => {
                let faults = self
                    .kind
                    .faults()
                    .iter()
                    .flat_map(|fault| some(Some(*fault), self.test));
                some(None, self.test_good).chain(faults).collect()
            }
        }
    }
}

#[typetag::serde(name = Demo::NAME)]
impl Dataset for Demo {
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        if split == Split::Train && self.train == 0 {
            let folder = format!("demo/{}/train/good", self.kind);
            return Err(Error::data(
                folder,
                "no normal images: expected `train` of at least 1, found 0",
            )
            .into());
        }
        Ok(self.requests(split).into_iter().map(Request::item).collect())
    }

    fn image(&self, item: &Item) -> Result<DynamicImage, BoxError> {
        self.check()?;
        let frame = self.frame();
        let shot = Shot::new(self.seed, Request::parse(&item.image)?, frame);
        Ok(shot.image(frame).into())
    }

    fn mask(&self, item: &Item) -> Result<Option<GrayImage>, BoxError> {
        self.check()?;
        let request = Request::parse(&item.image)?;
        Ok(request
            .fault
            .map(|_| Shot::new(self.seed, request, self.frame()).mask(self.frame())))
    }

    fn check(&self) -> Result<(), BoxError> {
        for (field, side) in [("size", self.size), ("height", self.frame().height)] {
            if !(32..=4096).contains(&side) {
                return Err(format!("{field}: expected 32 to 4096 pixels, found {side}").into());
            }
        }
        for (field, count) in [
            ("train", self.train),
            ("test_good", self.test_good),
            ("test", self.test),
        ] {
            if count > 1_000_000 {
                return Err(format!("{field}: expected at most 1000000 images, found {count}").into());
            }
        }
        Ok(())
    }
}
