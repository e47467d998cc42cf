use daf_core::Kind;
use daf_core::registry;

/// The kind called `name`; its plural will do.
pub(crate) fn kind(name: &str) -> Result<Kind, String> {
    let kinds = Kind::ALL.map(|kind| (kind.name(), kind));
    named(name, &kinds)
}

/// What `list` and `show` tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    Parts(Kind),
    Recipes,
}

impl Listed {
    pub(crate) const RECIPE: &str = "recipe";

    pub(crate) fn all() -> Vec<Self> {
        Kind::ALL
            .into_iter()
            .map(Self::Parts)
            .chain([Self::Recipes])
            .collect()
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Parts(kind) => kind.name(),
            Self::Recipes => Self::RECIPE,
        }
    }
}

/// The kind of part called `name`, or recipes; a plural will do.
pub(crate) fn listed(name: &str) -> Result<Listed, String> {
    let all: Vec<_> = Listed::all()
        .into_iter()
        .map(|listed| (listed.name(), listed))
        .collect();
    named(name, &all)
}

fn named<T: Copy>(name: &str, all: &[(&'static str, T)]) -> Result<T, String> {
    let singular = name.strip_suffix('s').unwrap_or(name);
    let found = all.iter().find(|(known, _)| *known == singular);
    found.map(|(_, found)| *found).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|(known, _)| *known).collect();
        let near =
            registry::nearest(name, names.iter().copied()).map(|near| format!(" (did you mean `{near}`?)"));
        format!(
            "there is no such kind, only {}{}",
            names.join(", "),
            near.unwrap_or_default()
        )
    })
}
