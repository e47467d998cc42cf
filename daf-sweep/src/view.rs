//! Tables, plots and panels that a sweep file asks for.

use std::collections::BTreeMap;
use std::path::Path;

use daf_core::config::Setting;
use daf_core::registry::nearest;
use daf_core::results::Metric;
use daf_core::words::listed;
use daf_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::axis::AxisNames;

/// The axis over which standard deviations are taken, if a sweep has it.
pub const SEED: &str = "seed";
/// Name that stands for the metrics among the rows or columns of a table.
pub const METRIC: &str = "metric";

/// The tables, plots and panels of a sweep.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct View {
    /// Tables, in the order in which they are shown.
    pub tables: Vec<TableSpec>,
    /// Plots of metrics along an axis.
    pub plots: Vec<PlotSpec>,
    /// Heat maps side by side.
    pub panels: Vec<PanelSpec>,
}

/// Metrics in rows and columns. What is in neither is averaged: first over all other axes, seed by seed, then
/// over the seeds, whose standard deviation is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// Title of the table.
    pub title: String,
    /// Axes, or `metric`, whose combinations are the rows.
    pub rows: Vec<String>,
    /// Axes, or `metric`, whose combinations are the columns; the metrics by default.
    #[serde(default)]
    pub columns: Vec<String>,
    /// The metrics; by default I-AUC, P-AUC, P-PRO and P-mAP.
    #[serde(default = "Metric::of_the_paper")]
    pub metrics: Vec<Metric>,
    /// The last axis of the rows or of the columns, over which means are shown as well.
    #[serde(default)]
    pub mean: Option<String>,
    /// The axis whose variants compete for being the best; by default the last one of the rows that is not
    /// averaged.
    #[serde(default)]
    pub compare: Option<String>,
    /// Variants by axis to which the jobs are restricted.
    #[serde(default)]
    pub only: Selection,
    /// Reference for losses, which are shown in place of the metrics: the metric under this variant of an
    /// axis minus the metric under each other one, seed by seed.
    #[serde(default)]
    pub drop: Option<BTreeMap<String, String>>,
}

/// A metric along an axis, one line per variant of another; one plot per metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlotSpec {
    /// Title of the plots.
    pub title: String,
    /// The axis along which they go.
    pub x: String,
    /// The axis that has a line for each variant.
    pub lines: String,
    /// The metrics; by default I-AUC, P-AUC, P-PRO and P-mAP.
    #[serde(default = "Metric::of_the_paper")]
    pub metrics: Vec<Metric>,
    /// Variants by axis to which the jobs are restricted.
    #[serde(default)]
    pub only: Selection,
}

/// Defective test images with their true defects and the heat maps of several jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PanelSpec {
    /// Title of the panels.
    pub title: String,
    /// The axis whose variants' heat maps stand side by side.
    pub of: String,
    /// Variants by axis to which the jobs are restricted.
    #[serde(default)]
    pub only: Selection,
    /// Number of images, spread over the kinds of defect.
    #[serde(default = "six")]
    pub images: usize,
}

const fn six() -> usize {
    6
}

/// Variants by axis.
pub type Selection = BTreeMap<String, Names>;

/// Names of variants; a single one needs no list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Setting")]
pub struct Names(pub Vec<String>);

impl TryFrom<Setting> for Names {
    type Error = String;
    fn try_from(setting: Setting) -> Result<Self, String> {
        let name = |setting: &Setting| setting.written().map(str::to_owned);
        let names = match &setting {
            Setting::List(list) => list.iter().map(name).collect(),
            one => name(one).map(|name| vec![name]),
        };
        names
            .map(Self)
            .ok_or_else(|| "expected the name of a variant or a list of names".into())
    }
}

impl Names {
    /// Whether a variant is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|known| known == name)
    }
}

/// Number of names that a message shows.
const SHOWN: usize = 32;

/// Check of the names of axes and variants in a file.
pub(crate) struct Checker<'a> {
    pub(crate) file: &'a Path,
    pub(crate) axes: &'a [AxisNames],
}

impl Checker<'_> {
    pub(crate) fn fault(&self, at: &str, reason: String, hint: Option<String>) -> Error {
        Error::Config {
            layer: self.file.display().to_string(),
            at: at.into(),
            reason,
            hint,
        }
    }

    fn unknown(&self, at: &str, what: &str, given: &str, names: &[&str]) -> Error {
        let near = nearest(given, names.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        self.fault(
            at,
            format!("there is no {what} `{given}`, only {}", listed(&names, SHOWN)),
            near,
        )
    }

    fn axis(&self, at: &str, given: &str) -> Result<&AxisNames> {
        self.axes.iter().find(|axis| axis.name == given).ok_or_else(|| {
            let names: Vec<_> = self.axes.iter().map(|axis| axis.name.as_str()).collect();
            self.unknown(at, "axis", given, &names)
        })
    }

    fn variant(&self, at: &str, axis: &AxisNames, given: &str) -> Result<()> {
        if axis.variants.iter().any(|name| name == given) {
            return Ok(());
        }
        let names: Vec<_> = axis.variants.iter().map(String::as_str).collect();
        self.unknown_variant(at, axis, given, &names)
    }

    fn unknown_variant(&self, at: &str, axis: &AxisNames, given: &str, names: &[&str]) -> Result<()> {
        Err(self.unknown(at, &format!("variant of `{}`", axis.name), given, names))
    }

    pub(crate) fn selection(&self, at: &str, selection: &Selection) -> Result<()> {
        for (axis, names) in selection {
            let at = format!("{at}.{axis}");
            let axis = self.axis(&at, axis)?;
            for name in &names.0 {
                self.variant(&at, axis, name)?;
            }
        }
        Ok(())
    }

    pub(crate) fn view(&self, view: &View) -> Result<()> {
        for (number, table) in view.tables.iter().enumerate() {
            self.table(&format!("tables[{number}]"), table)?;
        }
        for (number, plot) in view.plots.iter().enumerate() {
            let at = format!("plots[{number}]");
            self.axis(&format!("{at}.x"), &plot.x)?;
            self.axis(&format!("{at}.lines"), &plot.lines)?;
            self.selection(&format!("{at}.only"), &plot.only)?;
        }
        for (number, panels) in view.panels.iter().enumerate() {
            let at = format!("panels[{number}]");
            self.axis(&format!("{at}.of"), &panels.of)?;
            self.selection(&format!("{at}.only"), &panels.only)?;
            if panels.images == 0 {
                let reason = "expected at least 1, found 0".into();
                return Err(self.fault(&format!("{at}.images"), reason, None));
            }
        }
        Ok(())
    }

    fn table(&self, at: &str, table: &TableSpec) -> Result<()> {
        let mut seen: Vec<&str> = Vec::new();
        for (side, names) in [("rows", &table.rows), ("columns", &table.columns)] {
            for (place, name) in names.iter().enumerate() {
                let at = format!("{at}.{side}[{place}]");
                if name != METRIC {
                    self.axis(&at, name)?;
                }
                if seen.contains(&name.as_str()) {
                    return Err(self.fault(&at, format!("`{name}` is given twice"), None));
                }
                seen.push(name);
            }
        }
        let lacks = |key: &str| {
            let reason = "expected at least one, found none".into();
            Err(self.fault(&format!("{at}.{key}"), reason, None))
        };
        if table.rows.is_empty() {
            return lacks("rows");
        }
        if table.metrics.is_empty() {
            return lacks("metrics");
        }
        if let Some(mean) = &table.mean {
            let at = format!("{at}.mean");
            self.axis(&at, mean)?;
            if ![table.rows.last(), table.columns.last()].contains(&Some(mean)) {
                let reason = format!("expected the last one of the rows or columns, found `{mean}`");
                return Err(self.fault(&at, reason, None));
            }
        }
        if let Some(compare) = &table.compare {
            let at = format!("{at}.compare");
            self.axis(&at, compare)?;
            if !seen.contains(&compare.as_str()) {
                let reason = format!("expected one of the rows or columns, found `{compare}`");
                return Err(self.fault(&at, reason, None));
            }
        }
        self.selection(&format!("{at}.only"), &table.only)?;
        if let Some(drop) = &table.drop {
            let at = format!("{at}.drop");
            if drop.len() != 1 {
                let reason = format!(
                    "expected one axis and the variant that the others are compared with, found {} axes",
                    drop.len()
                );
                return Err(self.fault(&at, reason, Some("for example `drop: { strategy: DRA }`".into())));
            }
            for (name, variant) in drop {
                let at = format!("{at}.{name}");
                self.variant(&at, self.axis(&at, name)?, variant)?;
                if !seen.contains(&name.as_str()) {
                    let reason = format!("`{name}` has to be among the rows or columns");
                    return Err(self.fault(&at, reason, None));
                }
            }
        }
        Ok(())
    }
}
