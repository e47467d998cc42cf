mod sealed {
    pub trait Sealed {}
    impl Sealed for bool {}
    impl Sealed for u8 {}
}

/// A ground-truth label of a sample or a pixel: `bool`, or `u8` where anything but zero is anomalous.
///
/// Sealed: a mask of another type has to state its own rule (`> 0`, `> 0.5`, exactly 1) before it comes here,
/// because that rule changes the pixel metrics.
pub trait Label: sealed::Sealed + Copy + Sync {
    /// Whether the label says anomalous.
    fn is_anomalous(self) -> bool;
}

impl Label for bool {
    #[inline]
    fn is_anomalous(self) -> bool {
        self
    }
}

impl Label for u8 {
    #[inline]
    fn is_anomalous(self) -> bool {
        self != 0
    }
}
