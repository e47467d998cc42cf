//! Traits of how image files were made, and whether they tell good from bad: a method may learn them instead
//! of what is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use daf_core::data::{self, Header};
use daf_core::image::{ImageDecoder, ImageReader};
use daf_core::{Item, Split};

use crate::finding::{Finding, Group, Side, Trait};

/// How an image was made, as far as that shows; nothing of an image that cannot be opened.
#[derive(Default)]
pub(super) struct Origin {
    pub(super) size: Option<(u32, u32)>,
    /// Whether every pixel is gray.
    pub(super) gray: Option<bool>,
    /// `None` without a file: data sets may draw their images.
    pub(super) file: Option<Traces>,
}

/// Traces that the making of a file left in it.
pub(super) struct Traces {
    pub(super) header: Header,
    quality: Option<u8>,
    exif: Option<Exif>,
}

struct Exif {
    camera: Option<Box<str>>,
    orientation: Option<u16>,
}

impl Traces {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let header = data::read_header(path).ok()?;
        Some(Self {
            quality: if header.format == "jpeg" {
                jpeg_quality(path)
            } else {
                None
            },
            exif: exif(path),
            header,
        })
    }
}

/// Predicate of an image, to go after `is` or `are`; `None` where the trait does not apply.
fn predicate(of: Trait, origin: &Origin) -> Option<String> {
    let file = origin.file.as_ref();
    match of {
        Trait::FileFormat => file.map(|of| of.header.format.to_owned()),
        Trait::Depth => file.map(|of| format!("{} bit deep", of.header.bits)),
        Trait::Channels => file.map(|of| match of.header.channels {
            1 => "of 1 channel".to_owned(),
            channels => format!("of {channels} channels"),
        }),
        Trait::Size => origin.size.map(|(width, height)| format!("{width}×{height}")),
        Trait::JpegQuality => file?.quality.map(|quality| format!("of JPEG quality {quality}")),
        Trait::Color => origin
            .gray
            .map(|gray| if gray { "grey" } else { "in color" }.to_owned()),
        Trait::Camera => file.map(|of| match &of.exif {
            None => "without EXIF data".to_owned(),
            Some(Exif { camera: None, .. }) => "with EXIF data that name no camera".to_owned(),
            Some(Exif {
                camera: Some(camera), ..
            }) => format!("from {camera}"),
        }),
        Trait::Orientation => file.map(|of| match &of.exif {
            Some(Exif {
                orientation: Some(orientation),
                ..
            }) => format!("with EXIF orientation {orientation}"),
            _ => "without EXIF orientation".to_owned(),
        }),
    }
}

fn exif(path: &Path) -> Option<Exif> {
    let reader = ImageReader::open(path).ok()?.with_guessed_format().ok()?;
    let bytes = reader.into_decoder().ok()?.exif_metadata().ok()??;
    let Ok(exif) = exif::Reader::new().read_raw(bytes) else {
        return Some(Exif {
            camera: None,
            orientation: None,
        });
    };
    let field = |tag| exif.get_field(tag, exif::In::PRIMARY);
    let text = |tag| match &field(tag)?.value {
        exif::Value::Ascii(lines) => {
            let text = String::from_utf8_lossy(lines.first()?).trim().to_owned();
            (!text.is_empty()).then_some(text)
        }
        _ => None,
    };
    let camera: Vec<String> = [exif::Tag::Make, exif::Tag::Model]
        .into_iter()
        .filter_map(text)
        .collect();
    Some(Exif {
        camera: (!camera.is_empty()).then(|| camera.join(" ").into()),
        orientation: field(exif::Tag::Orientation)
            .and_then(|field| field.value.get_uint(0))
            .and_then(|value| value.try_into().ok()),
    })
}

/// The quality from 1 to 100 whose table of the reference implementation is nearest to that of the file.
fn jpeg_quality(path: &Path) -> Option<u8> {
    let mut file = BufReader::new(File::open(path).ok()?);
    let mut start = [0; 2];
    file.read_exact(&mut start).ok()?;
    loop {
        let mut head = [0; 4];
        file.read_exact(&mut head[..2]).ok()?;
        while head[1] == 0xFF {
            file.read_exact(&mut head[1..2]).ok()?;
        }
        // The tables stand before the first scan.
        if head[0] != 0xFF || matches!(head[1], 0xD9 | 0xDA) {
            return None;
        }
        file.read_exact(&mut head[2..]).ok()?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]])).checked_sub(2)?;
        if head[1] != 0xDB {
            file.seek_relative(length as i64).ok()?;
            continue;
        }
        let mut segment = vec![0; length];
        file.read_exact(&mut segment).ok()?;
        let mut rest = &segment[..];
        while let Some((kind, values)) = rest.split_first() {
            let bytes = if kind >> 4 == 0 { 1 } else { 2 };
            let table = values.get(..64 * bytes)?;
            if kind & 15 == 0 {
                let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum * 256 + i64::from(*byte));
                let table: Vec<i64> = table.chunks_exact(bytes).map(number).collect();
                return nearest_quality(&table);
            }
            rest = &values[64 * bytes..];
        }
    }
}

fn nearest_quality(table: &[i64]) -> Option<u8> {
    /// Annex K of the standard, in the order of the file: zigzag.
    const BRIGHTNESS: [i64; 64] = [
        16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29,
        40, 58, 51, 61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98,
        103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
    ];
    (1..=100_u8).min_by_key(|quality| {
        let quality = i64::from(*quality);
        let scale = if quality < 50 {
            5000 / quality
        } else {
            200 - 2 * quality
        };
        let off = |(value, base): (&i64, i64)| (value - ((base * scale + 50) / 100).clamp(1, 255)).abs();
        table.iter().zip(BRIGHTNESS).map(off).sum::<i64>()
    })
}

/// Numbers of images of a group by predicate.
type Values = BTreeMap<String, usize>;

/// The traits that tell groups of images apart: normal from defective ones of the test split, the splits, or
/// what was learned from what has a defect. Of all categories together, or where these differ, of one.
pub(super) fn findings(images: &[(Split, Item)], origins: &[&Origin]) -> Vec<Finding> {
    let categories: BTreeSet<&Option<String>> = images.iter().map(|(_, item)| &item.category).collect();
    let mut findings = Vec::new();
    for by in Trait::ALL {
        let of = |category: Option<&Option<String>>| {
            let mut groups: BTreeMap<Group, Values> = BTreeMap::new();
            for ((split, item), origin) in images.iter().zip(origins) {
                if category.is_some_and(|category| item.category != *category) {
                    continue;
                }
                if let Some(value) = predicate(by, origin) {
                    let values = groups.entry(Group::of(*split, item)).or_default();
                    *values.entry(value).or_default() += 1;
                }
            }
            told_apart(by, category.cloned().flatten(), &groups)
        };
        let all = of(None);
        if all.is_none() && categories.len() > 1 {
            findings.extend(categories.iter().filter_map(|category| of(Some(category))));
        }
        findings.extend(all);
    }
    // One channel is grey and three are in color: once is enough.
    let by = |finding: &Finding| match finding {
        Finding::ToldApart { by, category, .. } => Some((*by, category.clone())),
        _ => None,
    };
    let channels: Vec<_> = findings.iter().filter_map(by).collect();
    findings.retain(|finding| {
        by(finding).is_none_or(|(by, category)| {
            by != Trait::Color || !channels.contains(&(Trait::Channels, category))
        })
    });
    findings
}

fn told_apart(by: Trait, category: Option<String>, groups: &BTreeMap<Group, Values>) -> Option<Finding> {
    let none = Values::new();
    let group = |group| groups.get(&group).unwrap_or(&none);
    let (train, normal, defective) = (
        group(Group::Train),
        group(Group::TestNormal),
        group(Group::TestDefective),
    );
    let mut test = normal.clone();
    for (value, count) in defective {
        *test.entry(value.clone()).or_default() += count;
    }
    let compared = [
        ((Group::TestDefective, defective), (Group::TestNormal, normal)),
        ((Group::Test, &test), (Group::Train, train)),
        ((Group::TestDefective, defective), (Group::Train, train)),
    ];
    let ((one, of_one), (other, of_other)) = compared
        .into_iter()
        .find(|(one, other)| separates(one.1, other.1))?;
    let side = |group, values: &Values| Side {
        group,
        values: values
            .iter()
            .map(|(value, count)| (value.clone(), *count))
            .collect(),
    };
    Some(Finding::ToldApart {
        category,
        by,
        one: side(one, of_one),
        other: side(other, of_other),
    })
}

/// Whether the value of an image tells to which of two groups it belongs, with few exceptions: 19 of 20 are
/// right if each is judged by all the others, so that values that only one image has, as sizes can be, tell
/// nothing. There must be so many images that this is no accident.
fn separates(a: &Values, b: &Values) -> bool {
    const RIGHT: f64 = 0.95;
    // Of all ways to share out the images to the groups.
    const ACCIDENT: f64 = 0.05;
    let [all_a, all_b] = [a, b].map(|values| values.values().sum::<usize>());
    if all_a.min(all_b) < 2 || 1.0 / ways(all_a + all_b, all_a) > ACCIDENT {
        return false;
    }
    let right = |of: &Values, all: usize, others: &Values, all_others: usize| {
        let right = of.iter().filter(|(value, count)| {
            let own = (**count - 1) as f64 / (all - 1) as f64;
            let other = others.get(*value).copied().unwrap_or(0) as f64 / all_others as f64;
            own > other
        });
        right.map(|(_, count)| count).sum::<usize>() as f64 / all as f64
    };
    (right(a, all_a, b, all_b) + right(b, all_b, a, all_a)) / 2.0 >= RIGHT
}

/// In how many ways `some` of `all` can be chosen.
fn ways(all: usize, some: usize) -> f64 {
    (0..some.min(all - some))
        .map(|chosen| (all - chosen) as f64 / (chosen + 1) as f64)
        .product()
}

#[cfg(test)]
mod tests {
    use daf_core::image::codecs::jpeg::JpegEncoder;
    use daf_core::image::{ImageEncoder, RgbImage};

    use super::*;

    fn values(counts: &[(&str, usize)]) -> Values {
        counts
            .iter()
            .map(|(value, count)| ((*value).to_owned(), *count))
            .collect()
    }

    #[test]
    fn groups_are_told_apart_by_what_nearly_all_of_them_have() {
        let png = |count| values(&[("png", count)]);
        assert!(separates(&values(&[("jpeg", 4)]), &png(4)));
        assert!(separates(
            &values(&[("jpeg", 100)]),
            &values(&[("png", 40), ("jpeg", 2)])
        ));
        assert!(!separates(
            &values(&[("jpeg", 100)]),
            &values(&[("png", 40), ("jpeg", 20)])
        ));
        assert!(!separates(&png(100), &png(50)));
        // Two of three could be so by accident.
        assert!(!separates(&values(&[("jpeg", 2)]), &png(2)));
        assert!(separates(&values(&[("jpeg", 2)]), &png(20)));
        assert!(!separates(&values(&[("jpeg", 1)]), &png(200)));
        assert!(!separates(&values(&[]), &png(200)));
    }

    #[test]
    fn a_size_of_its_own_for_every_image_tells_nothing() {
        let own =
            |from: usize| -> Values { (from..from + 50).map(|size| (format!("{size}×9"), 1)).collect() };
        assert!(!separates(&own(0), &own(50)));
    }

    #[test]
    fn quality_and_camera_are_read_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo.jpg");
        let write = |quality, exif: Option<Vec<u8>>| {
            let mut bytes = Vec::new();
            let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
            if let Some(exif) = exif {
                encoder.set_exif_metadata(exif).unwrap();
            }
            encoder.encode_image(&RgbImage::new(20, 20)).unwrap();
            std::fs::write(&path, bytes).unwrap();
            Traces::of(&path).unwrap()
        };
        for quality in [5, 30, 55, 75, 92, 100] {
            let traces = write(quality, None);
            assert_eq!(traces.quality, Some(quality));
            assert!(traces.exif.is_none());
        }
        // Make `Acme`, in four bytes with the final zero left out as some cameras do, and orientation 6.
        let mut entries = b"II*\0\x08\0\0\0\x02\0".to_vec();
        entries.extend(b"\x0f\x01\x02\0\x04\0\0\0Acme");
        entries.extend(b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0");
        let exif = write(75, Some(entries)).exif.unwrap();
        assert_eq!(exif.camera.as_deref(), Some("Acme"));
        assert_eq!(exif.orientation, Some(6));
        let exif = write(75, Some(b"noise".to_vec())).exif.unwrap();
        assert_eq!((exif.camera, exif.orientation), (None, None));
    }
}
