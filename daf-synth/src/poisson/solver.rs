//! The discrete Poisson equation on a rectangle, zero around it.

use std::f64::consts::PI;

/// Channels of a pixel.
const CHANNELS: usize = 3;

/// Solves `u(x−1,y) + u(x+1,y) + u(x,y−1) + u(x,y+1) − 4u(x,y) = f(x,y)` with u = 0 around the rectangle.
///
/// The sine transform (DST-I) along the shorter side makes the equation one tridiagonal system for each
/// frequency along the longer side, so one transform and its inverse are enough where a two-dimensional one
/// would need two of each.
#[derive(Debug)]
pub(super) struct Solver {
    columns: usize,
    rows: usize,
    /// f, then u: lines along the shorter side, channel by channel.
    lines: Vec<f32>,
}

impl Solver {
    /// A rectangle of this size, at least 1 × 1, where f is 0.
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        Self {
            columns,
            rows,
            lines: vec![0.0; columns * rows * CHANNELS],
        }
    }

    /// Number and length of the lines of a channel.
    fn sides(&self) -> (usize, usize) {
        (self.columns.max(self.rows), self.columns.min(self.rows))
    }

    /// Index of a pixel's value in the lines.
    fn index(&self, x: usize, y: usize, channel: usize) -> usize {
        let (count, length) = self.sides();
        let (line, at) = if self.rows < self.columns { (x, y) } else { (y, x) };
        (channel * count + line) * length + at
    }

    /// Sets f in a row: pixel by pixel, channels together.
    pub(super) fn set_row(&mut self, y: usize, values: impl Iterator<Item = f32>) {
        for (i, value) in values.enumerate() {
            let at = self.index(i / CHANNELS, y, i % CHANNELS);
            self.lines[at] = value;
        }
    }

    /// Changes the values of a row by u.
    pub(super) fn row(&self, y: usize, row: &mut [u8], change: impl Fn(u8, f32) -> u8) {
        for (i, value) in row.iter_mut().enumerate() {
            *value = change(*value, self.lines[self.index(i / CHANNELS, y, i % CHANNELS)]);
        }
    }

    /// Replaces f by u.
    pub(super) fn solve(&mut self) {
        let (count, length) = self.sides();
        let transform = Transform::new(length);
        for line in self.lines.chunks_exact_mut(length) {
            transform.forward(line);
        }
        // Thomas's algorithm for all frequencies at once.
        let zeros = vec![0.0; length];
        let mut factors = vec![0.0; count * length];
        let mut previous = &zeros[..];
        for line in factors.chunks_exact_mut(length) {
            for ((factor, diagonal), previous) in line.iter_mut().zip(&transform.diagonal).zip(previous) {
                *factor = 1.0 / (diagonal - previous);
            }
            previous = line;
        }
        for channel in self.lines.chunks_exact_mut(count * length) {
            let mut above = &zeros[..];
            let factors = factors.chunks_exact(length);
            for (line, factors) in channel.chunks_exact_mut(length).zip(factors.clone()) {
                for ((value, factor), above) in line.iter_mut().zip(factors).zip(above) {
                    *value = (*value - above) * factor;
                }
                above = line;
            }
            let mut below = &zeros[..];
            for (line, factors) in channel.chunks_exact_mut(length).zip(factors).rev() {
                for ((value, factor), below) in line.iter_mut().zip(factors).zip(below) {
                    *value -= factor * below;
                }
                below = line;
            }
        }
        for line in self.lines.chunks_exact_mut(length) {
            transform.backward(line);
        }
    }
}

/// The sine transform of lines of one length. Frequencies 0, 2, 4, … come before 1, 3, 5, …
///
/// The sines are symmetric, s_k(length−1−j) = (−1)^k·s_k(j): even frequencies see the sum of both halves of a
/// line, odd ones the difference. So two products with matrices of half the size make a transform.
struct Transform {
    even: Half,
    odd: Half,
    /// Diagonal of the tridiagonal system of each frequency.
    diagonal: Vec<f32>,
}

/// Every other frequency.
struct Half {
    size: usize,
    /// Square matrices, row by row: a row for each place, and a row for each frequency.
    forward: Vec<f32>,
    backward: Vec<f32>,
}

impl Transform {
    fn new(length: usize) -> Self {
        let angle = PI / (length + 1) as f64;
        let norm = 2.0 / (length + 1) as f32;
        let sines: Vec<f32> = (0..2 * (length + 1))
            .map(|i| (angle * i as f64).sin() as f32)
            .collect();
        let sine = |place: usize, frequency: usize| sines[(place + 1) * (frequency + 1) % sines.len()];
        let half = |first: usize| {
            let size = (length + 1 - first) / 2;
            let pairs = || (0..size).flat_map(move |row| (0..size).map(move |column| (row, column)));
            Half {
                size,
                forward: pairs().map(|(j, k)| sine(j, 2 * k + first)).collect(),
                backward: pairs().map(|(k, j)| norm * sine(j, 2 * k + first)).collect(),
            }
        };
        let frequencies = (0..length).step_by(2).chain((1..length).step_by(2));
        Self {
            even: half(0),
            odd: half(1),
            diagonal: frequencies
                .map(|k| (2.0 * (angle * (k + 1) as f64).cos() - 4.0) as f32)
                .collect(),
        }
    }

    fn forward(&self, line: &mut [f32]) {
        self.fold(line);
        let (even, odd) = line.split_at_mut(self.even.size);
        odd.reverse();
        multiply(even, &self.even.forward);
        multiply(odd, &self.odd.forward);
    }

    fn backward(&self, line: &mut [f32]) {
        let (even, odd) = line.split_at_mut(self.even.size);
        multiply(even, &self.even.backward);
        multiply(odd, &self.odd.backward);
        odd.reverse();
        self.fold(line);
    }

    /// Sums of values that lie opposite each other, and their differences in reverse.
    fn fold(&self, line: &mut [f32]) {
        let (left, right) = line.split_at_mut(self.even.size);
        for (a, b) in left.iter_mut().zip(right.iter_mut().rev()) {
            (*a, *b) = (*a + *b, *a - *b);
        }
    }
}

/// `values · matrix`, in place.
fn multiply(values: &mut [f32], matrix: &[f32]) {
    let factors = values.to_vec();
    values.fill(0.0);
    for (factor, row) in factors.iter().zip(matrix.chunks_exact(values.len().max(1))) {
        for (sum, value) in values.iter_mut().zip(row) {
            *sum += factor * value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error of the equation, relative to the largest value of its right-hand side.
    fn residual(columns: usize, rows: usize) -> f32 {
        let given = |x: usize, y: usize, c: usize| ((x * 37 + y * 101 + c * 53) % 97) as f32 - 48.0;
        let mut solver = Solver::new(columns, rows);
        for y in 0..rows {
            solver.set_row(
                y,
                (0..columns * CHANNELS).map(|i| given(i / CHANNELS, y, i % CHANNELS)),
            );
        }
        solver.solve();
        let u = |x: usize, y: usize, c: usize| {
            // Moved by one, so that the zeros around have indices too.
            if x == 0 || y == 0 || x > columns || y > rows {
                0.0
            } else {
                solver.lines[solver.index(x - 1, y - 1, c)]
            }
        };
        let mut worst = 0f32;
        for (y, x) in (1..=rows).flat_map(|y| (1..=columns).map(move |x| (y, x))) {
            for c in 0..CHANNELS {
                let sum =
                    u(x - 1, y, c) + u(x + 1, y, c) + u(x, y - 1, c) + u(x, y + 1, c) - 4.0 * u(x, y, c);
                worst = worst.max((sum - given(x - 1, y - 1, c)).abs() / 48.0);
            }
        }
        worst
    }

    #[test]
    fn the_solution_satisfies_the_equation_for_every_size() {
        for (columns, rows) in (1..=20).flat_map(|x| (1..=20).map(move |y| (x, y))) {
            let worst = residual(columns, rows);
            assert!(worst < 1e-5, "{columns} × {rows}: {worst}");
        }
        for (columns, rows) in [(100, 60), (61, 101), (256, 256), (300, 7)] {
            let worst = residual(columns, rows);
            assert!(worst < 1e-4, "{columns} × {rows}: {worst}");
        }
    }
}
