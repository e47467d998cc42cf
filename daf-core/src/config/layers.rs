//! Reads a pipeline from its layers: defaults, file, environment, arguments.

use std::fmt;
use std::fs;
use std::io::Read;
use std::path::Path;

use config::Source;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::inference::{Inference, Written};
use super::key::{KeyPath, Step, get};
use super::setting::{Setting, Settings};
use super::words::DATA;
use super::{Pipeline, Plugins, words, yaml};
use crate::{Error, Result, registry};

/// What a pipeline is read from: the defaults, a file, the environment and arguments, each laid over those before. Directly
/// over the defaults lies the recipe of the method that the layers name, if it brings one.
///
/// Maps merge key by key and lists are replaced as a whole. A layer that names another `type` replaces the part, so that
/// no settings of the old one are left; `null` switches a part off. Keys of the whole that begin with `x-` are the user's
/// own, for example for anchors, and say nothing. Relative paths in a pipeline are relative to the current folder, whichever
/// layer they stand in, but for those of `plugins` in a file: they are relative to that file.
///
/// ```no_run
/// # fn main() -> daf_core::Result<()> {
/// let pipeline = daf_core::config::Layers::new("scorer: { type: gaussian }")?
///     .file("pipeline.yaml")?
///     .environment([("DAF__TRAINER__STEPS".into(), "600".into())])?
///     .set(["synthesizer.opacity=[0.2, 0.8]", "method.discrepancy.of[0].type=cosine"])?
///     .resolve()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Layers(Vec<Layer>);

#[derive(Debug, Clone)]
struct Layer {
    source: Origin,
    /// Where in the pipeline the value belongs; files are whole pipelines.
    at: KeyPath,
    value: Setting,
}

/// Where a layer comes from, in the words of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Defaults,
    /// What the part that was chosen as method brings.
    Recipe(String),
    File(String),
    /// A place in a file of another kind, such as a sweep.
    Within(String),
    Variable(String),
    Argument(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => f.write_str("defaults"),
            Self::Recipe(method) => write!(f, "recipe of method {method}"),
            Self::File(place) | Self::Within(place) => f.write_str(place),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Argument(key) => write!(f, "--set {key}"),
        }
    }
}

impl Origin {
    /// A fault of this layer as a whole.
    fn fault(&self, reason: impl Into<String>, hint: Option<String>) -> Error {
        Error::Config {
            layer: self.to_string(),
            at: String::new(),
            reason: reason.into(),
            hint,
        }
    }
}

impl Layers {
    /// The lowest layer, as YAML.
    ///
    /// # Errors
    /// If it is not the YAML of a map.
    pub fn new(defaults: &str) -> Result<Self> {
        let value = Setting::Map(read(defaults, &Origin::Defaults)?);
        Ok(Self(vec![Layer {
            source: Origin::Defaults,
            at: KeyPath::default(),
            value,
        }]))
    }

    /// Lays a pipeline file over the layers so far.
    ///
    /// # Errors
    /// If the file cannot be read, is empty, or is not the YAML of a map.
    pub fn file(mut self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let layer = Layer::of_file(path)?;
        if matches!(&layer.value, Setting::Map(map) if map.is_empty()) {
            return Err(layer
                .source
                .fault("is empty; a pipeline names at least `data`", Some(DATA.into())));
        }
        self.0.push(layer);
        Ok(self)
    }

    /// Lays settings over the layers so far that stand at `at` in a file of another kind, as those of a sweep do.
    #[must_use]
    pub fn settings(mut self, file: &Path, at: &str, mut settings: Settings) -> Self {
        root_plugins(&mut settings, file);
        self.0.push(Layer {
            source: Origin::Within(format!("{}: {at}", file.display())),
            at: KeyPath::default(),
            value: Setting::Map(settings),
        });
        self
    }

    /// Lays one value over the layers so far, that of the key `key`, which stands among the axes of the sweep `file`.
    ///
    /// # Errors
    /// If `key` is none.
    pub fn setting(mut self, file: &Path, key: &str, value: Setting) -> Result<Self> {
        let source = Origin::Within(format!("{}: axes.{key}", file.display()));
        let at = key.parse().map_err(|reason: String| source.fault(reason, None))?;
        self.0.push(Layer { source, at, value });
        Ok(self)
    }

    /// Lays environment variables over the layers so far: `DAF__TRAINER__STEPS=600` sets `trainer.steps`. Others are
    /// ignored. Values that read as `true`, `false` or a number are that unless the key takes text, all others text; lists
    /// and `null` are for files and arguments.
    ///
    /// # Errors
    /// If a name has an empty part, as in `DAF__TRAINER____STEPS`.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut variables: Vec<_> = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with("DAF__"))
            .collect();
        variables.sort();
        let variables = config::Environment::with_prefix("DAF")
            .prefix_separator("__")
            .separator("__")
            .source(Some(variables.into_iter().collect()))
            .collect()
            .map_err(|error| Origin::Variable("DAF__…".into()).fault(error.to_string(), None))?;
        let layers = variables.into_iter().map(|(key, value)| {
            let source = Origin::Variable(format!("DAF__{}", key.to_uppercase().replace('.', "__")));
            let at = key.parse().map_err(|reason: String| source.fault(reason, None))?;
            let text = value
                .into_string()
                .map_err(|error| source.fault(error.to_string(), None))?;
            let value = Setting::of_variable(&text);
            Ok(Layer { source, at, value })
        });
        let layers = layers.collect::<Result<Vec<_>>>()?;
        self.0.extend(ordered(layers));
        Ok(self)
    }

    /// Lays arguments over the layers so far: `KEY=VALUE`, where a key is written as in
    /// `method.discrepancy.of[0].type` and the value is YAML.
    ///
    /// # Errors
    /// If an argument has no `=`, or its key or value cannot be read.
    pub fn set<A: AsRef<str>>(mut self, assignments: impl IntoIterator<Item = A>) -> Result<Self> {
        let layers = assignments.into_iter().map(|assignment| {
            let assignment = assignment.as_ref();
            let (key, text) = assignment.split_once('=').ok_or_else(|| {
                let source = Origin::Argument(assignment.into());
                source.fault(
                    "expected KEY=VALUE",
                    Some("for example `--set trainer.steps=600`".into()),
                )
            })?;
            let source = Origin::Argument(key.trim().into());
            let at = key
                .trim()
                .parse()
                .map_err(|reason: String| source.fault(reason, None))?;
            let value = yaml::read(text).map_err(|fault| {
                source.fault(format!("`{text}` is not a YAML value: {}", fault.reason), None)
            })?;
            Ok(Layer { source, at, value })
        });
        let layers = layers.collect::<Result<Vec<_>>>()?;
        self.0.extend(ordered(layers));
        Ok(self)
    }

    /// The pipeline: all layers merged, every part made and checked.
    ///
    /// # Errors
    /// Names the layer and the key at fault, what was expected and what was found, and the nearest name that there is. A
    /// plugin that is not linked comes before all others, since they may be due to it.
    pub fn resolve(&self) -> Result<Pipeline> {
        let layers = self.with_recipe()?;
        let mut pipeline = layers.resolve_network()?;
        pipeline.check_sources().map_err(|error| layers.locate(error))?;
        pipeline.settle_depth();
        Ok(pipeline)
    }

    /// [`resolve`](Self::resolve) without asking data and synthesizer whether they find what they need: a trained run is used
    /// where neither the images nor the textures of its training are.
    pub(crate) fn resolve_run(&self) -> Result<Pipeline> {
        self.with_recipe()?.resolve_network()
    }

    /// What scores images of [`resolve_run`](Self::resolve_run). What only training needs is not looked at.
    pub(crate) fn resolve_inference(&self) -> Result<Inference> {
        let layers = self.with_recipe()?;
        let value = layers.merged()?;
        let written = layers.typed::<Written>(&value);
        if let Err(Error::Config { at, .. }) = &written
            && ["method", "scorer"].iter().any(|part| at.starts_with(part))
        {
            // A part that is not there may be one of a plugin's.
            layers.check_plugins(&value)?;
        }
        let mut inference = Inference::from(written?);
        inference.check().map_err(|error| layers.locate(error))?;
        Ok(inference)
    }

    /// The layers and, directly over the defaults, the recipe of the method that they name.
    fn with_recipe(&self) -> Result<Self> {
        let value = self.merged()?;
        let named = value
            .get("method")
            .and_then(|method| method.get("type"))
            .and_then(Setting::as_text)
            .and_then(|name| registry::find(registry::Kind::Method, name));
        let mut layers = self.clone();
        if let Some((method, recipe)) = named.and_then(|method| Some((method, method.recipe?))) {
            let source = Origin::Recipe(method.name.into());
            let value = Setting::Map(read(recipe, &source)?);
            let defaults = layers
                .0
                .iter()
                .take_while(|layer| layer.source == Origin::Defaults);
            let place = defaults.count();
            let at = KeyPath::default();
            layers.0.insert(place, Layer { source, at, value });
        }
        Ok(layers)
    }

    fn resolve_network(&self) -> Result<Pipeline> {
        let value = self.merged()?;
        self.check_plugins(&value)?;
        let mut pipeline: Pipeline = self.typed(&value)?;
        pipeline.check_network().map_err(|error| self.locate(error))?;
        Ok(pipeline)
    }

    /// Refuses plugins that are not linked.
    fn check_plugins(&self, value: &Setting) -> Result<()> {
        let plugins = self.plugins_of(value)?;
        match plugins.iter().find(|(name, plugin)| !plugin.is_linked(name)) {
            Some((name, _)) => Err(self.not_linked(name)),
            None => Ok(()),
        }
    }

    /// The crates that the pipeline needs, whether they are linked or not. Nothing else of the pipeline is looked at.
    ///
    /// # Errors
    /// Names the layer and the key at fault.
    pub fn plugins(&self) -> Result<Plugins> {
        self.plugins_of(&self.merged()?)
    }

    fn plugins_of(&self, value: &Setting) -> Result<Plugins> {
        /// The part of a pipeline that can be read without any plugin.
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            plugins: Plugins,
        }
        let Head { plugins } = self.typed(value)?;
        for (name, plugin) in &plugins {
            if let Some(reason) = plugin.fault(name) {
                return Err(self.fault_at(&plugin_key(name), reason, None));
            }
        }
        Ok(plugins)
    }

    fn not_linked(&self, name: &str) -> Error {
        let within = |layer: &Layer| matches!(layer.source, Origin::Within(_));
        let hint = if self.0.iter().any(within) {
            "with --build a program that has it is compiled first".into()
        } else {
            let file = self.name(None);
            format!(
                "`daf-cli build {file}` compiles a program that has it; so does --build with `run`, `train`, `check`, `data check` \
                 and `synth preview`"
            )
        };
        self.fault_at(
            &plugin_key(name),
            "this crate is not linked into this program".into(),
            Some(hint),
        )
    }

    fn fault_at(&self, at: &KeyPath, reason: String, hint: Option<String>) -> Error {
        Error::Config {
            layer: self.name(self.layer_of(at)),
            at: at.to_string(),
            reason,
            hint,
        }
    }

    /// What serde makes of the merged layers; a fault is given the layer that it came from.
    fn typed<T: DeserializeOwned>(&self, value: &Setting) -> Result<T> {
        words::typed(value).map_err(|fault| {
            // A part that lacks a key is the fault of the layer that named the part.
            let layer = match &fault.missing {
                Some(_) => self
                    .layer_of(&fault.at.child("type"))
                    .or_else(|| self.layer_of(&fault.at)),
                None => self.layer_of(&fault.at),
            };
            let at = fault.key().to_string();
            Error::Config {
                layer: self.name(layer),
                at,
                reason: fault.reason,
                hint: fault.hint,
            }
        })
    }

    /// All layers merged; `type` comes first in every map, wherever it stood, because typetag reads the other keys with
    /// their places only if it knows the type already.
    pub(super) fn merged(&self) -> Result<Setting> {
        let mut merged = Setting::Map(Settings::new());
        for layer in &self.0 {
            put(&mut merged, &layer.at.0, &layer.value).map_err(|reason| layer.source.fault(reason, None))?;
            // A length in the one unit takes the place of one in the other.
            let trainer = KeyPath::default().child("trainer");
            let gives = |unit| layer.fills(&trainer.child(unit));
            let replaced = match (gives("epochs"), gives("steps")) {
                (true, false) => "steps",
                (false, true) => "epochs",
                _ => continue,
            };
            if let Setting::Map(pipeline) = &mut merged
                && let Some(Setting::Map(trainer)) = pipeline.get_mut("trainer")
            {
                trainer.shift_remove(replaced);
            }
        }
        if let Setting::Map(pipeline) = &mut merged {
            pipeline.retain(|key, _| !key.starts_with("x-"));
            if let Some(plugins) = pipeline.get_mut("plugins") {
                *plugins = tables(std::mem::replace(plugins, Setting::Null));
            }
        }
        Ok(tag_first(merged))
    }

    /// Fills the layers into an error of [`Pipeline::check`], which knows the key only.
    fn locate(&self, error: Error) -> Error {
        match error {
            Error::Config {
                layer,
                at,
                reason,
                hint,
            } if layer == super::UNPLACED => {
                let found = at.parse().ok().and_then(|at| self.layer_of(&at));
                Error::Config {
                    layer: self.name(found),
                    at,
                    reason,
                    hint,
                }
            }
            Error::Part {
                kind,
                name,
                at,
                source,
            } => {
                // A part judges all of its settings at once, so every layer that set one may be at fault.
                let place: KeyPath = at.parse().unwrap_or_default();
                let mut names: Vec<_> = self
                    .0
                    .iter()
                    .filter(|layer| layer.has(&place))
                    .map(|layer| layer.source.to_string())
                    .collect();
                if names.len() > 1 && self.0[0].source == Origin::Defaults && self.0[0].has(&place) {
                    names.remove(0);
                }
                Error::Part {
                    kind,
                    name,
                    at: format!("{at} in {}", names.join(", ")),
                    source,
                }
            }
            other => other,
        }
    }

    /// The topmost layer that has `at`; if none has, the lowest one above the defaults that fills what is around it.
    fn layer_of(&self, at: &KeyPath) -> Option<&Layer> {
        if at.0.is_empty() {
            return None;
        }
        for layer in self.0.iter().rev() {
            if layer.has(at) {
                return Some(layer);
            }
            // What the layers below say of it does not count any more.
            if layer.clears(at) {
                break;
            }
        }
        let given = || self.0.iter().filter(|layer| layer.source != Origin::Defaults);
        let around = (1..at.0.len())
            .rev()
            .map(|length| KeyPath(at.0[..length].to_vec()));
        around
            .into_iter()
            .find_map(|at| given().find(|layer| layer.fills(&at)))
    }

    /// Name of a layer; where none is at fault more than another, it is the file.
    fn name(&self, layer: Option<&Layer>) -> String {
        let file = || {
            let of_file = |layer: &&Layer| matches!(layer.source, Origin::File(_) | Origin::Within(_));
            self.0.iter().find(of_file)
        };
        layer
            .or_else(file)
            .map_or_else(|| super::UNPLACED.to_owned(), |layer| layer.source.to_string())
    }
}

/// Reads a YAML file that is no pipeline, with the messages that pipelines have. Maps keep the order of their keys.
///
/// # Errors
/// Names the file and the key at fault, what was expected and what was found, and the nearest name that there is.
pub fn read_file<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let layers = Layers(vec![Layer::of_file(path)?]);
    layers.typed(&layers.merged()?)
}

impl Layer {
    /// The map in a YAML file.
    fn of_file(path: &Path) -> Result<Self> {
        let source = Origin::File(path.display().to_string());
        let text = text_of(path, &source)?;
        let mut settings = read(&text, &source)?;
        root_plugins(&mut settings, path);
        Ok(Self {
            source,
            at: KeyPath::default(),
            value: Setting::Map(settings),
        })
    }

    /// Whether the layer says something at `at` or below.
    fn has(&self, at: &KeyPath) -> bool {
        self.says(at, |_| true)
    }

    /// Whether the layer says something else than `null` at `at`, or something below.
    fn fills(&self, at: &KeyPath) -> bool {
        self.says(at, |value| !value.is_null())
    }

    /// Whether the layer replaces something as a whole that `at` lies in: with `null`, a list or a lone value.
    fn clears(&self, at: &KeyPath) -> bool {
        (0..at.0.len()).any(|length| {
            at.0[..length].starts_with(&self.at.0)
                && get(&self.value, &at.0[self.at.0.len()..length])
                    .is_some_and(|value| !matches!(value, Setting::Map(_)))
        })
    }

    fn says(&self, at: &KeyPath, counts: impl Fn(&Setting) -> bool) -> bool {
        let shared = self.at.0.iter().zip(&at.0).take_while(|(a, b)| a == b).count();
        if shared == at.0.len() && shared < self.at.0.len() {
            return true;
        }
        shared == self.at.0.len() && get(&self.value, &at.0[shared..]).is_some_and(counts)
    }
}

/// Assignments in the order in which they apply: those that name a type come first, outermost first, because they replace
/// a part with all of its settings. Otherwise the order in which they were given stands.
fn ordered(mut layers: Vec<Layer>) -> Vec<Layer> {
    layers.sort_by_key(|layer| match layer.at.0.last() {
        Some(Step::Key(key)) if key == "type" => (0, layer.at.0.len()),
        _ => (1, 0),
    });
    layers
}

/// Merges `value` into the place `steps` of `base`.
fn put(base: &mut Setting, steps: &[Step], value: &Setting) -> Result<(), String> {
    match steps {
        [] => merge(base, value),
        [Step::Key(key)] => merge(
            base,
            &Setting::Map(Settings::from_iter([(key.clone(), value.clone())])),
        ),
        [Step::Key(key), rest @ ..] => {
            if !matches!(base, Setting::Map(_)) {
                *base = Setting::Map(Settings::new());
            }
            if let Setting::Map(map) = base {
                put(map.entry(key.clone()).or_insert(Setting::Null), rest, value)?;
            }
        }
        [Step::Index(index), rest @ ..] => {
            let Setting::List(list) = base else {
                return Err(format!(
                    "[{index}] picks from a list, but there is {}",
                    words::found(base)
                ));
            };
            let length = list.len();
            let element = list.get_mut(*index).ok_or_else(|| {
                format!("[{index}] is too far: the list has {length} elements, counted from 0")
            })?;
            put(element, rest, value)?;
        }
    }
    Ok(())
}

/// Lays `over` over `base`.
fn merge(base: &mut Setting, over: &Setting) {
    match (base, over) {
        (Setting::Map(base), Setting::Map(over)) => {
            if let (Some(old), Some(new)) = (base.get("type"), over.get("type"))
                && old != new
            {
                base.clear();
            }
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Setting::Null), value);
            }
        }
        (base, over) => base.clone_from(over),
    }
}

/// Makes the relative paths among the plugins of a file relative to that file.
fn root_plugins(settings: &mut Settings, file: &Path) {
    let Some(Setting::Map(plugins)) = settings.get_mut("plugins") else {
        return;
    };
    for plugin in plugins.values_mut() {
        if let Setting::Map(plugin) = plugin
            && let Some(path) = plugin.get_mut("path")
            && let Some(written) = path.written()
        {
            let rooted = file.parent().unwrap_or(Path::new("")).join(written);
            // What does not exist is Cargo's to report.
            let rooted = fs::canonicalize(&rooted).or_else(|_| std::path::absolute(&rooted));
            if let Ok(rooted) = rooted {
                *path = Setting::Text(rooted.display().to_string());
            }
        }
    }
}

/// Plugins in Cargo's long form: a version alone becomes a map. `null` takes a plugin out, as it does with parts.
fn tables(plugins: Setting) -> Setting {
    match plugins {
        Setting::Null => Setting::Map(Settings::new()),
        Setting::Map(plugins) => Setting::Map(
            plugins
                .into_iter()
                .filter(|(_, plugin)| !plugin.is_null())
                .map(|(name, plugin)| match plugin.written() {
                    Some(version) => {
                        let version = Setting::Text(version.into());
                        let table = Settings::from_iter([("version".to_owned(), version)]);
                        (name, Setting::Map(table))
                    }
                    None => (name, plugin),
                })
                .collect(),
        ),
        other => other,
    }
}

fn plugin_key(name: &str) -> KeyPath {
    KeyPath::default().child("plugins").child(name)
}

fn tag_first(value: Setting) -> Setting {
    match value {
        Setting::Map(mut map) => {
            let tag = map.shift_remove("type").map(|tag| ("type".to_owned(), tag));
            Setting::Map(
                tag.into_iter()
                    .chain(map)
                    .map(|(key, value)| (key, tag_first(value)))
                    .collect(),
            )
        }
        Setting::List(list) => Setting::List(list.into_iter().map(tag_first).collect()),
        other => other,
    }
}

/// No file of settings is as large as this.
const LARGEST: u64 = 4 << 20;

/// The text in a file of settings.
fn text_of(path: &Path, source: &Origin) -> Result<String> {
    let mut bytes = Vec::new();
    // Not its length: what a pipe or a device holds shows when it is read.
    fs::File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => source.fault(
                "there is no such file",
                Some("`daf-cli init` writes one to start from".into()),
            ),
            std::io::ErrorKind::IsADirectory => source.fault("is a folder, not a pipeline file", None),
            _ => source.fault(format!("cannot be read: {error}"), None),
        })?;
    if bytes.len() as u64 > LARGEST {
        let reason = format!(
            "is larger than {} MiB, which no file of settings is",
            LARGEST >> 20
        );
        return Err(source.fault(reason, None));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let hint = Some("save it in UTF-8".into());
        return Err(source.fault("is a text in UTF-16, expected UTF-8", hint));
    }
    if bytes.contains(&0) {
        return Err(source.fault("is not a text: it holds bytes of 0", None));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        source.fault(
            format!("is not a text in UTF-8: line {line} has other bytes"),
            None,
        )
    })
}

/// Reads a map from YAML.
fn read(text: &str, source: &Origin) -> Result<Settings> {
    // Some editors begin files with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    match yaml::read(text).map_err(|fault| source.fault(fault.to_string(), None))? {
        Setting::Map(settings) => Ok(settings),
        Setting::Null => Ok(Settings::new()),
        other => {
            let found = words::found(&other);
            let reason = format!("expected keys and values, as in `seed: 1`, found {found}");
            Err(source.fault(reason, None))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use image::RgbImage;
    use proptest::prelude::*;
    use rand::Rng;
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};
    use tch::Tensor;

    use super::*;
    use crate::{
        BoxError, BuildContext, Dataset, Donors, Item, Maps, Method, Model, Outcome, Scorer, Scores, Split,
        Synthesizer,
    };

    /// A data set of nothing.
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Shelf {
        /// A name.
        name: String,
    }
    crate::register!(Dataset: Shelf = "shelf");

    #[typetag::serde(name = Shelf::NAME)]
    impl Dataset for Shelf {
        fn items(&self, _: Split) -> Result<Vec<Item>, BoxError> {
            Ok(Vec::new())
        }
    }

    /// Damages nothing.
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct Calm {
        beta: f64,
        tries: u32,
        range: Option<(f64, f64)>,
        loud: bool,
    }
    crate::register!(Synthesizer: Calm = "calm");

    #[typetag::serde(name = Calm::NAME)]
    impl Synthesizer for Calm {
        fn synthesize(&self, _: &RgbImage, _: &dyn Donors, _: &mut dyn Rng) -> Result<Outcome, BoxError> {
            Ok(Outcome::Unchanged)
        }
        fn check(&self) -> Result<(), BoxError> {
            if self.beta < 0.0 {
                Err(format!("beta: expected at least 0, found {}", self.beta).into())
            } else {
                Ok(())
            }
        }
    }

    /// Several others, one after the other.
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct Chain {
        of: Vec<Arc<dyn Synthesizer>>,
    }
    crate::register!(Synthesizer: Chain = "chain");

    #[typetag::serde(name = Chain::NAME)]
    impl Synthesizer for Chain {
        fn synthesize(&self, _: &RgbImage, _: &dyn Donors, _: &mut dyn Rng) -> Result<Outcome, BoxError> {
            Ok(Outcome::Unchanged)
        }
    }

    /// Learns nothing.
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct Idle {}
    crate::register!(Method: Idle = "idle");

    #[typetag::serde(name = Idle::NAME)]
    impl Method for Idle {
        fn needs_synthesis(&self) -> bool {
            true
        }
        fn stride(&self) -> i64 {
            16
        }
        fn build(&self, _: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
            Err("nothing to build".into())
        }
    }

    /// Learns nothing, in its own way.
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct Drilled {}
    crate::register!(
        Method: Drilled = "drilled",
        recipe = "{ synthesizer: null, trainer: { epochs: 700, batch_size: 64, schedule: { milestones: [80 %, 90 %] } } }"
    );

    #[typetag::serde(name = Drilled::NAME)]
    impl Method for Drilled {
        fn build(&self, _: &BuildContext) -> Result<Box<dyn Model>, BoxError> {
            Err("nothing to build".into())
        }
    }

    #[test]
    fn the_recipe_of_the_method_lies_between_the_defaults_and_the_file() {
        let trainer = |file: &str, arguments: &[&str]| resolved(file, "", arguments)["trainer"].clone();
        let recipe = trainer("method: { type: drilled }", &[]);
        assert_eq!(recipe["batch_size"], 64);
        assert_eq!(recipe["epochs"], 700);
        assert_eq!(recipe["schedule"]["milestones"], json!([560, 630]));
        assert_eq!(
            resolved("", "", &["method.type=drilled"])["synthesizer"],
            Value::Null
        );
        let own = trainer(
            "method: { type: drilled }\ntrainer: { batch_size: 2 }",
            &["trainer.steps=30"],
        );
        assert_eq!(own["batch_size"], 2);
        assert_eq!((&own["epochs"], &own["steps"]), (&Value::Null, &json!(30)));
        assert_eq!(own["schedule"]["milestones"], json!([24, 27]));
        assert_eq!(trainer("", &[])["batch_size"], 8, "another method");
    }

    /// Finds nothing.
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct Blind {}
    crate::register!(Scorer: Blind = "blind");

    #[typetag::serde(name = Blind::NAME)]
    impl Scorer for Blind {
        fn pixels(&self, _: &Maps, _: (i64, i64)) -> Result<Tensor, BoxError> {
            Err("nothing to see".into())
        }
        fn finish(&self, pixels: &Tensor) -> Scores {
            Scores {
                pixels: pixels.shallow_clone(),
                images: pixels.shallow_clone(),
            }
        }
    }

    const DEFAULTS: &str =
        "synthesizer: { type: calm, beta: 0.5 }\nmethod: { type: idle }\nscorer: { type: blind }";

    /// The layers of a file, variables (separated by blanks) and arguments.
    fn layers(file: &str, variables: &str, arguments: &[&str]) -> Result<Layers> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipeline.yaml");
        fs::write(&path, file).unwrap();
        let variables = variables.split_whitespace().map(|v| v.split_once('=').unwrap());
        let mut layers = Layers::new(DEFAULTS)?.file(&path)?;
        layers.0[1].source = Origin::File("pipeline.yaml".into());
        layers
            .environment(variables.map(|(name, value)| (name.into(), value.into())))?
            .set(arguments)
    }

    const SHELF: &str = "data: { type: shelf, name: x }";

    fn resolved(file: &str, variables: &str, arguments: &[&str]) -> Value {
        let pipeline = layers(&format!("{SHELF}\n{file}"), variables, arguments).and_then(|l| l.resolve());
        serde_json::to_value(
            pipeline.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error))),
        )
        .unwrap()
    }

    fn refused(file: &str, variables: &str, arguments: &[&str]) -> String {
        let error = layers(&format!("{SHELF}\n{file}"), variables, arguments)
            .and_then(|l| l.resolve())
            .unwrap_err();
        match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        }
    }

    /// What reading a file that holds these bytes is refused with, without the file's name.
    fn unreadable(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, bytes).unwrap();
        let error = Layers::new("")
            .unwrap()
            .file(&path)
            .and_then(|layers| layers.resolve())
            .unwrap_err();
        error.to_string().replace(&format!("{}: ", path.display()), "")
    }

    #[test]
    fn a_resolved_pipeline_says_which_precision_the_device_computes_in() {
        let native = crate::block::Precision::native(tch::Device::Cpu);
        let found = &resolved("precision: auto", "", &["device=cpu"])["precision"];
        assert_eq!(*found, serde_json::to_value(native).unwrap());
        assert_ne!(found, "auto");
    }

    #[test]
    fn each_layer_wins_over_those_below() {
        let seed = |file: &str, variables: &str, arguments: &[&str]| {
            resolved(file, variables, arguments)["seed"].clone()
        };
        assert_eq!(seed("", "", &[]), 1126);
        assert_eq!(seed("seed: 1", "", &[]), 1);
        assert_eq!(seed("seed: 1", "DAF__SEED=2", &[]), 2);
        assert_eq!(seed("seed: 1", "DAF__SEED=2", &["seed=3"]), 3);
        assert_eq!(seed("seed: 1", "DAF__SEED=2", &["seed=3", "seed=4"]), 4);
    }

    #[test]
    fn maps_merge_and_another_type_replaces() {
        assert_eq!(
            resolved("synthesizer: { tries: 3 }", "", &[])["synthesizer"]["beta"],
            0.5
        );
        let chain = resolved("synthesizer: { type: chain }", "", &[]);
        assert_eq!(
            chain["synthesizer"],
            serde_json::json!({ "type": "chain", "of": [] })
        );
        let chain = resolved("synthesizer: { tries: 3 }", "DAF__SYNTHESIZER__TYPE=chain", &[]);
        assert_eq!(chain["synthesizer"]["type"], "chain");
    }

    #[test]
    fn the_order_of_variables_and_arguments_does_not_lose_settings() {
        let file = "synthesizer: { type: chain }";
        let calm = resolved(
            file,
            "DAF__SYNTHESIZER__BETA=0.25 DAF__SYNTHESIZER__TYPE=calm",
            &[],
        );
        assert_eq!(calm["synthesizer"]["beta"], 0.25);
        let calm = resolved(file, "", &["synthesizer.beta=0.25", "synthesizer.type=calm"]);
        assert_eq!(calm["synthesizer"]["beta"], 0.25);
    }

    #[test]
    fn null_switches_off_and_lists_are_replaced() {
        let file = "synthesizer: { type: chain, of: [{ type: calm }, { type: calm, beta: 1 }] }";
        let off = refused(file, "", &["synthesizer=null"]);
        assert!(
            off.starts_with("--set synthesizer: synthesizer: method `idle` learns from"),
            "{off}"
        );
        let one = resolved(file, "", &["synthesizer.of=[{ type: calm, beta: 7 }]"]);
        assert_eq!(one["synthesizer"]["of"].as_array().unwrap().len(), 1);
        assert_eq!(one["synthesizer"]["of"][0]["beta"], 7.0);
    }

    #[test]
    fn an_argument_reaches_into_lists() {
        let file = "synthesizer: { type: chain, of: [{ type: calm }, { type: calm, beta: 1 }] }";
        let set = resolved(
            file,
            "",
            &["synthesizer.of[1].tries=4", "synthesizer.of[0].range=[0.1, 2]"],
        );
        assert_eq!(
            set["synthesizer"]["of"][1],
            serde_json::json!({"type": "calm", "beta": 1.0, "tries": 4, "range": null, "loud": false})
        );
        assert_eq!(
            set["synthesizer"]["of"][0]["range"],
            serde_json::json!([0.1, 2.0])
        );
        let nested = resolved(file, "", &["synthesizer.of[1].type=chain"]);
        assert_eq!(
            nested["synthesizer"]["of"][1],
            serde_json::json!({ "type": "chain", "of": [] })
        );
        assert_eq!(
            refused(file, "", &["synthesizer.of[2].tries=4"]),
            "--set synthesizer.of[2].tries: [2] is too far: the list has 2 elements, counted from 0"
        );
        assert_eq!(
            refused(file, "", &["seed[0]=4"]),
            "--set seed[0]: [0] picks from a list, but there is null"
        );
    }

    #[test]
    fn values_of_variables_are_numbers_truths_or_text() {
        let calm = resolved(
            "",
            "DAF__SYNTHESIZER__BETA=1e-3 DAF__SYNTHESIZER__LOUD=true DAF_LOG=x DAF__DATA__NAME=nan",
            &[],
        );
        assert_eq!(calm["synthesizer"]["beta"], 1e-3);
        assert_eq!(calm["synthesizer"]["loud"], true);
        assert_eq!(calm["data"]["name"], "nan");
        assert_eq!(
            refused("", "DAF__TRAINER__STEPS=many", &[]),
            "environment DAF__TRAINER__STEPS: trainer.steps: expected a whole number of at least 0, found the text \"many\""
        );
        assert!(refused("", "DAF__TRAINER____STEPS=1", &[]).contains("`trainer..steps` is not a key"));
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest() {
        assert_eq!(
            refused("synthesizer: { betta: 1 }", "", &[]),
            "pipeline.yaml: synthesizer.betta: unknown key (did you mean `beta`? There are `beta`, `tries`, `range` and `loud`)"
        );
        assert!(
            refused("synthesiser: { beta: 1 }", "", &[])
                .starts_with("pipeline.yaml: synthesiser: unknown key (did you mean `synthesizer`?")
        );
        assert!(
            refused("", "", &["trainer.stepps=1"])
                .starts_with("--set trainer.stepps: trainer.stepps: unknown key (did you mean `steps`?")
        );
        assert_eq!(
            refused("scorer: { x: 1 }", "", &[]),
            "pipeline.yaml: scorer.x: unknown key (there are no keys here)"
        );
        let deep = refused(
            "synthesizer: { type: chain, of: [{ type: calm }, { beat: 1, type: calm }] }",
            "",
            &[],
        );
        assert!(
            deep.starts_with("pipeline.yaml: synthesizer.of[1].beat: unknown key (did you mean `beta`?"),
            "{deep}"
        );
        let tagged = refused("trainer: { optimizer: { type: sgd, learning_rte: 1 } }", "", &[]);
        assert!(
            tagged.starts_with(
                "pipeline.yaml: trainer.optimizer.learning_rte: unknown key (did you mean `learning_rate`?"
            ),
            "{tagged}"
        );
        let preset = refused("input: { size: 256, preste: official }", "", &[]);
        assert!(
            preset.starts_with("pipeline.yaml: input.preste: unknown key (did you mean `preset`?"),
            "{preset}"
        );
    }

    #[test]
    fn unknown_parts_are_named_with_those_that_there_are() {
        assert_eq!(
            refused("synthesizer: { type: clam }", "", &[]),
            "pipeline.yaml: synthesizer.type: there is no synthesizer `clam`, only `calm` and `chain` \
             (did you mean `calm`? Is the crate that brings it named under `plugins`?)"
        );
        assert_eq!(
            refused("synthesizer: { type: speckle }", "", &[]),
            "pipeline.yaml: synthesizer.type: there is no synthesizer `speckle`, only `calm` and `chain` \
             (is the crate that brings it named under `plugins`?)"
        );
        assert!(refused("", "DAF__SYNTHESIZER__TYPE=clam", &[]).starts_with(
            "environment DAF__SYNTHESIZER__TYPE: synthesizer.type: there is no synthesizer `clam`"
        ));
        assert_eq!(
            refused("trainer: { optimizer: { type: adamx } }", "", &[]),
            "pipeline.yaml: trainer.optimizer.type: there is no value `adamx`, only `adamw`, `adam` and `sgd` (did you mean `adam`?)"
        );
        assert_eq!(
            refused("synthesizer: calm", "", &[]),
            "pipeline.yaml: synthesizer: expected a map with `type`, found the text \"calm\" (write `synthesizer: { type: calm }`)"
        );
    }

    #[test]
    fn plugins_are_read_before_parts_and_asked_for_if_they_are_missing() {
        // This crate registers the tests' parts, so it counts as linked.
        let linked = resolved(
            "plugins: { daf-core: '0.1', gone: { path: x } }",
            "",
            &["plugins.gone=null"],
        );
        assert_eq!(linked["plugins"], json!({ "daf-core": { "version": "0.1" } }));
        assert_eq!(resolved("", "", &[]).get("plugins"), None);
        // Before the part that it brings.
        assert_eq!(
            refused(
                "plugins: { speckles: '1' }\nsynthesizer: { type: speckle }",
                "",
                &[]
            ),
            "pipeline.yaml: plugins.speckles: this crate is not linked into this program (`daf-cli build pipeline.yaml` \
             compiles a program that has it; so does --build with `run`, `train`, `check`, `data check` and `synth preview`)"
        );
        assert!(
            refused("", "", &["plugins={ speckles: '1' }"]).starts_with("--set plugins: plugins.speckles: ")
        );
        for (plugins, message) in [
            (
                "{ x: { pth: y } }",
                "plugins.x.pth: unknown key (did you mean `path`?",
            ),
            (
                "{ x: {} }",
                "plugins.x: expected `version`, `path` or `git`, found none of them",
            ),
            ("{ 'x = 1': '1' }", "plugins.x = 1: `x = 1` is no name of a crate"),
            ("{ x: [1] }", "plugins.x: expected a map, found a list"),
            ("[x]", "plugins: expected a map, found a list"),
        ] {
            let error = refused(&format!("plugins: {plugins}"), "", &[]);
            assert!(error.starts_with(&format!("pipeline.yaml: {message}")), "{error}");
        }
    }

    #[test]
    fn paths_of_plugins_start_at_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/pipeline.yaml");
        fs::create_dir_all(folder.path().join("deep")).unwrap();
        fs::create_dir_all(folder.path().join("mine")).unwrap();
        fs::write(
            &file,
            "plugins: { a: { path: ../mine }, b: { path: ../none }, c: { path: /abs } }",
        )
        .unwrap();
        let plugins = Layers::new("").unwrap().file(&file).unwrap().plugins().unwrap();
        let path = |name: &str| plugins[name].path.clone().unwrap();
        assert_eq!(path("a"), fs::canonicalize(folder.path().join("mine")).unwrap());
        assert!(path("b").is_absolute() && path("b").ends_with("none"));
        assert_eq!(path("c"), Path::new("/abs"));
    }

    #[test]
    fn wrong_types_say_what_was_expected_and_found() {
        for (file, expected) in [
            (
                "synthesizer: { beta: lots }",
                "synthesizer.beta: expected a number, found the text \"lots\"",
            ),
            (
                "synthesizer: { loud: yes }",
                "synthesizer.loud: expected true or false, found the text \"yes\"",
            ),
            (
                "synthesizer: { tries: 3.7 }",
                "synthesizer.tries: expected a whole number of at least 0, found 3.7",
            ),
            (
                "synthesizer: { tries: -3 }",
                "synthesizer.tries: expected a whole number of at least 0, found -3",
            ),
            (
                "synthesizer: { tries: \"3\" }",
                "synthesizer.tries: expected a whole number of at least 0, found the text \"3\" (leave the quotes out)",
            ),
            (
                "synthesizer: { range: 3 }",
                "synthesizer.range: expected a list of 2 values, found 3",
            ),
            (
                "synthesizer: { range: [3] }",
                "synthesizer.range: expected a list of 2 values, found a list of 1",
            ),
            (
                "seed: -1",
                "seed: expected a whole number of at least 0, found -1",
            ),
            (
                "trainer:",
                "trainer: expected a map, found null (leave the key out to get its default)",
            ),
            ("trainer: 3", "trainer: expected a map, found 3"),
            (
                "device: gpu",
                "device: expected `auto`, `cpu` or `cuda:N`, found `gpu`",
            ),
            (
                "input: { size: [1, 2, 3] }",
                "input.size: expected a number of pixels or [height, width], found a list",
            ),
            (
                "input: { size: \"256\" }",
                "input.size: expected a number of pixels or [height, width], found the text \"256\" (leave the quotes out)",
            ),
            (
                "input: { size: 250 }",
                "input.size: expected multiples of 16, the coarsest stride, found 250×250; 256 would do",
            ),
            (
                "input: { channel_order: rbg }",
                "input.channel_order: there is no value `rbg`, only `rgb` and `bgr` (did you mean `rgb`?)",
            ),
            (
                "trainer: { checkpoint_every: 3 }",
                "trainer.checkpoint_every: expected `N steps`, `N epochs` or `N s`, each over 0, found `3` (write `3 steps`)",
            ),
            (
                "trainer: { steps: 3, epochs: 4 }",
                "trainer.steps: give `epochs` or `steps`, not both",
            ),
            (
                "trainer: { batch_size: 0 }",
                "trainer.batch_size: expected 1 to 65536, found 0",
            ),
        ] {
            assert_eq!(
                refused(file, "", &[]),
                format!("pipeline.yaml: {expected}"),
                "for {file}"
            );
        }
    }

    #[test]
    fn ranges_and_parts_are_blamed_on_the_layer_that_set_them() {
        assert_eq!(
            refused("trainer: { batch_size: 4 }", "DAF__TRAINER__BATCH_SIZE=0", &[]),
            "environment DAF__TRAINER__BATCH_SIZE: trainer.batch_size: expected 1 to 65536, found 0"
        );
        assert_eq!(
            refused("synthesizer: { tries: 4 }", "", &["synthesizer.beta=-1"]),
            "synthesizer `calm` (synthesizer in pipeline.yaml, --set synthesizer.beta): beta: expected at least 0, found -1"
        );
    }

    #[test]
    fn a_key_missing_over_a_null_is_blamed_on_the_layer_that_set_its_neighbour() {
        assert_eq!(
            refused("synthesizer: null", "", &["synthesizer.beta=0.5"]),
            "--set synthesizer.beta: synthesizer.type: missing (`daf-cli list` shows what there is)"
        );
    }

    #[test]
    fn a_key_missing_in_a_list_is_blamed_on_the_layer_that_gave_the_list() {
        let defaults = "synthesizer: { type: chain, of: [{ type: calm }] }\nmethod: { type: idle }\nscorer: { type: blind }";
        let layers = Layers::new(defaults).unwrap();
        let layers = layers.set(["data={ type: shelf, name: x }", "synthesizer.of=[{ typ: calm }]"]);
        assert_eq!(
            layers.unwrap().resolve().unwrap_err().to_string(),
            "--set synthesizer.of: synthesizer.of[0].type: missing (`daf-cli list` shows what there is)"
        );
    }

    #[test]
    fn missing_keys_are_blamed_on_the_layer_that_named_the_part() {
        let missing = layers("seed: 1", "", &["trainer.steps=3"])
            .and_then(|l| l.resolve())
            .unwrap_err()
            .to_string();
        assert!(
            missing.starts_with(
                "pipeline.yaml: data: missing (say where images come from, for example `data: {"
            ),
            "{missing}"
        );
        let name = layers("data: { type: shelf }", "", &["seed=3"])
            .and_then(|l| l.resolve())
            .unwrap_err()
            .to_string();
        assert_eq!(name, "pipeline.yaml: data.name: missing");
        let tag = layers("data: { name: x }", "", &["data.name=y"])
            .and_then(|l| l.resolve())
            .unwrap_err()
            .to_string();
        assert_eq!(
            tag,
            "pipeline.yaml: data.type: missing (`daf-cli list` shows what there is)"
        );
    }

    #[test]
    fn unreadable_files_give_one_clear_message() {
        let empty = format!("is empty; a pipeline names at least `data` ({DATA})");
        assert_eq!(unreadable(b""), empty);
        assert_eq!(unreadable(b"# nothing yet\n"), empty);
        assert_eq!(
            unreadable(b"seed: 1\ndata: [1, 2\n"),
            "line 3, column 1: expected `,` or `]`: a list that begins with `[` is not closed"
        );
        assert_eq!(
            unreadable(b"seed: 1\nseed: 2\n"),
            "line 2, column 1: the key \"seed\" is given twice"
        );
        assert_eq!(
            unreadable(b"- 1\n- 2\n"),
            "expected keys and values, as in `seed: 1`, found a list"
        );
        assert_eq!(
            unreadable(b"just words"),
            "expected keys and values, as in `seed: 1`, found the text \"just words\""
        );
        assert_eq!(
            unreadable(b"seed: 1\n# caf\xe9\n"),
            "is not a text in UTF-8: line 2 has other bytes"
        );
        assert_eq!(
            unreadable(b"seed: 1\n---\nseed: 2\n"),
            "line 2, column 1: a second document begins (`---`); expected one"
        );
        assert_eq!(
            unreadable(b"seed: 1e999\n"),
            "seed: expected a finite number, found 1e999"
        );
        assert_eq!(
            unreadable(b"seed: .inf\n"),
            "seed: expected a finite number, found .inf"
        );
        assert_eq!(
            unreadable(b"\xef\xbb\xbfseed: x\r\n"),
            "seed: expected a whole number of at least 0, found the text \"x\""
        );
        let utf_16: Vec<u8> = "\u{feff}seed: 1\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(
            unreadable(&utf_16),
            "is a text in UTF-16, expected UTF-8 (save it in UTF-8)"
        );
        assert_eq!(
            unreadable(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
            "is not a text: it holds bytes of 0"
        );
        let large = vec![b'#'; LARGEST as usize + 1];
        assert_eq!(
            unreadable(&large),
            "is larger than 4 MiB, which no file of settings is"
        );
        let error = Layers::new("")
            .unwrap()
            .file("no/such.yaml")
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "no/such.yaml: there is no such file (`daf-cli init` writes one to start from)"
        );
        let error = Layers::new("").unwrap().file("src").unwrap_err().to_string();
        assert_eq!(error, "src: is a folder, not a pipeline file");
    }

    #[test]
    fn arguments_that_cannot_be_read_are_refused() {
        assert_eq!(
            refused("", "", &["seed"]),
            "--set seed: expected KEY=VALUE (for example `--set trainer.steps=600`)"
        );
        assert_eq!(
            refused("", "", &["seed=[1"]),
            "--set seed: `[1` is not a YAML value: expected `,` or `]`: a list that begins with `[` is not closed"
        );
        let two = refused("", "", &["seed=1\nx: 2"]);
        assert!(
            two.starts_with("--set seed: `1\nx: 2` is not a YAML value: "),
            "{two}"
        );
        for key in ["", ".", "a..b", "a[", "a[x]", "a[1]b", "[0]"] {
            let message = refused("", "", &[&format!("{key}=1")]);
            assert!(message.contains("is not a key such as"), "{message}");
        }
        assert_eq!(resolved("", "", &["data.name=a=b"])["data"]["name"], "a=b");
        assert_eq!(resolved("", "", &["data.name='a: b'"])["data"]["name"], "a: b");
        assert_eq!(resolved("", "", &["data.name=\"007\""])["data"]["name"], "007");
    }

    #[test]
    fn where_a_key_takes_text_it_is_what_was_written() {
        let name = |file: &str, variables: &str, arguments: &[&str]| {
            resolved(file, variables, arguments)["data"]["name"].clone()
        };
        for text in [
            "01",
            "1.0",
            "1e5",
            "0x1F",
            "+5",
            ".5",
            "true",
            "TRUE",
            ".nan",
            "1e999",
            "18446744073709551616",
        ] {
            let layers = layers(&format!("data: {{ type: shelf, name: {text} }}"), "", &[]).unwrap();
            let pipeline = serde_json::to_value(layers.resolve().unwrap()).unwrap();
            assert_eq!(pipeline["data"]["name"], text);
            assert_eq!(name("", &format!("DAF__DATA__NAME={text}"), &[]), text);
            assert_eq!(name("", "", &[&format!("data.name={text}")]), text);
            assert_eq!(name("", "", &[&format!("data.name='{text}'")]), text);
        }
        assert_eq!(
            resolved("plugins: { daf-core: 0.10 }", "", &[])["plugins"]["daf-core"]["version"],
            "0.10"
        );
    }

    #[test]
    fn the_key_of_an_optimizer_is_named() {
        let refused =
            |optimizer: &str| refused(&format!("trainer: {{ optimizer: {{ {optimizer} }} }}"), "", &[]);
        for (optimizer, message) in [
            (
                "type: adam, learning_rate: \"2e-4\"",
                "learning_rate: expected a number, found the text \"2e-4\" (leave the quotes out)",
            ),
            (
                "learning_rate: fast, type: adamw",
                "learning_rate: expected a number, found the text \"fast\"",
            ),
            (
                "type: adam, betas: 0.9",
                "betas: expected a list of 2 values, found 0.9",
            ),
            (
                "type: adam, betas: [0.9]",
                "betas: expected a list of 2 values, found a list of 1",
            ),
            (
                "type: adam, betas: [0.9, x]",
                "betas[1]: expected a number, found the text \"x\"",
            ),
            ("type: sgd", "learning_rate: missing"),
            (
                "type: sgd, learning_rate: .inf",
                "learning_rate: expected a finite number, found .inf",
            ),
            (
                "type: sgd, learning_rate: -1",
                "learning_rate: must not be negative, found -1",
            ),
        ] {
            assert_eq!(
                refused(optimizer),
                format!("pipeline.yaml: trainer.optimizer.{message}")
            );
        }
    }

    #[test]
    fn maps_are_merged_and_keys_of_the_users_own_are_left_alone() {
        let file = "x-common: &common { beta: 0.25, tries: 3 }\nx-note: { any: [thing] }\n\
                    synthesizer: { <<: *common, type: calm, tries: 4 }\n";
        let calm = resolved(file, "", &["x-more=1"]);
        assert_eq!(calm["synthesizer"]["beta"], 0.25);
        assert_eq!(calm["synthesizer"]["tries"], 4);
        assert_eq!(calm.get("x-common"), None);
        // They are the whole's alone.
        assert!(refused("synthesizer: { x-beta: 1 }", "", &[]).contains("synthesizer.x-beta: unknown key"));
    }

    #[test]
    fn the_same_fault_gives_the_same_message_wherever_the_type_stands() {
        let first = "synthesizer: { type: chain, of: [{ type: calm, tries: \"3\", beta: lots, bta: 1 }] }";
        let last = "synthesizer: { of: [{ tries: \"3\", beta: lots, bta: 1, type: calm }], type: chain }";
        let message = refused(first, "", &[]);
        assert!(
            message.starts_with("pipeline.yaml: synthesizer.of[0].tries: expected"),
            "{message}"
        );
        for _ in 0..8 {
            assert_eq!(refused(first, "", &[]), message);
            assert_eq!(refused(last, "", &[]), message);
        }
    }

    #[test]
    fn a_written_pipeline_reads_back_the_same() {
        let file = "synthesizer: { type: chain, of: [{ type: calm, beta: 0.8, range: [1.0e-05, 1e22] }] }\n\
                    trainer: { epochs: 7, optimizer: { type: adamw, learning_rate: 2e-4 }, checkpoint_every: 60 s }";
        for name in [
            "007", "no", "null", "1.0", "~", "a: b", "ä", "", "a\nb", "'", "#x", "[1", "0x1F", "1e5", ".5",
            "true",
        ] {
            let argument = format!("data.name={}", serde_json::to_string(name).unwrap());
            let pipeline = layers(&format!("{SHELF}\n{file}"), "", &[&argument])
                .unwrap()
                .resolve()
                .unwrap();
            let yaml = pipeline.to_yaml().unwrap();
            let again = Layers(vec![Layer {
                source: Origin::Defaults,
                at: KeyPath::default(),
                value: Setting::Map(read(&yaml, &Origin::Defaults).unwrap()),
            }])
            .resolve()
            .unwrap_or_else(|error| panic!("{error}\n{yaml}"));
            assert_eq!(
                serde_json::to_value(&again).unwrap(),
                serde_json::to_value(&pipeline).unwrap(),
                "{yaml}"
            );
            assert_eq!(serde_json::to_value(&again).unwrap()["data"]["name"], name);
        }
    }

    #[test]
    fn the_schema_asks_for_what_the_defaults_lack() {
        let schema = crate::config::schema(&Layers::new(DEFAULTS).unwrap()).unwrap();
        assert_eq!(schema.get("required"), Some(&serde_json::json!(["data"])));
        let default = &schema.get("properties").unwrap()["synthesizer"]["default"];
        assert_eq!(default["type"], "calm");
    }

    proptest! {
        #[test]
        fn numbers_survive_being_written(beta in 0.0..f64::MAX, seed in 0..i64::MAX) {
            let arguments = [format!("synthesizer.beta={beta:e}"), format!("seed={seed}")];
            let pipeline = layers(SHELF, "", &[]).unwrap().set(&arguments).unwrap().resolve().unwrap();
            let again = Layers::new(&pipeline.to_yaml().unwrap()).unwrap().resolve().unwrap();
            prop_assert_eq!(serde_json::to_value(&again).unwrap(), serde_json::to_value(&pipeline).unwrap());
        }

        #[test]
        fn no_text_makes_reading_panic(text in "\\PC{0,40}", key in "[a-z.\\[\\]0-9]{0,8}") {
            let _ = Layers::new(&text).and_then(|layers| layers.resolve());
            let _ = Layers::new("").unwrap().set([format!("{key}={text}")]).and_then(|layers| layers.resolve());
            let variables = [(format!("DAF__{key}"), text)];
            let _ = Layers::new("").unwrap().environment(variables).and_then(|layers| layers.resolve());
        }
    }
}
