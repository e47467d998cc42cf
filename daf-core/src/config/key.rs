//! Places in a pipeline.

use std::fmt;
use std::str::FromStr;

use super::setting::Setting;

/// The way to a value: `synthesizer.of[1].opacity`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct KeyPath(pub(super) Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl KeyPath {
    /// The way to `key` in the map at this place.
    pub(super) fn child(&self, key: &str) -> Self {
        Self(self.0.iter().cloned().chain([Step::Key(key.into())]).collect())
    }

    /// The last step, if it is a key.
    pub(super) fn key(&self) -> Option<&str> {
        match self.0.last() {
            Some(Step::Key(key)) => Some(key),
            _ => None,
        }
    }

    /// The value at this place.
    pub(super) fn of<'v>(&self, value: &'v Setting) -> Option<&'v Setting> {
        get(value, &self.0)
    }

    /// The value at this place, to be changed.
    pub(super) fn of_mut<'v>(&self, value: &'v mut Setting) -> Option<&'v mut Setting> {
        self.0.iter().try_fold(value, |value, step| match (value, step) {
            (Setting::Map(map), Step::Key(key)) => map.get_mut(key),
            (Setting::List(list), Step::Index(index)) => list.get_mut(*index),
            _ => None,
        })
    }

    /// The places of all values in `value`, which is at this place, outermost first.
    pub(super) fn below(&self, value: &Setting) -> Vec<Self> {
        let longer = |step| Self(self.0.iter().cloned().chain([step]).collect());
        let inside: Vec<(Self, &Setting)> = match value {
            Setting::Map(map) => {
                let entry = |(key, value): (&String, _)| (longer(Step::Key(key.clone())), value);
                map.iter().map(entry).collect()
            }
            Setting::List(list) => {
                let element = |(index, value)| (longer(Step::Index(index)), value);
                list.iter().enumerate().map(element).collect()
            }
            _ => Vec::new(),
        };
        let deeper = inside.into_iter().flat_map(|(at, value)| {
            let below = at.below(value);
            std::iter::once(at).chain(below)
        });
        deeper.collect()
    }
}

impl From<&serde_path_to_error::Path> for KeyPath {
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment;
        let steps = path.iter().map_while(|segment| match segment {
            Segment::Map { key } | Segment::Enum { variant: key } => Some(Step::Key(key.clone())),
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Unknown => None,
        });
        Self(steps.collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl FromStr for KeyPath {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad =
            || format!("`{text}` is not a key such as `trainer.steps` or `method.discrepancy.of[0].type`");
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (key, mut rest) = part.find('[').map_or((part, ""), |start| part.split_at(start));
            if key.is_empty() {
                return Err(bad());
            }
            steps.push(Step::Key(key.into()));
            while !rest.is_empty() {
                let (index, after) = rest
                    .strip_prefix('[')
                    .and_then(|r| r.split_once(']'))
                    .ok_or_else(bad)?;
                steps.push(Step::Index(index.parse().map_err(|_| bad())?));
                rest = after;
            }
        }
        Ok(Self(steps))
    }
}

/// The value at the place that `steps` lead to.
pub(super) fn get<'v>(value: &'v Setting, steps: &[Step]) -> Option<&'v Setting> {
    steps.iter().try_fold(value, |value, step| match (value, step) {
        (Setting::Map(map), Step::Key(key)) => map.get(key),
        (Setting::List(list), Step::Index(index)) => list.get(*index),
        _ => None,
    })
}
