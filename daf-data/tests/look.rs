//! What a look at a folder makes of it.

use std::fs;
use std::path::Path;

use daf_core::image::RgbImage;
use daf_data::{Look, look};
use serde_json::{Value, json};

fn draw(folder: &Path, files: &[&str]) {
    for (number, file) in files.iter().enumerate() {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let gray = 10 + number as u8;
        RgbImage::from_pixel(30, 20, [gray, gray, gray].into())
            .save(path)
            .unwrap();
    }
}

fn setting(look: &Look, key: &str) -> Value {
    let found = look.settings.iter().find(|(name, _)| *name == key);
    found.map_or(Value::Null, |(_, value)| value.clone())
}

fn looked(files: &[&str]) -> Look {
    let folder = tempfile::tempdir().unwrap();
    draw(folder.path(), files);
    look(folder.path()).unwrap_or_else(|error| panic!("{files:?}: {error}"))
}

fn refused(files: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    draw(folder.path(), files);
    look(folder.path()).unwrap_err().to_string()
}

#[test]
fn published_layouts_are_recognized_as_category_and_above_it() {
    let mvtec = [
        "train/good/0.png",
        "test/good/0.png",
        "test/cut/0.png",
        "ground_truth/cut/0_mask.png",
    ];
    let found = looked(&mvtec);
    assert_eq!(
        (setting(&found, "type"), setting(&found, "category")),
        (json!("mvtec"), Value::Null)
    );
    assert_eq!((found.train.len(), found.test.len()), (1, 2));
    assert_eq!(found.sizes.median(), Some((30, 20)));
    assert!(found.notes.is_empty(), "{:?}", found.notes);

    let below = |category: &str| mvtec.map(|file| format!("{category}/{file}"));
    let two: Vec<String> = below("nut").into_iter().chain(below("bolt")).collect();
    let two: Vec<&str> = two.iter().map(String::as_str).collect();
    let found = looked(&two);
    assert_eq!(
        (setting(&found, "type"), setting(&found, "category")),
        (json!("mvtec"), json!("bolt"))
    );
    assert!(
        found.notes[0].contains("2 categories") && found.notes[0].contains("nut"),
        "{:?}",
        found.notes
    );

    let btad = looked(&[
        "train/ok/0.bmp",
        "test/ok/0.bmp",
        "test/ko/0.bmp",
        "ground_truth/ko/0.png",
    ]);
    assert_eq!(setting(&btad, "type"), json!("btad"));
    let dagm = looked(&[
        "Train/0.png",
        "Train/Label/1_label.png",
        "Train/1.png",
        "Test/0.png",
        "Test/1.png",
        "Test/Label/1_label.png",
    ]);
    assert_eq!(setting(&dagm, "type"), json!("dagm"));
    let other = looked(&["train/1.png", "test/1.png"]);
    assert_eq!(setting(&other, "type"), json!("folder"));
    assert!(other.notes[0].contains("Left out"), "{:?}", other.notes);
}

#[test]
fn folders_are_told_by_their_names() {
    let found = looked(&["good/0.png", "good/1.png", "bad/0.png", "masks/0.png"]);
    assert_eq!(setting(&found, "type"), json!("folder"));
    assert_eq!(setting(&found, "normal"), json!(["good"]));
    assert_eq!(setting(&found, "abnormal"), json!(["bad"]));
    assert_eq!(setting(&found, "masks"), json!(["masks"]));
    assert_eq!(found.train.len(), 2);
    assert!(found.test[0].mask.is_some());
    assert!(
        found
            .notes
            .iter()
            .any(|note| note.contains("no normal images to measure with"))
    );

    let kinds = looked(&[
        "Good/a/0.png",
        "Good/b/1.png",
        "scratch/0.png",
        "dent/0.png",
        "test/good/5.png",
    ]);
    assert_eq!(setting(&kinds, "normal"), json!(["Good"]));
    assert_eq!(setting(&kinds, "abnormal"), json!(["dent", "scratch"]));
    assert_eq!(setting(&kinds, "test_normal"), json!(["test"]));
    assert!(
        kinds.notes[0].contains("dent and scratch") || kinds.notes[0].contains("dent, scratch"),
        "{:?}",
        kinds.notes
    );
}

#[test]
fn images_without_any_word_on_them_are_taken_for_normal() {
    let flat = looked(&["0.png", "1.png"]);
    assert_eq!(setting(&flat, "normal"), json!(["."]));
    assert_eq!((flat.train.len(), flat.test.len()), (2, 0));
    assert!(flat.notes[0].contains("without defects"), "{:?}", flat.notes);
    let nested = looked(&["monday/0.png", "tuesday/1.png"]);
    assert_eq!(setting(&nested, "normal"), json!(["."]));
    let beside = looked(&["0.png", "bad/1.png"]);
    assert_eq!(
        (setting(&beside, "normal"), setting(&beside, "abnormal")),
        (json!(["*"]), json!(["bad"]))
    );
    assert_eq!((beside.train.len(), beside.test.len()), (1, 1));
}

#[test]
fn a_table_is_a_manifest() {
    let folder = tempfile::tempdir().unwrap();
    draw(folder.path(), &["0.png"]);
    let table = folder.path().join("images.csv");
    fs::write(&table, "path,split\n0.png,train\n").unwrap();
    assert_eq!(setting(&look(&table).unwrap(), "type"), json!("manifest"));
    let other = folder.path().join("0.png");
    assert!(
        look(&other)
            .unwrap_err()
            .to_string()
            .contains("expected a folder of images")
    );
}

#[test]
fn folders_that_say_nothing_or_too_much_are_refused_with_what_was_found() {
    for (files, expected) in [
        (
            &["bad/0.png", "defects/1.png"][..],
            "expected a folder called good, ok or normal, found images in bad",
        ),
        (&["good/bad/0.png"], "in both `good` and `bad`"),
        (
            &["train/good/0.png", "train/ok/0.png", "test/good/0.png"],
            "found good (as MVTec AD has it) and ok",
        ),
        (
            &["images/0.png", "masks/0.png"],
            "found masks, but no folder of defective images",
        ),
        (&["0.png", "0_mask.png"], "is named as the mask of"),
    ] {
        let message = refused(files);
        assert!(message.contains(expected), "{files:?}: {message}");
    }
}

#[test]
fn missing_empty_and_broken_folders_are_refused_with_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let empty = look(folder.path()).unwrap_err().to_string();
    assert!(
        empty.contains("there is no image: expected png, jpeg") && empty.contains("found nothing"),
        "{empty}"
    );
    fs::write(folder.path().join("readme.txt"), "text").unwrap();
    let text = look(folder.path()).unwrap_err().to_string();
    assert!(text.contains("there is no image"), "{text}");
    fs::create_dir(folder.path().join("good")).unwrap();
    for name in ["0.png", "1.png"] {
        fs::write(folder.path().join("good").join(name), "no image").unwrap();
    }
    let broken = look(folder.path()).unwrap_err().to_string();
    assert!(
        broken.contains("found none among the 2") && broken.contains("0.png"),
        "{broken}"
    );
    draw(folder.path(), &["good/2.png"]);
    let some = look(folder.path()).unwrap();
    assert!(
        some.notes.iter().any(|note| note.contains("2 of the 3 images")),
        "{:?}",
        some.notes
    );
    let missing = look(&folder.path().join("nowhere")).unwrap_err().to_string();
    assert!(missing.contains("nowhere"), "{missing}");
}
