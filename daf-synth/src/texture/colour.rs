//! Plain colours.

use daf_core::image::{Rgb, RgbImage};
use daf_core::rand::{Rng, RngExt};
use daf_core::{BoxError, Donors, Fill, Region, Texture, typetag};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::runs::{Run, of_region};

/// Random colours, every RGB value as likely as any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Colour {
    /// What has one colour: the whole `anomaly`, each connected `region` of it, or each `pixel`.
    pub granularity: Granularity,
}

/// What has one colour.
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

daf_core::register!(Texture: Colour = "colour");

#[typetag::serde(name = Colour::NAME)]
impl Texture for Colour {
    fn draw(
        &self,
        _: &RgbImage,
        region: &Region,
        _: &dyn Donors,
        rng: &mut dyn Rng,
    ) -> Result<Fill, BoxError> {
        let bounds = region.bounds();
        Ok(match self.granularity {
            Granularity::Anomaly => Fill::Colour(Rgb(rng.random())),
            Granularity::Pixel => {
                let mut patch = RgbImage::new(bounds.width, bounds.height);
                rng.fill_bytes(&mut patch);
                Fill::Patch(patch)
            }
            Granularity::Region => {
                let runs: Vec<_> = of_region(region).collect();
                let mut patch = RgbImage::new(bounds.width, bounds.height);
                let mut colours = vec![None; runs.len()];
                for (run, part) in runs.iter().zip(connected(&runs)) {
                    // Drawn in the order in which the parts begin.
                    let colour: [u8; 3] = *colours[part].get_or_insert_with(|| rng.random());
                    let within = Run {
                        y: run.y - bounds.y as usize,
                        start: run.start - bounds.x as usize,
                        end: run.end - bounds.x as usize,
                    };
                    for pixel in patch.as_mut()[within.bytes(bounds.width as usize)].chunks_exact_mut(3) {
                        pixel.copy_from_slice(&colour);
                    }
                }
                Fill::Patch(patch)
            }
        })
    }
}

/// For each run the number of the first run that it is connected with, across corners too.
fn connected(runs: &[Run]) -> Vec<usize> {
    fn root(parents: &mut [usize], mut run: usize) -> usize {
        while parents[run] != run {
            parents[run] = parents[parents[run]];
            run = parents[run];
        }
        run
    }
    let mut parents: Vec<_> = (0..runs.len()).collect();
    let mut above = 0;
    for (i, run) in runs.iter().enumerate() {
        // Runs of the row above that end before this one begins end before all that follow in its row.
        while runs[above].y + 1 < run.y || runs[above].y + 1 == run.y && runs[above].end < run.start {
            above += 1;
        }
        for (near, other) in runs.iter().enumerate().take(i).skip(above) {
            if other.y == run.y || other.start > run.end {
                break;
            }
            let (a, b) = (root(&mut parents, near), root(&mut parents, i));
            parents[a.max(b)] = a.min(b);
        }
    }
    (0..runs.len()).map(|run| root(&mut parents, run)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use daf_core::image::GrayImage;
    use daf_core::rand::SeedableRng;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn patch(granularity: Granularity, region: &Region) -> RgbImage {
        let normal = RgbImage::new(region.mask().width(), region.mask().height());
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        match (Colour { granularity })
            .draw(&normal, region, &normal, &mut rng)
            .unwrap()
        {
            Fill::Patch(patch) => patch,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn pixels_have_one_colour_exactly_if_they_are_connected(
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
            let mut colours = HashMap::new();
            for (&(x, y), part) in &parts {
                let bounds = region.bounds();
                let colour = patch.get_pixel(x as u32 - bounds.x, y as u32 - bounds.y);
                prop_assert_eq!(*colours.entry(*part).or_insert(*colour), *colour);
            }
            let distinct: HashSet<_> = colours.values().map(|c| c.0).collect();
            prop_assert_eq!(distinct.len(), colours.len());
        }
    }

    #[test]
    fn each_pixel_may_have_a_colour_of_its_own() {
        let region = Region::of(GrayImage::from_pixel(40, 40, [255].into())).unwrap();
        let colours: HashSet<_> = patch(Granularity::Pixel, &region).pixels().map(|p| p.0).collect();
        assert!(colours.len() > 1590, "{}", colours.len());
    }
}
