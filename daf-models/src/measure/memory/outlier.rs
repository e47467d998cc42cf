//! How far a point lies out among its neighbours.

use tch::{Kind, Tensor};

/// Distances that are held in memory at once.
const AT_ONCE: i64 = 1 << 24;

/// Local outlier factors G×n of n points in each of G groups, G×n×d: about 1 within a cluster, more outside. Each point
/// looks at so many neighbours, fewer where there are not as many others; a point alone has 1.
///
/// Breunig et al., 2000, with scikit-learn's guard against points that lie on each other.
pub(crate) fn local_outlier_factors(points: &Tensor, neighbors: i64) -> Tensor {
    let (groups, count) = (points.size()[0], points.size()[1]);
    let neighbors = neighbors.min(count - 1);
    if neighbors < 1 {
        return Tensor::ones([groups, count], (Kind::Float, points.device()));
    }
    let at_once = (AT_ONCE / (count * count)).max(1);
    let factors: Vec<Tensor> = points
        .split(at_once, 0)
        .iter()
        .map(|points| factors(points, neighbors))
        .collect();
    Tensor::cat(&factors, 0)
}

fn factors(points: &Tensor, neighbors: i64) -> Tensor {
    let (groups, count) = (points.size()[0], points.size()[1]);
    // Without matrix products, in which the distance of equal points is not 0.
    let distances = Tensor::cdist(points, points, 2.0, 2);
    let own = Tensor::eye(count, (Kind::Bool, points.device()));
    let distances = distances.masked_fill(&own, f64::INFINITY);
    let (distances, indices) = distances.topk(neighbors, -1, false, true);
    let flat = indices.view([groups, -1]);
    let of_neighbors = |values: &Tensor| values.gather(1, &flat, false).view([groups, count, neighbors]);
    let mean = |values: Tensor| values.mean_dim(-1, false, Kind::Float);
    let reach = distances.select(-1, neighbors - 1);
    let density = 1.0 / (mean(distances.maximum(&of_neighbors(&reach))) + 1e-10);
    mean(of_neighbors(&density)) / density
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::features::slow;

    /// The definition, for one group.
    fn plainly(points: &[Vec<f64>], neighbors: usize) -> Vec<f64> {
        let distance = |a: usize, b: usize| -> f64 {
            let squares = points[a].iter().zip(&points[b]).map(|(a, b)| (a - b).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let near = |point: usize| -> Vec<usize> {
            let mut others: Vec<usize> = (0..points.len()).filter(|&other| other != point).collect();
            others.sort_by(|&a, &b| distance(point, a).total_cmp(&distance(point, b)));
            others.truncate(neighbors);
            others
        };
        let reach = |point: usize| distance(point, near(point)[neighbors - 1]);
        let density = |point: usize| {
            let reached = near(point)
                .into_iter()
                .map(|other| distance(point, other).max(reach(other)));
            neighbors as f64 / reached.sum::<f64>()
        };
        let factor = |point| {
            let densities: f64 = near(point).into_iter().map(density).sum();
            densities / neighbors as f64 / density(point)
        };
        (0..points.len()).map(factor).collect()
    }

    #[test]
    fn factors_are_those_of_the_definition() {
        slow::seed(2);
        let points = Tensor::randn([3, 20, 4], slow::FLOAT);
        let found = local_outlier_factors(&points, 5);
        assert_eq!(found.size(), [3, 20]);
        for group in 0..3 {
            let rows: Vec<Vec<f64>> = (0..20)
                .map(|row| slow::numbers(&points.get(group).get(row)))
                .collect();
            let found = slow::numbers(&found.get(group));
            for (found, expected) in found.iter().zip(plainly(&rows, 5)) {
                slow::close(*found, expected, 1e-4);
            }
        }
    }

    #[test]
    fn a_point_far_out_stands_out_and_equal_or_single_points_do_not() {
        slow::seed(3);
        let points = Tensor::randn([1, 30, 4], slow::FLOAT);
        let _ = points.get(0).get(7).fill_(20.0);
        let found = slow::numbers(&local_outlier_factors(&points, 6));
        assert!(
            found[7] > 5.0
                && found
                    .iter()
                    .enumerate()
                    .all(|(at, factor)| at == 7 || *factor < 2.5)
        );
        for count in [1, 2, 10] {
            let equal = slow::numbers(&local_outlier_factors(
                &Tensor::ones([1, count, 4], slow::FLOAT),
                6,
            ));
            assert!(
                equal.iter().all(|factor| (factor - 1.0).abs() < 1e-6),
                "{equal:?}"
            );
        }
    }
}
