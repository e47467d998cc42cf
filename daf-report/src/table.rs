//! Tables of metrics, the same ones on a page and in a terminal.

use daf_core::results::{Measurements, Metric, Metrics, Value};

/// Metrics of several things, one per row.
#[derive(Debug, askama::Template)]
#[template(path = "table.html")]
pub(crate) struct Table {
    /// Name for the rows, over the first column.
    pub(crate) of: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    /// Reasons for missing values, and other remarks.
    pub(crate) notes: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) meaning: &'static str,
    /// Whether it holds words, which begin at the left.
    pub(crate) is_text: bool,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Whether it sums up other rows.
    pub(crate) total: bool,
    pub(crate) cells: Vec<Cell>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    /// Value by which cells of a column are compared.
    pub(crate) value: Option<f64>,
    pub(crate) best: bool,
    /// Number, from 1, of the note with the reason for a missing value or a remark.
    pub(crate) note: Option<usize>,
}

impl Cell {
    pub(crate) fn plain(text: String) -> Self {
        Self {
            text,
            value: None,
            best: false,
            note: None,
        }
    }
}

/// A share in percent with one digit, as the paper's tables have it.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

impl Table {
    /// A table of metrics in percent; `of` stands over the first column.
    pub(crate) fn new(of: &str) -> Self {
        let column = |name: &str, meaning| Column {
            name: name.to_owned(),
            meaning,
            is_text: false,
        };
        let images = column("images", "normal images + images with a defect");
        let metrics = Metric::shares().map(|metric| column(metric.short(), metric.meaning()));
        Self {
            of: of.to_owned(),
            columns: std::iter::once(images).chain(metrics).collect(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A table of the defect types of a run.
    pub(crate) fn by_defect(found: &Measurements) -> Self {
        let mut table = Self::new("defect type");
        found
            .by_defect
            .iter()
            .for_each(|(name, metrics)| table.add(name, metrics, false));
        table.add("all", &found.overall, true);
        table
    }

    /// A table of the categories of a run, if it has several, with their mean.
    pub(crate) fn by_category(found: &Measurements) -> Option<Self> {
        let mean = found.mean.as_ref()?;
        let mut table = Self::new("category");
        found
            .by_category
            .iter()
            .for_each(|(name, metrics)| table.add(name, metrics, false));
        let mut cells = vec![Cell::plain(String::new())];
        for metric in Metric::shares() {
            cells.push(match mean.get(metric.name()) {
                Some(share) => number(*share),
                None => missing(table.note("not every category has it")),
            });
        }
        table.rows.push(Row {
            name: "mean of the categories".into(),
            total: true,
            cells,
        });
        table.add("all images together", &found.overall, true);
        Some(table)
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, name: &str, metrics: &Metrics, total: bool) {
        let mut cells = vec![Cell::plain(format!("{} + {}", metrics.normal, metrics.anomalous))];
        for (_, value) in metrics.values() {
            cells.push(match value {
                Value::Number(share) => number(*share),
                Value::Missing { unavailable } => missing(self.note(unavailable)),
            });
        }
        self.rows.push(Row {
            name: name.to_owned(),
            total,
            cells,
        });
    }

    /// A table with columns of its own, to which [`add_column`](Self::add_column) adds.
    pub(crate) fn of(of: &str, rows: impl IntoIterator<Item = String>) -> Self {
        let row = |name| Row {
            name,
            total: false,
            cells: Vec::new(),
        };
        Self {
            of: of.to_owned(),
            columns: Vec::new(),
            rows: rows.into_iter().map(row).collect(),
            notes: Vec::new(),
        }
    }

    /// Adds a row of which nothing is known.
    pub(crate) fn add_missing(&mut self, name: &str, reason: &str) {
        let note = self.note(reason);
        let cells = vec![missing(note); self.columns.len()];
        self.rows.push(Row {
            name: name.to_owned(),
            total: false,
            cells,
        });
    }

    /// Marks the largest value of each column, where there are several rows; all of those that read the same.
    pub(crate) fn mark_best(&mut self) {
        if self.rows.len() < 2 {
            return;
        }
        for column in 0..self.columns.len() {
            let cells = || self.rows.iter().filter_map(|row| row.cells.get(column));
            let best = cells()
                .filter(|cell| cell.value.is_some())
                .max_by(|a, b| a.value.partial_cmp(&b.value).unwrap_or(std::cmp::Ordering::Equal));
            let Some(best) = best.map(|cell| cell.text.clone()) else {
                continue;
            };
            for cell in self.rows.iter_mut().filter_map(|row| row.cells.get_mut(column)) {
                cell.best = cell.value.is_some() && cell.text == best;
            }
        }
    }

    /// Adds a column of figures that compare as metrics do: each with how it reads, or the reason why there
    /// is none.
    pub(crate) fn add_column(
        &mut self,
        name: &str,
        meaning: &'static str,
        values: &[Result<(f64, String), String>],
    ) {
        self.columns.push(Column {
            name: name.to_owned(),
            meaning,
            is_text: false,
        });
        for (place, value) in values.iter().enumerate() {
            let cell = match value {
                Ok((value, text)) => Cell {
                    value: Some(*value),
                    ..Cell::plain(text.clone())
                },
                Err(reason) => missing(self.note(reason)),
            };
            if let Some(row) = self.rows.get_mut(place) {
                row.cells.push(cell);
            }
        }
    }

    /// Adds a column of words.
    pub(crate) fn add_texts(&mut self, name: &str, texts: impl IntoIterator<Item = String>) {
        self.columns.push(Column {
            name: name.to_owned(),
            meaning: "",
            is_text: true,
        });
        for (row, text) in self.rows.iter_mut().zip(texts) {
            row.cells.push(Cell::plain(text));
        }
    }

    /// Number of the note with the reason for a missing value.
    pub(crate) fn note(&mut self, reason: &str) -> usize {
        self.remark(&format!("not available: {reason}"))
    }

    /// Number of the note with this text.
    pub(crate) fn remark(&mut self, text: &str) -> usize {
        if let Some(place) = self.notes.iter().position(|known| known == text) {
            return place + 1;
        }
        self.notes.push(text.to_owned());
        self.notes.len()
    }

    /// The table as Markdown, its columns aligned so that it reads well in a terminal; the best values in
    /// bold.
    pub(crate) fn markdown(&self) -> String {
        let text = |cell: &Cell| {
            let text = match cell {
                Cell {
                    text, note: Some(_), ..
                } if text.is_empty() => "–".to_owned(),
                Cell { best: true, text, .. } => format!("**{text}**"),
                Cell { text, .. } => escaped(text),
            };
            cell.note.map_or(text.clone(), |note| format!("{text} ({note})"))
        };
        let columns = self.columns.iter().map(|column| escaped(&column.name));
        let head = std::iter::once(escaped(&self.of)).chain(columns);
        let mut lines: Vec<Vec<String>> = vec![head.collect()];
        for row in &self.rows {
            let name = std::iter::once(escaped(&row.name));
            lines.push(name.chain(row.cells.iter().map(text)).collect());
        }
        let widths: Vec<usize> = (0..=self.columns.len())
            .map(|column| {
                lines
                    .iter()
                    .filter_map(|line| line.get(column))
                    .map(|cell| cell.chars().count())
                    .max()
            })
            .map(|width| width.unwrap_or(0).max(3))
            .collect();
        let left = |place: usize| place == 0 || self.columns[place - 1].is_text;
        let rule = |(place, width): (usize, &usize)| {
            let colon = if left(place) { "-" } else { ":" };
            format!("{}{colon}", "-".repeat(width - 1))
        };
        let rule: Vec<String> = widths.iter().enumerate().map(rule).collect();
        lines.insert(1, rule);
        let mut out = String::new();
        for line in lines {
            out.push('|');
            for ((place, cell), width) in line.iter().enumerate().zip(&widths) {
                let cell = if left(place) {
                    format!(" {cell:<width$} |")
                } else {
                    format!(" {cell:>width$} |")
                };
                out.push_str(&cell);
            }
            out.push('\n');
        }
        for (number, note) in (1..).zip(&self.notes) {
            out.push_str(&format!("\n({number}) {note}\n"));
        }
        out
    }
}

fn number(share: f64) -> Cell {
    Cell {
        value: Some(share),
        ..Cell::plain(percent(share))
    }
}

pub(crate) fn missing(note: usize) -> Cell {
    Cell {
        note: Some(note),
        ..Cell::plain(String::new())
    }
}

/// Text in a cell of Markdown.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('|', "\\|")
        .replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(share: f64) -> Metrics {
        let value = || Value::Number(share);
        Metrics {
            normal: 3,
            anomalous: 4,
            image_auroc: value(),
            image_ap: value(),
            image_f1_max: value(),
            pixel_auroc: Value::Missing {
                unavailable: "no masks".into(),
            },
            pixel_pro: value(),
            pixel_ap: value(),
            pixel_f1_max: value(),
            pixel_iou_max: value(),
            aupimo: value(),
        }
    }

    #[test]
    fn the_best_are_bold_and_what_is_missing_has_its_reason() {
        let mut table = Table::new("run");
        table.add("a|b", &metrics(0.5), false);
        table.add("c", &metrics(0.984), false);
        table.add("d", &metrics(0.9838), false);
        table.mark_best();
        let text = table.markdown();
        assert!(text.contains("| a\\|b |  3 + 4 |     50.0 | – (1) |"), "{text}");
        // What reads the same is equally good.
        assert_eq!(text.matches("**98.4**").count(), 2 * 8, "{text}");
        assert!(text.ends_with("(1) not available: no masks\n"), "{text}");
        let widths: Vec<_> = text.lines().take(5).map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    }

    #[test]
    fn a_table_of_one_has_no_best() {
        let mut table = Table::new("run");
        table.add("a", &metrics(0.5), false);
        table.mark_best();
        assert!(!table.markdown().contains("**"));
    }
}
