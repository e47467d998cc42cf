//! The crates together: whole runs of the program, and what holds for every registered part.

mod bad_input;
mod checkpoint;
mod crates;
mod device;
mod endings;
mod fit;
mod golden;
mod hostile_text;
mod messages;
mod parts;
mod plugins;
mod program;
mod registry;
mod resume;
mod samples;
mod scoring;
mod sweep;
mod weights;

// Links the crates, so that their parts are registered.
use daf_backbones_efficientnet as _;
use daf_backbones_mobilenet as _;
use daf_backbones_vit as _;
use daf_data as _;
use daf_models as _;
use daf_synth as _;
use daf_synth_scratch as _;
