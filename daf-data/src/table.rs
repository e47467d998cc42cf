//! Lists of images as CSV: a header line that names the columns, then a line per image.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};
use daf_core::data::files::{self, Spellings};
use daf_core::registry::nearest;
use daf_core::words::listed;
use daf_core::{Error, Item, Listing, Result, Split};

use crate::kind;

/// Column names of one kind of table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    pub(crate) path: &'static str,
    pub(crate) split: &'static str,
    pub(crate) label: &'static str,
    pub(crate) defect: &'static str,
    pub(crate) mask: &'static str,
    pub(crate) category: &'static str,
}

pub(crate) const MANIFEST: Columns = Columns {
    path: "path",
    split: "split",
    label: "label",
    defect: "defect",
    mask: "mask",
    category: "category",
};

impl Columns {
    const fn names(&self) -> [&'static str; 6] {
        [
            self.path,
            self.split,
            self.label,
            self.defect,
            self.mask,
            self.category,
        ]
    }
}

/// The kind of a defect that nobody has named.
pub(crate) const ABNORMAL: &str = "abnormal";

/// The kinds of defects in a cell, where commas stand between them, as [`Item::defect`] has them: each once,
/// in order.
pub(crate) fn kinds(cell: &str) -> Option<String> {
    let kinds = cell.split(',').map(str::trim).filter(|kind| !kind.is_empty());
    let mut kinds: Vec<&str> = kinds.collect();
    kinds.sort_unstable();
    kinds.dedup();
    (!kinds.is_empty()).then(|| kinds.join(Item::BETWEEN_KINDS))
}

/// A cell that cannot be used: its column and why.
type Fault = (&'static str, String);

/// Index of each column in a record.
struct Header {
    columns: Columns,
    at: HashMap<&'static str, usize>,
    fields: usize,
}

impl Header {
    fn new(columns: Columns, record: &StringRecord) -> Result<Self, String> {
        let mut at = HashMap::new();
        for (index, found) in record.iter().enumerate() {
            let known = columns.names().into_iter().find(|name| *name == found);
            if let Some(known) = known
                && at.insert(known, index).is_some()
            {
                return Err(format!("column `{known}`: expected once, found twice"));
            }
        }
        let all = columns.names().join(", ");
        // Other columns are the user's own; a misspelt one would silently leave out masks or kinds of
        // defects.
        for found in record {
            let missing = columns.names().into_iter().filter(|name| !at.contains_key(name));
            if let (false, Some(meant)) = (at.contains_key(found), nearest(found, missing)) {
                return Err(format!(
                    "column `{found}`: expected columns of {all}; did you mean `{meant}`?"
                ));
            }
        }
        for required in [columns.path, columns.split] {
            if !at.contains_key(required) {
                let found: Vec<_> = record.iter().collect();
                let hint = if found.len() == 1 && found[0].contains([';', '\t']) {
                    "; separate columns by commas"
                } else {
                    ""
                };
                return Err(format!(
                    "column `{required}` is missing: expected a header line with {all}, found {}{hint}",
                    found.join(", ")
                ));
            }
        }
        let fields = record.len();
        Ok(Self { columns, at, fields })
    }

    /// The text of a cell; `None` if it is empty or the table has no such column.
    fn cell<'a>(&self, record: &'a StringRecord, column: &'static str) -> Option<&'a str> {
        let text = record.get(*self.at.get(column)?)?;
        (!text.is_empty()).then_some(text)
    }

    fn row(
        &self,
        record: &StringRecord,
        base: &Path,
        spellings: &mut Spellings,
    ) -> Result<(Split, Item), Fault> {
        let Columns {
            path,
            split,
            label,
            defect,
            mask,
            category,
        } = self.columns;
        let cell = |column| self.cell(record, column);
        let image =
            base.join(cell(path).ok_or_else(|| (path, "expected an image file, found nothing".into()))?);
        let image = spellings.locate(&image);
        let of_split = match cell(split) {
            Some("train") => Split::Train,
            Some("test") => Split::Test,
            other => {
                let found = other.map_or("nothing".into(), |other| format!("`{other}`"));
                return Err((split, format!("expected train or test, found {found}")));
            }
        };
        let abnormal = match cell(label) {
            Some("normal" | "good") => Some(false),
            Some("abnormal" | "anomaly") => Some(true),
            None => None,
            Some(other) => {
                let reason = format!(
                    "expected normal or abnormal, found `{other}`; the kind of a defect goes in `{defect}`"
                );
                return Err((label, reason));
            }
        };
        let kind = cell(defect).and_then(kinds);
        for kind in kind.iter().flat_map(|kinds| kinds.split(Item::BETWEEN_KINDS)) {
            if abnormal != Some(false) {
                kind::check(kind).map_err(|reason| (defect, reason))?;
            }
        }
        let mask_file = cell(mask).map(|mask| spellings.locate(&base.join(mask)));
        let item = match (abnormal, kind, mask_file) {
            (Some(false), Some(kind), _) => {
                return Err((
                    defect,
                    format!("expected nothing for a normal image, found `{kind}`"),
                ));
            }
            (Some(false), _, Some(_)) => {
                return Err((mask, "expected nothing for a normal image, found a file".into()));
            }
            (Some(false), None, None) | (None, None, None) => Item::normal(image),
            (_, kind, mask) => Item::anomalous(image, mask, kind.unwrap_or_else(|| ABNORMAL.into())),
        };
        if of_split == Split::Train && item.is_anomalous() {
            let reason =
                "expected only normal images to learn from, found a defect: write test or leave the line out";
            return Err((split, reason.into()));
        }
        let category = cell(category).map(str::to_owned);
        Ok((of_split, Item { category, ..item }))
    }
}

/// The kinds of defects of images, by the columns `image` and `label` of the table `file`, where `normal` is
/// none. Paths start at `base`. Nothing if there is no such table, or if it has other columns.
pub(crate) fn annotations(file: &Path, base: &Path) -> Result<HashMap<PathBuf, String>> {
    if !file.is_file() {
        return Ok(HashMap::new());
    }
    let failed = |error| unreadable(file, error);
    let mut reader = ReaderBuilder::new()
        .trim(Trim::All)
        .from_path(file)
        .map_err(failed)?;
    let header = reader.headers().map_err(failed)?;
    let column = |name| header.iter().position(|found| found == name);
    let (Some(image), Some(label)) = (column("image"), column("label")) else {
        return Ok(HashMap::new());
    };
    let mut annotations = HashMap::new();
    let mut spellings = Spellings::default();
    for record in reader.records() {
        let record = record.map_err(failed)?;
        if let Some(kinds) = kinds(&record[label]).filter(|kinds| kinds != "normal") {
            annotations.insert(spellings.locate(&base.join(&record[image])), kinds);
        }
    }
    Ok(annotations)
}

/// The rows of a split in the table `file` whose category passes `keep`. Paths start at `base`.
///
/// Faults name line and column; a faulty line does not keep the others from being read.
pub(crate) fn list(
    file: &Path,
    base: &Path,
    columns: Columns,
    split: Split,
    keep: impl Fn(Option<&str>) -> bool,
) -> Result<Listing> {
    if !file.is_file() {
        return Err(files::missing_file(file));
    }
    let mut reader = ReaderBuilder::new()
        .trim(Trim::All)
        .flexible(true)
        .from_path(file)
        .map_err(|e| unreadable(file, e))?;
    let header = reader.headers().map_err(|e| unreadable(file, e))?;
    let header =
        Header::new(columns, header).map_err(|reason| Error::data(file, format!("line 1, {reason}")))?;
    let mut listing = Listing::default();
    let mut seen: HashMap<PathBuf, u64> = HashMap::new();
    let mut spellings = Spellings::default();
    let mut has_labels = false;
    let mut without_label = Vec::new();
    let mut record = StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(e) if e.is_io_error() => return Err(unreadable(file, e)),
            Err(e) => {
                listing.faults.push(unreadable(file, e).into());
                continue;
            }
        }
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != header.fields {
            let reason = format!(
                "line {line}: expected {} fields, found {}; put quotes around a text that holds a comma",
                header.fields,
                record.len()
            );
            listing.faults.push(Error::data(file, reason).into());
            continue;
        }
        let mut fault = |column, reason| {
            let reason = format!("line {line}, column `{column}`: {reason}");
            listing.faults.push(Error::data(file, reason).into());
        };
        let (of_split, item) = match header.row(&record, base, &mut spellings) {
            Ok(row) => row,
            Err((column, reason)) => {
                fault(column, reason);
                continue;
            }
        };
        if !keep(item.category.as_deref()) {
            continue;
        }
        // Also across splits: measuring on images that were learned from flatters every method.
        if let Some(first) = seen.get(&item.image) {
            fault(
                columns.path,
                format!("{} is in line {first} too", item.image.display()),
            );
            continue;
        }
        seen.insert(item.image.clone(), line);
        let label = header.cell(&record, columns.label);
        has_labels |= label.is_some();
        if of_split != split {
            continue;
        }
        let files = [
            (columns.path, Some(&item.image)),
            (columns.mask, item.mask.as_ref()),
        ];
        let absent = files
            .into_iter()
            .find_map(|(column, path)| Some((column, path.filter(|path| !path.is_file())?)));
        if let Some((column, path)) = absent {
            let place = path.parent().filter(|folder| !folder.is_dir());
            let place = place.map_or(String::new(), |folder| {
                format!(": {} is no folder either", folder.display())
            });
            let hint = files::hint(path);
            let path = path.display();
            fault(column, format!("no such file: {path}{place}{hint}"));
            continue;
        }
        if split == Split::Test && !item.is_anomalous() && label.is_none() {
            without_label.push((listing.items.len(), line));
        }
        listing.items.push(item);
    }
    // Not labeled yet is not normal. Where no line has a label, the table tells defects otherwise.
    if has_labels && !without_label.is_empty() {
        let lines: Vec<u64> = without_label.iter().map(|&(_, line)| line).collect();
        listing
            .faults
            .push(Error::data(file, unlabeled(&lines, columns.label)).into());
        let mut without_label = without_label.into_iter().map(|(index, _)| index).peekable();
        let mut indices = 0..;
        (listing.items).retain(|_| {
            without_label
                .next_if_eq(&indices.next().unwrap_or_default())
                .is_none()
        });
    }
    if split == Split::Train && listing.items.is_empty() && listing.faults.is_empty() {
        let reason = format!(
            "no normal images: expected lines with `train` in `{}`, found {} with `test`",
            columns.split,
            seen.len()
        );
        return Err(Error::data(file, reason));
    }
    Ok(listing)
}

/// Test rows of which nobody has said what they show.
fn unlabeled(lines: &[u64], column: &str) -> String {
    let (rows, at) = match lines.len() {
        1 => ("1 test row".to_owned(), "line"),
        many => (format!("{many} test rows"), "lines"),
    };
    let told = listed(lines, 8);
    format!("{rows} without a label ({at} {told}): write normal or abnormal in `{column}`, or take them out")
}

fn unreadable(file: &Path, error: csv::Error) -> Error {
    let line = error
        .position()
        .map(|at| format!("line {}: ", at.line()))
        .unwrap_or_default();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::io(file)(source),
        csv::ErrorKind::Utf8 { .. } => {
            Error::data(file, format!("{line}expected UTF-8 text, found other bytes"))
        }
        _ => Error::data(file, format!("{line}expected comma-separated values")),
    }
}
