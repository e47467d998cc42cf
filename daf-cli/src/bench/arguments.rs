use std::path::PathBuf;

use super::stage::Stage;

/// Measure what training and detecting cost, stage by stage
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli bench pipeline.yaml
  daf-cli bench runs/bottle --only score,detect --json | jq '.stages[].images_per_second'
  daf-cli bench pipeline.yaml --sizes 128,256,512,1024 --batches 1,8,64    cost against size
  daf-cli bench pipeline.yaml --sizes 128,256,512 --batches 1,8 --plot cost.svg

`training_step` and `score` start from what is in memory: a batch of tensors, an
image at the size of the network's input. `score` ends with map and score in
memory. `training` and `detect` are whole: with reading, damaging and, for
`detect`, with heat maps written. A pipeline is measured with random weights, a run
with its own; neither is changed.

Several sizes or batches give a table of `training_step` and `score_batch`, each
measured in a process of its own so that its peak memory is its own; what would
not fit into the free memory is left out, and the table says so.")]
pub(crate) struct Bench {
    /// A pipeline file, or the directory of a trained run
    pub(super) target: PathBuf,
    /// Change a setting; the value is YAML, e.g. --set precision=bf16
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) settings: Vec<String>,
    /// Compile the pipeline's `plugins` first, and go on with the program that has them
    #[arg(long)]
    pub(super) build: bool,
    /// Only these stages; by default all
    #[arg(long, value_delimiter = ',', value_name = "STAGE,…")]
    pub(super) only: Vec<Stage>,
    /// Measurements of each stage; stages of single images have ten times as many
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) repeats: u16,
    /// Rounds before the first measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub(super) warmup: u16,
    /// Threads of libtorch; by default as many as it chooses
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,
    /// Sizes of the network's input, instead of the pipeline's: sides of squares
    #[arg(long, value_delimiter = ',', value_name = "SIDE,…", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) sizes: Vec<u32>,
    /// Images per batch, instead of the trainer's
    #[arg(long, value_delimiter = ',', value_name = "IMAGES,…", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) batches: Vec<u32>,
    /// Print JSON: one object with every time, or one per line for several sizes or batches
    #[arg(long)]
    pub(super) json: bool,
    /// Draw the table of several sizes or batches: time and memory against pixels
    #[arg(long, value_name = "FILE.svg")]
    pub(super) plot: Option<PathBuf>,
    /// A trained run to detect with in place of one with random weights; the rows of a table share it.
    #[arg(long, hide = true)]
    pub(super) detector: Option<PathBuf>,
}

impl Bench {
    /// The settings that are laid over the pipeline or run for a size and a batch.
    pub(super) fn settings(&self, side: Option<u32>, images: Option<u32>) -> Vec<String> {
        let size = side.map(|side| format!("input.size={side}"));
        let batch = images.map(|images| format!("trainer.batch_size={images}"));
        self.settings.iter().cloned().chain(size).chain(batch).collect()
    }

    pub(super) fn wants(&self, stage: Stage) -> bool {
        self.only.is_empty() || self.only.contains(&stage)
    }
}
