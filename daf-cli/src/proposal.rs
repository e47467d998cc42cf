//! A pipeline that fits a folder of images, with the reasons beside the settings.

use std::fmt::Write as _;
use std::path::Path;

use daf_core::calibration::Basis;
use daf_core::config::{Bounds, Choice, Layers};
use daf_core::data::geometry::Framing;
use daf_core::data::{Reading, Reduction, reduce_rgb, spread};
use daf_core::recipe;
use daf_data::Look;
use daf_pipeline::Pipeline;
use daf_synth::object::{Border, ObjectModel};
use rayon::prelude::*;
use serde_json::Value;

use crate::failure::Failure;
use crate::show::wrapped;

/// Images to learn from, from which on there is enough to train with.
const ENOUGH_TO_TRAIN: usize = 16;
/// As few images as this are called a handful.
const HANDFUL: usize = 8;

/// A proposal, and the reasons for it.
pub(crate) struct Proposal {
    look: Look,
    choice: Choice,
    /// The recipe, unless none that suits is linked.
    recipe: Option<&'static recipe::Recipe>,
    /// The pipeline that the recipe alone would make.
    plain: Pipeline,
    /// Share of the image that objects on a plain background take, if that is what is shown.
    object: Option<f64>,
    /// Share of the images that is held out.
    held_out: f64,
}

impl Proposal {
    pub(crate) fn of(look: Look) -> Result<Self, Failure> {
        let names: &[&str] = match look.train.len() {
            0..ENOUGH_TO_TRAIN => &["fast"],
            _ => &["balanced", "fast"],
        };
        let recipe = names.iter().find_map(|name| recipe::find(name));
        let named = recipe.map(|recipe| format!("recipe={}", recipe.name));
        let plain = Layers::new(daf_models::DEFAULTS)
            .and_then(|layers| layers.set(["data.type=demo"]))
            .and_then(|layers| layers.set(named))
            .and_then(|layers| Pipeline::from_layers(&layers))?;
        let bounds = Bounds::of(plain.method.stride(), plain.method.min_side());
        let choice = Choice::of(&look.sizes, bounds)
            .ok_or_else(|| Failure::usage("there is no image whose size can be read"))?;
        let mut held_out = plain.validation.share;
        let basis = |share: f64| {
            let mut validation = plain.validation.clone();
            validation.share = share;
            Basis::of(&validation, look.train.len(), plain.method.learns())
        };
        // A fifth, where a tenth is too little to choose thresholds with and a fifth is not.
        if basis(held_out).doubt().is_some() && basis(0.2).doubt().is_none() {
            held_out = 0.2;
        }
        Ok(Self {
            object: object_share(&look),
            look,
            choice,
            recipe,
            plain,
            held_out,
        })
    }

    fn images(&self) -> usize {
        self.look.train.len()
    }

    /// A sentence on what was seen.
    pub(crate) fn seen(&self) -> String {
        let images = match self.images() {
            1 => "1 image".to_owned(),
            images => format!("{images} images"),
        };
        let (width, height) = self.choice.images;
        let size = match self.look.sizes.range() {
            Some(((narrow, wide), (low, high))) if narrow != wide || low != high => format!(
                "{narrow} to {wide} pixels wide and {low} to {high} high, {width}×{height} in the median"
            ),
            _ => format!("{width} pixels wide and {height} high"),
        };
        let defective = self.look.test.iter().filter(|item| item.is_anomalous()).count();
        let test = match self.look.test.len() {
            0 => "none to measure with".to_owned(),
            all => format!(
                "{} normal and {defective} defective ones to measure with",
                all - defective
            ),
        };
        let looked = self.look.sizes.sizes.len();
        let looked = match looked < self.images() {
            true => format!(" ({looked} of them looked at)"),
            false => String::new(),
        };
        format!("{images} without defects to learn from, {size}{looked}; {test}")
    }

    pub(crate) fn notes(&self) -> &[String] {
        &self.look.notes
    }

    /// A line on what is proposed.
    pub(crate) fn summary(&self) -> String {
        let recipe = self.recipe.map_or("no recipe", |recipe| recipe.name);
        let fit = framing(self.choice.fit);
        format!(
            "input {} (height×width), {fit}, recipe {recipe}",
            self.choice.size
        )
    }

    /// The pipeline file. `schema` is the file that editors check it by.
    pub(crate) fn text(&self, folder: &Path, schema: &str) -> String {
        let mut text = String::new();
        paragraph(
            &mut text,
            &format!(
                "A daf pipeline for the images in {}. Whatever is left out has its default. `daf-cli check` says whether all is well, \
             `daf-cli run` trains and measures.",
                folder.display()
            ),
        );
        paragraph(&mut text, &format!("Seen: {}.", self.seen()));
        let _ = writeln!(text, "# yaml-language-server: $schema={schema}\n");

        for note in self.notes() {
            paragraph(&mut text, note);
        }
        paragraph(
            &mut text,
            "Paths are relative to the folder that daf-cli is started in.",
        );
        let _ = writeln!(text, "data:");
        for (key, value) in &self.look.settings {
            let _ = writeln!(text, "  {key}: {}", flow(value));
        }

        let _ = writeln!(text);
        self.write_recipe(&mut text);
        let _ = writeln!(text);
        self.write_input(&mut text);
        let _ = writeln!(text);
        self.write_object(&mut text);
        self.write_thresholds(&mut text);
        text
    }

    fn write_recipe(&self, text: &mut String) {
        let images = self.images();
        let Some(recipe) = self.recipe else {
            paragraph(
                text,
                "No recipe: the defaults. `daf-cli list recipe` shows what there is.",
            );
            return;
        };
        paragraph(text, &format!("{}: {}", recipe.name, recipe.doc));
        if images < ENOUGH_TO_TRAIN {
            paragraph(
                text,
                &format!(
                    "It is chosen for its need of few images: there {} {images}. From {ENOUGH_TO_TRAIN} on a recipe that trains may \
                 find more.",
                    if images == 1 { "is" } else { "are" }
                ),
            );
        }
        let others: Vec<String> = (recipe::recipes().iter())
            .filter(|other| other.name != recipe.name)
            .map(|other| format!("{} ({})", other.name, other.doc.trim_end_matches('.')))
            .collect();
        if !others.is_empty() {
            paragraph(text, &format!("Others: {}.", others.join("; ")));
        }
        let _ = writeln!(text, "recipe: {}", recipe.name);
        if self.plain.method.learns() {
            paragraph(
                text,
                "It trains: `daf-cli run FILE --within 10m` makes the training as long as that allows.",
            );
        }
    }

    fn write_input(&self, text: &mut String) {
        let Choice {
            size,
            fit,
            tiles,
            images: (width, height),
            shapes,
        } = self.choice;
        let least = f64::from(size.width()) / f64::from(width.max(1));
        let reason = match fit {
            Framing::Tile => format!(
                "images of {width}×{height} are large or long beside what a network takes at once; made as small, they would lose \
                 small defects. They are cut into tiles, after being resized by `scale`: 1.0 finds the smallest defects and takes \
                 longest. Where defects are large, `fit: stretch` and a size of 384 take a fraction of the time."
            ),
            _ if least > 1.05 => format!(
                "images of {width}×{height} are enlarged {least:.1} times, to about the size that networks were pretrained at, and \
                 keep their shape."
            ),
            _ if least < 0.95 => format!(
                "images of {width}×{height} keep their shape and are made smaller, to {:.0} % of their sides: up to 256×640 pixels \
                 cost little. If defects are only a few pixels wide, take more, or `fit: tile`.",
                100.0 * least
            ),
            _ => format!("images of {width}×{height} keep their shape, and about every pixel is seen."),
        };
        paragraph(text, &format!("Input: {reason}"));
        if fit == Framing::Letterbox {
            paragraph(
                text,
                &format!(
                    "The images differ in shape (by a factor of {shapes:.1}): `letterbox` keeps the shape of each and fills the rest \
                 with its border."
                ),
            );
        }
        let _ = writeln!(text, "input:");
        let written = match size.height() == size.width() {
            true => size.height().to_string(),
            false => format!("[{}, {}]", size.height(), size.width()),
        };
        let _ = writeln!(
            text,
            "  size: {written:<17} # height, width; `auto` chooses by the same rules at every start"
        );
        let _ = writeln!(text, "  fit: {}", framing(fit));
        if fit == Framing::Tile {
            let _ = writeln!(
                text,
                "  tiles: {{ scale: {}, overlap: {} }}",
                tiles.scale, tiles.overlap
            );
        }
    }

    fn write_object(&self, text: &mut String) {
        let Some(share) = self.object else { return };
        paragraph(
            text,
            &format!(
                "The images show objects on a plain background: {:.0} % of an image in the median.",
                100.0 * share
            ),
        );
        if self.plain.synthesizer.is_some() {
            paragraph(text, "Synthetic defects are drawn on the object only.");
            let of = self
                .plain
                .synthesizer
                .as_ref()
                .map_or("dra", |part| part.typetag_name());
            let _ = writeln!(
                text,
                "synthesizer:\n  type: foreground\n  model: {{ type: border }}\n  of: {{ type: {of} }}"
            );
        } else {
            paragraph(
                text,
                "The recipe draws no synthetic defects; one that does could keep them on the object with",
            );
            paragraph(
                text,
                "synthesizer: { type: foreground, model: { type: border }, of: { type: dra } }",
            );
        }
        let _ = writeln!(text);
    }

    fn write_thresholds(&self, text: &mut String) {
        let mut validation = self.plain.validation.clone();
        validation.share = self.held_out;
        let basis = Basis::of(&validation, self.images(), self.plain.method.learns());
        paragraph(text, &format!("Thresholds: {basis}."));
        if let Some(doubt) = basis.doubt() {
            paragraph(text, &format!("Beware: {doubt}."));
        }
        if self.images() <= HANDFUL {
            paragraph(text, "Every further image without defects makes them better.");
        }
        let _ = writeln!(
            text,
            "validation:\n  share: {}\n  false_alarms: {}",
            self.held_out, validation.false_alarms
        );
    }
}

const fn framing(fit: Framing) -> &'static str {
    match fit {
        Framing::Stretch => "stretch",
        Framing::Letterbox => "letterbox",
        Framing::Tile => "tile",
    }
}

/// A comment of several lines.
fn paragraph(text: &mut String, sentence: &str) {
    for line in wrapped(sentence, 98) {
        let _ = writeln!(text, "# {line}");
    }
}

/// A value on one line of YAML. JSON is YAML; plain words need no quotes.
fn flow(value: &Value) -> String {
    let plain = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
            && (word.chars()).all(|c| c.is_ascii_alphanumeric() || "/_-.".contains(c))
            && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
                .contains(&word.to_ascii_lowercase().as_str())
    };
    match value {
        Value::String(word) if plain(word) => word.clone(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(flow).collect();
            format!("[{}]", values.join(", "))
        }
        other => other.to_string(),
    }
}

/// Images that are opened to tell objects from surfaces.
const OPENED: usize = 16;
/// The longer side that they are reduced to, in pixels.
const REDUCED: u32 = 256;

/// The share of an image that objects on a plain background take, in the median; `None` where most images show none.
fn object_share(look: &Look) -> Option<f64> {
    let shares: Vec<Option<f64>> = spread(&look.train, OPENED)
        .into_par_iter()
        .filter_map(|item| look.dataset.open(item, Reading::default()).ok())
        .map(|image| {
            let (width, height) = image.rgb.dimensions();
            let factor = (f64::from(REDUCED) / f64::from(width.max(height).max(1))).min(1.0);
            let [width, height] = [width, height].map(|side| ((f64::from(side) * factor) as u32).max(1));
            let small = reduce_rgb(&image.rgb, width, height, Reduction::default()).ok()?;
            let mask = ObjectModel::Border(Border::default()).find(&small);
            alone(mask.as_raw(), width as usize, mask.share())
        })
        .collect();
    let mut found: Vec<f64> = shares.iter().flatten().copied().collect();
    found.sort_by(f64::total_cmp);
    (found.len() * 5 >= shares.len() * 4).then(|| found.get(found.len() / 2).copied())?
}

/// The share of an object that stands apart from the image's border: in a surface what stands out lies there as well.
fn alone(mask: &[u8], width: usize, share: f64) -> Option<f64> {
    const SHARE: std::ops::RangeInclusive<f64> = 0.03..=0.85;
    /// Part of the object's share that the border may show of it.
    const AT_BORDER: f64 = 0.25;
    let height = mask.len() / width.max(1);
    let depth = (width.min(height) / 25).max(1);
    let at_border = mask.iter().enumerate().filter(|(at, _)| {
        let (x, y) = (at % width, at / width);
        x < depth || y < depth || x + depth >= width || y + depth >= height
    });
    let (all, marked) = at_border.fold((0_usize, 0_usize), |(all, marked), (_, m)| {
        (all + 1, marked + usize::from(*m))
    });
    let border = marked as f64 / all.max(1) as f64;
    (SHARE.contains(&share) && border <= AT_BORDER * share).then_some(share)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_quoted_where_yaml_would_take_them_for_something_else() {
        for (value, written) in [
            (json!("good"), "good"),
            (json!("/data/a-b_c.d/e"), "/data/a-b_c.d/e"),
            (json!("01"), "\"01\""),
            (json!("no"), "\"no\""),
            (json!("*"), "\"*\""),
            (json!("a b"), "\"a b\""),
            (json!(["good", "1"]), "[good, \"1\"]"),
        ] {
            assert_eq!(flow(&value), written);
        }
    }

    #[test]
    fn an_object_stands_apart_from_the_border_and_a_pattern_does_not() {
        let drawn = |inside: fn(usize, usize) -> bool| -> Vec<u8> {
            (0..2500).map(|at| u8::from(inside(at % 50, at / 50))).collect()
        };
        let object = drawn(|x, y| (15..35).contains(&x) && (15..35).contains(&y));
        assert_eq!(alone(&object, 50, 0.16), Some(0.16));
        let pattern = drawn(|x, y| (x + y) % 5 == 0);
        assert_eq!(alone(&pattern, 50, 0.2), None);
        assert_eq!(alone(&drawn(|_, _| true), 50, 1.0), None);
    }
}
