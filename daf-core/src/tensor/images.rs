//! Images as tensors.

use image::{GrayImage, RgbImage};
use tch::{Device, Kind, Tensor};

use crate::config::{ChannelOrder, Input};
use crate::{Error, Result};

/// N×3×H×W float32 of images of one size, in the channel order and range of `input`; channels-last in memory.
///
/// # Errors
/// [`Error::Shape`] if there is no image or their sizes differ.
pub fn images_to_tensor(images: &[&RgbImage], input: &Input, device: Device) -> Result<Tensor> {
    let (bytes, size) = stack(images, 3)?;
    let values = if device == Device::Cpu {
        look_up(&bytes, &of_bytes(&every_byte(), input), input.channel_order)?
    } else {
        of_bytes(&upload(&Tensor::from_slice(&bytes), device).view([-1, 3]), input)
    };
    Ok(values.view(size).permute([0, 3, 1, 2]))
}

/// Values of pixels from their bytes in RGB, both N×3.
fn of_bytes(bytes: &Tensor, input: &Input) -> Tensor {
    let [mean, deviation] = input.normalization.mean_and_deviation();
    // Filled where they are needed: a copy from the host would have a GPU wait.
    let constant = |values: [f32; 3]| {
        let values = values.map(|value| Tensor::full([1], f64::from(value), (Kind::Float, bytes.device())));
        Tensor::cat(&values, 0)
    };
    let values = (bytes.to_kind(Kind::Float) / 255.0 - constant(mean)) / constant(deviation);
    match input.channel_order {
        ChannelOrder::Rgb => values,
        ChannelOrder::Bgr => values.flip([1]),
    }
}

/// 256×3 bytes: each one in every channel.
fn every_byte() -> Tensor {
    Tensor::arange(256, (Kind::Uint8, Device::Cpu))
        .unsqueeze(1)
        .repeat([1, 3])
}

/// Values of bytes in RGB from those of [`every_byte`], a few times as fast as working each out.
fn look_up(bytes: &[u8], values: &Tensor, order: ChannelOrder) -> Result<Tensor> {
    let values = Vec::<f32>::try_from(values.reshape(-1))?;
    let (values, _) = values.as_chunks::<3>();
    let of = |[x, y, z]: [u8; 3]| {
        [
            values[usize::from(x)][0],
            values[usize::from(y)][1],
            values[usize::from(z)][2],
        ]
    };
    let pixels = bytes.as_chunks().0.iter();
    let found: Vec<[f32; 3]> = match order {
        ChannelOrder::Rgb => pixels.map(|rgb| of(*rgb)).collect(),
        ChannelOrder::Bgr => pixels.map(|&[r, g, b]| of([b, g, r])).collect(),
    };
    Ok(Tensor::from_slice(found.as_flattened()))
}

/// N×1×H×W float32 in 0..=1 of masks of one size.
///
/// # Errors
/// [`Error::Shape`] if there is no mask or their sizes differ.
pub fn masks_to_tensor(masks: &[&GrayImage], device: Device) -> Result<Tensor> {
    let (bytes, size) = stack(masks, 1)?;
    let bytes = upload(&Tensor::from_slice(&bytes), device);
    Ok((bytes.to_kind(Kind::Float) / 255.0)
        .view(size)
        .permute([0, 3, 1, 2]))
}

/// The values on `device`. To a GPU they go through page-locked memory, from where they are copied while the host goes on;
/// where the system grants none, the host waits for the copy.
pub fn upload(values: &Tensor, device: Device) -> Tensor {
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

/// Bytes of N×H×W×C values, and that shape.
fn stack<P: image::Pixel<Subpixel = u8>>(
    images: &[&image::ImageBuffer<P, Vec<u8>>],
    channels: i64,
) -> Result<(Vec<u8>, [i64; 4])> {
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
    Ok((bytes, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Normalization;

    #[test]
    fn values_that_are_looked_up_are_those_worked_out() {
        let image = RgbImage::from_fn(37, 21, |x, y| {
            image::Rgb([x * 7, y * 12, x + 11 * y].map(|value| (value % 256) as u8))
        });
        for normalization in [
            Normalization::Imagenet,
            Normalization::Clip,
            Normalization::Centered,
            Normalization::None,
        ] {
            for channel_order in [ChannelOrder::Rgb, ChannelOrder::Bgr] {
                let input = Input {
                    normalization,
                    channel_order,
                    ..Input::default()
                };
                let found = images_to_tensor(&[&image, &image], &input, Device::Cpu).unwrap();
                let bytes = Tensor::from_slice(image.as_raw()).view([-1, 3]);
                let expected = of_bytes(&bytes, &input).view([21, 37, 3]).permute([2, 0, 1]);
                assert_eq!(found.size(), [2, 3, 21, 37]);
                assert_eq!(found.get(1), expected);
            }
        }
    }
    #[test]
    fn ranges_are_those_that_networks_were_trained_with() {
        let image = RgbImage::from_pixel(1, 1, image::Rgb([0, 127, 255]));
        let of = |normalization| {
            let input = Input {
                normalization,
                ..Input::default()
            };
            let values = images_to_tensor(&[&image], &input, Device::Cpu).unwrap();
            Vec::<f32>::try_from(values.reshape(-1)).unwrap()
        };
        let half = 127.0 / 255.0;
        let imagenet = [-0.485 / 0.229, (half - 0.456) / 0.224, (1.0 - 0.406) / 0.225];
        for (normalization, expected) in [
            (Normalization::Auto, imagenet),
            (Normalization::Imagenet, imagenet),
            (
                Normalization::Clip,
                [
                    -0.481_454_66 / 0.268_629_54,
                    (half - 0.457_827_5) / 0.261_302_58,
                    (1.0 - 0.408_210_73) / 0.275_777_11,
                ],
            ),
            (Normalization::Centered, [-127.0 / 128.0, 0.0, 1.0]),
            (Normalization::None, [0.0, half, 1.0]),
        ] {
            for (found, expected) in of(normalization).into_iter().zip(expected) {
                assert!(
                    (f64::from(found) - expected).abs() < 1e-6,
                    "{normalization:?}: {found} {expected}"
                );
            }
        }
    }
}
