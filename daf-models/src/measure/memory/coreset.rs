//! A few points that stand for many.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The rows of `candidates` that stand for all of them: `first`, and then again and again the one that lies farthest from
/// those that were taken (greedy k-centre; Sener and Savarese, 2018). `points` are rows of `width` numbers. Fewer than
/// `count` come back if all others equal one that was taken.
///
/// A distance to the nearest taken row can only shrink, so an old one is a bound from above: only the row with the largest
/// bound is brought up to date, and taken if it stays the largest (Minoux, 1978). The rows are the same as without, and
/// most distances are never computed.
pub(super) fn k_center(
    points: &[f32],
    width: usize,
    candidates: &[usize],
    first: usize,
    count: usize,
) -> Vec<usize> {
    let row = |index: usize| &points[index * width..(index + 1) * width];
    let mut taken = vec![first];
    let mut centers = row(first).to_vec();
    // Squared distances are not negative, so their bits sort as they do. Of equals the one that comes first is taken.
    let bound = |&index: &usize| (squared_distance(row(index), &centers).to_bits(), Reverse(index));
    let mut bounds: BinaryHeap<_> = candidates.iter().map(bound).collect();
    // How many centres the bound of a row knows.
    let mut known = vec![1; points.len() / width];
    while taken.len() < count {
        let Some(mut top) = bounds.peek_mut() else { break };
        let (bits, Reverse(index)) = *top;
        if bits == 0 {
            break;
        }
        if known[index] == taken.len() {
            taken.push(index);
            centers.extend_from_slice(row(index));
            top.0 = 0;
            continue;
        }
        let newer = centers[known[index] * width..].chunks_exact(width);
        let nearest = newer.fold(f32::from_bits(bits), |least, center| {
            least.min(squared_distance(row(index), center))
        });
        known[index] = taken.len();
        top.0 = nearest.to_bits();
    }
    taken
}

/// In eight sums, so that the compiler uses vector instructions; over indices, since adapters of iterators stay calls in
/// builds for development.
#[allow(clippy::needless_range_loop)]
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0f32; 8];
    for chunk in 0..a.len().min(b.len()) {
        for lane in 0..8 {
            let difference = a[chunk][lane] - b[chunk][lane];
            sums[lane] += difference * difference;
        }
    }
    let mut rest = 0.0;
    for place in 0..rest_a.len().min(rest_b.len()) {
        rest += (rest_a[place] - rest_b[place]) * (rest_a[place] - rest_b[place]);
    }
    let mut sum = 0.0;
    for lane in sums {
        sum += lane;
    }
    sum + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::features::slow;
    use tch::Tensor;

    /// The definition: every distance, every time.
    fn plainly(points: &[f64], width: usize, candidates: &[usize], first: usize, count: usize) -> Vec<usize> {
        let row = |index: usize| &points[index * width..(index + 1) * width];
        let distance = |a: usize, b: usize| -> f64 {
            let squares = row(a).iter().zip(row(b)).map(|(a, b)| (a - b).powi(2));
            squares.sum()
        };
        let mut taken = vec![first];
        while taken.len() < count {
            let nearest = |&index: &usize| {
                let distances = taken.iter().map(|&center| distance(index, center));
                distances.fold(f64::INFINITY, f64::min)
            };
            let farthest = candidates.iter().map(|index| (nearest(index), *index));
            let (distance, index) =
                farthest.fold((0.0, 0), |most, next| if next.0 > most.0 { next } else { most });
            if distance == 0.0 {
                break;
            }
            taken.push(index);
        }
        taken
    }

    #[test]
    fn rows_are_those_of_the_definition() {
        slow::seed(1);
        for width in [3, 8, 21] {
            let points = Tensor::randn([200, width], slow::FLOAT);
            let exact = slow::numbers(&points);
            let rounded: Vec<f32> = exact.iter().map(|value| *value as f32).collect();
            let candidates: Vec<usize> = (0..200).filter(|index| index % 7 != 3).collect();
            let found = k_center(&rounded, width as usize, &candidates, 11, 60);
            assert_eq!(found, plainly(&exact, width as usize, &candidates, 11, 60));
            assert!(found.iter().all(|index| candidates.contains(index)));
        }
    }

    #[test]
    fn equal_rows_are_taken_once() {
        let points = [0.0, 1.0, 1.0, 0.0, 5.0];
        assert_eq!(k_center(&points, 1, &[0, 1, 2, 3, 4], 3, 5), [3, 4, 1]);
    }
}
