//! The page of a sweep: its tables, plots and panels.

use askama::Template;
use daf_core::{Error, Result};
use daf_sweep::{CellResult, Figure, Figures, Metric, Profile, State, SweepResults};

use crate::page::significant;
use crate::panels::Panel;
use crate::plot::{Chart, profile};
use crate::table::{Cell, Column, Row, Table, missing, percent};

/// Tables, plots and panels of a sweep, made by [`sweep()`].
#[derive(Debug)]
pub struct SweepReport {
    title: String,
    summary: String,
    smoke: bool,
    tables: Vec<(Figures, Table)>,
    plots: Vec<(String, Vec<Chart>)>,
    panels: Vec<Panel>,
    axes: Vec<String>,
    jobs: Vec<JobLine>,
}

/// A job in the list of all.
#[derive(Debug)]
struct JobLine {
    number: usize,
    hash: String,
    cell: Vec<String>,
    state: &'static str,
    /// Whether there is a report on its run.
    report: bool,
    detail: String,
}

/// Makes the tables, plots and panels of a sweep. What is missing is shown as missing.
///
/// # Errors
/// If a run's file is damaged.
pub fn sweep(results: &SweepResults) -> Result<SweepReport> {
    let manifest = results.manifest();
    let tables = manifest.view.tables.iter().map(|table| results.table(table));
    let plots = manifest.view.plots.iter().map(|plot| {
        let charts = results.profiles(plot).into_iter().map(chart);
        (plot.title.clone(), charts.collect())
    });
    let mut panels = Vec::new();
    for (number, wanted) in (1..).zip(&manifest.view.panels) {
        panels.push(Panel::of(results, wanted, number)?);
    }
    Ok(SweepReport {
        title: manifest.title.clone(),
        summary: summary(results),
        smoke: manifest.smoke,
        tables: tables
            .map(|figures| {
                let table = table(&figures);
                (figures, table)
            })
            .collect(),
        plots: plots.collect(),
        panels,
        axes: manifest.axes.iter().map(|axis| axis.name.clone()).collect(),
        jobs: results.list().iter().map(JobLine::of).collect(),
    })
}

impl SweepReport {
    /// The tables, for a terminal or a file of Markdown; the best values in bold.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!("# {}\n\n{}\n", self.title, self.summary);
        if self.smoke {
            out.push_str(&format!("\n{SMOKE}\n"));
        }
        for (figures, table) in &self.tables {
            out.push_str(&format!("\n## {}\n\n{}", figures.title, table.markdown()));
        }
        out
    }

    /// A page that stands alone, but for links to the reports on the runs.
    ///
    /// # Errors
    /// If the page cannot be put together, of which no case is known.
    pub fn html(&self) -> Result<String> {
        let page = Page { report: self };
        page.render()
            .map_err(|error| Error::data("sweep", error.to_string()))
    }

    /// The panels as PNG files, by name.
    pub fn pictures(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.panels
            .iter()
            .filter(|panel| !panel.rows.is_empty())
            .map(|panel| (panel.file.as_str(), panel.png.as_slice()))
    }
}

#[derive(Template)]
#[template(path = "sweep.html")]
struct Page<'a> {
    report: &'a SweepReport,
}

const SMOKE: &str =
    "This is the small form of the sweep, which only tries out whether it works: its figures mean nothing.";

fn summary(results: &SweepResults) -> String {
    let manifest = results.manifest();
    let jobs = manifest.jobs.len();
    let hashes = |finished: bool| {
        let mut hashes: Vec<_> = results
            .list()
            .iter()
            .filter(|result| (result.state == State::Finished) == finished)
            .map(|result| &result.hash)
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes.len()
    };
    let finished = hashes(true);
    let rest = match hashes(false) {
        0 => String::new(),
        rest => format!(" {rest} are missing."),
    };
    let axes = manifest.axes.iter();
    let axes: Vec<_> = axes
        .map(|axis| format!("{} ({})", axis.name, axis.variants.len()))
        .collect();
    format!(
        "{} finished of {jobs} jobs over {}.{rest}",
        finished,
        axes.join(" × ")
    )
}

/// The figures of a table as they are shown.
fn table(figures: &Figures) -> Table {
    let mut heads = figures.heads.iter();
    let mut table = Table::of(heads.next().map_or("", String::as_str), []);
    let plain = |name: &String| Column {
        name: name.clone(),
        meaning: "",
        is_text: true,
    };
    table.columns.extend(heads.map(plain));
    table.columns.extend(figures.columns.iter().map(|name| {
        let metric = Metric::ALL.iter().find(|metric| metric.short() == name);
        Column {
            name: name.clone(),
            meaning: metric.map_or("", |metric| metric.meaning()),
            is_text: false,
        }
    }));
    for row in &figures.rows {
        let mut names = row.names.iter().cloned();
        let name = names.next().unwrap_or_default();
        let mut cells: Vec<Cell> = names.map(Cell::plain).collect();
        for figure in &row.figures {
            let cell = cell(figure, &mut table);
            cells.push(cell);
        }
        table.rows.push(Row {
            name,
            total: row.is_mean,
            cells,
        });
    }
    table
}

fn cell(figure: &Figure, table: &mut Table) -> Cell {
    match figure {
        Figure::Outside => Cell::plain("/".into()),
        Figure::Missing(reason) => missing(table.note(reason)),
        Figure::Measured {
            spread,
            metric,
            note,
            best,
            ..
        } => {
            let text = |value: f64| match metric {
                share if share.is_share() => percent(value),
                _ => significant(value),
            };
            let std = spread
                .std
                .map_or_else(String::new, |std| format!(" ± {}", text(std)));
            Cell {
                value: Some(spread.mean),
                best: *best,
                note: note.as_ref().map(|note| table.remark(note)),
                ..Cell::plain(format!("{}{std}", text(spread.mean)))
            }
        }
    }
}

fn chart(found: Profile) -> Chart {
    let Profile {
        metric,
        places,
        lines,
    } = found;
    let factor = if metric.is_share() { 100.0 } else { 1.0 };
    let series: Vec<_> = lines
        .into_iter()
        .map(|line| {
            let points = line
                .points
                .into_iter()
                .map(|point| point.map(|spread| (factor * spread.mean, factor * spread.std.unwrap_or(0.0))));
            (line.name, points.collect::<Vec<_>>())
        })
        .collect();
    let title = if metric.is_share() {
        format!("{} in %", metric.short())
    } else {
        metric.short().to_owned()
    };
    let value =
        |point: &Option<(f64, f64)>| point.map_or_else(|| "missing".into(), |(mean, _)| format!("{mean:.1}"));
    let read = series.iter().map(|(name, points)| {
        let values = places.iter().zip(points);
        let values: Vec<_> = values
            .map(|(place, point)| format!("{place} {}", value(point)))
            .collect();
        format!("{name}: {}", values.join(", "))
    });
    let description = format!("{title}. {}", read.collect::<Vec<_>>().join(". "));
    let known = series
        .iter()
        .any(|(_, points)| points.iter().any(Option::is_some));
    let plot = match known {
        true => Ok(profile(metric.short(), &places, &series)),
        false => Err("no job that it needs is finished".into()),
    };
    Chart {
        title: title.into(),
        description,
        plot,
    }
}

impl JobLine {
    fn of(result: &CellResult) -> Self {
        Self {
            number: result.number,
            hash: result.hash.clone(),
            cell: result.cell.clone(),
            state: result.state.name(),
            report: result.dir.join(crate::FILE).is_file(),
            detail: match &result.state {
                State::Failed(reason) => reason.clone(),
                _ => String::new(),
            },
        }
    }
}
