//! The audit finds what is planted in a data set, and nothing else.

mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use daf_core::data::Reading;
use daf_core::image::codecs::jpeg::JpegEncoder;
use daf_core::image::{DynamicImage, GrayImage, ImageBuffer, ImageEncoder, Luma, Rgb, RgbImage};
use daf_core::{BoxError, Dataset, Item, Split, typetag};
use daf_data::audit::{Audit, Count, Format, Size};
use daf_data::{Demo, Finding, Mvtec, audit};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tree::{colored, put, save, spot, text};

fn quiet(data: &dyn Dataset) -> Audit {
    audit(data, Reading::default(), &|_, _| {})
}

fn planted() -> (TempDir, Mvtec) {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    save(root, "train/good/0.png", colored(8, 6, 0));
    save(root, "train/good/1.png", colored(8, 6, 1));
    // The same pixels in another file format, learned from and measured with.
    save(root, "test/good/0.bmp", colored(8, 6, 1));
    save(root, "train/good/2.png", colored(8, 6, 0));
    save(
        root,
        "train/good/3.png",
        ImageBuffer::from_pixel(8, 6, Luma([9_000_u16])),
    );
    put(root, &["train/good/4.png"]);
    save(root, "test/dent/0.png", colored(8, 6, 20));
    save(root, "ground_truth/dent/0_mask.png", spot(8, 6, 255));
    save(root, "test/dent/1.png", colored(8, 6, 21));
    save(root, "ground_truth/dent/1_mask.png", spot(8, 6, 1));
    save(root, "test/dent/2.png", colored(8, 6, 22));
    save(root, "ground_truth/dent/2_mask.png", GrayImage::new(8, 6));
    save(root, "test/dent/3.png", colored(9, 6, 23));
    save(root, "ground_truth/dent/3_mask.png", spot(8, 6, 255));
    save(root, "test/dent/4.png", colored(8, 6, 24));
    save(root, "test/dent/5.png", colored(8, 6, 25));
    text(root, "ground_truth/dent/5_mask.png", "no image");
    save(root, "ground_truth/dent/6_mask.png", spot(8, 6, 255));
    save(root, "ground_truth/dnet/0_mask.png", spot(8, 6, 255));
    let data = Mvtec {
        root: root.into(),
        category: None,
        ..Default::default()
    };
    (folder, data)
}

#[test]
fn everything_planted_is_found_and_nothing_else() {
    let (folder, data) = planted();
    assert!(
        data.items(Split::Test).is_err(),
        "masks without images are refused"
    );
    let report = quiet(&data);
    let count = |split, defect: Option<&str>, images, masks| Count {
        split,
        category: None,
        defect: defect.map(str::to_owned),
        images,
        masks,
    };
    assert_eq!(
        report.counts,
        [
            count(Split::Train, None, 5, 0),
            count(Split::Test, None, 1, 0),
            count(Split::Test, Some("dent"), 6, 5),
        ]
    );
    let size = |split, width, images| Size {
        split,
        width,
        height: 6,
        images,
    };
    assert_eq!(
        report.sizes,
        [
            size(Split::Train, 8, 4),
            size(Split::Test, 8, 6),
            size(Split::Test, 9, 1)
        ]
    );
    let format = |split, format, channels, bits, images| Format {
        split,
        format,
        channels,
        bits,
        images,
    };
    assert_eq!(
        report.formats,
        [
            format(Split::Train, "png", 1, 16, 1),
            format(Split::Train, "png", 3, 8, 3),
            format(Split::Test, "bmp", 3, 8, 1),
            format(Split::Test, "png", 3, 8, 6),
        ]
    );
    let path = |file: &str| folder.path().join(file);
    let (image, mask) = (
        |number: u8| path(&format!("test/dent/{number}.png")),
        |number: u8| path(&format!("ground_truth/dent/{number}_mask.png")),
    );
    let mut told = report.findings.iter().map(ToString::to_string);
    for words in [
        "6_mask.png: a mask without its image",
        "dnet/0_mask.png: a mask without its image",
        "train/good/3.png: every pixel has the grey level 35",
        "train/good/4.png: the file is empty",
        "an empty mask",
        "9×6",
        "4.png: an image of a defect without a mask",
        "5_mask.png: not a png",
    ] {
        let line = told.next().unwrap();
        assert!(line.contains(words), "{line}: expected {words}");
    }
    assert_eq!(
        report.findings[4..7],
        [
            Finding::EmptyMask {
                image: image(2),
                mask: mask(2),
            },
            Finding::MaskSize {
                image: image(3),
                mask: mask(3),
                image_size: (9, 6),
                mask_size: (8, 6),
            },
            Finding::NoMask { image: image(4) },
        ]
    );
    assert_eq!(
        report.findings[8..],
        [
            Finding::Duplicates {
                leak: false,
                conflict: false,
                images: vec![
                    (Split::Train, path("train/good/0.png")),
                    (Split::Train, path("train/good/2.png"))
                ],
            },
            Finding::Duplicates {
                leak: true,
                conflict: false,
                images: vec![
                    (Split::Train, path("train/good/1.png")),
                    (Split::Test, path("test/good/0.bmp"))
                ],
            },
        ]
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["findings"][6]["finding"], "no_mask");
    assert_eq!(json["counts"][2]["defect"], "dent");
}

#[test]
fn the_report_does_not_depend_on_the_number_of_threads() {
    let (_folder, data) = planted();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| quiet(&data))
    };
    assert_eq!(with(1), with(7));
}

#[test]
fn progress_counts_every_image_once() {
    let (_folder, data) = planted();
    let told = Mutex::new(Vec::new());
    audit(&data, Reading::default(), &|done, of| {
        told.lock().unwrap().push((done, of));
    });
    let mut told = told.into_inner().unwrap();
    told.sort_unstable();
    assert_eq!(told, (1..=12).map(|done| (done, 12)).collect::<Vec<_>>());
}

#[test]
fn drawn_images_have_no_files_and_no_faults() {
    let demo = Demo {
        train: 4,
        test_good: 2,
        test: 2,
        size: 32,
        ..Default::default()
    };
    let report = quiet(&demo);
    assert_eq!(report.findings, []);
    assert_eq!(report.formats, []);
    assert!(
        report.counts[2..].iter().all(|count| count.masks == 2),
        "{report:?}"
    );
}

#[test]
fn a_data_set_that_cannot_be_listed_is_a_finding() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("absent");
    let report = quiet(&Mvtec {
        root,
        category: None,
        ..Default::default()
    });
    // Both splits fail for the same reason, which is told once.
    assert_eq!(report.findings.len(), 1);
    assert!(report.findings[0].to_string().contains("absent: no such folder"));
    assert!(report.counts.is_empty());
}

static OPENED: AtomicUsize = AtomicUsize::new(0);

/// A plugin's data set: images from nowhere, of which one fails.
#[derive(Debug, Serialize, Deserialize)]
struct Plugin {}

#[typetag::serde(name = "plugin")]
impl Dataset for Plugin {
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        match split {
            Split::Train => Err("plugin: the camera is off".into()),
            Split::Test => Ok((0..3)
                .map(|i| Item {
                    mask: Some(PathBuf::from("mask")),
                    ..Item::normal(Path::new(&format!("frame {i}")))
                })
                .collect()),
        }
    }

    fn image(&self, item: &Item) -> Result<DynamicImage, BoxError> {
        OPENED.fetch_add(1, Ordering::Relaxed);
        match item.image.to_str() {
            Some("frame 0") => Err("frame 0: lost".into()),
            _ => Ok(colored(3, 3, 0).into()),
        }
    }

    fn mask(&self, item: &Item) -> Result<Option<GrayImage>, BoxError> {
        Ok(Some(spot(
            3,
            3,
            u8::from(item.image == Path::new("frame 1")) * 255,
        )))
    }
}

#[test]
fn a_plugins_data_set_is_audited_through_its_trait() {
    let report = quiet(&Plugin {});
    assert_eq!(
        OPENED.load(Ordering::Relaxed),
        3,
        "the audit goes on after a broken image"
    );
    let told: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "train images: plugin: the camera is off",
            "frame 0: lost",
            "mask: a mask of the normal image frame 1",
            "all images lie between the levels 0 and 22 of 255; `input.depth: [low, high]` stretches them",
            "frame 1 and frame 2: the same image several times",
        ]
    );
    assert!(fs::metadata("frame 1").is_err());
}

/// Other pixels for every seed, everywhere.
fn noise(width: u32, height: u32, seed: u64) -> RgbImage {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let level = (rng.next_u32() % 100) as u8;
    RgbImage::from_fn(width, height, |x, _| {
        Rgb([0, 20, 50].map(|color| level + (x / 8) as u8 + color + (rng.next_u32() % 30) as u8))
    })
}

fn jpeg(root: &Path, file: &str, image: &RgbImage, quality: u8) {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode_image(image)
        .unwrap();
    put(root, &[file]);
    fs::write(root.join(file), bytes).unwrap();
}

fn folder(root: &Path) -> Mvtec {
    Mvtec {
        root: root.into(),
        category: None,
        ..Default::default()
    }
}

/// Findings about a data set without those of missing masks.
fn findings(root: &Path) -> Vec<String> {
    let report = quiet(&folder(root));
    let told = report
        .findings
        .iter()
        .filter(|finding| finding.kind() != "no_mask");
    told.map(|finding| finding.to_string().replace(&format!("{}/", root.display()), ""))
        .collect()
}

#[test]
fn what_a_file_is_tells_good_from_bad() {
    let tell = |good: &dyn Fn(&Path, &str, u64), bad: &dyn Fn(&Path, &str, u64)| {
        let folder = TempDir::new().unwrap();
        let root = folder.path();
        for seed in 0..6 {
            good(root, &format!("train/good/{seed}.png"), seed);
            good(root, &format!("test/good/{seed}.png"), 10 + seed);
            bad(root, &format!("test/dent/{seed}.png"), 20 + seed);
        }
        fs::create_dir_all(root.join("ground_truth")).unwrap();
        findings(root)
    };
    let png = |root: &Path, file: &str, seed| save(root, file, noise(32, 24, seed));
    let quality =
        |quality| move |root: &Path, file: &str, seed| jpeg(root, file, &noise(32, 24, seed), quality);
    assert_eq!(tell(&png, &png), [""; 0]);
    assert_eq!(
        tell(&quality(80), &png),
        [
            "all 6 defective test images are png, all 6 normal test images are jpeg: a method can tell them by the file \
             format alone"
        ]
    );
    assert_eq!(
        tell(&quality(90), &quality(55)),
        [
            "all 6 defective test images are of JPEG quality 55, all 6 normal test images are of JPEG quality 90: a method \
             can tell them by the JPEG quality alone"
        ]
    );
    let larger = |root: &Path, file: &str, seed| save(root, file, noise(40, 24, seed));
    assert_eq!(
        tell(&png, &larger),
        [
            "all 6 defective test images are 40×24, all 6 normal test images are 32×24: a method can tell them by the size \
             alone"
        ]
    );
    let gray = |root: &Path, file: &str, seed| {
        save(
            root,
            file,
            daf_core::image::DynamicImage::from(noise(32, 24, seed)).into_luma8(),
        );
    };
    let told = tell(&png, &gray);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("by the number of channels alone"), "{told:?}");
    let gray_in_three = |root: &Path, file: &str, seed| {
        let gray = daf_core::image::DynamicImage::from(noise(32, 24, seed)).into_luma8();
        save(root, file, daf_core::image::DynamicImage::from(gray).into_rgb8());
    };
    let told = tell(&png, &gray_in_three);
    assert!(
        told[0].contains("are grey, all 6 normal test images are in color"),
        "{told:?}"
    );
    let photo = |root: &Path, file: &str, seed| {
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 80);
        // A single entry: the camera's model.
        let exif = b"II*\0\x08\0\0\0\x01\0\x10\x01\x02\0\x04\0\0\0One\0\0\0\0\0";
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.encode_image(&noise(32, 24, seed)).unwrap();
        put(root, &[file]);
        fs::write(root.join(file), bytes).unwrap();
    };
    let told = tell(&quality(80), &photo);
    assert!(
        told[0].contains("are from One, all 6 normal test images are without EXIF data"),
        "{told:?}"
    );
}

#[test]
fn splits_that_differ_in_what_their_files_are_are_found() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    for seed in 0..6 {
        jpeg(root, &format!("train/good/{seed}.jpg"), &noise(32, 24, seed), 80);
        let kind = if seed % 2 == 0 { "good" } else { "dent" };
        save(root, &format!("test/{kind}/{seed}.png"), noise(32, 24, 10 + seed));
    }
    fs::create_dir_all(root.join("ground_truth")).unwrap();
    assert_eq!(
        findings(root),
        ["all 6 test images are png, all 6 training images are jpeg: the splits differ in their file format"]
    );
}

#[test]
fn an_image_that_was_learned_from_is_known_again_after_compression() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    for seed in 0..6 {
        save(root, &format!("train/good/{seed}.png"), noise(256, 192, seed));
    }
    jpeg(root, "test/good/copy.jpg", &noise(256, 192, 3), 85);
    save(root, "test/good/other.png", noise(256, 192, 9));
    assert_eq!(
        findings(root),
        [
            "train/good/3.png and test/good/copy.jpg: nearly the same image to learn from and to measure with, as after \
             another compression"
        ]
    );
}

#[test]
fn a_camera_that_hangs_is_found() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    for number in 0..12_u32 {
        let mut image = noise(256, 192, 1);
        // A clock in the picture.
        let lit = image
            .get_pixel(number, 0)
            .0
            .map(|level| level.saturating_add(100));
        image.put_pixel(number, 0, Rgb(lit));
        save(root, &format!("train/good/{number}.png"), image);
        save(
            root,
            &format!("test/good/{number}.png"),
            noise(256, 192, 50 + u64::from(number)),
        );
    }
    let told = findings(root);
    assert!(
        told[0].starts_with("12 of 12 training images are nearly identical"),
        "{told:?}"
    );
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn images_of_one_color_wide_masks_and_contradictions_are_found() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    save(root, "train/good/0.png", noise(64, 48, 0));
    save(
        root,
        "train/good/1.png",
        RgbImage::from_pixel(64, 48, Rgb([0, 0, 9])),
    );
    let mut nearly = RgbImage::new(64, 48);
    nearly.put_pixel(3, 3, Rgb([200, 0, 0]));
    save(root, "train/good/2.png", nearly);
    save(root, "test/good/0.png", noise(64, 48, 7));
    save(root, "test/dent/0.png", noise(64, 48, 7));
    let mut mask = GrayImage::from_pixel(64, 48, Luma([255]));
    for x in 0..16 {
        (0..48).for_each(|y| mask.put_pixel(x, y, Luma([0])));
    }
    save(root, "ground_truth/dent/0_mask.png", mask);
    assert_eq!(
        findings(root),
        [
            "train/good/1.png: every pixel has the color 0, 0, 9",
            "train/good/2.png: every pixel but one has the grey level 0",
            "ground_truth/dent/0_mask.png: marks 75 % of the image test/dent/0.png; a defect is expected to be white on \
             black",
            "test/dent/0.png and test/good/0.png: the same image once as normal and once as defective",
        ]
    );
}

#[test]
fn masks_that_lie_among_the_images_are_found() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    save(root, "train/good/0.png", noise(64, 48, 0));
    save(root, "test/dent/0.png", noise(64, 48, 7));
    save(root, "test/dent/0_mask.png", spot(64, 48, 255));
    // A photo of that name is one.
    save(root, "test/dent/1.png", noise(64, 48, 8));
    save(root, "test/dent/1_mask.png", noise(64, 48, 9));
    fs::create_dir_all(root.join("ground_truth")).unwrap();
    assert_eq!(
        findings(root),
        [
            "test/dent/0_mask.png: every pixel but one has the grey level 0",
            "test/dent/0_mask.png: counts as an image, but it is named as the mask of test/dent/0.png, and black and white"
        ]
    );
}

/// Names that a plugin gives.
#[derive(Debug, Serialize, Deserialize)]
struct Names {}

#[typetag::serde(name = "names")]
impl Dataset for Names {
    fn items(&self, split: Split) -> Result<Vec<Item>, BoxError> {
        let kinds = ["Scratch", "scratch", "good", "dent", "all"];
        let kinds = kinds.map(|kind| Item::anomalous(kind, None, kind));
        Ok(if split == Split::Test {
            kinds.to_vec()
        } else {
            Vec::new()
        })
    }

    fn image(&self, item: &Item) -> Result<DynamicImage, BoxError> {
        let seed = item.image.to_string_lossy().bytes().map(u64::from).sum();
        Ok(noise(8, 8, seed).into())
    }
}

#[test]
fn names_that_mean_something_else_or_differ_in_case_only_are_found() {
    let told: Vec<_> = quiet(&Names {})
        .findings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "one image has the kind of defect `all`, which is what the row of all images is called; rename it",
            "one image has the kind of defect `good`, which is what normal images are called; rename it",
            "the kinds of defects `Scratch` and `scratch` differ in letter case or spaces only, and count as 2",
        ]
    );
}
