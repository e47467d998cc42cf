//! Figures of tables and plots: metrics averaged over what they do not show.

use std::collections::{BTreeMap, HashSet};

use daf_core::results::Metric;

use crate::results::{CellResult, SweepResults};
use crate::view::{METRIC, PlotSpec, SEED, Selection, TableSpec};

/// A table of figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Title of the table.
    pub title: String,
    /// Heads over the names of the rows.
    pub heads: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<FigureRow>,
    /// Whether the figures are losses, of which the smallest is the best.
    pub is_drop: bool,
}

/// A row of figures.
#[derive(Debug, Clone, PartialEq)]
pub struct FigureRow {
    /// One for each of the heads.
    pub names: Vec<String>,
    /// Whether it is the mean of other rows.
    pub is_mean: bool,
    /// One for each of the columns.
    pub figures: Vec<Figure>,
}

/// A figure, or the reason why there is none.
#[derive(Debug, Clone, PartialEq)]
pub enum Figure {
    /// The grid has no such place.
    Outside,
    /// No seed has all of its jobs; the reason.
    Missing(String),
    /// It was measured.
    Measured {
        /// Mean and standard deviation.
        spread: Spread,
        /// The metric.
        metric: Metric,
        /// Number of places of the grid that each seed is the mean of: only figures of equally many compete.
        places: usize,
        /// Reason why seeds are left out, if some are.
        note: Option<String>,
        /// Whether it is the best of those that compete.
        best: bool,
    },
}

/// A mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// Standard deviation of the seeds, with one degree of freedom less than there are; `None` for a single
    /// one.
    pub std: Option<f64>,
    /// Number of seeds.
    pub seeds: usize,
}

/// A metric along an axis, line by line.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The metric.
    pub metric: Metric,
    /// The places along the axis.
    pub places: Vec<String>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line of a profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// One value for each place, where it is known.
    pub points: Vec<Option<Spread>>,
}

impl Spread {
    /// The spread of one value per seed; `None` without values.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        (!values.is_empty()).then(|| Self {
            mean,
            std: (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
            seeds: values.len(),
        })
    }
}

/// Part of a row or a column: the variant of an axis, both by number, or the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyPart {
    Variant(usize, usize),
    Metric(Metric),
    /// All variants of an axis together.
    Mean(usize),
}

/// A row or column.
#[derive(Debug, Clone, Default)]
struct Key(Vec<KeyPart>);

/// Request for a figure: variants by axis, `None` for those that are averaged.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    fixed: Vec<Option<usize>>,
    metric: Metric,
}

/// Variant of an axis with which the other variants are compared.
#[derive(Debug, Clone, Copy)]
struct Reference<'a> {
    axis: usize,
    variant: &'a str,
}

impl SweepResults {
    /// The figures of a table.
    #[must_use]
    pub fn table(&self, table: &TableSpec) -> Figures {
        let mut columns = table.columns.clone();
        let named = |side: &[String]| side.iter().any(|name| name == METRIC);
        if !named(&table.rows) && !named(&columns) && (columns.is_empty() || table.metrics.len() > 1) {
            columns.push(METRIC.into());
        }
        let reference = table.drop.as_ref().and_then(|drop| {
            let (axis, variant) = drop.iter().next()?;
            Some(Reference {
                axis: self.axis(axis)?,
                variant,
            })
        });
        let keys = |side: &[String]| self.keys(side, table, reference);
        let (row_keys, column_keys) = (keys(&table.rows), keys(&columns));
        let compared = self.compared(table);

        let mut figures: Vec<Vec<Figure>> = Vec::new();
        // What each figure is of, but for the axis whose variants compete.
        let mut rivals: Vec<(Wanted, Vec<(usize, usize)>)> = Vec::new();
        for (row, row_key) in row_keys.iter().enumerate() {
            let mut line = Vec::new();
            for (column, column_key) in column_keys.iter().enumerate() {
                let wanted = self.wanted(row_key, column_key, table);
                line.push(self.figure(&wanted, &table.only, reference));
                if let Some(axis) = compared
                    && wanted.fixed[axis].is_some()
                {
                    let mut among = wanted;
                    among.fixed[axis] = None;
                    match rivals.iter_mut().find(|(known, _)| *known == among) {
                        Some((_, places)) => places.push((row, column)),
                        None => rivals.push((among, vec![(row, column)])),
                    }
                }
            }
            figures.push(line);
        }
        for (wanted, places) in &rivals {
            mark_best(&mut figures, places, wanted.metric.rises() != reference.is_some());
        }

        let kept: Vec<bool> = (0..column_keys.len())
            .map(|column| figures.iter().any(|line| line[column] != Figure::Outside))
            .collect();
        let rows = row_keys.iter().zip(figures).filter_map(|(key, line)| {
            let figures: Vec<_> = line
                .into_iter()
                .zip(&kept)
                .filter_map(|(figure, kept)| kept.then_some(figure))
                .collect();
            figures
                .iter()
                .any(|figure| *figure != Figure::Outside)
                .then(|| FigureRow {
                    names: self.names(key),
                    is_mean: key.0.iter().any(|part| matches!(part, KeyPart::Mean(_))),
                    figures,
                })
        });
        let rows = rows.collect();
        let columns = column_keys.iter().zip(&kept).filter(|(_, kept)| **kept);
        Figures {
            title: table.title.clone(),
            heads: table.rows.iter().map(|name| head(name).to_owned()).collect(),
            columns: columns.map(|(key, _)| self.names(key).join(" ")).collect(),
            rows,
            is_drop: reference.is_some(),
        }
    }

    /// The lines of a plot, metric by metric.
    #[must_use]
    pub fn profiles(&self, plot: &PlotSpec) -> Vec<Profile> {
        let (Some(x), Some(lines)) = (self.axis(&plot.x), self.axis(&plot.lines)) else {
            return Vec::new();
        };
        let variants = |axis| self.variants(axis, &plot.only);
        let line = |metric: Metric, line: usize| {
            let point = |place| {
                let mut fixed = vec![None; self.manifest.axes.len()];
                fixed[x] = Some(place);
                fixed[lines] = Some(line);
                match self.figure(&Wanted { fixed, metric }, &plot.only, None) {
                    Figure::Measured { spread, .. } => Some(spread),
                    Figure::Missing(_) | Figure::Outside => None,
                }
            };
            Line {
                name: self.name(lines, line).to_owned(),
                points: variants(x).into_iter().map(point).collect(),
            }
        };
        let profile = |metric: &Metric| Profile {
            metric: *metric,
            places: variants(x)
                .into_iter()
                .map(|place| self.name(x, place).to_owned())
                .collect(),
            lines: variants(lines)
                .into_iter()
                .map(|number| line(*metric, number))
                .collect(),
        };
        plot.metrics.iter().map(profile).collect()
    }

    fn axis(&self, name: &str) -> Option<usize> {
        self.manifest.axes.iter().position(|axis| axis.name == name)
    }

    fn name(&self, axis: usize, variant: usize) -> &str {
        &self.manifest.axes[axis].variants[variant]
    }

    /// The variants of an axis that are selected.
    fn variants(&self, axis: usize, only: &Selection) -> Vec<usize> {
        let axis = &self.manifest.axes[axis];
        let names = only.get(&axis.name);
        let selected = |name: &String| names.is_none_or(|names| names.has(name));
        let variants = axis.variants.iter().enumerate();
        variants
            .filter(|(_, name)| selected(name))
            .map(|(place, _)| place)
            .collect()
    }

    /// The combinations of what stands on one side of a table.
    fn keys(&self, side: &[String], table: &TableSpec, reference: Option<Reference>) -> Vec<Key> {
        let mut keys = vec![Key::default()];
        for name in side {
            let parts: Vec<KeyPart> = if name == METRIC {
                table.metrics.iter().copied().map(KeyPart::Metric).collect()
            } else {
                let Some(axis) = self.axis(name) else { continue };
                let compared = reference.filter(|reference| reference.axis == axis);
                let variants = self.variants(axis, &table.only).into_iter();
                let variants = variants
                    .filter(|variant| {
                        compared.is_none_or(|compared| compared.variant != self.name(axis, *variant))
                    })
                    .map(|variant| KeyPart::Variant(axis, variant));
                let mean = (table.mean.as_ref() == Some(name)).then_some(KeyPart::Mean(axis));
                variants.chain(mean).collect()
            };
            let longer = keys.iter().flat_map(|key| {
                let with = |part: &KeyPart| Key(key.0.iter().copied().chain([*part]).collect());
                parts.iter().map(with).collect::<Vec<_>>()
            });
            keys = longer.collect();
        }
        keys
    }

    fn names(&self, key: &Key) -> Vec<String> {
        let name = |part: &KeyPart| match *part {
            KeyPart::Variant(axis, variant) => self.name(axis, variant).to_owned(),
            KeyPart::Metric(metric) => metric.short().to_owned(),
            KeyPart::Mean(_) => "Mean".to_owned(),
        };
        key.0.iter().map(name).collect()
    }

    /// The axis whose variants compete in a table.
    fn compared(&self, table: &TableSpec) -> Option<usize> {
        let competes = |name: &&String| *name != METRIC && table.mean.as_ref() != Some(*name);
        let by_rows = || table.rows.iter().rev().find(competes);
        let by_columns = || table.columns.iter().rev().find(competes);
        let name = table.compare.as_ref().or_else(by_rows).or_else(by_columns)?;
        self.axis(name)
    }

    fn wanted(&self, row: &Key, column: &Key, table: &TableSpec) -> Wanted {
        let mut wanted = Wanted {
            fixed: vec![None; self.manifest.axes.len()],
            metric: table.metrics[0],
        };
        for part in row.0.iter().chain(&column.0) {
            match *part {
                KeyPart::Variant(axis, variant) => wanted.fixed[axis] = Some(variant),
                KeyPart::Metric(metric) => wanted.metric = metric,
                KeyPart::Mean(_) => {}
            }
        }
        wanted
    }

    fn figure(&self, wanted: &Wanted, only: &Selection, reference: Option<Reference>) -> Figure {
        let seed = self.axis(SEED);
        /// Values, with the hashes of the runs that they come from.
        type Runs<'a> = Vec<((&'a str, Option<&'a str>), Result<f64, String>)>;
        let mut by_seed: BTreeMap<usize, Runs<'_>> = BTreeMap::new();
        for result in self.matching(wanted, only) {
            let value = match reference {
                None => result.value(wanted.metric),
                Some(reference) if result.cell[reference.axis] == reference.variant => continue,
                Some(reference) => self.loss(result, wanted.metric, reference),
            };
            let number = seed.and_then(|seed| {
                let variants = &self.manifest.axes[seed].variants;
                variants.iter().position(|name| *name == result.cell[seed])
            });
            let rival = reference.and_then(|reference| self.rival(result, reference));
            let from = (&result.hash[..], rival.map(|rival| &rival.hash[..]));
            by_seed
                .entry(number.unwrap_or(0))
                .or_default()
                .push((from, value));
        }
        // Seeds that a setting over the axes has made one are one: the same runs twice say nothing about
        // spread.
        let mut known = HashSet::new();
        by_seed.retain(|_, runs| known.insert(runs.iter().map(|(from, _)| *from).collect::<Vec<_>>()));
        if by_seed.is_empty() {
            return Figure::Outside;
        }
        // A seed for which places of the grid are left out is no match for the others.
        let places = by_seed.values().map(Vec::len).max().unwrap_or(0);
        let mut means = Vec::new();
        let mut faults: Vec<&String> = Vec::new();
        for values in by_seed.values() {
            let known: Vec<f64> = values
                .iter()
                .filter_map(|(_, value)| value.as_ref().ok().copied())
                .collect();
            if known.len() == places {
                means.push(known.iter().sum::<f64>() / known.len() as f64);
            }
            faults.extend(values.iter().filter_map(|(_, value)| value.as_ref().err()));
        }
        let jobs = by_seed.values().map(Vec::len).sum();
        let missing = match (faults.is_empty(), means.len() < by_seed.len()) {
            (false, _) => Some(reasons(&faults, jobs)),
            (true, true) => Some("the others have fewer places in the grid".into()),
            (true, false) => None,
        };
        match (Spread::of(&means), missing) {
            (Some(spread), missing) => Figure::Measured {
                spread,
                metric: wanted.metric,
                places,
                note: missing
                    .map(|missing| format!("mean of {} of {} seeds: {missing}", spread.seeds, by_seed.len())),
                best: false,
            },
            (None, missing) => Figure::Missing(missing.unwrap_or_default()),
        }
    }

    /// The places of the grid that a figure is of.
    fn matching(&self, wanted: &Wanted, only: &Selection) -> impl Iterator<Item = &CellResult> {
        self.list.iter().filter(move |result| {
            let axes = self.manifest.axes.iter().zip(&wanted.fixed).zip(&result.cell);
            axes.into_iter().all(|((axis, fixed), name)| {
                fixed.is_none_or(|variant| axis.variants[variant] == *name)
                    && only.get(&axis.name).is_none_or(|names| names.has(name))
            })
        })
    }

    /// Loss of a place in comparison with the one under the reference.
    fn loss(&self, result: &CellResult, metric: Metric, reference: Reference) -> Result<f64, String> {
        let best = self
            .rival(result, reference)
            .ok_or_else(|| format!("the sweep has no {} here", reference.variant))?;
        Ok(best.value(metric)? - result.value(metric)?)
    }

    /// The reference's result at this place.
    fn rival(&self, result: &CellResult, reference: Reference) -> Option<&CellResult> {
        let mut cell = result.cell.clone();
        cell[reference.axis] = reference.variant.to_owned();
        self.places.get(&cell).map(|place| &self.list[*place])
    }
}

/// Reasons for missing values, each once.
fn reasons(faults: &[&String], jobs: usize) -> String {
    let mut distinct: Vec<&str> = Vec::new();
    for fault in faults {
        if !distinct.contains(&fault.as_str()) {
            distinct.push(fault);
        }
    }
    let distinct = distinct.join(", ");
    if jobs == 1 {
        distinct
    } else {
        format!("{} of {jobs} values are missing ({distinct})", faults.len())
    }
}

/// Marks the best among the figures at `places`, where several compete; all of those that read the same.
/// Figures of fewer places of the grid than others do not compete.
fn mark_best(figures: &mut [Vec<Figure>], places: &[(usize, usize)], most: bool) {
    let sign = if most { 1.0 } else { -1.0 };
    let covered = |figure: &Figure| match figure {
        Figure::Measured { places, .. } => *places,
        Figure::Missing(_) | Figure::Outside => 0,
    };
    let all = places
        .iter()
        .map(|(row, column)| covered(&figures[*row][*column]));
    let all = all.max().unwrap_or(0);
    // Tables show shares in percent with one digit.
    let read = |figure: &Figure| match figure {
        figure if covered(figure) < all => None,
        Figure::Measured { spread, metric, .. } if metric.is_share() => {
            Some(sign * (1000.0 * spread.mean).round())
        }
        Figure::Measured { spread, .. } => Some(sign * spread.mean),
        Figure::Missing(_) | Figure::Outside => None,
    };
    let values = || {
        places
            .iter()
            .filter_map(|(row, column)| read(&figures[*row][*column]))
    };
    if values().count() < 2 {
        return;
    }
    let Some(largest) = values().reduce(f64::max) else {
        return;
    };
    let best: Vec<_> = places
        .iter()
        .filter(|(row, column)| read(&figures[*row][*column]) == Some(largest))
        .copied()
        .collect();
    for (row, column) in best {
        if let Figure::Measured { best, .. } = &mut figures[row][column] {
            *best = true;
        }
    }
}

/// The name of an axis as the head of a column: of a key, its last step.
fn head(axis: &str) -> &str {
    axis.rsplit('.').next().unwrap_or(axis)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use daf_core::results::{Measurements, Metrics, MultiplyAdds, Value};
    use proptest::prelude::*;

    use super::*;
    use crate::axis::AxisNames;
    use crate::manifest::SweepManifest;
    use crate::sweep::State;
    use crate::view::{Names, View};

    fn measured(image_auroc: Option<f64>) -> Measurements {
        let missing = || Value::Missing {
            unavailable: "no masks".into(),
        };
        Measurements {
            overall: Metrics {
                normal: 1,
                anomalous: 1,
                image_auroc: image_auroc.map_or_else(missing, Value::Number),
                image_ap: missing(),
                image_f1_max: missing(),
                pixel_auroc: missing(),
                pixel_pro: missing(),
                pixel_ap: missing(),
                pixel_f1_max: missing(),
                pixel_iou_max: missing(),
                aupimo: missing(),
            },
            intervals: BTreeMap::new(),
            by_category: BTreeMap::new(),
            mean: None,
            by_defect: BTreeMap::new(),
            at_threshold: None,
            calibration: None,
            colors: None,
            weights: Vec::new(),
            size: (1, 1),
            mask_rule: "nearest".into(),
            pro_limit: 0.3,
            without_mask: 0,
            unreadable: 0,
            undrawn: 0,
            pixel_error: None,
            images_per_second: 10.0,
            multiply_adds: MultiplyAdds::default(),
            parameters: None,
            changed: Vec::new(),
        }
    }

    const AXES: [(&str, &[&str]); 4] = [
        ("category", &["a", "b"]),
        ("method", &["DAF", "NSA"]),
        ("strategy", &["DRA", "simple"]),
        ("seed", &["1", "2", "3"]),
    ];

    /// Results of the whole grid; `value` gives a metric, none for a job that was not run, or leaves the
    /// place out.
    fn results(value: impl Fn(&[&str]) -> Option<Option<f64>>) -> SweepResults {
        let mut cells: Vec<Vec<&str>> = vec![Vec::new()];
        for (_, variants) in AXES {
            let longer = |cell: &Vec<&'static str>| {
                let with = |variant: &&'static str| cell.iter().copied().chain([*variant]).collect();
                variants.iter().map(with).collect::<Vec<Vec<&str>>>()
            };
            cells = cells.iter().flat_map(longer).collect();
        }
        // The order in which they come does not matter.
        cells.reverse();
        let result = |cell: &Vec<&str>| {
            let found = value(cell)?;
            Some(CellResult {
                number: 1,
                hash: cell.concat(),
                cell: cell.iter().map(|name| (*name).to_owned()).collect(),
                state: if found.is_some() {
                    State::Finished
                } else {
                    State::Waiting
                },
                metrics: found.map(|value| measured(Some(value))),
                dir: "nowhere".into(),
            })
        };
        let list = cells.iter().filter_map(result).collect();
        let axes = AXES.map(|(name, variants)| AxisNames {
            name: name.into(),
            variants: variants.iter().map(|name| (*name).to_owned()).collect(),
        });
        let manifest = SweepManifest {
            daf: String::new(),
            title: "test".into(),
            smoke: false,
            axes: axes.into(),
            view: View::default(),
            jobs: Vec::new(),
        };
        SweepResults::new(manifest, list)
    }

    fn table(yaml: serde_json::Value) -> TableSpec {
        serde_json::from_value(yaml).unwrap()
    }

    fn known(figure: &Figure) -> (f64, Option<f64>, bool) {
        match figure {
            Figure::Measured { spread, best, .. } => (spread.mean, spread.std, *best),
            other => panic!("{other:?}"),
        }
    }

    /// Category a 0.1 more than b, NSA 0.2 less than DAF, `simple` 0.1 less for DAF and 0.3 for NSA, seeds
    /// 0.01 apart.
    fn value(cell: &[&str]) -> f64 {
        let category = if cell[0] == "a" { 0.8 } else { 0.7 };
        let loss = match (cell[1], cell[2]) {
            ("DAF", "DRA") => 0.0,
            ("DAF", _) => 0.1,
            (_, "DRA") => 0.2,
            _ => 0.5,
        };
        category - loss + 0.01 * cell[3].parse::<f64>().unwrap()
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn what_covers_less_of_the_grid_does_not_compete() {
        let wanted =
            table(serde_json::json!({ "title": "T", "rows": ["method"], "metrics": ["image_auroc"] }));
        // DAF lacks the category in which values are low, which would make it the better one; NSA lacks it
        // for one seed.
        let results = results(|cell| {
            let out = cell[0] == "b" && (cell[1] == "DAF" || cell[3] == "3");
            (!out).then(|| Some(value(cell)))
        });
        let rows = results.table(&wanted).rows;
        assert!(!known(&rows[0].figures[0]).2, "DAF has half of the places");
        let Figure::Measured {
            spread, places, note, ..
        } = &rows[1].figures[0]
        else {
            panic!("{:?}", rows[1]);
        };
        assert_eq!((spread.seeds, *places), (2, 4));
        let expected = "mean of 2 of 3 seeds: the others have fewer places in the grid";
        assert_eq!(note.as_deref(), Some(expected));
    }

    #[test]
    fn seeds_that_share_their_runs_are_one() {
        let mut results = results(|cell| Some(Some(value(cell))));
        for result in &mut results.list {
            result.hash = result.cell[..3].concat();
        }
        let wanted =
            table(serde_json::json!({ "title": "T", "rows": ["method"], "metrics": ["image_auroc"] }));
        for row in results.table(&wanted).rows {
            assert_eq!(known(&row.figures[0]).1, None, "one run has no spread");
        }
    }

    #[test]
    fn figures_are_means_over_the_rest_and_spread_over_the_seeds() {
        let results = results(|cell| Some(Some(value(cell))));
        let wanted = table(serde_json::json!({
            "title": "T", "rows": ["strategy", "method"], "columns": ["category"], "metrics": ["image_auroc"],
            "mean": "category",
        }));
        let found = results.table(&wanted);
        assert_eq!(found.heads, ["strategy", "method"]);
        assert_eq!(found.columns, ["a", "b", "Mean"]);
        assert_eq!(found.rows.len(), 4);
        assert_eq!(found.rows[3].names, ["simple", "NSA"]);
        let expected = [
            [0.82, 0.72, 0.77],
            [0.62, 0.52, 0.57],
            [0.72, 0.62, 0.67],
            [0.32, 0.22, 0.27],
        ];
        for (row, expected) in found.rows.iter().zip(expected) {
            for (figure, expected) in row.figures.iter().zip(expected) {
                let (mean, std, best) = known(figure);
                near(mean, expected);
                near(std.unwrap(), 0.01);
                assert_eq!(best, row.names[1] == "DAF", "{:?}", row.names);
            }
        }
        // The mean as a row, and the methods side by side: they still compete.
        let turned = table(serde_json::json!({
            "title": "T", "rows": ["category"], "columns": ["method"], "metrics": ["image_auroc"], "mean": "category",
            "only": { "strategy": "DRA" },
        }));
        let found = results.table(&turned);
        assert_eq!(found.columns, ["DAF", "NSA"]);
        assert_eq!(found.rows[2].names, ["Mean"]);
        assert!(found.rows[2].is_mean && !found.rows[1].is_mean);
        near(known(&found.rows[2].figures[0]).0, 0.77);
        assert!(known(&found.rows[0].figures[0]).2 && !known(&found.rows[0].figures[1]).2);
    }

    #[test]
    fn a_drop_is_the_loss_of_each_seed_and_the_smallest_is_best() {
        // The seeds differ much, but each loses the same.
        let results = results(|cell| Some(Some(value(cell) + if cell[3] == "2" { 0.1 } else { 0.0 })));
        let wanted = table(serde_json::json!({
            "title": "T", "rows": ["method"], "columns": ["strategy"], "metrics": ["image_auroc"],
            "drop": { "strategy": "DRA" },
        }));
        let found = results.table(&wanted);
        assert!(found.is_drop);
        assert_eq!(found.columns, ["simple"], "the reference has no loss");
        for (row, expected) in found.rows.iter().zip([0.1, 0.3]) {
            let (mean, std, best) = known(&row.figures[0]);
            near(mean, expected);
            near(std.unwrap(), 0.0);
            assert_eq!(best, row.names == ["DAF"]);
        }
    }

    #[test]
    fn what_is_missing_is_never_a_number() {
        // NSA lacks a category under one seed, DAF under all; `b` has no strategy but DRA.
        let results = results(|cell| match cell {
            ["b", _, "simple", _] => None,
            ["a", "NSA", "DRA", "2"] | ["a", "DAF", "DRA", _] => Some(None),
            _ => Some(Some(value(cell))),
        });
        let wanted = table(serde_json::json!({
            "title": "T", "rows": ["method"], "columns": ["category"], "metrics": ["image_auroc"], "mean": "category",
            "only": { "strategy": ["DRA"] },
        }));
        let found = results.table(&wanted);
        assert_eq!(
            found.rows[0].figures[0],
            Figure::Missing("3 of 3 values are missing (not run yet)".into())
        );
        assert_eq!(
            found.rows[0].figures[2],
            Figure::Missing("3 of 6 values are missing (not run yet)".into())
        );
        let Figure::Measured { spread, note, .. } = &found.rows[1].figures[2] else {
            panic!("{found:?}");
        };
        // Seeds 1 and 3 have both categories.
        near(spread.mean, 0.57);
        assert_eq!(spread.seeds, 2);
        assert_eq!(
            note.as_deref(),
            Some("mean of 2 of 3 seeds: 1 of 6 values are missing (not run yet)")
        );
        let outside = table(serde_json::json!({
            "title": "T", "rows": ["category", "strategy"], "columns": ["method"], "metrics": ["image_auroc"],
        }));
        let found = results.table(&outside);
        // A row that the grid does not have is left out.
        assert_eq!(found.rows.len(), 3);
        let drop = table(serde_json::json!({
            "title": "T", "rows": ["category", "method"], "columns": ["strategy"], "metrics": ["image_auroc"],
            "drop": { "strategy": "simple" },
        }));
        let found = results.table(&drop);
        assert_eq!(
            found.rows[2].figures[0],
            Figure::Missing("3 of 3 values are missing (the sweep has no simple here)".into())
        );
    }

    #[test]
    fn metrics_that_a_run_lacks_are_missing_with_its_reason() {
        let results = results(|cell| Some(Some(value(cell))));
        let wanted = table(serde_json::json!({ "title": "T", "rows": ["method"] }));
        let found = results.table(&wanted);
        assert_eq!(found.columns, ["I-AUC", "P-AUC", "P-PRO", "P-mAP"]);
        assert_eq!(
            found.rows[0].figures[1],
            Figure::Missing("12 of 12 values are missing (no masks)".into())
        );
    }

    #[test]
    fn profiles_have_a_point_per_place_or_none() {
        let results = results(|cell| {
            Some((cell != ["a", "NSA", "simple", "1"] && cell[3] == "1").then(|| value(cell)))
        });
        let plot: PlotSpec = serde_json::from_value(serde_json::json!({
            "title": "P", "x": "strategy", "lines": "method", "metrics": ["image_auroc"],
        }))
        .unwrap();
        let found = results.profiles(&plot).remove(0);
        assert_eq!(found.places, ["DRA", "simple"]);
        assert_eq!(found.lines[1].name, "NSA");
        assert!(found.lines[0].points.iter().all(Option::is_some));
        assert!(found.lines[1].points[0].is_some() && found.lines[1].points[1].is_none());
        near(found.lines[0].points[1].unwrap().mean, 0.66);
        assert_eq!(
            found.lines[0].points[1].unwrap().std,
            None,
            "a single seed has no spread"
        );
    }

    #[test]
    fn names_are_read_alone_and_as_lists() {
        let read = |text: &str| serde_json::from_str::<Names>(text);
        assert_eq!(read("\"a\"").unwrap().0, ["a"]);
        assert_eq!(read("[1, \"b\", true]").unwrap().0, ["1", "b", "true"]);
        assert!(read("{}").is_err() && read("[[1]]").is_err());
    }

    proptest! {
        #[test]
        fn a_spread_is_that_of_the_textbook(values in prop::collection::vec(0.0..1.0f64, 1..12), shift in -1.0..1.0f64) {
            let found = Spread::of(&values).unwrap();
            let moved = Spread::of(&values.iter().map(|value| value + shift).collect::<Vec<_>>()).unwrap();
            prop_assert!((moved.mean - found.mean - shift).abs() < 1e-12);
            prop_assert_eq!(found.std.is_some(), values.len() > 1);
            if let (Some(a), Some(b)) = (found.std, moved.std) {
                prop_assert!((a - b).abs() < 1e-9);
                // Mean of the squared differences of all pairs: the same, without a mean.
                let count = values.len() as f64;
                let pairs: f64 = values.iter().flat_map(|x| values.iter().map(move |y| (x - y).powi(2))).sum();
                prop_assert!((a * a - pairs / (2.0 * count * (count - 1.0))).abs() < 1e-12);
            }
        }
    }
}
