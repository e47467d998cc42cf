//! Published layouts, tables, and several data sets as one.

mod tree;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use daf_core::image::{GrayImage, ImageBuffer, Luma};
use daf_core::{Dataset, Item, Split};
use daf_data::{Btad, Dagm, Demo, Folder, Joined, Kolektor, Manifest, Mpdd, Multi, Mvtec, Visa};
use tempfile::TempDir;
use tree::{colored, folder_with, listed, put, refusal, save, spot, text};

fn mvtec(root: &Path, category: &str) -> Mvtec {
    Mvtec {
        root: root.into(),
        category: Some(category.into()),
        ..Default::default()
    }
}

#[test]
fn a_pattern_takes_several_categories_and_names_them() {
    let folder = folder_with(&[
        "bottle/train/good/0.png",
        "bottle/test/good/1.png",
        "bottle/test/dent/0.png",
        "bottle/ground_truth/dent/0_mask.png",
        "cable/train/good/0.png",
        "cable/test/good/1.png",
        "license/text.txt",
        "readme.txt",
    ]);
    let root = folder.path();
    let all = mvtec(root, "*");
    let train = [
        "[bottle] bottle/train/good/0.png good -",
        "[cable] cable/train/good/0.png good -",
    ];
    assert_eq!(listed(root, &all, Split::Train), train);
    assert_eq!(
        listed(root, &all, Split::Test),
        [
            "[bottle] bottle/test/dent/0.png dent bottle/ground_truth/dent/0_mask.png",
            "[bottle] bottle/test/good/1.png good -",
            "[cable] cable/test/good/1.png good -",
        ]
    );
    assert_eq!(listed(root, &mvtec(root, "c*"), Split::Train), train[1..]);
    let refused = refusal(&mvtec(root, "x*"), Split::Train);
    assert!(
        refused.contains("`x*`") && refused.contains("bottle, cable"),
        "{refused}"
    );
    assert!(mvtec(root, "a***b").check().is_err());
    // One broken category does not hide the others from a survey.
    fs::remove_file(root.join("bottle/train/good/0.png")).unwrap();
    assert!(refusal(&all, Split::Train).contains("bottle/train/good"));
    assert_eq!(all.survey(Split::Train).items.len(), 1);
}

#[test]
fn mvtec_2_is_measured_on_its_public_test_images() {
    let folder = folder_with(&[
        "can/train/good/0.png",
        "can/validation/good/1.png",
        "can/test_private/2.png",
        "can/test_public/good/3.png",
        "can/test_public/bad/4.png",
        "can/test_public/ground_truth/bad/4_mask.png",
    ]);
    let root = folder.path();
    let can = mvtec(root, "can");
    assert_eq!(listed(root, &can, Split::Train), ["can/train/good/0.png good -"]);
    assert_eq!(
        listed(root, &can, Split::Test),
        [
            "can/test_public/bad/4.png bad can/test_public/ground_truth/bad/4_mask.png",
            "can/test_public/good/3.png good -",
        ]
    );
}

#[test]
fn the_masks_of_mvtec_loco_are_the_union_of_a_folder() {
    let folder = folder_with(&["test/dent/000.png"]);
    let root = folder.path();
    let mut left = GrayImage::new(4, 1);
    left.put_pixel(0, 0, Luma([3]));
    save(root, "ground_truth/dent/000/000.png", left.clone());
    let mut right = GrayImage::new(4, 1);
    right.put_pixel(3, 0, Luma([255]));
    save(root, "ground_truth/dent/000/001.png", right);
    let data = Mvtec {
        root: root.into(),
        category: None,
        ..Default::default()
    };
    assert_eq!(
        listed(root, &data, Split::Test),
        ["test/dent/000.png dent ground_truth/dent/000"]
    );
    let item = data.items(Split::Test).unwrap().remove(0);
    assert_eq!(data.mask(&item).unwrap().unwrap().into_raw(), [255, 0, 0, 255]);
    save(root, "ground_truth/dent/000/002.png", GrayImage::new(5, 1));
    let refused = data.mask(&item).unwrap_err().to_string();
    assert!(
        refused.contains("002.png") && refused.contains("4×1"),
        "{refused}"
    );
    fs::remove_dir_all(root.join("ground_truth/dent/000")).unwrap();
    fs::create_dir(root.join("ground_truth/dent/000")).unwrap();
    assert!(data.mask(&item).unwrap_err().to_string().contains("no masks"));
}

#[test]
fn mpdd_and_btad_differ_from_mvtec_in_names_only() {
    let folder = folder_with(&[
        "tubes/train/good/0.png",
        "tubes/test/good/1.png",
        "tubes/test/anomalous/2.png",
        "tubes/ground_truth/anomalous/2_mask.png",
        "01/train/ok/0.BMP",
        "01/test/ok/1.bmp",
        "01/test/ko/2.bmp",
        "01/test/ko/3.bmp",
        "01/ground_truth/ko/2.PNG",
        "01/ground_truth/ok/1.png",
    ]);
    let root = folder.path();
    let tubes = Mpdd {
        root: root.into(),
        category: Some("tubes".into()),
        ..Default::default()
    };
    assert_eq!(
        listed(root, &tubes, Split::Train),
        ["tubes/train/good/0.png good -"]
    );
    assert_eq!(
        listed(root, &tubes, Split::Test),
        [
            "tubes/test/anomalous/2.png anomalous tubes/ground_truth/anomalous/2_mask.png",
            "tubes/test/good/1.png good -",
        ]
    );
    let mut product = Btad {
        root: root.into(),
        category: Some("01".into()),
        ..Default::default()
    };
    assert_eq!(listed(root, &product, Split::Train), ["01/train/ok/0.BMP good -"]);
    assert_eq!(
        listed(root, &product, Split::Test),
        [
            "01/test/ko/2.bmp ko 01/ground_truth/ko/2.PNG",
            "01/test/ko/3.bmp ko -",
            "01/test/ok/1.bmp good -",
        ]
    );
    product.category = Some("tubes".into());
    let refused = refusal(&product, Split::Train);
    assert!(
        refused.contains("train/ok: no such folder") && refused.contains("(good)"),
        "{refused}"
    );
}

#[test]
fn dagm_learns_from_images_without_a_label_and_takes_labels_for_masks_only_if_asked() {
    let folder = folder_with(&[
        "Class1/Train/0001.PNG",
        "Class1/Train/0002.PNG",
        "Class1/Train/Thumbs.db",
        "Class1/Train/Label/0002_label.PNG",
        "Class1/Train/Label/Labels.txt",
        "Class1/Test/0001.PNG",
        "Class1/Test/0003.PNG",
        "Class1/Test/Label/0003_label.PNG",
    ]);
    let root = folder.path();
    let mut class = Dagm {
        root: root.into(),
        ..Default::default()
    };
    assert_eq!(
        listed(root, &class, Split::Train),
        ["Class1/Train/0001.PNG good -"]
    );
    assert_eq!(
        listed(root, &class, Split::Test),
        ["Class1/Test/0001.PNG good -", "Class1/Test/0003.PNG defect -"]
    );
    class.weak_masks = true;
    class.category = Some("Class*".into());
    let label = "Class1/Test/Label/0003_label.PNG";
    assert_eq!(
        listed(root, &class, Split::Test)[1],
        format!("[Class1] Class1/Test/0003.PNG defect {label}")
    );
    // The format is told from the content.
    save(root, "mask.png", spot(5, 5, 1));
    fs::rename(root.join("mask.png"), root.join(label)).unwrap();
    let item = class.items(Split::Test).unwrap().remove(1);
    assert_eq!(class.mask(&item).unwrap().unwrap(), spot(5, 5, 255));

    put(root, &["Class1/Train/Label/0009_label.PNG"]);
    let refused = refusal(&class, Split::Train);
    assert!(
        refused.contains("0009_label.PNG") && refused.contains("an image 0009.*"),
        "{refused}"
    );
    // Without labels every image would pass for normal.
    fs::remove_dir_all(root.join("Class1/Train/Label")).unwrap();
    let refused = refusal(&class, Split::Train);
    assert!(refused.contains("Train/Label: no such folder"), "{refused}");
    class.category = Some("Clas1".into());
    assert!(refusal(&class, Split::Train).contains("did you mean"));
}

fn visa(root: &Path, category: &str) -> Visa {
    Visa {
        root: root.into(),
        category: category.into(),
    }
}

#[test]
fn visa_follows_the_official_split() {
    let folder = folder_with(&[
        "candle/Data/Images/Normal/0000.JPG",
        "candle/Data/Images/Normal/0001.JPG",
        "candle/Data/Images/Anomaly/000.JPG",
        "pcb1/Data/Images/Normal/0000.JPG",
    ]);
    let root = folder.path();
    save(root, "candle/Data/Masks/Anomaly/000.png", spot(4, 4, 2));
    let table = "object,split,label,image,mask\n\
        candle,train,normal,candle/Data/Images/Normal/0000.JPG,\n\
        candle,test,normal,candle/Data/Images/Normal/0001.JPG,\n\
        candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png\n\
        pcb1,train,normal,pcb1/Data/Images/Normal/0000.JPG,\n\
        fryum,train,normal,fryum/Data/Images/Normal/0000.JPG,\n";
    text(root, "split_csv/1cls.csv", table);
    let candle = visa(root, "candle");
    assert_eq!(
        listed(root, &candle, Split::Train),
        ["candle/Data/Images/Normal/0000.JPG good -"]
    );
    assert_eq!(
        listed(root, &candle, Split::Test),
        [
            "candle/Data/Images/Normal/0001.JPG good -",
            "candle/Data/Images/Anomaly/000.JPG abnormal candle/Data/Masks/Anomaly/000.png",
        ]
    );
    let item = candle.items(Split::Test).unwrap().remove(1);
    assert_eq!(candle.mask(&item).unwrap().unwrap(), spot(4, 4, 255));
    assert_eq!(
        listed(root, &visa(root, "[cp]*"), Split::Train),
        [
            "[candle] candle/Data/Images/Normal/0000.JPG good -",
            "[pcb1] pcb1/Data/Images/Normal/0000.JPG good -",
        ]
    );
    // The kinds of defects are told beside it; a table without them changes nothing.
    let annotated = |header: &str| {
        let lines = "candle/Data/Images/Normal/0001.JPG,normal,\n\
            candle/Data/Images/Anomaly/000.JPG,\"melt , chunk of wax,melt\",candle/Data/Masks/Anomaly/000.png\n";
        text(root, "candle/image_anno.csv", &format!("{header}\n{lines}"));
        let items = candle.items(Split::Test).unwrap();
        items[1].kinds().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(annotated("image,label,mask"), ["chunk of wax", "melt"]);
    assert_eq!(annotated("image,kind,mask"), ["abnormal"]);
    text(root, "candle/image_anno.csv", "image,label,mask\na,b\n");
    let refused = refusal(&candle, Split::Test);
    assert!(
        refused.contains("image_anno.csv: line 2: expected comma-separated values"),
        "{refused}"
    );
    // Named in the table, not there.
    let refused = refusal(&visa(root, "fryum"), Split::Train);
    assert!(
        refused.contains("1cls.csv: line 6, column `image`: no such file"),
        "{refused}"
    );
    let refused = refusal(&visa(root, "candel"), Split::Test);
    assert!(refused.contains("did you mean `candle`?"), "{refused}");
    fs::remove_dir_all(root.join("split_csv")).unwrap();
    let refused = refusal(&candle, Split::Train);
    assert!(
        refused.contains("split_csv: no such folder") && refused.contains("(candle, pcb1)"),
        "{refused}"
    );
    assert!(visa(root, "").check().is_err());
}

#[test]
fn kolektor_tells_normal_images_by_their_black_masks() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    for number in 1..=4 {
        for part in ["Part0", "Part1"] {
            save(root, &format!("kos0{number}/{part}.jpg"), colored(6, 9, number));
            let value = u8::from(part == "Part1" && number < 4);
            save(root, &format!("kos0{number}/{part}_label.bmp"), spot(6, 9, value));
        }
    }
    let mut data = Kolektor {
        root: root.into(),
        test_every: 2,
    };
    assert_eq!(
        listed(root, &data, Split::Train),
        ["kos01/Part0.jpg good -", "kos03/Part0.jpg good -"]
    );
    assert_eq!(
        listed(root, &data, Split::Test),
        [
            "kos01/Part1.jpg defect kos01/Part1_label.bmp",
            "kos02/Part0.jpg good -",
            "kos02/Part1.jpg defect kos02/Part1_label.bmp",
            "kos03/Part1.jpg defect kos03/Part1_label.bmp",
            "kos04/Part0.jpg good -",
            "kos04/Part1.jpg good -",
        ]
    );
    let item = data.items(Split::Test).unwrap().remove(0);
    assert_eq!(data.mask(&item).unwrap().unwrap(), spot(6, 9, 255));
    fs::remove_file(root.join("kos02/Part0_label.bmp")).unwrap();
    fs::remove_file(root.join("kos02/Part1.jpg")).unwrap();
    let refused = refusal(&data, Split::Train);
    assert!(
        refused.contains("Part1_label.bmp: a mask without its image"),
        "{refused}"
    );
    assert!(refused.contains("and 1 more"), "{refused}");
    let survey = data.survey(Split::Train);
    assert!(
        survey.faults[1].to_string().contains("expected Part0_label.*"),
        "{:?}",
        survey.faults
    );
    assert_eq!(survey.items.len(), 2);
    data.test_every = 1;
    assert!(data.check().unwrap_err().to_string().contains("found 1"));
    data.root = root.join("kos01");
    assert!(refusal(&data, Split::Train).contains("expected kosNN/PartN.jpg"));
}

#[test]
fn kolektor_2_has_a_split_of_its_own() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    for (file, value) in [
        ("train/10000", 0),
        ("train/10001", 255),
        ("test/20000", 0),
        ("test/20001", 255),
    ] {
        save(root, &format!("{file}.png"), colored(6, 9, value));
        save(root, &format!("{file}_GT.png"), spot(6, 9, value));
    }
    let data = Kolektor {
        root: root.into(),
        ..Default::default()
    };
    assert_eq!(listed(root, &data, Split::Train), ["train/10000.png good -"]);
    assert_eq!(
        listed(root, &data, Split::Test),
        ["test/20000.png good -", "test/20001.png defect test/20001_GT.png"]
    );
    fs::remove_dir_all(root.join("test")).unwrap();
    assert!(refusal(&data, Split::Test).contains("test: no such folder"));
}

/// A table beside four images and a mask.
fn manifest(table: &[u8]) -> (TempDir, Manifest) {
    let folder = folder_with(&["a.png", "b.PNG", "c d.jpg", "sub/e.tif", "masks/e.png"]);
    let file = folder.path().join("list.csv");
    fs::write(&file, table).unwrap();
    (folder, Manifest { file })
}

#[test]
fn a_table_lists_images_by_their_columns_in_any_order() {
    let (folder, data) = manifest(
        b"\xEF\xBB\xBFsplit, path ,camera,mask,defect\r\n\
          train,a.png,left,,\r\n\
          \r\n\
          test,b.PNG,\"left, upper\",,\r\n\
          test, c d.jpg ,left,,dent\r\n\
          test,sub/e.tif,left,masks/e.png,\r\n",
    );
    let root = folder.path();
    assert_eq!(listed(root, &data, Split::Train), ["a.png good -"]);
    assert_eq!(
        listed(root, &data, Split::Test),
        ["b.PNG good -", "c d.jpg dent -", "sub/e.tif abnormal masks/e.png"]
    );
    let absolute = format!(
        "path,split,category\n{},train,lid\n",
        root.join("a.png").display()
    );
    let (_elsewhere, data) = manifest(absolute.as_bytes());
    assert_eq!(listed(root, &data, Split::Train), ["[lid] a.png good -"]);
}

#[test]
fn faults_of_a_table_name_line_and_column() {
    let head = "path,split,label,defect,mask\na.png,train,normal,,\n";
    for (line, column, reason) in [
        (
            "b.PNG,val,normal,,",
            "split",
            "expected train or test, found `val`",
        ),
        ("b.PNG,,normal,,", "split", "found nothing"),
        (",test,normal,,", "path", "found nothing"),
        ("b.PNG,test,dent,,", "label", "found `dent`"),
        ("b.PNG,test,normal,dent,", "defect", "found `dent`"),
        ("b.PNG,test,good,,masks/e.png", "mask", "normal image"),
        ("b.PNG,train,abnormal,dent,", "split", "only normal images"),
        ("x.png,train,normal,,", "path", "no such file"),
        ("sub/x/y.png,train,normal,,", "path", "sub/x is no folder either"),
        ("a.png,test,normal,,", "path", "is in line 2 too"),
    ] {
        let (_folder, data) = manifest(format!("{head}{line}\nc d.jpg,train,normal,,\n").as_bytes());
        let refused = refusal(&data, Split::Train);
        let place = format!("list.csv: line 3, column `{column}`: ");
        assert!(
            refused.contains(&place) && refused.contains(reason),
            "{line}: {refused}"
        );
        assert_eq!(data.survey(Split::Train).items.len(), 2, "{line}");
    }
    let (_folder, data) = manifest(format!("{head}b.PNG,test,abnormal,dent,masks/x.png\n").as_bytes());
    assert!(refusal(&data, Split::Test).contains("line 3, column `mask`: no such file"));
    let (_folder, data) = manifest(format!("{head}b.PNG,test,normal\n").as_bytes());
    assert!(refusal(&data, Split::Train).contains("list.csv: line 3: expected 5 fields, found 3"));
    let absent = Manifest {
        file: data.file.with_file_name("lost.csv"),
    };
    let refused = refusal(&absent, Split::Train);
    assert!(
        refused.contains("lost.csv: no such file") && refused.contains("/list.csv?"),
        "{refused}"
    );
    let (_folder, data) = manifest(&[head.as_bytes(), b"\xff.png,train,normal,,\n"].concat());
    let refused = refusal(&data, Split::Train);
    assert!(
        refused.contains("line 3") && refused.contains("UTF-8"),
        "{refused}"
    );
}

#[test]
fn faults_of_a_tables_header_name_the_column() {
    for (table, reason) in [
        ("", "column `path` is missing"),
        ("path;split\na.png;train\n", "separate columns by commas"),
        ("path,label\na.png,normal\n", "column `split` is missing"),
        ("path,split,msak\na.png,train,\n", "did you mean `mask`?"),
        ("path,split,path\na.png,train,\n", "found twice"),
        ("path,split\na.png,test\n", "no normal images"),
    ] {
        let (_folder, data) = manifest(table.as_bytes());
        let refused = refusal(&data, Split::Train);
        assert!(
            refused.contains("list.csv") && refused.contains(reason),
            "{table}: {refused}"
        );
    }
    let (_folder, data) = manifest(b"path,split\na.png,train\n");
    assert_eq!(data.items(Split::Test).unwrap(), []);
}

#[test]
fn several_data_sets_are_one_and_each_opens_its_own_images() {
    let folder = folder_with(&[
        "bottle/train/good/0.png",
        "bottle/test/dent/0.png",
        "cable/train/good/0.png",
        "cable/test/dent/0.png",
    ]);
    let root = folder.path();
    let demo = Demo {
        train: 2,
        test_good: 1,
        test: 1,
        size: 32,
        ..Default::default()
    };
    let mut data = Multi {
        of: [
            ("drawn".into(), Arc::new(demo.clone()) as Arc<dyn Dataset>),
            ("kept".into(), Arc::new(mvtec(root, "*"))),
            ("only".into(), Arc::new(mvtec(root, "cable"))),
        ]
        .into(),
    };
    data.check().unwrap();
    let told = listed(root, &data, Split::Train);
    assert_eq!(told.len(), 5);
    assert!(
        told[..2].iter().all(|line| line.starts_with("[drawn] ")),
        "{told:?}"
    );
    assert_eq!(
        told[2..],
        [
            "[kept/bottle] bottle/train/good/0.png good -",
            "[kept/cable] cable/train/good/0.png good -",
            "[only] cable/train/good/0.png good -",
        ]
    );
    let drawn = demo.items(Split::Test).unwrap();
    let test = data.items(Split::Test).unwrap();
    for (item, alone) in test.iter().zip(&drawn) {
        assert_eq!(data.image(item).unwrap(), demo.image(alone).unwrap());
        assert_eq!(data.mask(item).unwrap(), demo.mask(alone).unwrap());
    }
    save(root, "cable/test/dent/0.png", colored(7, 5, 3));
    let inner = test
        .iter()
        .find(|item| item.category.as_deref() == Some("kept/cable"))
        .unwrap();
    assert_eq!(data.image(inner).unwrap().into_rgb8(), colored(7, 5, 3));
    let stray = Item {
        category: Some("lost".into()),
        ..inner.clone()
    };
    let refused = data.image(&stray).unwrap_err().to_string();
    assert!(
        refused.contains("drawn, kept, only") && refused.contains("`lost`"),
        "{refused}"
    );

    data.of.insert("lost".into(), Arc::new(mvtec(root, "botle")));
    let refused = refusal(&data, Split::Train);
    assert!(
        refused.starts_with("of.lost: ") && refused.contains("botle"),
        "{refused}"
    );
    assert_eq!(data.survey(Split::Train).items.len(), 5);
    data.of.insert("lost".into(), Arc::new(mvtec(Path::new(""), "x")));
    assert!(data.check().unwrap_err().to_string().starts_with("of.lost: root"));
    data.of = [("a/b".into(), Arc::new(demo) as Arc<dyn Dataset>)].into();
    assert!(data.check().unwrap_err().to_string().contains("`a/b`"));
    data.of.clear();
    assert!(data.check().is_err());
}

#[test]
fn joined_data_sets_are_those_of_one_product_and_a_file_counts_once() {
    let folder = folder_with(&[
        "bottle/train/good/0.png",
        "bottle/test/dent/0.png",
        "bottle/ground_truth/dent/0_mask.png",
        "more/1.png",
        "more/2.png",
        "more/copy.png",
    ]);
    let root = folder.path();
    let normal = |patterns: &[&str]| -> Arc<dyn Dataset> {
        Arc::new(Folder {
            root: root.into(),
            normal: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
            test_normal: Vec::new(),
            abnormal: Vec::new(),
            masks: Vec::new(),
            ..Folder::default()
        })
    };
    let demo = Demo {
        train: 2,
        test_good: 0,
        test: 1,
        size: 32,
        ..Default::default()
    };
    let bottle: Arc<dyn Dataset> = Arc::new(Mvtec {
        category: None,
        root: root.join("bottle"),
        ..Default::default()
    });
    let joined = Joined::and(&bottle, normal(&["more", "bottle/train/good/0.png"])).unwrap();
    let mut joined = Joined::and(&(Arc::new(joined) as Arc<dyn Dataset>), Arc::new(demo.clone())).unwrap();
    assert_eq!(joined.of.len(), 3, "it is longer, not deeper");
    joined.except.insert(root.join("more/../more/copy.png"));
    joined.check().unwrap();
    let train = joined.items(Split::Train).unwrap();
    assert_eq!(train.len(), 5);
    let files = ["bottle/train/good/0.png", "more/1.png", "more/2.png"].map(|name| root.join(name));
    assert!(
        train.iter().map(|item| &item.image).take(3).eq(&files),
        "{train:?}"
    );
    assert!(train.iter().all(|item| item.category.is_none()));
    for (item, alone) in train[3..].iter().zip(demo.items(Split::Train).unwrap()) {
        assert_eq!(joined.image(item).unwrap(), demo.image(&alone).unwrap());
    }
    save(root, "more/2.png", colored(7, 5, 3));
    assert_eq!(joined.image(&train[2]).unwrap().into_rgb8(), colored(7, 5, 3));
    let written = serde_json::to_value(&joined as &dyn Dataset).unwrap();
    assert_eq!(written["except"].as_array().unwrap().len(), 1);
    let again: Box<dyn Dataset> = serde_json::from_value(written).unwrap();
    assert_eq!(again.items(Split::Train).unwrap(), train);
    let test = joined.items(Split::Test).unwrap();
    assert!(test[0].mask.is_some() && test.len() > 1, "{test:?}");

    let twice = Joined::new(vec![Arc::new(demo.clone()), Arc::new(demo)]);
    let refused = refusal(&twice, Split::Train);
    assert!(refused.contains("of[0] and of[1] both draw"), "{refused}");
    let leak = Joined::and(&bottle, normal(&["bottle/test/dent"])).unwrap();
    let refused = refusal(&leak, Split::Train);
    assert!(
        refused.contains("of[1] learns from it and of[0] measures with it"),
        "{refused}"
    );
    let absent = Joined::and(&bottle, normal(&["absent"])).unwrap();
    assert!(refusal(&absent, Split::Train).starts_with("of[1]: "));
    assert!(Joined::new(Vec::new()).check().is_err());
}

#[test]
fn deep_and_gray_images_come_as_three_channels_whatever_the_case_of_their_extension() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    let deep = ImageBuffer::from_fn(4, 3, |x, _| Luma([x as u16 * 257 * 60]));
    save(root, "train/good/0.TIFF", deep.clone());
    save(root, "train/good/1.PNG", deep);
    save(
        root,
        "train/good/2.BMP",
        GrayImage::from_fn(4, 3, |x, _| Luma([x as u8 * 60])),
    );
    let data = Mvtec {
        root: root.into(),
        category: None,
        ..Default::default()
    };
    let items = data.items(Split::Train).unwrap();
    assert_eq!(items.len(), 3);
    for item in &items {
        let image = data.image(item).unwrap().into_rgb8();
        assert!(
            image
                .enumerate_pixels()
                .all(|(x, _, pixel)| pixel.0 == [x as u8 * 60; 3]),
            "{item:?}"
        );
    }
}

#[test]
fn a_test_row_without_a_label_in_a_table_of_labels_is_a_fault() {
    let head = "path,split,label,defect,mask\na.png,train,normal,,\n";
    let (_folder, data) = manifest(
        format!("{head}b.PNG,test,,,\nc d.jpg,test,abnormal,,\nsub/e.tif,test,,,masks/e.png\n").as_bytes(),
    );
    let refused = refusal(&data, Split::Test);
    assert!(
        refused.contains("list.csv: 1 test row without a label (line 3): write normal or abnormal"),
        "{refused}"
    );
    assert_eq!(data.survey(Split::Test).items.len(), 2);
    assert_eq!(data.items(Split::Train).unwrap().len(), 1);
    // Nothing but kinds of defects, or nothing but masks.
    let (_folder, data) =
        manifest(b"path,split,label,defect\na.png,train,,\nb.PNG,test,,\nc d.jpg,test,,dent\n");
    assert_eq!(data.items(Split::Test).unwrap().len(), 2);
    for kind in ["good", "Normal", "\"dent, all\""] {
        let (_folder, data) = manifest(format!("{head}b.PNG,test,abnormal,{kind},\n").as_bytes());
        let refused = refusal(&data, Split::Test);
        assert!(
            refused.contains("line 3, column `defect`: expected the name of a kind"),
            "{refused}"
        );
    }
}

#[test]
fn dagm_and_kolektor_look_through_folders_within() {
    let folder = folder_with(&[
        "Class1/Train/a/0001.PNG",
        "Class1/Train/a/0002.PNG",
        "Class1/Train/b/0002.PNG",
        "Class1/Train/Label/a/0002_label.PNG",
    ]);
    let root = folder.path();
    let class = Dagm {
        root: root.into(),
        ..Default::default()
    };
    assert_eq!(
        listed(root, &class, Split::Train),
        ["Class1/Train/a/0001.PNG good -", "Class1/Train/b/0002.PNG good -"]
    );
    for place in ["train/x", "train/y", "test/x"] {
        save(root, &format!("{place}/1.png"), colored(6, 9, 0));
        save(root, &format!("{place}/1_GT.png"), spot(6, 9, 0));
    }
    let data = Kolektor {
        root: root.into(),
        ..Default::default()
    };
    assert_eq!(
        listed(root, &data, Split::Train),
        ["train/x/1.png good -", "train/y/1.png good -"]
    );
}
