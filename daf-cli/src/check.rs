use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use daf_core::block::Mode;
use daf_core::calibration::Basis;
use daf_core::config::Input;
use daf_core::macs::count;
use daf_core::results::MultiplyAdds;
use daf_core::tch::{self, Device, Kind, Tensor};
use daf_core::{Batch, BoxError, Fit, Item, MapsOf, Model, NormalBatch, NormalImages, Split, Synthesized};
use daf_pipeline::Pipeline;

use daf_data::audit::range_of_some;
use daf_data::masks;
use indicatif::HumanDuration;

use crate::Context;
use crate::failure::Failure;
use crate::pipeline::PipelineArgs;
use crate::show::wrapped;
use crate::train::chosen_size;

/// Check a pipeline: read it, list its images, build its model and try it once
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  daf-cli check pipeline.yaml
  daf-cli check pipeline.yaml --set method.teacher.weights=random
  DAF__DATA__CATEGORY=screw daf-cli check pipeline.yaml")]
pub(crate) struct Check {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

impl Check {
    pub(crate) fn run(&self, context: &mut Context) -> Result<(), Failure> {
        let file = self.pipeline.file.display();
        let pipeline = self.pipeline.load(&context.environment)?;
        let device = pipeline.device.resolve()?;
        let test = pipeline.items(Split::Test).map_err(Failure::usage)?;
        let normals = pipeline.normals().map_err(Failure::usage)?;
        pipeline.check_image_files().map_err(Failure::usage)?;
        // Every part is tried once: what it promises is checked where it is called.
        if let Some(item) = normals.train.first() {
            pipeline.open(item).map_err(Failure::usage)?;
        }
        let samples = pipeline
            .samples(normals.train.clone(), 0.0)
            .map_err(Failure::usage)?;
        samples.check_defects().map_err(Failure::usage)?;
        if let Some(finding) = range_of_some(pipeline.data.as_ref(), pipeline.input.reading(), &normals.train)
        {
            tracing::warn!("{finding}");
        }
        let Tried {
            model,
            losses,
            counted,
            seconds,
        } = try_out(&pipeline, device, &context.environment.weight_folders())?;

        let mut row = |name: &str, text: &str| {
            let lines = wrapped(text, 67).join("\n             ");
            writeln!(context.out, "{name:<12} {lines}")
        };
        if let Some(recipe) = &pipeline.recipe {
            row("recipe", recipe)?;
        }
        row(
            "data",
            &format!(
                "{}, {} normal images to learn from, {} held out to choose thresholds with",
                pipeline.data.typetag_name(),
                normals.train.len(),
                normals.validation.len()
            ),
        )?;
        row("", &tested(&test))?;
        row("", "not all of them were opened: `data check` does that")?;
        let left_out = pipeline.data.left_out();
        if !left_out.is_empty() {
            row("", &left_out.to_string())?;
        }
        if let Some(suspicion) = forgotten_masks(&test) {
            row("", &suspicion)?;
        }
        let Input {
            size,
            fit,
            channel_order,
            normalization,
            ..
        } = pipeline.input;
        let input = format!("{size} pixels, {fit:?}, {channel_order:?}, normalization {normalization:?}");
        row("input", &input.to_lowercase())?;
        if let Some(chosen) = &pipeline.chosen {
            row("", &chosen_size(chosen))?;
        }
        row(
            "synthesizer",
            pipeline
                .synthesizer
                .as_ref()
                .map_or("none", |part| part.typetag_name()),
        )?;
        row("method", pipeline.method.typetag_name())?;
        for store in model.stores() {
            let state = match (store.frozen, pipeline.method.learns()) {
                (true, _) => "frozen",
                (false, true) => "learns",
                (false, false) => "fitted",
            };
            row(
                "",
                &format!(
                    "{}: {} parameters, {state}",
                    store.name,
                    grouped(store.parameters())
                ),
            )?;
        }
        row("", &counted.to_string())?;
        if pipeline.method.learns() {
            row("losses", &losses)?;
        }
        row("scorer", pipeline.scorer.typetag_name())?;
        let trainer = &pipeline.trainer;
        let total = trainer.total_steps(normals.train.len());
        let steps = grouped(total);
        let epochs = trainer
            .epochs
            .map(|epochs| format!("{epochs} epochs, "))
            .unwrap_or_default();
        let (length, time) = if pipeline.method.learns() {
            let batch = trainer.batch_size;
            let time = seconds.unwrap_or_default() * batch as f64 * total as f64;
            let time = HumanDuration(Duration::try_from_secs_f64(time).unwrap_or(Duration::MAX));
            (
                format!("{epochs}{steps} steps, batch size {batch}"),
                Some(format!("about {time} here")),
            )
        } else {
            ("none: the method does not learn by steps".into(), None)
        };
        row("trainer", &length)?;
        if let Some(time) = time {
            row("", &time)?;
        }
        let images = normals.train.len() + normals.validation.len();
        let basis = Basis::of(&pipeline.validation, images, pipeline.method.learns());
        row("thresholds", &basis.to_string())?;
        if let Some(doubt) = basis.doubt() {
            row("", &doubt)?;
        }
        row("device", &device_name(device))?;
        Ok(writeln!(context.out, "\n{file} is sound")?)
    }
}

/// Results of trying a model.
struct Tried {
    model: Box<dyn Model>,
    /// Names and values.
    losses: String,
    counted: MultiplyAdds,
    /// Duration of a training step per image, if the method learns by steps.
    seconds: Option<f64>,
}

/// Builds the model as training does and asks it for the losses of two images of noise, with other noise in a square.
fn try_out(
    pipeline: &Pipeline,
    device: Device,
    weights: &daf_core::weights::WeightFolders,
) -> Result<Tried, Failure> {
    let fault = |at: &'static str| move |source: BoxError| Failure::usage(pipeline.method.fault(at, source));
    let size = (
        i64::from(pipeline.input.size.height()),
        i64::from(pipeline.input.size.width()),
    );
    tch::manual_seed(i64::try_from(pipeline.seed).unwrap_or_default());
    let mut model = pipeline
        .build(device, Mode::Train, Some(weights))
        .map_err(Failure::usage)?;
    let noise = || Tensor::rand([2, 3, size.0, size.1], (Kind::Float, device));
    let normal = noise();
    let synthetic = pipeline.synthesizer.is_some().then(|| {
        let mask = Tensor::zeros([2, 1, size.0, size.1], (Kind::Float, device));
        let _ = mask
            .narrow(2, size.0 / 4, size.0 / 2)
            .narrow(3, size.1 / 4, size.1 / 2)
            .fill_(1.0);
        Synthesized {
            images: &normal * (1.0 - &mask) + noise() * &mask,
            target: mask.copy(),
            mask,
            class: vec![0, 0],
        }
    });
    let one = normal.narrow(0, 0, 1);
    let batch = Batch {
        normal,
        synthetic,
        indices: vec![0, 1],
        features: None,
    };
    // More than two: a density takes three embeddings.
    let images = Noise(Tensor::cat(&[&batch.normal, &noise()], 0));
    for when in [Fit::BeforeTraining, Fit::AfterTraining] {
        tch::no_grad(|| model.fit(when, &images)).map_err(fault("fitting the model to noise"))?;
    }
    let losses = if pipeline.method.learns() {
        tch::no_grad(|| model.losses(&batch)).map_err(fault("trying the model"))?
    } else {
        Vec::new()
    };
    let step = pipeline
        .method
        .learns()
        .then(|| time_of_step(model.as_ref(), &batch))
        .transpose()
        .map_err(fault("trying the model"))?;
    let losses = losses.iter().map(|(name, loss)| match loss.double_value(&[]) {
        value if value.is_finite() => Ok(format!("{name} {value:.3}")),
        value => Err(Failure::work(format!(
            "the loss `{name}` of images of noise is {value}"
        ))),
    });
    let losses = losses.collect::<Result<Vec<_>, _>>()?;
    let (maps, counted) = count(|| tch::no_grad(|| model.infer(&one)));
    let maps = maps.map_err(fault("trying the model"))?;
    let mut postprocessor = pipeline.model().build_scorer(device).map_err(Failure::usage)?;
    tch::no_grad(|| {
        let model = model.as_ref();
        let images = &images;
        postprocessor.fit(&MapsOf { model, images })?;
        postprocessor.finish(&postprocessor.pixels(&maps, size)?)
    })
    .map_err(|source| Failure::usage(pipeline.scorer.fault("trying the scorer", source)))?;
    Ok(Tried {
        model,
        losses: losses.join(", "),
        counted,
        seconds: step,
    })
}

/// How long it takes to compute losses and gradients of an image, in seconds.
fn time_of_step(model: &dyn Model, batch: &Batch) -> Result<f64, BoxError> {
    let images = batch.normal.size()[0] as f64;
    let mut best = f64::INFINITY;
    // The first time memory is asked for.
    for _ in 0..2 {
        let started = Instant::now();
        let losses = model.losses(batch)?;
        let terms: Vec<&Tensor> = losses.iter().map(|(_, loss)| loss).collect();
        let total = Tensor::f_stack(&terms, 0)?.sum(Kind::Float);
        if total.requires_grad() {
            total.f_backward()?;
        }
        // A GPU has done its work when a number of it is known.
        let _ = total.double_value(&[]);
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(best / images)
}

/// Stands for the training images.
pub(crate) struct Noise(pub(crate) Tensor);

impl NormalImages for Noise {
    fn batches(&self) -> Box<dyn Iterator<Item = Result<NormalBatch, BoxError>> + '_> {
        Box::new(std::iter::once(Ok(NormalBatch::consecutive(
            0,
            self.0.shallow_clone(),
        ))))
    }
}

/// Masks that seem to be listed as images. They are not opened here.
pub(crate) fn forgotten_masks(items: &[Item]) -> Option<String> {
    let named = masks::named_as_masks(items);
    let (mask, image) = named.first()?;
    let (mask, image) = (mask.display(), image.display());
    let more = match named.len() {
        1 => String::new(),
        many => format!(" (and {} more)", many - 1),
    };
    Some(format!(
        "{mask} is named as the mask of {image}{more}: a mask does not belong among the images; `data check` opens them"
    ))
}

/// The images to measure with, by kind of defect.
fn tested(items: &[Item]) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for kind in items.iter().flat_map(Item::kinds) {
        *kinds.entry(kind).or_default() += 1;
    }
    let defective = items.iter().filter(|item| item.is_anomalous()).count();
    let masks = items.iter().filter(|item| item.mask.is_some()).count();
    let kinds: Vec<_> = kinds
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    match defective {
        0 => format!("{} normal and no defective images to measure with", items.len()),
        _ => format!(
            "{} normal and {defective} defective images to measure with, {masks} with a mask: {}",
            items.len() - defective,
            kinds.join(", ")
        ),
    }
}

/// 1234567 as `1 234 567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(String::from_utf8_lossy)
        .collect();
    groups.join(" ")
}

/// A device as pipelines write it.
pub(crate) fn device_name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".into(),
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn long_numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(super::grouped),
            ["0", "999", "1 000", "1 234 567"]
        );
    }
}
