//! Runs side by side.

use std::collections::BTreeMap;

use askama::Template;
use daf_core::results::{Measurements, Metric, Results, Value};
use daf_core::{Error, Result};
use serde_json::Value as Json;

use crate::charts::{self, CurveKind, NOT_EVALUATED, ScoreLevel, Values};
use crate::page::{name, significant};
use crate::plot::{Chart, Mark};
use crate::table::{Table, percent};

/// Runs side by side, made by [`compare`].
#[derive(Debug)]
pub struct Comparison {
    tables: Vec<(String, Table)>,
    settings: Differences,
    warnings: Vec<String>,
    charts: Vec<Chart>,
    names: Vec<String>,
}

/// Settings in which runs differ.
#[derive(Debug, Default)]
struct Differences {
    /// Keys, each with its value in every run.
    rows: Vec<(String, Vec<String>)>,
}

/// Metrics that are compared per defect type as well.
const PER_DEFECT: [Metric; 3] = [Metric::ImageAuroc, Metric::PixelPro, Metric::PixelAp];

/// Puts runs side by side: metrics with the best ones marked, curves, losses, and the settings in which they
/// differ. Runs that have not been evaluated stand in the tables with that reason.
///
/// # Errors
/// If a configuration is no YAML.
pub fn compare(runs: &[Results]) -> Result<Comparison> {
    let names = names(runs);
    let named = || names.iter().cloned().zip(runs);
    let mut overall = Table::new("run");
    for (name, run) in named() {
        match &run.metrics {
            Some(metrics) => overall.add(&name, &metrics.overall, false),
            None => overall.add_missing(&name, NOT_EVALUATED),
        }
    }
    let speeds = runs.iter().map(|run| match &run.metrics {
        Some(metrics) => Ok((metrics.images_per_second, significant(metrics.images_per_second))),
        None => Err(NOT_EVALUATED.to_owned()),
    });
    overall.add_column(
        "images/s",
        "scored by the evaluation, reading and writing included",
        &speeds.collect::<Vec<_>>(),
    );
    overall.mark_best();
    let mut tables = vec![("Metrics".to_owned(), overall)];
    tables.extend(
        PER_DEFECT
            .into_iter()
            .filter_map(|metric| per_defect(metric, &names, runs)),
    );
    Ok(Comparison {
        tables,
        settings: Differences::of(runs)?,
        warnings: warnings(&names, runs),
        charts: charts(&names, runs),
        names,
    })
}

impl Comparison {
    /// Text for a terminal or a file of Markdown, with the best values in bold.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        for (title, table) in &self.tables {
            out.push_str(&format!("{title}\n\n{}\n", table.markdown()));
        }
        if !self.settings.rows.is_empty() {
            out.push_str(&format!(
                "Settings that differ\n\n{}\n",
                self.settings.table(&self.names).markdown()
            ));
        }
        for warning in &self.warnings {
            out.push_str(&format!("Note: {warning}\n"));
        }
        out
    }

    /// A page that stands alone, with the curves.
    ///
    /// # Errors
    /// If the page cannot be put together, of which no case is known.
    pub fn html(&self) -> Result<String> {
        let page = Page {
            names: &self.names,
            tables: &self.tables,
            settings: (!self.settings.rows.is_empty()).then(|| self.settings.table(&self.names)),
            warnings: &self.warnings,
            charts: &self.charts,
        };
        page.render()
            .map_err(|error| Error::data("comparison", error.to_string()))
    }
}

#[derive(Template)]
#[template(path = "compare.html")]
struct Page<'a> {
    names: &'a [String],
    tables: &'a [(String, Table)],
    settings: Option<Table>,
    warnings: &'a [String],
    charts: &'a [Chart],
}

/// The directories' names, or their paths where names repeat.
fn names(runs: &[Results]) -> Vec<String> {
    let names: Vec<String> = runs.iter().map(name).collect();
    let unique = |name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let path = |run: &Results| run.dir.display().to_string();
    names
        .iter()
        .zip(runs)
        .map(|(name, run)| if unique(name) { name.clone() } else { path(run) })
        .collect()
}

/// A metric of each run on each defect type, if there are several types.
fn per_defect(metric: Metric, names: &[String], runs: &[Results]) -> Option<(String, Table)> {
    let mut types: Vec<&String> = runs
        .iter()
        .filter_map(|run| run.metrics.as_ref())
        .flat_map(|m| m.by_defect.keys())
        .collect();
    types.sort_unstable();
    types.dedup();
    if types.len() < 2 {
        return None;
    }
    let mut table = Table::of("run", names.iter().cloned());
    for defect in types {
        let values = runs.iter().map(|run| {
            let metrics = run.metrics.as_ref().ok_or(NOT_EVALUATED)?;
            let metrics = metrics
                .by_defect
                .get(defect)
                .ok_or("not among the run's test images")?;
            match metric.share(metrics) {
                Some(Value::Number(share)) => Ok((*share, percent(*share))),
                Some(Value::Missing { unavailable }) => Err(unavailable.clone()),
                None => Err("no share".to_owned()),
            }
        });
        table.add_column(defect, "", &values.collect::<Vec<_>>());
    }
    table.mark_best();
    Some((format!("{} per defect type", metric.short()), table))
}

/// Differences of runs that make their figures incomparable.
fn warnings(names: &[String], runs: &[Results]) -> Vec<String> {
    type Trait = (&'static str, fn(&Measurements) -> String);
    let traits: [Trait; 5] = [
        ("test images", |m| {
            format!(
                "{} normal and {} with a defect",
                m.overall.normal, m.overall.anomalous
            )
        }),
        ("sizes of the maps", |m| format!("{} × {}", m.size.1, m.size.0)),
        ("rules for masks", |m| m.mask_rule.clone()),
        ("limits of P-PRO", |m| m.pro_limit.to_string()),
        ("settings for the evaluation", |m| {
            // Where images are, what is drawn and where it is computed changes no figure.
            let free = |setting: &&String| {
                ["data.root=", "output.", "device="]
                    .iter()
                    .any(|key| setting.starts_with(key))
            };
            let counting: Vec<&str> = (m.changed.iter())
                .filter(|setting| !free(setting))
                .map(String::as_str)
                .collect();
            if counting.is_empty() {
                "those of the training".into()
            } else {
                counting.join(", ")
            }
        }),
    ];
    let warning = |(what, value): Trait| {
        let mut runs_of: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, run) in names.iter().zip(runs) {
            if let Some(metrics) = &run.metrics {
                runs_of.entry(value(metrics)).or_default().push(name);
            }
        }
        let groups: Vec<String> = runs_of
            .iter()
            .map(|(value, runs)| format!("{value} ({})", runs.join(", ")))
            .collect();
        (groups.len() > 1).then(|| {
            format!(
                "the {what} are not the same: {}; metrics may not be comparable",
                groups.join("; ")
            )
        })
    };
    let shortened = names.iter().zip(runs).filter_map(|(name, run)| {
        let shortened = run.shortened?;
        Some(format!(
            "the training of {name} {shortened}, which its settings do not tell"
        ))
    });
    traits.into_iter().filter_map(warning).chain(shortened).collect()
}

impl Differences {
    fn of(runs: &[Results]) -> Result<Self> {
        let mut values: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
        for (place, run) in runs.iter().enumerate() {
            let path = run.dir.join("config.yaml");
            let config: Json =
                serde_saphyr::from_str(&run.config).map_err(|error| Error::data(&path, error.to_string()))?;
            flatten("", &config, &mut |key, value| {
                values
                    .entry(key.to_owned())
                    .or_insert_with(|| vec![None; runs.len()])[place] = Some(value);
            });
        }
        let rows = values
            .into_iter()
            .filter(|(_, values)| values.windows(2).any(|pair| pair[0] != pair[1]))
            .map(|(key, values)| {
                (
                    key,
                    values
                        .into_iter()
                        .map(|value| value.unwrap_or_else(|| "–".into()))
                        .collect(),
                )
            });
        Ok(Self { rows: rows.collect() })
    }

    fn table(&self, names: &[String]) -> Table {
        let mut table = Table::of("setting", self.rows.iter().map(|(key, _)| key.clone()));
        for (place, name) in names.iter().enumerate() {
            table.add_texts(name, self.rows.iter().map(|(_, values)| values[place].clone()));
        }
        table
    }
}

/// Every key below with its value, `synthesizer.of.1.area`.
fn flatten(at: &str, value: &Json, note: &mut dyn FnMut(&str, String)) {
    let below = |key: &str| {
        if at.is_empty() {
            key.to_owned()
        } else {
            format!("{at}.{key}")
        }
    };
    match value {
        Json::Object(map) if !map.is_empty() => map
            .iter()
            .for_each(|(key, value)| flatten(&below(key), value, note)),
        // Pairs such as sizes and ranges are read at one glance.
        Json::Array(list) if list.iter().any(|value| value.is_object() || value.is_array()) => {
            list.iter()
                .enumerate()
                .for_each(|(place, value)| flatten(&below(&place.to_string()), value, note));
        }
        Json::String(text) => note(at, text.clone()),
        other => note(at, other.to_string()),
    }
}

fn charts(names: &[String], runs: &[Results]) -> Vec<Chart> {
    let of = |scores| {
        names
            .iter()
            .cloned()
            .zip(runs)
            .map(move |(name, run)| (name, run, scores))
    };
    let limit = |run: &Results| run.metrics.as_ref().map(|metrics| metrics.pro_limit);
    let limits: Vec<f64> = runs.iter().filter_map(limit).collect();
    let same = limits.windows(2).all(|pair| pair[0] == pair[1]);
    let mark = limits.first().filter(|_| same).map(|limit| Mark {
        name: format!("limit {limit}"),
        at: *limit,
    });
    let losses = names
        .iter()
        .zip(runs)
        .map(|(name, run)| -> Values { (name.clone(), &run.history, Box::new(|record| record.loss)) });
    vec![
        charts::curves("ROC, images", CurveKind::Roc, of(ScoreLevel::Image), None),
        charts::curves("ROC, pixels", CurveKind::Roc, of(ScoreLevel::Pixel), None),
        charts::curves("PRO", CurveKind::Pro, of(ScoreLevel::Pixel), mark.as_ref()),
        charts::curves(
            "Precision-recall, images",
            CurveKind::PrecisionRecall,
            of(ScoreLevel::Image),
            None,
        ),
        charts::curves(
            "Precision-recall, pixels",
            CurveKind::PrecisionRecall,
            of(ScoreLevel::Pixel),
            None,
        ),
        charts::history("Loss", "loss", losses),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_told_by_their_whole_key() {
        let yaml = "a: { b: 1, c: [1, 2] }\nd: [{ e: x }, { e: null }]\nf: {}\n";
        let value: Json = serde_saphyr::from_str(yaml).unwrap();
        let mut found = Vec::new();
        flatten("", &value, &mut |key, value| found.push(format!("{key}={value}")));
        assert_eq!(found, ["a.b=1", "a.c=[1,2]", "d.0.e=x", "d.1.e=null", "f={}"]);
    }
}
