//! Textures from image files.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use daf_core::image::RgbImage;
use daf_core::rand::{Rng, RngExt};
use daf_core::{BoxError, Error, data};

/// The images of a folder and its subfolders, e.g. the Describable Textures Dataset's `images`.
///
/// The folder is listed once. Images are opened when they are drawn and kept at the size that was asked for, up to
/// [`Folder::BUDGET`]; clones share them. What is drawn depends on the random stream alone.
#[derive(Clone)]
pub struct Folder {
    path: PathBuf,
    state: Arc<State>,
}

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
    /// Bytes of decoded textures that are kept: 256 MiB, about 1300 textures at 256 × 256. When it is full, the others
    /// are opened anew each time; which ones does not matter, since all are drawn equally often.
    pub const BUDGET: usize = 256 << 20;

    /// Endings of the files that are taken for images, in any case.
    pub const ENDINGS: [&'static str; 6] = ["png", "jpg", "jpeg", "bmp", "tif", "tiff"];

    /// Folders within folders that are looked into, which also ends cycles of links.
    const DEPTH: usize = 16;

    /// The folder at `path`, not looked at yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            state: Arc::default(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that it exists and has an image.
    ///
    /// # Errors
    /// Names the folder, what was expected and what was found.
    pub fn check(&self) -> Result<(), BoxError> {
        self.files().map(|_| ())
    }

    /// One of the images, each as likely as any other, resized.
    ///
    /// # Errors
    /// Names the folder or the file that cannot be read.
    pub fn draw(&self, width: u32, height: u32, rng: &mut dyn Rng) -> Result<Arc<RgbImage>, BoxError> {
        let files = self.files()?;
        let index = rng.random_range(0..files.len());
        let key = (index, width, height);
        if let Some(image) = self.kept(|kept| kept.images.get(&key).cloned()) {
            return Ok(image);
        }
        // Not under the lock: threads open different files at the same time. If two open the same one, both get the same.
        let image = Arc::new(data::resize_rgb(&data::read_rgb(&files[index])?, width, height)?);
        self.kept(|kept| {
            let bytes = image.as_raw().len();
            if kept.bytes + bytes <= Self::BUDGET && kept.images.insert(key, image.clone()).is_none() {
                kept.bytes += bytes;
            }
        });
        Ok(image)
    }

    fn kept<T>(&self, action: impl FnOnce(&mut Kept) -> T) -> T {
        action(&mut self.state.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The image files, sorted, at least one.
    fn files(&self) -> Result<&[PathBuf], BoxError> {
        if let Some(files) = self.state.files.get() {
            return Ok(files);
        }
        let wanted = "`textures` takes `procedural` or a folder of png, jpeg, bmp or tiff images, for example the \
                      `images` of the Describable Textures Dataset";
        if self.path.as_os_str().is_empty() {
            return Err(format!("`textures` is empty, but {wanted}").into());
        }
        if !self.path.is_dir() {
            let found = if self.path.exists() {
                "is a file"
            } else {
                "does not exist"
            };
            return Err(Error::data(&self.path, format!("{found}, but {wanted}")).into());
        }
        let (mut files, mut others) = (Vec::new(), 0);
        list(&self.path, Self::DEPTH, &mut files, &mut others)?;
        if files.is_empty() {
            let found = format!("there is no image in this folder ({others} other files), but {wanted}");
            return Err(Error::data(&self.path, found).into());
        }
        files.sort_unstable();
        Ok(self.state.files.get_or_init(|| files))
    }
}

fn list(folder: &Path, depth: usize, files: &mut Vec<PathBuf>, others: &mut usize) -> Result<(), BoxError> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            // Thumbnails and resource forks are no textures.
        } else if path.is_dir() {
            if depth > 0 {
                list(&path, depth - 1, files, others)?;
            }
        } else if path
            .extension()
            .is_some_and(|e| Folder::ENDINGS.iter().any(|known| e.eq_ignore_ascii_case(known)))
        {
            files.push(path);
        } else {
            *others += 1;
        }
    }
    Ok(())
}

/// Without the images.
impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Folder").field(&self.path).finish()
    }
}
