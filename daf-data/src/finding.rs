//! What spoils training or measuring, each with its sentence.

use std::fmt;
use std::path::PathBuf;

use daf_core::Split;
use serde::Serialize;

/// Something that spoils training or measuring. Its `Display` is a sentence that names the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// Listing the split failed, altogether or in part: a missing folder, a mask without its image and the like.
    /// `daf-cli` refuses to train or measure with such a data set.
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
    /// The mask of a defect marks nothing. If it is black all of the image's pixels count as normal, if it is only too dark the
    /// measures of pixels leave the image out.
    EmptyMask {
        /// The image.
        image: PathBuf,
        /// The mask.
        mask: PathBuf,
        /// The largest value in the file; over 0 if the defect is drawn too dark to be taken for one.
        largest: Option<u8>,
    },
    /// A normal image has a mask that marks something.
    MaskOfNormal {
        /// The image.
        image: PathBuf,
        /// The mask.
        mask: PathBuf,
    },
    /// A mask has another size than its image. Both are resized alike, which is right only if they show the same area.
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
    /// Images with the same pixels at the same size, whatever their files are.
    Duplicates {
        /// Whether both splits have some of them: what is measured with was learned from.
        leak: bool,
        /// All of them, as listed.
        images: Vec<(Split, PathBuf)>,
    },
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
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listing { split, reason } => write!(f, "{} images: {reason}", split.name()),
            Self::UnreadableImage { reason, .. } | Self::UnreadableMask { reason, .. } => f.write_str(reason),
            Self::NoMask { image } => write!(f, "{}: an image of a defect without a mask", image.display()),
            Self::EmptyMask { image, mask, largest } => {
                write!(f, "{}: an empty mask of {}", mask.display(), image.display())?;
                match largest {
                    Some(level @ 1..) => write!(
                        f,
                        "; its largest value is {level} of 255, a defect is expected to be white"
                    ),
                    _ => Ok(()),
                }
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
            Self::Duplicates { leak, images } => {
                let names: Vec<_> = images
                    .iter()
                    .map(|(_, image)| image.display().to_string())
                    .collect();
                let what = if *leak {
                    "the same image to learn from and to measure with"
                } else {
                    "the same image several times"
                };
                write!(f, "{}: {what}", names.join(", "))
            }
        }
    }
}
