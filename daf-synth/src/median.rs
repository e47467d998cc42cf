//! Median filters of masks and of small integers.

use crate::scratch::Scratch;

/// Median of a mask of 0 and 1 over squares of `2·radius + 1` pixels, radius up to 7. Borders are replicated, as OpenCV's
/// `medianBlur` does.
///
/// The median of zeros and ones is the majority, so a running sum along columns and a short one along rows are all it takes.
pub(crate) fn majority(mask: &mut [u8], width: usize, radius: usize) {
    debug_assert!(radius <= 7, "sums of a square must fit into 8 bit");
    if width == 0 || mask.is_empty() {
        return;
    }
    let height = mask.len() / width;
    let side = 2 * radius + 1;
    let half = (side * side / 2) as u8;
    let source: Scratch<u8> = mask.iter().copied().collect();
    let line = |y: isize| {
        let y = y.clamp(0, height as isize - 1) as usize;
        &source[y * width..][..width]
    };
    let reach = radius as isize;
    // Sums of columns, with replicated borders.
    let mut sums = Scratch::of(0u8, width + 2 * radius);
    for y in -reach..=reach {
        sums[radius..][..width]
            .iter_mut()
            .zip(line(y))
            .for_each(|(sum, m)| *sum += m);
    }
    for (y, row) in (0isize..).zip(mask.chunks_exact_mut(width)) {
        let (first, last) = (sums[radius], sums[radius + width - 1]);
        sums[..radius].fill(first);
        sums[radius + width..].fill(last);
        row.copy_from_slice(&sums[..width]);
        for shift in 1..side {
            row.iter_mut()
                .zip(&sums[shift..])
                .for_each(|(total, sum)| *total += sum);
        }
        row.iter_mut().for_each(|total| *total = u8::from(*total > half));
        let (leaving, coming) = (line(y - reach), line(y + reach + 1));
        for ((sum, leaving), coming) in sums[radius..][..width].iter_mut().zip(leaving).zip(coming) {
            *sum = *sum + coming - leaving;
        }
    }
}

/// Median of values up to `most` over disks, at the pixels that are asked for.
///
/// A histogram slides along each row: a step takes out one rim of the disk and puts in the other.
pub(crate) struct DiskMedian {
    radius: usize,
    /// Half-width of the disk in each of its rows.
    reach: Vec<usize>,
    counts: Vec<u16>,
}

impl DiskMedian {
    pub(crate) fn new(radius: usize, most: u16) -> Self {
        let offset = |row: usize| row.abs_diff(radius);
        let reach = (0..=2 * radius)
            .map(|row| (radius * radius - offset(row) * offset(row)).isqrt())
            .collect();
        Self {
            radius,
            reach,
            counts: vec![0; usize::from(most) + 1],
        }
    }

    /// Calls `found` with the index of each pixel of the mask and the median around it. `values` has `width` columns;
    /// values around it count as the nearest one in it.
    pub(crate) fn apply(
        &mut self,
        values: &[u16],
        width: usize,
        mask: &[u8],
        mut found: impl FnMut(usize, u16),
    ) {
        if width == 0 {
            return;
        }
        let height = values.len() / width;
        let radius = self.radius;
        let size: usize = self.reach.iter().map(|reach| 2 * reach + 1).sum();
        let middle = (size / 2) as u16;
        let last = self.counts.len() - 1;
        // Replicated borders: the disk is then always inside.
        let stride = width + 2 * radius;
        let mut padded = Scratch::of(0, stride * (height + 2 * radius));
        for (y, padded) in padded.chunks_exact_mut(stride).enumerate() {
            let row = &values[y.saturating_sub(radius).min(height - 1) * width..][..width];
            padded[..radius].fill(row[0]);
            padded[radius..][..width].copy_from_slice(row);
            padded[radius + width..].fill(row[width - 1]);
        }
        let value = |at: usize| usize::from(padded[at]).min(last);
        for (y, row) in mask.chunks_exact(width).enumerate() {
            let Some(first) = row.iter().position(|m| *m > 0) else {
                continue;
            };
            let end = row.iter().rposition(|m| *m > 0).unwrap_or(first);
            self.counts.fill(0);
            for (down, reach) in self.reach.iter().enumerate() {
                let centre = (y + down) * stride + first + radius;
                (centre - reach..=centre + reach).for_each(|at| self.counts[value(at)] += 1);
            }
            // `below` values are less than `median`; the median is right where `below ≤ middle < below + its count`.
            let (mut median, mut below) = (0usize, 0u16);
            for (x, masked) in row.iter().enumerate().take(end + 1).skip(first) {
                while below + self.counts[median] <= middle {
                    below += self.counts[median];
                    median += 1;
                }
                while below > middle {
                    median -= 1;
                    below -= self.counts[median];
                }
                if *masked > 0 {
                    found(y * width + x, median as u16);
                }
                if x < end {
                    for (down, reach) in self.reach.iter().enumerate() {
                        let centre = (y + down) * stride + x + radius;
                        let (old, new) = (value(centre - reach), value(centre + reach + 1));
                        self.counts[old] -= 1;
                        self.counts[new] += 1;
                        below -= u16::from(old < median);
                        below += u16::from(new < median);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted_median(mut values: Vec<u16>) -> u16 {
        values.sort_unstable();
        values[values.len() / 2]
    }

    fn around(
        values: &[u16],
        width: usize,
        x: usize,
        y: usize,
        inside: impl Fn(isize, isize) -> bool,
        radius: isize,
    ) -> Vec<u16> {
        let height = values.len() / width;
        let mut found = Vec::new();
        for (dy, dx) in (-radius..=radius).flat_map(|dy| (-radius..=radius).map(move |dx| (dy, dx))) {
            if inside(dx, dy) {
                let x = (x as isize + dx).clamp(0, width as isize - 1) as usize;
                let y = (y as isize + dy).clamp(0, height as isize - 1) as usize;
                found.push(values[y * width + x]);
            }
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn majority_is_the_median_of_the_square(
            width in 1usize..20, height in 1usize..20, radius in 1usize..=3,
            bits in prop::collection::vec(0u8..2, 400),
        ) {
            let mask = &bits[..width * height];
            let values: Vec<_> = mask.iter().map(|m| u16::from(*m)).collect();
            let mut found = mask.to_vec();
            majority(&mut found, width, radius);
            for (i, found) in found.into_iter().enumerate() {
                let square = around(&values, width, i % width, i / width, |_, _| true, radius as isize);
                prop_assert_eq!(u16::from(found), sorted_median(square));
            }
        }

        #[test]
        fn the_sliding_histogram_finds_the_median_of_the_disk(
            width in 1usize..20, height in 1usize..20, radius in 1usize..=5,
            values in prop::collection::vec(0u16..=765, 400), bits in prop::collection::vec(0u8..2, 400),
        ) {
            let (values, mask) = (&values[..width * height], &bits[..width * height]);
            let mut seen = 0;
            let mut wrong = Vec::new();
            DiskMedian::new(radius, 765).apply(values, width, mask, |i, median| {
                seen += 1;
                let reach = radius as isize;
                let disk = around(
                    values, width, i % width, i / width,
                    |dx, dy| dx * dx + dy * dy <= reach * reach, reach,
                );
                if mask[i] == 0 || median != sorted_median(disk) {
                    wrong.push(i);
                }
            });
            prop_assert!(wrong.is_empty(), "{wrong:?}");
            prop_assert_eq!(seen, mask.iter().filter(|m| **m > 0).count());
        }
    }

    #[test]
    fn nothing_is_filtered_to_nothing() {
        majority(&mut [], 0, 3);
        DiskMedian::new(5, 765).apply(&[], 0, &[], |_, _| panic!());
    }
}
