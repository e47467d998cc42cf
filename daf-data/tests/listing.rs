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
        "train/good/sub/a.txt",
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

/// Where an item comes from, as lines.
fn both(root: &Path, data: &dyn Dataset) -> [Vec<String>; 2] {
    Split::ALL.map(|split| told(root, &data.items(split).unwrap()))
}

#[test]
fn images_in_folders_within_belong_to_the_kind_and_their_masks_are_found() {
    let folder = folder_with(&[
        "train/good/0.png",
        "train/good/cam2/1.png",
        "test/good/cam2/2.jfif",
        "test/dent/0.png",
        "test/dent/cam2/0.png",
        "test/dent/cam2/1.webp",
        "ground_truth/dent/0_mask.png",
        "ground_truth/dent/cam2/0_mask.png",
        "ground_truth/dent/1_GT.png",
    ]);
    let [train, test] = both(folder.path(), &mvtec(folder.path()));
    assert_eq!(train, ["train/good/0.png good -", "train/good/cam2/1.png good -"]);
    assert_eq!(
        test,
        [
            "test/dent/0.png dent ground_truth/dent/0_mask.png",
            "test/dent/cam2/0.png dent ground_truth/dent/cam2/0_mask.png",
            "test/dent/cam2/1.webp dent ground_truth/dent/1_GT.png",
            "test/good/cam2/2.jfif good -",
        ]
    );
    // A folder of masks whose image is gone is not taken for another one's.
    put(folder.path(), &["ground_truth/dent/007/0.png"]);
    let refused = refusal(&mvtec(folder.path()), Split::Test);
    assert!(
        refused.contains("dent/007: a mask without its image"),
        "{refused}"
    );
}

#[test]
fn what_is_left_out_is_counted_once_by_reason() {
    let folder = folder_with(&[
        "good/a.png",
        "good/b.HEIC",
        "good/sub/c.heic",
        "good/notes.txt",
        "good/.d.png",
        "good/Thumbs.db",
        "good/@eaDir/a.png",
        "good/__MACOSX/a.png",
        "bad/e.dat",
        "bad/f.png",
    ]);
    let data = Folder {
        abnormal: patterns(&["bad"]),
        ..good_in(folder.path(), &["good", "good/*"])
    };
    let data: &dyn Dataset = &data;
    assert_eq!(
        data.left_out().to_string(),
        "6 files and 2 folders left out: 2 .heic, 2 hidden, 2 hidden folders, 1 .dat, 1 .txt"
    );
    // What is named in full is read, whatever its ending.
    let named = Folder {
        abnormal: patterns(&["bad", "bad/e.dat"]),
        ..good_in(folder.path(), &["good/a.png"])
    };
    assert_eq!(named.items(Split::Test).unwrap().len(), 2);
    assert!((&named as &dyn Dataset).left_out().is_empty());
}

#[test]
fn images_outside_of_the_folders_of_a_layout_are_counted() {
    let folder = folder_with(&[
        "train/good/0.png",
        "train/1.png",
        "train/dent/2.png",
        "test/good/3.png",
        "test/4.png",
        "test/readme.md",
    ]);
    let data = mvtec(folder.path());
    let data: &dyn Dataset = &data;
    assert_eq!(
        data.left_out().to_string(),
        "4 files left out: 3 images outside the layout's folders, 1 .md"
    );
}

#[test]
fn patterns_follow_the_rules_of_folders() {
    let folder = folder_with(&[
        "new/a.png",
        "new/B.PNG",
        "new/._a.png",
        "new/.AppleDouble/a.png",
        "new/lot/c.Png",
        "new/lot/img[1].png",
        "new/lot/img1.png",
        "new/[x]/d.png",
        "new/x/d.png",
        "new/note.txt",
    ]);
    let root = folder.path();
    for (pattern, expected) in [
        ("new/*.png", &["new/B.PNG", "new/a.png"][..]),
        ("new/*.PNG", &["new/B.PNG", "new/a.png"]),
        ("new/lot/img[1].png", &["new/lot/img[1].png"]),
        ("new/lot/img[12].png", &["new/lot/img1.png"]),
        ("new/[x]/*.png", &["new/[x]/d.png"]),
        ("new/.A*/*.png", &["new/.AppleDouble/a.png"]),
        ("**/d.png", &["new/[x]/d.png", "new/x/d.png"]),
        (
            "new/l*",
            &["new/lot/c.Png", "new/lot/img1.png", "new/lot/img[1].png"],
        ),
        (
            "./new/../new/?.png",
            &["./new/../new/B.PNG", "./new/../new/a.png"],
        ),
    ] {
        for start in ["", &format!("{}/", root.display())] {
            let data = good_in(root, &[&format!("{start}{pattern}")]);
            data.check().unwrap();
            let names: Vec<_> = expected.iter().map(|name| format!("{name} good -")).collect();
            let found = told(root, &data.items(Split::Train).unwrap());
            assert_eq!(
                found
                    .iter()
                    .map(|line| line.trim_start_matches("./"))
                    .collect::<Vec<_>>(),
                names
                    .iter()
                    .map(|line| line.trim_start_matches("./"))
                    .collect::<Vec<_>>(),
                "{pattern}"
            );
        }
    }
    // A folder with an unpaired bracket is no broken pattern.
    put(root, &["lot[/a.png"]);
    let data = good_in(root, &["lot[/*.png"]);
    data.check().unwrap();
    assert_eq!(data.items(Split::Train).unwrap().len(), 1);
}

#[cfg(unix)]
#[test]
fn links_to_folders_are_followed_once_and_circles_end() {
    use std::os::unix::fs::symlink;
    let folder = folder_with(&[
        "data/good/a.png",
        "data/good/sub/b.png",
        "data/bad/x.png",
        "far/c.png",
    ]);
    let root = folder.path();
    let good = root.join("data/good");
    symlink(root.join("far"), good.join("far")).unwrap();
    symlink(root.join("far"), good.join("far2")).unwrap();
    symlink(&good, good.join("sub/circle")).unwrap();
    symlink("..", good.join("up")).unwrap();
    // By way of a folder outside.
    symlink(root.join("data"), root.join("far/back")).unwrap();
    symlink(root.join("far/c.png"), good.join("d.png")).unwrap();
    symlink("nowhere.png", good.join("e.png")).unwrap();
    for pattern in ["good", "good/*", "go*/**", "**/good/**/*.png"] {
        let data = good_in(&root.join("data"), &[pattern]);
        let found = told(&root.join("data"), &data.items(Split::Train).unwrap());
        assert_eq!(
            found,
            [
                "good/a.png good -",
                "good/d.png good -",
                "good/far/c.png good -",
                "good/sub/b.png good -"
            ],
            "{pattern}"
        );
    }
    let data = good_in(&root.join("data"), &["good"]);
    let told = (&data as &dyn Dataset).left_out().to_string();
    assert!(told.contains("1 link that leads nowhere"), "{told}");
    assert!(told.contains("3 links that lead in circles"), "{told}");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_left_out_and_nothing_waits_for_it() {
    let folder = folder_with(&["good/a.png", "train/good/a.png"]);
    for pipe in ["good/p.png", "train/good/p.png"] {
        let made = std::process::Command::new("mkfifo")
            .arg(folder.path().join(pipe))
            .status();
        assert!(made.unwrap().success());
    }
    for pattern in ["good", "good/*.png", "**/good/*"] {
        let data = good_in(folder.path(), &[pattern]);
        assert!(
            !told(folder.path(), &data.items(Split::Train).unwrap())
                .concat()
                .contains("p.png")
        );
        let left_out = (&data as &dyn Dataset).left_out().to_string();
        assert!(left_out.contains("pipe"), "{left_out}");
    }
    assert_eq!(mvtec(folder.path()).items(Split::Train).unwrap().len(), 1);
    let refused = refusal(&good_in(folder.path(), &["good/p.png"]), Split::Train);
    assert!(refused.contains("1 pipe, socket or device"), "{refused}");
}

#[test]
fn names_are_the_same_in_every_form_of_unicode() {
    // As a Mac writes them, and as a table or a pipeline does.
    let (decomposed, composed) = ("u\u{308}", "\u{fc}");
    let folder = folder_with(&[
        &format!("{decomposed}/train/good/{decomposed}.png"),
        &format!("{decomposed}/test/{decomposed}/{composed}.png"),
        &format!("{decomposed}/ground_truth/{composed}/{decomposed}_mask.png"),
    ]);
    let root = folder.path();
    let data = Mvtec {
        root: root.into(),
        category: Some(composed.into()),
        ..Default::default()
    };
    assert_eq!(data.items(Split::Train).unwrap().len(), 1);
    let test = data.items(Split::Test).unwrap();
    assert!(test[0].mask.is_some());
    assert_eq!(test[0].label(), composed);
    for pattern in [
        format!("{composed}/train/good/{composed}.png"),
        format!("{composed}/train/*/{composed}.*"),
        format!("[{composed}]/train/good"),
    ] {
        let found = good_in(root, &[&pattern]).items(Split::Train);
        assert_eq!(found.unwrap().len(), 1, "{pattern}");
    }
    tree::text(
        root,
        "list.csv",
        &format!("path,split\n{composed}/train/good/{composed}.png,train\n"),
    );
    let table = daf_data::Manifest {
        file: root.join("list.csv"),
    };
    assert!(table.items(Split::Train).unwrap()[0].image.is_file());
}

#[cfg(unix)]
#[test]
fn names_that_are_no_utf_8_are_images_as_well() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = folder_with(&["good/a.png"]);
    for name in [&b"x\xff.png"[..], b"x\xfe.png"] {
        for place in ["good", "bad", "masks"] {
            let path = folder.path().join(place).join(OsStr::from_bytes(name));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if std::fs::write(path, "").is_err() {
                eprintln!("skipped: the file system takes UTF-8 only");
                return;
            }
        }
    }
    let data = Folder {
        abnormal: patterns(&["bad/*.png"]),
        masks: patterns(&["masks"]),
        ..good_in(folder.path(), &["good"])
    };
    assert_eq!(data.items(Split::Train).unwrap().len(), 3);
    for item in data.items(Split::Test).unwrap() {
        assert_eq!(item.mask.unwrap().file_name(), item.image.file_name());
    }
}

#[test]
fn a_folder_of_masks_by_another_name_is_read_or_refused() {
    let images = ["train/good/0.png", "test/good/1.png", "test/dent/0.png"];
    for name in [
        "groundtruth",
        "Ground_Truth",
        "ground truth",
        "GT",
        "masks",
        "mask",
        "labels",
        "label",
    ] {
        let folder = folder_with(&images);
        put(folder.path(), &[&format!("{name}/dent/0_mask.png")]);
        let test = told(folder.path(), &mvtec(folder.path()).items(Split::Test).unwrap());
        assert_eq!(test[0], format!("test/dent/0.png dent {name}/dent/0_mask.png"));
    }
    for names in [&["goundtruth"][..], &["ground_thruth"], &["masks", "labels"]] {
        let folder = folder_with(&images);
        for name in names {
            put(folder.path(), &[&format!("{name}/dent/0_mask.png")]);
        }
        let refused = refusal(&mvtec(folder.path()), Split::Test);
        assert!(refused.contains("did you mean ground_truth?"), "{refused}");
        assert!(names.iter().all(|name| refused.contains(name)), "{refused}");
    }
    // Boxes in text files are no masks; what is called right is read whatever else is there.
    let folder = folder_with(&images);
    put(folder.path(), &["labels/dent/0.txt"]);
    assert!(mvtec(folder.path()).items(Split::Test).unwrap()[0].mask.is_none());
    put(folder.path(), &["ground_truth/dent/0.png", "masks/dent/0.png"]);
    assert!(mvtec(folder.path()).items(Split::Test).unwrap()[0].mask.is_some());
    // Masks of no kind.
    put(folder.path(), &["ground_truth/0.png"]);
    let refused = refusal(&mvtec(folder.path()), Split::Test);
    assert!(refused.contains("outside of the folders of masks"), "{refused}");
}

#[test]
fn the_ending_of_masks_can_be_set() {
    let folder = folder_with(&["good/a.png", "bad/0.png", "m/0.truth.png", "m/0_mask.bmp"]);
    let mut data = Folder {
        abnormal: patterns(&["bad"]),
        masks: patterns(&["m/*.bmp"]),
        ..good_in(folder.path(), &["good"])
    };
    assert!(data.items(Split::Test).unwrap()[0].mask.is_some());
    data.masks = patterns(&["m/*.png"]);
    refusal(&data, Split::Test);
    data.mask_suffix = patterns(&[".truth"]);
    assert!(data.items(Split::Test).unwrap()[0].mask.is_some());
    data.mask_suffix = patterns(&[""]);
    assert!(data.check().unwrap_err().to_string().contains("mask_suffix"));
}

#[test]
fn names_of_kinds_mean_what_they_say() {
    let folder = folder_with(&[
        "train/good/0.png",
        "test/ok/1.png",
        "test/dent/2.png",
        "test/crack, small/3.png",
    ]);
    let listing = mvtec(folder.path()).survey(Split::Test);
    assert_eq!(listing.faults.len(), 1);
    assert!(
        listing.faults[0].to_string().contains("test/ok: "),
        "{:?}",
        listing.faults
    );
    let kinds: Vec<_> = listing.items.iter().flat_map(daf_core::Item::kinds).collect();
    assert_eq!(kinds, ["crack; small", "dent"]);
    let data = Folder {
        abnormal: patterns(&["test"]),
        ..good_in(folder.path(), &["train"])
    };
    let listing = data.survey(Split::Test);
    assert!(
        listing.faults[0].to_string().contains("normal images"),
        "{:?}",
        listing.faults
    );
    assert_eq!(listing.items.len(), 2);
}

#[test]
fn a_path_for_a_shell_is_explained() {
    let folder = folder_with(&["good/a.png"]);
    let refused = refusal(&good_in(Path::new("~/data"), &["good"]), Split::Train);
    assert!(refused.contains("~ is expanded by a shell"), "{refused}");
    let refused = refusal(&good_in(folder.path(), &["~/good/*.png"]), Split::Train);
    assert!(refused.contains("~ is expanded by a shell"), "{refused}");
    let refused = refusal(&good_in(folder.path(), &["GOOD"]), Split::Train);
    assert!(refused.contains("/good?"), "{refused}");
}
