//! Files that other programs wrote: `make_images.py` makes them, and says what they hold.
//!
//! `DAF_PILLOW` names a Python that has pillow, numpy, tifffile and imagecodecs. Without it nothing is compared.

use std::fs;
use std::path::Path;
use std::process::Command;

use daf_core::data::{Alpha, Depth, Reading, read_header, read_mask};
use serde::Deserialize;

/// A file and what has to come of it.
#[derive(Deserialize)]
struct Case {
    /// Name in the folder, with the page.
    file: String,
    #[serde(default)]
    reading: Written,
    #[serde(flatten)]
    outcome: Synthesis,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Synthesis {
    Kept {
        width: u32,
        height: u32,
        /// File with the RGB values.
        pixels: String,
        /// Levels by which a value may be off.
        tolerance: u8,
    },
    /// Texts that the message has to hold.
    Refused { refused: Vec<String> },
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Written {
    depth: Depth,
    alpha: Alpha,
}

/// Words of Rust that have slipped into messages, and have no place there.
const NOT_FOR_USERS: [&str; 9] = [
    "IoError",
    "Unknown(",
    "Error(",
    "Some(",
    "None",
    "panicked",
    "unwrap",
    "Unhandled",
    " { ",
];

#[test]
fn files_of_every_kind_hold_the_pixels_that_other_programs_read() {
    let Ok(python) = std::env::var("DAF_PILLOW") else {
        eprintln!("skipped: no images of other programs; DAF_PILLOW can name a Python that writes them");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images/make_images.py");
    let made = Command::new(&python).arg(script).arg(folder.path()).status();
    assert!(
        made.is_ok_and(|status| status.success()),
        "{python} makes no images"
    );
    let index = fs::read(folder.path().join("index.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&index).unwrap();
    assert!(cases.len() > 500, "{} cases", cases.len());
    let faults: Vec<String> = cases
        .iter()
        .filter_map(|case| case.fault(folder.path()))
        .collect();
    assert!(
        faults.is_empty(),
        "{} of {} cases:\n{}",
        faults.len(),
        cases.len(),
        faults.join("\n")
    );
}

impl Case {
    /// Fault in the reading of the file.
    fn fault(&self, folder: &Path) -> Option<String> {
        let Self {
            file,
            reading,
            outcome,
        } = self;
        let path = folder.join(file);
        let reading = Reading {
            depth: reading.depth,
            alpha: reading.alpha,
            ..Reading::default()
        };
        let found = reading.open(&path).map(|image| image.rgb);
        let fault = |what: String| Some(format!("{file}, {reading:?}: {what}"));
        match (outcome, found) {
            (Synthesis::Kept { .. }, Err(error)) => fault(error.to_string()),
            (Synthesis::Refused { refused }, Ok(_)) => fault(format!("is read, expected {refused:?}")),
            (Synthesis::Refused { refused }, Err(error)) => {
                let message = error.to_string();
                // A name may hold any word.
                let reason = message.replace(file, "");
                let lacks = refused.iter().find(|words| !reason.contains(*words));
                let slipped = NOT_FOR_USERS.iter().find(|words| reason.contains(**words));
                match (message.contains(file), lacks, slipped) {
                    (false, ..) => fault(format!("is not named: {message}")),
                    (_, Some(words), _) => fault(format!("no `{words}` in: {message}")),
                    (.., Some(words)) => fault(format!("`{words}` in: {message}")),
                    _ => None,
                }
            }
            (
                Synthesis::Kept {
                    width,
                    height,
                    pixels,
                    tolerance,
                },
                Ok(found),
            ) => {
                if found.dimensions() != (*width, *height) {
                    return fault(format!("{:?}, expected {width}×{height}", found.dimensions()));
                }
                // A mask has the places of its image.
                if let Ok(mask) = read_mask(&path)
                    && mask.dimensions() != found.dimensions()
                {
                    return fault(format!("a mask of {:?}", mask.dimensions()));
                }
                if let Err(error) = read_header(&path) {
                    return fault(format!("no header: {error}"));
                }
                let expected = fs::read(folder.join(pixels)).unwrap();
                let off = |(found, expected): (&u8, &u8)| found.abs_diff(*expected);
                let distances: Vec<u8> = found.iter().zip(&expected).map(off).collect();
                let largest = distances.iter().copied().max().unwrap_or(0);
                let wrong = distances.iter().filter(|off| *off > tolerance).count();
                match wrong {
                    0 => None,
                    _ => fault(format!(
                        "{wrong} of {} values off, up to {largest}",
                        distances.len()
                    )),
                }
            }
        }
    }
}
