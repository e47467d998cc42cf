use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use glob::{Pattern, PatternError};

use crate::{Error, Result};

use super::walk::Walk;
use super::{Entry, Found, Reason, entries, images, locate, spelled};

/// Whether a part of the path stands for several names: `*` for any part of one, `?` for any character,
/// `[ab]` for some, `**` for any folders.
#[must_use]
pub fn is_pattern(path: &Path) -> bool {
    path.components().any(is_wild)
}

fn is_wild(part: Component) -> bool {
    part.as_os_str().to_string_lossy().contains(['*', '?', '['])
}

/// The folders at the start of a pattern that are no patterns, below `base`.
#[must_use]
pub fn literal_part(base: &Path, pattern: &Path) -> PathBuf {
    let mut folder = base.to_path_buf();
    for part in pattern.components() {
        let next = locate(&folder.join(part));
        if is_wild(part) && !next.exists() {
            break;
        }
        folder = next;
    }
    folder
}

/// Refuses what is neither a pattern nor the path of something.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_pattern(base: &Path, pattern: &Path) -> Result<()> {
    let mut path = base.to_path_buf();
    for part in pattern.components() {
        path.push(part);
        if is_wild(part) && !path.exists() {
            let parsed = Name::new(part.as_os_str(), false).wild.transpose();
            parsed.map_err(|error| unsound(pattern, &error))?;
        }
    }
    Ok(())
}

fn unsound(pattern: &Path, error: &PatternError) -> Error {
    Error::data(pattern, format!("not a valid pattern: {error}"))
}

/// The images that `pattern` names, which starts at `base` unless it is absolute: all in a folder, a single
/// file, or what the wildcards in it fit. A file or folder that is named like a pattern is taken as it is; so
/// is a file whose name stands in full, whatever its ending. Hidden files are left out unless the pattern has
/// the dot, and the case of endings makes no difference. None is no error.
///
/// # Errors
/// If it is not a valid pattern, or a folder cannot be read.
pub fn expand(base: &Path, pattern: &Path) -> Result<Found> {
    // `./` behind a folder would stay in the names of all images.
    let pattern = match pattern.strip_prefix(".") {
        Ok(rest) if !base.as_os_str().is_empty() => rest,
        _ => pattern,
    };
    let path = locate(&base.join(pattern));
    if path.is_dir() {
        return images(&path);
    }
    let mut found = Found::default();
    if path.exists() {
        take_named(path, &mut found);
        return Ok(found);
    }
    let home = or_here(&literal_part(base, pattern)).to_path_buf();
    if !home.is_dir() {
        return Ok(found);
    }
    let mut parts = Vec::new();
    let mut components = pattern.components().peekable();
    while let Some(part) = components.next() {
        match part {
            Component::Normal(name) if name == "**" => {
                if !matches!(parts.last(), Some(Part::Folders)) {
                    parts.push(Part::Folders);
                }
            }
            Component::Normal(name) => {
                let last = components.peek().is_none();
                parts.push(Part::Name(Name::new(name, last)));
            }
            other => parts.push(Part::Way(other)),
        }
    }
    let mut search = Search {
        pattern,
        walk: Walk::around(&home)?,
        home: &home,
    };
    search.step(base, &parts)?;
    let mut found = search.walk.found;
    found.images.sort_unstable();
    found.images.dedup();
    Ok(found)
}

/// The working directory for an empty path.
fn or_here(folder: &Path) -> &Path {
    match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    }
}

/// A part of a pattern.
enum Part<'p> {
    /// `/`, `.` and `..`.
    Way(Component<'p>),
    Name(Name<'p>),
    /// `**`
    Folders,
}

struct Name<'p> {
    text: &'p OsStr,
    /// If it may stand for several names.
    wild: Option<Result<Pattern, PatternError>>,
    /// Whether it is a file's, so that the case of its ending makes no difference.
    last: bool,
}

impl<'p> Name<'p> {
    fn new(text: &'p OsStr, last: bool) -> Self {
        let wild = is_wild(Component::Normal(text)).then(|| {
            let spelled = spelled(text);
            Pattern::new(&match last {
                true => with_small_ending(&spelled),
                false => spelled.into_owned(),
            })
        });
        Self { text, wild, last }
    }

    fn fits(&self, wild: &Pattern, name: &OsStr) -> bool {
        let name = spelled(name);
        wild.matches(&name) || (self.last && wild.matches(&with_small_ending(&name)))
    }

    /// Whether the pattern itself asks for hidden names.
    fn asks_for_hidden(&self) -> bool {
        self.text.as_encoded_bytes().starts_with(b".")
    }
}

fn with_small_ending(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, ending)) if !ending.contains(['*', '?', '[', ']']) => {
            format!("{stem}.{}", ending.to_lowercase())
        }
        _ => name.to_owned(),
    }
}

struct Search<'p> {
    pattern: &'p Path,
    /// Holds what was found.
    walk: Walk,
    home: &'p Path,
}

impl Search<'_> {
    /// Finds what the rest of the pattern fits below `folder`.
    fn step(&mut self, folder: &Path, parts: &[Part]) -> Result<()> {
        let here = or_here(folder);
        match parts.split_first() {
            None if here.is_dir() => self.walk.through(here),
            Some((Part::Way(way), rest)) => self.step(&folder.join(way), rest),
            Some((Part::Folders, [])) if here.is_dir() => self.walk.through(here),
            Some((Part::Folders, rest)) if here.is_dir() => {
                let mut walk = Walk::around(self.home)?;
                walk.through(here)?;
                let mut left_out = walk.found.left_out;
                left_out.retain(|_, reason| matches!(reason, Reason::HiddenFolder | Reason::Circle));
                self.walk.found.left_out.extend(left_out);
                for within in &walk.folders {
                    // Paths begin as the pattern does, without `./`.
                    let within = within.strip_prefix(here).unwrap_or(Path::new(""));
                    self.step(&folder.join(within), rest)?;
                }
                Ok(())
            }
            Some((Part::Name(name), rest)) => self.name(folder, name, rest),
            _ => Ok(()),
        }
    }

    fn name(&mut self, folder: &Path, name: &Name, rest: &[Part]) -> Result<()> {
        let literal = locate(&folder.join(name.text));
        if literal.is_dir() {
            return self.step(&literal, rest);
        }
        if literal.exists() {
            if rest.is_empty() {
                take_named(literal, &mut self.walk.found);
            }
            return Ok(());
        }
        let (Some(wild), true) = (&name.wild, or_here(folder).is_dir()) else {
            return Ok(());
        };
        let wild = wild.as_ref().map_err(|error| unsound(self.pattern, error))?;
        let mut links = Vec::new();
        for (path, entry) in entries(or_here(folder))? {
            let last = path.file_name().unwrap_or_default();
            if !name.fits(wild, last) {
                continue;
            }
            let path = folder.join(last);
            let found = &mut self.walk.found;
            match entry {
                Entry::Other(Reason::HiddenFolder) if name.asks_for_hidden() => self.step(&path, rest)?,
                Entry::Other(Reason::Hidden) if name.asks_for_hidden() && rest.is_empty() => {
                    take_named(path, found);
                }
                Entry::Folder => self.step(&path, rest)?,
                Entry::Link => links.push(path),
                Entry::Other(reason @ (Reason::HiddenFolder | Reason::Circle)) => {
                    found.left_out.add(path, reason);
                }
                _ if !rest.is_empty() => {}
                Entry::Image => found.images.push(path),
                Entry::Other(reason) => found.left_out.add(path, reason),
            }
        }
        // Links come last, as in a folder that is looked through.
        for link in links {
            match self.walk.comes_back(&link) {
                true => self.walk.found.left_out.add(link, Reason::Circle),
                false => self.step(&link, rest)?,
            }
        }
        Ok(())
    }
}

/// A file whose name was given: its ending does not matter, but it must be one.
fn take_named(path: PathBuf, found: &mut Found) {
    match path.is_file() {
        true => found.images.push(path),
        false => found.left_out.add(path, Reason::Special),
    }
}
