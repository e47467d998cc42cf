//! Findings about data sets that spoil training or evaluation, each with its sentence.

use std::fmt;
use std::path::PathBuf;

use daf_core::words::listed;
use daf_core::{Item, Split};
use serde::Serialize;

/// Names that a sentence has before it counts the rest.
const SHOWN: usize = 3;

/// Something that spoils training or measuring. Its `Display` is a sentence that names the file; of several
/// the first ones, or with `{:#}` all of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// Listing the split failed, altogether or in part: a missing folder, a mask without its image and the
    /// like. `daf-cli` refuses to train or measure with such a data set.
    Listing {
        /// The split; the first of them if both fail in the same way.
        split: Split,
        /// The data set's words, which name the file or folder.
        reason: String,
    },
    /// An image cannot be opened.
    UnreadableImage {
        /// The file.
        image: PathBuf,
        /// Why not; names the file.
        reason: String,
    },
    /// A mask cannot be opened.
    UnreadableMask {
        /// The image that it belongs to.
        image: PathBuf,
        /// Why not; names the file.
        reason: String,
    },
    /// An image with a defect has no mask, others of its category do: the measures of pixels leave it out.
    NoMask {
        /// The image.
        image: PathBuf,
    },
    /// The mask of a defect marks nothing: all of the image's pixels count as normal.
    EmptyMask {
        /// The image.
        image: PathBuf,
        /// The mask.
        mask: PathBuf,
    },
    /// A normal image has a mask that marks something.
    MaskOfNormal {
        /// The image.
        image: PathBuf,
        /// The mask.
        mask: PathBuf,
    },
    /// A mask has another size than its image. Both are resized alike, which is right only if they show the
    /// same area.
    MaskSize {
        /// The image.
        image: PathBuf,
        /// The mask.
        mask: PathBuf,
        /// Width and height of the image.
        image_size: (u32, u32),
        /// Width and height of the mask.
        mask_size: (u32, u32),
    },
    /// A mask marks more than half of its image, as one does whose black and white are swapped.
    WideMask {
        /// The image.
        image: PathBuf,
        /// The mask.
        mask: PathBuf,
        /// Pixels that it marks.
        marked: usize,
        /// Pixels in all.
        of: usize,
    },
    /// An image is named as the mask of another one: masks that nobody told of are learned from or measured
    /// as images.
    MaskAmongImages {
        /// The image that may be a mask.
        mask: PathBuf,
        /// The image that it would belong to.
        image: PathBuf,
        /// Whether it is black and white, as masks are.
        black_and_white: bool,
    },
    /// An image has hardly any pixels but those of one color.
    OneColor {
        /// The image.
        image: PathBuf,
        /// The color: red, green and blue.
        color: [u8; 3],
        /// Pixels of other colors.
        others: usize,
    },
    /// All images of the data set lie in a small part of the range from black to white.
    SmallRange {
        /// The smallest and the largest level of any image, 0 to 255, as the pipeline reads them.
        levels: (u8, u8),
        /// Bits of the deepest files.
        bits: u16,
    },
    /// An image has values over the one that is white: they are cut off.
    CutOff {
        /// The image.
        image: PathBuf,
        /// Its largest value.
        largest: f64,
        /// The value that is white.
        white: f64,
    },
    /// Images have transparent pixels.
    Transparent {
        /// The images.
        images: Vec<PathBuf>,
        /// Treatment of those pixels.
        shown_as: &'static str,
    },
    /// Images with the same pixels at the same size, whatever their files are.
    Duplicates {
        /// Whether both splits have some of them: what is measured with was learned from.
        leak: bool,
        /// Whether some count as normal and some as defective.
        conflict: bool,
        /// All of them, as listed.
        images: Vec<(Split, PathBuf)>,
    },
    /// An image to measure with is one to learn from, compressed again.
    NearDuplicate {
        /// The image to learn from.
        train: PathBuf,
        /// The image to measure with.
        test: PathBuf,
    },
    /// Nearly all images of a split are the same, as of a camera that hangs: nothing of what is normal can be
    /// learned, and scores of such images do not differ, so that no threshold can be chosen.
    Alike {
        /// The split; its normal images are meant.
        split: Split,
        /// Number of nearly identical images.
        images: usize,
        /// Normal images in all.
        of: usize,
    },
    /// A trait that has nothing to do with defects tells the images of two groups apart.
    ToldApart {
        /// The category whose images are meant; `None` for all.
        category: Option<String>,
        /// The trait that tells them apart.
        by: Trait,
        /// One group.
        one: Side,
        /// The other.
        other: Side,
    },
    /// A kind of defect or a category has a name that means something else in tables.
    ReservedName {
        /// Whether the name is of a kind or of a category.
        of: Named,
        /// The name.
        name: String,
        /// Images that have it.
        images: usize,
    },
    /// Kinds of defects or categories whose names differ in letter case or in spaces around them only: they
    /// count as several, and their pictures lie in the same folder on some file systems.
    SimilarNames {
        /// Whether the names are of kinds or of categories.
        of: Named,
        /// The names.
        names: Vec<String>,
    },
    /// There are too few normal images for the thresholds that are asked for.
    Thresholds {
        /// Their basis, and what follows.
        reason: String,
    },
}

/// A property of an image that has nothing to do with its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trait {
    /// `png`, `jpeg`, `bmp` or `tiff`.
    FileFormat,
    /// Bits per value.
    Depth,
    /// Values per pixel.
    Channels,
    /// Width and height.
    Size,
    /// The quality that JPEG files were written with, as far as their tables tell.
    JpegQuality,
    /// Grey or in color.
    Color,
    /// The camera of the EXIF data, or that there are none.
    Camera,
    /// The orientation of the EXIF data.
    Orientation,
}

impl Trait {
    pub(crate) const ALL: [Self; 8] = [
        Self::FileFormat,
        Self::Depth,
        Self::Channels,
        Self::Size,
        Self::JpegQuality,
        Self::Color,
        Self::Camera,
        Self::Orientation,
    ];

    /// The name in a sentence.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FileFormat => "file format",
            Self::Depth => "bit depth",
            Self::Channels => "number of channels",
            Self::Size => "size",
            Self::JpegQuality => "JPEG quality",
            Self::Color => "presence of color",
            Self::Camera => "EXIF data",
            Self::Orientation => "EXIF orientation",
        }
    }
}

/// Images with a common use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Training images.
    Train,
    /// Test images.
    Test,
    /// Normal test images.
    TestNormal,
    /// Test images with a defect.
    TestDefective,
}

impl Group {
    /// The group of an image that says most.
    pub(crate) const fn of(split: Split, item: &Item) -> Self {
        match split {
            Split::Train => Self::Train,
            Split::Test if item.is_anomalous() => Self::TestDefective,
            Split::Test => Self::TestNormal,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Train => "training images",
            Self::Test => "test images",
            Self::TestNormal => "normal test images",
            Self::TestDefective => "defective test images",
        }
    }
}

/// A group of images and what they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// The group.
    pub group: Group,
    /// Predicates of its images, with their numbers.
    pub values: Vec<(String, usize)>,
}

impl Side {
    /// `all 4 defective test images are png`, or `of 45 defective test images 40 are png and 5 are jpeg`.
    fn sentence(&self, shown: usize) -> String {
        let all: usize = self.values.iter().map(|(_, count)| count).sum();
        let group = self.group.name();
        if let [(value, _)] = &self.values[..] {
            return format!("all {all} {group} are {value}");
        }
        let mut values: Vec<_> = self.values.iter().collect();
        values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let parts: Vec<String> = values
            .iter()
            .map(|(value, count)| format!("{count} are {value}"))
            .collect();
        format!("of {all} {group} {}", listed(&parts, shown))
    }
}

/// Kind of thing that a name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Named {
    /// A kind of defect.
    Kind,
    /// A category.
    Category,
}

impl Named {
    const fn one(self) -> &'static str {
        match self {
            Self::Kind => "kind of defect",
            Self::Category => "category",
        }
    }

    const fn several(self) -> &'static str {
        match self {
            Self::Kind => "kinds of defects",
            Self::Category => "categories",
        }
    }
}

impl Finding {
    /// Whether it keeps the data set from being used as it is; what else is found is for the user to judge.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Listing { .. } | Self::UnreadableImage { .. } | Self::UnreadableMask { .. }
        )
    }

    /// Its kind, as in JSON.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Listing { .. } => "listing",
            Self::UnreadableImage { .. } => "unreadable_image",
            Self::UnreadableMask { .. } => "unreadable_mask",
            Self::NoMask { .. } => "no_mask",
            Self::EmptyMask { .. } => "empty_mask",
            Self::MaskOfNormal { .. } => "mask_of_normal",
            Self::MaskSize { .. } => "mask_size",
            Self::WideMask { .. } => "wide_mask",
            Self::MaskAmongImages { .. } => "mask_among_images",
            Self::OneColor { .. } => "one_color",
            Self::SmallRange { .. } => "small_range",
            Self::CutOff { .. } => "cut_off",
            Self::Transparent { .. } => "transparent",
            Self::Duplicates { .. } => "duplicates",
            Self::NearDuplicate { .. } => "near_duplicate",
            Self::Alike { .. } => "alike",
            Self::ToldApart { .. } => "told_apart",
            Self::ReservedName { .. } => "reserved_name",
            Self::SimilarNames { .. } => "similar_names",
            Self::Thresholds { .. } => "thresholds",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if f.alternate() { usize::MAX } else { SHOWN };
        match self {
            Self::Listing { split, reason } => write!(f, "{} images: {reason}", split.name()),
            Self::UnreadableImage { reason, .. } | Self::UnreadableMask { reason, .. } => f.write_str(reason),
            Self::NoMask { image } => write!(f, "{}: an image of a defect without a mask", image.display()),
            Self::EmptyMask { image, mask } => {
                write!(f, "{}: an empty mask of {}", mask.display(), image.display())
            }
            Self::MaskOfNormal { image, mask } => {
                write!(
                    f,
                    "{}: a mask of the normal image {}",
                    mask.display(),
                    image.display()
                )
            }
            Self::MaskSize {
                image,
                mask,
                image_size,
                mask_size,
            } => write!(
                f,
                "{}: a mask of {}×{} pixels, its image {} has {}×{}",
                mask.display(),
                mask_size.0,
                mask_size.1,
                image.display(),
                image_size.0,
                image_size.1
            ),
            Self::WideMask {
                image,
                mask,
                marked,
                of,
            } => write!(
                f,
                "{}: marks {:.0} % of the image {}; a defect is expected to be white on black",
                mask.display(),
                100.0 * *marked as f64 / *of as f64,
                image.display()
            ),
            Self::MaskAmongImages {
                mask,
                image,
                black_and_white,
            } => {
                let (mask, image) = (mask.display(), image.display());
                if *black_and_white {
                    write!(
                        f,
                        "{mask}: counts as an image, but it is named as the mask of {image}, and black and white"
                    )
                } else {
                    write!(
                        f,
                        "{mask}: counts as an image, but it is named as the mask of {image}"
                    )
                }
            }
            Self::OneColor { image, color, others } => {
                let [red, green, blue] = color;
                let color = if red == green && green == blue {
                    format!("grey level {red}")
                } else {
                    format!("color {red}, {green}, {blue}")
                };
                write!(f, "{}: ", image.display())?;
                match others {
                    0 => write!(f, "every pixel has the {color}"),
                    1 => write!(f, "every pixel but one has the {color}"),
                    others => write!(f, "every pixel but {others} has the {color}"),
                }
            }
            Self::SmallRange {
                levels: (low, high),
                bits,
            } => {
                write!(f, "all images lie between the levels {low} and {high} of 255")?;
                match bits {
                    ..=8 => f.write_str("; `input.depth: [low, high]` stretches them"),
                    _ => write!(f, " as their {bits}-bit values are read; see `input.depth`"),
                }
            }
            Self::CutOff {
                image,
                largest,
                white,
            } => write!(
                f,
                "{}: its values go up to {largest}, those over {white} are cut off; see `input.depth`",
                image.display()
            ),
            Self::Transparent { images, shown_as } => {
                let names: Vec<_> = images.iter().map(|image| image.display()).collect();
                write!(
                    f,
                    "{}: transparent pixels are {shown_as}; see `input.alpha`",
                    listed(&names, shown)
                )
            }
            Self::Duplicates {
                leak,
                conflict,
                images,
            } => {
                let names: Vec<_> = images.iter().map(|(_, image)| image.display()).collect();
                let what = match (*leak, *conflict) {
                    (true, false) => "the same image to learn from and to measure with",
                    (true, true) => "the same image to learn from as normal and to measure with as defective",
                    (false, true) => "the same image once as normal and once as defective",
                    (false, false) => "the same image several times",
                };
                write!(f, "{}: {what}", listed(&names, shown))
            }
            Self::NearDuplicate { train, test } => write!(
                f,
                "{} and {}: nearly the same image to learn from and to measure with, as after another compression",
                train.display(),
                test.display()
            ),
            Self::Alike { split, images, of } => {
                let what = match split {
                    Split::Train => "training images",
                    Split::Test => "normal test images",
                };
                write!(
                    f,
                    "{images} of {of} {what} are nearly identical, as of a camera that hangs: they do not show how normal \
                     images differ, so thresholds mean little"
                )
            }
            Self::ToldApart {
                category,
                by,
                one,
                other,
            } => {
                if let Some(category) = category {
                    write!(f, "{category}: ")?;
                }
                write!(f, "{}, {}: ", one.sentence(shown), other.sentence(shown))?;
                let by = by.name();
                match (one.group, other.group) {
                    (Group::Test, _) => write!(f, "the splits differ in their {by}"),
                    _ => write!(f, "a method can tell them by the {by} alone"),
                }
            }
            Self::ReservedName { of, name, images } => {
                let images = match images {
                    1 => "one image has".to_owned(),
                    images => format!("{images} images have"),
                };
                let meaning = if name.eq_ignore_ascii_case("good") {
                    "what normal images are called"
                } else {
                    "what the row of all images is called"
                };
                write!(
                    f,
                    "{images} the {} `{name}`, which is {meaning}; rename it",
                    of.one()
                )
            }
            Self::SimilarNames { of, names } => {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                write!(
                    f,
                    "the {} {} differ in letter case or spaces only, and count as {}",
                    of.several(),
                    listed(&names, shown),
                    names.len()
                )
            }
            Self::Thresholds { reason } => f.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_ends_in_a_count_unless_all_of_it_is_asked_for() {
        let images: Vec<_> = (0..250)
            .map(|i| (Split::Train, PathBuf::from(format!("{i}.png"))))
            .collect();
        let finding = Finding::Duplicates {
            leak: false,
            conflict: false,
            images,
        };
        assert_eq!(
            finding.to_string(),
            "0.png, 1.png, 2.png and 247 more: the same image several times"
        );
        assert!(format!("{finding:#}").contains("248.png and 249.png: the same"));
    }

    #[test]
    fn what_tells_groups_apart_is_a_sentence() {
        let side = |group, values: &[(&str, usize)]| Side {
            group,
            values: values
                .iter()
                .map(|(name, count)| ((*name).into(), *count))
                .collect(),
        };
        let mut finding = Finding::ToldApart {
            category: None,
            by: Trait::FileFormat,
            one: side(Group::TestDefective, &[("png", 4)]),
            other: side(Group::TestNormal, &[("jpeg", 4)]),
        };
        assert_eq!(
            finding.to_string(),
            "all 4 defective test images are png, all 4 normal test images are jpeg: a method can tell them by the file \
             format alone"
        );
        if let Finding::ToldApart { one, .. } = &mut finding {
            *one = side(Group::TestDefective, &[("jpeg", 2), ("png", 43)]);
        }
        assert!(
            finding
                .to_string()
                .starts_with("of 45 defective test images 43 are png and 2 are jpeg, all 4"),
            "{finding}"
        );
    }
}
