//! A look at a folder of images: which data set it is, and how large its images are.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daf_core::data::{Sizes, files};
use daf_core::words::listed;
use daf_core::{Dataset, Error, Item, Result, Split};
use serde_json::{Value, json};

use crate::masks;

/// What a look at a folder found.
#[derive(Debug)]
pub struct Look {
    /// Settings of the data set, as a pipeline writes them below `data`; `type` comes first.
    pub settings: Vec<(&'static str, Value)>,
    /// The data set that they make.
    pub dataset: Arc<dyn Dataset>,
    /// Images to learn from.
    pub train: Vec<Item>,
    /// Images to measure with.
    pub test: Vec<Item>,
    /// Sizes of some of the images to learn from.
    pub sizes: Sizes,
    /// What was decided where the folder leaves a choice, and what does not fit; whole sentences.
    pub notes: Vec<String>,
}

/// Folders of images without defects, in any case.
const NORMAL: [&str; 9] = [
    "good",
    "ok",
    "normal",
    "normals",
    "pass",
    "flawless",
    "defect_free",
    "defect-free",
    "non_defective",
];
/// Folders of images with defects.
const DEFECTIVE: [&str; 17] = [
    "bad",
    "ko",
    "nok",
    "ng",
    "defect",
    "defects",
    "defective",
    "anomaly",
    "anomalies",
    "anomalous",
    "abnormal",
    "fail",
    "failed",
    "faulty",
    "reject",
    "rejects",
    "not_good",
];
const MASKS: [&str; 11] = [
    "mask",
    "masks",
    "ground_truth",
    "groundtruth",
    "gt",
    "label",
    "labels",
    "annotation",
    "annotations",
    "segmentation",
    "segmentations",
];
const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 6] = ["test", "testing", "val", "valid", "validation", "eval"];

/// Looks at a folder of images, or a table of them: finds the data set whose layout it has, lists it, and reads the sizes of at
/// most [`Sizes::LOOKED_AT`] of its images to learn from.
///
/// Published layouts come first (`visa`, `mvtec`, `btad`, `dagm`, `kolektor`), whether the folder is a category or holds some:
/// of several, the first by name is taken. Otherwise folders are told by their names: those called `good`, `ok` and the like hold
/// normal images, `bad`, `defect` and the like defective ones, `masks` and the like masks; others beside a folder of normal
/// images are kinds of defects. Where no name says anything, all images are taken for normal.
///
/// # Errors
/// If there is no such folder, no image to learn from, none whose size can be read, or if the names of folders contradict each
/// other: names the folder, what was expected and what was found.
pub fn look(folder: &Path) -> Result<Look> {
    if folder.to_str().is_none() {
        let reason = "expected a path in UTF-8, as pipeline files are: rename it";
        return Err(Error::data(folder, reason));
    }
    let (settings, mut notes) = recognized(&files::locate(folder))?;
    let map = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()));
    let dataset: Box<dyn Dataset> = serde_json::from_value(Value::Object(map.collect()))
        .map_err(|error| Error::data(folder, error.to_string()))?;
    let [train, test] = Split::ALL.map(|split| dataset.survey(split));
    let fault = |listing: &daf_core::Listing| listing.faults.first().map(ToString::to_string);
    if train.items.is_empty() {
        let reason = fault(&train).unwrap_or_else(|| "there is none".into());
        return Err(Error::data(folder, format!("no image to learn from: {reason}")));
    }
    notes.extend([fault(&train), fault(&test)].into_iter().flatten());
    if let Some((mask, image)) = masks::named_as_masks(&train.items).first() {
        let reason = format!(
            "is named as the mask of {}: expected images without defects to learn from, found masks among them; put the \
             images without defects into a folder `good`, those with defects into `bad` and their masks into `masks`",
            image.display()
        );
        return Err(Error::data(mask, reason));
    }
    let sizes = Sizes::of(dataset.as_ref(), &train.items, Sizes::LOOKED_AT);
    match (sizes.sizes.len(), sizes.unreadable.first()) {
        (0, Some(error)) => {
            let reason = format!(
                "expected images that can be read, found none among the {} that were looked at: {error}",
                sizes.unreadable.len()
            );
            return Err(Error::data(folder, reason));
        }
        (_, Some(error)) => notes.push(format!(
            "{} of the {} images that were looked at cannot be read, the first: {error}.",
            sizes.unreadable.len(),
            sizes.unreadable.len() + sizes.sizes.len()
        )),
        (_, None) => {}
    }
    Ok(Look {
        settings,
        dataset: dataset.into(),
        train: train.items,
        test: test.items,
        sizes,
        notes,
    })
}

/// Settings of a data set, and notes on them.
type Recognized = (Vec<(&'static str, Value)>, Vec<String>);

fn recognized(folder: &Path) -> Result<Recognized> {
    if folder.is_file() {
        let is_table = folder
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        if !is_table {
            let reason = "expected a folder of images or a table of them (.csv), found another file";
            return Err(Error::data(folder, reason));
        }
        return Ok((
            vec![("type", json!("manifest")), ("file", json!(folder))],
            Vec::new(),
        ));
    }
    if !folder.is_dir() {
        return Err(files::missing(folder));
    }
    let inside = files::folders(folder)?;
    if folder.join("split_csv").join("1cls.csv").is_file() {
        let products: Vec<_> = inside
            .iter()
            .filter(|inner| inner.join("Data").is_dir())
            .collect();
        return Ok(first_of("visa", folder, &products));
    }
    if let Some(layout) = layout(folder)? {
        return Ok((vec![("type", json!(layout)), ("root", json!(folder))], Vec::new()));
    }
    let mut found = Vec::new();
    for inner in &inside {
        if let Some(layout) = layout(inner)? {
            found.push((layout, inner));
        }
    }
    if let Some((first, _)) = found.first() {
        let categories: Vec<_> = found
            .iter()
            .filter(|(layout, _)| layout == first)
            .map(|(_, inner)| *inner)
            .collect();
        return Ok(first_of(first, folder, &categories));
    }
    by_name(folder)
}

/// The first of several categories.
fn first_of(layout: &str, folder: &Path, categories: &[&PathBuf]) -> Recognized {
    let names: Vec<String> = categories.iter().map(|category| files::name(category)).collect();
    let mut settings = vec![("type", json!(layout)), ("root", json!(folder))];
    let mut notes = Vec::new();
    if let Some((first, others)) = names.split_first() {
        settings.push(("category", json!(first)));
        if !others.is_empty() {
            let others: Vec<&str> = others.iter().map(String::as_str).collect();
            notes.push(format!(
                "There are {} categories; this is {first}. The others: {}. \"*\" takes all as one.",
                names.len(),
                listed(&others, 12)
            ));
        }
    }
    (settings, notes)
}

/// The published layout that a category's folder has.
fn layout(folder: &Path) -> Result<Option<&'static str>> {
    let has = |parts: &[&str]| {
        parts
            .iter()
            .fold(folder.to_path_buf(), |path, part| path.join(part))
            .is_dir()
    };
    let test = has(&["test"]) || has(&["test_public"]);
    match (has(&["train", "good"]), has(&["train", "ok"])) {
        (true, true) => {
            let reason = "expected one folder of normal images, found good (as MVTec AD has it) and ok (as BTAD has it): put all \
                          normal images into one of them";
            return Err(Error::data(folder.join("train"), reason));
        }
        (true, false) if test => return Ok(Some("mvtec")),
        (false, true) if test => return Ok(Some("btad")),
        _ => {}
    }
    if has(&["Train", "Label"]) && has(&["Test", "Label"]) {
        return Ok(Some("dagm"));
    }
    let commutator = |inner: &PathBuf| {
        let name = files::name(inner);
        name.strip_prefix("kos")
            .is_some_and(|number| number.parse::<u32>().is_ok())
    };
    if files::folders(folder)?.iter().any(commutator) {
        return Ok(Some("kolektor"));
    }
    let train = folder.join("train");
    if test && train.is_dir() {
        let truth = |image: &PathBuf| {
            image
                .file_stem()
                .is_some_and(|stem| stem.to_string_lossy().ends_with("_GT"))
        };
        if files::directly_in(&train)?.images.iter().any(truth) {
            return Ok(Some("kolektor"));
        }
    }
    Ok(None)
}

/// Use of the images of a folder, by the names of the folders that lead to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Normal,
    TestNormal,
    Defective,
    Masks,
    /// Directly among the images to measure with: nothing says whether they are normal.
    Unknown,
    /// No name says anything.
    Plain,
}

impl Role {
    fn of(folder: &Path, place: &Path) -> Result<Self> {
        let names: Vec<String> = place
            .iter()
            .map(|part| part.to_string_lossy().to_lowercase())
            .collect();
        let any = |words: &[&str]| names.iter().find(|name| words.contains(&name.as_str()));
        if any(&MASKS).is_some() {
            return Ok(Self::Masks);
        }
        let test = any(&TEST).is_some();
        Ok(match (any(&NORMAL), any(&DEFECTIVE)) {
            (Some(normal), Some(defective)) => {
                let reason = format!(
                    "expected images with or without defects, found a folder that lies in both `{normal}` and `{defective}`: \
                     move it out of one of them"
                );
                return Err(Error::data(folder.join(place), reason));
            }
            (Some(_), None) if test => Self::TestNormal,
            (Some(_), None) => Self::Normal,
            (None, Some(_)) => Self::Defective,
            (None, None) if test => match names.last() {
                Some(last) if TEST.contains(&last.as_str()) => Self::Unknown,
                _ => Self::Defective,
            },
            (None, None) if any(&TRAIN).is_some() => Self::Normal,
            (None, None) => Self::Plain,
        })
    }
}

/// The data set `folder` whose patterns are told by the names of folders.
fn by_name(folder: &Path) -> Result<Recognized> {
    let found = files::images(folder)?;
    if found.images.is_empty() {
        let reason = format!(
            "there is no image: expected {}, found {}",
            files::FORMATS,
            found.left_out.beside(folder)
        );
        return Err(Error::data(folder, reason));
    }
    let mut roles: BTreeMap<PathBuf, Role> = BTreeMap::new();
    for image in &found.images {
        let place = image.parent().and_then(|parent| parent.strip_prefix(folder).ok());
        let place = place.unwrap_or(Path::new("")).to_path_buf();
        if let Entry::Vacant(entry) = roles.entry(place) {
            let role = Role::of(folder, entry.key())?;
            entry.insert(role);
        }
    }
    let has = |roles: &BTreeMap<PathBuf, Role>, role| roles.values().any(|own| *own == role);
    let mut notes = Vec::new();
    if has(&roles, Role::Plain) {
        // Beside normal images, other folders are kinds of defects; otherwise they are what there is to learn from.
        let normal = has(&roles, Role::Normal);
        let names: Vec<String> = (roles.iter())
            .filter(|(_, role)| **role == Role::Plain)
            .map(|(place, _)| pattern(place))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let names = listed(&names, 8);
        for (place, role) in &mut roles {
            if *role == Role::Plain {
                *role = match (normal, place.as_os_str().is_empty()) {
                    (true, true) => Role::Unknown,
                    (true, false) => Role::Defective,
                    (false, _) => Role::Normal,
                };
            }
        }
        notes.push(match normal {
            true => format!("Taken for kinds of defects, since they lie beside normal images: {names}."),
            false => format!("Taken for images without defects, since no name says otherwise: {names}."),
        });
    }
    if let Some((place, _)) = roles.iter().find(|(_, role)| **role == Role::Unknown) {
        notes.push(format!(
            "Left out: images directly in {}, of which no folder says whether they have defects.",
            folder.join(place).display()
        ));
    }
    if !has(&roles, Role::Normal) {
        let names: Vec<String> = roles.keys().map(|place| pattern(place)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let reason = format!(
            "no normal images to learn from: expected a folder called good, ok or normal, found images in {}; rename the folder \
             that holds images without defects",
            listed(&names, 8)
        );
        return Err(Error::data(folder, reason));
    }
    if has(&roles, Role::Masks) && !has(&roles, Role::Defective) {
        let reason = "found masks, but no folder of defective images: expected images without defects in a folder `good` and \
                      those with defects in `bad`";
        return Err(Error::data(folder, reason));
    }
    if has(&roles, Role::Defective) && !has(&roles, Role::TestNormal) {
        notes.push(
            "There are no normal images to measure with, so false alarms will not be measured: move some into test/good and \
             add `test_normal: [test/good]`."
                .into(),
        );
    }
    let mut settings = vec![("type", json!("folder")), ("root", json!(folder))];
    for (key, role) in [
        ("normal", Role::Normal),
        ("test_normal", Role::TestNormal),
        ("abnormal", Role::Defective),
        ("masks", Role::Masks),
    ] {
        let patterns = patterns(&roles, role);
        if !patterns.is_empty() {
            settings.push((key, json!(patterns)));
        }
    }
    Ok((settings, notes))
}

/// The fewest folders that hold all images of a role and none of another.
fn patterns(roles: &BTreeMap<PathBuf, Role>, role: Role) -> Vec<String> {
    let mut patterns: Vec<String> = Vec::new();
    let pure = |start: &Path| {
        let mut within = roles.iter().filter(|(place, _)| place.starts_with(start));
        within.all(|(_, own)| *own == role)
    };
    let places = roles.iter().filter(|(_, own)| **own == role);
    for place in places.map(|(place, _)| place.as_path()) {
        let mut above: Vec<&Path> = place.ancestors().collect();
        above.reverse();
        let named = match above.into_iter().find(|start| pure(start)) {
            Some(widest) => pattern(widest),
            // Its own images only: folders within have other uses.
            None => pattern(&place.join("*")),
        };
        if !patterns.contains(&named) {
            patterns.push(named);
        }
    }
    patterns
}

/// A folder as a pattern names it.
fn pattern(place: &Path) -> String {
    match place.as_os_str().is_empty() {
        true => ".".into(),
        false => place.display().to_string(),
    }
}
