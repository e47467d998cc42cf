//! Textures from image files.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use daf_core::data::files;
use daf_core::image::RgbImage;
use daf_core::rand::{Rng, RngExt};
use daf_core::{BoxError, Donors, Error, Fill, Region, Texture, data, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The images of a folder and its subfolders, e.g. the Describable Textures Dataset's `images`.
///
/// Each image is as likely as any other and is resized to the normal image's size. Up to 256 MiB of opened
/// images are kept.
// The folder is listed once; clones share what is opened. What is drawn depends on the random stream alone.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// The folder, searched with its subfolders.
    path: PathBuf,
    /// Endings of the image files that are taken, e.g. `[jpg, png]`; all that can be read if the list is
    /// empty.
    #[serde(default)]
    formats: Vec<String>,
    #[serde(skip)]
    state: Arc<State>,
}

/// A folder `textures`, as an example.
impl Default for Folder {
    fn default() -> Self {
        Self::new("textures")
    }
}

daf_core::register!(Texture: Folder = "folder");

#[derive(Default)]
struct State {
    files: OnceLock<Vec<PathBuf>>,
    kept: Mutex<Kept>,
}

/// Opened images by number of the file, width and height.
#[derive(Default)]
struct Kept {
    images: HashMap<(usize, u32, u32), Arc<RgbImage>>,
    bytes: usize,
}

impl Folder {
    /// Bytes of decoded textures that are kept: 256 MiB, about 1300 textures at 256 × 256. When it is full,
    /// the others are opened anew each time; which ones does not matter, since all are drawn equally often.
    pub const BUDGET: usize = 256 << 20;

    /// The folder at `path`, which is read later.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            formats: Vec::new(),
            state: Arc::default(),
        }
    }

    /// Path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One of the images, each as likely as any other, resized.
    ///
    /// # Errors
    /// Names the folder or the file that cannot be read.
    pub fn image(&self, width: u32, height: u32, rng: &mut dyn Rng) -> Result<Arc<RgbImage>, BoxError> {
        let files = self.files()?;
        let index = rng.random_range(0..files.len());
        let key = (index, width, height);
        if let Some(image) = self.kept(|kept| kept.images.get(&key).cloned()) {
            return Ok(image);
        }
        // Not under the lock: threads open different files at the same time. If two open the same one, both
        // get the same.
        let image = Arc::new(data::resize_rgb(&data::read_rgb(&files[index])?, width, height)?);
        self.kept(|kept| {
            let bytes = image.as_raw().len();
            if kept.bytes + bytes <= Self::BUDGET && kept.images.insert(key, image.clone()).is_none() {
                kept.bytes += bytes;
            }
        });
        Ok(image)
    }

    fn takes(&self, file: &Path) -> bool {
        let ending = file.extension().and_then(OsStr::to_str).unwrap_or_default();
        let wanted = |format: &String| format.trim_start_matches('.').eq_ignore_ascii_case(ending);
        self.formats.is_empty() || self.formats.iter().any(wanted)
    }

    fn kept<T>(&self, action: impl FnOnce(&mut Kept) -> T) -> T {
        action(&mut self.state.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The image files, sorted, at least one.
    fn files(&self) -> Result<&[PathBuf], BoxError> {
        if let Some(files) = self.state.files.get() {
            return Ok(files);
        }
        let wanted = format!(
            "a texture is `procedural` or a folder of {} images, for example the `images` of the Describable Textures \
             Dataset",
            files::FORMATS
        );
        if self.path.as_os_str().is_empty() {
            return Err(format!("the path of the textures is empty; {wanted}").into());
        }
        let path = files::locate(&self.path);
        let found = files::images(&path).map_err(|error| format!("{error}; {wanted}"))?;
        let mut images = found.images;
        if images.is_empty() {
            let there = found.left_out.beside(&path);
            return Err(Error::data(path, format!("there is no image in it but {there}; {wanted}")).into());
        }
        let all = images.len();
        images.retain(|image| self.takes(image));
        if images.is_empty() {
            let reason = format!(
                "none of its {all} images ends in {}: change `formats`, or leave it out to take them all",
                self.formats.join(" or ")
            );
            return Err(Error::data(&self.path, reason).into());
        }
        Ok(self.state.files.get_or_init(|| images))
    }
}

#[typetag::serde(name = Folder::NAME)]
impl Texture for Folder {
    fn draw(
        &self,
        normal: &RgbImage,
        _: &Region,
        _: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Fill, BoxError> {
        Ok(Fill::Image(self.image(normal.width(), normal.height(), rng)?))
    }

    fn image_files(&self) -> Vec<PathBuf> {
        self.files().map(<[_]>::to_vec).unwrap_or_default()
    }

    fn check(&self) -> Result<(), BoxError> {
        self.files().map(|_| ())
    }
}

/// Without the images.
impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder")
            .field("path", &self.path)
            .field("formats", &self.formats)
            .finish_non_exhaustive()
    }
}
