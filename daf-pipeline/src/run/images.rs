//! `images.csv`: the normal images that a run learns from and holds out, so that it goes on with the same ones.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Run;
use daf_core::atomic::write_csv;
use daf_core::words::listed;
use daf_core::{Error, Item, Result, Split};

use crate::Pipeline;
use crate::samples::TrainValSplit;

/// The normal images of a run.
pub(super) const IMAGES: &str = "images.csv";

/// A line of the file. Drawn images have a name only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Image {
    /// Path in the data set's listing.
    image: String,
    /// Whether thresholds are chosen with it; otherwise it is learned from.
    held_out: bool,
    /// Size of the file.
    bytes: Option<u64>,
    /// SHA-256, in part, of where the file begins and ends.
    hash: Option<String>,
}

impl Image {
    fn of(item: &Item, held_out: bool) -> Self {
        let (bytes, hash) = fingerprint(&item.image).ok().unzip();
        Self {
            image: name(item),
            held_out,
            bytes,
            hash,
        }
    }

    /// Whether both stand for the same content.
    fn is_same(&self, other: &Self) -> bool {
        (self.bytes, &self.hash) == (other.bytes, &other.hash)
    }
}

fn name(item: &Item) -> String {
    item.image.display().to_string()
}

/// Bytes at either end of a file that are hashed: an image that is another one has another size or differs there.
const END: u64 = 64 << 10;

pub(super) fn fingerprint(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut ends = Vec::new();
    file.by_ref().take(END).read_to_end(&mut ends)?;
    if bytes > END {
        file.seek(SeekFrom::Start(END.max(bytes.saturating_sub(END))))?;
        file.take(END).read_to_end(&mut ends)?;
    }
    let hash = Sha256::digest(&ends);
    Ok((
        bytes,
        hash[..8].iter().map(|byte| format!("{byte:02x}")).collect(),
    ))
}

fn list(normals: &TrainValSplit) -> Vec<Image> {
    let train = normals.train.par_iter().map(|item| Image::of(item, false));
    let held_out = normals.validation.par_iter().map(|item| Image::of(item, true));
    train.chain(held_out).collect()
}

/// The normal images of a run and more.
pub(crate) struct MoreNormals {
    pub(crate) normals: TrainValSplit,
    /// How many the run did not have.
    pub(crate) added: usize,
    /// How many of these are held out.
    pub(crate) added_held_out: usize,
}

/// Writes the list of images into the directory of a run.
pub(crate) fn keep(dir: &Path, normals: &TrainValSplit) -> Result<()> {
    write_csv(&dir.join(IMAGES), &list(normals))
}

impl Run {
    /// The normal images of the data set, divided as the run began with them; anew if it is only beginning.
    ///
    /// # Errors
    /// [`Error::OtherImages`] if they are not those that it began with.
    pub(crate) fn normals(&self) -> Result<TrainValSplit> {
        let known = self.images()?;
        let normals = self.divide(known.as_deref().unwrap_or_default())?;
        let difference = known.and_then(|known| difference(&known, &list(&normals)));
        match difference {
            None => Ok(normals),
            Some(difference) => Err(Error::OtherImages {
                run: self.dir.clone(),
                difference,
            }),
        }
    }

    /// Makes sure that the normal images are those that the run began with. Of a run that keeps no list of them nothing is known.
    ///
    /// # Errors
    /// [`Error::OtherImages`] if they are not.
    pub fn check_images(&self) -> Result<()> {
        if self.images()?.is_some() {
            self.normals()?;
        }
        Ok(())
    }

    /// Whether it keeps a list of its images; those of former versions do not.
    pub(crate) fn knows_images(&self) -> bool {
        self.dir.join(IMAGES).is_file()
    }

    /// Keeps the list of the run's images.
    pub(crate) fn keep_images(&self, normals: &TrainValSplit) -> Result<()> {
        keep(&self.dir, normals)
    }

    /// Has the run go on with the images that the data set has now. Those that it began with stay what they were, learned
    /// from or held out; of the others as many are held out as are missing from the share. Where fewer are left than thresholds
    /// can be chosen with, none are held out, and the calibration says that it rests on images that were learned from.
    ///
    /// # Errors
    /// If the training has ended, another process is at work in the run, or the images cannot be listed.
    pub fn accept_images(&self) -> Result<()> {
        let _lock = self.lock()?;
        let Some(known) = self.images()? else {
            return Ok(());
        };
        let normals = self.divide(&known)?;
        if difference(&known, &list(&normals)).is_none() {
            return Ok(());
        }
        if self.is_trained() {
            let reason = "its training has ended, so it takes up no other images; start another run";
            return Err(Error::data(&self.dir, reason));
        }
        if normals.validation.is_empty() && known.iter().any(|image| image.held_out) {
            tracing::warn!(
                "too few images are left that were not learned from: thresholds will rest on those that were, and tend to be too \
                 low"
            );
        }
        self.keep_images(&normals)
    }

    /// The normal images of a pipeline that has more of them than this run, whose weights it takes over. With a method that learns
    /// by steps those of the run stay what they were, learned from or held out; the others are drawn from the rest. Says how many
    /// are more.
    ///
    /// # Errors
    /// If images of the run are gone or have changed.
    pub(crate) fn more_normals(&self, pipeline: &Pipeline) -> Result<MoreNormals> {
        let known = match self.images()? {
            Some(known) => known,
            None => list(&self.divide(&[])?),
        };
        let items = pipeline.items(Split::Train)?;
        let now: Vec<Image> = items.par_iter().map(|item| Image::of(item, false)).collect();
        let by_name = |images: &[Image]| -> HashMap<String, Image> {
            (images.iter().cloned())
                .map(|image| (image.image.clone(), image))
                .collect()
        };
        // A data set that was moved has the same files under other names.
        let by_content = |images: &[Image]| -> HashMap<(Option<u64>, String), Image> {
            (images.iter().cloned())
                .filter_map(|image| Some(((image.bytes, image.hash.clone()?), image)))
                .collect()
        };
        let find = |image: &Image, names: &HashMap<String, Image>, contents: &HashMap<_, Image>| {
            let named = names.get(&image.image).filter(|named| named.is_same(image));
            let same = || contents.get(&(image.bytes, image.hash.clone()?));
            named.or_else(same).cloned()
        };
        let (names, contents) = (by_name(&now), by_content(&now));
        let lost: Vec<&str> = (known.iter())
            .filter(|image| find(image, &names, &contents).is_none())
            .map(|image| image.image.as_str())
            .collect();
        if !lost.is_empty() {
            let reason = format!(
                "{} of the {} images that the run began with are gone or have changed ({}); bring them back, or start another run",
                lost.len(),
                known.len(),
                listed(&lost, 3)
            );
            return Err(Error::data(&self.dir, reason).unusable());
        }
        let (known_names, known_contents) = (by_name(&known), by_content(&known));
        let role = |image: &Image| find(image, &known_names, &known_contents).map(|known| known.held_out);
        let roles: HashMap<&str, Option<bool>> = (now.iter())
            .map(|image| (image.image.as_str(), role(image)))
            .collect();
        let is_new = |item: &Item| roles.get(name(item).as_str()).copied().flatten().is_none();
        let learns = pipeline.method.learns();
        let normals = TrainValSplit::divided(items, pipeline.validation.share, pipeline.seed, |item| {
            let role = roles.get(name(item).as_str()).copied().flatten();
            role.filter(|_| learns)
        })?;
        Ok(MoreNormals {
            added: roles.values().filter(|role| role.is_none()).count(),
            added_held_out: normals.validation.iter().filter(|item| is_new(item)).count(),
            normals,
        })
    }

    fn divide(&self, known: &[Image]) -> Result<TrainValSplit> {
        let roles: BTreeMap<&str, bool> = (known.iter())
            .map(|image| (image.image.as_str(), image.held_out))
            .collect();
        let settings = &self.pipeline;
        let (share, seed) = (settings.validation.share, settings.seed);
        let items = settings.items(Split::Train)?;
        TrainValSplit::divided(items, share, seed, |item| roles.get(name(item).as_str()).copied())
    }

    fn images(&self) -> Result<Option<Vec<Image>>> {
        let path = self.dir.join(IMAGES);
        if !self.knows_images() {
            return Ok(None);
        }
        let damaged = |error: csv::Error| Error::data(&path, format!("damaged: {error}"));
        let mut lines = csv::Reader::from_path(&path).map_err(damaged)?;
        let images = lines.deserialize().collect::<Result<Vec<Image>, _>>();
        images.map(Some).map_err(damaged)
    }
}

/// In what two lists of images differ: `10 more (a.png, b.png, c.png, …), 1 changed (d.png)`.
fn difference(known: &[Image], now: &[Image]) -> Option<String> {
    let by_name = |images: &[Image]| -> BTreeMap<String, Image> {
        (images.iter().cloned())
            .map(|image| (image.image.clone(), image))
            .collect()
    };
    let (known, now) = (by_name(known), by_name(now));
    let absent = |from: &BTreeMap<String, Image>, of: &BTreeMap<String, Image>| -> Vec<String> {
        of.keys()
            .filter(|name| !from.contains_key(*name))
            .cloned()
            .collect()
    };
    let changed = (known.iter())
        .filter(|(name, image)| now.get(*name).is_some_and(|other| !image.is_same(other)))
        .map(|(name, _)| name.clone());
    let kinds = [
        ("more", absent(&known, &now)),
        ("gone", absent(&now, &known)),
        ("changed", changed.collect()),
    ];
    let words: Vec<String> = (kinds.into_iter())
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| {
            let some = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            let rest = if names.len() > 3 { ", …" } else { "" };
            format!("{} {what} ({some}{rest})", names.len())
        })
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, hash: &str) -> Image {
        Image {
            image: name.into(),
            held_out: false,
            bytes: Some(1),
            hash: Some(hash.into()),
        }
    }

    #[test]
    fn lists_of_images_differ_in_what_is_more_gone_and_changed() {
        let known = [image("a", "1"), image("b", "2"), image("c", "3")];
        assert_eq!(difference(&known, &known), None);
        let held_out = known.clone().map(|known| Image {
            held_out: true,
            ..known
        });
        assert_eq!(difference(&known, &held_out), None, "the role is no content");
        let now = ["b", "d", "e", "f", "g", "c"].map(|name| image(name, "3"));
        assert_eq!(
            difference(&known, &now).unwrap(),
            "4 more (d, e, f, …), 1 gone (a), 1 changed (b)"
        );
    }

    #[test]
    fn an_image_is_known_by_its_size_and_by_how_it_begins_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut seen = std::collections::BTreeSet::new();
        for length in [0, 1, END - 1, END, END + 1, 2 * END, 3 * END] {
            let mut bytes = vec![7; usize::try_from(length).unwrap()];
            std::fs::write(&path, &bytes).unwrap();
            let found = fingerprint(&path).unwrap();
            assert_eq!((found.0, &found), (length, &fingerprint(&path).unwrap()));
            assert!(seen.insert(found.clone()), "{length}");
            for place in [0, bytes.len().saturating_sub(1)] {
                let Some(byte) = bytes.get_mut(place) else {
                    continue;
                };
                *byte ^= 1;
                std::fs::write(&path, &bytes).unwrap();
                assert_ne!(fingerprint(&path).unwrap(), found, "byte {place} of {length}");
                bytes[place] ^= 1;
            }
        }
        assert!(fingerprint(&folder.path().join("none")).is_err());
    }
}
