use tch::Tensor;

/// Output of a model for a batch of images.
#[derive(Debug, Default)]
pub struct Maps {
    /// Discrepancy maps N×D×h×w, fine to coarse; empty if the method has none.
    pub discrepancy: Vec<Tensor>,
    /// Probability of a defect, N×1×H×W in 0..=1, if the method has one.
    pub probability: Option<Tensor>,
    /// Scores of whole images, N, if the method has its own: they take the place of those that the scorer draws from the
    /// pixels. That of an image in tiles is the largest of its tiles.
    pub images: Option<Tensor>,
}
