/// Separable filter over an image, with the continuation of the image beyond its border.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Weights along rows and columns; their number is odd.
    pub weights: Vec<f32>,
    /// Source rows: `rows[y + k]` is the row that weight `k` of row `y` reads, which within the image is
    /// `y + k − weights.len() / 2` and beyond its border the row that continues it. One fewer than rows and
    /// weights together; none lies further from `y` than half of the weights.
    pub rows: Vec<usize>,
    /// Source columns, likewise.
    pub columns: Vec<usize>,
}

impl Filter {
    /// Rows and columns of the image.
    pub(crate) fn size(&self) -> [usize; 2] {
        [&self.rows, &self.columns].map(|sources| (sources.len() + 1).saturating_sub(self.weights.len()))
    }

    /// [`size`](Self::size) of a valid filter.
    ///
    /// # Panics
    /// If the number of weights is even, or a source lies outside of the image.
    pub(crate) fn checked_size(&self) -> [usize; 2] {
        let [height, width] = self.size();
        assert!(
            self.weights.len() % 2 == 1
                && self.rows.iter().all(|&row| row < height)
                && self.columns.iter().all(|&column| column < width),
            "the filter of {} weights reads from outside of {height}×{width} positions",
            self.weights.len()
        );
        [height, width]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Sources of `length` positions and of `radius` more on both sides, reflected at the edge.
    pub(crate) fn reflected(length: usize, radius: usize) -> Vec<usize> {
        let period = (2 * length - 2).max(1) as i64;
        let fold = |at: i64| at.rem_euclid(period).min(period - at.rem_euclid(period)) as usize;
        let radius = radius as i64;
        (-radius..length as i64 + radius).map(fold).collect()
    }

    #[test]
    #[should_panic(expected = "reads from outside of 1×1 positions")]
    fn a_filter_that_reads_from_outside_is_refused() {
        let filter = Filter {
            weights: vec![0.25, 0.5, 0.25],
            rows: vec![0, 0, 1],
            columns: vec![0, 0, 0],
        };
        filter.checked_size();
    }
}
