//! Hostile bytes for every reader: documents that are damaged as files are damaged, and the time to try them for.

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant, SystemTime};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How many documents each reader is given unless [`SECONDS`] says otherwise.
pub const DOCUMENTS: u64 = 300;

/// Variable with the seconds for which each reader is given documents, instead of [`DOCUMENTS`] of them.
pub const SECONDS: &str = "DAF_FUZZ_SECONDS";

/// No document of the size of these may take longer to read or to refuse, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// A document with up to four faults: bits flipped, bytes replaced, cut off, cut out, doubled, or a piece of `other` put in.
/// Of one in sixteen nothing is left but bytes without meaning.
#[must_use]
pub fn mutated(document: &[u8], other: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    /// Bytes that mean something in one format or another.
    const MEANT: [&[u8]; 24] = [
        b"\0",
        b"\xff",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\x80",
        b"\t",
        b"\n",
        b"\r\n",
        b"\"",
        b"'",
        b"[",
        b"{",
        b"}",
        b":",
        b": ",
        b"- ",
        b",",
        b"&a ",
        b"*a",
        b"<<: ",
        b"-1",
        b"1e999",
        b"NaN",
        "\u{feff}ß".as_bytes(),
    ];
    if rng.random_ratio(1, 16) {
        let mut bytes = vec![0; rng.random_range(0..200)];
        rng.fill_bytes(&mut bytes);
        return bytes;
    }
    let mut bytes = document.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        let piece = |of: &[u8], rng: &mut dyn Rng| {
            let start = rng.random_range(0..=of.len());
            let end = rng.random_range(start..=of.len().min(start + 1 + of.len() / 4));
            start..end
        };
        let place = rng.random_range(0..=bytes.len());
        match rng.random_range(0..7) {
            0 if place < bytes.len() => bytes[place] ^= 1 << rng.random_range(0..8),
            1 if place < bytes.len() => bytes[place] = rng.random(),
            2 => bytes.truncate(place),
            3 => {
                bytes.drain(piece(&bytes, rng));
            }
            4 => {
                let doubled = bytes[piece(&bytes, rng)].to_vec();
                bytes.splice(place..place, doubled);
            }
            5 => {
                let foreign = other[piece(other, rng)].to_vec();
                bytes.splice(place..place, foreign);
            }
            _ => {
                let meant = MEANT[rng.random_range(0..MEANT.len())];
                let end = bytes.len().min(place + rng.random_range(0..=meant.len()));
                bytes.splice(place..end, meant.iter().copied());
            }
        }
    }
    bytes
}

/// Gives a reader the documents, and then damaged ones for as long as [`SECONDS`] says. `read` returns the message of what
/// it refuses; the message has to hold `name`, if that is not empty.
///
/// # Panics
/// If the reader panics, takes too long, or refuses a document without its name. The document is then written to the folder
/// for temporary files, and the message says where.
pub fn withstands(
    reader: &str,
    name: &str,
    documents: &[&[u8]],
    mut read: impl FnMut(&[u8]) -> Result<(), String>,
) {
    let seconds: Option<u64> = std::env::var(SECONDS).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{SECONDS}: expected whole seconds, found `{text}`"))
    });
    // A fixed number of documents is the same ones every time; those of a long try are others every time.
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seed = seconds.map_or(0, |_| now.as_nanos() as u64);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let started = Instant::now();
    let whole = documents.iter().map(|document| document.to_vec());
    let mut number = 0;
    let damaged = std::iter::from_fn(|| {
        number += 1;
        let more = seconds.map_or(number <= DOCUMENTS, |seconds| {
            started.elapsed().as_secs() < seconds
        });
        let pick = |rng: &mut ChaCha8Rng| documents[rng.random_range(0..documents.len())];
        more.then(|| mutated(pick(&mut rng), pick(&mut rng), &mut rng))
    });
    for document in whole.chain(damaged) {
        let before = Instant::now();
        let answer = panic::catch_unwind(AssertUnwindSafe(|| read(&document)));
        let took = before.elapsed();
        let fault = match answer {
            Err(_) => "panics".to_owned(),
            Ok(_) if took > PATIENCE => format!("takes {took:?}"),
            Ok(Err(message)) if !message.contains(name) => format!("does not name `{name}` in `{message}`"),
            Ok(_) => continue,
        };
        let kept = std::env::temp_dir().join(format!(
            "hostile-{}",
            reader.replace(|c: char| !c.is_alphanumeric(), "-")
        ));
        std::fs::write(&kept, &document).expect("the folder for temporary files takes a file");
        panic!(
            "{reader}: {fault} on {} bytes, kept as {}",
            document.len(),
            kept.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_takes_every_form_and_is_the_same_for_the_same_seed() {
        let other = b"OTHER".repeat(8);
        let made = |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            (0..500)
                .map(|_| mutated(b"seed: 1\ndata: { type: demo }\n", &other, &mut rng))
                .collect::<Vec<_>>()
        };
        let documents = made(1);
        assert_eq!(documents, made(1));
        assert_ne!(documents, made(2));
        let any = |test: fn(&Vec<u8>) -> bool| documents.iter().any(test);
        assert!(any(Vec::is_empty));
        assert!(any(|bytes| bytes.len() > 40));
        assert!(any(|bytes| bytes.windows(5).any(|w| w == b"OTHER")));
        assert!(mutated(b"", b"", &mut ChaCha8Rng::seed_from_u64(3)).len() < 200);
    }

    #[test]
    #[should_panic(expected = "does not name `file`")]
    fn a_reader_that_does_not_name_its_file_is_found_out() {
        withstands("nameless", "file", &[b"x"], |_| Err("cannot be read".into()));
    }

    #[test]
    #[should_panic(expected = "panics on")]
    fn a_reader_that_panics_is_found_out() {
        withstands("panicking", "", &[b"abc"], |bytes| {
            assert!(bytes.starts_with(b"a"), "not an a");
            Ok(())
        });
    }
}

/// Pages whose examples are compiled, here because this crate has all others at hand.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../docs/programs.md")]
    struct Programs;

    #[doc = include_str!("../../docs/networks.md")]
    struct Networks;
}
