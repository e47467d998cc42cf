//! Agreement with numbers from the official implementation, in the folder that `DAF_GOLDEN` names. In CI a missing
//! folder is a failure, elsewhere a visible skip.

use std::path::PathBuf;

use daf_core::block::{Mode, Precision};
use daf_core::config::NotNegative;
use daf_core::{Batch, BuildContext, Method, Synthesized, weights};
use daf_models::method::Daf;
use daf_pipeline::config::Optimizer;
use daf_pipeline::train::OptimizerState;
use tch::{Device, Kind, Tensor};

#[test]
fn golden_step_of_the_whole_model_agrees() {
    let Some(folder) = std::env::var_os("DAF_GOLDEN").map(PathBuf::from) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "DAF_GOLDEN must name the folder of golden numbers in CI"
        );
        eprintln!("skipped: DAF_GOLDEN does not name the folder of golden numbers");
        return;
    };
    let teacher = folder.join("../weights/resnet18-imagenet-stages1to3.safetensors");
    let read =
        |name: &str| weights::read(&folder.join("model").join(name).with_extension("safetensors")).unwrap();
    let context = BuildContext {
        device: Device::Cpu,
        size: (256, 256),
        mode: Mode::Train,
        precision: Precision::Float32,
        pretrained: None,
    };
    let model = Daf::default().build(&context).unwrap();
    for store in model.stores() {
        let tensors = if store.frozen {
            weights::read(&teacher).unwrap()
        } else {
            read("model_init")
        };
        weights::load(store.vars, &tensors, &teacher, false).unwrap();
    }
    let step = read("training_step");
    let tensor = |name: &str| {
        step.iter()
            .find(|(key, _)| key == name)
            .unwrap()
            .1
            .shallow_clone()
    };
    let batch = Batch {
        normal: tensor("image"),
        synthetic: Some(Synthesized {
            images: tensor("synthetic"),
            mask: tensor("mask"),
            target: tensor("mask"),
            class: vec![0, 0],
        }),
        indices: vec![0, 1],
        features: None,
    };
    let rule = Optimizer::Adamw {
        learning_rate: NotNegative::new(2e-4),
        weight_decay: NotNegative::new(1e-5),
    };
    let mut optimizer = OptimizerState::new(&rule, &model.stores());
    let losses = model.losses(&batch).unwrap();
    let terms: Vec<&Tensor> = losses.iter().map(|(_, loss)| loss).collect();
    Tensor::stack(&terms, 0).sum(Kind::Float).backward();
    assert_eq!(optimizer.not_finite(), None);
    optimizer.step(1.0);

    let found = model.stores()[1].vars.variables();
    // Their true gradient is zero: they feed a batch norm.
    let noise = [
        "decoder.seg2.deconv.bias",
        "aux.1.conv.bias",
        "aux.2.conv.bias",
        "aux.3.conv.bias",
    ];
    let (mut all, mut close) = (0, 0);
    for (name, expected) in read("model_after_step") {
        if noise.contains(&name.as_str()) || name.ends_with("num_batches_tracked") {
            continue;
        }
        let expected = expected.to_kind(Kind::Double);
        let error = (found[&name].detach().to_kind(Kind::Double) - &expected).abs();
        let tolerance = if name.contains("running_") {
            // Statistics follow the activations, which agree relative to their size.
            1e-4 * expected.abs().max().double_value(&[]).max(1.0)
        } else {
            all += error.numel();
            close += error.le(1e-6).sum(Kind::Int64).int64_value(&[]) as usize;
            4.1e-4
        };
        let largest = error.max().double_value(&[]);
        assert!(largest <= tolerance, "{name}: {largest:e}");
    }
    assert!(all > 4_400_000, "{all} parameters compared");
    let share = close as f64 / all as f64;
    assert!(share >= 0.99, "{:.2} % within 1e-6", 100.0 * share);
}
