//! From image files to batches.

#[cfg(feature = "torch")]
mod features;
pub mod files;
pub mod geometry;
#[cfg(feature = "torch")]
mod loader;
mod normalization;
mod read;
mod samples;
#[cfg(feature = "torch")]
mod tensor;

#[cfg(feature = "torch")]
pub use features::FeatureCache;
#[cfg(feature = "torch")]
pub use loader::{Loader, batch};
pub use normalization::Normalization;
pub(crate) use read::resize;
pub use read::{
    Alpha, Depth, FORMATS, Header, InputImage, InputView, Mask, MaskValues, Pages, Reading, Reduction,
    SampleType, Values, read_header, read_image, read_mask, read_mask_any, read_mask_values, read_rgb,
    reduce_rgb, resize_mask, resize_rgb,
};
pub use samples::{Normals, Sample, SampleSettings, Samples};
#[cfg(feature = "torch")]
pub use tensor::{images_to_tensor, masks_to_tensor};
