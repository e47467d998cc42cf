use daf_core::recipe::recipes;
use daf_core::registry::components;
use serde_json::json;

use crate::Context;
use crate::failure::Failure;
use crate::kind::{Listed, listed};

/// List the parts and recipes that pipelines can name
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli list
  daf-cli list synthesizer
  daf-cli list recipe
  daf-cli list --json | jq -r '.[].name'")]
pub(crate) struct List {
    /// Only these: dataset, synthesizer, shape, texture, backbone, measure, decoder, scorer, method or recipe
    #[arg(value_parser = listed)]
    kind: Option<Listed>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let kinds = self.kind.map_or_else(Listed::all, |kind| vec![kind]);
        let entries: Vec<_> = kinds.iter().map(|kind| (*kind, Entry::all(*kind))).collect();
        if self.json {
            let entries = entries.into_iter().flat_map(|(kind, entries)| {
                entries.into_iter().map(move |entry| {
                    json!({
                        "kind": kind.name(), "name": entry.name, "crate": entry.krate, "version": entry.version,
                        "summary": entry.summary,
                    })
                })
            });
            let entries = serde_json::Value::Array(entries.collect());
            return Ok(writeln!(context.out, "{entries:#}")?);
        }
        let bold = clap::builder::styling::Style::new().bold();
        let names = entries
            .iter()
            .flat_map(|(_, entries)| entries)
            .map(|entry| entry.name.len());
        let width = names.max().unwrap_or_default();
        for (position, (kind, entries)) in entries.into_iter().enumerate() {
            let gap = if position == 0 { "" } else { "\n" };
            writeln!(context.out, "{gap}{bold}{}{bold:#}", kind.name())?;
            for Entry {
                name,
                krate,
                version,
                summary,
            } in entries
            {
                writeln!(context.out, "  {name:width$}  {krate} {version}")?;
                for line in crate::show::wrapped(&summary, 80 - width - 4) {
                    writeln!(context.out, "  {:width$}  {line}", "")?;
                }
            }
        }
        Ok(())
    }
}

/// A part or a recipe, as it is listed.
struct Entry {
    name: &'static str,
    krate: &'static str,
    version: &'static str,
    summary: String,
}

impl Entry {
    fn all(listed: Listed) -> Vec<Self> {
        match listed {
            Listed::Parts(kind) => (components(kind).into_iter())
                .map(|part| Self {
                    name: part.name,
                    krate: part.krate,
                    version: part.version,
                    summary: part.summary(),
                })
                .collect(),
            Listed::Recipes => (recipes().into_iter())
                .map(|recipe| Self {
                    name: recipe.name,
                    krate: recipe.krate,
                    version: recipe.version,
                    summary: recipe.doc.to_owned(),
                })
                .collect(),
        }
    }
}
