//! The file that describes a sweep, and its planning into a manifest.

use std::fmt;
use std::path::{Path, PathBuf};

use daf_core::config::{Layers, Plugins, Setting, Settings, read_file};
use daf_core::{Error, Result};
use daf_pipeline::Pipeline;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::axis::AxisNames;
use crate::manifest::{Job, SweepManifest};
use crate::view::{Checker, PanelSpec, PlotSpec, Selection, TableSpec, View};

/// A sweep file.
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
    axes: Settings,
    #[serde(default)]
    exclude: Vec<Selection>,
    #[serde(default)]
    smoke: Base,
    #[serde(default)]
    tables: Vec<TableSpec>,
    #[serde(default)]
    plots: Vec<PlotSpec>,
    #[serde(default)]
    panels: Vec<PanelSpec>,
}

/// Settings that all jobs have in common, or the pipeline file that holds them.
#[derive(Debug, Clone)]
enum Base {
    File(PathBuf),
    Inline(Settings),
}

impl Default for Base {
    fn default() -> Self {
        Self::Inline(Settings::new())
    }
}

impl<'de> Deserialize<'de> for Base {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BaseVisitor;
        impl<'de> Visitor<'de> for BaseVisitor {
            type Value = Base;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("settings or the path of a pipeline file")
            }
            fn visit_str<E>(self, path: &str) -> Result<Base, E> {
                Ok(Base::File(path.into()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Base, A::Error> {
                Settings::deserialize(MapAccessDeserializer::new(map)).map(Base::Inline)
            }
        }
        deserializer.deserialize_any(BaseVisitor)
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
    settings: VariantSettings,
    /// Settings on top for the small form of a sweep.
    smoke: Settings,
}

/// Settings of a variant, in either form in which a file can have them.
#[derive(Debug, Clone)]
enum VariantSettings {
    /// A map, which merges as a file does.
    Map(Settings),
    /// The value of the key that the axis is named after.
    Value(Setting),
}

/// Places of a grid; every one of them is read as a pipeline before any job begins.
const LARGEST_GRID: usize = 100_000;

/// Key in a variant of the settings for the small form of the sweep.
const SMOKE: &str = "smoke";

/// Layers of settings under and over the sweep file.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanOptions<'a> {
    /// The lowest layer, as YAML.
    pub defaults: &'a str,
    /// Whether the small form of the sweep is planned: with its settings, and with random in place of
    /// published weights.
    pub smoke: bool,
    /// Variables such as `DAF__TRAINER__STEPS`, over the file.
    pub environment: &'a [(String, String)],
    /// `KEY=VALUE`, over everything.
    pub settings: &'a [String],
}

/// Reason why a sweep cannot be planned.
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
        /// The fault.
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
        if !path.exists() {
            return Err(Error::data(
                path,
                "there is no such file or folder; expected a sweep file or the directory of a sweep",
            ));
        }
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
        let places = file
            .axes
            .iter()
            .try_fold(1usize, |places, axis| places.checked_mul(axis.variants.len()));
        if places.is_none_or(|places| places > LARGEST_GRID) {
            let reason = format!("expected a grid of at most {LARGEST_GRID} places, found more");
            return Err(checker.fault("axes", reason, None));
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
            tables.push(TableSpec {
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
    pub fn plan(&self, options: &PlanOptions) -> Result<SweepManifest, PlanError> {
        let mut manifest = SweepManifest {
            daf: env!("CARGO_PKG_VERSION").into(),
            title: self.title(),
            smoke: options.smoke,
            axes: self.axes(),
            view: self.view(),
            jobs: Vec::new(),
        };
        let defaults = Layers::new(options.defaults)?;
        for cell in self.cells() {
            let names: Vec<String> = cell.iter().map(|(_, variant)| variant.name.clone()).collect();
            let job = self
                .layers(&defaults, &cell, options)
                .and_then(|layers| Pipeline::from_layers(&layers))
                .and_then(|pipeline| Job::new(pipeline, options.smoke))
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
    pub fn plugins(&self, options: &PlanOptions) -> Result<Plugins> {
        let defaults = Layers::new(options.defaults)?;
        let mut plugins = Plugins::new();
        for cell in self.cells() {
            plugins.extend(self.layers(&defaults, &cell, options)?.plugins()?);
        }
        Ok(plugins)
    }

    /// Lays what all jobs have in common over the layers so far.
    fn lay(&self, layers: Layers, at: &str, common: &Base, cell: &[(&Axis, &Variant)]) -> Result<Layers> {
        match common {
            Base::File(path) => layers.file(self.path.parent().unwrap_or(Path::new("")).join(path)),
            Base::Inline(settings) => Ok(layers.settings(&self.path, at, filled(settings, cell))),
        }
    }

    fn layers(&self, defaults: &Layers, cell: &[(&Axis, &Variant)], options: &PlanOptions) -> Result<Layers> {
        let mut layers = self.lay(defaults.clone(), "base", &self.written.base, cell)?;
        for (axis, variant) in cell {
            let at = format!("axes.{}.{}", axis.name, variant.name);
            layers = match &variant.settings {
                VariantSettings::Map(settings) => layers.settings(&self.path, &at, filled(settings, cell)),
                VariantSettings::Value(value) => layers.setting(&self.path, &axis.name, value.clone())?,
            };
        }
        if options.smoke {
            layers = self.lay(layers, SMOKE, &self.written.smoke, cell)?;
            for (axis, variant) in cell {
                let at = format!("axes.{}.{}.{SMOKE}", axis.name, variant.name);
                layers = layers.settings(&self.path, &at, filled(&variant.smoke, cell));
            }
        }
        layers
            .environment(options.environment.iter().cloned())?
            .set(options.settings)
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

/// The settings with the names of the cell's variants in place of `{axis}` in texts.
fn filled(settings: &Settings, cell: &[(&Axis, &Variant)]) -> Settings {
    let fill = |value: &Setting| fill(value, cell);
    settings
        .iter()
        .map(|(key, value)| (key.clone(), fill(value)))
        .collect()
}

fn fill(value: &Setting, cell: &[(&Axis, &Variant)]) -> Setting {
    match value {
        Setting::Text(text) if text.contains('{') => {
            let put = |text: String, (axis, variant): &(&Axis, &Variant)| {
                text.replace(&format!("{{{}}}", axis.name), &variant.name)
            };
            Setting::Text(cell.iter().fold(text.clone(), put))
        }
        Setting::Map(map) => Setting::Map(filled(map, cell)),
        Setting::List(list) => Setting::List(list.iter().map(|value| fill(value, cell)).collect()),
        other => other.clone(),
    }
}

impl Axis {
    fn read(file: &Path, name: &str, value: &Setting) -> Result<Self> {
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
            Setting::Map(map) => map
                .iter()
                .map(|(variant, settings)| Variant::read(&checker, &at, variant, settings))
                .collect::<Result<Vec<_>>>()?,
            Setting::List(list) => {
                let variant = |(place, value): (usize, &Setting)| match value.written() {
                    Some(name) => Ok(Variant {
                        name: name.into(),
                        settings: VariantSettings::Value(value.clone()),
                        smoke: Settings::new(),
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
    fn read(checker: &Checker, axis: &str, name: &str, value: &Setting) -> Result<Self> {
        let at = format!("{axis}.{name}");
        let expected =
            |at: &str| checker.fault(at, "expected a map of settings, as in a pipeline".into(), None);
        let mut settings = match value {
            Setting::Map(map) => map.clone(),
            Setting::Null => Settings::new(),
            _ => return Err(expected(&at)),
        };
        let smoke = match settings.shift_remove(SMOKE) {
            Some(Setting::Map(map)) => map,
            Some(Setting::Null) | None => Settings::new(),
            Some(_) => return Err(expected(&format!("{at}.{SMOKE}"))),
        };
        Ok(Self {
            name: name.into(),
            settings: VariantSettings::Map(settings),
            smoke,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    // Their parts.
    use daf_data as _;
    use daf_models as _;
    use daf_synth as _;

    use super::*;

    const SMALL: &str = "
base:
  data: { type: demo, size: 64 }
  trainer: { steps: 3 }
axes:
  data.kind: [wood, washer]
  strategy:
    DRA: { synthesizer: { type: dra, opacity: [0.1, 0.2] } }
    Simple Texture: { synthesizer: { type: simple_texture } }
  method:
    DAF:
    only T-S: { method: { decoder: null, auxiliary: null } }
  seed: [7, 8]
";

    fn read(text: &str) -> Result<SweepFile> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.yaml");
        fs::write(&path, text).unwrap();
        SweepFile::read(&path)
    }

    fn planned(text: &str, plan: PlanOptions) -> SweepManifest {
        let plan = PlanOptions {
            defaults: daf_models::DEFAULTS,
            ..plan
        };
        read(text).unwrap().plan(&plan).unwrap()
    }

    /// The message with which a file is refused, after its name.
    #[track_caller]
    fn refused(text: &str) -> String {
        let message = match read(text) {
            Err(error) => error.to_string(),
            Ok(file) => {
                let plan = PlanOptions {
                    defaults: daf_models::DEFAULTS,
                    ..PlanOptions::default()
                };
                let error = file.plan(&plan).unwrap_err();
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                cause.unwrap_or_else(|| error.to_string())
            }
        };
        let (_, message) = message.split_once("s.yaml: ").unwrap_or(("", &message));
        message.to_owned()
    }

    #[test]
    fn every_combination_becomes_a_job_and_the_last_axis_changes_fastest() {
        let manifest = planned(SMALL, PlanOptions::default());
        assert_eq!(manifest.jobs.len(), 2 * 2 * 2 * 2);
        assert_eq!(manifest.jobs[0].cells, [["wood", "DRA", "DAF", "7"]]);
        assert_eq!(manifest.jobs[1].cells, [["wood", "DRA", "DAF", "8"]]);
        assert_eq!(manifest.jobs[2].cells, [["wood", "DRA", "only T-S", "7"]]);
        assert_eq!(
            manifest.jobs[15].cells,
            [["washer", "Simple Texture", "only T-S", "8"]]
        );
        let job = &manifest.jobs[3].pipeline;
        assert_eq!(job["seed"], 8);
        assert_eq!(job["data"]["kind"], "wood");
        assert_eq!(job["synthesizer"]["opacity"], serde_json::json!([0.1, 0.2]));
        assert!(job["method"]["decoder"].is_null() && !job["method"]["teacher"].is_null());
        assert_eq!(job["trainer"]["steps"], 3);
        // Another type replaces the part with all of its settings.
        assert_ne!(
            manifest.jobs[4].pipeline["synthesizer"]["opacity"],
            serde_json::json!([0.1, 0.2])
        );
    }

    #[test]
    fn jobs_go_by_what_they_are_and_not_by_their_place() {
        let hashes = |text: &str| {
            let jobs = planned(text, PlanOptions::default()).jobs;
            jobs.into_iter()
                .map(|job| (job.hash, job.cells))
                .collect::<Vec<_>>()
        };
        let first = hashes(SMALL);
        assert_eq!(first, hashes(SMALL));
        let unique: BTreeSet<_> = first.iter().map(|(hash, _)| hash).collect();
        assert_eq!(unique.len(), first.len());
        // Axes in another order, settings in another order, another name: the same pipelines.
        let turned = "
axes:
  seed: [8, 7]
  method:
    other name: {}
    halved: { method: { auxiliary: null, decoder: null } }
  data.kind: [washer, wood]
  strategy:
    a: { synthesizer: { opacity: [0.1, 0.2], type: dra } }
    b: { synthesizer: { type: simple_texture } }
base: { trainer: { steps: 3 }, data: { size: 64, type: demo } }
";
        let turned: BTreeSet<_> = hashes(turned).into_iter().map(|(hash, _)| hash).collect();
        assert_eq!(turned, unique.into_iter().cloned().collect());
    }

    #[test]
    fn where_a_run_is_put_and_its_threads_make_no_other_job() {
        let hash = |settings: &[String]| {
            let plan = PlanOptions {
                settings,
                ..PlanOptions::default()
            };
            planned(SMALL, plan).jobs[0].hash.clone()
        };
        let plain = hash(&[]);
        assert_eq!(
            hash(&["trainer.workers=3".into(), "output.dir=elsewhere".into()]),
            plain
        );
        assert_ne!(hash(&["trainer.steps=4".into()]), plain);
    }

    #[test]
    fn equal_pipelines_share_a_job_and_excluded_places_have_none() {
        let text = "
base: { data: { type: demo } }
axes:
  strategy: { A: { synthesizer: { type: dra } }, B: { synthesizer: { type: simple_shape } }, /: { synthesizer: null } }
  method: { DAF: {}, again: { method: { type: daf } }, T-S: { method: { decoder: null, auxiliary: null } } }
exclude:
  - { strategy: /, method: [DAF, again] }
  - { strategy: [A, B], method: T-S }
";
        let manifest = planned(text, PlanOptions::default());
        let cells: Vec<_> = manifest
            .jobs
            .iter()
            .map(|job| job.cells.concat().join(" "))
            .collect();
        assert_eq!(cells, ["A DAF A again", "B DAF B again", "/ T-S"]);
        assert_eq!(
            manifest.describe(&manifest.jobs[0]),
            "strategy A, method DAF (and 1 more)"
        );

        // What is the same for all jobs tells none from another.
        let text = "
base: { data: { type: demo } }
axes:
  strategy: { A: { synthesizer: { type: dra } }, B: { synthesizer: { type: cutpaste } } }
  seed: [3]
";
        let manifest = planned(text, PlanOptions::default());
        assert_eq!(manifest.describe(&manifest.jobs[1]), "strategy B");
        assert_eq!(
            manifest.describe_cell(&manifest.jobs[1].cells[0]),
            "strategy B, seed 3"
        );
    }

    #[test]
    fn the_small_form_lies_over_the_variants_and_under_the_arguments() {
        let text = "
base: { data: { type: mvtec, root: nowhere } }
axes:
  data.category: [bottle, cable]
  strategy:
    DRA: { synthesizer: { type: dra, textures: no/folder }, smoke: { synthesizer: { textures: procedural } } }
    NSA_B: { synthesizer: { type: nsa, preset: \"{data.category}\" } }
smoke: { data: { type: demo, size: 96 }, trainer: { steps: 2 } }
";
        let settings = ["trainer.batch_size=3".to_owned(), "trainer.steps=1".to_owned()];
        let smoke = PlanOptions {
            smoke: true,
            settings: &settings,
            ..PlanOptions::default()
        };
        let manifest = planned(text, smoke);
        let jobs: Vec<_> = manifest.jobs.iter().map(|job| job.cells.len()).collect();
        assert_eq!(
            jobs,
            [2, 1, 1],
            "the category no longer matters, but for the preset"
        );
        let pipeline = &manifest.jobs[0].pipeline;
        assert_eq!(pipeline["data"]["type"], "demo");
        assert_eq!(pipeline["synthesizer"]["textures"], "procedural");
        assert_eq!(pipeline["trainer"]["steps"], 1);
        assert_eq!(pipeline["trainer"]["batch_size"], 3);
        assert_eq!(pipeline["method"]["teacher"]["weights"], "random");
        assert!(manifest.smoke);
    }

    #[test]
    fn values_and_names_are_what_was_written_and_maps_are_merged() {
        let text = "
x-common: &common { data: { type: mvtec, root: nowhere }, trainer: { steps: 3 } }
base: { <<: *common, x-own: 1 }
axes:
  data.category: [01, 02, 1.0]
  strategy: { 01: { synthesizer: { type: dra } }, B: { <<: *common, synthesizer: { type: cutpaste } } }
exclude: [{ strategy: 01, data.category: [02, 1.0] }]
smoke: { data: { type: demo } }
";
        let file = read(text).unwrap();
        assert_eq!(file.axes()[0].variants, ["01", "02", "1.0"]);
        assert_eq!(file.axes()[1].variants, ["01", "B"]);
        let defaults = Layers::new(daf_models::DEFAULTS).unwrap();
        let cells = file.cells();
        assert_eq!(cells.len(), 4);
        let layers = file
            .layers(&defaults, &cells[0], &PlanOptions::default())
            .unwrap();
        let pipeline = serde_json::to_value(Pipeline::from_layers(&layers).unwrap()).unwrap();
        assert_eq!(pipeline["data"]["root"], "nowhere");
        assert_eq!(pipeline["data"]["category"], "01");
        assert_eq!(pipeline["trainer"]["steps"], 3);
        let plan = PlanOptions {
            smoke: true,
            ..PlanOptions::default()
        };
        assert_eq!(planned(text, plan).jobs.len(), 2);
    }

    #[test]
    fn a_grid_without_end_is_refused() {
        let axis = |name: &str| {
            format!(
                "  {name}: [{}]\n",
                (0..100).map(|v| v.to_string()).collect::<Vec<_>>().join(", ")
            )
        };
        let axes: String = ["seed", "trainer.steps", "trainer.epochs"].map(axis).concat();
        let message = refused(&format!("base: {{ data: {{ type: demo }} }}\naxes:\n{axes}"));
        assert_eq!(
            message,
            "axes: expected a grid of at most 100000 places, found more"
        );
    }

    #[test]
    fn a_base_may_be_a_file_beside_the_sweep() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("p.yaml"), "data: { type: demo }\nseed: 5").unwrap();
        let path = folder.path().join("s.yaml");
        fs::write(&path, "base: p.yaml\naxes: { trainer.steps: [1, 2] }").unwrap();
        let plan = PlanOptions {
            defaults: daf_models::DEFAULTS,
            ..PlanOptions::default()
        };
        let manifest = SweepFile::read(&path).unwrap().plan(&plan).unwrap();
        assert_eq!(manifest.title, "s");
        assert_eq!(manifest.jobs[1].pipeline["seed"], 5);
        assert_eq!(manifest.jobs[1].pipeline["trainer"]["steps"], 2);
        assert_eq!(manifest.view.tables[0].rows, ["trainer.steps"]);
    }

    #[test]
    fn a_manifest_survives_being_frozen_and_one_that_was_altered_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = planned(SMALL, PlanOptions::default());
        let sweep = crate::Sweep::create(folder.path(), manifest.clone()).unwrap();
        assert_eq!(sweep.manifest(), &manifest);
        assert_eq!(crate::Sweep::open(folder.path()).unwrap().manifest(), &manifest);
        for job in &manifest.jobs {
            // What the file says makes the same pipeline again.
            let again = Job::new(job.pipeline(&sweep.manifest_file()).unwrap(), false).unwrap();
            assert_eq!(again.hash, job.hash);
        }
        let file = folder.path().join("manifest.json");
        let text = fs::read_to_string(&file)
            .unwrap()
            .replacen("\"steps\": 3", "\"steps\": 4", 1);
        fs::write(&file, text).unwrap();
        let error = crate::Sweep::open(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(&manifest.jobs[0].hash) && error.contains("frozen"),
            "{error}"
        );
        assert!(crate::Sweep::create(folder.path(), manifest).is_err());
    }

    #[test]
    fn jobs_are_found_by_number_and_by_the_beginning_of_their_hash() {
        let folder = tempfile::tempdir().unwrap();
        let sweep = crate::Sweep::create(folder.path(), planned(SMALL, PlanOptions::default())).unwrap();
        let jobs = &sweep.manifest().jobs;
        assert_eq!(sweep.find("2").unwrap(), (2, &jobs[1]));
        assert_eq!(sweep.find(&jobs[4].hash).unwrap().0, 5);
        assert_eq!(sweep.find(&jobs[4].hash[..12]).unwrap().0, 5);
        for (name, message) in [
            ("0", "only 1 to 16"),
            ("17", "only 1 to 16"),
            ("xyz", "or a hash"),
            ("", "or a hash"),
        ] {
            let error = sweep.find(name).unwrap_err().to_string();
            assert!(error.contains(message), "{name}: {error}");
        }
    }

    #[test]
    fn a_job_is_claimed_by_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let sweep = crate::Sweep::create(folder.path(), planned(SMALL, PlanOptions::default())).unwrap();
        let job = &sweep.manifest().jobs[0];
        let state = || sweep.state(job).unwrap();
        assert_eq!(state(), crate::State::Waiting);
        let claim = sweep.claim(job).unwrap().unwrap();
        assert_eq!(state(), crate::State::Running(None));
        assert!(sweep.claim(job).unwrap().is_none());
        let progress = crate::Progress {
            phase: "training".into(),
            done: 3,
            of: 9,
            images_per_second: Some(2.5),
            loss: None,
        };
        claim.progress(&progress);
        assert_eq!(state(), crate::State::Running(Some(progress)));
        claim.fail("no room").unwrap();
        drop(claim);
        assert_eq!(state(), crate::State::Failed("no room".into()));
        // The next process begins without a stain.
        drop(sweep.claim(job).unwrap().unwrap());
        assert_eq!(state(), crate::State::Waiting);
        fs::create_dir_all(sweep.run_dir(job)).unwrap();
        assert_eq!(state(), crate::State::Interrupted);
    }

    #[test]
    fn faults_name_the_key_what_was_expected_and_what_is_near() {
        let base = "base: { data: { type: demo } }\n";
        let axes = "axes: { seed: [1, 2], method: { DAF: {}, T-S: { method: { decoder: null } } } }\n";
        for (text, message) in [
            ("base: {}\n", "axes: missing"),
            (
                "axes: {}",
                "axes: expected at least one, found none (for example `axes: { seed: [1, 2, 3] }`)",
            ),
            ("axes: 3", "axes: expected a map, found 3"),
            (
                "axes: { seed: 3 }",
                "axes.seed: expected named variants, or a list of values for the key",
            ),
            (
                "axes: { seed: [] }",
                "axes.seed: expected at least one variant, found none",
            ),
            ("axes: { seed: [1, 1] }", "axes.seed: `1` is given twice"),
            (
                "axes: { seed: [{ a: 1 }] }",
                "axes.seed[0]: expected a number or a text",
            ),
            (
                "axes: { a: { x: 3 } }",
                "axes.a.x: expected a map of settings, as in a pipeline",
            ),
            (
                "axes: { a: { x: { smoke: 1 } } }",
                "axes.a.x.smoke: expected a map of settings",
            ),
            (
                "axes: { metric: [1] }",
                "axes.metric: this name has a meaning of its own",
            ),
            ("axis: { seed: [1] }", "axis: unknown key (did you mean `axes`?"),
            (
                "base: 3\naxes: { seed: [1] }",
                "base: expected settings or the path of a pipeline file",
            ),
            (
                &format!("{axes}exclude: [{{ methd: DAF }}]"),
                "exclude[0].methd: there is no axis `methd`, only `seed` and `method` (did you mean `method`?)",
            ),
            (
                &format!("{axes}exclude: [{{ method: DAV }}]"),
                "exclude[0].method: there is no variant of `method` `DAV`, only `DAF` and `T-S` (did you mean `DAF`?)",
            ),
            (
                &format!("{axes}exclude: [{{}}]"),
                "exclude[0]: expected variants of axes, found an empty map",
            ),
            (
                &format!("{base}{axes}exclude: [{{ seed: [1, 2] }}]"),
                "exclude: nothing is left of the grid",
            ),
            (
                &format!("{axes}tables: [{{ title: T, rows: [metod] }}]"),
                "tables[0].rows[0]: there is no axis `metod`",
            ),
            (
                &format!("{axes}tables: [{{ title: T, rows: [] }}]"),
                "tables[0].rows: expected at least one, found none",
            ),
            (
                &format!("{axes}tables: [{{ title: T, rows: [seed, seed] }}]"),
                "tables[0].rows[1]: `seed` is given twice",
            ),
            (
                &format!("{axes}tables: [{{ title: T, rows: [seed], metrics: [image_auc] }}]"),
                "tables[0].metrics[0]: there is no value `image_auc`",
            ),
            (
                &format!("{axes}tables: [{{ title: T, rows: [seed, method], mean: seed }}]"),
                "tables[0].mean: expected the last one of the rows or columns, found `seed`",
            ),
            (
                &format!("{axes}tables: [{{ title: T, rows: [seed], compare: method }}]"),
                "tables[0].compare: expected one of the rows or columns",
            ),
            (
                &format!("{axes}tables: [{{ title: T, rows: [seed], drop: {{ method: DAF }} }}]"),
                "tables[0].drop.method: `method` has to be among the rows or columns",
            ),
            (
                &format!("{axes}tables: [{{ title: T, rows: [method], drop: {{}} }}]"),
                "tables[0].drop: expected one axis and the variant",
            ),
            (
                &format!("{axes}plots: [{{ title: P, x: seed, lines: meth }}]"),
                "plots[0].lines: there is no axis `meth`",
            ),
            (
                &format!("{axes}panels: [{{ title: P, of: method, images: 0 }}]"),
                "panels[0].images: expected at least 1, found 0",
            ),
            (
                "axes: { a: { x: { seeed: 1 } } }\nbase: { data: { type: demo } }",
                "axes.a.x: seeed: unknown key (did you mean `seed`?",
            ),
            (
                "axes: { trainer.stps: [1] }\nbase: { data: { type: demo } }",
                "axes.trainer.stps: trainer.stps: unknown key (did you mean `steps`?",
            ),
            (
                "axes: { trainer..steps: [1] }\nbase: { data: { type: demo } }",
                "axes.trainer..steps: `trainer..steps` is not a key",
            ),
            ("axes: { seed: [1] }", "data: missing"),
            ("axes: { seed: [1] }\nbase: nowhere.yaml", "there is no such file"),
        ] {
            let found = refused(text);
            assert!(
                found.contains(message),
                "`{message}` is not in:\n{found}\nfor {text}"
            );
        }
    }
}
