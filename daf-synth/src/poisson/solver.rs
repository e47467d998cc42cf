//! The discrete Poisson equation on a rectangle, zero around it.

use std::f64::consts::PI;

/// Channels that are solved together.
const CHANNELS: usize = 3;
/// Columns of a matrix that are multiplied at once.
const LANES: usize = 8;
/// Rows that are multiplied at once.
const BLOCK: usize = 4;

/// Solves `u(x−1,y) + u(x+1,y) + u(x,y−1) + u(x,y+1) − 4u(x,y) = f(x,y)` with u = 0 around the rectangle.
///
/// The sine transform (DST-I) along the shorter side makes the equation one tridiagonal system for each frequency along
/// the longer side, so one transform and its inverse are enough where a two-dimensional one would need two of each. The
/// sines are symmetric, so that the transform is two products with matrices of half the size: `O(short²·long)`.
///
/// A fast transform (the rustfft crate, two lines in one complex transform) measured about the same up to a side of some
/// 130 pixels, where most patches are, and twice as fast as the whole solution at 250; not enough to depend on one.
#[derive(Debug, Default)]
pub(super) struct Solver {
    columns: usize,
    rows: usize,
    /// Lines, each along the transformed (shorter) side, channel by channel; `stride` values each.
    lines: Vec<f32>,
    transformed: Vec<f32>,
    /// Frequencies 0, 2, 4, … and 1, 3, 5, … of both directions of the transform.
    even: Sines,
    odd: Sines,
    /// Thomas's coefficients, one row of frequencies for each line.
    factors: Vec<f32>,
    diagonal: Vec<f32>,
    /// sin(πi/(length+1)) for a whole turn.
    table: Vec<f32>,
}

/// One half of the transform: the matrix and its transpose.
#[derive(Debug, Default)]
struct Sines {
    forward: Panels,
    backward: Panels,
}

/// A matrix cut into panels of [`LANES`] columns; what is missing in the last one is 0.
#[derive(Debug, Default)]
struct Panels {
    values: Vec<[f32; LANES]>,
    rows: usize,
}

impl Panels {
    fn fill(&mut self, rows: usize, columns: usize, value: impl Fn(usize, usize) -> f32) {
        self.rows = rows;
        self.values.clear();
        for panel in 0..columns.div_ceil(LANES) {
            self.values.extend((0..rows).map(|row| {
                std::array::from_fn(|lane| {
                    let column = panel * LANES + lane;
                    if column < columns { value(row, column) } else { 0.0 }
                })
            }));
        }
    }

    /// `output = input · matrix` for [`BLOCK`] rows, `stride` apart in both.
    fn multiply(&self, input: &[f32], output: &mut [f32], stride: usize) {
        let [a, b, c, d]: [&[f32]; BLOCK] = std::array::from_fn(|row| &input[row * stride..][..self.rows]);
        let panels = self.values.chunks_exact(self.rows.max(1));
        for (number, panel) in panels.enumerate() {
            let mut sums = [[0f32; LANES]; BLOCK];
            for ((((matrix, a), b), c), d) in panel.iter().zip(a).zip(b).zip(c).zip(d) {
                for (sums, value) in sums.iter_mut().zip([a, b, c, d]) {
                    for (sum, m) in sums.iter_mut().zip(matrix) {
                        *sum += value * m;
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                output[row * stride + number * LANES..][..LANES].copy_from_slice(sums);
            }
        }
    }
}

impl Solver {
    /// Prepares for a rectangle of this size, at least 1 × 1.
    pub(super) fn resize(&mut self, columns: usize, rows: usize) {
        (self.columns, self.rows) = (columns, rows);
        let size = self.lines_total().next_multiple_of(BLOCK) * self.stride();
        self.lines.resize(size, 0.0);
        self.transformed.resize(size, 0.0);
    }

    /// Whether lines are the image's columns.
    fn upright(&self) -> bool {
        self.rows < self.columns
    }

    /// Values of a line.
    fn length(&self) -> usize {
        self.columns.min(self.rows)
    }

    /// Lines of a channel.
    fn lines_of_channel(&self) -> usize {
        self.columns.max(self.rows)
    }

    fn lines_total(&self) -> usize {
        self.lines_of_channel() * CHANNELS
    }

    /// Even and odd half of a line, each padded.
    fn halves(&self) -> (usize, usize) {
        (self.length().div_ceil(2), self.length() / 2)
    }

    fn half_stride(&self) -> usize {
        self.halves().0.next_multiple_of(LANES)
    }

    fn stride(&self) -> usize {
        self.half_stride() * 2
    }

    /// Where the value of a pixel lies.
    fn index(&self, x: usize, y: usize, channel: usize) -> usize {
        let (line, at) = if self.upright() { (x, y) } else { (y, x) };
        (channel * self.lines_of_channel() + line) * self.stride() + at
    }

    /// Distance of pixels that are neighbours in a row, and of channels.
    fn steps(&self) -> (usize, usize) {
        let step = if self.upright() { self.stride() } else { 1 };
        (step, self.lines_of_channel() * self.stride())
    }

    /// Sets the right-hand side of a row: pixel by pixel, channels together.
    pub(super) fn set_row(&mut self, y: usize, values: impl Iterator<Item = f32>) {
        let (start, (step, channel)) = (self.index(0, y, 0), self.steps());
        for (i, value) in values.enumerate() {
            self.lines[start + i / CHANNELS * step + i % CHANNELS * channel] = value;
        }
    }

    /// Changes the values of a row by the solution.
    pub(super) fn row(&self, y: usize, row: &mut [u8], change: impl Fn(u8, f32) -> u8) {
        let (start, (step, channel)) = (self.index(0, y, 0), self.steps());
        for (x, pixel) in row.chunks_exact_mut(CHANNELS).enumerate() {
            for (c, value) in pixel.iter_mut().enumerate() {
                *value = change(*value, self.lines[start + x * step + c * channel]);
            }
        }
    }

    /// Replaces the right-hand side by the solution.
    pub(super) fn solve(&mut self) {
        let (length, stride, half) = (self.length(), self.stride(), self.half_stride());
        self.prepare();
        let (evens, odds) = self.halves();
        // s_k(length−1−j) = (−1)^k·s_k(j): even frequencies see the sum of both halves, odd ones the difference.
        for line in self.lines.chunks_exact_mut(stride) {
            let (left, right) = line[..length].split_at_mut(evens);
            for (a, b) in left.iter_mut().zip(right.iter_mut().rev()) {
                (*a, *b) = (*a + *b, *a - *b);
            }
            // The differences lie in reverse; put them where the second product reads them.
            line[evens..length].reverse();
            line.copy_within(evens..length, half);
        }
        for (input, output) in self
            .lines
            .chunks_exact(BLOCK * stride)
            .zip(self.transformed.chunks_exact_mut(BLOCK * stride))
        {
            self.even.forward.multiply(input, output, stride);
            self.odd
                .forward
                .multiply(&input[half..], &mut output[half..], stride);
        }
        self.substitute();
        for (input, output) in self
            .transformed
            .chunks_exact(BLOCK * stride)
            .zip(self.lines.chunks_exact_mut(BLOCK * stride))
        {
            self.even.backward.multiply(input, output, stride);
            self.odd
                .backward
                .multiply(&input[half..], &mut output[half..], stride);
        }
        for line in self.lines.chunks_exact_mut(stride) {
            line.copy_within(half..half + odds, evens);
            line[evens..length].reverse();
            let (left, right) = line[..length].split_at_mut(evens);
            for (a, b) in left.iter_mut().zip(right.iter_mut().rev()) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
    }

    /// The matrices and the coefficients of the tridiagonal systems, for the present size.
    fn prepare(&mut self) {
        let (length, (evens, odds)) = (self.length(), self.halves());
        let around = 2 * (length + 1);
        let angle = PI / (length + 1) as f64;
        self.table.clear();
        self.table
            .extend((0..around).map(|i| (angle * i as f64).sin() as f32));
        let table = &self.table;
        let sine = |place: usize, frequency: usize| table[(place + 1) * (frequency + 1) % around];
        let norm = 2.0 / (length + 1) as f32;
        self.even.forward.fill(evens, evens, |j, k| sine(j, 2 * k));
        self.even
            .backward
            .fill(evens, evens, |k, j| norm * sine(j, 2 * k));
        self.odd.forward.fill(odds, odds, |j, k| sine(j, 2 * k + 1));
        self.odd
            .backward
            .fill(odds, odds, |k, j| norm * sine(j, 2 * k + 1));

        let (stride, half) = (self.stride(), self.half_stride());
        let lines = self.lines_of_channel();
        self.factors.clear();
        self.factors.resize(lines * stride, 0.0);
        let (first, rest) = self.factors.split_at_mut(stride);
        // Padding gets any coefficient: its values are 0.
        self.diagonal.clear();
        self.diagonal.resize(stride, -2.0);
        for k in 0..length {
            self.diagonal[k % 2 * half + k / 2] = (2.0 * (angle * (k + 1) as f64).cos() - 4.0) as f32;
        }
        first
            .iter_mut()
            .zip(&self.diagonal)
            .for_each(|(factor, d)| *factor = 1.0 / d);
        let mut previous: &[f32] = first;
        for row in rest.chunks_exact_mut(stride) {
            for ((factor, d), previous) in row.iter_mut().zip(&self.diagonal).zip(previous) {
                *factor = 1.0 / (d - previous);
            }
            previous = row;
        }
    }

    /// Thomas's algorithm for all frequencies at once.
    fn substitute(&mut self) {
        let (stride, lines) = (self.stride(), self.lines_of_channel());
        let factors = &self.factors[..];
        let channels = self.transformed.chunks_exact_mut(lines * stride).take(CHANNELS);
        for channel in channels {
            let mut done: &mut [f32] = &mut [];
            for (line, factors) in channel.chunks_exact_mut(stride).zip(factors.chunks_exact(stride)) {
                if done.is_empty() {
                    line.iter_mut()
                        .zip(factors)
                        .for_each(|(value, factor)| *value *= factor);
                } else {
                    for ((value, factor), above) in line.iter_mut().zip(factors).zip(done.iter()) {
                        *value = (*value - above) * factor;
                    }
                }
                done = line;
            }
            let mut done: &mut [f32] = &mut [];
            for (line, factors) in channel
                .chunks_exact_mut(stride)
                .zip(factors.chunks_exact(stride))
                .rev()
            {
                for ((value, factor), below) in line.iter_mut().zip(factors).zip(done.iter()) {
                    *value -= factor * below;
                }
                done = line;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error of the equation, relative to the largest value of its right-hand side.
    fn residual(columns: usize, rows: usize) -> f32 {
        let given = |x: usize, y: usize, c: usize| ((x * 37 + y * 101 + c * 53) % 97) as f32 - 48.0;
        let mut solver = Solver::default();
        // A larger problem first, whose leftovers must not matter.
        solver.resize(columns + 9, rows + 5);
        for y in 0..rows + 5 {
            solver.set_row(y, (0..(columns + 9) * CHANNELS).map(|_| 1e30));
        }
        solver.resize(columns, rows);
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
