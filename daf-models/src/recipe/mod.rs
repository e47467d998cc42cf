//! The recipes of this crate: each a layer of settings that a pipeline takes by `recipe: NAME`.

daf_core::register_recipe!(
    "paper",
    "The parts and numbers of the paper, which are the defaults as well: 1200 epochs, meant for a GPU.",
    include_str!("paper.yaml")
);
daf_core::register_recipe!(
    "fast",
    "PatchCore: it has no training steps and needs few images. Minutes on a CPU.",
    include_str!("fast.yaml")
);
daf_core::register_recipe!(
    "balanced",
    "Memories of normal patches at two scales of the image, on one scale of scores: minutes on a CPU, no training steps.",
    include_str!("balanced.yaml")
);
