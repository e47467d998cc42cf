//! Median filters of masks and of small integers.

/// Median of a mask of 0 and 1 over squares of `2·radius + 1` pixels, radius up to 7. Borders are replicated,
/// as OpenCV's `medianBlur` does.
///
/// The median of zeros and ones is the majority: sums along rows and then along columns are all it takes.
pub(crate) fn majority(mask: &mut [u8], width: usize, radius: usize) {
    debug_assert!(radius <= 7, "sums of a square must fit into 8 bit");
    if width == 0 || mask.is_empty() {
        return;
    }
    let height = mask.len() / width;
    let side = 2 * radius + 1;
    let half = (side * side / 2) as u8;
    let mut sums = Vec::with_capacity(mask.len());
    let mut padded = vec![0; width + 2 * radius];
    for row in mask.chunks_exact(width) {
        padded[..radius].fill(row[0]);
        padded[radius..][..width].copy_from_slice(row);
        padded[radius + width..].fill(row[width - 1]);
        sums.extend(padded.windows(side).map(|window| window.iter().sum::<u8>()));
    }
    for (y, row) in mask.chunks_exact_mut(width).enumerate() {
        row.fill(0);
        for line in y..y + side {
            let line = line.saturating_sub(radius).min(height - 1);
            for (total, sum) in row.iter_mut().zip(&sums[line * width..]) {
                *total += sum;
            }
        }
        row.iter_mut().for_each(|total| *total = u8::from(*total > half));
    }
}

/// Median over a disk around the pixel (x, y) of `values`, which has `width` columns. Borders are replicated.
pub(crate) fn disk_median(values: &[u16], width: usize, (x, y): (usize, usize), radius: usize) -> u16 {
    let height = values.len() / width;
    let mut disk = Vec::with_capacity((2 * radius + 1).pow(2));
    for row in 0..=2 * radius {
        let down = row.abs_diff(radius);
        let reach = (radius * radius - down * down).isqrt();
        let line = &values[(y + row).saturating_sub(radius).min(height - 1) * width..][..width];
        disk.extend(
            (x + radius - reach..=x + radius + reach).map(|x| line[x.saturating_sub(radius).min(width - 1)]),
        );
    }
    let middle = disk.len() / 2;
    *disk.select_nth_unstable(middle).1
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
        fn the_median_of_a_disk_is_that_of_its_values(
            width in 1usize..20, height in 1usize..20, radius in 1usize..=5,
            values in prop::collection::vec(0u16..=765, 400),
        ) {
            let values = &values[..width * height];
            for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
                let reach = radius as isize;
                let inside = |dx, dy| dx * dx + dy * dy <= reach * reach;
                let disk = around(values, width, x, y, inside, reach);
                prop_assert_eq!(disk_median(values, width, (x, y), radius), sorted_median(disk));
            }
        }
    }

    #[test]
    fn nothing_is_filtered_to_nothing() {
        majority(&mut [], 0, 3);
    }
}
