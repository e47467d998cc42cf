//! Reads a pipeline from its layers: defaults, file, environment, arguments.

use std::fmt;
use std::fs;
use std::io::Read;
use std::path::Path;

use config::Source;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::key::{KeyPath, Step, get};
use super::setting::{Setting, Settings};
use super::words::DATA;
use super::{Plugins, words, yaml};
use crate::results::{CONFIG, MANIFEST};
use crate::{Error, Result, recipe, registry};

/// Layers of settings: the defaults, a file, the environment and arguments, each laid over those before. Directly
/// over the defaults lies what the method that the layers name brings, if it brings anything, and over that the
/// [recipe](crate::recipe) that they name with the key `recipe`.
///
/// Maps merge key by key and lists are replaced as a whole. A layer that names another `type` replaces the part, so that
/// no settings of the old one are left; `null` switches a part off. Keys of the whole that begin with `x-` are the user's
/// own, for example for anchors, and say nothing. Relative paths in a pipeline are relative to the current folder, whichever
/// layer they stand in, but for those of `plugins` in a file: they are relative to that file.
///
/// ```no_run
/// # #[derive(serde::Deserialize)]
/// # struct Trained { seed: u64 }
/// # fn main() -> daf_core::Result<()> {
/// let layers = daf_core::config::Layers::new("scorer: { type: gaussian }")?
///     .file("pipeline.yaml")?
///     .environment([("DAF__TRAINER__STEPS".into(), "600".into())])?
///     .set(["synthesizer.opacity=[0.2, 0.8]", "method.discrepancy.of[0].type=cosine"])?;
/// let trained: Trained = layers.resolve(|_| Ok(()))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Layers(Vec<Layer>);

#[derive(Debug, Clone)]
struct Layer {
    source: Origin,
    /// Place of the value in the pipeline; files are whole pipelines.
    at: KeyPath,
    value: Setting,
}

/// Source of a layer, in the words of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Defaults,
    /// Settings that the chosen method brings.
    Method(String),
    /// The registered recipe that a layer names.
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
            Self::Method(method) => write!(f, "recipe of method {method}"),
            Self::Recipe(name) => write!(f, "recipe {name}"),
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

/// The key that names a recipe.
const RECIPE: &str = "recipe";

/// Settings that have come since runs were first made: runs that lack them were made with these.
const UNWRITTEN: &str = "input: { reduction: bilinear, depth: 16, alpha: drop }";

impl Layers {
    /// The lowest layer, as YAML.
    ///
    /// # Errors
    /// If it is not the YAML of a map.
    pub fn new(defaults: &str) -> Result<Self> {
        Ok(Self(vec![Layer::of_text(Origin::Defaults, defaults)?]))
    }

    /// The pipeline of a run directory.
    ///
    /// # Errors
    /// If the directory is not a run.
    pub fn of_run(run: &Path) -> Result<Self> {
        // Both, so that a folder with a pipeline called config.yaml is not taken for a run, and deleted like one.
        for file in [CONFIG, MANIFEST] {
            if !run.join(file).is_file() {
                let reason = match run.exists() {
                    true => format!("not a run directory: it holds no {file}"),
                    false => "no such folder".into(),
                };
                return Err(Error::data(run, reason));
            }
        }
        Self::new(UNWRITTEN)?.file(run.join(CONFIG))
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

    /// Settings of a type: all layers merged, every part made, and checked by `check`, whose [faults](super::fault) get the name
    /// of the layer that is at fault.
    ///
    /// # Errors
    /// Names the layer and the key at fault, what was expected and what was found, and the nearest name that there is. A
    /// plugin that is not linked comes before all others, since they may be due to it.
    pub fn resolve<T: DeserializeOwned>(&self, check: impl FnOnce(&mut T) -> Result<()>) -> Result<T> {
        // A crate that is not linked may have brought the recipe.
        self.check_plugins(&self.merged()?)?;
        let layers = self.with_recipes()?;
        layers.checked(&layers.merged()?, check)
    }

    /// [`resolve`](Self::resolve) for settings that are a part of the pipeline, the keys `parts` among them. The rest may be of plugins that are
    /// not linked.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve); of plugins only where one of `parts` cannot be made.
    pub fn resolve_some<T: DeserializeOwned>(
        &self,
        parts: &[&str],
        check: impl FnOnce(&mut T) -> Result<()>,
    ) -> Result<T> {
        let layers = self.with_recipes()?;
        let value = layers.merged()?;
        let resolved = layers.checked(&value, check);
        if let Err(Error::Config { at, .. }) = &resolved
            && parts.iter().any(|part| at.starts_with(part))
        {
            // A part that is not there may be one of a plugin's.
            layers.check_plugins(&value)?;
        }
        resolved
    }

    fn checked<T: DeserializeOwned>(
        &self,
        value: &Setting,
        check: impl FnOnce(&mut T) -> Result<()>,
    ) -> Result<T> {
        let mut settings = self.typed(value)?;
        check(&mut settings).map_err(|error| self.locate(error))?;
        Ok(settings)
    }

    /// The layers and, directly over the defaults, first what the method that they name brings and over it the recipe
    /// that they name. The method may be that of the recipe.
    fn with_recipes(&self) -> Result<Self> {
        let mut layers = self.clone();
        let place = (layers.0.iter())
            .take_while(|layer| layer.source == Origin::Defaults)
            .count();
        if let Some(recipe) = self.recipe(&self.merged()?)? {
            layers.0.insert(place, Layer::of_recipe(recipe)?);
        }
        let value = layers.merged()?;
        let method = value
            .get("method")
            .and_then(|method| method.get("type"))
            .and_then(Setting::as_text)
            .and_then(|name| registry::find(registry::Kind::Method, name));
        if let Some((method, brought)) = method.and_then(|method| Some((method, method.recipe?))) {
            let layer = Layer::of_text(Origin::Method(method.name.into()), brought)?;
            layers.0.insert(place, layer);
        }
        Ok(layers)
    }

    /// The recipe that the merged layers name.
    fn recipe(&self, value: &Setting) -> Result<Option<&'static recipe::Recipe>> {
        let named = match value.get(RECIPE) {
            None | Some(Setting::Null) => return Ok(None),
            Some(named) => named,
        };
        let at = KeyPath::default().child(RECIPE);
        let Some(name) = named.written() else {
            let reason = format!("expected the name of a recipe, found {}", words::found(named));
            return Err(self.fault_at(&at, reason, None));
        };
        if let Some(recipe) = recipe::find(name) {
            return Ok(Some(recipe));
        }
        let names: Vec<_> = recipe::recipes().iter().map(|recipe| recipe.name).collect();
        let known = match &names[..] {
            [] => "none is linked into this program".to_owned(),
            names => format!("there are {}", names.join(", ")),
        };
        let hint = match registry::nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`daf-cli list recipe` says what each of them is for".into(),
        };
        let reason = format!("there is no recipe `{name}`: {known}");
        Err(self.fault_at(&at, reason, Some(hint)))
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

    /// Reads the merged layers; a fault is given the layer that it came from.
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
    ///
    /// # Errors
    /// If a layer picks from a list that is not there.
    pub fn merged(&self) -> Result<Setting> {
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

    /// Fills the layers into an error that knows the key only.
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
    /// A whole layer from YAML that is compiled in.
    fn of_text(source: Origin, yaml: &str) -> Result<Self> {
        let value = Setting::Map(read(yaml, &source)?);
        Ok(Self {
            source,
            at: KeyPath::default(),
            value,
        })
    }

    fn of_recipe(recipe: &recipe::Recipe) -> Result<Self> {
        let layer = Self::of_text(Origin::Recipe(recipe.name.into()), recipe.yaml)?;
        match [RECIPE, "plugins"]
            .iter()
            .find(|key| layer.value.get(key).is_some())
        {
            Some(key) => Err(layer
                .source
                .fault(format!("a recipe may not have the key `{key}`"), None)),
            None => Ok(layer),
        }
    }

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
