//! Files that a pipeline reads, over which nothing is written.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use daf_core::Split;
use daf_pipeline::Pipeline;
use serde_json::Value;

use crate::failure::Failure;

/// Files that are read, whatever names they go by.
#[derive(Default)]
pub(crate) struct Inputs {
    /// Real paths, with a word for each.
    files: HashMap<PathBuf, &'static str>,
    /// The files by device and inode: one file may have several names.
    numbers: HashMap<(u64, u64), &'static str>,
}

impl Inputs {
    /// The images and masks of a pipeline, and every other file that it names. What is missing or cannot be listed cannot be
    /// written over either.
    pub(crate) fn of(pipeline: &Pipeline) -> Self {
        let mut inputs = Self::default();
        if let Ok(value) = serde_json::to_value(pipeline) {
            inputs.add_named(&value);
        }
        if let Some(synthesizer) = &pipeline.synthesizer {
            for file in synthesizer.image_files() {
                inputs.add(&file, "an image that the synthesizer draws from");
            }
        }
        for item in Split::ALL
            .into_iter()
            .flat_map(|split| pipeline.data.survey(split).items)
        {
            inputs.add(&item.image, "an image of the data set");
            if let Some(mask) = &item.mask {
                inputs.add(mask, "a mask of the data set");
            }
        }
        inputs
    }

    /// And this file.
    pub(crate) fn and(mut self, file: &Path, what: &'static str) -> Self {
        self.add(file, what);
        self
    }

    fn add(&mut self, file: &Path, what: &'static str) {
        if let (Ok(path), Ok(found)) = (file.canonicalize(), fs::metadata(file)) {
            self.files.insert(path, what);
            self.numbers.insert(number(&found), what);
        }
    }

    /// Adds the files that settings name, such as weights and tables of images.
    fn add_named(&mut self, settings: &Value) {
        match settings {
            Value::String(text) if Path::new(text).is_file() => {
                self.add(Path::new(text), "a file that the pipeline names");
            }
            Value::Array(values) => values.iter().for_each(|value| self.add_named(value)),
            Value::Object(map) => map.values().for_each(|value| self.add_named(value)),
            _ => {}
        }
    }

    /// Role of a file, if it is one that is read.
    pub(crate) fn find(&self, file: &Path) -> Option<&'static str> {
        let found = fs::metadata(file).ok()?;
        self.numbers.get(&number(&found)).copied()
    }

    /// Refuses a file that would take the place of one that is read.
    pub(crate) fn spare(&self, target: &Path) -> Result<(), Failure> {
        match self.find(target) {
            None => Ok(()),
            Some(what) => Err(Failure::usage(format!(
                "{}: would overwrite {what}; choose another name",
                target.display()
            ))),
        }
    }

    /// Refuses to delete a folder in which there is one.
    pub(crate) fn spare_folder(&self, folder: &Path) -> Result<(), Failure> {
        let Ok(folder) = folder.canonicalize() else {
            return Ok(());
        };
        let inside = self.files.iter().find(|(path, _)| path.starts_with(&folder));
        match inside {
            None => Ok(()),
            Some((path, what)) => Err(Failure::usage(format!(
                "{}: is not deleted, since it holds {what}: {}; choose another folder with --output",
                folder.display(),
                path.display()
            ))),
        }
    }
}

fn number(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_spared_under_all_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("data")).unwrap();
        for name in ["data/a.png", "other.png"] {
            fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink(at("data/a.png"), at("link.png")).unwrap();
        fs::hard_link(at("data/a.png"), at("hard.png")).unwrap();
        let inputs = Inputs::default()
            .and(&at("data/a.png"), "an image")
            .and(&at("missing.png"), "an image");
        for name in ["data/a.png", "data/../data/a.png", "link.png", "hard.png"] {
            let refused = inputs.spare(&at(name)).unwrap_err().text();
            assert!(refused.contains("would overwrite an image"), "{name}: {refused}");
        }
        for name in ["other.png", "missing.png", "new/a.png"] {
            inputs.spare(&at(name)).unwrap();
        }
        assert!(
            inputs
                .spare_folder(folder.path())
                .unwrap_err()
                .text()
                .contains("a.png")
        );
        fs::create_dir(at("dat")).unwrap();
        inputs.spare_folder(&at("dat")).unwrap();
    }
}
