//! Header of an image file, and what decoders of several formats share.

/// Memory limit of one decoded image: 8192×8192 pixels of four 16-bit channels, and the decoder's own needs.
pub(super) const MAX_BYTES: u64 = 1 << 30;

/// Image header: format, size, channels, depth.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// `png`, `jpeg`, `bmp`, `tiff` or `webp`, told from the content.
    pub format: &'static str,
    /// Pixels from left to right as stored, before any turn by the EXIF orientation.
    pub width: u32,
    /// Pixels from top to bottom as stored.
    pub height: u32,
    /// Values per pixel, alpha included; those behind a palette, not its index.
    pub channels: u8,
    /// Bits per value.
    pub bits: u16,
    /// Interpretation of the bits of a value.
    pub sample: SampleType,
    /// Pages of a TIFF file, reduced copies left out; frames of an animation; otherwise 1.
    pub pages: usize,
}

/// Interpretation of the bits of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleType {
    /// Integers from 0 on.
    Unsigned,
    /// Integers of either sign.
    Signed,
    /// Floating-point numbers.
    Float,
}

/// Refuses an image whose pixels would take more memory than [`MAX_BYTES`].
pub(super) fn check_size(width: u32, height: u32, bytes: u64) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("expected an image with pixels, found {width}×{height}"));
    }
    if bytes > MAX_BYTES {
        return Err(format!(
            "expected an image of at most {} MiB when decoded, found {width}×{height} pixels with {} MiB; \
             reduce or cut it first",
            MAX_BYTES >> 20,
            bytes >> 20
        ));
    }
    Ok(())
}

/// RGB of cyan, magenta, yellow and black, given as what each of them leaves of the light.
pub(super) fn rgb_of_inks([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    [c, m, y].map(|left| ((u32::from(left) * u32::from(k) + 127) / 255) as u8)
}

/// RGB of YCbCr over the full range, with the coefficients of JFIF.
pub(super) fn rgb_of_ycbcr([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [
        y + 1.402 * cr,
        y - 0.344_136 * cb - 0.714_136 * cr,
        y + 1.772 * cb,
    ]
    .map(|value| value.round() as u8)
}
