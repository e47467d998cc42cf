use std::fs;
use std::path::Path;
use std::sync::Arc;

use daf_core::image::RgbImage;
use proptest::prelude::*;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use daf_core::config::Layers;
use daf_core::{
    BoxError, BuildContext, Dataset, Donors, Item, Method, Model, Postprocessor, Result, Scorer, Split,
    Synthesis, Synthesizer, register, typetag,
};

use super::Pipeline;

/// A data set of nothing.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Shelf {
    /// A name.
    name: String,
}
register!(Dataset: Shelf = "shelf");

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
register!(Synthesizer: Calm = "calm");

#[typetag::serde(name = Calm::NAME)]
impl Synthesizer for Calm {
    fn synthesize(&self, _: &RgbImage, _: &dyn Donors, _: &mut dyn Rng) -> Result<Synthesis, BoxError> {
        Ok(Synthesis::Unchanged)
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
register!(Synthesizer: Chain = "chain");

#[typetag::serde(name = Chain::NAME)]
impl Synthesizer for Chain {
    fn synthesize(&self, _: &RgbImage, _: &dyn Donors, _: &mut dyn Rng) -> Result<Synthesis, BoxError> {
        Ok(Synthesis::Unchanged)
    }
}

/// Learns nothing.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Idle {}
register!(Method: Idle = "idle");

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
register!(
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

daf_core::register_recipe!(
    "quick",
    "For the tests.",
    "{ method: { type: drilled }, trainer: { batch_size: 16, steps: 50 }, seed: 3 }"
);

#[test]
fn a_recipe_lies_over_what_its_method_brings_and_under_the_file() {
    let found = resolved("recipe: quick", "", &[]);
    assert_eq!(found["method"]["type"], "drilled");
    assert_eq!(found["synthesizer"], Value::Null, "of the method");
    assert_eq!(
        (&found["trainer"]["batch_size"], &found["seed"]),
        (&json!(16), &json!(3))
    );
    assert_eq!(
        (&found["trainer"]["epochs"], &found["trainer"]["steps"]),
        (&Value::Null, &json!(50))
    );
    assert_eq!(
        found["trainer"]["schedule"]["milestones"],
        json!([40, 45]),
        "of the method"
    );
    assert!(
        found.get("recipe").is_none(),
        "what is resolved stands without it"
    );

    let own = resolved(
        "recipe: quick\nseed: 4\ntrainer: { batch_size: 2 }",
        "",
        &["trainer.steps=30"],
    );
    assert_eq!(
        (
            &own["trainer"]["batch_size"],
            &own["trainer"]["steps"],
            &own["seed"]
        ),
        (&json!(2), &json!(30), &json!(4))
    );
    // A file that names another method keeps the rest of the recipe.
    let other = resolved("recipe: quick\nmethod: { type: idle }", "", &[]);
    assert_eq!(
        (&other["method"]["type"], &other["seed"]),
        (&json!("idle"), &json!(3))
    );

    assert_eq!(resolved("", "DAF__RECIPE=quick", &[])["seed"], 3);
    assert_eq!(resolved("recipe: quick", "", &["recipe=null"])["seed"], 1126);
}

#[test]
fn a_recipe_that_is_unknown_is_told_with_the_nearest() {
    let unknown = refused("recipe: quik", "", &[]);
    assert!(
        unknown.contains("recipe: there is no recipe `quik`: there are quick")
            && unknown.contains("did you mean `quick`?"),
        "{unknown}"
    );
    let no_name = refused("recipe: [quick]", "", &[]);
    assert!(
        no_name.contains("expected the name of a recipe, found"),
        "{no_name}"
    );
}

/// Finds nothing.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Blind {}
register!(Scorer: Blind = "blind");

#[typetag::serde(name = Blind::NAME)]
impl Scorer for Blind {
    fn build(&self, _: &BuildContext) -> Result<Box<dyn Postprocessor>, BoxError> {
        Err("nothing to build".into())
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
    Layers::new(DEFAULTS)?
        .file(&path)?
        .environment(variables.map(|(name, value)| (name.into(), value.into())))?
        .set(arguments)
}

const SHELF: &str = "data: { type: shelf, name: x }";

fn resolved(file: &str, variables: &str, arguments: &[&str]) -> Value {
    let pipeline =
        layers(&format!("{SHELF}\n{file}"), variables, arguments).and_then(|l| Pipeline::from_layers(&l));
    serde_json::to_value(
        pipeline.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error))),
    )
    .unwrap()
}

fn refused(file: &str, variables: &str, arguments: &[&str]) -> String {
    let error = layers(&format!("{SHELF}\n{file}"), variables, arguments)
        .and_then(|l| Pipeline::from_layers(&l))
        .unwrap_err();
    plain(match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })
}

/// A message without the folder of the file that it names.
fn plain(mut text: String) -> String {
    while let Some(end) = text.find("/pipeline.yaml") {
        let start = text[..end].rfind([' ', '`', '\'']).map_or(0, |place| place + 1);
        text.replace_range(start..=end, "");
    }
    text
}

/// Message with which a file that holds these bytes is refused, without the file's name.
fn unreadable(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    fs::write(&path, bytes).unwrap();
    let error = Layers::new("")
        .unwrap()
        .file(&path)
        .and_then(|layers| Pipeline::from_layers(&layers))
        .unwrap_err();
    error.to_string().replace(&format!("{}: ", path.display()), "")
}

#[test]
fn a_resolved_pipeline_says_which_precision_the_device_computes_in() {
    let native = daf_core::block::Precision::native(tch::Device::Cpu);
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
    assert!(
        refused("", "DAF__SYNTHESIZER__TYPE=clam", &[]).starts_with(
            "environment DAF__SYNTHESIZER__TYPE: synthesizer.type: there is no synthesizer `clam`"
        )
    );
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
        "plugins: { daf-pipeline: '0.1', gone: { path: x } }",
        "",
        &["plugins.gone=null"],
    );
    assert_eq!(linked["plugins"], json!({ "daf-pipeline": { "version": "0.1" } }));
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
    assert!(refused("", "", &["plugins={ speckles: '1' }"]).starts_with("--set plugins: plugins.speckles: "));
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
            "input.size: expected a number of pixels, [height, width] or auto, found a list",
        ),
        (
            "input: { size: \"256\" }",
            "input.size: expected a number of pixels, [height, width] or auto, found the text \"256\" (leave the quotes out)",
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
fn a_key_missing_over_a_null_is_blamed_on_the_layer_that_set_its_neighbor() {
    assert_eq!(
        refused("synthesizer: null", "", &["synthesizer.beta=0.5"]),
        "--set synthesizer.beta: synthesizer.type: missing (`daf-cli list` shows what there is)"
    );
}

#[test]
fn a_key_missing_in_a_list_is_blamed_on_the_layer_that_gave_the_list() {
    let defaults =
        "synthesizer: { type: chain, of: [{ type: calm }] }\nmethod: { type: idle }\nscorer: { type: blind }";
    let layers = Layers::new(defaults).unwrap();
    let layers = layers.set(["data={ type: shelf, name: x }", "synthesizer.of=[{ typ: calm }]"]);
    assert_eq!(
        plain(Pipeline::from_layers(&layers.unwrap()).unwrap_err().to_string()),
        "--set synthesizer.of: synthesizer.of[0].type: missing (`daf-cli list` shows what there is)"
    );
}

#[test]
fn missing_keys_are_blamed_on_the_layer_that_named_the_part() {
    let missing = layers("seed: 1", "", &["trainer.steps=3"])
        .and_then(|l| Pipeline::from_layers(&l))
        .unwrap_err();
    let missing = plain(missing.to_string());
    assert!(
        missing.starts_with("pipeline.yaml: data: missing (say where images come from, for example `data: {"),
        "{missing}"
    );
    let name = layers("data: { type: shelf }", "", &["seed=3"])
        .and_then(|l| Pipeline::from_layers(&l))
        .unwrap_err();
    let name = plain(name.to_string());
    assert_eq!(name, "pipeline.yaml: data.name: missing");
    let tag = layers("data: { name: x }", "", &["data.name=y"])
        .and_then(|l| Pipeline::from_layers(&l))
        .unwrap_err();
    let tag = plain(tag.to_string());
    assert_eq!(
        tag,
        "pipeline.yaml: data.type: missing (`daf-cli list` shows what there is)"
    );
}

#[test]
fn unreadable_files_give_one_clear_message() {
    let empty = "is empty; a pipeline names at least `data` (say where images come from, for example `data: { type: mvtec, root: /data/mvtec, category: bottle }`)";
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
    let large = vec![b'#'; (4 << 20) + 1];
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
        let pipeline = serde_json::to_value(Pipeline::from_layers(&layers).unwrap()).unwrap();
        assert_eq!(pipeline["data"]["name"], text);
        assert_eq!(name("", &format!("DAF__DATA__NAME={text}"), &[]), text);
        assert_eq!(name("", "", &[&format!("data.name={text}")]), text);
        assert_eq!(name("", "", &[&format!("data.name='{text}'")]), text);
    }
    assert_eq!(
        resolved("plugins: { daf-pipeline: 0.10 }", "", &[])["plugins"]["daf-pipeline"]["version"],
        "0.10"
    );
}

#[test]
fn the_key_of_an_optimizer_is_named() {
    let refused = |optimizer: &str| refused(&format!("trainer: {{ optimizer: {{ {optimizer} }} }}"), "", &[]);
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
            "learning_rate: expected a number of at least 0, found -1",
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
        let written = layers(&format!("{SHELF}\n{file}"), "", &[&argument]).unwrap();
        let pipeline = Pipeline::from_layers(&written).unwrap();
        let yaml = pipeline.to_yaml().unwrap();
        let again = Pipeline::from_layers(&Layers::new(&yaml).unwrap());
        let again = again.unwrap_or_else(|error| panic!("{error}\n{yaml}"));
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
    let schema = super::schema(&Layers::new(DEFAULTS).unwrap()).unwrap();
    assert_eq!(schema.get("required"), Some(&serde_json::json!(["data"])));
    let default = &schema.get("properties").unwrap()["synthesizer"]["default"];
    assert_eq!(default["type"], "calm");
}

proptest! {
    #[test]
    fn numbers_survive_being_written(beta in 0.0..f64::MAX, seed in 0..i64::MAX) {
        let arguments = [format!("synthesizer.beta={beta:e}"), format!("seed={seed}")];
        let pipeline = Pipeline::from_layers(&layers(SHELF, "", &[]).unwrap().set(&arguments).unwrap()).unwrap();
        let again = Pipeline::from_layers(&Layers::new(&pipeline.to_yaml().unwrap()).unwrap()).unwrap();
        prop_assert_eq!(serde_json::to_value(&again).unwrap(), serde_json::to_value(&pipeline).unwrap());
    }

    #[test]
    fn no_text_makes_reading_panic(text in "\\PC{0,40}", key in "[a-z.\\[\\]0-9]{0,8}") {
        let _ = Layers::new(&text).and_then(|layers| Pipeline::from_layers(&layers));
        let _ = Layers::new("").unwrap().set([format!("{key}={text}")]).and_then(|layers| Pipeline::from_layers(&layers));
        let variables = [(format!("DAF__{key}"), text)];
        let _ = Layers::new("").unwrap().environment(variables).and_then(|layers| Pipeline::from_layers(&layers));
    }
}
