/// How values are weighed around a position.
#[derive(Debug, Clone)]
pub struct Window {
    /// The weights, an odd number.
    pub weights: Vec<f32>,
    /// For every weight and row, the row that row + weight − half of the weights is read from, itself or, beyond the border,
    /// what continues the image: as many as rows and weights together, less one. None is further away than half of the weights.
    pub rows: Vec<usize>,
    /// The same of columns.
    pub columns: Vec<usize>,
}

impl Window {
    /// Rows and columns of the image.
    pub(crate) fn size(&self) -> [usize; 2] {
        [&self.rows, &self.columns].map(|sources| (sources.len() + 1).saturating_sub(self.weights.len()))
    }

    /// The same, of a window that can be used.
    ///
    /// # Panics
    /// If its weights are of even number, or it reads from outside of the image.
    pub(crate) fn checked_size(&self) -> [usize; 2] {
        let [height, width] = self.size();
        assert!(
            self.weights.len() % 2 == 1
                && self.rows.iter().all(|&row| row < height)
                && self.columns.iter().all(|&column| column < width),
            "the window of {} weights reads from outside of {height}×{width} positions",
            self.weights.len()
        );
        [height, width]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Where positions from so many before the first on to as many behind the last are read from: reflected at the edge.
    pub(crate) fn reflected(length: usize, radius: usize) -> Vec<usize> {
        let period = (2 * length - 2).max(1) as i64;
        let fold = |at: i64| at.rem_euclid(period).min(period - at.rem_euclid(period)) as usize;
        let radius = radius as i64;
        (-radius..length as i64 + radius).map(fold).collect()
    }

    #[test]
    #[should_panic(expected = "reads from outside of 1×1 positions")]
    fn a_window_that_reads_from_outside_is_refused() {
        let window = Window {
            weights: vec![0.25, 0.5, 0.25],
            rows: vec![0, 0, 1],
            columns: vec![0, 0, 0],
        };
        window.checked_size();
    }
}
