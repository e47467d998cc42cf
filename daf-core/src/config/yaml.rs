//! Reads YAML into settings, as it was written.

use std::collections::HashMap;
use std::fmt;

use yaml_rust2::parser::{Event, Parser, Tag};
use yaml_rust2::scanner::{Marker, ScanError, TScalarStyle};

use super::setting::{Setting, Settings};

/// Maps and lists within each other.
const DEPTH: usize = 64;

/// Bytes of a document after its aliases are written out, with [`NODE`] for each value.
const SIZE: usize = 16 << 20;

/// Memory of a value beside its text, about.
const NODE: usize = 64;

/// Fault in a text that is not YAML, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Line and column, counted from 1; none where the text ends too early.
    pub(super) place: Option<(usize, usize)>,
    pub(super) reason: String,
}

impl Fault {
    fn at(place: Marker, reason: impl Into<String>) -> Self {
        Self {
            place: Some((place.line(), place.col() + 1)),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.reason)
    }
}

impl Fault {
    /// Fault that the parser finds in `text`.
    fn of_syntax(text: &str, error: &ScanError) -> Self {
        let fault = Self::at(*error.marker(), in_plain_words(error.info()));
        if !error.info().contains("tab") {
            return fault;
        }
        // The parser names the beginning of the value that the tab stands in.
        let indentation = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
        let tab = (text.lines().zip(1..))
            .skip(error.marker().line().saturating_sub(1))
            .find_map(|(line, number)| Some((number, 1 + line[..indentation(line)].find('\t')?)));
        Self {
            place: tab.or(fault.place),
            ..fault
        }
    }
}

/// Reads the one document of a text; that of an empty text is `null`.
pub(super) fn read(text: &str) -> Result<Setting, Fault> {
    let mut parser = Parser::new(text.chars());
    let mut reader = Reader::default();
    loop {
        let (event, place) = parser
            .next_token()
            .map_err(|error| Fault::of_syntax(text, &error))?;
        if event == Event::StreamEnd {
            return Ok(reader.root.unwrap_or(Setting::Null));
        }
        reader.take(event, place)?;
    }
}

/// Puts the events of a document together. It does not recurse, so no text can exhaust the stack.
#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    /// Values that have a name, with their size and depth.
    anchors: HashMap<usize, (Setting, Extent)>,
    root: Option<Setting>,
    size: usize,
}

/// How far a value goes.
#[derive(Clone, Copy, Default)]
struct Extent {
    size: usize,
    depth: usize,
}

/// A list or map that is not complete.
struct Open {
    anchor: usize,
    extent: Extent,
    inside: Inside,
}

enum Inside {
    List(Vec<Setting>),
    Map {
        own: Settings,
        /// Maps that `<<` brings, in the order of their precedence.
        merged: Vec<Settings>,
        key: Option<Key>,
    },
}

enum Key {
    Own(String),
    /// `<<`
    Merge,
}

impl Reader {
    fn take(&mut self, event: Event, place: Marker) -> Result<(), Fault> {
        match event {
            Event::DocumentStart if self.root.is_some() => {
                return Err(Fault::at(place, "a second document begins (`---`); expected one"));
            }
            Event::Scalar(text, style, anchor, tag) => {
                return self.scalar(text, style, anchor, tag.as_ref(), place);
            }
            Event::SequenceStart(anchor, tag) => {
                untagged(tag.as_ref(), "seq", place)?;
                self.open(anchor, Inside::List(Vec::new()), place)?;
            }
            Event::MappingStart(anchor, tag) => {
                untagged(tag.as_ref(), "map", place)?;
                let inside = Inside::Map {
                    own: Settings::new(),
                    merged: Vec::new(),
                    key: None,
                };
                self.open(anchor, inside, place)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open {
                    anchor,
                    extent,
                    inside,
                }) = self.open.pop()
                {
                    let extent = Extent {
                        depth: extent.depth + 1,
                        ..extent
                    };
                    return self.put(inside.complete(), anchor, extent, place);
                }
            }
            Event::Alias(anchor) => {
                // The parser knows the names; only a value that is not complete yet has none here.
                let Some((value, extent)) = self.anchors.get(&anchor).cloned() else {
                    return Err(Fault::at(
                        place,
                        "this alias (*) stands in the value that it names (&)",
                    ));
                };
                self.grow(extent.size, place)?;
                return self.put(value, 0, extent, place);
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, inside: Inside, place: Marker) -> Result<(), Fault> {
        if self.open.len() >= DEPTH {
            return Err(too_deep(place));
        }
        self.grow(NODE, place)?;
        let extent = Extent { size: NODE, depth: 0 };
        self.open.push(Open {
            anchor,
            extent,
            inside,
        });
        Ok(())
    }

    fn scalar(
        &mut self,
        text: String,
        style: TScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        place: Marker,
    ) -> Result<(), Fault> {
        let is_plain = style == TScalarStyle::Plain;
        let core = tag.filter(|tag| tag.handle == "tag:yaml.org,2002:");
        if let (Some(tag), None) = (tag, core) {
            return Err(no_tag(tag, place));
        }
        let size = NODE + text.len();
        self.grow(size, place)?;
        if let Some(Open {
            inside: Inside::Map {
                own, key: key @ None, ..
            },
            ..
        }) = self.open.last_mut()
        {
            if is_plain && text.is_empty() {
                return Err(Fault::at(place, "expected a key before `:`"));
            }
            if is_plain && text == "<<" {
                *key = Some(Key::Merge);
            } else if own.contains_key(&text) {
                return Err(Fault::at(place, format!("the key {text:?} is given twice")));
            } else {
                *key = Some(Key::Own(text));
            }
            return Ok(());
        }
        let value = match core.map(|tag| tag.suffix.as_str()) {
            None if is_plain => Setting::of_text(&text),
            None | Some("str") => Setting::Text(text),
            Some(name @ ("int" | "float" | "bool" | "null")) => {
                let value = Setting::of_text(&text);
                let fits = match &value {
                    Setting::Null => name == "null",
                    Setting::Plain(plain) => plain.is_truth() == (name == "bool") && name != "null",
                    _ => false,
                };
                if !fits {
                    return Err(Fault::at(
                        place,
                        format!("`{text}` is not what its tag !!{name} says"),
                    ));
                }
                value
            }
            Some(_) => return Err(no_tag(core.unwrap_or(&EMPTY_TAG), place)),
        };
        self.put(value, anchor, Extent { size, depth: 0 }, place)
    }

    /// Puts a complete value where it belongs.
    fn put(&mut self, value: Setting, anchor: usize, extent: Extent, place: Marker) -> Result<(), Fault> {
        if self.open.len() + extent.depth > DEPTH {
            return Err(too_deep(place));
        }
        if anchor > 0 {
            // Values that are named are kept twice.
            self.grow(extent.size, place)?;
            self.anchors.insert(anchor, (value.clone(), extent));
        }
        let Some(around) = self.open.last_mut() else {
            self.root = Some(value);
            return Ok(());
        };
        around.extent.size += extent.size;
        around.extent.depth = around.extent.depth.max(extent.depth);
        match &mut around.inside {
            Inside::List(list) => list.push(value),
            Inside::Map { own, merged, key } => match key.take() {
                Some(Key::Own(key)) => {
                    own.insert(key, value);
                }
                Some(Key::Merge) => merged.extend(maps(value).ok_or_else(|| {
                    Fault::at(
                        place,
                        "`<<` takes in the keys of other maps: expected an alias such as `<<: *common`, or a list of them",
                    )
                })?),
                None => return Err(Fault::at(place, "expected a text as key, found a list or a map")),
            },
        }
        Ok(())
    }

    fn grow(&mut self, by: usize, place: Marker) -> Result<(), Fault> {
        self.size += by;
        if self.size > SIZE {
            return Err(Fault::at(
                place,
                format!(
                    "with its aliases (*) written out the document takes up more than {} MiB",
                    SIZE >> 20
                ),
            ));
        }
        Ok(())
    }
}

impl Inside {
    /// Own keys win over merged ones, and those of the first of several maps over those of the others.
    fn complete(self) -> Setting {
        match self {
            Self::List(list) => Setting::List(list),
            Self::Map { mut own, merged, .. } => {
                for (key, value) in merged.into_iter().flatten() {
                    own.entry(key).or_insert(value);
                }
                Setting::Map(own)
            }
        }
    }
}

/// The maps that `<<` is given.
fn maps(value: Setting) -> Option<Vec<Settings>> {
    match value {
        Setting::Map(map) => Some(vec![map]),
        Setting::List(list) => list
            .into_iter()
            .map(|value| match value {
                Setting::Map(map) => Some(map),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

const EMPTY_TAG: Tag = Tag {
    handle: String::new(),
    suffix: String::new(),
};

fn untagged(tag: Option<&Tag>, name: &str, place: Marker) -> Result<(), Fault> {
    match tag {
        Some(tag) if tag.handle != "tag:yaml.org,2002:" || tag.suffix != name => Err(no_tag(tag, place)),
        _ => Ok(()),
    }
}

fn no_tag(tag: &Tag, place: Marker) -> Fault {
    let handle = tag.handle.replace("tag:yaml.org,2002:", "!!");
    Fault::at(
        place,
        format!("the tag {handle}{} has no meaning here", tag.suffix),
    )
}

fn too_deep(place: Marker) -> Fault {
    Fault::at(
        place,
        format!("more than {DEPTH} maps and lists within each other"),
    )
}

/// Faults of the parser, in the words of users.
fn in_plain_words(info: &str) -> String {
    const WORDS: [(&str, &str); 20] = [
        ("tab", "a tab stands where YAML takes blanks only"),
        (
            "quoted scalar, found unexpected end",
            "the quote that is opened here is not closed",
        ),
        (
            "quoted scalar, found unexpected document",
            "the quote that is opened here is not closed",
        ),
        (
            "indentation in quoted scalar",
            "the quote that is opened here is not closed",
        ),
        (
            "unknown escape",
            "in double quotes `\\` begins an escape such as `\\n`; in single quotes it is a plain `\\`",
        ),
        (
            "hexadecimal",
            "in double quotes `\\` begins an escape, and its hexadecimal digits are missing",
        ),
        (
            "Unicode character escape",
            "in double quotes `\\` begins an escape, and there is no such character",
        ),
        (
            "flow sequence",
            "expected `,` or `]`: a list that begins with `[` is not closed",
        ),
        (
            "flow mapping",
            "expected `,` or `}`: a map that begins with `{` is not closed",
        ),
        (
            "mapping values are not allowed",
            "a `:` too many: one key stands on a line, and a text that holds `: ` needs quotes",
        ),
        ("simple key", "expected `key: value`"),
        (
            "did not find expected key",
            "expected a key as far to the left as those above",
        ),
        (
            "expected '-' indicator",
            "expected `- `, as far to the left as those above",
        ),
        (
            "block sequence entries",
            "a `- ` stands where no element of a list can begin",
        ),
        (
            "mapping keys are not allowed",
            "a `?` stands where no key can begin",
        ),
        (
            "unknown anchor",
            "an alias (*) of a name that nothing above has (&)",
        ),
        ("recursion limit", "too many maps and lists within each other"),
        (
            "flow construct",
            "the lines of a list or map in brackets must be farther to the right than the key",
        ),
        (
            "invalid indentation",
            "this line is neither as far to the left nor to the right as it should be",
        ),
        ("unexpected eof", "the text ends too early"),
    ];
    if let Some((_, words)) = WORDS.iter().find(|(part, _)| info.contains(part)) {
        return (*words).into();
    }
    // As `@'.
    if let Some(character) = info.strip_prefix("unexpected character: ") {
        let character = character.trim_matches(['`', '\'']);
        return format!("a text cannot begin with `{character}`; put it in quotes");
    }
    // Seldom ones.
    let plain = info
        .replace("block scalar", "text over several lines (| or >)")
        .replace("plain scalar", "text without quotes")
        .replace("scalar", "text")
        .replace("sequence", "list")
        .replace("mapping", "map")
        .replace("stream", "file");
    format!("this is not YAML: {plain}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn value(text: &str) -> Value {
        read(text)
            .unwrap_or_else(|fault| panic!("{fault}\n{text}"))
            .into()
    }

    fn refused(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn values_are_what_yaml_means_and_keep_what_was_written() {
        let text = "a: 01\nb: '01'\nc: 1e-3\nd: true\ne: ~\nf: [0x1F, .5, +5, 1.0]\n01: x\ng: !!str 1\nh: !!float 1\n";
        assert_eq!(
            value(text),
            json!({
                "a": 1, "b": "01", "c": 1e-3, "d": true, "e": null, "f": [31, 0.5, 5, 1.0], "01": "x", "g": "1", "h": 1,
            })
        );
        let settings = read(text).unwrap();
        assert_eq!(settings.get("a").unwrap().written(), Some("01"));
        assert_eq!(settings.get("c").unwrap().written(), Some("1e-3"));
        assert_eq!(value(""), Value::Null);
        assert_eq!(value("# nothing"), Value::Null);
        assert_eq!(value("---\na: 1\n...\n"), json!({ "a": 1 }));
        assert_eq!(value("a: 1\r\nb:\r\n  - 2\r\n"), json!({ "a": 1, "b": [2] }));
    }

    #[test]
    fn merged_keys_give_way_to_own_ones_and_to_those_of_earlier_maps() {
        let common = "x: &a { k: 1, l: 1 }\ny: &b { l: 2, m: 2 }\n";
        let merged = |map: &str| value(&format!("{common}z: {map}"))["z"].clone();
        assert_eq!(merged("{ <<: *a }"), json!({ "k": 1, "l": 1 }));
        assert_eq!(merged("{ <<: *a, k: 3 }"), json!({ "k": 3, "l": 1 }));
        assert_eq!(merged("{ k: 3, <<: *a }"), json!({ "k": 3, "l": 1 }));
        assert_eq!(merged("{ <<: [*b, *a] }"), json!({ "l": 2, "m": 2, "k": 1 }));
        assert_eq!(merged("{ <<: *a, <<: *b }"), json!({ "k": 1, "l": 1, "m": 2 }));
        assert_eq!(merged("{ <<: { n: 4 } }"), json!({ "n": 4 }));
        assert_eq!(merged("{ '<<': 5 }"), json!({ "<<": 5 }));
        assert_eq!(
            value("a: &a { k: 1 }\nb: &b { <<: *a }\nc: { <<: *b }")["c"],
            json!({ "k": 1 })
        );
        for wrong in ["5", "[*a, 5]", "text"] {
            let fault = refused(&format!("{common}z: {{ <<: {wrong} }}"));
            assert!(
                fault.starts_with("line 3, column ") && fault.contains("`<<: *common`"),
                "{fault}"
            );
        }
    }

    #[test]
    fn faults_name_line_and_column_in_plain_words() {
        for (text, fault) in [
            ("a: 1\n\tb: 2\n", "line 2, column 1: a tab"),
            ("a:\n\t- 2\n", "line 2, column 1: a tab"),
            (
                "a: \"open\nb: 2\n",
                "line 1, column 4: the quote that is opened here",
            ),
            (
                "a: 'open",
                "line 1, column 4: the quote that is opened here is not closed",
            ),
            ("a: [1, 2\nb: 3", "line 2, column "),
            ("a: { b: 1\n", "line 2, column 1: expected `,` or `}`"),
            ("a: 1\na: 2\n", "line 2, column 1: the key \"a\" is given twice"),
            (
                "b: { a: 1, a: 2 }",
                "line 1, column 12: the key \"a\" is given twice",
            ),
            ("a: b: c", "line 1, column 5: a `:` too many"),
            ("a: *b", "line 1, column 4: an alias (*)"),
            ("a: &x [*x]", "line 1, column 8: this alias (*) stands in"),
            ("a: @b", "line 1, column 4: a text cannot begin with `@`"),
            ("a: \"\\q\"", "line 1, column 4: in double quotes"),
            ("a: 1\n b: 2\n", "line 2, column 3: a `:` too many"),
            ("a: 1\n---\nb: 2\n", "line 2, column 1: a second document"),
            ("[a]: 1", "line 1, column "),
            (
                "a: !include b.yaml",
                "line 1, column 13: the tag !include has no meaning",
            ),
            (
                "a: !!int x",
                "line 1, column 10: `x` is not what its tag !!int says",
            ),
            (": 1", "line 1, column 1: expected a key before `:`"),
        ] {
            let found = refused(text);
            assert!(found.starts_with(fault), "{text:?}: {found}");
            for word in ["scalar", "sequence", "mapping", "stream", "token", "simple"] {
                assert!(!found.contains(word), "{found}");
            }
        }
    }

    #[test]
    fn documents_that_grow_without_end_are_refused() {
        let deep = "[".repeat(10_000);
        assert!(refused(&deep).contains("within each other"), "{}", refused(&deep));
        assert!(refused(&"- ".repeat(10_000)).contains("within each other"));
        let keys: String = (0..1000)
            .map(|level| format!("{}a:\n", " ".repeat(level)))
            .collect();
        assert!(refused(&keys).contains("within each other"));
        let nested: String = (1..100).fold("a0: &a0 [1]\n".into(), |text, level| {
            text + &format!("a{level}: &a{level} [*a{}]\n", level - 1)
        });
        assert!(refused(&nested).contains("within each other"));
        let laughs: String = (1..30).fold("a0: &a0 [lol]\n".into(), |text, level| {
            let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
            text + &format!("a{level}: &a{level} [{aliases}]\n")
        });
        assert!(
            refused(&laughs).contains("takes up more than 16 MiB"),
            "{}",
            refused(&laughs)
        );
        let merging: String = (1..30).fold("a0: &a0 { k0: 1 }\n".into(), |text, level| {
            text + &format!("a{level}: &a{level} {{ x: *a{0}, y: *a{0} }}\n", level - 1)
        });
        assert!(refused(&merging).contains("takes up more than 16 MiB"));
    }

    proptest! {
        #[test]
        fn text_in_json_is_read_as_json_reads_it(text in "\\PC{0,20}", number in any::<i64>(), fraction in -1e9..1e9) {
            let written = json!({ "text": text, "list": [number, fraction, null, true], "map": { "k": {} } });
            prop_assert_eq!(value(&written.to_string()), written);
        }
    }
}
