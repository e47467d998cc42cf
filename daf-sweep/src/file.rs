//! The file that describes a sweep, and how it becomes a manifest.

use std::path::{Path, PathBuf};

use daf_core::config::{Layers, Plugins, read_file};
use daf_core::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::manifest::{AxisNames, Job, Manifest};
use crate::view::{Checker, Panels, Plot, Selection, Table, View, plain};

/// A sweep as its file has it.
#[derive(Debug, Clone)]
pub struct SweepFile {
    path: PathBuf,
    written: Written,
    axes: Vec<Axis>,
}

/// The keys of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    output: Option<PathBuf>,
    #[serde(default)]
    base: Base,
    axes: Map<String, Value>,
    #[serde(default)]
    exclude: Vec<Selection>,
    #[serde(default)]
    smoke: Map<String, Value>,
    #[serde(default)]
    tables: Vec<Table>,
    #[serde(default)]
    plots: Vec<Plot>,
    #[serde(default)]
    panels: Vec<Panels>,
}

/// The pipeline that all jobs have in common.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a pipeline or the path of one")]
enum Base {
    File(PathBuf),
    Inline(Map<String, Value>),
}

impl Default for Base {
    fn default() -> Self {
        Self::Inline(Map::new())
    }
}

#[derive(Debug, Clone)]
struct Axis {
    name: String,
    variants: Vec<Variant>,
}

/// Settings under a name.
#[derive(Debug, Clone)]
struct Variant {
    name: String,
    settings: Layer,
    /// What the small form of a sweep sets on top.
    smoke: Map<String, Value>,
}

/// How a variant's settings were written.
#[derive(Debug, Clone)]
enum Layer {
    /// A map, which merges as a file does.
    Map(Map<String, Value>),
    /// The value of the key that the axis is named after.
    Value(Value),
}

/// In a variant, settings for the small form of the sweep.
const SMOKE: &str = "smoke";

/// What lies under and over the file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan<'a> {
    /// The lowest layer, as YAML.
    pub defaults: &'a str,
    /// Whether the small form of the sweep is planned.
    pub smoke: bool,
    /// Variables such as `DAF__TRAINER__STEPS`, over the file.
    pub environment: &'a [(String, String)],
    /// `KEY=VALUE`, over everything.
    pub settings: &'a [String],
}

/// Why a sweep cannot be planned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The file is at fault.
    #[error(transparent)]
    File(#[from] Error),
    /// A place of the grid has no sound pipeline.
    #[error("{}: the job with {at}", file.display())]
    Job {
        /// The sweep file.
        file: PathBuf,
        /// The variants.
        at: String,
        /// What is wrong with it.
        #[source]
        source: Box<Error>,
    },
}

impl SweepFile {
    /// Reads a sweep file. Its pipelines are not looked at yet.
    ///
    /// # Errors
    /// Names the key at fault, what was expected and what was found, and the nearest name that there is.
    pub fn read(path: &Path) -> Result<Self> {
        let written: Written = read_file(path)?;
        let axes = written
            .axes
            .iter()
            .map(|(name, variants)| Axis::read(path, name, variants));
        let file = Self {
            path: path.into(),
            axes: axes.collect::<Result<_>>()?,
            written,
        };
        let names = file.axes();
        let checker = Checker {
            file: path,
            axes: &names,
        };
        if names.is_empty() {
            let hint = "for example `axes: { seed: [1, 2, 3] }`".to_owned();
            return Err(checker.fault("axes", "expected at least one, found none".into(), Some(hint)));
        }
        for (number, selection) in file.written.exclude.iter().enumerate() {
            let at = format!("exclude[{number}]");
            if selection.is_empty() {
                return Err(checker.fault(&at, "expected variants of axes, found an empty map".into(), None));
            }
            checker.selection(&at, selection)?;
        }
        checker.view(&file.view())?;
        Ok(file)
    }

    /// Name of the sweep: its title, or the name of the file.
    #[must_use]
    pub fn title(&self) -> String {
        let name = || {
            self.path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        self.written.title.clone().unwrap_or_else(name)
    }

    /// The directory that the file wants for the sweep.
    #[must_use]
    pub fn output(&self) -> Option<&Path> {
        self.written.output.as_deref()
    }

    /// The axes with the names of their variants.
    #[must_use]
    pub fn axes(&self) -> Vec<AxisNames> {
        let names = |axis: &Axis| AxisNames {
            name: axis.name.clone(),
            variants: axis.variants.iter().map(|variant| variant.name.clone()).collect(),
        };
        self.axes.iter().map(names).collect()
    }

    /// The tables, plots and panels. Without any there is one table with a row per place of the grid.
    #[must_use]
    pub fn view(&self) -> View {
        let Written {
            tables,
            plots,
            panels,
            ..
        } = &self.written;
        let mut tables = tables.clone();
        if tables.is_empty() && plots.is_empty() && panels.is_empty() {
            let rows: Vec<_> = self
                .axes
                .iter()
                .map(|axis| axis.name.clone())
                .filter(|name| name != crate::SEED)
                .collect();
            tables.push(Table {
                title: self.title(),
                rows: if rows.is_empty() {
                    vec![crate::SEED.into()]
                } else {
                    rows
                },
                columns: Vec::new(),
                metrics: crate::Metric::of_the_paper(),
                mean: None,
                compare: None,
                only: Selection::new(),
                drop: None,
            });
        }
        View {
            tables,
            plots: plots.clone(),
            panels: panels.clone(),
        }
    }

    /// Resolves the pipeline of every place of the grid; equal ones become one job.
    ///
    /// # Errors
    /// Names the layer and the key at fault, and the first place of the grid that has no sound pipeline.
    pub fn plan(&self, plan: &Plan) -> Result<Manifest, PlanError> {
        let mut manifest = Manifest {
            daf: env!("CARGO_PKG_VERSION").into(),
            title: self.title(),
            smoke: plan.smoke,
            axes: self.axes(),
            view: self.view(),
            jobs: Vec::new(),
        };
        let base = self.base(plan)?;
        for cell in self.cells() {
            let names: Vec<String> = cell.iter().map(|(_, variant)| variant.name.clone()).collect();
            let job = self
                .layers(&base, &cell, plan)
                .and_then(|layers| layers.resolve())
                .and_then(Job::new)
                .map_err(|source| PlanError::Job {
                    file: self.path.clone(),
                    at: manifest.describe_cell(&names),
                    source: Box::new(source),
                })?;
            manifest.add(names, job);
        }
        if manifest.jobs.is_empty() {
            let checker = Checker {
                file: &self.path,
                axes: &manifest.axes,
            };
            return Err(checker
                .fault("exclude", "nothing is left of the grid".into(), None)
                .into());
        }
        Ok(manifest)
    }

    /// The crates that the jobs need, whether they are linked or not.
    ///
    /// # Errors
    /// Names the layer and the key at fault.
    pub fn plugins(&self, plan: &Plan) -> Result<Plugins> {
        let base = self.base(plan)?;
        let mut plugins = Plugins::new();
        for cell in self.cells() {
            plugins.extend(self.layers(&base, &cell, plan)?.plugins()?);
        }
        Ok(plugins)
    }

    fn base(&self, plan: &Plan) -> Result<Layers> {
        let defaults = Layers::new(plan.defaults)?;
        match &self.written.base {
            Base::File(path) => defaults.file(self.path.parent().unwrap_or(Path::new("")).join(path)),
            Base::Inline(settings) => Ok(defaults.settings(&self.path, "base", settings.clone())),
        }
    }

    fn layers(&self, base: &Layers, cell: &[(&Axis, &Variant)], plan: &Plan) -> Result<Layers> {
        let mut layers = base.clone();
        for (axis, variant) in cell {
            let at = format!("axes.{}.{}", axis.name, variant.name);
            layers = match &variant.settings {
                Layer::Map(settings) => layers.settings(&self.path, &at, settings.clone()),
                Layer::Value(value) => layers.setting(&self.path, &axis.name, value.clone())?,
            };
        }
        if plan.smoke {
            layers = layers.settings(&self.path, SMOKE, self.written.smoke.clone());
            for (axis, variant) in cell {
                let at = format!("axes.{}.{}.{SMOKE}", axis.name, variant.name);
                layers = layers.settings(&self.path, &at, variant.smoke.clone());
            }
        }
        layers
            .environment(plan.environment.iter().cloned())?
            .set(plan.settings)
    }

    /// The places of the grid that are not excluded; the last axis changes fastest.
    fn cells(&self) -> Vec<Vec<(&Axis, &Variant)>> {
        let mut cells = vec![Vec::new()];
        for axis in &self.axes {
            let longer = cells.iter().flat_map(|cell: &Vec<(&Axis, &Variant)>| {
                let with = |variant| cell.iter().copied().chain([(axis, variant)]).collect();
                axis.variants.iter().map(with)
            });
            cells = longer.collect();
        }
        let excluded = |cell: &Vec<(&Axis, &Variant)>| {
            self.written.exclude.iter().any(|selection| {
                cell.iter().all(|(axis, variant)| {
                    selection
                        .get(&axis.name)
                        .is_none_or(|names| names.has(&variant.name))
                })
            })
        };
        cells.retain(|cell| !excluded(cell));
        cells
    }
}

impl Axis {
    fn read(file: &Path, name: &str, value: &Value) -> Result<Self> {
        let at = format!("axes.{name}");
        let checker = Checker { file, axes: &[] };
        let fault = |at: &str, reason: &str, hint: &str| {
            let hint = Some(hint.to_owned()).filter(|hint| !hint.is_empty());
            checker.fault(at, reason.into(), hint)
        };
        if [crate::METRIC, "hash", "number", "state", "detail"].contains(&name) {
            return Err(fault(
                &at,
                "this name has a meaning of its own",
                "name the axis otherwise",
            ));
        }
        let variants = match value {
            Value::Object(map) => map
                .iter()
                .map(|(variant, settings)| Variant::read(&checker, &at, variant, settings))
                .collect::<Result<Vec<_>>>()?,
            Value::Array(list) => {
                let variant = |(place, value): (usize, &Value)| match plain(value) {
                    Some(name) => Ok(Variant {
                        name,
                        settings: Layer::Value(value.clone()),
                        smoke: Map::new(),
                    }),
                    None => Err(fault(
                        &format!("{at}[{place}]"),
                        "expected a number or a text",
                        "variants that are more than one value have names: `method: { DAF: { method: { type: daf } } }`",
                    )),
                };
                list.iter().enumerate().map(variant).collect::<Result<Vec<_>>>()?
            }
            _ => {
                return Err(fault(
                    &at,
                    "expected named variants, or a list of values for the key that the axis is named after",
                    "for example `seed: [1, 2, 3]`",
                ));
            }
        };
        if variants.is_empty() {
            return Err(fault(&at, "expected at least one variant, found none", ""));
        }
        for (place, variant) in variants.iter().enumerate() {
            if variants[..place].iter().any(|other| other.name == variant.name) {
                return Err(fault(&at, &format!("`{}` is given twice", variant.name), ""));
            }
        }
        Ok(Self {
            name: name.into(),
            variants,
        })
    }
}

impl Variant {
    fn read(checker: &Checker, axis: &str, name: &str, value: &Value) -> Result<Self> {
        let at = format!("{axis}.{name}");
        let expected =
            |at: &str| checker.fault(at, "expected a map of settings, as in a pipeline".into(), None);
        let mut settings = match value {
            Value::Object(map) => map.clone(),
            Value::Null => Map::new(),
            _ => return Err(expected(&at)),
        };
        let smoke = match settings.shift_remove(SMOKE) {
            Some(Value::Object(map)) => map,
            Some(Value::Null) | None => Map::new(),
            Some(_) => return Err(expected(&format!("{at}.{SMOKE}"))),
        };
        Ok(Self {
            name: name.into(),
            settings: Layer::Map(settings),
            smoke,
        })
    }
}
