use daf_core::Kind;
use daf_core::registry::components;
use serde_json::json;

use crate::Context;
use crate::failure::Failure;
use crate::kind::kind;

/// List the parts that pipelines can name
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli list
  daf-cli list synthesizer
  daf-cli list --json | jq -r '.[].name'")]
pub(crate) struct List {
    /// Only parts of this kind: dataset, synthesizer, shape, texture, backbone, measure, decoder, scorer or method
    #[arg(value_parser = kind)]
    kind: Option<Kind>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let kinds = self.kind.map_or_else(|| Kind::ALL.to_vec(), |kind| vec![kind]);
        if self.json {
            let parts = kinds.into_iter().flat_map(components).map(|part| {
                json!({
                    "kind": part.kind.name(), "name": part.name, "crate": part.krate, "version": part.version,
                    "summary": part.summary(),
                })
            });
            let parts = serde_json::Value::Array(parts.collect());
            return Ok(writeln!(context.out, "{parts:#}")?);
        }
        let bold = clap::builder::styling::Style::new().bold();
        let parts: Vec<_> = kinds.iter().copied().flat_map(components).collect();
        let width = parts.iter().map(|part| part.name.len()).max().unwrap_or_default();
        for (position, kind) in kinds.into_iter().enumerate() {
            let gap = if position == 0 { "" } else { "\n" };
            writeln!(context.out, "{gap}{bold}{kind}{bold:#}")?;
            for part in components(kind) {
                writeln!(
                    context.out,
                    "  {:width$}  {} {}",
                    part.name, part.krate, part.version
                )?;
                for line in crate::show::wrapped(&part.summary(), 80 - width - 4) {
                    writeln!(context.out, "  {:width$}  {line}", "")?;
                }
            }
        }
        Ok(())
    }
}
