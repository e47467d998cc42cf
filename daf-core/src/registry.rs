//! The record of every part that is linked into this program.
//!
//! typetag builds parts from YAML; this second record says what there is: name, crate, version,
//! documentation, example and JSON schema. [`register!`](crate::register) fills it, so that a part is listed,
//! documented and covered by the registry's test suites from the moment it is linked.

use std::collections::BTreeSet;

use schemars::{Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

pub use crate::kind::{Fault, Kind};
use crate::recipe::Recipe;

/// One registered part. Made by [`register!`](crate::register).
#[derive(Debug)]
pub struct Component {
    /// The part's kind.
    pub kind: Kind,
    /// The value of `type:` in YAML.
    pub name: &'static str,
    /// The crate that brought it.
    pub krate: &'static str,
    /// Version of that crate.
    pub version: &'static str,
    /// Schema of the part's own fields, without `type`.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// A complete example, as YAML would hold it, with `type` first.
    pub example: fn() -> Value,
    /// For a method: the settings of the rest of the pipeline that its paper names, as YAML.
    pub recipe: Option<&'static str>,
}

inventory::collect!(Component);

impl Component {
    /// The part's documentation: the doc comment of its Rust type.
    #[must_use]
    pub fn doc(&self) -> String {
        let schema = (self.schema)(&mut SchemaGenerator::default());
        schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    /// First paragraph of the documentation, on one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let doc = self.doc();
        doc.split("\n\n")
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Schema of the part in YAML: its own fields and the constant `type`, which a layer may leave out to
    /// change a setting of the part below it.
    pub fn tagged_schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let schema = (self.schema)(generator);
        let mut object = schema.as_object().cloned().unwrap_or_default();
        let mut properties = serde_json::Map::new();
        properties.insert("type".into(), serde_json::json!({ "const": self.name }));
        if let Some(Value::Object(own)) = object.remove("properties") {
            properties.extend(own);
        }
        object.insert("properties".into(), Value::Object(properties));
        object.into()
    }
}

/// The registered parts of one kind, sorted by name.
#[must_use]
pub fn components(kind: Kind) -> Vec<&'static Component> {
    let mut found: Vec<_> = inventory::iter::<Component>()
        .filter(|c| c.kind == kind)
        .collect();
    found.sort_by_key(|c| (c.name, c.krate));
    found
}

/// The part `name` of `kind`.
#[must_use]
pub fn find(kind: Kind, name: &str) -> Option<&'static Component> {
    components(kind).into_iter().find(|c| c.name == name)
}

/// The crates that may have brought the parts of a setting, as YAML holds it: those with a part, of whatever kind, that has the name
/// of one of its `type`s.
#[must_use]
pub fn crates_of(setting: &Value) -> BTreeSet<&'static str> {
    let within: Vec<_> = match setting {
        Value::Object(map) => map.values().collect(),
        Value::Array(list) => list.iter().collect(),
        _ => Vec::new(),
    };
    let name = setting.get("type").and_then(Value::as_str);
    let parts = inventory::iter::<Component>().filter(|part| Some(part.name) == name);
    let own = parts.map(|part| part.krate);
    own.chain(within.into_iter().flat_map(crates_of)).collect()
}

/// Refuses parts and recipes that YAML could not name: typetag would notice only when the name is looked up.
///
/// # Errors
/// [`Error::Registry`](crate::Error::Registry) with every fault.
pub fn check() -> crate::Result<()> {
    let faults: Vec<Fault> = Kind::ALL
        .into_iter()
        .flat_map(|kind| faults(&components(kind)))
        .chain(recipe_faults(&crate::recipe::recipes()))
        .collect();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(crate::Error::Registry(faults))
    }
}

/// The faults of parts of one kind, sorted by name.
fn faults(components: &[&Component]) -> Vec<Fault> {
    let krate = |c: &Component| format!("{} {}", c.krate, c.version);
    let same_name = components
        .chunk_by(|a, b| a.name == b.name)
        .filter(|same| same.len() > 1);
    let duplicates = same_name.map(|same| Fault::Duplicate {
        kind: same[0].kind,
        name: same[0].name,
        crates: same.iter().map(|c| krate(c)).collect(),
    });
    let names = components.iter().filter_map(|c| {
        let example = (c.example)();
        let typetag = example.get("type")?.as_str()?;
        (typetag != c.name).then(|| Fault::Name {
            kind: c.kind,
            name: c.name,
            krate: krate(c),
            typetag: typetag.to_owned(),
        })
    });
    duplicates.chain(names).collect()
}

/// The faults of recipes, sorted by name.
fn recipe_faults(recipes: &[&Recipe]) -> Vec<Fault> {
    let same_name = recipes
        .chunk_by(|a, b| a.name == b.name)
        .filter(|same| same.len() > 1);
    let fault = |same: &[&Recipe]| Fault::Recipe {
        name: same[0].name,
        crates: same
            .iter()
            .map(|recipe| format!("{} {}", recipe.krate, recipe.version))
            .collect(),
    };
    same_name.map(fault).collect()
}

/// The name nearest to `given` among `names`, for "did you mean": letters left out, doubled, mistaken or
/// swapped. Upper and lower case count as the same, blanks, `-` and `_` too.
#[must_use]
pub fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace(['-', ' '], "_");
    let wanted = plain(given);
    names
        .into_iter()
        .filter(|name| *name != given)
        .map(|name| {
            let distance = strsim::damerau_levenshtein(&wanted, &plain(name));
            // Of names that differ in case alone, the one that differs in fewer letters.
            (distance, strsim::damerau_levenshtein(given, name), name)
        })
        .filter(|(distance, _, name)| *distance <= 1 + name.chars().count().max(given.chars().count()) / 3)
        .min()
        .map(|(.., name)| name)
}

/// Schema of a boxed part: one alternative per registered component.
pub(crate) fn any_of(kind: Kind, generator: &mut SchemaGenerator) -> Schema {
    let variants: Vec<Value> = components(kind)
        .into_iter()
        .map(|c| c.tagged_schema(generator).to_value())
        .collect();
    schemars::json_schema!({ "anyOf": variants })
}

/// Registers a part under its name in YAML.
///
/// Gives the type a constant `NAME` and puts it on the record of [`components`](crate::registry::components).
/// The type needs `Default` (the example that is shown), `Serialize` and `JsonSchema`; the trait's impl needs
/// `#[typetag::serde(name = Type::NAME)]`.
///
/// ```
/// use daf_core::{BoxError, image::RgbImage, rand::Rng, typetag};
/// use daf_core::{Donors, Synthesis, Synthesizer};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// /// Leaves every image as it is.
/// #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
/// #[serde(deny_unknown_fields, default)]
/// struct Untouched {}
/// daf_core::register!(Synthesizer: Untouched = "untouched");
///
/// #[typetag::serde(name = Untouched::NAME)]
/// impl Synthesizer for Untouched {
///     fn synthesize(
///         &self, _: &RgbImage, _: &dyn Donors, _: &mut dyn Rng,
///     ) -> Result<Synthesis, BoxError> {
///         Ok(Synthesis::Unchanged)
///     }
/// }
///
/// assert!(daf_core::registry::find(daf_core::Kind::Synthesizer, "untouched").is_some());
/// ```
///
/// A method may bring a recipe, the settings of the rest of the pipeline that its paper names: a layer of
/// YAML that lies directly over the program's defaults, e.g.
/// `register!(Method: Mine = "mine", recipe = include_str!("mine.yaml"));`.
#[macro_export]
macro_rules! register {
    ($kind:ident : $part:ty = $name:literal) => {
        $crate::register!($kind: $part = $name, None);
    };
    ($kind:ident : $part:ty = $name:literal, recipe = $recipe:expr) => {
        $crate::register!($kind: $part = $name, Some($recipe));
    };
    ($kind:ident : $part:ty = $name:literal, $recipe:expr) => {
        impl $part {
            /// The part's name in YAML.
            // A part need not be public to be registered.
            #[allow(unreachable_pub)]
            pub const NAME: &'static str = $name;
        }
        $crate::inventory::submit! {
            $crate::registry::Component {
                kind: $crate::registry::Kind::$kind,
                name: $name,
                krate: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                schema: <$part as $crate::schemars::JsonSchema>::json_schema,
                example: || $crate::registry::example(
                    &<$part as ::std::default::Default>::default() as &dyn $crate::$kind),
                recipe: $recipe,
            }
        }
    };
}

/// `part` as YAML would hold it. For [`register!`](crate::register).
///
/// # Panics
/// Never for parts that are plain data, which is what typetag's `Serialize` demands of them.
#[doc(hidden)]
#[must_use]
pub fn example<T: Serialize + ?Sized>(part: &T) -> Value {
    serde_json::to_value(part).expect("a part is plain data")
}

/// Misuse of [`register!`](crate::register), which does not compile; `Sound` compiles and differs in one
/// place from each.
#[cfg(doctest)]
mod misuse {
    macro_rules! part {
        ($expected:literal, $kind:literal, $derived:literal, $typetag:literal) => {
            concat!(
                "```",
                $expected,
                "
use daf_core::image::RgbImage;
use daf_core::rand::Rng;
use daf_core::schemars::{self, JsonSchema};
use daf_core::{BoxError, Region, Shape, typetag};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, ",
                $derived,
                ")]
struct Nowhere {}
daf_core::register!(",
                $kind,
                ": Nowhere = \"nowhere\");

#[typetag::serde(name = ",
                $typetag,
                ")]
impl Shape for Nowhere {
    fn draw(&self, _: &RgbImage, _: &mut dyn Rng) -> Result<Option<Region>, BoxError> {
        Ok(None)
    }
}
```"
            )
        };
    }

    #[doc = part!("", "Shape", "Default, JsonSchema", "Nowhere::NAME")]
    struct Sound;
    #[doc = part!("compile_fail", "Shape", "JsonSchema", "Nowhere::NAME")]
    struct WithoutDefault;
    #[doc = part!("compile_fail", "Shape", "Default", "Nowhere::NAME")]
    struct WithoutJsonSchema;
    #[doc = part!("compile_fail", "Texture", "Default, JsonSchema", "Nowhere::NAME")]
    struct AsAnotherKind;
    #[doc = part!("compile_fail", "Nothing", "Default, JsonSchema", "Nowhere::NAME")]
    struct AsNoKind;
    #[doc = part!("compile_fail", "Shape", "Default, JsonSchema", "Elsewhere::NAME")]
    struct UnderAnotherName;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_that_share_a_name_or_have_another_one_for_typetag_are_refused() {
        let part = |krate, name, example| Component {
            kind: Kind::Shape,
            name,
            krate,
            version: "1.0.0",
            schema: |_| Schema::default(),
            example,
            recipe: None,
        };
        let parts = [
            part("one", "ring", || json!({ "type": "ring" })),
            part("two", "ring", || json!({ "type": "ring" })),
            part("one", "star", || json!({ "type": "Star" })),
        ];
        let found: Vec<_> = faults(&parts.each_ref())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "shape `ring` is registered by one 1.0.0 and two 1.0.0",
                "shape `star` of one 1.0.0 is `Star` for typetag; write `#[typetag::serde(name = Type::NAME)]`",
            ]
        );
    }

    #[test]
    fn recipes_that_share_a_name_are_refused() {
        let recipe = |krate, name| Recipe {
            name,
            doc: "Nothing.",
            krate,
            version: "1.0.0",
            yaml: "",
        };
        let recipes = [
            recipe("one", "quick"),
            recipe("two", "quick"),
            recipe("one", "slow"),
        ];
        let found: Vec<_> = recipe_faults(&recipes.each_ref())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["recipe `quick` is registered by one 1.0.0 and two 1.0.0"]);
    }

    #[test]
    fn the_nearest_name_may_differ_in_case_in_signs_and_in_a_few_letters() {
        let names = ["ground_truth", "Train", "test", "bottle"];
        for (given, meant) in [
            ("groundtruth", "ground_truth"),
            ("Ground-Truth", "ground_truth"),
            ("GROUND TRUTH", "ground_truth"),
            ("gorund_truth", "ground_truth"),
            ("train", "Train"),
            ("tets", "test"),
            ("botle", "bottle"),
        ] {
            assert_eq!(nearest(given, names), Some(meant), "{given}");
        }
        assert_eq!(nearest("zipper", names), None);
        assert_eq!(nearest("good", ["Good", "GOOD", "wood"]), Some("Good"));
        assert_eq!(nearest("größe", ["grosse", "größer"]), Some("größer"));
    }
}
