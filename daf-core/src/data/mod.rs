//! From image files to images of the network's size.

pub mod files;
pub mod geometry;
mod normalization;
mod read;
mod sizes;

pub use normalization::Normalization;
pub(crate) use read::resize;
pub use read::{
    Alpha, Depth, FORMATS, Header, InputImage, InputView, Mask, MaskValues, Pages, Reading, Reduction,
    SampleType, Values, read_header, read_image, read_mask, read_mask_any, read_mask_values, read_rgb,
    reduce_rgb, resize_mask, resize_rgb,
};
pub use sizes::{Sizes, spread};
