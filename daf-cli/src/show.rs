use daf_core::Kind;
use daf_core::recipe::{self, Recipe, recipes};
use daf_core::registry::{Component, components, find, nearest};
use daf_core::schemars::SchemaGenerator;
use serde_json::{Map, Value};

use crate::Context;
use crate::failure::Failure;
use crate::kind::{Listed, listed};

/// Show what a part does and what can be set, or what a recipe is made of
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli show synthesizer/dra
  daf-cli show dra                  the kind may be left out
  daf-cli show recipe/fast          what `recipe: fast` stands for")]
pub(crate) struct Show {
    /// The part or recipe, as `daf-cli list` shows it
    #[arg(value_name = "KIND/NAME", value_parser = shown)]
    shown: Shown,
}

/// A part or a recipe.
#[derive(Debug, Clone, Copy)]
enum Shown {
    Part(&'static Component),
    Recipe(&'static Recipe),
}

fn shown(text: &str) -> Result<Shown, String> {
    let (kinds, name) = match text.split_once('/') {
        Some((kind, name)) => (vec![listed(kind)?], name),
        None => (Listed::all(), text),
    };
    let found = kinds.iter().find_map(|kind| match kind {
        Listed::Parts(kind) => find(*kind, name).map(Shown::Part),
        Listed::Recipes => recipe::find(name).map(Shown::Recipe),
    });
    found.ok_or_else(|| {
        let names = kinds.iter().flat_map(|kind| match kind {
            Listed::Parts(kind) => components(*kind).into_iter().map(|part| part.name).collect(),
            Listed::Recipes => recipes()
                .into_iter()
                .map(|recipe| recipe.name)
                .collect::<Vec<_>>(),
        });
        let near = nearest(name, names).map(|near| format!(" (did you mean `{near}`?)"));
        let what = if kinds == [Listed::Recipes] {
            "recipe"
        } else {
            "part"
        };
        format!(
            "there is no such {what}; `daf-cli list` shows those that there are{}",
            near.unwrap_or_default()
        )
    })
}

impl Show {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        match self.shown {
            Shown::Part(part) => show_part(part, context),
            Shown::Recipe(recipe) => show_recipe(recipe, context),
        }
    }
}

fn show_recipe(recipe: &Recipe, context: &mut Context) -> Result<(), Failure> {
    let bold = clap::builder::styling::Style::new().bold();
    let out = &mut context.out;
    let Recipe {
        name, krate, version, ..
    } = recipe;
    writeln!(
        out,
        "{bold}{}/{name}{bold:#}  {krate} {version}\n",
        Listed::RECIPE
    )?;
    for line in paragraphs(recipe.doc) {
        writeln!(out, "{line}")?;
    }
    writeln!(
        out,
        "\n{bold}Settings{bold:#}: they lie under the pipeline file, over the defaults and the recipe of the method"
    )?;
    for line in recipe.yaml.lines() {
        writeln!(out, "  {line}")?;
    }
    writeln!(out, "\n{bold}Example{bold:#}\n  recipe: {name}")?;
    Ok(())
}

fn show_part(part: &Component, context: &mut Context) -> Result<(), Failure> {
    let bold = clap::builder::styling::Style::new().bold();
    let out = &mut context.out;
    writeln!(
        out,
        "{bold}{}/{}{bold:#}  {} {}\n",
        part.kind, part.name, part.krate, part.version
    )?;
    for line in paragraphs(&part.doc()) {
        writeln!(out, "{line}")?;
    }
    writeln!(out)?;
    let mut generator = SchemaGenerator::default();
    let schema = (part.schema)(&mut generator).to_value();
    let example = (part.example)();
    let definitions = generator.take_definitions(true);
    let mut fields = Vec::new();
    list_fields(&schema, &definitions, Some(&example), "", &mut fields);
    if fields.is_empty() {
        writeln!(out, "{bold}Nothing can be set.{bold:#}")?;
    } else {
        writeln!(out, "{bold}Fields{bold:#}")?;
    }
    for field in fields {
        writeln!(out, "  {bold}{}{bold:#}: {}", field.name, field.what)?;
        for line in wrapped(&field.doc, 74) {
            writeln!(out, "      {line}")?;
        }
    }
    let yaml = serde_saphyr::to_string(&example).map_err(Failure::work)?;
    writeln!(out, "\n{bold}Example{bold:#}")?;
    for line in yaml.lines() {
        writeln!(out, "  {line}")?;
    }
    if let Some(recipe) = part.recipe {
        writeln!(
            out,
            "\n{bold}Recipe{bold:#}: what the rest of the pipeline is unless it says otherwise"
        )?;
        for line in recipe.lines() {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}

struct Field {
    name: String,
    what: String,
    doc: String,
}

/// The fields of an object and, behind each, those of the objects in it.
fn list_fields(
    schema: &Value,
    definitions: &Map<String, Value>,
    example: Option<&Value>,
    prefix: &str,
    fields: &mut Vec<Field>,
) {
    let Some(Value::Object(properties)) = schema.get("properties") else {
        return;
    };
    let required = |name: &str| {
        schema
            .get("required")
            .and_then(Value::as_array)
            .is_some_and(|names| names.iter().any(|n| n == name))
    };
    for (name, field) in properties {
        let value = example.and_then(|example| example.get(name));
        let inner = object(field, definitions);
        let default = match field.get("default").or(value) {
            _ if required(name) => "; required".to_owned(),
            Some(Value::Object(_)) | None => String::new(),
            Some(Value::Null) => "; none by default".to_owned(),
            Some(value) => format!("; {value} by default"),
        };
        fields.push(Field {
            name: format!("{prefix}{name}"),
            what: format!("{}{default}", what(field, definitions)),
            doc: field
                .get("description")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
        });
        if let Some(inner) = inner {
            list_fields(inner, definitions, value, &format!("{prefix}{name}."), fields);
        }
    }
}

/// The name of the definition that a schema refers to.
fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

/// The kind of part that a schema refers to.
fn kind(schema: &Value) -> Option<Kind> {
    let name = reference(schema)?;
    Kind::ALL.into_iter().find(|kind| format!("{kind:?}") == name)
}

/// The definition that a reference names, or the schema itself.
fn resolved<'s>(schema: &'s Value, definitions: &'s Map<String, Value>) -> &'s Value {
    reference(schema)
        .and_then(|name| definitions.get(name))
        .unwrap_or(schema)
}

/// The object that a field holds, if it is one with fields of its own and not a part.
fn object<'s>(schema: &'s Value, definitions: &'s Map<String, Value>) -> Option<&'s Value> {
    if kind(schema).is_some() {
        return None;
    }
    let schema = resolved(schema, definitions);
    if let Some(Value::Array(choices)) = schema.get("anyOf") {
        return choices.iter().find_map(|choice| object(choice, definitions));
    }
    schema.get("properties").map(|_| schema)
}

/// Values of a field, in a few words.
fn what(schema: &Value, definitions: &Map<String, Value>) -> String {
    if let Some(kind) = kind(schema) {
        return format!("a {kind}");
    }
    let schema = resolved(schema, definitions);
    if let Some(title) = schema
        .get("title")
        .and_then(Value::as_str)
        .filter(|title| title.contains(' '))
    {
        return title.to_owned();
    }
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    if let Some(Value::Array(values)) = schema.get("enum") {
        return joined(values.iter().map(Value::to_string));
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(Value::Array(choices)) = schema.get(choice) {
            return joined(choices.iter().map(|choice| what(choice, definitions)));
        }
    }
    let plain = |name: &str| match name {
        "string" => "text".to_owned(),
        "integer" => "whole number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "object" => "map".to_owned(),
        "array" => match (schema.get("prefixItems"), schema.get("items")) {
            (Some(Value::Array(items)), _) => {
                let items: Vec<_> = items.iter().map(|item| what(item, definitions)).collect();
                format!("[{}]", items.join(", "))
            }
            (_, Some(item)) => format!("list, each {}", what(item, definitions)),
            _ => "list".to_owned(),
        },
        other => other.to_owned(),
    };
    match schema.get("type") {
        Some(Value::String(name)) => plain(name),
        Some(Value::Array(names)) => joined(names.iter().filter_map(Value::as_str).map(plain)),
        _ => "anything".to_owned(),
    }
}

fn joined(choices: impl Iterator<Item = String>) -> String {
    choices.collect::<Vec<_>>().join(" or ")
}

/// Documentation as lines of at most 80 characters; what is fenced as code stays as it is.
fn paragraphs(doc: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (position, block) in doc.split("\n\n").enumerate() {
        if position > 0 {
            lines.push(String::new());
        }
        if block.starts_with("```") {
            lines.extend(
                block
                    .lines()
                    .filter(|line| !line.starts_with("```"))
                    .map(|line| format!("  {line}")),
            );
        } else if block.lines().any(|line| line.starts_with(['|', '*', '-'])) {
            lines.extend(block.lines().map(str::to_owned));
        } else {
            lines.extend(wrapped(block, 80));
        }
    }
    lines
}

/// Breaks a text into lines.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
