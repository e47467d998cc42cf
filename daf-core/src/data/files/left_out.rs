use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::{Reason, contents};

/// Files and folders that were found among images and are not used, with the reasons. None is counted twice.
///
/// ```
/// use daf_core::data::files::{LeftOut, Reason};
///
/// let mut left_out = LeftOut::default();
/// left_out.add("new/a.heic", Reason::Extension("heic".into()));
/// left_out.add("new/b.heic", Reason::Extension("heic".into()));
/// left_out.add("new/.c.png", Reason::Hidden);
/// assert_eq!(left_out.to_string(), "3 files left out: 2 .heic, 1 hidden");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut(BTreeMap<PathBuf, Reason>);

impl LeftOut {
    /// Reasons that are told one by one.
    const TOLD: usize = 8;

    /// Counts a file or folder; the first reason stays.
    pub fn add(&mut self, path: impl Into<PathBuf>, reason: Reason) {
        self.0.entry(path.into()).or_insert(reason);
    }

    /// Counts all of another list as well.
    pub fn extend(&mut self, other: Self) {
        for (path, reason) in other.0 {
            self.add(path, reason);
        }
    }

    /// Keeps what passes, for files that turn out to be used after all.
    pub fn retain(&mut self, mut keep: impl FnMut(&Path, &Reason) -> bool) {
        self.0.retain(|path, reason| keep(path, reason));
    }

    /// Whether everything is used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each path with its reason, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Reason)> {
        self.0.iter().map(|(path, reason)| (path.as_path(), reason))
    }

    /// Content of a folder of which nothing can be used.
    #[must_use]
    pub fn beside(&self, folder: &Path) -> String {
        let contents = contents(folder);
        match self.is_empty() {
            true => contents,
            false => format!("{contents}; {self}"),
        }
    }

    /// Count of each reason, the most frequent first.
    fn counts(&self) -> Vec<(&Reason, usize)> {
        let mut counts: BTreeMap<&Reason, usize> = BTreeMap::new();
        for reason in self.0.values() {
            *counts.entry(reason).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        counts
    }
}

/// In a line: `8 files left out: 4 .heic, 2 .txt, 2 hidden`.
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = |reason: &Reason| matches!(reason, Reason::HiddenFolder | Reason::Circle);
        let folders = self.0.values().filter(|reason| folder(reason)).count();
        let of = |count: usize, noun: &str| match count {
            0 => None,
            1 => Some(format!("1 {noun}")),
            _ => Some(format!("{count} {noun}s")),
        };
        let what = [of(self.0.len() - folders, "file"), of(folders, "folder")];
        let what: Vec<_> = what.into_iter().flatten().collect();
        if what.is_empty() {
            return f.write_str("nothing left out");
        }
        write!(f, "{} left out: ", what.join(" and "))?;
        let counts = self.counts();
        let (told, rest) = counts.split_at(counts.len().min(Self::TOLD));
        let mut words: Vec<_> = told
            .iter()
            .map(|(reason, count)| reason.counted(*count))
            .collect();
        let more: usize = rest.iter().map(|(_, count)| count).sum();
        words.extend((more > 0).then(|| format!("{more} others")));
        f.write_str(&words.join(", "))
    }
}

/// The paths by reason: `{".heic": ["new/a.heic"], "hidden": […]}`.
impl Serialize for LeftOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (path, reason) in &self.0 {
            let key = match reason {
                Reason::Extension(extension) if extension.is_empty() => "no ending".into(),
                Reason::Extension(extension) => format!(".{extension}"),
                Reason::Hidden => "hidden".into(),
                Reason::HiddenFolder => "hidden folder".into(),
                Reason::BrokenLink => "broken link".into(),
                Reason::Circle => "circle".into(),
                Reason::Special => "pipe, socket or device".into(),
                Reason::Misplaced => "outside the layout's folders".into(),
            };
            by_reason.entry(key).or_default().push(path.display().to_string());
        }
        by_reason.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_told_by_reason_the_most_frequent_first() {
        let mut left_out = LeftOut::default();
        assert_eq!(left_out.to_string(), "nothing left out");
        left_out.add("a", Reason::extension_of(Path::new("a")));
        left_out.add("b.TXT", Reason::extension_of(Path::new("b.TXT")));
        left_out.add("c.txt", Reason::extension_of(Path::new("c.txt")));
        left_out.add("@eaDir", Reason::HiddenFolder);
        // Once, however many patterns come across it.
        left_out.add("c.txt", Reason::Hidden);
        let mut more = LeftOut::default();
        more.add("p.png", Reason::Special);
        left_out.extend(more);
        assert_eq!(
            left_out.to_string(),
            "4 files and 1 folder left out: 2 .txt, 1 without an ending, 1 hidden folder, 1 pipe, socket or device"
        );
        assert_eq!(
            serde_json::to_value(&left_out).unwrap()[".txt"],
            serde_json::json!(["b.TXT", "c.txt"])
        );
        for number in 0..20 {
            left_out.add(number.to_string(), Reason::Extension(number.to_string()));
        }
        assert!(left_out.to_string().ends_with(" others"), "{left_out}");
    }
}
