//! Data sets on disk: what is found, in which order, and what is said about what is not there.

mod tree;

use std::path::Path;

use daf_core::image::{GrayImage, Luma};
use daf_core::{Dataset, Split};
use daf_data::{Folder, Mvtec};
use tree::{folder_with, put, refusal, told};

fn mvtec(root: &Path) -> Mvtec {
    Mvtec {
        root: root.into(),
        category: None,
        ..Default::default()
    }
}

fn patterns(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn good_in(root: &Path, normal: &[&str]) -> Folder {
    let none = Vec::new;
    Folder {
        root: root.into(),
        normal: patterns(normal),
        test_normal: none(),
        abnormal: none(),
        masks: none(),
        ..Default::default()
    }
}

#[test]
fn short_forms_are_enough() {
    let parse = |json| serde_json::from_str::<Box<dyn Dataset>>(json);
    for json in [
        r#"{"type": "mvtec", "root": "data/bottle"}"#,
        r#"{"type": "mvtec", "root": "data", "category": null}"#,
        r#"{"type": "folder", "normal": ["good/*.png"]}"#,
        r#"{"type": "demo"}"#,
        r#"{"type": "demo", "kind": "fabric"}"#,
    ] {
        parse(json).unwrap().check().unwrap();
    }
    assert!(
        parse(r#"{"type": "mvtec"}"#)
            .unwrap_err()
            .to_string()
            .contains("root")
    );
    assert!(
        parse(r#"{"type": "folder"}"#)
            .unwrap_err()
            .to_string()
            .contains("normal")
    );
    assert!(
        parse(r#"{"type": "demo", "kind": "wod"}"#)
            .unwrap_err()
            .to_string()
            .contains("wood")
    );
}

#[test]
fn mvtec_lists_in_byte_order_whatever_else_lies_there() {
    let folder = folder_with(&[
        "train/good/b.PNG",
        "train/good/a.jpg",
        "train/good/B.tiff",
        "train/good/10.bmp",
        "train/good/9.Jpeg",
        "train/good/Thumbs.db",
        "train/good/.DS_Store",
        "train/good/._a.png",
        "train/good/notes.txt",
        "test/good/0.tif",
        "test/scratch/000.png",
        "test/scratch/001.png",
        "test/dent/000.png",
        "ground_truth/scratch/000_mask.bmp",
        "ground_truth/dent/000.png",
        "ground_truth/dent/Thumbs.db",
    ]);
    let root = folder.path();
    let train = mvtec(root).items(Split::Train).unwrap();
    let names: Vec<_> = train
        .iter()
        .map(|item| item.image.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, ["10.bmp", "9.Jpeg", "B.tiff", "a.jpg", "b.PNG"]);
    assert!(train.iter().all(|item| !item.is_anomalous()));
    let expected = [
        "test/dent/000.png dent ground_truth/dent/000.png",
        "test/good/0.tif good -",
        "test/scratch/000.png scratch ground_truth/scratch/000_mask.bmp",
        "test/scratch/001.png scratch -",
    ];
    assert_eq!(told(root, &mvtec(root).items(Split::Test).unwrap()), expected);
    let parent = Mvtec {
        root: root.parent().unwrap().into(),
        category: Some(root.file_name().unwrap().to_str().unwrap().into()),
        ..Default::default()
    };
    assert_eq!(told(root, &parent.items(Split::Test).unwrap()), expected);
    let empty = Mvtec {
        category: Some(String::new()),
        ..mvtec(root)
    };
    assert_eq!(empty.items(Split::Train).unwrap(), train);
}

#[test]
fn a_wrong_path_is_named_with_what_may_be_meant() {
    let folder = folder_with(&["bottle/train/good/a.png", "cable/x", "readme.txt"]);
    let data = Mvtec {
        root: folder.path().into(),
        category: Some("botle".into()),
        ..Default::default()
    };
    let refused = refusal(&data, Split::Train);
    assert!(refused.contains("botle: no such folder"), "{refused}");
    assert!(
        refused.contains("did you mean") && refused.contains("/bottle?"),
        "{refused}"
    );
    assert!(refused.contains("readme.txt"), "{refused}");
    for root in ["", "no/such/folder", "/no/such/folder"] {
        refusal(&mvtec(Path::new(root)), Split::Train);
    }
    assert!(refusal(&mvtec(&folder.path().join("readme.txt")), Split::Train).contains("found a file"));
    assert!(mvtec(Path::new("")).check().is_err());
}

#[test]
fn a_training_split_without_images_says_what_is_there() {
    let folder = folder_with(&[
        "train/good/a.gif",
        "train/good/sub/a.png",
        "test/good/.hidden.png",
    ]);
    let refused = refusal(&mvtec(folder.path()), Split::Train);
    assert!(refused.contains("no normal images"), "{refused}");
    assert!(refused.contains("1 folder (sub) and 1 file (a.gif)"), "{refused}");
    assert!(refusal(&mvtec(folder.path()), Split::Test).contains("1 folder (good)"));
}

#[test]
fn a_mask_without_its_image_is_refused_and_both_are_named() {
    let good = ["train/good/a.png", "test/dent/000.png"];
    for (mask, missing) in [
        ("ground_truth/dent/001_mask.png", "001.*"),
        ("ground_truth/dnet/000_mask.png", "test/dnet"),
    ] {
        let folder = folder_with(&good);
        put(folder.path(), &[mask]);
        let refused = refusal(&mvtec(folder.path()), Split::Test);
        assert!(refused.contains(mask) && refused.contains(missing), "{refused}");
    }
    let folder = folder_with(&good);
    put(
        folder.path(),
        &["ground_truth/dent/000.png", "ground_truth/dent/000_mask.png"],
    );
    assert!(refusal(&mvtec(folder.path()), Split::Test).contains("second mask"));
}

#[test]
fn an_image_whose_own_name_ends_in_mask_keeps_its_mask() {
    let folder = folder_with(&["test/dent/gas_mask.png", "ground_truth/dent/gas_mask.png"]);
    let items = mvtec(folder.path()).items(Split::Test).unwrap();
    assert!(items[0].mask.is_some());
}

#[test]
fn a_folder_of_good_images_is_enough() {
    let folder = folder_with(&[
        "good/b.png",
        "good/a.jpg",
        "good/.c.png",
        "good/more/d.bmp",
        "good/x.txt",
    ]);
    let root = folder.path();
    for (pattern, expected) in [
        ("good/*.png", &["good/b.png"][..]),
        ("good", &["good/a.jpg", "good/b.png", "good/more/d.bmp"]),
        ("good/", &["good/a.jpg", "good/b.png", "good/more/d.bmp"]),
        ("good/*", &["good/a.jpg", "good/b.png", "good/more/d.bmp"]),
        ("**/*.bmp", &["good/more/d.bmp"]),
        ("good/a.jpg", &["good/a.jpg"]),
    ] {
        let data = good_in(root, &[pattern, pattern]);
        data.check().unwrap();
        let items = data.items(Split::Train).unwrap();
        let names: Vec<_> = expected.iter().map(|name| format!("{name} good -")).collect();
        assert_eq!(told(root, &items), names, "{pattern}");
        assert_eq!(data.items(Split::Test).unwrap(), []);
    }
    // Absolute patterns leave the root aside.
    let absolute = root.join("good/*.jpg");
    assert_eq!(
        good_in(Path::new("."), &[absolute.to_str().unwrap()])
            .items(Split::Train)
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_folder_named_like_a_pattern_is_a_folder() {
    let folder = folder_with(&["batch[3]/good/a.png"]);
    let inner = folder.path().join("batch[3]");
    assert_eq!(good_in(&inner, &["good/*"]).items(Split::Train).unwrap().len(), 1);
    assert_eq!(
        good_in(folder.path(), &["batch[3]"])
            .items(Split::Train)
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn folder_matches_masks_by_stem_and_by_folder_where_stems_repeat() {
    let folder = folder_with(&[
        "good/a.png",
        "ok/a.png",
        "bad/scratch/000.png",
        "bad/scratch/001.png",
        "bad/stain/000.jpg",
        "masks/scratch/000_mask.png",
        "masks/stain/000.png",
        "masks/001.bmp",
        "beside/x.png",
        "beside/x_mask.png",
    ]);
    let root = folder.path();
    let mut data = Folder {
        test_normal: patterns(&["ok"]),
        abnormal: patterns(&["bad", "beside/*.png"]),
        masks: patterns(&["masks", "beside/*_mask.png"]),
        ..good_in(root, &["good"])
    };
    let expected = [
        "ok/a.png good -",
        "bad/scratch/000.png scratch masks/scratch/000_mask.png",
        "bad/scratch/001.png scratch masks/001.bmp",
        "bad/stain/000.jpg stain masks/stain/000.png",
        "beside/x.png beside beside/x_mask.png",
    ];
    assert_eq!(told(root, &data.items(Split::Test).unwrap()), expected);
    put(root, &["masks/000.png"]);
    assert!(refusal(&data, Split::Test).contains("several images"));
    data.masks = patterns(&["masks/stain"]);
    data.abnormal = patterns(&["bad/scratch/001.png"]);
    let refused = refusal(&data, Split::Test);
    assert!(
        refused.contains("masks/stain/000.png") && refused.contains("000.*"),
        "{refused}"
    );
}

#[test]
fn a_pattern_that_matches_nothing_is_named_with_what_is_there() {
    let folder = folder_with(&["good/a.png", "good/b.txt"]);
    let refused = refusal(
        &good_in(folder.path(), &["good/*.png", "good/*.jpg"]),
        Split::Train,
    );
    assert!(
        refused.contains("no normal images") && refused.contains("good/*.jpg"),
        "{refused}"
    );
    assert!(refused.contains("a.png, b.txt"), "{refused}");
    let refused = refusal(&good_in(folder.path(), &["god/*.png"]), Split::Train);
    assert!(
        refused.contains("did you mean") && refused.contains("/good"),
        "{refused}"
    );
    let refused = refusal(&good_in(folder.path(), &["good/c.png"]), Split::Train);
    assert!(
        refused.contains("good/c.png") && refused.contains("a.png"),
        "{refused}"
    );
    assert!(refusal(&good_in(&folder.path().join("x"), &["*"]), Split::Train).contains("no such folder"));
    assert!(refusal(&good_in(folder.path(), &[]), Split::Train).contains("no normal images"));
    assert!(good_in(folder.path(), &[]).check().is_err());
    assert!(good_in(folder.path(), &["a***b"]).check().is_err());
    refusal(&good_in(folder.path(), &["a***b"]), Split::Train);
}

#[test]
fn an_image_is_not_both_learned_from_and_measured_with() {
    let folder = folder_with(&["good/a.png", "good/b.png", "bad/c.png"]);
    let data = Folder {
        test_normal: patterns(&["good/b.png"]),
        ..good_in(folder.path(), &["good"])
    };
    let refused = refusal(&data, Split::Train);
    assert!(
        refused.contains("b.png") && refused.contains("`test_normal`"),
        "{refused}"
    );
    let data = Folder {
        test_normal: patterns(&["good/b.png"]),
        abnormal: patterns(&["*/b.png"]),
        ..good_in(folder.path(), &["good/a.png"])
    };
    assert!(refusal(&data, Split::Test).contains("b.png"));
}

#[test]
fn a_mask_may_have_another_size_than_its_image() {
    let folder = folder_with(&["test/dent/0.png", "ground_truth/dent/0.png"]);
    GrayImage::new(8, 6)
        .save(folder.path().join("test/dent/0.png"))
        .unwrap();
    GrayImage::from_pixel(4, 3, Luma([255]))
        .save(folder.path().join("ground_truth/dent/0.png"))
        .unwrap();
    let data = mvtec(folder.path());
    let item = data.items(Split::Test).unwrap().remove(0);
    assert_eq!(data.image(&item).unwrap().into_rgb8().dimensions(), (8, 6));
    assert_eq!(data.mask(&item).unwrap().unwrap().dimensions(), (4, 3));
}

/// Real data is not part of the repository; where it lies beside the golden numbers, it is counted.
#[test]
fn golden_data_is_found_complete() {
    let Some(golden) = std::env::var_os("DAF_GOLDEN") else {
        eprintln!("skipped: DAF_GOLDEN does not name the folder of golden numbers");
        return;
    };
    let shared = Path::new(&golden).join("../data");
    for (category, train, good, defects) in [
        ("magnetic_tile", 500, 100, 198),
        ("mvtec_screw_512", 320, 41, 119),
    ] {
        if !shared.join(category).is_dir() {
            continue;
        }
        let data = Mvtec {
            root: shared.clone(),
            category: Some(category.into()),
            ..Default::default()
        };
        assert_eq!(data.items(Split::Train).unwrap().len(), train);
        let test = data.items(Split::Test).unwrap();
        let (bad, normal): (Vec<_>, Vec<_>) = test.iter().partition(|item| item.is_anomalous());
        assert_eq!((normal.len(), bad.len()), (good, defects), "{category}");
        assert!(bad.iter().all(|item| item.mask.is_some()));
        for item in bad.iter().step_by(10) {
            let (image, mask) = (
                data.image(item).unwrap().into_rgb8(),
                data.mask(item).unwrap().unwrap(),
            );
            assert_eq!(image.dimensions(), mask.dimensions(), "{item:?}");
        }
    }
}
