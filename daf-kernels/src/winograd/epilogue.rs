/// Epilogue of a convolution, applied to its sums before they are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Epilogue {
    /// The sums are added to what `results` holds.
    pub accumulate: bool,
    /// ReLU, after accumulation.
    pub relu: bool,
}
