use daf_core::Synthesis;
use daf_core::image::RgbImage;
use daf_core::overlay::{outline, sheet, shrunk};

use super::Sample;

/// Training samples, three pictures each: the normal image, what was made of it, and that with the outline of the mask. An
/// image that was left as it is stands there three times.
#[must_use]
pub fn picture(samples: &[Sample]) -> RgbImage {
    /// Pixels of the longer side of a picture.
    const SIDE: u32 = 192;
    let pictures = |sample: &Sample| {
        let normal = shrunk(&*sample.normal, SIDE);
        let Some(Synthesis::Anomalous(synthetic)) = &sample.outcome else {
            return [normal.clone(), normal.clone(), normal];
        };
        let image = shrunk(&synthetic.image, SIDE);
        let mask = shrunk(&synthetic.mask, SIDE);
        let mut outlined = image.clone();
        outline(&mut outlined, &mask);
        [normal, image, outlined]
    };
    let pictures: Vec<RgbImage> = samples.iter().flat_map(pictures).collect();
    // About as wide as high.
    let per_row = ((samples.len() as f64 / 3.0).sqrt().ceil() as usize).max(1);
    let rows: Vec<Vec<RgbImage>> = pictures.chunks(3 * per_row).map(<[_]>::to_vec).collect();
    sheet(&rows)
}
