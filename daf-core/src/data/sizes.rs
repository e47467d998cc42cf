//! Sizes of the images of a data set, without decoding them.

use std::path::Path;

use image::metadata::Orientation;
use image::{GenericImageView, ImageDecoder, ImageReader};

use super::read_header;
use crate::{BoxError, Dataset, Item};

/// Widths and heights of some images of a data set, as the network is shown them: turned by their EXIF orientation.
#[derive(Debug, Default)]
pub struct Sizes {
    /// Width and height in pixels, in the order of the images.
    pub sizes: Vec<(u32, u32)>,
    /// Why the size of others could not be read; each names its file.
    pub unreadable: Vec<BoxError>,
}

/// Drawn images that are opened at most: they have no header.
const DRAWN: usize = 8;

impl Sizes {
    /// Images that are looked at where nothing else is said.
    pub const LOOKED_AT: usize = 200;

    /// The sizes of at most `most` of the images, evenly spread over the list. Headers of files are read; images that are no
    /// files are drawn, a few of them.
    #[must_use]
    pub fn of(dataset: &dyn Dataset, items: &[Item], most: usize) -> Self {
        let drawn = items.first().is_some_and(|item| !item.image.exists());
        let most = if drawn { most.min(DRAWN) } else { most };
        let found: Vec<_> = spread(items, most)
            .into_iter()
            .map(|item| size_of(dataset, item))
            .collect();
        let mut sizes = Self::default();
        for size in found {
            match size {
                Ok(size) => sizes.sizes.push(size),
                Err(error) => sizes.unreadable.push(error),
            }
        }
        sizes
    }

    /// The medians of the widths and of the heights; `None` without images.
    #[must_use]
    pub fn median(&self) -> Option<(u32, u32)> {
        Some((
            self.quantile(0.5, |size| f64::from(size.0))? as u32,
            self.quantile(0.5, |size| f64::from(size.1))? as u32,
        ))
    }

    /// The smallest and the largest width, and the smallest and the largest height; `None` without images.
    #[must_use]
    pub fn range(&self) -> Option<((u32, u32), (u32, u32))> {
        let of = |side: fn(&(u32, u32)) -> u32| {
            let sides = self.sizes.iter().map(side);
            Some((sides.clone().min()?, sides.max()?))
        };
        Some((of(|size| size.0)?, of(|size| size.1)?))
    }

    /// How much the images differ in shape: the 95 % quantile of width divided by height, divided by the 5 % quantile. 1 where
    /// all have one shape, and without images.
    #[must_use]
    pub fn shapes(&self) -> f64 {
        let shape = |size: &(u32, u32)| f64::from(size.0) / f64::from(size.1.max(1));
        match (self.quantile(0.95, shape), self.quantile(0.05, shape)) {
            (Some(high), Some(low)) if low > 0.0 => high / low,
            _ => 1.0,
        }
    }

    fn quantile(&self, share: f64, value: impl Fn(&(u32, u32)) -> f64) -> Option<f64> {
        let mut values: Vec<f64> = self.sizes.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let rank = (share * values.len().saturating_sub(1) as f64).round() as usize;
        values.get(rank).copied()
    }
}

/// At most `most` elements, evenly spread over a list.
pub fn spread<T>(list: &[T], most: usize) -> Vec<&T> {
    let count = list.len().min(most);
    (0..count)
        .map(|number| &list[number * list.len() / count])
        .collect()
}

fn size_of(dataset: &dyn Dataset, item: &Item) -> Result<(u32, u32), BoxError> {
    if !item.image.exists() {
        return Ok(dataset.image(item)?.dimensions());
    }
    let header = read_header(&item.image)?;
    let (width, height) = (header.width, header.height);
    Ok(match lies_on_its_side(&item.image) {
        true => (height, width),
        false => (width, height),
    })
}

/// Whether the EXIF orientation of a file exchanges width and height.
fn lies_on_its_side(path: &Path) -> bool {
    let decoder = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .ok()
        .and_then(|reader| reader.into_decoder().ok());
    let orientation = decoder.and_then(|mut decoder| decoder.orientation().ok());
    matches!(
        orientation,
        Some(
            Orientation::Rotate90
                | Orientation::Rotate270
                | Orientation::Rotate90FlipH
                | Orientation::Rotate270FlipH
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_a_list_are_spread_evenly_over_it() {
        let list: Vec<usize> = (0..100).collect();
        assert_eq!(spread(&list, 4), [&0, &25, &50, &75]);
        assert_eq!(spread(&list[..3], 200), [&0, &1, &2]);
        assert!(spread(&list[..0], 3).is_empty());
        assert!(spread(&list, 0).is_empty());
    }

    #[test]
    fn median_range_and_shapes_are_those_of_the_images() {
        let sizes = |sizes: &[(u32, u32)]| Sizes {
            sizes: sizes.to_vec(),
            unreadable: Vec::new(),
        };
        let some = sizes(&[(10, 20), (30, 20), (20, 20)]);
        assert_eq!(some.median(), Some((20, 20)));
        assert_eq!(some.range(), Some(((10, 30), (20, 20))));
        assert_eq!(some.shapes(), 3.0);
        assert_eq!(sizes(&[]).median(), None);
        assert_eq!(sizes(&[]).range(), None);
        assert_eq!(sizes(&[]).shapes(), 1.0);
    }
}
