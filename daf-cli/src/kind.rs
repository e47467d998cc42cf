use daf_core::Kind;
use daf_core::registry;

/// The kind called `name`; its plural will do.
pub(crate) fn kind(name: &str) -> Result<Kind, String> {
    let singular = name.strip_suffix('s').unwrap_or(name);
    Kind::ALL
        .into_iter()
        .find(|kind| kind.name() == singular)
        .ok_or_else(|| {
            let names = Kind::ALL.map(Kind::name);
            let near = registry::nearest(name, names).map(|near| format!(" (did you mean `{near}`?)"));
            format!(
                "there is no such kind, only {}{}",
                names.join(", "),
                near.unwrap_or_default()
            )
        })
}
