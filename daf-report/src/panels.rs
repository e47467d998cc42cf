//! Test images with the heat maps of several jobs side by side.

use std::collections::BTreeMap;
use std::io::Cursor;

use daf_core::overlay::{Pieces, colored, outline, scaled, sheet};
use daf_core::results::{Prediction, Results};
use daf_core::{Error, Result};
use daf_sweep::{CellResult, PanelSpec, State, SweepResults};
use image::{ImageFormat, Rgb, RgbImage};

use crate::gallery::{drawn, jpeg};

/// Pictures in rows, one per test image.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    /// Names of the pictures of a row.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<PanelRow>,
    /// Reasons for missing pictures.
    pub(crate) notes: Vec<String>,
    /// The pictures as one PNG, and its name.
    pub(crate) png: Vec<u8>,
    pub(crate) file: String,
}

#[derive(Debug)]
pub(crate) struct PanelRow {
    pub(crate) name: String,
    /// Data URLs, with width and height.
    pub(crate) pictures: Vec<Option<(String, (u32, u32))>>,
}

/// Pixels of the longer side of a picture.
const SIDE: u32 = 160;
const QUALITY: u8 = 85;

/// The jobs that differ in the axis of the panels only.
struct Group<'a> {
    name: String,
    /// One for each variant of that axis.
    runs: Vec<Option<(&'a CellResult, Results)>>,
}

impl Panel {
    pub(crate) fn of(sweep: &SweepResults, wanted: &PanelSpec, number: usize) -> Result<Self> {
        let axes = &sweep.manifest().axes;
        let mut panel = Self {
            title: wanted.title.clone(),
            columns: Vec::new(),
            rows: Vec::new(),
            notes: Vec::new(),
            png: Vec::new(),
            file: format!("panels-{number}.png"),
        };
        let Some(axis) = axes.iter().position(|axis| axis.name == wanted.of) else {
            return Ok(panel);
        };
        let only = wanted.only.get(&wanted.of);
        let variants = axes[axis].variants.iter();
        let variants: Vec<&String> = variants
            .filter(|name| only.is_none_or(|only| only.has(name)))
            .collect();
        panel.columns = ["image".to_owned(), "true defect".to_owned()]
            .into_iter()
            .chain(variants.iter().map(|name| (*name).clone()))
            .collect();
        let groups = groups(sweep, wanted, axis, &variants, &mut panel.notes)?;
        let share = wanted.images.div_ceil(groups.len().max(1));
        let mut sheet_rows = Vec::new();
        for group in &groups {
            let Some((_, first)) = group.runs.iter().flatten().next() else {
                continue;
            };
            for prediction in spread(&first.predictions, share) {
                if panel.rows.len() == wanted.images {
                    break;
                }
                let file = prediction.image.rsplit('/').next().unwrap_or_default();
                let gap = if group.name.is_empty() { "" } else { ", " };
                let pictures = pictures(group, prediction, &mut panel.notes);
                let embedded = pictures.iter().map(|picture| {
                    let picture = picture.as_ref()?;
                    Some((jpeg(picture, QUALITY).ok()?, picture.dimensions()))
                });
                panel.rows.push(PanelRow {
                    name: format!("{}{gap}{}/{file}", group.name, prediction.label),
                    pictures: embedded.collect(),
                });
                sheet_rows.push(pictures);
            }
        }
        // What is missing is white, so that every column stays below its head.
        let (width, height) = sheet_rows
            .iter()
            .flatten()
            .flatten()
            .map(RgbImage::dimensions)
            .fold((1, 1), |(width, height), (w, h)| (width.max(w), height.max(h)));
        let blank = || RgbImage::from_pixel(width, height, Rgb([255; 3]));
        let whole = |row: Vec<Option<RgbImage>>| {
            row.into_iter()
                .map(|picture| picture.unwrap_or_else(blank))
                .collect()
        };
        let rows: Vec<Vec<RgbImage>> = sheet_rows.into_iter().map(whole).collect();
        if !rows.is_empty() {
            let mut png = Cursor::new(Vec::new());
            sheet(&rows)
                .write_to(&mut png, ImageFormat::Png)
                .map_err(|error| Error::data(&panel.file, error.to_string()))?;
            panel.png = png.into_inner();
        }
        Ok(panel)
    }
}

/// The selected jobs by what they have in common; of several seeds the first.
fn groups<'a>(
    sweep: &'a SweepResults,
    wanted: &PanelSpec,
    axis: usize,
    variants: &[&String],
    notes: &mut Vec<String>,
) -> Result<Vec<Group<'a>>> {
    let axes = &sweep.manifest().axes;
    let mut groups: Vec<Group> = Vec::new();
    for result in sweep.list() {
        let names = || axes.iter().zip(&result.cell);
        let selected =
            names().all(|(axis, name)| wanted.only.get(&axis.name).is_none_or(|only| only.has(name)));
        let first_seed =
            names().all(|(axis, name)| axis.name != daf_sweep::SEED || axis.variants.first() == Some(name));
        let column = variants.iter().position(|name| **name == result.cell[axis]);
        let (true, true, Some(column)) = (selected, first_seed, column) else {
            continue;
        };
        let common = names().enumerate().filter(|(place, (other, _))| {
            *place != axis && other.name != daf_sweep::SEED && other.variants.len() > 1
        });
        let mut names: Vec<&str> = common.map(|(_, (_, name))| name.as_str()).collect();
        let name = names.join(", ");
        let place = groups.iter().position(|group| group.name == name);
        let place = place.unwrap_or_else(|| {
            let runs = variants.iter().map(|_| None).collect();
            groups.push(Group { name, runs });
            groups.len() - 1
        });
        if result.state == State::Finished {
            groups[place].runs[column] = Some((result, Results::read(&result.dir)?));
        } else {
            names.insert(0, &result.cell[axis]);
            notes.push(format!("{}: {}", names.join(", "), result.state.name()));
        }
    }
    Ok(groups)
}

/// `count` defective images, spread over the kinds of defect: the first of each, then the second of each.
fn spread(predictions: &[Prediction], count: usize) -> Vec<&Prediction> {
    let mut kinds: BTreeMap<&str, Vec<&Prediction>> = BTreeMap::new();
    for prediction in predictions.iter().filter(|prediction| prediction.is_anomalous()) {
        kinds.entry(&prediction.label).or_default().push(prediction);
    }
    let longest = kinds.values().map(Vec::len).max().unwrap_or(0);
    (0..longest)
        .flat_map(|place| {
            kinds
                .values()
                .filter_map(move |images| images.get(place).copied())
        })
        .take(count)
        .collect()
}

/// The image, its true defect, and the heat map of every run.
fn pictures(group: &Group, prediction: &Prediction, notes: &mut Vec<String>) -> Vec<Option<RgbImage>> {
    let mut pictures = vec![None, None];
    for run in &group.runs {
        let found = run.as_ref().and_then(|(result, results)| {
            let reason = match pieces(results, &prediction.image) {
                Ok(found) => return Some(found),
                Err(reason) => format!("{}: {reason}", result.hash),
            };
            if !notes.contains(&reason) {
                notes.push(reason);
            }
            None
        });
        pictures.push(found.as_ref().map(|found| colored(&scaled(&found.heat, SIDE))));
        let Some(found) = found else { continue };
        let image = pictures[0]
            .get_or_insert_with(|| scaled(&found.image, SIDE))
            .clone();
        if let (Some(mask), None) = (&found.mask, &pictures[1]) {
            let mut image = image;
            outline(&mut image, &scaled(mask, SIDE));
            pictures[1] = Some(image);
        }
    }
    pictures
}

/// The pieces of a run's picture of a test image, or why there are none.
fn pieces(results: &Results, image: &str) -> Result<Pieces, String> {
    let mut predictions = results.predictions.iter();
    let prediction = predictions
        .find(|other| other.image == image)
        .ok_or_else(|| format!("{image}: is not among the test images"))?;
    let picture = drawn(prediction)?;
    Pieces::open(&results.dir.join(picture))
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("{picture}: has no pieces beside it; run `evaluate` again"))
}
