//! What a defect looks like.

use std::fmt::Debug;
use std::path::Path;

use daf_core::BoxError;
use daf_core::image::{Rgb, RgbImage};
use daf_core::rand::Rng;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

pub mod augment;
mod colour;
pub mod colourspace;
mod folder;
pub mod procedural;

pub use colour::UniformColour;
pub use folder::Folder;

/// Draws the material of a defect.
pub trait Texture: Debug {
    /// Material for the normal image.
    ///
    /// # Errors
    /// If a texture cannot be read: names the file.
    fn draw(&self, normal: &RgbImage, rng: &mut dyn Rng) -> Result<Fill, BoxError>;
}

/// Material of a defect.
#[derive(Debug, Clone)]
pub enum Fill {
    /// The same everywhere.
    Colour(Rgb<u8>),
    /// An image of the normal image's size.
    Image(RgbImage),
}

/// Images to take textures from. In YAML `procedural` or the path of a folder (`./procedural` for one of that name).
///
/// Whatever they are, three [augmentations](augment) are applied to each.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Textures {
    /// Drawn by this crate: see [`procedural`].
    #[default]
    Procedural,
    /// The images of a folder.
    Folder(Folder),
}

impl Textures {
    /// How [`Textures::Procedural`] is written.
    pub const PROCEDURAL: &'static str = "procedural";

    /// Checks that there are images.
    ///
    /// # Errors
    /// Names the folder, what was expected and what was found.
    pub fn check(&self) -> Result<(), BoxError> {
        match self {
            Self::Procedural => Ok(()),
            Self::Folder(folder) => folder.check(),
        }
    }
}

impl Texture for Textures {
    fn draw(&self, normal: &RgbImage, rng: &mut dyn Rng) -> Result<Fill, BoxError> {
        let (width, height) = normal.dimensions();
        let mut image = match self {
            Self::Procedural => procedural::draw(width, height, rng),
            Self::Folder(folder) => folder.draw(width, height, rng)?.as_ref().clone(),
        };
        augment::augment(&mut image, rng);
        Ok(Fill::Image(image))
    }
}

impl From<String> for Textures {
    fn from(text: String) -> Self {
        if text == Self::PROCEDURAL {
            Self::Procedural
        } else {
            Self::Folder(Folder::new(text))
        }
    }
}

impl From<&Path> for Textures {
    fn from(path: &Path) -> Self {
        Self::Folder(Folder::new(path))
    }
}

impl From<Textures> for String {
    fn from(textures: Textures) -> Self {
        match textures {
            Textures::Procedural => Textures::PROCEDURAL.to_owned(),
            Textures::Folder(folder) => folder.path().to_string_lossy().into_owned(),
        }
    }
}

impl JsonSchema for Textures {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Textures".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "minLength": 1 })
    }
}
