//! The audit finds what is planted in a data set, and nothing else.

mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use daf_core::image::{DynamicImage, GrayImage, ImageBuffer, Luma};
use daf_core::{BoxError, Dataset, Item, Split, typetag};
use daf_data::audit::{Audit, Count, Format, Size};
use daf_data::{Demo, Finding, Mvtec, audit};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tree::{coloured, put, save, spot, text};

fn quiet(data: &dyn Dataset) -> Audit {
    audit(data, &|_, _| {})
}

fn planted() -> (TempDir, Mvtec) {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    save(root, "train/good/0.png", coloured(8, 6, 0));
    save(root, "train/good/1.png", coloured(8, 6, 1));
    // The same pixels in another file format, learned from and measured with.
    save(root, "test/good/0.bmp", coloured(8, 6, 1));
    save(root, "train/good/2.png", coloured(8, 6, 0));
    save(
        root,
        "train/good/3.png",
        ImageBuffer::from_pixel(8, 6, Luma([9_000_u16])),
    );
    put(root, &["train/good/4.png"]);
    save(root, "test/dent/0.png", coloured(8, 6, 20));
    save(root, "ground_truth/dent/0_mask.png", spot(8, 6, 255));
    save(root, "test/dent/1.png", coloured(8, 6, 21));
    save(root, "ground_truth/dent/1_mask.png", spot(8, 6, 1));
    save(root, "test/dent/2.png", coloured(8, 6, 22));
    save(root, "ground_truth/dent/2_mask.png", GrayImage::new(8, 6));
    save(root, "test/dent/3.png", coloured(9, 6, 23));
    save(root, "ground_truth/dent/3_mask.png", spot(8, 6, 255));
    save(root, "test/dent/4.png", coloured(8, 6, 24));
    save(root, "test/dent/5.png", coloured(8, 6, 25));
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
    let empty = |number, largest| Finding::EmptyMask {
        image: image(number),
        mask: mask(number),
        largest: Some(largest),
    };
    let mut told = report.findings.iter().map(ToString::to_string);
    for words in [
        "6_mask.png: a mask without its image",
        "dnet/0_mask.png: a mask without its image",
        "train/good/4.png: the file is empty",
        "1 of 255",
        "an empty mask",
        "9×6",
        "4.png: an image of a defect without a mask",
        "5_mask.png: not a png",
    ] {
        let line = told.next().unwrap();
        assert!(line.contains(words), "{line}: expected {words}");
    }
    assert_eq!(
        report.findings[3..7],
        [
            empty(1, 1),
            empty(2, 0),
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
                images: vec![
                    (Split::Train, path("train/good/0.png")),
                    (Split::Train, path("train/good/2.png"))
                ],
            },
            Finding::Duplicates {
                leak: true,
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
    audit(&data, &|done, of| told.lock().unwrap().push((done, of)));
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
            _ => Ok(coloured(3, 3, 0).into()),
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
            "frame 1, frame 2: the same image several times",
        ]
    );
    assert!(fs::metadata("frame 1").is_err());
}
