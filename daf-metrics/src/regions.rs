use crate::label::Label;
use crate::unavailable::Unavailable;

/// The connected regions of a mask: 8-connectivity, so pixels touching at a corner belong together (as
/// `skimage.measure.label` does by default).
///
/// ```
/// use daf_metrics::Regions;
///
/// let regions = Regions::of(&[1u8, 0, 0, 1, 0, 1, 0, 0], 4, 2)?;
/// assert_eq!(regions.labels(), [1, 0, 0, 2, 0, 1, 0, 0]);
/// assert_eq!(regions.areas(), [2, 1]);
/// # Ok::<(), daf_metrics::Unavailable>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regions {
    labels: Vec<u32>,
    areas: Vec<u32>,
}

impl Regions {
    /// Labels the regions of a row-major mask in two passes with a union-find.
    ///
    /// # Errors
    ///
    /// [`Unavailable::ShapeMismatch`] if the mask does not have `width` × `height` elements,
    /// [`Unavailable::TooLarge`] beyond `u32::MAX` pixels.
    pub fn of<L: Label>(mask: &[L], width: usize, height: usize) -> Result<Self, Unavailable> {
        check_shape(mask.len(), width, height)?;
        if mask.is_empty() {
            // Perhaps of no width and any height.
            return Ok(Self {
                labels: Vec::new(),
                areas: Vec::new(),
            });
        }
        let mut labels = vec![0u32; mask.len()];
        // Provisional labels; a root is the smallest label of its set, hence parent[l] <= l throughout.
        let mut parent = vec![0u32];
        for y in 0..height {
            let (above, row) = labels.split_at_mut(y * width);
            let above = if y == 0 {
                &[][..]
            } else {
                &above[(y - 1) * width..]
            };
            let at = |x: usize| above.get(x).copied().unwrap_or(0);
            let mut west = 0;
            for (x, pixel) in mask[y * width..][..width].iter().enumerate() {
                let mut label = 0;
                if pixel.is_anomalous() {
                    let north = at(x);
                    if north != 0 {
                        // The other three touch the northern pixel and are already joined to it.
                        label = north;
                    } else {
                        let north_west = if x == 0 { 0 } else { at(x - 1) };
                        let left = if west != 0 { west } else { north_west };
                        let north_east = at(x + 1);
                        label = match (left, north_east) {
                            (0, 0) => {
                                let new = parent.len() as u32;
                                parent.push(new);
                                new
                            }
                            (0, only) | (only, 0) => only,
                            (a, b) => union(&mut parent, a, b),
                        };
                    }
                    row[x] = label;
                }
                west = label;
            }
        }
        // Roots in the order of their first pixel become 1, 2, 3, …; a parent is always renumbered before its
        // child.
        let mut count = 0;
        for l in 1..parent.len() {
            let p = parent[l] as usize;
            parent[l] = if p == l {
                count += 1;
                count
            } else {
                parent[p]
            };
        }
        let mut areas = vec![0u32; count as usize];
        if count > 0 {
            for label in labels.iter_mut().filter(|l| **l != 0) {
                *label = parent[*label as usize];
                areas[*label as usize - 1] += 1;
            }
        }
        Ok(Self { labels, areas })
    }

    /// The label of every pixel, row by row: 0 outside of any region, else from 1 in the order of first
    /// appearance.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Pixels of each region; label `l` is at `l - 1`.
    pub fn areas(&self) -> &[u32] {
        &self.areas
    }
}

/// Whether `elements` make a map of this size.
pub(crate) fn check_shape(elements: usize, width: usize, height: usize) -> Result<(), Unavailable> {
    if width.checked_mul(height) != Some(elements) {
        return Err(Unavailable::ShapeMismatch {
            elements,
            width,
            height,
        });
    }
    u32::try_from(elements).map_or(Err(Unavailable::TooLarge), |_| Ok(()))
}

fn union(parent: &mut [u32], a: u32, b: u32) -> u32 {
    let (a, b) = (root(parent, a), root(parent, b));
    let (low, high) = (a.min(b), a.max(b));
    parent[high as usize] = low;
    low
}

fn root(parent: &mut [u32], mut label: u32) -> u32 {
    while parent[label as usize] != label {
        let up = parent[label as usize];
        parent[label as usize] = parent[up as usize];
        label = up;
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flood_fill(mask: &[bool], width: usize, height: usize) -> (Vec<u32>, Vec<u32>) {
        let (mut labels, mut areas) = (vec![0; mask.len()], Vec::new());
        for start in 0..mask.len() {
            if !mask[start] || labels[start] != 0 {
                continue;
            }
            areas.push(0);
            labels[start] = areas.len() as u32;
            let mut open = vec![start];
            while let Some(p) = open.pop() {
                *areas.last_mut().unwrap() += 1;
                for q in 0..mask.len() {
                    let near = (p % width).abs_diff(q % width) <= 1 && (p / width).abs_diff(q / width) <= 1;
                    if near && mask[q] && labels[q] == 0 {
                        labels[q] = labels[start];
                        open.push(q);
                    }
                }
            }
        }
        assert_eq!(mask.len(), width * height);
        (labels, areas)
    }

    #[test]
    fn corners_connect_and_row_ends_do_not() {
        let diagonal = Regions::of(&[1u8, 0, 0, 0, 1, 0, 0, 0, 1], 3, 3).unwrap();
        assert_eq!(diagonal.areas(), [3]);
        let wrapped = Regions::of(&[0u8, 0, 1, 1, 0, 0], 3, 2).unwrap();
        assert_eq!(wrapped.areas(), [1, 1]);
    }

    #[test]
    fn branches_that_meet_late_are_one_region() {
        #[rustfmt::skip]
        let mask = [
            1u8, 0, 1, 0, 1,
            1,   0, 1, 0, 1,
            0,   1, 0, 1, 0,
            1,   0, 0, 0, 0,
        ];
        assert_eq!(Regions::of(&mask, 5, 4).unwrap().areas(), [9]);
    }

    #[test]
    fn empty_masks_and_wrong_sizes() {
        assert!(Regions::of::<u8>(&[], 0, usize::MAX).unwrap().areas().is_empty());
        assert!(Regions::of(&[0u8; 6], 3, 2).unwrap().areas().is_empty());
        let wrong = Err(Unavailable::ShapeMismatch {
            elements: 5,
            width: 3,
            height: 2,
        });
        assert_eq!(Regions::of(&[0u8; 5], 3, 2), wrong);
        assert!(Regions::of(&[0u8; 5], usize::MAX, 2).is_err());
    }

    proptest! {
        #[test]
        fn labels_equal_a_flood_fill(
            (width, mask) in (1usize..14, 0usize..14, 1u32..10).prop_flat_map(|(w, h, density)| (
                Just(w), prop::collection::vec((0u32..10).prop_map(move |v| v < density), w * h),
            )),
        ) {
            let height = mask.len() / width;
            let regions = Regions::of(&mask, width, height).unwrap();
            let (labels, areas) = flood_fill(&mask, width, height);
            prop_assert_eq!(regions.labels(), labels);
            prop_assert_eq!(regions.areas(), areas);
        }
    }
}
