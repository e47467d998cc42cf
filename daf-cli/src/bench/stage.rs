/// A piece of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// Reading an image file
    Decode,
    /// Bringing it to the size of the network's input
    Resize,
    /// Damaging an image that is in memory
    Synthesize,
    /// Making tensors of a batch and bringing them to the device
    Collate,
    /// Network and losses
    Forward,
    /// Gradients
    Backward,
    /// Checking the gradients and changing the weights
    #[value(alias = "optimiser")]
    Optimizer,
    /// Forward, backward and optimizer, of a batch on the device
    TrainingStep,
    /// One image in memory to its map and score in memory
    Score,
    /// The same for a batch
    ScoreBatch,
    /// Drawing and saving a heat map
    Write,
    /// Steps of a whole training while images are read for the first time
    FirstEpoch,
    /// Steps of a whole training from the second epoch on
    Training,
    /// `daf-cli detect --maps` from one batch to the next, start and end left out
    Detect,
}

impl Stage {
    /// The stages of detecting.
    pub(crate) const DETECTING: [Self; 6] = [
        Self::Decode,
        Self::Resize,
        Self::Score,
        Self::ScoreBatch,
        Self::Write,
        Self::Detect,
    ];
    /// The stages of training only.
    pub(crate) const TRAINING: [Self; 8] = [
        Self::Synthesize,
        Self::Collate,
        Self::Forward,
        Self::Backward,
        Self::Optimizer,
        Self::TrainingStep,
        Self::FirstEpoch,
        Self::Training,
    ];

    /// Name for users and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Resize => "resize",
            Self::Synthesize => "synthesize",
            Self::Collate => "collate",
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Optimizer => "optimizer",
            Self::TrainingStep => "training_step",
            Self::Score => "score",
            Self::ScoreBatch => "score_batch",
            Self::Write => "write",
            Self::FirstEpoch => "first_epoch",
            Self::Training => "training",
            Self::Detect => "detect",
        }
    }

    /// Under which heading it stands.
    pub(crate) const fn group(self) -> &'static str {
        match self {
            Self::Decode | Self::Resize => "loading",
            Self::Synthesize | Self::Collate | Self::Forward | Self::Backward | Self::Optimizer => "training",
            Self::TrainingStep => "training",
            Self::Score | Self::ScoreBatch | Self::Write => "detecting",
            Self::FirstEpoch | Self::Training | Self::Detect => "end to end",
        }
    }
}
