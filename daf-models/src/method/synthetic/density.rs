use daf_core::tch::nn::Path;
use daf_core::tch::{Kind, Tensor};
use daf_core::{BoxError, weights};

/// One Gaussian over embeddings, with the shrunk covariance of Ledoit and Wolf (2004): of few embeddings in many
/// dimensions the plain covariance has no inverse.
///
/// Its mean and precision are variables without elements until it is fitted, so that a run keeps them with its weights.
#[derive(Debug)]
pub struct Density {
    mean: Tensor,
    precision: Tensor,
}

impl Density {
    /// An empty density with its variables below `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            mean: path.zeros_no_train("mean", &[0]),
            precision: path.zeros_no_train("precision", &[0]),
        }
    }

    /// Takes mean and covariance from embeddings n×D.
    ///
    /// # Errors
    /// If there are fewer than three of them (of two, the estimate of the shrinkage is that there is nothing to shrink), or all
    /// are equal.
    pub fn fit(&mut self, embeddings: &Tensor) -> Result<(), BoxError> {
        let (n, dimensions) = embeddings.size2()?;
        if n < 3 {
            return Err(format!("a density needs at least three normal images or patches, found {n}").into());
        }
        let x = embeddings.detach().to_kind(Kind::Double);
        let mean = x.mean_dim(0, false, Kind::Double);
        let centered = x - &mean;
        let covariance = centered.tr().matmul(&centered) / n as f64;
        let sum = |tensor: &Tensor| tensor.sum(Kind::Double).double_value(&[]);
        // The target of the shrinkage is the identity times the mean variance.
        let variance = sum(&covariance.diag(0)) / dimensions as f64;
        if !(variance > 0.0 && variance.is_finite()) {
            return Err(format!(
                "the embeddings of the {n} normal images or patches are all equal (mean variance {variance}): train longer, \
                 or with a lower learning rate"
            )
            .into());
        }
        let identity = Tensor::eye(dimensions, (Kind::Double, covariance.device()));
        let distance = sum(&(&covariance - &identity * variance).square());
        let fourth = sum(&centered.square().sum_dim_intlist(1, false, Kind::Double).square());
        let noise = (fourth / n as f64 - sum(&covariance.square())) / n as f64;
        let shrinkage = if distance > 0.0 {
            (noise / distance).clamp(0.0, 1.0)
        } else {
            1.0
        };
        let covariance = covariance * (1.0 - shrinkage) + identity * (variance * shrinkage);
        weights::set(&mut self.mean, &mean.to_kind(Kind::Float));
        let precision = Tensor::f_linalg_inv(&covariance)?.to_kind(Kind::Float);
        weights::set(&mut self.precision, &precision);
        Ok(())
    }

    /// Mahalanobis distances of embeddings n×D from the mean, n.
    ///
    /// # Errors
    /// If the density has not been fitted.
    pub fn distances(&self, embeddings: &Tensor) -> Result<Tensor, BoxError> {
        if self.mean.numel() == 0 {
            return Err(
                "the density has not been fitted to normal images: the training of this run has not ended"
                    .into(),
            );
        }
        let offset = embeddings - &self.mean;
        let squares = (offset.matmul(&self.precision) * &offset).sum_dim_intlist(1, false, Kind::Float);
        Ok(squares.clamp_min(0.0).sqrt())
    }

    /// Derivatives of the squared distances by the embeddings, n×D.
    pub(crate) fn slope(&self, embeddings: &Tensor) -> Tensor {
        (embeddings - &self.mean).matmul(&self.precision) * 2.0
    }
}

#[cfg(test)]
mod tests {
    use daf_core::tch::Device;
    use daf_core::tch::nn::VarStore;

    use super::*;
    use crate::alone::alone;
    use crate::method::slow::{Draws, numbers};

    #[test]
    fn it_agrees_with_the_shrinkage_as_it_is_defined() {
        alone();
        let (n, d) = (7usize, 3usize);
        let scale = Tensor::from_slice(&[1f32, 0.3, 2.0]);
        let x = Draws::new(4).normal(&[n as i64, d as i64]) * scale + 0.5;
        let vars = VarStore::new(Device::Cpu);
        let mut density = Density::new(&vars.root());
        density.fit(&x).unwrap();

        let rows: Vec<Vec<f64>> = numbers(&x).chunks(d).map(<[f64]>::to_vec).collect();
        let mean: Vec<f64> = (0..d)
            .map(|i| rows.iter().map(|r| r[i]).sum::<f64>() / n as f64)
            .collect();
        let product = |row: &[f64], i: usize, j: usize| (row[i] - mean[i]) * (row[j] - mean[j]);
        let s = |i: usize, j: usize| rows.iter().map(|r| product(r, i, j)).sum::<f64>() / n as f64;
        let variance = (0..d).map(|i| s(i, i)).sum::<f64>() / d as f64;
        let (mut distance, mut noise) = (0.0, 0.0);
        for i in 0..d {
            for j in 0..d {
                let target = if i == j { variance } else { 0.0 };
                distance += (s(i, j) - target).powi(2);
                // How far the products of single embeddings scatter around their mean.
                noise += rows
                    .iter()
                    .map(|r| (product(r, i, j) - s(i, j)).powi(2))
                    .sum::<f64>()
                    / (n * n) as f64;
            }
        }
        let shrinkage = (noise / distance).min(1.0);
        assert!(shrinkage > 0.01 && shrinkage < 0.99, "{shrinkage}");
        let precision = numbers(&density.precision);
        for i in 0..d {
            for j in 0..d {
                let shrunk = |k: usize| {
                    let target = if i == k { variance } else { 0.0 };
                    (1.0 - shrinkage) * s(i, k) + shrinkage * target
                };
                let unit: f64 = (0..d).map(|k| shrunk(k) * precision[k * d + j]).sum();
                let expected = f64::from(u8::from(i == j));
                assert!((unit - expected).abs() < 1e-4, "{i}, {j}: {unit}");
            }
        }
        let distances = numbers(&density.distances(&x).unwrap());
        for (row, found) in rows.iter().zip(distances) {
            let mut square = 0.0;
            for i in 0..d {
                for j in 0..d {
                    square += product(row, i, j) * precision[i * d + j];
                }
            }
            assert!(
                (found - square.sqrt()).abs() < 1e-4,
                "{found} and {}",
                square.sqrt()
            );
        }
    }

    #[test]
    fn fewer_embeddings_than_dimensions_are_enough_and_one_is_not() {
        alone();
        let x = Draws::new(5).normal(&[4, 20]);
        let vars = VarStore::new(Device::Cpu);
        let mut density = Density::new(&vars.root());
        assert!(
            density
                .distances(&x)
                .unwrap_err()
                .to_string()
                .contains("not been fitted")
        );
        density.fit(&x).unwrap();
        assert!(density.distances(&x).unwrap().isfinite().all().int64_value(&[]) == 1);
        assert!(
            density
                .fit(&x.narrow(0, 0, 1))
                .unwrap_err()
                .to_string()
                .contains("found 1")
        );
        let equal = x.ones_like();
        assert!(density.fit(&equal).unwrap_err().to_string().contains("all equal"));
    }
}
