//! Images as tensors.

use image::{GrayImage, RgbImage};
use tch::{Device, Kind, Tensor};

use crate::config::{ChannelOrder, Input, Normalization};
use crate::{Error, Result};

/// Mean and standard deviation of ImageNet in RGB, as torchvision's networks were trained with.
const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// N×3×H×W float32 of images of one size, in the channel order and range of `input`; channels-last in memory.
///
/// # Errors
/// [`Error::Shape`] if there is no image or their sizes differ.
pub fn images_to_tensor(images: &[&RgbImage], input: &Input, device: Device) -> Result<Tensor> {
    let bytes = upload(&stack(images, 3)?, device);
    let (mean, deviation) = match input.normalization {
        Normalization::Imagenet => IMAGENET,
        Normalization::None => ([0.0; 3], [1.0; 3]),
    };
    // Filled where they are needed: a copy from the host would have a GPU wait.
    let constant = |values: [f32; 3]| {
        let values = values.map(|value| Tensor::full([1], f64::from(value), (Kind::Float, device)));
        Tensor::cat(&values, 0)
    };
    let values = (bytes.to_kind(Kind::Float) / 255.0 - constant(mean)) / constant(deviation);
    let values = match input.channel_order {
        ChannelOrder::Rgb => values,
        ChannelOrder::Bgr => values.flip([3]),
    };
    Ok(values.permute([0, 3, 1, 2]))
}

/// N×1×H×W float32 in 0..=1 of masks of one size.
///
/// # Errors
/// [`Error::Shape`] if there is no mask or their sizes differ.
pub fn masks_to_tensor(masks: &[&GrayImage], device: Device) -> Result<Tensor> {
    let bytes = upload(&stack(masks, 1)?, device);
    Ok((bytes.to_kind(Kind::Float) / 255.0).permute([0, 3, 1, 2]))
}

/// The values on `device`. To a GPU they go through page-locked memory, from where they are copied while the host goes on;
/// where the system grants none, the host waits for the copy.
pub(super) fn upload(values: &Tensor, device: Device) -> Tensor {
    let pinned = match device {
        // Not `pin_memory`, which warns in every call that its argument, needed in Rust, is deprecated.
        Device::Cuda(_) => values.f_internal_pin_memory(device).ok(),
        _ => None,
    };
    match pinned {
        Some(pinned) => pinned.to_device_(device, values.kind(), true, false),
        None => values.to_device(device),
    }
}

/// N×H×W×C bytes.
fn stack<P: image::Pixel<Subpixel = u8>>(
    images: &[&image::ImageBuffer<P, Vec<u8>>],
    channels: i64,
) -> Result<Tensor> {
    let fault = |found: String| Error::Shape {
        what: "a batch of images".into(),
        expected: "at least one image, all of one size".into(),
        found,
    };
    let first = images.first().ok_or_else(|| fault("none".into()))?;
    let (width, height) = first.dimensions();
    if let Some(other) = images.iter().find(|image| image.dimensions() != (width, height)) {
        return Err(fault(format!(
            "{width}×{height} and {}×{}",
            other.width(),
            other.height()
        )));
    }
    let bytes = images
        .iter()
        .map(|image| &image.as_raw()[..])
        .collect::<Vec<_>>()
        .concat();
    let size = [images.len() as i64, i64::from(height), i64::from(width), channels];
    Ok(Tensor::from_slice(&bytes).view(size))
}
