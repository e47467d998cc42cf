//! Plain colors.

use daf_core::image::{GrayImage, Rgb, RgbImage, imageops};
use daf_core::rand::{Rng, RngExt};
use daf_core::{BoxError, Donors, Fill, Region, Texture, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Random colors, every RGB value as likely as any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Color {
    /// Extent of one color: the whole `anomaly`, each connected `region` of it, or each `pixel`.
    pub granularity: Granularity,
}

/// Extent of a color.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// The whole defect.
    #[default]
    Anomaly,
    /// Each connected part of it; pixels that touch at a corner are connected.
    Region,
    /// Each pixel.
    Pixel,
}

daf_core::register!(Texture: Color = "colour");

#[typetag::serde(name = Color::NAME)]
impl Texture for Color {
    fn draw(
        &self,
        _: &RgbImage,
        region: &Region,
        _: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Fill, BoxError> {
        let bounds = region.bounds();
        Ok(match self.granularity {
            Granularity::Anomaly => Fill::Color(Rgb(rng.random())),
            Granularity::Pixel => {
                let mut patch = RgbImage::new(bounds.width, bounds.height);
                rng.fill_bytes(&mut patch);
                Fill::Patch(patch)
            }
            Granularity::Region => {
                let mut patch = RgbImage::new(bounds.width, bounds.height);
                let mut unpainted =
                    imageops::crop_imm(region.mask(), bounds.x, bounds.y, bounds.width, bounds.height)
                        .to_image();
                // Drawn in the order in which the parts begin.
                for (x, y) in (0..bounds.height).flat_map(|y| (0..bounds.width).map(move |x| (x, y))) {
                    if unpainted.get_pixel(x, y).0[0] > 0 {
                        paint(&mut patch, &mut unpainted, (x, y), Rgb(rng.random()));
                    }
                }
                Fill::Patch(patch)
            }
        })
    }
}

/// Paints the pixels of `unpainted` that are connected with one of them, across corners too, and takes them
/// out of it.
fn paint(patch: &mut RgbImage, unpainted: &mut GrayImage, start: (u32, u32), color: Rgb<u8>) {
    let mut waiting = vec![start];
    while let Some((x, y)) = waiting.pop() {
        match unpainted.get_pixel_mut_checked(x, y) {
            Some(mark) if mark.0[0] > 0 => mark.0 = [0],
            _ => continue,
        }
        patch.put_pixel(x, y, color);
        let around = |at: u32| [at.wrapping_sub(1), at, at.wrapping_add(1)];
        waiting.extend(around(y).into_iter().flat_map(|y| around(x).map(|x| (x, y))));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use daf_core::rand::SeedableRng;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn patch(granularity: Granularity, region: &Region) -> RgbImage {
        let normal = RgbImage::new(region.mask().width(), region.mask().height());
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        match (Color { granularity })
            .draw(&normal, region, &normal, &mut rng)
            .unwrap()
        {
            Fill::Patch(patch) => patch,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn pixels_have_one_color_exactly_if_they_are_connected(
            mask in proptest::collection::vec(prop_oneof![Just(0u8), Just(255)], 17 * 12),
        ) {
            let Some(region) = Region::of(GrayImage::from_raw(17, 12, mask).unwrap()) else { return Ok(()) };
            // Flood fill, the slow way.
            let mut parts: HashMap<(i32, i32), usize> = HashMap::new();
            let inside: HashSet<(i32, i32)> = region
                .mask()
                .enumerate_pixels()
                .filter(|(_, _, m)| m.0[0] > 0)
                .map(|(x, y, _)| (x as i32, y as i32))
                .collect();
            for (number, start) in inside.iter().enumerate() {
                let mut open = vec![*start];
                while let Some((x, y)) = open.pop() {
                    if inside.contains(&(x, y)) && !parts.contains_key(&(x, y)) {
                        parts.insert((x, y), number);
                        open.extend((-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (x + dx, y + dy))));
                    }
                }
            }
            let patch = patch(Granularity::Region, &region);
            let mut colors = HashMap::new();
            for (&(x, y), part) in &parts {
                let bounds = region.bounds();
                let color = patch.get_pixel(x as u32 - bounds.x, y as u32 - bounds.y);
                prop_assert_eq!(*colors.entry(*part).or_insert(*color), *color);
            }
            let distinct: HashSet<_> = colors.values().map(|c| c.0).collect();
            prop_assert_eq!(distinct.len(), colors.len());
        }
    }

    #[test]
    fn each_pixel_may_have_a_color_of_its_own() {
        let region = Region::of(GrayImage::from_pixel(40, 40, [255].into())).unwrap();
        let colors: HashSet<_> = patch(Granularity::Pixel, &region).pixels().map(|p| p.0).collect();
        assert!(colors.len() > 1590, "{}", colors.len());
    }
}
