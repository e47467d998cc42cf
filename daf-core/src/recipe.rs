//! Recipes: named layers of settings, from which a pipeline takes its parts by one word.
//!
//! `recipe: NAME` in a pipeline lays the settings that are registered under that name over the defaults and what the
//! method brings, and below the pipeline file. [`register_recipe!`](crate::register_recipe) registers one, from any
//! crate that is linked.

/// One registered recipe. Made by [`register_recipe!`](crate::register_recipe).
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// The value of `recipe:` in YAML.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub doc: &'static str,
    /// The crate that brought it.
    pub krate: &'static str,
    /// Version of that crate.
    pub version: &'static str,
    /// Its settings: a YAML map with the keys of a pipeline. Empty for the defaults alone.
    pub yaml: &'static str,
}

inventory::collect!(Recipe);

/// The registered recipes, sorted by name.
#[must_use]
pub fn recipes() -> Vec<&'static Recipe> {
    let mut found: Vec<_> = inventory::iter::<Recipe>().collect();
    found.sort_by_key(|recipe| (recipe.name, recipe.krate));
    found
}

/// The recipe called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Recipe> {
    recipes().into_iter().find(|recipe| recipe.name == name)
}

/// Registers a recipe: a name, a sentence on what it is for, and its settings as YAML.
///
/// ```
/// daf_core::register_recipe!(
///     "narrow",
///     "Images of 128×128 pixels, for a first look.",
///     "input: { size: 128 }"
/// );
///
/// assert!(daf_core::recipe::find("narrow").is_some());
/// ```
///
/// The settings lie over the defaults and what the method brings, and below the user's file. They may not name a
/// `recipe` themselves, nor `plugins`. YAML that cannot be read is a fault of a pipeline that names the recipe.
#[macro_export]
macro_rules! register_recipe {
    ($name:expr, $doc:expr, $yaml:expr) => {
        $crate::inventory::submit! {
            $crate::recipe::Recipe {
                name: $name,
                doc: $doc,
                krate: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                yaml: $yaml,
            }
        }
    };
}
